//! No bytes make the entry decoder panic, and what it reads has no other bytes.
#![no_main]

use agora::domain::codec::{Coded, CodecError, Entries};
use agora::domain::entry::{LedgerEntry, MarketEntry};
use libfuzzer_sys::fuzz_target;

fn check<E: Coded>(bytes: &[u8]) {
    if let Ok(entries) = Entries::<E>::new(bytes).collect::<Result<Vec<E>, CodecError>>() {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut again));
        assert_eq!(again, bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check::<MarketEntry>(bytes);
    check::<LedgerEntry>(bytes);
});
