//! One user's actor: what the venue does in the name of a user who is not there, which is to cancel everything.
//!
//! Activated on first use, passivated when idle. Invariant: nothing is in it that must outlive it. Whose orders are to
//! go, and what is left of them after a refusal or a panic, is kept by whoever asks, who asks again until nothing is.

use crate::actors::directory::Passivate;
use crate::actors::supervision::Lifeline;
use crate::actors::trading::{Refused, Unavailable, WeakTrading};
use crate::domain::ids::{AccountId, MarketId};
use actix::prelude::*;

/// Cancels all orders of the user in these markets once, in all at the same time. Answered with the markets that
/// refused it, and why.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(MarketId, Refused)>")]
pub struct CancelEverything(pub Vec<MarketId>);

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

    fn handle(&mut self, CancelEverything(markets): CancelEverything, _: &mut Self::Context) -> Self::Result {
        self.lifeline.hazard();
        let (account, trading) = (self.account, self.trading.upgrade());
        let work = async move {
            match trading {
                Some(trading) => trading.cancel_in_all(account, &markets).await,
                // The exchange is being taken down, and nothing of it answers any more.
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
