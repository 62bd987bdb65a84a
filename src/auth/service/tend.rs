//! What accounts do now and then by themselves.

use super::{Accounts, CLOCK_TOLERANCE, KEEP_EXPIRED, REMEMBER_ENDED};
use crate::auth::error::AuthError;
use crate::domain::time::{DAY, Timestamp};
use crate::persistence::{api_keys, sessions};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A clock that goes on by more than this from one call to the next may be far ahead; somebody sees that within as
/// long, µs.
const LEAP: i64 = DAY;

impl Accounts {
    /// To be called every few seconds: learns of revocations by other processes on the same
    /// database, stores when sessions were last used, and forgets what is over.
    ///
    /// # Errors
    /// A failure; nothing is lost and the next call tries again.
    pub async fn tend(&self) -> Result<(), AuthError> {
        let now = self.now();
        self.follow_runtime().await?;
        let tended_at = Timestamp(self.0.tended_at.load(Ordering::Relaxed));
        // The clock may have been set back since. If it was far ahead, what had expired by it was forgotten and counts
        // again, and what others ended meanwhile was not asked for: all of it is read anew.
        let was_ahead = now + CLOCK_TOLERANCE < tended_at;
        let may_forget = self.may_forget(was_ahead || now - tended_at > LEAP, now);
        let since = if was_ahead { Timestamp::ZERO } else { tended_at.min(now) + -CLOCK_TOLERANCE };
        // However long this process could not ask: sockets that were opened by what was ended meanwhile are open still.
        // How long a clock was ahead is not known; somebody sees it within a day.
        let lately = if was_ahead { now + -LEAP } else { since.min(now + -REMEMBER_ENDED) };
        // Times of use are good to know and no more: what cannot be stored is let go.
        let key_uses = self.0.keys.take_used();
        let uses = Arc::new(self.0.tokens.take_used());
        let stored = Arc::clone(&uses);
        let outcome = self
            .blocking(move |database| {
                // Times of use may be lost in a crash, so this write need not wait for the medium.
                database.write(|conn| {
                    sessions::used(conn, &stored)?;
                    api_keys::used(conn, &key_uses)?;
                    if may_forget {
                        sessions::remove_expired(conn, now + -KEEP_EXPIRED)?;
                    }
                    Ok((sessions::revoked(conn, since, lately, now)?, api_keys::revoked_since(conn, since)?))
                })
            })
            .await;
        match outcome {
            Ok((revoked, keys)) => {
                self.forget_sessions(revoked, now);
                self.0.keys.ended(&self.0.vault, keys, now);
                // Together with the time, which says what may have been forgotten.
                if may_forget {
                    self.0.tokens.forget_expired(now);
                    self.0.keys.forget(now);
                }
                self.0.tended_at.store(now.0, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.0.tokens.put_back_used(uses.to_vec());
                Err(error)
            }
        }
    }

    /// Whether what was ended may be forgotten by this clock. What is forgotten by one that is far ahead, rows among
    /// it, would count again once it is set back; so for a day after it has leapt, or was set back, everything is kept.
    /// Whoever was suspended for long keeps for that day what is not needed, and no more than that. A clock that was
    /// ahead from the start on is not found out.
    fn may_forget(&self, leaps: bool, now: Timestamp) -> bool {
        let latest = now + LEAP;
        let known = Timestamp(self.0.forgets_from.load(Ordering::Relaxed));
        let from = if leaps { latest } else { known.min(latest) };
        self.0.forgets_from.store(from.0, Ordering::Relaxed);
        from <= now
    }
}
