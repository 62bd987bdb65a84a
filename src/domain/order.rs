//! Orders as they are asked for, and the record that a fold of outcomes makes of one.

use super::event::{Change, ChangeReason, Crossed, DoneReason, Event};
use super::ids::{AccountId, ClientOrderId, OrderId, Ticket};
use super::money::{Amount, Ppm, Price, Size};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the order's owner does with the base currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Side {
    /// Pays quote for base; rests as a bid.
    #[default]
    Buy,
    /// Gives base for quote; rests as an ask.
    Sell,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// How long a limit order may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeInForce {
    /// Until it is filled or canceled.
    #[default]
    GoodTillCanceled,
    /// Until this moment in the log's time.
    GoodTillTime(Timestamp),
    /// Takes what it can at once; the rest is canceled.
    ImmediateOrCancel,
    /// Is filled whole at once, or canceled without a trade.
    FillOrKill,
}

impl TimeInForce {
    /// For so many microseconds, counted from when the order is admitted: whoever asks may have another time than the log.
    ///
    /// Until then ([`NewOrder::begin`]) the span stands in the place of the moment, as one before 1970: nobody can want that,
    /// and an order that kept it would have expired.
    pub fn good_for(span: i64) -> TimeInForce {
        TimeInForce::GoodTillTime(Timestamp(span.saturating_neg()))
    }
}

/// What sets the order's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Trades at `price` or better.
    Limit {
        /// The worst price.
        price: Price,
        /// How long it lives.
        time_in_force: TimeInForce,
        /// Refused rather than taking.
        post_only: bool,
    },
    /// Trades at any price and never rests.
    Market {
        /// The most a buy may spend, fees included, or a sell may bring in, fees aside, as its owner asked; absent for an
        /// order by size.
        funds: Option<Amount>,
    },
}

/// When a stop order wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Which way the last trade price must cross.
    pub trigger: Trigger,
    /// The price to cross.
    pub price: Price,
}

/// The direction of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// Wakes when the last trade price is at or below the stop price; for sells.
    Loss,
    /// Wakes when it is at or above; for buys.
    Entry,
}

/// What happens when an incoming order meets one of its own user. The incoming order's flag decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SelfTrade {
    /// The smaller is canceled and the larger reduced by its size.
    #[default]
    DecrementAndCancel,
    /// The resting one is canceled, the incoming goes on.
    CancelOldest,
    /// The incoming one's rest is canceled.
    CancelNewest,
    /// Both are canceled.
    CancelBoth,
}

/// An order as it was admitted: everything that `apply` needs is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// Ties it to its pending hold and its caller.
    pub ticket: Ticket,
    /// Whose it is.
    pub account: AccountId,
    /// The owner's own id for it.
    pub client_id: Option<ClientOrderId>,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub kind: Kind,
    /// How much; zero for a market order by funds alone.
    pub size: Size,
    /// Sleeps until then, if given.
    pub stop: Option<Stop>,
    /// What it does when it meets an order of its own user.
    pub self_trade: SelfTrade,
    /// Its fee rate while it rests, fixed at admission.
    pub maker_fee: Ppm,
    /// Its fee rate while it takes, fixed at admission.
    pub taker_fee: Ppm,
    /// What was reserved for it: quote for a buy (fees included), base for a sell. A market buy
    /// spends no more than this.
    pub hold: Amount,
}

impl NewOrder {
    /// The order is admitted now: if it is to live [for a while](TimeInForce::good_for), that begins.
    pub fn begin(&mut self, now: Timestamp) {
        if let Kind::Limit { time_in_force: TimeInForce::GoodTillTime(end), .. } = &mut self.kind
            && *end < Timestamp::ZERO
        {
            *end = now + end.0.saturating_neg();
        }
    }
}

/// Why an order or a command was refused. The order of the variants is their precedence: of several
/// reasons against a new order, the first is given. A cancel or an amend looks for its order first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error, Serialize, Deserialize)]
pub enum Reject {
    /// The market takes nothing.
    #[error("the market is halted")]
    MarketHalted,
    /// The market takes no new orders.
    #[error("Cancel only mode")]
    CancelOnly,
    /// The kill switch of the market or of the whole venue is engaged.
    #[error("trading is stopped")]
    KillSwitch,
    /// The price is zero or beyond what can be held.
    #[error("price too small or too large")]
    PriceOutOfRange,
    /// The size is zero where one is needed, or beyond what can be held.
    #[error("size is required and must be positive")]
    SizeRequired,
    /// A market order with neither size nor funds, or funds that are not positive.
    #[error("a market order needs a positive size or positive funds")]
    FundsRequired,
    /// Post-only with a time in force that never rests.
    #[error("post_only needs time_in_force GTC or GTT")]
    PostOnlyCannotRest,
    /// A stop of the wrong direction for its side, or without a price.
    #[error("a sell stop must be a loss and a buy stop an entry, with a positive stop_price")]
    BadStop,
    /// The expiry has passed already.
    #[error("the order has expired already")]
    AlreadyExpired,
    /// The market takes no market orders now.
    #[error("Limit only mode")]
    LimitOnly,
    /// The market takes post-only orders alone now.
    #[error("Post only mode")]
    PostOnlyMode,
    /// The market gathers orders for a call auction and takes plain limit orders alone.
    #[error("only limit orders that may rest are taken during a call auction")]
    AuctionOnly,
    /// Below the market's least size.
    #[error("size is too small")]
    SizeTooSmall,
    /// Above the market's greatest size.
    #[error("size is too large")]
    SizeTooLarge,
    /// Below the market's least notional.
    #[error("notional is too small")]
    FundsTooSmall,
    /// Above the market's greatest notional.
    #[error("notional is too large")]
    FundsTooLarge,
    /// Too far from the reference price.
    #[error("the price is outside of the market's price band")]
    PriceOutsideBand,
    /// The user has too many live orders in this market.
    #[error("too many open orders in this market")]
    TooManyOpenOrders,
    /// The user may not trade now.
    #[error("the account is frozen")]
    AccountFrozen,
    /// There is no such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// The balance does not cover the hold.
    #[error("Insufficient funds")]
    InsufficientFunds,
    /// The hold that the entry carries does not cover the order.
    #[error("the reserved amount does not cover the order")]
    HoldTooSmall,
    /// A post-only order would have traded at once.
    #[error("post only order would take liquidity")]
    PostOnlyWouldTake,
    /// No such order, or not this user's.
    #[error("order not found")]
    OrderNotFound,
    /// The order is filled or canceled already.
    #[error("Order already done")]
    OrderDone,
    /// Nothing to change, or a new size at or below what is filled.
    #[error("the order cannot be changed to that")]
    BadAmend,
    /// The changed order would trade at once.
    #[error("the changed order would take liquidity")]
    AmendWouldTake,
    /// An atomic batch that is empty, too large, of several users, or names an order or a client id twice.
    #[error("the batch names something twice, or has no parts or too many")]
    BadBatch,
    /// The market is in no phase in which that can be done.
    #[error("the market is in an auction or stopped")]
    BadPhase,
    /// Rules that a market cannot have, or that would change what its orders mean.
    #[error("symbol, currencies and steps of a market never change, and its limits must be sound")]
    BadConfig,
}

impl Reject {
    /// Every variant, in the order of their precedence.
    pub const ALL: [Reject; 30] = [
        Reject::MarketHalted,
        Reject::CancelOnly,
        Reject::KillSwitch,
        Reject::PriceOutOfRange,
        Reject::SizeRequired,
        Reject::FundsRequired,
        Reject::PostOnlyCannotRest,
        Reject::BadStop,
        Reject::AlreadyExpired,
        Reject::LimitOnly,
        Reject::PostOnlyMode,
        Reject::AuctionOnly,
        Reject::SizeTooSmall,
        Reject::SizeTooLarge,
        Reject::FundsTooSmall,
        Reject::FundsTooLarge,
        Reject::PriceOutsideBand,
        Reject::TooManyOpenOrders,
        Reject::AccountFrozen,
        Reject::UnknownAccount,
        Reject::InsufficientFunds,
        Reject::HoldTooSmall,
        Reject::PostOnlyWouldTake,
        Reject::OrderNotFound,
        Reject::OrderDone,
        Reject::BadAmend,
        Reject::AmendWouldTake,
        Reject::BadBatch,
        Reject::BadPhase,
        Reject::BadConfig,
    ];

    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Reject::MarketHalted => "market_halted",
            Reject::CancelOnly => "cancel_only",
            Reject::KillSwitch => "trading_stopped",
            Reject::PriceOutOfRange => "price_out_of_range",
            Reject::SizeRequired => "size_required",
            Reject::FundsRequired => "funds_required",
            Reject::PostOnlyCannotRest => "post_only_cannot_rest",
            Reject::BadStop => "bad_stop",
            Reject::AlreadyExpired => "already_expired",
            Reject::LimitOnly => "limit_only",
            Reject::PostOnlyMode => "post_only_mode",
            Reject::AuctionOnly => "auction_only",
            Reject::SizeTooSmall => "size_too_small",
            Reject::SizeTooLarge => "size_too_large",
            Reject::FundsTooSmall => "funds_too_small",
            Reject::FundsTooLarge => "funds_too_large",
            Reject::PriceOutsideBand => "price_outside_band",
            Reject::TooManyOpenOrders => "too_many_open_orders",
            Reject::AccountFrozen => "account_frozen",
            Reject::UnknownAccount => "unknown_account",
            Reject::InsufficientFunds => "insufficient_funds",
            Reject::HoldTooSmall => "hold_too_small",
            Reject::PostOnlyWouldTake => "post_only_would_take",
            Reject::OrderNotFound => "order_not_found",
            Reject::OrderDone => "order_done",
            Reject::BadAmend => "bad_amend",
            Reject::AmendWouldTake => "amend_would_take",
            Reject::BadBatch => "bad_batch",
            Reject::BadPhase => "bad_phase",
            Reject::BadConfig => "bad_config",
        }
    }
}

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// A stop that sleeps.
    Active,
    /// In the book, or on its way there.
    Open,
    /// Over, for this reason and since then.
    Done(DoneReason, Timestamp),
}

/// All that is known of one order: what was asked and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// Its id in its market.
    pub id: OrderId,
    /// Whose it is.
    pub account: AccountId,
    /// The owner's own id for it.
    pub client_id: Option<ClientOrderId>,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub kind: Kind,
    /// How much was asked for; zero for a market order by funds alone.
    pub size: Size,
    /// Its stop, also after it woke.
    pub stop: Option<Stop>,
    /// Its self-trade rule.
    pub self_trade: SelfTrade,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What is left to fill.
    pub remaining: Size,
    /// What is filled.
    pub filled: Size,
    /// Sum of price × size of its fills, without fees.
    pub executed: Amount,
    /// Sum of its fees.
    pub fees: Amount,
    /// What is still reserved for it.
    pub hold: Amount,
    /// Where it is in its life.
    pub status: Status,
}

impl OrderRecord {
    /// The record of an order that was just accepted.
    pub fn accepted(id: OrderId, order: &NewOrder, at: Timestamp) -> OrderRecord {
        OrderRecord {
            id,
            account: order.account,
            client_id: order.client_id,
            side: order.side,
            kind: order.kind,
            size: order.size,
            stop: order.stop,
            self_trade: order.self_trade,
            created_at: at,
            remaining: order.size,
            filled: Size::ZERO,
            executed: Amount::ZERO,
            fees: Amount::ZERO,
            hold: order.hold,
            status: if order.stop.is_some() { Status::Active } else { Status::Open },
        }
    }

    /// The limit price, if it has one.
    pub fn price(&self) -> Option<Price> {
        match self.kind {
            Kind::Limit { price, .. } => Some(price),
            Kind::Market { .. } => None,
        }
    }

    /// Whether it is over.
    pub fn is_done(&self) -> bool {
        matches!(self.status, Status::Done(..))
    }

    /// Folds one outcome into the record; outcomes of other orders change nothing.
    pub fn fold(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
                let fee = if fill.taker == self.id {
                    fill.taker_fee
                } else if fill.maker == self.id {
                    fill.maker_fee
                } else {
                    return;
                };
                self.filled = self.filled + fill.size;
                self.executed += fill.quote;
                self.fees += fee;
                self.hold -= match self.side {
                    Side::Buy => fill.quote + fee,
                    Side::Sell => fill.base,
                };
                if !self.size.is_zero() {
                    self.remaining = self.remaining - fill.size;
                }
            }
            // What an auction takes out of the book is filled by the trade that follows.
            Event::Changed(Change { reason: ChangeReason::Auction, .. }) => {}
            Event::Changed(change) if change.id == self.id => {
                self.remaining = change.new_size;
                self.hold += change.hold_delta;
                if let (Kind::Limit { price, .. }, Some(new_price)) = (&mut self.kind, change.new_price) {
                    *price = new_price;
                }
                if let Some(total) = change.new_total {
                    self.size = total;
                }
            }
            Event::Triggered(triggered) if triggered.id == self.id => self.status = Status::Open,
            Event::Done(done) if done.id == self.id => {
                self.remaining = done.remaining;
                self.hold -= done.released;
                self.status = Status::Done(done.reason, at);
            }
            Event::Accepted(..)
            | Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::Opened(..)
            | Event::Changed(..)
            | Event::Triggered(..)
            | Event::Done(..)
            | Event::Configured(..)
            | Event::BatchRefused { .. }
            | Event::Phase(..) => {}
        }
    }
}
