//! Slows down guessing of one account's password.
//!
//! Kept in memory, by e-mail address whether or not anybody has it (so it tells nothing), bounded
//! in size. An attempt counts before its password is looked at: a hundred guesses at once are a
//! hundred attempts. A right password clears the count.

use super::credentials::Email;
use super::error::AuthError;
use crate::domain::time::{MINUTE, SECOND, Timestamp};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;

/// Attempts without any delay.
const FREE: u32 = 10;
/// The longest delay between two attempts, µs: a guesser is slowed to some 300 tries a day, and
/// somebody whose address is attacked is never locked out for longer.
const LONGEST_DELAY: i64 = 5 * MINUTE;
/// Quiet time after which the count starts anew, µs.
const FORGET_AFTER: i64 = 15 * MINUTE;
/// Addresses that are remembered at a time.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Copy, Default)]
struct Attempts {
    count: u32,
    last: Timestamp,
    blocked_until: Timestamp,
}

/// Attempts by address.
pub(super) struct Guard {
    attempts: Mutex<Cache<Email, Attempts>>,
}

impl Guard {
    pub(super) fn new() -> Guard {
        Guard { attempts: Mutex::new(Cache::new(REMEMBERED)) }
    }

    /// Counts an attempt and says whether it may go on.
    ///
    /// # Errors
    /// [`AuthError::TooManyAttempts`]; such an attempt does not lengthen the delay.
    pub(super) fn admit(&self, email: &Email, now: Timestamp) -> Result<(), AuthError> {
        let mut all = self.attempts.lock();
        let mut attempts = all.get(email).copied().unwrap_or_default();
        if now - attempts.last > FORGET_AFTER {
            attempts = Attempts::default();
        }
        let left = attempts.blocked_until - now;
        if left > 0 {
            let retry_after_s = u32::try_from((left + SECOND - 1) / SECOND).unwrap_or(u32::MAX);
            return Err(AuthError::TooManyAttempts { retry_after_s });
        }
        attempts.count = attempts.count.saturating_add(1);
        attempts.last = now;
        if attempts.count >= FREE {
            let doubled = 1_i64.checked_shl(attempts.count - FREE).map_or(LONGEST_DELAY, |s| s.saturating_mul(SECOND));
            attempts.blocked_until = now + if doubled > 0 { doubled.min(LONGEST_DELAY) } else { LONGEST_DELAY };
        }
        all.insert(email.clone(), attempts);
        Ok(())
    }

    /// The password was right: the count starts anew.
    pub(super) fn succeeded(&self, email: &Email) {
        self.attempts.lock().remove(email);
    }

    /// The attempt broke off before the password was looked at, so it was no guess.
    pub(super) fn undo(&self, email: &Email) {
        let mut all = self.attempts.lock();
        if let Some(mut attempts) = all.get_mut(email) {
            attempts.count = attempts.count.saturating_sub(1);
            attempts.blocked_until = Timestamp::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000 * SECOND);

    fn exhausted(email: &Email) -> Guard {
        let guard = Guard::new();
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
            now = now + LONGEST_DELAY;
            assert_eq!(guard.admit(&ada, now), Ok(()));
        }
        assert_eq!(guard.admit(&ada, now), Err(AuthError::TooManyAttempts { retry_after_s: 300 }));
        assert_eq!(guard.admit(&bob, now), Ok(()));
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
    }
}
