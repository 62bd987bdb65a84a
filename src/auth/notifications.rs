//! What users want to be told, and how.

use super::audit::note;
use super::error::AuthError;
use super::secret::Secret;
use super::service::Accounts;
use super::vault::random;
use crate::domain::ids::{AccountId, MarketId};
use crate::notify::events::EventKind;
use crate::notify::mail::Mailer;
use crate::notify::outlets::{Line, is_webhook_url};
use crate::persistence::audit::Entry;
use crate::persistence::db::Connection;
use crate::persistence::notifications::{self as store, AlertRow, Delivery, OutletRow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::QueryResult;

/// Price alerts that a user may have at a time.
const MOST_ALERTS: i64 = 100;
/// The kinds of outlets.
const KINDS: [&str; 3] = ["email", "line", "webhook"];

/// A user's webhook.
#[derive(Debug)]
pub struct Webhook {
    /// Where it goes.
    pub url: String,
    /// What signs it.
    pub secret: Secret,
}

fn seal_name(user: AccountId) -> String {
    format!("webhook secret {}", user.0)
}

fn outlet_of(conn: &mut Connection, user: AccountId, kind: &str) -> QueryResult<Option<OutletRow>> {
    Ok(store::outlets_of(conn, user)?.into_iter().find(|row| row.kind == kind))
}

impl Accounts {
    /// What sends mail.
    pub fn mailer(&self) -> &Mailer {
        &self.settings().mailer
    }

    /// The Messaging API of LINE, when it is configured.
    pub fn line(&self) -> Option<&Line> {
        self.settings().line.as_ref()
    }

    /// Whether webhooks may go to addresses of our own network.
    pub fn private_webhooks(&self) -> bool {
        self.settings().private_webhooks
    }

    /// Chooses which events go to an outlet, and for a webhook also where. Of what waits for the outlet only what is still
    /// wanted stays. A webhook gets a secret when it is new or goes elsewhere, or when asked for with `renew`; it is shown
    /// this once. What is to be remembered of it is stored together with it; `noted` is told what there was before.
    ///
    /// # Errors
    /// [`AuthError::BadOutlet`], or a failure.
    pub async fn put_outlet(
        &self,
        user: AccountId,
        kind: &str,
        target: &str,
        events: &[EventKind],
        renew: bool,
        noted: impl FnOnce(Option<&OutletRow>) -> Entry + Send + 'static,
    ) -> Result<Option<Secret>, AuthError> {
        let hook = kind == "webhook";
        if !KINDS.contains(&kind) || (hook && !is_webhook_url(target)) || (!hook && !target.is_empty()) {
            return Err(AuthError::BadOutlet);
        }
        // Whether it is needed turns out where nobody else changes the outlet meanwhile.
        let secret = if hook {
            let bytes = random::<32>().ok_or(AuthError::Interrupted)?;
            Some(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
        } else {
            None
        };
        let sealed = secret.as_ref().map(|secret| self.vault().seal(&seal_name(user), secret.expose().as_bytes()));
        let names: Vec<&str> = events.iter().map(|kind| kind.name()).collect();
        let row = OutletRow {
            user_id: i64::from(user.0),
            kind: kind.to_owned(),
            target: target.to_owned(),
            secret: sealed.transpose()?.unwrap_or_default(),
            events: names.join(","),
        };
        let now = self.now();
        let is_new = self.write(move |conn| {
            let before = outlet_of(conn, user, &row.kind)?;
            let is_new = store::put_outlet(conn, &row, renew)?;
            // Afterwards, so that the outlet hears of it as it is now.
            note(conn, &noted(before.as_ref()), now)?;
            Ok(is_new)
        });
        let is_new = is_new.await?;
        Ok(secret.filter(|_| is_new))
    }

    /// The outlets of a user.
    ///
    /// # Errors
    /// A failure.
    pub async fn outlets(&self, user: AccountId) -> Result<Vec<OutletRow>, AuthError> {
        self.read(move |conn| store::outlets_of(conn, user)).await
    }

    /// Removes an outlet with what waits for it. What is to be remembered of it is stored together with that; `noted`
    /// is told what there was.
    ///
    /// # Errors
    /// [`AuthError::NoSuchOutlet`], or a failure.
    pub async fn remove_outlet(
        &self,
        user: AccountId,
        kind: &str,
        noted: impl FnOnce(Option<&OutletRow>) -> Entry + Send + 'static,
    ) -> Result<(), AuthError> {
        let (now, kind) = (self.now(), kind.to_owned());
        let gone = self.write(move |conn| {
            let before = outlet_of(conn, user, &kind)?;
            let gone = store::remove_outlet(conn, user, &kind)?;
            if gone {
                note(conn, &noted(before.as_ref()), now)?;
            }
            Ok(gone)
        });
        if gone.await? { Ok(()) } else { Err(AuthError::NoSuchOutlet) }
    }

    /// The webhook of a user.
    ///
    /// # Errors
    /// A failure.
    pub async fn webhook(&self, user: AccountId) -> Result<Option<Webhook>, AuthError> {
        let row = self.outlets(user).await?.into_iter().find(|row| row.kind == "webhook");
        Ok(row.and_then(|row| {
            let secret = self.vault().open_sealed(&seal_name(user), &row.secret)?;
            Some(Webhook { url: row.target, secret: Secret::new(String::from_utf8(secret).ok()?) })
        }))
    }

    /// Waits for a price: at or above, or at or below.
    ///
    /// # Errors
    /// [`AuthError::TooManyAlerts`], or a failure.
    pub async fn add_alert(
        &self,
        user: AccountId,
        market: MarketId,
        above: bool,
        price_ticks: i64,
    ) -> Result<(), AuthError> {
        let now = self.now();
        let add = move |conn: &mut _| store::add_alert(conn, user, market, (above, price_ticks), MOST_ALERTS, now);
        if self.write(add).await? { Ok(()) } else { Err(AuthError::TooManyAlerts) }
    }

    /// The prices that a user waits for, newest first.
    ///
    /// # Errors
    /// A failure.
    pub async fn alerts(&self, user: AccountId) -> Result<Vec<AlertRow>, AuthError> {
        self.read(move |conn| store::alerts_of(conn, user)).await
    }

    /// Waits for a price no more.
    ///
    /// # Errors
    /// [`AuthError::NoSuchOutlet`], or a failure.
    pub async fn remove_alert(&self, user: AccountId, id: i64) -> Result<(), AuthError> {
        let gone = self.write(move |conn| store::remove_alert(conn, user, id)).await?;
        if gone { Ok(()) } else { Err(AuthError::NoSuchOutlet) }
    }

    /// Messages to a user that nobody took, newest first.
    ///
    /// # Errors
    /// A failure.
    pub async fn given_up(&self, user: AccountId) -> Result<Vec<Delivery>, AuthError> {
        self.read(move |conn| store::given_up(conn, user)).await
    }

    /// Tries a message that nobody took once more.
    ///
    /// # Errors
    /// [`AuthError::NoSuchOutlet`], or a failure.
    pub async fn retry_delivery(&self, user: AccountId, id: i64) -> Result<(), AuthError> {
        let now = self.now();
        let found = self.write(move |conn| store::retry(conn, user, id, now)).await?;
        if found { Ok(()) } else { Err(AuthError::NoSuchOutlet) }
    }
}
