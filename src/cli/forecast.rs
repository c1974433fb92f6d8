//! `ledger forecast`: when each budget will be spent, and how sure that is.

use super::Common;
use super::context::{block_on, clock, load_instance, open};
use super::report::columns;
use crate::output;
use helix_control_plane::app::forecast::Foretold;
use helix_shared::time::UnixMicros;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// A moment that is closer than this is told with its time.
const CLOSE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let budgets = app.forecast_budgets().await;
        app.close().await;
        let budgets = budgets?;
        let head = ["budget", "limit USD", "spent USD", "resets", "spent on", "give or take", "made of"];
        let now = clock().now();
        let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
        lines.extend(budgets.iter().map(|budget| line(budget, now)));
        let text = if budgets.is_empty() { "There are no budgets.".to_owned() } else { columns(&lines) };
        let values: Vec<_> = budgets
            .iter()
            .map(|it| {
                let moment = |at: Option<UnixMicros>| at.map(|at| at.to_string());
                json!({
                    "budgetId": it.budget_id, "scope": it.scope, "period": it.period,
                    "limitUsd": it.limit.to_string(), "limitNanoUsd": it.limit.get(),
                    "spentUsd": it.spent.to_string(), "spentNanoUsd": it.spent.get(),
                    "resetsAt": it.window.end.to_string(), "exhaustedAt": moment(it.forecast.expected),
                    "earliest": moment(it.forecast.earliest), "latest": moment(it.forecast.latest),
                    "daysKnown": it.forecast.days_known, "isOfTodaysPace": it.forecast.is_of_today,
                })
            })
            .collect();
        output::answer(common.json(), &text, &json!({ "forecasts": values }));
        Ok(ExitCode::SUCCESS)
    })
}

fn line(it: &Foretold, now: UnixMicros) -> Vec<String> {
    let moment = |at: UnixMicros| moment(at, now);
    let expected = it.forecast.expected.map_or_else(|| "not before it resets".to_owned(), moment);
    let range = match (it.forecast.give_or_take_days(), it.forecast.earliest) {
        (Some(0), _) => "less than a day".to_owned(),
        (Some(1), _) => "1 day".to_owned(),
        (Some(days), _) => format!("{days} days"),
        (None, Some(earliest)) => format!("{} at the earliest", moment(earliest)),
        (None, None) => String::new(),
    };
    let days = match it.forecast.days_known {
        0 => String::new(),
        known => output::count(known as u64, "day"),
    };
    let made_of = match (it.forecast.is_of_today, days.is_empty()) {
        (false, false) => days,
        (false, true) => "nothing yet".to_owned(),
        (true, true) => "today so far".to_owned(),
        (true, false) => format!("today so far, above {days}"),
    };
    let (limit, spent) = (it.limit.to_string(), it.spent.to_string());
    vec![it.label.clone(), limit, spent, moment(it.window.end), expected, range, made_of]
}

/// The date in UTC, and the time as well where it is within two days.
fn moment(at: UnixMicros, now: UnixMicros) -> String {
    let text = at.to_string();
    if at.since(now) < CLOSE {
        let (date, time) = text.split_once('T').unwrap_or((text.as_str(), ""));
        return format!("{date} {}Z", time.chars().take(5).collect::<String>());
    }
    text.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_close_is_told_with_its_time() {
        let at = |text: &str| UnixMicros::parse(text).unwrap();
        let now = at("2026-11-24T12:00:00Z");
        for (text, shown) in [
            ("2026-11-24T15:04:05Z", "2026-11-24 15:04Z"),
            ("2026-11-26T11:59:59Z", "2026-11-26 11:59Z"),
            ("2026-11-26T12:00:00Z", "2026-11-26"),
            ("2026-11-24T11:00:00Z", "2026-11-24 11:00Z"),
        ] {
            assert_eq!(moment(at(text), now), shown);
        }
    }
}
