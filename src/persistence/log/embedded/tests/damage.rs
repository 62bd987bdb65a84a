//! Torn writes are cut and told; any other damage is refused with its place, and nothing changes.

use super::super::frame::{Chain, FILE_HEADER, FRAME_HEADER, FrameHeader};
use super::*;
use std::collections::BTreeMap;
use std::fs;

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn restore(folder: &Path, wanted: &Files) {
    files(folder).into_keys().for_each(|path| fs::remove_file(path).unwrap());
    wanted.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

/// Where each frame of a segment file begins, and where the last one ends.
fn frame_starts(bytes: &[u8]) -> Vec<u64> {
    let mut at = FILE_HEADER;
    let mut starts = vec![at as u64];
    while bytes.len() >= at + FRAME_HEADER && bytes[at..].starts_with(b"AgFr") {
        at += FRAME_HEADER + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        starts.push(at as u64);
    }
    starts
}

/// Opens the folder for reading and for writing; both must come to the same. Returns the numbers
/// that are left and what was cut.
fn reopen(folder: &Path) -> Result<(Vec<u64>, Option<TornTail>), LogError> {
    let before = files(folder);
    let looked_at = ReadOnly::open(folder).and_then(|(log, opened)| Ok((numbers(&*log.reader(), 0)?, opened.torn)));
    assert!(files(folder) == before, "a tool has changed the folder");
    let opened = Log::open(small(folder)).and_then(|log| {
        let left = numbers(&*log.engine.reader(), 0)?;
        // The log takes more, and gives it back.
        log.commit(vec![numbered(777, 5)]);
        let after = numbers(&*log.engine.reader(), 0)?;
        assert_eq!(after.split_last(), Some((&777, &*left)));
        Ok((left, log.opened.torn.clone()))
    });
    match (&looked_at, &opened) {
        (Ok(read_only), Ok(writing)) => assert_eq!(read_only, writing),
        (Err(read_only), Err(writing)) => assert_eq!(read_only.to_string(), writing.to_string()),
        other => panic!("reading and writing differ: {other:?}"),
    }
    if opened.is_ok() {
        assert_eq!(verify(folder).unwrap().opened.torn, None, "the torn tail is still there");
    }
    opened
}

#[test]
fn a_write_cut_at_any_byte_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(Options::new(folder.path()), 3, 30));
    let path = segment::path_of(folder.path(), 1);
    let mut whole = files(folder.path());
    let bytes = whole[&path].clone();
    let starts = frame_starts(&bytes);
    assert_eq!(starts.len(), 4);
    let end = starts[3] as usize;
    whole.insert(path.clone(), bytes[..end].to_vec());
    for cut in FILE_HEADER..=end {
        // The file was not extended as far as the write went, or it had zeroes there.
        for padding in [0, 300] {
            restore(folder.path(), &whole);
            let mut torn = bytes[..cut].to_vec();
            torn.resize(cut + padding, 0);
            fs::write(&path, &torn).unwrap();
            let (left, told) = reopen(folder.path()).unwrap();
            let frames = starts.iter().rposition(|start| *start as usize <= cut).unwrap();
            assert_eq!(left, (1..=frames as u64).collect::<Vec<_>>(), "cut at {cut}");
            let offset = starts[frames];
            let remains = torn[offset as usize..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            let expected = (remains > 0).then(|| TornTail { file: path.clone(), offset, bytes: remains });
            assert_eq!(told, expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_file_shorter_than_its_header_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(small(folder.path()), 1, 30));
    let path = segment::path_of(folder.path(), 1);
    let bytes = fs::read(&path).unwrap();
    for cut in 0..FILE_HEADER {
        fs::write(&path, &bytes[..cut]).unwrap();
        let refused = reopen(folder.path()).unwrap_err();
        assert!(matches!(refused, LogError::Damaged { offset: 0, frame: 1, .. }), "{refused}");
    }
}

/// A write of several frames reaches the disk page by page in any order.
#[test]
fn pages_missing_anywhere_in_the_last_write_are_torn() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(Options { segment_bytes: 1 << 20, ..small(folder.path()) }, 2, 30);
    log.commit((3..=6).map(|number| numbered(number, 30)).collect());
    drop(log);
    let path = segment::path_of(folder.path(), 1);
    let whole = files(folder.path());
    let starts = frame_starts(&whole[&path]);
    for lost in 3..=6 {
        restore(folder.path(), &whole);
        let mut bytes = whole[&path].clone();
        let (from, to) = (starts[lost - 1] as usize, starts[lost] as usize);
        bytes[from..to].fill(0);
        fs::write(&path, &bytes).unwrap();
        let (left, told) = reopen(folder.path()).unwrap();
        assert_eq!(left, (1..lost as u64).collect::<Vec<_>>());
        let bytes = if lost == 6 { None } else { Some(starts[6] - starts[lost - 1]) };
        assert_eq!(told.map(|torn| torn.bytes), bytes);
    }
    // The write before it had been flushed by then.
    for lost in 1..=2 {
        restore(folder.path(), &whole);
        let mut bytes = whole[&path].clone();
        bytes[starts[lost - 1] as usize..starts[lost] as usize].fill(0);
        fs::write(&path, &bytes).unwrap();
        let refused = reopen(folder.path()).unwrap_err();
        let place = (starts[lost - 1], lost as u64);
        assert!(matches!(refused, LogError::Damaged { offset, frame, .. } if (offset, frame) == place), "{refused}");
    }
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(Options { segment_bytes: 600, ..small(folder.path()) }, 14, 20);
    let sealed = log.engine.sealed_segments();
    assert!(sealed.len() >= 2);
    drop(log);
    let whole = files(folder.path());
    let newest = segment::path_of(folder.path(), sealed.last().unwrap().last.0 + 1);
    let (mut torn, mut refused) = (0, 0);
    for (path, bytes) in whole.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "seg")) {
        let starts = frame_starts(bytes);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                restore(folder.path(), &whole);
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                fs::write(path, &changed).unwrap();
                let frame = starts.iter().rposition(|start| *start <= at as u64);
                let place = frame.map_or(0, |frame| starts[frame]);
                let is_last = *path == newest && at as u64 >= starts[starts.len() - 2];
                let damaged_here = |error: &LogError| matches!(error, LogError::Damaged { file, offset, .. } if file == path && *offset == place);
                // A full check always finds it; opening does when it is in the newest segment or in
                // what holds the segments together, and reading does in any case.
                let checked = verify(folder.path());
                if is_last {
                    let (left, told) = reopen(folder.path()).unwrap();
                    assert_eq!(left, (1..=13).collect::<Vec<_>>());
                    assert_eq!(
                        told,
                        Some(TornTail { file: path.clone(), offset: place, bytes: bytes.len() as u64 - place })
                    );
                    assert_eq!(checked.unwrap().opened.torn, told);
                    torn += 1;
                } else {
                    let error = checked.unwrap_err();
                    assert!(damaged_here(&error), "{} byte {at}: {error}", path.display());
                    let read = ReadOnly::open(folder.path()).and_then(|(log, _)| numbers(&*log.reader(), 0));
                    let error = read.unwrap_err();
                    assert!(damaged_here(&error), "{} byte {at}: {error}", path.display());
                    if *path == newest {
                        reopen(folder.path()).unwrap_err();
                    }
                    refused += 1;
                }
                let mut now = files(folder.path());
                now.remove(path);
                if !is_last {
                    assert!(now.iter().all(|(path, bytes)| whole.get(path) == Some(bytes)), "the folder was changed");
                    assert_eq!(fs::read(path).unwrap(), changed, "the damaged file was changed");
                }
            }
        }
    }
    assert!(torn > 0 && refused > torn);
}

#[test]
fn a_missing_segment_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 40, 60);
    let mut segments: Vec<(PathBuf, u64)> =
        log.engine.sealed_segments().into_iter().map(|segment| (segment.path, segment.first.0)).collect();
    let newest = log.engine.sealed_segments().last().unwrap().last.0 + 1;
    segments.push((segment::path_of(folder.path(), newest), newest));
    drop(log);
    let whole = files(folder.path());
    for (index, (path, first)) in segments.iter().enumerate().skip(1) {
        restore(folder.path(), &whole);
        fs::remove_file(path).unwrap();
        let refused = reopen(folder.path()).unwrap_err();
        // What follows the gap is named, or the missing file itself when nothing follows.
        let (file, frame) = segments.get(index + 1).unwrap_or(&segments[index]);
        assert!(
            matches!(&refused, LogError::Damaged { file: f, frame: n, .. } if f == file && n == frame),
            "{refused} without {first}"
        );
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = filled(small(folder.path()), 40, 60);
    let second = log.engine.sealed_segments()[1].clone();
    drop(log);
    let log = Log::open(small(other.path())).unwrap();
    (1..=40).for_each(|number| drop(log.commit(vec![numbered(number + 1, 60)])));
    drop(log);
    fs::copy(other.path().join(second.path.file_name().unwrap()), &second.path).unwrap();
    let refused = reopen(folder.path()).unwrap_err();
    assert!(
        matches!(&refused, LogError::Damaged { file, offset: 0, frame, .. } if *file == second.path && *frame == second.first.0),
        "{refused}"
    );
}

/// Frames that are good in themselves and stand in the wrong place are never taken for a torn write.
#[test]
fn a_gap_in_numbers_and_a_broken_chain_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(small(folder.path()), 2, 20));
    let path = segment::path_of(folder.path(), 1);
    let whole = files(folder.path());
    let end = whole[&path].len() as u64;
    let mut content = Vec::new();
    numbered(3, 20).encode(&mut content);
    for (number, chain) in [(4, Chain([1; 16])), (3, Chain([1; 16])), (2, Chain([1; 16]))] {
        restore(folder.path(), &whole);
        let mut bytes = whole[&path].clone();
        let header = FrameHeader { seal: false, len: content.len() as u32, number, in_write: 0, chain };
        bytes.extend_from_slice(&header.encode(Chain::default().salt()));
        bytes.extend_from_slice(&content);
        fs::write(&path, bytes).unwrap();
        let refused = reopen(folder.path()).unwrap_err();
        assert!(matches!(refused, LogError::Damaged { offset, frame: 3, .. } if offset == end), "{refused}");
    }
}

/// A log written by a later version of the program must not be cut by an earlier one.
#[test]
fn an_intact_frame_that_cannot_be_read_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(small(folder.path()), 1, 20));
    let path = segment::path_of(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let before = FrameHeader::decode(&bytes[FILE_HEADER..], Chain::default().salt()).unwrap();
    let content = b"a batch of a later format version";
    let chain = before.chain.after(2, content);
    let header = FrameHeader { seal: false, len: content.len() as u32, number: 2, in_write: 0, chain };
    bytes.extend_from_slice(&header.encode(Chain::default().salt()));
    bytes.extend_from_slice(content);
    fs::write(&path, &bytes).unwrap();
    let log = Log::open(small(folder.path())).unwrap();
    assert_eq!((log.opened.end, log.opened.torn.clone()), (Position(2), None));
    let refused = numbers(&*log.engine.reader(), 0).unwrap_err();
    assert!(matches!(refused, LogError::Batch(Position(2), _)), "{refused}");
}

/// Bytes in a payload that look like a frame are not one, not even behind a torn header.
#[test]
fn a_frame_inside_a_payload_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 12, 60);
    let forged = FrameHeader { seal: false, len: 3, number: 1000, in_write: 0, chain: Chain([9; 16]) };
    // Its author cannot know the chain hash that seeds the checksums.
    let mut payload = forged.encode(Chain::default().salt()).to_vec();
    payload.extend_from_slice(b"abc");
    log.commit(vec![Batch { payload: payload.into(), ..numbered(13, 0) }]);
    let newest = log.engine.sealed_segments().last().unwrap().last.0 + 1;
    drop(log);
    let path = segment::path_of(folder.path(), newest);
    let mut bytes = fs::read(&path).unwrap();
    let starts = frame_starts(&bytes);
    bytes[starts[starts.len() - 2] as usize + 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (left, torn) = reopen(folder.path()).unwrap();
    assert_eq!(left, (1..=12).collect::<Vec<_>>());
    assert!(torn.is_some());
}
