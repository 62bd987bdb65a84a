//! What time the log gives to what is written now. Everybody who asks before something is written gets the answer here, so
//! that what is made of it (the end of an order's life) fits to what the log will say.
//!
//! It is the clock's time, and never earlier than anything that the log has. When the clock was set back, or is behind that
//! of the node which wrote before, it does not stand still until the clock is there again: it goes on at half the pace of
//! monotonic time. So whatever is due comes, a minute lasts two at most, and the clock catches up.

use super::event_log::Clock;
use crate::domain::time::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::Instant;

/// See the module's documentation. Outlives the actors that ask it.
pub struct LogTime {
    clock: Clock,
    began: Instant,
    /// Twice the newest time in the log, less the microseconds at which it was seen, counted from `began`: with those of the
    /// present added, and halved, it is the time that goes on from there. Of two such times the greater one stays so.
    from: AtomicI64,
}

impl LogTime {
    /// The time of a log whose newest entry has this one, by this clock.
    pub fn new(clock: Clock, newest: Timestamp) -> LogTime {
        let time = LogTime { clock, began: Instant::now(), from: AtomicI64::new(i64::MIN) };
        time.saw(newest);
        time
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        let goes_on = self.from.load(Ordering::Relaxed).saturating_add(self.elapsed()).div_euclid(2);
        (self.clock)().max(Timestamp(goes_on))
    }

    /// The time of what is written now.
    pub fn stamp(&self) -> Timestamp {
        let now = self.now();
        self.saw(now);
        now
    }

    /// The log has something of this time.
    pub fn saw(&self, at: Timestamp) {
        let from = at.0.saturating_mul(2).saturating_sub(self.elapsed());
        self.from.fetch_max(from, Ordering::Relaxed);
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{HOUR, MINUTE};
    use std::sync::Arc;
    use std::time::Duration;

    const NOON: Timestamp = Timestamp(1_767_225_600_000_000);

    /// A clock that a test sets, and the time of a log by it.
    fn times(newest: Timestamp) -> (Arc<AtomicI64>, LogTime) {
        let set = Arc::new(AtomicI64::new(NOON.0));
        let shown = set.clone();
        (set, LogTime::new(Arc::new(move || Timestamp(shown.load(Ordering::Relaxed))), newest))
    }

    async fn passes(micros: i64) {
        tokio::time::advance(Duration::from_micros(micros.unsigned_abs())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_while_the_clock_is_behind() {
        let (clock, time) = times(Timestamp::ZERO);
        assert_eq!(time.now(), NOON);
        // An hour ahead, something is written, and the clock is set right.
        clock.store((NOON + HOUR).0, Ordering::Relaxed);
        assert_eq!(time.stamp(), NOON + HOUR);
        clock.store(NOON.0, Ordering::Relaxed);
        assert_eq!(time.now(), NOON + HOUR);
        passes(2 * MINUTE).await;
        clock.fetch_add(2 * MINUTE, Ordering::Relaxed);
        assert_eq!(time.now(), NOON + HOUR + MINUTE);
        // What is written meanwhile changes nothing about that.
        time.stamp();
        passes(2 * MINUTE).await;
        clock.fetch_add(2 * MINUTE, Ordering::Relaxed);
        assert_eq!(time.now(), NOON + HOUR + 2 * MINUTE);
        // Twice an hour after all the clock is there.
        passes(2 * HOUR).await;
        clock.fetch_add(2 * HOUR, Ordering::Relaxed);
        assert_eq!(time.now(), NOON + 2 * HOUR + 4 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_never_before_what_the_log_has() {
        let (clock, time) = times(NOON + MINUTE);
        assert_eq!(time.now(), NOON + MINUTE);
        // Of another node, whose clock is ahead of this one's; and something older, which is read late.
        time.saw(NOON + HOUR);
        time.saw(NOON);
        assert_eq!(time.now(), NOON + HOUR);
        clock.store((NOON + 2 * HOUR).0, Ordering::Relaxed);
        assert_eq!(time.now(), NOON + 2 * HOUR);
    }
}
