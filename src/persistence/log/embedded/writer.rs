//! The thread that writes: everything that waits goes into one write and one flush.

use super::super::{AppendError, Committed, LogError, Position, Proposal, Report, Sink};
use super::frame::{Chain, FILE_HEADER, FRAME_HEADER, FileHeader, FrameHeader};
use super::recover::Found;
use super::segment::{Segment, io_error, path_of, path_of_new};
use super::{Options, Shared, sync_folder};
use crate::domain::batch::MAX_PAYLOAD;
use crossbeam_channel::{Receiver, TryRecvError};
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the writer looks for more before it sleeps. Longer takes cores from others when they are all busy: at
/// 60 µs it cost a tenth of the server's processor time.
const STAY_AWAKE: Duration = Duration::from_micros(10);

/// Why nothing more can be appended for now, or at all.
enum Trouble {
    /// It heals by itself; everything of the write was cut off again.
    Refused(AppendError),
    /// The content of the medium is unknown.
    Broken(String),
}

/// The outcome of one proposal of a write, in the order of the log.
type Outcome = (u64, Result<Vec<Committed>, AppendError>);

/// Everything that one write holds until it is flushed.
struct Group {
    outcomes: Vec<Outcome>,
    frames: u32,
    /// The number of the next frame and the chain hash before it.
    next: u64,
    chain: Chain,
}

pub(super) struct Writer {
    options: Options,
    shared: Arc<Shared>,
    /// The open folder, for flushing the names in it: when a roll comes, there may be no descriptor left.
    folder: File,
    queue: Receiver<Proposal>,
    sink: Sink,
    /// The newest segment.
    file: File,
    salt: u32,
    /// Where the next frame goes: everything before is flushed.
    len: u64,
    /// Bytes of the file, zeroes ahead included.
    size: u64,
    next: u64,
    chain: Chain,
    /// Whether to write zeroes ahead: not any more in a segment where there was no room for them.
    ahead: bool,
    /// Reused by every write.
    bytes: Vec<u8>,
    /// Taken from the queue, and did not fit into the segment of the write before.
    held_back: Option<Proposal>,
    /// Whether the limit on the whole log has refused something of the write under way.
    over_quota: bool,
}

/// Does what a folder needs before it can be written: cuts a torn tail, ends a roll that was under
/// way, begins a log. Flushes all that was found good, and returns the newest segment's file.
pub(super) fn make_ready(folder: &Path, found: &mut Found) -> Result<File, LogError> {
    let what = || format!("the log in {} cannot be made ready", folder.display());
    for path in &found.leftovers {
        std::fs::remove_file(path).map_err(io_error(what))?;
    }
    if found.segments.is_empty() || found.unfinished_roll {
        let header = FileHeader { first: found.end + 1, chain: found.chain };
        if !found.unfinished_roll {
            File::open(folder).and_then(|open| prepare(folder, &open, header)).map_err(io_error(what))?;
        }
        let path = path_of(folder, header.first);
        std::fs::rename(path_of_new(folder, header.first), &path).map_err(io_error(what))?;
        found.segments.push(Segment { path, header, len: FILE_HEADER as u64 });
    }
    let newest = found.segments.last().ok_or_else(|| io_error(what)(ErrorKind::NotFound.into()))?;
    let file = File::options().read(true).write(true).open(&newest.path).map_err(io_error(what))?;
    if found.torn.is_some() {
        file.set_len(newest.len).map_err(io_error(what))?;
    }
    // What a process wrote before it was killed can be read back without being on the disk yet.
    file.sync_all().map_err(io_error(what))?;
    sync_folder(folder).map_err(io_error(what))?;
    Ok(file)
}

/// Writes and flushes an empty segment under its preparatory name; `open` is the folder.
fn prepare(folder: &Path, open: &File, header: FileHeader) -> io::Result<File> {
    let mut how = File::options();
    let mut file = how.read(true).write(true).create(true).truncate(true).open(path_of_new(folder, header.first))?;
    file.write_all(&header.encode())?;
    file.sync_all()?;
    open.sync_all()?;
    Ok(file)
}

fn is_full(error: &io::Error) -> bool {
    // A limit on the size of a file heals like a full disk: the next segment is a new file.
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// What heals by itself: no space, or no descriptor for one more file because others hold them all.
fn passing(error: &io::Error) -> Option<AppendError> {
    let errno = |code: rustix::io::Errno| error.raw_os_error() == Some(code.raw_os_error());
    if is_full(error) {
        return Some(AppendError::DiskFull);
    }
    let too_many = errno(rustix::io::Errno::MFILE) || errno(rustix::io::Errno::NFILE);
    too_many.then(|| AppendError::Unavailable(format!("no new segment can be begun: {error}")))
}

impl Writer {
    pub(super) fn new(
        options: Options,
        shared: Arc<Shared>,
        queue: Receiver<Proposal>,
        sink: Sink,
        file: File,
        chain: Chain,
    ) -> io::Result<Writer> {
        let size = file.metadata()?.len();
        let folder = File::open(&options.folder)?;
        let (len, salt, next) = {
            let state = shared.state.lock();
            let newest = state.segments.last().ok_or(ErrorKind::NotFound)?;
            (newest.len, newest.header.chain.salt(), state.end + 1)
        };
        let bytes = Vec::new();
        Ok(Writer {
            options,
            shared,
            folder,
            queue,
            sink,
            file,
            salt,
            len,
            size,
            next,
            chain,
            ahead: true,
            bytes,
            held_back: None,
            over_quota: false,
        })
    }

    /// Writes until nobody can propose any more, or until the medium fails.
    pub(super) fn run(mut self) {
        while let Some(proposal) = self.held_back.take().or_else(|| self.wait()) {
            if let Err(reason) = self.write_group(proposal) {
                tracing::error!(%reason, "the log has failed and takes nothing more");
                (self.sink)(Report::Failed { error: AppendError::Io(reason) });
                return;
            }
        }
    }

    /// The next proposal; `None` when nobody can propose any more. Who was just answered often
    /// proposes again at once, and waking a sleeping thread costs a good part of a flush: so it stays
    /// awake for a moment, letting others have the core, before it sleeps.
    fn wait(&self) -> Option<Proposal> {
        let start = Instant::now();
        while start.elapsed() < STAY_AWAKE {
            match self.queue.try_recv() {
                Ok(proposal) => return Some(proposal),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => std::thread::yield_now(),
            }
        }
        self.queue.recv().ok()
    }

    /// Writes a proposal and what waits behind it, flushes once, and reports in order.
    fn write_group(&mut self, first: Proposal) -> Result<(), String> {
        let wanted = self.len + framed_len(&first);
        if wanted > self.options.segment_bytes && self.len > FILE_HEADER as u64 && framed_len(&first) > 0 {
            match self.roll() {
                Ok(()) => {}
                Err(Trouble::Refused(error)) => {
                    (self.sink)(Report::Refused { proposal: first.id, error });
                    return Ok(());
                }
                Err(Trouble::Broken(reason)) => return Err(reason),
            }
        }
        self.bytes.clear();
        let mut group = Group { outcomes: Vec::new(), frames: 0, next: self.next, chain: self.chain };
        let room = self.quota_left();
        self.add(&mut group, first, room);
        while self.bytes.len() < self.options.write_bytes {
            let Ok(proposal) = self.queue.try_recv() else { break };
            if self.len + self.bytes.len() as u64 + framed_len(&proposal) > self.options.segment_bytes {
                self.held_back = Some(proposal);
                break;
            }
            self.add(&mut group, proposal, room);
        }
        let written = if self.bytes.is_empty() { Ok(()) } else { self.append(room) };
        match written {
            Ok(()) => self.commit(group),
            Err(Trouble::Refused(why)) => {
                for (proposal, outcome) in group.outcomes {
                    let error = outcome.err().unwrap_or_else(|| why.clone());
                    (self.sink)(Report::Refused { proposal, error });
                }
            }
            Err(Trouble::Broken(reason)) => return Err(reason),
        }
        if std::mem::take(&mut self.over_quota) {
            return self.seal_for_pruning();
        }
        Ok(())
    }

    /// Seals a segment that the limit on the whole log keeps from filling up: only what is sealed can be archived and
    /// removed, and nothing else makes room again.
    fn seal_for_pruning(&mut self) -> Result<(), String> {
        // The rest of a smaller one is not worth it: while small proposals still fit, there would be many such segments.
        if self.len < self.options.segment_bytes / 16 || self.len <= FILE_HEADER as u64 {
            return Ok(());
        }
        match self.roll() {
            // The next refusal tries again.
            Ok(()) | Err(Trouble::Refused(_)) => Ok(()),
            Err(Trouble::Broken(reason)) => Err(reason),
        }
    }

    /// Appends the frames of a proposal to the write, or refuses it when it is too large.
    fn add(&mut self, group: &mut Group, proposal: Proposal, room: u64) {
        if let Some(batch) = proposal.batches.iter().find(|batch| batch.payload.len() > MAX_PAYLOAD) {
            let error = AppendError::TooLarge { bytes: batch.payload.len() };
            group.outcomes.push((proposal.id, Err(error)));
            return;
        }
        if self.bytes.len() as u64 + framed_len(&proposal) > room {
            self.over_quota = true;
            group.outcomes.push((proposal.id, Err(AppendError::DiskFull)));
            return;
        }
        let mut batches = Vec::with_capacity(proposal.batches.len());
        for batch in proposal.batches {
            let start = self.bytes.len();
            self.bytes.resize(start + FRAME_HEADER, 0);
            batch.encode(&mut self.bytes);
            let content = self.bytes.get(start + FRAME_HEADER..).unwrap_or_default();
            let chain = group.chain.after(group.next, content);
            let len = content.len() as u32;
            let header = FrameHeader { seal: false, len, number: group.next, in_write: group.frames, chain };
            if let Some(place) = self.bytes.get_mut(start..start + FRAME_HEADER) {
                place.copy_from_slice(&header.encode(self.salt));
            }
            batches.push(Committed { position: Position(group.next), batch: Arc::new(batch) });
            group.chain = chain;
            group.next += 1;
            group.frames += 1;
        }
        group.outcomes.push((proposal.id, Ok(batches)));
    }

    /// Makes what was flushed visible to readers, then tells.
    fn commit(&mut self, group: Group) {
        if group.next != self.next {
            (self.next, self.chain) = (group.next, group.chain);
            let mut state = self.shared.state.lock();
            state.end = self.next - 1;
            if let Some(newest) = state.segments.last_mut() {
                newest.len = self.len;
            }
        }
        for (proposal, outcome) in group.outcomes {
            (self.sink)(match outcome {
                Ok(batches) => Report::Committed { proposal: Some(proposal), batches },
                Err(error) => Report::Refused { proposal, error },
            });
        }
    }

    /// How many bytes may still be appended by the limit on the whole log.
    fn quota_left(&self) -> u64 {
        let Some(max) = self.options.max_bytes else { return u64::MAX };
        let older: u64 = self.shared.state.lock().segments.iter().rev().skip(1).map(|segment| segment.len).sum();
        // Room for the seal and the header behind it is kept, so that a full log can still be rolled and then pruned.
        max.saturating_sub(older + self.len + (FRAME_HEADER + FILE_HEADER) as u64)
    }

    /// Writes the prepared bytes at the end and flushes them.
    fn append(&mut self, room: u64) -> Result<(), Trouble> {
        let data = self.bytes.len();
        let end = self.len + data as u64;
        if end > self.size && self.ahead && self.options.ahead_bytes > 0 {
            let most = self.options.segment_bytes.min(self.len.saturating_add(room));
            let ahead = (end + self.options.ahead_bytes).min(most).max(end);
            self.bytes.resize((ahead - self.len) as usize, 0);
        }
        let mut written = self.write_bytes();
        if self.bytes.len() > data && written.as_ref().is_err_and(is_full) {
            // There is no room for the zeroes ahead; for the frames alone there may be.
            self.bytes.truncate(data);
            self.ahead = false;
            self.cut()?;
            written = self.write_bytes();
        }
        let total = self.len + self.bytes.len() as u64;
        match written {
            Ok(()) => {
                self.size = self.size.max(total);
                self.len = end;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                self.cut()?;
                Err(Trouble::Refused(AppendError::DiskFull))
            }
            // After a failed flush the kernel may mark the pages as clean and drop them: a second
            // flush would succeed without the data being on the disk. Nor can what was read back
            // from the cache be believed. Only starting again from the disk tells what is there.
            Err(error) => Err(Trouble::Broken(error.to_string())),
        }
    }

    fn write_bytes(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&self.bytes)?;
        self.file.sync_data()
    }

    /// Takes everything behind the last flushed frame off the file, durably: a refused proposal must
    /// not come back after a crash. A flush that failed for lack of space is harmless after this,
    /// since no byte that it was to write is left.
    fn cut(&mut self) -> Result<(), Trouble> {
        let cut = self.file.set_len(self.len).and_then(|()| self.file.sync_all());
        cut.map_err(|error| Trouble::Broken(format!("a write could not be undone: {error}")))?;
        self.size = self.len;
        Ok(())
    }

    /// Seals the newest segment and begins the next. The next one is on the disk, under its
    /// preparatory name, before the seal says that it must be.
    fn roll(&mut self) -> Result<(), Trouble> {
        let header = FileHeader { first: self.next, chain: self.chain };
        let (prepared, path) = (path_of_new(&self.shared.folder, self.next), path_of(&self.shared.folder, self.next));
        let rolled = prepare(&self.shared.folder, &self.folder, header)
            .and_then(|file| self.seal().map(|()| file))
            .and_then(|file| std::fs::rename(&prepared, &path).map(|()| file));
        let file = match rolled {
            Ok(file) => file,
            Err(error) => {
                // Without the seal the prepared file is only a leftover, so the seal goes first.
                self.cut()?;
                let _ = std::fs::remove_file(&prepared);
                return Err(passing(&error).map_or_else(|| Trouble::Broken(error.to_string()), Trouble::Refused));
            }
        };
        self.folder.sync_all().map_err(|error| Trouble::Broken(error.to_string()))?;
        let mut state = self.shared.state.lock();
        if let Some(newest) = state.segments.last_mut() {
            newest.len = self.len + FRAME_HEADER as u64;
        }
        state.segments.push(Segment { path, header, len: FILE_HEADER as u64 });
        self.file = file;
        self.salt = header.chain.salt();
        self.ahead = true;
        (self.len, self.size) = (FILE_HEADER as u64, FILE_HEADER as u64);
        Ok(())
    }

    /// Ends the newest segment with a seal and cuts the zeroes behind it.
    fn seal(&mut self) -> io::Result<()> {
        let seal = FrameHeader { seal: true, len: 0, number: self.next, in_write: 0, chain: self.chain };
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&seal.encode(self.salt))?;
        self.file.set_len(self.len + FRAME_HEADER as u64)?;
        self.file.sync_all()
    }
}

/// Bytes that a proposal takes in a segment.
fn framed_len(proposal: &Proposal) -> u64 {
    proposal.batches.iter().map(|batch| (FRAME_HEADER + batch.encoded_len()) as u64).sum()
}
