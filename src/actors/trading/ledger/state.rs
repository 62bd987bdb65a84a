//! What primary and twin of the ledger have alike.

use super::super::twin::Standby;
use crate::domain::ids::{AccountId, CurrencyId, Sequence};
use crate::domain::replica::{LedgerReplica, MarketOutcomes};
use crate::domain::stream::StreamState;
use crate::domain::venue::StateHash;
use crate::persistence::log::{Committed, Position};
use std::sync::Arc;

/// A ledger with more accounts and client ids is not copied on the trading thread, nor hashed there as a whole.
const SMALL: usize = 50_000;

/// Everything that follows from the streams: what primary and twin have alike.
#[derive(Clone)]
pub struct LedgerState {
    /// The balances, with their place in every stream.
    pub replica: LedgerReplica,
    /// The position of the newest batch of the ledger's own stream that was read.
    pub position: Position,
}

/// One piece of committed work of the ledger.
#[derive(Clone)]
pub enum Work {
    /// A batch of its own stream.
    Own(Committed),
    /// What a batch of a market's stream did.
    Market(Arc<MarketOutcomes>),
}

impl LedgerState {
    pub(super) fn is_small(&self) -> bool {
        self.replica.ledger.next_account().0 as usize + self.replica.client_ids.remembered() <= SMALL
    }
}

impl Standby for LedgerState {
    type Item = Work;
    type Mark = (StreamState, Vec<Sequence>);

    fn apply(&mut self, work: &Work) -> Result<(), String> {
        match work {
            Work::Own(committed) => {
                self.replica.read(&committed.batch).map_err(|error| error.to_string())?;
                self.position = committed.position;
            }
            Work::Market(outcomes) => self.replica.add(outcomes, |_, _, _| {}),
        }
        Ok(())
    }

    fn mark(&self) -> Self::Mark {
        (self.replica.stream, self.replica.markets.clone())
    }

    /// Of the whole state when the ledger is small; else of the venue's own balances, which every trade, deposit and
    /// withdrawal moves.
    fn hash(&self) -> StateHash {
        let LedgerReplica { ledger, stream, markets, .. } = &self.replica;
        if self.is_small() {
            return StateHash::of(&(ledger, stream, markets));
        }
        let own = [AccountId::OUTSIDE, AccountId::HOUSE].map(|account| {
            let currencies = 0..ledger.currencies().len() as u16;
            currencies.map(|currency| ledger.balance(account, CurrencyId(currency))).collect::<Vec<_>>()
        });
        StateHash::of(&(stream, markets, ledger.next_account(), own))
    }
}
