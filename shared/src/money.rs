//! Money as exact integers: amounts in 1e-9 USD, prices in 1e-12 USD per unit.
//!
//! Rule: no floating point anywhere; one rounding, up, when a request's price is turned into an amount.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

/// An amount of money in 1e-9 USD. Covers about ±9.2 billion USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(i64);

/// A price in 1e-12 USD per unit (a token, a call, a second). A price of `$x` per million tokens is `x * 1e6` of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(i64);

/// Why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMoneyError {
    /// The text is not a plain decimal number such as `25` or `0.003800000`.
    #[error("`{0}` is not a decimal amount such as \"25\" or \"0.50\"")]
    NotDecimal(String),
    /// The text has more decimals than the unit can hold exactly.
    #[error("`{text}` has more than {max_decimals} decimals")]
    TooPrecise {
        /// What was given.
        text: String,
        /// How many decimals the unit holds.
        max_decimals: u32,
    },
    /// The amount is outside the range of the unit.
    #[error("`{0}` is too large an amount")]
    TooLarge(String),
}

impl NanoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount that can be held.
    pub const MAX: Self = Self(i64::MAX);
    /// One US dollar.
    pub const ONE_USD: Self = Self(1_000_000_000);

    /// Wraps a count of 1e-9 USD.
    pub const fn new(nano_usd: i64) -> Self {
        Self(nano_usd)
    }

    /// Returns the count of 1e-9 USD.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Adds, `None` when out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Subtracts, `None` when out of range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Adds, stopping at the ends of the range. For displays and estimates; ledgers use [`Self::checked_add`].
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts, stopping at the ends of the range.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Rounds a sum of 1e-12 USD up to the next 1e-9 USD; saturates at the end of the range.
    pub fn from_pico_rounded_up(pico_usd: i128) -> Self {
        let nano = pico_usd.div_euclid(1000) + i128::from(pico_usd.rem_euclid(1000) != 0);
        Self(i64::try_from(nano).unwrap_or(if nano < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl PicoUsd {
    /// A price of nothing.
    pub const ZERO: Self = Self(0);

    /// Wraps a count of 1e-12 USD per unit.
    pub const fn new(pico_usd: i64) -> Self {
        Self(pico_usd)
    }

    /// Returns the count of 1e-12 USD per unit.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Parses a price per million units, as providers publish it (`"2.50"`), into the price of one unit.
    ///
    /// # Errors
    /// [`ParseMoneyError`] for anything but a non-negative decimal with at most six decimals.
    pub fn from_usd_per_million(text: &str) -> Result<Self, ParseMoneyError> {
        parse_decimal(text, 6).map(Self)
    }

    /// Parses a price per unit in USD (`"0.01"` a search), at most twelve decimals.
    ///
    /// # Errors
    /// [`ParseMoneyError`] for anything but a non-negative decimal with at most twelve decimals.
    pub fn from_usd(text: &str) -> Result<Self, ParseMoneyError> {
        parse_decimal(text, 12).map(Self)
    }

    /// Multiplies by a count of units, exactly.
    pub fn times(self, units: u64) -> i128 {
        i128::from(self.0) * i128::from(units)
    }
}

fn parse_decimal(text: &str, decimals: u32) -> Result<i64, ParseMoneyError> {
    let trimmed = text.trim();
    let (whole, fraction) = trimmed.split_once('.').unwrap_or((trimmed, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || trimmed.ends_with('.') {
        return Err(ParseMoneyError::NotDecimal(text.to_owned()));
    }
    let fraction = fraction.trim_end_matches('0');
    let places = u32::try_from(fraction.len()).unwrap_or(u32::MAX);
    if places > decimals {
        return Err(ParseMoneyError::TooPrecise { text: text.to_owned(), max_decimals: decimals });
    }
    let too_large = || ParseMoneyError::TooLarge(text.to_owned());
    let mut value: i64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value.checked_mul(10).and_then(|v| v.checked_add(i64::from(digit - b'0'))).ok_or_else(too_large)?;
    }
    let scale = 10_i64.checked_pow(decimals - places).ok_or_else(too_large)?;
    value.checked_mul(scale).ok_or_else(too_large)
}

impl FromStr for NanoUsd {
    type Err = ParseMoneyError;

    /// Parses a non-negative decimal amount of USD with at most nine decimals, such as `25` or `0.003800000`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_decimal(text, 9).map(Self)
    }
}

impl fmt::Display for NanoUsd {
    /// Nine decimals, no currency sign: `0.003800000`. Written by hand: it stands in several headers of each answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLACES: usize = 9;
        let mut text = [b'0'; 24];
        let mut left = self.0.unsigned_abs();
        let mut at = text.len();
        let mut written = 0;
        while left > 0 || written <= PLACES {
            if written == PLACES {
                at -= 1;
                text[at] = b'.';
            }
            at -= 1;
            text[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
            written += 1;
        }
        if self.0 < 0 {
            at -= 1;
            text[at] = b'-';
        }
        f.write_str(std::str::from_utf8(text.get(at..).unwrap_or_default()).unwrap_or_default())
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        let total: i128 = iter.map(|amount| i128::from(amount.0)).sum();
        Self(i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_print_and_parse_with_nine_places() {
        for (text, nano) in
            [("0.003800000", 3_800_000), ("25", 25_000_000_000), ("0.000000001", 1), ("1.50", 1_500_000_000)]
        {
            assert_eq!(text.parse::<NanoUsd>(), Ok(NanoUsd::new(nano)), "{text}");
        }
        assert_eq!(NanoUsd::new(3_800_000).to_string(), "0.003800000");
        assert_eq!(NanoUsd::new(-1).to_string(), "-0.000000001");
        for bad in ["", ".", "1.", "-1", "1e3", "0x1", "1,5", "NaN", "0.0000000001", "99999999999"] {
            assert!(bad.parse::<NanoUsd>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_price_per_million_is_exact_per_unit() {
        assert_eq!(PicoUsd::from_usd_per_million("2.50"), Ok(PicoUsd::new(2_500_000)));
        assert_eq!(PicoUsd::from_usd_per_million("0.000001"), Ok(PicoUsd::new(1)));
        assert!(PicoUsd::from_usd_per_million("0.0000001").is_err());
        assert_eq!(PicoUsd::from_usd("0.01"), Ok(PicoUsd::new(10_000_000_000)));
    }

    #[test]
    fn the_ends_of_the_range_print_whole() {
        assert_eq!(NanoUsd::MAX.to_string(), "9223372036.854775807");
        assert_eq!(NanoUsd::new(i64::MIN).to_string(), "-9223372036.854775808");
        assert_eq!(NanoUsd::ZERO.to_string(), "0.000000000");
    }

    proptest! {
        #[test]
        fn every_amount_survives_print_and_parse(nano in 0..=i64::MAX) {
            let amount = NanoUsd::new(nano);
            prop_assert_eq!(amount.to_string().parse::<NanoUsd>(), Ok(amount));
        }

        #[test]
        fn rounding_goes_up_and_by_less_than_one_unit(pico in 0..=i128::from(i64::MAX)) {
            let nano = i128::from(NanoUsd::from_pico_rounded_up(pico).get());
            prop_assert!(nano * 1000 >= pico && nano * 1000 - pico < 1000);
        }
    }
}
