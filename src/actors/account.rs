//! One user's actor: what the venue does in the name of a user who is not there, which is to cancel everything.
//!
//! Activated on first use, passivated when idle. Invariant: nothing is in it that must outlive it. Whose orders are to
//! go, and what is left of them after a refusal or a panic, is kept by whoever asks, who asks again until nothing is.

use crate::actors::directory::Passivate;
use crate::actors::supervision::Lifeline;
use crate::actors::trading::{Refused, Unavailable, WeakTrading};
use crate::domain::ids::{AccountId, MarketId};
use actix::prelude::*;
use tokio::time::Instant;

/// Cancels all orders of the user in these markets once, in all at the same time. Answered with the markets that
/// refused it, and why.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(MarketId, Refused)>")]
pub struct CancelEverything {
    /// Where.
    pub markets: Vec<MarketId>,
    /// When whoever asks gives it up. What the actor comes to only then is not begun: the user may be there again.
    pub until: Instant,
}

/// The actor. See the module's documentation.
#[derive(Debug)]
pub struct AccountActor {
    account: AccountId,
    trading: WeakTrading,
    lifeline: Lifeline,
}

impl AccountActor {
    /// The actor of this user.
    pub fn new(account: AccountId, trading: WeakTrading, lifeline: Lifeline) -> AccountActor {
        AccountActor { account, trading, lifeline }
    }
}

impl Actor for AccountActor {
    type Context = Context<Self>;
}

impl Passivate for AccountActor {
    /// A cancel that is under way and that nobody waits for any more may break off: whoever gave it up does it anew.
    fn may_passivate(&self) -> bool {
        true
    }
}

impl Handler<CancelEverything> for AccountActor {
    type Result = ResponseActFuture<Self, Vec<(MarketId, Refused)>>;

    fn handle(&mut self, CancelEverything { markets, until }: CancelEverything, _: &mut Self::Context) -> Self::Result {
        self.lifeline.hazard();
        let is_awaited = Instant::now() < until;
        let (account, trading) = (self.account, self.trading.upgrade().filter(|_| is_awaited));
        let work = async move {
            match trading {
                Some(trading) => trading.cancel_in_all(account, &markets).await,
                // The exchange is being taken down, and nothing of it answers any more; or nobody waits for this.
                None => markets.into_iter().map(|market| (market, Unavailable::Starting.into())).collect(),
            }
        };
        Box::pin(work.into_actor(self).map(|refused, actor, _| {
            // What was canceled is canceled, and whoever asked does not know it yet.
            actor.lifeline.hazard();
            refused
        }))
    }
}
