//! What a market has in its stream and cannot apply: the holds that were admitted for it.
//!
//! A market that stands still leaves entries behind whose outcomes no ledger hears of. A repaired program will apply them, so
//! until then their money must not be spent on anything else, and their client ids not be taken.

use super::admission::Request;
use super::batch::Batch;
use super::book::Book;
use super::entry::{Amend, MarketEntry};
use super::ids::{AccountId, ClientOrderId, CurrencyId, Epoch, MarketId, Sequence, StreamId, Ticket};
use super::money::Amount;
use super::order::NewOrder;
use super::posting::Pair;
use super::replica::{ReplicaError, decode};
use super::stream::{StreamState, Verdict};

/// A hold of an entry that was committed and not applied.
#[derive(Clone, Copy, Debug)]
pub struct Unapplied {
    /// The entry.
    pub entry: Sequence,
    /// What was admitted.
    pub request: Request,
}

/// Reads the next batch of a market's stream, which goes on at `stream`. `book` is the market's as it stood before the first
/// batch that it did not apply.
///
/// # Errors
/// [`ReplicaError`] when the batch does not fit or cannot be read.
pub fn read(book: &Book, stream: &mut StreamState, batch: &Batch) -> Result<Vec<Unapplied>, ReplicaError> {
    let mut beyond = *stream;
    let Verdict::Accept(first) = beyond.judge(batch)? else {
        *stream = beyond;
        return Ok(Vec::new());
    };
    let config = book.config();
    let holder =
        Holder { book, market: config.id, epoch: batch.epoch, pair: Pair { base: config.base, quote: config.quote } };
    let mut all = Vec::new();
    for (entry, sequence) in decode::<MarketEntry>(batch, first)?.iter().zip(first.0..) {
        let mut keep = |request| all.push(Unapplied { entry: Sequence(sequence), request });
        match entry {
            MarketEntry::Place(order) => keep(holder.order(order)),
            MarketEntry::Amend(amend) => holder.amend(amend).into_iter().for_each(keep),
            MarketEntry::Atomic(batch) => {
                batch.amends.iter().filter_map(|amend| holder.amend(amend)).for_each(&mut keep);
                batch.places.iter().map(|order| holder.order(order)).for_each(&mut keep);
            }
            MarketEntry::Cancel { .. }
            | MarketEntry::CancelAll { .. }
            | MarketEntry::Configure(_)
            | MarketEntry::Reconfigure { .. }
            | MarketEntry::Kill { .. }
            | MarketEntry::BeginAuction { .. }
            | MarketEntry::Tick => {}
        }
    }
    *stream = beyond;
    Ok(all)
}

struct Holder<'a> {
    book: &'a Book,
    market: MarketId,
    epoch: Epoch,
    pair: Pair,
}

impl Holder<'_> {
    fn order(&self, order: &NewOrder) -> Request {
        let currency = self.pair.held(order.side);
        self.request(order.ticket, order.account, currency, order.hold, order.client_id)
    }

    /// Nothing for the change of an order that does not live here: it is refused when it is applied, and gives back what it
    /// asked for. An order that is yet to come to life cannot be meant, since nobody was told its number.
    fn amend(&self, amend: &Amend) -> Option<Request> {
        let currency = self.pair.held(self.book.order(amend.order)?.side);
        Some(self.request(amend.ticket, amend.account, currency, amend.extra_hold, None))
    }

    fn request(
        &self,
        ticket: Ticket,
        account: AccountId,
        currency: CurrencyId,
        amount: Amount,
        client_id: Option<ClientOrderId>,
    ) -> Request {
        let (stream, epoch) = (StreamId::Market(self.market), self.epoch);
        Request { stream, ticket, epoch, account, currency, amount, client_id, vouched: None }
    }
}
