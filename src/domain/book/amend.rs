//! Changing a live limit order.
//!
//! A smaller size keeps the order's place in its queue; a larger size or another price puts it at
//! the end of the queue of its level. An order that loses its place is as good as a new one, so it
//! has the fees that the market asks of new ones. A change that would trade at once is refused:
//! cancel and place again says that better, and a feed's readers could not follow an order that
//! both rests and takes under one id.

use super::Book;
use super::slab::{Hot, Live};
use crate::domain::entry::Amend;
use crate::domain::event::{Change, ChangeReason, Event};
use crate::domain::market::MarketState;
use crate::domain::money::{Amount, MAX_AMOUNT, Price, Size};
use crate::domain::order::{Reject, Side};

impl Book {
    #[inline(never)]
    pub(super) fn amend(&mut self, amend: &Amend, out: &mut Vec<Event>) {
        match self.check_amend(amend) {
            Err(reason) => out.push(Event::Refused { ticket: amend.ticket, account: amend.account, reason }),
            Ok((price, remaining)) => self.change(amend, price, remaining, out),
        }
    }

    /// The price and rest that the order would have. Asked at admission, and again by `apply`.
    ///
    /// # Errors
    /// The first [`Reject`] that applies.
    pub fn check_amend(&self, amend: &Amend) -> Result<(Price, Size), Reject> {
        self.check_amend_where(amend, |side, price| self.would_take(side, price))
    }

    /// The same in a book that `would_take` knows.
    pub(super) fn check_amend_where(
        &self,
        amend: &Amend,
        would_take: impl FnOnce(Side, Price) -> bool,
    ) -> Result<(Price, Size), Reject> {
        match self.config.state {
            MarketState::Halted => return Err(Reject::MarketHalted),
            MarketState::CancelOnly => return Err(Reject::CancelOnly),
            MarketState::Online | MarketState::PostOnly | MarketState::LimitOnly => {}
        }
        let hot = match self.slab.find(amend.order) {
            Some(hot) if hot.account == amend.account => *hot,
            Some(_) => return Err(Reject::OrderNotFound),
            None if (1..=self.orders).contains(&amend.order.number) => return Err(Reject::OrderDone),
            None => return Err(Reject::OrderNotFound),
        };
        let live = self.slab.live(amend.order.slot);
        if hot.is_market() || hot.is_immediate() {
            return Err(Reject::BadAmend);
        }
        let price = amend.price.unwrap_or(hot.price);
        if price.0 == 0 || price > Price::MAX {
            return Err(Reject::PriceOutOfRange);
        }
        let total = amend.size.unwrap_or(live.cold.size);
        let gone = live.cold.size - hot.remaining;
        if total <= gone || (price == hot.price && total == live.cold.size) {
            return Err(Reject::BadAmend);
        }
        self.check_size(total)?;
        self.check_notional(self.scale.quote(price, total))?;
        // An order that stays where it is may change, however far the market has moved away from it.
        if price != hot.price && !self.is_inside_band(price, self.config.band) {
            return Err(Reject::PriceOutsideBand);
        }
        if amend.extra_hold.is_negative() {
            return Err(Reject::HoldTooSmall);
        }
        if amend.extra_hold > MAX_AMOUNT {
            return Err(Reject::FundsTooLarge);
        }
        let remaining = total - gone;
        let changed = self.on_other_terms(live, price, remaining);
        if hot.hold + amend.extra_hold < self.required_hold(&changed, remaining)
            && loses_its_place(&hot, price, remaining)
        {
            return Err(Reject::HoldTooSmall);
        }
        if !hot.is_sleeping() && price != hot.price && !self.in_auction() && would_take(hot.side(), price) {
            return Err(Reject::AmendWouldTake);
        }
        Ok((price, remaining))
    }

    /// The order at another price, with the fees that it has then for the rest of this size.
    pub(super) fn on_other_terms(&self, mut live: Live, price: Price, remaining: Size) -> Live {
        if loses_its_place(&live.hot, price, remaining) {
            (live.cold.maker_fee, live.cold.taker_fee) = (self.config.maker_fee, self.config.taker_fee);
        }
        live.hot.price = price;
        live
    }

    pub(super) fn change(&mut self, amend: &Amend, price: Price, remaining: Size, out: &mut Vec<Event>) {
        let slot = amend.order.slot;
        let before = self.slab.live(slot);
        let (old, live) = (before.hot, self.on_other_terms(before, price, remaining));
        let new_hold = (old.hold + amend.extra_hold).min(self.required_hold(&live, remaining));
        let moves = !old.is_sleeping() && loses_its_place(&old, price, remaining);
        if moves {
            let (ladder, slab) = self.ladder(old.side());
            ladder.unlink(ladder.key(old.price), slot, slab);
        }
        let hot = self.slab.hot(slot);
        hot.price = price;
        hot.remaining = remaining;
        hot.hold = new_hold;
        let gone = live.cold.size - old.remaining;
        let cold = self.slab.cold_mut(slot);
        cold.size = gone + remaining;
        (cold.maker_fee, cold.taker_fee) = (live.cold.maker_fee, live.cold.taker_fee);
        if moves {
            let (ladder, slab) = self.ladder(old.side());
            ladder.push(ladder.key(price), slot, slab);
        }
        self.emit(
            out,
            Event::Changed(Change {
                id: amend.order,
                ticket: amend.ticket,
                account: old.account,
                side: old.side(),
                reason: ChangeReason::Amended,
                price: Some(old.price),
                new_price: if price == old.price { None } else { Some(price) },
                old_size: old.remaining,
                new_size: remaining,
                new_total: Some(gone + remaining),
                old_funds: None,
                new_funds: None,
                hold_delta: new_hold - old.hold,
                rests: !old.is_sleeping(),
            }),
        );
        debug_assert!(new_hold >= Amount::ZERO);
    }
}

/// Whether an order that is changed like this goes to the end of its queue. Only then may it need more than it has
/// reserved: a mere reduction is always covered.
fn loses_its_place(old: &Hot, price: Price, remaining: Size) -> bool {
    price != old.price || remaining > old.remaining
}
