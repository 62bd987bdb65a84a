//! Pure rules: no async, clock, randomness, I/O or actor types. Time and ids arrive inside entries,
//! so the same log gives the same state on every node.
//!
//! Panicking shortcuts and floats are denied here; [`invariant::broken`] is the one place that may
//! stop an actor, and only for what cannot be.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_arithmetic,
    clippy::wildcard_enum_match_arm
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod admission;
pub mod auction;
pub mod batch;
pub mod book;
pub mod candle;
pub mod chat;
pub mod client_ids;
pub mod codec;
pub mod entry;
pub mod event;
#[cfg(test)]
pub(crate) mod examples;
pub mod ids;
mod invariant;
pub mod ledger;
pub mod link;
pub mod market;
pub mod market_data;
pub mod money;
pub mod order;
pub mod posting;
pub mod reason;
pub mod replica;
#[cfg(test)]
pub mod sabotage;
pub mod stream;
pub mod time;
pub mod unapplied;
pub mod venue;
