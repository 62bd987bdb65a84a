//! Cancels and amends, as plainly as they can be said.

use crate::reference::{Market, Order};
use crate::rules;
use agora::domain::entry::Amend;
use agora::domain::event::{Change, ChangeReason, DoneReason, Event};
use agora::domain::ids::{AccountId, Ticket};
use agora::domain::market::MarketState;
use agora::domain::money::{Amount, Ppm, Price, Size};
use agora::domain::order::{Reject, Side};

impl Market {
    /// Why this user cannot touch this order, if so.
    pub fn missing(&self, account: AccountId, number: u64) -> Option<Reject> {
        match self.live.iter().find(|o| o.number == number) {
            Some(order) if order.asked.account == account => None,
            Some(_) => Some(Reject::OrderNotFound),
            None if number >= 1 && number <= self.accepted => Some(Reject::OrderDone),
            None => Some(Reject::OrderNotFound),
        }
    }

    pub fn cancel(&mut self, ticket: Ticket, account: AccountId, number: u64) {
        if self.config.state == MarketState::Halted {
            return self.refuse(ticket, account, Reject::MarketHalted);
        }
        match self.missing(account, number) {
            Some(reason) => self.refuse(ticket, account, reason),
            None => self.end_live(number, ticket, DoneReason::Canceled),
        }
    }

    pub fn cancel_all(&mut self, ticket: Ticket, account: AccountId, side: Option<Side>) {
        if self.config.state == MarketState::Halted {
            return self.refuse(ticket, account, Reject::MarketHalted);
        }
        let of_side = |o: &&&Order| side.is_none_or(|s| s == o.side());
        let numbers: Vec<u64> = self.orders_of(account).iter().filter(of_side).map(|o| o.number).collect();
        for number in numbers {
            self.end_live(number, ticket, DoneReason::Canceled);
        }
    }

    /// What an amend needs beyond the order's hold.
    pub fn extra_hold_for(&self, amend: &Amend) -> i128 {
        let Some(order) = self.live.iter().find(|o| o.number == amend.order.number) else { return 0 };
        if order.asked.account != amend.account || order.limit.is_none() {
            return 0;
        }
        let total = amend.size.map_or(order.size, |s| s.0);
        let rest = total.saturating_sub(order.size - order.remaining).min(1 << 48);
        let price = amend.price.map_or(order.limit.unwrap(), |p| p.0).min(1 << 48);
        let (maker_fee, taker_fee) = self.fees_of_changed(order, price, rest);
        (self.hold_for(order.side(), price, rest, maker_fee.max(taker_fee).0) - order.hold).max(0)
    }

    /// The fees of an order once it is changed: its own as long as it keeps its place, else those of a new one.
    pub fn fees_of_changed(&self, order: &Order, price: u64, rest: u64) -> (Ppm, Ppm) {
        if order.limit == Some(price) && rest <= order.remaining {
            return (order.asked.maker_fee, order.asked.taker_fee);
        }
        (self.config.maker_fee, self.config.taker_fee)
    }

    pub fn amend(&mut self, amend: &Amend) {
        let (order, price, rest) = match rules::amended(self, amend, self.missing(amend.account, amend.order.number)) {
            Ok(change) => change,
            Err(reason) => return self.refuse(amend.ticket, amend.account, reason),
        };
        let old = order.clone();
        let (maker_fee, taker_fee) = self.fees_of_changed(&old, price, rest);
        let needed = self.hold_for(old.side(), price, rest, maker_fee.max(taker_fee).0);
        let hold = (old.hold + amend.extra_hold.0).min(needed);
        let total = old.size - old.remaining + rest;
        self.clock += 1;
        let clock = self.clock;
        let order = self.live.iter_mut().find(|o| o.number == old.number).unwrap();
        if Some(price) != old.limit || rest > old.remaining {
            order.queued = clock;
        }
        (order.asked.maker_fee, order.asked.taker_fee) = (maker_fee, taker_fee);
        order.limit = Some(price);
        order.remaining = rest;
        order.size = total;
        order.hold = hold;
        self.events.push(Event::Changed(Change {
            id: old.id(),
            ticket: amend.ticket,
            account: old.asked.account,
            side: old.side(),
            reason: ChangeReason::Amended,
            price: old.limit.map(Price),
            new_price: if Some(price) == old.limit { None } else { Some(Price(price)) },
            old_size: Size(old.remaining),
            new_size: Size(rest),
            new_total: Some(Size(total)),
            old_funds: None,
            new_funds: None,
            hold_delta: Amount(hold - old.hold),
            rests: !old.sleeping,
        }));
    }
}
