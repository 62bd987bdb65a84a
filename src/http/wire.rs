//! Numbers and times as the wire has them: exact decimals both ways.

use super::error::ApiError;
use crate::actors::trading::Market;
use crate::domain::market::{Currency, MarketConfig, Step};
use crate::domain::money::{Amount, Decimal, DecimalError, Price, Size, parse_decimal};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A count of steps as decimal text.
pub fn steps(count: u64, step: Step) -> String {
    Decimal { units: i128::from(count) * i128::from(step.units), decimals: step.decimals }.to_string()
}

/// A price as decimal text.
pub fn price(price: Price, config: &MarketConfig) -> String {
    steps(price.0, config.tick)
}

/// A size as decimal text.
pub fn size(size: Size, config: &MarketConfig) -> String {
    steps(size.0, config.lot)
}

/// An amount as decimal text.
pub fn amount(amount: Amount, currency: &Currency) -> String {
    Decimal { units: amount.0, decimals: currency.decimals }.to_string()
}

/// A rate in parts per million as decimal text: 2000 is `0.002`.
pub fn rate(ppm: crate::domain::money::Ppm) -> String {
    Decimal { units: i128::from(ppm.0), decimals: 6 }.to_string()
}

/// RFC 3339, UTC, at most six fraction digits.
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).unwrap_or_default().to_string()
}

/// The text of a decimal that came as a JSON string or as a JSON number, by its literal text.
///
/// # Errors
/// 400 when it is neither.
pub fn decimal_text<'a>(raw: &'a RawValue, field: &'static str) -> Result<Cow<'a, str>, ApiError> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(text).map(Cow::Owned).map_err(|_| not_a_number(field)),
        Some(b'-' | b'0'..=b'9') => Ok(Cow::Borrowed(text)),
        _ => Err(not_a_number(field)),
    }
}

fn not_a_number(field: &'static str) -> ApiError {
    ApiError::bad_request("invalid_number", format!("{field} is not a number"))
}

/// A positive count of steps from decimal text.
fn parse_steps(text: &str, step: Step, field: &'static str) -> Result<u64, ApiError> {
    let too_accurate = || {
        let unit = steps(1, step);
        ApiError::bad_request("too_accurate", format!("{field} is too accurate. Smallest unit is {unit}"))
    };
    let units = parse_decimal(text, step.decimals).map_err(|error| match error {
        DecimalError::TooPrecise(_) => too_accurate(),
        DecimalError::Malformed => not_a_number(field),
        DecimalError::TooLarge => ApiError::bad_request("too_large", format!("{field} is too large")),
    })?;
    if units <= 0 {
        return Err(ApiError::bad_request("not_positive", format!("{field} too small: it must be positive")));
    }
    if units % i128::from(step.units) != 0 {
        return Err(too_accurate());
    }
    let too_large = |_| ApiError::bad_request("too_large", format!("{field} is too large"));
    u64::try_from(units / i128::from(step.units)).map_err(too_large)
}

/// A price in ticks.
///
/// # Errors
/// 400 with the dialect's texts.
pub fn parse_price(raw: &RawValue, config: &MarketConfig, field: &'static str) -> Result<Price, ApiError> {
    let ticks = parse_steps(&decimal_text(raw, field)?, config.tick, field)?;
    if ticks > Price::MAX.0 {
        return Err(ApiError::bad_request("too_large", format!("{field} is too large")));
    }
    Ok(Price(ticks))
}

/// A size in lots.
///
/// # Errors
/// 400 with the dialect's texts.
pub fn parse_size(raw: &RawValue, config: &MarketConfig) -> Result<Size, ApiError> {
    let lots = parse_steps(&decimal_text(raw, "size")?, config.lot, "size")?;
    if lots > Size::MAX.0 {
        return Err(ApiError::bad_request("size_too_large", "size is too large"));
    }
    Ok(Size(lots))
}

/// A positive amount in atoms of a currency.
///
/// # Errors
/// 400.
pub fn parse_amount(raw: &RawValue, currency: &Currency, field: &'static str) -> Result<Amount, ApiError> {
    let step = Step { units: 1, decimals: currency.decimals };
    parse_steps(&decimal_text(raw, field)?, step, field).map(|atoms| Amount(i128::from(atoms)))
}

/// The text that a bad order deserves in this market; the plain one of the reason otherwise.
pub fn explain(reject: crate::domain::order::Reject, market: &Market) -> ApiError {
    use crate::domain::order::Reject;
    let config = &market.config;
    match reject {
        Reject::SizeTooSmall => ApiError::bad_request(
            reject.code(),
            format!("size is too small. Minimum size is {}", size(config.min_size, config)),
        ),
        Reject::SizeTooLarge => ApiError::bad_request(
            reject.code(),
            format!("size is too large. Maximum size is {}", size(config.max_size, config)),
        ),
        Reject::FundsTooSmall => ApiError::bad_request(
            reject.code(),
            format!("notional is too small. Minimum is {}", amount(config.min_funds, &market.quote)),
        ),
        other => other.into(),
    }
}
