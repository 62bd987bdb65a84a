//! A deterministic flow of orders in one market, and the totals that a correct price-time book must
//! reach on it. Integer arithmetic only, so a seed gives the same flow on every machine.
//!
//! The flow first fills a book (`warm` orders around the middle that do not match), then mixes
//! resting orders near the touch, cancels of orders drawn uniformly from those alive, and aggressive
//! orders at one of the five best opposite levels. A cancel must name a live order and an order the
//! touch, so the generator keeps a plain book of its own, which is also the oracle for the totals.

use crate::domain::order::Side;
use std::collections::{BTreeMap, BTreeSet};

/// How a flow is made.
#[derive(Clone, Copy, Debug)]
pub struct FlowOptions {
    /// Seed of the random numbers.
    pub seed: u64,
    /// How many commands, the warming ones included.
    pub count: usize,
    /// How many orders fill the book first.
    pub warm: usize,
    /// The middle price of those, in ticks.
    pub mid: u32,
    /// How far from the middle they lie, in ticks.
    pub range: u32,
    /// Per cent of the mix that are resting orders.
    pub add: u64,
    /// Per cent of the mix that are cancels; the rest are aggressive orders.
    pub cancel: u64,
    /// Mean distance of resting orders from the touch, in ticks.
    pub dist: u64,
    /// Greatest size of an aggressive order at the k-th level: k × `lot`.
    pub lot: u64,
}

impl Default for FlowOptions {
    /// Two million commands on a book of about 95,000 live orders.
    fn default() -> Self {
        FlowOptions {
            seed: 20_240_601,
            count: 2_000_000,
            warm: 100_000,
            mid: 100_000,
            range: 1_000,
            add: 45,
            cancel: 40,
            dist: 50,
            lot: 12,
        }
    }
}

impl FlowOptions {
    /// The same flow on a book of about a thousand live orders, which fits the first-level caches.
    #[must_use]
    pub fn shallow() -> Self {
        FlowOptions { warm: 1_000, range: 100, dist: 10, lot: 11, ..FlowOptions::default() }
    }
}

/// One command. Orders have the ids 1, 2, 3, … in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowCommand {
    /// A new limit order.
    Limit {
        /// Its id.
        id: u32,
        /// Bid or ask.
        side: Side,
        /// Ticks.
        price: u32,
        /// Lots.
        size: u32,
    },
    /// The order with this id and side is canceled.
    Cancel {
        /// Its id.
        id: u32,
        /// Its side.
        side: Side,
    },
}

/// What a book has done at the end of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many fills.
    pub fills: u64,
    /// Lots traded.
    pub traded: u64,
    /// Sum of price × size.
    pub notional: u128,
    /// Orders that still rest.
    pub live: usize,
    /// Depends on every fill (maker, taker, price, size) and their order.
    pub digest: u64,
}

impl Totals {
    /// Takes a fill into account.
    pub fn fill(&mut self, maker: u64, taker: u64, price: u64, size: u64) {
        self.fills += 1;
        self.traded += size;
        self.notional += u128::from(price) * u128::from(size);
        for value in [maker, taker, price, size] {
            self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        }
    }
}

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0..n.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

/// Geometric distances by inverting a fixed-point survival table: P(d ≥ i) = (1 − 1/mean)^i.
fn survival(mean: u64, longest: usize) -> Vec<u64> {
    let mean = u128::from(mean.max(1));
    let mut left = u64::MAX;
    let mut table = Vec::with_capacity(longest);
    for _ in 0..longest {
        left = (u128::from(left) * (mean - 1) / mean) as u64;
        table.push(left);
    }
    table
}

#[derive(Clone, Copy)]
struct Node {
    price: u32,
    left: u32,
    side: Side,
    live_at: u32,
}

/// The oracle: ordered maps of levels, each the ids in the order of arrival.
struct Oracle {
    /// By id; 0 is nobody.
    nodes: Vec<Node>,
    live: Vec<u32>,
    bids: BTreeMap<u32, BTreeSet<u32>>,
    asks: BTreeMap<u32, BTreeSet<u32>>,
    totals: Totals,
}

impl Oracle {
    fn side(&mut self, side: Side) -> &mut BTreeMap<u32, BTreeSet<u32>> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// The price of the k-th best level, or of the last one when there are fewer.
    fn kth(&self, side: Side, k: usize) -> Option<u32> {
        match side {
            Side::Buy => self.bids.keys().rev().take(k).fold(None, |_, price| Some(*price)),
            Side::Sell => self.asks.keys().take(k).fold(None, |_, price| Some(*price)),
        }
    }

    fn node(&self, id: u32) -> Node {
        let nobody = Node { price: 0, left: 0, side: Side::Buy, live_at: 0 };
        self.nodes.get(id as usize).copied().unwrap_or(nobody)
    }

    fn remove(&mut self, id: u32) {
        let Node { price, side, live_at, .. } = self.node(id);
        let levels = self.side(side);
        if let Some(level) = levels.get_mut(&price) {
            level.remove(&id);
            if level.is_empty() {
                levels.remove(&price);
            }
        }
        self.live.swap_remove(live_at as usize);
        let moved = self.live.get(live_at as usize).copied().unwrap_or_default();
        if let Some(node) = self.nodes.get_mut(moved as usize) {
            node.live_at = live_at;
        }
    }

    fn limit(&mut self, id: u32, side: Side, price: u32, size: u32) {
        let mut left = size;
        while left > 0 {
            let Some(best) = self.kth(side.opposite(), 1) else { break };
            let crosses = match side {
                Side::Buy => best <= price,
                Side::Sell => best >= price,
            };
            let oldest = self.side(side.opposite()).get(&best).and_then(|level| level.first().copied());
            let (true, Some(maker)) = (crosses, oldest) else { break };
            let rest = self.node(maker).left;
            let part = left.min(rest);
            left -= part;
            self.totals.fill(u64::from(maker), u64::from(id), u64::from(best), u64::from(part));
            if let Some(node) = self.nodes.get_mut(maker as usize) {
                node.left = rest - part;
            }
            if rest == part {
                self.remove(maker);
            }
        }
        // Ids are dense, so the place of each node is its id, whether it rests or not.
        self.nodes.push(Node { price, left, side, live_at: self.live.len() as u32 });
        if left > 0 {
            self.live.push(id);
            self.side(side).entry(price).or_default().insert(id);
        }
    }
}

/// Makes a flow, with the totals at its end.
pub fn generate(options: &FlowOptions) -> (Vec<FlowCommand>, Totals) {
    let mut rng = Rng(options.seed);
    let table = survival(options.dist, 1_000);
    let nobody = Node { price: 0, left: 0, side: Side::Buy, live_at: 0 };
    let mut oracle = Oracle {
        nodes: vec![nobody],
        live: Vec::new(),
        bids: BTreeMap::new(),
        asks: BTreeMap::new(),
        totals: Totals::default(),
    };
    let mut commands = Vec::with_capacity(options.count);
    for index in 0..options.count {
        let side = if rng.next() >> 63 == 0 { Side::Buy } else { Side::Sell };
        let roll = rng.below(100);
        let away = |touch: u32, distance: u32| match side {
            Side::Buy => touch.saturating_sub(1 + distance).max(1),
            Side::Sell => touch + 1 + distance,
        };
        let mixing = index >= options.warm;
        if mixing && (options.add..options.add + options.cancel).contains(&roll) && !oracle.live.is_empty() {
            let place = rng.below(oracle.live.len() as u64) as usize;
            let id = oracle.live.get(place).copied().unwrap_or_default();
            let side = oracle.node(id).side;
            oracle.remove(id);
            commands.push(FlowCommand::Cancel { id, side });
            continue;
        }
        let (price, size) = if !mixing {
            (away(options.mid, rng.below(u64::from(options.range)) as u32), 1 + rng.below(100))
        } else if roll < options.add {
            let touch = oracle.kth(side.opposite(), 1).unwrap_or(options.mid);
            let drawn = rng.next();
            (away(touch, table.partition_point(|left| drawn < *left) as u32), 1 + rng.below(100))
        } else {
            let k = 1 + rng.below(5);
            let price = oracle.kth(side.opposite(), k as usize).unwrap_or(options.mid);
            (price, 1 + rng.below(k * options.lot))
        };
        let (id, size) = (oracle.nodes.len() as u32, size as u32);
        oracle.limit(id, side, price, size);
        commands.push(FlowCommand::Limit { id, side, price, size });
    }
    oracle.totals.live = oracle.live.len();
    (commands, oracle.totals)
}
