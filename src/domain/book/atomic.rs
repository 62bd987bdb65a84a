//! Several commands of one user that happen together or not at all.
//!
//! First every part is judged, then every part is carried out: cancels, amends, new orders. The judgement looks at the
//! book as it would be **if nothing traded**: without what the batch cancels, with what it changes and adds at their
//! new prices. So whether a batch is taken does not depend on what its own orders meet, and once it is taken no part of
//! it can fail. Of the user's live orders every new one counts, also those that will not rest. Stops that its trades
//! reach wake after the last part.

use super::Book;
use super::stops::Range;
use crate::domain::entry::{Amend, Atomic};
use crate::domain::event::{DoneReason, Event};
use crate::domain::ids::{AccountId, OrderId};
use crate::domain::invariant::broken;
use crate::domain::market::MarketState;
use crate::domain::money::Price;
use crate::domain::order::{Kind, NewOrder, Reject, Side, TimeInForce};
use crate::domain::time::Timestamp;

/// A batch of which the first so many amends and orders count.
#[derive(Clone, Copy)]
struct Before<'a> {
    batch: &'a Atomic,
    amends: usize,
    places: usize,
}

impl Before<'_> {
    fn amends(&self) -> &[Amend] {
        self.batch.amends.get(..self.amends).unwrap_or_default()
    }

    fn places(&self) -> &[NewOrder] {
        self.batch.places.get(..self.places).unwrap_or_default()
    }

    fn names(&self, order: OrderId) -> bool {
        self.batch.cancels.contains(&order) || self.amends().iter().any(|amend| amend.order == order)
    }
}

/// Whether an incoming order of this side and limit would trade with one that rests at `resting`.
fn crosses(side: Side, limit: Price, resting: Price) -> bool {
    match side {
        Side::Buy => resting <= limit,
        Side::Sell => resting >= limit,
    }
}

/// The price at which a new order would rest, if it can.
fn resting_price(order: &NewOrder) -> Option<Price> {
    match order.kind {
        Kind::Limit { price, time_in_force: TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime(_), .. }
            if order.stop.is_none() =>
        {
            Some(price)
        }
        Kind::Limit { .. } | Kind::Market { .. } => None,
    }
}

impl Book {
    #[inline(never)]
    pub(super) fn atomic(&mut self, at: Timestamp, batch: &Atomic, out: &mut Vec<Event>) {
        if let Err((part, reason)) = self.check_atomic(batch, at) {
            let Atomic { ticket, account, .. } = *batch;
            return out.push(Event::BatchRefused { ticket, account, part, reason });
        }
        for order in &batch.cancels {
            self.end(order.slot, batch.ticket, DoneReason::Canceled, out);
        }
        for amend in &batch.amends {
            // Nothing has traded since it was judged, so its terms are still what they were.
            match self.check_amend_where(amend, |_, _| false) {
                Ok((price, remaining)) => self.change(amend, price, remaining, out),
                Err(_) => broken("an amend of an atomic batch that was judged good"),
            }
        }
        let mut range = Range::default();
        for order in &batch.places {
            self.accept(at, order, &mut range, out);
        }
        self.wake_stops(&mut range, out);
    }

    /// Whether every part can be done. Asked at admission, and again by `apply`.
    ///
    /// # Errors
    /// The first part that cannot (cancels, then amends, then orders, counted from 0), and why.
    pub fn check_atomic(&self, batch: &Atomic, at: Timestamp) -> Result<(), (u32, Reject)> {
        if batch.parts() == 0 || batch.parts() > Atomic::MOST_PARTS {
            return Err((0, Reject::BadBatch));
        }
        let Atomic { account, cancels, amends, places, .. } = batch;
        let mut numbers = 0..;
        let mut next = || numbers.next().unwrap_or(u32::MAX);
        for (at, order) in cancels.iter().enumerate() {
            let number = next();
            self.check_cancel(*account, *order).map_err(|reason| (number, reason))?;
            if cancels.get(..at).is_some_and(|before| before.contains(order)) {
                return Err((number, Reject::BadBatch));
            }
        }
        for (done, amend) in amends.iter().enumerate() {
            let number = next();
            let before = Before { batch, amends: done, places: 0 };
            if amend.account != *account || before.names(amend.order) {
                return Err((number, Reject::BadBatch));
            }
            let would_take = |side, price| self.would_take_beside(side, price, before);
            self.check_amend_where(amend, would_take).map_err(|reason| (number, reason))?;
        }
        for (done, order) in places.iter().enumerate() {
            let number = next();
            let before = Before { batch, amends: amends.len(), places: done };
            let twice = |other: &NewOrder| other.client_id.is_some() && other.client_id == order.client_id;
            if order.account != *account || before.places().iter().any(twice) {
                return Err((number, Reject::BadBatch));
            }
            let more = done as i64 - cancels.len() as i64;
            let checked = self.check_alone(order, at).and_then(|()| {
                if self.is_full(*account, more) {
                    return Err(Reject::TooManyOpenOrders);
                }
                self.check_taking(order, |side, price| self.would_take_beside(side, price, before))
            });
            checked.map_err(|reason| (number, reason))?;
        }
        Ok(())
    }

    fn check_cancel(&self, account: AccountId, order: OrderId) -> Result<(), Reject> {
        if self.config.state == MarketState::Halted {
            return Err(Reject::MarketHalted);
        }
        match self.slab.find(order) {
            Some(hot) if hot.account == account => Ok(()),
            None if (1..=self.orders).contains(&order.number) => Err(Reject::OrderDone),
            Some(_) | None => Err(Reject::OrderNotFound),
        }
    }

    /// Whether a limit order at this price would meet an order in the book as the batch has left it so far, nothing
    /// having traded.
    fn would_take_beside(&self, side: Side, price: Price, before: Before<'_>) -> bool {
        let against = side.opposite();
        let amended = before.amends().iter().filter_map(|amend| {
            let hot = self.slab.find(amend.order).filter(|hot| hot.side() == against && !hot.is_sleeping())?;
            Some(amend.price.unwrap_or(hot.price))
        });
        let placed = before.places().iter().filter(|order| order.side == against).filter_map(resting_price);
        if amended.chain(placed).any(|resting| crosses(side, price, resting)) {
            return true;
        }
        let untouched = self.resting(against).find(|resting| !before.names(resting.id));
        untouched.is_some_and(|resting| crosses(side, price, resting.price))
    }
}
