//! The tables of notifications: where users want them, price alerts, and what is on its way.

mod alerts;

pub use alerts::*;

use super::db::Connection;
use super::schema::{deliveries, fills, ledger_entries, notified, outlets, users};
use crate::domain::ids::{AccountId, MarketId};
use crate::domain::time::{HOUR, Timestamp};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// Deliveries of a user that were given up and are kept.
pub const MOST_GIVEN_UP: i64 = 100;
/// Deliveries of one event that may wait for one outlet of a user; of more, the oldest go. Each event is bounded by
/// itself, so that what happens often pushes out nothing that happens seldom.
pub const MOST_WAITING: i64 = 500;
/// Entries of the ledger that are searched for movements of money at once: most are trades.
pub const ENTRIES_AT_ONCE: i64 = 50_000;
/// No delivery is left for longer than this, µs. What is due later was dated by a clock that was ahead, and is due at
/// once; unless the clock that says so is behind.
pub const LONGEST_WAIT: i64 = 6 * HOUR;
/// The source of movements of money in and out.
pub const TRANSFERS: &str = "transfers";

/// Where a user wants to be told of what. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = outlets)]
pub struct OutletRow {
    /// Whose, an account number.
    pub user_id: i64,
    /// `email`, `line` or `webhook`.
    pub kind: String,
    /// Where webhooks go.
    pub target: String,
    /// What signs webhooks, encrypted.
    pub secret: Vec<u8>,
    /// Names of events with commas between them.
    pub events: String,
}

impl fmt::Debug for OutletRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutletRow").field("user_id", &self.user_id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The outlets of a user.
///
/// # Errors
/// Whatever the database reports.
pub fn outlets_of(conn: &mut Connection, user: AccountId) -> QueryResult<Vec<OutletRow>> {
    outlets::table.filter(outlets::user_id.eq(i64::from(user.0))).order(outlets::kind).load(conn)
}

impl OutletRow {
    /// Whether it is to be told of this event.
    pub fn wants(&self, event: &str) -> bool {
        names(&self.events, event)
    }
}

fn names(events: &str, event: &str) -> bool {
    events.split(',').any(|name| name == event)
}

/// Lets nobody else change the outlets of this user before the transaction ends.
fn lock_outlets(conn: &mut Connection, user: i64) -> QueryResult<()> {
    // Of SQLite's transactions only one writes anyway.
    let Connection::Postgres(inner) = conn else { return Ok(()) };
    users::table.find(user).select(users::id).for_no_key_update().execute(inner).map(drop)
}

/// Stores an outlet in place of an older one of the same kind. What waits for it, or was given up, goes unless it is
/// among what is wanted now. The secret stays as it is, unless the outlet is new or goes elsewhere or `renew` asks for
/// the one of `row`; whether that was stored.
///
/// # Errors
/// Whatever the database reports.
pub fn put_outlet(conn: &mut Connection, row: &OutletRow, renew: bool) -> QueryResult<bool> {
    lock_outlets(conn, row.user_id)?;
    let known: Option<Vec<u8>> = outlets::table
        .find((row.user_id, &row.kind))
        .filter(outlets::target.eq(&row.target))
        .select(outlets::secret)
        .first(conn)
        .optional()?;
    let kept = known.filter(|_| !renew);
    let is_new = kept.is_none();
    let row = &OutletRow { secret: kept.unwrap_or_else(|| row.secret.clone()), ..row.clone() };
    let wanted: Vec<&str> = row.events.split(',').collect();
    let unwanted = deliveries::table
        .filter(deliveries::user_id.eq(row.user_id))
        .filter(deliveries::kind.eq(&row.kind))
        .filter(deliveries::event.ne_all(wanted));
    diesel::delete(unwanted).execute(conn)?;
    diesel::delete(outlets::table.find((row.user_id, &row.kind))).execute(conn)?;
    diesel::insert_into(outlets::table).values(row).execute(conn)?;
    Ok(is_new)
}

/// Removes an outlet with all that waits for it or was given up; false when there is none.
///
/// # Errors
/// Whatever the database reports.
pub fn remove_outlet(conn: &mut Connection, user: AccountId, kind: &str) -> QueryResult<bool> {
    lock_outlets(conn, i64::from(user.0))?;
    let own = deliveries::table.filter(deliveries::user_id.eq(i64::from(user.0))).filter(deliveries::kind.eq(kind));
    diesel::delete(own).execute(conn)?;
    Ok(diesel::delete(outlets::table.find((i64::from(user.0), kind))).execute(conn)? > 0)
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// For whom, an account number.
    pub user_id: i64,
    /// The kind of outlet.
    pub kind: String,
    /// The event's name.
    pub event: String,
    /// JSON.
    pub payload: String,
    /// µs since 1970.
    pub created_at: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is to be tried, µs since 1970; `None` when it has been given up.
    pub due_at: Option<i64>,
    /// Why the last try failed; may be empty.
    pub last_error: String,
}

/// Puts an event on its way to every outlet of a user that wants it, and says how many there are.
///
/// # Errors
/// Whatever the database reports.
pub fn enqueue(
    conn: &mut Connection,
    user: AccountId,
    event: &str,
    payload: &str,
    now: Timestamp,
) -> QueryResult<usize> {
    enqueue_all(conn, event, &[(user, payload.to_owned())], now)
}

/// The same for many events of one kind, each with whom it concerns and its payload. Of the events of that kind that wait
/// for an outlet the newest [`MOST_WAITING`] are kept.
///
/// # Errors
/// Whatever the database reports.
pub fn enqueue_all(
    conn: &mut Connection,
    event: &str,
    told: &[(AccountId, String)],
    now: Timestamp,
) -> QueryResult<usize> {
    let mut kinds: FxHashMap<i64, Vec<String>> = FxHashMap::default();
    let mut count = 0;
    for (user, payload) in told {
        let id = i64::from(user.0);
        let wanted = match kinds.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let outlets = outlets_of(conn, *user)?.into_iter().filter(|outlet| outlet.wants(event));
                place.insert(outlets.map(|outlet| outlet.kind).collect())
            }
        };
        for kind in wanted.iter() {
            diesel::insert_into(deliveries::table)
                .values((
                    deliveries::user_id.eq(id),
                    deliveries::kind.eq(kind),
                    deliveries::event.eq(event),
                    deliveries::payload.eq(payload),
                    deliveries::created_at.eq(now.0),
                    deliveries::attempts.eq(0),
                    deliveries::due_at.eq(now.0),
                    deliveries::last_error.eq(""),
                ))
                .execute(conn)?;
            count += 1;
        }
    }
    for (user, kinds) in &kinds {
        for kind in kinds {
            forget_oldest(conn, *user, kind, event)?;
        }
    }
    Ok(count)
}

/// Removes the events of one kind that wait for an outlet beyond the newest [`MOST_WAITING`].
fn forget_oldest(conn: &mut Connection, user: i64, kind: &str, event: &str) -> QueryResult<()> {
    let waiting = deliveries::table
        .filter(deliveries::user_id.eq(user))
        .filter(deliveries::kind.eq(kind))
        .filter(deliveries::event.eq(event))
        .filter(deliveries::due_at.is_not_null());
    let newest_beyond: Option<i64> = waiting
        .order(deliveries::id.desc())
        .select(deliveries::id)
        .offset(MOST_WAITING)
        .limit(1)
        .first(conn)
        .optional()?;
    if let Some(newest) = newest_beyond {
        diesel::delete(waiting.filter(deliveries::id.le(newest))).execute(conn)?;
    }
    Ok(())
}

/// Ways out that are counted apart, so that one that hangs does not hold up the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// E-mail, all of which goes through one server.
    Mail,
    /// LINE and webhooks.
    Web,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 2] = [Way::Mail, Way::Web];

    /// The way to outlets of this kind.
    pub fn of_kind(kind: &str) -> Way {
        if kind == MAIL { Way::Mail } else { Way::Web }
    }
}

/// The kind of outlet that is reached by mail.
const MAIL: &str = "email";

/// How many deliveries may be taken to go one way.
#[derive(Clone, Debug)]
pub struct Room {
    /// Which way.
    pub way: Way,
    /// How many more may be taken.
    pub free: usize,
    /// How many of one user may be under way.
    pub most_of_user: usize,
    /// How many are, by user (an account number).
    pub taken: FxHashMap<i64, usize>,
}

impl Room {
    fn is_full_for(&self, user: i64) -> bool {
        self.taken.get(&user).is_some_and(|taken| *taken >= self.most_of_user)
    }
}

/// Whether any delivery is due.
///
/// # Errors
/// Whatever the database reports.
pub fn is_any_due(conn: &mut Connection, now: Timestamp) -> QueryResult<bool> {
    let due = deliveries::table.filter(deliveries::due_at.le(now.0)).select(deliveries::id);
    if due.first::<i64>(conn).optional()?.is_some() {
        return Ok(true);
    }
    let latest = latest_due(conn, now)?;
    let misdated = deliveries::table.filter(deliveries::due_at.gt(latest.0)).select(deliveries::id);
    Ok(misdated.first::<i64>(conn).optional()?.is_some())
}

/// The latest time at which anything can be due, unless it was dated by a clock that was ahead: by the clock of this
/// node and by that of the database. A node that is behind would take from the others what they are about to send, and
/// what they have put off.
fn latest_due(conn: &mut Connection, now: Timestamp) -> QueryResult<Timestamp> {
    Ok(shared_clock(conn)?.map_or(now, |shared| now.max(shared)) + LONGEST_WAIT)
}

/// The time by the clock that all have who share the database; none of a file, which one node has alone.
fn shared_clock(conn: &mut Connection) -> QueryResult<Option<Timestamp>> {
    let Connection::Postgres(inner) = conn else { return Ok(None) };
    let micros = sql::<BigInt>("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)");
    diesel::select(micros).get_result::<i64>(inner).map(|micros| Some(Timestamp(micros)))
}

/// Makes due what was dated by a clock that was ahead.
///
/// # Errors
/// Whatever the database reports.
pub fn mend_dates(conn: &mut Connection, now: Timestamp) -> QueryResult<()> {
    let latest = latest_due(conn, now)?;
    let misdated = deliveries::table.filter(deliveries::due_at.gt(latest.0));
    diesel::update(misdated).set(deliveries::due_at.eq(now.0)).execute(conn).map(drop)
}

/// Takes deliveries that are due for which there is room, those of the event `first` before all others, else the oldest
/// first: they are due again at `again`, so that they come back when whoever took them dies, and no other node takes them
/// meanwhile.
///
/// # Errors
/// Whatever the database reports.
pub fn take_due(
    conn: &mut Connection,
    now: Timestamp,
    again: Timestamp,
    first: &str,
    mut room: Room,
) -> QueryResult<Vec<Delivery>> {
    let mut taken = Vec::new();
    for is_first in [true, false] {
        // Each round but the last fills a user's share, so there are few.
        while room.free > 0 {
            let full: Vec<i64> = room.taken.keys().copied().filter(|user| room.is_full_for(*user)).collect();
            let due: Vec<Delivery> = deliveries::table
                .filter(deliveries::due_at.le(now.0))
                .filter(deliveries::event.eq(first).eq(is_first))
                .filter(deliveries::kind.eq(MAIL).eq(room.way == Way::Mail))
                .filter(deliveries::user_id.ne_all(full))
                .order((deliveries::due_at, deliveries::id))
                .limit(i64::try_from(room.free).unwrap_or(i64::MAX))
                .load(conn)?;
            if !take(conn, due, again, &mut room, &mut taken)? {
                break;
            }
        }
    }
    Ok(taken)
}

/// Takes those of these deliveries for which there is room and which no other node was faster to take; whether any was
/// passed over because its user has no room left.
fn take(
    conn: &mut Connection,
    due: Vec<Delivery>,
    again: Timestamp,
    room: &mut Room,
    taken: &mut Vec<Delivery>,
) -> QueryResult<bool> {
    let mut passed_over = false;
    for delivery in due {
        if room.is_full_for(delivery.user_id) {
            passed_over = true;
            continue;
        }
        let free = deliveries::table.find(delivery.id).filter(deliveries::due_at.eq(delivery.due_at));
        if diesel::update(free).set(deliveries::due_at.eq(again.0)).execute(conn)? > 0 {
            *room.taken.entry(delivery.user_id).or_default() += 1;
            room.free = room.free.saturating_sub(1);
            taken.push(delivery);
        }
    }
    Ok(passed_over)
}

/// A delivery arrived.
///
/// # Errors
/// Whatever the database reports.
pub fn arrived(conn: &mut Connection, id: i64) -> QueryResult<()> {
    diesel::delete(deliveries::table.find(id)).execute(conn).map(drop)
}

/// A delivery failed; it is due again, or given up without a time.
///
/// # Errors
/// Whatever the database reports.
pub fn failed(conn: &mut Connection, id: i64, error: &str, due: Option<Timestamp>) -> QueryResult<()> {
    diesel::update(deliveries::table.find(id))
        .set((
            deliveries::attempts.eq(deliveries::attempts + 1),
            deliveries::due_at.eq(due.map(|at| at.0)),
            deliveries::last_error.eq(error),
        ))
        .execute(conn)
        .map(drop)
}

/// Lets whatever waits for the outlet of a delivery wait until then, since its user is told of nothing more before.
/// Events of the name `apart` and all others are let wait each by themselves.
///
/// # Errors
/// Whatever the database reports.
pub fn postpone(conn: &mut Connection, delivery: &Delivery, apart: &str, until: Timestamp) -> QueryResult<()> {
    let waiting = deliveries::table
        .filter(deliveries::user_id.eq(delivery.user_id))
        .filter(deliveries::kind.eq(&delivery.kind))
        .filter(deliveries::due_at.lt(until.0));
    let later = deliveries::due_at.eq(until.0);
    let postponed = if delivery.event == apart {
        diesel::update(waiting.filter(deliveries::event.eq(apart))).set(later).execute(conn)
    } else {
        diesel::update(waiting.filter(deliveries::event.ne(apart))).set(later).execute(conn)
    };
    postponed.map(drop)
}

/// Deliveries of a user that were given up, newest first, [`MOST_GIVEN_UP`] at most.
///
/// # Errors
/// Whatever the database reports.
pub fn given_up(conn: &mut Connection, user: AccountId) -> QueryResult<Vec<Delivery>> {
    deliveries::table
        .filter(deliveries::user_id.eq(i64::from(user.0)))
        .filter(deliveries::due_at.is_null())
        .order(deliveries::id.desc())
        .limit(MOST_GIVEN_UP)
        .load(conn)
}

/// Removes what was given up beyond a user's newest [`MOST_GIVEN_UP`], and whatever of anybody's was made before `limit`.
///
/// # Errors
/// Whatever the database reports.
pub fn forget_given_up(conn: &mut Connection, user: i64, limit: Timestamp) -> QueryResult<()> {
    let given_up = deliveries::table.filter(deliveries::due_at.is_null());
    let own = given_up.filter(deliveries::user_id.eq(user));
    let newest_beyond: Option<i64> = own
        .order(deliveries::id.desc())
        .select(deliveries::id)
        .offset(MOST_GIVEN_UP)
        .limit(1)
        .first(conn)
        .optional()?;
    if let Some(newest) = newest_beyond {
        diesel::delete(own.filter(deliveries::id.le(newest))).execute(conn)?;
    }
    diesel::delete(given_up.filter(deliveries::created_at.lt(limit.0))).execute(conn).map(drop)
}

/// Tries a delivery of a user that was given up once more; false when there is none.
///
/// # Errors
/// Whatever the database reports.
pub fn retry(conn: &mut Connection, user: AccountId, id: i64, now: Timestamp) -> QueryResult<bool> {
    let own = deliveries::table
        .find(id)
        .filter(deliveries::user_id.eq(i64::from(user.0)))
        .filter(deliveries::due_at.is_null());
    let again = (deliveries::due_at.eq(now.0), deliveries::attempts.eq(0));
    Ok(diesel::update(own).set(again).execute(conn)? > 0)
}

/// How far a source was read; `None` when it never was.
///
/// # Errors
/// Whatever the database reports.
pub fn position(conn: &mut Connection, source: &str) -> QueryResult<Option<i64>> {
    notified::table.find(source).select(notified::position).first(conn).optional()
}

/// Moves on; false when another node has moved on from there already.
///
/// # Errors
/// Whatever the database reports.
pub fn advance(conn: &mut Connection, source: &str, from: Option<i64>, to: i64) -> QueryResult<bool> {
    let changed = match from {
        Some(from) => diesel::update(notified::table.find(source).filter(notified::position.eq(from)))
            .set(notified::position.eq(to))
            .execute(conn)?,
        None => diesel::insert_into(notified::table)
            .values((notified::source.eq(source), notified::position.eq(to)))
            .execute(conn)?,
    };
    Ok(changed > 0)
}

/// The newest trade number of a market in the database; 0 before the first.
fn newest_trade(conn: &mut Connection, market: MarketId) -> QueryResult<i64> {
    let trades = fills::table.filter(fills::market.eq(i32::from(market.0)));
    Ok(trades.select(diesel::dsl::max(fills::trade)).first::<Option<i64>>(conn)?.unwrap_or(0))
}

/// Where a market begins to be read that never was: with its first trade where something has been read before, since it
/// was listed while people could ask for its trades; else after what was traded before anybody could.
///
/// # Errors
/// Whatever the database reports.
pub fn beginning(conn: &mut Connection, market: MarketId) -> QueryResult<i64> {
    if position(conn, TRANSFERS)?.is_some() { Ok(0) } else { newest_trade(conn, market) }
}

/// The newest number of a ledger entry; 0 before the first.
///
/// # Errors
/// Whatever the database reports.
pub fn newest_entry(conn: &mut Connection) -> QueryResult<i64> {
    Ok(ledger_entries::table.select(diesel::dsl::max(ledger_entries::id)).first::<Option<i64>>(conn)?.unwrap_or(0))
}

/// A movement of money in or out: number, account, currency, signed amount in atoms.
pub type Moved = (i64, i64, i32, String);

/// Movements of money in a part of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movements {
    /// The movements, oldest first.
    pub moved: Vec<Moved>,
    /// The number of the last entry that was looked at, whether money moved in or out with it or not.
    pub through: i64,
    /// Whether there are entries after it.
    pub more: bool,
}

impl Movements {
    /// Those that can be told by whoever knows so many currencies. What comes after them waits until more are known: a
    /// node may hear of a new currency later than money of it moves.
    #[must_use]
    pub fn in_known(mut self, currencies: usize) -> Movements {
        let is_unknown = |currency: i32| usize::try_from(currency).is_ok_and(|place| place >= currencies);
        let unknown = self.moved.iter().find(|(_, _, currency, _)| is_unknown(*currency)).map(|(id, ..)| *id);
        if let Some(first) = unknown {
            self.moved.retain(|(id, ..)| *id < first);
            (self.through, self.more) = (first - 1, false);
        }
        self
    }
}

/// Movements of money after this number, at most so many, among the next [`ENTRIES_AT_ONCE`] entries.
///
/// No entry before the newest one turns up later: they get their numbers without gaps, in one transaction after another
/// (see `projection::write`, which holds a lock). It is looked up first, so it need not be done in a transaction.
///
/// # Errors
/// Whatever the database reports.
pub fn transfers_after(conn: &mut Connection, id: i64, most: i64) -> QueryResult<Movements> {
    let newest = newest_entry(conn)?;
    let until = newest.min(id.saturating_add(ENTRIES_AT_ONCE));
    if until <= id {
        return Ok(Movements { moved: Vec::new(), through: id, more: false });
    }
    let moved: Vec<Moved> = ledger_entries::table
        .filter(ledger_entries::id.gt(id))
        .filter(ledger_entries::id.le(until))
        .filter(ledger_entries::transfer.is_not_null())
        .order(ledger_entries::id)
        .limit(most)
        .select((ledger_entries::id, ledger_entries::account, ledger_entries::currency, ledger_entries::amount))
        .load(conn)?;
    let through = match moved.last() {
        Some((last, ..)) if moved.len() as i64 >= most => *last,
        Some(_) | None => until,
    };
    Ok(Movements { moved, through, more: through < newest })
}

/// Which of these accounts have an outlet that wants this event.
///
/// # Errors
/// Whatever the database reports.
pub fn listeners(conn: &mut Connection, event: &str, accounts: Vec<i64>) -> QueryResult<Vec<i64>> {
    let rows: Vec<(i64, String)> = outlets::table
        .filter(outlets::user_id.eq_any(accounts))
        .select((outlets::user_id, outlets::events))
        .load(conn)?;
    Ok(rows.into_iter().filter(|(_, events)| names(events, event)).map(|(id, _)| id).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests;
