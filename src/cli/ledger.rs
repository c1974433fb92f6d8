//! `ledger`: verify proves that every record, rollup, correction and budget balance agree, to the nano-dollar; the rest has
//! files of its own.

use super::context::{block_on, load_instance, open};
use super::{Common, alerts, correct, forecast, report, suspense};
use crate::output::{self, count};
use clap::{Args, Subcommand};
use helix_control_plane::{ChainHead, OverLimit};
use helix_shared::money::NanoUsd;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Prove that records, rollups and budgets agree; names the first bad record.
    Verify(VerifyArgs),
    /// What requests came to, by team, user, key, model, provider, cost centre and time.
    Report(report::ReportArgs),
    /// When each budget will be spent, and how sure that is.
    Forecast(Common),
    /// Book what a request should have cost as a new entry; the record stays.
    Correct(correct::CorrectArgs),
    /// List what people were told of budgets: shares of a limit that were reached.
    Alerts(alerts::AlertsArgs),
    /// List what vanished data planes hold of budgets: it counts as spent.
    Suspense(Common),
    /// Say that a vanished process is dead and spent at most this much: what it held beyond comes free.
    Release(suspense::ReleaseArgs),
    /// Say that the database was restored from a backup: data planes declare anew what they hold before money is granted.
    Restored(suspense::RestoredArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    common: Common,
    /// An end of the chain of budget entries that was noted earlier, elsewhere: the chain must still go through it.
    #[arg(long, value_name = "NUMBER:HASH")]
    entries_head: Option<ChainHead>,
}

pub(super) fn run(command: &LedgerCommand) -> anyhow::Result<ExitCode> {
    match command {
        LedgerCommand::Verify(args) => verify(args),
        LedgerCommand::Report(args) => report::run(args),
        LedgerCommand::Forecast(common) => forecast::run(common),
        LedgerCommand::Correct(args) => correct::run(args),
        LedgerCommand::Alerts(args) => alerts::list(args),
        LedgerCommand::Suspense(common) => suspense::list(common),
        LedgerCommand::Release(args) => suspense::release(args),
        LedgerCommand::Restored(args) => suspense::restored(args),
    }
}

fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let common = &args.common;
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let report = app.db().verify_ledger_through(args.entries_head.as_ref()).await?;
        app.close().await;
        let counts = [
            count(report.records, "record"),
            count(report.incarnations, "process start"),
            count(report.accounts, "budget account"),
            count(report.leases, "lease"),
            count(report.corrections, "correction"),
            count(report.rollups, "rollup"),
            count(report.adjustments, "budget adjustment"),
        ]
        .join(", ");
        let mut text = if report.is_clean() {
            format!("The ledger is whole, to the nano-dollar: {counts}.")
        } else {
            format!("The ledger does not agree: {} in {counts}.", count(report.problem_count, "problem"))
        };
        if report.open_intents > 0 {
            text.push_str(&format!("\n{} still running or on their way.", count(report.open_intents, "request")));
        }
        for over in &report.over_limit {
            text.push_str(&format!("\n{}", over_line(over)));
        }
        if let Some(head) = &report.entries_head {
            text.push_str(&format!(
                "\nThe budget entries end at {head}: note it elsewhere, and give it as --entries-head."
            ));
        }
        for problem in &report.problems {
            text.push_str(&format!("\n  {problem}"));
        }
        if let Some(bad) = &report.first_bad {
            text.push_str(&format!(
                "\nFirst bad record: {} of incarnation {}, request {}: {}",
                bad.seq, bad.incarnation, bad.request_id, bad.problem
            ));
        }
        let value = json!({
            "ok": report.is_clean(), "records": report.records, "incarnations": report.incarnations,
            "accounts": report.accounts, "leases": report.leases, "corrections": report.corrections, "rollups": report.rollups,
            "adjustments": report.adjustments, "entriesHead": report.entries_head, "sharedRecords": report.shares,
            "overLimit": report.over_limit.iter().map(over_json).collect::<Vec<Value>>(),
            "openIntents": report.open_intents, "problemCount": report.problem_count, "problems": report.problems,
            "firstBad": report.first_bad.as_ref().map(|bad| json!({
                "incarnation": bad.incarnation.as_str(), "seq": bad.seq, "requestId": bad.request_id, "problem": bad.problem,
            })),
        });
        output::answer(common.json(), &text, &value);
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// An amount as money; what no account can hold is shown at the end of the range.
fn money(nano_usd: i128) -> NanoUsd {
    NanoUsd::new(i64::try_from(nano_usd).unwrap_or(if nano_usd < 0 { i64::MIN } else { i64::MAX }))
}

fn over_line(over: &OverLimit) -> String {
    let OverLimit { account, limit_nano_usd, reserved_nano_usd, soft_nano_usd, corrected_nano_usd } = over;
    format!(
        "Budget {} spent past {} USD in the period from {}: {} USD while it was hard, {} USD while it was soft, {} USD by \
         corrections.",
        account.budget_id,
        money(*limit_nano_usd),
        account.period_start,
        money(*reserved_nano_usd),
        money(*soft_nano_usd),
        money(*corrected_nano_usd)
    )
}

fn over_json(over: &OverLimit) -> Value {
    json!({
        "budgetId": over.account.budget_id.as_str(), "startedAt": over.account.period_start.to_string(),
        "limitNanoUsd": money(over.limit_nano_usd).get(), "reservedNanoUsd": money(over.reserved_nano_usd).get(),
        "softNanoUsd": money(over.soft_nano_usd).get(), "correctedNanoUsd": money(over.corrected_nano_usd).get(),
    })
}
