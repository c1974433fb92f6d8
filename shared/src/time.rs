//! Time as the gateway keeps it: microseconds since 1970 in UTC, and a clock that is a parameter.
//!
//! Rule: no code below the binary reads the system clock by itself; it asks the [`Clock`] it was given.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UnixMicros(i64);

impl UnixMicros {
    /// Wraps a count of microseconds.
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Reads a time in RFC 3339; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|timestamp| Self(timestamp.as_microsecond()))
    }

    /// Returns the count of microseconds.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns this time moved by a duration, stopping at the end of the range.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the first instant of its calendar month, UTC.
    pub fn month_start(self) -> Self {
        let days = self.0.div_euclid(DAY_US);
        Self(days.saturating_sub(day_of_month(days).saturating_sub(1)).saturating_mul(DAY_US))
    }

    /// Returns the first instant of the calendar month after its own, UTC.
    pub fn next_month_start(self) -> Self {
        // no month is longer, and two after each other are never shorter
        Self(self.month_start().0.saturating_add(31 * DAY_US)).month_start()
    }

    /// Returns the time from `earlier` to this one, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A day without leap seconds, in µs.
const DAY_US: i64 = 86_400_000_000;

/// The day of its month, from 1, of a day counted from 1970-01-01 in the Gregorian calendar. Years begin in March here,
/// so that the day that comes and goes is the last of its year.
fn day_of_month(days: i64) -> i64 {
    let day_of_era = days.saturating_add(719_468).rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    day_of_year - (153 * month + 2) / 5 + 1
}

impl fmt::Display for UnixMicros {
    /// RFC 3339 in UTC, to the microsecond as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// The source of time. Tests give their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock.
    fn now(&self) -> UnixMicros;
    /// A clock that never goes back, in microseconds since an arbitrary start.
    fn monotonic_us(&self) -> u64;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixMicros {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMicros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn micros(zoned: &jiff::Zoned) -> i64 {
        zoned.timestamp().as_microsecond()
    }

    proptest! {
        #[test]
        fn months_are_those_of_the_calendar(second in -62_000_000_000_i64..200_000_000_000, part in 0..1_000_000_i64) {
            let at = UnixMicros::new(second * 1_000_000 + part);
            let zoned = jiff::Timestamp::from_microsecond(at.get()).unwrap().to_zoned(TimeZone::UTC);
            let first = zoned.date().first_of_month();
            let next = first.checked_add(jiff::ToSpan::months(1)).unwrap();
            prop_assert_eq!(at.month_start().get(), micros(&first.to_zoned(TimeZone::UTC).unwrap()));
            prop_assert_eq!(at.next_month_start().get(), micros(&next.to_zoned(TimeZone::UTC).unwrap()));
        }
    }
}
