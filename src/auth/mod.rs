//! Accounts of people: sign-up, sign-in, sessions and the tokens that prove them.
//!
//! A small service layer of its own between `http` and `persistence`: nothing here is a command of
//! a stream, so there is no actor. The tables of users and sessions are the truth, not a projection.
//!
//! Invariants:
//! - A password is seen only by [`passwords`] and is never stored, logged or shown.
//! - Password hashing and database work run on bounded pools of their own ([`workers`]), never on a
//!   thread that moves messages; a full queue is answered at once ([`AuthError::Overloaded`]).
//! - A session's revocation is known in memory before the caller hears of it, and outlives a restart.
//! - An unknown e-mail and a wrong password get the same answer for the same work.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod api_keys;
mod audit;
mod credentials;
mod error;
mod guard;
mod keys;
mod limits;
mod notifications;
mod oidc;
mod passwords;
mod recovery;
mod runtime;
mod secret;
mod service;
mod sessions;
mod settings;
mod shared;
mod shared_passwords;
pub mod signature;
mod tokens;
mod totp;
mod vault;
mod workers;

#[cfg(test)]
mod tests;

pub use address::has_address;
pub use api_keys::{ApiKey, IssuedKey, KeyId, NewKey, Scope, Scopes, SignedRequest, parse_network};
pub use credentials::{Email, Weakness};
pub use error::{AuthError, KeyFlaw};
pub use keys::{KeyError, SigningKey};
pub use limits::{Class, Limit, Verdict, network_of};
pub use notifications::Webhook;
pub use oidc::{Arrival, Departure, Provider, ProvidersError, load as load_providers};
pub use runtime::{Defaults, Setting, Snapshot, Spec, key};
pub use secret::Secret;
pub use service::{Accounts, Clock, SignedIn, StartError};
pub use settings::{Device, Plan, Settings};
pub use tokens::{Caller, Credential, bearer};
pub use totp::TotpSeed;
