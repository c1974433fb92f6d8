//! `ledger`: verify proves that every record, rollup, correction and budget balance agree, to the nano-dollar; the rest has
//! files of its own.

use super::context::{block_on, load_instance, open};
use super::{Common, alerts, correct, forecast, report, suspense};
use crate::output::{self, count};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Prove that records, rollups and budgets agree; names the first bad record.
    Verify(Common),
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

pub(super) fn run(command: &LedgerCommand) -> anyhow::Result<ExitCode> {
    match command {
        LedgerCommand::Verify(common) => verify(common),
        LedgerCommand::Report(args) => report::run(args),
        LedgerCommand::Forecast(common) => forecast::run(common),
        LedgerCommand::Correct(args) => correct::run(args),
        LedgerCommand::Alerts(args) => alerts::list(args),
        LedgerCommand::Suspense(common) => suspense::list(common),
        LedgerCommand::Release(args) => suspense::release(args),
        LedgerCommand::Restored(args) => suspense::restored(args),
    }
}

fn verify(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let report = app.db().verify_ledger().await?;
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
            "adjustments": report.adjustments,
            "openIntents": report.open_intents, "problemCount": report.problem_count, "problems": report.problems,
            "firstBad": report.first_bad.as_ref().map(|bad| json!({
                "incarnation": bad.incarnation.as_str(), "seq": bad.seq, "requestId": bad.request_id, "problem": bad.problem,
            })),
        });
        output::answer(common.json(), &text, &value);
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
