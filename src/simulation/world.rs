//! The loop that decides, step by step, what happens next.
//!
//! Each run draws its own mixture of faults, so that some runs are quiet but for one kind of fault and others are not.

mod listing;
mod look;
mod rest;
mod trouble;

use super::clients::{self, Attempt, Said, USERS, Wish};
use super::feeds::Heard;
use super::network::{Letter, Locks, Network, Return};
use super::node::{self, Process};
use super::oracle::{Oracle, Weighed};
use super::trace::Trace;
use super::{Counts, Outcome, Setup, Violation};
use crate::actors::trading::{Refused, Unavailable};
use crate::app::log::genesis;
use crate::domain::ids::{AccountId, Epoch, MarketId, OrderId};
use crate::domain::time::Timestamp;
use crate::persistence::log::LogEngine;
use crate::persistence::log::faulty::{Faults, Medium, SplitMix};
use crate::persistence::snapshots::Snapshots;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// When time begins: 2026-01-01, in microseconds.
const BEGINNING: i64 = 1_767_225_600_000_000;

/// Wishes that are open at once.
const OPEN: usize = 8;

/// A wish that is not over after so many attempts is given up, until the end.
const ATTEMPTS: usize = 40;

/// The folder of a run's snapshots, removed with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own tidying.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How often what goes wrong, in chances out of 10,000 for each step.
#[derive(Clone, Copy, Debug, Default)]
struct Mixture {
    dies: u64,
    power_fails: u64,
    panics: u64,
    freezes: u64,
    cuts: u64,
    expires: u64,
    jumps: u64,
    snapshots: u64,
    damages: u64,
    /// Chances out of 1000 for each command or answer between nodes.
    lost: u64,
    /// Chances out of 1000 for each poll.
    reorder: u32,
    faults: Faults,
}

impl Mixture {
    fn draw(random: &mut SplitMix) -> Mixture {
        let mut often = |most: u64| if random.below(2) == 0 { 0 } else { 1 + random.below(most) };
        Mixture {
            dies: often(60),
            power_fails: often(40),
            panics: often(120),
            freezes: often(60),
            cuts: often(60),
            expires: often(60),
            jumps: often(60),
            snapshots: often(80),
            damages: often(80),
            lost: often(150),
            reorder: often(400) as u32,
            faults: Faults {
                full: often(20) as u32,
                lost_report: often(80) as u32,
                repeat: often(80) as u32,
                disconnect: often(20) as u32,
                delay: often(400) as u32,
                slow: often(60) as u32,
            },
        }
    }
}

/// A node, whether its process runs or not.
struct Slot {
    process: Option<Process>,
    /// Processes so far.
    processes: u64,
    clock: Arc<AtomicI64>,
    skew_us: i64,
    snapshots: Snapshots,
    /// It stands still until this step.
    frozen_until: Option<u32>,
    /// Time that passed while it stood still.
    owed: Duration,
    /// It is cut off until this step.
    cut_until: Option<u32>,
    /// It is started again in this step.
    back_at: u32,
}

/// An answer to an attempt: the wish, the attempt, what was said.
type Answers = Arc<Mutex<Vec<(usize, usize, Result<Said, Refused>)>>>;

/// One run.
pub(super) struct World {
    setup: Setup,
    step: u32,
    random: SplitMix,
    mixture: Mixture,
    now_us: u64,
    medium: Medium,
    oracle: Oracle,
    locks: Locks,
    network: Network,
    trace: Trace,
    counts: Counts,
    slots: Vec<Slot>,
    wishes: Vec<Wish>,
    /// In this step another market is wished for.
    lists_at: Option<u32>,
    /// In this step the log listed it.
    listed_at: Option<u32>,
    /// It slept when that happened.
    sleeper: Option<listing::Sleeper>,
    names: u128,
    answers: Answers,
    returns: Arc<Mutex<Vec<Return>>>,
    weighed: Arc<Mutex<Vec<(usize, Weighed)>>>,
    heard: Heard,
    _folder: Folder,
}

impl World {
    /// Runs to the end.
    ///
    /// # Errors
    /// The first violation.
    pub(super) fn run(setup: Setup) -> Result<Outcome, Box<Violation>> {
        let mut world = World::new(setup)
            .map_err(|what| Box::new(Violation { setup, step: 0, what, digest: String::new(), history: Vec::new() }))?;
        match world.all() {
            Ok(()) => Ok(Outcome { digest: world.trace.digest(), virtual_us: world.now_us, counts: world.counts }),
            Err(what) => Err(Box::new(Violation {
                setup,
                step: world.step,
                what,
                digest: world.trace.digest(),
                history: world.trace.lines(),
            })),
        }
    }

    fn new(setup: Setup) -> Result<World, String> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("agora-simulate-{}-{run}", std::process::id()));
        let folder = Folder(folder);
        // What a run before this one has left.
        drop(node::broken());
        let mut random = SplitMix(setup.seed);
        let mixture = Mixture::draw(&mut random);
        let lists_at = (random.below(2) == 0).then(|| 100 + random.below(u64::from(setup.steps.max(300)) / 2) as u32);
        let medium = Medium::new(random.draw(), Faults::default(), 64);
        let mut slots = Vec::new();
        for node in 0..setup.nodes {
            slots.push(Slot {
                process: None,
                processes: 0,
                clock: Arc::new(AtomicI64::new(BEGINNING)),
                skew_us: 0,
                snapshots: Snapshots::open(folder.0.join(node.to_string())).map_err(|error| error.to_string())?,
                frozen_until: None,
                owed: Duration::ZERO,
                cut_until: None,
                back_at: 0,
            });
        }
        let oracle = Oracle::new(Arc::new(medium.clone()));
        let mut names = 0;
        Ok(World {
            setup,
            step: 0,
            random,
            mixture,
            now_us: 0,
            medium,
            oracle,
            locks: Locks::default(),
            network: Network::default(),
            trace: Trace::new(),
            counts: Counts::default(),
            slots,
            wishes: clients::first_wishes(&mut names),
            lists_at,
            listed_at: None,
            sleeper: None,
            names,
            answers: Answers::default(),
            returns: Arc::default(),
            weighed: Arc::default(),
            heard: Heard::default(),
            _folder: folder,
        })
    }

    fn all(&mut self) -> Result<(), String> {
        self.trace.tell(format!("{:?} {:?}", self.setup, self.mixture));
        self.list()?;
        for node in 0..self.slots.len() {
            self.boot(node)?;
        }
        self.medium.set_faults(self.mixture.faults);
        while self.step < self.setup.steps {
            self.step += 1;
            self.once()?;
            self.look()?;
        }
        self.rest("the end")?;
        self.empty_the_accounts()?;
        self.compare_everything()
    }

    /// The first batch of the log, which whoever comes first has written.
    fn list(&mut self) -> Result<(), String> {
        let engine = self.medium.open(Box::new(|_| {}));
        let first = genesis(Epoch { counter: 1, node: 0 }, Timestamp(BEGINNING));
        engine.propose(first).map_err(|error| error.to_string())?;
        drop(engine);
        self.oracle.read().map(drop)
    }

    // --- What happens ---

    fn once(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..50 => {
                let node = self.any_node();
                self.turn(node);
            }
            50..72 => {
                for _ in 0..=self.random.below(3) {
                    self.medium.step();
                }
            }
            72..86 => {
                let node = self.any_node();
                self.hear(node);
            }
            86..92 => self.some_time()?,
            92..96 => self.a_user(),
            _ => self.deliver(),
        }
        if self.setup.nodes > 1 && self.random.below(3) == 0 {
            self.deliver();
        }
        if self.random.below(6) == 0 {
            self.a_user();
        }
        self.trouble()?;
        self.recover()
    }

    fn any_node(&mut self) -> usize {
        self.random.below(self.slots.len() as u64) as usize
    }

    /// The process, if it can do anything.
    fn running(&mut self, node: usize) -> Option<&mut Process> {
        let slot = self.slots.get_mut(node).filter(|slot| slot.frozen_until.is_none())?;
        slot.process.as_mut()
    }

    fn turn(&mut self, node: usize) {
        let turns = 1 + self.random.below(4) as u32;
        if let Some(process) = self.running(node) {
            process.turn(turns);
        }
    }

    fn hear(&mut self, node: usize) {
        let most = 1 + self.random.below(3);
        if let Some(process) = self.running(node) {
            for _ in 0..most {
                process.hear();
            }
        }
    }

    fn some_time(&mut self) -> Result<(), String> {
        let micros = match self.random.below(20) {
            0 => 200_000 + self.random.below(1_500_000),
            1..4 => 20_000 + self.random.below(100_000),
            _ => 100 + self.random.below(10_000),
        };
        self.pass(micros);
        Ok(())
    }

    /// Lets time pass everywhere. Timers fire in order when it passes in small steps.
    fn pass(&mut self, micros: u64) {
        let mut left = micros;
        while left > 0 {
            let part = left.min(50_000);
            left -= part;
            self.now_us += part;
            for slot in &mut self.slots {
                let now = BEGINNING.saturating_add_unsigned(self.now_us);
                slot.clock.store(now.saturating_add(slot.skew_us), Ordering::Relaxed);
                let time = Duration::from_micros(part);
                match (&mut slot.process, slot.frozen_until) {
                    (Some(process), None) => process.pass(time),
                    (Some(_), Some(_)) => slot.owed += time,
                    (None, _) => {}
                }
            }
        }
    }

    fn deliver(&mut self) {
        let letters = self.network.letters.len() as u64;
        let returns = self.network.returns.len() as u64;
        if letters + returns == 0 {
            return;
        }
        let chosen = self.random.below(letters + returns);
        if chosen < letters {
            let letter = self.network.letters.swap_remove(chosen as usize);
            self.hand_over(letter);
        } else {
            let answer = self.network.returns.swap_remove((chosen - letters) as usize);
            self.give_back(answer);
        }
    }

    fn hand_over(&mut self, letter: Letter) {
        let cut = |slot: &Slot| slot.cut_until.is_some();
        let lost = self.random.below(1000) < self.mixture.lost
            || self.slots.get(letter.from.0).is_none_or(cut)
            || self.slots.get(letter.to).is_some_and(cut);
        if lost {
            // The caller will never hear of it, or hears that the connection was lost.
            if self.random.below(2) == 0 {
                self.network.waiting.remove(&letter.id);
            }
            return;
        }
        let Letter { id, from, to, command } = letter;
        let frozen = self.slots.get(to).is_some_and(|slot| slot.frozen_until.is_some());
        if frozen {
            // It waits where it is, as in a queue.
            self.network.letters.push(Letter { id, from, to, command });
            return;
        }
        let Some(trading) = self.running(to).and_then(|process| process.trading()) else {
            // Nobody has the queue: the command comes back.
            if let Some(waiting) = self.network.waiting.remove(&id) {
                let _ = waiting.send(Err(Unavailable::Starting));
            }
            return;
        };
        let returns = self.returns.clone();
        if let Some(process) = self.running(to) {
            process.within(async move {
                actix_rt::spawn(async move {
                    let answer = trading.perform_for_another(&command).await;
                    returns.lock().push(Return { id, from: to, to: from, answer });
                });
            });
        }
    }

    fn give_back(&mut self, answer: Return) {
        let cut = |slot: &Slot| slot.cut_until.is_some();
        let lost = self.random.below(1000) < self.mixture.lost
            || self.slots.get(answer.from).is_none_or(cut)
            || self.slots.get(answer.to.0).is_none_or(cut);
        let Some(waiting) = self.network.waiting.remove(&answer.id) else { return };
        let same = self.slots.get(answer.to.0).is_some_and(|slot| slot.processes == answer.to.1);
        if !lost && same {
            let _ = waiting.send(Ok(answer.answer));
        }
    }

    /// A user asks for something new, or again for what was not done.
    fn a_user(&mut self) {
        if self.lists_at.take_if(|step| *step <= self.step).is_some() {
            self.wishes.push(clients::listing(&mut self.names));
            self.trace.tell(format!("{}: another market is wished for", self.names));
            return self.ask(self.wishes.len() - 1);
        }
        let open: Vec<usize> = (0..self.wishes.len()).filter(|wish| self.may_ask(*wish)).collect();
        let pending = self.wishes.iter().filter(|wish| !wish.over).count();
        let begun = self.wishes.iter().take((USERS * 4) as usize).all(|wish| wish.over);
        if begun && pending < OPEN && self.random.below(2) == 0 {
            let account = clients::account(self.random.below(u64::from(USERS)) as u32);
            let live = self.live_orders(account);
            let now = Timestamp(BEGINNING.saturating_add_unsigned(self.now_us));
            let some = MarketId(self.random.below(self.oracle.venue().markets.len() as u64) as u16);
            let market = self.favourite().unwrap_or(some);
            let wish = match self.usurper() {
                Some(_) => clients::spending(&mut self.names, &mut self.random, account),
                None => clients::next_wish(&mut self.names, &mut self.random, now, market, &live, account),
            };
            self.trace.tell(format!("{}: account {} wishes {:?}", wish.name, account.0, wish.ask));
            self.wishes.push(wish);
            self.ask(self.wishes.len() - 1);
        } else if !open.is_empty() {
            let wish = open[self.random.below(open.len() as u64) as usize];
            self.ask(wish);
        }
    }

    fn may_ask(&self, wish: usize) -> bool {
        let Some(this) = self.wishes.get(wish) else { return false };
        // Accounts first, then money, then everything else.
        let earlier = self.wishes.iter().take(USERS as usize).all(|wish| wish.over) || wish < USERS as usize;
        let asked = this.attempts.iter().filter(|attempt| matches!(attempt, Attempt::Asked(..))).count();
        // An impatient user asks a second time elsewhere.
        earlier && !this.over && this.attempts.len() < ATTEMPTS && asked < 2
    }

    /// Orders that the user was told of, and that are live as far as the log says.
    fn live_orders(&self, account: AccountId) -> Vec<(MarketId, OrderId)> {
        let told = self.wishes.iter().filter(|wish| wish.account == account).filter_map(|wish| wish.order);
        told.filter(|(market, id)| !self.oracle.is_done(*market, *id)).collect()
    }

    fn ask(&mut self, index: usize) {
        let some = self.any_node();
        let node = self.usurper().unwrap_or(some);
        let Some(wish) = self.wishes.get(index).cloned() else { return };
        let Some(slot) = self.slots.get_mut(node) else { return };
        let (Some(process), None) = (&mut slot.process, slot.frozen_until) else { return };
        let Some(trading) = process.trading() else { return };
        let attempt = wish.attempts.len();
        let answers = self.answers.clone();
        let asked = Attempt::Asked(node, process.number);
        process.within(async move {
            actix_rt::spawn(async move {
                let outcome = clients::ask(trading, wish.ask, wish.account).await;
                answers.lock().push((index, attempt, outcome));
            });
        });
        self.trace.tell(format!("{}: asked of node {node}", wish.name));
        if let Some(wish) = self.wishes.get_mut(index) {
            wish.attempts.push(asked);
        }
    }
}
