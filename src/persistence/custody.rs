//! Withdrawals with all that the ledger does not know of them, and the addresses for deposits.
//!
//! These rows are facts: they are written durably before the ledger hears of a withdrawal. Whether money is held or
//! has left is told by the ledger alone.

use super::db::{Connection, on_either};
use super::schema::{deposit_addresses, withdrawals};
use super::transfers::HistoryPlace;
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
    pub const fn name(self) -> &'static str {
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

    /// Whether nothing more happens to it.
    pub fn is_over(self) -> bool {
        !matches!(self, Stage::Requested | Stage::Held)
    }
}

/// The database's lock of a user's withdrawals; the account number follows.
const LOCK: i64 = 0x7769_7468 << 32;
/// The words of the stages that are not over.
const UNFINISHED: [&str; 2] = [Stage::Requested.name(), Stage::Held.name()];
/// The words of the stages in which no money is or was held.
const NEVER_HELD: [&str; 2] = [Stage::Requested.name(), Stage::Refused.name()];

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

/// Writes a new withdrawal down; a repeat changes nothing, and is told by false.
///
/// # Errors
/// Those of the database.
pub fn insert(connection: &mut Connection, row: &WithdrawalRow) -> QueryResult<bool> {
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
        .map(|added| added > 0))
}

/// What became of a new withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is written down.
    In,
    /// It is a repeat, which changes nothing.
    Known,
    /// Its user has too many already that are not over.
    TooMany,
}

/// Writes a new withdrawal down, if its user has fewer than `most` that are not over. A repeat is one however many.
///
/// # Errors
/// Those of the database.
pub fn insert_within(connection: &mut Connection, row: &WithdrawalRow, most: i64) -> QueryResult<Taken> {
    // One after the other, or several that come together would each see room for itself.
    connection.lock(LOCK | i64::from(row.account.0))?;
    // A repeat that comes at once with its first needs no room: that one may have taken the last.
    let known = withdrawals::table.filter(withdrawals::id.eq(text(row.id))).select(withdrawals::created_at);
    if known.first::<i64>(connection).optional()?.is_some() {
        return Ok(Taken::Known);
    }
    let open: i64 = withdrawals::table
        .filter(withdrawals::account.eq(i64::from(row.account.0)))
        .filter(withdrawals::stage.eq_any(UNFINISHED))
        .count()
        .get_result(connection)?;
    if open >= most {
        return Ok(Taken::TooMany);
    }
    Ok(if insert(connection, row)? { Taken::In } else { Taken::Known })
}

/// Takes a request back that the ledger never heard of, so that the same one may come again.
///
/// # Errors
/// Those of the database.
pub fn forget(connection: &mut Connection, id: TransferId) -> QueryResult<()> {
    let asked = withdrawals::id.eq(text(id)).and(withdrawals::stage.eq(Stage::Requested.name()));
    diesel::delete(withdrawals::table.filter(asked)).execute(connection).map(drop)
}

/// Notes that a withdrawal's money is held; false when it was not waiting for that any more.
///
/// # Errors
/// Those of the database.
pub fn hold(connection: &mut Connection, id: TransferId) -> QueryResult<bool> {
    let asked = withdrawals::id.eq(text(id)).and(withdrawals::stage.eq(Stage::Requested.name()));
    diesel::update(withdrawals::table.filter(asked))
        .set(withdrawals::stage.eq(Stage::Held.name()))
        .execute(connection)
        .map(|held| held > 0)
}

/// Notes the transaction of a withdrawal that is not over. From then on it can only be done.
///
/// # Errors
/// Those of the database.
pub fn note_transaction(connection: &mut Connection, id: TransferId, hash: String) -> QueryResult<()> {
    let unfinished = withdrawals::id.eq(text(id)).and(withdrawals::stage.eq_any(UNFINISHED));
    diesel::update(withdrawals::table.filter(unfinished)).set(withdrawals::hash.eq(hash)).execute(connection).map(drop)
}

/// Ends a withdrawal; false when that cannot be its end. What is over stays as it is, money that was held was not
/// refused, and what has a transaction was not given back: whoever says so has looked at an older row.
///
/// # Errors
/// Those of the database.
pub fn finish(connection: &mut Connection, id: TransferId, stage: Stage, at: Timestamp) -> QueryResult<bool> {
    let before = if stage == Stage::Refused { vec![Stage::Requested.name()] } else { UNFINISHED.to_vec() };
    let unfinished = withdrawals::id.eq(text(id)).and(withdrawals::stage.eq_any(before));
    let end = (withdrawals::stage.eq(stage.name()), withdrawals::ended_at.eq(at.0));
    let ended = if stage == Stage::Done {
        diesel::update(withdrawals::table.filter(unfinished)).set(end).execute(connection)?
    } else {
        let unpaid = unfinished.and(withdrawals::hash.is_null());
        diesel::update(withdrawals::table.filter(unpaid)).set(end).execute(connection)?
    };
    Ok(ended > 0)
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

/// When these withdrawals were asked for; those that have no row are left out.
///
/// # Errors
/// Those of the database.
pub fn asked_at(connection: &mut Connection, ids: &[TransferId]) -> QueryResult<Vec<(TransferId, Timestamp)>> {
    let texts: Vec<String> = ids.iter().map(|id| text(*id)).collect();
    let columns = (withdrawals::id, withdrawals::created_at);
    let rows: Vec<(String, i64)> =
        withdrawals::table.filter(withdrawals::id.eq_any(texts)).select(columns).load(connection)?;
    let place = |(id, at): (String, i64)| Some((Uuid::try_parse(&id).ok()?.as_u128(), Timestamp(at)));
    Ok(rows.into_iter().filter_map(place).collect())
}

/// A place in the list of withdrawals that are not over, which are in the order of time and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    at: i64,
    id: String,
}

impl Place {
    /// In front of all.
    pub const START: Place = Place { at: i64::MIN, id: String::new() };

    /// Behind the withdrawal that is there.
    pub fn behind((at, id): HistoryPlace) -> Place {
        Place { at: at.0, id: text(id) }
    }
}

/// A page of the withdrawals that are not over: those behind a place, oldest first, at most `limit`; and the place
/// behind which there may be more.
///
/// # Errors
/// Those of the database.
pub fn unfinished(
    connection: &mut Connection,
    behind: &Place,
    limit: i64,
) -> QueryResult<(Vec<WithdrawalRow>, Option<Place>)> {
    let rows: Vec<Stored> = withdrawals::table
        .filter(withdrawals::stage.eq_any(UNFINISHED))
        .filter(withdrawals::created_at.ge(behind.at))
        .filter(withdrawals::created_at.gt(behind.at).or(withdrawals::id.gt(behind.id.clone())))
        .order((withdrawals::created_at.asc(), withdrawals::id.asc()))
        .limit(limit)
        .select(columns!())
        .load(connection)?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|found| found >= limit);
    let next = rows.last().filter(|_| is_full).map(|((id, ..), (_, at, ..))| Place { at: *at, id: id.clone() });
    Ok((rows.into_iter().filter_map(parsed).collect(), next))
}

/// The withdrawals for which a user's money was held, of one currency or all, strictly between two places in the history,
/// an older and a newer one, newest first, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    connection: &mut Connection,
    account: AccountId,
    currency: Option<CurrencyId>,
    (newer_than, older_than): (Option<HistoryPlace>, Option<HistoryPlace>),
    limit: i64,
) -> QueryResult<Vec<WithdrawalRow>> {
    let mut wanted = withdrawals::table
        .filter(withdrawals::account.eq(i64::from(account.0)))
        .filter(withdrawals::stage.ne_all(NEVER_HELD))
        .into_boxed();
    if let Some((at, id)) = newer_than {
        let is_newer = withdrawals::created_at.gt(at.0).or(withdrawals::id.gt(text(id)));
        wanted = wanted.filter(withdrawals::created_at.ge(at.0)).filter(is_newer);
    }
    if let Some((at, id)) = older_than {
        let is_older = withdrawals::created_at.lt(at.0).or(withdrawals::id.lt(text(id)));
        wanted = wanted.filter(withdrawals::created_at.le(at.0)).filter(is_older);
    }
    if let Some(currency) = currency {
        wanted = wanted.filter(withdrawals::currency.eq(i32::from(currency.0)));
    }
    let rows: Vec<Stored> = wanted
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

#[cfg(test)]
mod tests;
