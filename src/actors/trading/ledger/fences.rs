//! Every market begins a new epoch before the ledger admits anything: a book that admitted against a ledger which died may
//! have entries on their way whose holds are not pending here.
//!
//! A market that is halted begins none, nor does one that was listed elsewhere and is not opened here yet. The ledger does so
//! in its place, and then reads the log for what was committed and not applied: the holds of that are pending until the
//! market goes on.

use super::LedgerActor;
use crate::actors::event_log::StandIn;
use crate::actors::trading::order_book::Refence;
use crate::domain::batch::Batch;
use crate::domain::ids::{Epoch, MarketId, Sequence, StreamId};
use crate::domain::unapplied::Unapplied;
use actix::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often is looked whether a book that was to begin an epoch still can.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many looks a market may take to be opened before the ledger stands in for it.
const LOOKS_TO_OPEN: u32 = 10;

/// Which markets have begun a new epoch.
#[derive(Default)]
pub(super) struct Fences {
    closed: BTreeSet<MarketId>,
    /// Those whose books are to be asked for one and were not yet.
    unasked: BTreeSet<MarketId>,
    /// Those for which the ledger stands in.
    stands_in: BTreeSet<MarketId>,
    /// Those for which it has begun an epoch, closed or not: their books hear nothing before they begin another one.
    stood_in: BTreeSet<MarketId>,
    looks: u32,
}

impl Fences {
    /// Whether nothing can come any more whose hold is not pending, of so many markets that are listed.
    pub(super) fn are_closed(&self, listed: usize) -> bool {
        self.closed.len() >= listed
    }

    /// A market has begun its epoch, or is new: nobody can have admitted anything in it but with this ledger.
    pub(super) fn close(&mut self, market: MarketId) {
        self.closed.insert(market);
        self.unasked.remove(&market);
        self.stands_in.remove(&market);
    }

    /// The book of a market is there from now on.
    pub(super) fn attach(&mut self, market: MarketId) {
        if self.stood_in.remove(&market) {
            self.closed.remove(&market);
            self.stands_in.remove(&market);
        }
        if !self.closed.contains(&market) {
            self.unasked.insert(market);
        }
    }
}

impl LedgerActor {
    /// Asks every book for a new epoch.
    pub(super) fn refence(&mut self, ctx: &mut Context<Self>) {
        self.fences = Fences { unasked: self.parts.books.lock().keys().copied().collect(), ..Fences::default() };
        self.ask_for_epochs(ctx);
    }

    /// Asks the books that were not asked yet, and stands in for those that are not there. A ledger without an epoch
    /// asks nobody.
    pub(super) fn ask_for_epochs(&mut self, ctx: &mut Context<Self>) {
        let listed = self.replica().map_or(0, |replica| replica.ledger.markets().len());
        if self.fences.are_closed(listed) || self.epoch == Epoch::default() {
            return;
        }
        // While a program starts, its markets are opened before anybody hears of a marker.
        self.fences.looks += u32::from(self.active);
        let mut absent = Vec::new();
        let books = self.parts.books.lock().clone();
        for market in (0..listed as u16).map(MarketId).filter(|market| !self.fences.closed.contains(market)) {
            match books.get(&market) {
                Some(book) if book.is_closed() => absent.push(market),
                Some(book) if self.fences.unasked.contains(&market) => match book.try_send(Refence) {
                    Ok(()) => drop(self.fences.unasked.remove(&market)),
                    Err(why) => tracing::debug!(market = market.0, %why, "a book is asked for a new epoch later"),
                },
                None if self.fences.looks > LOOKS_TO_OPEN => absent.push(market),
                Some(_) | None => {}
            }
        }
        for market in absent {
            self.stand_in(market, ctx);
        }
    }

    fn stand_in(&mut self, market: MarketId, ctx: &mut Context<Self>) {
        let Some(this) = self.this.lock().clone() else { return };
        if !self.fences.stands_in.insert(market) {
            return;
        }
        self.fences.stood_in.insert(market);
        let begun = self.parts.log.send(StandIn { stream: StreamId::Market(market), owner: this.port() });
        ctx.spawn(begun.into_actor(self).map(move |begun, ledger, _| {
            if !matches!(begun, Ok(Some(_))) {
                // It is tried again.
                ledger.fences.stands_in.remove(&market);
            }
        }));
    }

    /// A batch of a market for which the ledger stands in: once the marker of its new epoch is there, everything before it
    /// is in the log.
    pub(super) fn stood_in(&mut self, market: MarketId, batch: &Batch, ctx: &mut Context<Self>) {
        let is_marker = batch.count == 0 && self.epoch != Epoch::default() && batch.epoch > self.epoch;
        if !is_marker || !self.fences.stands_in.contains(&market) {
            return;
        }
        let (epoch, known) = (self.epoch, self.heard_of(market));
        let read = self.parts.recovery.clone().unapplied(market, known);
        ctx.spawn(read.into_actor(self).map(move |read, ledger, ctx| {
            if ledger.epoch != epoch || !ledger.fences.stands_in.contains(&market) {
                return;
            }
            match read {
                Ok(unapplied) => ledger.keep_unapplied(market, unapplied),
                Err(why) => {
                    ledger.lifeline.fail(format!("what market {} has not applied cannot be read: {why}", market.0));
                    ctx.stop();
                }
            }
        }));
    }

    fn keep_unapplied(&mut self, market: MarketId, unapplied: Vec<Unapplied>) {
        let heard = self.heard_of(market);
        let left = unapplied.into_iter().filter(|unapplied| unapplied.entry > heard);
        let count = left.map(|Unapplied { request, .. }| self.admission.keep(request)).count();
        if count > 0 {
            tracing::warn!(market = market.0, count, "what a market has not applied here stays on hold");
        }
        self.fences.close(market);
    }

    /// The newest entry of a market whose outcomes are in the balances.
    fn heard_of(&self, market: MarketId) -> Sequence {
        self.replica().and_then(|replica| replica.markets.get(usize::from(market.0)).copied()).unwrap_or_default()
    }
}
