//! Accounts over the wire: API keys, sessions, roles, limits, with the real program.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;

#[path = "accounts/keys.rs"]
mod keys;
