//! What an order book is asked, and what it answers.

use super::super::Refused;
use crate::domain::book::Resting;
use crate::domain::event::Fill;
use crate::domain::ids::{AccountId, Epoch, MarketId, OrderId, Sequence};
use crate::domain::order::{NewOrder, OrderRecord, Side};
use crate::domain::time::Timestamp;
use actix::prelude::*;
use tokio::sync::oneshot;

/// Where the answer to a command goes.
pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// Asks for an order to be placed. Its ticket, fees and hold are filled in here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Place {
    /// The order.
    pub order: NewOrder,
    /// Answered with the order's record once its outcome is known and durable.
    pub reply: Reply<OrderRecord>,
}

/// The ledger has reserved the order's hold.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Admitted {
    /// The order, hold and ticket included.
    pub order: NewOrder,
    /// The epoch in which it was admitted.
    pub epoch: Epoch,
    /// Who waits.
    pub reply: Reply<OrderRecord>,
}

/// Asks for one order to be canceled.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancel {
    /// Whose it must be.
    pub account: AccountId,
    /// Which.
    pub order: OrderId,
    /// Answered once it is canceled.
    pub reply: Reply<OrderId>,
}

/// Asks for all orders of a user to be canceled.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelAll {
    /// Whose.
    pub account: AccountId,
    /// Only this side, if given.
    pub side: Option<Side>,
    /// Answered with the canceled orders.
    pub reply: Reply<Vec<OrderId>>,
}

/// Begins a new epoch, because the ledger has lost its pending holds.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Refence;

/// Asks for an order that lives, or ended a short while ago.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<OrderRecord>")]
pub struct GetOrder(pub OrderId);

/// Asks for the live orders of a user, newest first, and those that ended a short while ago.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "OrdersOf")]
pub struct GetOrders(pub AccountId);

/// The orders of one user that are in memory.
#[derive(Clone, Debug, Default)]
pub struct OrdersOf {
    /// Live, newest first.
    pub live: Vec<OrderRecord>,
    /// Ended a short while ago, newest end first.
    pub ended: Vec<OrderRecord>,
}

/// A fill with its time.
#[derive(Clone, Copy, Debug)]
pub struct TimedFill {
    /// The market.
    pub market: MarketId,
    /// When.
    pub at: Timestamp,
    /// Its public sequence.
    pub feed_sequence: u64,
    /// The fill.
    pub fill: Fill,
}

/// Asks for the newest fills of a user that are in memory, newest first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<TimedFill>")]
pub struct GetFills(pub AccountId);

/// Asks for every resting order.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "FullBook")]
pub struct GetFullBook;

/// Every resting order, best first and oldest first within a price.
#[derive(Clone, Debug, Default)]
pub struct FullBook {
    /// The last public event contained.
    pub sequence: u64,
    /// Bids.
    pub bids: Vec<Resting>,
    /// Asks.
    pub asks: Vec<Resting>,
}

/// The newest entry that the book has applied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Sequence")]
pub struct GetSequence;
