//! `ledger verify`: every record, rollup and budget balance agree, to the nano-dollar.

use super::Common;
use super::context::{block_on, load, open};
use crate::output::{self, count};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Prove that records, rollups and budgets agree; names the first bad record.
    Verify(Common),
}

pub(super) fn run(command: &LedgerCommand) -> anyhow::Result<ExitCode> {
    let LedgerCommand::Verify(common) = command;
    let loaded = load(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let report = app.db().verify_ledger().await?;
        app.close().await;
        let counts = [
            count(report.records, "record"),
            count(report.incarnations, "process start"),
            count(report.accounts, "budget account"),
            count(report.leases, "lease"),
            count(report.rollups, "rollup"),
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
            "accounts": report.accounts, "leases": report.leases, "rollups": report.rollups,
            "openIntents": report.open_intents, "problemCount": report.problem_count, "problems": report.problems,
            "firstBad": report.first_bad.as_ref().map(|bad| json!({
                "incarnation": bad.incarnation.as_str(), "seq": bad.seq, "requestId": bad.request_id, "problem": bad.problem,
            })),
        });
        output::answer(common.json(), &text, &value);
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
