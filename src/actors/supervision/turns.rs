//! Who takes a turn: always whoever the runtime polls, except in a simulation, where a director decides.
//!
//! Without a director the price is one look at a flag for each poll of an actor.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// What becomes of an actor that is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It goes on.
    Now,
    /// The others go first.
    Later,
    /// Its process has died: it never goes on.
    Never,
}

/// Decides for every actor that is polled on this thread; it is told the actor's path.
pub(crate) type Director = Box<dyn FnMut(&str) -> Turn>;

/// Whether there has ever been a director in this process.
static DIRECTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static DIRECTOR: RefCell<Option<Director>> = const { RefCell::new(None) };
}

/// Puts a director in charge of this thread, or none; gives back the one before.
pub(crate) fn direct(director: Option<Director>) -> Option<Director> {
    DIRECTED.fetch_or(director.is_some(), Ordering::Relaxed);
    DIRECTOR.replace(director)
}

/// What the actor with this path, which is polled now, may do.
pub(crate) fn next(path: &str) -> Turn {
    if !DIRECTED.load(Ordering::Relaxed) {
        return Turn::Now;
    }
    DIRECTOR.with_borrow_mut(|director| director.as_mut().map_or(Turn::Now, |director| director(path)))
}
