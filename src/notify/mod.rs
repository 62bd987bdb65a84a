//! Messages that leave the venue towards people and their programs, and questions to other servers.

pub mod courier;
pub mod events;
pub mod mail;
pub mod outlets;
mod pace;
pub mod web;
