//! One provider: its settings, its addresses, and how its id tokens are checked.

use super::IdClaims;
use crate::auth::error::AuthError;
use crate::auth::secret::Secret;
use crate::domain::time::{MINUTE, SECOND, Timestamp};
use crate::notify::web;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Keys of a provider are fetched again after this time, µs, and sooner when a token names an unknown one.
const KEYS_AFTER: i64 = 60 * MINUTE;
/// But not more often than this, µs.
const KEYS_AT_MOST: i64 = MINUTE;
/// A provider that could not be asked is left alone for this time, µs: tokens with made-up keys must not make us ask it
/// again and again.
const LEAVE_ALONE: i64 = 10 * SECOND;
/// What signs id tokens; nothing else counts, whatever a token's header claims.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// Why the providers cannot be used.
#[derive(Debug, Error)]
pub enum ProvidersError {
    /// The file cannot be read.
    #[error("the providers in {} cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A provider as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: Option<String>,
    #[serde(default)]
    preset: Option<Preset>,
    issuer: Option<String>,
    client_id: String,
    client_secret: Secret,
    scopes: Option<Vec<String>>,
    authorize_url: Option<String>,
    token_url: Option<String>,
    jwks_url: Option<String>,
    verify_url: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Preset {
    /// LINE Login 2.1: id tokens are checked by its verify endpoint.
    Line,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    provider: Vec<Entry>,
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    /// Its name in our addresses: lower-case letters, digits, dashes.
    pub id: String,
    /// Its name for people.
    pub name: String,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) scopes: Vec<String>,
    issuer: String,
    authorize_url: Option<String>,
    token_url: Option<String>,
    jwks_url: Option<String>,
    verify_url: Option<String>,
    known: Mutex<Option<Arc<Known>>>,
    /// When it could not be asked last, unless it could since.
    failed_at: Mutex<Option<Timestamp>>,
}

/// What was learned from the provider itself.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) authorize_url: String,
    pub(super) token_url: String,
    keys: JwkSet,
    at: Timestamp,
}

/// Reads the providers of a TOML file: tables `[[provider]]`.
///
/// # Errors
/// [`ProvidersError`].
pub fn load(file: &Path) -> Result<Vec<Provider>, ProvidersError> {
    let unreadable = |reason: String| ProvidersError::Unreadable { file: file.to_owned(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    let parsed: File = toml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let mut ids = BTreeSet::new();
    let mut providers = Vec::new();
    for entry in parsed.provider {
        let fit = !entry.id.is_empty()
            && entry.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !fit || !ids.insert(entry.id.clone()) {
            return Err(unreadable(format!("`{}` cannot be an id, or is there twice", entry.id)));
        }
        let id = entry.id.clone();
        let provider = Provider::new(entry).ok_or_else(|| unreadable(format!("provider `{id}` needs an issuer")))?;
        providers.push(provider);
    }
    Ok(providers)
}

/// Whether so much time has not passed yet. What lies ahead was noted before the clock was set back, who knows when.
fn is_within(time: i64, at: Timestamp, now: Timestamp) -> bool {
    (0..time).contains(&(now - at))
}

impl Provider {
    fn new(entry: Entry) -> Option<Provider> {
        let line = matches!(entry.preset, Some(Preset::Line));
        let preset = |given: Option<String>, url: &str| given.or_else(|| line.then(|| url.to_owned()));
        let scopes = if line { vec!["openid", "profile"] } else { vec!["openid", "email", "profile"] };
        Some(Provider {
            name: entry.name.unwrap_or_else(|| entry.id.clone()),
            id: entry.id,
            client_id: entry.client_id,
            client_secret: entry.client_secret,
            scopes: entry.scopes.unwrap_or_else(|| scopes.into_iter().map(str::to_owned).collect()),
            issuer: preset(entry.issuer, "https://access.line.me")?,
            authorize_url: preset(entry.authorize_url, "https://access.line.me/oauth2/v2.1/authorize"),
            token_url: preset(entry.token_url, "https://api.line.me/oauth2/v2.1/token"),
            jwks_url: entry.jwks_url,
            verify_url: preset(entry.verify_url, "https://api.line.me/oauth2/v2.1/verify"),
            known: Mutex::new(None),
            failed_at: Mutex::new(None),
        })
    }

    /// Addresses and keys, asked for when they are not known or too old.
    pub(super) async fn known(&self, now: Timestamp) -> Result<Arc<Known>, AuthError> {
        let known = self.known.lock().clone();
        match known.filter(|known| is_within(KEYS_AFTER, known.at, now)) {
            Some(known) => Ok(known),
            None => self.learn(now).await,
        }
    }

    async fn learn(&self, now: Timestamp) -> Result<Arc<Known>, AuthError> {
        if self.failed_at.lock().is_some_and(|at| is_within(LEAVE_ALONE, at, now)) {
            return Err(AuthError::ProviderUnavailable);
        }
        let asked = self.ask(now).await;
        *self.failed_at.lock() = asked.is_err().then_some(now);
        let known = Arc::new(asked.map_err(|error| {
            tracing::warn!(provider = self.id, %error, "a sign-in provider cannot be used");
            AuthError::ProviderUnavailable
        })?);
        *self.known.lock() = Some(known.clone());
        Ok(known)
    }

    async fn ask(&self, now: Timestamp) -> anyhow::Result<Known> {
        let complete = self.authorize_url.is_some()
            && self.token_url.is_some()
            && (self.jwks_url.is_some() || self.verify_url.is_some());
        let document = if complete {
            Value::Null
        } else {
            let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
            let (status, document) = web::get_json(&url).await?;
            anyhow::ensure!(status == 200, "{url} answered {status}");
            anyhow::ensure!(document["issuer"] == self.issuer.as_str(), "{url} speaks for another issuer");
            document
        };
        let address = |given: &Option<String>, name: &str| -> anyhow::Result<String> {
            let found = given.clone().or_else(|| document[name].as_str().map(str::to_owned));
            found.ok_or_else(|| anyhow::anyhow!("the provider names no {name}"))
        };
        let keys = if self.verify_url.is_some() {
            JwkSet { keys: Vec::new() }
        } else {
            let (status, keys) = web::get_json(&address(&self.jwks_url, "jwks_uri")?).await?;
            anyhow::ensure!(status == 200, "the keys were answered with {status}");
            serde_json::from_value(keys)?
        };
        Ok(Known {
            authorize_url: address(&self.authorize_url, "authorization_endpoint")?,
            token_url: address(&self.token_url, "token_endpoint")?,
            keys,
            at: now,
        })
    }

    /// What an id token says, if it was made by this provider for us and answers our nonce, or has none.
    pub(super) async fn verify(&self, token: &str, nonce: Option<&str>, now: Timestamp) -> Result<IdClaims, AuthError> {
        let claims = match &self.verify_url {
            Some(url) => self.ask_about(url, token).await?,
            None => self.check_signature(token, now).await?,
        };
        claims.check(self, &self.issuer, nonce, now.seconds())?;
        Ok(claims)
    }

    async fn ask_about(&self, url: &str, token: &str) -> Result<IdClaims, AuthError> {
        let answer = web::post_form(url, &[("id_token", token), ("client_id", &self.client_id)]).await;
        let (status, claims) = answer.map_err(|error| {
            tracing::warn!(provider = self.id, %error, "a sign-in provider cannot be reached");
            AuthError::ProviderUnavailable
        })?;
        if status != 200 {
            return Err(AuthError::ProviderRefused);
        }
        serde_json::from_value(claims).map_err(|_| AuthError::ProviderRefused)
    }

    async fn check_signature(&self, token: &str, now: Timestamp) -> Result<IdClaims, AuthError> {
        let refused = |_| AuthError::ProviderRefused;
        let header = jsonwebtoken::decode_header(token).map_err(refused)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(AuthError::ProviderRefused);
        }
        let mut known = self.known(now).await?;
        let find = |known: &Known| match &header.kid {
            Some(kid) => known.keys.find(kid).cloned(),
            None => known.keys.keys.first().cloned(),
        };
        if find(&known).is_none() && now - known.at > KEYS_AT_MOST {
            known = self.learn(now).await?;
        }
        let key = find(&known).ok_or(AuthError::ProviderRefused)?;
        let mut validation = Validation::new(header.alg);
        // Audience, issuer and time are checked by our own lines, with our own clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoding = DecodingKey::from_jwk(&key).map_err(refused)?;
        Ok(jsonwebtoken::decode::<IdClaims>(token, &decoding, &validation).map_err(refused)?.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_provider_that_cannot_be_asked_is_left_alone_for_a_while() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (asked, asks) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // Hangs up on whoever comes.
            listener.incoming().try_for_each(|stream| asked.send(()).map(|()| drop(stream)))
        });
        let text = format!("id = \"local\"\nissuer = \"{issuer}\"\nclient_id = \"x\"\nclient_secret = \"y\"");
        let provider = Provider::new(toml::from_str(&text).unwrap()).unwrap();
        let now = Timestamp(1_800_000_000 * SECOND);
        // At last the clock is set back.
        let tries =
            [(0, 1), (1, 0), (LEAVE_ALONE - 1, 0), (LEAVE_ALONE, 1), (LEAVE_ALONE + 1, 0), (-SECOND, 1), (0, 0)];
        for (after, questions) in tries {
            assert_eq!(provider.known(now + after).await.unwrap_err(), AuthError::ProviderUnavailable);
            assert_eq!(asks.try_iter().count(), questions, "{after}");
        }
    }
}
