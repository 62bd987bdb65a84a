//! One market's order book as an actor.
//!
//! Invariants: the book changes only by applying committed batches; a waiting caller is answered
//! exactly once, from the outcome of its own entry, and only after the ledger was told of it; an
//! order enters the log only after the ledger admitted its hold.

mod admit;
mod clock;
mod commit;
mod messages;
mod queries;
mod state;
mod steer;
mod waiting;

pub use messages::*;
pub use state::BookState;

use super::ledger::LedgerActor;
use super::listing::Listing;
use super::market_data::MarketDataActor;
use super::post::Post;
use super::recovery::Recovery;
use super::twin::{Berth, CompareTwin, Enlist, Source, Standby, Weigh};
use super::{Refused, Unavailable};
use crate::actors::event_log::{Begin, Clock, EventLog, FromLog, LogMeter};
use crate::actors::supervision::{Handle, Lifeline};
use crate::domain::codec::Entries;
use crate::domain::entry::MarketEntry;
use crate::domain::ids::{Epoch, MarketId, Sequence, StreamId, Ticket};
use crate::persistence::log::Committed;
use actix::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::Duration;
use waiting::{AtLedger, Waiting};

/// How long a book waits for its twin's state before it reads the log instead.
const TWIN_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

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
    /// How far the log is known to hold nothing new of the market.
    pub meter: Arc<LogMeter>,
    /// The most commands that may be on their way through the log.
    pub in_flight: usize,
    /// Where the market's rules are shown.
    pub listing: Arc<Listing>,
    /// What time the log would give to an entry that is written now.
    pub clock: Clock,
}

/// The state that an incarnation begins with, and what it has to read before anything else.
enum Start {
    /// It goes on with what it has, and what it was not given.
    Here(Vec<Committed>),
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
    /// The incarnation of the event log at which it was begun.
    log: u64,
    /// Whether its own marker was read back, so that it admits commands.
    active: bool,
    waiting: FxHashMap<Ticket, Waiting>,
    /// Whether a time entry is on its way.
    ticking: bool,
    /// The newest entry of outcomes that market data did not take, until it was told so.
    untaken: Option<Sequence>,
    /// The newest entry that was to change the market's rules.
    reconfiguring: Option<Ticket>,
    at_ledger: AtLedger,
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
            log: 0,
            active: false,
            waiting: FxHashMap::default(),
            ticking: false,
            untaken: None,
            reconfiguring: None,
            at_ledger: AtLedger::default(),
        }
    }

    fn stream(&self) -> StreamId {
        StreamId::Market(self.parts.market)
    }

    /// Admits nothing from here on. What waits may or may not be in the log.
    fn stand_by(&mut self) {
        self.active = false;
        self.ticking = false;
        self.at_ledger = AtLedger::default();
        self.epoch = Epoch::default();
        let mut post = Post::default();
        for (_, waiting) in self.waiting.drain() {
            waiting.refuse(Refused::Unavailable(Unavailable::OutcomeUnknown), &mut post);
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
        let was_whole = self.parts.berth.doubt();
        let begun = self.parts.log.send(Begin { stream: self.stream(), owner: this.port() });
        let (recovery, berth, meter) =
            (self.parts.recovery.clone(), self.parts.berth.clone(), self.parts.meter.clone());
        let (market, stream) = (self.parts.market, self.stream());
        let stands = self.state.as_ref().map(|state| (state.position, state.mark()));
        let (twin, left) = if stands.is_some() { (None, None) } else { berth.take_over(self.lifeline.incarnation()) };
        let work = async move {
            let begun = begun.await.map_err(|why| why.to_string())?;
            // What is missing cannot be noticed later, since the new epoch counts its batches from 1.
            let whole = was_whole && begun.unbroken;
            if let Some((at, place)) = stands {
                let missed = match whole {
                    true => Vec::new(),
                    false => recovery.since(stream, meter.unread_behind(stream, at, place)).await?,
                };
                return Ok::<_, String>((begun, Start::Here(missed)));
            }
            let state = match twin {
                Some(answer) => answer.within(TWIN_ANSWERS_WITHIN).await.ok().flatten(),
                None => None,
            };
            let start = match state {
                Some(state) if whole => Start::From { state, rest: left.into_iter().collect(), promoted: true },
                Some(state) => {
                    let unread = meter.unread_behind(stream, state.position, state.mark());
                    let rest = recovery.since(stream, unread).await?;
                    Start::From { state, rest, promoted: true }
                }
                None => {
                    let recovered = recovery.market(market, berth.told_at()).await?;
                    berth.tell(recovered.position, recovered.state.replica.stream);
                    Start::From { state: Box::new(recovered.state), rest: recovered.rest, promoted: false }
                }
            };
            Ok((begun, start))
        };
        ctx.wait(work.into_actor(self).map(|begun, book, ctx| match begun {
            Ok((begun, start)) => {
                (book.epoch, book.log) = (begun.epoch.unwrap_or_default(), begun.log);
                match start {
                    Start::Here(missed) => drop(book.catch_up(missed, ctx)),
                    Start::From { state, rest, promoted } => book.go_on_from(state, rest, promoted, ctx),
                }
                if book.is_outrun() {
                    book.begin(ctx);
                }
            }
            Err(reason) => {
                book.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }

    /// Whether the log has a newer epoch than the one that was begun here; as for the ledger, the event log may not have
    /// heard of it.
    fn is_outrun(&self) -> bool {
        let newest = self.state.as_ref().map(|state| state.replica.stream.epoch);
        self.epoch != Epoch::default() && newest.is_some_and(|newest| newest > self.epoch)
    }

    fn go_on_from(&mut self, state: Box<BookState>, rest: Vec<Committed>, promoted: bool, ctx: &mut Context<Self>) {
        self.parts.listing.configure(state.replica.book.config());
        self.parts.berth.forget(state.recent.forgotten());
        // A state that was read from the log may hold this epoch's marker already, which is then not read again. So it
        // is where a market is listed while the log is long: the marker is written before the reading ends.
        if self.epoch != Epoch::default() && state.replica.stream.epoch == self.epoch {
            self.active = true;
            self.parts.berth.works();
        }
        self.state = Some(state);
        if self.catch_up(rest, ctx).is_err() {
            return;
        }
        if promoted {
            self.parts.berth.promoted();
            tracing::warn!(market = self.parts.market.0, "the order book goes on with the state of its twin");
        }
        self.build_twin();
    }

    /// Reads what is there already. What its predecessor told is dropped by those who hear it again.
    ///
    /// # Errors
    /// As [`OrderBook::committed`].
    fn catch_up(&mut self, rest: Vec<Committed>, ctx: &mut Context<Self>) -> Result<(), ()> {
        rest.into_iter().try_for_each(|committed| self.committed(committed, ctx))?;
        self.parts.berth.mend();
        Ok(())
    }

    /// Gives the twin a state from which it can follow.
    fn build_twin(&self) {
        let Some(state) = &self.state else { return };
        let (market, place, position) = (self.parts.market, state.mark(), state.position);
        let recovery = self.parts.recovery.clone();
        self.parts.berth.build(
            self.lifeline.incarnation(),
            if state.replica.book.live_orders() <= state::SMALL {
                Source::Ready(state.clone())
            } else {
                Source::Make(Box::new(move || {
                    recovery.book_at(market, place, position).map_err(|error| error.to_string())
                }))
            },
        );
    }
}

impl Actor for OrderBook {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.keep_time(ctx);
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
                self.ticking = false;
                let (mut holds, mut post) = (Vec::new(), Post::default());
                for entry in Entries::<MarketEntry>::new(&batch.payload).flatten() {
                    entry.holds(|ticket| holds.push(ticket));
                    if let Some(waiting) = self.waiting.remove(&entry.ticket()) {
                        waiting.refuse(Refused::Unavailable(Unavailable::LogRefused), &mut post);
                    }
                }
                self.void(batch.epoch, holds);
            }
            FromLog::Deposed => self.stand_by(),
            FromLog::Outrun => self.begin(ctx),
        }
    }
}

impl Handler<Refence> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: Refence, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<Attached> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: Attached, ctx: &mut Self::Context) {
        if self.epoch == Epoch::default() {
            self.begin(ctx);
        }
    }
}

impl Handler<Enlist> for OrderBook {
    type Result = ();

    fn handle(&mut self, _: Enlist, _: &mut Self::Context) {
        self.build_twin();
    }
}

impl Handler<Weigh<BookState>> for OrderBook {
    type Result = MessageResult<Weigh<BookState>>;

    fn handle(&mut self, _: Weigh<BookState>, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| (state.mark(), state.hash())))
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
