//! What a market order needs as the book is, as plainly as it can be said.

use crate::reference::{Market, ceil_share};
use agora::domain::money::Size;
use agora::domain::order::Side;

/// How many resting orders are looked at to tell what a market order needs, or whether an order can be filled whole.
pub const LOOKED_AT: usize = 1_000;

impl Market {
    /// What a market buy of this size would cost now, unless that is more than an order may, fees aside.
    pub fn cost_of(&self, size: u64, fee: u32) -> Option<i128> {
        let mut left = size;
        let (mut notional, mut fees) = (0, 0);
        for ask in self.rows(Side::Sell).into_iter().take(LOOKED_AT) {
            let part = left.min(ask.remaining);
            let quote = self.quote(ask.limit.unwrap(), part);
            notional += quote;
            fees += ceil_share(quote, fee);
            left -= part;
        }
        (notional <= self.config.max_funds.0).then_some(notional + fees)
    }

    /// The base that a market sell needs to bring in `funds`: lot by lot, and no part of a lot that would be too much.
    pub fn base_to_obtain(&self, funds: i128) -> i128 {
        let (mut left, mut lots) = (funds, 0);
        for maker in self.rows(Side::Buy).into_iter().take(LOOKED_AT) {
            let worth = self.quote(maker.limit.unwrap(), 1);
            let part = (left / worth).min(i128::from(maker.remaining));
            (left, lots) = (left - part * worth, lots + part);
            if part < i128::from(maker.remaining) {
                break;
            }
        }
        lots.clamp(1, i128::from(Size::MAX.0)) * self.scale.1
    }
}
