//! Fills: one row for each trade, seen by the public as a trade and by its two parties as fills.

use super::db::{Backend, Connection, bulk_insert};
use super::numbers::{amount, loaded, stored};
use super::orders::{side, side_word};
use super::schema::fills;
use crate::domain::event::Fill;
use crate::domain::ids::{AccountId, MarketId, OrderId, TradeId};
use crate::domain::money::{Price, Size};
use crate::domain::time::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};

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

/// A row, in the order of the table's columns.
#[derive(Queryable)]
struct Stored {
    market: i32,
    trade: i64,
    at: i64,
    feed_sequence: i64,
    maker: i64,
    maker_slot: i64,
    maker_account: i64,
    taker: i64,
    taker_slot: i64,
    taker_account: i64,
    maker_side: String,
    price: i64,
    size: i64,
    base: String,
    quote: String,
    maker_fee: String,
    taker_fee: String,
}

impl Stored {
    fn row(&self) -> QueryResult<FillRow> {
        let fill = Fill {
            trade: TradeId(loaded(self.trade)?),
            maker: OrderId { number: loaded(self.maker)?, slot: loaded(self.maker_slot)? },
            taker: OrderId { number: loaded(self.taker)?, slot: loaded(self.taker_slot)? },
            maker_account: AccountId(loaded(self.maker_account)?),
            taker_account: AccountId(loaded(self.taker_account)?),
            maker_side: side(&self.maker_side)?,
            price: Price(loaded(self.price)?),
            size: Size(loaded(self.size)?),
            base: amount(&self.base)?,
            quote: amount(&self.quote)?,
            maker_fee: amount(&self.maker_fee)?,
            taker_fee: amount(&self.taker_fee)?,
        };
        let market = MarketId(loaded(self.market.into())?);
        Ok(FillRow { market, at: Timestamp(self.at), feed_sequence: loaded(self.feed_sequence)?, fill })
    }
}

/// Writes fills; a repeat changes nothing.
///
/// # Errors
/// Those of the database.
pub fn insert(connection: &mut Connection, rows: &[FillRow]) -> QueryResult<()> {
    bulk_insert!(connection, "fills", rows, |row| {
        market: Integer = i32::from(row.market.0),
        trade: BigInt = stored(row.fill.trade.0),
        at: BigInt = row.at.0,
        feed_sequence: BigInt = stored(row.feed_sequence),
        maker: BigInt = stored(row.fill.maker.number),
        maker_slot: BigInt = i64::from(row.fill.maker.slot),
        maker_account: BigInt = i64::from(row.fill.maker_account.0),
        taker: BigInt = stored(row.fill.taker.number),
        taker_slot: BigInt = i64::from(row.fill.taker.slot),
        taker_account: BigInt = i64::from(row.fill.taker_account.0),
        maker_side: Text = side_word(row.fill.maker_side),
        price: BigInt = stored(row.fill.price.0),
        size: BigInt = stored(row.fill.size.0),
        base: Text = row.fill.base.0.to_string(),
        quote: Text = row.fill.quote.0.to_string(),
        maker_fee: Text = row.fill.maker_fee.0.to_string(),
        taker_fee: Text = row.fill.taker_fee.0.to_string(),
    }, "ON CONFLICT DO NOTHING")
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
    let filter = FillFilter { older_than, newer_than, ..FillFilter::default() };
    newest(connection, wanted(market, &filter), limit)
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

type Query = fills::BoxedQuery<'static, Backend>;

fn wanted(market: MarketId, filter: &FillFilter) -> Query {
    let mut query = fills::table.filter(fills::market.eq(i32::from(market.0))).into_boxed();
    if let Some(trade) = filter.older_than {
        query = query.filter(fills::trade.lt(stored(trade)));
    }
    if let Some(trade) = filter.newer_than {
        query = query.filter(fills::trade.gt(stored(trade)));
    }
    if let Some(from) = filter.from {
        query = query.filter(fills::at.ge(from.0));
    }
    if let Some(to) = filter.to {
        query = query.filter(fills::at.le(to.0));
    }
    query
}

fn newest(connection: &mut Connection, query: Query, limit: i64) -> QueryResult<Vec<FillRow>> {
    let rows: Vec<Stored> = query.order(fills::trade.desc()).limit(limit).load(connection)?;
    rows.iter().map(Stored::row).collect()
}

/// A market's trades above this trade number, oldest first, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn after(connection: &mut Connection, market: MarketId, trade: u64, limit: i64) -> QueryResult<Vec<FillRow>> {
    let filter = FillFilter { newer_than: Some(trade), ..FillFilter::default() };
    let rows: Vec<Stored> = wanted(market, &filter).order(fills::trade).limit(limit).load(connection)?;
    rows.iter().map(Stored::row).collect()
}

/// How many fills each market has, and the number of its newest trade.
///
/// # Errors
/// Those of the database.
pub fn counts(connection: &mut Connection) -> QueryResult<Vec<(MarketId, u64, u64)>> {
    let columns = (fills::market, diesel::dsl::count_star(), diesel::dsl::max(fills::trade));
    let rows: Vec<(i32, i64, Option<i64>)> = fills::table.group_by(fills::market).select(columns).load(connection)?;
    let row = |(market, count, newest): (i32, i64, Option<i64>)| {
        Ok((MarketId(loaded(market.into())?), loaded(count)?, loaded(newest.unwrap_or_default())?))
    };
    rows.into_iter().map(row).collect()
}

/// What a user has traded in a market from a moment on, in lots. What the user traded before is not read, however much it
/// is.
///
/// # Errors
/// Those of the database.
pub fn volume(connection: &mut Connection, account: AccountId, market: MarketId, from: Timestamp) -> QueryResult<u128> {
    let id = i64::from(account.0);
    let all = FillFilter::default();
    let made = wanted(market, &all).filter(fills::maker_account.eq(id));
    let taken = wanted(market, &all).filter(fills::taker_account.eq(id));
    let mut newest: Option<(i64, i64)> = None;
    for own in [made, taken] {
        let last = own.order(fills::trade.desc()).select((fills::trade, fills::at)).first::<(i64, i64)>(connection);
        newest = newest.max(last.optional()?);
    }
    let Some((newest, _)) = newest.filter(|(_, at)| *at >= from.0) else { return Ok(0) };
    let first = first_since(connection, market, from, newest)?;
    // Two questions, as below; a trade with oneself counts once.
    let since = || wanted(market, &all).filter(fills::trade.ge(first));
    let made = since().filter(fills::maker_account.eq(id));
    let taken = since().filter(fills::taker_account.eq(id).and(fills::maker_account.ne(id)));
    Ok(lots(connection, made)? + lots(connection, taken)?)
}

/// A number such that a market's trades from it on are those at this moment or later; `newest` is one of them. No index
/// goes by time, but trades are numbered in its order, so the number is found by halving.
fn first_since(connection: &mut Connection, market: MarketId, from: Timestamp, newest: i64) -> QueryResult<i64> {
    let trades = fills::table.filter(fills::market.eq(i32::from(market.0)));
    // Trades are numbered from 1. Up to `before` all are older, from `first` on none is.
    let (mut before, mut first) = (0, newest);
    while first - before > 1 {
        let middle = before + (first - before) / 2;
        let next = trades.filter(fills::trade.ge(middle)).order(fills::trade).select((fills::trade, fills::at));
        let (trade, at): (i64, i64) = next.first(connection)?;
        if at >= from.0 {
            first = middle;
        } else {
            before = trade;
        }
    }
    Ok(first)
}

/// The sum of sizes. The database adds their halves, which no number of rows makes too large.
fn lots(connection: &mut Connection, query: Query) -> QueryResult<u128> {
    let high = sql::<BigInt>("CAST(COALESCE(SUM(size / 4294967296), 0) AS BIGINT)");
    let low = sql::<BigInt>("CAST(COALESCE(SUM(size % 4294967296), 0) AS BIGINT)");
    let (high, low): (i64, i64) = query.select((high, low)).get_result(connection)?;
    Ok((loaded::<u128>(high)? << 32) + loaded::<u128>(low)?)
}

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
    let at_most = i64::try_from(limit).unwrap_or(i64::MAX);
    let id = i64::from(account.0);
    let (mut made, mut taken) = (wanted(market, filter), wanted(market, filter));
    if let Some(order) = filter.order {
        made = made.filter(fills::maker.eq(stored(order.number)).and(fills::maker_slot.eq(i64::from(order.slot))));
        taken = taken.filter(fills::taker.eq(stored(order.number)).and(fills::taker_slot.eq(i64::from(order.slot))));
    }
    // Two questions, each with an index of its own; one with OR would walk over everybody's trades.
    let mut rows = newest(connection, made.filter(fills::maker_account.eq(id)), at_most)?;
    rows.extend(newest(connection, taken.filter(fills::taker_account.eq(id)), at_most)?);
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.fill.trade));
    rows.dedup_by_key(|row| row.fill.trade);
    rows.truncate(limit);
    Ok(rows)
}
