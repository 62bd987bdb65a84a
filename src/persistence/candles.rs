//! Candles: one row for each market, width and bucket, the newest state wins.

use super::db::{Connection, on_either};
use super::schema::candles;
use crate::domain::candle::Candle;
use crate::domain::ids::MarketId;
use crate::domain::money::{Price, Size};
use crate::domain::time::Timestamp;
use diesel::prelude::*;

/// Writes candles of one width in seconds; a later state replaces an earlier one.
///
/// # Errors
/// Those of the database.
pub fn upsert(connection: &mut Connection, market: MarketId, granularity: u32, candle: &Candle) -> QueryResult<()> {
    let content = (
        candles::open.eq(candle.open.0 as i64),
        candles::high.eq(candle.high.0 as i64),
        candles::low.eq(candle.low.0 as i64),
        candles::close.eq(candle.close.0 as i64),
        candles::volume.eq(i64::try_from(candle.volume.0).unwrap_or(i64::MAX)),
        candles::trades.eq(i32::try_from(candle.trades).unwrap_or(i32::MAX)),
    );
    let key = (
        candles::market.eq(i32::from(market.0)),
        candles::granularity.eq(granularity as i32),
        candles::start.eq(candle.start.0),
    );
    on_either!(connection, inner => diesel::insert_into(candles::table)
        .values((key, content))
        .on_conflict((candles::market, candles::granularity, candles::start))
        .do_update()
        .set(content)
        .execute(inner)
        .map(drop))
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
