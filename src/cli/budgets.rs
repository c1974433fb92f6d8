//! `budgets list|top-up|increase|correct|entries`.
//!
//! Rule: the limit is changed where it was written; here money is put on top of it for a time, with who and why, and taken
//! back by another entry.

use super::Common;
use super::context::{block_on, environment, load_instance, open};
use crate::output::{self, count};
use clap::{Args, Subcommand};
use helix_control_plane::app::{BudgetState, Said, Span};
use helix_control_plane::{Actor, BudgetAdjustment};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum BudgetsCommand {
    /// List the budgets: limit, used, what lies on top, when they start anew.
    List(Common),
    /// Put money on top of a budget until its present period ends.
    TopUp(RaiseArgs),
    /// Raise a budget's limit for a time.
    Increase(IncreaseArgs),
    /// Take a top-up or an increase back for the rest of its time.
    Correct(CorrectArgs),
    /// List every top-up, increase and correction.
    Entries {
        #[command(flatten)]
        common: Common,
        /// Only those of this budget.
        budget: Option<String>,
    },
}

/// What every entry says.
#[derive(Debug, Args)]
pub(super) struct SaidArgs {
    /// Why; it is kept.
    #[arg(long)]
    reason: String,
    /// Who; it is kept. Without it, the user of the operating system.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RaiseArgs {
    /// The budget's id, from `budgets list`.
    budget: String,
    /// By how much, in USD.
    #[arg(long, value_name = "USD")]
    amount_usd: String,
    #[command(flatten)]
    said: SaidArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct IncreaseArgs {
    #[command(flatten)]
    raise: RaiseArgs,
    /// From when, such as 2026-12-01T00:00:00Z; without it, from now.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when, such as 2026-12-24T00:00:00+01:00. It ends by itself.
    #[arg(long, value_name = "TIME")]
    until: String,
}

#[derive(Debug, Args)]
pub(super) struct CorrectArgs {
    /// The entry's id, from `budgets entries`.
    entry: String,
    #[command(flatten)]
    said: SaidArgs,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(command: &BudgetsCommand) -> anyhow::Result<ExitCode> {
    match command {
        BudgetsCommand::List(common) => list(common),
        BudgetsCommand::TopUp(args) => raise(args, Span::ThisPeriod),
        BudgetsCommand::Increase(args) => {
            let from = args.from.as_deref().map(|text| time("--from", text)).transpose()?;
            raise(&args.raise, Span::Until { from, until: time("--until", &args.until)? })
        }
        BudgetsCommand::Correct(args) => correct(args),
        BudgetsCommand::Entries { common, budget } => entries(common, budget.as_deref()),
    }
}

fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let states = app.list_budgets(&Actor::Operator).await;
        app.close().await;
        let states = states?;
        let mut text = match states.len() {
            0 => "There are no budgets.".to_owned(),
            n => format!("{}:", count(u64::try_from(n).unwrap_or(u64::MAX), "budget")),
        };
        for state in &states {
            text.push_str(&format!("\n  {}", line(state)));
        }
        let values: Vec<Value> = states.iter().map(state_json).collect();
        output::answer(common.json(), &text, &json!({ "budgets": values }));
        Ok(ExitCode::SUCCESS)
    })
}

fn raise(args: &RaiseArgs, span: Span) -> anyhow::Result<ExitCode> {
    let amount: NanoUsd = args.amount_usd.parse().map_err(|error| anyhow::anyhow!("--amount-usd: {error}"))?;
    let (loaded, said) = (load_instance(&args.common)?, said(&args.said));
    block_on(async {
        let app = open(&loaded).await?;
        let raised = app.raise_budget(&Actor::Operator, &args.budget, amount, span, &said).await;
        app.close().await;
        let (entry, state) = raised?;
        tell(&args.common, &entry, &state);
        Ok(ExitCode::SUCCESS)
    })
}

fn correct(args: &CorrectArgs) -> anyhow::Result<ExitCode> {
    let (loaded, said) = (load_instance(&args.common)?, said(&args.said));
    block_on(async {
        let app = open(&loaded).await?;
        let corrected = app.correct_budget_entry(&Actor::Operator, &args.entry, &said).await;
        app.close().await;
        let (entry, state) = corrected?;
        tell(&args.common, &entry, &state);
        Ok(ExitCode::SUCCESS)
    })
}

fn entries(common: &Common, budget: Option<&str>) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let entries = app.budget_entries(&Actor::Operator, budget).await;
        app.close().await;
        let entries = entries?;
        let mut text = match entries.len() {
            0 => "Nothing was put on top of a budget.".to_owned(),
            1 => "1 entry:".to_owned(),
            n => format!("{n} entries:"),
        };
        for entry in &entries {
            text.push_str(&format!("\n  {}", entry_line(entry)));
        }
        let values: Vec<Value> = entries.iter().map(entry_json).collect();
        output::answer(common.json(), &text, &json!({ "entries": values }));
        Ok(ExitCode::SUCCESS)
    })
}

fn tell(common: &Common, entry: &BudgetAdjustment, state: &BudgetState) {
    let text = format!("{}\n{}", entry_line(entry), line(state));
    output::answer(
        common.json(),
        &text,
        &json!({ "ok": true, "entry": entry_json(entry), "budget": state_json(state) }),
    );
}

fn said(args: &SaidArgs) -> Said {
    let variables = environment();
    let user = ["USER", "LOGNAME"].iter().find_map(|name| variables.get(*name)).filter(|name| !name.is_empty());
    let by = args.by.clone().or_else(|| user.cloned()).unwrap_or_else(|| "operator".to_owned());
    Said { by, reason: args.reason.clone() }
}

fn time(flag: &str, text: &str) -> anyhow::Result<UnixMicros> {
    UnixMicros::parse(text)
        .ok_or_else(|| anyhow::anyhow!("{flag}: `{text}` is not a time such as 2026-12-24T00:00:00Z"))
}

fn line(state: &BudgetState) -> String {
    let BudgetState { limit, effective, window, used, held, .. } = state;
    let on_top = if *effective == limit.base { String::new() } else { format!(" (base {})", limit.base) };
    format!(
        "{}  {}, {}: {used} of {effective} USD used{on_top}, {held} reserved or in hand, resets at {}",
        limit.id,
        limit.label,
        limit.mode.as_str(),
        window.end
    )
}

fn entry_line(entry: &BudgetAdjustment) -> String {
    let BudgetAdjustment { id, budget_id, kind, amount_nano, holds_from, holds_until, actor, reason, .. } = entry;
    format!(
        "{id}  {kind} of {amount_nano} USD on {budget_id} from {holds_from} until {holds_until}, by {actor}: {reason}"
    )
}

fn state_json(state: &BudgetState) -> Value {
    let BudgetState { limit, effective, window, used, held, entries, is_of_file } = state;
    let begun = window.start;
    json!({
        "id": limit.id.as_str(), "scope": limit.scope.to_string(), "label": limit.label,
        "period": limit.period.as_str(), "mode": limit.mode.as_str(),
        "timezone": limit.calendar.timezone(begun), "weekStart": limit.calendar.week_start(begun).as_str(),
        "baseLimitUsd": limit.base.to_string(), "baseLimitNanoUsd": limit.base.get(),
        "limitUsd": effective.to_string(), "limitNanoUsd": effective.get(),
        "usedUsd": used.to_string(), "usedNanoUsd": used.get(),
        "heldUsd": held.to_string(), "heldNanoUsd": held.get(),
        "startedAt": window.start.to_string(), "resetsAt": window.end.to_string(),
        "thresholds": limit.alert_at.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "managed": if *is_of_file { "file" } else { "db" },
        "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
    })
}

fn entry_json(entry: &BudgetAdjustment) -> Value {
    json!({
        "id": entry.id, "seq": entry.seq, "budgetId": entry.budget_id, "kind": entry.kind,
        "amountUsd": entry.amount_nano.to_string(), "amountNanoUsd": entry.amount_nano.get(),
        "from": entry.holds_from.to_string(), "until": entry.holds_until.to_string(),
        "corrects": entry.corrects, "by": entry.actor, "reason": entry.reason, "at": entry.made_at.to_string(),
        "hash": entry.hash,
    })
}
