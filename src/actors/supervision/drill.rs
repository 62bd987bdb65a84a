//! Faults on purpose, for drills: an actor is made to panic or to hang where it stands.
//!
//! Nobody but the tree's and the directories' owners can ask for one, and the server lets them only when it was started
//! for drills. Without that the price is one relaxed load for each turn and each dangerous point.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// A panic before the next message is taken.
    Panic,
    /// A panic at the next dangerous point within a piece of work: see [`Lifeline::hazard`](super::Lifeline::hazard).
    PanicAtWork,
    /// The thread does nothing for so long.
    Hang(Duration),
}

const NONE: u64 = 0;
const PANIC: u64 = 1;
const PANIC_AT_WORK: u64 = 2;
const HANG: u64 = 3;

/// One drill that waits for its moment.
#[derive(Debug, Default)]
pub(crate) struct Armed(AtomicU64);

impl Armed {
    pub(crate) fn arm(&self, drill: Drill) {
        let code = match drill {
            Drill::Panic => PANIC,
            Drill::PanicAtWork => PANIC_AT_WORK,
            Drill::Hang(time) => HANG + u64::try_from(time.as_millis()).unwrap_or(u64::MAX - HANG),
        };
        self.0.store(code, Ordering::Release);
    }

    /// Between two messages.
    pub(crate) fn between(&self) {
        match self.0.load(Ordering::Relaxed) {
            NONE | PANIC_AT_WORK => {}
            code => {
                self.0.store(NONE, Ordering::Release);
                if code == PANIC {
                    panic!("a drill between two messages");
                }
                std::thread::sleep(Duration::from_millis(code - HANG));
            }
        }
    }

    /// Within a piece of work.
    pub(crate) fn within(&self) {
        if self.0.load(Ordering::Relaxed) == PANIC_AT_WORK {
            self.0.store(NONE, Ordering::Release);
            panic!("a drill in the middle of a piece of work");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_happens_once_and_where_it_was_meant_to() {
        let armed = Armed::default();
        armed.between();
        armed.arm(Drill::PanicAtWork);
        armed.between();
        assert!(std::panic::catch_unwind(|| armed.within()).is_err());
        armed.within();
        armed.arm(Drill::Panic);
        armed.within();
        assert!(std::panic::catch_unwind(|| armed.between()).is_err());
        armed.between();
    }
}
