//! What is looked at after each step.

use super::super::clients::{self, Said};
use super::super::network::Letter;
use super::super::node;
use super::super::oracle::Weighed;
use super::World;
use crate::actors::trading::twin::Weigh;
use crate::actors::trading::{Refused, Unavailable};
use crate::domain::ids::{AccountId, ClientOrderId, MarketId};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl World {
    pub(super) fn look(&mut self) -> Result<(), String> {
        if let Some(what) = node::broken() {
            return Err(what);
        }
        let news = self.oracle.read()?;
        if news.moved {
            let position = self.oracle.position();
            self.trace.note(&position.0.to_le_bytes());
            self.trace.note(&self.oracle.venue().hash().0);
        }
        for (account, name) in news.orders {
            self.told_no(account, name.0)?;
        }
        for name in news.transfers {
            if let Some(wish) = self.wishes.iter().find(|wish| wish.name == name) {
                self.told_no(wish.account, name)?;
            }
        }
        for node in 0..self.slots.len() {
            self.look_at(node)?;
        }
        self.network.returns.append(&mut self.returns.lock());
        let heard = std::mem::take(&mut *self.heard.lock());
        for heard in heard {
            let (market, feed_after, digest, events) = heard?;
            self.oracle.heard(market, feed_after, digest)?;
            self.counts.events += events;
            self.trace.note(&feed_after.to_le_bytes());
        }
        self.take_answers()?;
        if self.step.is_multiple_of(25) {
            (0..self.slots.len()).for_each(|node| self.weigh(node));
        }
        self.compare().map(drop)
    }

    /// The log has brought something that a user asked for: was the user told that it was not done?
    fn told_no(&self, account: AccountId, name: u128) -> Result<(), String> {
        let is_it = |wish: &&clients::Wish| {
            wish.account == account && (wish.name == name || wish.client_ids().contains(&ClientOrderId(name)))
        };
        let Some(wish) = self.wishes.iter().find(is_it) else { return Ok(()) };
        clients::all_or_nothing(&self.oracle, wish, None)?;
        if wish.was_denied() { clients::must_not_be_there(&self.oracle, wish) } else { Ok(()) }
    }

    fn look_at(&mut self, node: usize) -> Result<(), String> {
        let Some(process) = self.slots.get_mut(node).and_then(|slot| slot.process.as_mut()) else { return Ok(()) };
        if let Some(trading) = process.trading() {
            let twins = trading.twins();
            if twins.divergences.load(Ordering::Relaxed) > 0 {
                return Err(format!("node {node}: a twin differs from its primary"));
            }
        }
        let calls = std::mem::take(&mut process.told.lock().calls);
        let leader = usize::from(process.role.leader());
        let from = (node, process.number);
        let ended = process.told.lock().ended.clone();
        let is_over = process.is_over();
        for (command, reply) in calls {
            let Some(to) = leader.checked_sub(1) else {
                let _ = reply.send(Err(Unavailable::Starting));
                continue;
            };
            self.network.sent += 1;
            let id = self.network.sent;
            self.network.letters.push(Letter { id, from, to, command });
            self.network.waiting.insert(id, reply);
        }
        if is_over {
            self.kill(node, &ended.unwrap_or_else(|| "in the middle of something".into()));
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Result<(), String> {
        let answers = std::mem::take(&mut *self.answers.lock());
        for (index, attempt, outcome) in answers {
            let Some(wish) = self.wishes.get_mut(index) else { continue };
            self.trace.tell(match &outcome {
                Ok(said) => format!("{}: {}", wish.name, brief(said)),
                Err(refused) => format!("{}: {refused}", wish.name),
            });
            match &outcome {
                Ok(_) | Err(Refused::Repeat(_)) => self.counts.acknowledged += 1,
                Err(Refused::Reject(_) | Refused::Part(..) | Refused::PartRepeat(..) | Refused::Changed) => {
                    self.counts.rejected += 1;
                }
                Err(Refused::Unavailable(Unavailable::OutcomeUnknown)) => self.counts.unknown += 1,
                Err(Refused::Unavailable(_)) => self.counts.refused += 1,
            }
            clients::answered(&self.oracle, wish, attempt, &outcome)?;
        }
        Ok(())
    }

    /// Asks the actors of a node for their state.
    pub(super) fn weigh(&mut self, node: usize) {
        let weighed = self.weighed.clone();
        let Some(process) = self.running(node) else { return };
        let Some(trading) = process.trading() else { return };
        trading.compare_twins();
        process.within(async move {
            for market in trading.markets() {
                let (id, answer, weighed) = (market.id, market.book.send(Weigh::default()), weighed.clone());
                actix_rt::spawn(async move {
                    if let Ok(Some((mark, hash))) = answer.await {
                        weighed.lock().push((node, Weighed::Book(id, mark, hash)));
                    }
                });
            }
            let answer = trading.ledger().send(Weigh::default());
            actix_rt::spawn(async move {
                if let Ok(Some((mark, hash))) = answer.await {
                    weighed.lock().push((node, Weighed::Ledger(mark, hash)));
                }
            });
        });
    }

    /// Compares what was weighed; tells who of them was at the log's end.
    pub(super) fn compare(&mut self) -> Result<BTreeSet<(usize, Option<MarketId>)>, String> {
        let weighed = std::mem::take(&mut *self.weighed.lock());
        let mut newest = BTreeSet::new();
        for (node, weighed) in weighed {
            let compared = self.oracle.compare(&weighed).map_err(|what| format!("node {node}: {what}"))?;
            self.counts.comparisons += u64::from(compared);
            if self.oracle.is_newest(&weighed) {
                newest.insert((node, weighed.market()));
            }
        }
        Ok(newest)
    }
}

/// An answer in a few words.
fn brief(said: &Said) -> String {
    match said {
        Said::Placed(record) => format!("order {} of its market, {:?}", record.id.number, record.status),
        other => format!("{other:?}"),
    }
}
