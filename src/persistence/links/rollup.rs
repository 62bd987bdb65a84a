//! Clicks rolled up: counts for each minute, hour and day, in one transaction with how far the
//! buffer was read. So each click counts exactly once, whatever breaks in between.

use super::clicks::Click;
use super::schema::{link_click_marks as m, link_clicks, link_salts, link_stats, link_visitors, links as l};
use super::stats::{Dimension, Grain};
use crate::domain::link::visitor::OTHER;
use crate::domain::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::persistence::db::{Connection, bulk, bulk_insert};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// Of the lock under which nodes that share a database roll up; any number would do.
const LOCK: i64 = 0x6167_6f72_6102;
/// Minutes are kept for this long, µs.
pub const KEEP_MINUTES: i64 = 2 * DAY;
/// Hours are kept for this long, µs.
pub const KEEP_HOURS: i64 = 90 * DAY;

/// Referrers of a link that have a name in the counts of one day. Anybody can make them up, and days are kept for ever:
/// what comes after these counts as `other`.
pub const MAX_REFERRERS: usize = 200;
/// Links that one statement looks for.
const AT_ONCE: usize = 500;

type Key<'a> = (i64, i32, i32, i64, &'a str);

/// How far a buffer was rolled up.
///
/// # Errors
/// Those of the database.
pub fn mark(conn: &mut Connection, buffer: i64) -> QueryResult<u64> {
    let mark = m::table.find(buffer).select(m::click).first::<i64>(conn).optional()?;
    Ok(mark.map_or(0, |mark| u64::try_from(mark).unwrap_or(0)))
}

/// What clicks have in common that count in the same places.
#[derive(PartialEq, Eq, Hash)]
struct Alike<'a> {
    link: i64,
    minute: i64,
    values: [&'a str; 8],
}

impl Alike<'_> {
    fn of(click: &Click) -> Alike<'_> {
        let values = [
            &click.bot,
            &click.referrer,
            &click.device,
            &click.os,
            &click.browser,
            &click.language,
            &click.country,
            &click.target,
        ];
        Alike { link: click.link.0, minute: click.at.bucket(MINUTE).0, values: values.map(String::as_str) }
    }
}

#[derive(Default)]
struct OfLink {
    people: i64,
    bots: i64,
    last: i64,
}

struct Row<'a> {
    key: Key<'a>,
    clicks: i64,
}

/// Adds the clicks after `after` up to `through` of a buffer, if the database stands exactly there.
/// False when it does not: whoever asks reads the mark anew. `raw`: whether clicks are kept one by one.
///
/// # Errors
/// Those of the database.
pub fn add(
    conn: &mut Connection,
    buffer: i64,
    after: u64,
    through: u64,
    clicks: &[Click],
    raw: bool,
) -> QueryResult<bool> {
    conn.lock(LOCK)?;
    if mark(conn, buffer)? != after {
        return Ok(false);
    }
    // Clicks of a minute that are alike first: there are far fewer kinds than clicks.
    let mut alike = FxHashMap::<Alike<'_>, (i64, &Click)>::default();
    let mut visitors = FxHashSet::default();
    for click in clicks {
        let (count, newest) = alike.entry(Alike::of(click)).or_insert((0, click));
        *count += 1;
        if click.at > newest.at {
            *newest = click;
        }
        if click.bot.is_empty() {
            visitors.insert((click.at.bucket(DAY).0, click.link.0, click.visitor));
        }
    }
    let unnamed = unnamed_referrers(conn, alike.values().map(|(_, click)| *click))?;
    let mut counts = BTreeMap::<Key<'_>, i64>::new();
    let mut links = BTreeMap::<i64, OfLink>::new();
    for (count, click) in alike.into_values() {
        let link = links.entry(click.link.0).or_default();
        link.last = link.last.max(click.at.0);
        *(if click.bot.is_empty() { &mut link.people } else { &mut link.bots }) += count;
        for (dimension, value) in values(click) {
            let unnamed = dimension == Dimension::Referrer && unnamed.contains(&origin(click));
            let value = if unnamed { OTHER } else { value };
            for grain in Grain::ALL {
                let bucket = click.at.bucket(grain.width()).0;
                *counts.entry((click.link.0, dimension.code(), grain.code(), bucket, value)).or_insert(0) += count;
            }
        }
    }
    // In order, so that two nodes never wait for each other's rows.
    let mut visitors: Vec<_> = visitors.into_iter().collect();
    visitors.sort_unstable();
    let fresh = add_visitors(conn, &visitors)?;
    for ((day, link), count) in &fresh {
        counts.insert((*link, Dimension::Unique.code(), Grain::Day.code(), *day, ""), *count);
    }
    let rows: Vec<Row<'_>> = counts.into_iter().map(|(key, clicks)| Row { key, clicks }).collect();
    bulk_insert!(conn, "link_stats", &rows, |row| {
        link: BigInt = row.key.0,
        dimension: Integer = row.key.1,
        grain: Integer = row.key.2,
        bucket: BigInt = row.key.3,
        value: Text = row.key.4,
        clicks: BigInt = row.clicks,
    }, "ON CONFLICT (link, dimension, grain, bucket, value) DO UPDATE SET clicks = link_stats.clicks + excluded.clicks")?;
    add_to_links(conn, &links)?;
    if raw {
        keep(conn, buffer, after + 1, clicks)?;
    }
    let end = m::click.eq(i64::try_from(through).unwrap_or(i64::MAX));
    if diesel::update(m::table.find(buffer)).set(end).execute(conn)? == 0 {
        diesel::insert_into(m::table).values((m::buffer.eq(buffer), end)).execute(conn)?;
    }
    Ok(true)
}

/// A click's day, link and referrer.
fn origin(click: &Click) -> (i64, i64, &str) {
    (click.at.bucket(DAY).0, click.link.0, &click.referrer)
}

/// Referrers of these clicks that have no name in the counts of their day and link, since others came first. The lock of
/// the roll-up is held, so nobody else adds a name meanwhile.
fn unnamed_referrers<'a>(
    conn: &mut Connection,
    clicks: impl Iterator<Item = &'a Click>,
) -> QueryResult<BTreeSet<(i64, i64, &'a str)>> {
    let mut days = BTreeMap::<i64, BTreeMap<i64, BTreeMap<&str, i64>>>::new();
    for click in clicks.filter(|click| click.bot.is_empty() && !click.referrer.is_empty()) {
        let (day, link, referrer) = origin(click);
        let first = days.entry(day).or_default().entry(link).or_default().entry(referrer).or_insert(click.at.0);
        *first = click.at.0.min(*first);
    }
    let mut unnamed = BTreeSet::new();
    for (day, links) in days {
        let referrers = link_stats::dimension.eq(Dimension::Referrer.code());
        let of_day = link_stats::grain.eq(Grain::Day.code()).and(link_stats::bucket.eq(day));
        let mut named = BTreeMap::<i64, i64>::new();
        let ids: Vec<i64> = links.keys().copied().collect();
        for ids in ids.chunks(AT_ONCE) {
            let counted: Vec<(i64, i64)> = link_stats::table
                .filter(link_stats::link.eq_any(ids.to_vec()))
                .filter(referrers)
                .filter(of_day)
                .group_by(link_stats::link)
                .select((link_stats::link, diesel::dsl::count_star()))
                .load(conn)?;
            named.extend(counted);
        }
        for (link, new) in links {
            let named = named.get(&link).map_or(0, |count| usize::try_from(*count).unwrap_or(MAX_REFERRERS));
            // Mostly there is room for all of them, whether they are there already or not.
            if named + new.len() <= MAX_REFERRERS {
                continue;
            }
            let of_link = link_stats::table.filter(link_stats::link.eq(link)).filter(referrers).filter(of_day);
            // Beside those with a name, clicks without a referrer and the others.
            let known: Vec<String> = of_link.select(link_stats::value).limit(MAX_REFERRERS as i64 + 2).load(conn)?;
            let known: BTreeSet<&str> =
                known.iter().map(String::as_str).filter(|value| !value.is_empty() && *value != OTHER).collect();
            let mut new: Vec<(i64, &str)> = new.into_iter().map(|(referrer, first)| (first, referrer)).collect();
            new.sort_unstable();
            let new = new.into_iter().map(|(_, referrer)| referrer).filter(|referrer| !known.contains(referrer));
            let room = MAX_REFERRERS.saturating_sub(known.len());
            unnamed.extend(new.skip(room).map(|referrer| (day, link, referrer)));
        }
    }
    Ok(unnamed)
}

/// What a click counts for. Robots are counted by themselves, so that the rest is about people.
fn values(click: &Click) -> Vec<(Dimension, &str)> {
    if !click.bot.is_empty() {
        return vec![(Dimension::Bot, &click.bot)];
    }
    let mut all = vec![
        (Dimension::Total, ""),
        (Dimension::Referrer, click.referrer.as_str()),
        (Dimension::Device, &click.device),
        (Dimension::Os, &click.os),
        (Dimension::Browser, &click.browser),
        (Dimension::Language, &click.language),
        (Dimension::Country, &click.country),
    ];
    if !click.target.is_empty() {
        all.push((Dimension::Target, &click.target));
    }
    all
}

#[derive(QueryableByName)]
struct Fresh {
    #[diesel(sql_type = BigInt)]
    day: i64,
    #[diesel(sql_type = BigInt)]
    link: i64,
}

/// How many of these visitors are new to their link on that day.
fn add_visitors(conn: &mut Connection, visitors: &[(i64, i64, i64)]) -> QueryResult<BTreeMap<(i64, i64), i64>> {
    /// Names the statement for diesel.
    struct Visited;
    const COLUMNS: &[&str] = &["day", "link", "visitor"];
    let conflict = "ON CONFLICT DO NOTHING";
    let mut fresh = BTreeMap::new();
    match conn {
        Connection::Postgres(inner) => {
            for chunk in visitors.chunks(bulk::POSTGRES_ROWS) {
                let sql = bulk::from_arrays("link_visitors", COLUMNS, conflict) + " RETURNING day, link";
                let column = |pick: fn(&(i64, i64, i64)) -> i64| chunk.iter().map(pick).collect::<Vec<_>>();
                let added: Vec<Fresh> = diesel::sql_query(sql)
                    .bind::<Array<BigInt>, _>(column(|row| row.0))
                    .bind::<Array<BigInt>, _>(column(|row| row.1))
                    .bind::<Array<BigInt>, _>(column(|row| row.2))
                    .load(inner)?;
                for Fresh { day, link } in added {
                    *fresh.entry((day, link)).or_insert(0) += 1;
                }
            }
        }
        Connection::Sqlite(inner) => {
            for (day, link, visitor) in visitors {
                let value = |value| diesel::IntoSql::into_sql::<BigInt>(value);
                let row = (value(*day), value(*link), value(*visitor));
                if bulk::FromValues::<_, Visited, _>::new("link_visitors", COLUMNS, [row], conflict).execute(inner)? > 0
                {
                    *fresh.entry((*day, *link)).or_insert(0) += 1;
                }
            }
        }
    }
    Ok(fresh)
}

fn add_to_links(conn: &mut Connection, links: &BTreeMap<i64, OfLink>) -> QueryResult<()> {
    match conn {
        Connection::Postgres(inner) => {
            let column = |pick: fn(&OfLink) -> i64| links.values().map(pick).collect::<Vec<_>>();
            let ids: Vec<i64> = links.keys().copied().collect();
            // Whoever writes links locks them in the order of their numbers; an update of many takes them as they come.
            diesel::sql_query("SELECT id FROM links WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE")
                .bind::<Array<BigInt>, _>(&ids)
                .execute(inner)?;
            diesel::sql_query(
                "UPDATE links SET clicks = links.clicks + n.people, bot_clicks = links.bot_clicks + n.bots, \
                 last_click_at = GREATEST(COALESCE(links.last_click_at, 0), n.last) \
                 FROM unnest($1, $2, $3, $4) AS n (id, people, bots, last) WHERE links.id = n.id",
            )
            .bind::<Array<BigInt>, _>(&ids)
            .bind::<Array<BigInt>, _>(column(|link| link.people))
            .bind::<Array<BigInt>, _>(column(|link| link.bots))
            .bind::<Array<BigInt>, _>(column(|link| link.last))
            .execute(inner)
            .map(drop)
        }
        Connection::Sqlite(inner) => {
            for (id, added) in links {
                diesel::update(l::table.find(id))
                    .set((
                        l::clicks.eq(l::clicks + added.people),
                        l::bot_clicks.eq(l::bot_clicks + added.bots),
                        l::last_click_at.eq(added.last),
                    ))
                    .execute(inner)?;
            }
            Ok(())
        }
    }
}

fn keep(conn: &mut Connection, buffer: i64, first: u64, clicks: &[Click]) -> QueryResult<()> {
    let first = i64::try_from(first).unwrap_or(i64::MAX);
    let rows: Vec<(i64, i64, &Click)> = (first..).zip(clicks).map(|(number, click)| (buffer, number, click)).collect();
    bulk_insert!(conn, "link_clicks", &rows, |row| {
        link: BigInt = row.2.link.0,
        at: BigInt = row.2.at.0,
        buffer: BigInt = row.0,
        click: BigInt = row.1,
        visitor: BigInt = row.2.visitor,
        referrer: Text = &row.2.referrer,
        device: Text = &row.2.device,
        os: Text = &row.2.os,
        browser: Text = &row.2.browser,
        language: Text = &row.2.language,
        country: Text = &row.2.country,
        bot: Text = &row.2.bot,
        target: Text = &row.2.target,
    }, "ON CONFLICT DO NOTHING")
}

/// The salt of a day, which all nodes share; made when there is none yet.
///
/// # Errors
/// Those of the database.
pub fn salt(conn: &mut Connection, day: Timestamp, made: &str) -> QueryResult<String> {
    let row = (link_salts::day.eq(day.0), link_salts::salt.eq(made));
    crate::on_either!(conn, inner => {
        diesel::insert_into(link_salts::table).values(row).on_conflict_do_nothing().execute(inner)
    })?;
    link_salts::table.find(day.0).select(link_salts::salt).first(conn)
}

/// Removes what is kept for a time only, of each kind about `most` rows at once; whether there may be more. Clicks
/// before `rolled` were rolled up. `keep_raw`: µs that single clicks are kept.
///
/// # Errors
/// Those of the database.
pub fn prune(conn: &mut Connection, now: Timestamp, rolled: Timestamp, keep_raw: i64, most: i64) -> QueryResult<bool> {
    // The salt goes soon after its day: what it has hashed names nobody from then on.
    let forget = (now + -HOUR).bucket(DAY).0;
    diesel::delete(link_salts::table.filter(link_salts::day.lt(forget))).execute(conn)?;
    let mut more = false;
    for (grain, keep) in [(Grain::Minute, KEEP_MINUTES), (Grain::Hour, KEEP_HOURS)] {
        let of_grain = link_stats::table.filter(link_stats::grain.eq(grain.code()));
        let limit = (now + -keep).0;
        let last: Option<i64> = of_grain
            .filter(link_stats::bucket.lt(limit))
            .order(link_stats::bucket)
            .select(link_stats::bucket)
            .offset(most)
            .limit(1)
            .first(conn)
            .optional()?;
        more |= last.is_some();
        // All of one moment go together, so that each time some go.
        let end = last.map_or(limit, |last| last + 1);
        diesel::delete(of_grain.filter(link_stats::bucket.lt(end))).execute(conn)?;
    }
    let limit = (now + -keep_raw).0;
    let last: Option<i64> = link_clicks::table
        .filter(link_clicks::at.lt(limit))
        .order(link_clicks::at)
        .select(link_clicks::at)
        .offset(most)
        .limit(1)
        .first(conn)
        .optional()?;
    more |= last.is_some();
    let end = last.map_or(limit, |last| last + 1);
    diesel::delete(link_clicks::table.filter(link_clicks::at.lt(end))).execute(conn)?;
    // Clicks of the day before may still be on their way: a visitor who is forgotten before them would count twice.
    Ok(prune_visitors(conn, (now.min(rolled).bucket(DAY) + -DAY).0, most)? || more)
}

/// Removes visitors of the days before this one, at most so many at once; whether there may be more.
fn prune_visitors(conn: &mut Connection, limit: i64, most: i64) -> QueryResult<bool> {
    let next: Option<(i64, i64, i64)> = link_visitors::table
        .filter(link_visitors::day.lt(limit))
        .order((link_visitors::day, link_visitors::link, link_visitors::visitor))
        .select((link_visitors::day, link_visitors::link, link_visitors::visitor))
        .offset(most)
        .limit(1)
        .first(conn)
        .optional()?;
    let Some((day, link, visitor)) = next else {
        diesel::delete(link_visitors::table.filter(link_visitors::day.lt(limit))).execute(conn)?;
        return Ok(false);
    };
    // Of many days or links, and of one link that many have followed: the key finds each of them.
    diesel::delete(link_visitors::table.filter(link_visitors::day.lt(day))).execute(conn)?;
    let of_day = link_visitors::table.filter(link_visitors::day.eq(day));
    diesel::delete(of_day.filter(link_visitors::link.lt(link))).execute(conn)?;
    let of_link = of_day.filter(link_visitors::link.eq(link));
    diesel::delete(of_link.filter(link_visitors::visitor.lt(visitor))).execute(conn)?;
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::link::LinkId;
    use crate::persistence::db::Database;
    use crate::persistence::links::stats;

    fn click(at: i64, visitor: i64, referrer: &str, bot: &str) -> Click {
        Click {
            link: LinkId(1),
            at: Timestamp(at),
            visitor,
            referrer: referrer.into(),
            device: "desktop".into(),
            os: "Linux".into(),
            browser: "Firefox".into(),
            language: "de".into(),
            country: "AT".into(),
            bot: bot.into(),
            target: String::new(),
        }
    }

    #[test]
    fn a_click_counts_once_however_often_it_is_handed_in() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let clicks = [
            click(10, 1, "a.example", ""),
            click(20, 1, "b.example", ""),
            click(MINUTE + 1, 2, "a.example", ""),
            click(30, 3, "", "curl"),
        ];
        let add = |after, through, clicks: &[Click]| database.write(|conn| add(conn, 9, after, through, clicks, true));
        assert!(add(0, 4, &clicks).unwrap());
        assert!(!add(0, 4, &clicks).unwrap(), "the same once more");
        assert!(add(4, 5, &[click(40, 1, "a.example", "")]).unwrap());
        let range = stats::Range { grain: Grain::Minute, from: Timestamp(0), to: Timestamp(DAY) };
        let series = database.read(|conn| stats::series(conn, LinkId(1), range)).unwrap();
        assert_eq!(series, [(Timestamp(0), 3, 1), (Timestamp(MINUTE), 1, 0)]);
        let top = database.read(|conn| stats::top(conn, LinkId(1), Dimension::Referrer, range, 10)).unwrap();
        assert_eq!(top, [("a.example".to_string(), 3), ("b.example".to_string(), 1)]);
        let unique = database.read(|conn| stats::unique(conn, LinkId(1), Timestamp(0), Timestamp(DAY))).unwrap();
        assert_eq!(unique, [(Timestamp(0), 2)]);
        let raw = database.read(|conn| stats::clicks(conn, LinkId(1), None, 10)).unwrap();
        assert_eq!(raw.len(), 5);
        assert!(!database.write(|conn| prune(conn, Timestamp(3 * DAY), Timestamp(3 * DAY), DAY, 100)).unwrap());
        assert!(database.read(|conn| stats::series(conn, LinkId(1), range)).unwrap().is_empty());
        let days = stats::Range { grain: Grain::Day, ..range };
        assert_eq!(database.read(|conn| stats::series(conn, LinkId(1), days)).unwrap(), [(Timestamp(0), 4, 1)]);
        assert!(database.read(|conn| stats::clicks(conn, LinkId(1), None, 10)).unwrap().is_empty());
    }

    #[test]
    fn referrers_that_are_made_up_leave_only_so_many_rows() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        for round in 0..10_i64 {
            let made_up = |number: i64| click(DAY + number, number, &format!("{number}.example"), "");
            let mut clicks: Vec<Click> = (round * 1_000..(round + 1) * 1_000).map(made_up).collect();
            // One that is known, and one without a referrer.
            clicks.extend([made_up(0), click(DAY, 1, "", "")]);
            let done = 1_002 * round as u64;
            assert!(database.write(|conn| add(conn, 9, done, done + 1_002, &clicks, false)).unwrap());
        }
        let rows = |grain: Grain| {
            let all = link_stats::table.filter(link_stats::dimension.eq(Dimension::Referrer.code()));
            let all = all.filter(link_stats::grain.eq(grain.code()));
            let all = all.select((link_stats::value, link_stats::clicks));
            let rows: Vec<(String, i64)> = database.read(|conn| all.load(conn)).unwrap();
            rows.into_iter().collect::<BTreeMap<_, _>>()
        };
        for grain in Grain::ALL {
            let rows = rows(grain);
            assert_eq!(rows.len(), MAX_REFERRERS + 2, "{grain:?}: with the others and those without a referrer");
            assert_eq!((rows["0.example"], rows["199.example"], rows[""]), (11, 1, 10), "{grain:?}");
            assert_eq!(rows[OTHER], 10_000 - MAX_REFERRERS as i64, "{grain:?}");
        }
        // Another day begins anew, and so does another link.
        let elsewhere = Click { link: LinkId(2), ..click(DAY + 1, 1, "b.example", "") };
        let clicks = [click(2 * DAY, 1, "a.example", ""), elsewhere];
        assert!(database.write(|conn| add(conn, 9, 10_020, 10_022, &clicks, false)).unwrap());
        let rows = rows(Grain::Day);
        assert_eq!((rows["a.example"], rows["b.example"]), (1, 1));
    }

    #[test]
    fn what_is_too_old_goes_some_rows_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let clicks: Vec<Click> = (0..10).map(|number| click(number * MINUTE, number, "a.example", "")).collect();
        assert!(database.write(|conn| add(conn, 9, 0, 10, &clicks, true)).unwrap());
        let now = Timestamp(5 * DAY);
        let prune = |rolled| database.write(|conn| prune(conn, now, rolled, DAY, 3)).unwrap();
        let visitors = || database.read(|conn| link_visitors::table.count().get_result::<i64>(conn)).unwrap();
        let raw = || database.read(|conn| link_clicks::table.count().get_result::<i64>(conn)).unwrap();
        let minutes = || {
            let of_grain = link_stats::table.filter(link_stats::grain.eq(Grain::Minute.code()));
            database.read(|conn| of_grain.count().get_result::<i64>(conn)).unwrap()
        };
        assert!(prune(Timestamp(2 * DAY - 1)));
        assert_eq!((visitors(), raw()), (10, 6), "clicks of the second day wait, and perhaps some of the first");
        assert!(minutes() > 0);
        assert!(prune(now));
        assert_eq!((visitors(), raw()), (7, 2));
        while prune(now) {}
        assert_eq!((visitors(), raw(), minutes()), (0, 0, 0));
    }
}
