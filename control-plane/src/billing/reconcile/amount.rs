//! Amounts as providers write them: decimals of any length, with or without an exponent.

use helix_shared::money::NanoUsd;
use std::iter::Sum;

/// An amount in 1e-18 USD: finer than any provider bills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttoUsd(i128);

/// Decimal places that are kept.
const PLACES: i32 = 18;
/// The longest text of an amount.
const MAX_CHARS: usize = 64;
/// The most that is taken for an amount: 1e18 USD would leave no room to add.
const MAX_DIGITS: i32 = 33;

impl AttoUsd {
    /// Reads the decimal text of an amount in USD times 10 to the `shift`; cents have -2. Digits beyond the eighteenth
    /// place are rounded half away from zero. `None` for anything that is no decimal, or too large.
    pub fn parse(text: &str, shift: i32) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_CHARS {
            return None;
        }
        let (text, is_negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if whole.is_empty() || !digits.iter().all(u8::is_ascii_digit) || mantissa.ends_with('.') {
            return None;
        }
        let value =
            digits.iter().try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(i128::from(digit - b'0')));
        let scale = PLACES + i32::from(exponent) + shift - i32::try_from(fraction.len()).ok()?;
        let value = match value {
            Some(0) => 0,
            Some(value) => scaled(value, scale)?,
            None => return None,
        };
        Some(Self(if is_negative { -value } else { value }))
    }

    /// Returns the count of 1e-18 USD.
    pub fn get(self) -> i128 {
        self.0
    }

    /// Rounds to 1e-9 USD, half away from zero; `None` out of range.
    pub fn to_nano(self) -> Option<NanoUsd> {
        i64::try_from(divide_rounded(self.0, 1_000_000_000)).ok().map(NanoUsd::new)
    }
}

impl From<NanoUsd> for AttoUsd {
    fn from(amount: NanoUsd) -> Self {
        Self(i128::from(amount.get()) * 1_000_000_000)
    }
}

impl Sum for AttoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
    }
}

fn scaled(value: i128, scale: i32) -> Option<i128> {
    let digits = i32::try_from(value.checked_ilog10()?).ok()?;
    if digits + scale > MAX_DIGITS {
        return None;
    }
    let power = 10_i128.checked_pow(scale.unsigned_abs());
    match (scale >= 0, power) {
        (true, power) => value.checked_mul(power?),
        (false, Some(power)) => Some(divide_rounded(value, power)),
        // smaller than anything that is kept
        (false, None) => Some(0),
    }
}

fn divide_rounded(value: i128, by: i128) -> i128 {
    let half = if value < 0 { -(by / 2) } else { by / 2 };
    value.saturating_add(half) / by
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_to_the_last_digit() {
        let cases = [
            ("0.06", 0, Some(60_000_000_000_000_000)),
            ("6.1e-05", 0, Some(61_000_000_000_000)),
            ("1E2", 0, Some(100_000_000_000_000_000_000)),
            ("123.78912", -2, Some(1_237_891_200_000_000_000)),
            ("-0.5", -2, Some(-5_000_000_000_000_000)),
            ("0.0000000000000000005", 0, Some(1)),
            ("-0.0000000000000000005", 0, Some(-1)),
            ("0.0000000000000000004", 0, Some(0)),
            ("1e-300", 0, Some(0)),
            ("0", -2, Some(0)),
            ("0e9999", 0, Some(0)),
        ];
        for (text, shift, atto) in cases {
            assert_eq!(AttoUsd::parse(text, shift).map(AttoUsd::get), atto, "{text}");
        }
        for bad in ["", "-", ".5", "1.", "1e", "1e99", "NaN", "0x1", "1,5", "--1", "1e400000", "+1"] {
            assert_eq!(AttoUsd::parse(bad, 0), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_of_ours_is_read_as_it_is(nano in any::<i64>()) {
            let amount = NanoUsd::new(nano);
            let read = AttoUsd::parse(&amount.to_string(), 0).unwrap();
            prop_assert_eq!(read, AttoUsd::from(amount));
            prop_assert_eq!(read.to_nano(), Some(amount));
        }

        #[test]
        fn no_text_makes_it_fail_otherwise_than_by_none(text in "[-+.0-9eE]{0,70}", shift in -2..=0) {
            let _ = AttoUsd::parse(&text, shift);
        }
    }
}
