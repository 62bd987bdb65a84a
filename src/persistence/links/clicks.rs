//! Clicks on disk until the database has them: files of this node alone.
//!
//! A buffer has a number of its own and counts its clicks from 1; both together are a click's id. A
//! file is a row of frames: length and CRC-32 (4 bytes each, little endian) of what follows, the
//! number of the frame's first click (8 bytes), then clicks in `postcard`. A frame was written and
//! flushed as a whole or it is cut off, at once or when the buffer is opened again. While a buffer is open it gives no
//! number twice: whoever reads may have seen a frame that failed in the end.

use crate::domain::link::LinkId;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file that has grown to this is followed by another.
const FILE_BYTES: u64 = 16 << 20;
/// A file that has grown to this is followed by another as soon as all of its clicks are elsewhere, so that it goes. In
/// a buffer whose bound is reached nothing is appended, so that no other file would ever follow it.
const LEFT_BEHIND_BYTES: u64 = 1 << 20;
/// No frame is longer.
const FRAME_BYTES: usize = 64 << 20;
/// Clicks of one frame: even if all were as long as they may be, it stays well below that.
const FRAME_CLICKS: usize = 5_000;
const HEAD: usize = 16;

/// A click, with nothing that names a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Click {
    /// Which link.
    pub link: LinkId,
    /// When.
    pub at: Timestamp,
    /// A hash of the visitor with a salt that is forgotten after the day.
    pub visitor: i64,
    /// The host of the page that it came from; empty when it is not known.
    pub referrer: String,
    /// `desktop`, `mobile`, `tablet`, `tv`, `console`, `bot` or `other`.
    pub device: String,
    /// The operating system.
    pub os: String,
    /// The browser.
    pub browser: String,
    /// The language, without its region; empty when it is not known.
    pub language: String,
    /// The country; empty when no proxy told it.
    pub country: String,
    /// The robot's name; empty for people.
    pub bot: String,
    /// Where a rule has led; empty when it went to the link's own target.
    pub target: String,
}

/// Files of clicks.
#[derive(Debug)]
pub struct Buffer {
    folder: PathBuf,
    number: i64,
    /// The newest click.
    last: u64,
    file: Option<(File, u64)>,
    /// Files by the first click that they may hold, oldest first.
    files: Vec<(u64, PathBuf)>,
    bytes: u64,
    /// Whether it was told that no file could be made in the place of a large one.
    told: bool,
}

/// Clicks that could not all be appended.
#[derive(Debug, Error)]
#[error("{written} clicks were written: {source}")]
pub struct AppendError {
    /// How many are on the medium.
    pub written: u64,
    /// What became of the next ones.
    source: io::Error,
}

/// Clicks that were read, and where the next ones are.
#[derive(Debug, Default)]
pub struct Batch {
    /// The clicks.
    pub clicks: Vec<Click>,
    /// The newest of them; the old place when there are none.
    pub through: u64,
}

impl Buffer {
    /// Opens the buffer in a folder, or makes one. A torn last frame is cut off.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(folder: &Path) -> io::Result<Buffer> {
        std::fs::create_dir_all(folder)?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if path.extension().is_some_and(|extension| extension == "clicks")
                && let Some(first) = stem.and_then(|stem| stem.parse().ok())
            {
                files.push((first, path));
            }
        }
        files.sort();
        let number = number(folder)?;
        let folder = folder.to_owned();
        let mut buffer = Buffer { folder, number, last: 0, file: None, files, bytes: 0, told: false };
        // The newest file says how far it went; what it cannot say any more, its name and the mark do.
        if let Some((first, path)) = buffer.files.last().cloned() {
            buffer.last = first.saturating_sub(1);
            let mut whole = 0;
            let content = std::fs::read(&path)?;
            while let Some(frame) = frame_at(&content, whole) {
                buffer.last = frame.first + frame.clicks.len() as u64 - 1;
                whole += frame.bytes;
            }
            if whole < content.len() {
                tracing::warn!(file = %path.display(), bytes = content.len() - whole, "torn clicks were cut off");
                OpenOptions::new().write(true).open(&path)?.set_len(whole as u64)?;
            }
        }
        for (_, path) in &buffer.files {
            buffer.bytes += std::fs::metadata(path)?.len();
        }
        Ok(buffer)
    }

    /// The buffer's number.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The newest click.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Counts on from this click at least: the database has seen it, so a number below must not be given again.
    pub fn count_from(&mut self, click: u64) {
        if click > self.last {
            self.last = click;
            self.file = None;
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends clicks and flushes them to the medium.
    ///
    /// # Errors
    /// Those of the file system, with how many are on the medium all the same.
    pub fn append(&mut self, clicks: &[Click]) -> Result<(), AppendError> {
        let mut written = 0;
        for clicks in clicks.chunks(FRAME_CLICKS) {
            self.append_frame(clicks, write_through).map_err(|source| AppendError { written, source })?;
            written += clicks.len() as u64;
        }
        Ok(())
    }

    /// Appends a frame by what `write` does with it, which is to have it on the medium.
    fn append_frame(
        &mut self,
        clicks: &[Click],
        write: impl FnOnce(&mut File, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let first = self.last + 1;
        let frame = frame_of(first, clicks)?;
        let (mut file, length) = match self.file.take() {
            Some((file, length)) if length < FILE_BYTES => (file, length),
            Some(_) | None => self.next_file(first)?,
        };
        // After a failure a new file follows, in any case.
        if let Err(error) = write(&mut file, &frame) {
            // It may stand there as a whole, and may have been read already: nothing else gets its numbers.
            self.last += clicks.len() as u64;
            if let Err(cut) = file.set_len(length).and_then(|()| file.sync_data()) {
                tracing::warn!(%cut, first, "clicks that failed could not be cut off");
                self.bytes += file.metadata().map_or(0, |file| file.len().saturating_sub(length));
            }
            return Err(error);
        }
        self.bytes += frame.len() as u64;
        self.file = Some((file, length + frame.len() as u64));
        self.last += clicks.len() as u64;
        Ok(())
    }

    fn next_file(&mut self, first: u64) -> io::Result<(File, u64)> {
        let path = self.folder.join(format!("{first:020}.clicks"));
        // One that is there already holds nothing but the first part of a frame that failed.
        let file = File::create(&path)?;
        if self.files.last().is_none_or(|(newest, _)| *newest != first) {
            self.files.push((first, path));
            File::open(&self.folder)?.sync_all()?;
            self.remove_failed();
        }
        Ok((file, 0))
    }

    /// Removes the file before the newest if nothing is in it, since all that it was made for has failed. How far the
    /// buffer is, the newest one's name says. Without it each failure would leave a file while older clicks wait.
    fn remove_failed(&mut self) {
        if let [older @ .., (_, path), _] = self.files.as_slice()
            && std::fs::metadata(path).is_ok_and(|file| file.len() == 0)
        {
            let place = older.len();
            match std::fs::remove_file(path) {
                Ok(()) => drop(self.files.remove(place)),
                // It goes with those whose clicks are counted.
                Err(error) => tracing::warn!(%error, "an empty file of clicks could not be removed"),
            }
        }
    }

    /// The files that may hold clicks after this one, for whoever reads them on another thread.
    pub fn files_after(&self, click: u64) -> Vec<PathBuf> {
        let begin = self.files.partition_point(|(first, _)| *first <= click + 1).saturating_sub(1);
        self.files.iter().skip(begin).map(|(_, path)| path.clone()).collect()
    }

    /// Removes files whose clicks are all at or before this one. The newest stays, since it says how far the buffer is;
    /// in the place of a large one an empty one does, by its name. Where that cannot be made, the large one stays.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove_through(&mut self, click: u64) -> io::Result<()> {
        self.remove_older(click)?;
        if click >= self.last && self.bytes >= LEFT_BEHIND_BYTES {
            let first = self.last + 1;
            match self.next_file(first) {
                Ok(next) => {
                    (self.file, self.told) = (Some(next), false);
                    self.remove_older(click)?;
                }
                // It is only tidying, so nobody ends because of it, and it is tried again.
                Err(error) => {
                    // What is appended belongs into the newest file.
                    if self.files.last().is_some_and(|(newest, _)| *newest == first) {
                        self.file = None;
                    }
                    if !std::mem::replace(&mut self.told, true) {
                        tracing::warn!(%error, "no file can follow one whose clicks are counted; it stays");
                    }
                }
            }
        }
        Ok(())
    }

    fn remove_older(&mut self, click: u64) -> io::Result<()> {
        while let [(_, path), (next, _), ..] = self.files.as_slice()
            && *next <= click + 1
        {
            let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
            std::fs::remove_file(path)?;
            self.bytes = self.bytes.saturating_sub(bytes);
            self.files.remove(0);
        }
        Ok(())
    }
}

/// Writes a frame and flushes it to the medium.
fn write_through(file: &mut File, frame: &[u8]) -> io::Result<()> {
    file.write_all(frame)?;
    file.sync_data()
}

/// Reads clicks after `after` from these files, at most about `most`.
///
/// # Errors
/// Those of the file system.
pub fn read(files: &[PathBuf], after: u64, most: usize) -> io::Result<Batch> {
    let mut batch = Batch { clicks: Vec::new(), through: after };
    for path in files {
        let mut content = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut place = 0;
        while let Some(frame) = frame_at(&content, place) {
            place += frame.bytes;
            let count = frame.clicks.len() as u64;
            if frame.first + count <= batch.through + 1 {
                continue;
            }
            let known = usize::try_from((batch.through + 1).saturating_sub(frame.first)).unwrap_or(0);
            batch.through = frame.first + count - 1;
            batch.clicks.extend(frame.clicks.into_iter().skip(known));
            if batch.clicks.len() >= most {
                return Ok(batch);
            }
        }
    }
    Ok(batch)
}

/// A frame of these clicks, the first of which has this number.
fn frame_of(first: u64, clicks: &[Click]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD];
    for click in clicks {
        frame = postcard::to_extend(click, frame).map_err(io::Error::other)?;
    }
    if let Some(place) = frame.get_mut(8..HEAD) {
        place.copy_from_slice(&first.to_le_bytes());
    }
    let body = frame.get(8..).unwrap_or_default();
    let (length, sum) = (body.len() as u32, crc32fast::hash(body));
    for (place, value) in [(0..4, length), (4..8, sum)] {
        if let Some(place) = frame.get_mut(place) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    Ok(frame)
}

struct Frame {
    first: u64,
    clicks: Vec<Click>,
    bytes: usize,
}

fn frame_at(content: &[u8], place: usize) -> Option<Frame> {
    let rest = content.get(place..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let body = rest.get(..length).filter(|body| body.len() <= FRAME_BYTES)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (first, mut encoded) = body.split_first_chunk::<8>()?;
    let mut clicks = Vec::new();
    while !encoded.is_empty() {
        let (click, rest) = postcard::take_from_bytes(encoded).ok()?;
        clicks.push(click);
        encoded = rest;
    }
    (!clicks.is_empty()).then_some(Frame { first: u64::from_le_bytes(*first), clicks, bytes: 8 + length })
}

/// The buffer's number, made at random when there is none yet.
fn number(folder: &Path) -> io::Result<i64> {
    let path = folder.join("number");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let number = rand::random::<i64>() & i64::MAX;
            let half = folder.join("number.new");
            let mut file = File::create(&half)?;
            writeln!(file, "{number}")?;
            file.sync_all()?;
            std::fs::rename(&half, &path)?;
            File::open(folder)?.sync_all()?;
            Ok(number)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn click(number: i64) -> Click {
        Click {
            link: LinkId(number),
            at: Timestamp(number),
            visitor: 1,
            referrer: "example.org".into(),
            device: "desktop".into(),
            os: "Linux".into(),
            browser: "Firefox".into(),
            language: "de".into(),
            country: String::new(),
            bot: String::new(),
            target: String::new(),
        }
    }

    fn numbers(batch: &Batch) -> Vec<i64> {
        batch.clicks.iter().map(|click| click.link.0).collect()
    }

    #[test]
    fn clicks_come_back_once_whatever_was_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&[click(1), click(2)]).unwrap();
        buffer.append(&[click(3)]).unwrap();
        let read_after = |buffer: &Buffer, after| read(&buffer.files_after(after), after, 1_000).unwrap();
        let batch = read_after(&buffer, 0);
        assert_eq!((numbers(&batch), batch.through), (vec![1, 2, 3], 3));
        assert_eq!(numbers(&read_after(&buffer, 1)), [2, 3]);
        assert_eq!(read_after(&buffer, 3).clicks.len(), 0);
        let again = Buffer::open(folder.path()).unwrap();
        assert_eq!((again.number(), again.last()), (buffer.number(), 3));
        assert_eq!(read(&again.files_after(0), 0, 1).unwrap().through, 2, "frames are read whole");
    }

    #[test]
    fn a_torn_frame_is_cut_off_and_its_numbers_are_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&[click(1), click(2)]).unwrap();
        let path = buffer.files_after(0).remove(0);
        let whole = std::fs::read(&path).unwrap();
        buffer.append(&[click(3)]).unwrap();
        let longer = std::fs::read(&path).unwrap();
        for cut in whole.len()..longer.len() {
            std::fs::write(&path, &longer[..cut]).unwrap();
            let mut buffer = Buffer::open(folder.path()).unwrap();
            assert_eq!(buffer.last(), 2);
            buffer.append(&[click(4)]).unwrap();
            let batch = read(&buffer.files_after(0), 0, 1_000).unwrap();
            assert_eq!((numbers(&batch), batch.through), (vec![1, 2, 4], 3));
            for (_, path) in &buffer.files[1..] {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_fails_to_be_written_is_told_and_its_numbers_are_not_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&[click(1)]).unwrap();
        // Neither takes anything nor can be cut.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        buffer.file = Some((full, 0));
        let failed = buffer.append(&[click(2), click(3)]).unwrap_err();
        assert_eq!((failed.written, buffer.last()), (0, 3));
        buffer.append(&[click(4)]).unwrap();
        let batch = read(&buffer.files_after(0), 0, 1_000).unwrap();
        assert_eq!((numbers(&batch), batch.through), (vec![1, 4], 4));

        // The second frame would begin a file that cannot be made.
        buffer.file = Some((buffer.file.take().unwrap().0, FILE_BYTES - 1));
        let in_the_way = folder.path().join(format!("{:020}.clicks", 5 + FRAME_CLICKS));
        std::fs::create_dir(&in_the_way).unwrap();
        let clicks: Vec<Click> = (5..).map(click).take(FRAME_CLICKS + 2).collect();
        let failed = buffer.append(&clicks).unwrap_err();
        assert_eq!((failed.written, buffer.last()), (FRAME_CLICKS as u64, 4 + FRAME_CLICKS as u64));
        std::fs::remove_dir(&in_the_way).unwrap();
        buffer.append(&[click(-1)]).unwrap();
        let batch = read(&buffer.files_after(4), 4, usize::MAX).unwrap();
        assert_eq!((batch.clicks.len(), numbers(&batch).last()), (FRAME_CLICKS + 1, Some(&-1)));
    }

    #[test]
    fn numbers_of_a_frame_that_could_not_be_flushed_are_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&[click(1)]).unwrap();
        let (files, mut seen) = (buffer.files_after(1), Batch::default());
        let failed = buffer.append_frame(&[click(2), click(3)], |file, frame| {
            file.write_all(frame)?;
            // Whoever rolls up does not wait for the flush.
            seen = read(&files, 1, 10)?;
            Err(io::Error::other("the medium is gone"))
        });
        assert!(failed.is_err());
        assert_eq!((numbers(&seen), seen.through), (vec![2, 3], 3));
        assert_eq!(numbers(&read(&buffer.files_after(0), 0, 10).unwrap()), [1], "it was cut off");
        assert_eq!((buffer.last(), buffer.bytes()), (3, std::fs::metadata(&files[0]).unwrap().len()));
        buffer.append(&[click(4)]).unwrap();
        let batch = read(&buffer.files_after(3), 3, 10).unwrap();
        assert_eq!((numbers(&batch), batch.through), (vec![4], 4), "it counts whatever was rolled up before");
        assert_eq!(Buffer::open(folder.path()).unwrap().last(), 4);
    }

    #[test]
    fn failures_in_a_row_leave_no_more_than_one_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&[click(1)]).unwrap();
        for _ in 0..10 {
            // Nothing of it is there in the end, and the first click is not elsewhere yet.
            let failed = buffer.append_frame(&[click(2)], |_, _| Err(io::Error::other("the medium is full")));
            assert!(failed.is_err());
            assert!(buffer.files.len() <= 2, "{:?}", buffer.files);
        }
        let there = || {
            let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|path| path.extension().is_some_and(|extension| extension == "clicks")).count()
        };
        assert_eq!((there(), buffer.last()), (2, 11));
        assert_eq!(Buffer::open(folder.path()).unwrap().last(), 10, "the newest one's name says it");
        buffer.append(&[click(3)]).unwrap();
        assert_eq!((there(), buffer.files.len()), (2, 2));
        let batch = read(&buffer.files_after(0), 0, 10).unwrap();
        assert_eq!((numbers(&batch), batch.through), (vec![1, 3], 12));
    }

    #[test]
    fn files_go_when_all_of_their_clicks_are_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        for first in [1, 3, 5] {
            buffer.append(&[click(first), click(first + 1)]).unwrap();
            buffer.file = None;
        }
        assert_eq!(buffer.files.len(), 3);
        buffer.remove_through(3).unwrap();
        assert_eq!(numbers(&read(&buffer.files_after(3), 3, 1_000).unwrap()), [4, 5, 6]);
        buffer.remove_through(6).unwrap();
        assert_eq!(buffer.files.len(), 1, "the newest stays: it says how far the buffer is");
        assert_eq!(Buffer::open(folder.path()).unwrap().last(), 6);
        // A database that has seen more than the files say is believed.
        buffer.count_from(100);
        buffer.append(&[click(7)]).unwrap();
        assert_eq!(read(&buffer.files_after(100), 100, 10).unwrap().through, 101);
    }

    #[test]
    fn a_large_file_goes_too_and_an_empty_one_says_how_far_the_buffer_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&vec![click(1); 50_000]).unwrap();
        assert!(buffer.bytes() >= LEFT_BEHIND_BYTES);
        buffer.remove_through(49_999).unwrap();
        assert!(buffer.bytes() >= LEFT_BEHIND_BYTES, "its last click is not elsewhere yet");
        buffer.remove_through(50_000).unwrap();
        assert_eq!((buffer.bytes(), buffer.files.len()), (0, 1));
        drop(buffer);
        let mut again = Buffer::open(folder.path()).unwrap();
        assert_eq!(again.last(), 50_000);
        for click in [click(2), click(3)] {
            again.append(&[click]).unwrap();
        }
        let batch = read(&again.files_after(50_000), 50_000, 10).unwrap();
        assert_eq!((numbers(&batch), batch.through), (vec![2, 3], 50_002));
    }

    #[test]
    fn a_large_file_that_no_other_can_follow_stays_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = Buffer::open(folder.path()).unwrap();
        buffer.append(&vec![click(1); 50_000]).unwrap();
        let in_the_way = folder.path().join(format!("{:020}.clicks", 50_001));
        std::fs::create_dir(&in_the_way).unwrap();
        buffer.remove_through(50_000).unwrap();
        assert!(buffer.bytes() >= LEFT_BEHIND_BYTES);
        buffer.append(&[click(2)]).unwrap();
        buffer.remove_through(50_000).unwrap();
        assert_eq!(numbers(&read(&buffer.files_after(50_000), 50_000, 10).unwrap()), [2]);
        buffer.remove_through(50_001).unwrap();
        assert_eq!((buffer.bytes(), buffer.files.len()), (0, 1));
    }
}
