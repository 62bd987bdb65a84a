//! What is remembered about security: who did what to whose account, from where.

use super::error::AuthError;
use super::service::Accounts;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::notify::events::EventKind;
use crate::persistence::audit::{self, Entry, Filter, Row};
use crate::persistence::db::Connection;
use crate::persistence::{notifications, users};
use diesel::QueryResult;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Stores an entry, and puts it on its way to its subject where that wants to know. To be part of the transaction that
/// does what is to be remembered: whoever asked may hang up at any moment, and what comes after it is not done then.
pub(super) fn note(conn: &mut Connection, entry: &Entry, now: Timestamp) -> QueryResult<()> {
    audit::record(conn, entry, now)?;
    let Some(subject) = entry.subject else { return Ok(()) };
    let address = entry.address.map(|address| address.to_string()).unwrap_or_default();
    let payload = json!({"action": entry.action, "address": address, "at": now.seconds(), "detail": entry.detail});
    notifications::enqueue(conn, subject, EventKind::Security.name(), &payload.to_string(), now).map(drop)
}

/// What users do to their own accounts.
pub(super) fn by_owner(action: &'static str, user: AccountId, address: Option<IpAddr>, detail: Value) -> Entry {
    Entry { action, actor: Some(user), subject: Some(user), address, detail }
}

impl Accounts {
    /// Remembers something that has happened, and that no transaction of the database has done. It stays so even when
    /// the store fails; then the program's own log has it.
    pub async fn record(&self, entry: Entry) {
        let (now, kept) = (self.now(), entry.clone());
        if let Err(error) = self.write(move |conn| note(conn, &kept, now)).await {
            tracing::error!(%error, ?entry, "an audit entry could not be stored");
        }
    }

    /// What is remembered, newest first, and the addresses of those whom it names, by account number.
    ///
    /// # Errors
    /// A failure.
    pub async fn audit(&self, filter: Filter) -> Result<(Vec<Row>, BTreeMap<i64, String>), AuthError> {
        self.read(move |conn| {
            let rows = audit::list(conn, &filter)?;
            let named: BTreeSet<i64> = rows.iter().flat_map(|row| [row.actor, row.subject]).flatten().collect();
            let emails = users::emails(conn, &named.into_iter().collect::<Vec<_>>())?;
            Ok((rows, emails))
        })
        .await
    }
}
