//! The price of a call auction.
//!
//! Of all limit prices it is the one at which the most can trade; then the one that leaves the least over; then the one
//! nearest to the reference; then the lowest. Once all that can has traded there, nothing crosses any more: a bid and an
//! ask that still did would both trade at the ask's price, beside all that has traded, and so more than the most.

use super::money::Price;
use std::cmp::Reverse;

/// What an auction would do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clearing {
    /// The one price of all its trades.
    pub price: Price,
    /// Lots that would trade.
    pub volume: u128,
}

/// How good a price is, the better the smaller: what trades, what is left over, how far it is from the reference.
type Rank = (Reverse<u128>, u128, u64);

#[cfg(test)]
thread_local! {
    /// How often a price was looked for, so that tests can bound it.
    pub(crate) static CLEARINGS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// The clearing price of these levels (price, lots), best first; `None` when nothing can trade. Lots are `u64` order by
/// order, `u128` where they are sums.
pub fn clearing<L: Copy + Into<u128>>(
    bids: impl Iterator<Item = (Price, L)>,
    asks: impl Iterator<Item = (Price, L)>,
    reference: Option<Price>,
) -> Option<Clearing> {
    #[cfg(test)]
    CLEARINGS.set(CLEARINGS.get() + 1);
    let (mut bids, mut asks) = (bids.peekable(), asks.peekable());
    let (highest, lowest) = (bids.peek()?.0, asks.peek()?.0);
    if highest < lowest {
        return None;
    }
    // Only what crosses can trade, and only at a price between.
    let bids: Vec<(Price, L)> = bids.take_while(|(price, _)| *price >= lowest).collect();
    let asks: Vec<(Price, L)> = asks.take_while(|(price, _)| *price <= highest).collect();
    let mut prices: Vec<Price> = bids.iter().chain(&asks).map(|(price, _)| *price).collect();
    prices.sort_unstable();
    prices.dedup();
    let mut demand: u128 = bids.iter().map(|(_, size)| -> u128 { (*size).into() }).sum();
    let mut supply = 0u128;
    let (mut rising_bids, mut rising_asks) = (bids.iter().rev().peekable(), asks.iter().peekable());
    let mut best: Option<(Rank, Price)> = None;
    for price in prices {
        while let Some((_, size)) = rising_bids.next_if(|(bid, _)| *bid < price) {
            let lots: u128 = (*size).into();
            demand -= lots;
        }
        while let Some((_, size)) = rising_asks.next_if(|(ask, _)| *ask <= price) {
            let lots: u128 = (*size).into();
            supply += lots;
        }
        let distance = reference.map_or(0, |reference| reference.0.abs_diff(price.0));
        let rank = (Reverse(demand.min(supply)), demand.abs_diff(supply), distance);
        if best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, price));
        }
    }
    best.map(|((Reverse(volume), ..), price)| Clearing { price, volume })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bids: &[(u64, u64)], asks: &[(u64, u64)], reference: Option<u64>) -> Option<(u64, u128)> {
        let levels = |levels: &[(u64, u64)]| levels.iter().map(|(p, s)| (Price(*p), *s)).collect::<Vec<_>>();
        let found = clearing(levels(bids).into_iter(), levels(asks).into_iter(), reference.map(Price));
        found.map(|clearing| (clearing.price.0, clearing.volume))
    }

    #[test]
    fn the_most_trades_then_the_least_is_left_then_the_nearest_then_the_lowest() {
        assert_eq!(at(&[(99, 5)], &[(100, 5)], None), None);
        assert_eq!(at(&[], &[(100, 5)], None), None);
        // 10 trade at 101 and 102, 5 at 103.
        assert_eq!(at(&[(103, 5), (102, 5)], &[(101, 10)], None), Some((101, 10)));
        assert_eq!(at(&[(103, 5), (102, 5)], &[(101, 10)], Some(200)), Some((102, 10)));
        // As many trade at 100 and at 101; at 100 two are left over, at 101 one.
        assert_eq!(at(&[(101, 6), (100, 1)], &[(100, 5)], Some(100)), Some((101, 5)));
        assert_eq!(at(&[(105, 10)], &[(95, 10)], Some(100)), Some((95, 10)));
        assert_eq!(at(&[(105, 10)], &[(95, 10)], Some(101)), Some((105, 10)));
    }
}
