//! When a budget will be spent, and how sure that is.
//!
//! Rule: exact integers and no chance: the same days give the same answer. A day is expected to cost what the same weekday
//! cost on average in the days that are known (every day, while fewer than two weeks are). How far days strayed from that
//! gives the range: over `k` days the sum strays by the root of `k` times as much, and the range is what four of five such
//! sums stay within. Today counts where it is out of the ordinary, or where no day is known: what was spent since its first
//! hour with any goes on as it is, at the earliest twice as fast. Nothing is said beyond the end of the period: there the
//! budget begins anew.

use crate::money::NanoUsd;
use crate::time::UnixMicros;

const DAY_US: i64 = 86_400_000_000;
/// The least time that today's pace is taken from.
const HOUR_US: i64 = 3_600_000_000;
/// Days before the same weekday is told apart from others.
const WEEKDAYS_FROM: usize = 14;
/// The most days that count: eight weeks.
pub const MOST_DAYS: usize = 56;
/// Standard deviations, in millionths, that four of five sums stay within.
const FOUR_OF_FIVE_PPM: i128 = 1_281_552;
/// The longest that is looked ahead, in days.
const LONGEST: usize = 400;

/// What is known of a budget.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'d> {
    /// What each whole day cost, UTC, the oldest first; the last one is yesterday. Only the last [`MOST_DAYS`] count.
    pub days: &'d [NanoUsd],
    /// What today cost so far; `None`: nothing.
    pub today: Option<Today>,
    /// Now.
    pub now: UnixMicros,
    /// What is left of the limit; zero or below: it is spent.
    pub left: NanoUsd,
    /// First instant after the period.
    pub period_end: UnixMicros,
}

/// The day that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Today {
    /// What it cost so far.
    pub spent: NanoUsd,
    /// When that began.
    pub since: UnixMicros,
}

/// When a budget will be spent. `None`: not before its period ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// At the expected pace.
    pub expected: Option<UnixMicros>,
    /// If days cost as much as four of five allow.
    pub earliest: Option<UnixMicros>,
    /// If they cost as little.
    pub latest: Option<UnixMicros>,
    /// How many whole days it was made of.
    pub days_known: usize,
    /// Whether the expected moment is that of today's own pace.
    pub is_of_today: bool,
}

impl Forecast {
    /// Half of the time between the earliest and the latest moment, in whole days, rounded up; `None` without a range.
    pub fn give_or_take_days(&self) -> Option<i64> {
        let width = self.latest?.get().saturating_sub(self.earliest?.get());
        Some((width / 2).saturating_add(DAY_US - 1) / DAY_US)
    }
}

/// Foretells when a budget will be spent.
pub fn forecast(outlook: &Outlook<'_>) -> Forecast {
    let skipped = outlook.days.len().saturating_sub(MOST_DAYS);
    let days: Vec<i128> = outlook.days.iter().skip(skipped).map(|day| i128::from(day.get()).max(0)).collect();
    let mut forecast = Forecast { days_known: days.len(), ..Forecast::default() };
    if outlook.left <= NanoUsd::ZERO {
        let now = Some(outlook.now);
        return Forecast { expected: now, earliest: now, latest: now, ..forecast };
    }
    let is_quiet = days.iter().all(|day| *day == 0);
    if !is_quiet {
        let pace = Pace::of(&days);
        let mut walk = Walk { pace: &pace, outlook, is_done: false };
        walk.run(&mut forecast);
        if daily(outlook) <= pace.day(0).saturating_add(pace.stray(i128::from(DAY_US))) {
            return forecast;
        }
    }
    as_today(outlook, is_quiet, &mut forecast);
    forecast
}

/// Goes on as today, where that is sooner.
fn as_today(outlook: &Outlook<'_>, is_all: bool, forecast: &mut Forecast) {
    let at = |times: i128, of: i128| {
        let daily = daily(outlook).saturating_mul(times) / of;
        let left = i128::from(outlook.left.get()).saturating_mul(i128::from(DAY_US));
        let micros = i64::try_from((left.saturating_add(daily - 1)).checked_div(daily)?).ok()?;
        let moment = outlook.now.get().checked_add(micros)?;
        (moment < outlook.period_end.get()).then_some(UnixMicros::new(moment))
    };
    let sooner = |one: Option<UnixMicros>, other: Option<UnixMicros>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let expected = sooner(forecast.expected, at(1, 1));
    forecast.is_of_today = expected != forecast.expected;
    forecast.expected = expected;
    forecast.earliest = sooner(forecast.earliest, at(2, 1));
    if is_all {
        forecast.latest = at(1, 2);
    }
}

/// What a whole day costs at today's pace.
fn daily(outlook: &Outlook<'_>) -> i128 {
    let Some(today) = outlook.today else { return 0 };
    let length = outlook.now.get().saturating_sub(today.since.get()).max(HOUR_US);
    i128::from(today.spent.get()).max(0).saturating_mul(i128::from(DAY_US)) / i128::from(length)
}

/// What days cost on average, and how far they stray.
struct Pace {
    /// By place in the week of the first day that is known, or one for all.
    means: Vec<i128>,
    /// The mean of the squares of what days strayed.
    variance: i128,
    /// How many days are known.
    known: usize,
}

impl Pace {
    fn of(days: &[i128]) -> Self {
        let places = if days.len() >= WEEKDAYS_FROM { 7 } else { 1 };
        let mean = |place: usize| {
            let same = days.iter().skip(place).step_by(places);
            let (sum, count) = same.fold((0_i128, 0_i128), |(sum, count), day| (sum + day, count + 1));
            sum / count.max(1)
        };
        let means: Vec<i128> = (0..places).map(mean).collect();
        let squares = days.iter().zip(means.iter().cycle()).map(|(day, mean)| {
            let strayed = day - mean;
            strayed.saturating_mul(strayed)
        });
        let count = i128::try_from(days.len()).unwrap_or(1).max(1);
        let variance = squares.fold(0_i128, i128::saturating_add) / count;
        Self { means, variance, known: days.len() }
    }

    /// What the day that is so many days after yesterday is expected to cost; 0 is today.
    fn day(&self, ahead: usize) -> i128 {
        let place = (self.known + ahead) % self.means.len().max(1);
        self.means.get(place).copied().unwrap_or_default()
    }

    /// How far the sum over a time may stray, four times of five.
    fn stray(&self, micros: i128) -> i128 {
        let square = self.variance.checked_mul(micros).map_or_else(
            || (self.variance / i128::from(DAY_US)).saturating_mul(micros),
            |product| product / i128::from(DAY_US),
        );
        let root = i128::try_from(square.max(0).unsigned_abs().isqrt()).unwrap_or(i128::MAX);
        root.saturating_mul(FOUR_OF_FIVE_PPM) / 1_000_000
    }
}

/// The way from now to the end of the period, a day at a time.
struct Walk<'w> {
    pace: &'w Pace,
    outlook: &'w Outlook<'w>,
    is_done: bool,
}

impl Walk<'_> {
    fn run(&mut self, forecast: &mut Forecast) {
        let (now, end) = (self.outlook.now.get(), self.outlook.period_end.get());
        let left = i128::from(self.outlook.left.get());
        let today = now.saturating_sub(now.rem_euclid(DAY_US));
        // what was spent so far on each of the three paces, at the beginning of the step
        let mut before = [0_i128; 3];
        let mut spent = 0_i128;
        for ahead in 0..LONGEST {
            let days = i64::try_from(ahead).unwrap_or(i64::MAX);
            let start = today.saturating_add(days.saturating_mul(DAY_US)).max(now);
            let stop = today.saturating_add(days.saturating_add(1).saturating_mul(DAY_US)).min(end);
            if start >= end || self.is_done {
                return;
            }
            let length = i128::from(stop.saturating_sub(start));
            spent = spent.saturating_add(self.pace.day(ahead).saturating_mul(length) / i128::from(DAY_US));
            let stray = self.pace.stray(i128::from(stop.saturating_sub(now)));
            // a sum never shrinks
            let after = [spent, spent.saturating_add(stray).max(before[1]), spent.saturating_sub(stray).max(before[2])];
            let moments = [&mut forecast.expected, &mut forecast.earliest, &mut forecast.latest];
            for ((moment, after), before) in moments.into_iter().zip(after).zip(before) {
                if moment.is_none() && after >= left {
                    // evenly over the step, rounded up: never before it is spent
                    let share = (left - before).saturating_mul(length);
                    let part = share.saturating_add(after - before - 1) / (after - before).max(1);
                    let part = i64::try_from(part).unwrap_or(i64::MAX);
                    let at = start.saturating_add(part).min(stop);
                    // at the end of the period it begins anew
                    *moment = (at < end).then_some(UnixMicros::new(at));
                }
            }
            before = after;
            self.is_done = forecast.latest.is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-24T12:00:00Z, a Tuesday.
    const NOW: UnixMicros = UnixMicros::new(1_795_521_600_000_000);
    const END: UnixMicros = UnixMicros::new(1_795_521_600_000_000 + 60 * DAY_US);

    fn days(of: &[i64]) -> Vec<NanoUsd> {
        of.iter().copied().map(NanoUsd::new).collect()
    }

    fn ask(of: &[i64], left: i64) -> Forecast {
        ask_today(of, 0, left)
    }

    /// `today`: what it cost in the twelve hours that are over.
    fn ask_today(of: &[i64], today: i64, left: i64) -> Forecast {
        let since = UnixMicros::new(NOW.get() - DAY_US / 2);
        let today = (today > 0).then(|| Today { spent: NanoUsd::new(today), since });
        forecast(&Outlook { days: &days(of), today, now: NOW, left: NanoUsd::new(left), period_end: END })
    }

    fn after(micros: i64) -> Option<UnixMicros> {
        Some(UnixMicros::new(NOW.get() + micros))
    }

    #[test]
    fn an_even_pace_is_foretold_to_the_moment() {
        // 100 a day: half of today, then whole days
        let found = ask(&[100; 28], 250);
        assert_eq!(
            (found.expected, found.earliest, found.latest),
            (after(5 * DAY_US / 2), after(5 * DAY_US / 2), after(5 * DAY_US / 2))
        );
        assert_eq!((found.days_known, found.give_or_take_days()), (28, Some(0)));
    }

    #[test]
    fn weekends_without_work_are_expected_without_work() {
        // yesterday was a Monday: four weeks from a Tuesday on
        let week = [10, 10, 10, 10, 0, 0, 10];
        let month: Vec<i64> = week.iter().copied().cycle().take(28).collect();
        // today's half, Wednesday, Thursday, Friday; then nothing until Monday
        let found = ask(&month, 36);
        let monday = 6 * DAY_US - DAY_US / 2;
        assert!(found.expected > after(monday) && found.expected < after(monday + DAY_US), "{found:?}");
        assert_eq!(found.give_or_take_days(), Some(0));
    }

    #[test]
    fn days_that_stray_make_a_range() {
        let found = ask(&[50, 150, 80, 120, 60, 140, 100, 90, 110, 100], 1_000);
        let [early, expected, late] = [found.earliest, found.expected, found.latest].map(Option::unwrap);
        assert!(early < expected && expected < late, "{found:?}");
        assert!(found.give_or_take_days() >= Some(1), "{found:?}");
    }

    #[test]
    fn what_lasts_until_the_period_ends_has_no_moment() {
        assert_eq!(ask(&[100; 28], 100 * 60), Forecast { days_known: 28, ..Forecast::default() });
        assert_eq!(ask(&[], 5), Forecast::default());
        assert_eq!(ask(&[100; 3], 0).latest, Some(NOW));
        assert_eq!(ask(&[], -5).expected, Some(NOW));
    }

    #[test]
    fn where_no_day_is_known_today_goes_on_as_it_is_in_a_wide_range() {
        // 50 in half a day
        let found = ask_today(&[], 50, 250);
        assert_eq!((found.days_known, found.is_of_today), (0, true));
        assert_eq!(
            (found.earliest, found.expected, found.latest),
            (after(5 * DAY_US / 4), after(5 * DAY_US / 2), after(5 * DAY_US))
        );
        // the same after days without anything
        assert_eq!(ask_today(&[0; 28], 50, 250).expected, found.expected);
        // what was spent within the last hour counts as of an hour
        let today = Some(Today { spent: NanoUsd::new(10), since: NOW });
        let rushed = forecast(&Outlook { days: &[], today, now: NOW, left: NanoUsd::new(240), period_end: END });
        assert_eq!(rushed.expected, after(DAY_US));
        // nothing, and what lasts longer than the period
        assert_eq!(ask_today(&[], 0, 250), Forecast::default());
        let long = ask_today(&[], 1, 121);
        assert_eq!((long.earliest.is_some(), long.expected, long.is_of_today), (true, None, false));
    }

    #[test]
    fn a_day_out_of_the_ordinary_counts_although_the_weeks_before_were_quiet() {
        assert_eq!(ask_today(&[1; 28], 0, 1_000), Forecast { days_known: 28, ..Forecast::default() });
        let found = ask_today(&[1; 28], 500, 1_000);
        assert_eq!((found.expected, found.earliest, found.latest), (after(DAY_US), after(DAY_US / 2), None));
        assert!(found.is_of_today && found.give_or_take_days().is_none());
        // one within what days stray by changes nothing
        let strays = [50, 150, 80, 120, 60, 140, 100, 90, 110, 100];
        assert_eq!(ask_today(&strays, 60, 1_000), ask(&strays, 1_000));
        assert_ne!(ask_today(&strays, 90, 1_000), ask(&strays, 1_000));
    }

    /// What comes first counts as before what never comes.
    fn rank(moment: Option<UnixMicros>) -> UnixMicros {
        moment.unwrap_or(UnixMicros::new(i64::MAX))
    }

    proptest! {
        #[test]
        fn nothing_spent_is_never_exhausted(count in 0..80_usize, left in 1..i64::MAX) {
            let found = ask(&vec![0; count], left);
            prop_assert_eq!((found.expected, found.earliest, found.latest), (None, None, None));
        }

        #[test]
        fn moments_are_in_order_and_within_now_and_the_end(
            spent in proptest::collection::vec(0..=i64::MAX, 0..70), left in any::<i64>(), end in -5 * DAY_US..500 * DAY_US,
        ) {
            let period_end = UnixMicros::new(NOW.get() + end);
            let found = forecast(&Outlook { days: &days(&spent), today: None, now: NOW, left: NanoUsd::new(left), period_end });
            let [early, expected, late] = [found.earliest, found.expected, found.latest].map(rank);
            prop_assert!(early <= expected && expected <= late);
            for moment in [found.earliest, found.expected, found.latest].into_iter().flatten() {
                prop_assert!(moment >= NOW);
                prop_assert!(moment < period_end || left <= 0);
            }
        }

        #[test]
        fn more_spending_is_never_expected_to_last_longer(
            spent in proptest::collection::vec((0..1_000_000_i64, 0..1_000_000_i64), 1..70), left in 1..50_000_000_i64,
        ) {
            let less: Vec<i64> = spent.iter().map(|day| day.0).collect();
            let more: Vec<i64> = spent.iter().map(|day| day.0 + day.1).collect();
            prop_assert!(rank(ask(&more, left).expected) <= rank(ask(&less, left).expected));
        }

        #[test]
        fn more_spent_today_never_lasts_longer_and_moments_stay_in_order(
            spent in proptest::collection::vec(0..1_000_000_i64, 0..70), left in 1..50_000_000_i64,
            today in 0..1_000_000_i64, more in 0..10_000_000_i64,
        ) {
            let (less, more) = (ask_today(&spent, today, left), ask_today(&spent, today + more, left));
            prop_assert!(rank(more.expected) <= rank(less.expected));
            prop_assert!(rank(more.earliest) <= rank(less.earliest));
            for found in [less, more] {
                let [early, expected, late] = [found.earliest, found.expected, found.latest].map(rank);
                prop_assert!(early <= expected && expected <= late, "{:?}", found);
                prop_assert!(found.expected.is_none_or(|at| at >= NOW && at < END));
            }
        }

        #[test]
        fn less_left_never_lasts_longer(
            spent in proptest::collection::vec(0..1_000_000_i64, 1..70), left in 1..50_000_000_i64, less in 0..50_000_000_i64,
        ) {
            let (rich, poor) = (ask(&spent, left), ask(&spent, left - less.min(left - 1)));
            prop_assert!(rank(poor.expected) <= rank(rich.expected));
            prop_assert!(rank(poor.earliest) <= rank(rich.earliest));
            prop_assert!(rank(poor.latest) <= rank(rich.latest));
        }
    }
}
