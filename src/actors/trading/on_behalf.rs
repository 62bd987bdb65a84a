//! What the venue does in the name of a user who is not there: everything is canceled, through the user's actor.
//!
//! Invariants: it does not overtake what this thread has submitted before; it is carried out whatever becomes of the
//! actor, which may crash, crash too often, or not answer; what was called off meanwhile is not begun any more.

use super::{Inner, Refused, Trading, Unavailable, outbox};
use crate::actors::account::CancelEverything;
use crate::actors::directory::DirectoryError;
use crate::actors::supervision::Unreachable;
use crate::domain::ids::{AccountId, MarketId};
use futures_util::future::join_all;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::Instant;

/// How long a user's actor may take: longer than the cancels that it waits for, which are given up after
/// [`PATIENCE`](super::PATIENCE), and whose outcomes a standby then waits for on its own side.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// The exchange, as its own parts know it: they do not keep it.
#[derive(Clone, Debug)]
pub struct WeakTrading(pub(super) Weak<Inner>);

impl WeakTrading {
    /// The exchange, unless it was taken down.
    pub fn upgrade(&self) -> Option<Trading> {
        Some(Trading { inner: self.0.upgrade()? })
    }
}

impl Trading {
    /// Cancels all orders of a user in these markets once, in all at the same time, through the user's actor. Tells
    /// which markets refused it, and why: after [`Unavailable::OutcomeUnknown`] it may have happened, and to ask again
    /// is safe. `counts` says whether it is wanted still: a user who is there again has new orders, which are not meant.
    pub async fn cancel_everything(
        &self,
        account: AccountId,
        markets: &[MarketId],
        counts: impl Fn() -> bool,
    ) -> Vec<(MarketId, Refused)> {
        // The actor has another thread, and an order that waits on this one must not come after it.
        outbox::hand_over_now();
        let request = CancelEverything { markets: markets.to_vec(), until: Instant::now() + ANSWERED_WITHIN };
        let asked = match self.inner.accounts.ask(&account, request) {
            Ok(answer) => answer.within(ANSWERED_WITHIN).await.map_err(DirectoryError::from),
            Err(why) => Err(why),
        };
        match asked {
            Ok(refused) => refused,
            // It crashed meanwhile. The next time there is a fresh one.
            Err(DirectoryError::Unreachable(Unreachable::Lost)) => {
                markets.iter().map(|market| (*market, Unavailable::OutcomeUnknown.into())).collect()
            }
            Err(why) if counts() => {
                tracing::error!(account = account.0, %why, "a user's actor is out of reach; it is done without it");
                self.cancel_in_all(account, markets).await
            }
            Err(_) => Vec::new(),
        }
    }

    /// What the user's actor does.
    pub(in crate::actors) async fn cancel_in_all(
        &self,
        account: AccountId,
        markets: &[MarketId],
    ) -> Vec<(MarketId, Refused)> {
        let markets = markets.iter().filter_map(|id| self.market_by_id(*id));
        let refusals = markets.map(|market| async move {
            let outcome = self.cancel_all(market, account, None).await;
            outcome.err().map(|why| (market.id, why))
        });
        join_all(refusals).await.into_iter().flatten().collect()
    }
}
