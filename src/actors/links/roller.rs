//! Rolls clicks up: from the buffer on disk into counts in the database, each exactly once by its id.
//! Lives alone on its arbiter, so it may block. A database that is away costs nothing but delay.

use crate::actors::supervision::{Lifeline, Shutdown};
use crate::actors::trading::market_data::wall_clock;
use crate::domain::time::{DAY, MINUTE, Timestamp};
use crate::persistence::db::Database;
use crate::persistence::links::clicks::{self, Buffer};
use crate::persistence::links::rollup;
use actix::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the buffer is looked at.
const ROLL_EVERY: Duration = Duration::from_millis(500);
/// Clicks of one transaction: others who write wait for it, so it is short.
const AT_ONCE: usize = 50_000;
/// The same, where each takes long: a large store changes a page of the disk for nearly each.
const FEWEST: usize = 1_000;
/// A transaction that takes longer makes the next one smaller.
const LONG: Duration = Duration::from_millis(100);
/// After some work it rests so many times as long, so that a flood of clicks does not take the processor from those
/// who are led on; the clicks wait on disk.
const REST: u32 = 9;
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(3);
/// With more clicks than this waiting it does not rest.
const BEHIND: u64 = 6_000_000;
/// How often what is too old is removed, µs.
const PRUNE_EVERY: i64 = 10 * MINUTE;

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// Where clicks wait.
    pub buffer: Arc<Mutex<Buffer>>,
    /// Where counts are.
    pub database: Database,
    /// Days that single clicks are kept.
    pub raw_days: u16,
    /// How many clicks wait, for whoever watches.
    pub lag: Arc<AtomicU64>,
}

/// The actor. See the module's documentation.
pub struct Roller {
    parts: Parts,
    /// How far the database is, as far as is known.
    mark: Option<u64>,
    pruned_at: Timestamp,
    /// Clicks of the next transaction, at most.
    at_once: usize,
    lifeline: Lifeline,
}

/// How many clicks the next transaction takes, after one of so many took so long: nobody else writes meanwhile.
fn fitting(at_once: usize, took: Duration) -> usize {
    if took > LONG { (at_once / 2).max(FEWEST) } else { (at_once * 2).min(AT_ONCE) }
}

impl Roller {
    /// A roller that goes on where the database stands.
    pub fn new(parts: Parts, lifeline: Lifeline) -> Roller {
        Roller { parts, mark: None, pruned_at: Timestamp::ZERO, at_once: FEWEST, lifeline }
    }

    fn roll(&mut self, ctx: &mut Context<Self>) {
        match self.advance() {
            Ok(()) => {}
            Err(RollError::Away(error)) => {
                // Whether the last transaction was committed is not known: the mark says so.
                self.mark = None;
                tracing::warn!(%error, "clicks could not be rolled up; they wait on disk");
            }
            Err(RollError::Disk(error)) => {
                self.lifeline.fail(format!("the buffer of clicks cannot be read: {error}"));
                ctx.stop();
            }
        }
    }

    fn advance(&mut self) -> Result<(), RollError> {
        let Parts { buffer, database, raw_days, lag } = self.parts.clone();
        loop {
            let begun = Instant::now();
            let number = buffer.lock().number();
            let mark = match self.mark {
                Some(mark) => mark,
                None => {
                    let mark = database.read(|conn| rollup::mark(conn, number)).map_err(RollError::Away)?;
                    // A folder that was put back from a copy may have less than the database has seen.
                    buffer.lock().count_from(mark);
                    mark
                }
            };
            self.mark = Some(mark);
            let (files, last) = {
                let buffer = buffer.lock();
                (buffer.files_after(mark), buffer.last())
            };
            lag.store(last.saturating_sub(mark), Ordering::Relaxed);
            if last <= mark {
                break;
            }
            let batch = clicks::read(&files, mark, self.at_once).map_err(RollError::Disk)?;
            if batch.clicks.is_empty() {
                break;
            }
            let add = |conn: &mut _| rollup::add(conn, number, mark, batch.through, &batch.clicks, raw_days > 0);
            let writing = Instant::now();
            if !database.write_durably(add).map_err(RollError::Away)? {
                self.mark = None;
                continue;
            }
            self.at_once = fitting(self.at_once, writing.elapsed());
            self.mark = Some(batch.through);
            lag.store(last.saturating_sub(batch.through), Ordering::Relaxed);
            buffer.lock().remove_through(batch.through).map_err(RollError::Disk)?;
            if last.saturating_sub(batch.through) < BEHIND {
                // It lives alone on its thread.
                std::thread::sleep((begun.elapsed() * REST).min(LONGEST_REST));
            }
        }
        let now = wall_clock();
        if now - self.pruned_at > PRUNE_EVERY {
            let keep = i64::from(raw_days) * DAY;
            database.write(|conn| rollup::prune(conn, now, keep)).map_err(RollError::Away)?;
            self.pruned_at = now;
        }
        Ok(())
    }
}

enum RollError {
    /// The database does not take them.
    Away(crate::persistence::db::DbError),
    /// The buffer cannot be read.
    Disk(std::io::Error),
}

impl Actor for Roller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(ROLL_EVERY, Roller::roll);
    }
}

impl Handler<Shutdown> for Roller {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.roll(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_took_long_makes_the_next_one_smaller() {
        let (quick, slow) = (Duration::from_millis(10), Duration::from_secs(5));
        assert_eq!(fitting(AT_ONCE, slow), AT_ONCE / 2);
        assert_eq!(fitting(FEWEST, slow), FEWEST);
        assert_eq!(fitting(FEWEST, quick), 2 * FEWEST);
        assert_eq!(fitting(AT_ONCE, quick), AT_ONCE);
    }
}
