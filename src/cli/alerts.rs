//! `ledger alerts`: what people are told of budgets, from the ledger itself.

use super::Common;
use super::context::{block_on, load_instance, open};
use crate::output::{self, count};
use clap::Args;
use helix_control_plane::{Actor, BudgetEvent};
use helix_shared::budget::Share;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What `ledger alerts` needs.
#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// The most that are listed, the newest first.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

pub(super) fn list(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let events = app.budget_events(&Actor::Operator, args.limit).await;
        app.close().await;
        let events = events?;
        let mut text = match events.len() {
            0 => "No budget has reached a share that people are told of.".to_owned(),
            n => format!("{}, the newest first:", count(u64::try_from(n).unwrap_or(u64::MAX), "alert")),
        };
        for event in &events {
            let BudgetEvent { at, label, used_nano, limit_nano, period_end, kind, .. } = event;
            let share = share(event);
            text.push_str(&format!(
                "\n  {at}  {kind} {share}: {label}, {used_nano} of {limit_nano} USD, resets at {period_end}"
            ));
        }
        let values: Vec<Value> = events.iter().map(event_json).collect();
        output::answer(args.common.json(), &text, &json!({ "alerts": values }));
        Ok(ExitCode::SUCCESS)
    })
}

fn share(event: &BudgetEvent) -> String {
    Share::of_ten_thousandths(event.threshold).map(|share| share.to_string()).unwrap_or_default()
}

fn event_json(event: &BudgetEvent) -> Value {
    json!({
        "id": event.id, "type": event.kind, "at": event.at.to_string(), "budgetId": event.budget_id,
        "scope": event.scope, "label": event.label, "threshold": share(event),
        "usedUsd": event.used_nano.to_string(), "usedNanoUsd": event.used_nano.get(),
        "limitUsd": event.limit_nano.to_string(), "limitNanoUsd": event.limit_nano.get(),
        "periodStart": event.period_start.to_string(), "resetsAt": event.period_end.to_string(),
    })
}
