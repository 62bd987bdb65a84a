//! Candles: open, high, low, close and volume of the trades in buckets of equal width.

use super::money::{Price, Size};
use super::time::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The widths that are kept, in seconds.
pub const GRANULARITIES: [u32; 7] = [1, 60, 300, 900, 3_600, 21_600, 86_400];

/// The trades of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candle {
    /// When the bucket begins, aligned to the Unix epoch.
    pub start: Timestamp,
    /// The first price.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last price.
    pub close: Price,
    /// Lots traded.
    pub volume: Size,
    /// How many trades.
    pub trades: u32,
}

impl Candle {
    fn first(start: Timestamp, price: Price, size: Size) -> Candle {
        Candle { start, open: price, high: price, low: price, close: price, volume: size, trades: 1 }
    }

    fn add(&mut self, price: Price, size: Size) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        // A statistic: saturating is better than stopping a market.
        self.volume = Size(self.volume.0.saturating_add(size.0));
        self.trades = self.trades.saturating_add(1);
    }
}

/// The newest candles of one width, oldest first. Buckets without trades are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    granularity: u32,
    kept: u32,
    candles: VecDeque<Candle>,
}

impl Series {
    /// No candles yet; at most `kept` will be.
    pub fn new(granularity: u32, kept: u32) -> Series {
        Series { granularity, kept, candles: VecDeque::new() }
    }

    /// The width in seconds.
    pub fn granularity(&self) -> u32 {
        self.granularity
    }

    /// Counts a trade. Log time never runs backwards, so it belongs to the newest bucket or a new one.
    pub fn add(&mut self, at: Timestamp, price: Price, size: Size) {
        let start = at.bucket(i64::from(self.granularity) * SECOND);
        match self.candles.back_mut() {
            Some(newest) if newest.start >= start => newest.add(price, size),
            _ => {
                if self.candles.len() >= self.kept as usize {
                    self.candles.pop_front();
                }
                self.candles.push_back(Candle::first(start, price, size));
            }
        }
    }

    /// The newest candle.
    pub fn newest(&self) -> Option<&Candle> {
        self.candles.back()
    }

    /// The candles, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Candle> {
        self.candles.iter().rev()
    }

    /// The moment from which on every trade is in the series: `None` when nothing was dropped yet.
    pub fn complete_since(&self) -> Option<Timestamp> {
        if self.candles.len() >= self.kept as usize { self.candles.front().map(|candle| candle.start) } else { None }
    }
}

/// Candles of a greater width (µs) from those of a smaller one, both newest first.
pub fn widened(newest_first: &[Candle], width: i64) -> Vec<Candle> {
    let mut wide: Vec<Candle> = Vec::new();
    for candle in newest_first {
        let start = candle.start.bucket(width);
        match wide.last_mut() {
            // An earlier part of the bucket that is being made.
            Some(later) if later.start == start => {
                later.open = candle.open;
                later.high = later.high.max(candle.high);
                later.low = later.low.min(candle.low);
                later.volume = Size(later.volume.0.saturating_add(candle.volume.0));
                later.trades = later.trades.saturating_add(candle.trades);
            }
            _ => wide.push(Candle { start, ..*candle }),
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_candles_hold_the_narrower_ones() {
        let trades = [(0, 10, 1), (59, 12, 2), (61, 9, 3), (125, 20, 4), (130, 11, 5), (400, 7, 6)];
        let (mut narrow, mut wide) = (Series::new(60, 100), Series::new(120, 100));
        for (seconds, price, size) in trades {
            for series in [&mut narrow, &mut wide] {
                series.add(Timestamp(seconds * SECOND), Price(price), Size(size));
            }
        }
        let narrow: Vec<Candle> = narrow.iter().copied().collect();
        let wide: Vec<Candle> = wide.iter().copied().collect();
        assert_eq!(widened(&narrow, 120 * SECOND), wide);
        assert_eq!(widened(&[], 120 * SECOND), []);
    }
}
