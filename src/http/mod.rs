//! Wire in, command out: what the program says over HTTP.

pub mod assets;
