//! The same as `accounts.rs` with PostgreSQL instead of a file.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/mod.rs"]
mod plain;
mod servers;

#[path = "accounts/audit.rs"]
mod audit;
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
#[path = "accounts/postgres.rs"]
mod postgres;
#[path = "accounts/provider.rs"]
mod provider;
#[path = "accounts/roles.rs"]
mod roles;
#[path = "server/postgres.rs"]
mod server;
#[path = "accounts/sessions.rs"]
mod sessions;
#[path = "accounts/sink.rs"]
mod sink;
#[path = "accounts/smtp.rs"]
mod smtp;
