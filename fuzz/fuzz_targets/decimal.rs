//! Decimal text is read exactly: the parser against long addition on digits, and parse∘format = id.
#![no_main]

use agora::domain::money::{Decimal, DecimalError, parse_decimal};
use libfuzzer_sys::fuzz_target;

/// A decimal as its digits and the power of ten of the last one; `None` if the text is none.
fn digits(text: &str) -> Option<(bool, Vec<u8>, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        None => (text, 0),
        Some(at) => {
            let exponent = &text[at + 1..];
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let value = unsigned.parse::<i64>().unwrap_or(1_000_000).min(1_000_000);
            (&text[..at], if exponent.starts_with('-') { -value } else { value })
        }
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if whole.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((negative, all.iter().map(|b| b - b'0').collect(), exponent - fraction.len() as i64))
}

/// The same number as a count of 10^-decimals, digit by digit.
fn naive(text: &str, decimals: u8) -> Result<i128, DecimalError> {
    if text.len() > 80 {
        return Err(DecimalError::TooLarge);
    }
    let (negative, mut digits, power) = digits(text).ok_or(DecimalError::Malformed)?;
    if digits.iter().all(|digit| *digit == 0) {
        return Ok(0);
    }
    let mut power = power + i64::from(decimals);
    while power < 0 {
        if digits.pop() != Some(0) {
            return Err(DecimalError::TooPrecise(decimals));
        }
        power += 1;
    }
    let significant: Vec<u8> = digits.into_iter().skip_while(|digit| *digit == 0).collect();
    if significant.len() as i64 + power > 39 {
        return Err(DecimalError::TooLarge);
    }
    let mut value = 0i128;
    for digit in significant.into_iter().chain(std::iter::repeat_n(0, power as usize)) {
        value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit))).ok_or(DecimalError::TooLarge)?;
    }
    Ok(if negative { -value } else { value })
}

fuzz_target!(|input: (u8, &str)| {
    let (decimals, text) = (input.0 % 40, input.1);
    let is = parse_decimal(text, decimals);
    assert_eq!(is, naive(text, decimals), "{text:?} with {decimals} decimals");
    if let Ok(units) = is {
        let formatted = Decimal { units, decimals }.to_string();
        assert_eq!(parse_decimal(&formatted, decimals), Ok(units), "{formatted:?}");
    }
});
