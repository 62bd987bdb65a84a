//! The wall clock of this process. The only place that asks the system what time it is.
//!
//! Drills may set it forward and back, as an operator or a time server can do to the machine's. What must not depend on
//! it (deadlines, back-offs, heartbeats) uses monotonic time.

use crate::domain::time::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far a drill has set the clock forward, µs.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The present time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    Timestamp(micros.saturating_add(AHEAD.load(Ordering::Relaxed)))
}

/// Sets the clock so many microseconds before the system's, or behind it when negative. For drills.
pub fn set_ahead(micros: i64) {
    AHEAD.store(micros, Ordering::Relaxed);
}
