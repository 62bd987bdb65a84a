//! Where actors get their state from: snapshot plus log.

use super::order_book::BookState;
use super::recent::Recent;
use crate::actors::event_log::LogMeter;
use crate::domain::book::Book;
use crate::domain::ids::{Epoch, MarketId, Sequence, StreamId};
use crate::domain::market_data::MarketData;
use crate::domain::replica::{LedgerReplica, MarketOutcomes, MarketReplica};
use crate::domain::stream::StreamState;
use crate::domain::time::Timestamp;
use crate::domain::unapplied::{self, Unapplied};
use crate::domain::venue::{Market, Observer, Silent, Standstill, Venue, VenueError};
use crate::persistence::log::{Committed, LogError, LogReader, Position};
use crate::persistence::snapshots::Snapshots;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// A log that is out of reach is read again after so long.
const READ_AGAIN: Duration = Duration::from_millis(500);
/// How often it is told that it is.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Why the state could not be rebuilt.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch cannot be applied.
    #[error("the batch at position {0} cannot be applied: {1}")]
    Apply(Position, VenueError),
    /// An entry of the market cannot be applied.
    #[error("entry {} of market {} cannot be applied", .1.0, .0.0)]
    Faulted(MarketId, Sequence),
    /// There is no such market.
    #[error("market {} is not listed", .0.0)]
    NotListed(MarketId),
}

/// Rebuilds the venue. At the start of the program each actor takes its part of one recovery; an
/// actor that is restarted later recovers by itself.
pub struct Recovery {
    reader: Arc<dyn LogReader>,
    snapshots: Snapshots,
    /// How far the log is; a snapshot beyond that is of another log.
    meter: Option<Arc<LogMeter>>,
    /// How many client order ids the ledger remembers with their orders.
    client_ids: usize,
    seed: Mutex<Seed>,
    /// What markets that stand still have left out, as far as somebody has looked.
    behind: Mutex<BTreeMap<MarketId, Behind>>,
    /// Whether everything is read where it is asked for, on the thread of the actors.
    here: bool,
}

/// The parts that were not taken yet, by market.
struct Seed {
    position: Position,
    ledger: Option<LedgerReplica>,
    books: Vec<Option<MarketReplica>>,
    data: Vec<Option<(Sequence, MarketData)>>,
    faults: Vec<Option<Sequence>>,
}

/// What a market's stream holds after the last entry whose outcomes the ledger has heard of.
struct Behind {
    /// That entry.
    known: Sequence,
    /// The book as it was then, where its stream stood, and its place in the log.
    book: Book,
    place: StreamState,
    at: Position,
    /// How far the stream and the log were read.
    stream: StreamState,
    position: Position,
    /// The batches of the stream in between, and their holds.
    rest: Vec<Committed>,
    all: Vec<Unapplied>,
}

impl Behind {
    /// Reads up to the log's present end.
    fn read_on(&mut self, reader: &dyn LogReader) -> Result<(), RecoveryError> {
        let market = StreamId::Market(self.book.config().id);
        for committed in reader.read(self.position)? {
            let committed = committed?;
            let position = committed.position;
            if committed.batch.stream == market {
                let failed = |error| RecoveryError::Apply(position, VenueError::Replica(market, error));
                self.all.extend(unapplied::read(&self.book, &mut self.stream, &committed.batch).map_err(failed)?);
                self.rest.push(committed);
            }
            self.position = position;
        }
        Ok(())
    }

    /// The book with what the log holds after it.
    fn recovered(&self) -> RecoveredBook {
        let replica = MarketReplica { book: self.book.clone(), stream: self.place };
        let state = BookState { replica, recent: Recent::since(self.at), position: self.at };
        RecoveredBook { state, position: self.at, rest: self.rest.clone() }
    }
}

/// How far a part is rebuilt.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// The log's present end.
    End,
    /// The place of a market's stream at which it stood after this batch: a later snapshot will do while nothing has
    /// happened in that market.
    Place(MarketId, StreamState, Position),
    /// This entry of a market, inclusive.
    Entry(MarketId, Sequence),
    /// The listing of a market: nothing of its stream, the marker of an epoch neither.
    Listing(MarketId),
}

impl Until {
    fn contains(self, position: Position, venue: &Venue) -> bool {
        match self {
            Until::End => true,
            Until::Place(market, place, last) => position <= last || place_of(venue, market) == Some(place),
            Until::Entry(market, last) => {
                let market = venue.markets.get(usize::from(market.0));
                market.is_none_or(|market| market.replica.stream.sequence <= last)
            }
            Until::Listing(market) => {
                let market = venue.markets.get(usize::from(market.0));
                market.is_none_or(|market| market.replica.stream.epoch == Epoch::default())
            }
        }
    }

    fn is_reached(self, next: &Committed, venue: &Venue) -> bool {
        match self {
            Until::End => false,
            Until::Place(market, place, last) => next.position > last || place_of(venue, market) == Some(place),
            Until::Entry(market, last) => {
                let market = venue.markets.get(usize::from(market.0));
                market.is_some_and(|market| market.replica.stream.sequence >= last)
            }
            Until::Listing(market) => venue.markets.len() > usize::from(market.0),
        }
    }
}

fn place_of(venue: &Venue, market: MarketId) -> Option<StreamState> {
    venue.markets.get(usize::from(market.0)).map(|market| market.replica.stream)
}

/// The venue, rebuilt.
struct Rebuilt {
    venue: Venue,
    /// The place of the snapshot from which it was; the log's beginning without one.
    from: Position,
    /// Its place in the log.
    position: Position,
}

/// A book as it was when the last of its outcomes was told, and what the log holds after that.
pub(super) struct RecoveredBook {
    pub(super) state: BookState,
    /// Its place in the log.
    pub(super) position: Position,
    /// The batches of its stream after it.
    pub(super) rest: Vec<Committed>,
}

/// Keeps what a market's book remembers beside its state.
struct Remembers {
    market: MarketId,
    recent: Recent,
}

impl Observer for Remembers {
    fn market(&mut self, outcomes: &MarketOutcomes, _: &Market) {
        if outcomes.market == self.market {
            // The batch's position is not known here; it is dated when the replay is over.
            self.recent.add(outcomes, Position(1));
        }
    }
}

/// Applies what the log holds after `from`, up to its present end, position `until` or `limit` batches.
///
/// A broker that is lost on the way is an error only when nothing was read before that.
///
/// # Errors
/// [`RecoveryError`]; the venue stands at the last good batch then.
pub fn catch_up(
    venue: &mut Venue,
    reader: &dyn LogReader,
    from: Position,
    until: Position,
    limit: usize,
    observer: &mut impl Observer,
) -> Result<Position, RecoveryError> {
    if from >= until {
        return Ok(from);
    }
    apply(venue, reader.read(from)?.take(limit), from, until, observer)
}

/// Applies batches that follow position `from`, as far as they come and up to position `until`.
///
/// # Errors
/// As [`catch_up`].
pub fn apply(
    venue: &mut Venue,
    batches: impl Iterator<Item = Result<Committed, LogError>>,
    from: Position,
    until: Position,
    observer: &mut impl Observer,
) -> Result<Position, RecoveryError> {
    let mut position = from;
    for committed in batches {
        let committed = match committed {
            Err(LogError::Broker { .. }) if position > from => break,
            committed => committed?,
        };
        if committed.position > until {
            break;
        }
        venue.apply(&committed.batch, observer).map_err(|error| RecoveryError::Apply(committed.position, error))?;
        position = committed.position;
    }
    Ok(position)
}

/// The newest epoch of any trading stream, and the time of the last batch; `end` is where the venue stands.
///
/// # Errors
/// When the last batch cannot be read.
pub fn newest(venue: &Venue, reader: &dyn LogReader, end: Position) -> Result<(Epoch, Timestamp), LogError> {
    let last = reader.read(Position(end.0.saturating_sub(1)))?.last().transpose()?;
    Ok((venue.newest_epoch(), last.map_or(Timestamp::ZERO, |committed| committed.batch.at)))
}

impl Recovery {
    /// A recovery from this log and these snapshots. `venue` is the state at `position`, the log's
    /// end, for the first incarnation of each actor.
    pub fn new(
        reader: Arc<dyn LogReader>,
        snapshots: Snapshots,
        mut venue: Venue,
        position: Position,
        client_ids: usize,
    ) -> Recovery {
        venue.ledger.client_ids.keep(client_ids);
        let mut seed =
            Seed { position, ledger: Some(venue.ledger), books: Vec::new(), data: Vec::new(), faults: Vec::new() };
        for market in venue.markets {
            seed.faults.push(market.fault.map(|fault| fault.entry));
            seed.data.push(Some((market.replica.stream.sequence, market.data)));
            seed.books.push(Some(market.replica));
        }
        let (meter, behind) = (None, Mutex::default());
        Recovery { reader, snapshots, meter, client_ids, seed: Mutex::new(seed), behind, here: false }
    }

    /// Takes no snapshot from behind what this log has come to.
    #[must_use]
    pub fn no_further_than(mut self, meter: Arc<LogMeter>) -> Recovery {
        self.meter = Some(meter);
        self
    }

    /// Reads everything on the thread of whoever asks, for simulations.
    #[must_use]
    pub fn on_one_thread(mut self) -> Recovery {
        self.here = true;
        self
    }

    /// The entry that stopped a market already while the program started.
    pub(super) fn fault(&self, market: MarketId) -> Option<Sequence> {
        self.seed.lock().faults.get(usize::from(market.0)).copied().flatten()
    }

    /// The whole venue as far as `until`, and its place in the log.
    fn venue(&self, until: Until, observer: &mut impl Observer) -> Result<Rebuilt, RecoveryError> {
        let newest = self.meter.as_ref().map_or(u64::MAX, |meter| meter.position.load(Ordering::Relaxed));
        let suits = |position: Position, venue: &Venue| position.0 <= newest && until.contains(position, venue);
        let loaded = self.snapshots.newest_such(suits);
        let (mut venue, from) = loaded.map_or_else(Default::default, |loaded| (loaded.venue, loaded.position));
        venue.keep_ended();
        let mut position = from;
        for committed in self.reader.read(from)? {
            let committed = committed?;
            if until.is_reached(&committed, &venue) {
                break;
            }
            let failed = |error| RecoveryError::Apply(committed.position, error);
            venue.apply(&committed.batch, observer).map_err(failed)?;
            position = committed.position;
        }
        Ok(Rebuilt { venue, from, position })
    }

    /// The batches of a stream after `position`, up to the log's present end.
    fn tail(&self, stream: StreamId, position: Position) -> Result<Vec<Committed>, RecoveryError> {
        let mut tail = Vec::new();
        for committed in self.reader.read(position)? {
            let committed = committed?;
            if committed.batch.stream == stream {
                tail.push(committed);
            }
        }
        #[cfg(test)]
        if crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::RecoversTooLittle) {
            tail.pop();
        }
        Ok(tail)
    }

    /// Runs a part of the recovery where it may block. While the broker is away, or the database whose archive has the
    /// older part of the log, it is tried again: actors that gave up because of it would soon take all of trading with
    /// them.
    async fn elsewhere<T: Send + 'static>(
        self: Arc<Self>,
        part: impl Fn(&Recovery) -> Result<T, RecoveryError> + Clone + Send + 'static,
    ) -> Result<T, String> {
        let mut told = None::<Instant>;
        loop {
            let done = if self.here {
                part(&self)
            } else {
                let (recovery, part) = (self.clone(), part.clone());
                let done = tokio::task::spawn_blocking(move || part(&recovery));
                done.await.map_err(|error| error.to_string())?
            };
            match done {
                Err(RecoveryError::Log(LogError::Broker { reason })) => {
                    if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        told = Some(Instant::now());
                        tracing::warn!(reason, "what is missing cannot be read from the log for now; it is waited for");
                    }
                    tokio::time::sleep(READ_AGAIN).await;
                }
                done => return done.map_err(|error| error.to_string()),
            }
        }
    }

    /// The batches of a stream after `position`, for a state that came from elsewhere.
    pub(super) async fn since(self: Arc<Self>, stream: StreamId, at: Position) -> Result<Vec<Committed>, String> {
        self.elsewhere(move |recovery| recovery.tail(stream, at)).await
    }

    /// The ledger at the log's end, with its place there.
    pub(super) async fn ledger(self: Arc<Self>) -> Result<(LedgerReplica, Position), String> {
        let seed = {
            let mut seed = self.seed.lock();
            seed.ledger.take().map(|replica| (replica, seed.position))
        };
        match seed {
            Some(seed) => Ok(seed),
            None => self.elsewhere(Recovery::ledger_at_end).await,
        }
    }

    /// The same, rebuilt from snapshot and log; blocks.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub(super) fn ledger_at_end(&self) -> Result<(LedgerReplica, Position), RecoveryError> {
        let Rebuilt { mut venue, position, .. } = self.venue(Until::End, &mut Silent)?;
        venue.ledger.client_ids.keep(self.client_ids);
        Ok((venue.ledger, position))
    }

    /// A book: the state up to what was told, and the batches after it. The first time it is the book at the log's end;
    /// of a market that was listed since the program started it is the empty one, since nobody here has been told
    /// anything of what other nodes may have brought into its stream by now.
    pub(super) async fn market(
        self: Arc<Self>,
        market: MarketId,
        told: Option<(Position, StreamState)>,
    ) -> Result<RecoveredBook, String> {
        let seed = {
            let mut seed = self.seed.lock();
            let position = seed.position;
            let book = seed.books.get_mut(usize::from(market.0)).and_then(Option::take);
            book.map(|replica| (replica, position))
        };
        if let Some((mut replica, position)) = seed {
            replica.book.keep_ended();
            let state = BookState { replica, recent: Recent::since(position), position };
            return Ok(RecoveredBook { state, position, rest: Vec::new() });
        }
        let part = move |recovery: &Recovery| {
            if let Some(told) = told
                && let Some(recovered) = recovery.behind(market, told)?
            {
                return Ok(recovered);
            }
            let at = |(position, place)| Until::Place(market, place, position);
            let until = told.map_or(Until::Listing(market), at);
            let (state, position) = match recovery.book(market, until) {
                // What is left of the log begins later: those who were not told of everything must notice it.
                Err(RecoveryError::Log(LogError::Pruned { .. })) => recovery.book(market, Until::End)?,
                other => other?,
            };
            let rest = recovery.tail(StreamId::Market(market), position)?;
            Ok(RecoveredBook { state, position, rest })
        };
        self.elsewhere(part).await
    }

    /// A book as it was at a place of its stream, after the batch at `position`; blocks.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub(super) fn book_at(
        &self,
        market: MarketId,
        place: StreamState,
        position: Position,
    ) -> Result<BookState, RecoveryError> {
        self.book(market, Until::Place(market, place, position)).map(|(state, _)| state)
    }

    fn book(&self, market: MarketId, until: Until) -> Result<(BookState, Position), RecoveryError> {
        let mut remembers = Remembers { market, recent: Recent::default() };
        let Rebuilt { mut venue, from, position } = self.venue(until, &mut remembers)?;
        remembers.recent.date(from, position);
        let index = usize::from(market.0);
        if index >= venue.markets.len() {
            return Err(RecoveryError::NotListed(market));
        }
        let Market { replica, fault, .. } = venue.markets.swap_remove(index);
        if let Some(Standstill { entry, .. }) = fault {
            return Err(RecoveryError::Faulted(market, entry));
        }
        Ok((BookState { replica, recent: remembers.recent, position }, position))
    }

    /// A book that was looked at while it stood still, if that is how it was when everybody was told last: the
    /// snapshots since then are of no use, and the log before them may be long.
    fn behind(
        &self,
        market: MarketId,
        (told, place): (Position, StreamState),
    ) -> Result<Option<RecoveredBook>, RecoveryError> {
        // Whoever has the lock may be reading for long, of another market too; without what it keeps, more is read here.
        let Some(mut behind) = self.behind.try_lock() else { return Ok(None) };
        let known = behind.get_mut(&market).filter(|behind| behind.known == place.sequence);
        let Some(behind) = known.filter(|behind| behind.at <= told || behind.place == place) else { return Ok(None) };
        behind.read_on(self.reader.as_ref())?;
        Ok(Some(behind.recovered()))
    }

    /// What a market's stream holds after entry `known`, which is the last whose outcomes the ledger has heard of, up to
    /// the log's present end. What was read once is not read again: while a market stands still no snapshots are taken,
    /// and the log goes on.
    pub(super) async fn unapplied(
        self: Arc<Self>,
        market: MarketId,
        known: Sequence,
    ) -> Result<Vec<Unapplied>, String> {
        self.elsewhere(move |recovery: &Recovery| recovery.unapplied_now(market, known)).await
    }

    fn unapplied_now(&self, market: MarketId, known: Sequence) -> Result<Vec<Unapplied>, RecoveryError> {
        // Whoever comes meanwhile waits, rather than reading the same beside it.
        let mut behind = self.behind.lock();
        let mut at = match behind.remove(&market).filter(|behind| behind.known == known) {
            Some(behind) => behind,
            None => {
                let Rebuilt { mut venue, position, .. } = self.venue(Until::Entry(market, known), &mut Silent)?;
                let index = usize::from(market.0);
                if index >= venue.markets.len() {
                    return Err(RecoveryError::NotListed(market));
                }
                let MarketReplica { book, stream } = venue.markets.swap_remove(index).replica;
                let (rest, all) = (Vec::new(), Vec::new());
                Behind { known, book, place: stream, at: position, stream, position, rest, all }
            }
        };
        let read = at.read_on(self.reader.as_ref());
        let all = at.all.clone();
        behind.insert(market, at);
        read.map(|()| all)
    }

    /// A market goes on: nothing of it has to be looked for any more.
    pub(super) fn goes_on(&self, market: MarketId) {
        // Whoever is reading has the lock; what it leaves is put right when it is asked for, by the entry that is known.
        if let Some(mut behind) = self.behind.try_lock() {
            behind.remove(&market);
        }
    }

    /// Market data up to `told` (else to the log's end), with the newest entry that it contains.
    pub(super) async fn data(
        self: Arc<Self>,
        market: MarketId,
        told: Option<Sequence>,
    ) -> Result<(Sequence, MarketData), String> {
        let seed = self.seed.lock().data.get_mut(usize::from(market.0)).and_then(Option::take);
        if let Some(part) = seed {
            return Ok(part);
        }
        let part = move |recovery: &Recovery| {
            let until = told.map_or(Until::End, |told| Until::Entry(market, told));
            let Rebuilt { mut venue, .. } = recovery.venue(until, &mut Silent)?;
            let index = usize::from(market.0);
            if index >= venue.markets.len() {
                return Err(RecoveryError::NotListed(market));
            }
            let market = venue.markets.swap_remove(index);
            Ok((market.replica.stream.sequence, market.data))
        };
        self.elsewhere(part).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::log::genesis;
    use crate::persistence::log::LogEngine;
    use crate::persistence::log::faulty::{Faults, Medium};

    /// A copy of the log was put back, and a snapshot is of what was lost.
    #[test]
    fn a_snapshot_from_behind_the_end_of_the_log_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let medium = Medium::new(1, Faults::default(), 64);
        let engine = medium.open(Box::new(|_| {}));
        engine.propose(genesis(Epoch { counter: 1, node: 1 }, Timestamp(1))).unwrap();
        medium.settle();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        snapshots.save(Position(99), &Venue::default()).unwrap();
        let meter = Arc::<LogMeter>::default();
        meter.position.store(engine.end().0, Ordering::Relaxed);
        let recovery = Recovery::new(engine.reader(), snapshots, Venue::default(), Position(0), 10);
        let (replica, position) = recovery.no_further_than(meter).ledger_at_end().unwrap();
        assert_eq!((position, replica.ledger.currencies().len()), (Position(1), 3));
    }
}
