//! One side of a book: price levels by key, best first, each a queue of slots.
//!
//! A key is the price for asks and its mirror image for bids, so that **the best level has the
//! smallest key** on both sides. Levels stand in pages of 256 with a bitmap of the occupied ones;
//! pages exist only where there are orders, the directory of pages is sorted with the best page
//! last. So the next level is a bit scan, and memory follows the levels that are in use.

use super::slab::{NIL, Slab};
use crate::domain::invariant::broken;
use crate::domain::money::{MAX_UNITS, Price};
use crate::domain::order::Side;
use serde::{Deserialize, Serialize};

const PAGE_BITS: u32 = 8;
const PAGE_LEVELS: usize = 1 << PAGE_BITS;
const WORDS: usize = PAGE_LEVELS / 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    head: u32,
    tail: u32,
}

const EMPTY: Level = Level { head: NIL, tail: NIL };

#[derive(Clone, Debug)]
struct Page {
    occupied: [u64; WORDS],
    levels: [Level; PAGE_LEVELS],
}

/// A level for a snapshot: its key and the ends of its queue.
pub(crate) type LevelImage = (u64, u32, u32);

/// All levels of one side.
#[derive(Clone, Debug)]
#[allow(clippy::vec_box, reason = "growing the list of pages must move pointers, not two kilobytes for each page")]
pub(crate) struct Ladder {
    side: Side,
    pages: Vec<Box<Page>>,
    spare: Vec<u32>,
    /// (page number, index into `pages`), page numbers falling, so that the best page is last.
    directory: Vec<(u64, u32)>,
    /// The key of the best level, if any.
    best: Option<u64>,
}

impl Page {
    fn new() -> Box<Page> {
        Box::new(Page { occupied: [0; WORDS], levels: [EMPTY; PAGE_LEVELS] })
    }

    fn is_empty(&self) -> bool {
        self.occupied.iter().all(|word| *word == 0)
    }

    /// The first occupied level at or after `from`.
    fn next(&self, from: usize) -> Option<usize> {
        let mut mask = u64::MAX.checked_shl((from % 64) as u32).unwrap_or(0);
        for (index, word) in self.occupied.iter().enumerate().skip(from / 64) {
            let found = word & mask;
            if found != 0 {
                return Some(index * 64 + found.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    fn mark(&mut self, at: usize, occupied: bool) {
        if let Some(word) = self.occupied.get_mut(at / 64) {
            let bit = 1 << (at % 64);
            *word = if occupied { *word | bit } else { *word & !bit };
        }
    }

    #[inline]
    fn level(&mut self, at: usize) -> &mut Level {
        match self.levels.get_mut(at) {
            Some(level) => level,
            None => broken("a level must lie inside its page"),
        }
    }
}

impl Ladder {
    pub fn new(side: Side) -> Ladder {
        Ladder { side, pages: Vec::new(), spare: Vec::new(), directory: Vec::new(), best: None }
    }

    /// The key of a price on this side.
    #[inline]
    pub fn key(&self, price: Price) -> u64 {
        match self.side {
            Side::Buy => MAX_UNITS - price.0,
            Side::Sell => price.0,
        }
    }

    /// The price of a key on this side.
    #[inline]
    pub fn price(&self, key: u64) -> Price {
        match self.side {
            Side::Buy => Price(MAX_UNITS - key),
            Side::Sell => Price(key),
        }
    }

    /// The best price.
    pub fn best_price(&self) -> Option<Price> {
        self.best.map(|key| self.price(key))
    }

    /// The oldest order of the best level.
    #[inline]
    pub fn front(&mut self) -> Option<(u64, u32)> {
        let key = self.best?;
        let page = self.best_page();
        Some((key, page.level(key as usize % PAGE_LEVELS).head))
    }

    fn best_page(&mut self) -> &mut Page {
        match self.directory.last().and_then(|(_, index)| self.pages.get_mut(*index as usize)) {
            Some(page) => page,
            None => broken("a best level must have a page"),
        }
    }

    /// Where in the directory this page stands, or where it would.
    #[inline]
    fn locate(&self, number: u64) -> Result<usize, usize> {
        // Most orders come and go near the touch: look at the best page first.
        match self.directory.last() {
            Some((last, _)) if *last == number => Ok(self.directory.len() - 1),
            _ => self.directory.binary_search_by(|(other, _)| number.cmp(other)),
        }
    }

    fn page_at(&mut self, place: usize) -> &mut Page {
        match self.directory.get(place).and_then(|(_, index)| self.pages.get_mut(*index as usize)) {
            Some(page) => page,
            None => broken("the directory must lead to a page"),
        }
    }

    fn create(&mut self, place: usize, number: u64) {
        let index = self.spare.pop().unwrap_or_else(|| {
            self.pages.push(Page::new());
            (self.pages.len() - 1) as u32
        });
        self.directory.insert(place, (number, index));
    }

    /// Appends a slot to the queue of its level.
    pub fn push(&mut self, key: u64, slot: u32, slab: &mut Slab) {
        let number = key >> PAGE_BITS;
        let place = match self.locate(number) {
            Ok(place) => place,
            Err(place) => {
                self.create(place, number);
                place
            }
        };
        let page = self.page_at(place);
        let at = key as usize % PAGE_LEVELS;
        let level = page.level(at);
        let tail = level.tail;
        level.tail = slot;
        if tail == NIL {
            level.head = slot;
            page.mark(at, true);
            if self.best.is_none_or(|best| key < best) {
                self.best = Some(key);
            }
        } else {
            let newest = slab.hot(tail);
            if newest.next != NIL {
                broken("a level's newest order must be last in its queue");
            }
            newest.next = slot;
        }
        let hot = slab.hot(slot);
        hot.prev = tail;
        hot.next = NIL;
    }

    /// Takes a slot out of the queue of its level.
    pub fn unlink(&mut self, key: u64, slot: u32, slab: &mut Slab) {
        let &super::slab::Hot { prev, next, .. } = slab.peek(slot);
        // Looking before writing lets the processor fetch both neighbours at once.
        if (prev != NIL && slab.peek(prev).next != slot) || (next != NIL && slab.peek(next).prev != slot) {
            broken("a level's orders must be linked both ways");
        }
        if prev != NIL {
            slab.hot(prev).next = next;
        }
        if next != NIL {
            slab.hot(next).prev = prev;
        }
        if prev != NIL && next != NIL {
            return;
        }
        let Ok(place) = self.locate(key >> PAGE_BITS) else { broken("a resting order must have a page") };
        let page = self.page_at(place);
        let at = key as usize % PAGE_LEVELS;
        let level = page.level(at);
        if prev == NIL {
            level.head = next;
        }
        if next == NIL {
            level.tail = prev;
        }
        if level.head == NIL {
            page.mark(at, false);
            self.level_emptied(key, place);
        }
    }

    fn level_emptied(&mut self, key: u64, place: usize) {
        if self.page_at(place).is_empty() {
            let (_, index) = self.directory.remove(place);
            self.spare.push(index);
        }
        if self.best == Some(key) {
            self.best = match self.directory.last() {
                None => None,
                Some((number, _)) => {
                    let number = *number;
                    self.best_page().next(0).map(|at| number << PAGE_BITS | at as u64)
                }
            };
        }
    }

    /// The levels from the best on: their keys and the oldest slot of each.
    pub fn levels(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.images().map(|(key, head, _)| (key, head))
    }

    /// The levels from the best on, for a snapshot.
    pub fn images(&self) -> impl Iterator<Item = LevelImage> + '_ {
        self.directory
            .iter()
            .rev()
            .filter_map(|(number, index)| Some((*number, self.pages.get(*index as usize)?)))
            .flat_map(|(number, page)| {
                page.levels
                    .iter()
                    .enumerate()
                    .filter(|(_, level)| level.head != NIL)
                    .map(move |(at, level)| (number << PAGE_BITS | at as u64, level.head, level.tail))
            })
    }

    /// The side with these levels, as [`Ladder::images`] gave them.
    pub fn restore(side: Side, images: &[LevelImage]) -> Ladder {
        let mut ladder = Ladder::new(side);
        // From the worst to the best, so that each page is appended to the directory.
        for (key, head, tail) in images.iter().rev() {
            let number = key >> PAGE_BITS;
            let place = match ladder.locate(number) {
                Ok(place) => place,
                Err(place) => {
                    ladder.create(place, number);
                    place
                }
            };
            let at = *key as usize % PAGE_LEVELS;
            let page = ladder.page_at(place);
            *page.level(at) = Level { head: *head, tail: *tail };
            page.mark(at, true);
        }
        ladder.best = images.first().map(|(key, _, _)| *key);
        ladder
    }
}

impl Serialize for Ladder {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.side, self.images().collect::<Vec<_>>()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ladder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ladder, D::Error> {
        let (side, images) = <(Side, Vec<LevelImage>)>::deserialize(deserializer)?;
        Ok(Ladder::restore(side, &images))
    }
}
