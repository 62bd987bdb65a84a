//! One market's order book as an actor.
//!
//! Invariants: the book changes only by applying committed batches; a waiting caller is answered
//! exactly once, from the outcome of its own entry, and only after the ledger was told of it; an
//! order enters the log only after the ledger admitted its hold.

use super::ledger::{AddOutcomes, Admit, LedgerActor, Need, Void};
use super::market_data::{MarketDataActor, Publish};
use super::recent::Recent;
use super::recovery::Recovery;
use super::tickets::next_ticket;
use super::{Refused, Unavailable, answer_now};
use crate::actors::event_log::{Begin, EventLog, FromLog, Propose};
use crate::actors::supervision::{Handle, Lifeline};
use crate::domain::admission::Request;
use crate::domain::batch::Batch;
use crate::domain::book::Resting;
use crate::domain::codec::{Coded, Entries};
use crate::domain::entry::MarketEntry;
use crate::domain::event::{Event, Fill};
use crate::domain::ids::{AccountId, Epoch, MarketId, OrderId, Sequence, StreamId, Ticket};
use crate::domain::money::Amount;
use crate::domain::order::{Kind, NewOrder, OrderRecord, Reject, Side};
use crate::domain::posting::Pair;
use crate::domain::replica::{MarketOutcomes, MarketReplica};
use crate::domain::time::Timestamp;
use actix::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The most commands of one market that may be on their way through the log.
const MAX_IN_FLIGHT: usize = 8_192;

/// A market buy by size may cost so much more than the book shows at admission, in percent.
const SLIPPAGE_PERCENT: i128 = 10;

/// Where the answer to a command goes.
pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// Asks for an order to be placed. Its ticket, fees and hold are filled in here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Place {
    /// The order.
    pub order: NewOrder,
    /// Answered with the order's record once its outcome is known and durable.
    pub reply: Reply<OrderRecord>,
}

/// The ledger has reserved the order's hold.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Admitted {
    /// The order, hold and ticket included.
    pub order: NewOrder,
    /// The epoch in which it was admitted.
    pub epoch: Epoch,
    /// Who waits.
    pub reply: Reply<OrderRecord>,
}

/// Asks for one order to be canceled.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancel {
    /// Whose it must be.
    pub account: AccountId,
    /// Which.
    pub order: OrderId,
    /// Answered once it is canceled.
    pub reply: Reply<OrderId>,
}

/// Asks for all orders of a user to be canceled.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelAll {
    /// Whose.
    pub account: AccountId,
    /// Only this side, if given.
    pub side: Option<Side>,
    /// Answered with the canceled orders.
    pub reply: Reply<Vec<OrderId>>,
}

/// Begins a new epoch, because the ledger has lost its pending holds.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Refence;

/// Asks for an order that lives, or ended a short while ago.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<OrderRecord>")]
pub struct GetOrder(pub OrderId);

/// Asks for the live orders of a user, newest first, and those that ended a short while ago.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "OrdersOf")]
pub struct GetOrders(pub AccountId);

/// The orders of one user that are in memory.
#[derive(Clone, Debug, Default)]
pub struct OrdersOf {
    /// Live, newest first.
    pub live: Vec<OrderRecord>,
    /// Ended a short while ago, newest end first.
    pub ended: Vec<OrderRecord>,
}

/// A fill with its time.
#[derive(Clone, Copy, Debug)]
pub struct TimedFill {
    /// The market.
    pub market: MarketId,
    /// When.
    pub at: Timestamp,
    /// Its public sequence.
    pub feed_sequence: u64,
    /// The fill.
    pub fill: Fill,
}

/// Asks for the newest fills of a user that are in memory, newest first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<TimedFill>")]
pub struct GetFills(pub AccountId);

/// Asks for every resting order.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "FullBook")]
pub struct GetFullBook;

/// Every resting order, best first and oldest first within a price.
#[derive(Clone, Debug, Default)]
pub struct FullBook {
    /// The last public event contained.
    pub sequence: u64,
    /// Bids.
    pub bids: Vec<Resting>,
    /// Asks.
    pub asks: Vec<Resting>,
}

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
}

/// The actor. See the module's documentation.
pub struct OrderBook {
    parts: Parts,
    lifeline: Lifeline,
    /// Its own stable name, handed to the log and the ledger.
    this: Arc<parking_lot::Mutex<Option<Handle<OrderBook>>>>,
    replica: Option<MarketReplica>,
    epoch: Epoch,
    /// Whether its own marker was read back, so that it admits commands.
    active: bool,
    waiting: FxHashMap<Ticket, Waiting>,
    recent: Recent,
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
            replica: None,
            epoch: Epoch::default(),
            active: false,
            waiting: FxHashMap::default(),
            recent: Recent::default(),
        }
    }

    fn stream(&self) -> StreamId {
        StreamId::Market(self.parts.market)
    }

    /// Begins an epoch and then reads what is in the log: everything that is committed after this
    /// arrives as a message, so nothing can be missed between the two.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.active = false;
        for (_, waiting) in self.waiting.drain() {
            waiting.refuse(Refused::Unavailable(Unavailable::OutcomeUnknown));
        }
        let Some(this) = self.this.lock().clone() else {
            self.lifeline.fail("the book has no name yet");
            return ctx.stop();
        };
        let begun = self.parts.log.send(Begin { stream: self.stream(), owner: this.port() });
        let recovery = self.parts.recovery.clone();
        let market = self.parts.market;
        let recovered = self.replica.is_some();
        let work = async move {
            let epoch = begun.await.map_err(|why| why.to_string())?;
            let replica = if recovered { None } else { Some(recovery.market(market).await?) };
            Ok::<_, String>((epoch, replica))
        };
        ctx.wait(work.into_actor(self).map(|begun, book, ctx| match begun {
            Ok((epoch, replica)) => {
                book.epoch = epoch;
                if let Some(mut replica) = replica {
                    replica.book.keep_ended();
                    book.replica = Some(replica);
                }
            }
            Err(reason) => {
                book.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }

    fn committed(&mut self, batch: &Batch, ctx: &mut Context<Self>) {
        let Some(replica) = &mut self.replica else { return };
        let outcomes = match replica.read(batch) {
            Ok(Some(outcomes)) => Arc::new(outcomes),
            Ok(None) => return,
            Err(error) => {
                self.lifeline.fail(format!("batch {} of epoch {}: {error}", batch.number, batch.epoch));
                return ctx.stop();
            }
        };
        // The ledger hears first, so that whoever is answered below finds its balances changed.
        if let Err(why) = self.parts.ledger.try_send(AddOutcomes(outcomes.clone())) {
            self.lifeline.fail(format!("the ledger did not take outcomes: {why}"));
            return ctx.stop();
        }
        if let Err(why) = self.parts.data.try_send(Publish(outcomes.clone())) {
            // Market data notices the hole and rebuilds itself from the log.
            tracing::warn!(%why, market = self.parts.market.0, "market data did not take outcomes");
        }
        if outcomes.marker && outcomes.epoch == self.epoch {
            self.active = true;
        }
        self.recent.add(&outcomes);
        if outcomes.epoch == self.epoch {
            self.answer(&outcomes);
        }
    }

    fn answer(&mut self, outcomes: &MarketOutcomes) {
        let Some(replica) = &self.replica else { return };
        for (_, ticket, events) in outcomes.by_entry() {
            let Some(waiting) = self.waiting.remove(&ticket) else { continue };
            match waiting {
                Waiting::Place(reply) => {
                    let accepted = events.iter().find_map(|event| match event {
                        Event::Accepted(id, order) if order.ticket == ticket => Some(Ok(*id)),
                        Event::Rejected { ticket: other, reason, .. } if *other == ticket => Some(Err(*reason)),
                        _ => None,
                    });
                    let _ = reply.send(match accepted {
                        Some(Ok(id)) => replica
                            .book
                            .order(id)
                            .or_else(|| self.recent.order(id))
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
        match &self.replica {
            Some(_) if self.waiting.len() >= MAX_IN_FLIGHT => Err(Refused::Unavailable(Unavailable::Overloaded)),
            Some(replica) if self.active => Ok(replica),
            _ => Err(Refused::Unavailable(Unavailable::Starting)),
        }
    }

    fn propose(&mut self, entry: &MarketEntry, waiting: Waiting) {
        let mut entries = Vec::with_capacity(96);
        entry.encode(&mut entries);
        let proposal = Propose { stream: self.stream(), epoch: self.epoch, entries, count: 1 };
        match self.parts.log.try_send(proposal) {
            Ok(()) => {
                self.waiting.insert(entry.ticket(), waiting);
            }
            Err(_) => {
                self.void(vec![entry.ticket()]);
                waiting.refuse(Refused::Unavailable(Unavailable::Overloaded));
            }
        }
    }

    /// Tells the ledger that entries of these tickets will never be applied.
    fn void(&self, tickets: Vec<Ticket>) {
        let _ = self.parts.ledger.try_send(Void { stream: self.stream(), tickets });
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
            FromLog::Committed(batch) => self.committed(&batch, ctx),
            FromLog::NotWritten { batch, .. } => {
                let tickets: Vec<Ticket> =
                    Entries::<MarketEntry>::new(&batch.payload).flatten().map(|entry| entry.ticket()).collect();
                for waiting in tickets.iter().filter_map(|ticket| self.waiting.remove(ticket)).collect::<Vec<_>>() {
                    waiting.refuse(Refused::Unavailable(Unavailable::LogRefused));
                }
                self.void(tickets);
            }
        }
    }
}

impl Handler<Refence> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: Refence, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<Place> for OrderBook {
    type Result = ();

    fn handle(&mut self, Place { mut order, reply }: Place, _: &mut Self::Context) {
        let replica = match self.ready() {
            Ok(replica) => replica,
            Err(why) => return answer_now(reply, Err(why)),
        };
        let config = replica.book.config();
        (order.maker_fee, order.taker_fee) = (config.maker_fee, config.taker_fee);
        order.ticket = next_ticket();
        // The clock of the log cannot be known yet; a time that has just passed is caught by apply.
        if let Err(reason) = replica.book.check(&order, Timestamp::ZERO) {
            return answer_now(reply, Err(Refused::Reject(reason)));
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
        let Some(book) = self.this.lock().clone() else { return };
        if let Err(refused) = self.parts.ledger.offer(Admit { request, most: need.most, order, reply, book }) {
            let _ = refused.message.reply.send(Err(Refused::Unavailable(Unavailable::Overloaded)));
        }
    }
}

impl Handler<Admitted> for OrderBook {
    type Result = ();

    fn handle(&mut self, Admitted { order, epoch, reply }: Admitted, _: &mut Self::Context) {
        if !self.active || epoch != self.epoch {
            self.void(vec![order.ticket]);
            return answer_now(reply, Err(Refused::Unavailable(Unavailable::Starting)));
        }
        self.propose(&MarketEntry::Place(order), Waiting::Place(reply));
    }
}

impl Handler<Cancel> for OrderBook {
    type Result = ();

    fn handle(&mut self, Cancel { account, order, reply }: Cancel, _: &mut Self::Context) {
        let replica = match self.ready() {
            Ok(replica) => replica,
            Err(why) => return answer_now(reply, Err(why)),
        };
        // What is known to be over needs no entry in the log; the outcome could only be the same.
        if replica.book.order(order).is_none() {
            let known = (1..=replica.book.accepted_orders()).contains(&order.number);
            let reason = if known { Reject::OrderDone } else { Reject::OrderNotFound };
            let own = self.recent.order(order).is_none_or(|record| record.account == account);
            let reason = if own { reason } else { Reject::OrderNotFound };
            return answer_now(reply, Err(Refused::Reject(reason)));
        }
        let ticket = next_ticket();
        self.propose(&MarketEntry::Cancel { ticket, account, order }, Waiting::Cancel(order, reply));
    }
}

impl Handler<CancelAll> for OrderBook {
    type Result = ();

    fn handle(&mut self, CancelAll { account, side, reply }: CancelAll, _: &mut Self::Context) {
        if let Err(why) = self.ready() {
            return answer_now(reply, Err(why));
        }
        let ticket = next_ticket();
        self.propose(&MarketEntry::CancelAll { ticket, account, side }, Waiting::CancelAll(reply));
    }
}

impl Handler<GetOrder> for OrderBook {
    type Result = MessageResult<GetOrder>;

    fn handle(&mut self, GetOrder(id): GetOrder, _: &mut Self::Context) -> Self::Result {
        let live = self.replica.as_ref().and_then(|replica| replica.book.order(id));
        MessageResult(live.or_else(|| self.recent.order(id)))
    }
}

impl Handler<GetOrders> for OrderBook {
    type Result = MessageResult<GetOrders>;

    fn handle(&mut self, GetOrders(account): GetOrders, _: &mut Self::Context) -> Self::Result {
        let live = self.replica.iter().flat_map(|replica| replica.book.orders_of(account)).collect();
        MessageResult(OrdersOf { live, ended: self.recent.orders_of(account) })
    }
}

impl Handler<GetFills> for OrderBook {
    type Result = MessageResult<GetFills>;

    fn handle(&mut self, GetFills(account): GetFills, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.recent.fills_of(account))
    }
}

impl Handler<GetFullBook> for OrderBook {
    type Result = MessageResult<GetFullBook>;

    fn handle(&mut self, _: GetFullBook, _: &mut Self::Context) -> Self::Result {
        let full = self.replica.as_ref().map(|replica| FullBook {
            sequence: replica.book.feed_sequence(),
            bids: replica.book.resting(Side::Buy).collect(),
            asks: replica.book.resting(Side::Sell).collect(),
        });
        MessageResult(full.unwrap_or_default())
    }
}

/// The newest entry that the book has applied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Sequence")]
pub struct GetSequence;

impl Handler<GetSequence> for OrderBook {
    type Result = MessageResult<GetSequence>;

    fn handle(&mut self, _: GetSequence, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.replica.as_ref().map(|replica| replica.stream.sequence).unwrap_or_default())
    }
}
