//! The rules of a market, as plainly as they can be said: live orders in a `Vec`, found by looking
//! at each of them, amounts as `i128`. Written from the rules and not from the book.
//!
//! Outcomes use the domain's vocabulary; the slots of order ids are always 0 here, since where a
//! book keeps its orders is no rule.

use crate::rules;
use agora::domain::entry::MarketEntry;
use agora::domain::event::{Change, ChangeReason, Done, DoneReason, Event, Fill, Opened, PhaseReason, Triggered};
use agora::domain::ids::{AccountId, OrderId, Ticket, TradeId};
use agora::domain::market::{MarketConfig, MarketState, Phase, Scale};
use agora::domain::money::{Amount, Price, Size};
use agora::domain::order::{Kind, NewOrder, Reject, SelfTrade, Side, Stop, TimeInForce, Trigger};
use agora::domain::time::Timestamp;

/// A live order.
#[derive(Clone, Debug)]
pub struct Order {
    pub number: u64,
    pub asked: NewOrder,
    /// Its limit; `None` for market orders.
    pub limit: Option<u64>,
    /// The whole size, as asked or amended; 0 for a market order by funds.
    pub size: u64,
    pub remaining: u64,
    pub filled: u64,
    pub hold: i128,
    /// What a market sell by funds may still bring in, fees aside.
    pub obtainable: Option<i128>,
    pub sleeping: bool,
    /// Its place in time: the smaller, the earlier.
    pub queued: u64,
    /// When it entered its user's list; a stop that wakes enters again.
    pub listed: u64,
}

/// A configuration with this limit of open orders has an unsound fee too.
pub const UNSOUND: u32 = 77;

/// One market.
#[derive(Clone, Debug)]
pub struct Market {
    pub config: MarketConfig,
    /// Quote atoms of tick × lot, base atoms of a lot.
    pub scale: (i128, i128),
    pub live: Vec<Order>,
    pub accepted: u64,
    pub trades: u64,
    pub last_price: Option<u64>,
    pub phase: Phase,
    /// What a halt refers to, and since when.
    pub reference: (u64, i64),
    pub now: i64,
    pub clock: u64,
    /// Prices traded at since stops were last woken.
    pub traded: Vec<u64>,
    pub events: Vec<Event>,
}

enum End {
    Filled,
    NoMatch,
    SelfTrade,
    Halted,
}

pub fn ceil_share(quote: i128, ppm: u32) -> i128 {
    // Whole millions apart from the rest, so that nothing leaves 128 bits.
    let (millions, rest) = (quote / 1_000_000, quote % 1_000_000 * i128::from(ppm));
    millions * i128::from(ppm) + rest / 1_000_000 + i128::from(rest % 1_000_000 != 0)
}

impl Order {
    pub fn side(&self) -> Side {
        self.asked.side
    }
    pub fn id(&self) -> OrderId {
        OrderId { number: self.number, slot: 0 }
    }
    fn time_in_force(&self) -> Option<TimeInForce> {
        match self.asked.kind {
            Kind::Limit { time_in_force, .. } => Some(time_in_force),
            Kind::Market { .. } => None,
        }
    }
    fn expires_at(&self) -> Option<i64> {
        match self.time_in_force() {
            Some(TimeInForce::GoodTillTime(Timestamp(at))) => Some(at),
            _ => None,
        }
    }
    pub fn rests(&self) -> bool {
        matches!(self.time_in_force(), Some(TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime(_)))
    }
    fn post_only(&self) -> bool {
        matches!(self.asked.kind, Kind::Limit { post_only: true, .. })
    }
    fn market_buy(&self) -> bool {
        self.limit.is_none() && self.side() == Side::Buy
    }
}

impl Market {
    pub fn new(config: MarketConfig, scale: Scale) -> Market {
        Market {
            config,
            scale: (i128::from(scale.quote_per_tick_lot), i128::from(scale.base_per_lot)),
            live: Vec::new(),
            accepted: 0,
            trades: 0,
            last_price: None,
            phase: Phase::Trading,
            reference: (0, 0),
            now: 0,
            clock: 0,
            traded: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn quote(&self, price: u64, size: u64) -> i128 {
        i128::from(price) * i128::from(size) * self.scale.0
    }

    /// What a limit order must have reserved.
    pub fn hold_for(&self, side: Side, price: u64, size: u64, worst_fee: u32) -> i128 {
        match side {
            Side::Sell => i128::from(size) * self.scale.1,
            Side::Buy => self.quote(price, size) + ceil_share(self.quote(price, size), worst_fee),
        }
    }

    /// The resting orders of a side, best price first, oldest first within a price.
    pub fn rows(&self, side: Side) -> Vec<&Order> {
        let mut rows: Vec<&Order> = self.live.iter().filter(|o| !o.sleeping && o.side() == side).collect();
        rows.sort_by_key(|o| {
            let price = i128::from(o.limit.unwrap());
            (if side == Side::Buy { -price } else { price }, o.queued)
        });
        rows
    }

    /// The live orders of a user, the one that entered last first.
    pub fn orders_of(&self, account: AccountId) -> Vec<&Order> {
        let mut orders: Vec<&Order> = self.live.iter().filter(|o| o.asked.account == account).collect();
        orders.sort_by_key(|o| std::cmp::Reverse(o.listed));
        orders
    }

    /// The events of one entry.
    pub fn apply(&mut self, at: Timestamp, entry: &MarketEntry) -> Vec<Event> {
        self.now = at.0;
        let open = !matches!(self.config.state, MarketState::Halted | MarketState::CancelOnly);
        if let Phase::Auction { ends_at } = self.phase
            && ends_at <= at
            && open
        {
            self.expire(ends_at.0);
            self.end_auction();
        }
        self.expire(at.0);
        match entry {
            MarketEntry::Place(order) => self.place(at, order),
            MarketEntry::Cancel { ticket, account, order } => self.cancel(*ticket, *account, order.number),
            MarketEntry::CancelAll { ticket, account, side } => self.cancel_all(*ticket, *account, *side),
            MarketEntry::Amend(amend) => self.amend(amend),
            MarketEntry::Configure(config) => {
                let (old, new) = (&self.config, config);
                if (old.id, &old.symbol, old.base, old.quote, old.tick, old.lot)
                    == (new.id, &new.symbol, new.base, new.quote, new.tick, new.lot)
                {
                    self.config = (**config).clone();
                    self.events.push(Event::Configured(config.clone()));
                }
            }
            MarketEntry::Tick => {}
            MarketEntry::Atomic(batch) => self.atomic(at, batch),
            MarketEntry::Reconfigure { ticket, config } => {
                let (old, new) = (&self.config, config);
                let same = (old.id, &old.symbol, old.base, old.quote, old.tick, old.lot)
                    == (new.id, &new.symbol, new.base, new.quote, new.tick, new.lot);
                if same && config.max_open_orders != UNSOUND {
                    self.config = (**config).clone();
                    self.events.push(Event::Configured(config.clone()));
                } else {
                    self.refuse(*ticket, AccountId::HOUSE, Reject::BadConfig);
                }
            }
            MarketEntry::Kill { ticket, account, engaged } => self.kill(*ticket, *account, *engaged),
            MarketEntry::BeginAuction { ticket, ends_at } if self.phase == Phase::Trading => {
                self.enter(Phase::Auction { ends_at: *ends_at }, *ticket, PhaseReason::AuctionAsked, (None, 0));
            }
            MarketEntry::BeginAuction { ticket, .. } => self.refuse(*ticket, AccountId::HOUSE, Reject::BadPhase),
        }
        std::mem::take(&mut self.events)
    }

    fn expire(&mut self, now: i64) {
        while let Some(number) = self
            .live
            .iter()
            .filter_map(|o| Some((o.expires_at()?, o.number)))
            .filter(|(at, _)| *at <= now)
            .min()
            .map(|(_, number)| number)
        {
            self.end_live(number, Ticket(0), DoneReason::Expired);
        }
    }

    fn place(&mut self, at: Timestamp, asked: &NewOrder) {
        if let Some(reason) = rules::first_reject(self, asked, at) {
            self.events.push(Event::Rejected { ticket: asked.ticket, account: asked.account, reason });
            return;
        }
        self.accept(asked);
        self.wake();
    }

    /// An order that was just accepted.
    pub fn newest(&mut self, asked: &NewOrder) -> Order {
        self.accepted += 1;
        let limit = match asked.kind {
            Kind::Limit { price, .. } => Some(price.0),
            Kind::Market { .. } => None,
        };
        Order {
            number: self.accepted,
            asked: *asked,
            limit,
            size: asked.size.0,
            remaining: asked.size.0,
            filled: 0,
            hold: asked.hold.0,
            obtainable: match asked.kind {
                Kind::Market { funds } if asked.side == Side::Sell => funds.map(|funds| funds.0),
                _ => None,
            },
            sleeping: asked.stop.is_some(),
            queued: 0,
            listed: 0,
        }
    }

    pub fn accept(&mut self, asked: &NewOrder) {
        let order = self.newest(asked);
        self.events.push(Event::Accepted(order.id(), *asked));
        if order.sleeping {
            self.add(order);
            self.traded.extend(self.last_price);
        } else {
            self.execute(order, false);
        }
    }

    pub fn add(&mut self, mut order: Order) {
        self.clock += 1;
        order.queued = self.clock;
        order.listed = self.clock;
        self.live.push(order);
    }

    pub fn remove(&mut self, number: u64) -> Order {
        let at = self.live.iter().position(|o| o.number == number).unwrap();
        self.live.remove(at)
    }

    /// Waves: all that the prices so far reach wake together, in the order of acceptance; what they
    /// trade at counts for the next wave.
    pub fn wake(&mut self) {
        while !self.traded.is_empty() && !self.in_auction() {
            let traded = std::mem::take(&mut self.traded);
            let reached = |stop: Stop| match stop.trigger {
                Trigger::Loss => traded.iter().any(|p| *p <= stop.price.0),
                Trigger::Entry => traded.iter().any(|p| *p >= stop.price.0),
            };
            let mut wave: Vec<u64> = self
                .live
                .iter()
                .filter(|o| o.sleeping && o.asked.stop.is_some_and(reached))
                .map(|o| o.number)
                .collect();
            wave.sort_unstable();
            for (at, number) in wave.into_iter().enumerate() {
                // The one before has halted the market: the others wait for the end of the auction.
                if at > 0 && self.in_auction() {
                    self.traded.extend(&traded);
                    break;
                }
                let mut order = self.remove(number);
                order.sleeping = false;
                let mut kind = order.asked.kind;
                if let (Kind::Limit { price, .. }, Some(limit)) = (&mut kind, order.limit) {
                    *price = Price(limit);
                }
                self.events.push(Event::Triggered(Triggered {
                    id: order.id(),
                    account: order.asked.account,
                    client_id: order.asked.client_id,
                    side: order.side(),
                    kind,
                    size: Size(order.remaining),
                }));
                self.execute(order, true);
            }
        }
    }

    pub fn would_take(&self, side: Side, price: u64) -> bool {
        self.live.iter().any(|o| !o.sleeping && o.side() != side && crosses(side, Some(price), o.limit.unwrap()))
    }

    fn execute(&mut self, mut order: Order, woken: bool) {
        let safety = self.config.safety;
        let old = self.reference.0 == 0 || self.now - self.reference.1 >= i64::from(safety.window_ms) * 1_000;
        if let (true, true, Some(reference)) = (safety.halt.0 != 0, old, self.newest_reference()) {
            self.reference = (reference, self.now);
        }
        if woken && self.keeps_out(&order) {
            return self.over(&order, Ticket(0), DoneReason::NoLiquidity, false, false);
        }
        if order.time_in_force() == Some(TimeInForce::FillOrKill) && !self.fills_whole(&order, woken) {
            return self.over(&order, Ticket(0), DoneReason::FillOrKill, false, false);
        }
        let end = self.take(&mut order);
        if let End::Halted = end {
            let ends_at = Timestamp(self.now + i64::from(safety.auction_ms) * 1_000);
            self.enter(Phase::Auction { ends_at }, Ticket(0), PhaseReason::Volatility, (None, 0));
        }
        let reason = match end {
            End::Filled => DoneReason::Filled,
            End::SelfTrade => DoneReason::SelfTrade,
            End::NoMatch | End::Halted if order.rests() => {
                self.events.push(Event::Opened(Opened {
                    id: order.id(),
                    account: order.asked.account,
                    side: order.side(),
                    price: Price(order.limit.unwrap()),
                    remaining: Size(order.remaining),
                }));
                return self.add(order);
            }
            End::NoMatch | End::Halted if self.in_auction() => DoneReason::Halted,
            End::NoMatch | End::Halted => DoneReason::NoLiquidity,
        };
        self.over(&order, Ticket(0), reason, false, false);
    }

    /// Whether a stop that wakes may not enter: where only limit orders are taken, one without a limit; where only orders
    /// are taken that cannot take, one that would; a post-only order that would take, anywhere.
    fn keeps_out(&self, stop: &Order) -> bool {
        let would_take = stop.limit.is_none_or(|limit| self.would_take(stop.side(), limit));
        let state = self.config.state;
        (state == MarketState::LimitOnly && stop.limit.is_none())
            || (state == MarketState::PostOnly && would_take)
            || (stop.post_only() && would_take)
    }

    fn over(&mut self, order: &Order, ticket: Ticket, reason: DoneReason, rested: bool, slept: bool) {
        self.events.push(Event::Done(Done {
            id: order.id(),
            ticket,
            account: order.asked.account,
            side: order.side(),
            price: order.limit.map(Price),
            remaining: Size(order.remaining),
            reason,
            released: Amount(order.hold),
            rested,
            slept,
        }));
    }

    pub fn end_live(&mut self, number: u64, ticket: Ticket, reason: DoneReason) {
        let order = self.remove(number);
        self.over(&order, ticket, reason, !order.sleeping, order.sleeping);
    }

    /// Whether a fill-or-kill order would be filled whole, by others, within its limit; of those that were stops a thousand
    /// orders are asked at most, of those that have just come a hundred thousand.
    fn fills_whole(&self, order: &Order, woken: bool) -> bool {
        let mut left = i128::from(order.remaining);
        let asked = if woken { 1_000 } else { 100_000 };
        for maker in self.rows(order.side().opposite()).into_iter().take(asked) {
            let price = maker.limit.unwrap();
            if left <= 0 || !crosses(order.side(), order.limit, price) || self.too_far(price) {
                break;
            }
            if maker.asked.account != order.asked.account {
                left -= i128::from(maker.remaining);
            } else if order.asked.self_trade != SelfTrade::CancelOldest {
                return false;
            }
        }
        left <= 0
    }

    /// The most lots that `funds` pay at this price, fee included: by bisection.
    fn lots_for(&self, funds: i128, price: u64, fee: u32) -> u64 {
        let (mut low, mut high) = (0u64, 1u64 << 48);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let quote = self.quote(price, middle);
            if quote <= funds && quote + ceil_share(quote, fee) <= funds {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// How many lots of the taker its size, its funds and its hold allow at this price.
    fn wanted(&self, taker: &Order, price: u64) -> u64 {
        let lots = match (taker.limit, taker.side(), taker.obtainable) {
            (None, Side::Buy, _) => self.lots_for(taker.hold, price, taker.asked.taker_fee.0),
            (None, Side::Sell, Some(left)) => {
                let lots = (left.max(0) / self.quote(price, 1)).min(taker.hold / self.scale.1);
                u64::try_from(lots.min(i128::from(Size::MAX.0))).unwrap()
            }
            _ => return taker.remaining,
        };
        lots.min(if taker.size > 0 { taker.remaining } else { u64::MAX - taker.filled })
    }

    /// Whether an order that asked for funds has spent them, or brought them in, but for less than a lot at this price.
    fn has_its_funds(&self, taker: &Order, price: u64) -> bool {
        match (taker.asked.kind, taker.obtainable) {
            (Kind::Market { funds: Some(_) }, Some(left)) => left < self.quote(price, 1),
            (Kind::Market { funds: Some(_) }, None) => self.lots_for(taker.hold, price, taker.asked.taker_fee.0) == 0,
            _ => false,
        }
    }

    fn take(&mut self, taker: &mut Order) -> End {
        if self.in_auction() {
            return End::NoMatch;
        }
        loop {
            if taker.size > 0 && taker.remaining == 0 {
                return End::Filled;
            }
            let best = self.rows(taker.side().opposite()).first().map(|o| (o.number, o.limit.unwrap()));
            let Some((number, price)) = best else {
                let by_funds = taker.size == 0 && taker.filled > 0;
                return match self.last_price {
                    Some(price) if by_funds && self.has_its_funds(taker, price) => End::Filled,
                    _ => End::NoMatch,
                };
            };
            if !crosses(taker.side(), taker.limit, price) {
                return End::NoMatch;
            }
            let wanted = self.wanted(taker, price);
            // An order whose funds or hold trade nothing more is over; it meets nobody, and moves no price. It is filled
            // if it traded, and has what it asked for.
            if wanted == 0 {
                let filled = taker.filled > 0 && self.has_its_funds(taker, price);
                return if filled { End::Filled } else { End::NoMatch };
            }
            if self.too_far(price) {
                return End::Halted;
            }
            let at = self.live.iter().position(|o| o.number == number).unwrap();
            if self.live[at].asked.account == taker.asked.account {
                if let Some(end) = self.meet_own(taker, at) {
                    return end;
                }
            } else {
                self.fill(taker, at, wanted);
            }
        }
    }

    fn fill(&mut self, taker: &mut Order, at: usize, wanted: u64) {
        let (per_quote, per_base) = self.scale;
        let maker = &mut self.live[at];
        let price = maker.limit.unwrap();
        let size = wanted.min(maker.remaining);
        let quote = i128::from(price) * i128::from(size) * per_quote;
        let base = i128::from(size) * per_base;
        let mut maker_fee = ceil_share(quote, maker.asked.maker_fee.0);
        let mut taker_fee = ceil_share(quote, taker.asked.taker_fee.0);
        // A buyer's fee never eats what the rest of the order costs at its limit.
        let rest_costs = |o: &Order, left: u64| o.limit.map_or(0, |l| i128::from(l) * i128::from(left) * per_quote);
        if maker.side() == Side::Buy {
            maker_fee = maker_fee.min(maker.hold - quote - rest_costs(maker, maker.remaining - size));
            maker.hold -= quote + maker_fee;
            taker.hold -= base;
            if let Some(left) = &mut taker.obtainable {
                *left -= quote;
            }
        } else {
            let left = if taker.limit.is_some() { taker.remaining - size } else { 0 };
            taker_fee = taker_fee.min(taker.hold - quote - rest_costs(taker, left));
            taker.hold -= quote + taker_fee;
            maker.hold -= base;
        }
        maker.remaining -= size;
        maker.filled += size;
        taker.filled += size;
        if taker.size > 0 {
            taker.remaining -= size;
        }
        self.trades += 1;
        let fill = Fill {
            trade: TradeId(self.trades),
            maker: maker.id(),
            taker: taker.id(),
            maker_account: maker.asked.account,
            taker_account: taker.asked.account,
            maker_side: maker.side(),
            price: Price(price),
            size: Size(size),
            base: Amount(base),
            quote: Amount(quote),
            maker_fee: Amount(maker_fee),
            taker_fee: Amount(taker_fee),
        };
        let (number, finished) = (maker.number, maker.remaining == 0);
        self.last_price = Some(price);
        self.traded.push(price);
        self.events.push(Event::Filled(fill));
        if finished {
            self.end_live(number, Ticket(0), DoneReason::Filled);
        }
    }

    /// The taker meets a resting order of its own user.
    fn meet_own(&mut self, taker: &mut Order, at: usize) -> Option<End> {
        let own = self.live[at].clone();
        match taker.asked.self_trade {
            SelfTrade::CancelNewest => return Some(End::SelfTrade),
            SelfTrade::CancelOldest => {
                self.end_live(own.number, Ticket(0), DoneReason::SelfTrade);
                return None;
            }
            SelfTrade::CancelBoth => {
                self.end_live(own.number, Ticket(0), DoneReason::SelfTrade);
                return Some(End::SelfTrade);
            }
            SelfTrade::DecrementAndCancel => {}
        }
        let price = own.limit.unwrap();
        let by_funds = taker.size == 0;
        let taker_size = if by_funds { self.wanted(taker, price) } else { taker.remaining };
        if taker_size < own.remaining {
            let left = own.remaining - taker_size;
            let hold = own.hold.min(self.needs(&own, left));
            self.changed_by_self_trade(&own, left, hold - own.hold, None);
            self.live[at].remaining = left;
            self.live[at].hold = hold;
            return Some(End::SelfTrade);
        }
        self.end_live(own.number, Ticket(0), DoneReason::SelfTrade);
        if let Some(funds) = taker.obtainable.filter(|_| by_funds) {
            let left = funds - self.quote(price, own.remaining);
            self.changed_by_self_trade(taker, 0, 0, Some((funds, left)));
            taker.obtainable = Some(left);
            return if left == 0 { Some(End::SelfTrade) } else { None };
        }
        if by_funds {
            let quote = self.quote(price, own.remaining);
            let funds = taker.hold - quote - ceil_share(quote, taker.asked.taker_fee.0);
            self.changed_by_self_trade(taker, 0, funds - taker.hold, Some((taker.hold, funds)));
            taker.hold = funds;
            return if funds == 0 { Some(End::SelfTrade) } else { None };
        }
        if taker_size == own.remaining {
            return Some(End::SelfTrade);
        }
        let left = taker_size - own.remaining;
        let hold = if taker.market_buy() { taker.hold } else { taker.hold.min(self.needs(taker, left)) };
        self.changed_by_self_trade(taker, left, hold - taker.hold, None);
        taker.remaining = left;
        taker.hold = hold;
        None
    }

    /// What `size` of this order needs as hold.
    pub fn needs(&self, order: &Order, size: u64) -> i128 {
        let worst = order.asked.maker_fee.max(order.asked.taker_fee).0;
        self.hold_for(order.side(), order.limit.unwrap_or(0), size, worst)
    }

    pub fn changed_by_self_trade(
        &mut self,
        order: &Order,
        new_size: u64,
        hold_delta: i128,
        funds: Option<(i128, i128)>,
    ) {
        self.events.push(Event::Changed(Change {
            id: order.id(),
            ticket: Ticket(0),
            account: order.asked.account,
            side: order.side(),
            reason: ChangeReason::SelfTrade,
            price: order.limit.map(Price),
            new_price: None,
            old_size: Size(order.remaining),
            new_size: Size(new_size),
            new_total: None,
            old_funds: funds.map(|(old, _)| Amount(old)),
            new_funds: funds.map(|(_, new)| Amount(new)),
            hold_delta: Amount(hold_delta),
            rests: self.live.iter().any(|o| o.number == order.number),
        }));
    }

    pub fn refuse(&mut self, ticket: Ticket, account: AccountId, reason: Reject) {
        self.events.push(Event::Refused { ticket, account, reason });
    }
}

/// Whether an order of this side and limit trades at this price.
pub fn crosses(side: Side, limit: Option<u64>, price: u64) -> bool {
    limit.is_none_or(|limit| if side == Side::Buy { price <= limit } else { price >= limit })
}
