//! Looking at a log folder without changing it: what is there, how far it is good, what is torn.

use super::super::LogError;
use super::TornTail;
use super::frame::{Chain, FRAME_HEADER, FrameHeader, find_header};
use super::segment::{BadSort, Segment, Step, Walk, list, path_of, path_of_new, read_error};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A log folder as it was found.
pub(super) struct Found {
    /// Ascending and without gaps. The newest one is the last.
    pub segments: Vec<Segment>,
    /// The number of the newest good frame; 0 when there is none.
    pub end: u64,
    /// The chain hash at the end.
    pub chain: Chain,
    pub torn: Option<TornTail>,
    /// The newest segment is sealed and its successor only needs its proper name.
    pub unfinished_roll: bool,
    /// Prepared files that never became segments.
    pub leftovers: Vec<PathBuf>,
}

/// How far one segment is good.
struct Scan {
    next: u64,
    chain: Chain,
    /// Where the first thing that is no frame begins.
    len: u64,
    sealed: bool,
}

/// Looks at the folder: the headers and seals of all segments and every frame of the newest; with
/// `all`, every frame of every segment.
pub(super) fn inspect(dir: &Path, all: bool) -> Result<Found, LogError> {
    let (firsts, leftovers) = list(dir)?;
    let mut found =
        Found { segments: vec![], end: 0, chain: Chain::default(), torn: None, unfinished_roll: false, leftovers };
    for (index, &first) in firsts.iter().enumerate() {
        let path = path_of(dir, first);
        let mut walk = Walk::open(&path, first)?;
        let header = walk.header();
        let expected = if index == 0 { first } else { found.end + 1 };
        if first != expected {
            let reason = format!("frames {expected} to {} are missing before this segment", first - 1);
            return Err(walk.damaged(reason));
        }
        if (index > 0 || first == 1) && header.chain != found.chain {
            return Err(LogError::Damaged {
                file: path,
                offset: 0,
                frame: first,
                reason: "the chain of hashes breaks between this segment and the one before".into(),
            });
        }
        let newest = index + 1 == firsts.len();
        let sealed = if newest || all { None } else { seal_at_end(&mut walk)? };
        let scan = match sealed {
            Some(scan) => scan,
            None if newest => scan_newest(&mut walk, &mut found.torn)?,
            None => scan_sealed(&mut walk)?,
        };
        found.end = scan.next - 1;
        found.chain = scan.chain;
        found.segments.push(Segment { path, header, len: scan.len });
        if newest && scan.sealed {
            // The successor is prepared and flushed before the seal is written, so it must be there.
            let prepared = path_of_new(dir, scan.next);
            let missing = || LogError::Damaged {
                file: path_of(dir, scan.next),
                offset: 0,
                frame: scan.next,
                reason: "this segment is missing: the one before it is sealed".into(),
            };
            if path_of(dir, scan.next).exists() {
                // A writer in another process has rolled since the folder was listed.
                return inspect(dir, all);
            }
            if !found.leftovers.contains(&prepared) {
                return Err(missing());
            }
            if Walk::open(&prepared, scan.next)?.header().chain != scan.chain {
                return Err(missing());
            }
            found.leftovers.retain(|path| *path != prepared);
            found.unfinished_roll = true;
        }
    }
    Ok(found)
}

/// Takes the word of the seal in the last bytes of the file for what is before it.
fn seal_at_end(walk: &mut Walk) -> Result<Option<Scan>, LogError> {
    let len = walk.file_len()?;
    let Some(at) = len.checked_sub(FRAME_HEADER as u64).filter(|at| *at >= walk.offset) else { return Ok(None) };
    let mut bytes = Vec::with_capacity(FRAME_HEADER);
    let mut file = File::open(walk.path()).map_err(read_error(walk.path()))?;
    file.seek(SeekFrom::Start(at)).map_err(read_error(walk.path()))?;
    file.read_to_end(&mut bytes).map_err(read_error(walk.path()))?;
    let seal = FrameHeader::decode(&bytes, walk.salt()).filter(|header| header.seal && header.number > walk.next);
    Ok(seal.map(|seal| Scan { next: seal.number, chain: seal.chain, len, sealed: true }))
}

/// Reads a segment that must be whole and sealed.
fn scan_sealed(walk: &mut Walk) -> Result<Scan, LogError> {
    let len = walk.file_len()?;
    loop {
        match walk.step(len)? {
            Step::Frame(_) => {}
            Step::Seal if walk.offset == len => {
                return Ok(Scan { next: walk.next, chain: walk.chain, len, sealed: true });
            }
            Step::Seal => return Err(walk.damaged("something stands behind the seal".into())),
            Step::End => return Err(walk.damaged("the file ends without a seal, and it is not the newest".into())),
            Step::Bad { reason, .. } => return Err(walk.damaged(reason)),
        }
    }
}

/// Reads the newest segment, whose last write may be torn.
fn scan_newest(walk: &mut Walk, torn: &mut Option<TornTail>) -> Result<Scan, LogError> {
    let mut size = walk.file_len()?;
    let mut looked_again_at = None;
    loop {
        let (reason, sort) = match walk.step(size)? {
            Step::Frame(_) => continue,
            Step::Seal if walk.offset == size => {
                return Ok(Scan { next: walk.next, chain: walk.chain, len: size, sealed: true });
            }
            Step::Seal => return Err(walk.damaged("something stands behind the seal".into())),
            Step::End => break,
            Step::Bad { reason, sort } => (reason, sort),
        };
        // A good header vouches for the length of its frame: what is inside is no frame of ours.
        let inside = match sort {
            BadSort::Misplaced => return Err(walk.damaged(reason)),
            BadSort::Header => 0,
            BadSort::Content(len) => FRAME_HEADER as u64 + u64::from(len),
        };
        let rest = walk.rest(0)?;
        let Some(last) = rest.iter().rposition(|byte| *byte != 0) else { break };
        let behind = rest.get(inside as usize..).unwrap_or_default();
        // Frames of the same write reach the disk in any order. One of a later write was begun only
        // after this frame had been flushed: then this is no torn write.
        if find_header(behind, walk.salt(), |header| header.write_began_at() > walk.next).is_some() {
            // Unless a writer in another process went on between the two looks.
            if looked_again_at.replace(walk.offset) != Some(walk.offset) {
                size = walk.file_len()?;
                continue;
            }
            return Err(walk.damaged(format!("{reason}, and frames of later writes follow")));
        }
        *torn = Some(TornTail { file: walk.path().to_path_buf(), offset: walk.offset, bytes: last as u64 + 1 });
        break;
    }
    Ok(Scan { next: walk.next, chain: walk.chain, len: walk.offset, sealed: false })
}
