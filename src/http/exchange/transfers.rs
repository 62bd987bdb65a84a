//! Movements of a user's money: from the ledger's history, and what is known of withdrawals beyond it. And those that
//! their callers name, which happen once.

use crate::actors::trading::ledger::LedgerCommand;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::ledger::{Ignored, LedgerOutcome};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::custody::{self, WithdrawalRow};
use crate::persistence::db::Connection;
use crate::persistence::transfers::{self, HistoryPlace, TransferFilter, TransferKind, TransferRow};
use actix_web::http::StatusCode;
use diesel::QueryResult;
use std::collections::BTreeMap;

/// A movement's place in the history: its time, and its id as a tie-break.
pub type Cursor = HistoryPlace;

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
    state.history_catches_up().await?;
    state.query(move |c| page(c, account, query)).await
}

/// The newest movements that a query wants. Many may be of one moment, so each table is read from the very place on, and
/// as far as all could be its own.
fn page(connection: &mut Connection, account: AccountId, query: Query) -> QueryResult<Vec<Seen>> {
    let Query { currency, kind, after, before, limit } = query;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    // A withdrawal through the custodian is shown by its own row, at the time when it was asked for.
    let filter = TransferFilter {
        currency,
        kinds: kind.into_iter().collect(),
        beyond_custody: true,
        older_than: after,
        newer_than: before,
    };
    let done = transfers::of_account(connection, account, &filter, most)?.into_iter().map(Seen::from);
    let mut found: BTreeMap<Cursor, Seen> = done.map(|seen| (seen.cursor(), seen)).collect();
    if kind.is_none_or(|kind| kind == TransferKind::Withdraw) {
        let withdrawals = custody::of_account(connection, account, currency, (before, after), most)?;
        found.extend(withdrawals.into_iter().map(Seen::from).map(|seen| (seen.cursor(), seen)));
    }
    Ok(found.into_iter().rev().take(limit).map(|(_, seen)| seen).collect())
}

/// A movement that its caller has named, as it is to be in its user's history.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Whose history.
    pub account: AccountId,
    /// Its id in the ledger, which follows from its name.
    pub id: u128,
    /// Which way.
    pub kind: TransferKind,
    /// In which currency.
    pub currency: CurrencyId,
    /// How much.
    pub amount: Amount,
    /// The other user of an internal one; anybody when it is not known who that may be now.
    pub counterpart: Option<AccountId>,
}

/// What became of a named movement.
#[derive(Clone, Debug)]
pub enum Once {
    /// The ledger did this, just now.
    Now(LedgerOutcome),
    /// It was done before, like this.
    Before(TransferRow),
}

impl Named {
    /// Does `command`, which makes this movement, unless it was made before. The ledger remembers the newest movements,
    /// the history all of them: what the history does not have yet, the ledger remembers.
    ///
    /// # Errors
    /// 400 `id_taken` when a movement of this name was made that is another one; 503 when that cannot be told now; and
    /// those of the command.
    pub async fn carry_out(self, state: &AppState, command: LedgerCommand) -> Result<Once, ApiError> {
        if let Some(row) = self.look_up(state).await? {
            return self.compare(row);
        }
        match state.trading.execute(command).await? {
            LedgerOutcome::Ignored(Ignored::Repeat) => {
                state.history_catches_up().await?;
                let behind = || {
                    let message = "history is being written, please retry";
                    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "history_behind", message)
                };
                self.compare(self.look_up(state).await?.ok_or_else(behind)?)
            }
            outcome => Ok(Once::Now(outcome)),
        }
    }

    async fn look_up(self, state: &AppState) -> Result<Option<TransferRow>, ApiError> {
        state.query(move |c| transfers::get(c, self.account, self.id)).await
    }

    fn compare(self, row: TransferRow) -> Result<Once, ApiError> {
        let is_to_the_same = self.counterpart.is_none() || self.counterpart == row.counterpart;
        if (self.kind, self.currency, self.amount) == (row.kind, row.currency, row.amount) && is_to_the_same {
            return Ok(Once::Before(row));
        }
        Err(ApiError::bad_request("id_taken", "another movement of money was made with this id"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use crate::domain::ids::Sequence;
    use crate::persistence::custody::Stage;
    use crate::persistence::db::Database;

    const ADA: AccountId = AccountId::FIRST_USER;

    /// Many payments may be committed together, and have one time.
    #[test]
    fn pages_leave_none_of_one_moment_out() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let at = |id: u128| Timestamp(if (id >> 64).is_multiple_of(10) { 4 } else { 5 });
        // The order of the ids is not that of the entries, and either table has some of everywhere.
        let ids: Vec<u128> = (1..=600).map(|number| (number * 7 % 601) << 64).collect();
        let (paid, withdrawn) = ids.split_at(300);
        let payments: Vec<TransferRow> = (1..)
            .zip(paid)
            .map(|(sequence, id)| TransferRow {
                account: ADA,
                sequence: Sequence(sequence),
                id: *id,
                kind: TransferKind::InternalDeposit,
                currency: CurrencyId(0),
                amount: Amount(1),
                counterpart: Some(AccountId(9)),
                at: at(*id),
            })
            .collect();
        database.write(|c| transfers::insert(c, &payments)).unwrap();
        for id in withdrawn {
            let row = WithdrawalRow {
                id: *id,
                account: ADA,
                currency: CurrencyId(0),
                amount: Amount(2),
                fee: Amount(1),
                network: "bitcoin".into(),
                address: "somewhere".into(),
                tag: None,
                created_at: at(*id),
                stage: Stage::Held,
                approved_at: None,
                hash: None,
                ended_at: None,
            };
            assert!(database.write(|c| custody::insert(c, &row)).unwrap());
        }
        let mut expected: Vec<Cursor> = ids.iter().map(|id| (at(*id), *id)).collect();
        expected.sort_unstable_by(|one, other| other.cmp(one));
        let read = |query: Query| -> Vec<Cursor> {
            let shown = database.read(|c| page(c, ADA, query)).unwrap();
            shown.iter().map(Seen::cursor).collect()
        };
        for limit in [7, 100, 1_000] {
            let (mut found, mut after): (Vec<Cursor>, _) = (Vec::new(), None);
            loop {
                let shown = read(Query { after, limit, ..Query::default() });
                let Some(last) = shown.last() else { break };
                after = Some(*last);
                found.extend(shown);
            }
            assert_eq!(found, expected, "pages of {limit}");
        }
        // What is newer than a place, and what is between two.
        let (newer, older) = (expected[20], expected[30]);
        assert_eq!(read(Query { before: Some(older), limit: 100, ..Query::default() }), expected[..30]);
        let between = Query { after: Some(newer), before: Some(older), limit: 100, ..Query::default() };
        assert_eq!(read(between), expected[21..30]);
        let kind = Some(TransferKind::InternalDeposit);
        assert_eq!(read(Query { kind, limit: 1_000, ..Query::default() }).len(), paid.len());
    }
}
