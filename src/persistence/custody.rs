//! Withdrawals with all that the ledger does not know of them, and the addresses for deposits.
//!
//! These rows are facts: they are written durably before the ledger hears of a withdrawal. Whether money is held or
//! has left is told by the ledger alone.

use super::db::{Connection, on_either};
use super::schema::{deposit_addresses, withdrawals};
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

/// Where a withdrawal is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Written down; the ledger has not answered yet.
    Requested,
    /// Its money is held.
    Held,
    /// Its money has left.
    Done,
    /// Its money was given back.
    Canceled,
    /// Its money was never held.
    Refused,
}

impl Stage {
    /// The word in the database and for administrators.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Requested => "requested",
            Stage::Held => "pending",
            Stage::Done => "done",
            Stage::Canceled => "canceled",
            Stage::Refused => "refused",
        }
    }

    fn from_name(name: &str) -> Stage {
        match name {
            "requested" => Stage::Requested,
            "pending" => Stage::Held,
            "done" => Stage::Done,
            "canceled" => Stage::Canceled,
            _ => Stage::Refused,
        }
    }
}

/// A withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalRow {
    /// Its id in the ledger.
    pub id: TransferId,
    /// Whose.
    pub account: AccountId,
    /// In which currency.
    pub currency: CurrencyId,
    /// What leaves the account, fee included.
    pub amount: Amount,
    /// What the network takes of it.
    pub fee: Amount,
    /// On which network.
    pub network: String,
    /// Where to.
    pub address: String,
    /// What the receiver needs beside the address.
    pub tag: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub stage: Stage,
    /// When an administrator approved it.
    pub approved_at: Option<Timestamp>,
    /// The transaction.
    pub hash: Option<String>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

type Stored = (
    (String, i64, i32, String, String, String, String),
    (Option<String>, i64, String, Option<i64>, Option<String>, Option<i64>),
);

fn text(id: TransferId) -> String {
    Uuid::from_u128(id).to_string()
}

fn parsed(((id, account, currency, amount, fee, network, address), rest): Stored) -> Option<WithdrawalRow> {
    let (tag, created_at, stage, approved_at, hash, ended_at) = rest;
    Some(WithdrawalRow {
        id: Uuid::try_parse(&id).ok()?.as_u128(),
        account: AccountId(u32::try_from(account).ok()?),
        currency: CurrencyId(u16::try_from(currency).ok()?),
        amount: Amount(amount.parse().ok()?),
        fee: Amount(fee.parse().ok()?),
        network,
        address,
        tag,
        created_at: Timestamp(created_at),
        stage: Stage::from_name(&stage),
        approved_at: approved_at.map(Timestamp),
        hash,
        ended_at: ended_at.map(Timestamp),
    })
}

macro_rules! columns {
    () => {
        (
            (
                withdrawals::id,
                withdrawals::account,
                withdrawals::currency,
                withdrawals::amount,
                withdrawals::fee,
                withdrawals::network,
                withdrawals::address,
            ),
            (
                withdrawals::tag,
                withdrawals::created_at,
                withdrawals::stage,
                withdrawals::approved_at,
                withdrawals::hash,
                withdrawals::ended_at,
            ),
        )
    };
}

/// Writes a new withdrawal down; a repeat changes nothing.
///
/// # Errors
/// Those of the database.
pub fn insert(connection: &mut Connection, row: &WithdrawalRow) -> QueryResult<()> {
    let values = (
        withdrawals::id.eq(text(row.id)),
        withdrawals::account.eq(i64::from(row.account.0)),
        withdrawals::currency.eq(i32::from(row.currency.0)),
        withdrawals::amount.eq(row.amount.0.to_string()),
        withdrawals::fee.eq(row.fee.0.to_string()),
        withdrawals::network.eq(row.network.clone()),
        withdrawals::address.eq(row.address.clone()),
        withdrawals::tag.eq(row.tag.clone()),
        withdrawals::created_at.eq(row.created_at.0),
        withdrawals::stage.eq(row.stage.name()),
    );
    on_either!(connection, inner => diesel::insert_into(withdrawals::table)
        .values(values)
        .on_conflict_do_nothing()
        .execute(inner)
        .map(drop))
}

/// Moves a withdrawal on, with its transaction and its end if there are any.
///
/// # Errors
/// Those of the database.
pub fn advance(
    connection: &mut Connection,
    id: TransferId,
    stage: Stage,
    hash: Option<String>,
    ended_at: Option<Timestamp>,
) -> QueryResult<()> {
    diesel::update(withdrawals::table.filter(withdrawals::id.eq(text(id))))
        .set((
            withdrawals::stage.eq(stage.name()),
            withdrawals::hash.eq(hash),
            withdrawals::ended_at.eq(ended_at.map(|at| at.0)),
        ))
        .execute(connection)
        .map(drop)
}

/// Notes that an administrator approved a withdrawal.
///
/// # Errors
/// Those of the database.
pub fn approve(connection: &mut Connection, id: TransferId, by: AccountId, at: Timestamp) -> QueryResult<()> {
    diesel::update(withdrawals::table.filter(withdrawals::id.eq(text(id))))
        .set((withdrawals::approved_at.eq(at.0), withdrawals::approved_by.eq(i64::from(by.0))))
        .execute(connection)
        .map(drop)
}

/// One withdrawal.
///
/// # Errors
/// Those of the database.
pub fn get(connection: &mut Connection, id: TransferId) -> QueryResult<Option<WithdrawalRow>> {
    let row: Option<Stored> =
        withdrawals::table.filter(withdrawals::id.eq(text(id))).select(columns!()).first(connection).optional()?;
    Ok(row.and_then(parsed))
}

/// Withdrawals that are not over, oldest first, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn unfinished(connection: &mut Connection, limit: i64) -> QueryResult<Vec<WithdrawalRow>> {
    let rows: Vec<Stored> = withdrawals::table
        .filter(withdrawals::stage.eq_any([Stage::Requested.name(), Stage::Held.name()]))
        .order(withdrawals::created_at.asc())
        .limit(limit)
        .select(columns!())
        .load(connection)?;
    Ok(rows.into_iter().filter_map(parsed).collect())
}

/// A user's withdrawals between two moments, both included, newest first, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    connection: &mut Connection,
    account: AccountId,
    (from, to): (Timestamp, Timestamp),
    limit: i64,
) -> QueryResult<Vec<WithdrawalRow>> {
    let rows: Vec<Stored> = withdrawals::table
        .filter(withdrawals::account.eq(i64::from(account.0)))
        .filter(withdrawals::created_at.between(from.0, to.0))
        .order((withdrawals::created_at.desc(), withdrawals::id.desc()))
        .limit(limit)
        .select(columns!())
        .load(connection)?;
    Ok(rows.into_iter().filter_map(parsed).collect())
}

/// An address for deposits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRow {
    /// The address.
    pub address: String,
    /// Whose.
    pub account: AccountId,
    /// For which currency.
    pub currency: CurrencyId,
    /// On which network.
    pub network: String,
    /// When it was given out.
    pub created_at: Timestamp,
}

type StoredAddress = (String, i64, i32, String, i64);

fn address((address, account, currency, network, at): StoredAddress) -> Option<AddressRow> {
    let (account, currency) = (AccountId(u32::try_from(account).ok()?), CurrencyId(u16::try_from(currency).ok()?));
    Some(AddressRow { address, account, currency, network, created_at: Timestamp(at) })
}

/// Writes an address down.
///
/// # Errors
/// Those of the database.
pub fn insert_address(connection: &mut Connection, row: &AddressRow) -> QueryResult<()> {
    diesel::insert_into(deposit_addresses::table)
        .values((
            deposit_addresses::address.eq(row.address.clone()),
            deposit_addresses::account.eq(i64::from(row.account.0)),
            deposit_addresses::currency.eq(i32::from(row.currency.0)),
            deposit_addresses::network.eq(row.network.clone()),
            deposit_addresses::created_at.eq(row.created_at.0),
        ))
        .execute(connection)
        .map(drop)
}

/// What is known of an address.
///
/// # Errors
/// Those of the database.
pub fn find_address(connection: &mut Connection, text: &str) -> QueryResult<Option<AddressRow>> {
    let row: Option<StoredAddress> =
        deposit_addresses::table.filter(deposit_addresses::address.eq(text)).first(connection).optional()?;
    Ok(row.and_then(address))
}

/// The newest address of a user for a currency and network.
///
/// # Errors
/// Those of the database.
pub fn address_of(
    connection: &mut Connection,
    account: AccountId,
    currency: CurrencyId,
    network: &str,
) -> QueryResult<Option<AddressRow>> {
    let row: Option<StoredAddress> = deposit_addresses::table
        .filter(deposit_addresses::account.eq(i64::from(account.0)))
        .filter(deposit_addresses::currency.eq(i32::from(currency.0)))
        .filter(deposit_addresses::network.eq(network))
        .order(deposit_addresses::created_at.desc())
        .first(connection)
        .optional()?;
    Ok(row.and_then(address))
}
