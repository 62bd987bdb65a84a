//! A custodian without coins: a network in memory, on which a block comes at a fixed interval.
//!
//! Addresses, confirmations and arrivals behave as on a real network. Money that is sent to one of our own addresses
//! arrives there. What is under way when the program ends is sent again afterwards, or, if it came from outside, lost.

use super::{Arrival, Custodian, Network, Progress, Shipment};
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Confirmations on every network.
const CONFIRMATIONS: u32 = 3;
/// Transactions that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 10_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct Simulated {
    block_time: Duration,
    chain: Mutex<Chain>,
}

#[derive(Debug, Default)]
struct Chain {
    sent: BTreeMap<TransferId, (Instant, String)>,
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
    fn arrive(&mut self, arrival: Arrival) {
        if self.arriving.len() < REMEMBERED {
            self.arriving.insert(arrival.hash.clone(), (Instant::now(), arrival));
        }
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
        let mut chain = self.chain.lock();
        let (since, hash) = chain
            .sent
            .entry(shipment.id)
            .or_insert_with(|| (Instant::now(), hash(&[b"sent", &shipment.id.to_le_bytes()])))
            .clone();
        if !self.is_confirmed(since) {
            return Progress::Underway;
        }
        chain.sent.remove(&shipment.id);
        // It is confirmed already, so at an address of ours it counts at once after its own confirmations.
        let Shipment { currency, amount, address, .. } = shipment.clone();
        chain.arrive(Arrival { hash: hash.clone(), address, currency, amount });
        Progress::Arrived(hash)
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let chain = self.chain.lock();
        let confirmed = chain.arriving.values().filter(|(since, _)| self.is_confirmed(*since));
        confirmed.map(|(_, arrival)| arrival.clone()).collect()
    }

    fn acknowledge(&self, hash: &str) {
        self.chain.lock().arriving.remove(hash);
    }

    fn pretend(&self, address: &str, currency: CurrencyId, amount: Amount) -> bool {
        let hash = hash(&[b"outside", uuid::Uuid::new_v4().as_bytes()]);
        self.chain.lock().arrive(Arrival { hash, address: address.to_owned(), currency, amount });
        true
    }
}
