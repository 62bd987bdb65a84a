//! Snapshots of the whole venue: one file each, named by the log position that it contains.
//!
//! File layout: 8 bytes `AGORASNP`, format version u32 LE, position u64 LE, state hash 32 bytes,
//! BLAKE3 of the body 32 bytes, body (postcard of [`Venue`]). Written to a temporary name, flushed,
//! then renamed, so that a file under its final name is complete. What is left of one that was never
//! completed is removed. One that a start finds behind the log's end is of a log that was lost: it gets
//! another extension.

use crate::domain::venue::{StateHash, Venue};
use crate::persistence::log::Position;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"AGORASNP";
const VERSION: u32 = 5;
const HEADER: usize = 8 + 4 + 8 + 32 + 32;

/// How many snapshots are kept.
const KEPT: usize = 3;

/// The extension of a file.
const FINISHED: &str = "snap";

/// The extension of a file that is being written.
const UNFINISHED: &str = "tmp";

/// The extension of a file that was found behind the log's end.
const AHEAD: &str = "ahead";

/// A folder of snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
}

/// A snapshot that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The last batch that is contained.
    pub position: Position,
    /// The state.
    pub venue: Venue,
}

/// Why a snapshot file is of no use.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The content is not what was written.
    #[error("{0} is damaged: {1}")]
    Damaged(PathBuf, &'static str),
}

impl Snapshots {
    /// Snapshots in this folder, which is made when it is not there; nobody else may write to it.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Snapshots, SnapshotError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| SnapshotError::Io(folder.clone(), error))?;
        let snapshots = Snapshots { folder };
        // The process may have died while it wrote them.
        snapshots.with_extension(UNFINISHED).for_each(|path| remove(&path));
        Ok(snapshots)
    }

    /// The same folder for reading alone; it need not exist.
    pub fn read_only(folder: impl Into<PathBuf>) -> Snapshots {
        Snapshots { folder: folder.into() }
    }

    /// Takes those out of use that lie behind the log's end, which they can only do when a part of the log was lost, or
    /// another one was put in its place. Whoever went on from one of them would have what is not in the log. Their
    /// files stay under another name, for whoever wants to know what was lost.
    ///
    /// # Errors
    /// When one cannot be renamed.
    pub fn set_aside_behind(&self, end: Position) -> Result<(), SnapshotError> {
        for (position, path) in self.files().into_iter().take_while(|(position, _)| *position > end) {
            let aside = path.with_extension(AHEAD);
            fs::rename(&path, &aside).map_err(|error| SnapshotError::Io(path, error))?;
            tracing::error!(%position, %end, file = %aside.display(),
                "a snapshot lies behind the log's end, so a part of the log is missing; it is not used");
        }
        Ok(())
    }

    /// Writes a snapshot and removes all but the newest few. Returns the hash that it carries.
    ///
    /// # Errors
    /// When it cannot be written; older ones stay then.
    pub fn save(&self, position: Position, venue: &Venue) -> Result<StateHash, SnapshotError> {
        let body =
            postcard::to_stdvec(venue).map_err(|_| SnapshotError::Damaged(self.path(position), "not serialisable"))?;
        let hash = venue.hash();
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&position.0.to_le_bytes());
        header.extend_from_slice(&hash.0);
        header.extend_from_slice(blake3::hash(&body).as_bytes());
        self.put(position, &[&header, &body])?;
        let others = self.files().into_iter().filter(|(other, _)| *other != position);
        others.skip(KEPT - 1).for_each(|(_, old)| remove(&old));
        Ok(hash)
    }

    /// The content of the file at `position`, as it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn content(&self, position: Position) -> Result<Vec<u8>, SnapshotError> {
        let path = self.path(position);
        fs::read(&path).map_err(|error| SnapshotError::Io(path, error))
    }

    /// Adds a file that another node wrote. It is checked when it is loaded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn adopt(&self, position: Position, content: &[u8]) -> Result<(), SnapshotError> {
        self.put(position, &[content])
    }

    fn path(&self, position: Position) -> PathBuf {
        self.folder.join(format!("{:020}.{FINISHED}", position.0))
    }

    /// Writes a file so that it is complete once it has its name.
    fn put(&self, position: Position, parts: &[&[u8]]) -> Result<(), SnapshotError> {
        let path = self.path(position);
        let temporary = path.with_extension(UNFINISHED);
        let written = write(&temporary, parts).and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() && temporary.exists() {
            // On a full disk it would keep the place that others need.
            remove(&temporary);
        }
        written.and_then(|()| File::open(&self.folder)?.sync_all()).map_err(|error| SnapshotError::Io(path, error))
    }

    /// The newest valid snapshot at or before `limit`; damaged ones are reported and skipped.
    pub fn newest(&self, limit: Position) -> Option<Loaded> {
        self.first_of(self.files().into_iter().filter(|(position, _)| *position <= limit), |_, _| true)
    }

    /// The newest valid snapshot that suits; damaged ones are reported and skipped.
    pub fn newest_such(&self, suits: impl FnMut(Position, &Venue) -> bool) -> Option<Loaded> {
        self.first_of(self.files().into_iter(), suits)
    }

    fn first_of(
        &self,
        files: impl Iterator<Item = (Position, PathBuf)>,
        mut suits: impl FnMut(Position, &Venue) -> bool,
    ) -> Option<Loaded> {
        for (position, path) in files {
            match load(&path, position) {
                Ok(venue) if suits(position, &venue) => return Some(Loaded { position, venue }),
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a snapshot is skipped"),
            }
        }
        None
    }

    /// The snapshots, newest first.
    pub fn files(&self) -> Vec<(Position, PathBuf)> {
        let mut files: Vec<_> = self
            .with_extension(FINISHED)
            .filter_map(|path| Some((Position(path.file_stem()?.to_str()?.parse().ok()?), path)))
            .collect();
        files.sort_by(|a, b| b.cmp(a));
        files
    }

    fn with_extension(&self, wanted: &str) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(move |path| path.extension().is_some_and(|found| found == wanted))
    }
}

fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "a file that is not needed any more could not be removed");
    }
}

/// Reads the file of this position and checks everything that can be checked.
fn load(path: &Path, position: Position) -> Result<Venue, SnapshotError> {
    let damaged = |reason| SnapshotError::Damaged(path.to_owned(), reason);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| SnapshotError::Io(path.to_owned(), error))?;
    let (header, body) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged("it is too short"))?;
    if !header.starts_with(MAGIC) || header.get(8..12) != Some(VERSION.to_le_bytes().as_slice()) {
        return Err(damaged("it has another format"));
    }
    if header.get(12..20) != Some(position.0.to_le_bytes().as_slice()) {
        return Err(damaged("its name says another position than it does"));
    }
    if header.get(52..84) != Some(blake3::hash(body).as_bytes().as_slice()) {
        return Err(damaged("its checksum does not match"));
    }
    let venue: Venue = postcard::from_bytes(body).map_err(|_| damaged("it cannot be read"))?;
    if header.get(20..52) != Some(venue.hash().0.as_slice()) {
        return Err(damaged("its state has another hash than it says"));
    }
    Ok(venue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(snapshots: &Snapshots) -> Vec<u64> {
        snapshots.files().into_iter().map(|(position, _)| position.0).collect()
    }

    #[test]
    fn what_lies_behind_the_end_of_the_log_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        for position in [5, 8, 9] {
            snapshots.save(Position(position), &Venue::default()).unwrap();
        }
        snapshots.set_aside_behind(Position(8)).unwrap();
        assert_eq!(positions(&snapshots), [8, 5]);
        assert_eq!(snapshots.newest(Position(u64::MAX)).unwrap().position, Position(8));
        assert!(folder.path().join("00000000000000000009.ahead").exists());
        snapshots.set_aside_behind(Position(8)).unwrap();
        assert_eq!(positions(&snapshots), [8, 5]);
    }

    /// Whatever lies there already: else whoever has taken it would have it no more.
    #[test]
    fn what_was_just_written_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        for (position, expected) in [(7, vec![7]), (8, vec![8, 7]), (9, vec![9, 8, 7]), (4, vec![9, 8, 4])] {
            snapshots.save(Position(position), &Venue::default()).unwrap();
            assert_eq!(positions(&snapshots), expected);
        }
        snapshots.save(Position(10), &Venue::default()).unwrap();
        assert_eq!(positions(&snapshots), [10, 9, 8]);
    }

    #[test]
    fn a_snapshot_under_the_name_of_another_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        snapshots.save(Position(8), &Venue::default()).unwrap();
        fs::copy(snapshots.path(Position(8)), snapshots.path(Position(9))).unwrap();
        assert_eq!(positions(&snapshots), [9, 8]);
        let newest = snapshots.newest(Position(u64::MAX)).unwrap();
        assert_eq!((newest.position, newest.venue.hash()), (Position(8), Venue::default().hash()));
    }

    #[test]
    fn nothing_is_left_of_a_snapshot_that_was_not_completed() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        fs::write(folder.path().join("00000000000000000007.tmp"), b"half").unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        assert_eq!(names(), Vec::<String>::new());
        snapshots.save(Position(8), &Venue::default()).unwrap();
        assert_eq!(names(), ["00000000000000000008.snap"]);
        // The name is taken by something that no file can be renamed to.
        fs::create_dir(folder.path().join("00000000000000000009.snap")).unwrap();
        assert!(snapshots.save(Position(9), &Venue::default()).is_err());
        assert_eq!(names().len(), 2, "{:?}", names());
    }
}
