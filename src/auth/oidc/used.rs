//! Id tokens that have signed somebody in: each does so once.
//!
//! Invariants: memory is bounded; when it is full, further tokens are refused rather than let pass unremembered. Each
//! node remembers for itself, and asks Redis, where there is one, whether another has let it pass.

use crate::auth::error::AuthError;
use crate::domain::time::Timestamp;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Tokens that are remembered at a time (some 40 bytes each).
const MOST: usize = 65_536;

/// The tokens that were used and have not expired, by what tells them from others.
#[derive(Default)]
pub(in crate::auth) struct UsedTokens(Mutex<FxHashMap<u128, Timestamp>>);

impl UsedTokens {
    /// Takes note of a use.
    ///
    /// # Errors
    /// [`AuthError::ProviderRefused`] for a second one, or [`AuthError::Overloaded`] when no more can be remembered.
    pub(super) fn admit(&self, token: u128, expires_at: Timestamp, now: Timestamp) -> Result<(), AuthError> {
        let mut used = self.0.lock();
        if used.len() >= MOST {
            used.retain(|_, expires_at| *expires_at > now);
        }
        if used.contains_key(&token) {
            return Err(AuthError::ProviderRefused);
        }
        if used.len() >= MOST {
            return Err(AuthError::Overloaded);
        }
        used.insert(token, expires_at);
        Ok(())
    }

    /// The token has signed nobody in after all.
    pub(super) fn forget(&self, token: u128) {
        self.0.lock().remove(&token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::SECOND;

    #[test]
    fn a_token_counts_once_and_memory_is_bounded_and_given_back() {
        let (now, used) = (Timestamp(1_800_000_000 * SECOND), UsedTokens::default());
        for token in 0..MOST as u128 {
            assert_eq!(used.admit(token, now + SECOND, now), Ok(()));
        }
        assert_eq!(used.admit(7, now + SECOND, now), Err(AuthError::ProviderRefused));
        assert_eq!(used.admit(MOST as u128, now + SECOND, now), Err(AuthError::Overloaded));
        used.forget(7);
        assert_eq!(used.admit(7, now + 9 * SECOND, now), Ok(()));
        assert_eq!(used.admit(MOST as u128, now + 9 * SECOND, now + SECOND), Ok(()));
        assert_eq!(used.admit(7, now + 9 * SECOND, now + SECOND), Err(AuthError::ProviderRefused));
        assert_eq!(used.0.lock().len(), 2);
    }
}
