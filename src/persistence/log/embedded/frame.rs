//! The bytes of a segment file: one file header, then frames without gaps, then a seal or zeroes.
//!
//! Numbers are little endian. The file header:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `agoralog` |
//! | 8 | 4 | format version (1) |
//! | 12 | 8 | number of the first frame |
//! | 20 | 16 | chain hash before the first frame |
//! | 36 | 4 | CRC-32 of the bytes 0..36 |
//!
//! A frame, one for each batch, numbered 1, 2, 3, … through all segments:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `AgFr`, or `AgSl` for a seal |
//! | 4 | 4 | bytes of content |
//! | 8 | 8 | frame number |
//! | 16 | 4 | how many frames before this one were written and flushed together with it |
//! | 20 | 16 | chain hash after this frame |
//! | 36 | 4 | CRC-32 of the bytes 0..36, seeded with the first four bytes of the chain hash in the file header |
//! | 40 | … | content: the batch as `Batch::encode` writes it |
//!
//! The **chain hash** of a frame is the first 16 bytes of BLAKE3 of its content, keyed with the chain
//! hash before it (16 bytes), its number (8) and its length (8). Before frame 1 it is all zeroes. So
//! the chain hash at a position stands for everything up to there.
//!
//! A **seal** ends a segment that is followed by another one: content of 0 bytes, the number of the
//! frame that comes next, and the chain hash so far. Behind the last frame of a segment without a
//! seal there may be zeroes (room taken ahead of use), and nothing else.
//!
//! The field at 16 makes a torn write tellable from damage: a frame is begun only after everything
//! before its own write was flushed. So a bad frame with a good one of a **later** write behind it
//! had been durable once.

use bytes::Bytes;

/// The version of the segment format.
pub(super) const VERSION: u32 = 1;
/// Bytes of a file header.
pub(super) const FILE_HEADER: usize = 40;
/// Bytes of a frame header.
pub(super) const FRAME_HEADER: usize = 40;

const FILE_MAGIC: [u8; 8] = *b"agoralog";
const FRAME_MAGIC: [u8; 4] = *b"AgFr";
const SEAL_MAGIC: [u8; 4] = *b"AgSl";

/// Stands for all content up to some frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Chain(pub [u8; 16]);

impl Chain {
    /// The chain hash after a frame with this number and content.
    pub(super) fn after(self, number: u64, content: &[u8]) -> Chain {
        let mut key = [0; 32];
        let fields = self.0.into_iter().chain(number.to_le_bytes()).chain((content.len() as u64).to_le_bytes());
        key.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        let hash = blake3::keyed_hash(&key, content);
        let mut chain = [0; 16];
        chain.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        Chain(chain)
    }

    /// The seed of the header checksums in a segment that begins with this chain hash. With it,
    /// frames of another file, or bytes in a payload that look like a frame, are not taken for one.
    pub(super) fn salt(self) -> u32 {
        self.0.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

/// What a file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub first: u64,
    pub chain: Chain,
}

impl FileHeader {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEADER);
        out.extend_from_slice(&FILE_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.chain.0);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a file header, or says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<FileHeader, String> {
        let bytes: &[u8; FILE_HEADER] = bytes.first_chunk().ok_or("the file ends inside its header")?;
        let mut fields = Fields(bytes);
        if fields.take() != FILE_MAGIC {
            return Err("this is not a log segment".into());
        }
        let version = u32::from_le_bytes(fields.take());
        let first = u64::from_le_bytes(fields.take());
        let chain = Chain(fields.take());
        if crc32fast::hash(bytes.get(..FILE_HEADER - 4).unwrap_or_default()) != u32::from_le_bytes(fields.take()) {
            return Err("the checksum of the file header does not match".into());
        }
        if version != VERSION {
            return Err(format!("the segment has format version {version}; this program knows {VERSION}"));
        }
        Ok(FileHeader { first, chain })
    }
}

/// What a frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub seal: bool,
    pub len: u32,
    pub number: u64,
    /// How many frames of the same write stand before this one.
    pub in_write: u32,
    pub chain: Chain,
}

impl FrameHeader {
    /// The first frame of the write to which this one belonged.
    pub(super) fn write_began_at(&self) -> u64 {
        self.number.saturating_sub(u64::from(self.in_write))
    }

    pub(super) fn encode(&self, salt: u32) -> [u8; FRAME_HEADER] {
        let mut out = Vec::with_capacity(FRAME_HEADER);
        out.extend_from_slice(if self.seal { &SEAL_MAGIC } else { &FRAME_MAGIC });
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.in_write.to_le_bytes());
        out.extend_from_slice(&self.chain.0);
        out.extend_from_slice(&header_crc(salt, &out).to_le_bytes());
        let mut header = [0; FRAME_HEADER];
        header.copy_from_slice(&out);
        header
    }

    /// Reads a frame header; `None` when the bytes are none (or are cut short, or zeroes).
    pub(super) fn decode(bytes: &[u8], salt: u32) -> Option<FrameHeader> {
        let bytes: &[u8; FRAME_HEADER] = bytes.first_chunk()?;
        let mut fields = Fields(bytes);
        let seal = match fields.take() {
            FRAME_MAGIC => false,
            SEAL_MAGIC => true,
            _ => return None,
        };
        let len = u32::from_le_bytes(fields.take());
        let number = u64::from_le_bytes(fields.take());
        let in_write = u32::from_le_bytes(fields.take());
        let chain = Chain(fields.take());
        let crc = u32::from_le_bytes(fields.take());
        (header_crc(salt, bytes.get(..FRAME_HEADER - 4)?) == crc).then_some(FrameHeader {
            seal,
            len,
            number,
            in_write,
            chain,
        })
    }
}

fn header_crc(salt: u32, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(bytes);
    crc.finalize()
}

/// Where in `bytes` the first good frame header (or seal) begins that `wanted` accepts.
pub(super) fn find_header(bytes: &[u8], salt: u32, wanted: impl Fn(&FrameHeader) -> bool) -> Option<usize> {
    bytes.windows(FRAME_HEADER).enumerate().find_map(|(at, window)| {
        (window.starts_with(&FRAME_MAGIC) || window.starts_with(&SEAL_MAGIC))
            .then(|| FrameHeader::decode(window, salt))
            .flatten()
            .is_some_and(|header| wanted(&header))
            .then_some(at)
    })
}

/// A frame as it stands in the file, its header and its chain hash checked.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub header: FrameHeader,
    pub content: Bytes,
}

/// Hands out the fields of a header whose length was checked before.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}
