//! `keys create|list|rotate|revoke`.
//!
//! Rule: a secret is printed once, by the command that made it.

use super::Common;
use super::budget_edits::{TermsArgs, usd};
use super::budgets::state_json;
use super::context::{block_on, clock, load_instance, open, open_or_make};
use crate::output;
use clap::{Args, Subcommand};
use helix_control_plane::Actor;
use helix_control_plane::app::{BudgetState, KeyOwner, MintedKey, NewKey};
use helix_shared::budget::BudgetScope;
use helix_shared::money::NanoUsd;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key; prints it once.
    Create(CreateArgs),
    /// List the keys that work; secrets are not kept.
    List {
        #[command(flatten)]
        common: Common,
        /// Only those of this person.
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
        /// Only those of this team.
        #[arg(long, conflicts_with = "user")]
        team: Option<String>,
        /// Also those that are revoked or expired.
        #[arg(long)]
        all: bool,
    },
    /// Replace a key's secret; prints the new one once.
    Rotate {
        #[command(flatten)]
        common: Common,
        /// The key's id, from `keys list`.
        id: String,
    },
    /// Take a key back.
    Revoke {
        #[command(flatten)]
        common: Common,
        /// The key's id, from `keys list`.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    common: Common,
    /// The person it acts as.
    #[arg(long, value_name = "EMAIL", required_unless_present = "team")]
    user: Option<String>,
    /// The team it acts for.
    #[arg(long, conflicts_with = "user")]
    team: Option<String>,
    /// The name people see.
    #[arg(long)]
    name: String,
    /// Days until it expires; without it, never.
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
    /// A budget of its own: the limit of a period, in USD.
    #[arg(long, value_name = "USD", value_parser = usd)]
    budget: Option<NanoUsd>,
    #[command(flatten, next_help_heading = "The budget")]
    terms: TermsArgs,
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::Create(args) => create(args),
        KeysCommand::List { common, user, team, all } => {
            let of = user.clone().map(KeyOwner::User).or_else(|| team.clone().map(KeyOwner::Team));
            list(common, of.as_ref(), *all)
        }
        KeysCommand::Rotate { common, id } => {
            let loaded = load_instance(common)?;
            block_on(async {
                let app = open(&loaded).await?;
                let minted = app.rotate_key(&Actor::Operator, id).await?;
                show_minted(common, &minted);
                app.close().await;
                Ok(ExitCode::SUCCESS)
            })
        }
        KeysCommand::Revoke { common, id } => {
            let loaded = load_instance(common)?;
            block_on(async {
                let app = open(&loaded).await?;
                let key = app.revoke_key(&Actor::Operator, id).await?;
                let text = format!("The key {} ({}) is revoked.", key.id, key.name);
                output::answer(common.json(), &text, &json!({ "id": key.id, "name": key.name, "revoked": true }));
                app.close().await;
                Ok(ExitCode::SUCCESS)
            })
        }
    }
}

fn create(args: &CreateArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    let owner = match (&args.user, &args.team) {
        (Some(email), _) => KeyOwner::User(email.clone()),
        (None, Some(team)) => KeyOwner::Team(team.clone()),
        (None, None) => anyhow::bail!("give --user EMAIL or --team TEAM"),
    };
    if args.budget.is_none() && args.terms.is_said() {
        anyhow::bail!("a period, mode, zone, week or share is said of a budget: give its limit with --budget USD");
    }
    let lifetime = args.expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
    block_on(async {
        let app = open_or_make(&loaded).await?;
        let expires_at = lifetime.map(|lifetime| clock().now().plus(lifetime));
        let new = NewKey { owner, name: args.name.clone(), expires_at };
        let budget = args.budget.map(|limit| args.terms.with_limit(limit));
        let minted = app.create_key_with_budget(&Actor::Operator, &new, budget.as_ref()).await?;
        show_minted(&args.common, &minted);
        app.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn show_minted(common: &Common, minted: &MintedKey) {
    let secret = minted.secret.expose_str().unwrap_or_default();
    let text = format!("{secret}\nKeep it: it is not shown again. Its id is {}.", minted.row.id);
    let value = json!({ "id": minted.row.id, "name": minted.row.name, "key": secret, "expiresAt": minted.row.expires_at.map(|at| at.to_string()) });
    output::answer(common.json(), &text, &value);
}

fn list(common: &Common, of: Option<&KeyOwner>, all: bool) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let keys = app.list_keys(&Actor::Operator, of).await?;
        let budgets = app.list_budgets(&Actor::Operator).await?;
        let widest = keys.iter().map(|key| key.name.chars().count()).max().unwrap_or(0).max(4);
        let mut text =
            format!("{:<36}  {:<widest$}  {:<14}  {:<8}  {:<7}  {}\n", "ID", "NAME", "KEY", "KIND", "STATE", "BUDGET");
        let mut values: Vec<Value> = Vec::new();
        for key in &keys {
            let state = if key.revoked_at.is_some() {
                "revoked"
            } else if key.expires_at.is_some_and(|end| end <= clock().now()) {
                "expired"
            } else {
                "active"
            };
            if state != "active" && !all {
                continue;
            }
            let face = format!("{}…{}", key.prefix, key.last_four);
            let own: Vec<&BudgetState> = budgets.iter().filter(|budget| is_of(budget, &key.id)).collect();
            let spent = own
                .iter()
                .map(|budget| format!("{} of {} USD {}", budget.used, budget.effective, budget.limit.period.as_str()));
            let spent = spent.collect::<Vec<_>>().join(", ");
            let row =
                format!("{:<36}  {:<widest$}  {face:<14}  {:<8}  {state:<7}  {spent}", key.id, key.name, key.kind);
            text.push_str(row.trim_end());
            text.push('\n');
            values.push(json!({
                "id": key.id, "name": key.name, "prefix": key.prefix, "last4": key.last_four, "kind": key.kind,
                "userId": key.user_id, "teamId": key.team_id, "state": state,
                "expiresAt": key.expires_at.map(|at| at.to_string()),
                "budgets": own.into_iter().map(state_json).collect::<Vec<_>>(),
            }));
        }
        if values.is_empty() {
            "There is no key.".clone_into(&mut text);
        }
        output::answer(common.json(), &text, &Value::Array(values));
        app.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn is_of(budget: &BudgetState, key_id: &str) -> bool {
    matches!(&budget.limit.scope, BudgetScope::Key(id) if id.as_str() == key_id)
}
