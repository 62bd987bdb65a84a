//! The GitBitEx dialect as its front end speaks it: a browser with a cookie, a stored token and a socket, against the
//! real program. Each peculiarity of the front end has a test of its name.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/feed.rs"]
mod feed;
mod server;

#[path = "gitbitex/alike.rs"]
mod alike;
#[path = "gitbitex/browser.rs"]
mod browser;
#[path = "gitbitex/market.rs"]
mod market;
#[path = "gitbitex/orders.rs"]
mod orders;
#[path = "gitbitex/page.rs"]
mod page;
#[path = "accounts/smtp.rs"]
mod smtp;
#[path = "gitbitex/sockets.rs"]
mod sockets;
#[path = "gitbitex/users.rs"]
mod users;
#[path = "gitbitex/wallets.rs"]
mod wallets;
