//! The dialect of the GitBitEx front end and its programs: `/api/…` and `/ws`.
//!
//! Wire types, conversions and routes over the same commands and queries as the native API; no rule is written here.
//! What is peculiar to the front end, and why, is in `docs/gitbitex.md`, and each peculiarity has a test of its name.
//! Errors leave the handlers as everywhere; `problem` puts them into the words and shape of the dialect.

pub mod accounts;
pub mod apps;
pub mod files;
mod numbers;
pub mod orders;
pub mod origins;
pub mod page;
pub mod problem;
pub mod products;
pub mod session;
pub mod socket;
pub mod users;
mod views;

use super::error::ApiError;
use serde::Deserialize;

/// Whether a route is one of this dialect, by its registered pattern.
pub fn is_route(pattern: &str) -> bool {
    pattern == "/ws" || pattern.starts_with("/api/")
}

/// Reads a JSON body.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8], needed: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|_| ApiError::bad_request("invalid_body", format!("the request needs {needed}")))
}
