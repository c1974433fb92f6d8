//! `ledger report`: what requests came to in a period, by any of team, user, key, model, provider and cost centre.

use super::Common;
use super::context::{block_on, load_instance, open};
use super::period::PeriodArgs;
use crate::output;
use clap::{Args, ValueEnum};
use helix_control_plane::billing::{self, Format};
use helix_control_plane::{Dimension, ReportQuery, RollupSpan, Totals};
use helix_shared::time::UnixMicros;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// What rows are made by.
#[derive(Debug, Clone, Args)]
pub(super) struct GroupArgs {
    /// What rows are made by, in this order: any of team, user, key, model, provider, cost_center.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = dimension)]
    group_by: Vec<Dimension>,
    /// How long a row covers: everything, unless this says otherwise.
    #[arg(long, value_enum)]
    every: Option<Every>,
    /// Only these, such as team=engineering; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(Dimension, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Every {
    Hour,
    Day,
    Month,
}

/// What `ledger report` needs.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    group: GroupArgs,
    /// A table for people, JSON, or CSV; without a terminal, JSON.
    #[arg(long, value_enum)]
    format: Option<Shape>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    Json,
    Csv,
}

fn dimension(name: &str) -> Result<Dimension, String> {
    let known = || Dimension::ALL.map(Dimension::as_str).join(", ");
    Dimension::parse(name).ok_or_else(|| format!("it is none of {}", known()))
}

fn filter(text: &str) -> Result<(Dimension, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value, such as team=engineering")?;
    Ok((dimension(name)?, value.to_owned()))
}

impl GroupArgs {
    /// The question over a period; without `--group-by`, by `usual`.
    pub(super) fn query(&self, from: UnixMicros, until: UnixMicros, usual: &[Dimension]) -> ReportQuery {
        let mut group_by: Vec<Dimension> = Vec::new();
        for dimension in if self.group_by.is_empty() { usual } else { &self.group_by } {
            if !group_by.contains(dimension) {
                group_by.push(*dimension);
            }
        }
        let every = self.every.map(|every| match every {
            Every::Hour => RollupSpan::Hour,
            Every::Day => RollupSpan::Day,
            Every::Month => RollupSpan::Month,
        });
        ReportQuery { from, until, group_by, every, filters: self.filter.clone() }
    }
}

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let chosen = args.period.chosen()?;
    let query = args.group.query(chosen.from, chosen.until, &[]);
    let loaded = load_instance(&args.common)?;
    block_on(async {
        let app = open(&loaded).await?;
        if args.format == Some(Shape::Csv) {
            let mut out = std::io::BufWriter::new(std::io::stdout());
            billing::export(app.db(), &query, Format::Csv, app.instance_id(), &mut out).await?;
            app.close().await;
            return Ok(ExitCode::SUCCESS);
        }
        let mut tx = app.db().read().await?;
        let rows = tx.report(&query).await?;
        drop(tx);
        app.close().await;
        let mut total = Totals::default();
        let mut lines = vec![head(&query)];
        let mut values = Vec::new();
        for row in &rows {
            total.add(&row.totals);
            let when = query.every.map(|_| row.bucket.to_string());
            let names = row.names.iter().map(|name| if name.is_empty() { "-".to_owned() } else { name.clone() });
            lines.push(when.into_iter().chain(names).chain(figures(&row.totals)).collect());
            let mut value = Map::new();
            value.insert("periodStart".to_owned(), json!(row.bucket.to_string()));
            for (dimension, name) in query.group_by.iter().zip(&row.names) {
                let key = if *dimension == Dimension::CostCenter { "costCenter" } else { dimension.as_str() };
                value.insert(key.to_owned(), if name.is_empty() { Value::Null } else { json!(name) });
            }
            value.extend(money(&row.totals));
            values.push(Value::Object(value));
        }
        let value = json!({
            "from": chosen.from.to_string(), "until": chosen.until.to_string(), "rows": values,
            "total": Value::Object(money(&total)),
        });
        let mut text = columns(&lines);
        text.push_str(&format!("\n{} USD in all, {} requests.", total.cost, total.requests));
        if args.format == Some(Shape::Table) {
            output::line(&text);
        } else {
            output::answer(args.common.json() || args.format == Some(Shape::Json), &text, &value);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn head(query: &ReportQuery) -> Vec<String> {
    let when = query.every.map(|_| "from");
    let names = query.group_by.iter().map(|dimension| dimension.as_str());
    let figures = ["requests", "denied", "failed", "input", "output", "cost USD"];
    when.into_iter().chain(names).chain(figures).map(str::to_owned).collect()
}

fn figures(totals: &Totals) -> Vec<String> {
    let counts = [totals.requests, totals.denied, totals.failed, totals.input_tokens, totals.output_tokens];
    counts.iter().map(u64::to_string).chain([totals.cost.to_string()]).collect()
}

fn money(totals: &Totals) -> Map<String, Value> {
    let value = json!({
        "requests": totals.requests, "denied": totals.denied, "failed": totals.failed,
        "inputTokens": totals.input_tokens, "outputTokens": totals.output_tokens,
        "cacheReadTokens": totals.cache_read_tokens, "cacheWriteTokens": totals.cache_write_tokens,
        "costUsd": totals.cost.to_string(), "costNanoUsd": totals.cost.get(),
        "uncertainNanoUsd": totals.uncertain.get(), "correctedNanoUsd": totals.corrected.get(),
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Columns as wide as their widest cell.
pub(super) fn columns(lines: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let padded = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(padded).collect::<Vec<_>>().join("\n")
}
