//! Chat through the real program: HTTP and WebSocket only.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod delivery;
mod images;
mod limits;
mod nodes;
mod order;
mod people;
mod presence;
mod rights;
#[path = "../s3/mod.rs"]
mod s3;
#[path = "../server/mod.rs"]
mod server;
#[path = "../servers/mod.rs"]
mod servers;
mod talk;
