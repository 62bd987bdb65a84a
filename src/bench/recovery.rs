//! How long it takes to bring a book with very many resting orders back: from the log alone, and from a snapshot with
//! the tail of the log.
//!
//! Runs within this process, over a real log folder and real snapshot files. The page cache is warm, as it is after a
//! crash of the program alone.

use crate::actors::trading::recovery::catch_up;
use crate::config;
use crate::domain::batch::Batch;
use crate::domain::codec::Coded;
use crate::domain::entry::{LedgerEntry, MarketEntry, Movement};
use crate::domain::ids::{AccountId, Epoch, MarketId, StreamId, Ticket};
use crate::domain::money::{Amount, Price, Size};
use crate::domain::order::{Kind, NewOrder, SelfTrade, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::domain::venue::{Silent, Venue};
use crate::persistence::log::embedded::{Embedded, Options as LogOptions};
use crate::persistence::log::{LogEngine, Position, Proposal, Report as LogReport};
use crate::persistence::snapshots::Snapshots;
use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use std::fmt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Orders that rest in the book.
    #[arg(long, default_value_t = 1_000_000)]
    pub orders: usize,
    /// Orders that came after the snapshot.
    #[arg(long, default_value_t = 20_000)]
    pub tail: usize,
}

/// What recovering from a snapshot may take at most, for a book with a million resting orders.
const AIM: Duration = Duration::from_secs(2);

/// The result of a run; `Display` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Live orders at the end.
    pub orders: usize,
    /// Reading and applying the whole log.
    pub from_log: Duration,
    /// Writing the snapshot.
    pub snapshot: Duration,
    /// Its size.
    pub snapshot_bytes: u64,
    /// Reading the snapshot and applying the tail.
    pub from_snapshot: Duration,
    /// Entries of the tail.
    pub tail: usize,
}

const EPOCH: Epoch = Epoch { counter: 1, node: 1 };
const USERS: usize = 1_000;
/// Entries of one batch.
const BATCH: usize = 1_000;

/// Measures.
///
/// # Errors
/// When the disk refuses, or the recovered states differ.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let folder = std::path::PathBuf::from(format!("bench-recovery-{}", std::process::id()));
    let result = measure(options, &folder);
    std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    result
}

fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    std::fs::create_dir_all(folder)?;
    let (reports, reported) = mpsc::channel();
    // A receiver that is gone has given up already.
    let sink = Box::new(move |report| drop(reports.send(report)));
    let (engine, _) = Embedded::open(LogOptions::new(folder.join("log")), sink)?;
    let mut writer = Writer { engine: &engine, reported, proposals: 0 };
    writer.write(vec![ledger_batch()])?;
    let end = fill(&mut writer, options.orders, 0, 1)?;
    let snapshots = Snapshots::open(folder.join("snapshots"))?;
    let reader = engine.reader();
    let mut venue = Venue::default();
    let position = catch_up(&mut venue, reader.as_ref(), Position(0), Position(u64::MAX), usize::MAX, &mut Silent)?;
    let started = Instant::now();
    snapshots.save(position, &venue)?;
    let snapshot = started.elapsed();
    drop(venue);
    fill(&mut writer, options.tail, options.orders, end)?;

    let started = Instant::now();
    let mut replayed = Venue::default();
    catch_up(&mut replayed, reader.as_ref(), Position(0), Position(u64::MAX), usize::MAX, &mut Silent)?;
    let from_log = started.elapsed();

    let started = Instant::now();
    let loaded = snapshots.newest(Position(u64::MAX)).context("the snapshot cannot be read")?;
    let mut recovered = loaded.venue;
    catch_up(&mut recovered, reader.as_ref(), loaded.position, Position(u64::MAX), usize::MAX, &mut Silent)?;
    let from_snapshot = started.elapsed();
    ensure!(replayed.hash() == recovered.hash(), "log and snapshot lead to different states");
    let files = snapshots.files();
    let (_, file) = files.first().context("there is no snapshot")?;
    let orders = recovered.markets.first().map_or(0, |market| market.replica.book.live_orders());
    let snapshot_bytes = std::fs::metadata(file)?.len();
    Ok(Report { orders, from_log, snapshot, snapshot_bytes, from_snapshot, tail: options.tail })
}

struct Writer<'a> {
    engine: &'a Embedded,
    reported: mpsc::Receiver<LogReport>,
    proposals: u64,
}

impl Writer<'_> {
    fn write(&mut self, batches: Vec<Batch>) -> anyhow::Result<()> {
        self.proposals += 1;
        self.engine.propose(Proposal { id: self.proposals, batches })?;
        match self.reported.recv_timeout(Duration::from_secs(60))? {
            LogReport::Committed { .. } => Ok(()),
            LogReport::Refused { error, .. } | LogReport::Failed { error } => Err(anyhow!(error)),
        }
    }
}

/// The default venue, and users with far more money than they need.
fn ledger_batch() -> Batch {
    let (mut payload, mut count) = (Vec::new(), 0);
    let mut add = |entry: LedgerEntry| {
        entry.encode(&mut payload);
        count += 1;
    };
    config::currencies().into_iter().for_each(|currency| add(LedgerEntry::ListCurrency(Box::new(currency))));
    config::markets().into_iter().for_each(|market| add(LedgerEntry::ListMarket(Box::new(market))));
    for user in 0..USERS {
        let account = account(user);
        add(LedgerEntry::OpenAccount { ticket: Ticket(0), account });
        for currency in config::currencies() {
            let transfer = (u128::from(account.0) << 16) + u128::from(currency.id.0) + 1;
            let amount = Amount(10i128.pow(u32::from(currency.decimals)) * 1_000_000_000);
            add(LedgerEntry::Deposit(Movement { ticket: Ticket(0), account, currency: currency.id, amount, transfer }));
        }
    }
    let payload = Bytes::from(payload);
    Batch { stream: StreamId::Ledger, epoch: EPOCH, number: 1, at: Timestamp(1), count, payload }
}

fn account(user: usize) -> AccountId {
    AccountId(AccountId::FIRST_USER.0 + user as u32)
}

/// Rests orders in the first market, on both sides of a gap; returns the number of the next batch.
fn fill(writer: &mut Writer<'_>, orders: usize, from: usize, mut number: u64) -> anyhow::Result<u64> {
    let listed = config::markets().into_iter().next().context("no market is listed")?;
    let currencies = config::currencies();
    let of = |id| currencies.iter().find(|currency| currency.id == id).context("a currency is missing");
    let scale = listed.validate(of(listed.base)?, of(listed.quote)?)?;
    let (maker_fee, taker_fee) = (listed.maker_fee, listed.taker_fee);
    let book = crate::domain::book::Book::new(listed, scale);
    let mut index = from;
    while index < from + orders {
        let count = BATCH.min(from + orders - index);
        let mut payload = Vec::with_capacity(count * 96);
        for index in index..index + count {
            let side = if index.is_multiple_of(2) { Side::Buy } else { Side::Sell };
            let distance = (index / 2 % 1_000) as u64;
            let price = Price(if side == Side::Buy { 2_000_000 - distance } else { 2_000_001 + distance });
            let size = Size(1_000);
            let order = NewOrder {
                ticket: Ticket(0),
                account: account(index / 2 % USERS),
                client_id: None,
                side,
                kind: Kind::Limit { price, time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
                size,
                stop: None,
                self_trade: SelfTrade::DecrementAndCancel,
                maker_fee,
                taker_fee,
                hold: book.hold_for(side, price, size, maker_fee.max(taker_fee)),
            };
            MarketEntry::Place(order).encode(&mut payload);
        }
        let (stream, at) = (StreamId::Market(MarketId(0)), Timestamp(number as i64 + 1));
        let payload = Bytes::from(payload);
        writer.write(vec![Batch { stream, epoch: EPOCH, number, at, count: count as u32, payload }])?;
        number += 1;
        index += count;
    }
    Ok(number)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        writeln!(f, "{} resting orders", self.orders)?;
        let rate = self.orders as f64 / seconds(self.from_log) / 1e6;
        writeln!(f, "from the log alone    {:.2} s ({rate:.2} million entries/s)", seconds(self.from_log))?;
        let megabytes = self.snapshot_bytes as f64 / 1e6;
        writeln!(f, "writing a snapshot    {:.2} s ({megabytes:.0} MB)", seconds(self.snapshot))?;
        let (took, aim) = (seconds(self.from_snapshot), seconds(AIM));
        writeln!(f, "from the snapshot     {took:.2} s ({} entries after it)", self.tail)?;
        write!(f, "{:.2} of the {aim:.0} s that it may take; replaying takes {:.1} times as long", took / aim, {
            seconds(self.from_log) / took.max(1e-9)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let report = measure(&Options { orders: 2_500, tail: 500 }, folder.path()).unwrap();
        assert_eq!(report.orders, 3_000);
    }
}
