//! Candles: one row for each market, width and bucket, the newest state wins.

use super::db::{Connection, bulk_insert};
use super::numbers::stored;
use super::schema::candles;
use crate::domain::candle::Candle;
use crate::domain::ids::MarketId;
use crate::domain::money::{Price, Size};
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};

/// A candle with its market and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandleRow {
    /// The market.
    pub market: MarketId,
    /// The width in seconds.
    pub granularity: u32,
    /// The candle.
    pub candle: Candle,
}

const NEWEST_WINS: &str = "ON CONFLICT (market, granularity, start) DO UPDATE SET \
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, \
    volume = excluded.volume, trades = excluded.trades";

/// Writes candles, each at most once in the slice; a later state replaces an earlier one.
///
/// # Errors
/// Those of the database.
pub fn upsert(connection: &mut Connection, rows: &[CandleRow]) -> QueryResult<()> {
    bulk_insert!(connection, "candles", rows, |row| {
        market: Integer = i32::from(row.market.0),
        granularity: Integer = i32::try_from(row.granularity).unwrap_or(i32::MAX),
        start: BigInt = row.candle.start.0,
        open: BigInt = stored(row.candle.open.0),
        high: BigInt = stored(row.candle.high.0),
        low: BigInt = stored(row.candle.low.0),
        close: BigInt = stored(row.candle.close.0),
        volume: BigInt = stored(row.candle.volume.0),
        trades: Integer = i32::try_from(row.candle.trades).unwrap_or(i32::MAX),
    }, NEWEST_WINS)
}

/// A market's candles whose buckets begin between the two moments, newest first.
///
/// # Errors
/// Those of the database.
pub fn range(
    connection: &mut Connection,
    market: MarketId,
    granularity: u32,
    from: Timestamp,
    to: Timestamp,
    limit: i64,
) -> QueryResult<Vec<Candle>> {
    let rows: Vec<(i64, i64, i64, i64, i64, i64, i32)> = candles::table
        .filter(candles::market.eq(i32::from(market.0)).and(candles::granularity.eq(granularity as i32)))
        .filter(candles::start.between(from.0, to.0))
        .order(candles::start.desc())
        .limit(limit)
        .select((
            candles::start,
            candles::open,
            candles::high,
            candles::low,
            candles::close,
            candles::volume,
            candles::trades,
        ))
        .load(connection)?;
    let candle = |(start, open, high, low, close, volume, trades): (i64, i64, i64, i64, i64, i64, i32)| Candle {
        start: Timestamp(start),
        open: Price(open as u64),
        high: Price(high as u64),
        low: Price(low as u64),
        close: Price(close as u64),
        volume: Size(volume as u64),
        trades: trades as u32,
    };
    Ok(rows.into_iter().map(candle).collect())
}
