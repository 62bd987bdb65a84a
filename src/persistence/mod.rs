//! Stores: one file per store or table family; no rules here.

pub mod log;
pub mod snapshots;
