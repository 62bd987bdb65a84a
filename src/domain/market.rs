//! Currencies and markets: what may be traded, in which steps, at which fees.
//!
//! A market is valid only if tick × lot is a whole number of quote atoms, so that every fill has an
//! exact quote amount.

use super::ids::{CurrencyId, MarketId};
use super::money::{Amount, MAX_AMOUNT, MAX_UNITS, Ppm, Price, Size};
use super::order::Side;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Something that can be held: its smallest unit is the atom, 10^-`decimals` of a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency {
    /// Its place in the venue's list.
    pub id: CurrencyId,
    /// 2 to 10 upper-case letters and digits: `BTC`.
    pub code: String,
    /// For people: `Bitcoin`.
    pub name: String,
    /// Decimals of an atom, at most 18.
    pub decimals: u8,
    /// Whether it is money of a state (shown with two decimals) rather than a crypto currency.
    pub fiat: bool,
}

/// Which orders a market takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MarketState {
    /// All.
    #[default]
    Online,
    /// Only orders that cannot take.
    PostOnly,
    /// No market orders.
    LimitOnly,
    /// No new orders; open ones may be canceled.
    CancelOnly,
    /// Neither new orders nor cancels by users.
    Halted,
}

/// What goes on in a market, beside what its rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Orders that meet trade at once.
    #[default]
    Trading,
    /// A call auction: limit orders gather, the book may be crossed, nothing trades until the end.
    Auction {
        /// When all that can trade does so, at one price.
        ends_at: Timestamp,
    },
    /// The kill switch is engaged: there are no orders and none is taken.
    Killed,
}

/// When a market halts by itself, and how long it gathers orders then. All zero: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Safety {
    /// How far a trade may lie from the reference price. A trade beyond it does not happen; a call auction begins.
    pub halt: Ppm,
    /// The newest trade price becomes the reference when the one before is so many milliseconds old.
    pub window_ms: u32,
    /// How long the auction lasts, in milliseconds.
    pub auction_ms: u32,
}

impl Safety {
    /// The longest auction and window: a day.
    pub const LONGEST_MS: u32 = 86_400_000;

    fn is_sound(self) -> bool {
        let times = [self.window_ms, self.auction_ms];
        self == Safety::default()
            || ((1..1_000_000).contains(&self.halt.0) && times.iter().all(|ms| (1..=Self::LONGEST_MS).contains(ms)))
    }
}

/// A step as a decimal: `units` × 10^-`decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How many of the last decimal; at least 1.
    pub units: u64,
    /// How many decimals.
    pub decimals: u8,
}

/// A market's rules. Changes come as entries of the market's own stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketConfig {
    /// Its place in the venue's list.
    pub id: MarketId,
    /// `BASE-QUOTE`, exactly one dash.
    pub symbol: String,
    /// What is traded.
    pub base: CurrencyId,
    /// What it is paid with; fees are charged in it.
    pub quote: CurrencyId,
    /// The price step, in whole units of quote per whole unit of base.
    pub tick: Step,
    /// The size step, in whole units of base.
    pub lot: Step,
    /// Fee of the resting side.
    pub maker_fee: Ppm,
    /// Fee of the incoming side.
    pub taker_fee: Ppm,
    /// The least size of an order, in lots.
    pub min_size: Size,
    /// The greatest size of an order, in lots.
    pub max_size: Size,
    /// The least price × size of an order, in quote atoms.
    pub min_funds: Amount,
    /// The greatest price × size of an order, in quote atoms.
    pub max_funds: Amount,
    /// How far a limit price may lie from the reference price; 0 means no band.
    pub band: Ppm,
    /// The reference price of the band until there is a trade; 0 means none.
    pub reference_price: Price,
    /// How many live orders one user may have here; 0 means no limit.
    pub max_open_orders: u32,
    /// Which orders it takes.
    pub state: MarketState,
    /// When it halts by itself.
    pub safety: Safety,
}

/// Why a currency or market cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ConfigError {
    /// The code or symbol has the wrong form.
    #[error("{0:?} is not a valid code")]
    BadCode(String),
    /// More than 18 decimals.
    #[error("a currency has at most 18 decimals, not {0}")]
    TooManyDecimals(u8),
    /// Base and quote are the same, or one is not listed.
    #[error("a market needs two different listed currencies")]
    BadCurrencies,
    /// tick × lot is not a whole number of quote atoms, or is zero.
    #[error("tick × lot must be a whole number of the quote currency's smallest units")]
    InexactTick,
    /// The lot is finer than an atom of the base currency.
    #[error("the lot must be a whole number of the base currency's smallest units")]
    InexactLot,
    /// Fees above 10 %.
    #[error("a fee of {0} parts per million is above the limit of 100000")]
    FeeTooHigh(u32),
    /// Limits that contradict each other or exceed what can be held.
    #[error("the limit {0} is out of range")]
    BadLimit(std::borrow::Cow<'static, str>),
    /// tick × lot is above [`MOST_QUOTE_ATOMS`].
    #[error("tick × lot must be at most {most} of the quote currency's smallest units", most = MOST_QUOTE_ATOMS)]
    TickTooLarge,
    /// The lot is above [`MOST_BASE_ATOMS`].
    #[error("the lot must be at most {most} of the base currency's smallest units", most = MOST_BASE_ATOMS)]
    LotTooLarge,
}

/// The most quote atoms of one tick × one lot. The largest price × the largest size is 2^96 of them, and with the
/// highest fee that stays inside 128 bits.
pub const MOST_QUOTE_ATOMS: u64 = 1 << 30;

/// The most base atoms of one lot. The largest size is 2^48 of them, and nothing multiplies that any further but the tenth
/// that an order by funds may sell beyond what the book shows.
pub const MOST_BASE_ATOMS: u64 = 1 << 63;

/// The most decimals that an atom may have.
pub const MAX_DECIMALS: u8 = 18;

/// The highest fee a market may have: 10 %.
pub const MAX_FEE: Ppm = Ppm(100_000);

impl Currency {
    /// Checks the form of the code and the number of decimals.
    ///
    /// # Errors
    /// [`ConfigError::BadCode`], [`ConfigError::TooManyDecimals`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fits = (2..=10).contains(&self.code.len())
            && self.code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !fits || self.name.is_empty() || self.name.len() > 64 {
            return Err(ConfigError::BadCode(self.code.clone()));
        }
        if self.decimals > MAX_DECIMALS {
            return Err(ConfigError::TooManyDecimals(self.decimals));
        }
        Ok(())
    }
}

/// The factors that turn ticks and lots into atoms. Small and `Copy`: the book carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Quote atoms of one tick × one lot.
    pub quote_per_tick_lot: u64,
    /// Base atoms of one lot.
    pub base_per_lot: u64,
}

impl Scale {
    /// The exact quote amount of `size` lots at `price` ticks each.
    #[inline]
    pub fn quote(self, price: Price, size: Size) -> Amount {
        // MAX_UNITS bounds price and size to 48 bits each and validation the factor, so this fits.
        Amount(i128::from(price.0) * i128::from(size.0) * i128::from(self.quote_per_tick_lot))
    }

    /// The exact base amount of `size` lots.
    #[inline]
    pub fn base(self, size: Size) -> Amount {
        // 48 bits times 63.
        Amount(i128::from(size.0) * i128::from(self.base_per_lot))
    }

    /// How many whole lots there are in this much of the base.
    pub fn lots_in(self, base: Amount) -> Size {
        let lots = base.0.max(0) / i128::from(self.base_per_lot.max(1));
        Size(u64::try_from(lots).unwrap_or(MAX_UNITS).min(MAX_UNITS))
    }

    /// What must be reserved for a limit order: quote with the worse fee for a buy, base for a sell.
    pub fn hold_for(self, side: Side, price: Price, size: Size, worst_fee: Ppm) -> Amount {
        match side {
            Side::Sell => self.base(size),
            Side::Buy => {
                let quote = self.quote(price, size);
                quote + quote.share_rounded_up(worst_fee)
            }
        }
    }

    /// How many lots `funds` buy at `price`, their fee included.
    pub fn lots_for(self, funds: Amount, price: Price, fee: Ppm) -> Size {
        if funds.0 <= 0 || price.0 == 0 {
            return Size::ZERO;
        }
        let per_lot = i128::from(price.0) * i128::from(self.quote_per_tick_lot);
        let lots = funds.net_of_fee(fee).0.div_euclid(per_lot.max(1));
        Size(u64::try_from(lots).unwrap_or(MAX_UNITS).min(MAX_UNITS))
    }
}

impl MarketConfig {
    /// A market with the rules that a new one has until it is given others: fees of 0.1 % and 0.2 %, sizes and funds as far
    /// as amounts go, no band, 10,000 live orders of one user, online. Its id is given when it is listed.
    pub fn new(symbol: String, base: CurrencyId, quote: CurrencyId, tick: Step, lot: Step) -> MarketConfig {
        MarketConfig {
            id: MarketId(0),
            symbol,
            base,
            quote,
            tick,
            lot,
            maker_fee: Ppm(1_000),
            taker_fee: Ppm(2_000),
            min_size: Size(1),
            max_size: Size::MAX,
            min_funds: Amount::ZERO,
            max_funds: MAX_AMOUNT,
            band: Ppm(0),
            reference_price: Price(0),
            max_open_orders: 10_000,
            state: MarketState::Online,
            safety: Safety::default(),
        }
    }

    /// Checks every rule and gives the factors for exact amounts.
    ///
    /// # Errors
    /// [`ConfigError`] names the first rule that is broken.
    pub fn validate(&self, base: &Currency, quote: &Currency) -> Result<Scale, ConfigError> {
        if base.id != self.base || quote.id != self.quote || self.base == self.quote {
            return Err(ConfigError::BadCurrencies);
        }
        if self.symbol != format!("{}-{}", base.code, quote.code) {
            return Err(ConfigError::BadCode(self.symbol.clone()));
        }
        let scale = self.scale(base.decimals, quote.decimals)?;
        self.check_limits()?;
        Ok(scale)
    }

    /// Checks what may change while the market trades.
    ///
    /// # Errors
    /// [`ConfigError`] names the first rule that is broken.
    pub fn check_limits(&self) -> Result<(), ConfigError> {
        for fee in [self.maker_fee, self.taker_fee] {
            if fee > MAX_FEE {
                return Err(ConfigError::FeeTooHigh(fee.0));
            }
        }
        if self.min_size.is_zero() || self.min_size > self.max_size || self.max_size > Size::MAX {
            return Err(ConfigError::BadLimit("min_size or max_size".into()));
        }
        if self.min_funds.is_negative() || self.min_funds > self.max_funds || self.max_funds > MAX_AMOUNT {
            return Err(ConfigError::BadLimit("min_funds or max_funds".into()));
        }
        if self.band.0 >= 1_000_000 || self.reference_price > Price::MAX {
            return Err(ConfigError::BadLimit("band or reference_price".into()));
        }
        if !self.safety.is_sound() {
            return Err(ConfigError::BadLimit("halt, halt_window_ms or auction_ms".into()));
        }
        Ok(())
    }

    /// tick × lot as a whole number of quote atoms, and the lot as a whole number of base atoms.
    fn scale(&self, base_decimals: u8, quote_decimals: u8) -> Result<Scale, ConfigError> {
        // What is too large for 128 bits is too large for whatever is asked afterwards.
        let whole = |units: u128, finer: i32| -> Option<u128> {
            let power = 10u128.checked_pow(finer.unsigned_abs())?;
            let value = if finer >= 0 {
                units.saturating_mul(power)
            } else if units.is_multiple_of(power) {
                units / power
            } else {
                return None;
            };
            Some(value).filter(|atoms| *atoms > 0)
        };
        let at_most = |most: u64, atoms: u128| u64::try_from(atoms).ok().filter(|atoms| *atoms <= most);
        let steps = u128::from(self.tick.units) * u128::from(self.lot.units);
        let finer = i32::from(quote_decimals) - i32::from(self.tick.decimals) - i32::from(self.lot.decimals);
        let quote = whole(steps, finer).ok_or(ConfigError::InexactTick)?;
        let quote_per_tick_lot = at_most(MOST_QUOTE_ATOMS, quote).ok_or(ConfigError::TickTooLarge)?;
        let finer = i32::from(base_decimals) - i32::from(self.lot.decimals);
        let base = whole(u128::from(self.lot.units), finer).ok_or(ConfigError::InexactLot)?;
        let base_per_lot = at_most(MOST_BASE_ATOMS, base).ok_or(ConfigError::LotTooLarge)?;
        Ok(Scale { quote_per_tick_lot, base_per_lot })
    }

    /// The worse of the two fees: what a buy's hold must cover.
    pub fn worst_fee(&self) -> Ppm {
        self.maker_fee.max(self.taker_fee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(id: u16, code: &str, decimals: u8) -> Currency {
        Currency { id: CurrencyId(id), code: code.into(), name: code.into(), decimals, fiat: false }
    }

    fn market(tick: Step, lot: Step) -> MarketConfig {
        MarketConfig {
            id: MarketId(0),
            symbol: "BTC-USDT".into(),
            base: CurrencyId(0),
            quote: CurrencyId(1),
            tick,
            lot,
            maker_fee: Ppm(1000),
            taker_fee: Ppm(2000),
            min_size: Size(1),
            max_size: Size(1_000_000),
            min_funds: Amount(1),
            max_funds: Amount(1 << 80),
            band: Ppm(0),
            reference_price: Price(0),
            max_open_orders: 0,
            state: MarketState::Online,
            safety: Safety::default(),
        }
    }

    #[test]
    fn a_market_without_exact_fills_is_refused() {
        let (btc, usdt) = (currency(0, "BTC", 8), currency(1, "USDT", 8));
        let cent = Step { units: 1, decimals: 2 };
        let micro = Step { units: 1, decimals: 6 };
        let scale = market(cent, micro).validate(&btc, &usdt);
        assert_eq!(scale, Ok(Scale { quote_per_tick_lot: 1, base_per_lot: 100 }));
        let finer = Step { units: 1, decimals: 7 };
        assert_eq!(market(cent, finer).validate(&btc, &usdt), Err(ConfigError::InexactTick));
        let ten = Step { units: 10, decimals: 7 };
        assert_eq!(market(cent, ten).validate(&btc, &usdt), scale);
        let below_atom = Step { units: 1, decimals: 9 };
        assert_eq!(
            market(Step { units: 10, decimals: 0 }, below_atom).validate(&btc, &usdt),
            Err(ConfigError::InexactLot)
        );
        assert_eq!(market(Step { units: 0, decimals: 2 }, micro).validate(&btc, &usdt), Err(ConfigError::InexactTick));
    }

    #[test]
    fn a_currency_of_many_decimals_is_traded_in_usual_steps() {
        let (eth, usdt, dai) = (currency(0, "BTC", 18), currency(1, "USDT", 6), currency(1, "USDT", 18));
        let step = |units, decimals| Step { units, decimals };
        let scale = |quote_per_tick_lot, base_per_lot| Ok(Scale { quote_per_tick_lot, base_per_lot });
        let cases = [
            (step(1, 2), step(1, 4), &usdt, scale(1, 10u64.pow(14))),
            (step(1, 2), step(1, 0), &usdt, scale(10u64.pow(4), 10u64.pow(18))),
            (step(1, 2), step(9, 0), &usdt, scale(9 * 10u64.pow(4), 9 * 10u64.pow(18))),
            (step(1, 2), step(10, 0), &usdt, Err(ConfigError::LotTooLarge)),
            (step(1, 6), step(u64::MAX, 0), &usdt, Err(ConfigError::TickTooLarge)),
            (step(1, 8), step(1, 4), &dai, scale(10u64.pow(6), 10u64.pow(14))),
            (step(1, 2), step(1, 4), &dai, Err(ConfigError::TickTooLarge)),
            (step(u64::MAX, 0), step(u64::MAX, 0), &dai, Err(ConfigError::TickTooLarge)),
        ];
        for (tick, lot, quote, expected) in cases {
            assert_eq!(market(tick, lot).validate(&eth, quote), expected, "{tick:?} {lot:?}");
        }
        // The largest size of the largest lot, with the tenth more that may be reserved for it.
        let largest = Scale { quote_per_tick_lot: 1, base_per_lot: MOST_BASE_ATOMS }.base(Size::MAX);
        assert_eq!(largest, Amount(1 << 111));
        assert!(largest.0.checked_mul(10).is_some());
        assert_eq!(
            ConfigError::LotTooLarge.to_string(),
            "the lot must be at most 9223372036854775808 of the base currency's smallest units"
        );
    }

    #[test]
    fn limits_are_checked() {
        let (btc, usdt) = (currency(0, "BTC", 8), currency(1, "USDT", 8));
        let good = || market(Step { units: 1, decimals: 2 }, Step { units: 1, decimals: 6 });
        let refused = |change: fn(&mut MarketConfig), error: ConfigError| {
            let mut config = good();
            change(&mut config);
            assert_eq!(config.validate(&btc, &usdt), Err(error));
        };
        refused(|m| m.taker_fee = Ppm(100_001), ConfigError::FeeTooHigh(100_001));
        refused(|m| m.min_size = Size(0), ConfigError::BadLimit("min_size or max_size".into()));
        refused(|m| m.max_size = Size(MAX_UNITS + 1), ConfigError::BadLimit("min_size or max_size".into()));
        refused(|m| m.max_funds = Amount(0), ConfigError::BadLimit("min_funds or max_funds".into()));
        refused(|m| m.band = Ppm(1_000_000), ConfigError::BadLimit("band or reference_price".into()));
        let halts = |halt, window_ms, auction_ms| Safety { halt: Ppm(halt), window_ms, auction_ms };
        let bad = || ConfigError::BadLimit("halt, halt_window_ms or auction_ms".into());
        for safety in [halts(0, 1, 0), halts(1, 0, 1), halts(1, 1, 0), halts(1_000_000, 1, 1), halts(1, 1, 86_400_001)]
        {
            assert_eq!(MarketConfig { safety, ..good() }.validate(&btc, &usdt), Err(bad()), "{safety:?}");
        }
        assert!(MarketConfig { safety: halts(50_000, 1_000, 60_000), ..good() }.validate(&btc, &usdt).is_ok());
        refused(|m| m.symbol = "BTC/USDT".into(), ConfigError::BadCode("BTC/USDT".into()));
        refused(|m| m.quote = CurrencyId(0), ConfigError::BadCurrencies);
    }
}
