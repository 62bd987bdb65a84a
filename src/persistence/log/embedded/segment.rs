//! Segment files: their names, and walking through the frames of one with few system calls.

use super::super::LogError;
use super::frame::{Chain, FILE_HEADER, FRAME_HEADER, FileHeader, Frame, FrameHeader};
use bytes::{Buf, Bytes};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much is read from a file at once.
const CHUNK: u64 = 512 << 10;

/// What is known of one segment file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub header: FileHeader,
    /// Bytes that may be read: all of a sealed segment, the committed part of the newest.
    pub len: u64,
}

/// The name of the segment whose first frame has this number.
pub(super) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// The name under which that segment is prepared before it takes its place.
pub(super) fn path_of_new(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg.new"))
}

/// The segments in a folder by the number of their first frame, ascending, and the files that were
/// being prepared to become one.
pub(super) fn list(dir: &Path) -> Result<(Vec<u64>, Vec<PathBuf>), LogError> {
    let what = || format!("the log folder {} cannot be listed", dir.display());
    let (mut segments, mut unfinished) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(io_error(what))? {
        let path = entry.map_err(io_error(what))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = |suffix| {
            let digits: &str = name.strip_suffix(suffix)?;
            (digits.len() == 20).then(|| digits.parse::<u64>().ok()).flatten()
        };
        if let Some(first) = number(".seg") {
            segments.push(first);
        } else if number(".seg.new").is_some() {
            unfinished.push(path);
        }
    }
    segments.sort_unstable();
    Ok((segments, unfinished))
}

/// Wraps an error of the operating system with what was being done.
pub(super) fn io_error<W: Into<String>>(what: impl FnOnce() -> W) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io { what: what().into(), source }
}

/// Wraps an error met while reading `path`.
pub(super) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
    io_error(move || format!("{} cannot be read", path.display()))
}

/// What stands at the place of a walk.
#[derive(Debug)]
pub(super) enum Step {
    /// The next frame; the walk went past it.
    Frame(Frame),
    /// The seal; the walk went past it.
    Seal,
    /// The limit was reached exactly.
    End,
    /// No frame that may stand here; the walk stays.
    Bad { reason: String, sort: BadSort },
}

/// What kind of bad a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadSort {
    /// There is no readable frame header.
    Header,
    /// The header is good and the content (so many bytes) is incomplete or changed.
    Content(u32),
    /// Each part is good in itself and does not belong here; no torn write leaves that behind.
    Misplaced,
}

/// A walk through the frames of one file.
pub(super) struct Walk {
    file: File,
    path: PathBuf,
    salt: u32,
    /// The number of the frame that must come next, and the chain hash before it.
    pub next: u64,
    pub chain: Chain,
    /// Where the next frame begins.
    pub offset: u64,
    /// What was read ahead, from `offset` on. Payloads handed out share it.
    ahead: Bytes,
}

impl Walk {
    /// Opens a segment and checks its header against its name.
    pub(super) fn open(path: &Path, first: u64) -> Result<Walk, LogError> {
        let mut file = File::open(path).map_err(read_error(path))?;
        let mut bytes = Vec::with_capacity(FILE_HEADER);
        (&mut file).take(FILE_HEADER as u64).read_to_end(&mut bytes).map_err(read_error(path))?;
        let damaged = |reason| LogError::Damaged { file: path.to_path_buf(), offset: 0, frame: first, reason };
        let header = FileHeader::decode(&bytes).map_err(damaged)?;
        if header.first != first {
            return Err(damaged(format!("the file header says that frame {} comes first", header.first)));
        }
        let (next, chain, offset) = (header.first, header.chain, FILE_HEADER as u64);
        Ok(Walk { file, path: path.to_path_buf(), salt: chain.salt(), next, chain, offset, ahead: Bytes::new() })
    }

    pub(super) fn header(&self) -> FileHeader {
        FileHeader { first: self.next, chain: self.chain }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the whole file as of now.
    pub(super) fn file_len(&self) -> Result<u64, LogError> {
        Ok(self.file.metadata().map_err(read_error(&self.path))?.len())
    }

    /// The error that says what is wrong at the place of the walk.
    pub(super) fn damaged(&self, reason: String) -> LogError {
        LogError::Damaged { file: self.path.clone(), offset: self.offset, frame: self.next, reason }
    }

    /// Goes past the next frame after checking all of it. Nothing at or past `limit` is looked at.
    pub(super) fn step(&mut self, limit: u64) -> Result<Step, LogError> {
        let header = match self.peek(limit)? {
            Ok(header) => header,
            Err(step) => return Ok(step),
        };
        let (len, whole) = (header.len as usize, FRAME_HEADER + header.len as usize);
        self.fill(whole, limit)?;
        if self.ahead.len() < whole {
            let reason = "the file ends inside the frame".to_owned();
            return Ok(Step::Bad { reason, sort: BadSort::Content(header.len) });
        }
        let content = self.ahead.slice(FRAME_HEADER..whole);
        if !header.seal && self.chain.after(self.next, &content) != header.chain {
            // An intact batch with the wrong chain hash was not torn, it was put here.
            return Ok(match crate::domain::batch::Batch::decode(&content) {
                Ok(batch) if batch.encoded_len() == len => {
                    Step::Bad { reason: "the chain of hashes breaks here".into(), sort: BadSort::Misplaced }
                }
                _ => Step::Bad {
                    reason: "the content does not match the frame's hash".into(),
                    sort: BadSort::Content(header.len),
                },
            });
        }
        self.pass(&header, whole);
        Ok(if header.seal { Step::Seal } else { Step::Frame(Frame { header, content }) })
    }

    /// Goes on to the place after frame `last`, checking headers alone. Stops early at the limit or
    /// at the seal.
    pub(super) fn skip_through(&mut self, last: u64, limit: u64) -> Result<(), LogError> {
        while self.next <= last {
            let header = match self.peek(limit)? {
                Ok(header) if header.seal => return Ok(()),
                Ok(header) => header,
                Err(Step::Bad { reason, .. }) => return Err(self.damaged(reason)),
                Err(_) => return Ok(()),
            };
            let whole = FRAME_HEADER + header.len as usize;
            if self.ahead.len() < whole {
                self.fill(whole, limit)?;
                if self.ahead.len() < whole {
                    return Err(self.damaged("the file ends inside the frame".into()));
                }
            }
            self.pass(&header, whole);
        }
        Ok(())
    }

    /// Everything from `skip` bytes after the place of the walk to the end of the file.
    pub(super) fn rest(&mut self, skip: u64) -> Result<Vec<u8>, LogError> {
        let mut rest = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset + skip)).map_err(read_error(&self.path))?;
        self.file.read_to_end(&mut rest).map_err(read_error(&self.path))?;
        // What was read ahead is dropped, so that the next fill takes the place up again.
        self.ahead.clear();
        self.file.seek(SeekFrom::Start(self.offset)).map_err(read_error(&self.path))?;
        Ok(rest)
    }

    /// The seed of the header checksums in this file.
    pub(super) fn salt(&self) -> u32 {
        self.salt
    }

    /// The next header, or the step to report when there is none that may stand here.
    fn peek(&mut self, limit: u64) -> Result<Result<FrameHeader, Step>, LogError> {
        if self.ahead.len() < FRAME_HEADER {
            if self.offset >= limit {
                return Ok(Err(Step::End));
            }
            self.fill(FRAME_HEADER, limit)?;
        }
        let bad = |reason, sort| Ok(Err(Step::Bad { reason, sort }));
        let Some(header) = FrameHeader::decode(&self.ahead, self.salt) else {
            return bad("the frame header is damaged or cut short".to_owned(), BadSort::Header);
        };
        if header.number != self.next {
            let reason = format!("frame {} stands where {} must stand", header.number, self.next);
            return bad(reason, BadSort::Misplaced);
        }
        if header.seal && (header.chain != self.chain || header.len != 0) {
            return bad("the seal does not match the frames before it".to_owned(), BadSort::Misplaced);
        }
        Ok(Ok(header))
    }

    fn pass(&mut self, header: &FrameHeader, whole: usize) {
        self.ahead.advance(whole);
        self.offset += whole as u64;
        if !header.seal {
            self.next += 1;
            self.chain = header.chain;
        }
    }

    /// Reads ahead until `need` bytes are there, or all up to the limit.
    fn fill(&mut self, need: usize, limit: u64) -> Result<(), LogError> {
        if self.ahead.len() >= need {
            return Ok(());
        }
        let missing = (need - self.ahead.len()) as u64;
        let readable = limit.saturating_sub(self.offset + self.ahead.len() as u64);
        let wanted = missing.max(CHUNK).min(readable);
        if wanted == 0 {
            return Ok(());
        }
        let mut buffer = Vec::with_capacity(self.ahead.len() + wanted as usize);
        buffer.extend_from_slice(&self.ahead);
        (&mut self.file).take(wanted).read_to_end(&mut buffer).map_err(read_error(&self.path))?;
        self.ahead = Bytes::from(buffer);
        Ok(())
    }
}
