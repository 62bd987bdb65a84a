//! One user's actor: the fan-out of private events to the user's open sessions.
//!
//! Activated when a session subscribes to the private feed, passivated when the last one has gone.

use crate::actors::directory::Passivate;
use crate::actors::supervision::Lifeline;
use crate::domain::ids::{AccountId, MarketId, Sequence};
use crate::domain::replica::MarketOutcomes;
use actix::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A batch with events that concern the user; sessions pick theirs out.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct UserEvents(pub Arc<MarketOutcomes>);

/// A session wants the user's events from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Watch(pub Session);

/// A session wants them no more.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Unwatch(pub Recipient<UserEvents>);

/// Tells a session that the actor is gone and what it has handed on last, by market; the session watches anew and
/// asks for the rest.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Unwatched(pub BTreeMap<MarketId, Sequence>);

/// A session, as the actor needs it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Takes the events.
    pub events: Recipient<UserEvents>,
    /// Hears when there will be no more.
    pub ended: Recipient<Unwatched>,
}

/// The actor. See the module's documentation.
#[derive(Debug)]
pub struct AccountActor {
    account: AccountId,
    sessions: Vec<Session>,
    handed_on: BTreeMap<MarketId, Sequence>,
    lifeline: Lifeline,
}

impl AccountActor {
    /// The actor of this user, without sessions.
    pub fn new(account: AccountId, lifeline: Lifeline) -> AccountActor {
        AccountActor { account, sessions: Vec::new(), handed_on: BTreeMap::new(), lifeline }
    }
}

impl Drop for AccountActor {
    /// After a panic too: the messages that wait are lost with the actor, and its sessions must know.
    fn drop(&mut self) {
        for session in self.sessions.drain(..) {
            // One for each session and crash; it must not be refused.
            session.ended.do_send(Unwatched(self.handed_on.clone()));
        }
    }
}

impl Actor for AccountActor {
    type Context = Context<Self>;
}

impl Passivate for AccountActor {
    fn may_passivate(&self) -> bool {
        !self.sessions.iter().any(|session| session.events.connected())
    }
}

impl Handler<Watch> for AccountActor {
    type Result = ();

    fn handle(&mut self, Watch(session): Watch, _: &mut Self::Context) {
        self.sessions.retain(|other| other.events != session.events && other.events.connected());
        self.sessions.push(session);
    }
}

impl Handler<Unwatch> for AccountActor {
    type Result = ();

    fn handle(&mut self, Unwatch(session): Unwatch, _: &mut Self::Context) {
        self.sessions.retain(|other| other.events != session);
    }
}

impl Handler<UserEvents> for AccountActor {
    type Result = ();

    fn handle(&mut self, events: UserEvents, _: &mut Self::Context) {
        let account = self.account;
        self.lifeline.hazard();
        self.handed_on.insert(events.0.market, events.0.last());
        self.sessions.retain(|session| {
            let kept = session.events.try_send(events.clone()).is_ok();
            if !kept {
                tracing::debug!(account = account.0, "a session does not read its private feed and is left out");
            }
            kept
        });
    }
}
