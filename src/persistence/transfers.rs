//! Deposits, withdrawals and transfers between users: one row for each user concerned.

use super::db::{Connection, bulk_insert};
use super::numbers::{amount, loaded, stored, unreadable};
use super::schema::transfers;
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId, Sequence};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

/// Which way money moved, seen from the row's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// In from outside.
    Deposit,
    /// Out.
    Withdraw,
    /// From another user.
    InternalDeposit,
    /// To another user.
    InternalWithdraw,
}

impl TransferKind {
    /// Every kind.
    pub const ALL: [TransferKind; 4] =
        [TransferKind::Deposit, TransferKind::Withdraw, TransferKind::InternalDeposit, TransferKind::InternalWithdraw];

    /// The kind's name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            TransferKind::Deposit => "deposit",
            TransferKind::Withdraw => "withdraw",
            TransferKind::InternalDeposit => "internal_deposit",
            TransferKind::InternalWithdraw => "internal_withdraw",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<TransferKind> {
        TransferKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One user's view of a movement of money that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// Whose.
    pub account: AccountId,
    /// The place of its entry in the ledger's stream.
    pub sequence: Sequence,
    /// The transfer's id, the same for both users of an internal one.
    pub id: TransferId,
    /// Which way.
    pub kind: TransferKind,
    /// In which currency.
    pub currency: CurrencyId,
    /// How much; positive.
    pub amount: Amount,
    /// The other user of an internal transfer.
    pub counterpart: Option<AccountId>,
    /// When.
    pub at: Timestamp,
}

/// A movement's place in its user's history: its time, and its id as a tie-break.
pub type HistoryPlace = (Timestamp, TransferId);

/// Which transfers of a user are wanted.
#[derive(Clone, Debug, Default)]
pub struct TransferFilter {
    /// Only this currency.
    pub currency: Option<CurrencyId>,
    /// Only these kinds; all when empty.
    pub kinds: Vec<TransferKind>,
    /// No withdrawals through the custodian of which more is known (see [`super::custody`]).
    pub beyond_custody: bool,
    /// Strictly before this place.
    pub older_than: Option<HistoryPlace>,
    /// Strictly after this place.
    pub newer_than: Option<HistoryPlace>,
}

/// A row, in the order of the table's columns.
#[derive(Queryable)]
struct Stored {
    account: i64,
    sequence: i64,
    id: String,
    kind: String,
    currency: i32,
    amount: String,
    counterpart: Option<i64>,
    at: i64,
}

impl Stored {
    fn row(&self) -> QueryResult<TransferRow> {
        Ok(TransferRow {
            account: AccountId(loaded(self.account)?),
            sequence: Sequence(loaded(self.sequence)?),
            id: parse_id(&self.id)?,
            kind: TransferKind::from_name(&self.kind).ok_or_else(|| unreadable(&self.kind))?,
            currency: CurrencyId(loaded(self.currency.into())?),
            amount: amount(&self.amount)?,
            counterpart: self.counterpart.map(loaded).transpose()?.map(AccountId),
            at: Timestamp(self.at),
        })
    }
}

/// The text form of an id, a UUID.
pub(super) fn id_text(id: TransferId) -> String {
    uuid::Uuid::from_u128(id).to_string()
}

/// The id behind its text form.
pub(super) fn parse_id(text: &str) -> QueryResult<TransferId> {
    uuid::Uuid::parse_str(text).map(|id| id.as_u128()).map_err(|_| unreadable(text))
}

/// Writes transfers; a repeat changes nothing.
///
/// # Errors
/// Those of the database.
pub fn insert(connection: &mut Connection, rows: &[TransferRow]) -> QueryResult<()> {
    bulk_insert!(connection, "transfers", rows, |row| {
        account: BigInt = i64::from(row.account.0),
        sequence: BigInt = stored(row.sequence.0),
        id: Text = id_text(row.id),
        kind: Text = row.kind.name(),
        currency: Integer = i32::from(row.currency.0),
        amount: Text = row.amount.0.to_string(),
        counterpart: Nullable<BigInt> = row.counterpart.map(|account| i64::from(account.0)),
        at: BigInt = row.at.0,
    }, "ON CONFLICT DO NOTHING")
}

/// A user's transfers, newest first, in the order of their places.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    connection: &mut Connection,
    account: AccountId,
    filter: &TransferFilter,
    limit: i64,
) -> QueryResult<Vec<TransferRow>> {
    let mut query = transfers::table.filter(transfers::account.eq(i64::from(account.0))).into_boxed();
    if let Some(currency) = filter.currency {
        query = query.filter(transfers::currency.eq(i32::from(currency.0)));
    }
    if !filter.kinds.is_empty() {
        query = query.filter(transfers::kind.eq_any(filter.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>()));
    }
    if filter.beyond_custody {
        let withdraw = TransferKind::Withdraw.name();
        // A row that has never heard that money was held is shown nowhere: its database is of before that.
        let is_shown = "SELECT 1 FROM withdrawals WHERE withdrawals.id = transfers.id \
                        AND withdrawals.stage NOT IN ('requested', 'refused')";
        let alone = sql::<Bool>(&format!("NOT EXISTS ({is_shown})"));
        query = query.filter(transfers::kind.ne(withdraw).or(alone));
    }
    // The texts of ids are in the order of the ids. The time is compared twice: once for the index.
    if let Some((at, id)) = filter.older_than {
        let is_older = transfers::at.lt(at.0).or(transfers::id.lt(id_text(id)));
        query = query.filter(transfers::at.le(at.0)).filter(is_older);
    }
    if let Some((at, id)) = filter.newer_than {
        let is_newer = transfers::at.gt(at.0).or(transfers::id.gt(id_text(id)));
        query = query.filter(transfers::at.ge(at.0)).filter(is_newer);
    }
    let newest_first = (transfers::at.desc(), transfers::id.desc());
    let rows: Vec<Stored> = query.order(newest_first).limit(limit).load(connection)?;
    rows.iter().map(Stored::row).collect()
}

/// A user's view of the transfer with this id.
///
/// # Errors
/// Those of the database.
pub fn get(connection: &mut Connection, account: AccountId, id: TransferId) -> QueryResult<Option<TransferRow>> {
    let named = transfers::id.eq(id_text(id)).and(transfers::account.eq(i64::from(account.0)));
    let row: Option<Stored> = transfers::table.filter(named).first(connection).optional()?;
    row.map(|row| row.row()).transpose()
}

/// Those of these transfers that a user's history has.
///
/// # Errors
/// Those of the database.
pub fn known(connection: &mut Connection, account: AccountId, ids: &[TransferId]) -> QueryResult<Vec<TransferId>> {
    let texts: Vec<String> = ids.iter().map(|id| id_text(*id)).collect();
    let named = transfers::id.eq_any(texts).and(transfers::account.eq(i64::from(account.0)));
    let found: Vec<String> = transfers::table.filter(named).select(transfers::id).load(connection)?;
    found.iter().map(|text| parse_id(text)).collect()
}
