//! What waits to be sent on one connection.
//!
//! The socket takes from it only as fast as its reader reads, so it is the one place where a slow reader shows. It is
//! bounded: level changes and tickers are conflated while the reader is behind; a reader of single events that falls
//! too far behind is cut off, and told from where it can resume. Texts are shared between connections, so what waits
//! costs little more than its place here.

use super::messages;
use crate::actors::trading::Market;
use crate::domain::ids::MarketId;
use crate::domain::money::{Price, Size};
use crate::domain::order::Side;
use crate::domain::time::Timestamp;
use bytestring::ByteString;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// From so many waiting messages on, levels and tickers are conflated.
const BEHIND: usize = 512;
/// With so many waiting messages, a connection that is to take more is cut off. This is looked at once before the
/// events of a batch, and the batch is taken whole: a reader that keeps up must not be cut off because one batch is
/// large. So the bound of what waits is this and one batch.
const MOST: usize = 4_096;
/// Places for messages that an outbox keeps when it is empty.
const KEPT: usize = 64;
/// Messages are handed to the socket in pieces of about so many bytes.
const PIECE: usize = 32 * 1024;
/// Beyond so many conflated level changes of a market, its reader gets a new snapshot instead.
const MOST_LEVELS: usize = 5_000;

/// What the socket is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A message.
    Text(ByteString),
    /// A new snapshot of this market's levels: the reader was too far behind for its changes.
    Snapshot(MarketId),
    /// A ping frame.
    Ping,
    /// The end of the connection, with its reason.
    Close(String),
}

#[derive(Debug)]
enum Item {
    Out(Outgoing),
    /// An event of a market, by its sequence.
    Event(MarketId, u64, ByteString),
    /// No message: what comes of a market follows this event.
    Begin(MarketId, u64),
    /// Level changes of a market.
    Levels(MarketId, ByteString),
}

/// Writes level changes as a message of a dialect: the market, the sequence, the changes, the time.
pub type LevelWriter = fn(&Market, u64, Levels<'_>, Timestamp) -> ByteString;

/// Level changes.
pub type Levels<'a> = &'a mut dyn Iterator<Item = &'a (Side, Price, Size)>;

fn native(market: &Market, sequence: u64, levels: Levels<'_>, at: Timestamp) -> ByteString {
    messages::level2(market, sequence, levels, at)
}

/// Level changes that a slow reader has not got yet: of each level the newest.
#[derive(Debug)]
struct Conflated {
    market: Arc<Market>,
    levels: BTreeMap<(bool, Price), (Side, Price, Size)>,
    sequence: u64,
    at: Timestamp,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Item>,
    levels: BTreeMap<MarketId, Conflated>,
    /// The markets whose level changes were dropped; the reader begins anew with a snapshot.
    lost: BTreeSet<MarketId>,
    tickers: BTreeMap<MarketId, ByteString>,
    /// The newest event of each market that was handed to the socket, or the one that its first event follows.
    delivered: Vec<(MarketId, u64)>,
    /// Whether a ping is to go out next.
    ping: bool,
    closed: bool,
    waker: Option<Waker>,
    /// Whoever waits was called already.
    called: bool,
}

/// The queue of one connection.
#[derive(Debug)]
pub struct Outbox(RefCell<Inner>, LevelWriter);

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::of_dialect(native)
    }
}

impl Outbox {
    /// An empty outbox whose conflated levels are written like this.
    pub fn of_dialect(writer: LevelWriter) -> Outbox {
        Outbox(RefCell::default(), writer)
    }

    /// Adds what comes, however much waits; false when the connection is closed.
    fn push(&self, item: Item) -> bool {
        let mut inner = self.0.borrow_mut();
        if inner.closed {
            return false;
        }
        inner.queue.push_back(item);
        inner.wake();
        true
    }

    /// Whether a message, or a batch of events, may be added. Asked once for each batch.
    pub fn has_room(&self) -> bool {
        let inner = self.0.borrow();
        !inner.closed && inner.queue.len() < MOST
    }

    /// Adds a message; false when too many wait or the connection is closed.
    #[must_use]
    pub fn text(&self, text: ByteString) -> bool {
        self.has_room() && self.push(Item::Out(Outgoing::Text(text)))
    }

    /// Adds the message of an event; false when the connection is closed. Whoever adds the events of a batch has asked
    /// [`Outbox::has_room`] before the first of them.
    #[must_use]
    pub fn event(&self, market: MarketId, sequence: u64, text: ByteString) -> bool {
        self.push(Item::Event(market, sequence, text))
    }

    /// What comes of a market's events follows this one, so that it is known from where the reader can resume when it
    /// has got none of them. This waits in the queue like a message: a reader that was not told of its subscription has
    /// not begun either.
    pub fn begin(&self, market: MarketId, sequence: u64) {
        // A closed connection begins nothing.
        let _ = self.push(Item::Begin(market, sequence));
    }

    /// Sends a ping before everything that waits: a reader that is behind must be able to show that it lives.
    pub fn ping(&self) {
        let mut inner = self.0.borrow_mut();
        // A closed connection needs none.
        if !inner.closed {
            inner.ping = true;
            inner.wake();
        }
    }

    /// Adds a message that may as well be left out when the reader is behind.
    pub fn optional(&self, text: ByteString) {
        if !self.is_behind() {
            let _ = self.push(Item::Out(Outgoing::Text(text)));
        }
    }

    /// Adds a ticker. A slow reader gets the newest alone.
    pub fn ticker(&self, market: MarketId, text: ByteString) {
        let mut inner = self.0.borrow_mut();
        if inner.closed {
            return;
        }
        if inner.queue.len() < BEHIND && !inner.tickers.contains_key(&market) {
            inner.queue.push_back(Item::Out(Outgoing::Text(text)));
        } else {
            inner.tickers.insert(market, text);
        }
        inner.wake();
    }

    /// Adds level changes and their message. A slow reader gets the newest size of each level later.
    pub fn levels(
        &self,
        market: &Arc<Market>,
        sequence: u64,
        changes: &[(Side, Price, Size)],
        at: Timestamp,
        text: impl FnOnce() -> ByteString,
    ) {
        let mut inner = self.0.borrow_mut();
        // The snapshot that comes for lost levels has these changes in it.
        if inner.closed || inner.lost.contains(&market.id) {
            return;
        }
        if inner.queue.len() < BEHIND && !inner.levels.contains_key(&market.id) {
            inner.queue.push_back(Item::Levels(market.id, text()));
        } else {
            let empty = || Conflated { market: market.clone(), levels: BTreeMap::new(), sequence, at };
            let conflated = inner.levels.entry(market.id).or_insert_with(empty);
            (conflated.sequence, conflated.at) = (sequence, at);
            conflated.levels.extend(changes.iter().map(|change| ((change.0 == Side::Buy, change.1), *change)));
            if conflated.levels.len() > MOST_LEVELS {
                inner.levels.remove(&market.id);
                inner.lost.insert(market.id);
            }
        }
        inner.wake();
    }

    /// Forgets what waits of a market's levels, because a new snapshot comes or nobody wants them.
    pub fn forget_levels(&self, market: MarketId) {
        self.0.borrow_mut().forget_levels(market);
    }

    /// What waits of a market's levels does not count any more, and neither does what comes: the reader gets a snapshot
    /// as soon as it has read everything before it.
    pub fn lose_levels(&self, market: MarketId) {
        let mut inner = self.0.borrow_mut();
        if inner.closed {
            return;
        }
        inner.forget_levels(market);
        inner.lost.insert(market);
        inner.wake();
    }

    /// Ends the connection: what waits is dropped, the text and the close frame go out.
    pub fn close(&self, text: ByteString, reason: &str) {
        let mut inner = self.0.borrow_mut();
        if inner.closed {
            return;
        }
        inner.closed = true;
        inner.ping = false;
        inner.queue = VecDeque::from([Item::Out(Outgoing::Text(text)), Item::Out(Outgoing::Close(reason.to_owned()))]);
        inner.levels.clear();
        inner.lost.clear();
        inner.tickers.clear();
        inner.wake();
    }

    /// Whether the connection was closed from here.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// Whether the reader is behind.
    pub fn is_behind(&self) -> bool {
        self.0.borrow().queue.len() >= BEHIND
    }

    /// The newest event of each market that was handed to the socket, or the one that its first event follows.
    pub fn delivered(&self) -> Vec<(MarketId, u64)> {
        self.0.borrow().delivered.clone()
    }

    /// Hands out what waits, in order, up to about a piece of it.
    pub fn take(&self, mut hand_out: impl FnMut(Outgoing)) {
        let mut inner = self.0.borrow_mut();
        if std::mem::take(&mut inner.ping) {
            hand_out(Outgoing::Ping);
        }
        let mut bytes = 0;
        while bytes < PIECE {
            let out = match inner.queue.pop_front() {
                Some(Item::Out(out)) => out,
                Some(Item::Levels(_, text)) => Outgoing::Text(text),
                Some(Item::Event(market, sequence, text)) => {
                    inner.delivered(market, sequence);
                    Outgoing::Text(text)
                }
                Some(Item::Begin(market, sequence)) => {
                    inner.delivered(market, sequence);
                    continue;
                }
                None => break,
            };
            if let Outgoing::Text(text) = &out {
                bytes += text.len();
            }
            hand_out(out);
        }
        if bytes >= PIECE || !inner.queue.is_empty() {
            return;
        }
        if inner.queue.capacity() > KEPT {
            inner.queue.shrink_to(KEPT);
        }
        if inner.levels.is_empty() && inner.lost.is_empty() && inner.tickers.is_empty() {
            return;
        }
        let (levels, lost) = (std::mem::take(&mut inner.levels), std::mem::take(&mut inner.lost));
        let tickers = std::mem::take(&mut inner.tickers);
        drop(inner);
        for Conflated { market, levels, sequence, at } in levels.into_values() {
            hand_out(Outgoing::Text((self.1)(&market, sequence, &mut levels.values(), at)));
        }
        lost.into_iter().map(Outgoing::Snapshot).for_each(&mut hand_out);
        tickers.into_values().map(Outgoing::Text).for_each(hand_out);
    }

    /// Whoever empties the outbox waits for the next message.
    pub fn wait(&self, waker: &Waker) {
        let mut inner = self.0.borrow_mut();
        inner.called = false;
        match &mut inner.waker {
            Some(known) => known.clone_from(waker),
            None => inner.waker = Some(waker.clone()),
        }
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(waker) = &self.waker
            && !std::mem::replace(&mut self.called, true)
        {
            waker.wake_by_ref();
        }
    }

    fn forget_levels(&mut self, market: MarketId) {
        self.levels.remove(&market);
        self.lost.remove(&market);
        self.queue.retain(|item| !matches!(item, Item::Levels(other, _) if *other == market));
    }

    fn delivered(&mut self, market: MarketId, sequence: u64) {
        match self.delivered.iter_mut().find(|(id, _)| *id == market) {
            Some((_, newest)) => *newest = sequence,
            None => self.delivered.push((market, sequence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(outbox: &Outbox) -> Vec<Outgoing> {
        let mut piece = Vec::new();
        outbox.take(|outgoing| piece.push(outgoing));
        piece
    }

    fn texts(piece: &[Outgoing]) -> Vec<&str> {
        piece
            .iter()
            .map(|out| match out {
                Outgoing::Text(text) => &**text,
                Outgoing::Snapshot(_) => "snapshot",
                Outgoing::Ping => "ping",
                Outgoing::Close(_) => "close",
            })
            .collect()
    }

    #[test]
    fn a_batch_is_taken_whole_and_nothing_after_it_and_the_delivered_events_are_known() {
        let outbox = Outbox::default();
        let market = MarketId(0);
        let batch = MOST as u64 + 900;
        assert!(outbox.has_room());
        for sequence in 1..=batch {
            assert!(outbox.event(market, sequence, "x".into()));
        }
        assert!(!outbox.has_room() && !outbox.text("x".into()));
        assert!(outbox.is_behind());
        assert_eq!(outbox.delivered(), []);
        let piece = taken(&outbox);
        assert_eq!(piece.len() as u64, batch);
        assert_eq!(outbox.delivered(), [(market, batch)]);
        assert!(outbox.has_room());
        outbox.close("bye".into(), "slow");
        assert!(outbox.is_closed() && !outbox.text("more".into()));
        assert!(!outbox.has_room() && !outbox.event(market, batch + 1, "x".into()));
        assert_eq!(texts(&taken(&outbox)), ["bye", "close"]);
        assert!(taken(&outbox).is_empty());
    }

    #[test]
    fn where_a_reader_begins_is_known_before_its_first_event_and_when_it_begins_again() {
        let outbox = Outbox::default();
        let (market, other) = (MarketId(0), MarketId(1));
        assert!(outbox.text("subscriptions".into()));
        outbox.begin(market, 7);
        outbox.begin(other, 3);
        assert_eq!(outbox.delivered(), [], "it was told of nothing yet");
        assert_eq!(texts(&taken(&outbox)), ["subscriptions"]);
        assert_eq!(outbox.delivered(), [(market, 7), (other, 3)]);
        assert!(outbox.event(market, 8, "x".into()));
        // It leaves the market, and comes back when that is further.
        outbox.begin(market, 20);
        assert_eq!(texts(&taken(&outbox)), ["x"]);
        assert_eq!(outbox.delivered(), [(market, 20), (other, 3)]);
        assert!(taken(&outbox).is_empty());
    }

    #[test]
    fn whoever_is_behind_gets_the_snapshot_for_lost_levels_last_unless_it_has_one_or_wants_none() {
        let outbox = Outbox::default();
        let market = MarketId(0);
        for _ in 0..BEHIND {
            assert!(outbox.text("x".into()));
        }
        outbox.lose_levels(market);
        outbox.lose_levels(market);
        let all = taken(&outbox);
        assert_eq!(all.len(), BEHIND + 1);
        assert_eq!(all.last(), Some(&Outgoing::Snapshot(market)));
        assert!(taken(&outbox).is_empty());
        outbox.lose_levels(market);
        outbox.forget_levels(market);
        assert!(taken(&outbox).is_empty());
        outbox.close("bye".into(), "slow");
        outbox.lose_levels(market);
        assert_eq!(texts(&taken(&outbox)), ["bye", "close"]);
        assert!(taken(&outbox).is_empty());
    }

    #[test]
    fn a_ping_passes_everything_that_waits() {
        let outbox = Outbox::default();
        for _ in 0..BEHIND {
            assert!(outbox.text("x".into()));
        }
        outbox.ping();
        outbox.ping();
        let all = taken(&outbox);
        assert_eq!((texts(&all)[0], all.len()), ("ping", BEHIND + 1));
        assert!(taken(&outbox).is_empty());
        outbox.ping();
        outbox.close("bye".into(), "slow");
        outbox.ping();
        assert_eq!(texts(&taken(&outbox)), ["bye", "close"]);
    }

    #[test]
    fn pieces_are_bounded_and_tickers_conflated() {
        let outbox = Outbox::default();
        let long: ByteString = "x".repeat(10_000).into();
        for _ in 0..BEHIND {
            assert!(outbox.text(long.clone()));
        }
        for n in 0..100 {
            outbox.ticker(MarketId(0), format!("ticker {n}").into());
            outbox.optional("left out".into());
        }
        let mut all = Vec::new();
        loop {
            let piece = taken(&outbox);
            if piece.is_empty() {
                break;
            }
            assert!(piece.len() <= 4 || all.len() >= BEHIND - 4);
            all.extend(piece);
        }
        assert_eq!(all.len(), BEHIND + 1);
        assert_eq!(texts(&all[BEHIND..]), ["ticker 99"]);
    }
}
