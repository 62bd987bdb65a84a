//! What becomes of the orders of a user who is gone: the dead man's switch, and connections at whose end everything is
//! canceled.
//!
//! Invariants: a dead man's switch fires once, or is disarmed; what has fired is carried out by the user's actor, however
//! long the log takes nothing and whatever becomes of the actor, unless its user arms a switch again; what is left of it
//! at a planned stop, and what hangs on connections that the stop ends, is carried out before the log stops.

use crate::actors::trading::{Refused, Trading, Unavailable};
use crate::domain::ids::{AccountId, MarketId};
use crate::http::exchange::orders;
use futures_util::StreamExt;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// The wait before orders that could not be canceled are canceled again, at first and at most. A log that takes nothing may
/// do so for hours.
const AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// Users whose orders are canceled at once when the server stops.
const USERS_AT_ONCE: usize = 64;

/// The switches of all users. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Switches {
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    /// The newest arming of each user whose dead man's switch is armed, and the task that waits for its time. One for each
    /// user, whichever connection sets it.
    timed: FxHashMap<AccountId, (u64, AbortHandle)>,
    /// How many connections of each user cancel everything when they end.
    tied: FxHashMap<AccountId, usize>,
    /// The users whose orders are being canceled, with who does it: the newest.
    fired: FxHashMap<AccountId, u64>,
    count: u64,
    /// Whether whoever stops the server sees to everything from now on.
    stopping: bool,
}

impl All {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A user's orders are to go. Whoever was at it leaves the rest to whoever has this number.
    fn fire(&mut self, account: AccountId) -> u64 {
        let number = self.next();
        self.fired.insert(account, number);
        number
    }

    /// A user is there again, and new orders of theirs must not go with the old ones.
    fn call_off(&mut self, account: AccountId) {
        if !self.stopping {
            self.fired.remove(&account);
        }
    }

    fn untie(&mut self, account: AccountId) {
        if let Some(connections) = self.tied.get_mut(&account) {
            *connections -= 1;
            if *connections == 0 {
                self.tied.remove(&account);
            }
        }
    }

    /// Everything that is to be carried out when nobody is connected any more.
    fn stop(&mut self) -> Vec<(AccountId, u64)> {
        self.stopping = true;
        let left: BTreeSet<AccountId> = self.tied.keys().chain(self.fired.keys()).copied().collect();
        left.into_iter().map(|account| (account, self.fire(account))).collect()
    }
}

impl Switches {
    /// Cancels all orders of the user after this time, unless the switch is armed again before; zero disarms it.
    pub fn arm(&self, trading: &Trading, account: AccountId, timeout: Duration) {
        let mut all = self.all.lock();
        let arming = all.next();
        let waiting = (!timeout.is_zero()).then(|| {
            let (switches, trading) = (self.clone(), trading.clone());
            let wait = actix_web::rt::spawn(async move {
                tokio::time::sleep(timeout).await;
                if let Some(number) = switches.goes_off(account, arming) {
                    switches.cancel_everything(&trading, account, number).await;
                }
            });
            wait.abort_handle()
        });
        let before = match waiting {
            Some(waiting) => {
                all.call_off(account);
                all.timed.insert(account, (arming, waiting))
            }
            None => all.timed.remove(&account),
        };
        // One that has gone off is not in the table any more, so nothing that is under way breaks off.
        if let Some((_, waiting)) = before {
            waiting.abort();
        }
    }

    /// The time of this arming is over; the number with which the user's orders are to be canceled, if that is so.
    fn goes_off(&self, account: AccountId, arming: u64) -> Option<u64> {
        let mut all = self.all.lock();
        let is_newest = all.timed.get(&account).is_some_and(|(newest, _)| *newest == arming);
        if !is_newest || all.stopping {
            return None;
        }
        all.timed.remove(&account);
        Some(all.fire(account))
    }

    /// From now on a connection of this user cancels everything when it ends.
    pub fn tie(&self, account: AccountId) {
        let mut all = self.all.lock();
        all.call_off(account);
        *all.tied.entry(account).or_default() += 1;
    }

    /// One that did so does it no more.
    pub fn untie(&self, account: AccountId) {
        self.all.lock().untie(account);
    }

    /// One that cancels everything has ended.
    pub fn disconnected(&self, trading: &Trading, account: AccountId) {
        let number = {
            let mut all = self.all.lock();
            all.untie(account);
            if all.stopping {
                return;
            }
            all.fire(account)
        };
        let (switches, trading) = (self.clone(), trading.clone());
        // A thread that is just ending does not carry it out any more; whoever stops the server does.
        actix_web::rt::spawn(async move { switches.cancel_everything(&trading, account, number).await });
    }

    /// Cancels what is to go with the connections that the server's stop has ended, and what was being canceled on threads
    /// that have ended with it. To be called when nobody is served any more.
    pub async fn carry_out_the_rest(&self, trading: &Trading) {
        let left = self.all.lock().stop();
        if !left.is_empty() {
            tracing::info!(users = left.len(), "canceling the orders that go with their connections");
        }
        let each = |(account, number)| self.cancel_everything(trading, account, number);
        futures_util::stream::iter(left).for_each_concurrent(USERS_AT_ONCE, each).await;
    }

    /// Cancels all orders of a user in all markets at once. What cannot be done now is tried again until it can, unless
    /// the market stands still, or somebody else sees to it, or nobody is to.
    async fn cancel_everything(&self, trading: &Trading, account: AccountId, number: u64) {
        let [mut wait, longest] = AGAIN;
        let counts = || self.still_counts(account, number);
        let mut is_first = true;
        let mut markets: Vec<MarketId> = trading.markets().iter().map(|market| market.id).collect();
        loop {
            let mut refused = trading.cancel_everything(account, &markets, counts).await;
            refused.retain(|(market, why)| is_tried_again(account, *market, why, is_first));
            is_first = false;
            if refused.is_empty() {
                break;
            }
            markets = refused.into_iter().map(|(market, _)| market).collect();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
            if !counts() {
                return;
            }
        }
        let mut all = self.all.lock();
        if all.fired.get(&account) == Some(&number) {
            all.fired.remove(&account);
        }
    }

    fn still_counts(&self, account: AccountId, number: u64) -> bool {
        self.all.lock().fired.get(&account) == Some(&number)
    }
}

/// Whether a cancel that a market refused is tried again later; says what becomes of it. That it has to wait is said the
/// first time only: a disk may be full for hours, and many users wait.
fn is_tried_again(account: AccountId, market: MarketId, why: &Refused, is_first: bool) -> bool {
    let (account, market) = (account.0, market.0);
    if orders::stands_still(why) {
        // Most users have nothing there, so it is no error yet.
        tracing::warn!(account, market, %why, "orders of this market stay, if there are any");
        return false;
    }
    match (is_temporary(why), is_first) {
        (true, true) => tracing::warn!(account, market, %why, "orders cannot be canceled yet"),
        (true, false) => tracing::debug!(account, market, %why, "orders can still not be canceled"),
        (false, _) => tracing::error!(account, market, %why, "orders could not be canceled"),
    }
    is_temporary(why)
}

/// Whether the same may be done later. What may have been done is done again, which changes nothing.
fn is_temporary(why: &Refused) -> bool {
    match why {
        Refused::Unavailable(Unavailable::Starting | Unavailable::Overloaded) => true,
        Refused::Unavailable(Unavailable::LogRefused | Unavailable::OutcomeUnknown) => true,
        Refused::Unavailable(Unavailable::MarketFaulted) => false,
        Refused::Reject(_) | Refused::Repeat(_) | Refused::Part(..) | Refused::PartRepeat(..) | Refused::Changed => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: AccountId = AccountId(7);
    const BOB: AccountId = AccountId(8);

    #[actix_rt::test]
    async fn a_switch_goes_off_for_its_newest_arming_only() {
        let switches = Switches::default();
        let waiting = actix_web::rt::spawn(std::future::pending::<()>());
        switches.all.lock().timed.insert(ADA, (2, waiting.abort_handle()));
        assert_eq!(switches.goes_off(ADA, 1), None);
        let number = switches.goes_off(ADA, 2).unwrap();
        assert!(switches.still_counts(ADA, number));
        assert_eq!(switches.goes_off(ADA, 2), None);
    }

    #[test]
    fn what_has_fired_counts_until_its_user_arms_a_switch_again() {
        let switches = Switches::default();
        let fire = |account| switches.all.lock().fire(account);
        let (first, of_bob) = (fire(ADA), fire(BOB));
        let second = fire(ADA);
        assert!(!switches.still_counts(ADA, first) && switches.still_counts(ADA, second));
        switches.tie(ADA);
        assert!(!switches.still_counts(ADA, second) && switches.still_counts(BOB, of_bob));
    }

    #[test]
    fn a_stop_leaves_out_nobody() {
        let switches = Switches::default();
        let carol = AccountId(9);
        switches.tie(ADA);
        switches.tie(ADA);
        switches.untie(ADA);
        switches.tie(carol);
        switches.untie(carol);
        let under_way = switches.all.lock().fire(BOB);
        let left = switches.all.lock().stop();
        assert_eq!(left.iter().map(|(account, _)| *account).collect::<Vec<_>>(), [ADA, BOB]);
        // Whoever was at it stops, and what its connections do when they end changes nothing any more.
        assert!(!switches.still_counts(BOB, under_way));
        switches.tie(BOB);
        assert!(left.iter().all(|(account, number)| switches.still_counts(*account, *number)));
    }
}
