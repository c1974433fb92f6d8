//! `ledger forecast`: when each budget will be spent, and how sure that is.

use super::Common;
use super::context::{block_on, load_instance, open};
use super::report::columns;
use crate::output;
use helix_control_plane::app::forecast::Foretold;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let budgets = app.forecast_budgets().await;
        app.close().await;
        let budgets = budgets?;
        let head = ["budget", "limit USD", "spent USD", "resets", "spent on", "give or take"];
        let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
        lines.extend(budgets.iter().map(line));
        let text = if budgets.is_empty() { "There are no budgets.".to_owned() } else { columns(&lines) };
        let values: Vec<_> = budgets
            .iter()
            .map(|it| {
                let moment = |at: Option<helix_shared::time::UnixMicros>| at.map(|at| at.to_string());
                json!({
                    "budgetId": it.budget_id, "scope": it.scope, "period": it.period,
                    "limitUsd": it.limit.to_string(), "limitNanoUsd": it.limit.get(),
                    "spentUsd": it.spent.to_string(), "spentNanoUsd": it.spent.get(),
                    "resetsAt": it.window.end.to_string(), "exhaustedAt": moment(it.forecast.expected),
                    "earliest": moment(it.forecast.earliest), "latest": moment(it.forecast.latest),
                    "daysKnown": it.forecast.days_known,
                })
            })
            .collect();
        output::answer(common.json(), &text, &json!({ "forecasts": values }));
        Ok(ExitCode::SUCCESS)
    })
}

fn line(it: &Foretold) -> Vec<String> {
    let date = |at: helix_shared::time::UnixMicros| at.to_string().chars().take(10).collect::<String>();
    let expected = it.forecast.expected.map_or_else(|| "not before it resets".to_owned(), date);
    let range = match (it.forecast.give_or_take_days(), it.forecast.earliest) {
        (Some(0), _) => "less than a day".to_owned(),
        (Some(1), _) => "1 day".to_owned(),
        (Some(days), _) => format!("{days} days"),
        (None, Some(earliest)) => format!("{} at the earliest", date(earliest)),
        (None, None) => String::new(),
    };
    vec![it.label.clone(), it.limit.to_string(), it.spent.to_string(), date(it.window.end), expected, range]
}
