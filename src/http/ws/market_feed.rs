//! One market as the readers of one worker see it: its levels, its last trade, and who wants what of it.
//!
//! Invariants: `bids` and `asks` are the levels at `sequence`; a reader gets a snapshot before any change of levels;
//! a reader of events is in `events` once, whatever channels it has, so that it gets every event at most once.

use super::messages;
use super::request::Channel;
use super::session::Session;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Picture, Ticker, Update, wall_clock};
use crate::domain::event::{Event, Fill};
use crate::domain::ids::{AccountId, Sequence};
use crate::domain::market_data::Level;
use crate::domain::money::{Price, Size};
use crate::domain::order::Side;
use crate::domain::time::Timestamp;
use bytestring::ByteString;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// A connection that hears of a market in words of its own: one of another dialect. It is told while the hub works, so it
/// must not ask the hub for anything then.
pub trait Listener: std::fmt::Debug {
    /// One batch has changed the market; `feed` stands after it.
    fn changed(&self, feed: &MarketFeed, update: &Arc<Update>);

    /// The feed began anew, and what happened before that was missed.
    fn restarted(&self, feed: &MarketFeed, missed: Missed);

    /// The hub has died, and the feed with it: nothing more comes, so the connection has to end.
    fn ended(&self, feed: &MarketFeed);
}

/// What those who listen have missed when a feed begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Changes, also such as only their owners see.
    pub changes: bool,
    /// A trade, so the ticker is another one now.
    pub trade: bool,
}

/// Who reads single events of the market.
#[derive(Debug)]
struct EventReader {
    session: Rc<Session>,
    wants: Wants,
    /// Batches up to this entry were sent already.
    skip_until: Sequence,
}

/// Which events a reader gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// All.
    pub full: bool,
    /// The user's own.
    pub user: bool,
    /// Trades.
    pub matches: bool,
}

impl Wants {
    /// What these channels mean.
    pub fn of(channels: &BTreeSet<Channel>) -> Wants {
        let has = |channel| channels.contains(&channel);
        Wants { full: has(Channel::Full), user: has(Channel::User), matches: has(Channel::Matches) }
    }

    /// Whether any event is wanted.
    pub fn any(self) -> bool {
        self.full || self.user || self.matches
    }

    /// Whether a reader gets this event, and as whose party.
    pub fn takes(self, event: &Event, user: Option<AccountId>) -> Option<Option<AccountId>> {
        let party = user.filter(|user| messages::concerns(event, *user));
        let traded = self.matches && event.fill().is_some();
        let own = party.is_some() && self.user;
        (own || (event.is_public() && (self.full || traded))).then_some(party)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct MarketFeed {
    /// The market.
    pub market: Arc<Market>,
    /// The newest entry of the market's stream that is contained.
    pub applied: Sequence,
    /// The newest public event that is contained.
    pub sequence: u64,
    bids: BTreeMap<Price, Level>,
    asks: BTreeMap<Price, Level>,
    ticker: Option<Ticker>,
    last_fill: Option<(u64, Timestamp, Fill)>,
    events: Vec<EventReader>,
    /// The readers of the other channels, by channel.
    readers: [Vec<Rc<Session>>; Channel::ALL.len()],
    /// Level changes that the gathering channel has not sent.
    gathered: BTreeMap<(bool, Price), (Side, Price, Size)>,
    gathered_at: Timestamp,
    /// Whether there was a trade since the slow ticker channel was last served.
    traded: bool,
    snapshot: Option<(u64, ByteString)>,
    listeners: Vec<Rc<dyn Listener>>,
    /// The whole book in the listeners' words, with its sequence.
    retold: RefCell<Option<(u64, ByteString)>>,
    /// Rounds without any reader.
    pub idle: u32,
}

impl MarketFeed {
    /// A feed that begins with this picture, without readers.
    pub fn new(market: Arc<Market>, picture: Picture) -> MarketFeed {
        MarketFeed {
            market,
            applied: picture.applied,
            sequence: picture.sequence,
            bids: picture.bids.into_iter().collect(),
            asks: picture.asks.into_iter().collect(),
            ticker: picture.ticker,
            last_fill: picture.last_fill,
            events: Vec::new(),
            readers: Default::default(),
            gathered: BTreeMap::new(),
            gathered_at: Timestamp::ZERO,
            traded: false,
            snapshot: None,
            listeners: Vec::new(),
            retold: RefCell::default(),
            idle: 0,
        }
    }

    /// Begins anew with this picture and keeps the readers. Levels are sent again whole, and the ticker after a trade
    /// that was missed; a reader of events, who would have a hole, is handed back to be cut off. Events that a user
    /// alone sees raise no sequence, so for those who read them it counts how far the market's stream has gone.
    pub fn restart(&mut self, picture: Picture) -> Vec<Rc<Session>> {
        let holes = picture.sequence > self.sequence;
        let (before, applied) = (self.applied, picture.applied);
        let has_hole = |reader: &EventReader| holes || (reader.wants.user && applied > before.max(reader.skip_until));
        let number = |ticker: &Ticker| ticker.trade.id;
        let trade = picture.ticker.as_ref().map(number) != self.ticker.as_ref().map(number);
        let traded = self.traded || trade;
        let fresh = MarketFeed::new(self.market.clone(), picture);
        let events = std::mem::take(&mut self.events);
        let readers = std::mem::take(&mut self.readers);
        let listeners = std::mem::take(&mut self.listeners);
        *self = MarketFeed { readers, listeners, traded, ..fresh };
        // They do not say whether they read what a user alone sees.
        let missed = Missed { changes: holes || applied > before, trade };
        self.listeners.iter().for_each(|listener| listener.restarted(self, missed));
        if trade && let Some(ticker) = &self.ticker {
            let text = messages::ticker(&self.market, ticker);
            for session in self.of(Channel::Ticker) {
                session.outbox.ticker(self.market.id, text.clone());
            }
        }
        for reader in self.of(Channel::Level2).iter().chain(self.of(Channel::Level2Batch)) {
            // Without a snapshot its book would be wrong, so whoever is behind gets it later, but gets it.
            reader.outbox.lose_levels(self.market.id);
        }
        let (holed, whole): (Vec<_>, Vec<_>) = events.into_iter().partition(has_hole);
        self.events = whole;
        holed.into_iter().map(|reader| reader.session).collect()
    }

    /// Ends the connections that listen.
    pub fn end(&self) {
        self.listeners.iter().for_each(|listener| listener.ended(self));
    }

    /// The market has other rules now.
    pub fn renew(&mut self, market: &Arc<Market>) {
        if !Arc::ptr_eq(&self.market, market) {
            self.market = market.clone();
        }
    }

    fn of(&self, channel: Channel) -> &[Rc<Session>] {
        self.readers.get(channel as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether nobody reads it.
    pub fn is_unread(&self) -> bool {
        self.events.is_empty() && self.readers.iter().all(Vec::is_empty) && self.listeners.is_empty()
    }

    /// The whole book as a message; made once for each sequence.
    pub fn snapshot(&mut self) -> ByteString {
        match &self.snapshot {
            Some((sequence, text)) if *sequence == self.sequence => text.clone(),
            _ => {
                let mut bids = self.bids.iter().rev().map(|(price, level)| (*price, level.size));
                let mut asks = self.asks.iter().map(|(price, level)| (*price, level.size));
                let text = messages::snapshot(&self.market, self.sequence, &mut bids, &mut asks, wall_clock());
                self.snapshot = Some((self.sequence, text.clone()));
                text
            }
        }
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> Box<dyn Iterator<Item = (Price, Level)> + '_> {
        match side {
            Side::Buy => Box::new(self.bids.iter().rev().map(|(price, level)| (*price, *level))),
            Side::Sell => Box::new(self.asks.iter().map(|(price, level)| (*price, *level))),
        }
    }

    /// The whole book in the listeners' words; made once for each sequence.
    pub fn retold(&self, tell: impl FnOnce() -> ByteString) -> ByteString {
        let mut retold = self.retold.borrow_mut();
        match &*retold {
            Some((sequence, text)) if *sequence == self.sequence => text.clone(),
            _ => {
                let text = tell();
                *retold = Some((self.sequence, text.clone()));
                text
            }
        }
    }

    /// The last trade with best prices and statistics, as of that trade.
    pub fn ticker(&self) -> Option<&Ticker> {
        self.ticker.as_ref()
    }

    /// Adds a listener, once.
    pub fn listen(&mut self, listener: &Rc<dyn Listener>) {
        self.idle = 0;
        if !self.listeners.iter().any(|other| Rc::ptr_eq(other, listener)) {
            self.listeners.push(listener.clone());
        }
    }

    /// Takes a listener off.
    pub fn unlisten(&mut self, listener: &Rc<dyn Listener>) {
        self.listeners.retain(|other| !Rc::ptr_eq(other, listener));
    }

    /// Adds a reader to channels that it did not have, and sends what each begins with; false when the reader cannot
    /// take that. Events begin now, unless they are `replayed` first.
    #[must_use]
    pub fn join(
        &mut self,
        session: &Rc<Session>,
        new: &BTreeSet<Channel>,
        all: &BTreeSet<Channel>,
        replayed: bool,
    ) -> bool {
        self.idle = 0;
        let mut taken = true;
        let of_levels = [Channel::Level2, Channel::Level2Batch];
        if of_levels.iter().any(|channel| new.contains(channel)) {
            session.outbox.forget_levels(self.market.id);
            taken &= session.outbox.text(self.snapshot());
        }
        if new.contains(&Channel::Matches)
            && let Some((sequence, at, fill)) = &self.last_fill
        {
            taken &= session.outbox.text(messages::last_match(&self.market, *sequence, *at, fill));
        }
        if [Channel::Ticker, Channel::TickerBatch].iter().any(|channel| new.contains(channel))
            && let Some(ticker) = &self.ticker
        {
            taken &= session.outbox.text(messages::ticker(&self.market, ticker));
        }
        for channel in new.iter().filter(|channel| !channel.is_of_events()) {
            if let Some(readers) = self.readers.get_mut(*channel as usize) {
                readers.push(session.clone());
            }
        }
        if !replayed && new.iter().any(|channel| channel.is_of_events()) {
            if Wants::of(new) == Wants::of(all) {
                session.outbox.begin(self.market.id, self.sequence);
            }
            self.follow(session, Wants::of(all), self.applied);
        }
        taken
    }

    /// Makes a session a reader of the events after this entry.
    pub fn follow(&mut self, session: &Rc<Session>, wants: Wants, skip_until: Sequence) {
        match self.events.iter_mut().find(|reader| reader.session.id == session.id) {
            Some(reader) => reader.wants = wants,
            None => self.events.push(EventReader { session: session.clone(), wants, skip_until }),
        }
    }

    /// Takes a reader off channels; `left` are those that it keeps.
    pub fn leave(&mut self, session: &Session, gone: &BTreeSet<Channel>, left: &BTreeSet<Channel>) {
        for channel in gone {
            if let Some(readers) = self.readers.get_mut(*channel as usize) {
                readers.retain(|reader| reader.id != session.id);
            }
        }
        let wants = Wants::of(left);
        self.events.retain_mut(|reader| {
            if reader.session.id == session.id {
                reader.wants = wants;
            }
            reader.session.id != session.id || wants.any()
        });
        if !left.contains(&Channel::Level2) && !left.contains(&Channel::Level2Batch) {
            session.outbox.forget_levels(self.market.id);
        }
        if self.of(Channel::Level2Batch).is_empty() {
            // What comes is gathered for nobody, so what is here would soon be older than the next reader's snapshot.
            self.gathered.clear();
        }
    }

    /// Takes in what one batch changed and hands it out. The sessions that could not take it are returned.
    pub fn update(&mut self, update: &Arc<Update>) -> Vec<Rc<Session>> {
        if update.outcomes.last() <= self.applied {
            return Vec::new();
        }
        self.applied = update.outcomes.last();
        self.sequence = update.sequence;
        for ((side, price, size), orders) in update.levels.iter().zip(&update.orders) {
            let levels = if *side == Side::Buy { &mut self.bids } else { &mut self.asks };
            if size.is_zero() {
                levels.remove(price);
            } else {
                levels.insert(*price, Level { size: *size, orders: *orders });
            }
        }
        if let Some((sequence, fill)) = update.fills.last() {
            self.last_fill = Some((*sequence, update.at, *fill));
            self.ticker = update.tickers.last().copied().or(self.ticker);
            self.traded = true;
        }
        let mut slow = Vec::new();
        for reader in &self.events {
            if update.outcomes.last() > reader.skip_until && !self.hand_events(reader, update) {
                slow.push(reader.session.clone());
            }
        }
        if !update.levels.is_empty() {
            for session in self.of(Channel::Level2) {
                let text = || messages::level2_of(&self.market, update);
                session.outbox.levels(&self.market, update.sequence, &update.levels, update.at, text);
            }
            if !self.of(Channel::Level2Batch).is_empty() {
                let keyed = update.levels.iter().map(|change| ((change.0 == Side::Buy, change.1), *change));
                self.gathered.extend(keyed);
                self.gathered_at = update.at;
            }
        }
        if !self.of(Channel::Ticker).is_empty() {
            for text in messages::tickers_of(&self.market, update) {
                for session in self.of(Channel::Ticker) {
                    session.outbox.ticker(self.market.id, text.clone());
                }
            }
        }
        self.listeners.iter().for_each(|listener| listener.changed(self, update));
        slow
    }

    /// Hands the events of a batch to a reader; false when it cannot take them. Whether there is room is looked at
    /// once, so that a batch is handed over whole, however large it is.
    fn hand_events(&self, reader: &EventReader, update: &Update) -> bool {
        let (session, wants, market) = (&reader.session, reader.wants, &self.market);
        let room = session.outbox.has_room();
        let hand = |sequence: u64, text: ByteString| room && session.outbox.event(market.id, sequence, text);
        let user = session.user.get();
        let is_party = user.is_some_and(|user| update.outcomes.events.iter().any(|e| messages::concerns(e, user)));
        if !is_party {
            if wants.full {
                let mut all = messages::full_of(market, update).iter();
                return all.all(|(sequence, text)| hand(*sequence, text.clone()));
            }
            if wants.matches {
                let mut all = messages::matches_of(market, update).iter().zip(&update.fills);
                return all.all(|(text, (sequence, _))| hand(*sequence, text.clone()));
            }
            return true;
        }
        let mut public = messages::full_of(market, update).iter();
        for (sequence, event) in update.outcomes.numbered() {
            let shared = if event.is_public() { public.next().map(|(_, text)| text) } else { None };
            let Some(party) = wants.takes(event, user) else { continue };
            let text = match (party, shared) {
                (None, Some(shared)) => Some(shared.clone()),
                _ => messages::of_event(market, party, sequence, update.at, event),
            };
            if text.is_some_and(|text| !hand(sequence, text)) {
                return false;
            }
        }
        true
    }

    /// Sends the level changes that were gathered.
    pub fn flush_levels(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let gathered: Vec<_> = std::mem::take(&mut self.gathered).into_values().collect();
        let text = messages::level2(&self.market, self.sequence, gathered.iter(), self.gathered_at);
        for session in self.of(Channel::Level2Batch) {
            session.outbox.levels(&self.market, self.sequence, &gathered, self.gathered_at, || text.clone());
        }
    }

    /// Sends the ticker to those who want it seldom.
    pub fn flush_tickers(&mut self) {
        if std::mem::take(&mut self.traded)
            && !self.of(Channel::TickerBatch).is_empty()
            && let Some(ticker) = &self.ticker
        {
            let text = messages::ticker(&self.market, ticker);
            for session in self.of(Channel::TickerBatch) {
                session.outbox.ticker(self.market.id, text.clone());
            }
        }
    }

    /// Sends a heartbeat. It waits behind every event that was handed out before, so it never names one that was not
    /// sent; whoever is still catching up gets none.
    pub fn heartbeat(&self, now: Timestamp) {
        if self.of(Channel::Heartbeat).is_empty() {
            return;
        }
        let last_trade = self.ticker.map_or(0, |ticker| ticker.trade.id.0);
        let text = messages::heartbeat(&self.market, self.sequence, last_trade, now);
        for session in self.of(Channel::Heartbeat) {
            if !session.is_replaying(self.market.id) {
                session.outbox.optional(text.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
