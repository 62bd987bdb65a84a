//! Exact numbers: prices in ticks, sizes in lots, amounts in atoms, and their decimal text.
//!
//! There is no floating point anywhere. Text is parsed exactly: more decimals than the scale allows
//! is an error, never a rounding.

use super::invariant::broken;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use thiserror::Error;

/// A price in ticks of its market, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Price(pub u64);

/// A size in lots of its market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Size(pub u64);

/// A signed amount in atoms of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Amount(pub i128);

/// A rate in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ppm(pub u32);

/// Parts in a whole.
pub const MILLION: i128 = 1_000_000;

/// The largest price and size an order may carry: far above any market, and small enough that
/// price × size × multiplier stays inside 128 bits.
pub const MAX_UNITS: u64 = 1 << 48;

/// The largest amount that one entry may move. Leaves room for 2^27 of them in an `i128`.
pub const MAX_AMOUNT: Amount = Amount(1 << 100);

impl Price {
    /// The largest price an order may carry.
    pub const MAX: Price = Price(MAX_UNITS);
}

impl Size {
    /// Nothing.
    pub const ZERO: Size = Size(0);
    /// The largest size an order may carry.
    pub const MAX: Size = Size(MAX_UNITS);

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Sub for Size {
    type Output = Size;
    fn sub(self, other: Size) -> Size {
        match self.0.checked_sub(other.0) {
            Some(left) => Size(left),
            None => broken("a size below zero"),
        }
    }
}

impl Add for Size {
    type Output = Size;
    fn add(self, other: Size) -> Size {
        match self.0.checked_add(other.0) {
            Some(sum) => Size(sum),
            None => broken("a size beyond 64 bits"),
        }
    }
}

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The share of a non-negative amount at this rate, rounded up to an atom.
    #[must_use]
    pub fn share_rounded_up(self, rate: Ppm) -> Amount {
        if rate.0 == 0 {
            return Amount::ZERO;
        }
        // Amounts that orders can carry fit 64 bits nearly always; that division is ten times cheaper.
        match u64::try_from(self.0).ok().and_then(|atoms| atoms.checked_mul(u64::from(rate.0))) {
            Some(product) => Amount(i128::from(product.div_ceil(1_000_000))),
            None => {
                // Whole millions apart from the rest: no rate up to a whole leaves 128 bits then.
                let rate = i128::from(rate.0);
                let rest = (self.0.rem_euclid(MILLION) * rate + MILLION - 1).div_euclid(MILLION);
                match self.0.div_euclid(MILLION).checked_mul(rate).and_then(|whole| whole.checked_add(rest)) {
                    Some(share) => Amount(share),
                    None => broken("a fee beyond 128 bits"),
                }
            }
        }
    }

    /// The largest part of a non-negative amount that leaves room for its own fee at this rate:
    /// the greatest q with q + ⌈q × rate⌉ ≤ self.
    #[must_use]
    pub fn net_of_fee(self, rate: Ppm) -> Amount {
        match self.0.checked_mul(MILLION) {
            Some(product) => Amount(product.div_euclid(MILLION + i128::from(rate.0))),
            None => broken("funds beyond 128 bits"),
        }
    }
}

impl Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        match self.0.checked_add(other.0) {
            Some(sum) => Amount(sum),
            None => broken("an amount beyond 128 bits"),
        }
    }
}

impl Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        match self.0.checked_sub(other.0) {
            Some(left) => Amount(left),
            None => broken("an amount beyond 128 bits"),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        *self = *self + other;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        *self = *self - other;
    }
}

impl Neg for Amount {
    type Output = Amount;
    fn neg(self) -> Amount {
        Amount::ZERO - self
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::ZERO, Add::add)
    }
}

/// Why a text is not a number of the wanted scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// Not a decimal number at all.
    #[error("not a decimal number")]
    Malformed,
    /// More digits after the point than the scale has.
    #[error("more than {0} decimals")]
    TooPrecise(u8),
    /// Beyond what can be held.
    #[error("too large")]
    TooLarge,
}

/// The longest text that is looked at; nothing honest is longer.
const MAX_TEXT: usize = 80;

/// Reads `text` as a count of 10^-`decimals`, exactly. Takes what JSON takes for a number
/// (`-1.50`, `2e-3`), so that a number can be read by its literal text.
///
/// # Errors
/// [`DecimalError`], never a rounding.
pub fn parse_decimal(text: &str, decimals: u8) -> Result<i128, DecimalError> {
    if text.len() > MAX_TEXT {
        return Err(DecimalError::TooLarge);
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(DecimalError::Malformed),
        Some((whole, fraction)) => (whole, fraction),
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::Malformed);
    }
    // The digits stand for digits × 10^(exponent − fraction digits); the result counts 10^-decimals.
    let mut shift = i64::from(decimals) + exponent - fraction.len() as i64;
    let mut digits = whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')).collect::<Vec<_>>();
    while shift < 0 {
        match digits.pop() {
            Some(0) => shift += 1,
            None => break,
            Some(_) => return Err(DecimalError::TooPrecise(decimals)),
        }
    }
    let mut value: i128 = 0;
    for digit in &digits {
        value = value.checked_mul(10).and_then(|v| v.checked_add(*digit)).ok_or(DecimalError::TooLarge)?;
    }
    if value != 0 && shift > 0 {
        let factor = u32::try_from(shift).ok().and_then(|s| 10i128.checked_pow(s)).ok_or(DecimalError::TooLarge)?;
        value = value.checked_mul(factor).ok_or(DecimalError::TooLarge)?;
    }
    Ok(if negative { -value } else { value })
}

/// An exponent, clamped to where it can no longer matter for texts of [`MAX_TEXT`] digits.
fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::Malformed);
    }
    let magnitude = digits.bytes().fold(0i64, |value, b| (value * 10 + i64::from(b - b'0')).min(10_000));
    Ok(if negative { -magnitude } else { magnitude })
}

/// A count of 10^-`decimals` as plain decimal text without needless zeros: `0.25`, `-3`, `0`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// How many of the smallest unit.
    pub units: i128,
    /// The smallest unit is 10^-`decimals`.
    pub decimals: u8,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0u8; 64];
        let mut at = digits.len();
        let mut rest = self.units.unsigned_abs();
        let mut place = 0u8;
        let mut significant = false;
        // Written from the last digit to the first; zeros at the end of the fraction are left out.
        while rest != 0 || place <= self.decimals {
            if place == self.decimals && significant && place > 0 {
                at -= 1;
                if let Some(slot) = digits.get_mut(at) {
                    *slot = b'.';
                }
            }
            // 64-bit division is several times cheaper, and nearly every number fits.
            let digit = match u64::try_from(rest) {
                Ok(small) => {
                    rest = u128::from(small / 10);
                    (small % 10) as u8
                }
                Err(_) => {
                    let digit = (rest % 10) as u8;
                    rest /= 10;
                    digit
                }
            };
            if place >= self.decimals || significant || digit != 0 {
                significant = true;
                at -= 1;
                if let Some(slot) = digits.get_mut(at) {
                    *slot = b'0' + digit;
                }
            }
            place += 1;
        }
        let text = digits.get(at..).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or_default();
        if self.units < 0 {
            f.write_str("-")?;
        }
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_exactly_or_refused() {
        let cases: &[(&str, u8, Result<i128, DecimalError>)] = &[
            ("0", 2, Ok(0)),
            ("1", 2, Ok(100)),
            ("0.1", 2, Ok(10)),
            ("-0.05", 2, Ok(-5)),
            ("1.230", 2, Ok(123)),
            ("1.2300000000000000000000000000000000000000", 2, Ok(123)),
            ("1.234", 2, Err(DecimalError::TooPrecise(2))),
            ("2e-3", 3, Ok(2)),
            ("2E+3", 0, Ok(2000)),
            ("2e-4", 3, Err(DecimalError::TooPrecise(3))),
            ("20e-4", 3, Ok(2)),
            ("1e400", 2, Err(DecimalError::TooLarge)),
            ("0e400", 2, Ok(0)),
            ("1e-400", 2, Err(DecimalError::TooPrecise(2))),
            ("0e-400", 2, Ok(0)),
            ("1e99999999999999999999", 2, Err(DecimalError::TooLarge)),
            ("170141183460469231731687303715884105727", 0, Ok(i128::MAX)),
            ("170141183460469231731687303715884105728", 0, Err(DecimalError::TooLarge)),
            ("", 2, Err(DecimalError::Malformed)),
            ("-", 2, Err(DecimalError::Malformed)),
            (".5", 2, Err(DecimalError::Malformed)),
            ("5.", 2, Err(DecimalError::Malformed)),
            ("+5", 2, Err(DecimalError::Malformed)),
            ("1 ", 2, Err(DecimalError::Malformed)),
            ("1_0", 2, Err(DecimalError::Malformed)),
            ("NaN", 2, Err(DecimalError::Malformed)),
            ("Infinity", 2, Err(DecimalError::Malformed)),
            ("0x10", 2, Err(DecimalError::Malformed)),
            ("1e", 2, Err(DecimalError::Malformed)),
            ("1.2.3", 2, Err(DecimalError::Malformed)),
            ("١", 2, Err(DecimalError::Malformed)),
        ];
        for (text, decimals, expected) in cases {
            assert_eq!(parse_decimal(text, *decimals), *expected, "{text:?} with {decimals} decimals");
        }
        assert_eq!(parse_decimal(&"9".repeat(81), 0), Err(DecimalError::TooLarge));
    }

    #[test]
    fn text_is_plain_and_short() {
        let cases: &[(i128, u8, &str)] = &[
            (0, 0, "0"),
            (0, 8, "0"),
            (1, 8, "0.00000001"),
            (100_000_000, 8, "1"),
            (150_000_000, 8, "1.5"),
            (-25, 2, "-0.25"),
            (1200, 0, "1200"),
            (1200, 2, "12"),
            (i128::MAX, 30, "170141183.460469231731687303715884105727"),
        ];
        for (units, decimals, expected) in cases {
            assert_eq!(Decimal { units: *units, decimals: *decimals }.to_string(), *expected);
            assert_eq!(parse_decimal(expected, *decimals), Ok(*units));
        }
    }

    #[test]
    fn fees_round_up_and_leave_room() {
        assert_eq!(Amount(1).share_rounded_up(Ppm(1)), Amount(1));
        assert_eq!(Amount(1_000_000).share_rounded_up(Ppm(2500)), Amount(2500));
        assert_eq!(Amount(1_000_001).share_rounded_up(Ppm(2500)), Amount(2501));
        assert_eq!(Amount(7).share_rounded_up(Ppm(0)), Amount(0));
        assert_eq!(Amount(1 << 90).share_rounded_up(Ppm(1_000_000)), Amount(1 << 90));
        // The largest price × size × multiplier that a market can have, at the highest fee.
        assert_eq!(Amount(1 << 126).share_rounded_up(Ppm(100_000)), Amount((1i128 << 126) / 10 + 1));
        assert_eq!(Amount((1 << 80) + 1).share_rounded_up(Ppm(1_000_000)), Amount((1 << 80) + 1));
        for funds in 0..5_000 {
            let net = Amount(funds).net_of_fee(Ppm(3_300));
            assert!(net + net.share_rounded_up(Ppm(3_300)) <= Amount(funds));
            let more = net + Amount(1);
            assert!(more + more.share_rounded_up(Ppm(3_300)) > Amount(funds));
        }
    }
}
