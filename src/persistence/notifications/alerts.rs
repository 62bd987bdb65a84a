//! The prices that users wait for.

use crate::domain::ids::{AccountId, MarketId};
use crate::domain::time::{SECOND, Timestamp};
use crate::persistence::db::Connection;
use crate::persistence::schema::price_alerts;
use diesel::prelude::*;

/// How far the clock of the node that takes an alert may be ahead of the one by which trades are dated, µs. An alert that
/// misses its price would wait for ever; one that is told of a trade of this long before it does little harm.
const CLOCK_TOLERANCE: i64 = 5 * SECOND;

/// A price that a user waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct AlertRow {
    /// Its number.
    pub id: i64,
    /// Whose, an account number.
    pub user_id: i64,
    /// In which market.
    pub market: i32,
    /// Whether it waits for a price at or above, rather than at or below.
    pub above: bool,
    /// Ticks.
    pub price: i64,
    /// µs since 1970.
    pub created_at: i64,
}

/// Adds an alert, unless the user has `most` already.
///
/// # Errors
/// Whatever the database reports.
pub fn add_alert(
    conn: &mut Connection,
    user: AccountId,
    market: MarketId,
    (above, price): (bool, i64),
    most: i64,
    now: Timestamp,
) -> QueryResult<bool> {
    let id = i64::from(user.0);
    let count: i64 = price_alerts::table.filter(price_alerts::user_id.eq(id)).count().get_result(conn)?;
    if count >= most {
        return Ok(false);
    }
    diesel::insert_into(price_alerts::table)
        .values((
            price_alerts::user_id.eq(id),
            price_alerts::market.eq(i32::from(market.0)),
            price_alerts::above.eq(above),
            price_alerts::price.eq(price),
            price_alerts::created_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(true)
}

/// The alerts of a user, newest first.
///
/// # Errors
/// Whatever the database reports.
pub fn alerts_of(conn: &mut Connection, user: AccountId) -> QueryResult<Vec<AlertRow>> {
    price_alerts::table.filter(price_alerts::user_id.eq(i64::from(user.0))).order(price_alerts::id.desc()).load(conn)
}

/// Removes an alert of a user; false when there is none.
///
/// # Errors
/// Whatever the database reports.
pub fn remove_alert(conn: &mut Connection, user: AccountId, id: i64) -> QueryResult<bool> {
    let own = price_alerts::table.find(id).filter(price_alerts::user_id.eq(i64::from(user.0)));
    Ok(diesel::delete(own).execute(conn)? > 0)
}

/// Takes out the alerts of a market that trades at these times and prices set off, each with the price that went furthest
/// beyond it. None is set off by a trade that was there before it, as far as clocks can tell; one of later than `now`,
/// which was set by a clock that was ahead, counts as set now.
///
/// # Errors
/// Whatever the database reports.
pub fn set_off(
    conn: &mut Connection,
    market: i32,
    trades: &[(Timestamp, i64)],
    now: Timestamp,
) -> QueryResult<Vec<(AlertRow, i64)>> {
    let prices = trades.iter().map(|(_, price)| *price);
    let (Some(lowest), Some(highest)) = (prices.clone().min(), prices.max()) else { return Ok(Vec::new()) };
    let reached = price_alerts::table.filter(price_alerts::market.eq(market)).filter(
        price_alerts::above
            .eq(true)
            .and(price_alerts::price.le(highest))
            .or(price_alerts::above.eq(false).and(price_alerts::price.ge(lowest))),
    );
    let mut set_off = Vec::new();
    for row in reached.load::<AlertRow>(conn)? {
        let since = row.created_at.min(now.0).saturating_sub(CLOCK_TOLERANCE);
        let since = trades.iter().filter(|(at, _)| at.0 >= since).map(|(_, price)| *price);
        let furthest = if row.above {
            since.max().filter(|highest| *highest >= row.price)
        } else {
            since.min().filter(|lowest| *lowest <= row.price)
        };
        if let Some(price) = furthest {
            diesel::delete(price_alerts::table.find(row.id)).execute(conn)?;
            set_off.push((row, price));
        }
    }
    Ok(set_off)
}
