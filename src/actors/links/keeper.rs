//! Writes clicks to the buffer on disk. Lives alone on its arbiter, so it may block.
//!
//! What is lost in a crash is what was not flushed yet: the clicks of at most [`FLUSH_EVERY`] and the
//! time that one flush takes.

use super::clicks::{Counter, Live, Reader};
use crate::actors::supervision::{Lifeline, Shutdown};
use crate::domain::time::Timestamp;
use crate::persistence::db::Database;
use crate::persistence::links::clicks::{Buffer, Click};
use crate::persistence::links::rollup;
use actix::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// How often clicks are flushed.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// Where redirects leave clicks.
    pub counter: Arc<Counter>,
    /// Where they go.
    pub buffer: Arc<Mutex<Buffer>>,
    /// Where the day's salt is.
    pub database: Database,
    /// Who watches.
    pub live: broadcast::Sender<Arc<Live>>,
    /// The buffer's bound.
    pub buffer_bytes: u64,
}

/// The actor. See the module's documentation.
pub struct Keeper {
    parts: Parts,
    reader: Reader,
    full: bool,
    _lifeline: Lifeline,
}

impl Keeper {
    /// A keeper.
    pub fn new(parts: Parts, lifeline: Lifeline) -> Keeper {
        Keeper { parts, reader: Reader::default(), full: false, _lifeline: lifeline }
    }

    fn flush(&mut self) {
        let raw = self.parts.counter.drain();
        let Some(newest) = raw.last().map(|click| click.at) else { return };
        self.salt(newest);
        let watched = self.parts.live.receiver_count() > 0;
        let mut clicks: Vec<Click> = Vec::with_capacity(raw.len());
        for raw in raw {
            let live = self.reader.read(raw);
            if watched {
                clicks.push(live.click.clone());
                // That nobody watches any more is no fault.
                let _ = self.parts.live.send(Arc::new(live));
            } else {
                clicks.push(live.click);
            }
        }
        let mut buffer = self.parts.buffer.lock();
        let full = buffer.bytes() >= self.parts.buffer_bytes;
        if full != self.full {
            self.full = full;
            if full {
                tracing::error!("the buffer of clicks is full; clicks are not counted until the database takes them");
            }
        }
        let count = clicks.len() as u64;
        if full {
            self.parts.counter.drop_clicks(count);
        } else if let Err(error) = buffer.append(&clicks) {
            tracing::error!(%error, count, "clicks could not be written");
            self.parts.counter.drop_clicks(count.saturating_sub(error.written));
        }
    }

    /// Gets the salt of the day. While the database is away the day has one of this node's own, so that
    /// somebody may count twice as a visitor, once with each.
    fn salt(&mut self, at: Timestamp) {
        let Some(day) = self.reader.lacks_salt(at) else { return };
        let own: [u8; 32] = rand::random();
        let own = blake3::Hash::from_bytes(own).to_hex().to_string();
        match self.parts.database.write_durably(|conn| rollup::salt(conn, day, &own)) {
            Ok(shared) => self.reader.set_salt(day, &shared),
            Err(error) => {
                tracing::warn!(%error, "the salt of the day could not be read; this node uses its own");
                self.reader.set_salt(day, &own);
            }
        }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(FLUSH_EVERY, |keeper, _| keeper.flush());
    }
}

impl Handler<Shutdown> for Keeper {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        self.flush();
    }
}
