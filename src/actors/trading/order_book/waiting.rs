//! Callers whose entries are on their way through the log.

use super::super::Refused;
use super::super::post::{Post, Reply};
use super::{BatchDone, Steered};
use crate::domain::codec::Coded;
use crate::domain::entry::{Atomic, MarketEntry};
use crate::domain::ids::{OrderId, Ticket};
use crate::domain::order::OrderRecord;
use crate::domain::time::Timestamp;
use std::collections::VecDeque;

/// Who waits for the outcome of one entry.
pub(super) enum Waiting {
    Place(Reply<OrderRecord>),
    Cancel(OrderId, Reply<OrderId>),
    CancelAll(Reply<Vec<OrderId>>),
    Amend(OrderId, Reply<OrderRecord>),
    Atomic(Box<Parts>, Reply<BatchDone>),
    /// With when the auction ends that it begins.
    Steer(Option<Timestamp>, Reply<Steered>),
}

/// What an atomic batch is made of.
pub(super) struct Parts {
    pub cancels: Vec<OrderId>,
    pub amends: Vec<OrderId>,
    pub places: Vec<Ticket>,
}

impl Parts {
    pub fn of(batch: &Atomic) -> Parts {
        Parts {
            cancels: batch.cancels.clone(),
            amends: batch.amends.iter().map(|amend| amend.order).collect(),
            places: batch.places.iter().map(|order| order.ticket).collect(),
        }
    }
}

impl Waiting {
    pub fn refuse(self, why: Refused, post: &mut Post) {
        match self {
            Waiting::Place(reply) | Waiting::Amend(_, reply) => post.add(reply, Err(why)),
            Waiting::Cancel(_, reply) => post.add(reply, Err(why)),
            Waiting::CancelAll(reply) => post.add(reply, Err(why)),
            Waiting::Atomic(_, reply) => post.add(reply, Err(why)),
            Waiting::Steer(_, reply) => post.add(reply, Err(why)),
        }
    }
}

/// The messages of commands that are at the ledger: what comes after them does not overtake them.
#[derive(Default)]
pub(super) struct AtLedger {
    sent: u64,
    /// The number of each with how many commands it has. An answer is that of all before it too: theirs may be lost.
    open: VecDeque<(u64, usize)>,
    commands: usize,
}

impl AtLedger {
    /// The number of the next message.
    pub fn next(&self) -> u64 {
        self.sent + 1
    }

    /// The next message, of so many commands, is on its way.
    pub fn sent(&mut self, commands: usize) {
        self.sent += 1;
        self.commands += commands;
        self.open.push_back((self.sent, commands));
    }

    /// A message came back.
    pub fn answered(&mut self, number: u64) {
        while let Some((_, commands)) = self.open.front().filter(|(open, _)| *open <= number) {
            self.commands -= commands;
            self.open.pop_front();
        }
    }

    /// How many commands are there.
    pub fn commands(&self) -> usize {
        self.commands
    }
}

/// Entries that are about to be proposed together, with who waits for each.
#[derive(Default)]
pub(super) struct Outgoing {
    pub entries: Vec<u8>,
    pub waiting: Vec<(Ticket, Waiting)>,
    /// The tickets of all holds that were taken for them.
    pub holds: Vec<Ticket>,
}

impl Outgoing {
    pub fn add(&mut self, entry: &MarketEntry, waiting: Waiting) {
        entry.encode(&mut self.entries);
        self.waiting.push((entry.ticket(), waiting));
        entry.holds(|ticket| self.holds.push(ticket));
    }
}
