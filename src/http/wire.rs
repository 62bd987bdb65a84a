//! Numbers and times as the wire has them: exact decimals both ways.

use super::error::ApiError;
use crate::actors::trading::Market;
use crate::domain::market::{Currency, MarketConfig, Step};
use crate::domain::money::{Amount, Decimal, DecimalError, Price, Size, parse_decimal};
use crate::domain::time::{SECOND, Timestamp};
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

/// A moment from ISO 8601 text: with `Z` or an offset, without either (UTC), a date alone, or seconds since 1970.
///
/// # Errors
/// 400 that names the field.
pub fn parse_time(text: &str, field: &str) -> Result<Timestamp, ApiError> {
    let invalid = || ApiError::bad_request("invalid_time", format!("{field} must be an ISO 8601 time"));
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Timestamp(seconds.checked_mul(SECOND).ok_or_else(invalid)?));
    }
    // A plus sign in a query means a space; an offset arrives that way when it was not escaped.
    let text = match text.rsplit_once(' ') {
        Some((head, offset)) if head.contains(['T', 't', ':']) && offset.len() <= 6 => format!("{head}+{offset}"),
        _ => text.to_owned(),
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(at.as_microsecond()));
    }
    let local: jiff::civil::DateTime = match text.parse::<jiff::civil::Date>() {
        Ok(day) if !text.contains(['T', 't', ':']) => day.at(0, 0, 0, 0),
        _ => text.parse().map_err(|_| invalid())?,
    };
    let at = local.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| invalid())?;
    Ok(Timestamp(at.timestamp().as_microsecond()))
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

/// The text that a bad order deserves in this market; the plain one of the reason otherwise. `by_funds` says that the
/// order named what it may spend.
pub fn explain(reject: crate::domain::order::Reject, market: &Market, by_funds: bool) -> ApiError {
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
        Reject::FundsTooSmall if by_funds => ApiError::bad_request(
            reject.code(),
            format!("funds is too small. Minimum size is {}", amount(config.min_funds, &market.quote)),
        ),
        Reject::FundsTooSmall => ApiError::bad_request(
            reject.code(),
            format!("notional is too small. Minimum is {}", amount(config.min_funds, &market.quote)),
        ),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_many_forms_and_leave_in_one() {
        let noon = Timestamp(1_767_268_800_000_000);
        for text in [
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00.000000000Z",
            "2026-01-01T14:00:00+02:00",
            "2026-01-01T14:00:00 02:00",
            "2026-01-01T12:00:00",
            "2026-01-01 12:00:00",
            "1767268800",
        ] {
            assert_eq!(parse_time(text, "start").ok(), Some(noon), "{text}");
        }
        assert_eq!(parse_time("2026-01-01", "start").ok(), Some(noon + -12 * 3_600 * SECOND));
        for text in ["", "yesterday", "2026-13-01", "9223372036854775807", "2026-01-01T25:00:00Z", "12:00"] {
            assert!(parse_time(text, "start").is_err(), "{text}");
        }
        assert_eq!(time(noon), "2026-01-01T12:00:00Z");
        assert_eq!(time(noon + 123_456), "2026-01-01T12:00:00.123456Z");
    }
}
