//! Movements of a user's money: from the ledger's history, and what is known of withdrawals beyond it.

use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::custody::{self, WithdrawalRow};
use crate::persistence::db::Connection;
use crate::persistence::transfers::{self, TransferFilter, TransferKind, TransferRow};
use std::collections::BTreeMap;

/// A movement's place in the history: its time, and its id as a tie-break.
pub type Cursor = (Timestamp, u128);

/// A movement as its user sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When; for a withdrawal, when it was asked for.
    pub at: Timestamp,
    /// Its id.
    pub id: u128,
    /// In which currency.
    pub currency: CurrencyId,
    /// Which way.
    pub kind: TransferKind,
    /// How much; positive.
    pub amount: Amount,
    /// The other user of an internal one.
    pub counterpart: Option<AccountId>,
    /// What is known of a withdrawal beyond the ledger.
    pub withdrawal: Option<WithdrawalRow>,
}

impl From<TransferRow> for Seen {
    fn from(row: TransferRow) -> Seen {
        let TransferRow { at, id, currency, kind, amount, counterpart, .. } = row;
        Seen { at, id, currency, kind, amount, counterpart, withdrawal: None }
    }
}

impl From<WithdrawalRow> for Seen {
    fn from(row: WithdrawalRow) -> Seen {
        let kind = TransferKind::Withdraw;
        let (at, id, currency, amount) = (row.created_at, row.id, row.currency, row.amount);
        Seen { at, id, currency, kind, amount, counterpart: None, withdrawal: Some(row) }
    }
}

impl Seen {
    /// Its place in the history.
    pub fn cursor(&self) -> Cursor {
        (self.at, self.id)
    }
}

/// Which movements of a user are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query {
    /// Only this currency.
    pub currency: Option<CurrencyId>,
    /// Only this way.
    pub kind: Option<TransferKind>,
    /// Strictly older than this.
    pub after: Option<Cursor>,
    /// Strictly newer than this.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

/// The movements of a user, newest first.
///
/// # Errors
/// 503 when it cannot be told now.
pub async fn list(state: &AppState, account: AccountId, query: Query) -> Result<Vec<Seen>, ApiError> {
    let Query { currency: only, kind, after, before, limit: most } = query;
    state.history_catches_up().await?;
    // Times are not unique, so a few more than a page are read.
    let limit = most as i64 + 100;
    let (from, to) = (before.map(|(at, _)| at), after.map(|(at, _)| at));
    // A withdrawal through the custodian is shown by its own row, at the time when it was asked for.
    let filter = TransferFilter {
        currency: only,
        kinds: kind.into_iter().collect(),
        beyond_custody: true,
        from,
        to,
        ..TransferFilter::default()
    };
    let span = (from.unwrap_or(Timestamp(i64::MIN)), to.unwrap_or(Timestamp(i64::MAX)));
    let with_withdrawals = kind.is_none_or(|kind| kind == TransferKind::Withdraw);
    let read = move |c: &mut Connection| {
        let done = transfers::of_account(c, account, &filter, limit)?;
        let withdrawals =
            if with_withdrawals { custody::of_account(c, account, only, span, limit)? } else { Vec::new() };
        Ok((done, withdrawals))
    };
    let (done, withdrawals) = state.query(read).await?;
    let done = done.into_iter().map(Seen::from).chain(withdrawals.into_iter().map(Seen::from));
    let found: BTreeMap<Cursor, Seen> = done.map(|seen| (seen.cursor(), seen)).collect();
    let inside = |key: &Cursor| after.is_none_or(|after| *key < after) && before.is_none_or(|before| *key > before);
    Ok(found.into_iter().rev().filter(|(key, _)| inside(key)).take(most).map(|(_, seen)| seen).collect())
}
