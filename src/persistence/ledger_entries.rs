//! Ledger entries: each change of a balance that its owner sees in the account's history.

use super::db::{Connection, bulk_insert};
use super::numbers::{amount, loaded, stored, unreadable};
use super::schema::ledger_entries;
use super::transfers::{TransferKind, id_text, parse_id};
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId, MarketId, OrderId, TradeId};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

/// Where one party of a trade stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradePlace {
    /// The market.
    pub market: MarketId,
    /// The party's order.
    pub order: OrderId,
    /// The trade.
    pub trade: TradeId,
}

/// Why a balance changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One side of a trade.
    Match(TradePlace),
    /// A trading fee.
    Fee(TradePlace),
    /// A movement of money.
    Transfer(TransferKind, TransferId),
}

impl Cause {
    fn word(&self) -> &'static str {
        match self {
            Cause::Match(_) => "match",
            Cause::Fee(_) => "fee",
            Cause::Transfer(kind, _) => kind.name(),
        }
    }

    /// The trade, if it was one.
    pub fn place(&self) -> Option<&TradePlace> {
        match self {
            Cause::Match(place) | Cause::Fee(place) => Some(place),
            Cause::Transfer(..) => None,
        }
    }

    fn transfer(&self) -> Option<String> {
        match self {
            Cause::Match(_) | Cause::Fee(_) => None,
            Cause::Transfer(_, id) => Some(id_text(*id)),
        }
    }
}

/// One change of a balance. Within an account and currency they chain: the balance without the amount
/// is the balance of the entry before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// Whose.
    pub account: AccountId,
    /// In which currency.
    pub currency: CurrencyId,
    /// Signed.
    pub amount: Amount,
    /// Available and hold after it.
    pub balance: Amount,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
}

/// Which entries of a user in a currency are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerFilter {
    /// Strictly before this entry.
    pub older_than: Option<u64>,
    /// Strictly after this entry.
    pub newer_than: Option<u64>,
    /// At this moment or later.
    pub from: Option<Timestamp>,
    /// At this moment or before.
    pub to: Option<Timestamp>,
}

/// A row, in the order of the table's columns.
#[derive(Queryable)]
struct Stored {
    id: i64,
    account: i64,
    currency: i32,
    amount: String,
    balance: String,
    kind: String,
    market: Option<i32>,
    order_number: Option<i64>,
    order_slot: Option<i64>,
    trade: Option<i64>,
    transfer: Option<String>,
    at: i64,
}

impl Stored {
    fn place(&self) -> QueryResult<TradePlace> {
        match (self.market, self.order_number, self.order_slot, self.trade) {
            (Some(market), Some(number), Some(slot), Some(trade)) => Ok(TradePlace {
                market: MarketId(loaded(market.into())?),
                order: OrderId { number: loaded(number)?, slot: loaded(slot)? },
                trade: TradeId(loaded(trade)?),
            }),
            other => Err(unreadable(other)),
        }
    }

    fn row(&self) -> QueryResult<(u64, LedgerRow)> {
        let cause = match (self.kind.as_str(), self.transfer.as_deref()) {
            ("match", _) => Cause::Match(self.place()?),
            ("fee", _) => Cause::Fee(self.place()?),
            (kind, Some(id)) => {
                Cause::Transfer(TransferKind::from_name(kind).ok_or_else(|| unreadable(kind))?, parse_id(id)?)
            }
            other => return Err(unreadable(other)),
        };
        let row = LedgerRow {
            account: AccountId(loaded(self.account)?),
            currency: CurrencyId(loaded(self.currency.into())?),
            amount: amount(&self.amount)?,
            balance: amount(&self.balance)?,
            cause,
            at: Timestamp(self.at),
        };
        Ok((loaded(self.id)?, row))
    }
}

/// Writes entries, in the order of the log; the first gets the id `first`, the others those after it.
///
/// # Errors
/// A unique violation when there are entries with these ids; those of the database.
pub fn insert(connection: &mut Connection, first: i64, rows: &[LedgerRow]) -> QueryResult<()> {
    let numbered: Vec<(i64, &LedgerRow)> = (first..).zip(rows).collect();
    bulk_insert!(connection, "ledger_entries", numbered, |row| {
        id: BigInt = row.0,
        account: BigInt = i64::from(row.1.account.0),
        currency: Integer = i32::from(row.1.currency.0),
        amount: Text = row.1.amount.0.to_string(),
        balance: Text = row.1.balance.0.to_string(),
        kind: Text = row.1.cause.word(),
        market: Nullable<Integer> = row.1.cause.place().map(|place| i32::from(place.market.0)),
        order_number: Nullable<BigInt> = row.1.cause.place().map(|place| stored(place.order.number)),
        order_slot: Nullable<BigInt> = row.1.cause.place().map(|place| i64::from(place.order.slot)),
        trade: Nullable<BigInt> = row.1.cause.place().map(|place| stored(place.trade.0)),
        transfer: Nullable<Text> = row.1.cause.transfer(),
        at: BigInt = row.1.at.0,
    }, "")
}

/// The balance after the newest entry of each account and currency.
///
/// # Errors
/// Those of the database.
pub fn balances(connection: &mut Connection) -> QueryResult<Vec<(AccountId, CurrencyId, Amount)>> {
    let newest: Vec<Option<i64>> = ledger_entries::table
        .group_by((ledger_entries::account, ledger_entries::currency))
        .select(diesel::dsl::max(ledger_entries::id))
        .load(connection)?;
    let newest: Vec<i64> = newest.into_iter().flatten().collect();
    let mut balances = Vec::with_capacity(newest.len());
    for ids in newest.chunks(500) {
        let rows: Vec<(i64, i32, String)> = ledger_entries::table
            .filter(ledger_entries::id.eq_any(ids))
            .select((ledger_entries::account, ledger_entries::currency, ledger_entries::balance))
            .load(connection)?;
        for (account, currency, balance) in rows {
            balances.push((AccountId(loaded(account)?), CurrencyId(loaded(currency.into())?), amount(&balance)?));
        }
    }
    Ok(balances)
}

/// A user's entries in a currency with their ids, newest first.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    connection: &mut Connection,
    account: AccountId,
    currency: CurrencyId,
    filter: &LedgerFilter,
    limit: i64,
) -> QueryResult<Vec<(u64, LedgerRow)>> {
    let own = ledger_entries::account.eq(i64::from(account.0));
    let mut query =
        ledger_entries::table.filter(own.and(ledger_entries::currency.eq(i32::from(currency.0)))).into_boxed();
    if let Some(id) = filter.older_than {
        query = query.filter(ledger_entries::id.lt(stored(id)));
    }
    if let Some(id) = filter.newer_than {
        query = query.filter(ledger_entries::id.gt(stored(id)));
    }
    if let Some(from) = filter.from {
        query = query.filter(ledger_entries::at.ge(from.0));
    }
    if let Some(to) = filter.to {
        query = query.filter(ledger_entries::at.le(to.0));
    }
    let rows: Vec<Stored> = query.order(ledger_entries::id.desc()).limit(limit).load(connection)?;
    rows.iter().map(Stored::row).collect()
}
