//! WebSockets. `actix-web-actors`, deprecated upstream, is used through this module alone.

pub mod feed;
mod messages;
mod request;
