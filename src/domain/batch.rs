//! The unit of append: a header and the entries that one proposal puts on one stream.
//!
//! The bytes written by [`Batch::encode`] are a promise (golden files hold them); a change of the
//! layout takes a new [`FORMAT_VERSION`] and a decoder for each older one.

use super::ids::{Epoch, StreamId};
use super::time::Timestamp;
use bytes::Bytes;
use thiserror::Error;

/// The version that [`Batch::encode`] writes.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of an encoded header.
pub const HEADER_LEN: usize = 44;

/// The most bytes of entries in one batch.
pub const MAX_PAYLOAD: usize = 8 << 20;

/// Entries of one stream, appended together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// The epoch in which the entries were admitted.
    pub epoch: Epoch,
    /// Counts the batches of this stream and epoch from 1, so that readers can drop repeats.
    pub number: u64,
    /// The time of every entry in it. Never earlier than that of the batch before.
    pub at: Timestamp,
    /// How many entries the payload holds.
    pub count: u32,
    /// The entries, encoded one after the other (see [`super::codec`]).
    pub payload: Bytes,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the header promises.
    #[error("the batch ends early")]
    Truncated,
    /// Written by a later version of the program.
    #[error("the batch has format version {0}, which this program does not know")]
    UnknownVersion(u16),
    /// A header field holds what no writer writes.
    #[error("the batch header has a bad {0}")]
    BadHeader(&'static str),
    /// The checksum does not match.
    #[error("the batch's checksum does not match its content")]
    Checksum,
}

impl Batch {
    /// Bytes that [`Batch::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Whether both stand in the same place of the same stream, so that one is a repeat of the other.
    pub fn is_same_place(&self, other: &Batch) -> bool {
        (self.stream, self.epoch, self.number) == (other.stream, other.epoch, other.number)
    }

    /// Appends the batch to `out`, little endian:
    ///
    /// | offset | bytes | field |
    /// | --- | --- | --- |
    /// | 0 | 2 | format version |
    /// | 2 | 2 | epoch: node |
    /// | 4 | 4 | stream code |
    /// | 8 | 8 | epoch: counter |
    /// | 16 | 8 | batch number |
    /// | 24 | 8 | time, microseconds since the Unix epoch |
    /// | 32 | 4 | count of entries |
    /// | 36 | 4 | bytes of payload |
    /// | 40 | 4 | CRC-32 of the bytes 0..40 and the payload |
    /// | 44 | … | payload |
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.epoch.node.to_le_bytes());
        out.extend_from_slice(&self.stream.code().to_le_bytes());
        out.extend_from_slice(&self.epoch.counter.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.at.0.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(out.get(start..).unwrap_or_default());
        crc.update(&self.payload);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        out.extend_from_slice(&self.payload);
    }

    /// Reads the batch at the start of `bytes`; the payload shares them. Bytes after it are left.
    ///
    /// # Errors
    /// [`BatchError`] says why the bytes are no batch; nothing is read past `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Batch, BatchError> {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(BatchError::Truncated)?;
        let mut fields = Fields(header);
        let version = u16::from_le_bytes(fields.take());
        if version != FORMAT_VERSION {
            return Err(BatchError::UnknownVersion(version));
        }
        let node = u16::from_le_bytes(fields.take());
        let stream = StreamId::from_code(u32::from_le_bytes(fields.take())).ok_or(BatchError::BadHeader("stream"))?;
        let counter = u64::from_le_bytes(fields.take());
        let number = u64::from_le_bytes(fields.take());
        let at = Timestamp(i64::from_le_bytes(fields.take()));
        let count = u32::from_le_bytes(fields.take());
        let len = u32::from_le_bytes(fields.take()) as usize;
        let checksum = u32::from_le_bytes(fields.take());
        if len > MAX_PAYLOAD {
            return Err(BatchError::BadHeader("length"));
        }
        let end = HEADER_LEN + len;
        if bytes.len() < end {
            return Err(BatchError::Truncated);
        }
        let payload = bytes.slice(HEADER_LEN..end);
        let mut crc = crc32fast::Hasher::new();
        crc.update(header.get(..HEADER_LEN - 4).unwrap_or_default());
        crc.update(&payload);
        if crc.finalize() != checksum {
            return Err(BatchError::Checksum);
        }
        Ok(Batch { stream, epoch: Epoch { counter, node }, number, at, count, payload })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MarketId;

    fn sample() -> Batch {
        Batch {
            stream: StreamId::Market(MarketId(3)),
            epoch: Epoch { counter: 7, node: 2 },
            number: 41,
            at: Timestamp(1_700_000_000_000_001),
            count: 2,
            payload: Bytes::from_static(b"two entries"),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        assert_eq!(bytes.len(), sample().encoded_len());
        bytes.extend_from_slice(b"the next batch");
        assert_eq!(Batch::decode(&Bytes::from(bytes)), Ok(sample()));
    }

    #[test]
    fn no_single_changed_or_missing_byte_goes_unnoticed() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 0x10;
            }
            assert!(Batch::decode(&Bytes::from(changed)).is_err(), "byte {at} changed");
            let cut = bytes.get(..at).map(<[u8]>::to_vec).unwrap_or_default();
            assert_eq!(Batch::decode(&Bytes::from(cut)), Err(BatchError::Truncated), "cut at {at}");
        }
    }
}
