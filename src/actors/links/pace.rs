//! How many links go into one transaction: as many as take it so long that others who write hardly notice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a transaction is to take.
const GOAL: Duration = Duration::from_millis(50);
/// The fewest links of a full transaction: with fewer its flush would be most of it.
const FEWEST: usize = 250;
/// The most.
const MOST: usize = 4_000;

/// What transactions have shown so far.
#[derive(Debug)]
pub struct Pace(AtomicUsize);

impl Default for Pace {
    fn default() -> Pace {
        Pace(AtomicUsize::new(4 * FEWEST))
    }
}

impl Pace {
    /// Links of the next transaction, at most.
    pub fn links(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how long one of so many links took.
    pub fn took(&self, links: usize, time: Duration) {
        // A small one is mostly its flush and says little of a large one.
        if links >= FEWEST {
            self.0.store(fitting(links, time), Ordering::Relaxed);
        }
    }
}

/// One slow flush does not say much either, so the step is bounded.
fn fitting(links: usize, time: Duration) -> usize {
    let share = (GOAL.as_secs_f64() / time.as_secs_f64().max(1e-6)).clamp(0.5, 1.5);
    ((links as f64 * share) as usize).clamp(FEWEST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_become_as_long_as_they_may() {
        let pace = Pace::default();
        for _ in 0..100 {
            // Each link takes 100 µs.
            pace.took(pace.links(), Duration::from_micros(100) * pace.links() as u32);
        }
        assert_eq!(pace.links(), 500);
        pace.took(500, Duration::from_secs(5));
        assert_eq!(pace.links(), FEWEST);
        pace.took(FEWEST, Duration::from_secs(5));
        assert_eq!(pace.links(), FEWEST);
        pace.took(1, Duration::from_nanos(1));
        assert_eq!(pace.links(), FEWEST, "a single link says nothing");
        for _ in 0..100 {
            pace.took(pace.links(), Duration::ZERO);
        }
        assert_eq!(pace.links(), MOST);
    }
}
