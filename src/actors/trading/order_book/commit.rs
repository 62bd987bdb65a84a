//! What a committed batch does: apply, tell the ledger, tell market data, answer the callers.

use super::super::ledger::AddOutcomes;
use super::super::market_data::Publish;
use super::super::post::Post;
use super::super::recent::KEPT;
use super::super::{Refused, Unavailable};
use super::waiting::Waiting;
use super::{BatchDone, OrderBook, Steered};
use crate::domain::event::Event;
use crate::domain::ids::{OrderId, Ticket};
use crate::domain::order::OrderRecord;
use crate::domain::replica::MarketOutcomes;
use crate::persistence::log::Committed;
use actix::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

impl OrderBook {
    /// Reads a batch and tells everybody.
    ///
    /// # Errors
    /// When the actor has to stop; it has said why.
    pub(super) fn committed(&mut self, committed: Committed, ctx: &mut Context<Self>) -> Result<(), ()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let berth = &self.parts.berth;
        let Committed { position, batch } = committed.clone();
        if position <= state.position {
            return Ok(());
        }
        let progress = berth.begin(self.lifeline.incarnation(), committed);
        let read = state.replica.read_each(&batch, |sequence| berth.applying(&progress, sequence));
        berth.applied(&progress);
        let outcomes = match read {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.lifeline.fail(format!("batch {} of epoch {}: {error}", batch.number, batch.epoch));
                ctx.stop();
                return Err(());
            }
        };
        state.position = position;
        let Some(outcomes) = outcomes.map(Arc::new) else {
            berth.done(self.lifeline.incarnation(), position, state.replica.stream);
            return Ok(());
        };
        self.lifeline.hazard();
        // The ledger hears first, so that whoever is answered below finds its balances changed.
        if let Err(why) = self.parts.ledger.try_send(AddOutcomes(outcomes.clone())) {
            self.lifeline.fail(format!("the ledger did not take outcomes: {why}"));
            ctx.stop();
            return Err(());
        }
        self.lifeline.hazard();
        berth.publishes(state.replica.book.feed_sequence());
        if let Err(why) = self.parts.data.try_send(Publish(outcomes.clone())) {
            // Market data notices the hole with what comes next, or is told of it when nothing comes, and rebuilds itself
            // from the log.
            tracing::warn!(%why, market = self.parts.market.0, "market data did not take outcomes");
            self.untaken = Some(outcomes.last());
        }
        if outcomes.rules_changed {
            self.parts.listing.configure(state.replica.book.config());
        }
        state.recent.add(&outcomes, position);
        berth.forget(state.recent.forgotten());
        if outcomes.marker && outcomes.epoch == self.epoch {
            self.active = true;
            self.parts.berth.works();
        } else if outcomes.marker && outcomes.epoch > self.epoch {
            // Somebody stood in for it; whoever did asks for a newer one.
            self.active = false;
        }
        self.parts.berth.done(self.lifeline.incarnation(), position, state.replica.stream);
        if outcomes.epoch == self.epoch {
            self.ticking = false;
            self.answer(&outcomes);
        }
        Ok(())
    }

    fn answer(&mut self, outcomes: &MarketOutcomes) {
        let mut post = Post::default();
        let forgotten = forgotten(outcomes);
        let mut callers = std::mem::take(&mut self.waiting);
        let known = |id| self.known(id).or_else(|| forgotten.get(&id).copied());
        for (sequence, ticket, events) in outcomes.by_entry() {
            tracing::debug!(target: "agora::path", ticket = ticket.0, entry = sequence.0, events = events.len(), "applied");
            let Some(waiting) = callers.remove(&ticket) else { continue };
            let refusal = events.iter().find_map(|event| refusal(event, ticket));
            match (waiting, refusal) {
                (waiting, Some(why)) => waiting.refuse(why, &mut post),
                (Waiting::Place(reply), None) => {
                    post.add(reply, placed(events, ticket).and_then(known).ok_or(UNKNOWN));
                }
                (Waiting::Cancel(order, reply), None) => {
                    post.add(reply, Ok(order));
                }
                (Waiting::CancelAll(reply), None) => {
                    post.add(reply, Ok(canceled(events, ticket)));
                }
                (Waiting::Steer(ends_at, reply), None) => {
                    post.add(reply, Ok(Steered { canceled: canceled(events, ticket), ends_at }));
                }
                (Waiting::Amend(order, reply), None) => {
                    post.add(reply, known(order).ok_or(UNKNOWN));
                }
                (Waiting::Atomic(parts, reply), None) => {
                    let amended = parts.amends.iter().map(|order| known(*order)).collect::<Option<Vec<_>>>();
                    let placed = |ticket: &Ticket| placed(events, *ticket).and_then(known);
                    let placed = parts.places.iter().map(placed).collect::<Option<_>>();
                    let done = amended.zip(placed);
                    let done = done.map(|(amended, placed)| BatchDone { canceled: parts.cancels, amended, placed });
                    post.add(reply, done.ok_or(UNKNOWN));
                }
            }
        }
        self.waiting = callers;
    }

    /// An order that lives, or ended a short while ago.
    pub(super) fn known(&self, id: OrderId) -> Option<OrderRecord> {
        let state = self.state.as_ref()?;
        state.replica.book.order(id).or_else(|| state.recent.order(id))
    }
}

const UNKNOWN: Refused = Refused::Unavailable(Unavailable::OutcomeUnknown);

/// The order that was accepted with this ticket.
fn placed(events: &[Event], ticket: Ticket) -> Option<OrderId> {
    events.iter().find_map(|event| match event {
        Event::Accepted(id, order) if order.ticket == ticket => Some(*id),
        _ => None,
    })
}

/// What a batch ended that may not be remembered any more, since it ended more orders than are.
fn forgotten(outcomes: &MarketOutcomes) -> FxHashMap<OrderId, OrderRecord> {
    let ended = if outcomes.ended.len() > KEPT { outcomes.ended.as_slice() } else { &[] };
    ended.iter().map(|record| (record.id, *record)).collect()
}

/// The orders that the entry with this ticket canceled.
fn canceled(events: &[Event], ticket: Ticket) -> Vec<OrderId> {
    let canceled = events.iter().filter_map(|event| match event {
        Event::Done(done) if done.ticket == ticket => Some(done.id),
        _ => None,
    });
    canceled.collect()
}

/// Why the entry with this ticket did nothing, if this event says so.
fn refusal(event: &Event, ticket: Ticket) -> Option<Refused> {
    match event {
        Event::Rejected { ticket: other, reason, .. } | Event::Refused { ticket: other, reason, .. }
            if *other == ticket =>
        {
            Some(Refused::Reject(*reason))
        }
        Event::BatchRefused { ticket: other, part, reason, .. } if *other == ticket => {
            Some(Refused::Part(*part, *reason))
        }
        _ => None,
    }
}
