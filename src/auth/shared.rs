//! What nodes share about people through Redis, when there is one: rate limits and what was ended.
//!
//! Without it, and while it is away, each node counts by itself and finds what was ended in the database.

use super::error::AuthError;
use super::limits::{Class, Limit, Subject, Verdict, network_of};
use super::service::Accounts;
use super::tokens::{Caller, Credential};
use crate::domain::time::Timestamp;
use crate::persistence::redis::{Ended, Rate, Redis, Revocations};
use crate::persistence::sessions::SessionId;
use std::net::IpAddr;

impl Accounts {
    /// Counts a request against the limit of its class: by user and key when there is a caller, else by
    /// address. `None` when nothing limits it.
    pub async fn count(&self, class: Class, caller: Option<&Caller>, address: Option<IpAddr>) -> Option<Verdict> {
        let address = address?;
        if self.settings().limits_exempt.iter().any(|network| network.contains(&address)) {
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

    /// Hears what other nodes have ended, for ever; at once over when there is no Redis.
    pub async fn hear(self) {
        let Some(redis) = self.settings().redis.clone() else { return };
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
