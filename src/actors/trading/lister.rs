//! Brings markets to life: those that are listed when the program starts, and those that are listed while it runs.

use super::Market;
use super::ledger::{Attach, GetListed, LedgerActor};
use super::listing::{Listing, PhaseBoard};
use super::market_data::{self, MarketDataActor};
use super::order_book::{self, OrderBook};
use super::recovery::Recovery;
use super::start::{Threads, Twins, lag_of};
use super::twin::Fault;
use crate::actors::account::AccountActor;
use crate::actors::directory::Directory;
use crate::actors::event_log::{Clock, EventLog, LogMeter};
use crate::actors::supervision::{ChildSpec, Failure, Handle, StartError, Watch};
use crate::actors::supervisor::Supervisor;
use crate::domain::ids::{AccountId, CurrencyId, MarketId, StreamId};
use crate::domain::market::{Currency, MarketConfig, Scale};
use actix::ArbiterHandle;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How long the ledger is left alone when it does not answer, or a market cannot start.
const TRY_AGAIN: Duration = Duration::from_millis(500);

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
    pub accounts: Directory<AccountId, AccountActor>,
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
            return Ok(());
        };
        let symbol = config.symbol.clone();
        let phase = Arc::<PhaseBoard>::default();
        let data = {
            let desk = Arc::<market_data::Desk>::default();
            let (recovery, accounts) = (self.recovery.clone(), self.accounts.clone());
            let parts = market_data::Parts { market: id, recovery, accounts, desk, phase: phase.clone() };
            let spec = ChildSpec::new(format!("market data {symbol}"), self.data_arbiter.clone(), move |lifeline| {
                Ok(MarketDataActor::new(parts.clone(), lifeline))
            });
            let spec = spec.mailbox(16_384).keep_queue().watch(self.watch);
            self.venue.start(self.threads.place(spec)).await?
        };
        let berth = self.twins.berth(&format!("order book {symbol}")).await?;
        let book = {
            let lag = lag_of(StreamId::Market(id), self.meter.clone(), berth.clone());
            let parts = order_book::Parts {
                market: id,
                log: self.log.clone(),
                ledger: self.ledger.clone(),
                data: data.clone(),
                recovery: self.recovery.clone(),
                berth: berth.clone(),
                in_flight: self.in_flight,
                listing: self.listing.clone(),
                clock: self.clock.clone(),
            };
            let this = Arc::new(Mutex::new(None));
            let name = this.clone();
            let spec = ChildSpec::new(format!("order book {symbol}"), self.trading_arbiter.clone(), move |lifeline| {
                let fault = |fault: Fault| StartError::Faulted(fault.reason);
                parts.berth.judge(parts.recovery.fault(id)).map_err(fault)?;
                Ok(OrderBook::new(parts.clone(), name.clone(), lifeline))
            });
            let spec = spec.mailbox(65_536).keep_queue().watch(self.watch).lag(lag);
            let book = match (self.venue.start_as(self.threads.place(spec), &this).await, berth.fault()) {
                (Ok(book), _) => book,
                // A market that cannot go on is halted alone.
                (Err(failure), Some(_)) => this.lock().clone().ok_or(failure)?,
                (Err(failure), None) => return Err(failure),
            };
            berth.served_by(book.port());
            book
        };
        // A ledger that is too full to hear of the book hears of it when it begins anew.
        let _ = self.ledger.try_send(Attach(id, book.clone()));
        self.listing.add_market(Market { id, config, scale, base, quote, book, data, berth, phase });
        Ok(())
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
            self.open(config.id, config, scale).await.map_err(|failure| failure.to_string())?;
        }
        Ok(())
    }
}
