//! What one connection has subscribed to, and what it is sent.
//!
//! Invariants: private messages go to the user whose session counts at that moment, and to nobody else; a reader of
//! levels gets a snapshot for every subscription, after which come exactly the changes that follow it; between a change
//! and a later snapshot of the same market lie [`QUIET`] without changes, since the front end holds changes back for a
//! while but takes snapshots at once; a market that is not active is waited for once, however often it is asked for.

mod start;

pub use start::ready;

use super::funds::Funds;
use super::messages;
use super::orders::Orders;
use super::request::{Change, Channel, MOST_CANDLE_CHANNELS};
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Ticker, Update};
use crate::actors::trading::order_book::GetOrders;
use crate::auth::Caller;
use crate::domain::ids::{AccountId, CurrencyId, MarketId};
use crate::domain::ledger::Balance;
use crate::http::AppState;
use crate::http::ws::hub::{Hub, reasons};
use crate::http::ws::market_feed::{Listener, MarketFeed, Missed};
use crate::http::ws::outbox::Outbox;
use actix_web::web;
use bytestring::ByteString;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long no level changes are sent before a snapshot that replaces earlier ones.
const QUIET: Duration = Duration::from_millis(300);
/// How long it takes until a book or a market that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// What is sent of a market's levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Levels {
    /// Nothing.
    #[default]
    Off,
    /// Every change.
    Live,
    /// Nothing until the snapshot that comes soon.
    Quiet,
}

/// What a connection reads of one market.
#[derive(Debug, Default)]
struct Reader {
    channels: BTreeSet<Channel>,
    levels: Levels,
    /// When it was last sent a change of levels.
    changed: Option<Instant>,
    orders: Orders,
    /// Whether the market is not active and waited for.
    awaited: bool,
}

#[derive(Debug, Default)]
struct Inner {
    readers: BTreeMap<MarketId, Reader>,
    candles: BTreeMap<String, BTreeSet<MarketId>>,
    funds: Option<Funds>,
    /// Whose private messages it gets.
    owner: Option<AccountId>,
    /// Whether the session of the last owner counts no more, and what was private is still to be taken away.
    lapsed: bool,
    asked: u64,
}

impl Inner {
    /// The session of the owner counts no more. Records of orders that miss a change would be wrong from then on, so
    /// they go at once; the subscriptions go at the next look.
    fn lapse(&mut self) {
        (self.owner, self.lapsed) = (None, true);
        for reader in self.readers.values_mut() {
            reader.orders = Orders::Off;
        }
    }
}

/// One connection.
pub struct Connection {
    /// What waits to be sent.
    pub outbox: Rc<Outbox>,
    hub: Rc<Hub>,
    /// The session of the request that opened it.
    upgrade: Option<Caller>,
    /// The session of the newest token that counted.
    bound: Cell<Option<Caller>>,
    this: Weak<Connection>,
    inner: RefCell<Inner>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection without subscriptions.
    pub fn open(hub: Rc<Hub>, upgrade: Option<Caller>) -> Rc<Connection> {
        Rc::new_cyclic(|this| Connection {
            outbox: Rc::new(Outbox::of_dialect(messages::level2)),
            hub,
            upgrade,
            bound: Cell::new(None),
            this: this.clone(),
            inner: RefCell::default(),
        })
    }

    fn state(&self) -> &web::Data<AppState> {
        self.hub.state()
    }

    fn listener(&self) -> Option<Rc<dyn Listener>> {
        self.this.upgrade().map(|this| this as Rc<dyn Listener>)
    }

    /// Whose connection it is now: of the newest token that counted, or of the request that opened it. A session that
    /// was ended counts no more.
    fn user(&self) -> Option<AccountId> {
        let accounts = &self.state().accounts;
        let counts = |caller: &Caller| accounts.still_counts(caller) && accounts.clock_now() < caller.expires_at;
        self.bound.get().filter(counts).or(self.upgrade.filter(counts)).map(|caller| caller.user)
    }

    /// Takes the token of a message. One that counts binds the connection from now on; any other changes nothing.
    pub fn identify(&self, token: &str) {
        if let Ok(caller) = self.state().accounts.authenticate(token) {
            self.bound.set(Some(caller));
        }
        self.look();
    }

    /// Drops what is private when it is not the same user's any more, or was nobody's for a while.
    pub fn look(&self) {
        let user = self.user();
        let mut inner = self.inner.borrow_mut();
        let lapsed = std::mem::take(&mut inner.lapsed);
        if inner.owner == user && !lapsed {
            return;
        }
        inner.owner = user;
        inner.funds = None;
        let mut unread = Vec::new();
        for (market, reader) in &mut inner.readers {
            reader.orders = Orders::Off;
            if reader.channels.remove(&Channel::Order) && reader.channels.is_empty() {
                unread.push(*market);
            }
        }
        drop(inner);
        self.unlisten(&unread);
    }

    fn unlisten(&self, markets: &[MarketId]) {
        let Some(listener) = self.listener() else { return };
        for market in markets {
            self.hub.unlisten(*market, &listener);
        }
    }

    fn markets(&self, change: &Change) -> Vec<Arc<Market>> {
        change.products.iter().filter_map(|symbol| self.state().trading.market(symbol)).cloned().collect()
    }

    fn currencies(&self, change: &Change) -> BTreeSet<CurrencyId> {
        let trading = &self.state().trading;
        change.currencies.iter().filter_map(|code| trading.currency(code)).map(|currency| currency.id).collect()
    }

    /// The markets of which something begins with this change.
    pub fn needed(&self, change: &Change) -> BTreeSet<MarketId> {
        if !change.subscribe || change.channels.is_empty() {
            return BTreeSet::new();
        }
        self.markets(change).iter().map(|market| market.id).collect()
    }

    /// Carries out a change. `ready` are those of its markets that are active, with their tickers of now if they are
    /// wanted; the others begin when they are. What is private is left out in silence when nobody is known.
    pub fn carry_out(&self, change: &Change, ready: &BTreeMap<MarketId, Option<Ticker>>) {
        let (markets, currencies) = (self.markets(change), self.currencies(change));
        if change.subscribe {
            self.add(change, &markets, &currencies);
        } else {
            self.remove(change, &markets, &currencies);
        }
        if !self.outbox.text(self.subscriptions()) {
            return self.close(reasons::SLOW);
        }
        if !change.subscribe || change.channels.is_empty() {
            return;
        }
        for market in &markets {
            match ready.get(&market.id) {
                Some(ticker) => self.begin(market, &change.channels, ticker.as_ref()),
                None => self.begin_later(market),
            }
        }
    }

    fn add(&self, change: &Change, markets: &[Arc<Market>], currencies: &BTreeSet<CurrencyId>) {
        let mut inner = self.inner.borrow_mut();
        let private = inner.owner.is_some();
        let wanted = change.channels.iter().filter(|channel| private || **channel != Channel::Order);
        let wanted: BTreeSet<Channel> = wanted.copied().collect();
        for market in markets {
            if !wanted.is_empty() {
                inner.readers.entry(market.id).or_default().channels.extend(&wanted);
            }
            for name in &change.candles {
                // Anybody may make up names, message after message.
                if inner.candles.len() < MOST_CANDLE_CHANNELS || inner.candles.contains_key(name) {
                    inner.candles.entry(name.clone()).or_default().insert(market.id);
                }
            }
        }
        if let (true, Some(user), false) = (change.funds, inner.owner, currencies.is_empty()) {
            let follow = || Funds::follow(self.state().clone(), user, self.this.clone());
            inner.funds.get_or_insert_with(follow).add(currencies);
        }
    }

    fn remove(&self, change: &Change, markets: &[Arc<Market>], currencies: &BTreeSet<CurrencyId>) {
        let mut inner = self.inner.borrow_mut();
        let mut unread = Vec::new();
        for market in markets {
            if let Some(reader) = inner.readers.get_mut(&market.id) {
                reader.channels.retain(|channel| !change.channels.contains(channel));
                if !reader.channels.contains(&Channel::Level2) {
                    reader.levels = Levels::Off;
                    self.outbox.forget_levels(market.id);
                }
                if !reader.channels.contains(&Channel::Order) {
                    reader.orders = Orders::Off;
                }
                if reader.channels.is_empty() {
                    unread.push(market.id);
                }
            }
            for name in &change.candles {
                if let Some(markets) = inner.candles.get_mut(name) {
                    markets.remove(&market.id);
                }
            }
        }
        inner.candles.retain(|_, markets| !markets.is_empty());
        if change.funds && inner.funds.as_mut().is_some_and(|funds| funds.remove(currencies)) {
            inner.funds = None;
        }
        drop(inner);
        self.unlisten(&unread);
    }

    /// Sends a snapshot of a market's levels, and changes from there on: at once, or after a while without changes.
    pub fn snapshot(&self, market: MarketId) {
        let mut inner = self.inner.borrow_mut();
        let Some(reader) = inner.readers.get_mut(&market) else { return };
        if !reader.channels.contains(&Channel::Level2) {
            return;
        }
        self.outbox.forget_levels(market);
        let quiet = reader.changed.map_or(QUIET, |changed| changed.elapsed());
        if quiet < QUIET {
            if reader.levels != Levels::Quiet {
                reader.levels = Levels::Quiet;
                drop(inner);
                self.snapshot_later(market, QUIET - quiet);
            }
            return;
        }
        reader.levels = Levels::Live;
        drop(inner);
        let text = self.hub.look(market, |feed| feed.retold(|| messages::snapshot(feed)));
        let Some(text) = text else { return self.close(reasons::STARTING) };
        if !self.outbox.text(text) {
            self.close(reasons::SLOW);
        }
    }

    fn snapshot_later(&self, market: MarketId, wait: Duration) {
        let this = self.this.clone();
        actix_web::rt::spawn(async move {
            tokio::time::sleep(wait).await;
            let Some(this) = this.upgrade() else { return };
            let waits = |reader: &mut Reader| {
                let waits = reader.levels == Levels::Quiet;
                // Nothing was sent meanwhile.
                reader.changed = if waits { None } else { reader.changed };
                waits
            };
            if this.inner.borrow_mut().readers.get_mut(&market).is_some_and(waits) {
                this.snapshot(market);
            }
        });
    }

    /// The reader was too far behind for the changes of a market: it begins anew.
    pub fn resynchronise(&self, market: MarketId) {
        if let Some(reader) = self.inner.borrow_mut().readers.get_mut(&market) {
            reader.changed = Some(Instant::now());
        }
        self.snapshot(market);
    }

    /// Begins to follow the user's orders of a market, unless they are followed already.
    fn follow_orders(&self, market: &Arc<Market>) {
        let mut inner = self.inner.borrow_mut();
        inner.asked += 1;
        let asking = inner.asked;
        let Some(user) = inner.owner else { return };
        let Some(reader) = inner.readers.get_mut(&market.id) else { return };
        if !matches!(reader.orders, Orders::Off) {
            return;
        }
        reader.orders = Orders::Asked { asking, held: Vec::new() };
        let (this, market) = (self.this.clone(), market.clone());
        actix_web::rt::spawn(async move {
            loop {
                let answer = market.book.send(GetOrders { account: user, ended: true }).await;
                let Some(this) = this.upgrade().filter(|this| !this.outbox.is_closed()) else { return };
                if let Ok(orders) = answer
                    && orders.applied.is_some()
                {
                    return this.orders_came(&market, asking, user, orders);
                }
                drop(this);
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    fn orders_came(
        &self,
        market: &Arc<Market>,
        asking: u64,
        user: AccountId,
        orders: crate::actors::trading::order_book::OrdersOf,
    ) {
        let mut told = Vec::new();
        {
            let mut inner = self.inner.borrow_mut();
            if inner.owner != Some(user) {
                return;
            }
            let Some(reader) = inner.readers.get_mut(&market.id) else { return };
            let tell = |sequence, record: &_| told.push((sequence, messages::order(market, sequence, record)));
            reader.orders.begin(asking, user, orders, tell);
        }
        self.look();
        let counts = self.inner.borrow().owner == Some(user);
        let room = self.outbox.has_room();
        if counts && !told.into_iter().all(|(sequence, text)| room && self.outbox.event(market.id, sequence, text)) {
            self.close(reasons::SLOW);
        }
    }

    /// The user's balances, which may have changed.
    pub fn tell_funds(&self, user: AccountId, balances: &[Balance]) {
        self.look();
        let mut inner = self.inner.borrow_mut();
        if inner.owner != Some(user) {
            return;
        }
        let known = self.state().trading.currencies();
        let messages = inner.funds.as_mut().map(|funds| funds.changes(user, balances, known)).unwrap_or_default();
        drop(inner);
        if !messages.into_iter().all(|text| self.outbox.text(text)) {
            self.close(reasons::SLOW);
        }
    }

    fn subscriptions(&self) -> ByteString {
        let inner = self.inner.borrow();
        let trading = &self.state().trading;
        let symbol = |id: &MarketId| trading.market_by_id(*id).map(|market| market.config.symbol.clone());
        let of = |channel: Channel| {
            let readers = inner.readers.iter().filter(|(_, reader)| reader.channels.contains(&channel));
            (channel.name().to_owned(), readers.filter_map(|(id, _)| symbol(id)).collect::<Vec<_>>())
        };
        let candles = inner.candles.iter().map(|(name, ids)| (name.clone(), ids.iter().filter_map(symbol).collect()));
        let products: Vec<_> =
            Channel::ALL.into_iter().map(of).chain(candles).filter(|(_, products)| !products.is_empty()).collect();
        let followed = inner.funds.as_ref().map(|funds| &funds.currencies);
        let asked = |id: CurrencyId| followed.is_some_and(|currencies| currencies.contains(&id));
        let codes = trading.currencies().iter().filter(|currency| asked(currency.id));
        messages::subscriptions(&products, &codes.map(|currency| currency.code.clone()).collect::<Vec<_>>())
    }

    /// Ends the connection with a reason; the front end opens another one soon.
    pub fn close(&self, reason: &str) {
        self.outbox.close(messages::error(reason), reason);
    }

    /// The connection has ended.
    pub fn leave(&self) {
        let inner = std::mem::take(&mut *self.inner.borrow_mut());
        self.unlisten(&inner.readers.into_keys().collect::<Vec<_>>());
    }

    /// Hands a change to a reader; false when it cannot take it. Whether there is room is looked at once, so that a
    /// batch is handed over whole, however large it is.
    fn hand(&self, reader: &mut Reader, owner: Option<AccountId>, market: &Arc<Market>, update: &Arc<Update>) -> bool {
        let has = |channel| reader.channels.contains(&channel);
        let room = self.outbox.has_room();
        let event = |sequence: u64, text: ByteString| room && self.outbox.event(market.id, sequence, text);
        let mut taken = true;
        if reader.levels == Levels::Live && !update.levels.is_empty() {
            let text = || messages::level2_of(market, update);
            self.outbox.levels(market, update.sequence, &update.levels, update.at, text);
            reader.changed = Some(Instant::now());
        }
        if has(Channel::Match) {
            let mut all = messages::matches_of(market, update).iter().zip(&update.fills);
            taken &= all.all(|(text, (sequence, _))| event(*sequence, text.clone()));
        }
        if has(Channel::Full) {
            let mut all = messages::full_of(market, update).iter();
            taken &= all.all(|(sequence, text)| event(*sequence, text.clone()));
        }
        if has(Channel::Ticker)
            && let Some(text) = messages::ticker_of(market, update)
        {
            self.outbox.ticker(market.id, text);
        }
        if let Some(user) = owner.filter(|_| has(Channel::Order)) {
            let mut sent = true;
            taken &= reader.orders.take(user, update, |sequence, record| {
                sent = sent && event(sequence, messages::order(market, sequence, record));
            });
            taken &= sent;
        }
        taken
    }
}

impl Listener for Connection {
    fn changed(&self, feed: &MarketFeed, update: &Arc<Update>) {
        // What was closed from here may be there for as long as its client does not read.
        if self.outbox.is_closed() {
            return;
        }
        let taken = {
            let mut inner = self.inner.borrow_mut();
            let Some(reader) = inner.readers.get(&update.market) else { return };
            // A session that has ended meanwhile gets nothing, though its subscriptions are taken away a little later:
            // the hub is at work now.
            let is_private = reader.channels.contains(&Channel::Order);
            if is_private && inner.owner.is_some() && inner.owner != self.user() {
                inner.lapse();
            }
            let owner = inner.owner;
            let Some(reader) = inner.readers.get_mut(&update.market) else { return };
            self.hand(reader, owner, &feed.market, update)
        };
        if !taken {
            self.close(reasons::SLOW);
        }
    }

    fn restarted(&self, feed: &MarketFeed, missed: Missed) {
        let market = feed.market.id;
        let mut inner = self.inner.borrow_mut();
        let Some(reader) = inner.readers.get_mut(&market) else { return };
        let events = [Channel::Match, Channel::Full, Channel::Order];
        if missed.changes && events.iter().any(|channel| reader.channels.contains(channel)) {
            drop(inner);
            return self.close(reasons::RESTARTED);
        }
        if missed.trade
            && reader.channels.contains(&Channel::Ticker)
            && let Some(ticker) = feed.ticker()
        {
            self.outbox.ticker(market, messages::ticker(&feed.market, ticker));
        }
        if reader.channels.contains(&Channel::Level2) && reader.levels != Levels::Quiet {
            reader.levels = Levels::Quiet;
            self.outbox.forget_levels(market);
            drop(inner);
            self.snapshot_later(market, QUIET);
        }
    }

    fn ended(&self, _: &MarketFeed) {
        self.close(reasons::FAILED);
    }
}
