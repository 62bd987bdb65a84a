//! One market's order book: price-time priority, one deterministic [`Book::apply`].
//!
//! Invariants: the book is never crossed after an entry; every live order is in exactly one of a
//! level's queue or the sleeping stops, and in its user's list; an order's hold always covers what
//! is left of it; the feed sequence rises by one for each public event and by nothing else.
//!
//! In the steady state no entry allocates: slots, pages, event buffer and lists are used again.

mod amend;
mod atomic;
mod auction;
mod check;
mod image;
mod ladder;
mod lookahead;
mod matching;
mod slab;
mod stops;

use super::entry::MarketEntry;
use super::event::{Change, ChangeReason, Done, DoneReason, Event, Opened};
use super::ids::{AccountId, OrderId, Ticket};
use super::invariant::broken;
use super::market::{MarketConfig, MarketState, Phase, Scale};
use super::money::{Amount, Price, Size};
use super::order::{Kind, NewOrder, OrderRecord, Reject, Side, Status, TimeInForce};
use super::time::Timestamp;
use auction::Corridor;
use ladder::Ladder;
use rustc_hash::FxHashMap;
use slab::{Hot, Live, NIL, Slab};
use std::collections::BTreeSet;
use stops::Stops;

/// The live orders of one user in this market.
#[derive(Clone, Copy, Debug)]
struct UserOrders {
    /// The newest; the rest follow by `user_next`.
    head: u32,
    count: u32,
}

/// The order book of one market.
#[derive(Clone, Debug)]
pub struct Book {
    config: MarketConfig,
    scale: Scale,
    slab: Slab,
    bids: Ladder,
    asks: Ladder,
    users: FxHashMap<AccountId, UserOrders>,
    expiries: BTreeSet<(Timestamp, u64, u32)>,
    stops: Stops,
    /// The number of the newest accepted order.
    orders: u64,
    /// The number of the newest trade.
    trades: u64,
    last_price: Option<Price>,
    feed_sequence: u64,
    digest: u64,
    phase: Phase,
    /// Prices that stops have still to hear of, because an auction began before they woke.
    unheard: stops::Range,
    corridor: Corridor,
    /// The time of the entry that is being applied.
    now: Timestamp,
    /// The records of orders that ended, for whoever asked for them; no part of the state.
    ended: Option<Vec<OrderRecord>>,
}

/// A row of the book: one resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// Its price.
    pub price: Price,
    /// What is left of it.
    pub remaining: Size,
    /// Its id.
    pub id: OrderId,
}

impl Book {
    /// An empty book. `scale` comes from [`MarketConfig::validate`].
    pub fn new(config: MarketConfig, scale: Scale) -> Book {
        Book {
            config,
            scale,
            slab: Slab::default(),
            bids: Ladder::new(Side::Buy),
            asks: Ladder::new(Side::Sell),
            users: FxHashMap::default(),
            expiries: BTreeSet::new(),
            stops: Stops::default(),
            orders: 0,
            trades: 0,
            last_price: None,
            feed_sequence: 0,
            digest: 0,
            phase: Phase::Trading,
            unheard: stops::Range::default(),
            corridor: Corridor::default(),
            now: Timestamp::ZERO,
            ended: None,
        }
    }

    /// Keeps the records of orders that end, until [`Book::take_ended`] fetches them. Off at first.
    pub fn keep_ended(&mut self) {
        self.ended.get_or_insert_default();
    }

    /// The records of the orders that ended since the last call, in that order.
    pub fn take_ended(&mut self) -> Vec<OrderRecord> {
        self.ended.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note_end(&mut self, live: &Live, reason: DoneReason) {
        if let Some(ended) = &mut self.ended {
            let status = Status::Done(reason, self.now);
            ended.push(OrderRecord { status, hold: Amount::ZERO, ..live.record() });
        }
    }

    /// Applies one entry that was committed at `at` and appends what it produced to `out`.
    /// The same entries give the same events, ids and state on every node.
    ///
    /// What comes seldom is never built into it (`inline(never)`): the way of single orders and cancels stays short.
    pub fn apply(&mut self, at: Timestamp, entry: &MarketEntry, out: &mut Vec<Event>) {
        self.now = at;
        if self.next_due().is_some_and(|due| due <= at) {
            self.catch_up(at, out);
        }
        match entry {
            MarketEntry::Place(order) => self.place(at, order, out),
            MarketEntry::Cancel { ticket, account, order } => self.cancel(*ticket, *account, *order, out),
            MarketEntry::CancelAll { ticket, account, side } => self.cancel_all(*ticket, *account, *side, out),
            MarketEntry::Amend(amend) => self.amend(amend, out),
            // The first such entries were applied without a look at their limits, and must be for ever.
            MarketEntry::Configure(config) => drop(self.configure(config, out)),
            MarketEntry::Tick => {}
            MarketEntry::Atomic(batch) => self.atomic(at, batch, out),
            MarketEntry::Reconfigure { ticket, config } => self.reconfigure(*ticket, config, out),
            MarketEntry::Kill { ticket, account: Some(account), engaged: true } => {
                self.kill_orders_of(*account, *ticket, out);
            }
            MarketEntry::Kill { account: Some(_), engaged: false, .. } => {}
            MarketEntry::Kill { ticket, account: None, engaged } => self.kill(*ticket, *engaged, out),
            MarketEntry::BeginAuction { ticket, ends_at } => self.ask_for_auction(*ticket, *ends_at, out),
        }
    }

    /// Does what only needed time to pass until `at`.
    #[cold]
    #[inline(never)]
    fn catch_up(&mut self, at: Timestamp, out: &mut Vec<Event>) {
        self.end_auction_by(at, out);
        self.expire(at, out);
    }

    /// When the next thing happens that only needs time to pass, if there is one.
    pub fn next_due(&self) -> Option<Timestamp> {
        let expiry = self.expiries.first().map(|(at, ..)| *at);
        expiry.into_iter().chain(self.auction_due()).min()
    }

    /// The time of the newest entry; unknown to a book that was restored and has applied none since.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What goes on in the market.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    fn place(&mut self, at: Timestamp, order: &NewOrder, out: &mut Vec<Event>) {
        let plain = self.plain_price(order);
        if let Some(price) = plain.filter(|price| !self.would_take(order.side, *price)) {
            // What is known of it is said once more, for the compiler, which leaves out what then cannot be.
            let kind = Kind::Limit { price, time_in_force: TimeInForce::GoodTillCanceled, post_only: false };
            return self.rest(at, &NewOrder { kind, stop: None, ..*order }, price, out);
        }
        if plain.is_none()
            && let Err(reason) = self.examine(order, at)
        {
            out.push(Event::Rejected { ticket: order.ticket, account: order.account, reason });
            return;
        }
        let mut range = stops::Range::default();
        if self.accept(at, order, &mut range, out) {
            self.wake_stops(&mut range, out);
        }
    }

    /// All that a new order must satisfy.
    ///
    /// # Errors
    /// The first [`Reject`] that applies.
    #[inline(never)]
    pub(super) fn examine(&self, order: &NewOrder, at: Timestamp) -> Result<(), Reject> {
        self.check(order, at)?;
        self.check_taking(order, |side, price| self.would_take(side, price))
    }

    /// Takes in an order that was checked; whether stops may have to wake.
    fn accept(&mut self, at: Timestamp, order: &NewOrder, range: &mut stops::Range, out: &mut Vec<Event>) -> bool {
        if let Some(price) = self.rests_at_once(order) {
            self.rest(at, order, price, out);
            return false;
        }
        let OrderId { number, slot } = self.number(order, out);
        let mut live = Live::new(number, slot, order, at);
        let before = self.last_price;
        if live.hot.is_sleeping() {
            self.keep(&live);
            self.stops.insert(&live);
            // A stop whose price the market has reached already wakes at once.
            range.include(before);
        } else {
            self.execute(&mut live, false, range, out);
        }
        true
    }

    /// Gives a new order the next number and the vacant slot, and tells that it was accepted.
    #[inline]
    fn number(&mut self, order: &NewOrder, out: &mut Vec<Event>) -> OrderId {
        self.orders += 1;
        let id = OrderId { number: self.orders, slot: self.slab.vacant() };
        self.emit(out, Event::Accepted(id, *order));
        id
    }

    /// The price at which a new order rests, if it meets nobody and is no stop.
    #[inline]
    fn rests_at_once(&self, order: &NewOrder) -> Option<Price> {
        match order.kind {
            Kind::Limit {
                price, time_in_force: TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime(_), ..
            } if order.stop.is_none() && !self.would_take(order.side, price) => Some(price),
            Kind::Limit { .. } | Kind::Market { .. } => None,
        }
    }

    /// Most orders meet nobody: the short way to what [`Book::execute`] would do with them. A copy for each caller, since the
    /// one for plain orders is half as long.
    #[inline(always)]
    fn rest(&mut self, at: Timestamp, order: &NewOrder, price: Price, out: &mut Vec<Event>) {
        let id = self.number(order, out);
        let OrderId { number, slot } = id;
        self.slab.enter(slot, number, order, at);
        self.enlist(slot, order.account);
        if let Kind::Limit { time_in_force: TimeInForce::GoodTillTime(expires_at), .. } = order.kind {
            self.expiries.insert((expires_at, number, slot));
        }
        let (ladder, slab) = self.ladder(order.side);
        ladder.push(ladder.key(price), slot, slab);
        let opened = Opened { id, account: order.account, side: order.side, price, remaining: order.size };
        self.emit(out, Event::Opened(opened));
    }

    /// Puts an order that goes on living into slab, user list and expiries.
    fn keep(&mut self, live: &Live) {
        self.slab.insert(live);
        self.enlist(live.slot, live.hot.account);
        if live.hot.expires() {
            self.expiries.insert((live.rare.expires_at, live.hot.number, live.slot));
        }
    }

    /// Puts an order that is in the slab at the head of its user's list.
    #[inline]
    fn enlist(&mut self, slot: u32, account: AccountId) {
        let orders = self.users.entry(account).or_insert(UserOrders { head: NIL, count: 0 });
        let head = orders.head;
        orders.head = slot;
        orders.count += 1;
        if head != NIL {
            let newest = self.slab.hot(head);
            if newest.user_prev != NIL {
                broken("a user's newest order must be first in the list");
            }
            newest.user_prev = slot;
        }
        let hot = self.slab.hot(slot);
        hot.user_prev = NIL;
        hot.user_next = head;
    }

    /// Takes an order that is over out of slab, user list and expiries. Its level or stop is the
    /// caller's business.
    fn forget(&mut self, slot: u32) {
        let Hot { user_prev, user_next, account, number, .. } = *self.slab.peek(slot);
        if let Some(expires_at) = self.slab.expires_at(slot) {
            self.expiries.remove(&(expires_at, number, slot));
        }
        // Looking before writing asserts the links, and lets the processor fetch all neighbours at
        // once; writes alone would wait for one after the other.
        if (user_next != NIL && self.slab.peek(user_next).user_prev != slot)
            || (user_prev != NIL && self.slab.peek(user_prev).user_next != slot)
        {
            broken("a user's orders must be linked both ways");
        }
        if user_next != NIL {
            self.slab.hot(user_next).user_prev = user_prev;
        }
        if user_prev != NIL {
            self.slab.hot(user_prev).user_next = user_next;
        }
        match self.users.get_mut(&account) {
            Some(orders) if orders.count == 1 => {
                self.users.remove(&account);
            }
            Some(orders) => {
                orders.count -= 1;
                if user_prev == NIL {
                    orders.head = user_next;
                }
            }
            None => broken("a live order must be in its user's list"),
        }
        self.slab.remove(slot);
    }

    fn ladder(&mut self, side: Side) -> (&mut Ladder, &mut Slab) {
        match side {
            Side::Buy => (&mut self.bids, &mut self.slab),
            Side::Sell => (&mut self.asks, &mut self.slab),
        }
    }

    /// Ends a live order wherever it is: resting or sleeping.
    fn end(&mut self, slot: u32, ticket: Ticket, reason: DoneReason, out: &mut Vec<Event>) {
        let hot = *self.slab.peek(slot);
        let slept = hot.is_sleeping();
        if self.ended.is_some() {
            self.note_end(&self.slab.live(slot), reason);
        }
        if slept {
            let live = self.slab.live(slot);
            self.stops.remove(&live);
        } else {
            let (ladder, slab) = self.ladder(hot.side());
            ladder.unlink(ladder.key(hot.price), slot, slab);
        }
        self.forget(slot);
        self.emit(
            out,
            Event::Done(Done {
                id: OrderId { number: hot.number, slot },
                ticket,
                account: hot.account,
                side: hot.side(),
                price: hot.limit(),
                remaining: hot.remaining,
                reason,
                released: hot.hold,
                rested: !slept,
                slept,
            }),
        );
    }

    /// Answers a cancel in a halted market; whether it did.
    fn refuse_halted(&self, ticket: Ticket, account: AccountId, out: &mut Vec<Event>) -> bool {
        let halted = self.config.state == MarketState::Halted;
        if halted {
            out.push(Event::Refused { ticket, account, reason: Reject::MarketHalted });
        }
        halted
    }

    fn cancel(&mut self, ticket: Ticket, account: AccountId, id: OrderId, out: &mut Vec<Event>) {
        if self.refuse_halted(ticket, account, out) {
            return;
        }
        match self.slab.find(id) {
            Some(hot) if hot.account == account => self.end(id.slot, ticket, DoneReason::Canceled, out),
            // Another user's order is answered as if it did not exist.
            Some(_) => out.push(Event::Refused { ticket, account, reason: Reject::OrderNotFound }),
            None => {
                let known = (1..=self.orders).contains(&id.number);
                let reason = if known { Reject::OrderDone } else { Reject::OrderNotFound };
                out.push(Event::Refused { ticket, account, reason });
            }
        }
    }

    #[inline(never)]
    fn cancel_all(&mut self, ticket: Ticket, account: AccountId, side: Option<Side>, out: &mut Vec<Event>) {
        if self.refuse_halted(ticket, account, out) {
            return;
        }
        let mut slot = self.users.get(&account).map_or(NIL, |orders| orders.head);
        while slot != NIL {
            let hot = *self.slab.peek(slot);
            if side.is_none_or(|side| side == hot.side()) {
                self.end(slot, ticket, DoneReason::Canceled, out);
            }
            slot = hot.user_next;
        }
    }

    fn expire(&mut self, at: Timestamp, out: &mut Vec<Event>) {
        while let Some((expires_at, _, slot)) = self.expiries.first().copied() {
            if expires_at > at {
                break;
            }
            self.end(slot, Ticket(0), DoneReason::Expired, out);
        }
    }

    /// Gives the market other rules, or says that it cannot have them.
    #[inline(never)]
    fn reconfigure(&mut self, ticket: Ticket, config: &MarketConfig, out: &mut Vec<Event>) {
        if config.check_limits().is_err() || !self.configure(config, out) {
            let (account, reason) = (AccountId::HOUSE, Reject::BadConfig);
            out.push(Event::Refused { ticket, account, reason });
        }
    }

    /// Gives the market other rules; whether that can be.
    fn configure(&mut self, config: &MarketConfig, out: &mut Vec<Event>) -> bool {
        // Steps and currencies give the amounts of live orders their meaning, so they never change.
        let old = &self.config;
        let same = (config.id, config.base, config.quote, config.tick, config.lot)
            == (old.id, old.base, old.quote, old.tick, old.lot);
        if !same || config.symbol != old.symbol {
            return false;
        }
        self.config = config.clone();
        self.corridor = self.corridor_around(self.corridor.reference, self.corridor.since);
        self.emit(out, Event::Configured(Box::new(config.clone())));
        true
    }

    #[inline]
    fn emit(&mut self, out: &mut Vec<Event>, event: Event) {
        self.feed_sequence += u64::from(event.is_public());
        out.push(event);
    }

    /// The least hold that covers `size` of a limit order: what it costs at its limit with the
    /// worse fee for a buy, the base itself for a sell.
    fn required_hold(&self, live: &Live, size: Size) -> Amount {
        match live.hot.side() {
            Side::Sell => self.scale.base(size),
            Side::Buy => {
                let quote = self.scale.quote(live.hot.price, size);
                quote + quote.share_rounded_up(live.cold.maker_fee.max(live.cold.taker_fee))
            }
        }
    }

    /// Reduces a resting order and releases what its smaller rest does not need.
    fn reduce(&mut self, slot: u32, new_size: Size, out: &mut Vec<Event>) {
        let live = self.slab.live(slot);
        let required = self.required_hold(&live, new_size);
        let new_hold = live.hot.hold.min(required);
        let hot = self.slab.hot(slot);
        hot.remaining = new_size;
        hot.hold = new_hold;
        let change = self_trade_change(&live, new_size, new_hold - live.hot.hold);
        self.emit(out, Event::Changed(Change { rests: true, ..change }));
    }

    /// The market's rules.
    pub fn config(&self) -> &MarketConfig {
        &self.config
    }

    /// The market's factors for exact amounts.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The sequence of the newest public event.
    pub fn feed_sequence(&self) -> u64 {
        self.feed_sequence
    }

    /// The price of the newest trade.
    pub fn last_price(&self) -> Option<Price> {
        self.last_price
    }

    /// How many orders were accepted so far: the number of the newest.
    pub fn accepted_orders(&self) -> u64 {
        self.orders
    }

    /// A digest of all fills so far (maker, taker, price, size), in their order.
    pub fn fill_digest(&self) -> u64 {
        self.digest
    }

    /// The best price of a side.
    pub fn best(&self, side: Side) -> Option<Price> {
        match side {
            Side::Buy => self.bids.best_price(),
            Side::Sell => self.asks.best_price(),
        }
    }

    /// How many orders live: resting and sleeping.
    pub fn live_orders(&self) -> usize {
        self.slab.len()
    }

    /// Bytes kept for each live order, the levels' pages aside.
    pub const BYTES_PER_ORDER: usize = Slab::BYTES_PER_ORDER;

    /// A live order.
    pub fn order(&self, id: OrderId) -> Option<OrderRecord> {
        self.slab.find(id).map(|_| self.slab.live(id.slot).record())
    }

    /// The live orders of a user, the one that entered last first; a stop that wakes enters anew.
    pub fn orders_of(&self, account: AccountId) -> impl Iterator<Item = OrderRecord> + '_ {
        let mut slot = self.users.get(&account).map_or(NIL, |orders| orders.head);
        std::iter::from_fn(move || {
            if slot == NIL {
                return None;
            }
            let live = self.slab.live(slot);
            slot = live.hot.user_next;
            Some(live.record())
        })
    }

    /// All live orders, in slot order.
    pub fn all_orders(&self) -> impl Iterator<Item = OrderRecord> + '_ {
        self.slab.slots().map(|slot| self.slab.live(slot).record())
    }

    /// The resting orders of a side, best price first and oldest first within a price.
    pub fn resting(&self, side: Side) -> impl Iterator<Item = Resting> + '_ {
        let ladder = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        ladder.levels().flat_map(move |(key, head)| {
            let price = ladder.price(key);
            let mut slot = head;
            std::iter::from_fn(move || {
                if slot == NIL {
                    return None;
                }
                let hot = self.slab.peek(slot);
                let id = OrderId { number: hot.number, slot };
                slot = hot.next;
                Some(Resting { price, remaining: hot.remaining, id })
            })
        })
    }
}

/// A change of an incoming order that met one of its own user.
fn self_trade_change(live: &Live, new_size: Size, hold_delta: Amount) -> Change {
    Change {
        id: live.id(),
        ticket: Ticket(0),
        account: live.hot.account,
        side: live.hot.side(),
        reason: ChangeReason::SelfTrade,
        price: live.hot.limit(),
        new_price: None,
        old_size: live.hot.remaining,
        new_size,
        new_total: None,
        old_funds: None,
        new_funds: None,
        hold_delta,
        rests: false,
    }
}
