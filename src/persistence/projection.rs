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
use crate::domain::venue::Venue;
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
    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

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

/// How far the database is.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// The last batch whose rows are there, but for those of markets that stood still.
    pub position: Position,
    /// What is there of each stream.
    pub contains: Contained,
}

/// The newest entry of each stream whose rows are there, by the stream's name. A market that stood still, because one of its
/// entries could not be applied, is behind what was projected of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Contained(BTreeMap<String, u64>);

impl Contained {
    fn read(stored: &str) -> Contained {
        serde_json::from_str(stored).unwrap_or_default()
    }

    /// Whether the rows of a stream are there up to this entry.
    pub fn has(&self, stream: StreamId, entry: Sequence) -> bool {
        entry.0 == 0 || self.0.get(&stream.to_string()).is_some_and(|newest| *newest >= entry.0)
    }

    /// Whether everything is there that follows from what this venue has applied.
    pub fn covers(&self, venue: &Venue) -> bool {
        let ledger = &venue.ledger;
        let market = |(entry, id): (&Sequence, u16)| self.has(StreamId::Market(MarketId(id)), *entry);
        self.has(StreamId::Ledger, ledger.stream.sequence) && ledger.markets.iter().zip(0..).all(market)
    }
}

/// How far the log was projected, stream by stream.
///
/// # Errors
/// [`DbError`].
pub fn mark(database: &Database) -> Result<Mark, DbError> {
    let columns = (watermark::position, watermark::streams);
    let row = database.read(|c| watermark::table.select(columns).first::<(i64, String)>(c).optional())?;
    let (position, streams) = row.unwrap_or_default();
    Ok(Mark { position: Position(position as u64), contains: Contained::read(&streams) })
}

/// Writes what happened after `from` up to `to`, in one transaction with the watermark. When both are the same, it is what
/// streams that stood still have left out so far.
///
/// # Errors
/// [`DbError`]; nothing was written then, unless the connection broke while it was being committed. To
/// write the same again is right in any case.
pub fn write(database: &Database, changes: &Changes, from: Position, to: Position) -> Result<Written, DbError> {
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
        let mut contained = Contained::read(&before);
        let are_there = || changes.streams.iter().all(|(stream, last)| contained.has(*stream, *last));
        if known == stored(to.0) && are_there() {
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
        contained.0.extend(changes.streams.iter().map(|(stream, last)| (stream.to_string(), last.0)));
        diesel::update(watermark::table)
            .set((
                watermark::position.eq(stored(to.0)),
                watermark::streams.eq(serde_json::to_string(&contained).unwrap_or_default()),
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

/// Adds a segment of the log to the archive, compressed. It is on the medium when this returns, since the log may give up
/// its own copy next. A repeat changes nothing: false when there is one already that begins there, which may end elsewhere.
///
/// # Errors
/// [`DbError`]; nothing was written then.
pub fn archive(database: &Database, first: Position, last: Position, content: &[u8]) -> Result<bool, DbError> {
    let compressed = zstd::bulk::compress(content, 3).map_err(|error| DbError::Unavailable(error.to_string()))?;
    database.write_durably(|connection| {
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
