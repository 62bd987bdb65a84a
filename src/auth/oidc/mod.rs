//! Sign-in through other providers: OpenID Connect with the authorization code flow and PKCE, LINE
//! among them.
//!
//! What has to be remembered between leaving for a provider and coming back stands in a cookie,
//! encrypted with the venue's key: no table, nothing to clean up, and the flow ends where it began.
//!
//! Invariants: an id token counts only with our client id, its issuer, our nonce and an intact signature
//! by a fixed set of algorithms; one that an app got by itself has no nonce and counts once; an e-mail
//! address that the provider has not verified is not taken over, and one that has an account is never
//! linked by itself, since that would hand over the account.

mod flow;
mod provider;
mod used;

pub use flow::{Arrival, Departure};
pub use provider::{Provider, ProvidersError, load};
pub(super) use used::UsedTokens;

use super::error::AuthError;
use serde::Deserialize;
use serde_json::Value;

/// What an id token says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct IdClaims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    email: Option<String>,
    /// A truth value, which some providers put into text.
    #[serde(default)]
    email_verified: Value,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    picture: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl IdClaims {
    /// The address, if the provider has verified it.
    fn verified_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_verified == true || self.email_verified == "true")
    }

    /// Checks everything but the signature. Without `nonce` the token must have none: one that answers to a browser's
    /// is for that browser alone.
    fn check(&self, provider: &Provider, issuer: &str, nonce: Option<&str>, now_s: i64) -> Result<(), AuthError> {
        let ours = match &self.aud {
            Audience::One(audience) => *audience == provider.client_id,
            Audience::Many(audiences) => audiences.contains(&provider.client_id),
        };
        let answers = self.nonce.as_deref() == nonce;
        if ours && answers && self.iss == issuer && now_s < self.exp && !self.sub.is_empty() {
            Ok(())
        } else {
            Err(AuthError::ProviderRefused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_is_verified_by_a_truth_value_or_its_text_and_nothing_else() {
        let cases = [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!(null), false),
            (json!(1), false),
            (json!("yes"), false),
        ];
        for (flag, verified) in cases {
            let claims =
                json!({"iss": "x", "sub": "y", "aud": "z", "exp": 1, "email": "a@b.c", "email_verified": flag});
            let claims: IdClaims = serde_json::from_value(claims).unwrap();
            assert_eq!(claims.verified_email().is_some(), verified, "{flag}");
        }
    }
}
