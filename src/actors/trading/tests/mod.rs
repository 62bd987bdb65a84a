//! The actors of the exchange as a program over a log in memory, in which everything happens on one thread.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod admitted;
mod cancels;
mod indication;
mod lasting;
mod missed;
mod precedence;
mod reads;
mod standby;
mod standstill;
mod steering;

use super::ledger::IsReady;
use super::projector::{self, Follower};
use super::recovery::{Recovery, newest};
use super::*;
use crate::actors::event_log::ReportLine;
use crate::actors::role::Role;
use crate::actors::supervision::{Settings, Watch};
use crate::actors::supervisor::Supervisor;
use crate::app::log::genesis;
use crate::domain::ids::{ClientOrderId, Epoch, Ticket};
use crate::domain::money::{Amount, Ppm, Price, Size};
use crate::domain::order::{Kind, SelfTrade, TimeInForce};
use crate::domain::time::Timestamp;
use crate::persistence::db::Database;
use crate::persistence::log::LogEngine;
use crate::persistence::log::faulty::{Faults, Faulty, Medium};
use crate::persistence::snapshots::Snapshots;
use actix::Arbiter;
use reads::{Counted, Reads};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

const ADA: AccountId = AccountId::FIRST_USER;
const BOB: AccountId = AccountId(ADA.0 + 1);
const ONE: i128 = 100_000_000;
const BTC: CurrencyId = CurrencyId(0);
const ETH: CurrencyId = CurrencyId(1);
const USDT: CurrencyId = CurrencyId(2);

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A buy of Ada's, the least that there may be, at 20,000.00 BTC-USDT.
fn bid(name: u128, time_in_force: TimeInForce) -> NewOrder {
    NewOrder {
        ticket: Ticket(0),
        account: ADA,
        client_id: Some(ClientOrderId(name)),
        side: Side::Buy,
        kind: Kind::Limit { price: Price(2_000_000), time_in_force, post_only: false },
        size: Size(100),
        stop: None,
        self_trade: SelfTrade::default(),
        maker_fee: Ppm(0),
        taker_fee: Ppm(0),
        hold: Amount(0),
    }
}

/// What outlives the programs.
struct Machine {
    medium: Medium,
    folder: tempfile::TempDir,
    /// What its clock shows, in microseconds; it stands still until it is set.
    clock: Arc<AtomicI64>,
    /// What recoveries read of the log.
    reads: Arc<Reads>,
    /// Whether the log takes what it is given and does nothing with it.
    stalled: Arc<AtomicBool>,
    /// How many commands of users may be on their way to a market.
    in_flight: usize,
}

/// A program over the machine's log, its database and its snapshots, in which everything happens on this thread.
struct Program {
    trading: Trading,
    follower: Follower,
    engine: Arc<Faulty>,
    root: Supervisor,
    database: Database,
}

impl Machine {
    fn new() -> Machine {
        let medium = Medium::new(1, Faults::default(), 64);
        medium.open(Box::new(|_| {})).propose(genesis(Epoch { counter: 1, node: 0 }, Timestamp(1))).unwrap();
        medium.settle();
        let clock = Arc::new(AtomicI64::new(1_767_225_600_000_000));
        let (folder, in_flight) = (tempfile::tempdir().unwrap(), 64);
        Machine { medium, folder, clock, reads: Arc::default(), stalled: Arc::default(), in_flight }
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::open(self.folder.path().join("snapshots")).unwrap()
    }

    async fn start(&self) -> Program {
        self.start_with(Settings::default()).await
    }

    /// The same, under supervisors that react so.
    async fn start_with(&self, settings: Settings) -> Program {
        let program = self.start_as(Role::alone(1), None, settings).await;
        program.is_ready().await;
        program
    }

    /// The same in another role, with this way to the node that is active then.
    async fn start_as(&self, role: Role, forward: Option<Forwarder>, settings: Settings) -> Program {
        let reports = ReportLine::default();
        let line = reports.clone();
        let engine = Arc::new(self.medium.open(Box::new(move |report| line.forward(report))));
        let database = Database::open(&self.folder.path().join("agora.db")).unwrap();
        let parts = projector::Parts {
            reader: engine.reader(),
            database: database.clone(),
            snapshots: self.snapshots(),
            sealed: Arc::new(Vec::new),
            archives: false,
            written: Arc::default(),
            snapshot_every: Duration::from_secs(600),
            prune: None,
            role: Role::alone(1),
            peers: None,
        };
        let mut follower = Follower::new(parts).unwrap();
        follower.catch_up(engine.end()).unwrap();
        let venue = follower.venue().clone();
        let clock = self.clock.clone();
        let counted = Arc::new(Counted { log: engine.reader(), reads: self.reads.clone() });
        let (newest_epoch, newest_time) = newest(&venue, engine.reader().as_ref(), follower.position()).unwrap();
        let foundation = Foundation {
            engine: engine.clone(),
            reports,
            meter: Arc::default(),
            currencies: venue.ledger.ledger.currencies().to_vec(),
            markets: venue.ledger.ledger.markets().to_vec(),
            recovery: Arc::new(
                Recovery::new(counted, self.snapshots(), venue, follower.position(), 1_000).on_one_thread(),
            ),
            newest_epoch,
            newest_time,
            role,
            forward,
            settings,
            watch: Watch {
                every: Duration::from_secs(10),
                deadline: Duration::from_secs(60),
                start_within: Some(Duration::from_secs(60)),
            },
            in_flight: self.in_flight,
            clock: Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))),
            threads: Threads::One(Arbiter::current()),
        };
        let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
        let (medium, stalled) = (self.medium.clone(), self.stalled.clone());
        actix_web::rt::spawn(async move {
            loop {
                while !stalled.load(Ordering::Relaxed) && medium.step() {}
                a_moment().await;
            }
        });
        let trading = super::start(&root, foundation).await.unwrap();
        Program { trading, follower, engine, root, database }
    }
}

impl Program {
    async fn is_ready(&self) {
        while self.trading.ledger().send(IsReady).await != Ok(true) {
            a_moment().await;
        }
    }

    /// Waits until the market admits commands, which it does a moment after the program has started.
    async fn is_open(&self, symbol: &str) -> Arc<Market> {
        let market = self.trading.market(symbol).unwrap().clone();
        while market.book.send(order_book::IsOpen).await != Ok(true) {
            a_moment().await;
        }
        market
    }

    async fn end(self) {
        self.root.shutdown().await;
        self.engine.kill();
    }

    /// Places a limit order.
    async fn place(
        &self,
        symbol: &str,
        account: AccountId,
        side: Side,
        (price, lots): (u64, u64),
        name: u128,
    ) -> Result<OrderRecord, Refused> {
        let market = self.trading.market(symbol).unwrap();
        let kind = Kind::Limit { price: Price(price), time_in_force: TimeInForce::GoodTillCanceled, post_only: false };
        let order = NewOrder { account, side, kind, size: Size(lots), ..bid(name, TimeInForce::GoodTillCanceled) };
        loop {
            match self.trading.place(market, order).await {
                // A book begins its epoch a moment after the program has started.
                Err(Refused::Unavailable(Unavailable::Starting)) => a_moment().await,
                other => return other,
            }
        }
    }
}
