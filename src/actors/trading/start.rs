//! How the trading actors come to life.

use super::balance_watch::BalanceWatch;
use super::ledger::{self, LedgerActor};
use super::lister::Lister;
use super::listing::Listing;
use super::recovery::Recovery;
use super::remote::Forwarder;
use super::twin::{self, Berth, Standby, Twin, TwinMeter};
use super::{Inner, Trading, WeakTrading};
use crate::actors::account::AccountActor;
use crate::actors::directory::{Directory, DirectorySettings};
use crate::actors::event_log::{Clock, Epochs, EventLog, LogMeter, ReportLine};
use crate::actors::latency::Latency;
use crate::actors::log_time::LogTime;
use crate::actors::role::Role;
use crate::actors::supervision::{ChildSpec, Exhausted, Failure, Lag, Settings, Watch};
use crate::actors::supervisor::Supervisor;
use crate::domain::ids::{AccountId, Epoch, StreamId};
use crate::domain::market::{Currency, MarketConfig, Scale};
use crate::domain::time::Timestamp;
use crate::persistence::log::LogEngine;
use actix::{Actor, Arbiter, ArbiterHandle, Context};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Where the actors live.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// Those that talk to each other share an arbiter: a message costs 0.1 µs there, a hop 5 µs. Twins and market data
    /// have their own.
    #[default]
    Several,
    /// All on this one, which is how they are simulated.
    One(ArbiterHandle),
}

impl Threads {
    fn arbiter(&self) -> ArbiterHandle {
        match self {
            Threads::Several => Arbiter::new().handle(),
            Threads::One(arbiter) => arbiter.clone(),
        }
    }

    /// An actor that hangs gets another arbiter, if there may be others.
    pub(super) fn place<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> ChildSpec<A> {
        match self {
            Threads::Several => spec,
            Threads::One(arbiter) => {
                let arbiter = arbiter.clone();
                spec.arbiters(move |_| arbiter.clone())
            }
        }
    }
}

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
    /// What this node does.
    pub role: Role,
    /// The way to the active node, when there are others.
    pub forward: Option<Forwarder>,
    /// How the supervisors of these actors react.
    pub settings: Settings,
    /// How hangs are noticed.
    pub watch: Watch,
    /// The most commands of one market that may be on their way through the log.
    pub in_flight: usize,
    /// What time it is; the log's time follows it ([`LogTime`]).
    pub clock: Clock,
    /// Where the actors live.
    pub threads: Threads,
}

/// The twins of the trading actors, which live on an arbiter of their own.
pub(super) struct Twins {
    branch: Supervisor,
    arbiter: ArbiterHandle,
    threads: Threads,
    meter: Arc<TwinMeter>,
}

impl Twins {
    async fn begin(trading: &Supervisor, threads: &Threads, meter: Arc<TwinMeter>) -> Result<Twins, Failure> {
        // A twin that fails is empty until its primary builds it up; nothing waits for it.
        let settings = Settings::default().budget(100, Duration::from_secs(60));
        let branch = trading.branch("twins", settings).await?;
        Ok(Twins { branch, arbiter: threads.arbiter(), threads: threads.clone(), meter })
    }

    /// A place with its twin.
    pub async fn berth<S: Standby>(&self, name: &str) -> Result<Arc<Berth<S>>, Failure> {
        let berth = Berth::new(self.meter.clone());
        let of = berth.clone();
        let build = move |lifeline| Ok(Twin::new(of.clone(), lifeline));
        let spec =
            ChildSpec::new(name, self.arbiter.clone(), build).mailbox(twin::MAILBOX).when_exhausted(Exhausted::Fault);
        berth.pair_with(self.branch.start(self.threads.place(spec)).await?);
        Ok(berth)
    }

    /// Takes away the twin of a place that could not be opened.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.branch.remove(name).await
    }
}

/// Starts the trading actors below `root` and waits until each has recovered.
///
/// # Errors
/// [`Failure`] when one cannot start within its budget.
pub async fn start(root: &Supervisor, foundation: Foundation) -> Result<Trading, Failure> {
    let Foundation {
        engine,
        reports,
        meter,
        recovery,
        currencies,
        markets,
        newest_epoch,
        newest_time,
        role,
        forward,
        settings,
        watch,
        in_flight,
        clock,
        threads,
    } = foundation;
    let trading_arbiter = threads.arbiter();
    let data_arbiter = threads.arbiter();
    let trading = root.branch("trading", settings.rest_for_one()).await?;
    let twin_meter = Arc::new(TwinMeter::default());
    // Before the log, on which they do not depend: they survive its restarts.
    let twins = Twins::begin(&trading, &threads, twin_meter.clone()).await?;

    // A node that starts from a snapshot with nothing after it reads no batch that tells who leads.
    role.observed(newest_epoch);
    let epochs = Arc::new(Epochs::above(newest_epoch, role.node()));
    let figures = meter.clone();
    let for_log = role.clone();
    let time = Arc::new(LogTime::new(clock, newest_time));
    let of_log = time.clone();
    let for_books: Clock = Arc::new(move || of_log.now());
    let build_log = move |lifeline| {
        let (engine, epochs, meter) = (engine.clone(), epochs.clone(), figures.clone());
        Ok(EventLog::new(engine, epochs, for_log.clone(), meter, time.clone(), lifeline))
    };
    let spec = ChildSpec::new("event log", trading_arbiter.clone(), build_log).mailbox(65_536).watch(watch);
    let log = trading.start(threads.place(spec)).await?;
    let venue = trading.branch("venue", settings).await?;
    let listing = Arc::new(Listing::new(currencies));
    let books = Arc::new(Mutex::new(std::collections::BTreeMap::new()));
    let balances = Arc::<BalanceWatch>::default();
    let ledger = {
        let berth = twins.berth("ledger").await?;
        let lag = lag_of(StreamId::Ledger, meter.clone(), berth.clone());
        let parts = ledger::Parts {
            log: log.clone(),
            recovery: recovery.clone(),
            books,
            berth: berth.clone(),
            meter: meter.clone(),
            listing: listing.clone(),
            balances: balances.clone(),
        };
        let this = Arc::new(Mutex::new(None));
        let name = this.clone();
        let spec = ChildSpec::new("ledger", trading_arbiter.clone(), move |lifeline| {
            Ok(LedgerActor::new(parts.clone(), name.clone(), lifeline))
        });
        let spec = spec.mailbox(65_536).keep_queue().watch(watch).lag(lag);
        let ledger = venue.start_as(threads.place(spec), &this).await?;
        berth.served_by(ledger.port());
        ledger
    };

    let lister = Lister {
        venue,
        twins,
        trading_arbiter,
        data_arbiter: data_arbiter.clone(),
        log: log.clone(),
        ledger: ledger.clone(),
        meter: meter.clone(),
        recovery,
        watch,
        in_flight,
        clock: for_books,
        threads,
        listing: listing.clone(),
    };
    for (config, scale) in markets {
        lister.open(config.id, config, scale).await?;
    }
    // Only now are all there who apply what is reported.
    reports.connect(log.clone());
    actix::spawn(lister.follow());
    let twins = twin_meter;
    let acknowledged = Latency::default();
    let directory = DirectorySettings { budget: settings.budget, ..DirectorySettings::default() };
    // The actors of users work with the exchange that they are a part of.
    let inner = Arc::new_cyclic(|inner| {
        let whole = WeakTrading(inner.clone());
        let build = move |account: &AccountId, lifeline| Ok(AccountActor::new(*account, whole.clone(), lifeline));
        let accounts = Directory::new("accounts", std::slice::from_ref(&data_arbiter), directory, build);
        Inner { listing, log, ledger, balances, role, meter, forward, accounts, twins, acknowledged }
    });
    Ok(Trading { inner })
}

/// How many batches of the log the owner of a stream has still to tell of.
pub(super) fn lag_of<S: Standby>(stream: StreamId, meter: Arc<LogMeter>, berth: Arc<Berth<S>>) -> Lag {
    Arc::new(move || {
        let newest = meter.newest_of(stream);
        newest.saturating_sub(berth.told().unwrap_or_default().0)
    })
}
