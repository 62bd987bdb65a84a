//! The projector: follows the log at its own pace and keeps database, snapshots and archive.
//!
//! It applies the log to a venue of its own rather than receiving outcomes: a database that is away
//! for long then costs neither memory nor speed anywhere else, and snapshots are taken from this
//! copy while trading goes on. It lives alone on its arbiter, so it may block. When the database was away for longer
//! than a broker keeps the log, what is missing cannot be written any more: that is said now and then, and ends
//! nothing, since the nodes that run are the only ones left that know it.
//!
//! Invariants: `position` is the last batch applied to `venue`; rows of batches up to `written` are
//! in the database, in one transaction with that watermark; a snapshot is never ahead of it.

mod rows;
pub mod start;

use super::recovery::{RecoveryError, apply};
use crate::actors::cluster::peers::Peers;
use crate::actors::event_log::LogMeter;
use crate::actors::role::Role;
use crate::actors::supervision::{Lifeline, Shutdown};
use crate::domain::ids::AccountId;
use crate::domain::venue::Venue;
use crate::persistence::archive;
use crate::persistence::db::{Database, DbError};
use crate::persistence::log::embedded::SealedSegment;
use crate::persistence::log::{Committed, LogError, LogReader, Position};
use crate::persistence::projection::{self, Changes, Contained, Written};
use crate::persistence::shared_snapshots;
use crate::persistence::snapshots::Snapshots;
use crate::persistence::users;
use actix::prelude::*;
use rows::Collector;
use start::start;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many batches are applied before their rows are written.
const BATCHES_AT_ONCE: usize = 2_000;

/// The state is hashed whenever the log's position is a multiple of this, so that nodes can compare.
const HASH_EVERY: u64 = 5_000;

/// The first such place from a position on.
fn hash_place_at_or_after(Position(position): Position) -> Position {
    Position(position.next_multiple_of(HASH_EVERY))
}

/// It is also hashed when nothing has happened for so long.
const STILL: Duration = Duration::from_secs(1);

/// Commits are gathered for this long, so that a busy market costs few transactions.
const GATHER: Duration = Duration::from_millis(50);

/// A database that is away is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A log of which a part is gone that was not read yet is read again after so long, and it is said once more.
const GONE_AGAIN: Duration = Duration::from_secs(30);

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
    /// Whether the log's oldest part may go by itself, so that its batches are copied into the archive.
    pub archives: bool,
    /// How far the database is, for readers and metrics.
    pub written: Arc<AtomicU64>,
    /// A snapshot is taken after this long, if anything has changed.
    pub snapshot_every: Duration,
    /// Removes the segments up to a position, where the log is to be kept short.
    pub prune: Option<Prune>,
    /// Only the active node writes; the others follow what it has written.
    pub role: Role,
    /// Whom hashes of the state are compared with.
    pub peers: Option<Peers>,
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
    /// What the database had when this node last asked.
    contained: Contained,
    /// Whether this node wrote when it last advanced.
    writes: bool,
    /// Where the state was hashed last, and when it last changed.
    hashed: Position,
    moved_at: Instant,
    /// When the database was last found to be away.
    away: Option<Instant>,
    /// The last batch that the archive of a broker's log is known to have.
    archived: Position,
}

impl Follower {
    /// Starts from the newest snapshot that the database has caught up with, else from the log's
    /// beginning.
    ///
    /// # Errors
    /// When the database cannot say how far it is.
    pub fn new(parts: Parts) -> Result<Follower, DbError> {
        let mark = projection::mark(&parts.database)?;
        parts.written.store(mark.position.0, Ordering::Relaxed);
        let (venue, position) = start(&parts, &mark)?;
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
            contained: mark.contains,
            writes: false,
            hashed: Position(0),
            moved_at: snapshot_at,
            away: None,
            archived: Position(0),
        })
    }

    /// Applies and writes everything up to the log's present end, or until it is time to [keep](Follower::keep) what was
    /// reached: a log that grows all the time has no end, and snapshots, archive and the node's role cannot wait for one.
    ///
    /// # Errors
    /// When the log cannot be applied: a bug or damage; or when what comes next is gone from it. A database that is
    /// away is no error; the rows wait, and nothing further is read meanwhile.
    pub fn advance(&mut self) -> Result<(), RecoveryError> {
        if self.away.is_some_and(|since| since.elapsed() < TRY_AGAIN) {
            return Ok(());
        }
        self.away = None;
        let writes = self.parts.role.is_active();
        // A node that has just become active may know less than the one before it has written.
        let begins = writes && !self.writes;
        if (!writes || begins) && !(self.look() && (!begins || self.begin_to_write())) {
            self.writes = false;
            return Ok(());
        }
        self.writes = writes;
        // Keeping takes a while too: between two times something is read.
        let mut moved = false;
        loop {
            if writes && !self.write() {
                return Ok(());
            }
            if writes && moved && (self.is_due() || !self.parts.role.is_active()) {
                return Ok(());
            }
            let before = self.position;
            let written = self.written();
            if !writes && before >= written {
                self.hash_if_still();
                return Ok(());
            }
            // Never across the watermark: what is below it is there already, but for streams that stood still.
            let limit = if before < written { written } else { Position(u64::MAX) };
            self.position = match self.read(limit) {
                Err(RecoveryError::Log(LogError::Broker { reason })) => {
                    tracing::warn!(reason, "the log cannot be read for now");
                    return Ok(());
                }
                read => read?,
            };
            if self.position <= written {
                self.cleared = self.position;
            }
            if !writes {
                self.clear();
            }
            if self.position == before {
                self.hash_if_still();
                return Ok(());
            }
            moved = true;
            self.moved_at = Instant::now();
            if self.position.0.is_multiple_of(HASH_EVERY) {
                self.hash();
            }
        }
    }

    /// Applies what comes next, to the next place at which the state is hashed and no further than `limit`.
    fn read(&mut self, limit: Position) -> Result<Position, RecoveryError> {
        let before = self.position;
        // What was read before a part that is gone is good. That part is told of by whoever begins there.
        let mut is_first = true;
        let reaches = |read: &Result<Committed, LogError>| {
            std::mem::take(&mut is_first) || !matches!(read, Err(LogError::Pruned { .. }))
        };
        let mut batches = self.parts.reader.read(before)?.take_while(reaches).take(BATCHES_AT_ONCE).peekable();
        let until = match batches.peek() {
            // At a broker a position may be no batch, the place itself too: it is that of the batch which comes next.
            Some(Ok(next)) => hash_place_at_or_after(next.position).min(limit),
            Some(Err(_)) | None => limit,
        };
        let is_written = before < self.written();
        let mut collector = Collector::new(&mut self.changes, is_written.then_some(&self.contained));
        apply(&mut self.venue, batches, before, until, &mut collector)
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

    /// How far the database is.
    fn written(&self) -> Position {
        Position(self.parts.written.load(Ordering::Relaxed))
    }

    /// Asks the database how far the active node has written; false when it is away.
    fn look(&mut self) -> bool {
        match projection::mark(&self.parts.database) {
            Ok(mark) => {
                self.parts.written.fetch_max(mark.position.0, Ordering::Relaxed);
                self.contained = mark.contains;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the database does not say how far it is");
                self.away = Some(Instant::now());
                false
            }
        }
    }

    /// The node has become active, and its state is not ahead of the database, or it may be so in one stream: the node before
    /// may have been one in which a market stood still that goes on in this one. False when the database is away.
    fn begin_to_write(&mut self) -> bool {
        if self.position > self.written() {
            return true;
        }
        if self.contained.covers(&self.venue) {
            self.clear();
            return true;
        }
        self.rewind()
    }

    /// Writes what waits; false when the database is away. Below the watermark nothing waits but what streams have left out
    /// that stood still, and that waits until the watermark is reached.
    fn write(&mut self) -> bool {
        let written = self.written();
        if self.position < written || (self.position <= self.cleared && self.changes.is_empty()) {
            return true;
        }
        if self.position == written {
            tracing::warn!(rows = self.changes.rows(), "what a market left out while it stood still is written");
            rows::chain(&mut self.changes.ledger, &self.venue.ledger.ledger);
        }
        match projection::write(&self.parts.database, &self.changes, self.cleared, self.position) {
            Ok(Written::Yes) => {
                self.parts.written.store(self.position.0, Ordering::Relaxed);
                self.clear();
                true
            }
            Ok(Written::Elsewhere(known)) => {
                let here = self.position.0;
                tracing::warn!(database = known.0, here, "the database stands elsewhere");
                self.rewind()
            }
            Err(error) => {
                tracing::warn!(%error, rows = self.changes.rows(), "the database does not take rows; they wait");
                self.away = Some(Instant::now());
                false
            }
        }
    }

    fn clear(&mut self) {
        self.changes = Changes::default();
        self.cleared = self.position;
    }

    /// Goes on from where the database stands: it lost what it had (a backup was restored, another server took over
    /// from the one that failed), or another node wrote meanwhile. Users may have been lost too, whose numbers nobody else
    /// must get. False when it is away.
    fn rewind(&mut self) -> bool {
        let begun = projection::mark(&self.parts.database).and_then(|mark| {
            let (venue, position) = start(&self.parts, &mark)?;
            let next = self.venue.ledger.ledger.next_account().max(venue.ledger.ledger.next_account());
            let newest = AccountId(next.0.saturating_sub(1));
            self.parts.database.write_durably(|connection| users::begin_above(connection, newest))?;
            Ok((venue, position, mark))
        });
        match begun {
            Ok((venue, position, mark)) => {
                tracing::warn!(
                    database = mark.position.0,
                    from = position.0,
                    "going on from where the database stands"
                );
                (self.venue, self.position, self.snapshot) = (venue, position, position);
                self.parts.written.store(mark.position.0, Ordering::Relaxed);
                self.contained = mark.contains;
                self.clear();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the database went away again");
                self.away = Some(Instant::now());
                false
            }
        }
    }

    /// Whether it is time to keep what was reached.
    fn is_due(&self) -> bool {
        self.snapshot_at.elapsed() >= self.parts.snapshot_every
    }

    /// Applies and writes everything up to the log's end, keeping what was reached whenever it is time: for a start, before
    /// anybody adds to the log.
    ///
    /// # Errors
    /// As [`Follower::advance`].
    pub fn catch_up(&mut self, end: Position) -> Result<(), RecoveryError> {
        loop {
            self.advance()?;
            if self.position >= end || !self.is_due() {
                return Ok(());
            }
            self.keep(false);
        }
    }

    /// Takes a snapshot if there is something new in it, and archives what can be. While the log is `full` nothing new
    /// comes, and no newer snapshot: then more of it may go.
    pub fn keep(&mut self, full: bool) {
        let written = self.written();
        if let Some((market, entry)) = self.venue.fault() {
            // Its state is half of something; a repaired program goes on from a snapshot before it.
            tracing::error!(market = market.0, entry = entry.0, "an entry cannot be applied; no snapshots are taken");
        } else if self.position > self.snapshot && self.position <= written && self.is_in_the_database() {
            match self.parts.snapshots.save(self.position, &self.venue) {
                Ok(hash) => {
                    tracing::info!(position = self.position.0, %hash, "snapshot taken");
                    self.snapshot = self.position;
                    self.share();
                }
                Err(error) => tracing::error!(%error, "no snapshot could be taken"),
            }
        }
        self.snapshot_at = Instant::now();
        self.archive(written, full);
    }

    /// Whether the database has everything that follows from the state: whoever starts from a snapshot goes on behind it.
    fn is_in_the_database(&self) -> bool {
        if self.writes { self.changes.is_empty() } else { self.contained.covers(&self.venue) }
    }

    /// Leaves the newest snapshot in the database, for nodes that have none.
    fn share(&self) {
        if !self.writes || !self.parts.database.is_shared() {
            return;
        }
        let content = self.parts.snapshots.content(self.snapshot).map_err(|error| error.to_string());
        let put = |content: Vec<u8>| shared_snapshots::put(&self.parts.database, self.snapshot, &content);
        if let Err(error) = content.and_then(|content| put(content).map_err(|error| error.to_string())) {
            tracing::warn!(error, "the snapshot could not be left in the database");
        }
    }

    fn archive(&mut self, written: Position, full: bool) {
        if self.parts.archives && self.writes {
            match archive::follow(&self.parts.database, self.parts.reader.as_ref(), written) {
                Ok(0) => {}
                Ok(batches) => tracing::debug!(batches, through = written.0, "batches were archived"),
                Err(error) => tracing::warn!(%error, "the log could not be archived"),
            }
        }
        let archived = match projection::archived(&self.parts.database) {
            Ok(archived) => archived,
            Err(error) => return tracing::warn!(%error, "the archive cannot be read"),
        };
        if self.parts.archives {
            self.archived = archived;
            return;
        }
        for segment in (self.parts.sealed)().into_iter().filter(|s| s.first > archived && s.last <= written) {
            let stored = std::fs::read(&segment.path).map_err(|error| error.to_string()).and_then(|content| {
                projection::archive(&self.parts.database, segment.first, segment.last, &content)
                    .map_err(|error| error.to_string())
            });
            match stored {
                Ok(_) => tracing::info!(segment = %segment.path.display(), "segment archived"),
                Err(error) => return tracing::warn!(error, "a segment could not be archived"),
            }
        }
        self.prune(full);
    }

    /// Takes away what is in the archive, before the oldest snapshot (so that a damaged snapshot costs nothing) and
    /// behind every projection. Of a full log, what is before the newest snapshot that can be read. While a market stands
    /// still there is no newer one: of a full log all may go then, so that the other markets go on. Whoever needs it
    /// reads the archive, which takes longer.
    fn prune(&self, full: bool) {
        let Some(prune) = &self.parts.prune else { return };
        let snapshot = match full {
            true if self.venue.fault().is_some() => Some(Position(u64::MAX)),
            true => self.parts.snapshots.newest(Position(u64::MAX)).map(|newest| newest.position),
            false => self.parts.snapshots.files().into_iter().last().map(|(oldest, _)| oldest),
        };
        let Some(snapshot) = snapshot else { return };
        let archived = projection::archived(&self.parts.database);
        // Chat follows the log by itself, and notes only now and then how far it is.
        let chat = self.parts.database.read(crate::persistence::chat::projection::mark);
        match archived.and_then(|archived| Ok((archived, chat?.position))) {
            Ok((archived, chat)) => prune(archived.min(snapshot).min(chat)),
            Err(error) => tracing::warn!(%error, "the archive, or how far chat is, cannot be read"),
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

    /// The last batch that the archive was found to have when something was last [kept](Follower::keep), of a log whose
    /// oldest part may go by itself.
    pub fn archived(&self) -> Position {
        self.archived
    }
}

/// The actor. See the module's documentation.
pub struct Projector {
    parts: Parts,
    /// None until the database has said where to begin.
    follower: Option<Follower>,
    /// Says how far the log is. Looking there now and then costs less than a wake-up for each commit.
    log: Arc<LogMeter>,
    due: bool,
    /// When the log was last found to lack what comes next.
    gone: Option<Instant>,
    lifeline: Lifeline,
    checkpoint: Arc<dyn Fn() + Send + Sync>,
}

impl Projector {
    /// A projector that goes on where this follower stands, in the log with these figures, and calls `checkpoint`
    /// after each snapshot. Without a follower it goes on where the database stands, once that is there.
    pub fn new(
        parts: Parts,
        follower: Option<Follower>,
        log: Arc<LogMeter>,
        lifeline: Lifeline,
        checkpoint: Arc<dyn Fn() + Send + Sync>,
    ) -> Projector {
        Projector { parts, follower, log, due: true, gone: None, lifeline, checkpoint }
    }

    fn keep(&mut self) {
        if let Some(follower) = &mut self.follower {
            follower.keep(self.log.degraded.load(Ordering::Relaxed));
            // A database that is away does not say it, and 0 would say that nothing is to be archived.
            if follower.archived() > Position(0) {
                self.log.archived.store(follower.archived().0, Ordering::Relaxed);
            }
        }
    }

    fn is_due(&self) -> bool {
        self.follower.as_ref().is_some_and(Follower::is_due)
    }

    fn advance(&mut self, ctx: &mut Context<Self>) {
        self.due = false;
        self.lifeline.hazard();
        if self.gone.is_some_and(|since| since.elapsed() < GONE_AGAIN) {
            return;
        }
        let follower = match &mut self.follower {
            Some(follower) => follower,
            none => match Follower::new(self.parts.clone()) {
                Ok(follower) => none.insert(follower),
                Err(error) => return tracing::warn!(%error, "the database does not say how far its rows are"),
            },
        };
        let advanced = follower.advance();
        let position = follower.position();
        match advanced {
            Ok(()) => self.has_come_to(position),
            Err(RecoveryError::Log(error @ LogError::Pruned { .. })) => self.lacks_what_is_behind(position, &error),
            Err(error) => {
                self.lifeline.fail(error);
                ctx.stop();
            }
        }
    }

    /// What was gone is there again once it was read. A database that is away says nothing of it, and whoever was begun
    /// anew comes first to where it was found.
    fn has_come_to(&mut self, position: Position) {
        let mut gone = self.log.gone.lock();
        if gone.is_some_and(|behind| position > behind) {
            *gone = None;
            self.gone = None;
            tracing::info!("what was gone from the log is there again");
        }
    }

    /// Rows cannot follow the log any more, and no start would find its way to here. What the nodes that run have in
    /// memory is all there is, so nobody ends.
    fn lacks_what_is_behind(&mut self, position: Position, error: &LogError) {
        self.gone = Some(Instant::now());
        *self.log.gone.lock() = Some(position);
        tracing::error!(%error, "the database cannot follow: what it lacks is gone from the log and was not archived. \
            Do not end this node; see \"How long the stream is kept\" in docs/operations.md");
    }
}

impl Actor for Projector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(GATHER, |projector, ctx| {
            // A standby goes no further than the database, which it asks once a second.
            let committed = projector.log.position.load(Ordering::Relaxed);
            let behind = projector.follower.as_ref().is_some_and(|follower| committed > follower.position().0);
            if projector.due || (behind && projector.parts.role.is_active()) {
                projector.advance(ctx);
            }
            if projector.is_due() {
                projector.keep();
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
        if self.follower.is_none() {
            return;
        }
        if self.is_due() {
            self.keep();
        }
        self.advance(ctx);
        self.keep();
    }
}

#[cfg(test)]
mod tests;
