//! How many messages one connection of the GitBitEx dialect may send, wherever its client is.

use std::time::Instant;

/// Messages in a second, and at once.
const PER_S: f64 = 100.0;
const BURST: f64 = 200.0;

/// What a client may still send now.
#[derive(Debug)]
pub struct Allowance {
    left: f64,
    counted: Instant,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { left: BURST, counted: Instant::now() }
    }
}

impl Allowance {
    /// Counts a message; false when there are too many.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.counted).as_secs_f64() * PER_S;
        self.left = (self.left + earned).min(BURST) - 1.0;
        self.counted = now;
        self.left >= 0.0
    }
}
