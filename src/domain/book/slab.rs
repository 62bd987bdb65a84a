//! Where live orders are kept: an array of slots with a stack of free ones.
//!
//! What matching touches for every order (64 bytes, one cache line) is kept apart from what only
//! fills and questions need. A slot's `number` is that of its order, 0 when it is free; an
//! [`OrderId`] whose number differs names an order that is gone.

use crate::domain::event::Opened;
use crate::domain::ids::{AccountId, ClientOrderId, OrderId};
use crate::domain::invariant::broken;
use crate::domain::money::{Amount, Ppm, Price, Size};
use crate::domain::order::{Kind, NewOrder, OrderRecord, SelfTrade, Side, Status, Stop, TimeInForce, Trigger};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// No slot.
pub(crate) const NIL: u32 = u32::MAX;

const SELL: u8 = 1;
const MARKET: u8 = 1 << 1;
const POST_ONLY: u8 = 1 << 2;
const SLEEPING: u8 = 1 << 3;
const HAS_CLIENT_ID: u8 = 1 << 4;
const HAS_FUNDS: u8 = 1 << 5;

/// What matching needs of an order. Aligned, since a record across two cache lines costs two misses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(align(64))]
pub(crate) struct Hot {
    pub number: u64,
    /// Zero for market orders.
    pub price: Price,
    pub remaining: Size,
    pub hold: Amount,
    pub account: AccountId,
    /// Neighbours in the level's queue.
    pub prev: u32,
    pub next: u32,
    /// Neighbours in the list of the user's live orders.
    pub user_prev: u32,
    pub user_next: u32,
    flags: u8,
    self_trade: u8,
    time_in_force: u8,
    stop: u8,
}

/// The rest of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cold {
    pub executed: Amount,
    pub fees: Amount,
    client_id: u128,
    funds: Amount,
    pub size: Size,
    pub filled: Size,
    created_at: Timestamp,
    pub expires_at: Timestamp,
    stop_price: Price,
    pub maker_fee: Ppm,
    pub taker_fee: Ppm,
}

/// An order in full, as it moves between slab and matching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub slot: u32,
    pub hot: Hot,
    pub cold: Cold,
}

impl Hot {
    pub fn side(&self) -> Side {
        if self.flags & SELL == 0 { Side::Buy } else { Side::Sell }
    }

    pub fn is_market(&self) -> bool {
        self.flags & MARKET != 0
    }

    /// Whether it is a stop that has not woken.
    pub fn is_sleeping(&self) -> bool {
        self.flags & SLEEPING != 0
    }

    pub fn wake(&mut self) {
        self.flags &= !SLEEPING;
    }

    pub fn limit(&self) -> Option<Price> {
        if self.is_market() { None } else { Some(self.price) }
    }

    pub fn is_immediate(&self) -> bool {
        self.time_in_force >= 2 || self.is_market()
    }

    pub fn is_fill_or_kill(&self) -> bool {
        self.time_in_force == 3
    }

    pub fn expires(&self) -> bool {
        self.time_in_force == 1
    }

    pub fn is_post_only(&self) -> bool {
        self.flags & POST_ONLY != 0
    }

    pub fn self_trade(&self) -> SelfTrade {
        match self.self_trade {
            0 => SelfTrade::DecrementAndCancel,
            1 => SelfTrade::CancelOldest,
            2 => SelfTrade::CancelNewest,
            _ => SelfTrade::CancelBoth,
        }
    }
}

impl Live {
    /// The order as it enters the book, in a slot that is still free.
    pub fn new(number: u64, slot: u32, order: &NewOrder, at: Timestamp) -> Live {
        let mut flags = if order.side == Side::Sell { SELL } else { 0 };
        let (mut price, mut funds, mut expires_at, mut time_in_force) = (Price(0), Amount::ZERO, Timestamp::ZERO, 0);
        match order.kind {
            Kind::Limit { price: limit, time_in_force: tif, post_only } => {
                price = limit;
                if post_only {
                    flags |= POST_ONLY;
                }
                match tif {
                    TimeInForce::GoodTillCanceled => {}
                    TimeInForce::GoodTillTime(at) => {
                        time_in_force = 1;
                        expires_at = at;
                    }
                    TimeInForce::ImmediateOrCancel => time_in_force = 2,
                    TimeInForce::FillOrKill => time_in_force = 3,
                }
            }
            Kind::Market { funds: limit } => {
                flags |= MARKET;
                if let Some(limit) = limit {
                    flags |= HAS_FUNDS;
                    funds = limit;
                }
            }
        }
        let (mut stop, mut stop_price) = (0, Price(0));
        if let Some(Stop { trigger, price }) = order.stop {
            flags |= SLEEPING;
            stop = if trigger == Trigger::Loss { 1 } else { 2 };
            stop_price = price;
        }
        if order.client_id.is_some() {
            flags |= HAS_CLIENT_ID;
        }
        let self_trade = match order.self_trade {
            SelfTrade::DecrementAndCancel => 0,
            SelfTrade::CancelOldest => 1,
            SelfTrade::CancelNewest => 2,
            SelfTrade::CancelBoth => 3,
        };
        Live {
            slot,
            hot: Hot {
                number,
                price,
                remaining: order.size,
                hold: order.hold,
                account: order.account,
                prev: NIL,
                next: NIL,
                user_prev: NIL,
                user_next: NIL,
                flags,
                self_trade,
                time_in_force,
                stop,
            },
            cold: Cold {
                executed: Amount::ZERO,
                fees: Amount::ZERO,
                client_id: order.client_id.map_or(0, |ClientOrderId(id)| id),
                funds,
                size: order.size,
                filled: Size::ZERO,
                created_at: at,
                expires_at,
                stop_price,
                maker_fee: order.maker_fee,
                taker_fee: order.taker_fee,
            },
        }
    }

    pub fn id(&self) -> OrderId {
        OrderId { number: self.hot.number, slot: self.slot }
    }

    /// Whether it is bounded by a size; a market buy may be bounded by its funds alone.
    pub fn is_sized(&self) -> bool {
        !self.cold.size.is_zero()
    }

    pub fn stop(&self) -> Option<Stop> {
        match self.hot.stop {
            0 => None,
            1 => Some(Stop { trigger: Trigger::Loss, price: self.cold.stop_price }),
            _ => Some(Stop { trigger: Trigger::Entry, price: self.cold.stop_price }),
        }
    }

    pub fn opened(&self) -> Opened {
        Opened {
            id: self.id(),
            account: self.hot.account,
            side: self.hot.side(),
            price: self.hot.price,
            remaining: self.hot.remaining,
        }
    }

    /// Everything that is known of it.
    pub fn record(&self) -> OrderRecord {
        let kind = if self.hot.is_market() {
            Kind::Market { funds: if self.hot.flags & HAS_FUNDS != 0 { Some(self.cold.funds) } else { None } }
        } else {
            Kind::Limit {
                price: self.hot.price,
                time_in_force: match self.hot.time_in_force {
                    0 => TimeInForce::GoodTillCanceled,
                    1 => TimeInForce::GoodTillTime(self.cold.expires_at),
                    2 => TimeInForce::ImmediateOrCancel,
                    _ => TimeInForce::FillOrKill,
                },
                post_only: self.hot.is_post_only(),
            }
        };
        let has_client_id = self.hot.flags & HAS_CLIENT_ID != 0;
        OrderRecord {
            id: self.id(),
            account: self.hot.account,
            client_id: if has_client_id { Some(ClientOrderId(self.cold.client_id)) } else { None },
            side: self.hot.side(),
            kind,
            size: self.cold.size,
            stop: self.stop(),
            self_trade: self.hot.self_trade(),
            created_at: self.cold.created_at,
            remaining: self.hot.remaining,
            filled: self.cold.filled,
            executed: self.cold.executed,
            fees: self.cold.fees,
            hold: self.hot.hold,
            status: if self.hot.is_sleeping() { Status::Active } else { Status::Open },
        }
    }
}

/// The slots. Freed ones are used again last in, first out, so that every node that applies the
/// same entries gives the same slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slab {
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    free: Vec<u32>,
}

impl Slab {
    /// The slot that the next order gets.
    pub fn vacant(&self) -> u32 {
        match self.free.last() {
            Some(slot) => *slot,
            None => self.hot.len() as u32,
        }
    }

    /// Puts an order into the slot that [`Slab::vacant`] named.
    pub fn insert(&mut self, live: &Live) {
        if live.slot as usize == self.hot.len() && live.slot != NIL {
            self.hot.push(live.hot);
            self.cold.push(live.cold);
            return;
        }
        if self.free.pop() != Some(live.slot) {
            broken("an order must enter the vacant slot");
        }
        *self.hot(live.slot) = live.hot;
        *self.cold_mut(live.slot) = live.cold;
    }

    /// Keeps `promised` the vacant slot after another one was freed on top of it.
    pub fn keep_vacant(&mut self, promised: u32) {
        // A slot beyond the end is vacant whatever the stack of free ones holds.
        if (promised as usize) < self.hot.len() {
            let top = self.free.len();
            if top >= 2 {
                self.free.swap(top - 1, top - 2);
            }
        }
    }

    /// Frees the slot; whoever calls has taken the order out of every list.
    pub fn remove(&mut self, slot: u32) {
        self.hot(slot).number = 0;
        self.free.push(slot);
    }

    #[inline]
    pub fn hot(&mut self, slot: u32) -> &mut Hot {
        match self.hot.get_mut(slot as usize) {
            Some(hot) => hot,
            None => broken("a link must lead to a slot"),
        }
    }

    #[inline]
    pub fn peek(&self, slot: u32) -> &Hot {
        match self.hot.get(slot as usize) {
            Some(hot) => hot,
            None => broken("a link must lead to a slot"),
        }
    }

    #[inline]
    pub fn cold_mut(&mut self, slot: u32) -> &mut Cold {
        match self.cold.get_mut(slot as usize) {
            Some(cold) => cold,
            None => broken("a link must lead to a slot"),
        }
    }

    /// The order in this slot, copied out.
    pub fn live(&self, slot: u32) -> Live {
        match self.cold.get(slot as usize) {
            Some(cold) => Live { slot, hot: *self.peek(slot), cold: *cold },
            None => broken("a link must lead to a slot"),
        }
    }

    /// The slot of this order while it lives.
    pub fn find(&self, id: OrderId) -> Option<&Hot> {
        self.hot.get(id.slot as usize).filter(|hot| hot.number == id.number && id.number != 0)
    }

    /// How many orders live.
    pub fn len(&self) -> usize {
        self.hot.len() - self.free.len()
    }

    /// The slots of all live orders, in slot order.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.hot.iter().enumerate().filter(|(_, hot)| hot.number != 0).map(|(slot, _)| slot as u32)
    }

    /// Bytes kept for each slot.
    pub const BYTES_PER_ORDER: usize = size_of::<Hot>() + size_of::<Cold>();
}
