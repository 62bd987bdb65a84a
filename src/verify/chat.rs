//! The chat streams, replayed in memory, and whether the tables say the same.

use crate::domain::batch::Batch;
use crate::domain::chat::{ChatEntry, Effect, Member, Message, MessageSequence, Room, RoomId, RoomState};
use crate::domain::ids::{AccountId, Sequence};
use crate::domain::replica::ReplicaError;
use crate::domain::time::Timestamp;
use crate::persistence::chat::messages::{self, Page};
use crate::persistence::chat::projection::{self, Streams};
use crate::persistence::chat::rooms;
use crate::persistence::db::Connection;
use crate::persistence::log::Position;
use anyhow::ensure;
use diesel::QueryResult;
use std::collections::{BTreeMap, BTreeSet};

/// Messages of one look into the database.
const PAGE: i64 = 1_000;

/// A message in brief, so that all of them fit into memory.
type Digest = [u8; 32];

/// As the row has it. Rows of older versions may still have a NUL, so this is for both sides.
fn digest(message: &Message) -> Digest {
    let message = messages::as_stored(message);
    *blake3::hash(format!("{message:?}").as_bytes()).as_bytes()
}

/// What a room is, but for its messages.
#[derive(Debug, PartialEq)]
struct Shape {
    state: RoomState,
    members: BTreeMap<AccountId, Member>,
    last: MessageSequence,
}

impl Shape {
    fn of(room: &Room) -> Shape {
        let mut members = room.members.clone();
        // Kept only while a room is in slow mode.
        members.values_mut().for_each(|member| member.last_sent = None);
        Shape { state: room.state.clone(), members, last: room.last }
    }
}

/// What the tables say at one moment.
#[derive(Debug)]
pub(super) struct Tables {
    /// The last batch of the log that they have seen.
    pub position: Position,
    streams: Streams,
    rooms: BTreeMap<RoomId, Shape>,
    messages: BTreeMap<(RoomId, MessageSequence), Digest>,
}

impl Tables {
    /// Reads them; to be called in a transaction that sees one moment.
    pub fn read(conn: &mut Connection) -> QueryResult<Tables> {
        let mark = projection::mark(conn)?;
        let mut tables = Tables {
            position: mark.position,
            streams: mark.streams,
            rooms: BTreeMap::new(),
            messages: BTreeMap::new(),
        };
        for id in rooms::ids(conn)? {
            if let Some(room) = rooms::load(conn, id)? {
                tables.rooms.insert(id, Shape::of(&room));
            }
            let mut after = MessageSequence(0);
            loop {
                let page = messages::page(conn, id, Page::After(after), PAGE)?;
                let Some(last) = page.last() else { break };
                after = last.sequence;
                tables.messages.extend(page.iter().map(|message| ((id, message.sequence), digest(message))));
            }
        }
        Ok(tables)
    }

    /// How many rooms and messages there are.
    pub fn len(&self) -> (usize, usize) {
        (self.rooms.len(), self.messages.len())
    }

    /// Compares with a replay from the log's beginning to the same position.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, replay: &Replay) -> anyhow::Result<()> {
        for (shard, (ours, theirs)) in replay.streams.iter().zip(&self.streams).enumerate() {
            ensure!(ours == theirs, "stream chat.{shard}: the replay stands at {ours:?}, the database at {theirs:?}");
        }
        let touched: BTreeSet<RoomId> = replay.touched.iter().chain(self.rooms.keys()).copied().collect();
        for id in touched {
            let replayed = replay.rooms.get(&id).map(Shape::of);
            let stored = self.rooms.get(&id);
            ensure!(replayed.as_ref() == stored, "chat room {id:?} differs: replay {replayed:?}, database {stored:?}");
        }
        let all: BTreeSet<_> = replay.messages.keys().chain(self.messages.keys()).copied().collect();
        for key in all {
            let (replayed, stored) = (replay.messages.get(&key), self.messages.get(&key));
            ensure!(
                replayed.map(digest).as_ref() == stored,
                "message {} of chat room {:?} differs: the replay has {replayed:?}, the database another or none",
                key.1.0,
                key.0
            );
        }
        Ok(())
    }
}

/// Rooms and messages as the log has them.
#[derive(Debug, Default)]
pub(super) struct Replay {
    streams: Streams,
    rooms: BTreeMap<RoomId, Room>,
    messages: BTreeMap<(RoomId, MessageSequence), Message>,
    /// Rooms that some entry changed: others are only names that somebody asked for.
    touched: BTreeSet<RoomId>,
}

impl Replay {
    /// Applies the next batch of the log.
    ///
    /// # Errors
    /// [`ReplicaError`] when it cannot be read.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), ReplicaError> {
        for (sequence, entry) in projection::entries(&mut self.streams, batch)? {
            self.entry(sequence, batch.at, &entry);
        }
        Ok(())
    }

    fn entry(&mut self, sequence: Sequence, at: Timestamp, entry: &ChatEntry) {
        let id = entry.room;
        let room = self.rooms.entry(id).or_insert_with(|| Room::blank(id));
        let subject = entry.command.subject().filter(|message| room.has(*message)).map(|message| (id, message));
        let mut changed = subject.and_then(|key| self.messages.get(&key).cloned());
        let Ok(effect) = room.apply(sequence, at, entry, changed.as_mut()) else { return };
        match effect {
            Effect::Sent(message) => drop(self.messages.insert((id, message.sequence), *message)),
            Effect::Edited(_) | Effect::Deleted(_) | Effect::Reacted(_) => {
                if let Some(message) = changed {
                    self.messages.insert((id, message.sequence), message);
                }
            }
            Effect::Unchanged | Effect::Repeated(_) | Effect::Read(..) => return,
            Effect::Created
            | Effect::Configured
            | Effect::Joined(_)
            | Effect::Left(_)
            | Effect::Kicked(_)
            | Effect::Banned(_)
            | Effect::Unbanned(_)
            | Effect::RoleSet(..)
            | Effect::Muted(..)
            | Effect::Invited(_)
            | Effect::InviteRevoked(_)
            | Effect::Related
            | Effect::Reported(_)
            | Effect::Resolved(_)
            | Effect::Closed => {}
        }
        self.touched.insert(id);
    }
}
