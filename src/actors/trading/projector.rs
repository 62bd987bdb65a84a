//! The projector: follows the log at its own pace and keeps database, snapshots and archive.
//!
//! It applies the log to a venue of its own rather than receiving outcomes: a database that is away
//! for long then costs neither memory nor speed anywhere else, and snapshots are taken from this
//! copy while trading goes on. It lives alone on its arbiter, so it may block.
//!
//! Invariants: `position` is the last batch applied to `venue`; rows of batches up to `written` are
//! in the database, in one transaction with that watermark; a snapshot is never ahead of it.

use super::recovery::{RecoveryError, catch_up};
use crate::actors::cluster::peers::Peers;
use crate::actors::event_log::LogMeter;
use crate::actors::role::Role;
use crate::actors::supervision::{Lifeline, Shutdown};
use crate::domain::event::Event;
use crate::domain::ids::{AccountId, OrderId, Sequence, StreamId};
use crate::domain::ledger::{Ledger, LedgerOutcome};
use crate::domain::money::Amount;
use crate::domain::posting::{Posting, PostingKind};
use crate::domain::replica::{LedgerOutcomes, MarketOutcomes};
use crate::domain::venue::{Market, Observer, Venue};
use crate::persistence::db::Database;
use crate::persistence::fills::FillRow;
use crate::persistence::log::embedded::SealedSegment;
use crate::persistence::log::{LogError, LogReader, Position};
use crate::persistence::projection::{self, Changes, LedgerRow};
use crate::persistence::snapshots::Snapshots;
use actix::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How many batches are applied before their rows are written.
const BATCHES_AT_ONCE: usize = 2_000;

/// A snapshot is taken after this long, if anything has changed.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(60);

/// The state is hashed whenever the log's position is a multiple of this, so that nodes can compare.
const HASH_EVERY: u64 = 5_000;

/// It is also hashed when nothing has happened for so long.
const STILL: Duration = Duration::from_secs(1);

/// Commits are gathered for this long, so that a busy market costs few transactions.
const GATHER: Duration = Duration::from_millis(50);

/// Removes segments of the log all of whose batches are at or before a position.
pub type Prune = Arc<dyn Fn(Position) + Send + Sync>;

/// What the projector works with.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub reader: Arc<dyn LogReader>,
    /// The database.
    pub database: Database,
    /// The snapshots.
    pub snapshots: Snapshots,
    /// Segments of the log that will not change any more.
    pub sealed: Arc<dyn Fn() -> Vec<SealedSegment> + Send + Sync>,
    /// How far the database is, for readers and metrics.
    pub written: Arc<AtomicU64>,
    /// Removes the segments up to a position, where the log is to be kept short.
    pub prune: Option<Prune>,
    /// Only the active node writes; the others follow what it has written.
    pub role: Role,
    /// Whom hashes of the state are compared with.
    pub peers: Option<Peers>,
}

/// Why following the log has ended.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The log cannot be applied.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Another node writes to the database too. Beginning anew finds out how far that one is.
    #[error("the database is no longer at position {0}: another node has written to it")]
    Overtaken(Position),
}

/// A venue with the changes that wait for the database.
pub struct Follower {
    parts: Parts,
    venue: Venue,
    position: Position,
    /// The last batch whose rows are no longer in `changes`.
    cleared: Position,
    snapshot: Position,
    snapshot_at: Instant,
    changes: Changes,
    /// Whether this node wrote when it last advanced.
    writes: bool,
    /// Where the state was hashed last, and when it last changed.
    hashed: Position,
    moved_at: Instant,
}

impl Follower {
    /// Starts from the newest snapshot that the database has caught up with, else from the log's
    /// beginning.
    ///
    /// # Errors
    /// When the database cannot say how far it is.
    pub fn new(parts: Parts) -> Result<Follower, crate::persistence::db::DbError> {
        let written = projection::position(&parts.database)?;
        parts.written.store(written.0, Ordering::Relaxed);
        let loaded = parts.snapshots.newest(written);
        let (mut venue, position) = loaded.map_or_else(Default::default, |loaded| (loaded.venue, loaded.position));
        venue.keep_ended();
        let changes = Changes::default();
        let (cleared, snapshot) = (position, position);
        let snapshot_at = Instant::now();
        Ok(Follower {
            parts,
            venue,
            position,
            cleared,
            snapshot,
            snapshot_at,
            changes,
            writes: false,
            hashed: Position(0),
            moved_at: snapshot_at,
        })
    }

    /// Applies and writes everything up to the log's present end.
    ///
    /// # Errors
    /// When the log cannot be applied: a bug or damage. A database that is away is no error; the
    /// rows wait, and nothing further is read meanwhile.
    pub fn advance(&mut self) -> Result<(), FollowError> {
        let writes = self.parts.role.is_active();
        // A node that has just become active may know less than the one before it has written.
        if (!writes || !std::mem::replace(&mut self.writes, writes)) && !self.look() {
            self.writes = false;
            return Ok(());
        }
        self.writes = writes;
        loop {
            if writes && !self.write()? {
                return Ok(());
            }
            let before = self.position;
            let written = Position(self.parts.written.load(Ordering::Relaxed));
            if !writes && before >= written {
                self.hash_if_still();
                return Ok(());
            }
            // Never across the watermark: what is below it must be dropped, not written again.
            let until = if before < written { written } else { Position(u64::MAX) };
            let until = until.min(Position((before.0 / HASH_EVERY + 1) * HASH_EVERY));
            let mut collector = Collector { changes: &mut self.changes };
            let reader = self.parts.reader.clone();
            let read = catch_up(&mut self.venue, reader.as_ref(), before, until, BATCHES_AT_ONCE, &mut collector);
            self.position = match read {
                Err(RecoveryError::Log(LogError::Broker { reason })) => {
                    tracing::warn!(reason, "the log cannot be read for now");
                    return Ok(());
                }
                read => read?,
            };
            if self.position <= written {
                self.changes = Changes::default();
                self.cleared = self.position;
            }
            if self.position == before {
                self.hash_if_still();
                return Ok(());
            }
            self.moved_at = Instant::now();
            if self.position.0.is_multiple_of(HASH_EVERY) {
                self.hash();
            }
        }
    }

    /// Hashes the state when nothing has happened for a moment: then the other nodes come to the same place.
    fn hash_if_still(&mut self) {
        if self.hashed != self.position && self.moved_at.elapsed() >= STILL {
            self.hash();
        }
    }

    fn hash(&mut self) {
        if let Some(peers) = &self.parts.peers {
            self.hashed = self.position;
            peers.hashed(self.position.0, self.venue.hash().to_string());
        }
    }

    /// Asks the database how far the active node has written; false when it is away.
    fn look(&self) -> bool {
        match projection::position(&self.parts.database) {
            Ok(written) => {
                self.parts.written.fetch_max(written.0, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the database does not say how far it is");
                false
            }
        }
    }

    /// Writes what waits; false when the database is away.
    fn write(&mut self) -> Result<bool, FollowError> {
        if self.position <= self.cleared {
            return Ok(true);
        }
        match projection::write(&self.parts.database, &self.changes, self.cleared, self.position) {
            Ok(true) => {
                self.parts.written.store(self.position.0, Ordering::Relaxed);
                self.changes = Changes::default();
                self.cleared = self.position;
                Ok(true)
            }
            Ok(false) => Err(FollowError::Overtaken(self.cleared)),
            Err(error) => {
                tracing::warn!(%error, rows = self.changes.rows(), "the database does not take rows; they wait");
                Ok(false)
            }
        }
    }

    /// Takes a snapshot if there is something new in it, and archives what can be.
    pub fn keep(&mut self) {
        let written = Position(self.parts.written.load(Ordering::Relaxed));
        if let Some((market, entry)) = self.venue.fault() {
            // Its state is half of something; a repaired program goes on from a snapshot before it.
            tracing::error!(market = market.0, entry = entry.0, "an entry cannot be applied; no snapshots are taken");
        } else if self.position > self.snapshot && self.position <= written {
            match self.parts.snapshots.save(self.position, &self.venue) {
                Ok(hash) => {
                    tracing::info!(position = self.position.0, %hash, "snapshot taken");
                    self.snapshot = self.position;
                }
                Err(error) => tracing::error!(%error, "no snapshot could be taken"),
            }
        }
        self.snapshot_at = Instant::now();
        self.archive(written);
    }

    fn archive(&self, written: Position) {
        let archived = match projection::archived(&self.parts.database) {
            Ok(archived) => archived,
            Err(error) => return tracing::warn!(%error, "the archive cannot be read"),
        };
        for segment in (self.parts.sealed)().into_iter().filter(|s| s.first > archived && s.last <= written) {
            let stored = std::fs::read(&segment.path).map_err(|error| error.to_string()).and_then(|content| {
                projection::archive(&self.parts.database, segment.first, segment.last, &content)
                    .map_err(|error| error.to_string())
            });
            match stored {
                Ok(()) => tracing::info!(segment = %segment.path.display(), "segment archived"),
                Err(error) => return tracing::warn!(error, "a segment could not be archived"),
            }
        }
        self.prune();
    }

    /// Takes away what is in the archive and before the oldest snapshot, so that a damaged snapshot costs nothing.
    fn prune(&self) {
        let Some(prune) = &self.parts.prune else { return };
        let Some((oldest, _)) = self.parts.snapshots.files().into_iter().last() else { return };
        match projection::archived(&self.parts.database) {
            Ok(archived) => prune(archived.min(oldest)),
            Err(error) => tracing::warn!(%error, "the archive cannot be read"),
        }
    }

    /// The venue at `position`.
    pub fn venue(&self) -> &Venue {
        &self.venue
    }

    /// The last batch applied.
    pub fn position(&self) -> Position {
        self.position
    }
}

/// Turns outcomes into rows.
struct Collector<'a> {
    changes: &'a mut Changes,
}

impl Collector<'_> {
    fn ledger_row(&mut self, row: LedgerRow) {
        if row.account != AccountId::OUTSIDE {
            self.changes.ledger.push(row);
        }
    }
}

impl Observer for Collector<'_> {
    fn posted(&mut self, outcomes: &MarketOutcomes, ledger: &Ledger, posting: &Posting) {
        let kind = match posting.kind {
            PostingKind::Match => "match",
            PostingKind::Fee => "fee",
            PostingKind::Hold | PostingKind::Transfer => return,
        };
        self.ledger_row(LedgerRow {
            account: posting.account,
            currency: posting.currency,
            amount: posting.amount(),
            balance: ledger.balance(posting.account, posting.currency).total(),
            kind,
            order: Some((outcomes.market, posting.order, posting.trade.0)),
            transfer: None,
            at: outcomes.at,
        });
    }

    fn market(&mut self, outcomes: &MarketOutcomes, market: &Market) {
        let id = outcomes.market;
        let mut touched = BTreeSet::<OrderId>::new();
        let mut traded = false;
        for (feed_sequence, event) in outcomes.numbered() {
            match event {
                Event::Accepted(order, _) => drop(touched.insert(*order)),
                Event::Filled(fill) => {
                    traded = true;
                    touched.insert(fill.maker);
                    self.changes.fills.push(FillRow { market: id, at: outcomes.at, feed_sequence, fill: *fill });
                }
                Event::Changed(change) => drop(touched.insert(change.id)),
                Event::Triggered(triggered) => drop(touched.insert(triggered.id)),
                Event::Opened(_) | Event::Done(_) | Event::Configured(_) => {}
                Event::Rejected { .. } | Event::Refused { .. } => {}
            }
        }
        for order in touched {
            if let Some(record) = market.replica.book.order(order) {
                self.changes.orders.insert((id, order.number), (id, record));
            }
        }
        for record in &outcomes.ended {
            self.changes.orders.insert((id, record.id.number), (id, *record));
        }
        if traded {
            for series in market.data.all_series() {
                if let Some(candle) = series.newest() {
                    self.changes.candles.insert((id, series.granularity(), candle.start), *candle);
                }
            }
        }
        self.changes.events.entry(id).or_default().add(outcomes);
        self.changes.streams.insert(StreamId::Market(id), outcomes.last());
    }

    fn ledger(&mut self, outcomes: &LedgerOutcomes, ledger: &Ledger) {
        // The ledger shows the balances after the whole batch, so rows are made from the last to the first.
        let mut after = BTreeMap::new();
        let mut rows = Vec::new();
        let mut end = outcomes.postings.len();
        for (index, (_, outcome, _)) in outcomes.entries.iter().enumerate().rev() {
            let start = index.checked_sub(1).and_then(|i| outcomes.entries.get(i)).map_or(0, |(.., end)| *end as usize);
            let transfer = match outcome {
                LedgerOutcome::Moved(_, movement) => Some(movement.transfer),
                _ => None,
            };
            for posting in outcomes.postings.get(start..end).unwrap_or_default().iter().rev() {
                let key = (posting.account, posting.currency);
                let balance: &mut Amount = after.entry(key).or_insert_with(|| ledger.balance(key.0, key.1).total());
                rows.push(LedgerRow {
                    account: posting.account,
                    currency: posting.currency,
                    amount: posting.amount(),
                    balance: *balance,
                    kind: "transfer",
                    order: None,
                    transfer,
                    at: outcomes.at,
                });
                *balance -= posting.amount();
            }
            end = start;
        }
        for row in rows.into_iter().rev() {
            self.ledger_row(row);
        }
        let last = outcomes.first.0 + outcomes.entries.len() as u64 - 1;
        self.changes.streams.insert(StreamId::Ledger, Sequence(last));
    }
}

/// The actor. See the module's documentation.
pub struct Projector {
    follower: Follower,
    /// Says how far the log is. Looking there now and then costs less than a wake-up for each commit.
    log: Arc<LogMeter>,
    due: bool,
    lifeline: Lifeline,
    checkpoint: Arc<dyn Fn() + Send + Sync>,
}

impl Projector {
    /// A projector that goes on where this follower stands, in the log with these figures, and calls `checkpoint`
    /// after each snapshot.
    pub fn new(
        follower: Follower,
        log: Arc<LogMeter>,
        lifeline: Lifeline,
        checkpoint: Arc<dyn Fn() + Send + Sync>,
    ) -> Projector {
        Projector { follower, log, due: true, lifeline, checkpoint }
    }

    fn advance(&mut self, ctx: &mut Context<Self>) {
        self.due = false;
        self.lifeline.hazard();
        if let Err(error) = self.follower.advance() {
            self.lifeline.fail(error);
            ctx.stop();
        }
    }
}

impl Actor for Projector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(GATHER, |projector, ctx| {
            // A standby goes no further than the database, which it asks once a second.
            let behind = projector.log.position.load(Ordering::Relaxed) > projector.follower.position().0;
            if projector.due || (behind && projector.follower.parts.role.is_active()) {
                projector.advance(ctx);
            }
            if projector.follower.snapshot_at.elapsed() >= SNAPSHOT_EVERY {
                projector.follower.keep();
                (projector.checkpoint)();
            }
        });
        // Rows that the database did not take are tried again even when nothing new comes.
        ctx.run_interval(Duration::from_secs(1), |projector, _| projector.due = true);
    }
}

impl Handler<Shutdown> for Projector {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.advance(ctx);
        self.follower.keep();
    }
}
