//! Stores: one file per store or table family; no rules here.

pub mod api_keys;
pub mod audit;
pub mod bridge;
pub mod broker;
pub mod candles;
pub mod chat;
pub mod db;
pub mod events;
pub mod fills;
pub mod identities;
pub mod ledger_entries;
pub mod log;
pub mod mailed_codes;
pub mod notifications;
mod numbers;
pub mod objects;
pub mod orders;
pub mod projection;
pub mod redis;
pub mod runtime_config;
pub mod schema;
pub mod second_factors;
pub mod sessions;
pub mod shared_snapshots;
pub mod snapshots;
pub mod transfers;
pub mod users;
