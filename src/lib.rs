//! Agora: a spot exchange, chat and short links on supervised, event-sourced actors.
//!
//! Layers, each knowing only those after it: `http` → `actors` → `persistence` → `domain`.
//! `auth` stands beside `actors`: accounts of people are rows, not a stream. `app` alone knows all.

pub mod actors;
pub mod app;
pub mod auth;
pub mod bench;
pub mod bots;
pub mod bridge;
pub mod chat_client;
pub mod cli;
pub mod clock;
pub mod config;
pub mod custody;
pub mod domain;
pub mod http;
pub mod notify;
pub mod persistence;
pub mod priority;
pub mod prompt;
pub mod simulation;
pub mod top;
pub mod verify;
