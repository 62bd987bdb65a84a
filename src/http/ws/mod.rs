//! The feed.
//!
//! ```text
//! market data ──► hub (one for each worker) ──► market feed ──► outbox (one for each connection) ──► socket
//! ```
//! A change is told to each worker once, its messages are made once, and each connection queues what it is sent in an
//! outbox that its socket empties as fast as its client reads.

pub mod allowance;
pub mod entry;
pub mod hub;
pub mod market_feed;
pub mod messages;
pub mod outbox;
mod replay;
pub mod request;
pub mod socket;
mod status;
