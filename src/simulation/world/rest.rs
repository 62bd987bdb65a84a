//! The end of a run: everything is healed, and has to come to rest in the right place.

use super::super::clients::{self, Direction, USERS};
use super::{Mixture, World};
use crate::actors::trading::recovery::catch_up;
use crate::domain::ids::{CurrencyId, MarketId};
use crate::domain::order::Reject;
use crate::domain::venue::{Silent, Venue};
use crate::persistence::log::Position;
use crate::persistence::log::faulty::Faults;
use std::sync::atomic::Ordering;

/// Rounds within which everything must come to rest once nothing goes wrong any more.
const PATIENCE: u32 = 12_000;

impl World {
    /// Nothing goes wrong any more: every wish must be answered, and every node come to the log's end.
    pub(super) fn rest(&mut self, when: &str) -> Result<(), String> {
        self.trace.tell("everything is healed".into());
        self.mixture = Mixture::default();
        self.medium.set_faults(Faults::default());
        for slot in &mut self.slots {
            slot.frozen_until = slot.frozen_until.map(|_| 0);
            slot.cut_until = slot.cut_until.map(|_| 0);
            slot.back_at = 0;
            if let Some(process) = &mut slot.process {
                process.calm();
            }
        }
        let mut behind = None;
        for round in 0..PATIENCE {
            self.step += 1;
            self.recover()?;
            for node in 0..self.slots.len() {
                if let Some(process) = self.running(node) {
                    process.turn(3);
                    while process.hear() {}
                }
            }
            for _ in 0..4 {
                self.medium.step();
            }
            self.deliver();
            self.pass(if round % 8 == 7 { 60_000 } else { 3_000 });
            let next = self.wishes.iter().position(|wish| !wish.over && !wish.is_being_asked());
            if let Some(wish) = next
                .filter(|wish| *wish < USERS as usize || self.wishes.iter().take(USERS as usize).all(|wish| wish.over))
            {
                self.ask(wish);
            }
            self.look()?;
            let quiet = self.wishes.iter().all(|wish| wish.over && !wish.is_being_asked())
                && self.network.letters.is_empty()
                && self.network.returns.is_empty();
            if quiet && round % 4 == 3 {
                behind = self.who_is_behind()?;
                if behind.is_none() {
                    return Ok(());
                }
            }
        }
        let open = self.wishes.iter().find(|wish| !wish.over || wish.is_being_asked());
        Err(match open {
            Some(wish) => format!("at {when}: {} is never answered, {:?}", wish.name, wish.ask),
            None => format!("at {when}: {} does not come to the log's end", behind.unwrap_or_default()),
        })
    }

    /// Somebody whose state is not that of the log's end.
    fn who_is_behind(&mut self) -> Result<Option<String>, String> {
        for node in 0..self.slots.len() {
            self.weigh(node);
            if let Some(process) = self.running(node) {
                process.turn(8);
            }
        }
        let markets = self.oracle.venue().markets.len();
        self.oracle.read()?;
        let newest = self.compare()?;
        let actors = [None].into_iter().chain((0..markets as u16).map(|market| Some(MarketId(market))));
        let behind = (0..self.slots.len())
            .flat_map(|node| actors.clone().map(move |market| (node, market)))
            .find(|actor| !newest.contains(actor));
        Ok(behind.map(|(node, market)| match market {
            Some(market) => format!("the book of market {} on node {node}", market.0),
            None => format!("the ledger on node {node}"),
        }))
    }

    /// Whatever is available can be had: no hold was left behind by what never came.
    pub(super) fn empty_the_accounts(&mut self) -> Result<(), String> {
        let first = self.wishes.len();
        for user in 0..USERS {
            let account = clients::account(user);
            for currency in 0..3 {
                let currency = CurrencyId(currency);
                let available = self.oracle.venue().ledger.ledger.balance(account, currency).available;
                if available.0 > 0 {
                    let wish = clients::transfer(&mut self.names, account, currency, available, Direction::Out);
                    self.wishes.push(wish);
                }
            }
        }
        self.rest("the very end")?;
        for wish in self.wishes.iter().skip(first) {
            if wish.was_denied() {
                let (name, account) = (wish.name, wish.account.0);
                let why = Reject::InsufficientFunds;
                return Err(format!(
                    "account {account} cannot have what it has ({name}): {why}; a hold was left behind"
                ));
            }
        }
        self.oracle.tally()
    }

    /// Live, replayed, and snapshot with tail.
    pub(super) fn compare_everything(&mut self) -> Result<(), String> {
        let hash = self.oracle.venue().hash();
        let all = Position(u64::MAX);
        let mut replayed = Venue::default();
        replayed.keep_ended();
        let end = catch_up(&mut replayed, &self.medium, Position(0), all, usize::MAX, &mut Silent);
        self.counts.batches = end.map_err(|error| error.to_string())?.0;
        if replayed.hash() != hash {
            return Err("a replay ends with another state".into());
        }
        for (node, slot) in self.slots.iter().enumerate() {
            let Some(loaded) = slot.snapshots.newest(all) else { continue };
            let (mut venue, from) = (loaded.venue, loaded.position);
            venue.keep_ended();
            catch_up(&mut venue, &self.medium, from, all, usize::MAX, &mut Silent)
                .map_err(|error| error.to_string())?;
            if venue.hash() != hash {
                return Err(format!("the snapshot of node {node} at {from}, with the log after it, is another state"));
            }
        }
        for slot in &self.slots {
            if let Some(process) = &slot.process
                && let Some(trading) = process.trading()
            {
                self.counts.promotions += trading.twins().promotions.load(Ordering::Relaxed);
                self.counts.take_overs += process.role.take_overs();
            }
        }
        self.trace.tell(format!("{hash} at {}", self.counts.batches));
        Ok(())
    }
}
