//! Windows against the calendar of every zone of the tz database.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> UnixMicros {
    micros(text.parse::<Timestamp>().unwrap())
}

fn day(at: UnixMicros, zone: &TimeZone) -> Date {
    zone.to_datetime(Timestamp::from_microsecond(at.get()).unwrap()).date()
}

fn zones() -> Vec<String> {
    let zones: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    assert!(zones.len() > 400, "the tz database is there: {}", zones.len());
    zones
}

/// One microsecond earlier or later.
fn beside(at: UnixMicros, by: i64) -> UnixMicros {
    UnixMicros::new(at.get() + by)
}

/// The whole definition: the window holds the instant, meets its neighbours, and begins at the first instant of its first
/// local day.
fn check(period: Period, now: UnixMicros, zone_name: &str, week_start: WeekStart) {
    let zone = TimeZone::get(zone_name).unwrap();
    let told = format!("{period:?} {zone_name} {week_start:?} {now}");
    let of = |at| period.window(at, zone_name, week_start).unwrap();
    let window = of(now);
    assert!(window.start <= now && now < window.end, "{told}: {window:?}");
    assert_eq!(of(window.start), window, "{told}");
    assert_eq!(of(beside(window.end, -1)), window, "{told}");
    assert_eq!(of(window.end).start, window.end, "{told}: no gap, no overlap");
    assert_eq!(of(beside(window.start, -1)).end, window.start, "{told}: no gap, no overlap");
    // The local date at the start is the first day, or the day after days that the zone skipped.
    let (first, before) = (day(window.start, &zone), day(beside(window.start, -1), &zone));
    assert!(before < first, "{told}: {before} {first}");
    let begun = period.first_day(first, week_start).unwrap();
    assert!(before < begun, "{told}: the first instant of {begun}, not {first}");
}

#[test]
fn windows_follow_the_local_calendar() {
    let cases = [
        (Period::Daily, "UTC", "2026-11-23T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        (Period::Weekly, "UTC", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        (Period::Monthly, "UTC", "2027-02-28T23:59:59Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
        // Days of 25 and of 23 hours.
        (Period::Daily, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        (Period::Daily, "Europe/Berlin", "2027-03-28T12:00:00Z", "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"),
        (Period::Monthly, "America/New_York", "2026-11-01T03:00:00Z", "2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z"),
        // A clock set forward at midnight: the day begins at one.
        (Period::Daily, "Asia/Beirut", "2026-03-29T12:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"),
        // Forward from half past eleven to half past twelve: the day begins at half past twelve.
        (Period::Daily, "America/Toronto", "1919-03-31T12:00:00Z", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z"),
        // The day that Samoa skipped: the 29th ends where the 31st begins.
        (Period::Daily, "Pacific/Apia", "2011-12-30T05:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        (Period::Daily, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        // Back from a minute past midnight: what comes of the old day again is part of the new one.
        (Period::Daily, "America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),
    ];
    for (period, zone, now, start, end) in cases {
        let window = period.window(at(now), zone, WeekStart::Monday);
        assert_eq!(window, Ok(Window { start: at(start), end: at(end) }), "{period:?} {zone} {now}");
    }
    assert!(Period::Daily.window(at("2026-11-23T12:00:00Z"), "Mars/Olympus", WeekStart::Monday).is_err());
}

#[test]
fn weeks_begin_on_the_day_that_was_chosen() {
    let now = at("2026-11-24T12:00:00Z");
    for (number, week_start) in WeekStart::ALL.into_iter().enumerate() {
        assert_eq!(WeekStart::parse(week_start.as_str()), Some(week_start));
        let window = Period::Weekly.window(now, "UTC", week_start).unwrap();
        let expected = if number < 2 { 23 + number } else { 16 + number };
        assert_eq!(window.start, at(&format!("2026-11-{expected}T00:00:00Z")), "{week_start:?}");
    }
    assert_eq!((WeekStart::parse(""), WeekStart::parse("Montag")), (Some(WeekStart::Monday), None));
}

#[test]
fn in_every_zone_of_the_tz_database_periods_partition_time_across_every_change_of_the_clock() {
    let (from, to): (Timestamp, Timestamp) =
        ("1970-01-01T00:00:00Z".parse().unwrap(), "2040-01-01T00:00:00Z".parse().unwrap());
    let mut changes = 0;
    for name in zones() {
        let zone = TimeZone::get(&name).unwrap();
        for transition in zone.following(from).take_while(|transition| transition.timestamp() < to) {
            changes += 1;
            let change = micros(transition.timestamp());
            for beside_us in [-1_800_000_000, -1, 0, 1_800_000_000] {
                let now = beside(change, beside_us);
                check(Period::Daily, now, &name, WeekStart::Monday);
                if [-1, 0].contains(&beside_us) {
                    check(Period::Weekly, now, &name, WeekStart::Sunday);
                    check(Period::Monthly, now, &name, WeekStart::Monday);
                }
            }
        }
    }
    assert!(changes > 10_000, "the changes of all zones were walked: {changes}");
}

#[test]
fn in_every_zone_of_the_tz_database_months_end_where_the_next_ones_begin() {
    for name in zones() {
        for month in 0..24_i64 {
            let (year, month) = (2027 + month / 12, month % 12 + 1);
            let first = at(&format!("{year}-{month:02}-01T00:00:00Z"));
            for hours in [-15, -1, 0, 13] {
                check(Period::Monthly, beside(first, hours * 3_600_000_000), &name, WeekStart::Monday);
            }
        }
    }
}

proptest! {
    #[test]
    fn every_instant_is_inside_its_window_and_windows_meet(
        micros in 0_i64..2_500_000_000_000_000,
        zone in prop::sample::select(zones()),
        period in prop::sample::select(Period::ALL.to_vec()),
        week_start in prop::sample::select(WeekStart::ALL.to_vec()),
    ) {
        check(period, UnixMicros::new(micros), &zone, week_start);
    }

    #[test]
    fn a_changed_calendar_waits_for_its_own_first_boundary_and_no_window_of_it_gives_the_limit_twice(
        micros in 1_700_000_000_000_000_i64..2_000_000_000_000_000,
        later_us in -200_000_000_000_i64..6_000_000_000_000,
        (old, new) in (prop::sample::select(zones()), prop::sample::select(zones())),
        period in prop::sample::select(Period::ALL.to_vec()),
        (old_day, new_day) in (prop::sample::select(WeekStart::ALL.to_vec()), prop::sample::select(WeekStart::ALL.to_vec())),
    ) {
        let changed_at = UnixMicros::new(micros);
        let begun = period.window(changed_at, &old, old_day).unwrap();
        let zone = |name: &str, day: WeekStart| Zone::new(name, day.as_str()).unwrap();
        let calendar = Calendar { zone: zone(&new, new_day), prior: Some((zone(&old, old_day), begun.end)) };
        let of = |at| calendar.window(period, at).unwrap();
        let stretched = of(changed_at);
        // it is the account that had begun, and it ends where the new calendar begins something
        prop_assert_eq!(stretched.start, begun.start);
        prop_assert!(begun.end <= stretched.end);
        prop_assert_eq!(period.window(stretched.end, &new, new_day).unwrap().start, stretched.end);
        // the first such boundary
        let before = period.window(beside(stretched.end, -1), &new, new_day).unwrap();
        prop_assert!(before.start < begun.end);
        // windows partition time before, in and after it
        let window = of(beside(changed_at, later_us));
        prop_assert!(window.start <= beside(changed_at, later_us) && beside(changed_at, later_us) < window.end);
        prop_assert_eq!(of(window.start), window);
        prop_assert_eq!(of(beside(window.end, -1)), window);
        prop_assert_eq!(of(window.end).start, window.end);
        prop_assert_eq!(of(beside(window.start, -1)).end, window.start);
        if window.start >= stretched.end {
            prop_assert_eq!(window, period.window(window.start, &new, new_day).unwrap());
        }
    }
}

#[test]
fn a_week_that_begins_on_another_day_begins_when_that_day_comes_again() {
    // weeks begin on Mondays until the 30th, then on Tuesdays: Monday is part of the week before
    let zone = |day: &str| Zone::new("UTC", day).unwrap();
    let of = |new: &str, until: &str, now: &str| {
        let calendar = Calendar { zone: zone(new), prior: Some((zone("monday"), at(until))) };
        calendar.window(Period::Weekly, at(now)).unwrap()
    };
    let week = |start: &str, end: &str| Window { start: at(start), end: at(end) };
    let stretched = week("2026-11-23T00:00:00Z", "2026-12-01T00:00:00Z");
    for now in ["2026-11-23T00:00:00Z", "2026-11-29T23:59:59Z", "2026-11-30T00:00:00Z", "2026-11-30T23:59:59Z"] {
        assert_eq!(of("tuesday", "2026-11-30T00:00:00Z", now), stretched, "{now}");
    }
    let next = week("2026-12-01T00:00:00Z", "2026-12-08T00:00:00Z");
    assert_eq!(of("tuesday", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"), next);
    let earlier = week("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
    assert_eq!(of("tuesday", "2026-11-30T00:00:00Z", "2026-11-22T12:00:00Z"), earlier);
    // changed once more on that Monday, to Wednesdays: the same week goes on, and nothing begins in between
    let again = week("2026-11-23T00:00:00Z", "2026-12-02T00:00:00Z");
    for now in ["2026-11-23T00:00:00Z", "2026-11-30T12:00:00Z", "2026-12-01T12:00:00Z"] {
        assert_eq!(of("wednesday", "2026-12-01T00:00:00Z", now), again, "{now}");
    }
}
