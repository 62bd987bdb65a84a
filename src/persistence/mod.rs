//! Stores: one file per store or table family; no rules here.

pub mod api_keys;
pub mod broker;
pub mod candles;
pub mod db;
pub mod events;
pub mod fills;
pub mod log;
pub mod orders;
pub mod projection;
pub mod schema;
pub mod sessions;
pub mod snapshots;
pub mod users;
