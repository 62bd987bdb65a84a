//! Slows down guessing, with delays that grow.
//!
//! Kept in memory, by e-mail address whether or not anybody has it (so it tells nothing), by user where only the
//! user can try, or by network, bounded in size. For an address or a user an attempt counts before its password is
//! looked at: a hundred guesses at once are a hundred attempts, and a right password clears the count. For a network
//! only wrong passwords count, once they are known to be wrong: the many people behind one address may
//! all come at the same moment, and the queue for hashes bounds how many guesses are under way.
//!
//! When the clock was set back since the last attempt, that one counts as made now: a delay never lasts longer than it
//! would have.

use super::error::AuthError;
use crate::domain::time::{MINUTE, SECOND, Timestamp};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;
use std::hash::Hash;

/// How fast somebody may guess.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Attempts without any delay.
    pub(super) free: u32,
    /// The first delay, which doubles with each attempt, µs.
    pub(super) first: i64,
    /// The longest delay, µs.
    pub(super) longest: i64,
    /// Quiet time after which the count starts anew, µs.
    pub(super) forget_after: i64,
}

impl Pace {
    /// One account's password: a guesser is slowed to some 300 tries a day, and somebody whose
    /// address is attacked is never locked out for longer than five minutes.
    pub(super) const ACCOUNT: Pace = Pace { free: 10, first: SECOND, longest: 5 * MINUTE, forget_after: 15 * MINUTE };
    /// Wrong passwords from one network, whatever the account: many people may share one.
    pub(super) const NETWORK: Pace = Pace { free: 100, first: SECOND, longest: 5 * MINUTE, forget_after: 15 * MINUTE };
    /// Mails to one address.
    pub(super) const MAIL: Pace = Pace { free: 1, first: MINUTE, longest: 60 * MINUTE, forget_after: 90 * MINUTE };
    /// Mailed codes, and codes of a second factor, each counted apart.
    pub(super) const CODE: Pace = Pace { free: 5, first: SECOND, longest: 15 * MINUTE, forget_after: 30 * MINUTE };
}

/// Addresses that are remembered at a time.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Copy, Default)]
struct Attempts {
    count: u32,
    last: Timestamp,
    blocked_until: Timestamp,
}

impl Attempts {
    fn refusal(self, now: Timestamp) -> Result<(), AuthError> {
        let left = self.blocked_until - now;
        if left <= 0 {
            return Ok(());
        }
        let retry_after_s = u32::try_from((left + SECOND - 1) / SECOND).unwrap_or(u32::MAX);
        Err(AuthError::TooManyAttempts { retry_after_s })
    }
}

/// Attempts by address, or by whatever else.
pub(super) struct Guard<K> {
    pace: Pace,
    attempts: Mutex<Cache<K, Attempts>>,
}

impl<K: Clone + Eq + Hash> Guard<K> {
    pub(super) fn new(pace: Pace) -> Guard<K> {
        Guard { pace, attempts: Mutex::new(Cache::new(REMEMBERED)) }
    }

    /// Counts an attempt and says whether it may go on.
    ///
    /// # Errors
    /// [`AuthError::TooManyAttempts`]; such an attempt does not lengthen the delay.
    pub(super) fn admit(&self, key: &K, now: Timestamp) -> Result<(), AuthError> {
        let mut all = self.attempts.lock();
        let attempts = self.present(&mut all, key, now);
        attempts.refusal(now)?;
        all.insert(key.clone(), self.counted(attempts, now));
        Ok(())
    }

    /// Says whether an attempt may go on, and counts nothing.
    ///
    /// # Errors
    /// [`AuthError::TooManyAttempts`].
    pub(super) fn check(&self, key: &K, now: Timestamp) -> Result<(), AuthError> {
        self.present(&mut self.attempts.lock(), key, now).refusal(now)
    }

    /// Counts a wrong attempt that [`Guard::check`] has let pass. Those that were under way together count
    /// one after the other; a delay that has begun meanwhile is lengthened.
    pub(super) fn failed(&self, key: &K, now: Timestamp) {
        let mut all = self.attempts.lock();
        let attempts = self.present(&mut all, key, now);
        all.insert(key.clone(), self.counted(attempts, now));
    }

    /// Takes over what another node has seen.
    pub(super) fn heard(&self, key: &K, right: bool, now: Timestamp) {
        if right { self.succeeded(key) } else { self.failed(key, now) }
    }

    fn present(&self, all: &mut Cache<K, Attempts>, key: &K, now: Timestamp) -> Attempts {
        let mut known = all.get(key).copied().unwrap_or_default();
        if known.last > now {
            known.last = now;
            known.blocked_until = self.delayed(known);
            // Kept, so that the delay goes by from now on.
            all.insert(key.clone(), known);
        }
        if now - known.last > self.pace.forget_after { Attempts::default() } else { known }
    }

    fn counted(&self, mut attempts: Attempts, now: Timestamp) -> Attempts {
        attempts.count = attempts.count.saturating_add(1);
        attempts.last = now;
        attempts.blocked_until = self.delayed(attempts);
        attempts
    }

    /// When the delay ends that this many attempts have earned.
    fn delayed(&self, attempts: Attempts) -> Timestamp {
        let Some(beyond) = attempts.count.checked_sub(self.pace.free) else { return attempts.last };
        let times = 2_i64.saturating_pow(beyond);
        attempts.last + self.pace.first.saturating_mul(times).min(self.pace.longest)
    }

    /// The password was right: the count starts anew.
    pub(super) fn succeeded(&self, key: &K) {
        self.attempts.lock().remove(key);
    }

    /// Settles an attempt at a code that [`Guard::admit`] has let pass, once it is known what became of it: a right
    /// code clears the count, a wrong one stays in it, and where something else went wrong it was no guess.
    pub(super) fn settle<T>(&self, key: &K, outcome: &Result<T, AuthError>) {
        match outcome {
            Ok(_) => self.succeeded(key),
            Err(AuthError::WrongCode) => {}
            Err(_) => self.undo(key),
        }
    }

    /// The attempt broke off before the password was looked at, so it was no guess. The delay is that of the others.
    pub(super) fn undo(&self, key: &K) {
        let mut all = self.attempts.lock();
        if let Some(mut attempts) = all.get_mut(key) {
            attempts.count = attempts.count.saturating_sub(1);
            attempts.blocked_until = self.delayed(*attempts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Email;
    use super::*;

    const FREE: u32 = Pace::ACCOUNT.free;
    const FORGET_AFTER: i64 = Pace::ACCOUNT.forget_after;

    const START: Timestamp = Timestamp(1_000_000 * SECOND);

    fn exhausted(email: &Email) -> Guard<Email> {
        let guard = Guard::new(Pace::ACCOUNT);
        for attempt in 0..FREE {
            assert_eq!(guard.admit(email, START), Ok(()), "attempt {attempt}");
        }
        guard
    }

    #[test]
    fn the_delay_doubles_up_to_its_limit_and_is_for_one_address() {
        let (ada, bob) = (Email::parse("ada@example.org").unwrap(), Email::parse("bob@example.org").unwrap());
        let guard = exhausted(&ada);
        let mut now = START;
        for delay_s in [1_u32, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
            assert_eq!(guard.admit(&ada, now), Err(AuthError::TooManyAttempts { retry_after_s: delay_s }));
            assert_eq!(guard.admit(&ada, now), Err(AuthError::TooManyAttempts { retry_after_s: delay_s }));
            now = now + i64::from(delay_s) * SECOND;
            assert_eq!(guard.admit(&ada, now), Ok(()));
        }
        for _ in 0..100 {
            now = now + Pace::ACCOUNT.longest;
            assert_eq!(guard.admit(&ada, now), Ok(()));
        }
        assert_eq!(guard.admit(&ada, now), Err(AuthError::TooManyAttempts { retry_after_s: 300 }));
        assert_eq!(guard.admit(&bob, now), Ok(()));
    }

    #[test]
    fn many_right_passwords_at_once_are_no_guesses_of_their_network() {
        let guard = Guard::new(Pace::NETWORK);
        let network = "198.51.100.7";
        for _ in 0..10 * Pace::NETWORK.free {
            assert_eq!(guard.check(&network, START), Ok(()));
        }
        for wrong in 1..=Pace::NETWORK.free {
            assert_eq!(guard.check(&network, START), Ok(()), "{wrong}");
            guard.failed(&network, START);
        }
        assert_eq!(guard.check(&network, START), Err(AuthError::TooManyAttempts { retry_after_s: 1 }));
        guard.failed(&network, START);
        assert_eq!(guard.check(&network, START), Err(AuthError::TooManyAttempts { retry_after_s: 2 }));
        assert_eq!(guard.check(&"198.51.100.8", START), Ok(()));
        assert_eq!(guard.check(&network, START + Pace::NETWORK.forget_after + 1), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_delay_longer() {
        let ada = Email::parse("ada@example.org").unwrap();
        let guard = exhausted(&ada);
        (0..20).for_each(|_| guard.failed(&ada, START));
        let back = START + -60 * MINUTE;
        for later in [0, MINUTE, 5 * MINUTE - 1] {
            let left = u32::try_from((5 * MINUTE - later + SECOND - 1) / SECOND).unwrap();
            let refused = Err(AuthError::TooManyAttempts { retry_after_s: left });
            assert_eq!(guard.check(&ada, back + later), refused, "{later}");
        }
        assert_eq!(guard.admit(&ada, back + 5 * MINUTE), Ok(()));
        assert_eq!(guard.check(&ada, back + 20 * MINUTE + 1), Ok(()), "the count starts anew");
    }

    #[test]
    fn success_and_quiet_time_clear_the_count_and_what_was_no_guess_does_not_count() {
        let ada = Email::parse("ada@example.org").unwrap();
        let guard = exhausted(&ada);
        guard.succeeded(&ada);
        assert_eq!(guard.admit(&ada, START), Ok(()));
        assert_eq!(guard.admit(&ada, START), Ok(()));

        let guard = exhausted(&ada);
        assert_eq!(guard.admit(&ada, START + FORGET_AFTER + 1), Ok(()));
        assert_eq!(guard.admit(&ada, START + FORGET_AFTER + 1), Ok(()));

        let guard = exhausted(&ada);
        guard.undo(&ada);
        assert_eq!(guard.admit(&ada, START), Ok(()));
        assert_eq!(guard.admit(&ada, START), Err(AuthError::TooManyAttempts { retry_after_s: 1 }));

        // What others have earned meanwhile stays.
        (0..4).for_each(|_| guard.failed(&ada, START));
        guard.undo(&ada);
        assert_eq!(guard.admit(&ada, START), Err(AuthError::TooManyAttempts { retry_after_s: 8 }));
    }
}
