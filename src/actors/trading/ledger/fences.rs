//! Every market begins a new epoch before the ledger admits anything: a book that admitted against a ledger which died may
//! have entries on their way whose holds are not pending here.
//!
//! A market that is halted begins none, nor does one that was listed elsewhere and is not opened here yet. The ledger does so
//! in its place, and then reads the log for what was committed and not applied: the holds of that, and no others of that
//! market, are pending until it goes on. So they are of a market that is halted while the ledger runs: of what its book had in
//! hand some may have got into the log and some not.

use super::LedgerActor;
use crate::actors::event_log::StandIn;
use crate::actors::trading::order_book::Refence;
use crate::domain::batch::Batch;
use crate::domain::ids::{Epoch, MarketId, Sequence, StreamId};
use crate::domain::unapplied::Unapplied;
use actix::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often is looked whether a book that was to begin an epoch still can.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many looks a market may take to be opened before the ledger stands in for it.
const LOOKS_TO_OPEN: u32 = 10;

/// How many looks the book of a market that has just been opened may take to begin an epoch by itself.
const LOOKS_TO_BEGIN: u32 = 2;

/// An epoch that has not begun after so many looks is asked for again: it may have been another's meanwhile.
const LOOKS_TO_MARK: u32 = 20;

/// A book counts as gone when its door was shut at so many looks in turn: it may be on its way back.
const LOOKS_TO_MISS: u32 = 3;

/// What could not be read is tried again after so many looks.
const LOOKS_TO_READ: u32 = 10;

/// What halted markets left out is read so far now and then, so that little is left to read when it is needed.
const LOOKS_AHEAD: u32 = 100;

/// Which markets have begun a new epoch.
#[derive(Default)]
pub(super) struct Fences {
    closed: BTreeSet<MarketId>,
    /// Those whose books are to be asked for one, from which look on.
    unasked: BTreeMap<MarketId, u32>,
    /// Those for which the ledger stands in.
    stands_in: BTreeMap<MarketId, StandsIn>,
    /// At how many looks in turn the door of a book was shut.
    shut: BTreeMap<MarketId, u32>,
    reading_ahead: BTreeSet<MarketId>,
    /// How often was looked since the ledger admits; while a program starts, its markets are opened before anybody hears of
    /// a marker.
    looks: u32,
    all_looks: u32,
}

/// How far the ledger is with a market whose book is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StandsIn {
    /// An epoch was asked for at this look; which, once that is known.
    Asked(u32, Option<Epoch>),
    /// It has begun: everything before it is in the log, which is to be read from this look on.
    Begun(Epoch, u32),
    Reads(Epoch),
    Knows(Epoch),
}

impl StandsIn {
    /// Whether a book that has begun this epoch has done so since, and owns the stream again.
    fn is_over_with(self, epoch: Epoch) -> bool {
        match self {
            StandsIn::Asked(_, own) => own.is_some_and(|own| epoch > own),
            StandsIn::Begun(own, _) | StandsIn::Reads(own) | StandsIn::Knows(own) => epoch > own,
        }
    }
}

impl Fences {
    /// Whether nothing can come any more whose hold is not pending, of so many markets that are listed.
    pub(super) fn are_closed(&self, listed: usize) -> bool {
        self.closed.len() >= listed
    }

    /// Whether every market that is listed speaks for itself.
    pub(super) fn stand_in_for_nobody(&self) -> bool {
        self.stands_in.is_empty()
    }

    /// Whether the door of a market's book was shut for a while, as it is now.
    fn is_halted(&mut self, market: MarketId, is_shut: bool) -> bool {
        let looks = self.shut.entry(market).or_default();
        *looks = if is_shut { *looks + 1 } else { 0 };
        *looks >= LOOKS_TO_MISS
    }

    /// A market is new: nobody can have admitted anything in it but with this ledger.
    pub(super) fn is_new(&mut self, market: MarketId) {
        self.closed.insert(market);
    }

    /// The book of a market is there from now on. If the ledger has stood in for it, it hears nothing before it begins anew.
    fn attach(&mut self, market: MarketId) {
        if self.stands_in.contains_key(&market) {
            self.unasked.insert(market, 0);
        } else if !self.closed.contains(&market) {
            self.unasked.insert(market, self.looks + LOOKS_TO_BEGIN);
        }
    }
}

impl LedgerActor {
    /// The book of a market has begun an epoch. One from before the ledger stood in is of no use to it any more.
    pub(super) fn has_begun(&mut self, market: MarketId, epoch: Epoch) {
        if let Some(stands_in) = self.fences.stands_in.get(&market) {
            if !stands_in.is_over_with(epoch) {
                return;
            }
            self.fences.stands_in.remove(&market);
            self.parts.recovery.goes_on(market);
        }
        self.fences.closed.insert(market);
        self.fences.unasked.remove(&market);
    }

    /// Whoever leads admits from what he has heard, so what he hears from then on is in an order in which it could happen.
    /// Until then the books' outcomes come later than the ledger's own batches. A market that is halted keeps back what it
    /// would pay.
    pub(super) fn forbid_debts(&mut self) {
        let fenced = self.ready().is_some() && self.fences.stand_in_for_nobody();
        if let Some(state) = self.state.as_mut().filter(|_| fenced) {
            state.replica.ledger.forbid_debts();
        }
    }

    /// Whether the log has a newer epoch than the one that was begun here. The event log may not have heard of it: it died
    /// with the batch in hand, and what it had not given away is read by whoever goes on.
    pub(super) fn is_outrun(&self) -> bool {
        let newest = self.replica().map(|replica| replica.stream.epoch);
        self.epoch != Epoch::default() && newest.is_some_and(|newest| newest > self.epoch)
    }

    /// The book of a market is there from now on.
    pub(super) fn is_attached(&mut self, market: MarketId) {
        self.fences.attach(market);
    }

    /// Asks every book for a new epoch.
    pub(super) fn refence(&mut self, ctx: &mut Context<Self>) {
        let unasked = self.parts.books.lock().keys().map(|market| (*market, 0)).collect();
        self.fences = Fences { unasked, ..Fences::default() };
        self.ask_for_epochs(ctx);
    }

    /// Asks the books that were not asked yet, and stands in for those that are not there. A ledger without an epoch
    /// asks nobody.
    pub(super) fn ask_for_epochs(&mut self, ctx: &mut Context<Self>) {
        self.fences.looks += u32::from(self.active);
        self.fences.all_looks += 1;
        let reads_ahead = self.fences.all_looks.is_multiple_of(LOOKS_AHEAD);
        let listed = self.replica().map_or(0, |replica| replica.ledger.markets().len());
        let books = self.parts.books.lock().clone();
        for market in (0..listed as u16).map(MarketId) {
            let book = books.get(&market);
            let is_shut = book.is_some_and(|book| book.is_closed());
            let is_halted = self.fences.is_halted(market, is_shut);
            if is_halted && reads_ahead {
                self.read_ahead(market, ctx);
            }
            if self.epoch == Epoch::default() {
                continue;
            }
            let looks = self.fences.looks;
            let is_missed = book.is_none() && looks > LOOKS_TO_OPEN && !self.fences.closed.contains(&market);
            if is_halted || is_missed {
                self.stand_in(market, ctx);
            } else if let Some(book) = book.filter(|_| !is_shut) {
                if self.fences.stands_in.contains_key(&market) {
                    // It is there again, and hears nothing before it begins anew.
                    self.fences.unasked.entry(market).or_insert(looks + LOOKS_TO_MARK);
                }
                if self.fences.unasked.get(&market).is_none_or(|from| looks < *from) {
                    continue;
                }
                match book.try_send(Refence) {
                    Ok(()) => drop(self.fences.unasked.remove(&market)),
                    Err(why) => tracing::debug!(market = market.0, %why, "a book is asked for a new epoch later"),
                }
            }
        }
    }

    /// Takes the next step for a market whose book is not there.
    fn stand_in(&mut self, market: MarketId, ctx: &mut Context<Self>) {
        let looks = self.fences.looks;
        match self.fences.stands_in.get(&market) {
            Some(StandsIn::Begun(epoch, from)) if looks >= *from => self.read(market, *epoch, ctx),
            Some(StandsIn::Asked(at, _)) if looks <= at + LOOKS_TO_MARK => {}
            None | Some(StandsIn::Asked(..)) => self.ask_for_its_epoch(market, ctx),
            Some(StandsIn::Begun(..) | StandsIn::Reads(_) | StandsIn::Knows(_)) => {}
        }
    }

    fn ask_for_its_epoch(&mut self, market: MarketId, ctx: &mut Context<Self>) {
        let Some(this) = self.this.lock().clone() else { return };
        let look = self.fences.looks;
        let asked = StandsIn::Asked(look, None);
        self.fences.stands_in.insert(market, asked);
        let begun = self.parts.log.send(StandIn { stream: StreamId::Market(market), owner: this.port() });
        ctx.spawn(begun.into_actor(self).map(move |begun, ledger, _| {
            if ledger.fences.stands_in.get(&market) != Some(&asked) {
                return;
            }
            match begun {
                Ok(Some(epoch)) => drop(ledger.fences.stands_in.insert(market, StandsIn::Asked(look, Some(epoch)))),
                // It is tried again.
                Ok(None) | Err(_) => drop(ledger.fences.stands_in.remove(&market)),
            }
        }));
    }

    /// A batch of a market for which the ledger stands in.
    pub(super) fn stood_in(&mut self, market: MarketId, batch: &Batch, ctx: &mut Context<Self>) {
        let is_marker = batch.count == 0 && self.epoch != Epoch::default() && batch.epoch > self.epoch;
        if is_marker
            && let Some(StandsIn::Asked(_, own)) = self.fences.stands_in.get(&market)
            && own.is_none_or(|own| batch.epoch >= own)
        {
            self.read(market, batch.epoch, ctx);
        }
    }

    /// Reads what the market left out before this epoch of its stream.
    fn read(&mut self, market: MarketId, begun: Epoch, ctx: &mut Context<Self>) {
        let reads = StandsIn::Reads(begun);
        self.fences.stands_in.insert(market, reads);
        let own = self.epoch;
        let read = self.parts.recovery.clone().unapplied(market, self.heard_of(market));
        ctx.spawn(read.into_actor(self).map(move |read, ledger, _| {
            if ledger.epoch != own || ledger.fences.stands_in.get(&market) != Some(&reads) {
                return;
            }
            let next = match read {
                Ok(unapplied) => {
                    ledger.keep_unapplied(market, begun, unapplied);
                    StandsIn::Knows(begun)
                }
                Err(why) => {
                    tracing::warn!(market = market.0, why, "what a market has not applied cannot be read for now");
                    StandsIn::Begun(begun, ledger.fences.looks + LOOKS_TO_READ)
                }
            };
            ledger.fences.stands_in.insert(market, next);
        }));
    }

    fn read_ahead(&mut self, market: MarketId, ctx: &mut Context<Self>) {
        if self.fences.reading_ahead.insert(market) {
            let read = self.parts.recovery.clone().unapplied(market, self.heard_of(market));
            ctx.spawn(read.into_actor(self).map(move |_, ledger, _| {
                ledger.fences.reading_ahead.remove(&market);
            }));
        }
    }

    fn keep_unapplied(&mut self, market: MarketId, begun: Epoch, unapplied: Vec<Unapplied>) {
        let heard = self.heard_of(market);
        self.admission.drop_older(StreamId::Market(market), begun);
        let left = unapplied.into_iter().filter(|unapplied| unapplied.entry > heard);
        let count = left.map(|Unapplied { request, .. }| self.admission.keep(request)).count();
        if count > 0 {
            tracing::warn!(market = market.0, count, "what a market has not applied here stays on hold");
        }
        self.fences.closed.insert(market);
    }

    /// The newest entry of a market whose outcomes are in the balances.
    fn heard_of(&self, market: MarketId) -> Sequence {
        self.replica().and_then(|replica| replica.markets.get(usize::from(market.0)).copied()).unwrap_or_default()
    }
}
