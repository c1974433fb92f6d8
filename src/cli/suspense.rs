//! `ledger suspense`, `release` and `restored`: what vanished data planes hold of budgets, and what an operator says of it.
//!
//! Rule: money that nobody can account for counts as spent until a journal, the end of the period or a person with a
//! reason says otherwise; the reason is kept.

use super::Common;
use super::context::{block_on, load_instance, open};
use crate::output::{self, count};
use clap::Args;
use helix_shared::budget::plane::Vanished;
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use helix_shared::time::{Clock as _, SystemClock};
use serde_json::json;
use std::process::ExitCode;

/// What `ledger release` needs.
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The process, as `ledger suspense` names it. It must be dead: it may never spend again.
    incarnation: String,
    /// The most that it can have spent since it began, by the provider's bill, in USD.
    #[arg(long, value_name = "USD")]
    spent_usd: String,
    /// Why; it is kept.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// What `ledger restored` needs.
#[derive(Debug, Args)]
pub(super) struct RestoredArgs {
    /// Which backup, and why; it is kept.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let listed = app.db().suspense(SystemClock::new().now()).await?;
        let awaited = app.db().awaited().await?;
        app.close().await;
        let mut text = match listed.len() {
            0 => "No vanished data plane holds money of a budget.".to_owned(),
            n => format!(
                "{} in suspense. It counts as spent; it comes free by the data plane's journal or by `ledger release`:",
                count(u64::try_from(n).unwrap_or(u64::MAX), "item")
            ),
        };
        for item in &listed {
            text.push_str(&format!(
                "\n  {} USD of {} in the period from {}: data plane {}, process {}, {}, last heard {}",
                item.amount,
                item.account.budget_id,
                item.account.period_start,
                item.node,
                item.incarnation,
                words(item.why),
                item.since
            ));
        }
        let is_learning = awaited.is_some();
        let awaited: Vec<[String; 3]> = awaited
            .into_iter()
            .flatten()
            .map(|one| [one.node.to_string(), one.incarnation.to_string(), one.since.to_string()])
            .collect();
        if is_learning {
            text.push_str(&waits_for(&awaited));
        }
        let awaiting: Vec<_> = awaited
            .iter()
            .map(|[node, incarnation, since]| json!({ "nodeId": node, "incarnation": incarnation, "lastHeard": since }))
            .collect();
        let items: Vec<_> = listed
            .iter()
            .map(|item| {
                json!({
                    "nodeId": item.node.as_str(), "incarnation": item.incarnation.as_str(),
                    "budgetId": item.account.budget_id.as_str(), "periodStart": item.account.period_start.to_string(),
                    "amountUsd": item.amount.to_string(), "amountNanoUsd": item.amount.get(),
                    "lastHeard": item.since.to_string(), "why": words(item.why),
                })
            })
            .collect();
        output::answer(
            common.json(),
            &text,
            &json!({ "suspense": items, "isLearning": is_learning, "awaited": awaiting }),
        );
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn release(args: &ReleaseArgs) -> anyhow::Result<ExitCode> {
    let spent: NanoUsd = args.spent_usd.parse().map_err(|error| anyhow::anyhow!("--spent-usd: {error}"))?;
    anyhow::ensure!(spent >= NanoUsd::ZERO, "--spent-usd must not be below zero");
    anyhow::ensure!(!args.reason.trim().is_empty(), "--reason must say why");
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let incarnation = Incarnation::from(args.incarnation.as_str());
        let released = app.db().release_suspense(&incarnation, spent, &args.reason, SystemClock::new().now()).await;
        app.close().await;
        let released = released?;
        let text = format!("Released {released} USD over all accounts of {incarnation}; it may spend no more.");
        let value = json!({
            "ok": true, "incarnation": incarnation.as_str(), "releasedUsd": released.to_string(),
            "releasedNanoUsd": released.get(),
        });
        output::answer(args.common.json(), &text, &value);
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn restored(args: &RestoredArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!args.reason.trim().is_empty(), "--reason must say why");
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let begun = app.db().begin_history(SystemClock::new().now(), &args.reason).await;
        app.close().await;
        begun?;
        let text = "Noted. Hard budgets grant nothing until every known data plane has declared what it holds; \
                    `ledger release` excuses one that is gone.";
        output::answer(args.common.json(), text, &json!({ "ok": true }));
        Ok(ExitCode::SUCCESS)
    })
}

/// Says whom the fleet waits for after a restore; each is told as a data plane, a process of it, and when it was last heard.
fn waits_for(awaited: &[[String; 3]]) -> String {
    if awaited.is_empty() {
        return "\nThe database was restored, and every data plane has declared what it holds: hard budgets grant again with \
                the next report of one."
            .to_owned();
    }
    let mut text = "\nThe database was restored: hard budgets grant nothing until these have declared what they hold. \
                    `ledger release` excuses a process that is gone for good:"
        .to_owned();
    for [node, incarnation, since] in awaited {
        text.push_str(&format!("\n  data plane {node}, process {incarnation}, last heard {since}"));
    }
    text
}

fn words(why: Vanished) -> &'static str {
    match why {
        Vanished::Torn => "its journal may lack its end",
        Vanished::Replaced => "started anew without its journal",
        Vanished::Silent => "silent; it may be cut off and spending",
    }
}
