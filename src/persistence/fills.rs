//! Fills: one row for each trade, seen by the public as a trade and by its two parties as fills.

use super::db::{Connection, on_either};
use super::schema::fills;
use crate::domain::event::Fill;
use crate::domain::ids::{AccountId, MarketId, OrderId};
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

/// Which fills of a user in a market are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct FillFilter {
    /// Strictly below this trade number.
    pub older_than: Option<u64>,
    /// Strictly above this trade number.
    pub newer_than: Option<u64>,
    /// At this moment or later.
    pub from: Option<Timestamp>,
    /// At this moment or before.
    pub to: Option<Timestamp>,
    /// Only of this order.
    pub order: Option<OrderId>,
}

impl FillFilter {
    /// Whether the filter takes this fill.
    pub fn takes(&self, row: &FillRow) -> bool {
        let trade = row.fill.trade.0;
        self.older_than.is_none_or(|older| trade < older)
            && self.newer_than.is_none_or(|newer| trade > newer)
            && self.from.is_none_or(|from| row.at >= from)
            && self.to.is_none_or(|to| row.at <= to)
            && self.order.is_none_or(|id| row.fill.maker == id || row.fill.taker == id)
    }
}

/// Rows that are read at once while an order's fills are looked for.
const FILLS_AT_ONCE: i64 = 10_000;

/// A user's fills in a market, newest first, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    connection: &mut Connection,
    account: AccountId,
    market: MarketId,
    filter: &FillFilter,
    limit: usize,
) -> QueryResult<Vec<FillRow>> {
    let account = i64::from(account.0);
    let mut found = Vec::new();
    let mut older_than = filter.older_than;
    // An order is no column; its fills are picked out of its user's, page by page.
    let at_once = if filter.order.is_some() { FILLS_AT_ONCE } else { i64::try_from(limit).unwrap_or(i64::MAX) };
    loop {
        let own = fills::maker_account.eq(account).or(fills::taker_account.eq(account));
        let mut query = fills::table.filter(fills::market.eq(i32::from(market.0))).filter(own).into_boxed();
        if let Some(trade) = older_than {
            query = query.filter(fills::trade.lt(i64::try_from(trade).unwrap_or(i64::MAX)));
        }
        if let Some(trade) = filter.newer_than {
            query = query.filter(fills::trade.gt(i64::try_from(trade).unwrap_or(i64::MAX)));
        }
        if let Some(from) = filter.from {
            query = query.filter(fills::at.ge(from.0));
        }
        if let Some(to) = filter.to {
            query = query.filter(fills::at.le(to.0));
        }
        let columns = (fills::market, fills::at, fills::feed_sequence, fills::record);
        let rows: Vec<Stored> = query.order(fills::trade.desc()).limit(at_once).select(columns).load(connection)?;
        let last = (rows.len() as i64) < at_once;
        let rows = parsed(rows);
        older_than = rows.last().map(|row| row.fill.trade.0);
        found.extend(rows.into_iter().filter(|row| filter.takes(row)).take(limit.saturating_sub(found.len())));
        if last || found.len() >= limit || older_than.is_none() {
            return Ok(found);
        }
    }
}
