//! What goes wrong, and how it comes to its end.

use super::super::clients::Attempt;
use super::super::feeds::Reader;
use super::super::node::{Process, Start};
use super::World;
use crate::actors::supervision::Drill;
use crate::actors::trading::recovery::catch_up;
use crate::domain::venue::Silent;
use crate::persistence::log::Position;
use actix::Actor;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Where the actors that trade are.
pub(super) const VENUE: &str = "agora/trading/venue";

impl World {
    fn strikes(&mut self, chance: u64) -> bool {
        chance > 0 && self.random.below(10_000) < chance
    }

    pub(super) fn trouble(&mut self) -> Result<(), String> {
        let several = self.setup.nodes > 1;
        let node = self.any_node();
        if self.strikes(self.mixture.dies) {
            let polls = 1 + self.random.below(40) as u32;
            if let Some(process) = self.running(node) {
                process.doom(polls);
                self.trace.tell(format!("node {node} will die"));
            }
        }
        if !several && self.strikes(self.mixture.power_fails) {
            let lost = self.medium.crash();
            self.trace.tell(format!("the power fails, {lost} batches are lost"));
            self.kill(0, "the power failed");
        }
        if self.strikes(self.mixture.panics) {
            self.drill(node);
        }
        self.trouble_a_new_market(node);
        self.usurp();
        if several && self.strikes(self.mixture.freezes) {
            let steps = 30 + self.random.below(300) as u32;
            self.freeze(node, steps);
        }
        if several && self.strikes(self.mixture.cuts) {
            self.cut_off(node);
        }
        if several && self.strikes(self.mixture.expires) {
            // Only whoever cannot say that it is there loses the lock; but also whoever is late.
            if let Some(holder) = self.locks.holder() {
                self.locks.expire(holder);
                self.trace.tell(format!("the lock of node {} expires", holder - 1));
            }
        }
        if self.strikes(self.mixture.jumps)
            && let Some(slot) = self.slots.get_mut(node)
        {
            slot.skew_us = self.random.below(4_000_000) as i64 - 2_000_000;
            self.trace.tell(format!("the clock of node {node} jumps to {}", slot.skew_us));
        }
        if self.strikes(self.mixture.snapshots) {
            self.snapshot(node)?;
        }
        if self.strikes(self.mixture.damages) {
            self.damage(node)?;
        }
        Ok(())
    }

    fn drill(&mut self, node: usize) {
        let markets = &self.oracle.venue().markets;
        let market = &markets[self.random.below(markets.len() as u64) as usize];
        let (venue, market) = (VENUE, market.replica.book.config().symbol.clone());
        let path = match self.random.below(10) {
            0..3 => format!("{venue}/ledger"),
            3..6 => format!("{venue}/order book {market}"),
            6 => format!("{venue}/market data {market}"),
            7 => "agora/trading/twins/ledger".to_owned(),
            8 => format!("agora/trading/twins/order book {market}"),
            _ => "agora/trading/event log".to_owned(),
        };
        self.make_panic(node, &path);
    }

    pub(super) fn make_panic(&mut self, node: usize, path: &str) {
        let drill = if self.random.below(2) == 0 { Drill::Panic } else { Drill::PanicAtWork };
        if self.running(node).is_some_and(|process| process.drill(path, drill)) {
            self.counts.panics += 1;
            self.trace.tell(format!("node {node}: {path} will panic, {drill:?}"));
        }
    }

    /// Lets a node stand still; whether it does now.
    pub(super) fn freeze(&mut self, node: usize, steps: u32) -> bool {
        let until = self.step + steps;
        if let Some(slot) = self.slots.get_mut(node)
            && let (Some(process), None) = (&slot.process, slot.frozen_until)
        {
            process.engine.pause();
            slot.frozen_until = Some(until);
            self.counts.freezes += 1;
            self.trace.tell(format!("node {node} stands still"));
            return true;
        }
        false
    }

    fn cut_off(&mut self, node: usize) {
        let until = self.step + 30 + self.random.below(300) as u32;
        if let Some(slot) = self.slots.get_mut(node)
            && slot.cut_until.is_none()
        {
            if let Some(process) = &slot.process {
                process.engine.disconnect(u64::MAX);
            }
            slot.cut_until = Some(until);
            self.locks.cut_off(node as u16 + 1, true);
            self.counts.partitions += 1;
            self.trace.tell(format!("node {node} is cut off"));
        }
    }

    /// What a projector does: the state at the log's end, as a file.
    fn snapshot(&mut self, node: usize) -> Result<(), String> {
        let Some(slot) = self.slots.get(node) else { return Ok(()) };
        let loaded = slot.snapshots.newest(Position(u64::MAX));
        let (mut venue, from) = loaded.map_or_else(Default::default, |loaded| (loaded.venue, loaded.position));
        venue.keep_ended();
        let all = Position(u64::MAX);
        let position =
            catch_up(&mut venue, &self.medium, from, all, usize::MAX, &mut Silent).map_err(|e| e.to_string())?;
        if position > from {
            let hash = slot.snapshots.save(position, &venue).map_err(|error| error.to_string())?;
            self.counts.snapshots += 1;
            self.trace.tell(format!("node {node}: snapshot at {position}, {hash}"));
        }
        Ok(())
    }

    /// A bit of the newest snapshot is not what was written.
    fn damage(&mut self, node: usize) -> Result<(), String> {
        let Some(slot) = self.slots.get(node) else { return Ok(()) };
        let Some((position, path)) = slot.snapshots.files().into_iter().next() else { return Ok(()) };
        let mut content = std::fs::read(&path).map_err(|error| error.to_string())?;
        let at = self.random.below(content.len() as u64) as usize;
        if let Some(byte) = content.get_mut(at) {
            *byte ^= 1 << self.random.below(8);
        }
        std::fs::write(&path, content).map_err(|error| error.to_string())?;
        self.trace.tell(format!("node {node}: the snapshot at {position} is damaged at byte {at}"));
        Ok(())
    }

    pub(super) fn kill(&mut self, node: usize, why: &str) {
        let Some(slot) = self.slots.get_mut(node) else { return };
        let Some(process) = slot.process.take() else { return };
        if let Some(trading) = process.trading() {
            self.counts.promotions += trading.twins().promotions.load(Ordering::Relaxed);
            self.counts.take_overs += process.role.take_overs();
        }
        let number = process.number;
        drop(process);
        slot.frozen_until = None;
        slot.owed = Duration::ZERO;
        slot.back_at = self.step + 5 + self.random.below(150) as u32;
        self.counts.crashes += 1;
        self.trace.tell(format!("node {node} has died: {why}"));
        for wish in &mut self.wishes {
            for attempt in &mut wish.attempts {
                if *attempt == Attempt::Asked(node, number) {
                    *attempt = Attempt::Unknown;
                    self.counts.unknown += 1;
                }
            }
        }
    }

    /// Starts who is down, wakes who stands still, connects who is cut off, each when its time has come.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        for node in 0..self.slots.len() {
            let step = self.step;
            let Some(slot) = self.slots.get_mut(node) else { continue };
            if slot.cut_until.is_some_and(|until| until <= step) {
                slot.cut_until = None;
                if let Some(process) = slot.process.as_ref().filter(|_| slot.frozen_until.is_none()) {
                    process.engine.resume();
                }
                self.locks.cut_off(node as u16 + 1, false);
                self.trace.tell(format!("node {node} is connected again"));
            }
            if slot.frozen_until.is_some_and(|until| until <= step) {
                slot.frozen_until = None;
                let owed = std::mem::take(&mut slot.owed);
                if let Some(process) = &mut slot.process {
                    if slot.cut_until.is_none() {
                        process.engine.resume();
                    } else {
                        process.engine.disconnect(u64::MAX);
                    }
                    process.pass(owed);
                }
                self.trace.tell(format!("node {node} goes on after {owed:?}"));
            }
            if slot.process.is_none() && slot.back_at <= step && slot.cut_until.is_none() {
                self.boot(node)?;
            }
            // The lock goes with the connection, sooner or later.
            let Some(slot) = self.slots.get(node) else { continue };
            let silent = slot.process.is_none() || slot.frozen_until.is_some() || slot.cut_until.is_some();
            if silent && self.locks.holder() == Some(node as u16 + 1) && self.random.below(20) == 0 {
                self.locks.expire(node as u16 + 1);
                self.trace.tell(format!("the lock of node {node} is free"));
            }
        }
        Ok(())
    }

    pub(super) fn boot(&mut self, node: usize) -> Result<(), String> {
        let number = node as u16 + 1;
        let seed = self.random.draw();
        let Some(slot) = self.slots.get_mut(node) else { return Ok(()) };
        slot.processes += 1;
        let start = Start {
            number,
            process: slot.processes,
            alone: self.setup.nodes == 1,
            medium: &self.medium,
            lock: self.locks.seen_by(number, slot.processes),
            snapshots: slot.snapshots.clone(),
            clock: slot.clock.clone(),
            seed,
            reorder: self.mixture.reorder,
        };
        self.locks.expire(number);
        let mut process = Process::start(start).map_err(|reason| format!("node {node} does not start: {reason}"))?;
        let (told, heard) = (process.told.clone(), self.heard.clone());
        process.within(async move {
            actix_rt::spawn(async move {
                let trading = loop {
                    let trading = told.lock().trading.clone();
                    match trading {
                        Some(trading) => break trading,
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                };
                let mut known = 0;
                loop {
                    for market in trading.markets().iter().skip(known) {
                        Reader::new(market.clone(), heard.clone()).start();
                        known += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        });
        slot.process = Some(process);
        self.trace.tell(format!("node {node} starts"));
        Ok(())
    }
}
