//! Orders: one row each, the newest state wins.

use super::db::{Connection, bulk_insert};
use super::numbers::{amount, loaded, stored, unreadable};
use super::schema::orders;
use crate::domain::event::DoneReason;
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use crate::domain::money::{Price, Size};
use crate::domain::order::{Kind, OrderRecord, SelfTrade, Side, Status, Stop, TimeInForce, Trigger};
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

/// Which orders of a user are wanted, newest first.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// Only this market.
    pub market: Option<MarketId>,
    /// Only this side.
    pub side: Option<Side>,
    /// Only those that are over, or only those that are not.
    pub done: Option<DoneFilter>,
    /// Strictly older than this (creation time, market, number).
    pub after: Option<(Timestamp, MarketId, u64)>,
    /// Strictly newer than this.
    pub before: Option<(Timestamp, MarketId, u64)>,
    /// The oldest of them rather than the newest, oldest first.
    pub oldest_first: bool,
}

/// Whether orders are over, and how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneFilter {
    /// Those that are not over.
    Live,
    /// Those that are.
    Done,
    /// Those that are and were filled.
    Filled,
    /// Those that are and were not.
    Canceled,
}

fn text(ClientOrderId(id): ClientOrderId) -> String {
    uuid::Uuid::from_u128(id).to_string()
}

/// The word of the column for a side, which fills use too.
pub(super) fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// The side behind a word.
pub(super) fn side(word: &str) -> QueryResult<Side> {
    match word {
        "buy" => Ok(Side::Buy),
        "sell" => Ok(Side::Sell),
        _ => Err(unreadable(word)),
    }
}

fn reason_word(reason: DoneReason) -> &'static str {
    match reason {
        DoneReason::Filled => "filled",
        DoneReason::Canceled => "canceled",
        DoneReason::Expired => "expired",
        DoneReason::NoLiquidity => "no_liquidity",
        DoneReason::FillOrKill => "fill_or_kill",
        DoneReason::SelfTrade => "self_trade",
        DoneReason::Halted => "halted_for_auction",
        DoneReason::Killed => "killed",
    }
}

fn reason(word: &str) -> QueryResult<DoneReason> {
    match word {
        "filled" => Ok(DoneReason::Filled),
        "canceled" => Ok(DoneReason::Canceled),
        "expired" => Ok(DoneReason::Expired),
        "no_liquidity" => Ok(DoneReason::NoLiquidity),
        "fill_or_kill" => Ok(DoneReason::FillOrKill),
        "self_trade" => Ok(DoneReason::SelfTrade),
        "halted_for_auction" => Ok(DoneReason::Halted),
        "killed" => Ok(DoneReason::Killed),
        _ => Err(unreadable(word)),
    }
}

fn self_trade_word(rule: SelfTrade) -> &'static str {
    match rule {
        SelfTrade::DecrementAndCancel => "dc",
        SelfTrade::CancelOldest => "co",
        SelfTrade::CancelNewest => "cn",
        SelfTrade::CancelBoth => "cb",
    }
}

fn self_trade(word: &str) -> QueryResult<SelfTrade> {
    match word {
        "dc" => Ok(SelfTrade::DecrementAndCancel),
        "co" => Ok(SelfTrade::CancelOldest),
        "cn" => Ok(SelfTrade::CancelNewest),
        "cb" => Ok(SelfTrade::CancelBoth),
        _ => Err(unreadable(word)),
    }
}

/// Time in force and expiry of a limit order.
fn lifetime(kind: Kind) -> (Option<&'static str>, Option<i64>) {
    match kind {
        Kind::Market { .. } => (None, None),
        Kind::Limit { time_in_force, .. } => match time_in_force {
            TimeInForce::GoodTillCanceled => (Some("GTC"), None),
            TimeInForce::GoodTillTime(at) => (Some("GTT"), Some(at.0)),
            TimeInForce::ImmediateOrCancel => (Some("IOC"), None),
            TimeInForce::FillOrKill => (Some("FOK"), None),
        },
    }
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Open => "open",
        Status::Done(..) => "done",
    }
}

/// A row, in the order of the table's columns.
#[derive(Queryable)]
struct Stored {
    market: i32,
    number: i64,
    slot: i64,
    account: i64,
    client_id: Option<String>,
    side: String,
    price: Option<i64>,
    time_in_force: Option<String>,
    expires_at: Option<i64>,
    post_only: bool,
    funds: Option<String>,
    size: i64,
    stop: Option<String>,
    stop_price: Option<i64>,
    self_trade: String,
    created_at: i64,
    remaining: i64,
    filled: i64,
    executed: String,
    fees: String,
    hold: String,
    status: String,
    done_reason: Option<String>,
    done_at: Option<i64>,
}

impl Stored {
    fn kind(&self) -> QueryResult<Kind> {
        let Some(price) = self.price else {
            return Ok(Kind::Market { funds: self.funds.as_deref().map(amount).transpose()? });
        };
        let time_in_force = match (self.time_in_force.as_deref(), self.expires_at) {
            (Some("GTC"), None) => TimeInForce::GoodTillCanceled,
            (Some("GTT"), Some(at)) => TimeInForce::GoodTillTime(Timestamp(at)),
            (Some("IOC"), None) => TimeInForce::ImmediateOrCancel,
            (Some("FOK"), None) => TimeInForce::FillOrKill,
            other => return Err(unreadable(other)),
        };
        Ok(Kind::Limit { price: Price(loaded(price)?), time_in_force, post_only: self.post_only })
    }

    fn stop(&self) -> QueryResult<Option<Stop>> {
        let trigger = match self.stop.as_deref() {
            None => return Ok(None),
            Some("loss") => Trigger::Loss,
            Some("entry") => Trigger::Entry,
            Some(other) => return Err(unreadable(other)),
        };
        let price = self.stop_price.ok_or_else(|| unreadable("a stop without a price"))?;
        Ok(Some(Stop { trigger, price: Price(loaded(price)?) }))
    }

    fn status(&self) -> QueryResult<Status> {
        match (self.status.as_str(), self.done_reason.as_deref(), self.done_at) {
            ("active", None, None) => Ok(Status::Active),
            ("open", None, None) => Ok(Status::Open),
            ("done", Some(word), Some(at)) => Ok(Status::Done(reason(word)?, Timestamp(at))),
            other => Err(unreadable(other)),
        }
    }

    fn record(&self) -> QueryResult<(MarketId, OrderRecord)> {
        let client_id = self.client_id.as_deref().map(uuid::Uuid::parse_str).transpose();
        let record = OrderRecord {
            id: OrderId { number: loaded(self.number)?, slot: loaded(self.slot)? },
            account: AccountId(loaded(self.account)?),
            client_id: client_id.map_err(|_| unreadable(&self.client_id))?.map(|id| ClientOrderId(id.as_u128())),
            side: side(&self.side)?,
            kind: self.kind()?,
            size: Size(loaded(self.size)?),
            stop: self.stop()?,
            self_trade: self_trade(&self.self_trade)?,
            created_at: Timestamp(self.created_at),
            remaining: Size(loaded(self.remaining)?),
            filled: Size(loaded(self.filled)?),
            executed: amount(&self.executed)?,
            fees: amount(&self.fees)?,
            hold: amount(&self.hold)?,
            status: self.status()?,
        };
        Ok((MarketId(loaded(self.market.into())?), record))
    }
}

/// What a later state of an order may change: it is open, and all that an amend can change.
const NEWEST_WINS: &str = "ON CONFLICT (market, number) DO UPDATE SET \
    price = excluded.price, size = excluded.size, remaining = excluded.remaining, filled = excluded.filled, \
    executed = excluded.executed, fees = excluded.fees, hold = excluded.hold, status = excluded.status, \
    done_reason = excluded.done_reason, done_at = excluded.done_at";

/// Writes orders, each at most once in the slice; a repeat changes nothing, a later state replaces an
/// earlier one.
///
/// # Errors
/// Those of the database.
pub fn upsert(connection: &mut Connection, records: &[(MarketId, OrderRecord)]) -> QueryResult<()> {
    bulk_insert!(connection, "orders", records, |row| {
        market: Integer = i32::from(row.0.0),
        number: BigInt = stored(row.1.id.number),
        slot: BigInt = i64::from(row.1.id.slot),
        account: BigInt = i64::from(row.1.account.0),
        client_id: Nullable<Text> = row.1.client_id.map(text),
        side: Text = side_word(row.1.side),
        price: Nullable<BigInt> = row.1.price().map(|price| stored(price.0)),
        time_in_force: Nullable<Text> = lifetime(row.1.kind).0,
        expires_at: Nullable<BigInt> = lifetime(row.1.kind).1,
        post_only: Bool = matches!(row.1.kind, Kind::Limit { post_only: true, .. }),
        funds: Nullable<Text> = match row.1.kind {
            Kind::Market { funds } => funds.map(|funds| funds.0.to_string()),
            Kind::Limit { .. } => None,
        },
        size: BigInt = stored(row.1.size.0),
        stop: Nullable<Text> = row.1.stop.map(|stop| match stop.trigger {
            Trigger::Loss => "loss",
            Trigger::Entry => "entry",
        }),
        stop_price: Nullable<BigInt> = row.1.stop.map(|stop| stored(stop.price.0)),
        self_trade: Text = self_trade_word(row.1.self_trade),
        created_at: BigInt = row.1.created_at.0,
        remaining: BigInt = stored(row.1.remaining.0),
        filled: BigInt = stored(row.1.filled.0),
        executed: Text = row.1.executed.0.to_string(),
        fees: Text = row.1.fees.0.to_string(),
        hold: Text = row.1.hold.0.to_string(),
        status: Text = status_word(row.1.status),
        done_reason: Nullable<Text> = match row.1.status {
            Status::Done(reason, _) => Some(reason_word(reason)),
            Status::Active | Status::Open => None,
        },
        done_at: Nullable<BigInt> = match row.1.status {
            Status::Done(_, at) => Some(at.0),
            Status::Active | Status::Open => None,
        },
    }, NEWEST_WINS, 1)
    .map(drop)
}

/// One order.
///
/// # Errors
/// Those of the database.
pub fn get(connection: &mut Connection, market: MarketId, number: u64) -> QueryResult<Option<OrderRecord>> {
    let place = orders::market.eq(i32::from(market.0)).and(orders::number.eq(stored(number)));
    let row: Option<Stored> = orders::table.filter(place).first(connection).optional()?;
    Ok(row.map(|row| row.record()).transpose()?.map(|(_, record)| record))
}

/// All orders that are not over.
///
/// # Errors
/// Those of the database.
pub fn live(connection: &mut Connection) -> QueryResult<Vec<(MarketId, OrderRecord)>> {
    let rows: Vec<Stored> = orders::table.filter(orders::status.ne("done")).load(connection)?;
    rows.iter().map(Stored::record).collect()
}

/// How many orders each market has.
///
/// # Errors
/// Those of the database.
pub fn counts(connection: &mut Connection) -> QueryResult<Vec<(MarketId, u64)>> {
    let rows: Vec<(i32, i64)> =
        orders::table.group_by(orders::market).select((orders::market, diesel::dsl::count_star())).load(connection)?;
    rows.into_iter().map(|(market, count)| Ok((MarketId(loaded(market.into())?), loaded(count)?))).collect()
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
    let named = orders::account.eq(i64::from(account.0)).and(orders::client_id.eq(text(id)));
    // The first one counts, should there ever be two.
    let query = orders::table.filter(named).order((orders::created_at, orders::market, orders::number));
    let row: Option<Stored> = query.first(connection).optional()?;
    row.map(|row| row.record()).transpose()
}

/// What the database says of a client id of long ago.
#[derive(Clone, Debug)]
pub enum OldId {
    /// It is this order's.
    Order(MarketId, OrderId),
    /// No order ever had it.
    Free,
    /// The database does not have every order yet that it would have to know.
    Behind,
}

/// Looks for an id that memory may have forgotten; `newest` are the newest forgotten orders of all markets.
///
/// # Errors
/// Those of the database.
pub fn old_client_id(
    connection: &mut Connection,
    account: AccountId,
    id: ClientOrderId,
    newest: &[(MarketId, u64)],
) -> QueryResult<OldId> {
    if let Some((market, record)) = by_client_id(connection, account, id)? {
        return Ok(OldId::Order(market, record.id));
    }
    for (market, number) in newest {
        let of_market = orders::market.eq(i32::from(market.0)).and(orders::number.ge(stored(*number)));
        let there: Option<i64> = orders::table
            .filter(of_market)
            .order(orders::number.asc())
            .select(orders::number)
            .first(connection)
            .optional()?;
        if there.is_none() {
            return Ok(OldId::Behind);
        }
    }
    // It may have been written between the two looks.
    let again = by_client_id(connection, account, id)?;
    Ok(again.map_or(OldId::Free, |(market, record)| OldId::Order(market, record.id)))
}

/// The orders of a user that a filter takes, whatever the page.
macro_rules! select {
    ($account:expr, $filter:expr) => {{
        let mut query = orders::table.filter(orders::account.eq(i64::from($account.0))).into_boxed();
        if let Some(market) = $filter.market {
            query = query.filter(orders::market.eq(i32::from(market.0)));
        }
        if let Some(side) = $filter.side {
            query = query.filter(orders::side.eq(side_word(side)));
        }
        let filled = reason_word(DoneReason::Filled);
        match $filter.done {
            Some(DoneFilter::Done) => query = query.filter(orders::status.eq("done")),
            Some(DoneFilter::Live) => query = query.filter(orders::status.ne("done")),
            Some(DoneFilter::Filled) => query = query.filter(orders::done_reason.eq(filled)),
            Some(DoneFilter::Canceled) => query = query.filter(orders::done_reason.ne(filled)),
            None => {}
        }
        query
    }};
}

/// A user's orders, newest first, or as the filter says.
///
/// # Errors
/// Those of the database.
pub fn list(
    connection: &mut Connection,
    account: AccountId,
    filter: &OrderFilter,
    limit: i64,
) -> QueryResult<Vec<(MarketId, OrderRecord)>> {
    let mut query = select!(account, filter);
    if let Some((at, MarketId(market), number)) = filter.after {
        let (market, number) = (i32::from(market), stored(number));
        query = query.filter(
            orders::created_at.lt(at.0).or(orders::created_at
                .eq(at.0)
                .and(orders::market.lt(market).or(orders::market.eq(market).and(orders::number.lt(number))))),
        );
    }
    if let Some((at, MarketId(market), number)) = filter.before {
        let (market, number) = (i32::from(market), stored(number));
        query = query.filter(
            orders::created_at.gt(at.0).or(orders::created_at
                .eq(at.0)
                .and(orders::market.gt(market).or(orders::market.eq(market).and(orders::number.gt(number))))),
        );
    }
    query = if filter.oldest_first {
        query.order((orders::created_at.asc(), orders::market.asc(), orders::number.asc()))
    } else {
        query.order((orders::created_at.desc(), orders::market.desc(), orders::number.desc()))
    };
    let rows: Vec<Stored> = query.limit(limit).load(connection)?;
    rows.iter().map(Stored::record).collect()
}

/// How many orders a user has of this kind; the cursors do not matter.
///
/// # Errors
/// Those of the database.
pub fn count(connection: &mut Connection, account: AccountId, filter: &OrderFilter) -> QueryResult<u64> {
    let query = select!(account, filter);
    let rows: i64 = query.count().get_result(connection)?;
    Ok(u64::try_from(rows).unwrap_or(0))
}
