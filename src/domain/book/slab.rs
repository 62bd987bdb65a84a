//! Where live orders are kept: an array of slots with a stack of free ones.
//!
//! What matching touches for every order (64 bytes, one cache line) is kept apart from what fills
//! need (one more line) and from what few orders have and only questions need. A slot's `number` is
//! that of its order, 0 when it is free; an [`OrderId`] whose number differs names an order that is
//! gone. An order that enters is written into its slot field by field: building it elsewhere and
//! copying it would make the processor wait for its own stores.

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

/// What matching needs of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// One cache line: a record across two would cost two misses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
struct Line(Hot);

/// What a fill changes of an order, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Cold {
    pub executed: Amount,
    pub fees: Amount,
    pub size: Size,
    pub filled: Size,
    created_at: Timestamp,
    pub maker_fee: Ppm,
    pub taker_fee: Ppm,
}

/// What few orders have. Meaningless where the flags of [`Hot`] say that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rare {
    client_id: u128,
    funds: Amount,
    pub expires_at: Timestamp,
    stop_price: Price,
}

/// An order in full, as it moves between slab and matching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub slot: u32,
    pub hot: Hot,
    pub cold: Cold,
    pub rare: Rare,
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

/// Writes an order as it enters the book.
#[inline]
fn describe(number: u64, order: &NewOrder, at: Timestamp, hot: &mut Hot, cold: &mut Cold, rare: &mut Rare) {
    let mut flags = if order.side == Side::Sell { SELL } else { 0 };
    let (mut price, mut time_in_force) = (Price(0), 0);
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
                    rare.expires_at = at;
                }
                TimeInForce::ImmediateOrCancel => time_in_force = 2,
                TimeInForce::FillOrKill => time_in_force = 3,
            }
        }
        Kind::Market { funds } => {
            flags |= MARKET;
            if let Some(funds) = funds {
                flags |= HAS_FUNDS;
                rare.funds = funds;
            }
        }
    }
    let mut stop = 0;
    if let Some(Stop { trigger, price }) = order.stop {
        flags |= SLEEPING;
        stop = if trigger == Trigger::Loss { 1 } else { 2 };
        rare.stop_price = price;
    }
    if let Some(ClientOrderId(id)) = order.client_id {
        flags |= HAS_CLIENT_ID;
        rare.client_id = id;
    }
    hot.number = number;
    hot.price = price;
    hot.remaining = order.size;
    hot.hold = order.hold;
    hot.account = order.account;
    hot.prev = NIL;
    hot.next = NIL;
    hot.user_prev = NIL;
    hot.user_next = NIL;
    hot.flags = flags;
    hot.self_trade = match order.self_trade {
        SelfTrade::DecrementAndCancel => 0,
        SelfTrade::CancelOldest => 1,
        SelfTrade::CancelNewest => 2,
        SelfTrade::CancelBoth => 3,
    };
    hot.time_in_force = time_in_force;
    hot.stop = stop;
    cold.executed = Amount::ZERO;
    cold.fees = Amount::ZERO;
    cold.size = order.size;
    cold.filled = Size::ZERO;
    cold.created_at = at;
    cold.maker_fee = order.maker_fee;
    cold.taker_fee = order.taker_fee;
}

impl Live {
    /// The order as it enters the book, in a slot that is still free.
    pub fn new(number: u64, slot: u32, order: &NewOrder, at: Timestamp) -> Live {
        let mut live = Live { slot, hot: Hot::default(), cold: Cold::default(), rare: Rare::default() };
        describe(number, order, at, &mut live.hot, &mut live.cold, &mut live.rare);
        live
    }

    pub fn id(&self) -> OrderId {
        OrderId { number: self.hot.number, slot: self.slot }
    }

    /// The most that a market sell may bring in, without fees, if that bounds it.
    pub fn obtainable(&self) -> Option<Amount> {
        let bounded = self.hot.flags & (MARKET | SELL | HAS_FUNDS) == MARKET | SELL | HAS_FUNDS;
        bounded.then_some(self.rare.funds)
    }

    /// Whether it is bounded by a size; a market order may be bounded by its funds alone.
    pub fn is_sized(&self) -> bool {
        !self.cold.size.is_zero()
    }

    pub fn stop(&self) -> Option<Stop> {
        match self.hot.stop {
            0 => None,
            1 => Some(Stop { trigger: Trigger::Loss, price: self.rare.stop_price }),
            _ => Some(Stop { trigger: Trigger::Entry, price: self.rare.stop_price }),
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
            Kind::Market { funds: if self.hot.flags & HAS_FUNDS != 0 { Some(self.rare.funds) } else { None } }
        } else {
            Kind::Limit {
                price: self.hot.price,
                time_in_force: match self.hot.time_in_force {
                    0 => TimeInForce::GoodTillCanceled,
                    1 => TimeInForce::GoodTillTime(self.rare.expires_at),
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
            client_id: if has_client_id { Some(ClientOrderId(self.rare.client_id)) } else { None },
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Slab {
    hot: Vec<Line>,
    cold: Vec<Cold>,
    rare: Vec<Rare>,
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

    /// One more slot than there ever were.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.hot.push(Line::default());
        self.cold.push(Cold::default());
        self.rare.push(Rare::default());
    }

    /// Takes the slot that [`Slab::vacant`] named.
    #[inline]
    fn occupy(&mut self, slot: u32) -> (&mut Hot, &mut Cold, &mut Rare) {
        if slot as usize == self.hot.len() && slot != NIL {
            self.grow();
        } else if self.free.pop() != Some(slot) {
            broken("an order must enter the vacant slot");
        }
        let at = slot as usize;
        match (self.hot.get_mut(at), self.cold.get_mut(at), self.rare.get_mut(at)) {
            (Some(Line(hot)), Some(cold), Some(rare)) => (hot, cold, rare),
            _ => broken("a slot must have all its parts"),
        }
    }

    /// Writes a new order into the vacant slot.
    #[inline]
    pub fn enter(&mut self, slot: u32, number: u64, order: &NewOrder, at: Timestamp) {
        let (hot, cold, rare) = self.occupy(slot);
        describe(number, order, at, hot, cold, rare);
    }

    /// Puts an order that has met the book already into the vacant slot.
    pub fn insert(&mut self, live: &Live) {
        let (hot, cold, rare) = self.occupy(live.slot);
        (*hot, *cold, *rare) = (live.hot, live.cold, live.rare);
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
    #[inline]
    pub fn remove(&mut self, slot: u32) {
        // The slot is used again soon, and then its second line is at hand.
        let size = self.cold_mut(slot).size;
        let hot = self.hot(slot);
        if hot.remaining > size {
            broken("more is left of an order than was asked for");
        }
        hot.number = 0;
        self.free.push(slot);
    }

    #[inline]
    pub fn hot(&mut self, slot: u32) -> &mut Hot {
        match self.hot.get_mut(slot as usize) {
            Some(Line(hot)) => hot,
            None => broken("a link must lead to a slot"),
        }
    }

    #[inline]
    pub fn peek(&self, slot: u32) -> &Hot {
        match self.hot.get(slot as usize) {
            Some(Line(hot)) => hot,
            None => broken("a link must lead to a slot"),
        }
    }

    /// Both parts of a slot that matching touches, if there is such a slot: the first, and of the
    /// second the size.
    #[inline]
    pub fn look(&self, slot: u32) -> Option<(&Hot, Size)> {
        let Line(hot) = self.hot.get(slot as usize)?;
        Some((hot, self.cold.get(slot as usize)?.size))
    }

    #[inline]
    pub fn cold_mut(&mut self, slot: u32) -> &mut Cold {
        match self.cold.get_mut(slot as usize) {
            Some(cold) => cold,
            None => broken("a link must lead to a slot"),
        }
    }

    /// When the order in this slot expires, if it does.
    pub fn expires_at(&self, slot: u32) -> Option<Timestamp> {
        if !self.peek(slot).expires() {
            return None;
        }
        self.rare.get(slot as usize).map(|rare| rare.expires_at)
    }

    /// The order in this slot, copied out.
    pub fn live(&self, slot: u32) -> Live {
        let at = slot as usize;
        match (self.cold.get(at), self.rare.get(at)) {
            (Some(cold), Some(rare)) => Live { slot, hot: *self.peek(slot), cold: *cold, rare: *rare },
            _ => broken("a link must lead to a slot"),
        }
    }

    /// The slot of this order while it lives.
    #[inline]
    pub fn find(&self, id: OrderId) -> Option<&Hot> {
        let Line(hot) = self.hot.get(id.slot as usize)?;
        if hot.number == id.number && id.number != 0 { Some(hot) } else { None }
    }

    /// How many orders live.
    pub fn len(&self) -> usize {
        self.hot.len() - self.free.len()
    }

    /// The slots of all live orders, in slot order.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.hot.iter().enumerate().filter(|(_, Line(hot))| hot.number != 0).map(|(slot, _)| slot as u32)
    }

    /// Bytes kept for each slot.
    pub const BYTES_PER_ORDER: usize = size_of::<Line>() + size_of::<Cold>() + size_of::<Rare>();
}

/// A slot's second part as snapshots hold it.
#[derive(Default, Serialize, Deserialize)]
struct ColdImage {
    executed: Amount,
    fees: Amount,
    client_id: u128,
    funds: Amount,
    size: Size,
    filled: Size,
    created_at: Timestamp,
    expires_at: Timestamp,
    stop_price: Price,
    maker_fee: Ppm,
    taker_fee: Ppm,
}

/// The slots as snapshots hold them: a free one is all zero, whatever was in it before.
#[derive(Serialize, Deserialize)]
struct Image {
    hot: Vec<Hot>,
    cold: Vec<ColdImage>,
    free: Vec<u32>,
}

impl Serialize for Slab {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut image = Image {
            hot: Vec::with_capacity(self.hot.len()),
            cold: Vec::with_capacity(self.hot.len()),
            free: self.free.clone(),
        };
        for slot in 0..self.hot.len() as u32 {
            if self.peek(slot).number == 0 {
                image.hot.push(Hot::default());
                image.cold.push(ColdImage::default());
                continue;
            }
            let live = self.live(slot);
            let (Live { hot, cold, rare, .. }, stop) = (live, live.stop());
            image.hot.push(hot);
            image.cold.push(ColdImage {
                executed: cold.executed,
                fees: cold.fees,
                client_id: if hot.flags & HAS_CLIENT_ID != 0 { rare.client_id } else { 0 },
                funds: if hot.flags & HAS_FUNDS != 0 { rare.funds } else { Amount::ZERO },
                size: cold.size,
                filled: cold.filled,
                created_at: cold.created_at,
                expires_at: if hot.expires() { rare.expires_at } else { Timestamp::ZERO },
                stop_price: stop.map_or(Price(0), |stop| stop.price),
                maker_fee: cold.maker_fee,
                taker_fee: cold.taker_fee,
            });
        }
        image.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Slab {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Slab, D::Error> {
        let Image { hot, cold, free } = Image::deserialize(deserializer)?;
        if hot.len() != cold.len() {
            return Err(serde::de::Error::custom("slots without all their parts"));
        }
        let (cold, rare) = cold
            .into_iter()
            .map(|image| {
                let ColdImage { executed, fees, size, filled, created_at, maker_fee, taker_fee, .. } = image;
                let ColdImage { client_id, funds, expires_at, stop_price, .. } = image;
                let cold = Cold { executed, fees, size, filled, created_at, maker_fee, taker_fee };
                (cold, Rare { client_id, funds, expires_at, stop_price })
            })
            .unzip();
        Ok(Slab { hot: hot.into_iter().map(Line).collect(), cold, rare, free })
    }
}
