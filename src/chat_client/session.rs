//! What proves who the client is, and is renewed before it ends.
//!
//! A refresh token counts once, so a renewal that has begun is always waited for: it goes on by itself when a caller gives
//! up, and the next one finds its outcome. Times are measured here, from the life that a token itself tells, so that it
//! does not matter whether the clocks agree.

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after a renewal that failed, or that was of no use, the next one may begin.
const AGAIN: Duration = Duration::from_secs(5);

/// An access token, and what gets the next one, if there is such a thing.
pub struct Session {
    base: String,
    token: String,
    refresh: Option<String>,
    got_at: Instant,
    /// When the next token is to be asked for; never without a refresh token.
    due_at: Option<Instant>,
    renewal: Option<JoinHandle<anyhow::Result<Outcome>>>,
}

/// What became of a renewal that reached the server.
enum Outcome {
    Renewed(Value),
    /// The session has ended.
    Refused(String),
}

impl Session {
    /// A token that nothing renews.
    pub fn of_token(base: &str, token: &str) -> Session {
        let base = base.trim_end_matches('/').to_owned();
        Session { base, token: token.to_owned(), refresh: None, got_at: Instant::now(), due_at: None, renewal: None }
    }

    /// Signs in.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn sign_in(base: &str, email: &str, password: &str) -> anyhow::Result<Session> {
        let mut session = Session::of_token(base, "");
        let credentials = json!({"email": email, "password": password});
        let (_, answer) = post(&session.base, "sign-in", &credentials).await?;
        session.take(&answer)?;
        Ok(session)
    }

    /// The present access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The server of this session.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn take(&mut self, answer: &Value) -> anyhow::Result<()> {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let refused = || anyhow!("{}", answer["message"].as_str().unwrap_or("the server refuses"));
        self.token = text("access_token").ok_or_else(refused)?;
        self.refresh = text("refresh_token");
        self.got_at = Instant::now();
        let lifetime = lifetime(&self.token).filter(|_| self.refresh.is_some());
        // Early enough for a few tries.
        self.due_at = lifetime.map(|lifetime| self.got_at + lifetime * 2 / 3);
        Ok(())
    }

    /// The server does not take the token any more, though it should: a computer that slept does not know how long. False
    /// when another one would not help.
    pub fn doubt(&mut self) -> bool {
        let renewable = self.refresh.is_some() && self.got_at.elapsed() > AGAIN;
        if renewable {
            self.due_at = Some(Instant::now());
        }
        renewable
    }

    /// Gets the next token when it is time; whether there is another one now. Giving up in between loses nothing.
    ///
    /// # Errors
    /// `signed_out` with the server's words when the session has ended. A server that cannot be reached is tried again
    /// later.
    pub async fn renew(&mut self) -> anyhow::Result<bool> {
        if self.renewal.is_none() {
            let due = self.due_at.is_some_and(|at| at <= Instant::now());
            let Some(refresh) = self.refresh.clone().filter(|_| due) else { return Ok(false) };
            self.renewal = Some(actix_web::rt::spawn(renewed(self.base.clone(), refresh)));
        }
        let Some(renewal) = &mut self.renewal else { return Ok(false) };
        let outcome = renewal.await;
        self.renewal = None;
        match outcome.context("the renewal of the session broke off").flatten() {
            Ok(Outcome::Renewed(answer)) => self.take(&answer).map(|()| true),
            Ok(Outcome::Refused(words)) => {
                (self.refresh, self.due_at) = (None, None);
                Err(anyhow!("signed_out: {words}"))
            }
            Err(error) => {
                tracing::debug!(%error, "the session is not renewed yet");
                self.due_at = Some(Instant::now() + AGAIN);
                Ok(false)
            }
        }
    }
}

async fn renewed(base: String, refresh: String) -> anyhow::Result<Outcome> {
    let (status, answer) = post(&base, "refresh", &json!({"refresh_token": refresh})).await?;
    let words = answer["message"].as_str().unwrap_or_default().to_owned();
    match status {
        200 => Ok(Outcome::Renewed(answer)),
        401 => Ok(Outcome::Refused(words)),
        _ => Err(anyhow!("{status} {words}")),
    }
}

async fn post(base: &str, what: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    let sent = client.post(format!("{base}/v1/auth/{what}")).send_json(body).await;
    let mut answer = sent.map_err(|error| anyhow!("{base} cannot be reached: {error}"))?;
    let body: Value = answer.json().await?;
    Ok((answer.status().as_u16(), body))
}

/// How long a token counts by what it says, from when it was issued; `None` for what is no JWT.
fn lifetime(token: &str) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["exp"].as_u64()?.checked_sub(claims["iat"].as_u64()?).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &Value) -> String {
        format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_token_tells_how_long_it_counts() {
        assert_eq!(lifetime(&token(&json!({"iat": 100, "exp": 1_000}))), Some(Duration::from_secs(900)));
        for other in ["", "a.b.c", &token(&json!({"exp": 5})), &token(&json!({"iat": 9, "exp": 5}))] {
            assert_eq!(lifetime(other), None, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_can_be_renewed_is_doubted_and_not_at_once() {
        let mut session = Session::of_token("http://127.0.0.1:1/", "token");
        tokio::time::advance(2 * AGAIN).await;
        assert!(!session.doubt());
        assert!(matches!(session.renew().await, Ok(false)));

        let access = token(&json!({"iat": 0, "exp": 900}));
        let answer = json!({"access_token": access, "refresh_token": "next"});
        session.take(&answer).unwrap();
        assert_eq!((session.token(), session.base()), (access.as_str(), "http://127.0.0.1:1"));
        assert_eq!(session.due_at, Some(Instant::now() + Duration::from_secs(600)));
        assert!(!session.doubt(), "it is fresh");
        tokio::time::advance(2 * AGAIN).await;
        assert!(session.doubt());
        assert_eq!(session.due_at, Some(Instant::now()));
        assert!(session.take(&json!({"message": "no"})).is_err());
    }
}
