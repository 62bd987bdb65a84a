//! How fast one book applies entries: the flow of [`flow`] through the real [`Book::apply`], with
//! every outcome written and read again, checked against the oracle's totals; and by turns through the
//! bare book of [`bare`], as a yardstick for the machine.

pub mod bare;
pub mod flow;

use crate::domain::book::Book;
use crate::domain::entry::MarketEntry;
use crate::domain::event::Event;
use crate::domain::ids::{AccountId, CurrencyId, OrderId, Ticket};
use crate::domain::market::{Currency, MarketConfig, Scale, Step};
use crate::domain::money::{Amount, Ppm, Price, Size};
use crate::domain::order::{Kind, NewOrder, SelfTrade, Side, TimeInForce};
use crate::domain::time::Timestamp;
use anyhow::{Context, ensure};
use flow::{FlowCommand, FlowOptions, Totals};
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct CoreOptions {
    /// The flow of orders.
    pub flow: FlowOptions,
    /// How often the whole flow is run for the throughput; the median counts.
    pub rounds: usize,
    /// How many accounts share the orders; buyers and sellers are different ones.
    pub accounts: u32,
    /// Fee of the resting side.
    pub maker_fee: Ppm,
    /// Fee of the incoming side.
    pub taker_fee: Ppm,
}

impl Default for CoreOptions {
    fn default() -> Self {
        let flow = FlowOptions::default();
        CoreOptions { flow, rounds: 5, accounts: 400, maker_fee: Ppm(1_000), taker_fee: Ppm(2_000) }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct CoreReport {
    /// Commands in the flow.
    pub commands: usize,
    /// Time of the whole flow in batches of [`Book::LOOK_AHEAD`], by round.
    pub rounds: Vec<Duration>,
    /// The same, only while the thread had a core; none where the system does not tell.
    pub on_cpu: Vec<Duration>,
    /// Time of the whole flow through the bare book, by round.
    pub bare: Vec<Duration>,
    /// One command applied alone, one clock reading included.
    pub latency: Quantiles,
    /// The same in the bare book.
    pub bare_latency: Quantiles,
    /// One clock reading.
    pub clock: Quantiles,
    /// Bytes that the book keeps for each live order, pages of levels aside.
    pub bytes_per_order: usize,
    /// What the book did; the oracle did the same, else there is no report.
    pub totals: Totals,
}

impl CoreReport {
    /// Commands per second of the median round.
    pub fn commands_per_second(&self) -> f64 {
        self.rate(&self.rounds)
    }

    /// The book's rate over that of the bare book in the round beside it, in the median of all rounds.
    pub fn ratio(&self) -> f64 {
        let ratio =
            |(bare, book): (&Duration, &Duration)| bare.as_secs_f64() / book.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut ratios: Vec<f64> = self.bare.iter().zip(&self.rounds).map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or_default()
    }

    fn rate(&self, rounds: &[Duration]) -> f64 {
        let mut rounds = rounds.to_vec();
        rounds.sort_unstable();
        let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
        self.commands as f64 / median.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for CoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { fills, traded, notional, live, digest } = self.totals;
        writeln!(f, "commands       {}", self.commands)?;
        writeln!(f, "throughput     {:.2} M commands/s (median)", self.commands_per_second() / 1e6)?;
        if !self.on_cpu.is_empty() {
            writeln!(
                f,
                "with the core  {:.2} M commands/s (waiting for a core left out)",
                self.rate(&self.on_cpu) / 1e6
            )?;
        }
        writeln!(f, "bare book      {:.2} M commands/s (median)", self.rate(&self.bare) / 1e6)?;
        writeln!(f, "ratio          {:.2} of the bare book (median of the rounds)", self.ratio())?;
        write!(f, "rounds        ")?;
        for round in &self.rounds {
            write!(f, " {:.1} ms", round.as_secs_f64() * 1e3)?;
        }
        writeln!(f)?;
        let [clock, ..] = self.clock.0;
        writeln!(f, "applied alone  {} (of it {clock} ns for the clock)", self.latency)?;
        writeln!(f, "bare, alone    {}", self.bare_latency)?;
        writeln!(f, "per live order {} bytes", self.bytes_per_order)?;
        writeln!(f, "fills          {fills} of {traded} lots, notional {notional}")?;
        write!(f, "live orders    {live} at the end; digest {digest:016x} agrees with the oracle")
    }
}

/// Generates the flow, runs it and checks its totals.
///
/// # Errors
/// When the book's totals are not the oracle's: the book is wrong, and its speed means nothing.
pub fn run(options: &CoreOptions) -> anyhow::Result<CoreReport> {
    let (commands, expected) = flow::generate(&options.flow);
    let (config, scale) = market(options)?;
    let book = || Book::new(config.clone(), scale);
    let records = records(options, book(), &commands)?;
    let mut totals = Totals::default();
    let [mut rounds, mut on_cpu, mut bare] = [const { Vec::new() }; 3];
    for _ in 0..options.rounds.max(1) {
        let (took, reached) = bare::run(&commands)?;
        ensure!(reached == expected, "the bare book reached {reached:?}, but a correct one reaches {expected:?}");
        bare.push(took);
        let mut book = book();
        let mut events = Vec::with_capacity(1024);
        totals = Totals::default();
        let mut batch = Vec::with_capacity(Book::LOOK_AHEAD);
        let mut at = Timestamp::ZERO;
        let ran = time_with_a_core();
        let start = Instant::now();
        for some in records.chunks(Book::LOOK_AHEAD) {
            batch.clear();
            batch.extend(some.iter().map(|record| record.entry(options)));
            book.look_ahead(&batch);
            for entry in &batch {
                at.0 += 1;
                book.apply(at, entry, &mut events);
                consume(&mut events, &mut totals);
            }
        }
        rounds.push(start.elapsed());
        on_cpu.extend(time_with_a_core().zip(ran).map(|(now, before)| now.saturating_sub(before)));
        totals.live = book.live_orders();
        ensure!(totals == expected, "the book reached {totals:?}, but a correct one reaches {expected:?}");
    }
    Ok(CoreReport {
        commands: records.len(),
        rounds,
        on_cpu,
        bare,
        bare_latency: bare::latency(&commands)?,
        latency: latency(book(), &records, options),
        clock: Quantiles::of_the_clock(),
        bytes_per_order: Book::BYTES_PER_ORDER,
        totals,
    })
}

/// How long this thread has had a core so far: what a shared machine leaves of the wall clock.
fn time_with_a_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Reads every outcome, as whoever publishes them would.
#[inline]
fn consume(events: &mut Vec<Event>, totals: &mut Totals) {
    for event in events.iter() {
        if let Event::Filled(fill) = event {
            totals.fill(fill.maker.number, fill.taker.number, fill.price.0, fill.size.0);
        }
        black_box(event);
    }
    events.clear();
}

/// Another run with the clock read before and after every command, each applied alone as if it had
/// come by itself, without a look at those that follow.
fn latency(mut book: Book, records: &[Record], options: &CoreOptions) -> Quantiles {
    let mut events = Vec::with_capacity(1024);
    let mut totals = Totals::default();
    Quantiles::of((1..).zip(records), |(at, record)| {
        let entry = record.entry(options);
        let before = Instant::now();
        book.apply(Timestamp(at), &entry, &mut events);
        consume(&mut events, &mut totals);
        before.elapsed()
    })
}

/// Times of single commands in nanoseconds, exceeded by the half, one in a hundred and one in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles([u64; 3]);

impl Quantiles {
    fn of<T>(what: impl Iterator<Item = T>, time: impl FnMut(T) -> Duration) -> Quantiles {
        let mut times: Vec<u64> =
            what.map(time).map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).collect();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        Quantiles([500, 990, 999].map(|permille| times.get(last * permille / 1000).copied().unwrap_or(0)))
    }

    /// Of reading the clock.
    fn of_the_clock() -> Quantiles {
        Quantiles::of(0..10_001, |_| Instant::now().elapsed())
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly_all] = self.0;
        write!(f, "p50 {half} ns, p99 {most} ns, p99.9 {nearly_all} ns")
    }
}

fn market(options: &CoreOptions) -> anyhow::Result<(MarketConfig, Scale)> {
    let currency = |id, code: &str, decimals| Currency {
        id: CurrencyId(id),
        code: code.to_owned(),
        name: code.to_owned(),
        decimals,
        fiat: false,
    };
    let (tick, lot) = (Step { units: 1, decimals: 2 }, Step { units: 1, decimals: 4 });
    let config = MarketConfig {
        maker_fee: options.maker_fee,
        taker_fee: options.taker_fee,
        max_open_orders: 0,
        ..MarketConfig::new("BTC-USDT".to_owned(), CurrencyId(0), CurrencyId(1), tick, lot)
    };
    let scale = config.validate(&currency(0, "BTC", 8), &currency(1, "USDT", 6))?;
    Ok((config, scale))
}

/// A command as the flow holds it while it waits for its turn: small, so that two million of them
/// do not drive the book out of the caches as they pass.
#[derive(Clone, Copy, Debug)]
struct Record {
    account: AccountId,
    side: Side,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Place { price: u32, size: u32, hold: u64 },
    Cancel { number: u32, slot: u32 },
}

impl Record {
    fn entry(&self, options: &CoreOptions) -> MarketEntry {
        let &Record { account, side, what } = self;
        match what {
            What::Cancel { number, slot } => {
                MarketEntry::Cancel { ticket: Ticket(0), account, order: OrderId { number: number.into(), slot } }
            }
            What::Place { price, size, hold } => MarketEntry::Place(NewOrder {
                ticket: Ticket(0),
                account,
                client_id: None,
                side,
                kind: Kind::Limit {
                    price: Price(price.into()),
                    time_in_force: TimeInForce::GoodTillCanceled,
                    post_only: false,
                },
                size: Size(size.into()),
                stop: None,
                self_trade: SelfTrade::DecrementAndCancel,
                maker_fee: options.maker_fee,
                taker_fee: options.taker_fee,
                hold: Amount(hold.into()),
            }),
        }
    }
}

/// The commands with accounts, holds, and the ids that the book gives: for those the flow is run
/// once here; the same entries give the same ids in every later run.
fn records(options: &CoreOptions, mut book: Book, commands: &[FlowCommand]) -> anyhow::Result<Vec<Record>> {
    let mut ids = vec![OrderId::default()];
    let mut events = Vec::new();
    let pairs = options.accounts.max(2) / 2;
    // Buyers have even accounts and sellers odd ones, so nobody meets an order of his own.
    let account =
        |id: u32, side: Side| AccountId(2 + id.wrapping_mul(2_654_435_761) % pairs * 2 + u32::from(side == Side::Sell));
    let mut records = Vec::with_capacity(commands.len());
    for (at, command) in (1..).zip(commands) {
        let record = match *command {
            FlowCommand::Cancel { id, side } => {
                let OrderId { number, slot } = ids.get(id as usize).copied().context("a cancel before its order")?;
                let number = u32::try_from(number).context("too many orders")?;
                Record { account: account(id, side), side, what: What::Cancel { number, slot } }
            }
            FlowCommand::Limit { id, side, price, size } => {
                let fee = options.maker_fee.max(options.taker_fee);
                let hold = book.hold_for(side, Price(price.into()), Size(size.into()), fee);
                let hold = u64::try_from(hold.0).context("a hold beyond 64 bits")?;
                Record { account: account(id, side), side, what: What::Place { price, size, hold } }
            }
        };
        book.apply(Timestamp(at), &record.entry(options), &mut events);
        ids.extend(events.drain(..).filter_map(|event| match event {
            Event::Accepted(id, _) => Some(id),
            _ => None,
        }));
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_and_the_book_reach_the_known_totals() {
        // The digests are those of an independent engine on the same flow.
        let deep = FlowOptions::default();
        let (_, totals) = flow::generate(&deep);
        assert_eq!((totals.fills, totals.traded, totals.notional), (384_080, 5_264_885, 526_488_969_690));
        assert_eq!((totals.live, totals.digest), (91_162, 0xce12_135f_9e9a_c6fc));
        let shallow = CoreOptions { flow: FlowOptions::shallow(), rounds: 1, ..CoreOptions::default() };
        assert_eq!(run(&shallow).map(|report| report.totals.digest).ok(), Some(0x1bbb_67b2_9d1f_bed2));
    }
}
