//! What follows from the log, written together with how far it was read.

use super::db::{Connection, Database, DbError, on_either};
use super::events::{self, Runs};
use super::fills::{self, FillRow};
use super::log::Position;
use super::schema::{ledger_entries, log_archive, watermark};
use super::{candles, orders};
use crate::domain::candle::Candle;
use crate::domain::ids::{AccountId, CurrencyId, MarketId, OrderId, Sequence, StreamId};
use crate::domain::money::Amount;
use crate::domain::order::OrderRecord;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use std::collections::BTreeMap;

/// One change of a balance that its owner sees in the account's history.
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
    /// `match`, `fee` or `transfer`.
    pub kind: &'static str,
    /// The order and trade, for matches and fees.
    pub order: Option<(MarketId, OrderId, u64)>,
    /// The transfer's id, for transfers.
    pub transfer: Option<u128>,
    /// When.
    pub at: Timestamp,
}

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub struct Changes {
    /// The newest state of each changed order.
    pub orders: BTreeMap<(MarketId, u64), (MarketId, OrderRecord)>,
    /// New fills.
    pub fills: Vec<FillRow>,
    /// The newest state of each changed candle.
    pub candles: BTreeMap<(MarketId, u32, Timestamp), Candle>,
    /// New ledger entries.
    pub ledger: Vec<LedgerRow>,
    /// New events of each market.
    pub events: BTreeMap<MarketId, Runs>,
    /// The newest entry of each stream that is contained.
    pub streams: BTreeMap<StreamId, Sequence>,
}

impl Changes {
    /// How many rows wait.
    pub fn rows(&self) -> usize {
        self.orders.len() + self.fills.len() + self.candles.len() + self.ledger.len()
    }
}

/// How far the log was projected.
///
/// # Errors
/// [`DbError`].
pub fn position(database: &Database) -> Result<Position, DbError> {
    let row = database.read(|c| watermark::table.select(watermark::position).first::<i64>(c).optional())?;
    Ok(Position(row.unwrap_or_default() as u64))
}

/// Writes the changes after `from` up to `position` in one transaction with it. False when the database is not at
/// `from`, because another node has written meanwhile; nothing was written then.
///
/// # Errors
/// [`DbError`]; nothing was written then.
pub fn write(database: &Database, changes: &Changes, from: Position, position: Position) -> Result<bool, DbError> {
    let streams: BTreeMap<String, u64> =
        changes.streams.iter().map(|(stream, sequence)| (stream.to_string(), sequence.0)).collect();
    let streams = serde_json::to_string(&streams).unwrap_or_default();
    database.write(|connection| {
        // Moving the watermark first locks its row, so that of two nodes only one can write what follows `from`.
        let row = (watermark::position.eq(position.0 as i64), watermark::streams.eq(&streams));
        let at = watermark::table.filter(watermark::id.eq(1)).filter(watermark::position.eq(from.0 as i64));
        let mut moved = diesel::update(at).set(row).execute(connection)?;
        if moved == 0 && from == Position(0) {
            let first = (watermark::id.eq(1), row);
            moved = on_either!(connection, inner => diesel::insert_into(watermark::table)
                .values(first)
                .on_conflict_do_nothing()
                .execute(inner))?;
        }
        if moved == 0 {
            return Ok(false);
        }
        orders::upsert(connection, changes.orders.values())?;
        fills::insert(connection, &changes.fills)?;
        for ((market, granularity, _), candle) in &changes.candles {
            candles::upsert(connection, *market, *granularity, candle)?;
        }
        insert_ledger(connection, &changes.ledger)?;
        for (market, runs) in &changes.events {
            events::insert(connection, *market, runs)?;
        }
        Ok(true)
    })
}

fn insert_ledger(connection: &mut Connection, rows: &[LedgerRow]) -> QueryResult<()> {
    for row in rows {
        diesel::insert_into(ledger_entries::table)
            .values((
                ledger_entries::account.eq(i64::from(row.account.0)),
                ledger_entries::currency.eq(i32::from(row.currency.0)),
                ledger_entries::amount.eq(row.amount.0.to_string()),
                ledger_entries::balance.eq(row.balance.0.to_string()),
                ledger_entries::kind.eq(row.kind),
                ledger_entries::market.eq(row.order.map(|(market, ..)| i32::from(market.0))),
                ledger_entries::order_number.eq(row.order.map(|(_, order, _)| order.number as i64)),
                ledger_entries::order_slot.eq(row.order.map(|(_, order, _)| i64::from(order.slot))),
                ledger_entries::trade.eq(row.order.map(|(_, _, trade)| trade as i64)),
                ledger_entries::transfer.eq(row.transfer.map(|id| uuid::Uuid::from_u128(id).to_string())),
                ledger_entries::at.eq(row.at.0),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// How many of these transfers a user's history has.
///
/// # Errors
/// Those of the database.
pub fn known_transfers(connection: &mut Connection, account: AccountId, transfers: &[u128]) -> QueryResult<i64> {
    let texts: Vec<String> = transfers.iter().map(|id| uuid::Uuid::from_u128(*id).to_string()).collect();
    ledger_entries::table
        .filter(ledger_entries::account.eq(i64::from(account.0)).and(ledger_entries::transfer.eq_any(texts)))
        .count()
        .get_result(connection)
}

/// The last position that the archive of the log contains.
///
/// # Errors
/// [`DbError`].
pub fn archived(database: &Database) -> Result<Position, DbError> {
    let last =
        database.read(|c| log_archive::table.select(diesel::dsl::max(log_archive::last)).first::<Option<i64>>(c))?;
    Ok(Position(last.unwrap_or_default() as u64))
}

/// Adds a segment of the log to the archive, compressed; a repeat changes nothing.
///
/// # Errors
/// [`DbError`]; nothing was written then.
pub fn archive(database: &Database, first: Position, last: Position, content: &[u8]) -> Result<(), DbError> {
    let compressed = zstd::bulk::compress(content, 3).map_err(|error| DbError::Unavailable(error.to_string()))?;
    database.write(|connection| {
        let row = (
            log_archive::first.eq(first.0 as i64),
            log_archive::last.eq(last.0 as i64),
            log_archive::length.eq(content.len() as i64),
            log_archive::checksum.eq(blake3::hash(content).as_bytes().to_vec()),
            log_archive::content.eq(compressed),
        );
        on_either!(connection, inner => diesel::insert_into(log_archive::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(inner)
            .map(drop))
    })
}
