//! Atomic batches: judged in a copy of the market in which nothing trades.

use crate::reference::Market;
use crate::rules;
use agora::domain::entry::Atomic;
use agora::domain::event::{DoneReason, Event};
use agora::domain::market::MarketState;
use agora::domain::order::Reject;
use agora::domain::time::Timestamp;

impl Market {
    /// All parts or none.
    pub fn atomic(&mut self, at: Timestamp, batch: &Atomic) {
        let (ticket, account) = (batch.ticket, batch.account);
        if let Err((part, reason)) = self.judge(at, batch) {
            return self.events.push(Event::BatchRefused { ticket, account, part, reason });
        }
        batch.cancels.iter().for_each(|order| self.end_live(order.number, ticket, DoneReason::Canceled));
        batch.amends.iter().for_each(|amend| self.amend(amend));
        batch.places.iter().for_each(|order| self.accept(order));
        self.wake();
    }

    /// Carries the parts out in a copy of the market in which nothing trades; the first that cannot be done, and why.
    pub fn judge(&self, at: Timestamp, batch: &Atomic) -> Result<(), (u32, Reject)> {
        let mut still = self.clone();
        let parts = batch.cancels.len() + batch.amends.len() + batch.places.len();
        if !(1..=100).contains(&parts) {
            return Err((0, Reject::BadBatch));
        }
        let mut named: Vec<u64> = Vec::new();
        let mut part = 0;
        for order in &batch.cancels {
            let halted = Some(Reject::MarketHalted).filter(|_| self.config.state == MarketState::Halted);
            let twice = Some(Reject::BadBatch).filter(|_| named.contains(&order.number));
            if let Some(reason) = halted.or(self.missing(batch.account, order.number)).or(twice) {
                return Err((part, reason));
            }
            named.push(order.number);
            still.remove(order.number);
            part += 1;
        }
        for amend in &batch.amends {
            if amend.account != batch.account || named.contains(&amend.order.number) {
                return Err((part, Reject::BadBatch));
            }
            let missing = still.missing(amend.account, amend.order.number);
            let (price, rest) = rules::amended(&still, amend, missing)
                .map(|(_, price, rest)| (price, rest))
                .map_err(|why| (part, why))?;
            let order = still.live.iter_mut().find(|o| o.number == amend.order.number).unwrap();
            (order.limit, order.remaining) = (Some(price), rest);
            named.push(amend.order.number);
            part += 1;
        }
        for (done, order) in batch.places.iter().enumerate() {
            let twice = batch.places[..done].iter().any(|o| o.client_id.is_some() && o.client_id == order.client_id);
            if order.account != batch.account || twice {
                return Err((part, Reject::BadBatch));
            }
            if let Some(reason) = rules::first_reject(&still, order, at) {
                return Err((part, reason));
            }
            let mut placed = still.newest(order);
            placed.sleeping |= !placed.rests();
            still.add(placed);
            part += 1;
        }
        Ok(())
    }
}
