//! Pure rules: no async, clock, randomness, I/O or actor types. Time and ids arrive inside entries.

pub mod batch;
pub mod ids;
pub mod time;
