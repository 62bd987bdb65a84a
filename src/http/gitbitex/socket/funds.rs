//! A user's balances as one connection follows them.
//!
//! Whatever changed them, they are asked for and compared with what was told: so a message says what there is after the
//! change that it follows, both currencies of a trade come together, and nothing is told twice.

use super::connection::Connection;
use super::messages;
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::ledger::Balance;
use crate::domain::market::Currency;
use crate::http::AppState;
use actix_web::web;
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long it takes until balances that could not be told are asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// What a connection follows.
#[derive(Debug)]
pub struct Funds {
    /// The currencies that were asked for.
    pub currencies: BTreeSet<CurrencyId>,
    told: BTreeMap<CurrencyId, Balance>,
    /// Messages so far: this dialect wants a sequence.
    sequence: u64,
    bell: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Funds {
    /// Begins to follow a user's balances for a connection.
    pub fn follow(state: web::Data<AppState>, user: AccountId, connection: Weak<Connection>) -> Funds {
        let watched = state.trading.watch_balances(user);
        let bell = watched.bell();
        let task = actix_web::rt::spawn(async move {
            loop {
                watched.changed().await;
                match state.trading.balances(user).await {
                    Ok(balances) => {
                        let Some(connection) = connection.upgrade() else { return };
                        connection.tell_funds(user, &balances.unwrap_or_default());
                    }
                    Err(_) => {
                        tokio::time::sleep(AGAIN).await;
                        watched.bell().notify_one();
                    }
                }
            }
        });
        Funds { currencies: BTreeSet::new(), told: BTreeMap::new(), sequence: 0, bell, task }
    }

    /// Adds currencies; what there is of them is told.
    pub fn add(&mut self, currencies: &BTreeSet<CurrencyId>) {
        self.currencies.extend(currencies);
        self.bell.notify_one();
    }

    /// Leaves currencies out from now on; true when none is left.
    pub fn remove(&mut self, currencies: &BTreeSet<CurrencyId>) -> bool {
        self.currencies.retain(|currency| !currencies.contains(currency));
        self.told.retain(|currency, _| !currencies.contains(currency));
        self.currencies.is_empty()
    }

    /// The messages that tell what has changed.
    pub fn changes(&mut self, user: AccountId, balances: &[Balance], known: &[Currency]) -> Vec<ByteString> {
        let mut messages = Vec::new();
        for currency in known.iter().filter(|currency| self.currencies.contains(&currency.id)) {
            let balance = balances.get(usize::from(currency.id.0)).copied().unwrap_or_default();
            if self.told.insert(currency.id, balance) != Some(balance) {
                self.sequence += 1;
                messages.push(messages::funds(user, self.sequence, currency, balance));
            }
        }
        messages
    }
}

impl Drop for Funds {
    fn drop(&mut self) {
        self.task.abort();
    }
}
