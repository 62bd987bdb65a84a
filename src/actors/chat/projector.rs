//! Follows the log at its own pace and keeps chat's tables.
//!
//! Lives alone on its arbiter, so it may block. A database that is away costs nothing but delay: the
//! rows wait in the log. When it was away for longer than the log is kept, what is missing cannot be written any more;
//! that is said now and then, and ends nothing.

use super::store::Progress;
use crate::actors::event_log::LogMeter;
use crate::actors::supervision::{Lifeline, Shutdown};
use crate::persistence::chat::projection::{Projection, ProjectionError};
use crate::persistence::db::DbError;
use crate::persistence::log::{LogError, LogReader};
use actix::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Batches of one transaction.
const BATCHES_AT_ONCE: usize = 1_000;
/// Commits are gathered for this long. Readers wait for it, so it is short.
const GATHER: Duration = Duration::from_millis(8);
/// When nothing has come for so long, the place in the log is noted.
const STILL: Duration = Duration::from_secs(1);
/// A log of which a part is gone that was not read yet is read again after so long.
const GONE_AGAIN: Duration = Duration::from_secs(30);

/// A projection with the log that it follows.
pub struct Follower {
    projection: Projection,
    reader: Arc<dyn LogReader>,
    progress: Arc<Progress>,
    /// When the log was last found to lack what comes next.
    gone: Option<Instant>,
}

impl Follower {
    /// Goes on where the projection stands.
    pub fn new(projection: Projection, reader: Arc<dyn LogReader>, progress: Arc<Progress>) -> Follower {
        progress.written(&projection.mark().streams);
        Follower { projection, reader, progress, gone: None }
    }

    /// The newest epoch of any chat stream that was read.
    pub fn newest_epoch(&self) -> crate::domain::ids::Epoch {
        self.projection.mark().streams.iter().map(|stream| stream.epoch).max().unwrap_or_default()
    }

    /// Writes everything up to the log's present end. False when the database or the log's broker is away, or a part of
    /// the log that was not read yet is gone.
    ///
    /// # Errors
    /// When the log cannot be read or applied: a bug or damage.
    pub fn advance(&mut self) -> Result<bool, String> {
        if self.gone.is_some_and(|since| since.elapsed() < GONE_AGAIN) {
            return Ok(false);
        }
        self.gone = None;
        loop {
            let before = self.projection.mark().position;
            let mut batches = Vec::new();
            let mut read = || -> Result<(), LogError> {
                for committed in self.reader.read(before)?.take(BATCHES_AT_ONCE) {
                    batches.push(committed?);
                }
                Ok(())
            };
            let lost = match read() {
                Ok(()) => false,
                // What was read before that is good.
                Err(LogError::Broker { reason }) => {
                    tracing::warn!(reason, "the log cannot be read for now");
                    true
                }
                Err(error @ LogError::Pruned { .. }) => {
                    tracing::error!(%error, "chat's rows cannot follow: what was not read is gone from the log");
                    self.gone = Some(Instant::now());
                    true
                }
                Err(error) => return Err(error.to_string()),
            };
            match self.projection.write(&batches) {
                Ok(()) => self.progress.written(&self.projection.mark().streams),
                Err(ProjectionError::Database(error)) => {
                    tracing::warn!(%error, "the database does not take chat's rows; they wait");
                    return Ok(false);
                }
                Err(error @ ProjectionError::Replica(..)) => return Err(error.to_string()),
            }
            if lost || batches.len() < BATCHES_AT_ONCE {
                return Ok(!lost);
            }
        }
    }

    /// Notes how far the log was read, where no rows say so.
    fn note(&mut self) {
        if let Err(error) = self.projection.note() {
            tracing::warn!(%error, "how far chat has read the log cannot be noted");
        }
    }
}

/// The actor. See the module's documentation.
pub struct ChatProjector {
    /// None until the database has said where to begin.
    follower: Option<Follower>,
    /// Makes a follower that begins where the database stands.
    open: Box<dyn Fn() -> Result<Follower, DbError> + Send>,
    meter: Arc<LogMeter>,
    /// The place of the log's end when it was last looked at.
    seen: u64,
    /// The same when it was last asked whether anything comes.
    stood: u64,
    lifeline: Lifeline,
}

impl ChatProjector {
    /// A projector that goes on where this follower stands; without one, where the one does that `open` makes, once the
    /// database is there.
    pub fn new(
        follower: Option<Follower>,
        open: impl Fn() -> Result<Follower, DbError> + Send + 'static,
        meter: Arc<LogMeter>,
        lifeline: Lifeline,
    ) -> ChatProjector {
        ChatProjector { follower, open: Box::new(open), meter, seen: 0, stood: 0, lifeline }
    }

    fn advance(&mut self, ctx: &mut Context<Self>) {
        self.seen = self.meter.position.load(Ordering::Relaxed);
        let follower = match &mut self.follower {
            Some(follower) => follower,
            none => match (self.open)() {
                Ok(follower) => none.insert(follower),
                Err(error) => return tracing::warn!(%error, "the database does not say how far chat's rows are"),
            },
        };
        match follower.advance() {
            Ok(true) => {
                if self.meter.chat_gone.swap(false, Ordering::Relaxed) {
                    tracing::info!("what was gone from the log of chat's rows is there again");
                }
            }
            Ok(false) if follower.gone.is_some() => self.meter.chat_gone.store(true, Ordering::Relaxed),
            // What is away says nothing of what is gone.
            Ok(false) => {}
            Err(reason) => {
                self.lifeline.fail(reason);
                ctx.stop();
            }
        }
    }

    /// Notes how far the log was read once nothing comes any more, or a log takes nothing that may be full: what lies
    /// before that may go from it.
    fn note(&mut self) {
        let position = self.meter.position.load(Ordering::Relaxed);
        let is_still = std::mem::replace(&mut self.stood, position) == position;
        if let Some(follower) = self.follower.as_mut()
            && (is_still || self.meter.degraded.load(Ordering::Relaxed))
        {
            follower.note();
        }
    }
}

impl Actor for ChatProjector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(GATHER, |projector, ctx| {
            let moved = projector.meter.position.load(Ordering::Relaxed) != projector.seen;
            if moved && projector.follower.is_some() {
                projector.advance(ctx);
            }
        });
        // Rows that the database did not take are tried again even when nothing new comes.
        ctx.run_interval(Duration::from_millis(500), |projector, ctx| projector.advance(ctx));
        ctx.run_interval(STILL, |projector, _| projector.note());
    }
}

impl Handler<Shutdown> for ChatProjector {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        if self.follower.is_some() {
            self.advance(ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::actors::supervision::{ChildSpec, Settings};
    use crate::actors::supervisor::Supervisor;
    use crate::domain::ids::StreamId;
    use crate::persistence::db::Database;
    use crate::persistence::log::conformance::batch;
    use crate::persistence::log::{Batches, Committed, Position};
    use std::sync::atomic::AtomicBool;

    /// A log of four batches whose broker goes away after the second one, or has no more of it.
    #[derive(Default)]
    struct Log {
        back: AtomicBool,
        gone: bool,
    }

    impl LogReader for Log {
        fn read(&self, from: Position) -> Result<Batches, LogError> {
            let (back, gone) = (self.back.load(Ordering::Relaxed), self.gone);
            let each = move |position| match back || position <= 2 {
                true => {
                    let batch = Arc::new(batch(StreamId::Ledger, 1, position, 0));
                    Ok(Committed { position: Position(position), batch })
                }
                false if gone => Err(LogError::Pruned { asked: Position(position - 1), oldest: Position(9) }),
                false => Err(LogError::Broker { reason: "it is away".into() }),
            };
            Ok(Box::new((from.0 + 1..=4).map(each)))
        }
    }

    #[test]
    fn a_broker_that_is_away_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let log = Arc::new(Log::default());
        let projection = Projection::open(database).unwrap();
        let mut follower = Follower::new(projection, log.clone(), Arc::default());
        for _ in 0..2 {
            assert_eq!(follower.advance(), Ok(false));
            assert_eq!(follower.projection.mark().position, Position(2));
        }
        log.back.store(true, Ordering::Relaxed);
        assert_eq!(follower.advance(), Ok(true));
        assert_eq!(follower.projection.mark().position, Position(4));
    }

    /// The database was away for longer than the log is kept.
    #[test]
    fn what_is_gone_from_the_log_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let log = Arc::new(Log { gone: true, ..Log::default() });
        let mut follower = Follower::new(Projection::open(database).unwrap(), log, Arc::default());
        for _ in 0..2 {
            assert_eq!(follower.advance(), Ok(false));
            assert_eq!(follower.projection.mark().position, Position(2));
        }
    }

    /// Waits until the meter says this of what is gone from the log.
    async fn is_said_to_be_gone(meter: &LogMeter, gone: bool) {
        let begun = Instant::now();
        while meter.is_gone() != gone {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody says that something is gone: {gone}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The same, as operators see it; also of a projector that was begun anew meanwhile.
    #[actix_web::test]
    async fn what_is_gone_from_the_log_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let log = Arc::new(Log { gone: true, ..Log::default() });
        let meter = Arc::<LogMeter>::default();
        let (reader, figures) = (log.clone(), meter.clone());
        let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
        let spec = ChildSpec::new("chat projector", Arbiter::current(), move |lifeline| {
            let (database, reader) = (database.clone(), reader.clone());
            let open = move || {
                let projection = Projection::open(database.clone())?;
                Ok::<_, DbError>(Follower::new(projection, reader.clone(), Arc::default()))
            };
            Ok(ChatProjector::new(None, open, figures.clone(), lifeline))
        });
        root.start(spec).await.unwrap();
        is_said_to_be_gone(&meter, true).await;
        assert!(meter.gone.lock().is_none(), "it is chat's rows alone that lack something");
        log.back.store(true, Ordering::Relaxed);
        root.revive("chat projector").await.unwrap();
        is_said_to_be_gone(&meter, false).await;
        assert!(root.tree().snapshot().iter().all(|node| node.crashes == 0));
        root.shutdown().await;
    }

    /// Whoever empties a full log has to know that chat needs no more of it.
    #[test]
    fn how_far_the_log_was_read_is_noted_without_rows() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let log = Arc::new(Log { back: AtomicBool::new(true), ..Log::default() });
        let projection = Projection::open(database.clone()).unwrap();
        let mut follower = Follower::new(projection, log, Arc::default());
        assert_eq!(follower.advance(), Ok(true));
        let noted = || database.read(crate::persistence::chat::projection::mark).unwrap().position;
        assert_eq!(noted(), Position(0));
        follower.note();
        assert_eq!((noted(), follower.projection.mark().position), (Position(4), Position(4)));
    }
}
