//! The native API, in the shapes of the Coinbase Exchange dialect.

pub mod accounts;
pub mod admin;
pub mod amend;
pub mod atomic;
pub mod auth;
pub mod batch;
pub mod edge;
pub mod keys;
pub mod ledger;
pub mod markets;
pub mod new_order;
pub mod notifications;
pub mod oidc;
pub mod orders;
pub mod page;
pub mod params;
pub mod photos;
pub mod profile;
pub mod profiles;
pub mod runtime;
pub mod summaries;
pub mod totp;
pub mod trace;
pub mod transfers;
pub mod views;
pub mod wallets;
