//! Client order ids that are taken, and the orders behind them. An id is taken for ever.
//!
//! A fold of accepted orders. The newest ids are kept with their orders; of older ones a filter remembers that there
//! may be such an id, and the database has the order. Memory is bounded: the filter grows to some 32 MiB (26 million
//! ids with less than 3 % of new ids taken for old ones) and from then on sends more and more new ids to the database
//! in vain. It never takes an old id for a new one.

use super::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How many of the newest ids are remembered with their orders, unless it is said otherwise.
pub const REMEMBERED: usize = 200_000;

type Entry = (AccountId, ClientOrderId, MarketId, OrderId);

/// The client order ids of all users.
#[derive(Clone, Debug)]
pub struct ClientIds {
    newest: VecDeque<Entry>,
    /// Keys come from clients, so this map keeps the standard library's keyed hash.
    orders: HashMap<(AccountId, ClientOrderId), (MarketId, OrderId)>,
    forgotten: Forgotten,
    limit: usize,
}

/// What is left of ids that are not remembered with their orders.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Forgotten {
    filter: Filter,
    count: u64,
    /// The newest forgotten order of each market.
    newest: BTreeMap<MarketId, u64>,
}

impl Default for ClientIds {
    fn default() -> ClientIds {
        ClientIds {
            newest: VecDeque::new(),
            orders: HashMap::new(),
            forgotten: Forgotten::default(),
            limit: REMEMBERED,
        }
    }
}

impl ClientIds {
    /// Remembers so many of the newest ids with their orders; that is no part of the state.
    pub fn keep(&mut self, limit: usize) {
        self.limit = limit.max(1);
        self.forget();
    }

    /// An order with a client id was accepted; the id is taken from now on.
    pub fn remember(&mut self, account: AccountId, id: ClientOrderId, market: MarketId, order: OrderId) {
        if let std::collections::hash_map::Entry::Vacant(free) = self.orders.entry((account, id)) {
            free.insert((market, order));
            self.newest.push_back((account, id, market, order));
            self.forget();
        }
    }

    fn forget(&mut self) {
        while self.newest.len() > self.limit
            && let Some((account, id, market, order)) = self.newest.pop_front()
        {
            self.orders.remove(&(account, id));
            self.forgotten.filter.insert(account, id);
            self.forgotten.count += 1;
            let newest = self.forgotten.newest.entry(market).or_default();
            *newest = order.number.max(*newest);
        }
    }

    /// The order behind an id, as far as is remembered.
    pub fn get(&self, account: AccountId, id: ClientOrderId) -> Option<(MarketId, OrderId)> {
        self.orders.get(&(account, id)).copied()
    }

    /// How many ids are remembered with their orders.
    pub fn remembered(&self) -> usize {
        self.newest.len()
    }

    /// Whether an id that is not remembered may be taken all the same; only the database knows then.
    pub fn may_be_forgotten(&self, account: AccountId, id: ClientOrderId) -> bool {
        self.forgotten.count != 0 && self.forgotten.filter.may_contain(account, id)
    }

    /// How many ids were forgotten so far.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.count
    }

    /// The newest forgotten order of each market: what the database must have before its word counts.
    pub fn newest_forgotten(&self) -> impl Iterator<Item = (MarketId, u64)> + '_ {
        self.forgotten.newest.iter().map(|(market, number)| (*market, *number))
    }

    /// Whether somebody who found an id in neither memory nor database when so many were forgotten is still right. An
    /// id that was taken after that is remembered until as many others have followed.
    pub fn still_counts(&self, forgotten: u64) -> bool {
        self.forgotten.count.saturating_sub(forgotten) < self.limit as u64
    }
}

impl Serialize for ClientIds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.newest, &self.forgotten).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientIds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ClientIds, D::Error> {
        let (newest, forgotten) = <(VecDeque<Entry>, Forgotten)>::deserialize(deserializer)?;
        let orders = newest.iter().map(|(account, id, market, order)| ((*account, *id), (*market, *order))).collect();
        Ok(ClientIds { newest, orders, forgotten, limit: REMEMBERED })
    }
}

/// Bits of the first layer: 256 KiB.
const FIRST_BITS: usize = 1 << 21;
/// Bits of the largest layer: 16 MiB.
const MOST_BITS: usize = 1 << 27;
/// Bits for each id that a layer is made for.
const BITS_EACH: usize = 12;
/// Bits that are set for each id.
const PROBES: u64 = 8;

/// A Bloom filter that grows by layers, each twice as large as the one before, up to a bound.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Filter(Vec<Layer>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Layer {
    /// A power of two of them.
    words: Vec<u64>,
    ids: u64,
}

/// Two hashes of an id; the same on every node.
fn hashes(account: AccountId, ClientOrderId(id): ClientOrderId) -> (u64, u64) {
    // The finaliser of SplitMix64.
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let first = mix(id as u64 ^ mix(u64::from(account.0).wrapping_add(0x9e37_79b9_7f4a_7c15)));
    let second = mix(first ^ (id >> 64) as u64);
    (second, mix(second) | 1)
}

impl Layer {
    fn new(bits: usize) -> Layer {
        Layer { words: vec![0; bits / 64], ids: 0 }
    }

    fn bits(&self) -> usize {
        self.words.len() * 64
    }

    fn is_full(&self) -> bool {
        self.ids as usize >= self.bits() / BITS_EACH
    }

    fn probes(&self, (start, step): (u64, u64)) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mask = (self.bits() as u64).wrapping_sub(1);
        (0..PROBES).map(move |n| {
            let bit = start.wrapping_add(step.wrapping_mul(n)) & mask;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }
}

impl Filter {
    fn insert(&mut self, account: AccountId, id: ClientOrderId) {
        let next = match self.0.last() {
            None => Some(FIRST_BITS),
            Some(last) if last.is_full() && last.bits() < MOST_BITS => Some(last.bits() * 2),
            Some(_) => None,
        };
        self.0.extend(next.map(Layer::new));
        if let Some(layer) = self.0.last_mut() {
            layer.ids += 1;
            for (word, bit) in layer.probes(hashes(account, id)) {
                if let Some(word) = layer.words.get_mut(word) {
                    *word |= bit;
                }
            }
        }
    }

    fn may_contain(&self, account: AccountId, id: ClientOrderId) -> bool {
        let hashes = hashes(account, id);
        self.0.iter().any(|layer| {
            layer.probes(hashes).all(|(word, bit)| layer.words.get(word).is_some_and(|word| word & bit != 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: AccountId = AccountId(2);

    fn order(number: u64) -> OrderId {
        OrderId { number, slot: 0 }
    }

    fn taken(count: u64, limit: usize) -> ClientIds {
        let mut ids = ClientIds::default();
        ids.keep(limit);
        for number in 1..=count {
            ids.remember(ADA, ClientOrderId(u128::from(number)), MarketId(0), order(number));
        }
        ids
    }

    #[test]
    fn an_id_is_never_taken_for_a_new_one() {
        let count = 300_000;
        let ids = taken(count, 100);
        assert_eq!((ids.remembered(), ids.forgotten()), (100, count - 100));
        for number in 1..=count {
            let id = ClientOrderId(u128::from(number));
            let known = ids.get(ADA, id).is_some();
            assert_eq!(known, number > count - 100);
            assert!(known || ids.may_be_forgotten(ADA, id), "{number}");
        }
        // New ids, and the same ids of somebody else, are rarely taken for old ones.
        let wrong = (1..=100_000).filter(|n| ids.may_be_forgotten(ADA, ClientOrderId(u128::from(count + n)))).count();
        let others = (1..=100_000).filter(|n| ids.may_be_forgotten(AccountId(3), ClientOrderId(*n))).count();
        assert!(wrong < 2_000 && others < 2_000, "{wrong} and {others} of 100,000");
        assert_eq!(ids.newest_forgotten().collect::<Vec<_>>(), [(MarketId(0), count - 100)]);
    }

    #[test]
    fn the_first_order_keeps_its_id() {
        let mut ids = taken(10, 5);
        ids.remember(ADA, ClientOrderId(10), MarketId(1), order(99));
        assert_eq!(ids.get(ADA, ClientOrderId(10)), Some((MarketId(0), order(10))));
        assert_eq!(ids.remembered(), 5);
    }

    #[test]
    fn what_comes_back_from_a_snapshot_knows_the_same() {
        let ids = taken(1_000, 10);
        let bytes = postcard::to_stdvec(&ids).unwrap();
        let mut back: ClientIds = postcard::from_bytes(&bytes).unwrap();
        back.keep(10);
        assert_eq!(back.forgotten(), ids.forgotten());
        assert!((1..=990).all(|n| back.may_be_forgotten(ADA, ClientOrderId(n))));
        assert_eq!(postcard::to_stdvec(&back).unwrap(), bytes);
        // A smaller window forgets more, and loses nothing.
        back.keep(3);
        assert!((1..=997).all(|n| back.may_be_forgotten(ADA, ClientOrderId(n))));
        assert!((998..=1_000).all(|n| back.get(ADA, ClientOrderId(n)).is_some()));
    }

    #[test]
    fn a_look_at_the_database_counts_for_as_long_as_it_must() {
        let ids = taken(100, 10);
        assert!(ids.still_counts(90) && ids.still_counts(81));
        assert!(!ids.still_counts(80));
    }

    #[test]
    fn the_filter_is_bounded() {
        let layers =
            std::iter::successors(Some(FIRST_BITS), |bits| Some(bits * 2)).take_while(|bits| *bits <= MOST_BITS);
        assert!(layers.map(|bits| bits / 8).sum::<usize>() <= 32 << 20);
        let mut full = Filter(vec![Layer { words: vec![0; 2], ids: u64::MAX / 2 }]);
        full.0[0].words = vec![0; MOST_BITS / 64];
        full.insert(ADA, ClientOrderId(1));
        assert_eq!(full.0.len(), 1);
        assert!(full.may_contain(ADA, ClientOrderId(1)));
    }
}
