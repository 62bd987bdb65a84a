//! Where those who read the log have stopped.
//!
//! The log has several followers, each at a place of its own, which read it piece by piece. Finding a place anew costs
//! much: in a file everything before it in its segment is passed over, at a broker a connection is made. So the newest
//! places are kept, and whoever goes on exactly where somebody stopped finds it at once.

use super::Position;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How many places are kept: one for each follower, and some to spare.
const MOST: usize = 8;

/// Walks that may be taken up again, the newest last.
pub(super) struct Places<W> {
    /// How long a walk is of use.
    lasting: Duration,
    kept: Mutex<Vec<Place<W>>>,
}

struct Place<W> {
    /// What was read last.
    after: Position,
    walk: W,
    since: Instant,
}

impl<W> Places<W> {
    /// No places yet. A walk that nobody has taken up for so long is dropped with the next look at the places.
    pub(super) fn new(lasting: Duration) -> Places<W> {
        Places { lasting, kept: Mutex::new(Vec::new()) }
    }

    /// The walk of somebody who stopped after this position.
    pub(super) fn take(&self, after: Position) -> Option<W> {
        let mut kept = self.kept.lock();
        kept.retain(|place| place.since.elapsed() < self.lasting);
        let found = kept.iter().rposition(|place| place.after == after)?;
        Some(kept.remove(found).walk)
    }

    /// Keeps a walk that has handed out everything up to this position.
    pub(super) fn keep(&self, after: Position, walk: W) {
        let mut kept = self.kept.lock();
        kept.retain(|place| place.since.elapsed() < self.lasting);
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push(Place { after, walk, since: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_follower_finds_its_own_place_and_the_oldest_goes() {
        let places = Places::new(Duration::from_secs(3600));
        for number in 0..=MOST as u64 {
            places.keep(Position(number), number * 10);
        }
        assert_eq!(places.take(Position(0)), None);
        assert_eq!(places.take(Position(1)), Some(10));
        assert_eq!(places.take(Position(1)), None, "a walk is taken up once");
        assert_eq!(places.take(Position(MOST as u64)), Some(MOST as u64 * 10));
    }

    #[test]
    fn a_walk_that_nobody_takes_up_is_dropped() {
        let places = Places::new(Duration::ZERO);
        places.keep(Position(1), "walk");
        assert_eq!(places.take(Position(1)), None);
        assert!(places.kept.lock().is_empty());
    }
}
