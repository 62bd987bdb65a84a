//! A look at what the next entries will touch, so that the processor fetches it early.
//!
//! In a large book every cancel names an order whose lines are in no near cache, and its four
//! neighbours are known only once it is there: applied one by one, the thread waits for memory
//! twice for each entry. The orders of a few entries are independent of each other, so looking at
//! all of them first lets the processor wait for them together. It reads only, and what it read may
//! be old by the time that an entry is applied; no outcome depends on it.

use super::Book;
use super::slab::{Hot, NIL};
use crate::domain::entry::MarketEntry;
use std::hint::black_box;

/// A book with fewer live orders stays in the processor's near caches, where a look costs more
/// than it saves.
const NEAR: usize = 8_192;

/// Slots to be looked at, as many as there is room for.
struct Slots<const ROOM: usize> {
    slots: [u32; ROOM],
    count: usize,
}

impl<const ROOM: usize> Default for Slots<ROOM> {
    fn default() -> Self {
        Slots { slots: [NIL; ROOM], count: 0 }
    }
}

impl<const ROOM: usize> Slots<ROOM> {
    #[inline]
    fn push(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(self.count) {
            *place = slot;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().take(self.count).copied()
    }
}

impl Book {
    /// How many entries one [`Book::look_ahead`] is good for. With more of them the memory is used
    /// better still, but the first entry waits longer for its turn.
    pub const LOOK_AHEAD: usize = 64;

    /// Fetches what the next entries will touch; whoever applies several calls it before each
    /// [`Book::LOOK_AHEAD`] of them. Changes nothing: leaving it out is slower, never different.
    pub fn look_ahead(&self, entries: &[MarketEntry]) {
        if self.slab.len() < NEAR {
            return;
        }
        // Narrow loops instead of a wide one: the processor looks a few hundred instructions ahead, and the more of them are
        // loads, the more lines are on their way at once.
        let mut orders = Slots::<{ Book::LOOK_AHEAD }>::default();
        let mut others = Slots::<{ 4 * Book::LOOK_AHEAD }>::default();
        for entry in entries.iter().take(Book::LOOK_AHEAD) {
            match entry {
                MarketEntry::Cancel { order, .. } => orders.push(order.slot),
                MarketEntry::Amend(amend) => orders.push(amend.order.slot),
                MarketEntry::Place(_)
                | MarketEntry::CancelAll { .. }
                | MarketEntry::Configure(_)
                | MarketEntry::Tick
                | MarketEntry::Atomic(_)
                | MarketEntry::Reconfigure { .. }
                | MarketEntry::Kill { .. }
                | MarketEntry::BeginAuction { .. } => {}
            }
        }
        let mut seen = 0;
        for slot in orders.iter() {
            if let Some((&Hot { prev, next, user_prev, user_next, .. }, size)) = self.slab.look(slot) {
                seen ^= size.0;
                [prev, next, user_prev, user_next].into_iter().for_each(|slot| others.push(slot));
            }
        }
        let number = |slot| self.slab.look(slot).map_or(0, |(hot, _)| hot.number);
        let seen = others.iter().fold(seen, |seen, slot| seen ^ number(slot));
        black_box(seen);
    }
}
