//! A look at what the next entries will touch, so that the processor fetches it early.
//!
//! In a large book every cancel names an order whose lines are in no near cache, and its four
//! neighbours are known only once it is there: applied one by one, the thread waits for memory
//! twice for each entry. The orders of a few entries are independent of each other, so looking at
//! all of them first lets the processor wait for them together. It reads only, and what it read may
//! be old by the time that an entry is applied; no outcome depends on it.

use super::Book;
use super::ladder::Ladder;
use super::slab::{Hot, NIL};
use crate::domain::entry::MarketEntry;
use crate::domain::order::{Kind, NewOrder, Side};
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
        let (mut bids, mut asks) = (0, 0);
        for entry in entries.iter().take(Book::LOOK_AHEAD) {
            match entry {
                MarketEntry::Cancel { order, .. } => orders.push(order.slot),
                MarketEntry::Amend(amend) => orders.push(amend.order.slot),
                MarketEntry::Place(order) => {
                    if let Some(price) = self.rests_at_once(order) {
                        others.push(self.ladder_of(order.side).tail(price));
                        others.push(self.users.get(&order.account).map_or(NIL, |orders| orders.head));
                    } else if takes(order) {
                        match order.side {
                            Side::Buy => asks += 1,
                            Side::Sell => bids += 1,
                        }
                    }
                }
                MarketEntry::CancelAll { .. }
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
        let seen = others.iter().fold(seen, |seen, slot| seen ^ self.number_at(slot));
        black_box(seen ^ self.touch_front(&self.bids, bids) ^ self.touch_front(&self.asks, asks));
    }

    fn ladder_of(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// Both lines of an order; answers its neighbours.
    #[inline]
    fn touch(&self, slot: u32) -> [u32; 4] {
        match self.slab.look(slot) {
            Some((&Hot { prev, next, user_prev, user_next, .. }, size)) => {
                black_box(size);
                [prev, next, user_prev, user_next]
            }
            None => [NIL; 4],
        }
    }

    #[inline]
    fn number_at(&self, slot: u32) -> u64 {
        self.slab.look(slot).map_or(0, |(hot, _)| hot.number)
    }

    /// The orders that the next `takers` will meet: one for each, as most take no more.
    fn touch_front(&self, ladder: &Ladder, takers: usize) -> u64 {
        let mut seen = 0;
        let mut slot = if takers == 0 { NIL } else { ladder.oldest_of_best() };
        for _ in 0..takers {
            let [_, next, user_prev, user_next] = self.touch(slot);
            seen ^= self.number_at(user_prev) ^ self.number_at(user_next);
            slot = next;
        }
        seen
    }
}

/// Whether it may meet orders as soon as it enters.
fn takes(order: &NewOrder) -> bool {
    order.stop.is_none() && matches!(order.kind, Kind::Limit { post_only: false, .. } | Kind::Market { .. })
}
