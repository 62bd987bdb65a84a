//! Fills: one row for each trade, seen by the public as a trade and by its two parties as fills.

use super::db::{Connection, on_either};
use super::schema::fills;
use crate::domain::event::Fill;
use crate::domain::ids::{AccountId, MarketId};
use crate::domain::time::Timestamp;
use diesel::prelude::*;

/// A fill with its place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillRow {
    /// The market.
    pub market: MarketId,
    /// When.
    pub at: Timestamp,
    /// Its public sequence.
    pub feed_sequence: u64,
    /// The fill.
    pub fill: Fill,
}

type Stored = (i32, i64, i64, String);

fn parsed(rows: Vec<Stored>) -> Vec<FillRow> {
    let read = |(market, at, sequence, record): Stored| match serde_json::from_str(&record) {
        Ok(fill) => {
            Some(FillRow { market: MarketId(market as u16), at: Timestamp(at), feed_sequence: sequence as u64, fill })
        }
        Err(error) => {
            tracing::error!(%error, record, "a fill row cannot be read");
            None
        }
    };
    rows.into_iter().filter_map(read).collect()
}

/// Writes fills; a repeat changes nothing.
///
/// # Errors
/// Those of the database.
pub fn insert(connection: &mut Connection, rows: &[FillRow]) -> QueryResult<()> {
    for row in rows {
        let json =
            serde_json::to_string(&row.fill).map_err(|e| diesel::result::Error::SerializationError(Box::new(e)))?;
        let row = (
            fills::market.eq(i32::from(row.market.0)),
            fills::trade.eq(row.fill.trade.0 as i64),
            fills::maker_account.eq(i64::from(row.fill.maker_account.0)),
            fills::taker_account.eq(i64::from(row.fill.taker_account.0)),
            fills::at.eq(row.at.0),
            fills::feed_sequence.eq(row.feed_sequence as i64),
            fills::record.eq(json),
        );
        on_either!(connection, inner =>
            diesel::insert_into(fills::table).values(row).on_conflict_do_nothing().execute(inner))?;
    }
    Ok(())
}

/// A market's trades, newest first, strictly between the two trade numbers.
///
/// # Errors
/// Those of the database.
pub fn trades(
    connection: &mut Connection,
    market: MarketId,
    older_than: Option<u64>,
    newer_than: Option<u64>,
    limit: i64,
) -> QueryResult<Vec<FillRow>> {
    let mut query = fills::table.filter(fills::market.eq(i32::from(market.0))).into_boxed();
    if let Some(trade) = older_than {
        query = query.filter(fills::trade.lt(i64::try_from(trade).unwrap_or(i64::MAX)));
    }
    if let Some(trade) = newer_than {
        query = query.filter(fills::trade.gt(i64::try_from(trade).unwrap_or(i64::MAX)));
    }
    let columns = (fills::market, fills::at, fills::feed_sequence, fills::record);
    query.order(fills::trade.desc()).limit(limit).select(columns).load(connection).map(parsed)
}

/// A user's fills in a market, newest first, strictly between the two trade numbers.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    connection: &mut Connection,
    account: AccountId,
    market: MarketId,
    older_than: Option<u64>,
    newer_than: Option<u64>,
    limit: i64,
) -> QueryResult<Vec<FillRow>> {
    let account = i64::from(account.0);
    let own = fills::maker_account.eq(account).or(fills::taker_account.eq(account));
    let mut query = fills::table.filter(fills::market.eq(i32::from(market.0))).filter(own).into_boxed();
    if let Some(trade) = older_than {
        query = query.filter(fills::trade.lt(i64::try_from(trade).unwrap_or(i64::MAX)));
    }
    if let Some(trade) = newer_than {
        query = query.filter(fills::trade.gt(i64::try_from(trade).unwrap_or(i64::MAX)));
    }
    let columns = (fills::market, fills::at, fills::feed_sequence, fills::record);
    query.order(fills::trade.desc()).limit(limit).select(columns).load(connection).map(parsed)
}
