//! What a new venue lists: its first currencies and markets.

use crate::domain::ids::{CurrencyId, MarketId};
use crate::domain::market::{Currency, MarketConfig, MarketState, Step};
use crate::domain::money::{Amount, MAX_AMOUNT, Ppm, Price, Size};

/// The currencies that a new venue lists.
pub fn currencies() -> Vec<Currency> {
    let list = [("BTC", "Bitcoin"), ("ETH", "Ether"), ("USDT", "Tether USD")];
    let currency = |(index, (code, name)): (usize, (&str, &str))| Currency {
        id: CurrencyId(index as u16),
        code: code.into(),
        name: name.into(),
        decimals: 8,
        fiat: false,
    };
    list.into_iter().enumerate().map(currency).collect()
}

/// The markets that a new venue lists.
pub fn markets() -> Vec<MarketConfig> {
    let market =
        |index: u16, symbol: &str, base: u16, quote: u16, tick: u8, lot: u8, min_size: u64, min_funds: i128| {
            MarketConfig {
                id: MarketId(index),
                symbol: symbol.into(),
                base: CurrencyId(base),
                quote: CurrencyId(quote),
                tick: Step { units: 1, decimals: tick },
                lot: Step { units: 1, decimals: lot },
                maker_fee: Ppm(1_000),
                taker_fee: Ppm(2_000),
                min_size: Size(min_size),
                max_size: Size(10u64.pow(u32::from(lot)) * 10_000),
                min_funds: Amount(min_funds),
                max_funds: Amount(MAX_AMOUNT.0.min(10i128.pow(8) * 1_000_000_000)),
                band: Ppm(0),
                reference_price: Price(0),
                max_open_orders: 10_000,
                state: MarketState::Online,
                safety: Default::default(),
            }
        };
    vec![
        market(0, "BTC-USDT", 0, 2, 2, 6, 100, 100_000_000),
        market(1, "ETH-USDT", 1, 2, 2, 4, 10, 100_000_000),
        // A tick of 0.00001 BTC × a lot of 0.001 ETH is one whole satoshi.
        market(2, "ETH-BTC", 1, 0, 5, 3, 1, 1_000),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_markets_are_valid() {
        let currencies = currencies();
        for currency in &currencies {
            assert_eq!(currency.validate(), Ok(()));
        }
        for market in markets() {
            let of = |id: CurrencyId| &currencies[usize::from(id.0)];
            assert!(market.validate(of(market.base), of(market.quote)).is_ok(), "{}", market.symbol);
        }
    }
}
