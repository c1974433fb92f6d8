//! `config check|show|schema`.

use super::Common;
use super::context::{environment, load};
use crate::config;
use crate::config::show::{Origins, schema, show_json, show_text};
use crate::output;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Find every error, before anything is applied.
    Check(Common),
    /// Print every effective value; secrets are redacted.
    Show {
        #[command(flatten)]
        common: Common,
        /// Say where each value was set.
        #[arg(long)]
        origin: bool,
    },
    /// Print the JSON Schema of gateway.yaml.
    Schema,
}

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check(common) => {
            let path = common.path();
            let findings = config::check(path.as_deref(), &environment(), &[]);
            let text =
                if findings.0.is_empty() { "the configuration is valid".to_owned() } else { findings.to_string() };
            output::answer(common.json(), &text, &findings.to_json());
            Ok(if findings.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        ConfigCommand::Show { common, origin } => {
            let loaded = load(common)?;
            let origins = if *origin { Origins::Shown } else { Origins::Hidden };
            output::answer(common.json(), &show_text(&loaded, origins), &show_json(&loaded));
            Ok(ExitCode::SUCCESS)
        }
        ConfigCommand::Schema => {
            output::line(&serde_json::to_string_pretty(&schema())?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
