//! How fast one book applies entries: the flow of [`flow`] through the real [`Book::apply`], with
//! every outcome written and read again, checked against the oracle's totals.

pub mod flow;

use crate::domain::book::Book;
use crate::domain::entry::MarketEntry;
use crate::domain::event::Event;
use crate::domain::ids::{AccountId, CurrencyId, OrderId, Ticket};
use crate::domain::market::{Currency, MarketConfig, Scale, Step};
use crate::domain::money::{Ppm, Price, Size};
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
    /// Nanoseconds of one command applied alone, one clock reading included: the 50, 99 and 99.9 % quantiles.
    pub latency_ns: [u64; 3],
    /// Nanoseconds of one clock reading, median.
    pub clock_ns: u64,
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
        let [half, most, nearly_all] = self.latency_ns;
        writeln!(f, "commands       {}", self.commands)?;
        writeln!(f, "throughput     {:.2} M commands/s (median)", self.commands_per_second() / 1e6)?;
        if !self.on_cpu.is_empty() {
            writeln!(
                f,
                "with the core  {:.2} M commands/s (waiting for a core left out)",
                self.rate(&self.on_cpu) / 1e6
            )?;
        }
        write!(f, "rounds        ")?;
        for round in &self.rounds {
            write!(f, " {:.1} ms", round.as_secs_f64() * 1e3)?;
        }
        writeln!(f)?;
        let clock = self.clock_ns;
        writeln!(
            f,
            "applied alone  p50 {half} ns, p99 {most} ns, p99.9 {nearly_all} ns (of it {clock} ns for the clock)"
        )?;
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
    let entries = entries(options, book(), &commands)?;
    let mut totals = Totals::default();
    let (mut rounds, mut on_cpu) = (Vec::with_capacity(options.rounds), Vec::with_capacity(options.rounds));
    for _ in 0..options.rounds.max(1) {
        let mut book = book();
        let mut events = Vec::with_capacity(1024);
        totals = Totals::default();
        let ran = time_with_a_core();
        let start = Instant::now();
        for (first, batch) in (1..).step_by(Book::LOOK_AHEAD).zip(entries.chunks(Book::LOOK_AHEAD)) {
            book.look_ahead(batch);
            for (at, entry) in (first..).zip(batch) {
                book.apply(Timestamp(at), entry, &mut events);
                consume(&mut events, &mut totals);
            }
        }
        rounds.push(start.elapsed());
        on_cpu.extend(time_with_a_core().zip(ran).map(|(now, before)| now.saturating_sub(before)));
        totals.live = book.live_orders();
        ensure!(totals == expected, "the book reached {totals:?}, but a correct one reaches {expected:?}");
    }
    let (latency_ns, clock_ns) = latency(book(), &entries);
    let bytes_per_order = Book::BYTES_PER_ORDER;
    Ok(CoreReport { commands: entries.len(), rounds, on_cpu, latency_ns, clock_ns, bytes_per_order, totals })
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

/// A second run with the clock read after every command, each applied alone as if it had come by
/// itself, without a look at those that follow.
fn latency(mut book: Book, entries: &[MarketEntry]) -> ([u64; 3], u64) {
    let nanos = |from: Instant, to: Instant| u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
    let mut clock: Vec<u64> = (0..10_001).map(|_| nanos(Instant::now(), Instant::now())).collect();
    clock.sort_unstable();
    let mut times = Vec::with_capacity(entries.len());
    let mut events = Vec::with_capacity(1024);
    let mut totals = Totals::default();
    let mut before = Instant::now();
    for (at, entry) in (1..).zip(entries) {
        book.apply(Timestamp(at), entry, &mut events);
        consume(&mut events, &mut totals);
        let now = Instant::now();
        times.push(nanos(before, now));
        before = now;
    }
    times.sort_unstable();
    let quantile = |permille: usize| times.get(times.len().saturating_sub(1) * permille / 1000).copied().unwrap_or(0);
    ([quantile(500), quantile(990), quantile(999)], clock.get(clock.len() / 2).copied().unwrap_or(0))
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

/// The commands as entries. Cancels need the ids that the book gives, so the flow is run once here;
/// the same entries give the same ids in every later run.
fn entries(options: &CoreOptions, mut book: Book, commands: &[FlowCommand]) -> anyhow::Result<Vec<MarketEntry>> {
    let mut ids = vec![OrderId::default()];
    let mut events = Vec::new();
    let pairs = options.accounts.max(2) / 2;
    // Buyers have even accounts and sellers odd ones, so nobody meets an order of his own.
    let account =
        |id: u32, side: Side| AccountId(2 + id.wrapping_mul(2_654_435_761) % pairs * 2 + u32::from(side == Side::Sell));
    let mut entries = Vec::with_capacity(commands.len());
    for (at, command) in (1..).zip(commands) {
        let entry = match *command {
            FlowCommand::Cancel { id, side } => {
                let order = ids.get(id as usize).copied().context("a cancel before its order")?;
                MarketEntry::Cancel { ticket: Ticket(0), account: account(id, side), order }
            }
            FlowCommand::Limit { id, side, price, size } => {
                let (price, size) = (Price(u64::from(price)), Size(u64::from(size)));
                MarketEntry::Place(NewOrder {
                    ticket: Ticket(0),
                    account: account(id, side),
                    client_id: None,
                    side,
                    kind: Kind::Limit { price, time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
                    size,
                    stop: None,
                    self_trade: SelfTrade::DecrementAndCancel,
                    maker_fee: options.maker_fee,
                    taker_fee: options.taker_fee,
                    hold: book.hold_for(side, price, size, options.maker_fee.max(options.taker_fee)),
                })
            }
        };
        book.apply(Timestamp(at), &entry, &mut events);
        ids.extend(events.drain(..).filter_map(|event| match event {
            Event::Accepted(id, _) => Some(id),
            _ => None,
        }));
        entries.push(entry);
    }
    Ok(entries)
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
