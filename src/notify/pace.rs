//! How fast mail goes to one user: some at once, then one now and then. Who makes a thousand fills an hour is not told
//! of each by mail, and nobody's mailbox is filled through us.
//!
//! What concerns security is counted apart, so that fills never hold it up. Each node counts for itself. Nobody waits for
//! longer than from one mail to the next, also when the clock was set back.

use crate::domain::time::{MINUTE, Timestamp};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Mails at once.
const BURST: i64 = 30;
/// From one to the next after that, µs.
const INTERVAL: i64 = 2 * MINUTE;
/// Users that are remembered before those are looked for who may send at once again.
const REMEMBERED: usize = 10_000;

/// When the mails of each user that were let pass are worked off. A user is an account number, and whether it is about
/// security.
#[derive(Debug, Default)]
pub struct MailPace(Mutex<FxHashMap<(i64, bool), Timestamp>>);

impl MailPace {
    /// Lets a mail pass, or says when to come again.
    ///
    /// # Errors
    /// The time at which one may pass.
    pub fn admit(&self, user: i64, security: bool, now: Timestamp) -> Result<(), Timestamp> {
        let mut all = self.0.lock();
        if all.len() >= REMEMBERED {
            all.retain(|_, done| *done > now);
        }
        let done = all.entry((user, security)).or_insert(now);
        // Later is only what was counted before the clock was set back.
        *done = (*done).min(now + BURST * INTERVAL);
        let begun = (*done).max(now);
        let free = begun + -(BURST - 1) * INTERVAL;
        if free > now {
            return Err(free);
        }
        *done = begun + INTERVAL;
        Ok(())
    }

    /// Takes back that a mail was let pass, since it was not sent.
    pub fn give_back(&self, user: i64, security: bool) {
        if let Some(done) = self.0.lock().get_mut(&(user, security)) {
            *done = *done + -INTERVAL;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_pass_at_once_and_then_one_now_and_then() {
        let (pace, start) = (MailPace::default(), Timestamp(1_000_000 * MINUTE));
        for _ in 0..BURST {
            assert_eq!(pace.admit(2, false, start), Ok(()));
        }
        assert_eq!(pace.admit(2, false, start), Err(start + INTERVAL));
        assert_eq!(pace.admit(2, true, start), Ok(()), "security is counted apart");
        assert_eq!(pace.admit(3, false, start), Ok(()), "and so is anybody else");
        assert_eq!(pace.admit(2, false, start + INTERVAL), Ok(()));
        assert_eq!(pace.admit(2, false, start + INTERVAL), Err(start + 2 * INTERVAL));
        pace.give_back(2, false);
        assert_eq!(pace.admit(2, false, start + INTERVAL), Ok(()), "the one before was not sent");
        pace.give_back(9, true);
        assert_eq!(pace.admit(9, true, start), Ok(()), "there was nothing to give back");
        let back = start + -60 * INTERVAL;
        assert_eq!(pace.admit(2, false, back), Err(back + INTERVAL), "the clock was set back two hours");
        assert_eq!(pace.admit(2, false, back + INTERVAL), Ok(()));
        let later = start + (BURST + 1) * INTERVAL;
        assert_eq!((0..2 * BURST).filter(|_| pace.admit(2, false, later).is_ok()).count() as i64, BURST);
    }
}
