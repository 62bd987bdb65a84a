//! Brings markets to life: those that are listed when the program starts, and those that are listed while it runs.
//!
//! Invariants: markets are listed in the order of their ids, each once all its actors are ready; what an attempt left
//! that failed half-way is taken away before the next; until it was ready for the first time, no actor of a new market
//! disturbs the others.

use super::Market;
use super::ledger::{Attach, GetListed, LedgerActor};
use super::listing::{Listing, PhaseBoard};
use super::market_data::{self, MarketDataActor};
use super::order_book::{self, Attached, OrderBook};
use super::recovery::Recovery;
use super::start::{Threads, Twins, lag_of};
use super::twin::Fault;
use crate::actors::event_log::{Clock, EventLog, LogMeter};
use crate::actors::supervision::{ChildSpec, Exhausted, Failure, Handle, StartError, Unreachable, Watch};
use crate::actors::supervisor::Supervisor;
use crate::domain::ids::{CurrencyId, MarketId, StreamId};
use crate::domain::market::{Currency, MarketConfig, Scale};
use actix::{Actor, ArbiterHandle, Context, Handler, Message};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How soon an actor that was restarted, or is too full, is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// How long the ledger is left alone when it does not answer, or a market cannot start.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The names of a market's actors; that of its book is its twin's too.
fn data_name(symbol: &str) -> String {
    format!("market data {symbol}")
}

fn book_name(symbol: &str) -> String {
    format!("order book {symbol}")
}

/// Sends until the actor has dealt with it; false when it is stopped for good.
async fn insist<A, M>(actor: &Handle<A>, message: M) -> bool
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Clone + Send + 'static,
{
    loop {
        match actor.send(message.clone()).await {
            Ok(()) => return true,
            Err(Unreachable::Closed) => return false,
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

/// What markets are built from.
pub(super) struct Lister {
    pub venue: Supervisor,
    pub twins: Twins,
    pub trading_arbiter: ArbiterHandle,
    pub data_arbiter: ArbiterHandle,
    pub log: Handle<EventLog>,
    pub ledger: Handle<LedgerActor>,
    pub meter: Arc<LogMeter>,
    pub recovery: Arc<Recovery>,
    pub watch: Watch,
    pub in_flight: usize,
    pub clock: Clock,
    pub threads: Threads,
    pub listing: Arc<Listing>,
}

impl Lister {
    /// Starts the actors of a market and lists it.
    ///
    /// # Errors
    /// [`Failure`] when one cannot start within its budget.
    pub async fn open(&self, id: MarketId, config: MarketConfig, scale: Scale) -> Result<(), Failure> {
        let currency = |id: CurrencyId| self.listing.now().currencies.get(usize::from(id.0)).cloned();
        let (Some(base), Some(quote)): (Option<Currency>, Option<Currency>) =
            (currency(config.base), currency(config.quote))
        else {
            let reason = "a currency of it is not listed".to_owned();
            return Err(Failure::Down { name: config.symbol, reason });
        };
        let symbol = config.symbol.clone();
        let phase = Arc::<PhaseBoard>::default();
        let data = {
            let desk = Arc::<market_data::Desk>::default();
            let parts = market_data::Parts { market: id, recovery: self.recovery.clone(), desk, phase: phase.clone() };
            let spec = ChildSpec::new(data_name(&symbol), self.data_arbiter.clone(), move |lifeline| {
                Ok(MarketDataActor::new(parts.clone(), lifeline))
            });
            let spec = spec.mailbox(16_384).keep_queue().watch(self.watch).when_exhausted(Exhausted::FaultAtFirst);
            self.venue.start(self.threads.place(spec)).await?
        };
        let berth = self.twins.berth(&book_name(&symbol)).await?;
        let book = {
            let lag = lag_of(StreamId::Market(id), self.meter.clone(), berth.clone());
            let parts = order_book::Parts {
                market: id,
                log: self.log.clone(),
                ledger: self.ledger.clone(),
                data: data.clone(),
                recovery: self.recovery.clone(),
                berth: berth.clone(),
                meter: self.meter.clone(),
                in_flight: self.in_flight,
                listing: self.listing.clone(),
                clock: self.clock.clone(),
            };
            let this = Arc::new(Mutex::new(None));
            let name = this.clone();
            let spec = ChildSpec::new(book_name(&symbol), self.trading_arbiter.clone(), move |lifeline| {
                let fault = |fault: Fault| StartError::Faulted(fault.reason);
                parts.berth.judge(parts.recovery.fault(id)).map_err(fault)?;
                Ok(OrderBook::new(parts.clone(), name.clone(), lifeline))
            });
            let spec = spec.mailbox(65_536).keep_queue().watch(self.watch).lag(lag);
            let spec = spec.when_exhausted(Exhausted::FaultAtFirst);
            let book = match (self.venue.start_as(self.threads.place(spec), &this).await, berth.fault()) {
                (Ok(book), _) => book,
                // A market that cannot go on is halted alone.
                (Err(failure), Some(_)) => this.lock().clone().ok_or(failure)?,
                (Err(failure), None) => return Err(failure),
            };
            berth.served_by(book.port());
            book
        };
        if !insist(&self.ledger, Attach(id, book.clone())).await {
            return Err(Failure::SupervisorGone);
        }
        // A market that is halted hears nothing; it begins an epoch when it is started again.
        insist(&book, Attached).await;
        self.listing.add_market(Market { id, config, scale, base, quote, book, data, berth, phase });
        Ok(())
    }

    /// Takes away what an attempt to open the market has left.
    ///
    /// # Errors
    /// [`Failure`] when a supervisor is being restarted.
    async fn clear(&self, symbol: &str) -> Result<(), Failure> {
        let (book, data) = (book_name(symbol), data_name(symbol));
        let gone = |removed| match removed {
            Ok(()) | Err(Failure::Unknown(_)) => Ok(()),
            Err(failure) => Err(failure),
        };
        gone(self.venue.remove(&book).await)?;
        gone(self.twins.remove(&book).await)?;
        gone(self.venue.remove(&data).await)
    }

    /// Lists what the ledger has and this node has not, whenever there may be something.
    pub async fn follow(self) {
        loop {
            self.listing.grows().await;
            while let Err(why) = self.catch_up().await {
                tracing::warn!(why, "new currencies and markets are not listed yet");
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }

    async fn catch_up(&self) -> Result<(), String> {
        let listed = self.ledger.send(GetListed).await.map_err(|why| why.to_string())?;
        let listed = listed.ok_or_else(|| "the ledger is starting".to_owned())?;
        self.listing.set_stopped(listed.stopped);
        self.listing.add_currencies(&listed.currencies);
        let known = self.listing.now().markets.len();
        for (config, scale) in listed.markets.into_iter().skip(known) {
            tracing::info!(market = config.symbol, "a market is opened");
            self.clear(&config.symbol).await.map_err(|failure| failure.to_string())?;
            self.open(config.id, config, scale).await.map_err(|failure| failure.to_string())?;
        }
        Ok(())
    }
}
