//! `db migrate|status`.

use super::Common;
use super::context::{block_on, load, open};
use crate::output;
use clap::Subcommand;
use helix_control_plane::App;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Bring the schema up to this version; safe to run again.
    Migrate(Common),
    /// Say which steps the schema has.
    Status(Common),
}

pub(super) fn run(command: &DbCommand) -> anyhow::Result<ExitCode> {
    // Opening migrates; looking at the state afterwards tells the same for both.
    let (DbCommand::Migrate(common) | DbCommand::Status(common)) = command;
    let loaded = load(common)?;
    block_on(async {
        let app: App = open(&loaded).await?;
        let facts = app.facts().await?;
        app.close().await;
        let steps = facts.schema.len();
        let text = format!(
            "{} at {}: {steps} schema steps, revision {}",
            facts.database.as_str(),
            facts.address,
            facts.head_revision
        );
        let value = json!({
            "database": facts.database.as_str(), "address": facts.address, "schemaSteps": steps, "revision": facts.head_revision,
        });
        output::answer(common.json(), &text, &value);
        Ok(ExitCode::SUCCESS)
    })
}
