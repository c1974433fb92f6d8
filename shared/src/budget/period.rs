//! Calendar periods in a time zone: when a budget's window begins and ends.
//!
//! Rule: a window is `[start, end)` in UTC; every instant is in exactly one window of a period and zone. Days of 23 and
//! 25 hours and short months are the calendar's business, not arithmetic's.

use crate::time::UnixMicros;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// How long a budget runs before it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From local midnight to local midnight.
    Daily,
    /// From Monday to Monday.
    Weekly,
    /// From the first to the first.
    Monthly,
}

/// One period of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// First instant.
    pub start: UnixMicros,
    /// First instant after it.
    pub end: UnixMicros,
}

/// A zone that the tz database does not know, or a time outside of the calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Not an IANA zone name.
    #[error("`{0}` is not a time zone of the IANA database, such as \"Europe/Berlin\" or \"UTC\"")]
    UnknownZone(String),
    /// The calendar cannot say.
    #[error("the time {0} is outside the calendar")]
    OutOfRange(UnixMicros),
}

impl Period {
    /// Every period.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// Reads the stable name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == name)
    }

    /// Returns the window that contains `at`.
    ///
    /// # Errors
    /// [`PeriodError`] for an unknown zone or a time outside the calendar.
    pub fn window(self, at: UnixMicros, zone: &str) -> Result<Window, PeriodError> {
        let zone = zone_named(zone)?;
        let out_of_range = |_| PeriodError::OutOfRange(at);
        let now = Timestamp::from_microsecond(at.get()).map_err(out_of_range)?.to_zoned(zone);
        let first_day = match self {
            Self::Daily => now.date(),
            Self::Weekly => {
                let since_monday = now.date().weekday().since(Weekday::Monday);
                now.date().checked_sub(i64::from(since_monday).days()).map_err(out_of_range)?
            }
            Self::Monthly => now.date().first_of_month(),
        };
        let span = match self {
            Self::Daily => 1.day(),
            Self::Weekly => 1.week(),
            Self::Monthly => 1.month(),
        };
        let next = first_day.checked_add(span).map_err(out_of_range)?;
        let midnight = |date: jiff::civil::Date| date.to_zoned(now.time_zone().clone()).map_err(out_of_range);
        Ok(Window { start: micros(&midnight(first_day)?), end: micros(&midnight(next)?) })
    }
}

fn micros(zoned: &Zoned) -> UnixMicros {
    UnixMicros::new(zoned.timestamp().as_microsecond())
}

fn zone_named(name: &str) -> Result<TimeZone, PeriodError> {
    TimeZone::get(name).map_err(|_| PeriodError::UnknownZone(name.to_owned()))
}

/// Checks that a zone exists.
///
/// # Errors
/// [`PeriodError::UnknownZone`].
pub fn check_zone(name: &str) -> Result<(), PeriodError> {
    zone_named(name).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> UnixMicros {
        UnixMicros::new(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn windows_follow_the_local_calendar() {
        let cases = [
            (Period::Daily, "UTC", "2026-11-23T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            (Period::Weekly, "UTC", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Period::Monthly, "UTC", "2027-02-28T23:59:59Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
            // The day of 25 hours.
            (Period::Daily, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (
                Period::Monthly,
                "America/New_York",
                "2026-11-01T03:00:00Z",
                "2026-10-01T04:00:00Z",
                "2026-11-01T04:00:00Z",
            ),
        ];
        for (period, zone, now, start, end) in cases {
            assert_eq!(
                period.window(at(now), zone),
                Ok(Window { start: at(start), end: at(end) }),
                "{period:?} {zone} {now}"
            );
        }
        assert!(Period::Daily.window(at("2026-11-23T12:00:00Z"), "Mars/Olympus").is_err());
    }

    proptest! {
        #[test]
        fn every_instant_is_inside_its_window_and_windows_meet(
            micros in 1_600_000_000_000_000_i64..2_000_000_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]),
            period in prop::sample::select(Period::ALL.to_vec()),
        ) {
            let now = UnixMicros::new(micros);
            let window = period.window(now, zone).unwrap();
            prop_assert!(window.start <= now && now < window.end);
            prop_assert_eq!(period.window(window.start, zone).unwrap(), window);
            prop_assert_eq!(period.window(window.end, zone).unwrap().start, window.end);
        }
    }
}
