//! Custody: how money enters and leaves the venue.
//!
//! A [`Custodian`] is whoever holds the coins: it gives out addresses, sends, and tells of what arrives. The
//! [`Desk`] stands between it and the ledger, and keeps the one rule: **money leaves only after an entry that releases
//! it was committed, and arrives only by an entry.** A withdrawal is held (its money cannot be spent any more),
//! approved by an administrator if it is above a limit, released (from here on it cannot be called back), sent, and
//! settled. Each step is repeated until the next is reached, so a crash between two of them loses nothing.

mod desk;
mod puzzles;
mod simulated;

pub use desk::{CalledBack, CustodyError, Desk, WithdrawalOrder};
pub use simulated::Simulated;

use crate::actors::trading::Trading;
use crate::config::CustodyConfig;
use crate::domain::entry::TransferId;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::market::{Currency, MAX_DECIMALS};
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
        let named = Currency { id: CurrencyId(0), code: code.into(), name: code.into(), decimals: 0, fiat: false };
        named.validate()?;
        let limit = Limit::parse(amount).with_context(|| format!("{amount} is no amount of {code}"))?;
        limits.insert(code.to_owned(), limit);
    }
    let custodian = Simulated::new(Duration::from_millis(settings.custody_block_time_ms));
    Ok(Desk::start(trading.clone(), database.clone(), Box::new(custodian), limits))
}

/// An amount in whole units, of a currency that may be listed later: its decimals are not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In the finest atoms that a currency can have.
    finest: i128,
}

impl Limit {
    /// Reads a positive decimal number or 0, with at most 18 decimals.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> anyhow::Result<Limit> {
        let finest = parse_decimal(text, MAX_DECIMALS)?;
        if finest < 0 {
            return Err(anyhow!("it is below zero"));
        }
        Ok(Limit { finest })
    }

    /// Whether an amount of this currency is above the limit.
    pub fn is_exceeded_by(self, amount: Amount, currency: &Currency) -> bool {
        let factor = 10i128.pow(u32::from(MAX_DECIMALS.saturating_sub(currency.decimals)));
        // What does not fit is more than any limit.
        amount.0.checked_mul(factor).is_none_or(|finest| finest > self.finest)
    }
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
    /// On which network.
    pub network: String,
    /// Where to.
    pub address: String,
    /// What the receiver needs beside the address. Money that comes without it may be lost.
    pub tag: Option<String>,
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
    /// The transaction; no other arrival has the same.
    pub hash: String,
    /// The address.
    pub address: String,
    /// In which currency.
    pub currency: CurrencyId,
    /// How much.
    pub amount: Amount,
}

/// What became of money that only pretends to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pretense {
    /// It is on its way.
    Underway,
    /// Too much is on its way already; nothing happened.
    Full,
    /// This custodian cannot pretend.
    Impossible,
}

/// Whoever holds the coins. Calls answer at once; what takes time is asked for again.
pub trait Custodian: Send + Sync {
    /// The networks on which the currency moves, the usual one first.
    fn networks(&self, currency: &Currency) -> Vec<Network>;

    /// A new address of ours for this user's deposits.
    fn new_address(&self, account: AccountId, currency: CurrencyId, network: &str) -> String;

    /// Whether money can be sent to this address.
    fn is_address(&self, network: &str, address: &str) -> bool;

    /// Whether it has given this address out, as far as it knows.
    fn is_ours(&self, address: &str) -> bool;

    /// Sends, or goes on sending, and says how far that is.
    fn send(&self, shipment: &Shipment) -> Progress;

    /// What has arrived and is confirmed, until it is [acknowledged](Custodian::acknowledge).
    fn arrivals(&self) -> Vec<Arrival>;

    /// An arrival was credited, or is none at an address of ours: nobody asks for it any more.
    fn acknowledge(&self, hash: &str);

    /// Pretends that somebody outside sends money to an address.
    fn pretend(&self, address: &str, currency: CurrencyId, amount: Amount) -> Pretense;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

    use super::*;
    use crate::domain::money::MAX_AMOUNT;

    #[test]
    fn a_limit_counts_whole_units_of_any_currency() {
        let currency =
            |decimals| Currency { id: CurrencyId(0), code: "X".into(), name: "X".into(), decimals, fiat: false };
        // The limit, the decimals of the currency, an amount in its atoms, and whether that is above.
        let cases = [
            ("1", 8, 100_000_000, false),
            ("1", 8, 100_000_001, true),
            ("0.5", 0, 0, false),
            ("0.5", 0, 1, true),
            ("50000", 2, 5_000_000, false),
            ("50000", 2, 5_000_001, true),
            ("0.000000000000000001", 18, 1, false),
            ("0.000000000000000001", 18, 2, true),
            ("0", 8, 1, true),
            ("1000000", 0, MAX_AMOUNT.0, true),
        ];
        for (limit, decimals, amount, above) in cases {
            let exceeded = Limit::parse(limit).unwrap().is_exceeded_by(Amount(amount), &currency(decimals));
            assert_eq!(exceeded, above, "{amount} atoms of 10^-{decimals} against {limit}");
        }
        for text in ["", "-1", "much", "0.0000000000000000001", "1e99"] {
            assert!(Limit::parse(text).is_err(), "{text:?} is a limit");
        }
    }
}
