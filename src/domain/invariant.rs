//! The one place where `domain/` gives up.
//!
//! A broken invariant is a bug, not a refusal: the actor that meets one must stop before anything
//! is published, and is rebuilt from the log by its supervisor.

/// Stops the actor: `what` cannot be, so nothing that follows from it may leave this node.
#[cold]
#[inline(never)]
#[allow(clippy::panic, reason = "fail-stop is the purpose of this function")]
pub fn broken(what: &str) -> ! {
    panic!("broken invariant: {what}")
}
