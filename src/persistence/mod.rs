//! Stores: one file per store or table family; no rules here.

pub mod api_keys;
pub mod bridge;
pub mod broker;
pub mod candles;
pub mod db;
pub mod events;
pub mod fills;
pub mod ledger_entries;
pub mod log;
mod numbers;
pub mod orders;
pub mod projection;
pub mod schema;
pub mod sessions;
pub mod shared_snapshots;
pub mod snapshots;
pub mod transfers;
pub mod users;
