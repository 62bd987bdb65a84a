//! Follows the log at its own pace and keeps chat's tables.
//!
//! Lives alone on its arbiter, so it may block. A database that is away costs nothing but delay: the
//! rows wait in the log.

use super::store::Progress;
use crate::actors::event_log::LogMeter;
use crate::actors::supervision::{Lifeline, Shutdown};
use crate::persistence::chat::projection::{Projection, ProjectionError};
use crate::persistence::log::LogReader;
use actix::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Batches of one transaction.
const BATCHES_AT_ONCE: usize = 1_000;
/// Commits are gathered for this long. Readers wait for it, so it is short.
const GATHER: Duration = Duration::from_millis(8);

/// A projection with the log that it follows.
pub struct Follower {
    projection: Projection,
    reader: Arc<dyn LogReader>,
    progress: Arc<Progress>,
}

impl Follower {
    /// Goes on where the projection stands.
    pub fn new(projection: Projection, reader: Arc<dyn LogReader>, progress: Arc<Progress>) -> Follower {
        progress.written(&projection.mark().streams);
        Follower { projection, reader, progress }
    }

    /// The newest epoch of any chat stream that was read.
    pub fn newest_epoch(&self) -> crate::domain::ids::Epoch {
        self.projection.mark().streams.iter().map(|stream| stream.epoch).max().unwrap_or_default()
    }

    /// Writes everything up to the log's present end. False when the database is away.
    ///
    /// # Errors
    /// When the log cannot be read or applied: a bug or damage.
    pub fn advance(&mut self) -> Result<bool, String> {
        loop {
            let before = self.projection.mark().position;
            let read = self.reader.read(before).map_err(|error| error.to_string())?;
            let batches =
                read.take(BATCHES_AT_ONCE).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
            match self.projection.write(&batches) {
                Ok(()) => self.progress.written(&self.projection.mark().streams),
                Err(ProjectionError::Database(error)) => {
                    tracing::warn!(%error, "the database does not take chat's rows; they wait");
                    return Ok(false);
                }
                Err(error @ ProjectionError::Replica(..)) => return Err(error.to_string()),
            }
            if batches.len() < BATCHES_AT_ONCE {
                return Ok(true);
            }
        }
    }
}

/// The actor. See the module's documentation.
pub struct ChatProjector {
    follower: Follower,
    meter: Arc<LogMeter>,
    /// The place of the log's end when it was last looked at.
    seen: u64,
    lifeline: Lifeline,
}

impl ChatProjector {
    /// A projector that goes on where this follower stands.
    pub fn new(follower: Follower, meter: Arc<LogMeter>, lifeline: Lifeline) -> ChatProjector {
        ChatProjector { follower, meter, seen: 0, lifeline }
    }

    fn advance(&mut self, ctx: &mut Context<Self>) {
        self.seen = self.meter.position.load(Ordering::Relaxed);
        if let Err(reason) = self.follower.advance() {
            self.lifeline.fail(reason);
            ctx.stop();
        }
    }
}

impl Actor for ChatProjector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(GATHER, |projector, ctx| {
            if projector.meter.position.load(Ordering::Relaxed) != projector.seen {
                projector.advance(ctx);
            }
        });
        // Rows that the database did not take are tried again even when nothing new comes.
        ctx.run_interval(Duration::from_millis(500), |projector, ctx| projector.advance(ctx));
    }
}

impl Handler<Shutdown> for ChatProjector {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.advance(ctx);
    }
}
