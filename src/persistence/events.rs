//! The events of the markets, as the feed numbers them: runs of them, each compressed into one row.
//!
//! Content of a row: version (one byte, 1), then zstd of the postcard form of `(sequence, time, event)` triples.

use super::db::{Connection, on_either};
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

/// The public events of a market after a sequence, oldest first, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn after(connection: &mut Connection, market: MarketId, sequence: u64, limit: usize) -> QueryResult<Vec<Archived>> {
    let rows: Vec<Vec<u8>> = market_events::table
        .filter(market_events::market.eq(i32::from(market.0)))
        .filter(market_events::last_sequence.gt(i64::try_from(sequence).unwrap_or(i64::MAX)))
        .order((market_events::last_sequence.asc(), market_events::entry.asc()))
        .limit(8)
        .select(market_events::events)
        .load(connection)?;
    let mut found = Vec::new();
    for row in rows {
        let wanted = |archived: &Archived| archived.sequence > sequence && archived.event.is_public();
        found.extend(unpack(&row)?.into_iter().filter(wanted).take(limit - found.len()));
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// The events of a market that `wanted` takes, from rows that touch this span of time, oldest first. At most `rows`
/// rows are read; the flag says whether these were all.
///
/// # Errors
/// Those of the database.
pub fn between(
    connection: &mut Connection,
    market: MarketId,
    (from, to): (Timestamp, Timestamp),
    rows: i64,
    wanted: impl Fn(&Event) -> bool,
) -> QueryResult<(Vec<Archived>, bool)> {
    let loaded: Vec<Vec<u8>> = market_events::table
        .filter(market_events::market.eq(i32::from(market.0)))
        .filter(market_events::last_at.ge(from.0))
        .filter(market_events::first_at.le(to.0))
        .order(market_events::entry.asc())
        .limit(rows + 1)
        .select(market_events::events)
        .load(connection)?;
    let complete = loaded.len() as i64 <= rows;
    let mut found = Vec::new();
    for row in loaded.iter().take(usize::try_from(rows).unwrap_or(usize::MAX)) {
        found.extend(unpack(row)?.into_iter().filter(|archived| wanted(&archived.event)));
    }
    Ok((found, complete))
}
