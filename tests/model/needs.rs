//! What a market order needs as the book is, as plainly as it can be said.

use crate::reference::{Market, ceil_share};
use agora::domain::money::Size;
use agora::domain::order::Side;

/// How many resting orders are looked at to tell what a market order needs.
pub const LOOKED_AT: usize = 1_000;

impl Market {
    /// What a market buy of this size would cost now of those that are looked at, and of the others, as if they all had the
    /// price of the first of them. Nothing when the former is more than an order may cost, fees aside.
    pub fn cost_of(&self, size: u64, fee: u32) -> Option<(i128, i128)> {
        let asks = self.rows(Side::Sell);
        let mut left = size;
        let (mut notional, mut fees) = (0, 0);
        for ask in asks.iter().take(LOOKED_AT) {
            let part = left.min(ask.remaining);
            let quote = self.quote(ask.limit.unwrap(), part);
            notional += quote;
            fees += ceil_share(quote, fee);
            left -= part;
        }
        let further = asks.get(LOOKED_AT).map_or(0, |ask| self.quote(ask.limit.unwrap(), left));
        let further = further.min(self.config.max_funds.0 - notional);
        (notional <= self.config.max_funds.0).then(|| (notional + fees, further + ceil_share(further, fee)))
    }

    /// What a market buy of this size would cost at its stop price; nothing when that is more than an order may cost, fees
    /// aside.
    pub fn cost_at(&self, price: u64, size: u64, fee: u32) -> Option<i128> {
        let quote = self.quote(price, size);
        (quote <= self.config.max_funds.0).then(|| quote + ceil_share(quote, fee))
    }

    /// The base that a market sell needs to bring in `funds` at its stop price.
    pub fn base_to_obtain_at(&self, price: u64, funds: i128) -> i128 {
        (funds / self.quote(price, 1)).clamp(1, i128::from(Size::MAX.0)) * self.scale.1
    }

    /// The base that a market sell needs to bring in `funds`: lot by lot, and no part of a lot that would be too much; of
    /// those that are looked at, and of the others, as if they all had the price of the first of them.
    pub fn base_to_obtain(&self, funds: i128) -> (i128, i128) {
        let bids = self.rows(Side::Buy);
        let (mut left, mut lots) = (funds, 0);
        for maker in bids.iter().take(LOOKED_AT) {
            let worth = self.quote(maker.limit.unwrap(), 1);
            let part = (left / worth).min(i128::from(maker.remaining));
            (left, lots) = (left - part * worth, lots + part);
            if part < i128::from(maker.remaining) {
                return (lots.clamp(1, i128::from(Size::MAX.0)) * self.scale.1, 0);
            }
        }
        let further = bids.get(LOOKED_AT).map_or(0, |maker| left / self.quote(maker.limit.unwrap(), 1));
        (lots.clamp(1, i128::from(Size::MAX.0)) * self.scale.1, further * self.scale.1)
    }
}
