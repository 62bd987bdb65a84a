//! What of the GitBitEx dialect lives in the database, with PostgreSQL instead of a file: users with their pictures,
//! wallets, orders in pages.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/mod.rs"]
mod plain;
mod servers;

#[path = "gitbitex/browser.rs"]
mod browser;
#[path = "server/feed.rs"]
mod feed;
#[path = "gitbitex/orders.rs"]
mod orders;
#[path = "server/postgres.rs"]
mod server;
#[path = "accounts/smtp.rs"]
mod smtp;
#[path = "gitbitex/users.rs"]
mod users;
#[path = "gitbitex/wallets.rs"]
mod wallets;
