//! Accounts over the wire: API keys, sessions, roles, limits, with the real program.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;

#[path = "accounts/audit.rs"]
mod audit;
#[path = "accounts/dead_letters.rs"]
mod dead_letters;
#[path = "accounts/factors.rs"]
mod factors;
#[path = "accounts/keys.rs"]
mod keys;
#[path = "accounts/limits.rs"]
mod limits;
#[path = "accounts/notifications.rs"]
mod notifications;
#[path = "accounts/others.rs"]
mod others;
#[path = "accounts/provider.rs"]
mod provider;
#[path = "accounts/roles.rs"]
mod roles;
#[path = "accounts/secrets.rs"]
mod secrets;
#[path = "accounts/sessions.rs"]
mod sessions;
#[path = "accounts/sink.rs"]
mod sink;
#[path = "accounts/smtp.rs"]
mod smtp;
