//! `budgets create|set-limit|remove`, and the budget that `keys create` gives to the key it makes.
//!
//! Rule: only budgets of the database; those of the file change in the file.

use super::Common;
use super::budgets::{line, state_json};
use super::context::{block_on, load_instance, open};
use crate::output;
use clap::Args;
use helix_control_plane::Actor;
use helix_control_plane::app::{BudgetState, BudgetTerms};
use helix_control_plane::settings::FileScope;
use helix_shared::budget::{Mode, Period, Share, WeekStart};
use helix_shared::money::NanoUsd;
use serde_json::json;
use std::process::ExitCode;

/// How a budget is kept.
#[derive(Debug, Args)]
pub(super) struct TermsArgs {
    /// How long a period is: daily, weekly or monthly; without it, monthly.
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    period: Option<Period>,
    /// What happens at the limit: hard refuses, soft warns; without it, hard.
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<Mode>,
    /// The time zone in which periods begin; without it, UTC.
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// The day that weeks begin on; without it, monday.
    #[arg(long, value_name = "DAY", value_parser = week_start)]
    week_start: Option<WeekStart>,
    /// Shares of the limit at which people are told, such as 0.5,0.8.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share)]
    alert_at: Vec<Share>,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What it limits: instance, team:NAME, user:EMAIL, key:NAME (or its id) or model:PATTERN.
    #[arg(value_parser = scope)]
    scope: FileScope,
    /// The limit of a period, in USD.
    #[arg(long, value_name = "USD", value_parser = usd)]
    limit_usd: NanoUsd,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct SetLimitArgs {
    /// The budget's id, from `budgets list`.
    budget: String,
    /// The new limit of a period, in USD.
    #[arg(long, value_name = "USD", value_parser = usd)]
    limit_usd: NanoUsd,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The budget's id, from `budgets list`.
    budget: String,
    #[command(flatten)]
    common: Common,
}

impl TermsArgs {
    /// The terms, with a limit.
    pub(super) fn with_limit(&self, limit: NanoUsd) -> BudgetTerms {
        BudgetTerms {
            limit,
            period: self.period.unwrap_or(Period::Monthly),
            mode: self.mode.unwrap_or(Mode::Hard),
            timezone: self.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
            week_start: self.week_start.unwrap_or_default(),
            alert_at: self.alert_at.clone(),
        }
    }

    /// Whether any of them was said.
    pub(super) fn is_said(&self) -> bool {
        let words = [self.period.is_some(), self.mode.is_some(), self.timezone.is_some(), self.week_start.is_some()];
        words.contains(&true) || !self.alert_at.is_empty()
    }
}

pub(super) fn create(args: &CreateArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let made = app.create_budget(&Actor::Operator, &args.scope, &args.terms.with_limit(args.limit_usd)).await;
        app.close().await;
        tell(&args.common, &made?);
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn set_limit(args: &SetLimitArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let changed = app.set_budget_limit(&Actor::Operator, &args.budget, args.limit_usd).await;
        app.close().await;
        tell(&args.common, &changed?);
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let removed = app.remove_budget(&Actor::Operator, &args.budget).await;
        app.close().await;
        let removed = removed?;
        let text = format!("The budget {} ({}, {}) is removed.", removed.id, removed.label, removed.period);
        output::answer(args.common.json(), &text, &json!({ "ok": true, "id": removed.id, "removed": true }));
        Ok(ExitCode::SUCCESS)
    })
}

fn tell(common: &Common, state: &BudgetState) {
    output::answer(common.json(), &line(state), &json!({ "ok": true, "budget": state_json(state) }));
}

pub(super) fn usd(text: &str) -> Result<NanoUsd, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn period(text: &str) -> Result<Period, String> {
    Period::parse(text).ok_or_else(|| "it is daily, weekly or monthly".to_owned())
}

fn mode(text: &str) -> Result<Mode, String> {
    Mode::parse(text).ok_or_else(|| "it is hard or soft".to_owned())
}

fn week_start(text: &str) -> Result<WeekStart, String> {
    WeekStart::parse(text).ok_or_else(|| "it is a day, such as monday".to_owned())
}

fn share(text: &str) -> Result<Share, String> {
    Share::parse(text).ok_or_else(|| "it is a share above 0 and at most 1, such as 0.8".to_owned())
}

fn scope(text: &str) -> Result<FileScope, String> {
    match text.split_once(':') {
        None if text == "instance" => Ok(FileScope::Instance),
        Some(("team", name)) if !name.is_empty() => Ok(FileScope::Team(name.to_owned())),
        Some(("user", email)) if !email.is_empty() => Ok(FileScope::User(email.to_owned())),
        Some(("key", name)) if !name.is_empty() => Ok(FileScope::Key(name.to_owned())),
        Some(("model", pattern)) if !pattern.is_empty() => Ok(FileScope::Model(pattern.to_owned())),
        _ => Err("it is instance, team:NAME, user:EMAIL, key:NAME or model:PATTERN".to_owned()),
    }
}
