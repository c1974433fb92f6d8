//! `billing close` and `billing months`: months whose bill is final.
//!
//! Rule: nothing is opened again. What comes later is booked in an open month and listed with the month it is of.

use crate::cli::Common;
use crate::cli::context::{block_on, load_instance, open};
use crate::cli::report::columns;
use crate::output;
use clap::Args;
use helix_control_plane::{ClosedMonth, Closing, LateBooking};
use helix_shared::time::{Clock as _, SystemClock, UnixMicros};
use serde_json::{Value, json};
use std::process::ExitCode;

/// What `billing close` needs.
#[derive(Debug, Args)]
pub(in crate::cli) struct CloseArgs {
    /// The calendar month, UTC, such as 2026-11.
    #[arg(long, value_parser = month)]
    month: UnixMicros,
    /// Why; it is kept.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who says so; it is kept. Without it, who runs the command.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What `billing months` needs.
#[derive(Debug, Args)]
pub(in crate::cli) struct MonthsArgs {
    #[command(flatten)]
    common: Common,
}

fn month(text: &str) -> Result<UnixMicros, String> {
    UnixMicros::parse(&format!("{text}-01T00:00:00Z"))
        .filter(|_| text.len() == 7)
        .ok_or_else(|| format!("`{text}` is not a month such as 2026-11"))
}

/// A month as people write it.
fn name(month: UnixMicros) -> String {
    month.to_string().chars().take(7).collect()
}

pub(super) fn close(args: &CloseArgs) -> anyhow::Result<ExitCode> {
    let actor = args.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "operator".to_owned());
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let now = SystemClock::new().now();
        let outcome = app.db().close_month(args.month, &actor, &args.reason, now).await;
        app.close().await;
        match outcome? {
            Closing::Done(months) => {
                let line = |one: &ClosedMonth| {
                    format!("Closed {}: {} USD, {} requests.", name(one.month), one.cost, one.requests)
                };
                let text = months.iter().map(line).collect::<Vec<_>>().join("\n");
                let value = json!({"ok": true, "closed": months.iter().map(value_of).collect::<Vec<_>>()});
                output::answer(args.common.json(), &text, &value);
                Ok(ExitCode::SUCCESS)
            }
            Closing::Already => anyhow::bail!("{} is closed already", name(args.month)),
            Closing::NotOver => anyhow::bail!("{} is not over: a month is closed when it is (UTC)", name(args.month)),
        }
    })
}

pub(super) fn list(args: &MonthsArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let read = async {
            let mut tx = app.db().read().await?;
            Ok::<_, helix_control_plane::StoreError>((tx.closed_months().await?, tx.late_bookings().await?))
        };
        let outcome = read.await;
        app.close().await;
        let (closed, late) = outcome?;
        let value = json!({
            "closed": closed.iter().map(value_of).collect::<Vec<_>>(),
            "late": late.iter().map(value_of_late).collect::<Vec<_>>(),
        });
        output::answer(args.common.json(), &text_of(&closed, &late), &value);
        Ok(ExitCode::SUCCESS)
    })
}

fn text_of(closed: &[ClosedMonth], late: &[LateBooking]) -> String {
    if closed.is_empty() {
        return "No month is closed.".to_owned();
    }
    let mut lines = vec![["month", "requests", "USD", "closed", "by", "why"].map(str::to_owned).to_vec()];
    for one in closed {
        let figures = [name(one.month), one.requests.to_string(), one.cost.to_string(), one.closed_at.to_string()];
        lines.push(figures.into_iter().chain([one.actor.clone(), one.reason.clone()]).collect());
    }
    let mut text = columns(&lines);
    for one in late {
        text.push_str(&format!(
            "\nIn {}: {} USD of {} requests that came late, of {}.",
            name(one.booked_in),
            one.cost,
            one.requests,
            name(one.of)
        ));
    }
    text
}

fn value_of(one: &ClosedMonth) -> Value {
    json!({
        "month": name(one.month), "requests": one.requests, "costUsd": one.cost.to_string(),
        "costNanoUsd": one.cost.get(), "closedAt": one.closed_at.to_string(), "by": one.actor, "reason": one.reason,
    })
}

fn value_of_late(one: &LateBooking) -> Value {
    json!({
        "of": name(one.of), "bookedIn": name(one.booked_in), "requests": one.requests,
        "costUsd": one.cost.to_string(), "costNanoUsd": one.cost.get(),
    })
}
