//! Statistics, answered from what was rolled up.

use super::clicks::Click;
use super::column;
use super::schema::{link_clicks as c, link_stats as s, links as l};
use crate::domain::ids::AccountId;
use crate::domain::link::LinkId;
use crate::domain::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::persistence::db::Connection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use std::collections::BTreeMap;

/// What clicks are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// All clicks of people.
    Total,
    /// The host of the page before.
    Referrer,
    /// The kind of device.
    Device,
    /// The operating system.
    Os,
    /// The browser.
    Browser,
    /// The language.
    Language,
    /// The country.
    Country,
    /// Robots, by name.
    Bot,
    /// Where a rule has led.
    Target,
    /// Visitors of a day, each once.
    Unique,
}

impl Dimension {
    /// Those that break clicks down, with their name on the wire.
    pub const BREAKDOWNS: [(&'static str, Dimension); 8] = [
        ("referrers", Dimension::Referrer),
        ("devices", Dimension::Device),
        ("systems", Dimension::Os),
        ("browsers", Dimension::Browser),
        ("languages", Dimension::Language),
        ("countries", Dimension::Country),
        ("bots", Dimension::Bot),
        ("targets", Dimension::Target),
    ];

    /// The code in the database.
    pub fn code(self) -> i32 {
        match self {
            Dimension::Total => 0,
            Dimension::Referrer => 1,
            Dimension::Device => 2,
            Dimension::Os => 3,
            Dimension::Browser => 4,
            Dimension::Language => 5,
            Dimension::Country => 6,
            Dimension::Bot => 7,
            Dimension::Target => 8,
            Dimension::Unique => 9,
        }
    }
}

/// How fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Minutes, kept for two days.
    Minute,
    /// Hours, kept for 90 days.
    Hour,
    /// Days (UTC), kept for ever.
    Day,
}

impl Grain {
    /// All of them.
    pub const ALL: [Grain; 3] = [Grain::Minute, Grain::Hour, Grain::Day];

    /// The code in the database.
    pub fn code(self) -> i32 {
        match self {
            Grain::Minute => 0,
            Grain::Hour => 1,
            Grain::Day => 2,
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Grain::Minute => "minute",
            Grain::Hour => "hour",
            Grain::Day => "day",
        }
    }

    /// µs of one bucket.
    pub fn width(self) -> i64 {
        match self {
            Grain::Minute => MINUTE,
            Grain::Hour => HOUR,
            Grain::Day => DAY,
        }
    }
}

/// Which part of time, in which buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// How fine.
    pub grain: Grain,
    /// The first bucket that counts.
    pub from: Timestamp,
    /// The end, which does not count.
    pub to: Timestamp,
}

/// Clicks of people and of robots by bucket, oldest first; buckets without any are left out.
///
/// # Errors
/// Those of the database.
pub fn series(conn: &mut Connection, link: LinkId, range: Range) -> QueryResult<Vec<(Timestamp, i64, i64)>> {
    let both = [Dimension::Total.code(), Dimension::Bot.code()];
    let rows: Vec<(i64, i32, i64)> = s::table
        .filter(s::link.eq(link.0))
        .filter(s::dimension.eq_any(both))
        .filter(s::grain.eq(range.grain.code()))
        .filter(s::bucket.ge(range.from.0))
        .filter(s::bucket.lt(range.to.0))
        .select((s::bucket, s::dimension, s::clicks))
        .load(conn)?;
    Ok(by_bucket(rows))
}

fn by_bucket(rows: Vec<(i64, i32, i64)>) -> Vec<(Timestamp, i64, i64)> {
    let mut buckets = BTreeMap::<i64, (i64, i64)>::new();
    for (bucket, dimension, clicks) in rows {
        let (people, bots) = buckets.entry(bucket).or_default();
        *(if dimension == Dimension::Bot.code() { bots } else { people }) += clicks;
    }
    buckets.into_iter().map(|(bucket, (people, bots))| (Timestamp(bucket), people, bots)).collect()
}

/// The values with the most clicks.
///
/// # Errors
/// Those of the database.
pub fn top(
    conn: &mut Connection,
    link: LinkId,
    dimension: Dimension,
    range: Range,
    count: i64,
) -> QueryResult<Vec<(String, i64)>> {
    s::table
        .filter(s::link.eq(link.0))
        .filter(s::dimension.eq(dimension.code()))
        .filter(s::grain.eq(range.grain.code()))
        .filter(s::bucket.ge(range.from.0))
        .filter(s::bucket.lt(range.to.0))
        .group_by(s::value)
        .select((s::value, sql::<BigInt>("CAST(sum(clicks) AS BIGINT)")))
        .order((sql::<BigInt>("2").desc(), s::value.asc()))
        .limit(count)
        .load(conn)
}

/// Different visitors by day.
///
/// # Errors
/// Those of the database.
pub fn unique(
    conn: &mut Connection,
    link: LinkId,
    from: Timestamp,
    to: Timestamp,
) -> QueryResult<Vec<(Timestamp, i64)>> {
    let rows: Vec<(i64, i64)> = s::table
        .filter(s::link.eq(link.0))
        .filter(s::dimension.eq(Dimension::Unique.code()))
        .filter(s::grain.eq(Grain::Day.code()))
        .filter(s::bucket.ge(from.bucket(DAY).0))
        .filter(s::bucket.lt(to.0))
        .order(s::bucket)
        .select((s::bucket, s::clicks))
        .load(conn)?;
    Ok(rows.into_iter().map(|(bucket, count)| (Timestamp(bucket), count)).collect())
}

/// The same as [`series`] over all links of an owner.
///
/// # Errors
/// Those of the database.
pub fn series_of(conn: &mut Connection, owner: AccountId, range: Range) -> QueryResult<Vec<(Timestamp, i64, i64)>> {
    let both = [Dimension::Total.code(), Dimension::Bot.code()];
    let own = l::table.filter(l::owner.eq(column(owner))).select(l::id);
    let rows: Vec<(i64, i32, i64)> = s::table
        .filter(s::link.eq_any(own))
        .filter(s::dimension.eq_any(both))
        .filter(s::grain.eq(range.grain.code()))
        .filter(s::bucket.ge(range.from.0))
        .filter(s::bucket.lt(range.to.0))
        .group_by((s::bucket, s::dimension))
        .select((s::bucket, s::dimension, sql::<BigInt>("CAST(sum(clicks) AS BIGINT)")))
        .load(conn)?;
    Ok(by_bucket(rows))
}

/// The links of an owner that were followed most in a range.
///
/// # Errors
/// Those of the database.
pub fn top_links(conn: &mut Connection, owner: AccountId, range: Range, count: i64) -> QueryResult<Vec<(LinkId, i64)>> {
    let own = l::table.filter(l::owner.eq(column(owner))).select(l::id);
    let rows: Vec<(i64, i64)> = s::table
        .filter(s::link.eq_any(own))
        .filter(s::dimension.eq(Dimension::Total.code()))
        .filter(s::grain.eq(range.grain.code()))
        .filter(s::bucket.ge(range.from.0))
        .filter(s::bucket.lt(range.to.0))
        .group_by(s::link)
        .select((s::link, sql::<BigInt>("CAST(sum(clicks) AS BIGINT)")))
        .order((sql::<BigInt>("2").desc(), s::link.asc()))
        .limit(count)
        .load(conn)?;
    Ok(rows.into_iter().map(|(link, clicks)| (LinkId(link), clicks)).collect())
}

type Row = (i64, i64, i64, i64, i64, String, String, String, String, String, String, String, String);

/// Where a page of single clicks begins: time, buffer and number of the last one before it.
pub type Place = (i64, i64, i64);

/// Single clicks, newest first, each with its place.
///
/// # Errors
/// Those of the database.
pub fn clicks(
    conn: &mut Connection,
    link: LinkId,
    before: Option<Place>,
    count: i64,
) -> QueryResult<Vec<(Place, Click)>> {
    let mut query = c::table.filter(c::link.eq(link.0)).into_boxed();
    if let Some((at, buffer, click)) = before {
        let earlier = c::buffer.lt(buffer).or(c::buffer.eq(buffer).and(c::click.lt(click)));
        query = query.filter(c::at.lt(at).or(c::at.eq(at).and(earlier)));
    }
    let rows: Vec<Row> = query
        .order((c::at.desc(), c::buffer.desc(), c::click.desc()))
        .limit(count)
        .select(c::all_columns)
        .load(conn)?;
    let read = |row: Row| {
        let (link, at, buffer, click, visitor, referrer, device, os, browser, language, country, bot, target) = row;
        let (link, place) = (LinkId(link), (at, buffer, click));
        let at = Timestamp(at);
        let click = Click { link, at, visitor, referrer, device, os, browser, language, country, bot, target };
        (place, click)
    };
    Ok(rows.into_iter().map(read).collect())
}
