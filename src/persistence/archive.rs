//! The older part of a log, in the database.
//!
//! A broker keeps its stream as long as its retention says. The active node copies batches into the archive long before,
//! in parts; whoever reads from before the stream's head is served from there and goes on in the stream. Of an embedded log
//! the archive has whole segments, as they were in their files, and serves those that were pruned.
//!
//! A part begins right behind the one before it, so a hole between two parts, or between archive and stream, is told
//! from positions that were never batches (a stream has some).

use super::db::{Database, DbError};
use super::log::embedded::{self, SealedSegment};
use super::log::{Batches, Committed, LogError, LogReader, Position};
use super::projection;
use super::schema::log_archive;
use crate::domain::batch::Batch;
use bytes::Bytes;
use diesel::prelude::*;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// What the content of a part begins with; behind it, for each batch, its position (8 bytes, little endian) and the batch.
const MAGIC: &[u8; 8] = b"agorapt1";

/// A part is ended when it has so many bytes.
const PART_BYTES: usize = 4 << 20;

/// Why batches could not be archived.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The database does not take or give them.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The log cannot be read. [`LogError::Pruned`] says that batches went before they were archived.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Archives the batches up to `through` that are not archived yet; how many those were.
///
/// # Errors
/// [`ArchiveError`]; what was archived before stays.
pub fn follow(database: &Database, reader: &dyn LogReader, through: Position) -> Result<usize, ArchiveError> {
    let mut archived = projection::archived(database)?;
    let mut count = 0;
    while archived < through {
        let (mut content, mut last) = (MAGIC.to_vec(), archived);
        for committed in reader.read(archived)? {
            let committed = committed?;
            if committed.position > through {
                break;
            }
            content.extend_from_slice(&committed.position.0.to_le_bytes());
            committed.batch.encode(&mut content);
            (last, count) = (committed.position, count + 1);
            if content.len() >= PART_BYTES {
                break;
            }
        }
        if last == archived {
            break;
        }
        archived = match projection::archive(database, Position(archived.0 + 1), last, &content)? {
            true => last,
            // Another node has archived from there, and perhaps less: the next part begins behind that one.
            false => projection::archived(database)?,
        };
    }
    Ok(count)
}

/// What archive and stream do not agree in.
#[derive(Debug, Error)]
pub enum Divergence {
    /// They cannot be compared.
    #[error(transparent)]
    Unreadable(#[from] ArchiveError),
    /// A part is not what was archived.
    #[error("the archived part from {0} on is damaged")]
    Damaged(Position),
    /// Nothing is archived of what lies between two parts.
    #[error("the archive lacks what lies after position {0} and before {1}")]
    Hole(Position, Position),
    /// The stream has another batch there, or none.
    #[error("archive and stream differ at position {0}")]
    Differs(Position),
}

/// Reads the whole archive and compares it with what the stream has up to `through`; how many batches both have.
///
/// # Errors
/// The first [`Divergence`].
pub fn compare(database: &Database, stream: &dyn LogReader, through: Position) -> Result<u64, Divergence> {
    let log = |error: LogError| Divergence::Unreadable(error.into());
    let parts = parts(database);
    let mut begins = Position(0);
    let mut batches = stream.read(begins).map_err(log)?.peekable();
    if let Some(Err(LogError::Pruned { oldest, .. })) = batches.peek() {
        begins = *oldest;
        batches = stream.read(begins).map_err(log)?.peekable();
    }
    let (mut at, mut both) = (Position(0), 0);
    for (first, last) in parts.map_err(ArchiveError::from)? {
        if first.0 != at.0 + 1 {
            return Err(Divergence::Hole(at, first));
        }
        let content = projection::archived_content(database, first).map_err(ArchiveError::from)?;
        let archived = content.and_then(decode).ok_or(Divergence::Damaged(first))?;
        for archived in archived.iter().filter(|archived| archived.position > begins && archived.position <= through) {
            let same = |read: &Committed| read.position == archived.position && read.batch == archived.batch;
            if !batches.next().transpose().map_err(log)?.as_ref().is_some_and(same) {
                return Err(Divergence::Differs(archived.position));
            }
            both += 1;
        }
        at = last;
    }
    Ok(both)
}

/// The batches of a part, or of a segment; `None` when it is neither.
fn decode(content: Vec<u8>) -> Option<VecDeque<Committed>> {
    let mut rest = Bytes::from(content);
    if !rest.starts_with(MAGIC) {
        return embedded::batches_of(rest).map(VecDeque::from);
    }
    rest = rest.slice(MAGIC.len()..);
    let mut batches = VecDeque::new();
    while !rest.is_empty() {
        let position = Position(u64::from_le_bytes(*rest.first_chunk()?));
        rest = rest.slice(8..);
        let batch = Batch::decode(&rest).ok()?;
        rest = rest.slice(batch.encoded_len()..);
        batches.push_back(Committed { position, batch: Arc::new(batch) });
    }
    Some(batches)
}

/// First and last position of all parts, oldest first.
fn parts(database: &Database) -> Result<Vec<(Position, Position)>, DbError> {
    let rows = database.read(|c| {
        let columns = (log_archive::first, log_archive::last);
        log_archive::table.order(log_archive::first.asc()).select(columns).load::<(i64, i64)>(c)
    })?;
    Ok(rows.into_iter().map(|(first, last)| (Position(first as u64), Position(last as u64))).collect())
}

/// First and last position of the part that holds what comes after `at`.
fn part_after(database: &Database, at: Position) -> Result<Option<(Position, Position)>, DbError> {
    let row = database.read(|c| {
        let next = at.0 as i64 + 1;
        let wanted = log_archive::table.filter(log_archive::first.le(next)).filter(log_archive::last.ge(next));
        wanted.select((log_archive::first, log_archive::last)).first::<(i64, i64)>(c).optional()
    })?;
    Ok(row.map(|(first, last)| (Position(first as u64), Position(last as u64))))
}

/// A log's reader that goes on where the archive ends.
struct Whole {
    stream: Arc<dyn LogReader>,
    database: Database,
}

/// A reader of the whole log: what the stream, or the folder of an embedded log, has no more is read from the archive.
pub fn whole(stream: Arc<dyn LogReader>, database: Database) -> Arc<dyn LogReader> {
    Arc::new(Whole { stream, database })
}

/// How segments of an embedded log that are in the archive and still have their files are found to differ.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The archive cannot be read.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The file cannot be read.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, std::io::Error),
    /// An archived segment is not what was archived.
    #[error("the archived segment from {0} on is damaged")]
    Damaged(Position),
    /// Nothing is archived of what lies between two segments.
    #[error("the archive lacks what lies after position {0} and before {1}")]
    Hole(Position, Position),
    /// File and archive have other bytes.
    #[error("{} is not what the archive has of it", .0.display())]
    Differs(PathBuf),
    /// No file ends where the archived segment does.
    #[error("the archive has a segment from {0} to {1}, the log has none")]
    Unknown(Position, Position),
}

/// Compares the archived segments with those files of an embedded log that are still there; how many both have. `sealed`
/// are the log's own, oldest first.
///
/// # Errors
/// The first difference.
pub fn compare_segments(database: &Database, sealed: &[SealedSegment]) -> Result<usize, SegmentError> {
    let (mut at, mut both) = (Position(0), 0);
    for (first, last) in parts(database)? {
        if first.0 != at.0 + 1 {
            return Err(SegmentError::Hole(at, first));
        }
        at = last;
        // Those that were pruned are read, and checked, as part of the whole log.
        if sealed.first().is_none_or(|oldest| first < oldest.first) {
            continue;
        }
        let same = |segment: &&SealedSegment| (segment.first, segment.last) == (first, last);
        let segment = sealed.iter().find(same).ok_or(SegmentError::Unknown(first, last))?;
        let archived = projection::archived_content(database, first)?.ok_or(SegmentError::Damaged(first))?;
        let file = |error| SegmentError::File(segment.path.clone(), error);
        if std::fs::read(&segment.path).map_err(file)? != archived {
            return Err(SegmentError::Differs(segment.path.clone()));
        }
        both += 1;
    }
    Ok(both)
}

impl LogReader for Whole {
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        let (stream, database) = (self.stream.clone(), self.database.clone());
        let walk =
            Walk { stream, database, at: from, from_stream: None, part: VecDeque::new(), part_ends: from, head: None };
        Ok(Box::new(walk))
    }
}

struct Walk {
    stream: Arc<dyn LogReader>,
    database: Database,
    at: Position,
    from_stream: Option<Batches>,
    /// What is left of the archived part that is being read, and where the part ends.
    part: VecDeque<Committed>,
    part_ends: Position,
    /// Before it, the stream has nothing.
    head: Option<Position>,
}

impl Walk {
    /// Takes the next part out of the archive. A database that is away is no more than a broker that is away; a part that is
    /// damaged stays so.
    fn take_part(&mut self, oldest: Position) -> Result<(), LogError> {
        let away = |error: DbError| LogError::Broker { reason: format!("the archive cannot be read: {error}") };
        let found = part_after(&self.database, self.at).map_err(away)?;
        let (first, last) = found.ok_or(LogError::Pruned { asked: self.at, oldest })?;
        let content = projection::archived_content(&self.database, first).map_err(away)?;
        let mut batches = content.and_then(decode).ok_or(LogError::Archive(first))?;
        batches.retain(|committed| committed.position > self.at);
        (self.part, self.part_ends) = (batches, last);
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<Committed, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(committed) = self.part.pop_front() {
                self.at = committed.position;
                return Some(Ok(committed));
            }
            self.at = self.at.max(self.part_ends);
            if let Some(head) = self.head.filter(|head| self.at < *head) {
                match self.take_part(head) {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            }
            self.head = None;
            let mut stream = match self.from_stream.take() {
                Some(stream) => stream,
                None => match self.stream.read(self.at) {
                    Ok(stream) => stream,
                    Err(LogError::Pruned { oldest, .. }) => {
                        self.head = Some(oldest);
                        continue;
                    }
                    Err(error) => return Some(Err(error)),
                },
            };
            match stream.next() {
                Some(Err(LogError::Pruned { oldest, .. })) if oldest > self.at => self.head = Some(oldest),
                Some(Ok(committed)) => {
                    self.from_stream = Some(stream);
                    self.at = committed.position;
                    return Some(Ok(committed));
                }
                end => return end,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Epoch, StreamId};
    use crate::domain::time::Timestamp;
    use crate::persistence::log::embedded::Embedded;
    use crate::persistence::log::{LogEngine, Proposal, Report};

    /// A stream that has lost what lies before its head.
    struct Stream {
        batches: Vec<Committed>,
        head: u64,
    }

    impl LogReader for Stream {
        fn read(&self, from: Position) -> Result<Batches, LogError> {
            if from.0 < self.head {
                return Ok(Box::new(std::iter::once(Err(LogError::Pruned {
                    asked: from,
                    oldest: Position(self.head),
                }))));
            }
            let rest: Vec<_> = self.batches.iter().filter(|committed| committed.position > from).cloned().collect();
            Ok(Box::new(rest.into_iter().map(Ok)))
        }
    }

    fn stream(positions: impl IntoIterator<Item = u64>, head: u64) -> Stream {
        let batch = |position: u64| Committed {
            position: Position(position),
            batch: Arc::new(Batch {
                stream: StreamId::Ledger,
                epoch: Epoch { counter: 1, node: 1 },
                number: position,
                at: Timestamp(7),
                count: 1,
                payload: Bytes::from(vec![position as u8; 100]),
            }),
        };
        Stream { batches: positions.into_iter().map(batch).collect(), head }
    }

    fn positions(reader: &dyn LogReader, from: u64) -> Result<Vec<u64>, LogError> {
        reader.read(Position(from))?.map(|read| read.map(|committed| committed.position.0)).collect()
    }

    #[test]
    fn what_the_stream_has_lost_comes_from_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        // Positions 4 and 9 were messages of no meaning.
        let all = [1, 2, 3, 5, 6, 7, 8, 10, 11, 12];
        assert_eq!(follow(&database, &stream(all, 0), Position(3)).unwrap(), 3);
        assert_eq!(follow(&database, &stream(all, 0), Position(8)).unwrap(), 4);
        assert_eq!(follow(&database, &stream(all, 0), Position(8)).unwrap(), 0);
        for head in [0, 2, 3, 4, 7, 8] {
            let reader = whole(Arc::new(stream(all, head)), database.clone());
            for from in 0..=12 {
                let expected: Vec<u64> = all.into_iter().filter(|position| *position > from).collect();
                assert_eq!(positions(reader.as_ref(), from).unwrap(), expected, "from {from}, head {head}");
            }
        }
        // What neither has is missed, not skipped.
        let reader = whole(Arc::new(stream(all, 11)), database.clone());
        assert!(matches!(positions(reader.as_ref(), 0), Err(LogError::Pruned { .. })));
        assert_eq!(positions(reader.as_ref(), 11).unwrap(), [12]);
        assert!(follow(&database, &stream(all, 11), Position(12)).is_err());
        let content = projection::archived_content(&database, Position(4)).unwrap().unwrap();
        let read = decode(content).unwrap();
        assert_eq!(read.len(), 4);
        assert_eq!(*read[1].batch, *stream([6], 0).batches[0].batch);
    }

    /// A stream during whose reading another node archives up to position 3.
    struct Overtaken(Database, [u64; 5]);

    impl LogReader for Overtaken {
        fn read(&self, from: Position) -> Result<Batches, LogError> {
            if from == Position(0) {
                follow(&self.0, &stream(self.1, 0), Position(3)).unwrap();
            }
            stream(self.1, 0).read(from)
        }
    }

    #[test]
    fn two_nodes_that_archive_at_once_leave_no_hole() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let all = [1, 2, 3, 5, 6];
        follow(&database, &Overtaken(database.clone(), all), Position(6)).unwrap();
        assert_eq!(compare(&database, &stream(all, 0), Position(6)).unwrap(), 5);
    }

    #[test]
    fn the_archive_is_compared_with_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let all = [1, 2, 3, 5, 6, 7, 8, 10, 11, 12];
        let end = Position(12);
        assert_eq!(compare(&database, &stream(all, 0), end).unwrap(), 0);
        follow(&database, &stream(all, 0), Position(3)).unwrap();
        follow(&database, &stream(all, 0), Position(11)).unwrap();
        for (head, both) in [(0, 9), (3, 6), (4, 6), (6, 4), (11, 0)] {
            assert_eq!(compare(&database, &stream(all, head), end).unwrap(), both, "head {head}");
        }
        // The stream may have gone on since its end was asked for.
        assert_eq!(compare(&database, &stream([1, 2, 3, 5], 0), Position(5)).unwrap(), 4);
        for other in [vec![1, 2, 3, 5, 6, 7, 10, 11], vec![1, 2, 3, 5, 6], vec![1, 2, 3, 4, 5, 6]] {
            assert!(matches!(compare(&database, &stream(other, 0), end), Err(Divergence::Differs(_))));
        }
        let mut changed = stream(all, 0);
        changed.batches[4].batch = Arc::new(Batch { count: 2, ..(*changed.batches[4].batch).clone() });
        assert!(matches!(compare(&database, &changed, end), Err(Divergence::Differs(Position(6)))));
        let spoil = |statement: &str| database.write(|c| diesel::sql_query(statement).execute(c)).unwrap();
        spoil("UPDATE log_archive SET content = substr(content, 2) WHERE first = 4");
        assert!(matches!(compare(&database, &stream(all, 11), end), Err(Divergence::Damaged(Position(4)))));
        // Whoever needs that part is told that it is damaged, and not to wait for it.
        let reader = whole(Arc::new(stream(all, 11)), database.clone());
        assert!(matches!(positions(reader.as_ref(), 3), Err(LogError::Archive(Position(4)))));
        spoil("DELETE FROM log_archive WHERE first = 1");
        assert!(matches!(compare(&database, &stream(all, 0), end), Err(Divergence::Hole(Position(0), Position(4)))));
    }

    #[test]
    fn archived_segments_are_compared_with_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let usual = embedded::Options::new(folder.path().join("log"));
        let options = embedded::Options { segment_bytes: 1_000, ahead_bytes: 0, ..usual };
        let (tell, told) = std::sync::mpsc::channel();
        let (log, _) = Embedded::open(options, Box::new(move |report| tell.send(report).unwrap())).unwrap();
        for committed in stream(1..=40, 0).batches {
            let batches = vec![(*committed.batch).clone()];
            log.propose(Proposal { id: committed.position.0, batches }).unwrap();
            assert!(matches!(told.recv().unwrap(), Report::Committed { .. }));
        }
        let sealed = log.sealed_segments();
        assert!(sealed.len() >= 3, "{sealed:?}");
        let compared = |sealed: &[SealedSegment]| compare_segments(&database, sealed);
        assert_eq!(compared(&sealed).unwrap(), 0);
        for segment in &sealed {
            let content = std::fs::read(&segment.path).unwrap();
            assert!(projection::archive(&database, segment.first, segment.last, &content).unwrap());
        }
        assert_eq!(compared(&sealed).unwrap(), sealed.len());
        // Of those that were pruned there is nothing to compare with.
        assert_eq!(compared(&sealed[1..]).unwrap(), sealed.len() - 1);
        assert_eq!(compared(&[]).unwrap(), 0);

        let SealedSegment { path, first, last, .. } = &sealed[1];
        let whole = std::fs::read(path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        std::fs::write(path, flipped).unwrap();
        assert!(matches!(compared(&sealed), Err(SegmentError::Differs(other)) if other == *path));
        std::fs::remove_file(path).unwrap();
        assert!(matches!(compared(&sealed), Err(SegmentError::File(other, _)) if other == *path));
        std::fs::write(path, whole).unwrap();
        assert_eq!(compared(&sealed).unwrap(), sealed.len());

        let spoil = |statement: String| {
            assert_eq!(database.write(|c| diesel::sql_query(statement).execute(c)).unwrap(), 1);
        };
        spoil(format!("UPDATE log_archive SET last = last - 1 WHERE first = {first}"));
        let ends = Position(last.0 - 1);
        assert!(matches!(compared(&sealed), Err(SegmentError::Unknown(from, to)) if (from, to) == (*first, ends)));
        spoil(format!("UPDATE log_archive SET last = last + 1 WHERE first = {first}"));
        assert_eq!(compared(&sealed).unwrap(), sealed.len());
        spoil(format!("UPDATE log_archive SET content = substr(content, 2) WHERE first = {first}"));
        assert!(matches!(compared(&sealed), Err(SegmentError::Damaged(from)) if from == *first));
        spoil("DELETE FROM log_archive WHERE first = 1".into());
        assert!(matches!(compared(&sealed), Err(SegmentError::Hole(Position(0), next)) if next == *first));
    }
}
