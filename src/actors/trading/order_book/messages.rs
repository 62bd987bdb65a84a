//! What an order book is asked, and what it answers.

use super::super::Refused;
use super::super::post::Reply;
use crate::domain::book::Resting;
use crate::domain::entry::{Amend, Atomic};
use crate::domain::event::Fill;
use crate::domain::ids::{AccountId, Epoch, MarketId, OrderId, Sequence, Ticket};
use crate::domain::market::MarketConfig;
use crate::domain::money::{Price, Size};
use crate::domain::order::{NewOrder, OrderRecord, Side};
use crate::domain::time::Timestamp;
use actix::prelude::*;

/// Commands of callers, in their order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Commands(pub Vec<Command>);

/// What a caller may ask of a book.
#[derive(Debug)]
pub enum Command {
    /// A new order.
    Place(Place),
    /// One order is to go.
    Cancel(Cancel),
    /// All orders of a user are to go.
    CancelAll(CancelAll),
    /// One order is to change.
    Amend(AmendOrder),
    /// Several things are to happen together or not at all.
    Together(PlaceTogether),
    /// Whoever runs the venue wants something of the market.
    Steer(Steer),
}

impl Command {
    /// Answers the caller that nothing was done.
    pub fn refuse(self, why: Refused) {
        match self {
            Command::Place(Place { reply, .. }) => reply.send(Err(why)),
            Command::Cancel(Cancel { reply, .. }) => reply.send(Err(why)),
            Command::CancelAll(CancelAll { reply, .. }) => reply.send(Err(why)),
            Command::Amend(AmendOrder { reply, .. }) => reply.send(Err(why)),
            Command::Together(PlaceTogether { reply, .. }) => reply.send(Err(why)),
            Command::Steer(Steer { reply, .. }) => reply.send(Err(why)),
        }
    }
}

impl From<Place> for Command {
    fn from(place: Place) -> Command {
        Command::Place(place)
    }
}

impl From<Cancel> for Command {
    fn from(cancel: Cancel) -> Command {
        Command::Cancel(cancel)
    }
}

impl From<CancelAll> for Command {
    fn from(cancel: CancelAll) -> Command {
        Command::CancelAll(cancel)
    }
}

impl From<AmendOrder> for Command {
    fn from(amend: AmendOrder) -> Command {
        Command::Amend(amend)
    }
}

impl From<Steer> for Command {
    fn from(steer: Steer) -> Command {
        Command::Steer(steer)
    }
}

impl From<PlaceTogether> for Command {
    fn from(batch: PlaceTogether) -> Command {
        Command::Together(batch)
    }
}

/// Asks for an order to be placed. Its fees and hold are filled in by book and ledger, and its ticket if it has none.
#[derive(Debug)]
pub struct Place {
    /// The order.
    pub order: NewOrder,
    /// See [`crate::domain::admission::Request::vouched`].
    pub vouched: Option<u64>,
    /// Answered with the order's record once its outcome is known and durable.
    pub reply: Reply<OrderRecord>,
}

/// Asks for a live limit order to be changed. A smaller size alone keeps its place in the queue.
#[derive(Debug)]
pub struct AmendOrder {
    /// Whose it must be.
    pub account: AccountId,
    /// Which.
    pub order: OrderId,
    /// The new price, if it changes.
    pub price: Option<Price>,
    /// The new whole size, filled part included, if it changes.
    pub size: Option<Size>,
    /// Answered with the order's record once the change is durable.
    pub reply: Reply<OrderRecord>,
}

/// Asks for cancels, amends and new orders of one user that happen together or not at all. Tickets, fees and holds are
/// filled in by book and ledger.
#[derive(Debug)]
pub struct PlaceTogether {
    /// The parts.
    pub batch: Box<Atomic>,
    /// See [`crate::domain::admission::Request::vouched`]; of all its new orders.
    pub vouched: Option<u64>,
    /// Answered once all of it is durable, or none.
    pub reply: Reply<BatchDone>,
}

/// What those who run the venue may want of a market.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Control {
    /// Other rules. Refused when the market has not, or will not have when its turn comes, those that they were made from:
    /// they say all of a market's rules, also those that somebody else has just changed.
    Reconfigure {
        /// The rules.
        config: Box<MarketConfig>,
        /// What they were made from.
        from: Box<MarketConfig>,
    },
    /// A kill switch, of one user or of the whole market.
    Kill {
        /// Whose.
        account: Option<AccountId>,
        /// Engaged or released.
        engaged: bool,
    },
    /// A call auction.
    BeginAuction {
        /// How long it lasts, from when the market's book makes an entry of it; in seconds.
        lasts_s: u32,
    },
}

/// Asks for a [`Control`].
#[derive(Debug)]
pub struct Steer {
    /// What.
    pub control: Control,
    /// Answered with what it did.
    pub reply: Reply<Steered>,
}

/// What a [`Control`] did.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Steered {
    /// The orders that were canceled by it.
    pub canceled: Vec<OrderId>,
    /// When the auction ends that it began.
    pub ends_at: Option<Timestamp>,
}

/// Asks whether the book admits commands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsOpen;

/// What an atomic batch did.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct BatchDone {
    /// The orders that were canceled.
    pub canceled: Vec<OrderId>,
    /// The orders that were changed, as they stand now.
    pub amended: Vec<OrderRecord>,
    /// The new orders, as they stand now.
    pub placed: Vec<OrderRecord>,
}

/// What waits for its holds, with its caller.
#[derive(Debug)]
pub enum Asked {
    /// A new order.
    Place(NewOrder, Reply<OrderRecord>),
    /// A change.
    Amend(Amend, Reply<OrderRecord>),
    /// An atomic batch.
    Together(Box<Atomic>, Reply<BatchDone>),
    /// The end of an order, which needs no hold and waits for those that were asked for before.
    Cancel(Cancel),
    /// The same for all of a user.
    CancelAll(CancelAll),
}

impl Asked {
    /// Answers the caller that nothing was done.
    pub fn refuse(self, why: Refused) {
        match self {
            Asked::Place(_, reply) | Asked::Amend(_, reply) => reply.send(Err(why)),
            Asked::Together(_, reply) => reply.send(Err(why)),
            Asked::Cancel(Cancel { reply, .. }) => reply.send(Err(why)),
            Asked::CancelAll(CancelAll { reply, .. }) => reply.send(Err(why)),
        }
    }
}

/// The ledger has reserved what these need; those that it refused have been told, so that there may be none left.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Admitted {
    /// Which message it answers.
    pub number: u64,
    /// What was asked, holds included.
    pub asked: Vec<Asked>,
    /// The tickets of all the holds.
    pub holds: Vec<Ticket>,
    /// The epoch in which they were admitted.
    pub epoch: Epoch,
}

/// Asks for one order to be canceled.
#[derive(Debug)]
pub struct Cancel {
    /// Whose it must be.
    pub account: AccountId,
    /// Which.
    pub order: OrderId,
    /// Answered once it is canceled.
    pub reply: Reply<OrderId>,
}

/// Asks for all orders of a user to be canceled.
#[derive(Debug)]
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

/// The ledger knows the book by now, and will ask it for new epochs. Should this node have taken over a moment before,
/// nobody has asked it yet: whoever has no epoch begins one, as far as the node may.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors::trading) struct Attached;

/// Asks for an order that lives, or ended a short while ago.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<OrderRecord>")]
pub struct GetOrder(pub OrderId);

/// Asks for the live orders of a user, newest first, and those that ended a short while ago if they are wanted.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "OrdersOf")]
pub struct GetOrders {
    /// Whose.
    pub account: AccountId,
    /// Whether those that ended are wanted too; there may be thousands.
    pub ended: bool,
}

/// The orders of one user that are in memory.
#[derive(Clone, Debug, Default)]
pub struct OrdersOf {
    /// The newest entry that they follow from; `None` while the book has no state.
    pub applied: Option<Sequence>,
    /// Live, newest first.
    pub live: Vec<OrderRecord>,
    /// Ended a short while ago, newest end first; none when they were not asked for.
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

/// Asks a book or its twin for every resting order; none while it has no state.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<FullBook>")]
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
