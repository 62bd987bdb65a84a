//! Outcomes of a market: what an apply produced. They carry enough to fold without asking anybody.
//!
//! Events for which [`Event::is_public`] holds raise the market's feed sequence by exactly one each.

use super::ids::{AccountId, ClientOrderId, OrderId, Ticket, TradeId};
use super::market::{MarketConfig, Phase};
use super::money::{Amount, Price, Size};
use super::order::{Kind, NewOrder, Reject, Side};
use serde::{Deserialize, Serialize};

/// One outcome of a market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Event {
    /// An order was taken in; its hold is reserved. Public unless it is a stop that sleeps.
    Accepted(OrderId, NewOrder),
    /// An order was refused; nothing else happened.
    Rejected {
        /// The admission it belongs to.
        ticket: Ticket,
        /// Who asked.
        account: AccountId,
        /// Why.
        reason: Reject,
    },
    /// A cancel or an amend was refused.
    Refused {
        /// The admission it belongs to.
        ticket: Ticket,
        /// Who asked.
        account: AccountId,
        /// Why.
        reason: Reject,
    },
    /// What is left of an order now rests in the book.
    Opened(Opened),
    /// Two orders met.
    Filled(Fill),
    /// A live order was reduced or amended.
    Changed(Change),
    /// A stop woke and entered the market.
    Triggered(Triggered),
    /// An order is over; what was left of its hold is released.
    Done(Done),
    /// The market's rules changed.
    Configured(Box<MarketConfig>),
    /// An atomic batch was refused; nothing of it happened.
    BatchRefused {
        /// The admission it belongs to.
        ticket: Ticket,
        /// Who asked.
        account: AccountId,
        /// Which of its parts cannot be done, counted from 0: cancels, then amends, then orders.
        part: u32,
        /// Why.
        reason: Reject,
    },
    /// Two resting orders met at the end of a call auction. The taker is the newer one; a `Changed` before this took its
    /// part out of the book.
    Crossed(Crossed),
    /// The market trades, gathers orders for an auction, or is stopped, from now on.
    Phase(PhaseChange),
}

/// A trade of a call auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// The trade, at the auction's price.
    pub fill: Fill,
    /// Where the maker rests.
    pub maker_price: Price,
}

/// Another phase of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseChange {
    /// The admission that asked for it, if any did.
    pub ticket: Ticket,
    /// From now on.
    pub phase: Phase,
    /// Why.
    pub reason: PhaseReason,
    /// The price that a halt or an auction refers to, if there is one.
    pub reference: Option<Price>,
    /// The price of the auction that ended, if anything traded.
    pub price: Option<Price>,
    /// Lots that were traded in it.
    pub volume: u128,
}

/// Why a market has another phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PhaseReason {
    /// A trade would have been too far from the reference price.
    Volatility,
    /// An operator asked for an auction.
    AuctionAsked,
    /// The auction is over.
    AuctionEnded,
    /// An operator engaged the kill switch.
    KillSwitch,
    /// An operator released it.
    Released,
}

/// An order that rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The order.
    pub id: OrderId,
    /// Whose it is.
    pub account: AccountId,
    /// Bid or ask.
    pub side: Side,
    /// Where it rests.
    pub price: Price,
    /// What rests.
    pub remaining: Size,
}

/// A trade between a resting and an incoming order, at the maker's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The trade's number in its market.
    pub trade: TradeId,
    /// The resting order.
    pub maker: OrderId,
    /// The incoming order.
    pub taker: OrderId,
    /// Whose the resting order is.
    pub maker_account: AccountId,
    /// Whose the incoming order is.
    pub taker_account: AccountId,
    /// The resting order's side.
    pub maker_side: Side,
    /// Ticks.
    pub price: Price,
    /// Lots.
    pub size: Size,
    /// The same size in base atoms.
    pub base: Amount,
    /// Price × size, in quote atoms.
    pub quote: Amount,
    /// What the maker pays, in quote atoms.
    pub maker_fee: Amount,
    /// What the taker pays, in quote atoms.
    pub taker_fee: Amount,
}

impl Fill {
    /// Who buys.
    pub fn buyer(&self) -> (AccountId, OrderId, Amount) {
        match self.maker_side {
            Side::Buy => (self.maker_account, self.maker, self.maker_fee),
            Side::Sell => (self.taker_account, self.taker, self.taker_fee),
        }
    }

    /// Who sells.
    pub fn seller(&self) -> (AccountId, OrderId, Amount) {
        match self.maker_side {
            Side::Buy => (self.taker_account, self.taker, self.taker_fee),
            Side::Sell => (self.maker_account, self.maker, self.maker_fee),
        }
    }
}

/// Why a live order changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChangeReason {
    /// It met an order of its own user.
    SelfTrade,
    /// Its owner asked.
    Amended,
    /// A part of it is matched at the end of a call auction; the trade follows.
    Auction,
}

/// A live order with another size, funds or price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The order.
    pub id: OrderId,
    /// The admission that asked, for an amend.
    pub ticket: Ticket,
    /// Whose it is.
    pub account: AccountId,
    /// Its side.
    pub side: Side,
    /// Why.
    pub reason: ChangeReason,
    /// Its price before; absent for market orders.
    pub price: Option<Price>,
    /// Its price from now on, when that changed.
    pub new_price: Option<Price>,
    /// What was left before.
    pub old_size: Size,
    /// What is left now.
    pub new_size: Size,
    /// The whole size from now on, filled part included, when its owner changed it.
    pub new_total: Option<Size>,
    /// What was left to spend or to bring in before, for a market order by funds.
    pub old_funds: Option<Amount>,
    /// What is left now.
    pub new_funds: Option<Amount>,
    /// How its hold changes.
    pub hold_delta: Amount,
    /// Whether it rests in the book; otherwise it is on its way there, or a stop that sleeps.
    pub rests: bool,
}

/// A stop that woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    /// The order.
    pub id: OrderId,
    /// Whose it is.
    pub account: AccountId,
    /// The owner's own id for it.
    pub client_id: Option<ClientOrderId>,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market, with its present price.
    pub kind: Kind,
    /// What is left to fill; zero for a market order by funds alone.
    pub size: Size,
}

/// Why an order is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DoneReason {
    /// Nothing is left to fill; or a market order has spent or brought in the funds that its owner named, as far as whole
    /// lots go.
    Filled,
    /// Its owner canceled it.
    Canceled,
    /// Its time had come.
    Expired,
    /// It takes only at once, and there was nothing more to take, or nothing that its hold pays for; or it is a stop that
    /// woke where it must not take.
    NoLiquidity,
    /// It could not be filled whole.
    FillOrKill,
    /// It met an order of its own user.
    SelfTrade,
    /// It takes only at once, and the market halted for a call auction.
    Halted,
    /// An operator engaged the kill switch.
    Killed,
}

impl DoneReason {
    /// Whether the order got what it asked for.
    pub fn is_filled(self) -> bool {
        self == DoneReason::Filled
    }

    /// The word of the wire: only `filled` and `canceled` are known there.
    pub fn wire(self) -> &'static str {
        match self {
            DoneReason::Filled => "filled",
            DoneReason::Canceled
            | DoneReason::Expired
            | DoneReason::NoLiquidity
            | DoneReason::FillOrKill
            | DoneReason::SelfTrade
            | DoneReason::Halted
            | DoneReason::Killed => "canceled",
        }
    }
}

/// An order that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The order.
    pub id: OrderId,
    /// The admission that asked for it, for a cancel.
    pub ticket: Ticket,
    /// Whose it was.
    pub account: AccountId,
    /// Its side.
    pub side: Side,
    /// Its limit price; absent for market orders.
    pub price: Option<Price>,
    /// What was never filled.
    pub remaining: Size,
    /// Why.
    pub reason: DoneReason,
    /// What was left of its hold: base for a sell, quote for a buy.
    pub released: Amount,
    /// Whether it rested in the book until now.
    pub rested: bool,
    /// Whether it was a stop that never woke; then the public never hears of it.
    pub slept: bool,
}

impl Event {
    /// The trade, if it is one.
    pub fn fill(&self) -> Option<&Fill> {
        match self {
            Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => Some(fill),
            Event::Accepted(..)
            | Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::Opened(_)
            | Event::Changed(_)
            | Event::Triggered(_)
            | Event::Done(_)
            | Event::Configured(_)
            | Event::BatchRefused { .. }
            | Event::Phase(_) => None,
        }
    }

    /// Whether it tells something of this order.
    pub fn concerns(&self, order: OrderId) -> bool {
        match self {
            Event::Accepted(id, _) => *id == order,
            Event::Opened(opened) => opened.id == order,
            Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => fill.maker == order || fill.taker == order,
            Event::Changed(change) => change.id == order,
            Event::Triggered(triggered) => triggered.id == order,
            Event::Done(done) => done.id == order,
            Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::BatchRefused { .. }
            | Event::Configured(_)
            | Event::Phase(_) => false,
        }
    }

    /// Whether the public feed shows it, so that it raises the feed sequence.
    pub fn is_public(&self) -> bool {
        match self {
            Event::Accepted(_, order) => order.stop.is_none(),
            Event::Opened(_) | Event::Filled(_) | Event::Crossed(_) | Event::Triggered(_) => true,
            // What its owner changes and does not rest is a stop that sleeps.
            Event::Changed(change) => change.rests || change.reason != ChangeReason::Amended,
            Event::Done(done) => !done.slept,
            Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::BatchRefused { .. }
            | Event::Configured(_)
            | Event::Phase(_) => false,
        }
    }
}
