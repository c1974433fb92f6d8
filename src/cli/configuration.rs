//! `config check|show|schema`.

use super::Common;
use super::context::{environment, load};
use crate::config;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::show::{Origins, schema, show_json, show_text};
use crate::{mapping, output};
use clap::Subcommand;
use helix_control_plane::app::check_file;
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
            let findings = match config::load(path.as_deref(), &environment(), &[]) {
                Ok(loaded) => {
                    // what starting would refuse beyond that
                    let refused = check_file(&mapping::file_config(&loaded)).err();
                    let refused = refused.map(|error| Diagnostic::of_the_whole(error.to_string()));
                    Diagnostics(loaded.warnings.0.into_iter().chain(refused).collect())
                }
                Err(findings) => findings,
            };
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
