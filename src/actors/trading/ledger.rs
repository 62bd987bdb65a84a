//! The ledger as an actor: balances, and the holds of what is on its way through the log.
//!
//! Invariants: balances change only by applying committed batches and the outcomes of committed
//! batches; nothing is admitted while a stream may still bring entries whose holds are not pending
//! here (after a restart, every market must first have begun a new epoch, or the ledger in its place).

mod execute;
mod fences;
mod messages;
mod queries;
mod rules;
mod state;
mod underway;

pub use messages::*;
pub use state::{LedgerState, Work};

use super::balance_watch::BalanceWatch;
use super::listing::Listing;
use super::order_book::{Admitted, Asked, OrderBook, Refence};
use super::recovery::Recovery;
use super::twin::{Berth, CompareTwin, Enlist, Source, Standby, Weigh};
use super::{Refused, Unavailable};
use crate::actors::event_log::{Begin, EventLog, FromLog, LogMeter};
use crate::actors::supervision::{Handle, Lifeline};
use crate::domain::admission::{Admission, Refusal, Request};
use crate::domain::codec::Entries;
use crate::domain::entry::LedgerEntry;
use crate::domain::ids::{Epoch, MarketId, StreamId, Ticket};
use crate::domain::ledger::LedgerOutcome;
use crate::domain::money::Amount;
use crate::domain::order::Reject;
use crate::domain::replica::{LedgerReplica, MarketOutcomes};
use crate::persistence::log::Committed;
use actix::prelude::*;
use fences::Fences;
use std::sync::Arc;
use std::time::Duration;
use underway::Underway;

/// How long the ledger waits for its twin's state before it reads the log instead.
const TWIN_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub log: Handle<EventLog>,
    /// Where the state comes from.
    pub recovery: Arc<Recovery>,
    /// The books, as they are attached; outlives the actor.
    pub books: Arc<parking_lot::Mutex<std::collections::BTreeMap<MarketId, Handle<OrderBook>>>>,
    /// What outlives the actor.
    pub berth: Arc<Berth<LedgerState>>,
    /// How far the log is known to hold nothing new of the ledger's own stream.
    pub meter: Arc<LogMeter>,
    /// Hears that there may be more currencies and markets.
    pub listing: Arc<Listing>,
    /// Who wants to know when balances change.
    pub balances: Arc<BalanceWatch>,
}

/// The state that an incarnation or an epoch begins with, and what is to be read before anything else.
enum Start {
    /// It goes on with what it has, and what it was not given.
    Here(Vec<Work>),
    From {
        state: Box<LedgerState>,
        rest: Vec<Work>,
        promoted: bool,
    },
}

/// The actor. See the module's documentation.
pub struct LedgerActor {
    parts: Parts,
    lifeline: Lifeline,
    this: Arc<parking_lot::Mutex<Option<Handle<LedgerActor>>>>,
    state: Option<Box<LedgerState>>,
    admission: Admission,
    epoch: Epoch,
    /// The incarnation of the event log at which it was begun.
    log: u64,
    active: bool,
    fences: Fences,
    underway: Underway,
}

impl LedgerActor {
    /// A ledger that will recover itself when it starts.
    pub fn new(parts: Parts, this: Arc<parking_lot::Mutex<Option<Handle<LedgerActor>>>>, lifeline: Lifeline) -> Self {
        LedgerActor {
            parts,
            lifeline,
            this,
            state: None,
            admission: Admission::default(),
            epoch: Epoch::default(),
            log: 0,
            active: false,
            fences: Fences::default(),
            underway: Underway::default(),
        }
    }

    fn ready(&self) -> Option<&LedgerReplica> {
        self.replica().filter(|replica| self.is_fenced(replica))
    }

    fn is_fenced(&self, replica: &LedgerReplica) -> bool {
        #[cfg(test)]
        if crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::ForgetsUnopenedMarkets) {
            return self.active && self.fences.are_closed(self.parts.books.lock().len());
        }
        self.active && self.fences.are_closed(replica.ledger.markets().len())
    }

    fn replica(&self) -> Option<&LedgerReplica> {
        self.state.as_ref().map(|state| &state.replica)
    }

    fn committed(&mut self, committed: Committed, ctx: &mut Context<Self>) -> Result<(), ()> {
        if let StreamId::Market(market) = committed.batch.stream {
            self.stood_in(market, &committed.batch, ctx);
            return Ok(());
        }
        let Some(state) = &mut self.state else { return Ok(()) };
        let berth = &self.parts.berth;
        let Committed { position, batch } = committed.clone();
        if position <= state.position {
            return Ok(());
        }
        berth.begin(self.lifeline.incarnation(), Work::Own(committed));
        let read = state.replica.read(&batch);
        self.lifeline.hazard();
        let outcomes = match read {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.lifeline.fail(format!("batch {} of epoch {}: {error}", batch.number, batch.epoch));
                ctx.stop();
                return Err(());
            }
        };
        state.position = position;
        berth.done(self.lifeline.incarnation(), position, state.replica.stream);
        let grows = |(_, outcome, _): &(Ticket, LedgerOutcome, u32)| {
            matches!(
                outcome,
                LedgerOutcome::CurrencyListed(_) | LedgerOutcome::MarketListed(..) | LedgerOutcome::StoppedSet(_)
            )
        };
        if outcomes.as_ref().is_some_and(|outcomes| outcomes.entries.iter().any(grows)) {
            self.parts.listing.may_have_grown();
        }
        if let Some(outcomes) = &outcomes {
            self.parts.balances.changed(outcomes.postings.iter().map(|posting| posting.account));
        }
        let Some(outcomes) = outcomes.filter(|outcomes| outcomes.epoch == self.epoch) else { return Ok(()) };
        self.active |= outcomes.marker;
        let epoch = outcomes.epoch;
        for (ticket, outcome, _) in outcomes.entries {
            if let LedgerOutcome::MarketListed(config, _) = &outcome {
                self.fences.is_new(config.id);
            }
            self.admission.settle(StreamId::Ledger, epoch, ticket);
            if let Some(reply) = self.underway.ends(ticket) {
                reply.send(Ok(outcome));
            }
        }
        self.forbid_debts();
        Ok(())
    }

    fn add(&mut self, outcomes: Arc<MarketOutcomes>, ctx: &mut Context<Self>) -> Result<(), ()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let stream = StreamId::Market(outcomes.market);
        let known = state.replica.markets.get(usize::from(outcomes.market.0)).copied().unwrap_or_default();
        if outcomes.first > known.next() {
            self.lifeline.fail(format!("outcomes of {stream} before entry {} are missing", outcomes.first.0));
            ctx.stop();
            return Err(());
        }
        let berth = &self.parts.berth;
        berth.begin(self.lifeline.incarnation(), Work::Market(outcomes.clone()));
        let (watched, mut moved) = (self.parts.balances.is_watched(), Vec::new());
        state.replica.add(&outcomes, |_, posting, _| {
            if watched {
                moved.push(posting.account);
            }
        });
        self.lifeline.hazard();
        berth.done(self.lifeline.incarnation(), state.position, state.replica.stream);
        self.parts.balances.changed(moved.into_iter());
        if outcomes.marker {
            self.admission.drop_older(stream, outcomes.epoch);
            if outcomes.epoch > self.epoch {
                self.has_begun(outcomes.market, outcomes.epoch);
            }
        }
        for entry in &outcomes.entries {
            self.admission.settle(stream, outcomes.epoch, entry.ticket);
        }
        for ticket in &outcomes.parts {
            self.admission.settle(stream, outcomes.epoch, *ticket);
        }
        self.forbid_debts();
        Ok(())
    }

    fn go_on_from(&mut self, mut state: Box<LedgerState>, rest: Vec<Work>, promoted: bool, ctx: &mut Context<Self>) {
        state.replica.ledger.allow_debts();
        // A state that was rebuilt from the log may hold this epoch's marker already, which is then not read again.
        self.active |= self.epoch != Epoch::default() && state.replica.stream.epoch == self.epoch;
        self.state = Some(state);
        self.parts.listing.may_have_grown();
        if self.catch_up(rest, ctx).is_err() {
            return;
        }
        if promoted {
            self.parts.berth.promoted();
            tracing::warn!("the ledger goes on with the state of its twin");
        }
        self.build_twin();
        if self.epoch != Epoch::default() {
            self.refence(ctx);
        }
    }

    /// Reads what is there already.
    fn catch_up(&mut self, rest: Vec<Work>, ctx: &mut Context<Self>) -> Result<(), ()> {
        rest.into_iter().try_for_each(|work| match work {
            Work::Own(committed) => self.committed(committed, ctx),
            Work::Market(outcomes) => self.add(outcomes, ctx),
        })?;
        self.parts.berth.mend();
        Ok(())
    }

    /// Gives the twin a state from which it can follow.
    fn build_twin(&self) {
        let Some(state) = &self.state else { return };
        let recovery = self.parts.recovery.clone();
        self.parts.berth.build(
            self.lifeline.incarnation(),
            if state.is_small() {
                let mut state = state.clone();
                // It hears what follows as its primary does, also when that leads no more.
                state.replica.ledger.allow_debts();
                Source::Ready(state)
            } else {
                // It may be ahead of what it is fed then, and leaves out what it has.
                Source::Make(Box::new(move || {
                    let (mut replica, position) = recovery.ledger_at_end().map_err(|error| error.to_string())?;
                    replica.ledger.allow_debts();
                    Ok(LedgerState { replica, position })
                }))
            },
        );
    }
}

impl LedgerActor {
    /// Admits nothing from here on, and forgets what it admitted: the callers may or may not have got what they asked for.
    fn stand_by(&mut self) {
        if let Some(state) = &mut self.state {
            state.replica.ledger.allow_debts();
        }
        self.active = false;
        self.epoch = Epoch::default();
        self.admission = Admission::default();
        self.fences = Fences::default();
        for reply in self.underway.give_up() {
            reply.send(Err(Refused::Unavailable(Unavailable::OutcomeUnknown)));
        }
    }

    /// As a book does of its market's stream, of its own.
    fn note_how_far(&self) {
        if let Some(state) = &self.state {
            self.parts.meter.has_read(StreamId::Ledger, self.log, state.position, state.replica.stream);
        }
    }

    /// Begins an epoch and then reads what is in the log, so that nothing is missed between.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.stand_by();
        let Some(this) = self.this.lock().clone() else {
            self.lifeline.fail("the ledger has no name yet");
            return ctx.stop();
        };
        let was_whole = self.parts.berth.doubt();
        let begun = self.parts.log.send(Begin { stream: StreamId::Ledger, owner: this.port() });
        let (recovery, berth, meter) =
            (self.parts.recovery.clone(), self.parts.berth.clone(), self.parts.meter.clone());
        let stands = self.state.as_ref().map(|state| (state.position, state.replica.stream));
        let (twin, left) = if stands.is_some() { (None, None) } else { berth.take_over(self.lifeline.incarnation()) };
        let own = |missed: Vec<Committed>| missed.into_iter().map(Work::Own);
        let work = async move {
            let begun = begun.await.map_err(|why| why.to_string())?;
            let whole = was_whole && begun.unbroken;
            let unread = |(at, place)| meter.unread_behind(StreamId::Ledger, at, place);
            if let Some(stands) = stands {
                let missed = match whole {
                    true => Vec::new(),
                    false => recovery.since(StreamId::Ledger, unread(stands)).await?,
                };
                return Ok((begun, Start::Here(own(missed).collect())));
            }
            let state = match twin {
                Some(answer) => answer.within(TWIN_ANSWERS_WITHIN).await.ok().flatten(),
                None => None,
            };
            let (state, rest, promoted) = match state {
                Some(state) if whole => (state, left.into_iter().collect(), true),
                Some(state) => {
                    let unread = unread((state.position, state.replica.stream));
                    let missed = recovery.since(StreamId::Ledger, unread).await?;
                    // What a market did is not in the ledger's stream, so it is still to be added.
                    let market = left.into_iter().filter(|work| matches!(work, Work::Market(_)));
                    (state, market.chain(own(missed)).collect(), true)
                }
                None => {
                    let (replica, position) = recovery.ledger().await?;
                    (Box::new(LedgerState { replica, position }), Vec::new(), false)
                }
            };
            Ok::<_, String>((begun, Start::From { state, rest, promoted }))
        };
        ctx.wait(work.into_actor(self).map(|begun, ledger, ctx| match begun {
            Ok((begun, start)) => {
                (ledger.epoch, ledger.log) = (begun.epoch.unwrap_or_default(), begun.log);
                match start {
                    Start::Here(missed) => {
                        if ledger.catch_up(missed, ctx).is_ok() && !ledger.is_outrun() {
                            ledger.refence(ctx);
                        }
                    }
                    Start::From { state, rest, promoted } => ledger.go_on_from(state, rest, promoted, ctx),
                }
                if ledger.is_outrun() {
                    ledger.begin(ctx);
                }
            }
            Err(reason) => {
                ledger.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }
}

impl Actor for LedgerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
        ctx.run_interval(fences::LOOK_EVERY, |ledger, ctx| {
            ledger.note_how_far();
            ledger.ask_for_epochs(ctx);
        });
    }
}

impl Handler<Refence> for LedgerActor {
    type Result = ();

    /// The node takes over: new epochs of the ledger's stream and then of every market's.
    fn handle(&mut self, _: Refence, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<FromLog> for LedgerActor {
    type Result = ();

    fn handle(&mut self, message: FromLog, ctx: &mut Self::Context) {
        match message {
            // When it fails the actor is stopping, and has said why.
            FromLog::Committed(committed) => drop(self.committed(committed, ctx)),
            FromLog::NotWritten { batch, .. } if batch.stream != StreamId::Ledger => {}
            FromLog::NotWritten { batch, .. } => {
                for entry in Entries::<LedgerEntry>::new(&batch.payload).flatten() {
                    self.admission.settle(StreamId::Ledger, batch.epoch, entry.ticket());
                    if let Some(reply) = self.underway.ends(entry.ticket()) {
                        reply.send(Err(Refused::Unavailable(Unavailable::LogRefused)));
                    }
                }
            }
            FromLog::Deposed => self.stand_by(),
            FromLog::Outrun => self.begin(ctx),
        }
    }
}

impl Handler<AddOutcomes> for LedgerActor {
    type Result = ();

    fn handle(&mut self, AddOutcomes(outcomes): AddOutcomes, ctx: &mut Self::Context) {
        // When it fails the actor is stopping, and has said why.
        let _ = self.add(outcomes, ctx);
    }
}

impl Handler<Admit> for LedgerActor {
    type Result = ();

    fn handle(&mut self, Admit { number, passing, stream, epoch, book }: Admit, _: &mut Self::Context) {
        let mut asked = Vec::with_capacity(passing.len());
        let mut holds = Vec::with_capacity(passing.len());
        for passing in passing {
            match passing {
                Passing::Applicant(mut applicant) => match self.admit(&mut applicant, &mut holds) {
                    Ok(()) => asked.push(applicant.asked),
                    Err(why) => applicant.asked.refuse(why),
                },
                Passing::Follower(follower) => asked.push(follower),
            }
        }
        if let Err(refused) = book.offer(Admitted { number, asked, holds, epoch }) {
            for ticket in refused.message.holds {
                self.admission.settle(stream, epoch, ticket);
            }
            for asked in refused.message.asked {
                asked.refuse(Refused::Unavailable(Unavailable::Overloaded));
            }
        }
    }
}

impl LedgerActor {
    /// Reserves what an applicant needs and writes it into what was asked; all of it or nothing.
    fn admit(&mut self, applicant: &mut Applicant, holds: &mut Vec<Ticket>) -> Result<(), Refused> {
        let Applicant { request, most, more, would_take, asked } = applicant;
        let first = holds.len();
        let amount = self.reserve(request, *most)?;
        holds.push(request.ticket);
        match asked {
            Asked::Place(order, _) => order.hold = amount,
            // They ask for exactly what they need.
            Asked::Amend(..) | Asked::Cancel(_) | Asked::CancelAll(_) => {}
            Asked::Together(batch, _) => {
                let (cancels, amends) = (batch.cancels.len(), batch.amends.len());
                for (at, (request, most)) in more.iter().enumerate() {
                    match self.reserve(request, *most) {
                        Ok(amount) => {
                            holds.push(request.ticket);
                            if let Some(order) = at.checked_sub(amends).and_then(|at| batch.places.get_mut(at)) {
                                order.hold = amount;
                            }
                        }
                        Err(why) => {
                            for ticket in holds.drain(first..) {
                                self.admission.settle(request.stream, request.epoch, ticket);
                            }
                            let part = (cancels + at) as u32;
                            return Err(match (why, *would_take) {
                                // A repeat is told all the same: the batch may have been done.
                                (Refused::Reject(_), Some(earlier)) if earlier < part => {
                                    Refused::Part(earlier, Reject::PostOnlyWouldTake)
                                }
                                (Refused::Reject(reason), _) => Refused::Part(part, reason),
                                (Refused::Repeat(known), _) => Refused::PartRepeat(part, known),
                                (other, _) => other,
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reserves one hold and tells how much it is.
    fn reserve(&mut self, request: &Request, most: Amount) -> Result<Amount, Refused> {
        let Some(replica) = self.ready() else { return Err(Refused::Unavailable(Unavailable::Starting)) };
        let spendable = self.admission.spendable(&replica.ledger, request.account, request.currency);
        let amount = request.amount.max(most.min(spendable));
        let request = Request { amount, ..*request };
        let Some(replica) = self.state.as_ref().map(|state| &state.replica) else {
            return Err(Refused::Unavailable(Unavailable::Starting));
        };
        match self.admission.admit(&replica.ledger, &replica.client_ids, request) {
            Ok(()) => Ok(amount),
            Err(Refusal::Reject(reason)) => Err(Refused::Reject(reason)),
            Err(Refusal::Repeat(known)) => Err(Refused::Repeat(known)),
        }
    }
}

impl Handler<Void> for LedgerActor {
    type Result = ();

    fn handle(&mut self, Void { stream, epoch, tickets }: Void, _: &mut Self::Context) {
        #[cfg(test)]
        if crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::KeepsVoidHolds) {
            return;
        }
        for ticket in tickets {
            self.admission.settle(stream, epoch, ticket);
        }
    }
}

impl Handler<Execute> for LedgerActor {
    type Result = ();

    fn handle(&mut self, Execute { command, reply }: Execute, _: &mut Self::Context) {
        self.execute(command, reply);
    }
}

impl Handler<Attach> for LedgerActor {
    type Result = ();

    fn handle(&mut self, Attach(market, book): Attach, _: &mut Self::Context) {
        self.is_attached(market);
        self.parts.books.lock().insert(market, book);
    }
}

impl Handler<Enlist> for LedgerActor {
    type Result = ();

    fn handle(&mut self, _: Enlist, _: &mut Self::Context) {
        self.build_twin();
    }
}

impl Handler<Weigh<LedgerState>> for LedgerActor {
    type Result = MessageResult<Weigh<LedgerState>>;

    fn handle(&mut self, _: Weigh<LedgerState>, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| (state.mark(), state.hash())))
    }
}

impl Handler<CompareTwin> for LedgerActor {
    type Result = ();

    fn handle(&mut self, _: CompareTwin, _: &mut Self::Context) {
        match &self.state {
            Some(state) if self.parts.berth.is_feeding() => self.parts.berth.compare(state),
            // It lost its place because it was too slow.
            _ => self.build_twin(),
        }
    }
}
