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
/// Rows of each kind that one transaction removes.
const PRUNED_AT_ONCE: i64 = 5_000;
/// After so long the rest waits until clicks were rolled up again.
const PRUNE_FOR: Duration = Duration::from_secs(1);

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
        let mut begun = Instant::now();
        while let Some(left) = self.step()? {
            if left < BEHIND {
                // It lives alone on its thread.
                std::thread::sleep((begun.elapsed() * REST).min(LONGEST_REST));
            }
            begun = Instant::now();
        }
        Ok(())
    }

    /// Rolls some clicks up, and removes what is too old when that is due; how many clicks wait then, `None` when there
    /// were none to roll up.
    fn step(&mut self) -> Result<Option<u64>, RollError> {
        let rolled = self.roll_some()?;
        let now = wall_clock();
        // Not only once none wait: while clicks keep coming, that may be never.
        self.prune(now, rolled.as_ref().map_or(now, |rolled| rolled.newest.min(now)))?;
        Ok(rolled.map(|rolled| rolled.left))
    }

    /// Removes what is too old, if it is time to. Clicks before `rolled` are rolled up.
    fn prune(&mut self, now: Timestamp, rolled: Timestamp) -> Result<(), RollError> {
        if now - self.pruned_at <= PRUNE_EVERY {
            return Ok(());
        }
        let (begun, keep) = (Instant::now(), i64::from(self.parts.raw_days) * DAY);
        // Many short transactions: others who write come in between.
        let some = |conn: &mut _| rollup::prune(conn, now, rolled, keep, PRUNED_AT_ONCE);
        while self.parts.database.write(some).map_err(RollError::Away)? {
            if begun.elapsed() > PRUNE_FOR {
                return Ok(());
            }
        }
        self.pruned_at = now;
        Ok(())
    }

    /// Rolls the next clicks up; `None` when none wait.
    fn roll_some(&mut self) -> Result<Option<Rolled>, RollError> {
        let Parts { buffer, database, raw_days, lag } = self.parts.clone();
        loop {
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
                // A file may have been left there before it was known that all of its clicks are rolled up.
                buffer.lock().remove_through(mark).map_err(RollError::Disk)?;
                return Ok(None);
            }
            let batch = clicks::read(&files, mark, self.at_once).map_err(RollError::Disk)?;
            let Some(newest) = batch.clicks.last().map(|click| click.at) else {
                // What had the numbers up to there could not be written, so that nothing is left in the files.
                lag.store(0, Ordering::Relaxed);
                buffer.lock().remove_through(last).map_err(RollError::Disk)?;
                return Ok(None);
            };
            let add = |conn: &mut _| rollup::add(conn, number, mark, batch.through, &batch.clicks, raw_days > 0);
            let writing = Instant::now();
            if !database.write_durably(add).map_err(RollError::Away)? {
                self.mark = None;
                continue;
            }
            self.at_once = fitting(self.at_once, writing.elapsed());
            self.mark = Some(batch.through);
            let left = last.saturating_sub(batch.through);
            lag.store(left, Ordering::Relaxed);
            buffer.lock().remove_through(batch.through).map_err(RollError::Disk)?;
            return Ok(Some(Rolled { newest, left }));
        }
    }
}

/// What was rolled up.
struct Rolled {
    /// When its newest click was.
    newest: Timestamp,
    /// How many clicks wait.
    left: u64,
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::link::LinkId;
    use crate::persistence::links::clicks::Click;

    fn click() -> Click {
        Click {
            link: LinkId(1),
            at: wall_clock(),
            visitor: 1,
            referrer: String::new(),
            device: "desktop".into(),
            os: "Linux".into(),
            browser: "Firefox".into(),
            language: String::new(),
            country: String::new(),
            bot: String::new(),
            target: String::new(),
        }
    }

    fn roller(buffer: Buffer, database: &Database) -> Roller {
        let buffer = Arc::new(Mutex::new(buffer));
        let parts = Parts { buffer, database: database.clone(), raw_days: 1, lag: Arc::default() };
        let lifeline = Lifeline::new("click roller".into(), 1, None, Arc::new(|_| ()), Arc::default());
        Roller::new(parts, lifeline)
    }

    #[test]
    fn a_full_buffer_has_room_again_once_all_is_rolled_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let place = folder.path().join("clicks");
        let clicks = vec![click(); 50_000];
        let mut buffer = Buffer::open(&place).unwrap();
        buffer.append(&clicks).unwrap();
        let full = buffer.bytes();
        // As after a crash between the transaction and the removal of what was rolled up.
        let add = |conn: &mut _| rollup::add(conn, buffer.number(), 0, 50_000, &clicks, false);
        assert!(database.write(add).unwrap());
        let mut roller = roller(buffer, &database);
        assert!(matches!(roller.step(), Ok(None)));
        assert_eq!(roller.parts.buffer.lock().bytes(), 0);
        roller.parts.buffer.lock().append(&clicks).unwrap();
        assert_eq!(roller.parts.buffer.lock().bytes(), full);
        while matches!(roller.step(), Ok(Some(_))) {}
        assert_eq!(roller.parts.buffer.lock().bytes(), 0);
    }

    #[test]
    fn a_full_buffer_has_room_again_also_when_the_last_clicks_could_not_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let mut buffer = Buffer::open(&folder.path().join("clicks")).unwrap();
        let clicks = vec![click(); 50_000];
        buffer.append(&clicks).unwrap();
        let add = |conn: &mut _| rollup::add(conn, buffer.number(), 0, 50_000, &clicks, false);
        assert!(database.write(add).unwrap());
        // Their numbers are given to nobody else.
        buffer.count_from(50_010);
        let mut roller = roller(buffer, &database);
        assert!(matches!(roller.step(), Ok(None)));
        assert_eq!(roller.parts.buffer.lock().bytes(), 0);
        assert_eq!(roller.parts.lag.load(Ordering::Relaxed), 0, "nothing waits");
        roller.parts.buffer.lock().append(&[click()]).unwrap();
        assert!(matches!(roller.step(), Ok(Some(0))));
        assert_eq!(database.read(|conn| rollup::mark(conn, roller.parts.buffer.lock().number())).unwrap(), 50_011);
    }

    #[test]
    fn what_is_too_old_goes_while_clicks_wait() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let mut buffer = Buffer::open(&folder.path().join("clicks")).unwrap();
        // Each is as many as one transaction takes at first.
        for _ in 0..2 {
            buffer.append(&vec![click(); FEWEST]).unwrap();
        }
        let salt = |made| database.write(|conn| rollup::salt(conn, Timestamp::ZERO, made)).unwrap();
        assert_eq!(salt("of then"), "of then");
        let mut roller = roller(buffer, &database);
        assert!(matches!(roller.step(), Ok(Some(left)) if left == FEWEST as u64));
        assert_eq!(salt("of now"), "of now", "the old one is gone before all clicks are rolled up");
        assert!(matches!(roller.step(), Ok(Some(0))));
        assert!(matches!(roller.step(), Ok(None)));
        assert_eq!(salt("of later"), "of now", "it is done only now and then");
    }

    #[test]
    fn a_transaction_that_took_long_makes_the_next_one_smaller() {
        let (quick, slow) = (Duration::from_millis(10), Duration::from_secs(5));
        assert_eq!(fitting(AT_ONCE, slow), AT_ONCE / 2);
        assert_eq!(fitting(FEWEST, slow), FEWEST);
        assert_eq!(fitting(FEWEST, quick), 2 * FEWEST);
        assert_eq!(fitting(AT_ONCE, quick), AT_ONCE);
    }
}
