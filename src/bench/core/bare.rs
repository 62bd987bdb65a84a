//! The yardstick: a book that knows nothing but price-time priority.
//!
//! How many commands a second a book applies says more of the machine than of the book: one and the same program made 4 and
//! 10 million on two of them. So the same flow goes by turns through the least that matches at all: levels in an
//! array by price with a bitmap of the occupied ones, orders of 24 bytes in a slab, an index from ids to slots, outcomes
//! written to a buffer and read. No accounts, holds, fees, order kinds, client ids, states of the market or sequence
//! numbers. What a real book reaches of its rate can be compared across machines.

use super::Quantiles;
use super::flow::{FlowCommand, Totals};
use crate::domain::order::Side;
use anyhow::{Context, ensure};
use rustc_hash::FxHashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

const NIL: u32 = u32::MAX;

/// Prices are below this: three levels of 64-bit words.
const PRICES: usize = 1 << 18;

#[derive(Clone, Copy)]
struct Order {
    id: u32,
    side: Side,
    price: u32,
    left: u32,
    prev: u32,
    next: u32,
}

/// What happened, as the buffer has it.
#[derive(Clone, Copy)]
enum Outcome {
    Opened { id: u32, price: u32, left: u32 },
    Filled { maker: u32, taker: u32, price: u32, size: u32 },
    Done { id: u32, left: u32 },
}

/// Levels by key, the smallest best.
struct Levels {
    /// First and last slot of each.
    ends: Vec<[u32; 2]>,
    /// Which levels, which words of those, and which words of these are not empty.
    low: Vec<u64>,
    middle: Vec<u64>,
    high: u64,
}

impl Levels {
    fn new() -> Levels {
        Levels { ends: vec![[NIL; 2]; PRICES], low: vec![0; PRICES / 64], middle: vec![0; PRICES / 4096], high: 0 }
    }

    fn best(&self) -> Option<usize> {
        if self.high == 0 {
            return None;
        }
        let at = self.high.trailing_zeros() as usize;
        let at = at * 64 + self.middle.get(at)?.trailing_zeros() as usize;
        Some(at * 64 + self.low.get(at)?.trailing_zeros() as usize)
    }

    fn occupy(&mut self, key: usize) {
        if let (Some(low), Some(middle)) = (self.low.get_mut(key / 64), self.middle.get_mut(key / 4096)) {
            *low |= 1 << (key % 64);
            *middle |= 1 << (key / 64 % 64);
            self.high |= 1 << (key / 4096);
        }
    }

    fn vacate(&mut self, key: usize) {
        if let (Some(low), Some(middle)) = (self.low.get_mut(key / 64), self.middle.get_mut(key / 4096)) {
            *low &= !(1 << (key % 64));
            if *low == 0 {
                *middle &= !(1 << (key / 64 % 64));
                if *middle == 0 {
                    self.high &= !(1 << (key / 4096));
                }
            }
        }
    }
}

struct Bare {
    index: FxHashMap<u32, u32>,
    orders: Vec<Order>,
    free: Vec<u32>,
    bids: Levels,
    asks: Levels,
}

fn key(side: Side, price: u32) -> usize {
    match side {
        Side::Buy => PRICES - 1 - price as usize,
        Side::Sell => price as usize,
    }
}

impl Bare {
    fn new() -> Bare {
        let (bids, asks) = (Levels::new(), Levels::new());
        Bare { index: FxHashMap::default(), orders: Vec::new(), free: Vec::new(), bids, asks }
    }

    fn levels(&mut self, side: Side) -> &mut Levels {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// The oldest order of the best level of this side, if it is at least as good as `price` for somebody opposite.
    fn front(&mut self, side: Side, price: u32) -> Option<u32> {
        let worst = key(side, price);
        let levels = self.levels(side);
        let best = levels.best().filter(|best| *best <= worst)?;
        levels.ends.get(best).map(|[first, _]| *first)
    }

    fn place(&mut self, id: u32, side: Side, price: u32, size: u32, out: &mut Vec<Outcome>) -> Option<()> {
        let mut left = size;
        while left > 0 {
            let Some(slot) = self.front(side.opposite(), price) else { break };
            let maker = self.orders.get_mut(slot as usize)?;
            let part = left.min(maker.left);
            left -= part;
            maker.left -= part;
            let Order { id: maker_id, price: at, left: rest, .. } = *maker;
            out.push(Outcome::Filled { maker: maker_id, taker: id, price: at, size: part });
            if rest == 0 {
                self.remove(maker_id, out)?;
            }
        }
        if left == 0 {
            out.push(Outcome::Done { id, left });
            return Some(());
        }
        let slot = self.free.pop().unwrap_or(self.orders.len() as u32);
        let key = key(side, price);
        let levels = self.levels(side);
        let ends = levels.ends.get_mut(key)?;
        let [_, last] = *ends;
        ends[1] = slot;
        if last == NIL {
            ends[0] = slot;
            levels.occupy(key);
        } else {
            self.orders.get_mut(last as usize)?.next = slot;
        }
        let order = Order { id, side, price, left, prev: last, next: NIL };
        match self.orders.get_mut(slot as usize) {
            Some(place) => *place = order,
            None => self.orders.push(order),
        }
        self.index.insert(id, slot);
        out.push(Outcome::Opened { id, price, left });
        Some(())
    }

    fn remove(&mut self, id: u32, out: &mut Vec<Outcome>) -> Option<()> {
        let slot = self.index.remove(&id)?;
        let Order { side, price, left, prev, next, .. } = *self.orders.get(slot as usize)?;
        if prev != NIL {
            self.orders.get_mut(prev as usize)?.next = next;
        }
        if next != NIL {
            self.orders.get_mut(next as usize)?.prev = prev;
        }
        if prev == NIL || next == NIL {
            let key = key(side, price);
            let levels = self.levels(side);
            let ends = levels.ends.get_mut(key)?;
            if prev == NIL {
                ends[0] = next;
            }
            if next == NIL {
                ends[1] = prev;
            }
            if *ends == [NIL; 2] {
                levels.vacate(key);
            }
        }
        self.free.push(slot);
        out.push(Outcome::Done { id, left });
        Some(())
    }
}

/// A book and what it reached.
struct Run {
    book: Bare,
    totals: Totals,
    outcomes: Vec<Outcome>,
}

impl Run {
    /// # Errors
    /// When a price is beyond what the book has room for.
    fn new(commands: &[FlowCommand]) -> anyhow::Result<Run> {
        let beyond = commands.iter().any(|command| match command {
            FlowCommand::Limit { price, .. } => *price as usize >= PRICES,
            FlowCommand::Cancel { .. } => false,
        });
        ensure!(!beyond, "the bare book has no room for such prices");
        Ok(Run { book: Bare::new(), totals: Totals::default(), outcomes: Vec::with_capacity(1024) })
    }

    /// Applies one command and reads what happened; nothing if it names an order that is not there.
    #[inline]
    fn apply(&mut self, command: &FlowCommand) -> Option<()> {
        let Run { book, totals, outcomes } = self;
        match *command {
            FlowCommand::Limit { id, side, price, size } => book.place(id, side, price, size, outcomes)?,
            FlowCommand::Cancel { id, .. } => book.remove(id, outcomes)?,
        }
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Filled { maker, taker, price, size } => {
                    totals.fill(maker.into(), taker.into(), price.into(), size.into());
                }
                Outcome::Opened { id, price, left } => drop(black_box((id, price, left))),
                Outcome::Done { id, left } => drop(black_box((id, left))),
            }
        }
        Some(())
    }
}

const NOBODY: &str = "the flow names an order that is not there";

/// The whole flow through a book of its own: how long it took, and what it did.
///
/// # Errors
/// When a price is beyond what it has room for, or a cancel names nobody.
pub fn run(commands: &[FlowCommand]) -> anyhow::Result<(Duration, Totals)> {
    let mut run = Run::new(commands)?;
    let start = Instant::now();
    for command in commands {
        run.apply(command).context(NOBODY)?;
    }
    let took = start.elapsed();
    run.totals.live = run.book.index.len();
    Ok((took, run.totals))
}

/// The times of its commands, with the clock read before and after each.
///
/// # Errors
/// As [`run`].
pub fn latency(commands: &[FlowCommand]) -> anyhow::Result<Quantiles> {
    let mut run = Run::new(commands)?;
    let mut all = Some(());
    let times = Quantiles::of(commands.iter(), |command| {
        let before = Instant::now();
        all = run.apply(command).and(all);
        before.elapsed()
    });
    all.context(NOBODY)?;
    Ok(times)
}
