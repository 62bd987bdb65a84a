//! Numbers as the front end sends them: it computes in binary floating point, so a size that was picked from a merged
//! book level may come as `0.30000000000000004`.
//!
//! A JSON *number* within a relative 1e-12 of a value that the market allows is taken as that value. Anything else is
//! left to the exact reader as it is. All of it is done in integers.

use crate::domain::market::Step;
use crate::domain::money::Decimal;
use serde_json::value::RawValue;

/// How near is near enough: a part in so many.
const PART: i128 = 1_000_000_000_000;
/// Digits that a number of the front end has at most; beyond, it is no noise of its arithmetic.
const MOST_DIGITS: usize = 22;

/// A JSON number as digits and how many of them are decimals; `None` for anything else.
fn digits(text: &str) -> Option<(i128, u32)> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    // Zeros in front say nothing: `0.00000030000000000000004` has as many digits as `3.0000000000000004e-7`.
    if all.trim_start_matches('0').len() > MOST_DIGITS || !(-30..=30).contains(&exponent) {
        return None;
    }
    let decimals = i32::try_from(fraction.len()).ok()? - exponent;
    let value: i128 = all.parse().ok()?;
    match u32::try_from(decimals) {
        Ok(decimals) => Some((value, decimals)),
        Err(_) => Some((value.checked_mul(10i128.checked_pow(decimals.unsigned_abs())?)?, 0)),
    }
}

/// The allowed value that a number means, if it is not one but lies next to one.
fn meant(text: &str, step: Step) -> Option<String> {
    let (value, decimals) = digits(text)?;
    let common = decimals.max(u32::from(step.decimals));
    let value = value.checked_mul(10i128.checked_pow(common - decimals)?)?;
    let unit = i128::from(step.units).checked_mul(10i128.checked_pow(common - u32::from(step.decimals))?)?;
    let count = value.checked_add(unit / 2)?.checked_div(unit)?;
    let off = value.checked_sub(count.checked_mul(unit)?)?.checked_abs()?;
    let near = off != 0 && count != 0 && off.checked_mul(PART)? <= value;
    near.then(|| Decimal { units: count * i128::from(step.units), decimals: step.decimals }.to_string())
}

/// The number that is meant, as JSON.
pub fn forgiven(raw: &RawValue, step: Step) -> Box<RawValue> {
    let exact = meant(raw.get(), step).and_then(|text| RawValue::from_string(text).ok());
    exact.unwrap_or_else(|| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, units: u64, decimals: u8) -> String {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        forgiven(&raw, Step { units, decimals }).get().to_owned()
    }

    #[test]
    fn binary_noise_is_forgiven_and_nothing_else() {
        for (text, decimals, expected) in [
            ("0.30000000000000004", 6, "0.3"),
            ("41.400000000000006", 8, "41.4"),
            ("0.7999999999999999", 6, "0.8"),
            ("102.49999999999999", 2, "102.5"),
            ("3.0000000000000004e-1", 6, "0.3"),
            ("1.1e1", 2, "1.1e1"),
            ("0.00000030000000000000004", 8, "0.0000003"),
            ("3.0000000000000004e-7", 8, "0.0000003"),
            ("0.0000000000000000000000000000000000000000000003", 8, "0.0000000000000000000000000000000000000000000003"),
            ("0.3", 6, "0.3"),
            // A number that somebody has typed with too many decimals is no noise.
            ("0.1234567", 6, "0.1234567"),
            ("100.001", 2, "100.001"),
            ("0.3000000001", 6, "0.3000000001"),
            // Below one step there is nothing near.
            ("0.00000000000000004", 6, "0.00000000000000004"),
            ("1e-7", 6, "1e-7"),
            // Only numbers: whoever sends text computes exactly.
            ("\"0.30000000000000004\"", 6, "\"0.30000000000000004\""),
            ("-0.30000000000000004", 6, "-0.30000000000000004"),
            ("1e400", 6, "1e400"),
            ("null", 6, "null"),
        ] {
            assert_eq!(read(text, 1, decimals), expected, "{text}");
        }
        // Steps of more than one unit.
        assert_eq!(read("0.15000000000000002", 5, 2), "0.15");
        assert_eq!(read("0.16000000000000003", 5, 2), "0.16000000000000003");
    }
}
