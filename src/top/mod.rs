//! `agora top`: how a server is doing, in a terminal. Markets and rates for everybody, the supervision tree for
//! administrators.
//!
//! It speaks nothing but the public API and changes nothing. Invariants: what was read stays on the screen until
//! something newer comes, and a server that is out of reach is said there and asked again.

mod client;
mod metrics;
mod model;
pub mod terminal;
mod view;
