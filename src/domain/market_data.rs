//! What the public sees of a market: price levels, last trades, candles and statistics.
//!
//! A fold of the market's outcomes, and nothing else: the same outcomes give the same data.

use super::auction::{Clearing, clearing};
use super::candle::{GRANULARITIES, Series};
use super::event::{Change, Crossed, Done, Event, Fill, Opened};
use super::ids::TradeId;
use super::invariant::broken;
use super::market::Phase;
use super::money::{Price, Size};
use super::order::Side;
use super::time::{DAY, HOUR, MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How many of the newest trades are kept in memory.
pub const KEPT_TRADES: usize = 1_000;

/// How many candles of each of [`GRANULARITIES`] are kept in memory: enough for the latest 300 of
/// each, for a rolling day in minutes and for 30 days in hours.
const KEPT_CANDLES: [u32; 7] = [600, 1_500, 310, 310, 750, 310, 310];

/// One price level as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Level {
    /// Lots resting there; as many as 64 bits hold where there are more, which a [`Depth`] knows.
    pub size: Size,
    /// Orders resting there.
    pub orders: u32,
}

/// What rests at a price. In a market with fine steps the orders of a price may add up to more lots than 64 bits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Depth {
    /// Lots.
    pub lots: u128,
    /// Orders.
    pub orders: u32,
}

impl Depth {
    fn shown(self) -> Level {
        Level { size: Size(u64::try_from(self.lots).unwrap_or(u64::MAX)), orders: self.orders }
    }
}

/// A trade as the public sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Its number.
    pub id: TradeId,
    /// When.
    pub at: Timestamp,
    /// Ticks.
    pub price: Price,
    /// Lots.
    pub size: Size,
    /// The side of the resting order.
    pub maker_side: Side,
}

/// Statistics of the rolling day and 30 days before a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// The price when the day began: the last before it, or else the first in it.
    pub open: Price,
    /// The highest price of the day.
    pub high: Price,
    /// The lowest price of the day.
    pub low: Price,
    /// The last price ever.
    pub last: Price,
    /// Lots of the day.
    pub volume: u64,
    /// Lots of the 30 days.
    pub volume_30d: u64,
}

/// Everything the public may ask about one market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketData {
    bids: BTreeMap<Price, Depth>,
    asks: BTreeMap<Price, Depth>,
    trades: VecDeque<Trade>,
    series: Vec<Series>,
    feed_sequence: u64,
    phase: Phase,
    /// What an auction refers to.
    reference: Option<Price>,
}

impl Default for MarketData {
    fn default() -> MarketData {
        let series = GRANULARITIES.iter().zip(KEPT_CANDLES).map(|(width, kept)| Series::new(*width, kept)).collect();
        MarketData {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            trades: VecDeque::new(),
            series,
            feed_sequence: 0,
            phase: Phase::default(),
            reference: None,
        }
    }
}

impl MarketData {
    /// Folds one outcome in; `changed` hears of each level that has another size now, as it is shown.
    pub fn fold(&mut self, at: Timestamp, event: &Event, mut changed: impl FnMut(Side, Price, Size)) {
        self.feed_sequence += u64::from(event.is_public());
        match event {
            Event::Opened(Opened { side, price, remaining, .. }) => {
                changed(*side, *price, self.grow(*side, *price, *remaining));
            }
            Event::Filled(fill) => {
                changed(fill.maker_side, fill.price, self.shrink(fill.maker_side, fill.price, fill.size, false));
                self.count(at, fill);
            }
            Event::Crossed(Crossed { fill, maker_price }) => {
                changed(fill.maker_side, *maker_price, self.shrink(fill.maker_side, *maker_price, fill.size, false));
                self.count(at, fill);
            }
            Event::Phase(change) => (self.phase, self.reference) = (change.phase, change.reference),
            Event::Changed(Change { side, price: Some(price), new_price, old_size, new_size, rests: true, .. }) => {
                changed(*side, *price, self.shrink(*side, *price, *old_size, true));
                let price = new_price.unwrap_or(*price);
                changed(*side, price, self.grow(*side, price, *new_size));
            }
            Event::Done(Done { side, price: Some(price), remaining, rested: true, .. }) => {
                let size = self.shrink(*side, *price, *remaining, true);
                if !remaining.is_zero() {
                    changed(*side, *price, size);
                }
            }
            Event::Accepted(..)
            | Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::Changed(_)
            | Event::Triggered(_)
            | Event::Done(_)
            | Event::Configured(_)
            | Event::BatchRefused { .. } => {}
        }
    }

    fn side(&self, side: Side) -> &BTreeMap<Price, Depth> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Depth> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    fn grow(&mut self, side: Side, price: Price, size: Size) -> Size {
        let depth = self.side_mut(side).entry(price).or_default();
        // As many orders as there may be, of the greatest size, are far from 128 bits.
        depth.lots += u128::from(size.0);
        depth.orders += 1;
        depth.shown().size
    }

    fn shrink(&mut self, side: Side, price: Price, size: Size, one_order_less: bool) -> Size {
        let levels = self.side_mut(side);
        let Some(depth) = levels.get_mut(&price) else { broken("an order must rest on a level") };
        let Some(lots) = depth.lots.checked_sub(u128::from(size.0)) else { broken("a level below zero") };
        depth.lots = lots;
        depth.orders -= u32::from(one_order_less);
        let left = *depth;
        if left.orders == 0 {
            levels.remove(&price);
        }
        left.shown().size
    }

    fn count(&mut self, at: Timestamp, fill: &Fill) {
        if self.trades.len() >= KEPT_TRADES {
            self.trades.pop_front();
        }
        let (price, size) = (fill.price, fill.size);
        self.trades.push_back(Trade { id: fill.trade, at, price, size, maker_side: fill.maker_side });
        for series in &mut self.series {
            series.add(at, price, size);
        }
    }

    /// The levels of a side as they are shown, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = (Price, Level)> + '_ {
        self.depths(side).map(|(price, depth)| (price, depth.shown()))
    }

    /// What rests at each price of a side, best first.
    pub fn depths(&self, side: Side) -> Box<dyn Iterator<Item = (Price, Depth)> + '_> {
        let depths = self.side(side).iter().map(|(price, depth)| (*price, *depth));
        match side {
            Side::Buy => Box::new(depths.rev()),
            Side::Sell => Box::new(depths),
        }
    }

    /// What goes on in the market.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What the auction that goes on would do now, if one does and anything could trade.
    pub fn indication(&self) -> Option<Clearing> {
        let Phase::Auction { .. } = self.phase else { return None };
        let lots = |(price, depth): (Price, Depth)| (price, depth.lots);
        clearing(self.depths(Side::Buy).map(lots), self.depths(Side::Sell).map(lots), self.reference)
    }

    /// What rests at a price; nothing is a level of nothing.
    pub fn level(&self, side: Side, price: Price) -> Level {
        self.side(side).get(&price).copied().unwrap_or_default().shown()
    }

    /// The best level of a side.
    pub fn best(&self, side: Side) -> Option<(Price, Level)> {
        let best = match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        };
        best.map(|(price, depth)| (*price, depth.shown()))
    }

    /// The newest trades, newest first; at most [`KEPT_TRADES`].
    pub fn trades(&self) -> impl Iterator<Item = &Trade> {
        self.trades.iter().rev()
    }

    /// The newest trade.
    pub fn last_trade(&self) -> Option<&Trade> {
        self.trades.back()
    }

    /// The candles of a width in seconds, if it is one of [`GRANULARITIES`].
    pub fn series(&self, granularity: u32) -> Option<&Series> {
        self.series.iter().find(|series| series.granularity() == granularity)
    }

    /// The candles of all widths.
    pub fn all_series(&self) -> &[Series] {
        &self.series
    }

    /// The sequence of the newest public event folded in.
    pub fn feed_sequence(&self) -> u64 {
        self.feed_sequence
    }

    /// The statistics of the day and 30 days before `now`, to the minute and the hour.
    /// `None` before the first trade.
    pub fn stats(&self, now: Timestamp) -> Option<Stats> {
        let last = self.last_trade()?.price;
        let mut stats = Stats { open: last, high: last, low: last, last, volume: 0, volume_30d: 0 };
        let day = (now + -DAY).bucket(MINUTE);
        let mut inside = false;
        for candle in self.series(60)?.iter() {
            if candle.start < day {
                // The last price before the day is the one at which it began.
                stats.open = candle.close;
                break;
            }
            if !inside {
                (stats.high, stats.low) = (candle.high, candle.low);
                inside = true;
            }
            stats.high = stats.high.max(candle.high);
            stats.low = stats.low.min(candle.low);
            stats.open = candle.open;
            stats.volume = stats.volume.saturating_add(candle.volume.0);
        }
        let month = (now + -30 * DAY).bucket(HOUR);
        for candle in self.series(3_600)?.iter().take_while(|candle| candle.start >= month) {
            stats.volume_30d = stats.volume_30d.saturating_add(candle.volume.0);
        }
        Some(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{DoneReason, PhaseChange, PhaseReason};
    use crate::domain::ids::{AccountId, OrderId, Ticket};
    use crate::domain::money::Amount;
    use crate::domain::time::SECOND;

    fn fill(trade: u64, price: u64, size: u64) -> Event {
        Event::Filled(Fill {
            trade: TradeId(trade),
            maker: OrderId::default(),
            taker: OrderId::default(),
            maker_account: AccountId(2),
            taker_account: AccountId(3),
            maker_side: Side::Sell,
            price: Price(price),
            size: Size(size),
            base: Amount(0),
            quote: Amount(0),
            maker_fee: Amount(0),
            taker_fee: Amount(0),
        })
    }

    fn opened(price: u64, size: u64) -> Event {
        Event::Opened(Opened {
            id: OrderId::default(),
            account: AccountId(2),
            side: Side::Sell,
            price: Price(price),
            remaining: Size(size),
        })
    }

    fn done(price: u64, size: u64) -> Event {
        Event::Done(Done {
            id: OrderId::default(),
            ticket: Ticket(0),
            account: AccountId(2),
            side: Side::Sell,
            price: Some(Price(price)),
            remaining: Size(size),
            reason: DoneReason::Canceled,
            released: Amount(0),
            rested: true,
            slept: false,
        })
    }

    fn traded(at: &[(i64, u64, u64)]) -> MarketData {
        let mut data = MarketData::default();
        for (n, (seconds, price, size)) in at.iter().enumerate() {
            let at = Timestamp(seconds * SECOND);
            data.fold(at, &opened(*price, *size + 1), |_, _, _| {});
            data.fold(at, &fill(n as u64 + 1, *price, *size), |_, _, _| {});
        }
        data
    }

    #[test]
    fn the_day_rolls_and_begins_at_the_price_before_it() {
        let day = 86_400;
        let data = traded(&[(100, 50, 1), (day, 90, 2), (day + 60, 70, 3), (day + 3_600, 80, 4)]);
        let at = |seconds: i64| data.stats(Timestamp(seconds * SECOND)).unwrap();
        let all = at(day + 3_600);
        assert_eq!((all.open, all.high, all.low, all.last), (Price(50), Price(90), Price(70), Price(80)));
        assert_eq!((all.volume, all.volume_30d), (9, 10));
        let later = at(2 * day + 3_600);
        assert_eq!((later.open, later.high, later.low, later.volume), (Price(70), Price(80), Price(80), 4));
        let quiet = at(5 * day);
        assert_eq!((quiet.open, quiet.high, quiet.low, quiet.last), (Price(80), Price(80), Price(80), Price(80)));
        assert_eq!((quiet.volume, quiet.volume_30d), (0, 10));
        assert_eq!(at(40 * day).volume_30d, 0);
        assert_eq!(MarketData::default().stats(Timestamp(0)), None);
    }

    #[test]
    fn candles_hold_the_trades_of_their_bucket() {
        let data = traded(&[(59, 10, 1), (60, 20, 2), (61, 5, 3), (119, 7, 4), (300, 9, 5)]);
        let minutes: Vec<_> = data.series(60).unwrap().iter().copied().collect();
        assert_eq!(minutes.len(), 3);
        let second = minutes[1];
        assert_eq!(second.start, Timestamp(60 * SECOND));
        assert_eq!((second.open, second.high, second.low, second.close), (Price(20), Price(20), Price(5), Price(7)));
        assert_eq!((second.volume, second.trades), (Size(9), 3));
        assert!(data.series(61).is_none());
    }

    #[test]
    fn levels_follow_orders() {
        let mut data = MarketData::default();
        let mut seen = Vec::new();
        for event in [opened(10, 5), opened(10, 2), fill(1, 10, 3)] {
            data.fold(Timestamp(0), &event, |side, price, size| seen.push((side, price.0, size.0)));
        }
        assert_eq!(seen, [(Side::Sell, 10, 5), (Side::Sell, 10, 7), (Side::Sell, 10, 4)]);
        assert_eq!(data.best(Side::Sell), Some((Price(10), Level { size: Size(4), orders: 2 })));
        assert_eq!(data.feed_sequence(), 3);
    }

    /// As few orders as seven users may have. What is shown ends at what 64 bits hold; what is counted does not, so the level
    /// is what it was once they are gone.
    #[test]
    fn a_level_holds_more_than_64_bits() {
        const ORDERS: u32 = 1 << 16;
        let mut data = MarketData::default();
        let mut seen = Size::ZERO;
        let mut fold = |data: &mut MarketData, event: Event| data.fold(Timestamp(0), &event, |_, _, size| seen = size);
        fold(&mut data, opened(10, 7));
        for _ in 0..ORDERS {
            fold(&mut data, opened(10, Size::MAX.0));
        }
        let whole = u128::from(ORDERS) * u128::from(Size::MAX.0) + 7;
        assert_eq!(whole, (1 << 64) + 7);
        let depth = Depth { lots: whole, orders: ORDERS + 1 };
        assert_eq!(data.depths(Side::Sell).collect::<Vec<_>>(), [(Price(10), depth)]);
        let shown = Level { size: Size(u64::MAX), orders: ORDERS + 1 };
        assert_eq!(data.levels(Side::Sell).collect::<Vec<_>>(), [(Price(10), shown)]);
        assert_eq!((data.best(Side::Sell), data.level(Side::Sell, Price(10))), (Some((Price(10), shown)), shown));
        let stored = postcard::to_stdvec(&data).unwrap();
        assert_eq!(postcard::from_bytes::<MarketData>(&stored).unwrap(), data);

        // An auction counts all of it.
        let mut gathering = data.clone();
        let phase = Phase::Auction { ends_at: Timestamp(9) };
        let (ticket, reason) = (Ticket(0), PhaseReason::AuctionAsked);
        let change = PhaseChange { ticket, phase, reason, reference: None, price: None, volume: 0 };
        gathering.fold(Timestamp(0), &Event::Phase(change), |_, _, _| {});
        for _ in 0..=ORDERS {
            let Event::Opened(ask) = opened(10, Size::MAX.0) else { continue };
            gathering.fold(Timestamp(0), &Event::Opened(Opened { side: Side::Buy, ..ask }), |_, _, _| {});
        }
        assert_eq!(gathering.indication(), Some(Clearing { price: Price(10), volume: whole }));

        for _ in 0..ORDERS {
            fold(&mut data, done(10, Size::MAX.0));
        }
        assert_eq!(data.best(Side::Sell), Some((Price(10), Level { size: Size(7), orders: 1 })));
        fold(&mut data, done(10, 7));
        assert_eq!((data.best(Side::Sell), seen), (None, Size::ZERO));
    }

    /// Snapshots of before the sums had more than 64 bits are read as they are, and states have the hashes that they had.
    #[test]
    fn a_depth_is_stored_as_a_level_of_64_bits_was() {
        #[derive(Serialize)]
        struct Before {
            size: Size,
            orders: u32,
        }
        for (lots, orders) in [(0, 0), (1, 1), (300, 2), (u64::MAX, u32::MAX)] {
            let before = postcard::to_stdvec(&Before { size: Size(lots), orders }).unwrap();
            let now = postcard::to_stdvec(&Depth { lots: u128::from(lots), orders }).unwrap();
            assert_eq!(now, before, "{lots} lots");
        }
    }
}
