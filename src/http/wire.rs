//! Numbers and times as the wire has them: exact decimals both ways.

use super::error::ApiError;
use crate::actors::trading::Market;
use crate::domain::market::{Currency, MarketConfig, Step};
use crate::domain::money::{Amount, Decimal, DecimalError, MAX_AMOUNT, Price, Size, parse_decimal};
use crate::domain::order::Reject;
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

/// A moment from ISO 8601 text: with `Z` or an offset, without either (UTC), a date alone, or seconds since 1970.
/// Seconds beyond the year 9999, which are milliseconds as a rule, are refused: they could not be shown.
///
/// # Errors
/// 400 that names the field.
pub fn parse_time(text: &str, field: &str) -> Result<Timestamp, ApiError> {
    let invalid = || ApiError::bad_request("invalid_time", format!("{field} must be an ISO 8601 time"));
    if let Ok(seconds) = text.parse::<i64>() {
        let at = jiff::Timestamp::from_second(seconds).map_err(|_| invalid())?;
        return Ok(Timestamp(at.as_microsecond()));
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

fn not_positive(field: &'static str) -> ApiError {
    ApiError::bad_request("not_positive", format!("{field} too small: it must be positive"))
}

fn too_large(field: &'static str) -> ApiError {
    ApiError::bad_request("too_large", format!("{field} is too large"))
}

fn size_too_small(config: &MarketConfig) -> ApiError {
    let least = size(config.min_size, config);
    ApiError::bad_request(Reject::SizeTooSmall.code(), format!("size is too small. Minimum size is {least}"))
}

fn size_too_large() -> ApiError {
    ApiError::bad_request("size_too_large", "size is too large")
}

fn funds_too_small(market: &Market) -> ApiError {
    // Where there is no minimum, an atom is it.
    let least = amount(market.config.min_funds.max(Amount(1)), &market.quote);
    ApiError::bad_request(Reject::FundsTooSmall.code(), format!("funds is too small. Minimum size is {least}"))
}

/// A positive count of steps from decimal text; `too_small` says why zero and less are refused.
fn parse_steps(
    text: &str,
    step: Step,
    field: &'static str,
    too_small: impl FnOnce() -> ApiError,
) -> Result<i128, ApiError> {
    let too_accurate = || {
        let unit = steps(1, step);
        ApiError::bad_request("too_accurate", format!("{field} is too accurate. Smallest unit is {unit}"))
    };
    let units = parse_decimal(text, step.decimals).map_err(|error| match error {
        DecimalError::TooPrecise(_) => too_accurate(),
        DecimalError::Malformed => not_a_number(field),
        DecimalError::TooLarge => too_large(field),
    })?;
    if units <= 0 {
        return Err(too_small());
    }
    if units % i128::from(step.units) != 0 {
        return Err(too_accurate());
    }
    Ok(units / i128::from(step.units))
}

/// A price in ticks.
///
/// # Errors
/// 400 with the dialect's texts.
pub fn parse_price(raw: &RawValue, config: &MarketConfig, field: &'static str) -> Result<Price, ApiError> {
    let ticks = parse_steps(&decimal_text(raw, field)?, config.tick, field, || not_positive(field))?;
    let price = u64::try_from(ticks).ok().map(Price).filter(|price| *price <= Price::MAX);
    price.ok_or_else(|| too_large(field))
}

/// A size in lots.
///
/// # Errors
/// 400 with the dialect's texts.
pub fn parse_size(raw: &RawValue, config: &MarketConfig) -> Result<Size, ApiError> {
    let lots = parse_steps(&decimal_text(raw, "size")?, config.lot, "size", || size_too_small(config))?;
    let size = u64::try_from(lots).ok().map(Size).filter(|size| *size <= Size::MAX);
    size.ok_or_else(size_too_large)
}

/// A positive amount in atoms of a currency, as large as one entry may move.
///
/// # Errors
/// 400.
pub fn parse_amount(raw: &RawValue, currency: &Currency, field: &'static str) -> Result<Amount, ApiError> {
    parse_atoms(raw, currency, field, || not_positive(field))
}

/// What a market order of this market names to spend or to bring in.
///
/// # Errors
/// 400 with the dialect's texts.
pub fn parse_funds(raw: &RawValue, market: &Market) -> Result<Amount, ApiError> {
    parse_atoms(raw, &market.quote, "funds", || funds_too_small(market))
}

fn parse_atoms(
    raw: &RawValue,
    currency: &Currency,
    field: &'static str,
    too_small: impl FnOnce() -> ApiError,
) -> Result<Amount, ApiError> {
    let step = Step { units: 1, decimals: currency.decimals };
    let amount = Amount(parse_steps(&decimal_text(raw, field)?, step, field, too_small)?);
    if amount > MAX_AMOUNT { Err(too_large(field)) } else { Ok(amount) }
}

/// The text that a bad order deserves in this market; the plain one of the reason otherwise. `by_funds` says that the
/// order named what it may spend.
pub fn explain(reject: Reject, market: &Market, by_funds: bool) -> ApiError {
    let config = &market.config;
    match reject {
        Reject::SizeTooSmall => size_too_small(config),
        Reject::SizeTooLarge => ApiError::bad_request(
            reject.code(),
            format!("size is too large. Maximum size is {}", size(config.max_size, config)),
        ),
        Reject::FundsTooSmall if by_funds => funds_too_small(market),
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
    use crate::domain::ids::CurrencyId;
    use crate::domain::time::SECOND;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn amounts_are_as_large_as_an_entry_may_move_whatever_the_decimals() {
        let currency =
            |decimals| Currency { id: CurrencyId(0), code: "ETH".into(), name: "Ether".into(), decimals, fiat: false };
        let read = |text: &str, decimals| {
            parse_amount(&raw(text), &currency(decimals), "amount").map_err(|error| error.code())
        };
        // More atoms than fit 64 bits.
        assert_eq!(read("100", 18), Ok(Amount(100 * 10i128.pow(18))));
        assert_eq!(read("\"0.000000000000000001\"", 18), Ok(Amount(1)));
        assert_eq!(read(&MAX_AMOUNT.0.to_string(), 0), Ok(MAX_AMOUNT));
        assert_eq!(read(&(MAX_AMOUNT.0 + 1).to_string(), 0), Err("too_large"));
        for (text, code) in
            [("0", "not_positive"), ("-1", "not_positive"), ("1e40", "too_large"), ("0.001", "too_accurate")]
        {
            assert_eq!(read(text, 2), Err(code), "{text}");
        }
    }

    #[test]
    fn a_size_of_nothing_is_too_small() {
        let step = |decimals| Step { units: 1, decimals };
        let config = MarketConfig::new("BTC-USDT".into(), CurrencyId(0), CurrencyId(1), step(2), step(3));
        let config = MarketConfig { min_size: Size(5), ..config };
        for text in ["0", "0.000", "-1", "\"0\""] {
            let error = parse_size(&raw(text), &config).unwrap_err();
            assert_eq!(error.code(), "size_too_small", "{text}");
            assert_eq!(error.to_string(), "size is too small. Minimum size is 0.005", "{text}");
        }
        assert_eq!(parse_size(&raw("0.001"), &config).ok(), Some(Size(1)), "the book knows its minimum");
        let dear = parse_price(&raw("0"), &config, "price").unwrap_err();
        assert_eq!((dear.code(), dear.to_string().contains("price too small")), ("not_positive", true));
    }

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
        // Milliseconds and microseconds are no seconds.
        for text in ["1767268800000", "1767268800000000", "-1767268800000"] {
            assert!(parse_time(text, "start").is_err(), "{text}");
        }
        assert_eq!(time(noon), "2026-01-01T12:00:00Z");
        assert_eq!(time(noon + 123_456), "2026-01-01T12:00:00.123456Z");
    }
}
