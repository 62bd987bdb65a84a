//! The feed.
//!
//! ```text
//! market data ──► hub (one for each worker) ──► market feed ──► outbox (one for each connection) ──► body
//! ```
//! A change is told to each worker once, its messages are made once, and each connection queues what it is sent in an
//! outbox that the connection's body ([`web_socket`](super::web_socket)) empties as fast as its client reads; the socket's actor hears the client.

pub mod allowance;
pub mod entry;
#[cfg(test)]
mod examples;
pub mod hub;
pub mod market_feed;
pub mod messages;
pub mod outbox;
mod replay;
pub mod request;
pub mod seats;
pub mod session;
pub mod socket;
mod status;
pub mod switches;
