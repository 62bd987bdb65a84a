//! Deterministic simulation: whole nodes on one thread, under a seed.
//!
//! What is simulated is what runs: the same supervised actors, started by the same function, on a runtime of one thread
//! whose time stands still unless the simulator moves it; the same codec, batches, fencing, admission, recovery and
//! leadership. Only what lies outside of the process is made up: the medium of the log
//! ([`faulty`](crate::persistence::log::faulty)), the lock that says who should lead, the network between the nodes,
//! the clocks, and the users.
//!
//! The seed decides everything: which node has the next turn, which actor of it goes first, what the disk does, what is
//! lost, repeated or late, who crashes at which await. After each step the [`oracle`] looks at what is durable and at
//! what was acknowledged. Invariants: a run draws on nothing but its seed (`tests/purity.rs` looks for what would break
//! that), so a seed gives the same run everywhere, and its digest says whether it did.

mod clients;
mod feeds;
mod network;
mod node;
mod oracle;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::fmt;
use std::ops::Range;

/// The command line of `agora simulate`.
#[derive(clap::Args, Clone, Debug)]
pub struct SimulateOptions {
    /// The seed of one run, which is told in detail.
    #[arg(long, conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Many runs, one for each seed from A up to and without B.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..100")]
    pub seeds: Range<u64>,
    /// How many nodes: one with a disk of its own, or several that share a log. All three in turn if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3))]
    pub nodes: Option<u16>,
    /// Steps of each run before everything is healed and has to come to rest.
    #[arg(long, default_value_t = STEPS)]
    pub steps: u32,
}

/// Steps of a run unless asked otherwise.
pub const STEPS: u32 = 1_500;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Decides everything that happens.
    pub seed: u64,
    /// How many nodes, 1 to 3.
    pub nodes: u16,
    /// Steps before everything is healed.
    pub steps: u32,
}

impl Setup {
    /// A run of the usual length; the seed decides how many nodes.
    pub fn of(seed: u64) -> Setup {
        Setup { seed, nodes: nodes_of(seed), steps: STEPS }
    }
}

fn nodes_of(seed: u64) -> u16 {
    1 + (seed % 3) as u16
}

/// What happened in one run without a violation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A hash of everything that happened, 16 hexadecimal digits.
    pub digest: String,
    /// Virtual time that passed, in microseconds.
    pub virtual_us: u64,
    /// What happened how often.
    pub counts: Counts,
}

/// What happened how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches in the log at the end, repeats and those that count for nobody included.
    pub batches: u64,
    /// Commands that were acknowledged.
    pub acknowledged: u64,
    /// Commands that a rule refused.
    pub rejected: u64,
    /// Answers that said that nothing was done for now.
    pub refused: u64,
    /// Commands whose outcome was unknown to their caller at some time.
    pub unknown: u64,
    /// Processes that died, at some await or by the power failing.
    pub crashes: u64,
    /// Actors that were made to panic.
    pub panics: u64,
    /// Nodes that stood still for a while.
    pub freezes: u64,
    /// Nodes that were cut off from the log and from each other for a while.
    pub partitions: u64,
    /// Nodes that took over.
    pub take_overs: u64,
    /// Twins that took over from their primaries.
    pub promotions: u64,
    /// Hashes of the state of actors that were compared with the log's.
    pub comparisons: u64,
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// Events that readers of the feeds have heard of.
    pub events: u64,
    /// Markets that were listed while everything ran.
    pub listings: u64,
    /// Nodes that slept through a listing and led when they woke up.
    pub usurpations: u64,
    /// Steps in which such a node led and had not opened that market yet.
    pub blind: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Counts) {
        self.batches += other.batches;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.crashes += other.crashes;
        self.panics += other.panics;
        self.freezes += other.freezes;
        self.partitions += other.partitions;
        self.take_overs += other.take_overs;
        self.promotions += other.promotions;
        self.comparisons += other.comparisons;
        self.snapshots += other.snapshots;
        self.events += other.events;
        self.listings += other.listings;
        self.usurpations += other.usurpations;
        self.blind += other.blind;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { batches, acknowledged, rejected, refused, unknown, .. } = self;
        writeln!(f, "{batches} batches, {acknowledged} commands acknowledged, {rejected} rejected by a rule")?;
        writeln!(f, "{refused} answers 'not now', {unknown} outcomes unknown for a while")?;
        let Counts { crashes, panics, freezes, partitions, take_overs, promotions, .. } = self;
        writeln!(f, "{crashes} crashes, {panics} panics, {freezes} freezes, {partitions} partitions")?;
        writeln!(f, "{take_overs} take-overs, {promotions} promotions of twins")?;
        let Counts { comparisons, snapshots, events, listings, usurpations, blind, .. } = self;
        writeln!(f, "{comparisons} hashes compared, {snapshots} snapshots, {events} events heard")?;
        write!(f, "{listings} markets listed on the way, {usurpations} of them while who was to lead next slept; ")?;
        write!(f, "it led for {blind} steps without the market")
    }
}

/// A promise that was broken, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The run.
    pub setup: Setup,
    /// The step in which it was noticed.
    pub step: u32,
    /// Which promise, and how.
    pub what: String,
    /// The digest up to there.
    pub digest: String,
    /// The last things that happened.
    pub history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        let Setup { seed, nodes, steps } = self.setup;
        writeln!(f, "seed {seed}, {nodes} nodes, step {}, digest {}: {}", self.step, self.digest, self.what)?;
        write!(f, "again: agora simulate --seed {seed} --nodes {nodes} --steps {steps}")
    }
}

impl std::error::Error for Violation {}

/// Runs one seed.
///
/// # Errors
/// The first violation, or what the operating system refused, as a violation too.
pub fn run(setup: Setup) -> Result<Outcome, Box<Violation>> {
    quiet();
    world::World::run(setup)
}

/// Panics are part of a simulation; what they say is in the history.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if node::is_running() {
                node::note(info);
            } else {
                before(info);
            }
        }));
        crate::actors::supervision::panics::install();
    });
}

/// Does what the command line asks for.
///
/// # Errors
/// The first violation.
pub fn simulate(options: &SimulateOptions) -> anyhow::Result<()> {
    if let Some(seed) = options.seed {
        let setup = Setup { seed, nodes: options.nodes.unwrap_or_else(|| nodes_of(seed)), steps: options.steps };
        let outcome = run(setup)?;
        println!("seed {seed}, {} nodes, {:.1} s of virtual time", setup.nodes, outcome.virtual_us as f64 / 1e6);
        println!("{}", outcome.counts);
        println!("digest {}", outcome.digest);
        return Ok(());
    }
    let begun = std::time::Instant::now();
    let (mut counts, mut virtual_us) = (Counts::default(), 0);
    let seeds = options.seeds.clone();
    let total = seeds.end.saturating_sub(seeds.start);
    let tenth = (total / 10).max(1);
    for (done, seed) in (1..).zip(seeds) {
        let setup = Setup { seed, nodes: options.nodes.unwrap_or_else(|| nodes_of(seed)), steps: options.steps };
        let outcome = run(setup)?;
        counts.add(&outcome.counts);
        virtual_us += outcome.virtual_us;
        if done % tenth == 0 {
            eprintln!("{done} of {total} seeds, {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
    println!("{total} seeds without a violation, {:.0} s of virtual time", virtual_us as f64 / 1e6);
    println!("{counts}");
    Ok(())
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parts.filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| "seeds are given as 0..20000".to_owned())
}
