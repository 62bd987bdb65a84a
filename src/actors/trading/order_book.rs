//! One market's order book as an actor.
//!
//! Invariants: the book changes only by applying committed batches; a waiting caller is answered
//! exactly once, from the outcome of its own entry, and only after the ledger was told of it; an
//! order enters the log only after the ledger admitted its hold.

mod messages;
mod state;

pub use messages::*;
pub use state::BookState;

use super::ledger::{AddOutcomes, Admit, Applicant, LedgerActor, Need, Void};
use super::market_data::{MarketDataActor, Publish};
use super::recovery::Recovery;
use super::tickets::next_ticket;
use super::twin::{Berth, CompareTwin, Enlist, Source};
use super::{Refused, Unavailable, answer_now};
use crate::actors::event_log::{Begin, EventLog, FromLog, Propose};
use crate::actors::supervision::{Handle, Lifeline};
use crate::domain::admission::Request;
use crate::domain::codec::{Coded, Entries};
use crate::domain::entry::MarketEntry;
use crate::domain::event::Event;
use crate::domain::ids::{Epoch, MarketId, OrderId, StreamId, Ticket};
use crate::domain::money::Amount;
use crate::domain::order::{Kind, NewOrder, OrderRecord, Reject, Side};
use crate::domain::posting::Pair;
use crate::domain::replica::{MarketOutcomes, MarketReplica};
use crate::domain::time::Timestamp;
use crate::persistence::log::Committed;
use actix::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::Duration;

/// A market buy by size may cost so much more than the book shows at admission, in percent.
const SLIPPAGE_PERCENT: i128 = 10;

/// How long a book waits for its twin's state before it reads the log instead.
const TWIN_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

enum Waiting {
    Place(Reply<OrderRecord>),
    Cancel(OrderId, Reply<OrderId>),
    CancelAll(Reply<Vec<OrderId>>),
}

impl Waiting {
    fn refuse(self, why: Refused) {
        // A caller that hung up does not want the answer; that is its right.
        let _ = match self {
            Waiting::Place(reply) => reply.send(Err(why)).is_ok(),
            Waiting::Cancel(_, reply) => reply.send(Err(why)).is_ok(),
            Waiting::CancelAll(reply) => reply.send(Err(why)).is_ok(),
        };
    }
}

/// Entries that are about to be proposed together, with who waits for each.
#[derive(Default)]
struct Outgoing {
    entries: Vec<u8>,
    waiting: Vec<(Ticket, Waiting)>,
}

impl Outgoing {
    fn add(&mut self, entry: &MarketEntry, waiting: Waiting) {
        entry.encode(&mut self.entries);
        self.waiting.push((entry.ticket(), waiting));
    }
}

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// Which market.
    pub market: MarketId,
    /// The log.
    pub log: Handle<EventLog>,
    /// The ledger.
    pub ledger: Handle<LedgerActor>,
    /// The market's data.
    pub data: Handle<MarketDataActor>,
    /// Where the state comes from.
    pub recovery: Arc<Recovery>,
    /// What outlives the actor.
    pub berth: Arc<Berth<BookState>>,
    /// The most commands that may be on their way through the log.
    pub in_flight: usize,
}

/// The state that an incarnation begins with, and what it has to read before anything else.
enum Start {
    /// It goes on with what it has.
    Here,
    From {
        state: Box<BookState>,
        rest: Vec<Committed>,
        promoted: bool,
    },
}

/// The actor. See the module's documentation.
pub struct OrderBook {
    parts: Parts,
    lifeline: Lifeline,
    /// Its own stable name, handed to the log and the ledger.
    this: Arc<parking_lot::Mutex<Option<Handle<OrderBook>>>>,
    state: Option<Box<BookState>>,
    epoch: Epoch,
    /// Whether its own marker was read back, so that it admits commands.
    active: bool,
    waiting: FxHashMap<Ticket, Waiting>,
}

impl OrderBook {
    /// A book that will recover itself when it starts.
    pub fn new(
        parts: Parts,
        this: Arc<parking_lot::Mutex<Option<Handle<OrderBook>>>>,
        lifeline: Lifeline,
    ) -> OrderBook {
        OrderBook {
            parts,
            lifeline,
            this,
            state: None,
            epoch: Epoch::default(),
            active: false,
            waiting: FxHashMap::default(),
        }
    }

    fn stream(&self) -> StreamId {
        StreamId::Market(self.parts.market)
    }

    /// Admits nothing from here on. What waits may or may not be in the log.
    fn stand_by(&mut self) {
        self.active = false;
        self.epoch = Epoch::default();
        for (_, waiting) in self.waiting.drain() {
            waiting.refuse(Refused::Unavailable(Unavailable::OutcomeUnknown));
        }
    }

    /// Begins an epoch and then reads what is in the log: everything that is committed after this
    /// arrives as a message, so nothing can be missed between the two.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.stand_by();
        let Some(this) = self.this.lock().clone() else {
            self.lifeline.fail("the book has no name yet");
            return ctx.stop();
        };
        let begun = self.parts.log.send(Begin { stream: self.stream(), owner: this.port() });
        let (recovery, berth) = (self.parts.recovery.clone(), self.parts.berth.clone());
        let (market, stream) = (self.parts.market, self.stream());
        let goes_on = self.state.is_some();
        let twin = if goes_on { None } else { berth.take() };
        let work = async move {
            let begun = begun.await.map_err(|why| why.to_string())?;
            if goes_on {
                // What is missing cannot be noticed later, since the new epoch counts its batches from 1.
                return if begun.unbroken {
                    Ok((begun.epoch, Start::Here))
                } else {
                    Err("a batch of an older epoch was not delivered".to_owned())
                };
            }
            let state = match twin {
                Some(answer) => answer.within(TWIN_ANSWERS_WITHIN).await.ok().flatten(),
                None => None,
            };
            let left = berth.left();
            let start = match state {
                Some(state) if begun.unbroken => {
                    Start::From { state, rest: left.into_iter().collect(), promoted: true }
                }
                Some(state) => {
                    let rest = recovery.since(stream, state.position).await?;
                    Start::From { state, rest, promoted: true }
                }
                None => {
                    let recovered = recovery.market(market, berth.told()).await?;
                    berth.tell(recovered.position);
                    Start::From { state: Box::new(recovered.state), rest: recovered.rest, promoted: false }
                }
            };
            Ok((begun.epoch, start))
        };
        ctx.wait(work.into_actor(self).map(|begun, book, ctx| match begun {
            Ok((epoch, start)) => {
                book.epoch = epoch.unwrap_or_default();
                if let Start::From { state, rest, promoted } = start {
                    book.go_on_from(state, rest, promoted, ctx);
                }
            }
            Err(reason) => {
                book.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }

    fn go_on_from(&mut self, state: Box<BookState>, rest: Vec<Committed>, promoted: bool, ctx: &mut Context<Self>) {
        self.state = Some(state);
        for committed in rest {
            // What its predecessor told already is dropped by those who hear it again.
            if self.committed(committed, ctx).is_err() {
                return;
            }
        }
        if promoted {
            self.parts.berth.promoted();
            tracing::warn!(market = self.parts.market.0, "the order book goes on with the state of its twin");
        }
        self.build_twin();
    }

    /// Gives the twin a state from which it can follow.
    fn build_twin(&self) {
        let Some(state) = &self.state else { return };
        let (market, position) = (self.parts.market, state.position);
        let recovery = self.parts.recovery.clone();
        self.parts.berth.build(if state.replica.book.live_orders() <= state::SMALL {
            Source::Ready(state.clone())
        } else {
            Source::Make(Box::new(move || recovery.book_at(market, position).map_err(|error| error.to_string())))
        });
    }

    /// Reads a batch and tells everybody.
    ///
    /// # Errors
    /// When the actor has to stop; it has said why.
    fn committed(&mut self, committed: Committed, ctx: &mut Context<Self>) -> Result<(), ()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let berth = &self.parts.berth;
        let Committed { position, batch } = committed.clone();
        if position <= state.position {
            return Ok(());
        }
        berth.begin(self.lifeline.incarnation(), committed);
        let read = state.replica.read_each(&batch, |sequence| berth.applying(sequence));
        berth.applied();
        state.position = position;
        let outcomes = match read {
            Ok(Some(outcomes)) => Arc::new(outcomes),
            Ok(None) => {
                berth.done(self.lifeline.incarnation(), position);
                return Ok(());
            }
            Err(error) => {
                self.lifeline.fail(format!("batch {} of epoch {}: {error}", batch.number, batch.epoch));
                ctx.stop();
                return Err(());
            }
        };
        self.lifeline.hazard();
        // The ledger hears first, so that whoever is answered below finds its balances changed.
        if let Err(why) = self.parts.ledger.try_send(AddOutcomes(outcomes.clone())) {
            self.lifeline.fail(format!("the ledger did not take outcomes: {why}"));
            ctx.stop();
            return Err(());
        }
        self.lifeline.hazard();
        if let Err(why) = self.parts.data.try_send(Publish(outcomes.clone())) {
            // Market data notices the hole and rebuilds itself from the log.
            tracing::warn!(%why, market = self.parts.market.0, "market data did not take outcomes");
        }
        state.recent.add(&outcomes, position);
        berth.forget(state.recent.forgotten());
        if outcomes.marker && outcomes.epoch == self.epoch {
            self.active = true;
            self.parts.berth.works();
        }
        self.parts.berth.done(self.lifeline.incarnation(), position);
        if outcomes.epoch == self.epoch {
            self.answer(&outcomes);
        }
        Ok(())
    }

    fn answer(&mut self, outcomes: &MarketOutcomes) {
        let Some(state) = &self.state else { return };
        for (sequence, ticket, events) in outcomes.by_entry() {
            tracing::debug!(target: "agora::path", ticket = ticket.0, entry = sequence.0, events = events.len(), "applied");
            let Some(waiting) = self.waiting.remove(&ticket) else { continue };
            match waiting {
                Waiting::Place(reply) => {
                    let accepted = events.iter().find_map(|event| match event {
                        Event::Accepted(id, order) if order.ticket == ticket => Some(Ok(*id)),
                        Event::Rejected { ticket: other, reason, .. } if *other == ticket => Some(Err(*reason)),
                        _ => None,
                    });
                    let _ = reply.send(match accepted {
                        Some(Ok(id)) => state
                            .replica
                            .book
                            .order(id)
                            .or_else(|| state.recent.order(id))
                            .ok_or(Refused::Unavailable(Unavailable::OutcomeUnknown)),
                        Some(Err(reason)) => Err(Refused::Reject(reason)),
                        None => Err(Refused::Unavailable(Unavailable::OutcomeUnknown)),
                    });
                }
                Waiting::Cancel(order, reply) => {
                    let refused = events.iter().find_map(|event| match event {
                        Event::Refused { ticket: other, reason, .. } if *other == ticket => Some(*reason),
                        _ => None,
                    });
                    let _ = reply.send(refused.map_or(Ok(order), |reason| Err(Refused::Reject(reason))));
                }
                Waiting::CancelAll(reply) => {
                    let canceled = events.iter().filter_map(|event| match event {
                        Event::Done(done) if done.ticket == ticket => Some(done.id),
                        _ => None,
                    });
                    let _ = reply.send(Ok(canceled.collect()));
                }
            }
        }
    }

    /// Whether a further command can be taken now.
    fn ready(&self) -> Result<&MarketReplica, Refused> {
        match &self.state {
            Some(_) if self.waiting.len() >= self.parts.in_flight => Err(Refused::Unavailable(Unavailable::Overloaded)),
            Some(state) if self.active => Ok(&state.replica),
            _ => Err(Refused::Unavailable(Unavailable::Starting)),
        }
    }

    fn propose(&mut self, Outgoing { entries, waiting }: Outgoing) {
        if waiting.is_empty() {
            return;
        }
        let count = waiting.len() as u32;
        let proposal = Propose { stream: self.stream(), epoch: self.epoch, entries, count };
        match self.parts.log.try_send(proposal) {
            Ok(()) => self.waiting.extend(waiting),
            Err(_) => {
                self.void(waiting.iter().map(|(ticket, _)| *ticket).collect());
                for (_, waiting) in waiting {
                    waiting.refuse(Refused::Unavailable(Unavailable::Overloaded));
                }
            }
        }
    }

    /// Tells the ledger that entries of these tickets will never be applied.
    fn void(&self, tickets: Vec<Ticket>) {
        let _ = self.parts.ledger.try_send(Void { stream: self.stream(), tickets });
    }

    fn recent_order(&self, id: OrderId) -> Option<OrderRecord> {
        self.state.as_ref().and_then(|state| state.recent.order(id))
    }

    /// What the ledger must reserve for an order.
    fn need(&self, replica: &MarketReplica, order: &NewOrder) -> Need {
        let book = &replica.book;
        match order.kind {
            Kind::Limit { price, .. } => {
                let worst = order.maker_fee.max(order.taker_fee);
                Need::exactly(book.hold_for(order.side, price, order.size, worst))
            }
            Kind::Market { .. } if order.side == Side::Sell => Need::exactly(book.scale().base(order.size)),
            Kind::Market { funds: Some(funds) } => Need::exactly(funds),
            Kind::Market { funds: None } => {
                let cost = match order.stop {
                    Some(stop) => book.hold_for(Side::Buy, stop.price, order.size, order.taker_fee),
                    None => book.cost_of(order.size, order.taker_fee),
                };
                Need { least: cost, most: Amount(cost.0 + cost.0 * SLIPPAGE_PERCENT / 100) }
            }
        }
    }
}

impl Actor for OrderBook {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<FromLog> for OrderBook {
    type Result = ();

    fn handle(&mut self, message: FromLog, ctx: &mut Self::Context) {
        match message {
            // When it fails the actor is stopping, and has said why.
            FromLog::Committed(committed) => drop(self.committed(committed, ctx)),
            FromLog::NotWritten { batch, .. } => {
                let tickets: Vec<Ticket> =
                    Entries::<MarketEntry>::new(&batch.payload).flatten().map(|entry| entry.ticket()).collect();
                for waiting in tickets.iter().filter_map(|ticket| self.waiting.remove(ticket)).collect::<Vec<_>>() {
                    waiting.refuse(Refused::Unavailable(Unavailable::LogRefused));
                }
                self.void(tickets);
            }
            FromLog::Deposed => self.stand_by(),
        }
    }
}

impl Handler<Refence> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: Refence, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<Commands> for OrderBook {
    type Result = ();

    fn handle(&mut self, Commands(commands): Commands, _: &mut Self::Context) {
        let mut applicants = Vec::with_capacity(commands.len());
        let mut outgoing = Outgoing::default();
        for command in commands {
            if self.waiting.len() + applicants.len() + outgoing.waiting.len() >= self.parts.in_flight {
                command.refuse(Refused::Unavailable(Unavailable::Overloaded));
                continue;
            }
            match command {
                Command::Place(place) => applicants.extend(self.applicant(place)),
                Command::Cancel(cancel) => self.cancel(cancel, &mut outgoing),
                Command::CancelAll(cancel) => self.cancel_all(cancel, &mut outgoing),
            }
        }
        self.propose(outgoing);
        let Some(book) = self.this.lock().clone().filter(|_| !applicants.is_empty()) else { return };
        let admit = Admit { applicants, stream: self.stream(), epoch: self.epoch, book };
        if let Err(refused) = self.parts.ledger.offer(admit) {
            for applicant in refused.message.applicants {
                answer_now(applicant.reply, Err(Refused::Unavailable(Unavailable::Overloaded)));
            }
        }
    }
}

impl OrderBook {
    /// The order with what it needs from the ledger, or none when it was refused.
    fn applicant(&self, Place { mut order, reply }: Place) -> Option<Applicant> {
        let replica = match self.ready() {
            Ok(replica) => replica,
            Err(why) => {
                answer_now(reply, Err(why));
                return None;
            }
        };
        let config = replica.book.config();
        (order.maker_fee, order.taker_fee) = (config.maker_fee, config.taker_fee);
        if order.ticket == Ticket(0) {
            order.ticket = next_ticket();
        }
        // The clock of the log cannot be known yet; a time that has just passed is caught by apply.
        if let Err(reason) = replica.book.check(&order, Timestamp::ZERO) {
            answer_now(reply, Err(Refused::Reject(reason)));
            return None;
        }
        let pair = Pair { base: config.base, quote: config.quote };
        let need = self.need(replica, &order);
        let request = Request {
            stream: self.stream(),
            ticket: order.ticket,
            epoch: self.epoch,
            account: order.account,
            currency: pair.held(order.side),
            amount: need.least,
            client_id: order.client_id,
        };
        Some(Applicant { request, most: need.most, order, reply })
    }

    fn cancel(&self, Cancel { account, order, reply }: Cancel, outgoing: &mut Outgoing) {
        let replica = match self.ready() {
            Ok(replica) => replica,
            Err(why) => return answer_now(reply, Err(why)),
        };
        // What is known to be over needs no entry in the log; the outcome could only be the same.
        if replica.book.order(order).is_none() {
            let known = (1..=replica.book.accepted_orders()).contains(&order.number);
            let reason = if known { Reject::OrderDone } else { Reject::OrderNotFound };
            let own = self.recent_order(order).is_none_or(|record| record.account == account);
            let reason = if own { reason } else { Reject::OrderNotFound };
            return answer_now(reply, Err(Refused::Reject(reason)));
        }
        let ticket = next_ticket();
        outgoing.add(&MarketEntry::Cancel { ticket, account, order }, Waiting::Cancel(order, reply));
    }

    fn cancel_all(&self, CancelAll { account, side, reply }: CancelAll, outgoing: &mut Outgoing) {
        if let Err(why) = self.ready() {
            return answer_now(reply, Err(why));
        }
        let ticket = next_ticket();
        outgoing.add(&MarketEntry::CancelAll { ticket, account, side }, Waiting::CancelAll(reply));
    }
}

impl Handler<Admitted> for OrderBook {
    type Result = ();

    fn handle(&mut self, Admitted { orders, epoch }: Admitted, _: &mut Self::Context) {
        if !self.active || epoch != self.epoch {
            self.void(orders.iter().map(|(order, _)| order.ticket).collect());
            for (_, reply) in orders {
                answer_now(reply, Err(Refused::Unavailable(Unavailable::Starting)));
            }
            return;
        }
        let mut outgoing = Outgoing::default();
        for (order, reply) in orders {
            tracing::debug!(target: "agora::path", ticket = order.ticket.0, hold = order.hold.0, "admitted, proposed");
            outgoing.add(&MarketEntry::Place(order), Waiting::Place(reply));
        }
        self.propose(outgoing);
    }
}

impl Handler<GetOrder> for OrderBook {
    type Result = MessageResult<GetOrder>;

    fn handle(&mut self, GetOrder(id): GetOrder, _: &mut Self::Context) -> Self::Result {
        let live = self.state.as_ref().and_then(|state| state.replica.book.order(id));
        MessageResult(live.or_else(|| self.recent_order(id)))
    }
}

impl Handler<GetOrders> for OrderBook {
    type Result = MessageResult<GetOrders>;

    fn handle(&mut self, GetOrders(account): GetOrders, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map_or_else(OrdersOf::default, |state| OrdersOf {
            live: state.replica.book.orders_of(account).collect(),
            ended: state.recent.orders_of(account),
        }))
    }
}

impl Handler<GetFills> for OrderBook {
    type Result = MessageResult<GetFills>;

    fn handle(&mut self, GetFills(account): GetFills, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| state.recent.fills_of(account)).unwrap_or_default())
    }
}

impl Handler<GetFullBook> for OrderBook {
    type Result = MessageResult<GetFullBook>;

    fn handle(&mut self, _: GetFullBook, _: &mut Self::Context) -> Self::Result {
        let full = self.state.as_ref().map(|state| FullBook {
            sequence: state.replica.book.feed_sequence(),
            bids: state.replica.book.resting(Side::Buy).collect(),
            asks: state.replica.book.resting(Side::Sell).collect(),
        });
        MessageResult(full.unwrap_or_default())
    }
}

impl Handler<Enlist> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: Enlist, _: &mut Self::Context) {
        self.build_twin();
    }
}

impl Handler<CompareTwin> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: CompareTwin, _: &mut Self::Context) {
        match &self.state {
            Some(state) if self.parts.berth.is_feeding() => self.parts.berth.compare(state),
            // It lost its place because it was too slow.
            _ => self.build_twin(),
        }
    }
}

impl Handler<GetSequence> for OrderBook {
    type Result = MessageResult<GetSequence>;

    fn handle(&mut self, _: GetSequence, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| state.replica.stream.sequence).unwrap_or_default())
    }
}
