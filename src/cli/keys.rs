//! `keys create|list|rotate|revoke`.
//!
//! Rule: a secret is printed once, by the command that made it.

use super::Common;
use super::context::{block_on, clock, load_instance, open, open_or_make};
use crate::output;
use clap::{Args, Subcommand};
use helix_control_plane::Actor;
use helix_control_plane::app::{KeyOwner, MintedKey, NewKey};
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
    let lifetime = args.expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
    block_on(async {
        let app = open_or_make(&loaded).await?;
        let expires_at = lifetime.map(|lifetime| clock().now().plus(lifetime));
        let minted = app.create_key(&Actor::Operator, &NewKey { owner, name: args.name.clone(), expires_at }).await?;
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
        let widest = keys.iter().map(|key| key.name.chars().count()).max().unwrap_or(0).max(4);
        let mut text = format!("{:<36}  {:<widest$}  {:<14}  {:<8}  {}\n", "ID", "NAME", "KEY", "KIND", "STATE");
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
            text.push_str(&format!("{:<36}  {:<widest$}  {face:<14}  {:<8}  {state}\n", key.id, key.name, key.kind));
            values.push(json!({
                "id": key.id, "name": key.name, "prefix": key.prefix, "last4": key.last_four, "kind": key.kind,
                "userId": key.user_id, "teamId": key.team_id, "state": state,
                "expiresAt": key.expires_at.map(|at| at.to_string()),
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
