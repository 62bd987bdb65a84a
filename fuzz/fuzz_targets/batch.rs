//! No bytes make the batch decoder panic, and what it reads has no other bytes.
#![no_main]

use agora::domain::batch::Batch;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = Batch::decode(&Bytes::copy_from_slice(bytes)) {
        let mut again = Vec::new();
        batch.encode(&mut again);
        assert_eq!(bytes.get(..again.len()), Some(again.as_slice()));
    }
});
