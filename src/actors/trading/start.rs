//! How the trading actors come to life.

use super::ledger::{self, Attach, LedgerActor};
use super::market_data::{self, MarketDataActor};
use super::order_book::{self, OrderBook};
use super::recovery::Recovery;
use super::{Inner, Market, Trading};
use crate::actors::account::AccountActor;
use crate::actors::directory::{Directory, DirectorySettings};
use crate::actors::event_log::{Epochs, EventLog, LogMeter, ReportLine};
use crate::actors::supervision::{ChildSpec, Failure, Settings};
use crate::actors::supervisor::Supervisor;
use crate::domain::ids::{Epoch, MarketId};
use crate::domain::market::{Currency, MarketConfig, Scale};
use crate::domain::time::Timestamp;
use crate::persistence::log::LogEngine;
use actix::Arbiter;
use parking_lot::Mutex;
use std::sync::Arc;

/// What the actors are built on.
pub struct Foundation {
    /// The log's engine; its sink forwards to `reports`.
    pub engine: Arc<dyn LogEngine + Sync>,
    /// Where the engine's reports go.
    pub reports: ReportLine,
    /// The log's figures.
    pub meter: Arc<LogMeter>,
    /// Where the state comes from.
    pub recovery: Arc<Recovery>,
    /// The currencies that are listed.
    pub currencies: Vec<Currency>,
    /// The markets that are listed.
    pub markets: Vec<(MarketConfig, Scale)>,
    /// The newest epoch of any stream in the log.
    pub newest_epoch: Epoch,
    /// The time of the newest batch in the log.
    pub newest_time: Timestamp,
    /// This node's number.
    pub node: u16,
}

/// Starts the trading actors below `root` and waits until each has recovered.
///
/// # Errors
/// [`Failure`] when one cannot start within its budget.
pub async fn start(root: &Supervisor, foundation: Foundation) -> Result<Trading, Failure> {
    // Actors that talk to each other share an arbiter: a message costs 0.1 µs there, a hop 5 µs.
    let trading_arbiter = Arbiter::new().handle();
    let data_arbiter = Arbiter::new().handle();
    let trading = root.branch("trading", Settings::default().rest_for_one()).await?;
    let Foundation { engine, reports, meter, recovery, currencies, markets, newest_epoch, newest_time, node } =
        foundation;

    let epochs = Arc::new(Epochs::above(newest_epoch, node));
    let log = trading
        .start(
            ChildSpec::new("event log", trading_arbiter.clone(), move |lifeline| {
                let (engine, epochs, meter) = (engine.clone(), epochs.clone(), meter.clone());
                Ok(EventLog::new(engine, epochs, meter, newest_time, lifeline))
            })
            .mailbox(65_536),
        )
        .await?;
    reports.connect(log.clone());

    let venue = trading.branch("venue", Settings::default()).await?;
    let books = Arc::new(Mutex::new(std::collections::BTreeMap::new()));
    let ledger = {
        let parts = ledger::Parts { log: log.clone(), recovery: recovery.clone(), books };
        let this = Arc::new(Mutex::new(None));
        let name = this.clone();
        let spec = ChildSpec::new("ledger", trading_arbiter.clone(), move |lifeline| {
            Ok(LedgerActor::new(parts.clone(), name.clone(), lifeline))
        });
        venue.start_as(spec.mailbox(65_536).keep_queue(), &this).await?
    };

    let accounts =
        Directory::new("accounts", std::slice::from_ref(&data_arbiter), DirectorySettings::default(), |account, _| {
            Ok(AccountActor::new(*account))
        });
    let mut listed = Vec::new();
    for (index, (config, scale)) in markets.into_iter().enumerate() {
        let id = MarketId(index as u16);
        let symbol = config.symbol.clone();
        let data = {
            let parts = market_data::Parts { market: id, recovery: recovery.clone(), accounts: accounts.clone() };
            let spec = ChildSpec::new(format!("market data {symbol}"), data_arbiter.clone(), move |lifeline| {
                Ok(MarketDataActor::new(parts.clone(), lifeline))
            });
            venue.start(spec.mailbox(16_384).keep_queue()).await?
        };
        let book = {
            let (log, ledger, data) = (log.clone(), ledger.clone(), data.clone());
            let parts = order_book::Parts { market: id, log, ledger, data, recovery: recovery.clone() };
            let this = Arc::new(Mutex::new(None));
            let name = this.clone();
            let spec = ChildSpec::new(format!("order book {symbol}"), trading_arbiter.clone(), move |lifeline| {
                Ok(OrderBook::new(parts.clone(), name.clone(), lifeline))
            });
            venue.start_as(spec.mailbox(65_536).keep_queue(), &this).await?
        };
        // A full mailbox is impossible here: nobody else knows the ledger yet.
        let _ = ledger.try_send(Attach(id, book.clone()));
        let of = |currency: crate::domain::ids::CurrencyId| currencies.iter().find(|c| c.id == currency).cloned();
        let (Some(base), Some(quote)) = (of(config.base), of(config.quote)) else { continue };
        listed.push(Arc::new(Market { id, config, scale, base, quote, book, data }));
    }
    Ok(Trading { inner: Arc::new(Inner { currencies, markets: listed, log, ledger, accounts }) })
}
