//! `billing`: export writes a period for other programs, reconcile compares a provider's report with the ledger.

use super::Common;
use super::context::{block_on, load_instance, open};
use super::period::PeriodArgs;
use super::report::{GroupArgs, columns};
use crate::output;
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use helix_control_plane::Dimension;
use helix_control_plane::billing::reconcile::{self, AttoUsd, Difference, Kind, Reconciled, Tolerance};
use helix_control_plane::billing::{self, Format};
use months::{CloseArgs, MonthsArgs};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

mod months;

/// The most bytes of a provider's report that are read.
const MOST_REPORT_BYTES: u64 = 256 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum BillingCommand {
    /// Write what a period cost, for other programs.
    Export(ExportArgs),
    /// Compare a provider's cost or usage report with the ledger; exit 1 when they are too far apart.
    Reconcile(ReconcileArgs),
    /// Close a month that is over, and those before it: what comes later is booked in an open month.
    Close(CloseArgs),
    /// List the months that are closed, and what was booked later than it was made.
    Months(MonthsArgs),
}

/// What `billing export` needs.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    group: GroupArgs,
    /// Comma-separated values, JSON Lines, or the columns of FOCUS 1.2 with a row a day.
    #[arg(long, value_enum, default_value = "csv")]
    format: ExportFormat,
    /// The file to write; without it, standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormat {
    Csv,
    Jsonl,
    Focus,
}

/// What `billing reconcile` needs.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// The report, as the provider's API gave it; every page is a file.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The provider's name in the configuration.
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// Whose report it is; without it, the provider's name decides.
    #[arg(long, value_enum)]
    format: Option<ReportFormat>,
    /// Only this project, workspace or key of the report.
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// How far apart they may be, in all and for each model: `1%`, or USD such as `0.50` for a report of costs.
    #[arg(long, default_value = "1%", value_parser = tolerance)]
    tolerance: Tolerance,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReportFormat {
    Openai,
    Anthropic,
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let bad = || "write it as 1% or as USD such as 0.50".to_owned();
    match text.strip_suffix('%') {
        // a percent is 10^16 of 10^18, and 10^4 of a million
        Some(percent) => {
            let percent = AttoUsd::parse(percent, 0).filter(|percent| percent.get() >= 0).ok_or_else(bad)?;
            u64::try_from(percent.get() / 100_000_000_000_000).map(Tolerance::Ppm).map_err(|_| bad())
        }
        None => AttoUsd::parse(text, 0).filter(|amount| amount.get() >= 0).map(Tolerance::Usd).ok_or_else(bad),
    }
}

pub(super) fn run(command: &BillingCommand) -> anyhow::Result<ExitCode> {
    match command {
        BillingCommand::Export(args) => export(args),
        BillingCommand::Reconcile(args) => compare(args),
        BillingCommand::Close(args) => months::close(args),
        BillingCommand::Months(args) => months::list(args),
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let chosen = args.period.chosen()?;
    let query = args.group.query(chosen.from, chosen.until, &Dimension::ALL);
    let format = match args.format {
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Jsonl => Format::Jsonl,
        ExportFormat::Focus => Format::Focus,
    };
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let mut out: Box<dyn Write + Send> = match &args.output {
            Some(path) => {
                let (path, cannot) = (partial(path), || format!("cannot write {}", path.display()));
                Box::new(std::io::BufWriter::new(std::fs::File::create(path).with_context(cannot)?))
            }
            None => Box::new(std::io::BufWriter::new(std::io::stdout())),
        };
        let done = billing::export(app.db(), &query, format, app.instance_id(), &mut *out).await;
        let is_closed = async { app.db().read().await?.is_closed(chosen.until).await }.await;
        app.close().await;
        drop(out);
        if let Some(path) = &args.output {
            // renamed into place: nobody bills from half a file
            match &done {
                Ok(_) => {
                    std::fs::rename(partial(path), path).with_context(|| format!("cannot write {}", path.display()))?;
                }
                Err(_) => drop(std::fs::remove_file(partial(path))),
            }
        }
        let done = done?;
        if !chosen.is_over {
            output::complain("note: the period is not over; another export of it may say more");
        } else if !is_closed? {
            output::complain("note: the period is not closed; records that come late change it until `billing close`");
        }
        if let Some(path) = &args.output {
            let text = format!(
                "{} in {}: {} USD, {} requests.",
                output::count(done.rows, "row"),
                path.display(),
                done.totals.cost,
                done.totals.requests
            );
            let value = json!({
                "ok": true, "file": path.display().to_string(), "rows": done.rows, "requests": done.totals.requests,
                "costUsd": done.totals.cost.to_string(), "costNanoUsd": done.totals.cost.get(),
                "from": chosen.from.to_string(), "until": chosen.until.to_string(), "isOver": chosen.is_over,
            });
            output::answer(args.common.json(), &text, &value);
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Where a file is written until it is whole.
fn partial(path: &std::path::Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

fn compare(args: &ReconcileArgs) -> anyhow::Result<ExitCode> {
    let kind = match args.format {
        Some(ReportFormat::Openai) => Kind::OpenAi,
        Some(ReportFormat::Anthropic) => Kind::Anthropic,
        None if args.provider.contains("anthropic") => Kind::Anthropic,
        None if args.provider.contains("openai") => Kind::OpenAi,
        None => anyhow::bail!("--format must say whose report it is: openai or anthropic"),
    };
    let mut pages = Vec::new();
    for path in &args.files {
        let read = || -> std::io::Result<String> {
            use std::io::Read as _;
            let mut text = String::new();
            std::fs::File::open(path)?.take(MOST_REPORT_BYTES).read_to_string(&mut text)?;
            Ok(text)
        };
        pages.push(read().with_context(|| format!("cannot read {}", path.display()))?);
    }
    let report = reconcile::read(kind, &pages)?;
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        let place = args.project.as_deref();
        let outcome = reconcile::reconcile(app.db(), &report, &args.provider, place, args.tolerance).await;
        app.close().await;
        let outcome = outcome?;
        output::answer(args.common.json(), &text_of(&outcome, &args.provider), &value_of(&outcome));
        Ok(if outcome.is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn amount(is_cost: bool, value: i128) -> String {
    if !is_cost {
        return value.to_string();
    }
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.unsigned_abs() / 10_u128.pow(18), value.unsigned_abs() % 10_u128.pow(18));
    // as many places as ours have; the rest stays if there is any
    let places = format!("{part:018}");
    let (nine, rest) = places.split_at_checked(9).unwrap_or((places.as_str(), ""));
    format!("{sign}{whole}.{nine}{}", rest.trim_end_matches('0'))
}

fn percent(line: &Difference) -> String {
    let ppm = line.ppm();
    format!("{}.{:04}%", ppm / 10_000, ppm % 10_000)
}

fn text_of(outcome: &Reconciled, provider: &str) -> String {
    let unit = if outcome.is_cost { "USD" } else { "tokens" };
    let names = ["model", "provider says", "ledger says", "difference", "apart", "of ours uncertain"];
    let mut lines: Vec<Vec<String>> = vec![names.map(str::to_owned).to_vec()];
    let line = |name: &str, line: &Difference| {
        let figures = [line.provider, line.ledger, line.amount()].map(|value| amount(outcome.is_cost, value));
        let uncertain = amount(outcome.is_cost, line.uncertain);
        [name.to_owned()].into_iter().chain(figures).chain([percent(line), uncertain]).collect::<Vec<_>>()
    };
    for model in &outcome.models {
        lines.push(line(if model.name.is_empty() { "(not told)" } else { &model.name }, model));
    }
    lines.push(line("in all", &outcome.total));
    let mut text = format!("{provider} from {} until {}, in {unit}:\n{}", outcome.from, outcome.until, columns(&lines));
    for (place, value) in outcome.places.iter().filter(|(place, _)| !place.is_empty()) {
        text.push_str(&format!("\n  {place}: the provider says {}", amount(outcome.is_cost, *value)));
    }
    let verdict = if outcome.is_within { "Within the tolerance." } else { "Beyond the tolerance." };
    text.push_str(&format!("\n{verdict}"));
    text
}

fn value_of(outcome: &Reconciled) -> Value {
    let unit = if outcome.is_cost { "usd" } else { "tokens" };
    let line = |line: &Difference| {
        let of = |value| amount(outcome.is_cost, value);
        json!({
            "model": line.name, "provider": of(line.provider), "ledger": of(line.ledger),
            "difference": of(line.amount()), "differencePpm": line.ppm(), "uncertain": of(line.uncertain),
        })
    };
    let places =
        outcome.places.iter().map(|(place, value)| json!({"id": place, "provider": amount(outcome.is_cost, *value)}));
    json!({
        "ok": outcome.is_within, "unit": unit, "from": outcome.from.to_string(), "until": outcome.until.to_string(),
        "models": outcome.models.iter().map(line).collect::<Vec<_>>(), "total": line(&outcome.total),
        "projects": places.collect::<Vec<_>>(), "beyondTolerance": outcome.beyond,
    })
}
