//! Commands on their way into the log: what the book can check, what the ledger must reserve, and the proposal.

use super::super::ledger::{Admit, Applicant, Need, Passing, Void};
use super::super::post::Post;
use super::super::tickets::next_ticket;
use super::super::{Refused, Unavailable};
use super::waiting::{Outgoing, Parts, Waiting};
use super::{Admitted, AmendOrder, Asked, Cancel, CancelAll, Command, Commands, OrderBook, Place, PlaceTogether};
use crate::actors::event_log::Propose;
use crate::domain::admission::Request;
use crate::domain::entry::{Amend, MarketEntry};
use crate::domain::ids::{AccountId, CurrencyId, Epoch, OrderId, Ticket};
use crate::domain::money::{Amount, MAX_AMOUNT, Size};
use crate::domain::order::{Kind, NewOrder, Reject, Side};
use crate::domain::posting::Pair;
use crate::domain::replica::MarketReplica;
use crate::domain::time::Timestamp;
use actix::prelude::*;

/// What a part of a batch asks for that cannot be done anyway: more than the book lets any order have. Should it get as
/// far as the ledger, that refuses it.
const TOO_MUCH: Amount = Amount(MAX_AMOUNT.0 + 1);

impl Handler<Commands> for OrderBook {
    type Result = ();

    fn handle(&mut self, Commands(commands): Commands, _: &mut Self::Context) {
        let mut passing = Vec::with_capacity(commands.len());
        let mut outgoing = Outgoing::default();
        for command in commands {
            let under_way = self.waiting.len() + self.at_ledger.commands();
            let here = passing.len() + outgoing.waiting.len();
            // An answer of the ledger may have been lost with all that it was for: the next one puts that right.
            let may_ask = self.waiting.is_empty() && here == 0;
            // What users send must not keep a market from being stopped.
            let is_bounded = !matches!(command, Command::Steer(_));
            if is_bounded && under_way + here >= self.parts.in_flight && !may_ask {
                command.refuse(Refused::Unavailable(Unavailable::Overloaded));
                continue;
            }
            // Whoever sends an order and then cancels does not expect that the order comes to rest afterwards.
            let follows = self.at_ledger.commands() > 0 || !passing.is_empty();
            match command {
                Command::Place(place) => passing.extend(self.applicant(place).map(Passing::Applicant)),
                Command::Cancel(cancel) if follows => passing.push(Passing::Follower(Asked::Cancel(cancel))),
                Command::Cancel(cancel) => self.cancel(cancel, &mut outgoing),
                Command::CancelAll(cancel) if follows => passing.push(Passing::Follower(Asked::CancelAll(cancel))),
                Command::CancelAll(cancel) => self.cancel_all(cancel, &mut outgoing),
                Command::Amend(amend) => passing.extend(self.amend(amend).map(Passing::Applicant)),
                Command::Together(batch) => passing.extend(self.together(batch).map(Passing::Applicant)),
                Command::Steer(steer) => self.steer(steer, &mut outgoing),
            }
        }
        self.propose(outgoing);
        let Some(book) = self.this.lock().clone().filter(|_| !passing.is_empty()) else { return };
        let (number, commands) = (self.at_ledger.next(), passing.len());
        let admit = Admit { number, passing, stream: self.stream(), epoch: self.epoch, book };
        match self.parts.ledger.offer(admit) {
            Ok(()) => self.at_ledger.sent(commands),
            Err(refused) => {
                for passing in refused.message.passing {
                    passing.refuse(Refused::Unavailable(Unavailable::Overloaded));
                }
            }
        }
    }
}

impl OrderBook {
    /// Whether commands can be taken now.
    pub(super) fn ready(&self) -> Result<&MarketReplica, Refused> {
        match &self.state {
            Some(state) if self.active => Ok(&state.replica),
            _ => Err(Refused::Unavailable(Unavailable::Starting)),
        }
    }

    /// Whether a further command of a user can be taken now: of those only so many may be on their way.
    fn has_room(&self) -> Result<&MarketReplica, Refused> {
        match self.ready() {
            Ok(_) if self.waiting.len() >= self.parts.in_flight => Err(Refused::Unavailable(Unavailable::Overloaded)),
            other => other,
        }
    }

    pub(super) fn propose(&mut self, Outgoing { entries, waiting, holds }: Outgoing) {
        if waiting.is_empty() {
            return;
        }
        let count = waiting.len() as u32;
        let proposal = Propose { stream: self.stream(), epoch: self.epoch, entries, count };
        match self.parts.log.try_send(proposal) {
            Ok(()) => self.waiting.extend(waiting),
            Err(_) => {
                self.void(self.epoch, holds);
                let mut post = Post::default();
                for (_, waiting) in waiting {
                    waiting.refuse(Refused::Unavailable(Unavailable::Overloaded), &mut post);
                }
            }
        }
    }

    /// Tells the ledger that entries of these tickets of this epoch will never be applied.
    pub(super) fn void(&self, epoch: Epoch, tickets: Vec<Ticket>) {
        let _ = self.parts.ledger.try_send(Void { stream: self.stream(), epoch, tickets });
    }

    /// What the ledger must reserve for an order.
    ///
    /// # Errors
    /// [`Reject::FundsTooLarge`] for a market buy by size that would cost more than the market allows, or would at its stop
    /// price.
    fn need(&self, replica: &MarketReplica, order: &NewOrder) -> Result<Need, Reject> {
        let book = &replica.book;
        Ok(match order.kind {
            Kind::Limit { price, .. } => {
                let worst = order.maker_fee.max(order.taker_fee);
                Need::exactly(book.hold_for(order.side, price, order.size, worst))
            }
            Kind::Market { funds: Some(funds) } if order.side == Side::Sell && order.size.is_zero() => {
                let (lots, further) = match order.stop {
                    Some(stop) => (book.lots_to_obtain_at(stop.price, funds), Size::ZERO),
                    None => book.lots_to_obtain(funds),
                };
                let base = |lots| book.scale().base(lots);
                Need::about(base(lots), base(further))
            }
            Kind::Market { .. } if order.side == Side::Sell => Need::exactly(book.scale().base(order.size)),
            Kind::Market { funds: Some(funds) } => Need::exactly(funds),
            Kind::Market { funds: None } => {
                let (cost, further) = match order.stop {
                    Some(stop) => (book.cost_at(stop.price, order.size, order.taker_fee)?, Amount::ZERO),
                    None => book.cost_of(order.size, order.taker_fee)?,
                };
                Need::about(cost, further)
            }
        })
    }

    fn request(&self, ticket: Ticket, account: AccountId, currency: CurrencyId, amount: Amount) -> Request {
        let (client_id, vouched) = (None, None);
        Request { stream: self.stream(), ticket, epoch: self.epoch, account, currency, amount, client_id, vouched }
    }

    /// The earliest time that the log may give to an entry that is proposed now. Time does not run backwards in it, so
    /// what has expired by then is refused here already, for the reason that `apply` would give.
    pub(super) fn time(&self, replica: &MarketReplica) -> Timestamp {
        (self.parts.clock)().max(replica.book.now())
    }

    /// Why a new order is refused that this speaks against. The ledger says that the whole venue is stopped, but it is not
    /// asked for what is refused here; so that the order of the reasons holds, the listing is.
    fn first_of(&self, reason: Reject) -> Reject {
        if self.parts.listing.is_stopped() { reason.min(Reject::KillSwitch) } else { reason }
    }

    /// Fills in what the market says of a new order, and what it needs from the ledger.
    ///
    /// # Errors
    /// As [`OrderBook::need`].
    fn prepare(&self, replica: &MarketReplica, order: &mut NewOrder) -> Result<Need, Reject> {
        let config = replica.book.config();
        (order.maker_fee, order.taker_fee) = (config.maker_fee, config.taker_fee);
        if order.ticket == Ticket(0) {
            order.ticket = next_ticket();
        }
        self.need(replica, order)
    }

    fn pair(replica: &MarketReplica) -> Pair {
        let config = replica.book.config();
        Pair { base: config.base, quote: config.quote }
    }

    /// The order with what it needs from the ledger, or none when it was refused.
    fn applicant(&self, Place { mut order, vouched, reply }: Place) -> Option<Applicant> {
        let replica = match self.has_room() {
            Ok(replica) => replica,
            Err(why) => {
                reply.send(Err(why));
                return None;
            }
        };
        let now = self.time(replica);
        order.begin(now);
        let prepared = match replica.book.check(&order, now) {
            Ok(()) => self.prepare(replica, &mut order),
            // That it would cost too much comes before these.
            Err(reason) if reason > Reject::FundsTooLarge => {
                let need = self.prepare(replica, &mut order);
                need.and(Err(reason))
            }
            Err(reason) => Err(reason),
        };
        let need = match prepared {
            Ok(need) => need,
            Err(reason) => {
                reply.send(Err(Refused::Reject(self.first_of(reason))));
                return None;
            }
        };
        let currency = Self::pair(replica).held(order.side);
        let request = self.request(order.ticket, order.account, currency, need.least);
        let request = Request { client_id: order.client_id, vouched, ..request };
        let asked = Asked::Place(order, reply);
        Some(Applicant { request, most: need.most, more: Vec::new(), would_take: None, asked })
    }

    /// A change of an order with what it needs from the ledger, or none when it was refused.
    fn amend(&self, AmendOrder { account, order, price, size, reply }: AmendOrder) -> Option<Applicant> {
        let checked = self.has_room().and_then(|replica| {
            self.still_lives(replica, account, order)?;
            let mut amend = Amend { ticket: next_ticket(), account, order, price, size, extra_hold: Amount::ZERO };
            if Self::is_news(replica, order) {
                return Ok((self.request(amend.ticket, account, Self::pair(replica).quote, Amount::ZERO), amend));
            }
            amend.extra_hold = replica.book.extra_hold_for(&amend);
            replica.book.check_amend(&amend)?;
            let side = replica.book.order(order).map(|record| record.side).ok_or(Reject::OrderNotFound)?;
            let currency = Self::pair(replica).held(side);
            Ok((self.request(amend.ticket, account, currency, amend.extra_hold), amend))
        });
        match checked {
            Ok((request, amend)) => {
                let asked = Asked::Amend(amend, reply);
                Some(Applicant { request, most: request.amount, more: Vec::new(), would_take: None, asked })
            }
            Err(why) => {
                reply.send(Err(why));
                None
            }
        }
    }

    /// An atomic batch with what its parts need from the ledger, or none when it was refused.
    fn together(&self, PlaceTogether { mut batch, vouched, reply }: PlaceTogether) -> Option<Applicant> {
        let checked = self.has_room().and_then(|replica| {
            let (book, pair, now) = (&replica.book, Self::pair(replica), self.time(replica));
            batch.ticket = next_ticket();
            let mut requests = Vec::with_capacity(batch.amends.len() + batch.places.len());
            let first_place = batch.cancels.len() + batch.amends.len();
            for amend in &mut batch.amends {
                (amend.ticket, amend.account) = (next_ticket(), batch.account);
                amend.extra_hold = book.extra_hold_for(amend);
                // An order that is not there needs nothing; the batch is refused below.
                let side = book.order(amend.order).map_or(Side::Buy, |record| record.side);
                let currency = pair.held(side);
                requests
                    .push((self.request(amend.ticket, batch.account, currency, amend.extra_hold), amend.extra_hold));
            }
            for order in &mut batch.places {
                order.ticket = next_ticket();
                order.begin(now);
                // What is out of range has no price; it is refused below, as is what else is wrong. So is what would
                // cost too much, for what it asks for.
                let sound = book.check_alone(order, now).err().is_none_or(|reason| reason > Reject::FundsTooLarge);
                let need = if sound { self.prepare(replica, order).ok() } else { None };
                let need = need.unwrap_or_else(|| Need::exactly(TOO_MUCH));
                let request = self.request(order.ticket, batch.account, pair.held(order.side), need.least);
                requests.push((Request { client_id: order.client_id, vouched, ..request }, need.most));
                order.hold = need.most;
            }
            match book.check_atomic(&batch, now).err() {
                None => Ok((requests, None)),
                // As with a single order the ledger is asked first, and then it is left to `apply` to say so.
                Some((part, Reject::PostOnlyWouldTake)) => Ok((requests, Some(part))),
                Some((part, reason)) if (part as usize) < first_place => Err(Refused::Part(part, reason)),
                Some((part, reason)) => Err(Refused::Part(part, self.first_of(reason))),
            }
        });
        match checked {
            Ok((more, would_take)) => {
                // The batch itself needs nothing; its ticket is what the others stand behind.
                let request = self.request(batch.ticket, batch.account, Default::default(), Amount::ZERO);
                let asked = Asked::Together(batch, reply);
                Some(Applicant { request, most: Amount::ZERO, more, would_take, asked })
            }
            Err(why) => {
                reply.send(Err(why));
                None
            }
        }
    }

    /// Whether a user's order may still be canceled or changed. What is known to be over needs no entry in the log; the
    /// outcome could only be the same.
    fn still_lives(&self, replica: &MarketReplica, account: AccountId, order: OrderId) -> Result<(), Refused> {
        if replica.book.order(order).is_some() || Self::is_news(replica, order) {
            return Ok(());
        }
        let known = order.number > 0;
        let own = self.known(order).is_none_or(|record| record.account == account);
        Err(Refused::Reject(if known && own { Reject::OrderDone } else { Reject::OrderNotFound }))
    }

    /// Whether this book has not heard of the order. Only the log can say then whether it exists: this node may have
    /// lost its role without noticing, to one that has accepted the order.
    fn is_news(replica: &MarketReplica, order: OrderId) -> bool {
        order.number > replica.book.accepted_orders()
    }

    fn cancel(&self, Cancel { account, order, reply }: Cancel, outgoing: &mut Outgoing) {
        if let Err(why) = self.has_room().and_then(|replica| self.still_lives(replica, account, order)) {
            return reply.send(Err(why));
        }
        let ticket = next_ticket();
        outgoing.add(&MarketEntry::Cancel { ticket, account, order }, Waiting::Cancel(order, reply));
    }

    fn cancel_all(&self, CancelAll { account, side, reply }: CancelAll, outgoing: &mut Outgoing) {
        if let Err(why) = self.has_room() {
            return reply.send(Err(why));
        }
        let ticket = next_ticket();
        outgoing.add(&MarketEntry::CancelAll { ticket, account, side }, Waiting::CancelAll(reply));
    }
}

impl Handler<Admitted> for OrderBook {
    type Result = ();

    fn handle(&mut self, Admitted { number, asked, holds, epoch }: Admitted, _: &mut Self::Context) {
        if epoch == self.epoch {
            self.at_ledger.answered(number);
        }
        if !self.active || epoch != self.epoch {
            self.void(epoch, holds);
            for asked in asked {
                asked.refuse(Refused::Unavailable(Unavailable::Starting));
            }
            return;
        }
        let mut outgoing = Outgoing::default();
        for asked in asked {
            match asked {
                Asked::Place(order, reply) => {
                    tracing::debug!(target: "agora::path", ticket = order.ticket.0, hold = order.hold.0, "admitted, proposed");
                    outgoing.add(&MarketEntry::Place(order), Waiting::Place(reply));
                }
                Asked::Amend(amend, reply) => {
                    outgoing.add(&MarketEntry::Amend(amend), Waiting::Amend(amend.order, reply));
                }
                Asked::Together(batch, reply) => {
                    let parts = Box::new(Parts::of(&batch));
                    outgoing.add(&MarketEntry::Atomic(batch), Waiting::Atomic(parts, reply));
                }
                Asked::Cancel(cancel) => self.cancel(cancel, &mut outgoing),
                Asked::CancelAll(cancel) => self.cancel_all(cancel, &mut outgoing),
            }
        }
        self.propose(outgoing);
    }
}
