//! The commands, as the public contract names them.
//!
//! Rule: exit 0 when it went well, 1 when it was refused or failed, 2 when the command line is wrong. One file a command
//! under `cli/`; this one only parses.

mod admin;
mod alerts;
mod billing;
mod budget_edits;
mod budgets;
mod configuration;
pub(crate) mod context;
mod correct;
mod db;
mod doctor;
mod forecast;
mod keys;
mod ledger;
mod period;
mod report;
mod suspense;
mod test;
mod trace;

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The open-source AI gateway for enterprises.
#[derive(Debug, Parser)]
#[command(name = "helixgateway", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is, and how answers look.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration file; without it `gateway.yaml` in this folder if there is one, else defaults and environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, also on a terminal.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run both planes in one process.
    Serve(Common),
    /// Run the stateful plane alone.
    ControlPlane(Common),
    /// Run a stateless proxy alone.
    DataPlane(data::DataPlaneArgs),
    /// Check, show or describe the configuration.
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// Look for what would stop the gateway from working, and say how to mend it.
    Doctor(Common),
    /// Administrators.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Budgets, and what lies on top of them.
    #[command(subcommand)]
    Budgets(budgets::BudgetsCommand),
    /// Send one governed request, and show what the gateway did.
    Test(test::TestArgs),
    /// The ledger of requests.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Bills: exports, and what providers say.
    #[command(subcommand)]
    Billing(billing::BillingCommand),
    /// The database.
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

use crate::data;

/// Parses and runs.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            crate::output::complain_of(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(common) => crate::serve::run(&common),
        Command::ControlPlane(common) => crate::control::run(&common),
        Command::DataPlane(args) => crate::data::run(&args),
        Command::Config(command) => configuration::run(&command),
        Command::Doctor(common) => doctor::run(&common),
        Command::Admin(command) => admin::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Budgets(command) => budgets::run(&command),
        Command::Test(args) => test::run(&args),
        Command::Ledger(command) => ledger::run(&command),
        Command::Billing(command) => billing::run(&command),
        Command::Db(command) => db::run(&command),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "helixgateway", &mut script);
            crate::output::line(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Version { json } => {
            let version = env!("CARGO_PKG_VERSION");
            let value = serde_json::json!({ "version": version });
            crate::output::answer(json, &format!("helixgateway {version}"), &value);
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Common {
    /// The file to read: the named one, or `gateway.yaml` here.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let usual = PathBuf::from("gateway.yaml");
        self.config.clone().or_else(|| usual.is_file().then_some(usual))
    }

    /// Whether answers are JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// For commands that only know a file.
    pub(crate) fn of_file(config: Option<PathBuf>) -> Self {
        Self { config, json: false }
    }
}
