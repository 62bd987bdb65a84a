//! Redis: what nodes tell each other quickly, and what one of them need not work out again.
//!
//! Nothing that counts is in Redis alone. Every call ends within a moment and may fail with [`Away`];
//! whoever calls goes on with what it knows itself, so that losing Redis costs speed and never truth.
//!
//! One multiplexed connection serves all tasks (five times as fast as a checkout for each call). It
//! lives on a thread of its own, which opens it again when it breaks; another one listens to the
//! channels. Messages that were published while a node was cut off are lost to it: it hears
//! [`Heard::Gap`] and asks the database what it missed.

mod caches;
mod claims;
mod guesses;
mod latest;
mod link;
mod rate_limits;
mod revocations;

pub use caches::{Forgotten, SecondLevel};
pub use guesses::Guesses;
pub use latest::{Latest, Left};
pub use link::{Away, Heard, Options, Redis, RedisError};
pub use rate_limits::{Counted, Rate};
pub use revocations::{Ended, Revocations};
