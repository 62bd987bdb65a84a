//! A log written by version 1 of the format stays readable, and the writer still writes those bytes.
//!
//! After a deliberate change of the format, keep `log-v1`, and write the new version's folder with
//! `AGORA_WRITE_GOLDEN=1 cargo test golden`.

use super::*;
use crate::domain::ids::{Epoch, MarketId};
use crate::domain::time::Timestamp;
use bytes::Bytes;
use std::fs;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/log-v1")
}

/// The batches of the golden log: two writes, the second of three frames, then one in a new segment.
fn writes() -> Vec<Vec<Batch>> {
    let batch = |stream, counter, number, count, payload: &'static [u8]| Batch {
        stream,
        epoch: Epoch { counter, node: 2 },
        number,
        at: Timestamp(1_700_000_000_000_000 + number as i64),
        count,
        payload: Bytes::from_static(payload),
    };
    vec![
        vec![batch(StreamId::Ledger, 1, 1, 0, b"")],
        vec![
            batch(StreamId::Market(MarketId(0)), 1, 1, 2, b"two orders of a market"),
            batch(StreamId::Chat(15), 1, 1, 1, "ein Gruß".as_bytes()),
            batch(StreamId::Market(MarketId(0)), 2, 1, 1, &[0xff; 300]),
        ],
        vec![batch(StreamId::Ledger, 2, 2, 1, b"in the second segment")],
    ]
}

fn options(folder: &Path) -> Options {
    Options { segment_bytes: 800, ahead_bytes: 0, ..Options::new(folder) }
}

fn segments(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (firsts, _) = segment::list(folder).unwrap();
    let path = |first| segment::path_of(folder, first);
    let named = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
    firsts.into_iter().map(path).map(named).collect()
}

#[test]
fn version_1_is_read() {
    let (log, opened) = ReadOnly::open(&golden()).unwrap();
    assert_eq!(opened, Opened { oldest: Position(0), end: Position(5), torn: None });
    let read: Vec<Batch> =
        log.reader().read(Position(0)).unwrap().map(|next| Batch::clone(&next.unwrap().batch)).collect();
    assert_eq!(read, writes().concat());
    assert_eq!(verify(&golden()).unwrap().segments, 2);
}

#[test]
fn the_same_batches_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(options(folder.path())).unwrap();
    writes().into_iter().for_each(|batches| drop(log.commit(batches)));
    drop(log);
    let written = segments(folder.path());
    if std::env::var_os("AGORA_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(golden()).unwrap();
        written.iter().for_each(|(name, bytes)| fs::write(golden().join(name), bytes).unwrap());
    }
    assert!(written == segments(&golden()), "the format has changed");
}
