//! What the desk cannot settle by itself, so that a person has to look into it.
//!
//! Each is told of once, by an error in the log, and counted for as long as it lasts. None of this is kept: whoever
//! starts anew finds it anew.

use super::Arrival;
use crate::domain::entry::TransferId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long an arrival that could not be credited is left alone before that is tried again.
const REST: Duration = Duration::from_secs(60);

/// What there is now.
#[derive(Debug, Default)]
pub(super) struct Puzzles {
    withdrawals: Mutex<BTreeSet<TransferId>>,
    /// By their transactions, with when they were last tried in vain.
    arrivals: Mutex<BTreeMap<String, Instant>>,
}

impl Puzzles {
    /// These withdrawals are held, and no row says where their money goes: there is none, or it tells of another one.
    pub(super) fn withdrawals_are(&self, now: BTreeSet<TransferId>) {
        let mut known = self.withdrawals.lock();
        for id in now.difference(&known) {
            let withdrawal = Uuid::from_u128(*id);
            tracing::error!(%withdrawal, "money is held, and the row of its withdrawal is lost or another one");
        }
        *known = now;
    }

    /// How many withdrawals that are.
    pub(super) fn withdrawals(&self) -> usize {
        self.withdrawals.lock().len()
    }

    /// These arrivals wait now; what is not among them is over.
    pub(super) fn arrivals_are(&self, now: &[Arrival]) {
        let mut known = self.arrivals.lock();
        if !known.is_empty() {
            let waiting: BTreeSet<&str> = now.iter().map(|arrival| arrival.hash.as_str()).collect();
            known.retain(|hash, _| waiting.contains(hash.as_str()));
        }
    }

    /// Whether an arrival was tried in vain a moment ago.
    pub(super) fn rests(&self, arrival: &Arrival, now: Instant) -> bool {
        self.arrivals.lock().get(&arrival.hash).is_some_and(|tried| now.duration_since(*tried) < REST)
    }

    /// An arrival cannot be credited, for this reason.
    pub(super) fn put_aside(&self, arrival: &Arrival, why: &'static str, now: Instant) {
        if self.arrivals.lock().insert(arrival.hash.clone(), now).is_none() {
            let Arrival { hash, address, currency, amount } = arrival;
            tracing::error!(
                transaction = hash.as_str(),
                address = address.as_str(),
                currency = currency.0,
                amount = amount.0,
                why,
                "money has arrived that cannot be credited; it stays with the custodian, and is tried again"
            );
        }
    }

    /// How many arrivals cannot be credited.
    pub(super) fn arrivals(&self) -> usize {
        self.arrivals.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::CurrencyId;
    use crate::domain::money::Amount;

    #[test]
    fn an_arrival_that_cannot_be_credited_rests_between_two_attempts() {
        let arrival = |hash: &str| Arrival {
            hash: hash.into(),
            address: "somewhere".into(),
            currency: CurrencyId(0),
            amount: Amount(1),
        };
        let (puzzles, now, both) = (Puzzles::default(), Instant::now(), [arrival("a"), arrival("b")]);
        puzzles.put_aside(&both[0], "it is a test", now);
        let rest = |after: Duration| both.each_ref().map(|arrival| puzzles.rests(arrival, now + after));
        assert_eq!(rest(Duration::ZERO), [true, false]);
        assert_eq!(rest(REST), [false, false]);
        puzzles.put_aside(&both[0], "it is a test", now + REST);
        assert_eq!(rest(REST), [true, false]);
        puzzles.arrivals_are(&both);
        assert_eq!(puzzles.arrivals(), 1);
        puzzles.arrivals_are(&both[1..]);
        assert_eq!((puzzles.arrivals(), rest(REST)), (0, [false, false]));
    }
}
