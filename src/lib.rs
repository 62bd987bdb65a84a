//! Agora: a spot exchange, chat and short links on supervised, event-sourced actors.
//!
//! Layers, each knowing only those after it: `http` → `actors` → `persistence` → `domain`.

pub mod bench;
pub mod domain;
pub mod persistence;
