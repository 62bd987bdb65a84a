//! Names of things: small integers inside, text only at the edges.
//!
//! An [`OrderId`] carries the slot where its order lives in the book and the order's number, which
//! serves as the slot's generation: finding an order is one array access, and an id that outlived
//! its order can never name another one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A balance holder in the ledger. Dense, assigned from 0; the first two are the venue's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct AccountId(pub u32);

impl AccountId {
    /// The outside world: the counterpart of deposits and withdrawals. The only account whose
    /// balances may be negative.
    pub const OUTSIDE: AccountId = AccountId(0);
    /// The venue itself; trading fees are credited here.
    pub const HOUSE: AccountId = AccountId(1);
    /// The first account that belongs to a user.
    pub const FIRST_USER: AccountId = AccountId(2);
}

/// A currency, by its place in the venue's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct CurrencyId(pub u16);

/// A market, by its place in the venue's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct MarketId(pub u16);

/// Ties an entry to the admission that proposed it (its pending hold and its waiting caller).
/// Unique within one epoch of one node; 0 means that nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// The number of a trade within its market: 1, 2, 3, … without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TradeId(pub u64);

/// The place of an entry in its stream: 1, 2, 3, … without gaps. 0 is "before the first".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The next place in the stream.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

/// An order within its market: `number` counts accepted orders from 1, `slot` says where the book
/// keeps it while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct OrderId {
    /// Accepted orders of the market, counted from 1 (48 bits).
    pub number: u64,
    /// Index into the book's slab of orders.
    pub slot: u32,
}

/// A client's own id of an order, unique for each user for ever; a UUID as 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientOrderId(pub u128);

/// One ordered log. Its text form is the name that operators and brokers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StreamId {
    /// Balances and the venue's catalogue of currencies and markets.
    Ledger,
    /// Everything that happens in one market.
    Market(MarketId),
    /// One of the chat shards.
    Chat(u8),
}

impl StreamId {
    /// The stream as it stands in a batch header: kind in the upper, index in the lower half.
    pub fn code(self) -> u32 {
        match self {
            StreamId::Ledger => 0x0001_0000,
            StreamId::Market(MarketId(n)) => 0x0002_0000 | u32::from(n),
            StreamId::Chat(k) => 0x0003_0000 | u32::from(k),
        }
    }

    /// The stream with this code, if there is such a kind of stream.
    pub fn from_code(code: u32) -> Option<StreamId> {
        let index = (code & 0xffff) as u16;
        match (code >> 16, index) {
            (1, 0) => Some(StreamId::Ledger),
            (2, n) => Some(StreamId::Market(MarketId(n))),
            (3, k) => u8::try_from(k).ok().map(StreamId::Chat),
            _ => None,
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamId::Ledger => f.write_str("ledger"),
            StreamId::Market(MarketId(n)) => write!(f, "market.{n}"),
            StreamId::Chat(k) => write!(f, "chat.{k}"),
        }
    }
}

/// A fencing number. Entries of an older epoch that follow a newer epoch's marker count for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Grows with every take-over, whoever takes over.
    pub counter: u64,
    /// The node that took over; breaks ties.
    pub node: u16,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.counter, self.node)
    }
}
