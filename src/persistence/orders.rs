//! Orders: one row each, the newest state wins.

use super::db::Connection;
use super::schema::orders;
use crate::domain::ids::{AccountId, ClientOrderId, MarketId};
use crate::domain::order::OrderRecord;
use crate::domain::time::Timestamp;
use diesel::prelude::*;

/// Which orders of a user are wanted, newest first.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// Only this market.
    pub market: Option<MarketId>,
    /// Only those that are over, or only those that are not.
    pub done: Option<bool>,
    /// Strictly older than this (creation time, market, number).
    pub after: Option<(Timestamp, MarketId, u64)>,
    /// Strictly newer than this.
    pub before: Option<(Timestamp, MarketId, u64)>,
}

fn text(ClientOrderId(id): ClientOrderId) -> String {
    uuid::Uuid::from_u128(id).to_string()
}

fn parsed(rows: Vec<(i32, String)>) -> Vec<(MarketId, OrderRecord)> {
    // Rows are written by this module alone; one that cannot be read is left out and reported.
    let read = |(market, record): (i32, String)| match serde_json::from_str(&record) {
        Ok(record) => Some((MarketId(market as u16), record)),
        Err(error) => {
            tracing::error!(%error, record, "an order row cannot be read");
            None
        }
    };
    rows.into_iter().filter_map(read).collect()
}

/// Writes orders; a repeat changes nothing, a later state replaces an earlier one.
///
/// # Errors
/// Those of the database.
pub fn upsert<'a>(
    connection: &mut Connection,
    records: impl IntoIterator<Item = &'a (MarketId, OrderRecord)>,
) -> QueryResult<()> {
    for (market, record) in records {
        let json = serde_json::to_string(record).map_err(|e| diesel::result::Error::SerializationError(Box::new(e)))?;
        let row = (
            orders::market.eq(i32::from(market.0)),
            orders::number.eq(record.id.number as i64),
            orders::account.eq(i64::from(record.account.0)),
            orders::client_id.eq(record.client_id.map(text)),
            orders::created_at.eq(record.created_at.0),
            orders::done.eq(record.is_done()),
            orders::record.eq(&json),
        );
        match connection {
            // Unlike ON CONFLICT DO UPDATE, which diesel prepares anew for each row, this is prepared once.
            Connection::Sqlite(inner) => diesel::replace_into(orders::table).values(row).execute(inner)?,
            Connection::Postgres(inner) => diesel::insert_into(orders::table)
                .values(row)
                .on_conflict((orders::market, orders::number))
                .do_update()
                .set((orders::done.eq(record.is_done()), orders::record.eq(&json)))
                .execute(inner)?,
        };
    }
    Ok(())
}

/// One order.
///
/// # Errors
/// Those of the database.
pub fn get(connection: &mut Connection, market: MarketId, number: u64) -> QueryResult<Option<OrderRecord>> {
    let row = orders::table
        .filter(orders::market.eq(i32::from(market.0)).and(orders::number.eq(number as i64)))
        .select((orders::market, orders::record))
        .first(connection)
        .optional()?;
    Ok(parsed(row.into_iter().collect()).pop().map(|(_, record)| record))
}

/// The order behind a user's client id.
///
/// # Errors
/// Those of the database.
pub fn by_client_id(
    connection: &mut Connection,
    account: AccountId,
    id: ClientOrderId,
) -> QueryResult<Option<(MarketId, OrderRecord)>> {
    let row = orders::table
        .filter(orders::account.eq(i64::from(account.0)).and(orders::client_id.eq(text(id))))
        .select((orders::market, orders::record))
        .first(connection)
        .optional()?;
    Ok(parsed(row.into_iter().collect()).pop())
}

/// A user's orders, newest first.
///
/// # Errors
/// Those of the database.
pub fn list(
    connection: &mut Connection,
    account: AccountId,
    filter: &OrderFilter,
    limit: i64,
) -> QueryResult<Vec<(MarketId, OrderRecord)>> {
    let mut query = orders::table.filter(orders::account.eq(i64::from(account.0))).into_boxed();
    if let Some(market) = filter.market {
        query = query.filter(orders::market.eq(i32::from(market.0)));
    }
    if let Some(done) = filter.done {
        query = query.filter(orders::done.eq(done));
    }
    if let Some((at, MarketId(market), number)) = filter.after {
        let (market, number) = (i32::from(market), number as i64);
        query = query.filter(
            orders::created_at.lt(at.0).or(orders::created_at
                .eq(at.0)
                .and(orders::market.lt(market).or(orders::market.eq(market).and(orders::number.lt(number))))),
        );
    }
    if let Some((at, MarketId(market), number)) = filter.before {
        let (market, number) = (i32::from(market), number as i64);
        query = query.filter(
            orders::created_at.gt(at.0).or(orders::created_at
                .eq(at.0)
                .and(orders::market.gt(market).or(orders::market.eq(market).and(orders::number.gt(number))))),
        );
    }
    let rows = query
        .order((orders::created_at.desc(), orders::market.desc(), orders::number.desc()))
        .limit(limit)
        .select((orders::market, orders::record))
        .load(connection)?;
    Ok(parsed(rows))
}
