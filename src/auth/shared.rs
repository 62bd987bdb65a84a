//! What nodes share about people through Redis, when there is one: rate limits, what was ended, wrong guesses, and which
//! signatures were used.
//!
//! Without it, and while it is away, each node counts by itself and finds what was ended in the database.

use super::api_keys::{LIFETIME, SAME_SECOND, parse_network};
use super::credentials::Email;
use super::error::AuthError;
use super::guard::Guard;
use super::limits::{Class, Limit, Subject, Verdict, network_of};
use super::service::Accounts;
use super::tokens::{Caller, Credential};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::redis::{Ended, Guesses, Rate, Redis, Revocations};
use crate::persistence::sessions::SessionId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

/// What sealed messages are for.
const GUESS: &str = "guess";

/// What was guessed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Target {
    /// The password of an address.
    Password(String),
    /// A mailed code of an address.
    Code(String),
    /// The second factor of a user.
    Factor(u32),
    /// Anything, from this network.
    From(String),
    /// Nothing: a code was mailed to an address, which must not be had too often either.
    Mail(String),
}

/// A guess that a node has seen.
#[derive(Serialize, Deserialize)]
struct Guess {
    node: Uuid,
    target: Target,
    right: bool,
}

/// The name under which an id token's use is claimed.
fn id_token(token: u128) -> String {
    format!("id token:{token:032x}")
}

impl Accounts {
    /// Counts a request against the limit of its class: by user and key when there is a caller, else by
    /// address. `None` when nothing limits it.
    pub async fn count(&self, class: Class, caller: Option<&Caller>, address: Option<IpAddr>) -> Option<Verdict> {
        let address = address?;
        if self.is_unlimited(address) {
            return None;
        }
        let Some(caller) = caller else { return self.take(class, Subject::Network(network_of(address))).await };
        if let Credential::Key(key) = caller.credential
            && let Some(refused) = self.take(Class::Key, Subject::Key(key)).await.filter(|verdict| !verdict.admitted)
        {
            return Some(refused);
        }
        self.take(class, Subject::User(caller.user)).await
    }

    /// Counts by address on this node alone, whatever other nodes have counted; whether it may go on. For messages of
    /// a connection, which is to one node: asking Redis about each would cost more than the message.
    pub fn count_here(&self, class: Class, address: Option<IpAddr>) -> bool {
        let Some(address) = address.filter(|address| !self.is_unlimited(*address)) else { return true };
        let limit: Limit = self.runtime_settings().limit(class);
        let subject = Subject::Network(network_of(address));
        limit.per_second == 0 || self.buckets().take(class, subject, limit, self.now()).admitted
    }

    async fn take(&self, class: Class, subject: Subject) -> Option<Verdict> {
        let limit: Limit = self.runtime_settings().limit(class);
        if limit.per_second == 0 {
            return None;
        }
        let buckets = self.buckets();
        let Some(redis) = &self.settings().redis else {
            return Some(buckets.take(class, subject, limit, self.now()));
        };
        if let Some(refused) = buckets.refuses(class, subject, limit, self.now()) {
            return Some(refused);
        }
        let rate = Rate { interval: limit.interval(), burst: limit.burst };
        Some(match redis.take(&class.bucket(subject), rate).await {
            Ok(counted) => buckets.follow(class, subject, limit, (counted.admitted, counted.full_after), self.now()),
            Err(_) => buckets.take(class, subject, limit, self.now()),
        })
    }

    /// Tells the other nodes of sessions that the database knows to be ended.
    pub(super) fn tell_sessions(&self, ended: &[(SessionId, Timestamp)]) {
        if let Some(redis) = self.settings().redis.as_ref().filter(|_| !ended.is_empty()) {
            Revocations::publish(redis, &Ended::Sessions(ended.to_vec()));
        }
    }

    /// Tells the other nodes of an API key that the database knows to be revoked.
    pub(super) fn tell_key(&self, id: &str) {
        if let Some(redis) = &self.settings().redis {
            Revocations::publish(redis, &Ended::Key(id.to_owned()));
        }
    }

    /// Tells the other nodes of a guess that this one has counted. Sealed, since it names people.
    pub(super) fn tell_guess(&self, target: Target, right: bool) {
        let Some(redis) = &self.settings().redis else { return };
        let text = serde_json::to_vec(&Guess { node: self.node(), target, right }).ok();
        // Without random bytes nothing can be sealed; the other nodes count what they see.
        if let Some(sealed) = text.and_then(|text| self.vault().seal(GUESS, &text).ok()) {
            Guesses::publish(redis, sealed);
        }
    }

    fn heard_guess(&self, sealed: &[u8]) {
        let opened = self.vault().open_sealed(GUESS, sealed);
        let Some(guess) = opened.and_then(|text| serde_json::from_slice::<Guess>(&text).ok()) else { return };
        if guess.node == self.node() {
            return;
        }
        let now = self.now();
        let count = |guard: &Guard<Email>, email: &str| {
            if let Ok(email) = Email::parse(email) {
                guard.heard(&email, guess.right, now);
            }
        };
        match &guess.target {
            Target::Password(email) => count(self.guard(), email),
            Target::Code(email) => count(self.code_guard(), email),
            Target::Factor(user) => self.factor_guard().heard(&AccountId(*user), guess.right, now),
            Target::Mail(email) => count(self.mail_guard(), email),
            Target::From(network) => {
                if let Some(network) = parse_network(network) {
                    self.network_guard().failed(&network, now);
                }
            }
        }
    }

    /// Whether no other node has let this signature pass already; one that cannot be asked about has passed nowhere.
    ///
    /// # Errors
    /// [`AuthError::Replayed`].
    pub(super) async fn first_anywhere(&self, signature: u128, whole_seconds: bool) -> Result<(), AuthError> {
        let Some(redis) = &self.settings().redis else { return Ok(()) };
        let keep = Duration::from_micros(LIFETIME.unsigned_abs());
        match redis.claim(&format!("signature:{signature:032x}"), keep).await {
            Ok(Some(since)) if !whole_seconds || since > SAME_SECOND => Err(AuthError::Replayed),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether no other node has let this id token sign anybody in, which it could for `keep` µs more; one that cannot be
    /// asked about has done so nowhere.
    ///
    /// # Errors
    /// [`AuthError::ProviderRefused`].
    pub(super) async fn token_is_first_anywhere(&self, token: u128, keep: i64) -> Result<(), AuthError> {
        let Some(redis) = &self.settings().redis else { return Ok(()) };
        let keep = Duration::from_micros(keep.unsigned_abs());
        match redis.claim(&id_token(token), keep).await {
            Ok(Some(_)) => Err(AuthError::ProviderRefused),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Lets an id token count once more, after a sign-in that failed for another reason.
    pub(super) async fn forget_token_anywhere(&self, token: u128) {
        if let Some(redis) = &self.settings().redis {
            // Without Redis the user gets another token from the provider.
            let _ = redis.release(&id_token(token)).await;
        }
    }

    /// Hears what other nodes have ended and seen, for ever; at once over when there is no Redis.
    pub async fn hear(self) {
        let Some(redis) = self.settings().redis.clone() else { return };
        let mut guesses = Guesses::new(Redis::clone(&redis));
        let seen = async {
            loop {
                self.heard_guess(&guesses.next().await);
            }
        };
        futures_util::future::join(seen, self.hear_what_is_ended(redis)).await;
    }

    async fn hear_what_is_ended(&self, redis: Redis) {
        let mut revocations = Revocations::new(Redis::clone(&redis));
        loop {
            match revocations.next().await {
                Some(ended) => self.heard(ended),
                None => self.look_up_what_was_missed().await,
            }
        }
    }

    fn heard(&self, ended: Ended) {
        match ended {
            Ended::Sessions(sessions) => self.forget_sessions(sessions, self.now()),
            Ended::Key(id) => self.api_keys().ended(self.vault(), [id], self.now()),
        }
    }

    async fn look_up_what_was_missed(&self) {
        match self.tend().await {
            Ok(()) => {}
            // It is asked again in a second anyway.
            Err(AuthError::Overloaded) => {}
            Err(error) => tracing::warn!(%error, "what other nodes ended cannot be looked up for now"),
        }
    }
}
