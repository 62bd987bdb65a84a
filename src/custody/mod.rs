//! Custody: how money enters and leaves the venue.
//!
//! A [`Custodian`] is whoever holds the coins: it gives out addresses, sends, and tells of what arrives. The
//! [`Desk`] stands between it and the ledger, and keeps the one rule: **money leaves only after an entry that releases
//! it was committed, and arrives only by an entry.** A withdrawal is held (its money cannot be spent any more),
//! approved by an administrator if it is above a limit, released (from here on it cannot be called back), sent, and
//! settled. Each step is repeated until the next is reached, so a crash between two of them loses nothing.

mod desk;
mod simulated;

pub use desk::{CustodyError, Desk, WithdrawalOrder};
pub use simulated::Simulated;

use crate::actors::trading::Trading;
use crate::config::CustodyConfig;
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::market::Currency;
use crate::domain::money::{Amount, parse_decimal};
use crate::persistence::db::Database;
use anyhow::{Context, anyhow};
use std::collections::BTreeMap;
use std::time::Duration;

/// Starts the desk with the custodian that the settings name: the simulated one.
///
/// # Errors
/// When a limit cannot be read.
pub fn start(settings: &CustodyConfig, trading: &Trading, database: &Database) -> anyhow::Result<Desk> {
    let mut limits = BTreeMap::new();
    for text in settings.custody_approval_above.iter().filter(|text| !text.is_empty()) {
        let (code, amount) = text.split_once('=').with_context(|| format!("{text} is not CODE=AMOUNT"))?;
        // A limit for a currency that is not listed limits nothing.
        let Some(currency) = trading.currency(code) else { continue };
        let units = parse_decimal(amount, currency.decimals).map_err(|_| anyhow!("{amount} is no amount of {code}"))?;
        limits.insert(code.to_owned(), Amount(units));
    }
    let custodian = Simulated::new(Duration::from_millis(settings.custody_block_time_ms));
    Ok(Desk::start(trading.clone(), database.clone(), Box::new(custodian), limits))
}

/// A network on which a currency moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name on the wire.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Confirmations after which a movement counts.
    pub confirmations: u32,
    /// What a withdrawal costs, in atoms of the currency.
    pub fee: Amount,
    /// The least that may be withdrawn, fee included.
    pub least: Amount,
    /// The most that may be withdrawn at once.
    pub most: Amount,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    /// The withdrawal; the same one is sent once, however often it is asked for.
    pub id: TransferId,
    /// In which currency.
    pub currency: CurrencyId,
    /// How much arrives there.
    pub amount: Amount,
    /// Where to.
    pub address: String,
}

/// How far a shipment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// On its way.
    Underway,
    /// It has arrived, under this transaction.
    Arrived(String),
    /// It will never arrive, and the money is still here.
    Failed,
}

/// Money that has arrived at one of our addresses and is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The transaction.
    pub hash: String,
    /// The address.
    pub address: String,
    /// In which currency.
    pub currency: CurrencyId,
    /// How much.
    pub amount: Amount,
}

/// Whoever holds the coins. Calls answer at once; what takes time is asked for again.
pub trait Custodian: Send + Sync {
    /// The networks on which the currency moves, the usual one first.
    fn networks(&self, currency: &Currency) -> Vec<Network>;

    /// A new address of ours for this user's deposits.
    fn new_address(&self, account: AccountId, currency: CurrencyId, network: &str) -> String;

    /// Whether money can be sent to this address.
    fn is_address(&self, network: &str, address: &str) -> bool;

    /// Sends, or goes on sending, and says how far that is.
    fn send(&self, shipment: &Shipment) -> Progress;

    /// What has arrived and is confirmed, until it is [acknowledged](Custodian::acknowledge).
    fn arrivals(&self) -> Vec<Arrival>;

    /// An arrival was credited.
    fn acknowledge(&self, hash: &str);

    /// Pretends that somebody outside sends money to an address; false when this custodian cannot pretend.
    fn pretend(&self, address: &str, currency: CurrencyId, amount: Amount) -> bool;
}
