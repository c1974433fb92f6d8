//! `db migrate|status`.
//!
//! Rule: `status` only reads the schema's history; `migrate` takes the steps that are missing.

use super::Common;
use super::context::{block_on, clock, load_instance};
use crate::output::{self, count};
use anyhow::Context;
use clap::Subcommand;
use helix_control_plane::{Db, SchemaStep, StoreError};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Bring the schema up to this version; safe to run again.
    Migrate(Common),
    /// Say which steps the schema has taken; changes nothing. Exits with 1 when one is missing.
    Status(Common),
}

pub(super) fn run(command: &DbCommand) -> anyhow::Result<ExitCode> {
    let (DbCommand::Migrate(common) | DbCommand::Status(common)) = command;
    let loaded = load_instance(common)?;
    block_on(async {
        let url = loaded.settings.storage.url.expose();
        let connected = match command {
            DbCommand::Migrate(_) => Db::connect(url).await,
            DbCommand::Status(_) => Db::connect_existing(url).await,
        };
        if let (DbCommand::Status(_), Err(missing @ StoreError::NoDatabase { .. })) = (command, &connected) {
            let text = format!("{missing}.");
            output::answer(common.json(), &text, &json!({ "database": null, "problem": missing.to_string() }));
            return Ok(ExitCode::FAILURE);
        }
        let db = connected.context("the database cannot be opened")?;
        let taken = match command {
            DbCommand::Migrate(_) => db.migrate(clock().now()).await.context("the schema cannot be changed")?,
            DbCommand::Status(_) => 0,
        };
        let steps = db.schema_steps().await.context("the schema's history cannot be read")?;
        let missing = steps.iter().filter(|step| step.applied_at.is_none()).count();
        let mut text = format!("{} at {}\n", db.dialect().as_str(), db.address());
        for step in &steps {
            let when = step.applied_at.map_or_else(|| "missing".to_owned(), |at| at.to_string());
            text.push_str(&format!("  {:>3}  {:<24}  {when}\n", step.step, step.name));
        }
        text.push_str(&match (command, missing) {
            (DbCommand::Migrate(_), _) => format!("{} taken.", count(taken as u64, "step")),
            (DbCommand::Status(_), 0) => "The schema is up to date.".to_owned(),
            (DbCommand::Status(_), _) => {
                format!("{} missing: `helixgateway db migrate`, or the next start.", count(missing as u64, "step"))
            }
        });
        let value = json!({
            "database": db.dialect().as_str(), "address": db.address(), "taken": taken, "missing": missing,
            "steps": steps.iter().map(value_of).collect::<Vec<_>>(),
        });
        db.close().await;
        output::answer(common.json(), &text, &value);
        Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn value_of(step: &SchemaStep) -> Value {
    json!({ "step": step.step, "name": step.name, "appliedAt": step.applied_at.map(|at| at.to_string()) })
}
