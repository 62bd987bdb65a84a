//! Agora: a spot exchange, chat and short links on supervised, event-sourced actors.
//!
//! Layers, each knowing only those after it: `http` → `actors` → `persistence` → `domain`.
//! `auth` stands beside `actors`: accounts of people are rows, not a stream.

pub mod actors;
pub mod auth;
pub mod domain;
pub mod http;
pub mod persistence;
