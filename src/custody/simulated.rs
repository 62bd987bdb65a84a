//! A custodian without coins: a network in memory, on which a block comes at a fixed interval.
//!
//! Addresses, confirmations and arrivals behave as on a real network. Money that is sent to one of our own addresses
//! arrives there, and counts as sent once it does. What is under way when the program ends is sent again afterwards, as
//! the same transaction, or, if it came from outside, lost.

use super::{Arrival, Custodian, Network, Pretense, Progress, Shipment};
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Confirmations on every network.
const CONFIRMATIONS: u32 = 3;
/// Transactions that may be arriving at once.
const MOST_ARRIVING: usize = 10_000;
/// A shipment that nobody has asked for in so long is forgotten: another node has seen it arrive. Whoever asks for it
/// all the same begins the same transaction once more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// See the module's documentation.
#[derive(Debug)]
pub struct Simulated {
    block_time: Duration,
    chain: Mutex<Chain>,
}

#[derive(Debug)]
struct Sent {
    since: Instant,
    /// When it was last asked for.
    asked: Instant,
    /// Its transaction.
    hash: String,
}

#[derive(Debug, Default)]
struct Chain {
    sent: BTreeMap<TransferId, Sent>,
    arriving: BTreeMap<String, (Instant, Arrival)>,
    /// The addresses that were given out since the program was started.
    given: BTreeSet<String>,
}

impl Simulated {
    /// A network with a block at this interval.
    pub fn new(block_time: Duration) -> Simulated {
        Simulated { block_time, chain: Mutex::default() }
    }

    fn is_confirmed(&self, since: Instant) -> bool {
        since.elapsed() >= self.block_time * CONFIRMATIONS
    }
}

fn prefix(network: &str) -> &'static str {
    match network {
        "bitcoin" => "simbtc1q",
        _ => "sim0x",
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("agora 2026 simulated transaction");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

impl Chain {
    /// Lets money come; false when too much is coming already.
    fn arrive(&mut self, arrival: Arrival) -> bool {
        let has_room = self.arriving.len() < MOST_ARRIVING || self.arriving.contains_key(&arrival.hash);
        if has_room {
            self.arriving.insert(arrival.hash.clone(), (Instant::now(), arrival));
        }
        has_room
    }

    /// Puts a shipment on its way, if there is room for it. From here on it arrives, whether or not it is asked for.
    fn begin(&mut self, shipment: &Shipment) {
        let Shipment { id, currency, amount, address, .. } = shipment.clone();
        let (now, hash) = (Instant::now(), hash(&[b"sent", &id.to_le_bytes()]));
        if self.arrive(Arrival { hash: hash.clone(), address, currency, amount }) {
            self.sent.insert(id, Sent { since: now, asked: now, hash });
        }
    }

    fn forget(&mut self, now: Instant) {
        self.sent.retain(|_, sent| now.duration_since(sent.asked) < FORGOTTEN_AFTER);
    }
}

impl Custodian for Simulated {
    fn networks(&self, currency: &Currency) -> Vec<Network> {
        let (id, name) = if currency.code == "BTC" { ("bitcoin", "Bitcoin") } else { ("ethereum", "Ethereum") };
        let unit = 10i128.pow(u32::from(currency.decimals));
        // A fee of about the same worth for all: 0.0001 BTC, 0.001 ETH, 1 of anything else.
        let fee = match currency.code.as_str() {
            "BTC" => unit / 10_000,
            "ETH" => unit / 1_000,
            _ => unit,
        }
        .max(1);
        let (fee, least, most) = (Amount(fee), Amount(fee * 2), Amount(unit * 1_000_000));
        vec![Network { id, name, confirmations: CONFIRMATIONS, fee, least, most }]
    }

    fn new_address(&self, account: AccountId, currency: CurrencyId, network: &str) -> String {
        let salt = uuid::Uuid::new_v4();
        let text = hash(&[&account.0.to_le_bytes(), &currency.0.to_le_bytes(), salt.as_bytes()]);
        let address = format!("{}{}", prefix(network), text.get(..40).unwrap_or_default());
        self.chain.lock().given.insert(address.clone());
        address
    }

    fn is_address(&self, network: &str, address: &str) -> bool {
        let rest = address.strip_prefix(prefix(network));
        rest.is_some_and(|rest| {
            (20..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }

    fn is_ours(&self, address: &str) -> bool {
        self.chain.lock().given.contains(address)
    }

    fn send(&self, shipment: &Shipment) -> Progress {
        let chain = &mut *self.chain.lock();
        let Some(sent) = chain.sent.get_mut(&shipment.id) else {
            chain.begin(shipment);
            return Progress::Underway;
        };
        sent.asked = Instant::now();
        // What was not taken in yet would be lost if its sender asked for it no more and the program ended.
        if !self.is_confirmed(sent.since) || chain.arriving.contains_key(&sent.hash) {
            return Progress::Underway;
        }
        chain.sent.remove(&shipment.id).map_or(Progress::Underway, |sent| Progress::Arrived(sent.hash))
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let mut chain = self.chain.lock();
        chain.forget(Instant::now());
        let confirmed = chain.arriving.values().filter(|(since, _)| self.is_confirmed(*since));
        confirmed.map(|(_, arrival)| arrival.clone()).collect()
    }

    fn acknowledge(&self, hash: &str) {
        self.chain.lock().arriving.remove(hash);
    }

    fn pretend(&self, address: &str, currency: CurrencyId, amount: Amount) -> Pretense {
        let hash = hash(&[b"outside", uuid::Uuid::new_v4().as_bytes()]);
        let arrival = Arrival { hash, address: address.to_owned(), currency, amount };
        if self.chain.lock().arrive(arrival) { Pretense::Underway } else { Pretense::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "simbtc1q00000000000000000000";

    fn shipment(id: TransferId) -> Shipment {
        let (currency, amount) = (CurrencyId(0), Amount(5));
        Shipment { id, currency, amount, network: "bitcoin".into(), address: ADDRESS.into(), tag: None }
    }

    #[test]
    fn what_is_sent_counts_once_it_was_taken_in() {
        let network = Simulated::new(Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(network.send(&shipment(1)), Progress::Underway, "nobody has taken it in");
            assert_eq!(network.arrivals().len(), 1);
        }
        // A program that ended meanwhile sends the same transaction.
        let again = Simulated::new(Duration::ZERO);
        again.send(&shipment(1));
        assert_eq!(again.arrivals(), network.arrivals());
        let hash = network.arrivals()[0].hash.clone();
        network.acknowledge(&hash);
        assert_eq!(network.send(&shipment(1)), Progress::Arrived(hash));
        assert!(network.arrivals().is_empty() && network.chain.lock().sent.is_empty());
    }

    #[test]
    fn what_has_no_room_is_not_lost() {
        let network = Simulated::new(Duration::ZERO);
        for _ in 0..MOST_ARRIVING {
            assert_eq!(network.pretend(ADDRESS, CurrencyId(0), Amount(1)), Pretense::Underway);
        }
        assert_eq!(network.pretend(ADDRESS, CurrencyId(0), Amount(1)), Pretense::Full);
        assert_eq!(network.send(&shipment(1)), Progress::Underway);
        assert_eq!(network.send(&shipment(1)), Progress::Underway, "it has not begun");
        for arrival in network.arrivals() {
            network.acknowledge(&arrival.hash);
        }
        assert_eq!(network.send(&shipment(1)), Progress::Underway);
        assert_eq!(network.arrivals().iter().map(|arrival| arrival.amount).collect::<Vec<_>>(), [Amount(5)]);
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten() {
        let network = Simulated::new(Duration::ZERO);
        network.send(&shipment(1));
        let mut chain = network.chain.lock();
        chain.forget(Instant::now());
        assert_eq!(chain.sent.len(), 1);
        chain.forget(Instant::now() + FORGOTTEN_AFTER);
        assert!(chain.sent.is_empty());
    }
}
