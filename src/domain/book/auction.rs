//! Halts, call auctions and the kill switch.
//!
//! A trade that would be too far from the reference price does not happen: the market halts and gathers orders. They
//! rest as in any book, which may be crossed then.
//!
//! At the end no order may meet one of its own user, nor may such a pair have a say in the price. So they go first: user
//! by user, the smallest account id first, the best bid and the best ask of a user meet as long as they cross (best
//! price first and oldest first within a price), and the rule of the newer of the two decides what is left of both.
//! Whatever crosses then is of two users. All that can trade does so at one price ([`crate::domain::auction`]), best
//! price first and oldest first within a price; of each two the newer order is the taker, and both pay the fee of those
//! who rest. Then the stops wake that all this has reached. Every meeting ends at least one order, and the price is
//! looked for once, so that an auction of n orders is over after a multiple of n log n steps.

use super::Book;
use super::stops::Range;
use crate::domain::auction::{Clearing, clearing};
use crate::domain::event::{Change, ChangeReason, Crossed, DoneReason, Event, Fill, PhaseChange, PhaseReason};
use crate::domain::ids::{AccountId, OrderId, Ticket, TradeId};
use crate::domain::invariant::broken;
use crate::domain::market::{MarketState, Phase};
use crate::domain::money::{MILLION, Price, Size};
use crate::domain::order::{Reject, SelfTrade, Side};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// The prices at which a market trades without a halt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corridor {
    low: Price,
    high: Price,
    /// The price in its middle; zero while there is none.
    pub reference: Price,
    /// Since when that is the reference.
    pub since: Timestamp,
}

impl Default for Corridor {
    fn default() -> Corridor {
        Corridor { low: Price(0), high: Price(u64::MAX), reference: Price(0), since: Timestamp::ZERO }
    }
}

/// The orders of one user that cross the other side of the book, best first and oldest first within a price.
#[derive(Default)]
struct Crossing {
    bids: VecDeque<OrderId>,
    asks: VecDeque<OrderId>,
}

impl Corridor {
    #[inline]
    pub fn contains(&self, price: Price) -> bool {
        self.low <= price && price <= self.high
    }
}

impl Book {
    #[inline]
    pub(super) fn in_auction(&self) -> bool {
        matches!(self.phase, Phase::Auction { .. })
    }

    /// The corridor that the rules lay around a reference.
    pub(super) fn corridor_around(&self, reference: Price, since: Timestamp) -> Corridor {
        let halt = i128::from(self.config.safety.halt.0);
        if halt == 0 || reference.0 == 0 {
            return Corridor { reference, since, ..Corridor::default() };
        }
        // A share of a price is below the price, so it fits.
        let width = (i128::from(reference.0) * halt / MILLION) as u64;
        let (low, high) = (Price(reference.0 - width), Price(reference.0 + width));
        Corridor { low, high, reference, since }
    }

    /// The newest trade price, or the configured one before any.
    fn newest_reference(&self) -> Option<Price> {
        self.last_price.or(Some(self.config.reference_price)).filter(|price| price.0 != 0)
    }

    /// Makes the newest price the reference, if the present one is old enough. Called when an order may trade.
    #[inline]
    pub(super) fn renew_reference(&mut self) {
        let safety = self.config.safety;
        if safety.halt.0 == 0 {
            return;
        }
        let old = self.corridor.reference.0 == 0
            || self.now.0.saturating_sub(self.corridor.since.0) >= i64::from(safety.window_ms) * 1_000;
        if old && let Some(reference) = self.newest_reference() {
            self.corridor = self.corridor_around(reference, self.now);
        }
    }

    fn enter(
        &mut self,
        phase: Phase,
        ticket: Ticket,
        reason: PhaseReason,
        traded: (Option<Price>, u128),
        out: &mut Vec<Event>,
    ) {
        self.phase = phase;
        let reference = self.newest_reference();
        let (price, volume) = traded;
        self.emit(out, Event::Phase(PhaseChange { ticket, phase, reason, reference, price, volume }));
    }

    /// Halts the market and begins an auction.
    pub(super) fn halt(&mut self, out: &mut Vec<Event>) {
        let ends_at = self.now + i64::from(self.config.safety.auction_ms) * 1_000;
        self.enter(Phase::Auction { ends_at }, Ticket(0), PhaseReason::Volatility, (None, 0), out);
    }

    #[inline(never)]
    pub(super) fn ask_for_auction(&mut self, ticket: Ticket, ends_at: Timestamp, out: &mut Vec<Event>) {
        if self.phase != Phase::Trading {
            return out.push(Event::Refused { ticket, account: AccountId::HOUSE, reason: Reject::BadPhase });
        }
        self.enter(Phase::Auction { ends_at }, ticket, PhaseReason::AuctionAsked, (None, 0), out);
    }

    /// When the auction that goes on ends, if one does; in a market that is closed it waits until that opens.
    pub(super) fn auction_due(&self) -> Option<Timestamp> {
        match (self.phase, self.config.state) {
            (_, MarketState::Halted | MarketState::CancelOnly) | (Phase::Trading | Phase::Killed, _) => None,
            (Phase::Auction { ends_at }, _) => Some(ends_at),
        }
    }

    /// Ends the auction if its time has come by now. Orders whose life ends before it does take no part.
    pub(super) fn end_auction_by(&mut self, at: Timestamp, out: &mut Vec<Event>) {
        let Some(ends_at) = self.auction_due().filter(|due| *due <= at) else { return };
        self.expire(ends_at, out);
        let mut range = std::mem::take(&mut self.unheard);
        let (mut price, mut volume) = (None, 0);
        self.let_own_orders_meet(out);
        if let Some(Clearing { price: at, .. }) = self.clearing() {
            while let Some((bid, ask)) = self.pair_at(at) {
                volume += u128::from(self.meet(bid, ask, at, out).0);
            }
            range.include(Some(at));
            price = Some(at);
        }
        self.enter(Phase::Trading, Ticket(0), PhaseReason::AuctionEnded, (price, volume), out);
        if let Some(reference) = self.newest_reference() {
            self.corridor = self.corridor_around(reference, self.now);
        }
        self.wake_stops(&mut range, out);
    }

    /// Lets the orders of each user that cross meet each other, so that the price is made by orders that trade there.
    fn let_own_orders_meet(&mut self, out: &mut Vec<Event>) {
        let (Some(highest), Some(lowest)) = (self.bids.best_price(), self.asks.best_price()) else { return };
        let mut users: BTreeMap<AccountId, Crossing> = BTreeMap::new();
        for bid in self.resting(Side::Buy).take_while(|bid| bid.price >= lowest) {
            users.entry(self.slab.peek(bid.id.slot).account).or_default().bids.push_back(bid.id);
        }
        for ask in self.resting(Side::Sell).take_while(|ask| ask.price <= highest) {
            users.entry(self.slab.peek(ask.id.slot).account).or_default().asks.push_back(ask.id);
        }
        for Crossing { mut bids, mut asks } in users.into_values() {
            while let (Some(bid), Some(ask)) = (bids.front().copied(), asks.front().copied()) {
                match (self.slab.find(bid).copied(), self.slab.find(ask).copied()) {
                    (None, _) => {
                        bids.pop_front();
                    }
                    (_, None) => {
                        asks.pop_front();
                    }
                    (Some(buyer), Some(seller)) if buyer.price >= seller.price => {
                        self.meet_own(bid.slot, ask.slot, out);
                    }
                    (Some(_), Some(_)) => break,
                }
            }
        }
    }

    /// The price of an auction of the book as it is, its users' own pairs included; `None` when the book is not crossed.
    pub fn clearing(&self) -> Option<Clearing> {
        clearing(self.sizes(Side::Buy), self.sizes(Side::Sell), self.newest_reference())
    }

    /// Prices and lots, order by order.
    fn sizes(&self, side: Side) -> impl Iterator<Item = (Price, u64)> + '_ {
        self.resting(side).map(|resting| (resting.price, resting.remaining.0))
    }

    /// The first orders of both sides, if both trade at this price.
    fn pair_at(&mut self, price: Price) -> Option<(u32, u32)> {
        let bid = self.bids.best_price().filter(|bid| *bid >= price)?;
        let ask = self.asks.best_price().filter(|ask| *ask <= price)?;
        debug_assert!(bid >= ask);
        Some((self.bids.front()?.1, self.asks.front()?.1))
    }

    /// Lets two resting orders trade at the auction's price; how much they traded.
    fn meet(&mut self, bid: u32, ask: u32, price: Price, out: &mut Vec<Event>) -> Size {
        let (buyer, seller) = (*self.slab.peek(bid), *self.slab.peek(ask));
        let (taker, maker) = if buyer.number > seller.number { (bid, ask) } else { (ask, bid) };
        let size = buyer.remaining.min(seller.remaining);
        if buyer.account == seller.account {
            broken("orders of one user that cross must have met before there is a price");
        }
        let quote = self.scale.quote(price, size);
        let (buying, selling) = (self.slab.live(bid), self.slab.live(ask));
        // As for any buy, its fee never eats what the rest of it costs at its limit.
        let rest = self.scale.quote(buyer.price, buyer.remaining - size);
        let buyer_fee = quote.share_rounded_up(buying.cold.maker_fee).min(buyer.hold - quote - rest);
        let seller_fee = quote.share_rounded_up(selling.cold.maker_fee);
        let base = self.scale.base(size);
        for (slot, fee, spent) in [(bid, buyer_fee, quote + buyer_fee), (ask, seller_fee, base)] {
            let cold = self.slab.cold_mut(slot);
            cold.filled = cold.filled + size;
            cold.executed += quote;
            cold.fees += fee;
            let hot = self.slab.hot(slot);
            hot.remaining = hot.remaining - size;
            hot.hold -= spent;
        }
        self.trades += 1;
        self.last_price = Some(price);
        let (taking, making) = if taker == bid { (buyer, seller) } else { (seller, buyer) };
        let (taker_fee, maker_fee) = if taker == bid { (buyer_fee, seller_fee) } else { (seller_fee, buyer_fee) };
        let id = |slot: u32, number: u64| OrderId { number, slot };
        for value in [making.number, taking.number, price.0, size.0] {
            self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        }
        self.emit(
            out,
            Event::Changed(Change {
                id: id(taker, taking.number),
                ticket: Ticket(0),
                account: taking.account,
                side: taking.side(),
                reason: ChangeReason::Auction,
                price: Some(taking.price),
                new_price: None,
                old_size: taking.remaining,
                new_size: taking.remaining - size,
                new_total: None,
                old_funds: None,
                new_funds: None,
                hold_delta: crate::domain::money::Amount::ZERO,
                rests: true,
            }),
        );
        let fill = Fill {
            trade: TradeId(self.trades),
            maker: id(maker, making.number),
            taker: id(taker, taking.number),
            maker_account: making.account,
            taker_account: taking.account,
            maker_side: making.side(),
            price,
            size,
            base,
            quote,
            maker_fee,
            taker_fee,
        };
        self.emit(out, Event::Crossed(Crossed { fill, maker_price: making.price }));
        for slot in [maker, taker] {
            if self.slab.peek(slot).remaining.is_zero() {
                self.end(slot, Ticket(0), DoneReason::Filled, out);
            }
        }
        size
    }

    /// Two orders of one user: the newer one's rule decides. At least one of them ends.
    fn meet_own(&mut self, bid: u32, ask: u32, out: &mut Vec<Event>) {
        let (taker, maker) =
            if self.slab.peek(bid).number > self.slab.peek(ask).number { (bid, ask) } else { (ask, bid) };
        let (taking, making) = (*self.slab.peek(taker), *self.slab.peek(maker));
        let size = taking.remaining.min(making.remaining);
        let ended: &[u32] = match taking.self_trade() {
            SelfTrade::CancelOldest => &[maker],
            SelfTrade::CancelNewest => &[taker],
            SelfTrade::CancelBoth => &[maker, taker],
            SelfTrade::DecrementAndCancel => {
                let larger = if taking.remaining > making.remaining { taker } else { maker };
                if taking.remaining == making.remaining {
                    &[maker, taker]
                } else {
                    let smaller = if larger == taker { maker } else { taker };
                    let left = self.slab.peek(larger).remaining - size;
                    self.end(smaller, Ticket(0), DoneReason::SelfTrade, out);
                    self.reduce(larger, left, out);
                    &[]
                }
            }
        };
        for slot in ended {
            self.end(*slot, Ticket(0), DoneReason::SelfTrade, out);
        }
    }

    /// Cancels all orders of a user.
    #[inline(never)]
    pub(super) fn kill_orders_of(&mut self, account: AccountId, ticket: Ticket, out: &mut Vec<Event>) {
        let mut doomed: Vec<(u64, u32)> =
            self.orders_of(account).map(|order| (order.id.number, order.id.slot)).collect();
        self.end_all(&mut doomed, ticket, out);
    }

    /// Cancels everything, oldest first, and takes nothing more; or lets the market trade again.
    #[inline(never)]
    pub(super) fn kill(&mut self, ticket: Ticket, engaged: bool, out: &mut Vec<Event>) {
        match (engaged, self.phase) {
            (true, Phase::Killed) | (false, Phase::Trading | Phase::Auction { .. }) => {}
            (true, _) => {
                let slots = self.slab.slots();
                let mut doomed: Vec<(u64, u32)> = slots.map(|slot| (self.slab.peek(slot).number, slot)).collect();
                self.end_all(&mut doomed, ticket, out);
                self.unheard = Range::default();
                self.enter(Phase::Killed, ticket, PhaseReason::KillSwitch, (None, 0), out);
            }
            (false, Phase::Killed) => self.enter(Phase::Trading, ticket, PhaseReason::Released, (None, 0), out),
        }
    }

    fn end_all(&mut self, doomed: &mut [(u64, u32)], ticket: Ticket, out: &mut Vec<Event>) {
        doomed.sort_unstable();
        for (_, slot) in doomed {
            self.end(*slot, ticket, DoneReason::Killed, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::auction::CLEARINGS;
    use crate::domain::entry::MarketEntry;
    use crate::domain::ids::CurrencyId;
    use crate::domain::market::{MarketConfig, Scale, Step};
    use crate::domain::money::{Amount, Ppm};
    use crate::domain::order::{Kind, NewOrder, TimeInForce};

    /// A user whose orders all meet each other does not keep the others waiting.
    #[test]
    fn the_price_is_looked_for_once_however_many_own_orders_meet() {
        const BIDS: usize = 10_000;
        use SelfTrade::{CancelBoth, CancelNewest, CancelOldest, DecrementAndCancel};
        for rule in [DecrementAndCancel, CancelOldest, CancelNewest, CancelBoth] {
            let step = Step { units: 1, decimals: 0 };
            let config = MarketConfig::new("BTC-USDT".into(), CurrencyId(0), CurrencyId(1), step, step);
            let scale = Scale { quote_per_tick_lot: 1, base_per_lot: 1 };
            let mut book = Book::new(MarketConfig { max_open_orders: 0, ..config }, scale);
            let order = |account, side, price, lots| NewOrder {
                ticket: Ticket(0),
                account: AccountId(account),
                client_id: None,
                side,
                kind: Kind::Limit {
                    price: Price(price),
                    time_in_force: TimeInForce::GoodTillCanceled,
                    post_only: false,
                },
                size: Size(lots),
                stop: None,
                self_trade: rule,
                maker_fee: Ppm(0),
                taker_fee: Ppm(0),
                hold: Amount(i128::from(price * lots)),
            };
            let begin = MarketEntry::BeginAuction { ticket: Ticket(0), ends_at: Timestamp(1_000) };
            let mut events = Vec::new();
            book.apply(Timestamp(0), &begin, &mut events);
            let own = std::iter::once(order(2, Side::Sell, 90, 20_000))
                .chain(std::iter::repeat_n(order(2, Side::Buy, 100, 1), BIDS));
            for order in own.chain([order(3, Side::Sell, 95, 10), order(4, Side::Buy, 100, 10)]) {
                book.apply(Timestamp(0), &MarketEntry::Place(order), &mut events);
            }
            assert_eq!(book.live_orders(), BIDS + 3, "{rule:?}");
            events.clear();
            CLEARINGS.set(0);
            book.apply(Timestamp(1_000), &MarketEntry::Tick, &mut events);
            assert_eq!((book.phase(), CLEARINGS.get()), (Phase::Trading, 1), "{rule:?}");
            assert!(events.len() < 2 * BIDS + 20, "{rule:?}: {} events", events.len());
            assert!(events.iter().any(|event| matches!(event, Event::Crossed(_))), "{rule:?}: others trade");
            let crossed = book.best(Side::Buy).zip(book.best(Side::Sell)).is_some_and(|(bid, ask)| bid >= ask);
            assert!(!crossed, "{rule:?}: the book is crossed");
        }
    }
}
