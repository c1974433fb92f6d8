//! Calendar periods in a time zone: when a budget's window begins and ends.
//!
//! Rule: a window is `[start, end)` in UTC; every instant is in exactly one window of a period and zone. A window begins at
//! the first instant whose local date is its first day: also where midnight does not exist, comes twice, or the whole day
//! is skipped. Days of 23 and 25 hours and short months are the calendar's business, not arithmetic's. A changed calendar
//! holds from its first boundary at or after the end of the window that the old one had begun; that window is stretched so
//! far. So windows still partition time, and no window of either calendar gives a budget its limit a second time.

use crate::snapshot::resource;
use crate::time::UnixMicros;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// How long a budget runs before it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From local midnight to local midnight.
    Daily,
    /// From one first day of the week to the next.
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

/// Where and when a budget's periods begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    zone: Zone,
    /// The one that held before, and the instant it ends at.
    prior: Option<(Zone, UnixMicros)>,
}

/// A time zone, checked, and the day that weeks begin on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Zone {
    name: String,
    week_start: WeekStart,
}

/// The day that weeks begin on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeekStart {
    /// As ISO 8601 counts.
    #[default]
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// A calendar that cannot be used, or a time outside of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Not an IANA zone name.
    #[error("`{0}` is not a time zone of the IANA database, such as \"Europe/Berlin\" or \"UTC\"")]
    UnknownZone(String),
    /// Not a day.
    #[error("`{0}` is not a day that weeks may begin on, such as \"monday\" or \"sunday\"")]
    UnknownDay(String),
    /// The calendar cannot say.
    #[error("the time {0} is outside the calendar")]
    OutOfRange(UnixMicros),
}

impl WeekStart {
    /// Every day.
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }

    /// Reads the stable name, and nothing as Monday; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::default());
        }
        Self::ALL.into_iter().find(|day| day.as_str() == name)
    }

    fn weekday(self) -> Weekday {
        match self {
            Self::Monday => Weekday::Monday,
            Self::Tuesday => Weekday::Tuesday,
            Self::Wednesday => Weekday::Wednesday,
            Self::Thursday => Weekday::Thursday,
            Self::Friday => Weekday::Friday,
            Self::Saturday => Weekday::Saturday,
            Self::Sunday => Weekday::Sunday,
        }
    }
}

impl Calendar {
    /// Checks the calendar of a budget.
    ///
    /// # Errors
    /// [`PeriodError`] for a zone or a day that is not known.
    pub fn of(budget: &resource::Budget) -> Result<Self, PeriodError> {
        let prior = match &budget.prior {
            Some(prior) => Some((Zone::new(&prior.timezone, &prior.week_start)?, prior.until)),
            None => None,
        };
        Ok(Self { zone: Zone::new(&budget.timezone, &budget.week_start)?, prior })
    }

    /// The name of the zone of the window that begins at an instant.
    pub fn timezone(&self, at: UnixMicros) -> &str {
        &self.held_at(at).name
    }

    /// The day that weeks begin on, by the calendar of the window that begins at an instant.
    pub fn week_start(&self, at: UnixMicros) -> WeekStart {
        self.held_at(at).week_start
    }

    /// The window of a period that contains `at`.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`] for a time outside the calendar.
    pub fn window(&self, period: Period, at: UnixMicros) -> Result<Window, PeriodError> {
        let Some((prior, until)) = &self.prior else { return self.zone.window(period, at) };
        if at >= *until {
            let window = self.zone.window(period, at)?;
            // one that had begun before is not given: the old calendar's is stretched over it
            let is_whole = window.start >= *until;
            return if is_whole { Ok(window) } else { self.last_of(period, (prior, *until)) };
        }
        let window = prior.window(period, at)?;
        // a change of a calendar that had been changed may come between two boundaries
        let cut = prior.window(period, *until)?.start;
        if window.end < cut { Ok(window) } else { self.last_of(period, (prior, *until)) }
    }

    /// The last window of the old calendar: the one that ends at `until`, or ended last before it, stretched to the first
    /// boundary of this one.
    fn last_of(&self, period: Period, (prior, until): (&Zone, UnixMicros)) -> Result<Window, PeriodError> {
        let cut = prior.window(period, until)?.start;
        let begun = prior.window(period, UnixMicros::new(cut.get().saturating_sub(1)))?;
        let next = self.zone.window(period, until)?;
        let end = if next.start == until { until } else { next.end };
        Ok(Window { start: begun.start, end })
    }

    fn held_at(&self, at: UnixMicros) -> &Zone {
        match &self.prior {
            Some((prior, until)) if at < *until => prior,
            _ => &self.zone,
        }
    }
}

impl Zone {
    fn new(name: &str, week_start: &str) -> Result<Self, PeriodError> {
        zone_named(name)?;
        let week_start = WeekStart::parse(week_start).ok_or_else(|| PeriodError::UnknownDay(week_start.to_owned()))?;
        Ok(Self { name: name.to_owned(), week_start })
    }

    fn window(&self, period: Period, at: UnixMicros) -> Result<Window, PeriodError> {
        period.window(at, &self.name, self.week_start)
    }
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
    pub fn window(self, at: UnixMicros, zone: &str, week_start: WeekStart) -> Result<Window, PeriodError> {
        let zone = zone_named(zone)?;
        let out_of_range = || PeriodError::OutOfRange(at);
        let now = Timestamp::from_microsecond(at.get()).map_err(|_| out_of_range())?;
        let mut first = self.first_day(zone.to_datetime(now).date(), week_start).ok_or_else(out_of_range)?;
        // A clock set back over midnight shows yesterday's date once more: that is part of today.
        loop {
            let next = self.next(first).ok_or_else(out_of_range)?;
            let end = beginning(next, &zone).ok_or_else(out_of_range)?;
            if now < end {
                let start = beginning(first, &zone).ok_or_else(out_of_range)?;
                return Ok(Window { start: micros(start), end: micros(end) });
            }
            first = next;
        }
    }

    fn first_day(self, date: Date, week_start: WeekStart) -> Option<Date> {
        match self {
            Self::Daily => Some(date),
            Self::Weekly => date.checked_sub(i64::from(date.weekday().since(week_start.weekday())).days()).ok(),
            Self::Monthly => Some(date.first_of_month()),
        }
    }

    fn next(self, first_day: Date) -> Option<Date> {
        let span = match self {
            Self::Daily => 1.day(),
            Self::Weekly => 1.week(),
            Self::Monthly => 1.month(),
        };
        first_day.checked_add(span).ok()
    }
}

/// The first instant whose local date is `date` or later.
fn beginning(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = DateTime::from_parts(date, Time::midnight());
    let at = |offset: Offset| offset.to_timestamp(midnight).ok();
    match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        // it comes twice: the first time
        AmbiguousOffset::Fold { before, .. } => at(before),
        // it never comes: the day begins when the clock is set forward
        AmbiguousOffset::Gap { before, .. } => {
            let after = at(before)?.checked_add(1.nanosecond()).ok()?;
            zone.preceding(after).next().map(|transition| transition.timestamp())
        }
    }
}

fn micros(timestamp: Timestamp) -> UnixMicros {
    UnixMicros::new(timestamp.as_microsecond())
}

fn zone_named(name: &str) -> Result<TimeZone, PeriodError> {
    TimeZone::get(name).map_err(|_| PeriodError::UnknownZone(name.to_owned()))
}

#[cfg(test)]
mod tests;
