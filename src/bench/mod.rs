//! Load generators: programs that measure a part against a limit taken in the same run, and report
//! ratios.

pub mod chat;
pub mod core;
pub mod links;
pub mod log;
pub mod promotion;
pub mod recovery;
pub mod rest;
pub mod ws;
