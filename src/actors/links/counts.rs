//! How many links each owner has, so that nobody has more than one may.
//!
//! Invariants: what is being made counts from the moment at which it was let in until it is known what became of it,
//! whatever is counted meanwhile; of the links of one owner one count is under way at most, and counting takes hardly
//! more than a twentieth of the time, or half of it where it is slow and there is no room. A number may be too large for
//! a while; it is too small only by what other nodes have changed since.

use crate::domain::ids::AccountId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Owners whose number of links is remembered, beside those who are making some.
const OWNERS: usize = 10_000;
/// How long the number of somebody's links is believed.
const COUNTED_FOR: Duration = Duration::from_secs(30);
/// The same, where there is no room for more: links may have been deleted on another node, or while they were counted,
/// and some that count as made may not have been.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// Any number is believed for so many times what counting took: whoever asks again and again is no burden.
const REST: u32 = 20;
/// Nobody is refused for longer than this by a number that may be too large, unless counting itself takes longer.
const LONGEST_REFUSAL: Duration = Duration::from_secs(3);

/// The numbers of all owners. Looked up only.
#[derive(Debug, Default)]
pub struct Counts(Mutex<HashMap<AccountId, Arc<Tally>>>);

impl Counts {
    /// That of this owner.
    pub fn of(&self, owner: AccountId) -> Arc<Tally> {
        let mut tallies = self.0.lock();
        if tallies.len() >= OWNERS && !tallies.contains_key(&owner) {
            // Those that somebody uses stay: they know what is being made.
            tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        }
        tallies.entry(owner).or_default().clone()
    }

    /// One of an owner's links was deleted by work that began then: there is room for another one in its place.
    pub fn deleted(&self, owner: AccountId, begun: Instant) {
        if let Some(tally) = self.0.lock().get(&owner) {
            tally.deleted(begun);
        }
    }
}

/// How many links one owner has.
#[derive(Debug, Default)]
pub struct Tally {
    /// Held by whoever counts, and until what there is room for is being made.
    pub turn: tokio::sync::Mutex<()>,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    known: Option<Known>,
    /// Links that are being made.
    making: i64,
    /// Links that were made since the last count began, which may have missed them.
    since: i64,
}

/// The last count, with what was made and deleted since.
#[derive(Clone, Copy, Debug)]
struct Known {
    links: i64,
    /// Whether deleted ones are left out.
    exact: bool,
    /// When it was there.
    at: Instant,
    took: Duration,
}

/// What is to be done next before somebody is told how much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Believe,
    /// All links are to be counted, with those that were deleted, which is quick.
    CountAll,
    /// Those are to be counted that were not deleted.
    CountExactly,
}

fn next(known: Option<Known>, fits: bool, now: Instant) -> Step {
    let Some(Known { exact, at, took, .. }) = known else { return Step::CountAll };
    let rest = took.saturating_mul(REST);
    let believed_for = if fits { COUNTED_FOR.max(rest) } else { REFUSED_FOR.max(rest.min(LONGEST_REFUSAL)).max(took) };
    let believed = now.saturating_duration_since(at) < believed_for;
    match (fits, exact) {
        (true, _) | (false, true) if believed => Step::Believe,
        (true, _) => Step::CountAll,
        // All of them are no fewer.
        (false, _) => Step::CountExactly,
    }
}

impl Numbers {
    fn room(&self, most: i64) -> usize {
        let there = self.known.map_or(0, |known| known.links).saturating_add(self.making);
        usize::try_from(most.saturating_sub(there)).unwrap_or(0)
    }
}

impl Tally {
    /// How many more links there may be, of `most` in all.
    pub fn room(&self, most: i64) -> usize {
        self.numbers.lock().room(most)
    }

    /// What is to be done before so many `more` are let in or not.
    pub fn step(&self, more: usize, most: i64, now: Instant) -> Step {
        let numbers = self.numbers.lock();
        next(numbers.known, more <= numbers.room(most), now)
    }

    /// A count begins.
    pub fn counting(&self) {
        self.numbers.lock().since = 0;
    }

    /// A count that began then has found so many links by now.
    pub fn counted(&self, links: i64, exact: bool, begun: Instant, now: Instant) {
        let mut numbers = self.numbers.lock();
        let (links, took) = (links.saturating_add(numbers.since), now.saturating_duration_since(begun));
        numbers.known = Some(Known { links, exact, at: now, took });
    }

    /// So many links are being made, until what is returned says more.
    pub fn begin(self: &Arc<Tally>, links: usize) -> BeingMade {
        let links = number(links);
        self.numbers.lock().making += links;
        BeingMade { tally: self.clone(), links, made: links }
    }

    fn deleted(&self, begun: Instant) {
        // A number that has come since may have left the link out already. One with deleted links has it still.
        if let Some(known) = self.numbers.lock().known.as_mut().filter(|known| known.exact && known.at <= begun) {
            known.links -= 1;
        }
    }
}

/// Links that are being made. When it is dropped and nobody has said what became of them, they count as made until they
/// are counted anew.
#[derive(Debug)]
pub struct BeingMade {
    tally: Arc<Tally>,
    links: i64,
    made: i64,
}

impl BeingMade {
    /// So many were made, and of so many that is not known.
    pub fn done(mut self, made: usize, unsure: usize) {
        let made = number(made);
        // What was there already may be among those that are not known.
        self.made = made.max(made.saturating_add(number(unsure)).min(self.links));
    }
}

impl Drop for BeingMade {
    fn drop(&mut self) {
        let mut numbers = self.tally.numbers.lock();
        numbers.making -= self.links;
        numbers.since += self.made;
        if let Some(known) = &mut numbers.known {
            known.links += self.made;
        }
    }
}

fn number(links: usize) -> i64 {
    i64::try_from(links).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: i64 = 100;
    const ADA: AccountId = AccountId(7);

    /// A number that was counted a moment ago.
    fn counted(links: i64, exact: bool) -> Arc<Tally> {
        let (tally, now) = (Arc::new(Tally::default()), Instant::now());
        tally.counting();
        tally.counted(links, exact, now, now);
        tally
    }

    #[test]
    fn a_number_is_believed_for_a_while_and_for_longer_when_counting_takes_long() {
        let at = Instant::now();
        let known = |exact, took| Some(Known { links: 0, exact, at, took: Duration::from_millis(took) });
        assert_eq!(next(None, true, at), Step::CountAll);
        assert_eq!(next(None, false, at), Step::CountAll);
        let (all, exact) = (Step::CountAll, Step::CountExactly);
        for (known, fits, believed_ms, then) in [
            (known(false, 10), true, 30_000, all),
            (known(true, 10), true, 30_000, all),
            (known(true, 10), false, 1_000, exact),
            (known(true, 50), false, 1_000, exact),
            (known(true, 100), false, 2_000, exact),
            (known(true, 500), false, 3_000, exact),
            (known(true, 5_000), false, 5_000, exact),
            // Nor are all counted in between, to be followed by the few that count.
            (known(true, 5_000), true, 100_000, all),
            // Deleted ones may be what takes the room.
            (known(false, 10), false, 0, exact),
        ] {
            let after = |ms| next(known, fits, at + Duration::from_millis(ms));
            assert_eq!(after(believed_ms), then, "{known:?}");
            if believed_ms > 0 {
                assert_eq!(after(believed_ms - 1), Step::Believe, "{known:?}");
            }
        }
    }

    #[test]
    fn what_is_being_made_counts_whatever_is_counted_meanwhile() {
        let tally = counted(50, true);
        let (first, second) = (tally.begin(20), tally.begin(10));
        assert_eq!(tally.room(MOST), 20);
        let now = Instant::now();
        tally.counting();
        first.done(15, 0);
        assert_eq!(tally.room(MOST), 25);
        // It may have missed those that were made while it looked.
        tally.counted(50, true, now, now);
        assert_eq!(tally.room(MOST), 25);
        second.done(0, 0);
        assert_eq!(tally.room(MOST), 35);
        assert_eq!(tally.step(35, MOST, now), Step::Believe);
        assert_eq!(tally.step(36, MOST, now), Step::Believe, "there is no room, which was counted");
        assert_eq!(counted(65, false).step(36, MOST, now), Step::CountExactly);
    }

    #[test]
    fn what_may_have_been_made_counts_as_made() {
        let tally = counted(0, true);
        tally.begin(10).done(3, 4);
        assert_eq!(tally.room(MOST), 93);
        tally.begin(2).done(1, 500);
        assert_eq!(tally.room(MOST), 91, "the others were there before");
        drop(tally.begin(10));
        assert_eq!(tally.room(MOST), 81);
    }

    #[test]
    fn a_delete_makes_room_where_it_is_known_that_the_link_counts() {
        let counts = Counts::default();
        let tally = counts.of(ADA);
        let before = Instant::now();
        counts.deleted(ADA, before);
        tally.counted(100, false, before, before);
        counts.deleted(ADA, before);
        assert_eq!(tally.room(MOST), 0, "deleted ones count in it");
        tally.counted(100, true, before, before);
        let being_made = tally.begin(5);
        counts.deleted(ADA, before);
        being_made.done(0, 0);
        assert_eq!(tally.room(MOST), 1);
        let later = before + Duration::from_secs(1);
        tally.counted(99, true, before, later);
        counts.deleted(ADA, before);
        assert_eq!(tally.room(MOST), 1, "it may be left out already");
    }

    #[test]
    fn a_number_that_may_be_too_large_refuses_nobody_for_long() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let one_more = |tally: &Tally, seconds| tally.step(1, MOST, after(seconds));

        // One was deleted while they were counted, which took long: the count may have seen it or not.
        let counts = Counts::default();
        let tally = counts.of(ADA);
        tally.counting();
        tally.counted(100, true, begun, after(5));
        counts.deleted(ADA, after(1));
        assert_eq!((tally.room(MOST), one_more(&tally, 9)), (0, Step::Believe));
        assert_eq!(one_more(&tally, 10), Step::CountExactly);

        // Of one it is not known whether it was made.
        let tally = Arc::new(Tally::default());
        tally.counting();
        tally.counted(99, true, begun, after(1));
        drop(tally.begin(1));
        assert_eq!((tally.room(MOST), one_more(&tally, 3)), (0, Step::Believe));
        assert_eq!(one_more(&tally, 4), Step::CountExactly);
    }

    #[test]
    fn whoever_is_making_links_is_not_forgotten() {
        let counts = Counts::default();
        let being_made = counts.of(ADA).begin(5);
        for owner in 0..2 * OWNERS as u32 {
            counts.of(AccountId(1_000 + owner));
        }
        assert!(counts.0.lock().len() <= OWNERS);
        assert_eq!(counts.of(ADA).room(MOST), 95);
        drop(being_made);
    }
}
