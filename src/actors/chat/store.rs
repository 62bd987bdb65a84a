//! Chat's stored state: rooms from the database plus the log's tail, and reads that see everything
//! that was acknowledged.
//!
//! Rows follow the log with a short delay. A read therefore first waits until the projection has come
//! as far as the streams were when it was asked; so nobody misses in a list what was acknowledged to
//! them before.

use crate::domain::chat::{Message, MessageSequence, Room, RoomId, SHARDS};
use crate::domain::ids::{Sequence, StreamId};
use crate::persistence::chat::messages::{self, Page};
use crate::persistence::chat::projection::{self, Streams};
use crate::persistence::chat::rooms;
use crate::persistence::db::{Connection, Database};
use crate::persistence::log::{LogError, LogReader, Position};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How many of a room's newest messages are in memory.
pub const RECENT: usize = 256;
/// How long a read waits for the projection.
const PATIENCE: Duration = Duration::from_secs(3);

/// How far the streams and their projection are.
#[derive(Debug, Default)]
pub struct Progress {
    committed: [AtomicU64; SHARDS as usize],
    handed_over: [AtomicU64; SHARDS as usize],
    written: [AtomicU64; SHARDS as usize],
    changed: Notify,
}

impl Progress {
    /// A stream was read up to this entry.
    pub fn committed(&self, shard: u8, sequence: Sequence) {
        if let Some(committed) = self.committed.get(usize::from(shard)) {
            committed.fetch_max(sequence.0, Ordering::AcqRel);
        }
    }

    /// The rooms have what a stream says up to this entry.
    pub fn handed_over(&self, shard: u8, sequence: Sequence) {
        if let Some(handed_over) = self.handed_over.get(usize::from(shard)) {
            handed_over.fetch_max(sequence.0, Ordering::AcqRel);
            self.changed.notify_waiters();
        }
    }

    /// How far a stream was read.
    pub fn read_to(&self, shard: u8) -> Sequence {
        let committed = self.committed.get(usize::from(shard));
        Sequence(committed.map_or(0, |committed| committed.load(Ordering::Acquire)))
    }

    /// Waits until the rooms have what a stream says up to this entry.
    pub async fn reaches(&self, shard: u8, sequence: Sequence) {
        let Some(handed_over) = self.handed_over.get(usize::from(shard)) else { return };
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if handed_over.load(Ordering::Acquire) >= sequence.0 {
                return;
            }
            changed.await;
        }
    }

    /// The database has the streams up to these entries.
    pub fn written(&self, streams: &Streams) {
        for (written, stream) in self.written.iter().zip(streams) {
            written.fetch_max(stream.sequence.0, Ordering::AcqRel);
        }
        self.changed.notify_waiters();
    }

    /// How many entries wait for the database.
    pub fn lag(&self) -> u64 {
        let pairs = self.committed.iter().zip(&self.written);
        pairs.map(|(c, w)| c.load(Ordering::Relaxed).saturating_sub(w.load(Ordering::Relaxed))).sum()
    }

    async fn caught_up(&self) {
        let goal: Vec<u64> = self.committed.iter().map(|committed| committed.load(Ordering::Acquire)).collect();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if self.written.iter().zip(&goal).all(|(written, goal)| written.load(Ordering::Acquire) >= *goal) {
                return;
            }
            changed.await;
        }
    }
}

/// Why it is not known how far the streams are, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The database, the archive or the broker is out of reach: it may be asked again.
    Away(String),
    /// The log cannot be read there, and waiting does not mend it.
    Broken(String),
}

impl From<LogError> for Unknown {
    fn from(error: LogError) -> Unknown {
        match error {
            // What an archive says that is out of reach, too.
            LogError::Broker { .. } => Unknown::Away(error.to_string()),
            LogError::Locked(_)
            | LogError::Damaged { .. }
            | LogError::Pruned { .. }
            | LogError::Io { .. }
            | LogError::Archive(_)
            | LogError::Batch(..) => Unknown::Broken(error.to_string()),
        }
    }
}

/// The database does not answer, or is too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("history is out of reach, please retry")]
pub struct Away;

/// A room as it is at a place of its stream.
pub struct Loaded {
    /// The room; a blank one when it was never made.
    pub room: Room,
    /// The newest entry of the stream that it contains.
    pub applied: Sequence,
    /// Its newest messages.
    pub recent: BTreeMap<MessageSequence, Message>,
}

/// Where chat's state is read from. Clones share it.
#[derive(Clone)]
pub struct Store {
    /// The database.
    pub database: Database,
    /// The log.
    pub reader: Arc<dyn LogReader>,
    /// How far the projection is.
    pub progress: Arc<Progress>,
}

impl Store {
    /// Runs a query where it may block, once the rows are as new as what was acknowledged.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> Result<T, Away> {
        tokio::time::timeout(PATIENCE, self.progress.caught_up()).await.map_err(|_| Away)?;
        self.read_now(query).await
    }

    /// Runs a query where it may block, on the rows as they are.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn read_now<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> Result<T, Away> {
        self.database.elsewhere(move |database| database.read(query)).await.map_err(|error| {
            tracing::warn!(%error, "a chat query failed");
            Away
        })
    }

    /// A room at the present end of its stream.
    ///
    /// # Errors
    /// What stood in the way, in words.
    pub async fn load(&self, id: RoomId) -> Result<Loaded, String> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.load_blocking(id)).await.map_err(|error| error.to_string())?
    }

    fn load_blocking(&self, id: RoomId) -> Result<Loaded, String> {
        let (mut streams, position, mut loaded) = self.stored(id)?;
        let shard = usize::from(id.shard());
        for committed in self.reader.read(position).map_err(|error| error.to_string())? {
            let batch = committed.map_err(|error| error.to_string())?.batch;
            if batch.stream != StreamId::Chat(id.shard()) {
                continue;
            }
            let entries = projection::entries(&mut streams, &batch).map_err(|error| error.to_string())?;
            for (sequence, entry) in entries.into_iter().filter(|(_, entry)| entry.room == id) {
                let subject = entry.command.subject().filter(|message| loaded.room.has(*message));
                if let Some(message) = subject.filter(|message| !loaded.recent.contains_key(message)) {
                    let found = self.database.read(|conn| messages::get(conn, id, message));
                    if let Some(found) = found.map_err(|error| error.to_string())? {
                        loaded.recent.insert(message, found);
                    }
                }
                let subject = subject.and_then(|message| loaded.recent.get_mut(&message));
                // A rule may say no: then nothing has changed, as it was when the entry was committed.
                if let Ok(crate::domain::chat::Effect::Sent(message)) =
                    loaded.room.apply(sequence, batch.at, &entry, subject)
                {
                    loaded.recent.insert(message.sequence, *message);
                }
            }
        }
        loaded.applied = streams.get(shard).map_or(Sequence(0), |stream| stream.sequence);
        while loaded.recent.len() > RECENT {
            loaded.recent.pop_first();
        }
        Ok(loaded)
    }

    /// The room as the database has it, and how far that is, at one moment: the projection goes on while a large room is
    /// read.
    fn stored(&self, id: RoomId) -> Result<(Streams, Position, Loaded), String> {
        let read = |conn: &mut Connection| {
            let mark = projection::mark(conn)?;
            let room = rooms::load(conn, id)?.unwrap_or_else(|| Room::blank(id));
            let recent = messages::page(conn, id, Page::Before(None), RECENT as i64)?;
            let recent = recent.into_iter().map(|message| (message.sequence, message)).collect();
            Ok((mark.streams, mark.position, Loaded { room, applied: Sequence(0), recent }))
        };
        self.database.read(|conn| conn.at_one_moment(read)).map_err(|error| error.to_string())
    }

    /// How far a stream was read by everybody: the database's mark and what the log has after it.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn streams(&self) -> Result<Streams, Unknown> {
        let mark = self.database.read(projection::mark).map_err(|error| Unknown::Away(error.to_string()))?;
        let mut streams = mark.streams;
        for committed in self.reader.read(mark.position)? {
            let batch = committed?.batch;
            projection::entries(&mut streams, &batch).map_err(|error| Unknown::Broken(error.to_string()))?;
        }
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::chat::{Member, Role};
    use crate::domain::ids::AccountId;
    use crate::domain::time::Timestamp;
    use crate::persistence::log::Batches;
    use diesel::connection::SimpleConnection;
    use std::sync::atomic::AtomicBool;

    /// A log in which nothing is that the database does not have.
    struct Nothing;

    impl LogReader for Nothing {
        fn read(&self, _: Position) -> Result<Batches, LogError> {
            Ok(Box::new(std::iter::empty()))
        }
    }

    /// A log that cannot be read.
    struct Unreadable(fn() -> LogError);

    impl LogReader for Unreadable {
        fn read(&self, _: Position) -> Result<Batches, LogError> {
            Ok(Box::new(std::iter::once(Err(self.0()))))
        }
    }

    #[test]
    fn a_log_that_is_damaged_is_told_from_one_that_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let streams = |reader: Arc<dyn LogReader>| {
            Store { database: database.clone(), reader, progress: Arc::default() }.streams()
        };
        assert!(streams(Arc::new(Nothing)).is_ok());
        let away = || LogError::Broker { reason: "the archive cannot be read".into() };
        assert!(matches!(streams(Arc::new(Unreadable(away))), Err(Unknown::Away(_))));
        let hole = || LogError::Pruned { asked: Position(1), oldest: Position(2) };
        let damaged = || LogError::Archive(Position(1));
        for broken in [Unreadable(hole), Unreadable(damaged)] {
            assert!(matches!(streams(Arc::new(broken)), Err(Unknown::Broken(_))));
        }
        database.write(|conn| conn.batch_execute("DROP TABLE chat_streams")).unwrap();
        assert!(matches!(streams(Arc::new(Nothing)), Err(Unknown::Away(_))));
    }

    #[test]
    fn a_large_room_is_read_as_it_was_at_one_moment_while_the_projection_goes_on() {
        const MEMBERS: u32 = 5_000;
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let id = RoomId::made(1 << 40);
        let mut room = Room::blank(id);
        room.state.created_at = Some(Timestamp(1));
        let member = Member {
            role: Role::Member,
            joined_at: Timestamp(1),
            read_to: MessageSequence(0),
            muted_until: None,
            last_sent: None,
        };
        let write = |conn: &mut Connection| {
            rooms::save(conn, &room, Timestamp(1))?;
            let shard = id.shard();
            conn.batch_execute(&format!("INSERT INTO chat_streams VALUES ({shard}, 1, 1, 1, 0)"))?;
            (0..MEMBERS).try_for_each(|number| rooms::save_member(conn, id, AccountId(100 + number), Some(&member)))
        };
        database.write(write).unwrap();
        let store = Store { database: database.clone(), reader: Arc::new(Nothing), progress: Arc::default() };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // What a projection changes in one transaction: the room, and how far its stream was read.
                while !over.load(Ordering::Relaxed) {
                    let step = "UPDATE chat_rooms SET last_sequence = last_sequence + 1;
                        UPDATE chat_streams SET sequence = sequence + 1";
                    database.write(|conn| conn.batch_execute(step)).unwrap();
                }
            });
            let loaded: Vec<_> = (0..5).map(|_| store.load_blocking(id)).collect();
            over.store(true, Ordering::Relaxed);
            for loaded in loaded {
                let loaded = loaded.unwrap();
                assert_eq!(loaded.room.members.len(), MEMBERS as usize);
                assert_eq!(loaded.applied.0, loaded.room.last.0);
            }
        });
    }
}
