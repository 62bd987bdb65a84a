//! What those who run the venue want of a market, on its way into the log.

use super::super::Refused;
use super::super::tickets::next_ticket;
use super::waiting::{Outgoing, Waiting};
use super::{Control, OrderBook, Steer};
use crate::domain::entry::MarketEntry;
use crate::domain::ids::Ticket;
use crate::domain::market::MarketConfig;
use crate::domain::time::SECOND;

impl OrderBook {
    pub(super) fn steer(&mut self, Steer { control, reply }: Steer, outgoing: &mut Outgoing) {
        let now = match self.ready() {
            Ok(replica) => self.time(replica),
            Err(why) => return reply.send(Err(why)),
        };
        let ticket = next_ticket();
        let (entry, ends_at) = match control {
            Control::Reconfigure { config, from } => {
                if !self.will_have(&from, outgoing) {
                    return reply.send(Err(Refused::Changed));
                }
                self.reconfiguring = Some(ticket);
                (MarketEntry::Reconfigure { ticket, config }, None)
            }
            Control::Kill { account, engaged } => (MarketEntry::Kill { ticket, account, engaged }, None),
            Control::BeginAuction { lasts_s } => {
                let ends_at = now + i64::from(lasts_s) * SECOND;
                (MarketEntry::BeginAuction { ticket, ends_at }, Some(ends_at))
            }
        };
        outgoing.add(&entry, Waiting::Steer(ends_at, reply));
    }

    /// Whether the market has these rules when it is the turn of an entry that is made now.
    fn will_have(&self, rules: &MarketConfig, outgoing: &Outgoing) -> bool {
        let is_on_its_way = |ticket: Ticket| {
            self.waiting.contains_key(&ticket) || outgoing.waiting.iter().any(|(other, _)| *other == ticket)
        };
        let changes = self.reconfiguring.is_some_and(is_on_its_way);
        !changes && self.state.as_ref().is_some_and(|state| state.replica.book.config() == rules)
    }
}
