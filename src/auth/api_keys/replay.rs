//! Refuses signatures of changing requests, and of subscriptions to the feed, that were used before.
//!
//! A signature counts for at most a minute (half before, half after its timestamp). Whoever reads
//! along could send it again in that time, so these are remembered that long.
//! Clients whose timestamps are whole seconds sign two equal requests within one second alike; for
//! them a repeat within that second is taken as a second request, as their clock cannot tell
//! them apart. A later one, or any repeat of a finer timestamp, is a replay.
//!
//! A clock that is set back comes once more to where signatures count that were used already. They are kept until it
//! has passed them.
//!
//! Invariants: memory is bounded; when it is full, signed changes are refused rather than let pass
//! unremembered, also when it is full of what lies ahead of a clock that was set back (a restart forgets it). Each
//! node remembers for itself, and asks Redis, where there is one, whether another has let it pass.

use super::super::error::AuthError;
use super::super::signature::CLOCK_SKEW;
use crate::domain::time::{SECOND, Timestamp};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::mem;

/// Longest time between the first use of a signature and its end by age, µs.
pub(in crate::auth) const LIFETIME: i64 = 2 * CLOCK_SKEW;
/// How long a whole-second timestamp may stand for a second request, µs.
pub(in crate::auth) const SAME_SECOND: i64 = SECOND;
/// Parts with a lock of their own.
const SHARDS: usize = 16;
/// Signatures that one part remembers in one generation: in all 34,000 signed changes a second.
const MOST: usize = 131_072;

#[derive(Default)]
struct Shard {
    /// First use by signature; `older` is at least [`LIFETIME`] minus one generation old.
    newer: FxHashMap<u128, Timestamp>,
    older: FxHashMap<u128, Timestamp>,
    turned_at: Timestamp,
    /// The clock was set back before the generations turned last, so they do not tell ages.
    is_set_back: bool,
}

impl Shard {
    /// Begins another generation.
    fn turn(&mut self, now: Timestamp) {
        let (newer, older) = (mem::take(&mut self.newer), mem::take(&mut self.older));
        if self.is_set_back {
            for (signature, first) in newer.into_iter().chain(older) {
                if first > now {
                    self.newer.insert(signature, first);
                } else if now - first <= LIFETIME {
                    self.older.insert(signature, first);
                }
            }
            self.is_set_back = !self.newer.is_empty();
        } else if now - self.turned_at <= 2 * LIFETIME {
            // After a longer silence the newer generation is over as well.
            self.older = newer;
        }
        self.turned_at = now;
    }

    fn is_full(&self) -> bool {
        self.newer.len() >= MOST || self.newer.len() + self.older.len() >= 2 * MOST
    }
}

/// The signatures of the last minute.
pub(super) struct Replays {
    shards: [Mutex<Shard>; SHARDS],
}

impl Replays {
    pub(super) fn new() -> Replays {
        Replays { shards: Default::default() }
    }

    /// Takes note of a use.
    ///
    /// # Errors
    /// [`AuthError::Replayed`], or [`AuthError::Overloaded`] when no more can be remembered.
    pub(super) fn admit(&self, signature: u128, whole_seconds: bool, now: Timestamp) -> Result<(), AuthError> {
        let index = usize::try_from(signature % (SHARDS as u128)).unwrap_or(0);
        let Some(shard) = self.shards.get(index) else { return Err(AuthError::Overloaded) };
        let mut shard = shard.lock();
        // A clock that was set back must not keep the generations from turning until it is there again.
        if now < shard.turned_at {
            shard.turned_at = now;
            shard.is_set_back = true;
        }
        if now - shard.turned_at > LIFETIME {
            shard.turn(now);
        }
        if let Some(first) = shard.newer.get(&signature).or_else(|| shard.older.get(&signature)) {
            let repeat = whole_seconds && (now - *first).abs() <= SAME_SECOND;
            return if repeat { Ok(()) } else { Err(AuthError::Replayed) };
        }
        if shard.is_full() {
            return Err(AuthError::Overloaded);
        }
        shard.newer.insert(signature, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_once_as_long_as_it_could_count_at_all() {
        let start = Timestamp(1_800_000_000 * SECOND);
        for offset in [0, 1, LIFETIME / 2, LIFETIME - 1, LIFETIME, LIFETIME + 1] {
            let replays = Replays::new();
            assert_eq!(replays.admit(7, false, start), Ok(()));
            // Others come in between and turn the generations.
            assert_eq!(replays.admit(7 + SHARDS as u128, false, start + offset), Ok(()));
            let again = start + offset.max(LIFETIME - 1);
            assert_eq!(replays.admit(7, false, again), Err(AuthError::Replayed), "{offset}");
        }
    }

    #[test]
    fn whole_seconds_may_repeat_within_a_second() {
        let start = Timestamp(1_800_000_000 * SECOND);
        let replays = Replays::new();
        for (at, expected) in [(0, Ok(())), (1, Ok(())), (SECOND, Ok(())), (SECOND + 1, Err(AuthError::Replayed))] {
            assert_eq!(replays.admit(7, true, start + at), expected, "{at}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_lets_no_replay_pass() {
        let start = Timestamp(1_800_000_000 * SECOND);
        for back in [20, 50, 90, 150, 3_600] {
            let replays = Replays::new();
            assert_eq!(replays.admit(7, false, start), Ok(()));
            let mut now = start + -back * SECOND;
            let mut other = 7;
            while now - start <= LIFETIME {
                // Others come in between and turn the generations.
                other += SHARDS as u128;
                assert_eq!(replays.admit(other, false, now), Ok(()), "{back}");
                assert_eq!(replays.admit(7, false, now), Err(AuthError::Replayed), "{back}");
                now = now + 7 * SECOND;
            }
            // It is given back as always.
            let over = now + 2 * LIFETIME;
            for later in [0, LIFETIME + 1, 2 * (LIFETIME + 1)] {
                assert_eq!(replays.admit(other + (later as u128 + 1) * SHARDS as u128, false, over + later), Ok(()));
            }
            assert_eq!(replays.admit(7, false, over + 2 * (LIFETIME + 1)), Ok(()), "{back}");
        }
    }

    #[test]
    fn memory_stays_bounded_while_the_clock_goes_back_and_forth() {
        let start = Timestamp(1_800_000_000 * SECOND);
        let (replays, back) = (Replays::new(), start + -3_600 * SECOND);
        let mut number = 0;
        let mut fill = |now: Timestamp| {
            let mut outcome = Ok(());
            while outcome.is_ok() {
                number += SHARDS as u128;
                outcome = replays.admit(number, false, now);
            }
            assert_eq!(outcome, Err(AuthError::Overloaded));
            let shard = replays.shards[0].lock();
            shard.newer.len() + shard.older.len()
        };
        assert_eq!(fill(start), MOST);
        // Full of what lies ahead until the clock is there again.
        assert_eq!((fill(back), fill(back + LIFETIME + 1)), (MOST, MOST));
        assert_eq!(fill(start + LIFETIME), 2 * MOST);
        assert_eq!((fill(back), fill(back + LIFETIME + 1)), (2 * MOST, 2 * MOST));
        assert_eq!(fill(start + 3 * LIFETIME), MOST);
    }

    #[test]
    fn memory_is_bounded_and_is_given_back() {
        let start = Timestamp(1_800_000_000 * SECOND);
        let replays = Replays::new();
        let of_one_shard = |number: usize| (number * SHARDS) as u128;
        for number in 0..MOST {
            assert_eq!(replays.admit(of_one_shard(number), false, start), Ok(()));
        }
        assert_eq!(replays.admit(of_one_shard(MOST), false, start), Err(AuthError::Overloaded));
        assert_eq!(replays.admit(of_one_shard(MOST), false, start + LIFETIME + 1), Ok(()));
        assert_eq!(replays.admit(of_one_shard(0), false, start + 4 * LIFETIME), Ok(()));
        assert_eq!(replays.shards[0].lock().older.len(), 0);
    }
}
