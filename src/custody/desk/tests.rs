//! The desk over a log in memory, which stands still when it is told to.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod rounds;

use super::rounds::REQUESTED_FOR;
use super::*;
use crate::actors::event_log::{LogMeter, ReportLine};
use crate::actors::role::{Role, State};
use crate::actors::supervision::{Settings, Watch};
use crate::actors::supervisor::Supervisor;
use crate::actors::trading::ledger::IsReady;
use crate::actors::trading::recovery::Recovery;
use crate::actors::trading::{self, Foundation, Threads};
use crate::custody::{Arrival, Progress, Shipment, Simulated};
use crate::domain::ids::{CurrencyId, Epoch, Sequence};
use crate::domain::ledger::Balance;
use crate::domain::order::Reject;
use crate::domain::time::{SECOND, Timestamp};
use crate::domain::venue::Venue;
use crate::persistence::log::faulty::{Faults, Faulty, Medium};
use crate::persistence::log::{LogEngine, Position};
use crate::persistence::snapshots::Snapshots;
use crate::persistence::transfers::{self, TransferKind, TransferRow};
use actix::Arbiter;
use diesel::RunQueryDsl;
use parking_lot::Mutex;
use std::sync::atomic::AtomicBool;

const ADA: AccountId = AccountId::FIRST_USER;
const BOB: AccountId = AccountId(ADA.0 + 1);
const COIN: i128 = 100_000_000;
const ADDRESS: &str = "simbtc1q00000000000000000000";

/// A venue with one currency and one user, who has 20 coins. Above 1 coin a withdrawal has to be approved.
struct Bench {
    desk: Desk,
    trading: Trading,
    role: Role,
    /// While it is set, nothing that is proposed to the log gets into it.
    stalled: Arc<AtomicBool>,
    engine: Arc<Faulty>,
    _root: Supervisor,
    _folder: tempfile::TempDir,
}

impl Drop for Bench {
    /// What is proposed while the actors end is nobody's.
    fn drop(&mut self) {
        self.engine.kill();
    }
}

fn btc() -> Currency {
    Currency { id: CurrencyId(0), code: "BTC".into(), name: "Bitcoin".into(), decimals: 8, fiat: false }
}

fn order(id: TransferId, atoms: i128) -> WithdrawalOrder {
    WithdrawalOrder {
        id,
        account: ADA,
        currency: btc(),
        amount: Amount(atoms),
        fee_on_top: false,
        network: None,
        address: ADDRESS.into(),
        tag: None,
    }
}

/// A custodian that keeps what it is to send, and has what a test says has arrived. Addresses of ours begin with `own`.
#[derive(Clone, Default)]
struct Vault {
    sent: Arc<Mutex<Vec<Shipment>>>,
    arrived: Arc<Mutex<Vec<Arrival>>>,
    /// Panics once while it is set.
    stumbles: Arc<AtomicBool>,
}

impl Vault {
    fn arrive(&self, hash: &str, address: &str, currency: u16, atoms: i128) {
        let (hash, address) = (hash.to_owned(), address.to_owned());
        let (currency, amount) = (CurrencyId(currency), Amount(atoms));
        self.arrived.lock().push(Arrival { hash, address, currency, amount });
    }

    /// What has arrived and was not acknowledged.
    fn waiting(&self) -> Vec<String> {
        self.arrived.lock().iter().map(|arrival| arrival.hash.clone()).collect()
    }
}

impl Custodian for Vault {
    fn networks(&self, currency: &Currency) -> Vec<Network> {
        let id = if currency.code == "BTC" { "bitcoin" } else { "ethereum" };
        let (fee, least, most) = (Amount(1), Amount(2), Amount(100 * COIN));
        vec![Network { id, name: id, confirmations: 1, fee, least, most }]
    }

    fn new_address(&self, account: AccountId, currency: CurrencyId, network: &str) -> String {
        format!("own-{network}-{}-{}", account.0, currency.0)
    }

    fn is_address(&self, _: &str, _: &str) -> bool {
        true
    }

    fn is_ours(&self, address: &str) -> bool {
        address.starts_with("own")
    }

    fn send(&self, shipment: &Shipment) -> Progress {
        self.sent.lock().push(shipment.clone());
        Progress::Underway
    }

    fn arrivals(&self) -> Vec<Arrival> {
        assert!(!self.stumbles.swap(false, Ordering::Relaxed), "the custodian panics, as it was told to");
        self.arrived.lock().clone()
    }

    fn acknowledge(&self, hash: &str) {
        self.arrived.lock().retain(|arrival| arrival.hash != hash);
    }

    fn pretend(&self, _: &str, _: CurrencyId, _: Amount) -> Pretense {
        Pretense::Impossible
    }
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn history_stands_at(desk: &Desk, position: i64) {
    let update = format!("UPDATE watermark SET position = {position}");
    assert_eq!(desk.write(move |c| diesel::sql_query(update).execute(c)).await.unwrap(), 1);
}

async fn list(trading: &Trading, currency: Currency) {
    let code = currency.code.clone();
    trading.execute(LedgerCommand::ListCurrency(Box::new(currency))).await.unwrap();
    while trading.currency(&code).is_none() {
        a_moment().await;
    }
}

impl Bench {
    async fn start() -> Bench {
        Bench::with(Box::new(Simulated::new(Duration::ZERO))).await
    }

    async fn with(custodian: Box<dyn Custodian>) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let medium = Medium::new(1, Faults::default(), 64);
        let reports = ReportLine::default();
        let line = reports.clone();
        let engine = Arc::new(medium.open(Box::new(move |report| line.forward(report))));
        let snapshots = Snapshots::open(folder.path().join("snapshots")).unwrap();
        let recovery = Recovery::new(engine.reader(), snapshots, Venue::default(), Position(0), 1_000);
        let role = Role::alone(1);
        let foundation = Foundation {
            engine: engine.clone(),
            reports,
            meter: Arc::new(LogMeter::default()),
            recovery: Arc::new(recovery.on_one_thread()),
            currencies: Vec::new(),
            markets: Vec::new(),
            newest_epoch: Epoch::default(),
            newest_time: Timestamp::ZERO,
            role: role.clone(),
            forward: None,
            settings: Settings::default(),
            watch: Watch {
                every: Duration::from_secs(10),
                deadline: Duration::from_secs(60),
                start_within: Some(Duration::from_secs(60)),
            },
            in_flight: 64,
            clock: Arc::new(wall_clock),
            threads: Threads::One(Arbiter::current()),
        };
        let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
        let trading = trading::start(&root, foundation).await.unwrap();
        let stalled = Arc::<AtomicBool>::default();
        let still = stalled.clone();
        actix_web::rt::spawn(async move {
            loop {
                while !still.load(Ordering::Relaxed) && medium.step() {}
                a_moment().await;
            }
        });
        while trading.ledger().send(IsReady).await != Ok(true) {
            a_moment().await;
        }
        list(&trading, btc()).await;
        trading.open_account(ADA).await.unwrap();
        trading.deposit(ADA, CurrencyId(0), Amount(20 * COIN), 1_000).await.unwrap();
        let inner = Inner {
            trading: trading.clone(),
            database: Database::open(&folder.path().join("agora.db")).unwrap(),
            custodian,
            limits: BTreeMap::from([("BTC".to_owned(), Limit::parse("1").unwrap())]),
            at_once: 2,
            puzzles: Puzzles::default(),
            rounds: Rounds::default(),
        };
        let desk = Desk { inner: Arc::new(inner) };
        // Nothing here writes the history, and what a test puts into it is all of it.
        history_stands_at(&desk, i64::MAX).await;
        Bench { desk, trading, role, stalled, engine, _root: root, _folder: folder }
    }

    /// A row of long ago, of which the ledger has not heard.
    async fn write_down(&self, id: TransferId, stage: Stage) -> WithdrawalRow {
        let row = WithdrawalRow {
            id,
            account: ADA,
            currency: CurrencyId(0),
            amount: Amount(2 * COIN),
            fee: Amount(1),
            network: "bitcoin".into(),
            address: ADDRESS.into(),
            tag: None,
            created_at: Timestamp(1),
            stage,
            approved_at: None,
            hash: None,
            ended_at: None,
        };
        let stored = row.clone();
        assert!(self.desk.write(move |c| custody::insert(c, &stored)).await.unwrap());
        row
    }

    /// As after a restore of a database from before.
    async fn lose_rows(&self) {
        let lose = |c: &mut Connection| diesel::sql_query("DELETE FROM withdrawals").execute(c);
        assert!(self.desk.write(lose).await.unwrap() > 0);
    }

    async fn rounds(&self, count: usize) {
        for _ in 0..count {
            self.desk.round(wall_clock()).await.unwrap();
        }
    }

    /// What the history has of a movement of Ada's.
    async fn moved(&self, sequence: u64, id: TransferId, kind: TransferKind) {
        let row = TransferRow {
            account: ADA,
            sequence: Sequence(sequence),
            id,
            kind,
            currency: CurrencyId(0),
            amount: Amount(2 * COIN),
            counterpart: None,
            at: Timestamp(1),
        };
        self.desk.write(move |c| transfers::insert(c, &[row])).await.unwrap();
    }

    async fn stage(&self, id: TransferId) -> Stage {
        self.desk.read(move |c| custody::get(c, id)).await.unwrap().unwrap().stage
    }

    /// The withdrawals in the ledger, each with whether it is released.
    async fn held(&self) -> Vec<(TransferId, bool)> {
        let held = self.trading.withdrawals().await.unwrap();
        held.iter().map(|held| (held.movement.transfer, held.released)).collect()
    }

    async fn balance(&self) -> Balance {
        self.trading.balances(ADA).await.unwrap().unwrap().first().copied().unwrap()
    }
}

fn whole() -> Balance {
    Balance { available: Amount(20 * COIN), hold: Amount::ZERO }
}

fn hold(id: TransferId) -> LedgerCommand {
    let (ticket, currency, amount) = (Ticket(0), CurrencyId(0), Amount(2 * COIN));
    LedgerCommand::HoldWithdrawal(Movement { ticket, account: ADA, currency, amount, transfer: id })
}

#[actix_rt::test]
async fn withdrawals_that_wait_do_not_hide_newer_ones() {
    let bench = Bench::start().await;
    for id in 1..=5 {
        assert_eq!(bench.desk.withdraw(order(id, 2 * COIN)).await.unwrap().stage, Stage::Held);
    }
    bench.desk.withdraw(order(6, COIN / 2)).await.unwrap();
    let waits = |rows: Vec<(WithdrawalRow, bool)>| rows.iter().map(|(row, waits)| (row.id, *waits)).collect::<Vec<_>>();
    let waiting: Vec<(TransferId, bool)> = (1..=5).map(|id| (id, true)).collect();
    let all: Vec<(TransferId, bool)> = waiting.iter().copied().chain([(6, false)]).collect();
    assert_eq!(waits(bench.desk.unfinished(None, 100).await.unwrap()), all);
    let page = bench.desk.unfinished(None, 2).await.unwrap();
    let last = page.last().map(|(row, _)| (row.created_at, row.id));
    assert_eq!(waits(bench.desk.unfinished(last, 3).await.unwrap()), all[2..5]);
    bench.desk.round(wall_clock()).await.unwrap();
    let released: Vec<TransferId> = bench.held().await.into_iter().filter(|held| held.1).map(|held| held.0).collect();
    assert_eq!(released, [6]);
    bench.rounds(2).await;
    assert_eq!(bench.stage(6).await, Stage::Done);
    assert_eq!(waits(bench.desk.unfinished(None, 100).await.unwrap()), waiting);
    let found = bench.desk.find(6).await.unwrap();
    assert_eq!(found.map(|(row, waits)| (row.stage, waits)), Some((Stage::Done, false)));
    assert_eq!(bench.desk.find(7).await.unwrap(), None);
    // The last one in the list is found all the same.
    bench.desk.approve(5, ADA).await.unwrap();
    bench.rounds(3).await;
    assert_eq!(bench.stage(5).await, Stage::Done);
}

#[actix_rt::test]
async fn what_was_refused_or_called_back_is_not_asked_for_again() {
    let bench = Bench::start().await;
    let refused = bench.desk.withdraw(order(1, 100 * COIN)).await;
    assert!(matches!(refused, Err(CustodyError::Ledger(Refused::Reject(Reject::InsufficientFunds)))), "{refused:?}");
    assert_eq!(bench.stage(1).await, Stage::Refused);
    let again = bench.desk.withdraw(order(1, COIN)).await;
    assert!(matches!(again, Err(CustodyError::Over)), "{again:?}");

    let first = bench.desk.withdraw(order(2, 2 * COIN)).await.unwrap();
    assert_eq!(bench.desk.withdraw(order(2, 2 * COIN)).await.unwrap().id, first.id, "it is the same one");
    bench.desk.cancel(2, Some(ADA)).await.unwrap();
    let again = bench.desk.withdraw(order(2, 2 * COIN)).await;
    assert!(matches!(again, Err(CustodyError::Over)), "{again:?}");
    assert_eq!((bench.held().await, bench.balance().await), (Vec::new(), whole()));

    // Of one that was written down it is not known yet whether its money is held.
    bench.write_down(3, Stage::Requested).await;
    let unknown = bench.desk.withdraw(order(3, 2 * COIN)).await;
    let expected = Refused::Unavailable(Unavailable::OutcomeUnknown);
    assert!(matches!(unknown, Err(CustodyError::Ledger(why)) if why == expected), "{unknown:?}");
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!(bench.stage(3).await, Stage::Refused);
    assert!(matches!(bench.desk.withdraw(order(3, 2 * COIN)).await, Err(CustodyError::Over)));
}

#[actix_rt::test]
async fn a_hold_that_is_on_its_way_is_not_forgotten() {
    let bench = Bench::start().await;
    bench.write_down(1, Stage::Requested).await;
    bench.stalled.store(true, Ordering::Relaxed);
    let (trading, desk) = (bench.trading.clone(), bench.desk.clone());
    let asked = actix_web::rt::spawn(async move { trading.execute(hold(1)).await });
    let round = actix_web::rt::spawn(async move { desk.round(wall_clock()).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.stage(1).await, Stage::Requested, "its money may be held yet");
    bench.stalled.store(false, Ordering::Relaxed);
    let asked = asked.await.unwrap();
    assert!(matches!(asked, Ok(LedgerOutcome::WithdrawalHeld(_))), "{asked:?}");
    round.await.unwrap().unwrap();
    assert_eq!((bench.stage(1).await, bench.held().await), (Stage::Canceled, Vec::new()));
    assert_eq!(bench.balance().await, whole());

    // One that comes even later is given back.
    bench.write_down(2, Stage::Refused).await;
    bench.trading.execute(hold(2)).await.unwrap();
    assert_eq!(bench.held().await, [(2, false)]);
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!((bench.stage(2).await, bench.held().await), (Stage::Refused, Vec::new()));
    assert_eq!(bench.balance().await, whole());

    // One that was held while nobody waited for the answer any more goes on.
    bench.write_down(3, Stage::Requested).await;
    bench.trading.execute(hold(3)).await.unwrap();
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!((bench.stage(3).await, bench.held().await), (Stage::Held, vec![(3, false)]));
}

#[actix_rt::test]
async fn a_row_is_given_up_only_when_the_log_says_so() {
    let bench = Bench::start().await;
    // As seen by one whose ledger is behind: what the custodian has stays, what it has not comes back.
    for (id, released, stage) in [(1, true, Stage::Held), (2, false, Stage::Canceled)] {
        let row = bench.desk.withdraw(order(id, 2 * COIN)).await.unwrap();
        if released {
            bench.trading.execute(LedgerCommand::ReleaseWithdrawal(id)).await.unwrap();
        }
        bench.desk.tidy(&[&row]).await.unwrap();
        assert_eq!(bench.stage(id).await, stage);
    }
    assert_eq!(bench.held().await, [(1, true)]);
    assert_eq!(bench.balance().await, Balance { available: Amount(18 * COIN), hold: Amount(2 * COIN) });

    // One that stands by gives nothing up.
    let row = bench.desk.withdraw(order(3, 2 * COIN)).await.unwrap();
    bench.write_down(4, Stage::Held).await;
    bench.write_down(5, Stage::Requested).await;
    assert!(bench.role.step_down());
    bench.desk.tidy(&[&row]).await.unwrap();
    bench.desk.round(wall_clock()).await.unwrap();
    let stages = [bench.stage(3).await, bench.stage(4).await, bench.stage(5).await];
    assert_eq!(stages, [Stage::Held, Stage::Held, Stage::Requested]);
    assert!(
        bench.role.change(State::Standby, State::TakingOver) && bench.role.change(State::TakingOver, State::Active)
    );
    bench.desk.round(wall_clock()).await.unwrap();
    let stages = [bench.stage(3).await, bench.stage(4).await, bench.stage(5).await];
    assert_eq!(stages, [Stage::Held, Stage::Canceled, Stage::Refused]);

    // What has left is done, whoever looks at an older row.
    assert_eq!(bench.stage(1).await, Stage::Done);
    let mut older = bench.desk.read(|c| custody::get(c, 1)).await.unwrap().unwrap();
    assert!(older.hash.is_some());
    (older.stage, older.hash) = (Stage::Held, None);
    bench.desk.tidy(&[&older]).await.unwrap();
    assert_eq!(bench.stage(1).await, Stage::Done);
}

/// A round may be calling it back already.
#[actix_rt::test]
async fn what_took_too_long_is_not_acknowledged() {
    let bench = Bench::start().await;
    let row = bench.write_down(1, Stage::Requested).await;
    bench.trading.execute(hold(1)).await.unwrap();
    let late = bench.desk.acknowledge(row.clone(), Instant::now()).await;
    let expected = Refused::Unavailable(Unavailable::OutcomeUnknown);
    assert!(matches!(&late, Err(CustodyError::Ledger(why)) if *why == expected), "{late:?}");
    assert_eq!(bench.stage(1).await, Stage::Requested, "it is left to the rounds");
    bench.rounds(1).await;
    assert_eq!((bench.stage(1).await, bench.held().await), (Stage::Held, vec![(1, false)]));
    let in_time = bench.desk.acknowledge(row, Instant::now() + ACKNOWLEDGED_WITHIN).await.unwrap();
    assert_eq!(in_time.stage, Stage::Held);
    // Whatever was acknowledged was so before any round began that calls it back.
    assert!(i64::try_from(ACKNOWLEDGED_WITHIN.as_secs()).unwrap() * SECOND < REQUESTED_FOR);
}

#[actix_rt::test]
async fn the_custodian_is_told_all_that_decides_where_money_goes() {
    let vault = Vault::default();
    let bench = Bench::with(Box::new(vault.clone())).await;
    bench.desk.withdraw(WithdrawalOrder { tag: Some("a memo".into()), ..order(1, COIN) }).await.unwrap();
    bench.desk.withdraw(WithdrawalOrder { network: Some("bitcoin".into()), ..order(2, COIN / 2) }).await.unwrap();
    bench.rounds(2).await;
    let shipment = |id, atoms, tag: Option<&str>| Shipment {
        id,
        currency: CurrencyId(0),
        amount: Amount(atoms - 1),
        network: "bitcoin".into(),
        address: ADDRESS.into(),
        tag: tag.map(str::to_owned),
    };
    assert_eq!(*vault.sent.lock(), [shipment(1, COIN, Some("a memo")), shipment(2, COIN / 2, None)]);
}

/// A thief's withdrawal is held when an administrator freezes the account, or stops the venue: no round lets it go.
#[actix_rt::test]
async fn what_is_held_does_not_leave_while_its_owner_is_frozen_or_the_venue_stopped() {
    let bench = Bench::start().await;
    for (id, stop) in [(1, LedgerCommand::SetFrozen(ADA, true)), (2, LedgerCommand::SetStopped(true))] {
        bench.desk.withdraw(order(id, COIN / 2)).await.unwrap();
        bench.trading.execute(stop.clone()).await.unwrap();
        for _ in 0..3 {
            bench.desk.round(wall_clock()).await.unwrap();
            assert_eq!(bench.held().await, [(id, false)], "{stop:?}");
        }
        assert_eq!(bench.stage(id).await, Stage::Held);
        let release = match stop {
            LedgerCommand::SetFrozen(account, _) => LedgerCommand::SetFrozen(account, false),
            _ => LedgerCommand::SetStopped(false),
        };
        bench.trading.execute(release).await.unwrap();
        bench.rounds(3).await;
        assert_eq!((bench.stage(id).await, bench.held().await), (Stage::Done, Vec::new()));
    }

    // Held, it can be called back; handed over, it goes its way.
    bench.desk.withdraw(order(3, COIN / 2)).await.unwrap();
    bench.desk.withdraw(order(4, 2 * COIN)).await.unwrap();
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!(bench.held().await, [(3, true), (4, false)]);
    bench.trading.execute(LedgerCommand::SetFrozen(ADA, true)).await.unwrap();
    bench.desk.cancel(4, None).await.unwrap();
    bench.rounds(2).await;
    assert_eq!((bench.stage(3).await, bench.stage(4).await), (Stage::Done, Stage::Canceled));
    assert_eq!(bench.balance().await, Balance { available: Amount(20 * COIN - 3 * (COIN / 2)), hold: Amount::ZERO });
}

#[actix_rt::test]
async fn calling_back_may_be_repeated_and_the_log_decides() {
    let bench = Bench::start().await;
    bench.desk.withdraw(order(1, 2 * COIN)).await.unwrap();
    for expected in [CalledBack::Now, CalledBack::Before] {
        assert_eq!(bench.desk.cancel(1, Some(ADA)).await.unwrap(), expected);
        assert_eq!((bench.stage(1).await, bench.balance().await), (Stage::Canceled, whole()));
    }
    let unknown = bench.desk.cancel(1, Some(BOB)).await;
    assert!(matches!(unknown, Err(CustodyError::NotFound)), "{unknown:?}");

    // What the custodian has, and what has left.
    bench.desk.withdraw(order(2, COIN / 2)).await.unwrap();
    for _ in 0..3 {
        bench.rounds(1).await;
        let late = bench.desk.cancel(2, None).await;
        assert!(matches!(late, Err(CustodyError::TooLate)), "{late:?}");
    }
    assert_eq!(bench.stage(2).await, Stage::Done);

    // Called back before, by somebody who did not get to write it down: that is not known before a round has looked.
    bench.write_down(3, Stage::Held).await;
    let unknown = bench.desk.cancel(3, None).await;
    let expected = Refused::Unavailable(Unavailable::OutcomeUnknown);
    assert!(unknown.as_ref().is_err_and(CustodyError::may_be_done), "{unknown:?}");
    assert!(matches!(unknown, Err(CustodyError::Ledger(why)) if why == expected), "{unknown:?}");
    bench.rounds(1).await;
    assert_eq!(bench.desk.cancel(3, None).await.unwrap(), CalledBack::Before);
    assert_eq!(bench.stage(3).await, Stage::Canceled);
}

#[actix_rt::test]
async fn a_user_may_have_so_many_withdrawals_under_way() {
    let bench = Bench::start().await;
    for id in 1..=MOST_OPEN as TransferId {
        bench.write_down(id, Stage::Held).await;
    }
    let refused = bench.desk.withdraw(order(1_000, COIN)).await;
    assert!(matches!(refused, Err(CustodyError::TooMany(MOST_OPEN))), "{refused:?}");
    assert_eq!((bench.held().await, bench.balance().await), (Vec::new(), whole()));
    bench.desk.cancel(1, None).await.unwrap_err();
    bench.rounds(1).await;
    bench.desk.withdraw(order(1_000, COIN)).await.unwrap();
}

/// The first of two equal payments has all the money; the second one hears that it is on its way.
#[actix_rt::test]
async fn a_payment_that_is_on_its_way_is_not_said_to_be_refused() {
    let bench = Bench::start().await;
    bench.trading.open_account(BOB).await.unwrap();
    let pay = |transfer| {
        let (ticket, currency, amount) = (Ticket(0), CurrencyId(0), Amount(20 * COIN));
        LedgerCommand::Transfer(Movement { ticket, account: ADA, currency, amount, transfer }, BOB)
    };
    bench.stalled.store(true, Ordering::Relaxed);
    let (trading, command) = (bench.trading.clone(), pay(7));
    let first = actix_web::rt::spawn(async move { trading.execute(command).await });
    a_moment().await;
    let again = bench.trading.execute(pay(7)).await;
    assert_eq!(again, Err(Refused::Unavailable(Unavailable::OutcomeUnknown)));
    let other = bench.trading.execute(pay(8)).await;
    assert_eq!(other, Err(Refused::Reject(Reject::InsufficientFunds)));
    bench.stalled.store(false, Ordering::Relaxed);
    let first = first.await.unwrap();
    assert!(matches!(first, Ok(LedgerOutcome::Moved(..))), "{first:?}");
    assert_eq!(bench.trading.execute(pay(7)).await, Ok(LedgerOutcome::Ignored(Ignored::Repeat)));
    let refused = bench.trading.execute(pay(8)).await;
    assert_eq!(refused, Err(Refused::Reject(Reject::InsufficientFunds)));
}
