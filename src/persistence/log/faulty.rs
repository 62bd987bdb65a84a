//! An engine in memory that goes wrong on purpose, for simulations and tests.
//!
//! A [`Medium`] is the log that several [`Faulty`] handles write to, as several nodes do to a
//! broker; it never looks at epochs, so a handle that was deposed goes on publishing. Nothing
//! happens by itself: [`Medium::step`] does one thing, chosen by a seeded generator, and the same
//! seed with the same calls gives the same history.
//!
//! Invariants: only durable batches are reported or read; every handle is told all batches that
//! became durable after it was opened, in log order, whoever proposed them; a proposal is answered
//! at most once, and exactly once unless its report was lost by a fault or it died in a crash.

use super::{AppendError, Batches, Busy, Committed, LogEngine, LogError, LogReader, Position, Proposal, Report, Sink};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// How often things go wrong, in chances out of 1000. All zero is a log without faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// For each proposal: the disk is full for this one and up to 20 more.
    pub full: u32,
    /// For each proposal: its batches arrive, but not as the answer to it (`proposal` is `None`), so
    /// that the proposer does not know and may propose them again.
    pub lost_report: u32,
    /// For each proposal: its batches enter the log a second time, some time later.
    pub repeat: u32,
    /// For each step: one handle is cut off for up to 50 steps. What it has not published is kept or
    /// refused as unavailable; what it has published unconfirmed may be published again.
    pub disconnect: u32,
    /// For each delivery: it waits for another turn.
    pub delay: u32,
    /// For each flush: the disk takes up to 100 steps longer.
    pub slow: u32,
}

impl Faults {
    /// Everything goes wrong now and then.
    pub const ALL: Faults = Faults { full: 20, lost_report: 50, repeat: 50, disconnect: 20, delay: 300, slow: 20 };
}

/// What goes wrong next: splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0. The bias is far below what a test can see.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// True in `chance` of 1000 cases.
    pub fn strikes(&mut self, chance: u32) -> bool {
        chance > 0 && self.below(1000) < u64::from(chance)
    }
}

/// A log in memory, shared by its handles and readers.
#[derive(Clone)]
pub struct Medium(Arc<Mutex<State>>);

struct State {
    random: SplitMix,
    faults: Faults,
    queue_bound: usize,
    log: Vec<Committed>,
    /// What was published at once, in log order.
    records: Vec<Record>,
    /// How many records are durable.
    durable: usize,
    handles: BTreeMap<u64, Handle>,
    opened: u64,
    /// Batches that will enter the log again.
    repeats: VecDeque<Vec<Committed>>,
    full_for: u64,
    full: bool,
    /// The disk is not done for so many steps.
    slow_for: u64,
}

struct Record {
    owner: u64,
    /// Whom to answer, unless the report is lost.
    proposal: Option<u64>,
    batches: Range<usize>,
}

struct Handle {
    queue: VecDeque<Proposal>,
    /// Away only while it is being called.
    sink: Option<Sink>,
    link: Link,
    /// How many records it was told.
    told: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    DownFor(u64),
    Paused,
}

/// Something that may happen next.
enum Event {
    Publish(u64),
    Flush,
    Tell(u64),
    Wait(u64),
    Repeat,
}

/// What a sink must be told, outside the lock.
type Call = Option<(u64, Report)>;

impl Medium {
    /// An empty log whose handles take up to `queue_bound` proposals.
    pub fn new(seed: u64, faults: Faults, queue_bound: usize) -> Medium {
        Medium(Arc::new(Mutex::new(State {
            random: SplitMix(seed),
            faults,
            queue_bound,
            log: Vec::new(),
            records: Vec::new(),
            durable: 0,
            handles: BTreeMap::new(),
            opened: 0,
            repeats: VecDeque::new(),
            full_for: 0,
            full: false,
            slow_for: 0,
        })))
    }

    /// Opens a further handle. It is told what becomes durable from now on.
    pub fn open(&self, sink: Sink) -> Faulty {
        let mut state = self.0.lock();
        state.opened += 1;
        let (id, told) = (state.opened, state.durable);
        state.handles.insert(id, Handle { queue: VecDeque::new(), sink: Some(sink), link: Link::Up, told });
        Faulty { medium: self.clone(), id }
    }

    /// Does one thing; false when there is nothing to do.
    pub fn step(&self) -> bool {
        let call = {
            let mut state = self.0.lock();
            let state = &mut *state;
            if state.random.strikes(state.faults.disconnect) {
                state.disconnect_one();
            }
            let mut events = state.events();
            if events.is_empty() {
                return false;
            }
            let chosen = state.random.below(events.len() as u64) as usize;
            state.happen(events.swap_remove(chosen))
        };
        self.call(call);
        true
    }

    /// Ends the faults that are under way, lets no new ones begin, and steps until everything that
    /// can be answered was. Paused handles stay paused.
    pub fn settle(&self) {
        let faults = {
            let mut state = self.0.lock();
            (state.full, state.full_for, state.slow_for) = (false, 0, 0);
            state.handles.values_mut().filter(|handle| handle.link != Link::Paused).for_each(|handle| {
                handle.link = Link::Up;
            });
            std::mem::take(&mut state.faults)
        };
        while self.step() {}
        self.0.lock().faults = faults;
    }

    /// Lets other faults happen from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// Fills the disk, or frees it.
    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// Everything stops at once, as when the power fails. The write under way is torn: of the bytes that were not yet
    /// durable an arbitrary part stays, and of those what reads as whole batches; all handles are dead. Returns how many
    /// batches were lost.
    pub fn crash(&self) -> usize {
        let mut state = self.0.lock();
        let state = &mut *state;
        let safe = state.safe_end();
        let kept = safe + state.tear(safe);
        let lost = state.log.len() - kept;
        state.log.truncate(kept);
        for record in &mut state.records {
            record.batches = record.batches.start.min(kept)..record.batches.end.min(kept);
        }
        state.durable = state.records.len();
        state.handles.clear();
        state.repeats.clear();
        (state.full, state.full_for, state.slow_for) = (false, 0, 0);
        lost
    }

    /// All durable batches in log order, repeats included.
    pub fn log(&self) -> Vec<Committed> {
        let state = self.0.lock();
        state.log.iter().take(state.safe_end()).cloned().collect()
    }

    /// Calls a sink without the lock, so that it may propose.
    fn call(&self, call: Call) {
        let Some((id, report)) = call else { return };
        let Some(mut sink) = self.0.lock().handles.get_mut(&id).and_then(|handle| handle.sink.take()) else { return };
        sink(report);
        if let Some(handle) = self.0.lock().handles.get_mut(&id) {
            handle.sink = Some(sink);
        }
    }
}

impl State {
    /// How many batches are durable.
    fn safe_end(&self) -> usize {
        self.durable.checked_sub(1).and_then(|last| self.records.get(last)).map_or(0, |record| record.batches.end)
    }

    /// How many batches after `safe` can be read back when the write of their bytes was cut short anywhere, with some
    /// bytes before the cut that the disk did not take.
    fn tear(&mut self, safe: usize) -> usize {
        let mut bytes = Vec::new();
        for committed in self.log.iter().skip(safe) {
            committed.batch.encode(&mut bytes);
        }
        let cut = self.random.below(bytes.len() as u64 + 1) as usize;
        bytes.truncate(cut);
        if !bytes.is_empty() && self.random.strikes(300) {
            let at = self.random.below(bytes.len() as u64) as usize;
            let end = (at + 512).min(bytes.len());
            bytes.get_mut(at..end).unwrap_or_default().fill(0);
        }
        let mut bytes = bytes::Bytes::from(bytes);
        let mut whole = 0;
        while let Ok(batch) = crate::domain::batch::Batch::decode(&bytes) {
            let _ = bytes.split_to(batch.encoded_len());
            whole += 1;
        }
        whole
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, handle) in &self.handles {
            match handle.link {
                Link::Paused => continue,
                Link::DownFor(_) => events.push(Event::Wait(*id)),
                Link::Up if handle.sink.is_some() => {
                    if !handle.queue.is_empty() {
                        events.push(Event::Publish(*id));
                    }
                    if handle.told < self.durable {
                        events.push(Event::Tell(*id));
                    }
                }
                Link::Up => {}
            }
        }
        if self.durable < self.records.len() {
            events.push(Event::Flush);
        }
        if !self.repeats.is_empty() {
            events.push(Event::Repeat);
        }
        events
    }

    fn happen(&mut self, event: Event) -> Call {
        match event {
            Event::Publish(id) => return self.publish(id),
            Event::Flush if self.slow_for > 0 => self.slow_for -= 1,
            Event::Flush if self.random.strikes(self.faults.slow) => self.slow_for = self.random.below(100),
            Event::Flush => self.durable = self.records.len(),
            Event::Tell(id) if !self.random.strikes(self.faults.delay) => return self.tell(id),
            Event::Tell(_) => {}
            Event::Wait(id) => {
                if let Some(handle) = self.handles.get_mut(&id)
                    && let Link::DownFor(steps) = handle.link
                {
                    handle.link = steps.checked_sub(1).map_or(Link::Up, Link::DownFor);
                }
            }
            Event::Repeat => {
                if let Some(batches) = self.repeats.pop_front() {
                    self.append(0, None, batches.into_iter().map(|committed| committed.batch));
                }
            }
        }
        None
    }

    /// Takes the next proposal of a handle to its fate.
    fn publish(&mut self, id: u64) -> Call {
        let proposal = self.handles.get_mut(&id)?.queue.pop_front()?;
        if self.full_for == 0 && self.random.strikes(self.faults.full) {
            self.full_for = 1 + self.random.below(21);
        }
        if self.full || self.full_for > 0 {
            self.full_for = self.full_for.saturating_sub(1);
            return Some((id, Report::Refused { proposal: proposal.id, error: AppendError::DiskFull }));
        }
        let answer = (!self.random.strikes(self.faults.lost_report)).then_some(proposal.id);
        let range = self.append(id, answer, proposal.batches.into_iter().map(Arc::new));
        if self.random.strikes(self.faults.repeat) {
            self.repeat(range);
        }
        None
    }

    fn append(
        &mut self,
        owner: u64,
        proposal: Option<u64>,
        batches: impl Iterator<Item = Arc<crate::domain::batch::Batch>>,
    ) -> Range<usize> {
        let start = self.log.len();
        for batch in batches {
            let position = Position(self.log.len() as u64 + 1);
            self.log.push(Committed { position, batch });
        }
        let range = start..self.log.len();
        self.records.push(Record { owner, proposal, batches: range.clone() });
        range
    }

    fn repeat(&mut self, range: Range<usize>) {
        if let Some(batches) = self.log.get(range).filter(|batches| !batches.is_empty()) {
            self.repeats.push_back(batches.to_vec());
        }
    }

    /// Tells a handle of the next durable record.
    fn tell(&mut self, id: u64) -> Call {
        let handle = self.handles.get_mut(&id)?;
        let record = self.records.get(handle.told).filter(|_| handle.told < self.durable)?;
        handle.told += 1;
        let proposal = record.proposal.filter(|_| record.owner == id);
        let batches = self.log.get(record.batches.clone()).unwrap_or_default().to_vec();
        (proposal.is_some() || !batches.is_empty()).then_some((id, Report::Committed { proposal, batches }))
    }

    fn disconnect_one(&mut self) {
        let up: Vec<u64> =
            self.handles.iter().filter(|(_, handle)| handle.link == Link::Up).map(|(id, _)| *id).collect();
        let chosen = self.random.below(up.len() as u64) as usize;
        let Some((id, handle)) = up.get(chosen).and_then(|id| Some((*id, self.handles.get_mut(id)?))) else { return };
        handle.link = Link::DownFor(self.random.below(50));
        // It cannot know which of its unconfirmed batches arrived, and some it will send again.
        let unconfirmed = self.records.get(handle.told..).unwrap_or_default();
        let own: Vec<Range<usize>> =
            unconfirmed.iter().filter(|record| record.owner == id).map(|record| record.batches.clone()).collect();
        for range in own {
            if self.random.strikes(500) {
                self.repeat(range);
            }
        }
    }
}

/// One handle on a [`Medium`]: a node's connection to it.
pub struct Faulty {
    medium: Medium,
    id: u64,
}

impl Faulty {
    /// Stops this handle as SIGSTOP stops a process: what it took stays with it and is published
    /// when it is resumed, however stale by then.
    pub fn pause(&self) {
        self.set_link(Link::Paused);
    }

    /// Lets a paused handle go on, or ends its being cut off.
    pub fn resume(&self) {
        self.set_link(Link::Up);
    }

    /// Ends this handle as kill -9 ends a process: what it has not published is gone, and it is told nothing more.
    pub fn kill(&self) {
        self.medium.0.lock().handles.remove(&self.id);
    }

    /// Cuts this handle off for so many of its steps. What it has not published by now is refused
    /// as unavailable.
    pub fn disconnect(&self, steps: u64) {
        let refused = {
            let mut state = self.medium.0.lock();
            state.handles.get_mut(&self.id).map(|handle| {
                handle.link = Link::DownFor(steps);
                std::mem::take(&mut handle.queue)
            })
        };
        for proposal in refused.unwrap_or_default() {
            let error = AppendError::Unavailable("the connection was lost".into());
            self.medium.call(Some((self.id, Report::Refused { proposal: proposal.id, error })));
        }
    }

    fn set_link(&self, link: Link) {
        if let Some(handle) = self.medium.0.lock().handles.get_mut(&self.id) {
            handle.link = link;
        }
    }
}

impl LogEngine for Faulty {
    /// A handle that died in a crash takes nothing.
    fn propose(&self, proposal: Proposal) -> Result<(), Busy> {
        let mut state = self.medium.0.lock();
        let bound = state.queue_bound;
        let handle = state.handles.get_mut(&self.id).filter(|handle| handle.queue.len() < bound).ok_or(Busy)?;
        handle.queue.push_back(proposal);
        Ok(())
    }

    fn end(&self) -> Position {
        Position(self.medium.0.lock().safe_end() as u64)
    }

    fn available(&self) -> bool {
        self.medium.0.lock().handles.get(&self.id).is_some_and(|handle| handle.link == Link::Up)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(self.medium.clone())
    }
}

impl Drop for Faulty {
    /// A proper close: publishes what was taken, flushes, and tells of all of it.
    fn drop(&mut self) {
        self.resume();
        loop {
            let call = {
                let mut state = self.medium.0.lock();
                let Some(handle) = state.handles.get(&self.id) else { return };
                if handle.queue.is_empty() {
                    state.durable = state.records.len();
                    break;
                }
                state.publish(self.id)
            };
            self.medium.call(call);
        }
        loop {
            let call = {
                let mut state = self.medium.0.lock();
                if state.handles.get(&self.id).is_none_or(|handle| handle.told >= state.durable) {
                    state.handles.remove(&self.id);
                    return;
                }
                state.tell(self.id)
            };
            self.medium.call(call);
        }
    }
}

impl LogReader for Medium {
    /// A position past the end gives nothing until the log has grown beyond it.
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        let (medium, mut at) = (self.clone(), from.0 as usize);
        Ok(Box::new(std::iter::from_fn(move || {
            let state = medium.0.lock();
            let next = state.log.get(at).filter(|_| at < state.safe_end()).cloned()?;
            at += 1;
            Some(Ok(next))
        })))
    }
}

#[cfg(test)]
mod tests;
