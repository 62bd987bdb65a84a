//! The events of the markets, as the feed numbers them: runs of them, each compressed into one row.
//!
//! Content of a row: version (one byte, 1), then zstd of the postcard form of `(sequence, time, event)` triples.

use super::db::{Backend, Connection, on_either};
use super::schema::market_events;
use crate::domain::event::Event;
use crate::domain::ids::{MarketId, Sequence};
use crate::domain::replica::MarketOutcomes;
use crate::domain::time::Timestamp;
use diesel::prelude::*;

const VERSION: u8 = 1;
/// How many events one row holds at most, unless a single batch has more.
const RUN: usize = 4_096;
/// A row larger than this when it is unpacked is not one of ours.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// An event with its feed sequence and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The feed sequence; that of the public event before it, for a private one.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Events of one market that wait to be written.
#[derive(Debug, Default)]
pub struct Runs(Vec<Run>);

#[derive(Debug)]
struct Run {
    entry: Sequence,
    first_sequence: u64,
    last_sequence: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    events: Vec<(u64, i64, Event)>,
}

impl Runs {
    /// Adds what a batch did.
    pub fn add(&mut self, outcomes: &MarketOutcomes) {
        let kept = |event: &&Event| {
            !matches!(event, Event::Rejected { .. } | Event::Refused { .. } | Event::BatchRefused { .. })
        };
        if !outcomes.events.iter().any(|event| kept(&event)) {
            return;
        }
        if self.0.last().is_none_or(|run| run.events.len() >= RUN) {
            self.0.push(Run {
                entry: outcomes.first,
                first_sequence: outcomes.feed_before + 1,
                last_sequence: outcomes.feed_before,
                first_at: outcomes.at,
                last_at: outcomes.at,
                events: Vec::new(),
            });
        }
        if let Some(run) = self.0.last_mut() {
            let numbered = outcomes.numbered().filter(|(_, event)| kept(event));
            run.events.extend(numbered.map(|(sequence, event)| (sequence, outcomes.at.0, event.clone())));
            run.last_sequence = outcomes.feed_after();
            run.last_at = outcomes.at;
        }
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> diesel::result::Error {
    diesel::result::Error::SerializationError(Box::new(error))
}

/// Writes runs; a repeat changes nothing.
///
/// # Errors
/// Those of the database.
pub fn insert(connection: &mut Connection, market: MarketId, Runs(runs): &Runs) -> QueryResult<()> {
    for run in runs {
        let plain = postcard::to_stdvec(&run.events).map_err(unusable)?;
        let mut content = vec![VERSION];
        content.extend(zstd::bulk::compress(&plain, 1).map_err(unusable)?);
        let row = (
            market_events::market.eq(i32::from(market.0)),
            market_events::entry.eq(run.entry.0 as i64),
            market_events::first_sequence.eq(run.first_sequence as i64),
            market_events::last_sequence.eq(run.last_sequence as i64),
            market_events::first_at.eq(run.first_at.0),
            market_events::last_at.eq(run.last_at.0),
            market_events::events.eq(content),
        );
        on_either!(connection, inner => diesel::insert_into(market_events::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(inner)
            .map(drop))?;
    }
    Ok(())
}

fn unpack(content: &[u8]) -> QueryResult<Vec<Archived>> {
    let packed = match content.split_first() {
        Some((&VERSION, packed)) => packed,
        _ => return Err(unusable(std::io::Error::other("an unknown version of archived events"))),
    };
    let plain = zstd::bulk::decompress(packed, MOST_BYTES).map_err(unusable)?;
    let events: Vec<(u64, i64, Event)> = postcard::from_bytes(&plain).map_err(unusable)?;
    Ok(events.into_iter().map(|(sequence, at, event)| Archived { sequence, at: Timestamp(at), event }).collect())
}

/// How far a reader of the archive has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The row, by its first entry.
    row: i64,
    /// So many of its events were read.
    events: usize,
}

type Query = market_events::BoxedQuery<'static, Backend>;

/// The events of a market after a sequence, oldest first, at most `limit`, and how far these go. Private events have
/// the sequence of the public event before them, so those that come right after the one of this sequence are there too.
/// Many of them may share it: whoever reads on gives the place of the answer before.
///
/// # Errors
/// Those of the database.
pub fn after(
    connection: &mut Connection,
    market: MarketId,
    sequence: u64,
    place: Option<Place>,
    limit: usize,
) -> QueryResult<(Vec<Archived>, Option<Place>)> {
    let query: Query = market_events::table.filter(market_events::market.eq(i32::from(market.0))).into_boxed();
    // Both are the order of the stream, each with an index of its own.
    let query = match place {
        Some(place) => query.filter(market_events::entry.ge(place.row)).order(market_events::entry.asc()),
        None => query
            .filter(market_events::last_sequence.ge(i64::try_from(sequence).unwrap_or(i64::MAX)))
            .order((market_events::last_sequence.asc(), market_events::entry.asc())),
    };
    let rows: Vec<(i64, Vec<u8>)> =
        query.limit(8).select((market_events::entry, market_events::events)).load(connection)?;
    let (mut found, mut reached) = (Vec::new(), place);
    for (row, content) in rows {
        let mut read = place.filter(|place| place.row == row).map_or(0, |place| place.events);
        for archived in unpack(&content)?.into_iter().skip(read) {
            if found.len() >= limit {
                break;
            }
            read += 1;
            let is_private = !archived.event.is_public();
            if archived.sequence > sequence || (is_private && archived.sequence == sequence) {
                found.push(archived);
            }
        }
        reached = Some(Place { row, events: read });
        if found.len() >= limit {
            break;
        }
    }
    Ok((found, reached))
}

/// The first row of a market that ends at this moment or later.
fn first_until(connection: &mut Connection, market: MarketId, at: Timestamp) -> QueryResult<Option<i64>> {
    market_events::table
        .filter(market_events::market.eq(i32::from(market.0)))
        .filter(market_events::last_at.ge(at.0))
        .order((market_events::last_at.asc(), market_events::entry.asc()))
        .select(market_events::entry)
        .first(connection)
        .optional()
}

/// The events of a market that `wanted` takes, oldest first, from rows that touch this span of time: the first `rows` of
/// them after a place, which are unpacked one after another. The new place is where to read on; none when that was all.
///
/// Time never runs backwards in a stream, so these rows follow each other. Where they begin and end is looked up by time,
/// and they are read by their entries: with the times alone to go by, a database may search the archive from one end.
///
/// # Errors
/// Those of the database.
pub fn between(
    connection: &mut Connection,
    market: MarketId,
    (from, to): (Timestamp, Timestamp),
    place: Option<Place>,
    rows: i64,
    wanted: impl Fn(&Event) -> bool,
) -> QueryResult<(Vec<Archived>, Option<Place>)> {
    let first = match place {
        Some(place) => place.row + 1,
        None => match first_until(connection, market, from)? {
            Some(first) => first,
            None => return Ok((Vec::new(), None)),
        },
    };
    let mut query: Query = market_events::table.filter(market_events::market.eq(i32::from(market.0))).into_boxed();
    query = query.filter(market_events::entry.ge(first)).filter(market_events::first_at.le(to.0));
    // The first row that ends later may have begun before.
    if let Some(last) = first_until(connection, market, Timestamp(to.0.saturating_add(1)))? {
        query = query.filter(market_events::entry.le(last));
    }
    let loaded: Vec<(i64, Vec<u8>)> = query
        .order(market_events::entry.asc())
        .limit(rows)
        .select((market_events::entry, market_events::events))
        .load(connection)?;
    let more = loaded.len() as i64 >= rows;
    let (mut found, mut reached) = (Vec::new(), None);
    for (row, content) in loaded {
        let events = unpack(&content)?;
        reached = Some(Place { row, events: events.len() });
        found.extend(events.into_iter().filter(|archived| wanted(&archived.event)));
    }
    Ok((found, reached.filter(|_| more)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::examples::{canceled, outcomes_of};
    use crate::persistence::db::Database;

    const MARKET: MarketId = MarketId(3);

    /// A row of one entry.
    fn row(entry: u64, feed_before: u64, slept: &[bool]) -> Runs {
        let mut runs = Runs::default();
        runs.add(&outcomes_of(entry, feed_before, slept.iter().map(|slept| canceled(*slept)).collect()));
        runs
    }

    #[test]
    fn private_events_are_read_once_each_however_many_follow_one_public_event() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        // Public 1 and 2 with a private one between them, 12 rows of private ones, public 3.
        let mut rows = vec![row(1, 0, &[false, true, false])];
        rows.extend((2..14).map(|entry| row(entry, 2, &[true])));
        rows.push(row(14, 2, &[false]));
        database.write(|connection| rows.iter().try_for_each(|row| insert(connection, MARKET, row))).unwrap();

        let all = |from: u64, limit: usize| {
            let (mut found, mut place, mut after) = (Vec::new(), None, from);
            loop {
                let sought = database.read(|connection| super::after(connection, MARKET, after, place, limit));
                let (some, reached) = sought.unwrap();
                let Some(last) = some.last() else { return found };
                (after, place) = (last.sequence, reached);
                found.extend(some.iter().map(|archived| (archived.sequence, archived.event.is_public())));
            }
        };
        let private = [(2, false); 12];
        let whole = [&[(1_u64, true), (1, false), (2, true)][..], &private, &[(3, true)]].concat();
        for limit in [1, 2, 5, 100] {
            assert_eq!(all(0, limit), whole, "{limit}");
            assert_eq!(all(1, limit), whole[1..], "{limit}");
            assert_eq!(all(2, limit), whole[3..], "{limit}");
            assert_eq!(all(3, limit), [], "{limit}");
        }
    }

    #[test]
    fn a_span_has_the_rows_that_touch_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        // When each row begins and ends; some share a moment.
        let times = [(10, 20), (20, 20), (20, 20), (20, 35), (35, 35), (50, 60)];
        for (number, (begin, end)) in (0..).zip(times) {
            let mut row = Runs::default();
            for (entry, at) in [(2 * number + 1, begin), (2 * number + 2, end)] {
                let outcomes = outcomes_of(entry, entry - 1, vec![canceled(false)]);
                row.add(&MarketOutcomes { at: Timestamp(at), ..outcomes });
            }
            database.write(|connection| insert(connection, MARKET, &row)).unwrap();
        }
        let read = |span, at_once| -> Vec<u64> {
            let (mut found, mut place) = (Vec::new(), None);
            loop {
                let read = database.read(|connection| between(connection, MARKET, span, place, at_once, |_| true));
                let (some, reached) = read.unwrap();
                found.extend(some.iter().map(|archived| archived.sequence));
                match reached {
                    Some(_) => place = reached,
                    None => return found,
                }
            }
        };
        for from in (0..70).step_by(5) {
            for to in (from..70).step_by(5) {
                let touched = (0..).zip(times).filter(|(_, (begin, end))| *end >= from && *begin <= to);
                let expected: Vec<u64> = touched.flat_map(|(number, _)| [2 * number + 1, 2 * number + 2]).collect();
                for at_once in [1, 2, 16] {
                    assert_eq!(read((Timestamp(from), Timestamp(to)), at_once), expected, "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn a_span_is_read_in_pieces_without_a_hole_and_without_a_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let rows: Vec<_> = (1..=7).map(|entry| row(entry, entry - 1, &[false, true])).collect();
        database.write(|connection| rows.iter().try_for_each(|row| insert(connection, MARKET, row))).unwrap();
        let span = (Timestamp(0), Timestamp(9));
        for at_once in [1, 2, 3, 7, 8] {
            let (mut found, mut place) = (Vec::new(), None);
            loop {
                let public = |event: &Event| event.is_public();
                let read = database.read(|connection| between(connection, MARKET, span, place, at_once, public));
                let (some, reached) = read.unwrap();
                found.extend(some.iter().map(|archived| archived.sequence));
                match reached {
                    Some(_) => place = reached,
                    None => break,
                }
            }
            assert_eq!(found, [1, 2, 3, 4, 5, 6, 7], "{at_once} at once");
        }
        let later = (Timestamp(2), Timestamp(9));
        let none = database.read(|connection| between(connection, MARKET, later, None, 8, |_| true)).unwrap();
        assert_eq!(none, (Vec::new(), None));
    }
}
