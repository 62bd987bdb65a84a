//! Tells who wants to know that a user's balances have changed.
//!
//! Nothing waits here: several changes before the next look are one. The ledger calls [`BalanceWatch::changed`] after it
//! has applied, so whoever then asks for the balances gets them with the change. Invariant: with nobody watching, the
//! ledger pays for one look at a counter.

use crate::domain::ids::AccountId;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Who watches which users' balances.
#[derive(Debug, Default)]
pub struct BalanceWatch {
    watching: AtomicUsize,
    users: RwLock<FxHashMap<AccountId, Vec<Arc<Notify>>>>,
}

impl BalanceWatch {
    /// Whether anybody watches anything.
    pub fn is_watched(&self) -> bool {
        self.watching.load(Ordering::Acquire) > 0
    }

    /// Watches a user's balances until the answer is dropped.
    pub fn watch(self: &Arc<Self>, account: AccountId) -> Watched {
        let bell = Arc::<Notify>::default();
        self.users.write().entry(account).or_default().push(bell.clone());
        self.watching.fetch_add(1, Ordering::AcqRel);
        Watched { watch: self.clone(), account, bell }
    }

    /// The balances of these users have changed.
    pub fn changed(&self, accounts: impl Iterator<Item = AccountId>) {
        if !self.is_watched() {
            return;
        }
        let users = self.users.read();
        for bell in accounts.filter_map(|account| users.get(&account)).flatten() {
            bell.notify_one();
        }
    }
}

/// One watcher.
#[derive(Debug)]
pub struct Watched {
    watch: Arc<BalanceWatch>,
    account: AccountId,
    bell: Arc<Notify>,
}

impl Watched {
    /// Returns once the balances have changed since the last time, or its bell was rung.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }

    /// What lets [`Watched::changed`] return at once.
    pub fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.watching.fetch_sub(1, Ordering::AcqRel);
        let mut users = self.watch.users.write();
        if let Some(bells) = users.get_mut(&self.account) {
            bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
            if bells.is_empty() {
                users.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watcher_hears_of_its_user_alone_and_of_many_changes_once() {
        let watch = Arc::<BalanceWatch>::default();
        watch.changed([AccountId(7)].into_iter());
        assert!(!watch.is_watched());
        let watched = watch.watch(AccountId(7));
        watch.changed([AccountId(8)].into_iter());
        let heard = async |watched: &Watched| {
            tokio::select! {
                biased;
                () = watched.changed() => true,
                () = tokio::task::yield_now() => false,
            }
        };
        assert!(!heard(&watched).await);
        watch.changed([AccountId(7), AccountId(8), AccountId(7)].into_iter());
        assert!(heard(&watched).await);
        assert!(!heard(&watched).await);
        drop(watched);
        assert!(!watch.is_watched() && watch.users.read().is_empty());
    }
}
