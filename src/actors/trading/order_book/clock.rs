//! Time for a market in which nothing happens.
//!
//! Whatever is due at a time (the end of an order's life) happens with the first entry at or after it. When no entry
//! comes, the active book proposes one that says nothing but that time has passed. The time that the log would give decides
//! only when to propose; what happens is decided by the time that it gives to the entry, on every node alike.
//!
//! Market data too would wait for the next entry: what it did not take it misses only then.

use super::super::market_data::Reaches;
use super::OrderBook;
use crate::actors::event_log::Propose;
use crate::domain::codec::Coded;
use crate::domain::entry::MarketEntry;
use actix::prelude::*;
use std::time::Duration;

/// How often the book looks whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl OrderBook {
    pub(super) fn keep_time(&self, ctx: &mut Context<Self>) {
        ctx.run_interval(LOOK_EVERY, |book, _| {
            book.note_how_far();
            book.look_after_data();
            book.look_at_the_clock();
        });
    }

    /// Notes how far the log holds nothing that is news here: after a failure the rest alone is read for what was missed.
    fn note_how_far(&self) {
        if let Some(state) = &self.state {
            self.parts.meter.has_read(self.stream(), self.log, state.position, state.replica.stream);
        }
    }

    /// Tells market data how far it must be, when it did not take everything.
    fn look_after_data(&mut self) {
        let told = |last| self.parts.data.try_send(Reaches(last)).is_ok();
        self.untaken = self.untaken.filter(|last| !told(*last));
    }

    fn look_at_the_clock(&mut self) {
        let due = self.state.as_ref().and_then(|state| state.replica.book.next_due());
        if !self.active || self.ticking || due.is_none_or(|due| due > (self.parts.clock)()) {
            return;
        }
        let mut entries = Vec::new();
        MarketEntry::Tick.encode(&mut entries);
        let proposal = Propose { stream: self.stream(), epoch: self.epoch, entries, count: 1 };
        // A log that is full brings entries anyway; a refusal is heard of through the port.
        self.ticking = self.parts.log.try_send(proposal).is_ok();
    }
}
