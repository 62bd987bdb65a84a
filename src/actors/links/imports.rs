//! Room for the bodies of imports.
//!
//! Invariants: all bodies together take no more than there is; nobody holds more than one, nor does whoever only says
//! whose a body is; what a body has taken is given back with it.

use crate::domain::ids::AccountId;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies of imports, as large as one may be, that there is room for at the same time.
const IMPORTS: usize = 4;
/// Bytes that are counted as one.
const UNIT: usize = 1_024;

/// For whom a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// This one sends it.
    Known(AccountId),
    /// It says that it is this one's, which its signature has yet to show: whoever knows the id of a key can say so,
    /// and shall not keep its owner's session out.
    Claimed(AccountId),
}

/// The room, and who holds some of it.
#[derive(Debug)]
pub struct Imports {
    /// Units that bodies may still take.
    room: Arc<Semaphore>,
    holders: Arc<Mutex<BTreeSet<Holder>>>,
}

/// Room for one body, until it is dropped.
#[derive(Debug)]
pub struct ImportRoom {
    whose: Holder,
    holders: Arc<Mutex<BTreeSet<Holder>>>,
    _room: OwnedSemaphorePermit,
}

impl Imports {
    /// Room for bodies of so many bytes at most.
    pub fn new(import_bytes: usize) -> Imports {
        let units = import_bytes.div_ceil(UNIT).saturating_mul(IMPORTS);
        let room = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
        Imports { room, holders: Arc::default() }
    }

    /// Room for a body of so many bytes; `None` when other bodies take it, or this holder has one already.
    pub fn take(&self, whose: Holder, bytes: usize) -> Option<ImportRoom> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let mut holders = self.holders.lock();
        if holders.contains(&whose) {
            return None;
        }
        let room = self.room.clone().try_acquire_many_owned(units).ok()?;
        holders.insert(whose);
        Some(ImportRoom { whose, holders: self.holders.clone(), _room: room })
    }
}

impl Drop for ImportRoom {
    fn drop(&mut self) {
        self.holders.lock().remove(&self.whose);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_their_room_and_nobody_has_two() {
        let imports = Imports::new(1 << 20);
        let take = |whose| imports.take(Holder::Known(AccountId(whose)), 1 << 20);
        let mut taken: Vec<ImportRoom> = (2..6).filter_map(take).collect();
        assert_eq!((taken.len(), imports.room.available_permits()), (IMPORTS, 0));
        assert!(take(6).is_none());
        taken.pop();
        let hers = |holder: fn(AccountId) -> Holder| imports.take(holder(AccountId(2)), 1);
        assert!(hers(Holder::Known).is_none(), "there is room, but not for another one of hers");
        let claimed = hers(Holder::Claimed);
        assert!(claimed.is_some() && hers(Holder::Claimed).is_none(), "what only says that it is hers is apart");
        drop(claimed);
        assert!(take(6).is_some());
        drop(taken);
        assert_eq!(imports.room.available_permits(), IMPORTS << 10);
        assert!(take(2).is_some());
    }
}
