//! The native API, in the shapes of the Coinbase Exchange dialect.

pub mod accounts;
pub mod auth;
pub mod keys;
pub mod markets;
pub mod new_order;
pub mod orders;
pub mod page;
pub mod params;
pub mod profiles;
pub mod summaries;
pub mod views;
