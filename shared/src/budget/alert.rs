//! When people are told of a budget: shares of the limit that what was spent has reached.
//!
//! Rule: exact. A share is a whole number of ten-thousandths; "reached" is compared without division. What has been told is
//! the ledger's business.

use crate::money::NanoUsd;
use std::fmt;

/// A share of a limit, above 0 and at most 1, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

const WHOLE: u32 = 10_000;

impl Share {
    /// All of the limit.
    pub const ALL: Self = Self(WHOLE);

    /// A share of so many ten-thousandths; `None` for 0 and for more than the whole.
    pub fn of_ten_thousandths(number: u32) -> Option<Self> {
        (1..=WHOLE).contains(&number).then_some(Self(number))
    }

    /// Reads `0.8`; at most four decimals. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = fraction.trim_end_matches('0');
        let is_decimal = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !is_decimal || whole.is_empty() || fraction.len() > 4 {
            return None;
        }
        Self::of_ten_thousandths(format!("{whole}{fraction:0<4}").parse().ok()?)
    }

    /// How many ten-thousandths it is.
    pub fn ten_thousandths(self) -> u32 {
        self.0
    }

    /// Whether what was spent has reached this share of the limit. Nothing spent reaches nothing, not even a limit of zero.
    pub fn is_reached(self, spent: NanoUsd, limit: NanoUsd) -> bool {
        spent > NanoUsd::ZERO
            && i128::from(spent.get()) * i128::from(WHOLE) >= i128::from(limit.get()) * i128::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:04}", self.0 / WHOLE, self.0 % WHOLE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What happened to a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// What was spent reached a share that its owner named.
    ThresholdReached,
    /// A soft budget is spent; requests go on.
    SoftExceeded,
    /// A hard budget is spent to the last nano-dollar; requests are refused.
    Exceeded,
}

impl AlertKind {
    /// The name of the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThresholdReached => "budget.threshold_reached",
            Self::SoftExceeded => "budget.soft_exceeded",
            Self::Exceeded => "budget.exceeded",
        }
    }

    /// Reads the name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::ThresholdReached, Self::SoftExceeded, Self::Exceeded].into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_read_exactly_or_not_at_all() {
        let cases = [("0.5", Some(5_000)), ("0.9999", Some(9_999)), ("1", Some(10_000)), ("1.0", Some(10_000))];
        for (text, expected) in cases {
            assert_eq!(Share::parse(text).map(Share::ten_thousandths), expected, "{text}");
        }
        for text in ["0", "1.0001", "0.00001", "-0.5", ".5", "", "0,5", "a", "5e-1", "99999999999"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_share_is_reached_exactly_when_its_part_of_the_limit_is_spent(
            points in 1_u32..=10_000, spent in 0_i64..i64::MAX, limit in 0_i64..i64::MAX,
        ) {
            let share = Share::of_ten_thousandths(points).unwrap();
            prop_assert_eq!(Share::parse(&share.to_string()), Some(share));
            // the least amount that reaches it, rounded up
            let least = (i128::from(limit) * i128::from(points) + 9_999) / 10_000;
            let expected = spent > 0 && i128::from(spent) >= least;
            prop_assert_eq!(share.is_reached(NanoUsd::new(spent), NanoUsd::new(limit)), expected);
        }
    }
}
