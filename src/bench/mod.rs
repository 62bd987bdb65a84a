//! Load generators and their reports.

pub mod core;
