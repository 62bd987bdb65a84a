//! Ledger postings: how each outcome moves money.
//!
//! Every posting says account, currency and the changes of available and hold, so that a ledger is
//! a mere sum. The postings of one outcome add up to zero in every currency (double entry).

use super::event::{Crossed, Event};
use super::ids::{AccountId, CurrencyId, OrderId, TradeId};
use super::money::Amount;
use super::order::Side;

/// Why a posting was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostingKind {
    /// Reserved for an order, or released; the balance stays.
    Hold,
    /// One side of a trade.
    Match,
    /// A trading fee.
    Fee,
    /// A deposit, a withdrawal or a transfer between users.
    Transfer,
}

/// One change of one balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Whose balance.
    pub account: AccountId,
    /// In which currency.
    pub currency: CurrencyId,
    /// Change of the available part.
    pub available: Amount,
    /// Change of the held part.
    pub hold: Amount,
    /// Why.
    pub kind: PostingKind,
    /// The order it belongs to, for all kinds but transfers.
    pub order: OrderId,
    /// The trade it belongs to, for matches and fees.
    pub trade: TradeId,
}

impl Posting {
    /// Change of the whole balance.
    pub fn amount(&self) -> Amount {
        self.available + self.hold
    }
}

/// The currencies that a market's outcomes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What is traded.
    pub base: CurrencyId,
    /// What it is paid with.
    pub quote: CurrencyId,
}

impl Pair {
    /// What an order of this side reserves.
    pub fn held(self, side: Side) -> CurrencyId {
        match side {
            Side::Buy => self.quote,
            Side::Sell => self.base,
        }
    }

    /// Hands the postings of one outcome to `post`, in a fixed order.
    pub fn postings(self, event: &Event, mut post: impl FnMut(Posting)) {
        let mut move_hold = |account, side, amount: Amount, order| {
            if !amount.is_zero() {
                post(Posting {
                    account,
                    currency: self.held(side),
                    available: -amount,
                    hold: amount,
                    kind: PostingKind::Hold,
                    order,
                    trade: TradeId(0),
                });
            }
        };
        match event {
            Event::Accepted(id, order) => move_hold(order.account, order.side, order.hold, *id),
            Event::Changed(change) => move_hold(change.account, change.side, change.hold_delta, change.id),
            Event::Done(done) => move_hold(done.account, done.side, -done.released, done.id),
            Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
                let (buyer, bought, buyer_fee) = fill.buyer();
                let (seller, sold, seller_fee) = fill.seller();
                let mut post = |account, currency, available, hold, kind, order| {
                    let posting = Posting { account, currency, available, hold, kind, order, trade: fill.trade };
                    if !(posting.available.is_zero() && posting.hold.is_zero()) {
                        post(posting);
                    }
                };
                let none = Amount::ZERO;
                post(buyer, self.base, fill.base, none, PostingKind::Match, bought);
                post(buyer, self.quote, none, -fill.quote, PostingKind::Match, bought);
                post(buyer, self.quote, none, -buyer_fee, PostingKind::Fee, bought);
                post(seller, self.base, none, -fill.base, PostingKind::Match, sold);
                post(seller, self.quote, fill.quote, none, PostingKind::Match, sold);
                post(seller, self.quote, -seller_fee, none, PostingKind::Fee, sold);
                post(AccountId::HOUSE, self.quote, buyer_fee + seller_fee, none, PostingKind::Fee, fill.taker);
            }
            Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::Opened(_)
            | Event::Triggered(_)
            | Event::Configured(_)
            | Event::BatchRefused { .. }
            | Event::Phase(_) => {}
        }
    }
}
