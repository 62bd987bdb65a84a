//! The projection of the chat streams into the tables: the same `apply` as in the actors, on rooms
//! that are loaded when they are needed, in one transaction with how far the log was read.
//!
//! Invariant: `position`, `streams` and the cached rooms are what the database says; after a failed
//! transaction all of them are read anew.

use super::kept::Kept;
use super::schema::{chat_streams, chat_watermark};
use super::{friends, messages, reports, rooms, uploads};
use crate::domain::batch::Batch;
use crate::domain::chat::{ChatEntry, Command, Effect, Message, Room, RoomId, SHARDS};
use crate::domain::ids::{AccountId, Epoch, Sequence, StreamId};
use crate::domain::replica::{ReplicaError, decode};
use crate::domain::stream::{StreamState, Verdict};
use crate::domain::time::Timestamp;
use crate::persistence::db::{Connection, Database, DbError};
use crate::persistence::log::{Committed, Position};
use diesel::prelude::*;
use std::collections::BTreeMap;
use thiserror::Error;

/// Rooms that are kept between two transactions.
const CACHED: usize = 256;
/// Batches of other streams after which the place in the log is noted all the same: whoever reads a
/// room reads the log from there.
const NOTED_EVERY: u64 = 2_000;

/// Of the lock under which nodes that share a database write chat's rows; any number would do that nobody else takes.
/// The projection of trading has one of its own, so that neither waits for the other.
const LOCK: i64 = 0x6167_6f72_6103;

/// How far each stream was read.
pub type Streams = [StreamState; SHARDS as usize];

/// Why the projection cannot go on.
#[derive(Debug, Error)]
pub enum ProjectionError {
    /// The database does not take rows; they wait in the log.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A batch cannot be read: a bug or damage.
    #[error("the batch at position {0} cannot be applied: {1}")]
    Replica(Position, ReplicaError),
}

/// Where the projection stands.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// The last batch of the log that it has seen.
    pub position: Position,
    /// How far each stream was read.
    pub streams: Streams,
}

/// Reads where the projection stands.
///
/// # Errors
/// Those of the database.
pub fn mark(conn: &mut Connection) -> QueryResult<Mark> {
    let position = chat_watermark::table.select(chat_watermark::position).first::<i64>(conn).optional()?;
    let mut mark = Mark { position: Position(position.unwrap_or_default() as u64), streams: Streams::default() };
    let rows: Vec<(i32, i64, i32, i64, i64)> = chat_streams::table
        .select((
            chat_streams::shard,
            chat_streams::epoch_counter,
            chat_streams::epoch_node,
            chat_streams::batch,
            chat_streams::sequence,
        ))
        .load(conn)?;
    for (shard, counter, node, batch, sequence) in rows {
        if let Some(stream) = usize::try_from(shard).ok().and_then(|shard| mark.streams.get_mut(shard)) {
            let epoch = Epoch { counter: counter as u64, node: node as u16 };
            *stream = StreamState { epoch, batch: batch as u64, sequence: Sequence(sequence as u64) };
        }
    }
    Ok(mark)
}

/// The entries of a batch with their places, if it is a chat batch that counts and was not read
/// before; `streams` moves on past it.
///
/// # Errors
/// [`ReplicaError`] when it cannot be read; nothing after it can be, either.
pub fn entries(streams: &mut Streams, batch: &Batch) -> Result<Vec<(Sequence, ChatEntry)>, ReplicaError> {
    let StreamId::Chat(shard) = batch.stream else { return Ok(Vec::new()) };
    let Some(stream) = streams.get_mut(usize::from(shard)) else { return Ok(Vec::new()) };
    let mut next = *stream;
    let verdict = next.judge(batch)?;
    let read = match verdict {
        Verdict::Accept(first) => {
            let decoded = decode::<ChatEntry>(batch, first)?;
            decoded.into_iter().zip(first.0..).map(|(entry, sequence)| (Sequence(sequence), entry)).collect()
        }
        Verdict::NewEpoch | Verdict::Repeat | Verdict::Stale => Vec::new(),
    };
    *stream = next;
    Ok(read)
}

/// The projection.
pub struct Projection {
    database: Database,
    mark: Mark,
    /// The place in the log that the database has.
    noted: Position,
    rooms: Kept,
}

impl Projection {
    /// A projection that goes on where the database stands.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn open(database: Database) -> Result<Projection, DbError> {
        let mark = database.read(mark)?;
        let noted = mark.position;
        Ok(Projection { database, mark, noted, rooms: Kept::default() })
    }

    /// Where it stands.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Writes what follows from these batches, the next in the log.
    ///
    /// # Errors
    /// [`ProjectionError`]; nothing was written then.
    pub fn write(&mut self, batches: &[Committed]) -> Result<(), ProjectionError> {
        let Some(end) = batches.last().map(|committed| committed.position) else { return Ok(()) };
        let foreign = !batches.iter().any(|committed| matches!(committed.batch.stream, StreamId::Chat(_)));
        if foreign && end.0 - self.noted.0 < NOTED_EVERY {
            // The place is noted with the next rows.
            self.mark.position = end;
            return Ok(());
        }
        let mut streams = self.mark.streams;
        let mut work = Vec::new();
        for Committed { position, batch } in batches {
            let read = entries(&mut streams, batch).map_err(|error| ProjectionError::Replica(*position, error))?;
            work.extend(read.into_iter().map(|(sequence, entry)| (sequence, batch.at, entry)));
        }
        Ok(self.commit(end, streams, &work)?)
    }

    /// Notes the place in the log, if it has moved since it was noted: while nothing comes that has rows it would not
    /// be, and what lies before it could not go from the log.
    ///
    /// # Errors
    /// [`DbError`]; nothing was written then.
    pub fn note(&mut self) -> Result<(), DbError> {
        if self.mark.position == self.noted {
            return Ok(());
        }
        self.commit(self.mark.position, self.mark.streams, &[])
    }

    /// Writes what follows from these entries, and that everything up to `end` was read.
    fn commit(
        &mut self,
        end: Position,
        streams: Streams,
        work: &[(Sequence, Timestamp, ChatEntry)],
    ) -> Result<(), DbError> {
        let (known, rooms) = (&self.mark, &mut self.rooms);
        let written = self.database.write(|conn| {
            conn.lock(LOCK)?;
            let stored = mark(conn)?;
            // Another node may have written them to a shared database.
            if stored.position >= end || stored.streams != known.streams {
                return Ok(false);
            }
            let mut dirty = BTreeMap::new();
            for (sequence, at, entry) in work {
                apply(conn, rooms, *sequence, *at, entry, &mut dirty)?;
            }
            for (id, at) in dirty {
                if let Some(room) = rooms.get(id) {
                    rooms::save(conn, room, at)?;
                }
            }
            save_mark(conn, &stored, &streams, end)?;
            Ok(true)
        });
        match written {
            Ok(true) => {
                self.mark = Mark { position: end, streams };
                self.noted = end;
                self.rooms.shrink_to(CACHED);
                Ok(())
            }
            Ok(false) => {
                self.rooms.clear();
                self.mark = self.database.read(mark)?;
                self.noted = self.mark.position;
                Ok(())
            }
            Err(error) => {
                self.rooms.clear();
                Err(error)
            }
        }
    }
}

fn save_mark(conn: &mut Connection, stored: &Mark, streams: &Streams, end: Position) -> QueryResult<()> {
    for (shard, (old, new)) in stored.streams.iter().zip(streams).enumerate().filter(|(_, (old, new))| old != new) {
        let shard = i32::try_from(shard).unwrap_or(i32::MAX);
        let row = (
            chat_streams::epoch_counter.eq(new.epoch.counter as i64),
            chat_streams::epoch_node.eq(i32::from(new.epoch.node)),
            chat_streams::batch.eq(new.batch as i64),
            chat_streams::sequence.eq(new.sequence.0 as i64),
        );
        if *old == StreamState::default() {
            diesel::insert_into(chat_streams::table).values((chat_streams::shard.eq(shard), row)).execute(conn)?;
        } else {
            let own = chat_streams::table.filter(chat_streams::shard.eq(shard));
            diesel::update(own).set(row).execute(conn)?;
        }
    }
    let position = chat_watermark::position.eq(end.0 as i64);
    if diesel::update(chat_watermark::table).set(position).execute(conn)? == 0 {
        diesel::insert_into(chat_watermark::table).values((chat_watermark::id.eq(1), position)).execute(conn)?;
    }
    Ok(())
}

fn apply(
    conn: &mut Connection,
    rooms: &mut Kept,
    sequence: Sequence,
    at: Timestamp,
    entry: &ChatEntry,
    dirty: &mut BTreeMap<RoomId, Timestamp>,
) -> QueryResult<()> {
    let id = entry.room;
    let stored = |conn: &mut Connection| rooms::load(conn, id).map(|room| room.unwrap_or_else(|| Room::blank(id)));
    let room = rooms.get_or_load(id, || stored(conn))?;
    let subject = entry.command.subject().filter(|message| room.has(*message));
    let mut subject = match subject {
        Some(message) => messages::get(conn, id, message)?,
        None => None,
    };
    let Ok(effect) = room.apply(sequence, at, entry, subject.as_mut()) else { return Ok(()) };
    write(conn, room, at, entry, &effect, subject.as_ref())?;
    if !matches!(effect, Effect::Unchanged | Effect::Repeated(_) | Effect::Read(..)) {
        dirty.insert(id, at);
    }
    Ok(())
}

fn write(
    conn: &mut Connection,
    room: &Room,
    at: Timestamp,
    entry: &ChatEntry,
    effect: &Effect,
    subject: Option<&Message>,
) -> QueryResult<()> {
    let member =
        |conn: &mut Connection, who: &AccountId| rooms::save_member(conn, room.id, *who, room.members.get(who));
    match effect {
        Effect::Created => member(conn, &entry.by),
        Effect::Joined(who)
        | Effect::Left(who)
        | Effect::Kicked(who)
        | Effect::Banned(who)
        | Effect::Muted(who, _)
        | Effect::Read(who, _) => member(conn, who),
        Effect::RoleSet(who, _) => {
            member(conn, who)?;
            member(conn, &entry.by)
        }
        Effect::Sent(message) => {
            messages::insert(conn, room.id, message)?;
            uploads::attach(conn, room.id, message)?;
            if room.state.slow_mode_s > 0 { member(conn, &entry.by) } else { Ok(()) }
        }
        Effect::Edited(_) | Effect::Deleted(_) | Effect::Reacted(_) => {
            let Some(message) = subject else { return Ok(()) };
            if message.is_deleted() {
                uploads::abandon(conn, room.id, message.sequence)?;
            }
            messages::update(conn, room.id, message)
        }
        Effect::Related => {
            if let Some((low, high)) = room.id.pair() {
                member(conn, &low)?;
                member(conn, &high)?;
            }
            friends::save(conn, room, at)
        }
        Effect::Reported(number) => {
            let (Some(message), Command::Report { reason, .. }) = (subject, &entry.command) else { return Ok(()) };
            let report = reports::Report {
                room: room.id,
                number: *number,
                message: message.sequence,
                author: message.author,
                reporter: entry.by,
                reason: reason.clone(),
                at,
                resolved: None,
            };
            reports::insert(conn, &report)
        }
        Effect::Resolved(number) => match &entry.command {
            Command::Resolve { note, .. } => reports::resolve(conn, room.id, *number, at, entry.by, note),
            _ => Ok(()),
        },
        Effect::Configured
        | Effect::Unbanned(_)
        | Effect::Invited(_)
        | Effect::InviteRevoked(_)
        | Effect::Repeated(_)
        | Effect::Closed
        | Effect::Unchanged => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let each = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
        entries.flat_map(each).collect()
    }

    /// Two with the same number would wait for each other, though nothing else says so.
    #[test]
    fn no_two_locks_of_the_database_have_the_same_number() {
        let mut numbers = Vec::new();
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/persistence")) {
            let text = std::fs::read_to_string(path).unwrap();
            let found = text.lines().filter_map(|line| line.split_once("const LOCK: i64 = "));
            numbers.extend(found.filter(|(before, _)| !before.contains('"')).map(|(_, number)| number.to_owned()));
        }
        let different: BTreeSet<&String> = numbers.iter().collect();
        assert!(different.len() == numbers.len() && numbers.len() >= 4, "{numbers:?}");
    }
}
