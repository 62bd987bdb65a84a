//! Orders that ended and fills of a short while ago, for readers that the database cannot serve yet.
//!
//! Bounded: the oldest go first. By then the projector has them in the database, unless that is out
//! of reach for long.

use super::order_book::TimedFill;
use crate::domain::ids::{AccountId, OrderId};
use crate::domain::order::OrderRecord;
use crate::domain::replica::MarketOutcomes;
use crate::persistence::log::Position;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How many ended orders, and how many fills.
pub(super) const KEPT: usize = 20_000;

/// The newest ended orders and fills of one market.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    ended: Threaded<OrderId, 1>,
    orders: FxHashMap<OrderId, OrderRecord>,
    fills: Threaded<TimedFill, 2>,
    forgotten: Position,
}

impl Recent {
    /// Adds what the batch at this position ended and traded.
    pub fn add(&mut self, outcomes: &MarketOutcomes, at: Position) {
        for record in &outcomes.ended {
            self.orders.insert(record.id, *record);
            self.ended.push(at, record.id, [record.account]);
        }
        for (feed_sequence, event) in outcomes.numbered() {
            if let Some(fill) = event.fill() {
                let (market, time) = (outcomes.market, outcomes.at);
                let timed = TimedFill { market, at: time, feed_sequence, fill: *fill };
                self.fills.push(at, timed, [fill.maker_account, fill.taker_account]);
            }
        }
        while let Some((at, oldest)) = self.ended.pop_beyond(KEPT) {
            self.orders.remove(&oldest);
            self.forgotten = self.forgotten.max(at);
        }
        while let Some((at, _)) = self.fills.pop_beyond(KEPT) {
            self.forgotten = self.forgotten.max(at);
        }
    }

    /// The position of the newest batch of which something is not remembered any more.
    pub fn forgotten(&self) -> Position {
        self.forgotten
    }

    /// Nothing is remembered of what is at `position` or before.
    pub fn since(position: Position) -> Recent {
        Recent { forgotten: position, ..Recent::default() }
    }

    /// Says of everything so far that it is at `position` or before, and that nothing is remembered up to `from`.
    pub fn date(&mut self, from: Position, position: Position) {
        self.ended.date(position);
        self.fills.date(position);
        self.forgotten = if self.forgotten == Position(0) { from } else { position };
    }

    /// An order that ended a short while ago.
    pub fn order(&self, id: OrderId) -> Option<OrderRecord> {
        self.orders.get(&id).copied()
    }

    /// A user's, newest end first.
    pub fn orders_of(&self, account: AccountId) -> Vec<OrderRecord> {
        self.ended.of(account).filter_map(|id| self.orders.get(id)).copied().collect()
    }

    /// A user's, newest first.
    pub fn fills_of(&self, account: AccountId) -> Vec<TimedFill> {
        self.fills.of(account).copied().collect()
    }
}

/// The newest of something, with a thread through those of each account: to find somebody's costs as much as there are of
/// them, since it happens on the thread on which everybody trades.
#[derive(Clone, Debug)]
struct Threaded<T, const OWNERS: usize> {
    items: VecDeque<Item<T, OWNERS>>,
    /// How many are gone: the number of the first that is here.
    gone: u64,
    /// The number of the newest of each account that is here.
    newest: FxHashMap<AccountId, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Item<T, const OWNERS: usize> {
    at: Position,
    what: T,
    /// Whose it is, each with the number of theirs before it.
    of: [(AccountId, Option<u64>); OWNERS],
}

impl<T, const OWNERS: usize> Default for Threaded<T, OWNERS> {
    fn default() -> Self {
        Threaded { items: VecDeque::new(), gone: 0, newest: FxHashMap::default() }
    }
}

impl<T, const OWNERS: usize> Threaded<T, OWNERS> {
    fn push(&mut self, at: Position, what: T, owners: [AccountId; OWNERS]) {
        let number = self.gone + self.items.len() as u64;
        let of = owners.map(|owner| (owner, self.newest.insert(owner, number).filter(|before| *before != number)));
        self.items.push_back(Item { at, what, of });
    }

    /// The oldest, while there are more than so many.
    fn pop_beyond(&mut self, kept: usize) -> Option<(Position, T)> {
        if self.items.len() <= kept {
            return None;
        }
        let Item { at, what, of } = self.items.pop_front()?;
        for (owner, _) in of {
            if self.newest.get(&owner) == Some(&self.gone) {
                self.newest.remove(&owner);
            }
        }
        self.gone += 1;
        Some((at, what))
    }

    fn date(&mut self, position: Position) {
        self.items.iter_mut().for_each(|item| item.at = position);
    }

    /// Somebody's, newest first.
    fn of(&self, account: AccountId) -> impl Iterator<Item = &T> {
        let item = |number: u64| self.items.get(usize::try_from(number.checked_sub(self.gone)?).ok()?);
        let first = self.newest.get(&account).and_then(|number| item(*number));
        std::iter::successors(first, move |item_of| {
            let before = item_of.of.iter().find(|(owner, _)| *owner == account)?.1?;
            item(before)
        })
        .map(|item| &item.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybodys_are_found_newest_first_and_go_with_the_oldest() {
        let [ada, bob, eve] = [1, 2, 3].map(AccountId);
        let mut threaded = Threaded::<u32, 2>::default();
        for (what, owners) in (0..).zip([[ada, bob], [bob, eve], [ada, eve], [bob, bob], [ada, bob]]) {
            threaded.push(Position(u64::from(what)), what, owners);
        }
        let of = |threaded: &Threaded<u32, 2>, account| threaded.of(account).copied().collect::<Vec<_>>();
        assert_eq!(
            [ada, bob, eve].map(|account| of(&threaded, account)),
            [vec![4, 2, 0], vec![4, 3, 1, 0], vec![2, 1]]
        );
        assert_eq!(threaded.pop_beyond(5), None);
        for (kept, gone) in [(4, 0), (3, 1), (2, 2)] {
            assert_eq!(threaded.pop_beyond(kept), Some((Position(u64::from(gone)), gone)));
        }
        assert_eq!([ada, bob, eve].map(|account| of(&threaded, account)), [vec![4], vec![4, 3], vec![]]);
        threaded.push(Position(9), 9, [eve, ada]);
        assert_eq!([ada, bob, eve].map(|account| of(&threaded, account)), [vec![9, 4], vec![4, 3], vec![9]]);
    }
}
