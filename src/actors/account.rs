//! One user's actor: the fan-out of private events to the user's open sessions.
//!
//! Activated when a session subscribes to the private feed, passivated when the last one has gone.

use crate::actors::directory::Passivate;
use crate::domain::ids::AccountId;
use crate::domain::replica::MarketOutcomes;
use actix::prelude::*;
use std::sync::Arc;

/// A batch with events that concern the user; sessions pick theirs out.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct UserEvents(pub Arc<MarketOutcomes>);

/// A session wants the user's events from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Watch(pub Recipient<UserEvents>);

/// A session wants them no more.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Unwatch(pub Recipient<UserEvents>);

/// The actor. See the module's documentation.
#[derive(Debug)]
pub struct AccountActor {
    account: AccountId,
    sessions: Vec<Recipient<UserEvents>>,
}

impl AccountActor {
    /// The actor of this user, without sessions.
    pub fn new(account: AccountId) -> AccountActor {
        AccountActor { account, sessions: Vec::new() }
    }
}

impl Actor for AccountActor {
    type Context = Context<Self>;
}

impl Passivate for AccountActor {
    fn may_passivate(&self) -> bool {
        !self.sessions.iter().any(Recipient::connected)
    }
}

impl Handler<Watch> for AccountActor {
    type Result = ();

    fn handle(&mut self, Watch(session): Watch, _: &mut Self::Context) {
        self.sessions.retain(|other| *other != session && other.connected());
        self.sessions.push(session);
    }
}

impl Handler<Unwatch> for AccountActor {
    type Result = ();

    fn handle(&mut self, Unwatch(session): Unwatch, _: &mut Self::Context) {
        self.sessions.retain(|other| *other != session);
    }
}

impl Handler<UserEvents> for AccountActor {
    type Result = ();

    fn handle(&mut self, events: UserEvents, _: &mut Self::Context) {
        let account = self.account;
        self.sessions.retain(|session| {
            let kept = session.try_send(events.clone()).is_ok();
            if !kept {
                tracing::debug!(account = account.0, "a session does not read its private feed and is left out");
            }
            kept
        });
    }
}
