//! How an incoming order meets the book.

use super::slab::Live;
use super::stops::Range;
use super::{Book, self_trade_change};
use crate::domain::event::{Done, DoneReason, Event, Fill};
use crate::domain::ids::{OrderId, Ticket, TradeId};
use crate::domain::market::MarketState;
use crate::domain::money::{Amount, Ppm, Price, Size};
use crate::domain::order::{Kind, SelfTrade, Side};

/// What ended the matching of an incoming order.
enum Stopped {
    /// Nothing is left of it, or the funds that its owner named are used up.
    Filled,
    /// Nothing on the other side suits it, or what was reserved for it does not reach further.
    NoMatch,
    /// It met an order of its own user that ends it.
    SelfTrade,
    /// The next trade would be too far from the reference price.
    Halted,
}

impl Book {
    /// Lets an order take what it can, then rests, ends or forgets it. It is not in the slab now;
    /// its slot is the vacant one. `awoken` says that it is a stop whose acceptance is long past.
    pub(super) fn execute(&mut self, taker: &mut Live, awoken: bool, range: &mut Range, out: &mut Vec<Event>) {
        self.renew_reference();
        if awoken && self.may_not_enter(taker) {
            return self.finish(taker, DoneReason::NoLiquidity, out);
        }
        if taker.hot.is_fill_or_kill() && !self.can_fill(taker, awoken) {
            return self.finish(taker, DoneReason::FillOrKill, out);
        }
        let mut stopped = self.take(taker, range, out);
        if let Stopped::Halted = stopped {
            self.halt(out);
            stopped = Stopped::NoMatch;
        }
        match stopped {
            Stopped::Filled => self.finish(taker, DoneReason::Filled, out),
            Stopped::SelfTrade => self.finish(taker, DoneReason::SelfTrade, out),
            Stopped::NoMatch | Stopped::Halted if self.in_auction() && taker.hot.is_immediate() => {
                self.finish(taker, DoneReason::Halted, out);
            }
            Stopped::NoMatch | Stopped::Halted if taker.hot.is_immediate() => {
                self.finish(taker, DoneReason::NoLiquidity, out)
            }
            Stopped::NoMatch | Stopped::Halted => {
                self.keep(taker);
                let (ladder, slab) = self.ladder(taker.hot.side());
                ladder.push(ladder.key(taker.hot.price), taker.slot, slab);
                self.emit(out, Event::Opened(taker.opened()));
            }
        }
    }

    /// Whether a stop that wakes is kept out by what the market takes now, which may be less than when it was placed: no
    /// order without a limit, or none that would take. Whether a post-only order would is asked only now, too.
    fn may_not_enter(&self, stop: &Live) -> bool {
        let takes = || stop.hot.limit().is_none_or(|limit| self.would_take(stop.hot.side(), limit));
        match self.config.state {
            MarketState::PostOnly => takes(),
            MarketState::LimitOnly if stop.hot.is_market() => true,
            MarketState::LimitOnly | MarketState::Online | MarketState::CancelOnly | MarketState::Halted => {
                stop.hot.is_post_only() && takes()
            }
        }
    }

    /// Ends an incoming order that never rested.
    fn finish(&mut self, taker: &Live, reason: DoneReason, out: &mut Vec<Event>) {
        self.note_end(taker, reason);
        self.emit(
            out,
            Event::Done(Done {
                id: taker.id(),
                ticket: Ticket(0),
                account: taker.hot.account,
                side: taker.hot.side(),
                price: taker.hot.limit(),
                remaining: taker.hot.remaining,
                reason,
                released: taker.hot.hold,
                rested: false,
                slept: false,
            }),
        );
    }

    fn take(&mut self, taker: &mut Live, range: &mut Range, out: &mut Vec<Event>) -> Stopped {
        let maker_side = taker.hot.side().opposite();
        let mut obtainable = taker.obtainable();
        if self.in_auction() {
            return Stopped::NoMatch;
        }
        loop {
            if taker.is_sized() && taker.hot.remaining.is_zero() {
                return Stopped::Filled;
            }
            let (ladder, slab) = self.ladder(maker_side);
            let Some((key, slot)) = ladder.front() else {
                // Nobody is left to ask for a price, so the last one says whether the funds are spent.
                let last = self.last_price.filter(|_| !taker.is_sized() && !taker.cold.filled.is_zero());
                let spent = last.is_some_and(|price| self.has_used_funds(taker, obtainable, price));
                return if spent { Stopped::Filled } else { Stopped::NoMatch };
            };
            let price = ladder.price(key);
            if let Some(limit) = taker.hot.limit() {
                let crosses = match maker_side {
                    Side::Sell => price <= limit,
                    Side::Buy => price >= limit,
                };
                if !crosses {
                    return Stopped::NoMatch;
                }
            }
            let maker = *slab.peek(slot);
            let wanted = self.affordable(taker, obtainable, price);
            if wanted.is_zero() {
                // Its funds do not buy one more lot, or one more would bring more than it wants: filled if it traded at
                // all. It is over and meets nobody any more, an order of its own user neither.
                let filled = !taker.cold.filled.is_zero() && self.has_used_funds(taker, obtainable, price);
                return if filled { Stopped::Filled } else { Stopped::NoMatch };
            }
            // Only an order that wants to trade there shows that the price has got so far.
            if !self.corridor.contains(price) {
                return Stopped::Halted;
            }
            if maker.account == taker.hot.account {
                if let Some(stopped) = self.self_trade(taker, &mut obtainable, slot, price, out) {
                    return stopped;
                }
                continue;
            }
            let size = wanted.min(maker.remaining);
            self.fill(taker, slot, key, size, out);
            if let Some(left) = &mut obtainable {
                *left -= self.scale.quote(price, size);
            }
            range.include(Some(price));
        }
    }

    /// How much of the incoming order its size and funds allow at this price. `obtainable` is what a market sell by
    /// funds may still bring in.
    fn affordable(&self, taker: &Live, obtainable: Option<Amount>, price: Price) -> Size {
        if !taker.hot.is_market() {
            return taker.hot.remaining;
        }
        let lots = match (taker.hot.side(), obtainable) {
            (Side::Buy, _) => self.scale.lots_for(taker.hot.hold, price, taker.cold.taker_fee),
            (Side::Sell, Some(left)) => {
                self.scale.lots_for(left, price, Ppm(0)).min(self.scale.lots_in(taker.hot.hold))
            }
            (Side::Sell, None) => taker.hot.remaining,
        };
        // Funds may pay for more lots than can be counted; then the order is over, as when what was reserved runs out.
        lots.min(if taker.is_sized() { taker.hot.remaining } else { Size(u64::MAX - taker.cold.filled.0) })
    }

    /// Whether the funds that its owner named do not buy one more whole lot at this price, or one more would bring in
    /// more. What was reserved for an order may run out before that, and for one by size there are no such funds: then it
    /// did not get what was asked for.
    fn has_used_funds(&self, taker: &Live, obtainable: Option<Amount>, price: Price) -> bool {
        let Kind::Market { funds: Some(_) } = taker.record().kind else { return false };
        let lots = match obtainable {
            Some(left) => self.scale.lots_for(left, price, Ppm(0)),
            None => self.scale.lots_for(taker.hot.hold, price, taker.cold.taker_fee),
        };
        lots.is_zero()
    }

    /// Trades `size` with the oldest order of the best level.
    fn fill(&mut self, taker: &mut Live, slot: u32, key: u64, size: Size, out: &mut Vec<Event>) {
        let maker = *self.slab.peek(slot);
        let price = maker.price;
        let quote = self.scale.quote(price, size);
        let base = self.scale.base(size);
        self.trades += 1;

        let maker_side = maker.side();
        let left = maker.remaining - size;
        let cold = self.slab.cold_mut(slot);
        let mut maker_fee = quote.share_rounded_up(cold.maker_fee);
        let mut taker_fee = quote.share_rounded_up(taker.cold.taker_fee);
        // Many small fills, each rounded up, could cost a buy more than was held for it: its fee is
        // capped by what its hold has beyond the price of what is left.
        let (maker_spent, taker_spent) = match maker_side {
            Side::Buy => {
                maker_fee = maker_fee.min(maker.hold - self.scale.quote(price, maker.remaining));
                (quote + maker_fee, base)
            }
            Side::Sell => {
                let reserved = match taker.hot.limit() {
                    Some(limit) => self.scale.quote(limit, taker.hot.remaining - size),
                    None => Amount::ZERO,
                };
                taker_fee = taker_fee.min(taker.hot.hold - quote - reserved);
                (base, quote + taker_fee)
            }
        };
        cold.filled = cold.filled + size;
        cold.executed += quote;
        cold.fees += maker_fee;
        let hot = self.slab.hot(slot);
        hot.remaining = left;
        hot.hold -= maker_spent;

        taker.cold.filled = taker.cold.filled + size;
        taker.cold.executed += quote;
        taker.cold.fees += taker_fee;
        taker.hot.hold -= taker_spent;
        if taker.is_sized() {
            taker.hot.remaining = taker.hot.remaining - size;
        }

        let fill = Fill {
            trade: TradeId(self.trades),
            maker: OrderId { number: maker.number, slot },
            taker: taker.id(),
            maker_account: maker.account,
            taker_account: taker.hot.account,
            maker_side,
            price,
            size,
            base,
            quote,
            maker_fee,
            taker_fee,
        };
        self.last_price = Some(price);
        for value in [maker.number, taker.hot.number, price.0, size.0] {
            self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        }
        self.emit(out, Event::Filled(fill));
        if left.is_zero() {
            let released = maker.hold - maker_spent;
            if self.ended.is_some() {
                self.note_end(&self.slab.live(slot), DoneReason::Filled);
            }
            let (ladder, slab) = self.ladder(maker_side);
            ladder.unlink(key, slot, slab);
            self.forget(slot);
            self.slab.keep_vacant(taker.slot);
            self.emit(
                out,
                Event::Done(Done {
                    id: fill.maker,
                    ticket: Ticket(0),
                    account: maker.account,
                    side: maker_side,
                    price: Some(price),
                    remaining: Size::ZERO,
                    reason: DoneReason::Filled,
                    released,
                    rested: true,
                    slept: false,
                }),
            );
        }
    }

    /// Applies the incoming order's rule to a resting order of the same user. `Some` ends the
    /// incoming order.
    fn self_trade(
        &mut self,
        taker: &mut Live,
        obtainable: &mut Option<Amount>,
        slot: u32,
        price: Price,
        out: &mut Vec<Event>,
    ) -> Option<Stopped> {
        match taker.hot.self_trade() {
            SelfTrade::CancelOldest => {
                self.end_own(taker, slot, out);
                None
            }
            SelfTrade::CancelNewest => Some(Stopped::SelfTrade),
            SelfTrade::CancelBoth => {
                self.end_own(taker, slot, out);
                Some(Stopped::SelfTrade)
            }
            SelfTrade::DecrementAndCancel => self.decrement(taker, obtainable, slot, price, out),
        }
    }

    fn end_own(&mut self, taker: &Live, slot: u32, out: &mut Vec<Event>) {
        self.end(slot, Ticket(0), DoneReason::SelfTrade, out);
        self.slab.keep_vacant(taker.slot);
    }

    /// The smaller of the two is canceled, the larger reduced by its size; equal ones both end.
    fn decrement(
        &mut self,
        taker: &mut Live,
        obtainable: &mut Option<Amount>,
        slot: u32,
        price: Price,
        out: &mut Vec<Event>,
    ) -> Option<Stopped> {
        if !taker.is_sized() {
            return self.decrement_funds(taker, obtainable, slot, price, out);
        }
        let resting = self.slab.peek(slot).remaining;
        if taker.hot.remaining < resting {
            self.reduce(slot, resting - taker.hot.remaining, out);
            return Some(Stopped::SelfTrade);
        }
        let left = taker.hot.remaining - resting;
        self.end_own(taker, slot, out);
        if left.is_zero() {
            return Some(Stopped::SelfTrade);
        }
        // A market buy keeps its funds; a limit order and a sell need less for a smaller rest.
        let keeps_hold = taker.hot.is_market() && taker.hot.side() == Side::Buy;
        let new_hold = if keeps_hold { taker.hot.hold } else { taker.hot.hold.min(self.required_hold(taker, left)) };
        let change = self_trade_change(taker, left, new_hold - taker.hot.hold);
        taker.hot.remaining = left;
        taker.hot.hold = new_hold;
        self.emit(out, Event::Changed(change));
        None
    }

    /// The same for a market order by funds alone: what trading with the resting order would have cost or brought is
    /// its size. A sell keeps its hold, since it still has all that it could sell.
    fn decrement_funds(
        &mut self,
        taker: &mut Live,
        obtainable: &mut Option<Amount>,
        slot: u32,
        price: Price,
        out: &mut Vec<Event>,
    ) -> Option<Stopped> {
        let resting = self.slab.peek(slot).remaining;
        let lots = self.affordable(taker, *obtainable, price);
        if lots < resting {
            self.reduce(slot, resting - lots, out);
            return Some(Stopped::SelfTrade);
        }
        self.end_own(taker, slot, out);
        let quote = self.scale.quote(price, resting);
        let (old, new) = match obtainable {
            Some(left) => {
                let old = *left;
                *left -= quote;
                (old, *left)
            }
            None => {
                let old = taker.hot.hold;
                taker.hot.hold -= quote + quote.share_rounded_up(taker.cold.taker_fee);
                (old, taker.hot.hold)
            }
        };
        let hold_delta = if obtainable.is_some() { Amount::ZERO } else { new - old };
        let mut change = self_trade_change(taker, Size::ZERO, hold_delta);
        change.old_funds = Some(old);
        change.new_funds = Some(new);
        self.emit(out, Event::Changed(change));
        if new.is_zero() { Some(Stopped::SelfTrade) } else { None }
    }

    /// Whether a fill-or-kill order finds all it wants from others within its limit. Meeting an own
    /// order that would reduce or end it means that it cannot be filled whole, and so does having to look at too many
    /// orders: a wave of stops that all look in vain must not take for ever.
    fn can_fill(&self, taker: &Live, awoken: bool) -> bool {
        let maker_side = taker.hot.side().opposite();
        let most = if awoken { Book::MOST_LOOKED_AT } else { Book::MOST_TAKEN_AT_ONCE };
        let mut left = taker.hot.remaining;
        for resting in self.resting(maker_side).take(most) {
            if left.is_zero() {
                break;
            }
            let crosses = match maker_side {
                Side::Sell => resting.price <= taker.hot.price,
                Side::Buy => resting.price >= taker.hot.price,
            };
            if !crosses || !self.corridor.contains(resting.price) {
                return false;
            }
            if self.slab.peek(resting.id.slot).account == taker.hot.account {
                if taker.hot.self_trade() == SelfTrade::CancelOldest {
                    continue;
                }
                return false;
            }
            left = Size(left.0.saturating_sub(resting.remaining.0));
        }
        left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::MarketEntry;
    use crate::domain::ids::{AccountId, CurrencyId};
    use crate::domain::market::{MarketConfig, Scale, Step};
    use crate::domain::order::{NewOrder, TimeInForce};
    use crate::domain::time::Timestamp;

    /// In a market with fine steps funds may pay for more lots than an order can count.
    #[test]
    fn an_order_by_funds_ends_where_its_lots_would_leave_64_bits() {
        let step = Step { units: 1, decimals: 0 };
        let config = MarketConfig::new("BTC-USDT".into(), CurrencyId(0), CurrencyId(1), step, step);
        let scale = Scale { quote_per_tick_lot: 1, base_per_lot: 1 };
        let mut book = Book::new(MarketConfig { max_open_orders: 0, ..config }, scale);
        let sell = NewOrder {
            ticket: Ticket(0),
            account: AccountId(2),
            client_id: None,
            side: Side::Sell,
            kind: Kind::Limit { price: Price(1), time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
            size: Size::MAX,
            stop: None,
            self_trade: SelfTrade::default(),
            maker_fee: Ppm(0),
            taker_fee: Ppm(0),
            hold: Amount(i128::from(Size::MAX.0)),
        };
        let mut events = Vec::new();
        for _ in 0..=1u32 << 16 {
            book.apply(Timestamp(1), &MarketEntry::Place(sell), &mut events);
        }
        events.clear();
        let hold = Amount(1 << 65);
        let kind = Kind::Market { funds: Some(hold) };
        let buy = NewOrder { account: AccountId(3), side: Side::Buy, kind, size: Size::ZERO, hold, ..sell };
        book.apply(Timestamp(2), &MarketEntry::Place(buy), &mut events);
        let bought: u128 = events.iter().filter_map(Event::fill).map(|fill| u128::from(fill.size.0)).sum();
        assert_eq!(bought, u128::from(u64::MAX));
        let Some(Event::Done(done)) = events.last() else { panic!("it must end") };
        let released = Amount(hold.0 - i128::from(u64::MAX));
        assert_eq!((done.account, done.reason, done.released), (AccountId(3), DoneReason::NoLiquidity, released));
    }
}
