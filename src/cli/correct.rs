//! `ledger correct`: a new entry that says what a request should have cost, and why.
//!
//! Rule: the record stays; who and why are kept with the entry.

use super::Common;
use super::context::{block_on, load_instance, open};
use crate::output;
use clap::Args;
use helix_control_plane::{Corrected, NewCorrection};
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use helix_shared::time::{Clock as _, SystemClock};
use serde_json::json;
use std::process::ExitCode;

/// What `ledger correct` needs.
#[derive(Debug, Args)]
pub(super) struct CorrectArgs {
    /// The request, as `x-request-id` named it.
    request_id: String,
    /// What it costs more than was booked, in USD; with a minus: less.
    #[arg(long, value_name = "USD", allow_hyphen_values = true)]
    by_usd: String,
    /// Why; it is kept.
    #[arg(long)]
    reason: String,
    /// Who says so; it is kept. Without it, who runs the command.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Which record, when several requests had that id: the incarnation and the number, as the refusal names them.
    #[arg(long, value_name = "INCARNATION/NUMBER", value_parser = record)]
    record: Option<(Incarnation, u64)>,
    #[command(flatten)]
    common: Common,
}

fn record(text: &str) -> Result<(Incarnation, u64), String> {
    let (incarnation, seq) = text.rsplit_once('/').ok_or("write it as INCARNATION/NUMBER")?;
    let seq = seq.parse().map_err(|_| format!("`{seq}` is not a number"))?;
    Ok((Incarnation::from(incarnation), seq))
}

pub(super) fn run(args: &CorrectArgs) -> anyhow::Result<ExitCode> {
    let (digits, is_less) = args.by_usd.strip_prefix('-').map_or((args.by_usd.as_str(), false), |rest| (rest, true));
    let amount: NanoUsd = digits.parse().map_err(|error| anyhow::anyhow!("--by-usd: {error}"))?;
    anyhow::ensure!(amount > NanoUsd::ZERO, "--by-usd must not be zero");
    let amount = if is_less { NanoUsd::ZERO.saturating_sub(amount) } else { amount };
    anyhow::ensure!(!args.reason.trim().is_empty(), "--reason must say why");
    let actor = args.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "operator".to_owned());
    let new = NewCorrection {
        id: uuid::Uuid::now_v7().to_string(),
        request_id: args.request_id.clone(),
        record: args.record.clone(),
        amount,
        actor,
        reason: args.reason.clone(),
    };
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let outcome = app.db().correct(&new, SystemClock::new().now()).await;
        app.close().await;
        match outcome? {
            Corrected::Booked { correction, cost, alerts } => {
                let mut text = format!(
                    "Booked {} USD on request {}; it costs {cost} USD now. The record is unchanged; the entry is {}.",
                    correction.amount, correction.request_id, correction.id
                );
                for event in &alerts {
                    text.push_str(&format!(
                        "\nThe budget {} has now {} of {} USD spent ({}).",
                        event.budget_id, event.used_nano, event.limit_nano, event.kind
                    ));
                }
                let events: Vec<_> =
                    alerts.iter().map(|event| json!({"budgetId": event.budget_id, "event": event.kind})).collect();
                let value = json!({
                    "ok": true, "id": correction.id, "requestId": correction.request_id,
                    "amountUsd": correction.amount.to_string(), "amountNanoUsd": correction.amount.get(),
                    "costUsd": cost.to_string(), "costNanoUsd": cost.get(), "by": correction.actor,
                    "reason": correction.reason, "alerts": events,
                });
                output::answer(args.common.json(), &text, &value);
                Ok(ExitCode::SUCCESS)
            }
            Corrected::NoRecord => anyhow::bail!("no record of a request `{}` is in the ledger", args.request_id),
            Corrected::Several(records) => {
                let names: Vec<String> = records.iter().map(|(id, seq)| format!("{id}/{seq}")).collect();
                anyhow::bail!(
                    "several requests had the id `{}`; say which with --record: {}",
                    args.request_id,
                    names.join(", ")
                )
            }
            Corrected::TooMuch(most, cost) => anyhow::bail!(
                "request `{}` costs {cost} USD, and no request can cost more than {most} USD; is --by-usd in USD?",
                args.request_id
            ),
            Corrected::BelowZero(cost) => {
                anyhow::bail!("request `{}` costs {cost} USD; it cannot cost less than nothing", args.request_id)
            }
        }
    })
}
