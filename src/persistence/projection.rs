//! What follows from the log, written together with how far it was read.
//!
//! Several nodes may share a database; the active one writes. A transaction that does not begin exactly
//! where the database stands writes nothing, so that every row is there once, whoever wrote it.

use super::candles::{self, CandleRow};
use super::db::{Connection, Database, DbError, on_either};
use super::events::{self, Runs};
use super::fills::{self, FillRow};
use super::ledger_entries::{self, LedgerRow};
use super::log::Position;
use super::numbers::stored;
use super::orders;
use super::schema::{log_archive, watermark};
use super::transfers::{self, TransferRow};
use crate::domain::candle::Candle;
use crate::domain::ids::{MarketId, Sequence, StreamId};
use crate::domain::order::OrderRecord;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use std::collections::BTreeMap;

/// The number of the lock that one writer at a time holds.
const LOCK: i64 = 0x6167_6f72_6101;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub struct Changes {
    /// The newest state of each changed order.
    pub orders: BTreeMap<(MarketId, u64), OrderRecord>,
    /// New fills.
    pub fills: Vec<FillRow>,
    /// The newest state of each changed candle.
    pub candles: BTreeMap<(MarketId, u32, Timestamp), Candle>,
    /// New ledger entries.
    pub ledger: Vec<LedgerRow>,
    /// New events of each market.
    pub events: BTreeMap<MarketId, Runs>,
    /// New transfers.
    pub transfers: Vec<TransferRow>,
    /// The newest entry of each stream that is contained.
    pub streams: BTreeMap<StreamId, Sequence>,
}

impl Changes {
    /// How many rows wait.
    pub fn rows(&self) -> usize {
        self.orders.len() + self.fills.len() + self.candles.len() + self.ledger.len() + self.transfers.len()
    }
}

/// Where the database stands after an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The changes are in it.
    Yes,
    /// It stood elsewhere than where the changes begin, and nothing was written.
    Elsewhere(Position),
}

/// How far the log was projected.
///
/// # Errors
/// [`DbError`].
pub fn position(database: &Database) -> Result<Position, DbError> {
    database.read(stands_at)
}

/// The same within a transaction.
///
/// # Errors
/// Those of the database.
pub fn stands_at(connection: &mut Connection) -> QueryResult<Position> {
    let row = watermark::table.select(watermark::position).first::<i64>(connection).optional()?;
    Ok(Position(row.unwrap_or_default() as u64))
}

/// Writes what happened after `from` up to `to`, in one transaction with the watermark.
///
/// # Errors
/// [`DbError`]; nothing was written then, unless the connection broke while it was being committed. To
/// write the same again is right in any case.
pub fn write(database: &Database, changes: &Changes, from: Position, to: Position) -> Result<Written, DbError> {
    let streams: BTreeMap<String, u64> =
        changes.streams.iter().map(|(stream, sequence)| (stream.to_string(), sequence.0)).collect();
    let orders: Vec<_> = changes.orders.iter().map(|((market, _), record)| (*market, *record)).collect();
    let candles: Vec<_> = changes
        .candles
        .iter()
        .map(|((market, granularity, _), candle)| CandleRow {
            market: *market,
            granularity: *granularity,
            candle: *candle,
        })
        .collect();
    database.write(|connection| {
        connection.lock(LOCK)?;
        let (known, entries, before): (i64, i64, String) = watermark::table
            .select((watermark::position, watermark::ledger_entries, watermark::streams))
            .first(connection)?;
        if known == stored(to.0) {
            return Ok(Written::Yes);
        }
        if known != stored(from.0) {
            return Ok(Written::Elsewhere(Position(known as u64)));
        }
        orders::upsert(connection, &orders)?;
        fills::insert(connection, &changes.fills)?;
        candles::upsert(connection, &candles)?;
        ledger_entries::insert(connection, entries + 1, &changes.ledger)?;
        transfers::insert(connection, &changes.transfers)?;
        for (market, runs) in &changes.events {
            events::insert(connection, *market, runs)?;
        }
        let mut newest: BTreeMap<String, u64> = serde_json::from_str(&before).unwrap_or_default();
        newest.extend(streams);
        diesel::update(watermark::table)
            .set((
                watermark::position.eq(stored(to.0)),
                watermark::streams.eq(serde_json::to_string(&newest).unwrap_or_default()),
                watermark::ledger_entries.eq(entries + changes.ledger.len() as i64),
            ))
            .execute(connection)?;
        Ok(Written::Yes)
    })
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

/// The archived segments that begin at or before `through`, oldest first, by the position of their first batch.
///
/// # Errors
/// [`DbError`].
pub fn archived_segments(database: &Database, through: Position) -> Result<Vec<Position>, DbError> {
    let firsts = database.read(|c| {
        let wanted = log_archive::table.filter(log_archive::first.le(through.0 as i64));
        wanted.order(log_archive::first.asc()).select(log_archive::first).load::<i64>(c)
    })?;
    Ok(firsts.into_iter().map(|first| Position(first as u64)).collect())
}

/// The content of an archived segment; `None` when it is not there or not as it was.
///
/// # Errors
/// [`DbError`].
pub fn archived_content(database: &Database, first: Position) -> Result<Option<Vec<u8>>, DbError> {
    let row = database.read(|c| {
        let wanted = log_archive::table.filter(log_archive::first.eq(first.0 as i64));
        let columns = (log_archive::length, log_archive::checksum, log_archive::content);
        wanted.select(columns).first::<(i64, Vec<u8>, Vec<u8>)>(c).optional()
    })?;
    Ok(row.and_then(|(length, checksum, compressed)| {
        let content = zstd::bulk::decompress(&compressed, usize::try_from(length).ok()?).ok()?;
        (blake3::hash(&content).as_bytes().as_slice() == checksum).then_some(content)
    }))
}

/// Adds a segment of the log to the archive, compressed. A repeat changes nothing: false when there is one already that
/// begins there, which may end elsewhere.
///
/// # Errors
/// [`DbError`]; nothing was written then.
pub fn archive(database: &Database, first: Position, last: Position, content: &[u8]) -> Result<bool, DbError> {
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
            .map(|added| added > 0))
    })
}
