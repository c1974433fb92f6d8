//! The export of a period: CSV, JSON Lines or FOCUS, row by row out of the sums.
//!
//! Rule: the same question about the same sums gives the same bytes: order, columns and digits are fixed, ids are written
//! and not names that may change. What a file adds up to is told beside it.

use super::BillingError;
use super::focus;
use super::table::{Cell, csv_line, json_line};
use helix_shared::time::UnixMicros;
use helix_store::{Db, Dimension, ReportQuery, ReportRow, RollupSpan, Totals};
use std::io::{self, Write};

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a line of names.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// The columns of FOCUS 1.2, comma-separated.
    Focus,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows, without the line of names.
    pub rows: u64,
    /// What they add up to.
    pub totals: Totals,
}

/// Writes the export of a question. `account` names the installation. FOCUS has a row a day.
///
/// # Errors
/// [`BillingError`]: the ledger cannot be read, or `out` cannot be written.
pub async fn export(
    db: &Db,
    query: &ReportQuery,
    format: Format,
    account: &str,
    out: &mut (dyn Write + Send),
) -> Result<Exported, BillingError> {
    let mut query = query.clone();
    if format == Format::Focus {
        query.every = Some(RollupSpan::Day);
    }
    head(&query, format, out).map_err(BillingError::Write)?;
    let mut done = Exported::default();
    let mut outcome = Ok(());
    let mut tx = db.read().await?;
    // a stretch at a time, so that no more than a day of rows is ever merged
    for (from, until) in stretches(&query) {
        let stretch = ReportQuery { from, until, ..query.clone() };
        let take = |row: ReportRow| {
            if outcome.is_ok() {
                done.totals.add(&row.totals);
                outcome = write_row(&query, format, account, &row, out)
                    .map(|rows| done.rows = done.rows.saturating_add(rows));
            }
        };
        tx.report_each(&stretch, take).await?;
        if outcome.is_err() {
            break;
        }
    }
    outcome.and_then(|()| out.flush()).map_err(BillingError::Write)?;
    Ok(done)
}

/// The period in pieces whose rows follow one another.
fn stretches(query: &ReportQuery) -> Vec<(UnixMicros, UnixMicros)> {
    let Some(every) = query.every else { return vec![(query.from, query.until)] };
    let mut stretches = Vec::new();
    let mut from = query.from;
    while from < query.until {
        let until = every.end(every.bucket(from)).min(query.until);
        stretches.push((from, until));
        from = until;
    }
    stretches
}

const COUNTS: [&str; 7] =
    ["requests", "denied", "failed", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"];

fn counts(totals: &Totals) -> [u64; 7] {
    [
        totals.requests,
        totals.denied,
        totals.failed,
        totals.input_tokens,
        totals.output_tokens,
        totals.cache_read_tokens,
        totals.cache_write_tokens,
    ]
}

fn head(query: &ReportQuery, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let plain = |name: &str| Cell::Plain(name.to_owned());
    match format {
        Format::Jsonl => Ok(()),
        Format::Focus => csv_line(out, focus::COLUMNS.iter().map(|name| plain(name))),
        Format::Csv => {
            let names = ["period_start", "period_end"].into_iter();
            let names = names.chain(query.group_by.iter().map(|dimension| dimension.as_str())).chain(COUNTS);
            csv_line(out, names.chain(["cost_usd", "uncertain_usd", "corrected_usd"]).map(plain))
        }
    }
}

fn write_row(
    query: &ReportQuery,
    format: Format,
    account: &str,
    row: &ReportRow,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let end = query.every.map_or(query.until, |every| every.end(row.bucket)).min(query.until);
    let start = row.bucket.max(query.from);
    let totals = &row.totals;
    let names = row.names.iter().map(|name| if name.is_empty() { Cell::Null } else { Cell::Text(name) });
    match format {
        Format::Focus => return focus::rows(&query.group_by, account, (start, end), row, out),
        Format::Csv => {
            let period = [Cell::Plain(start.to_string()), Cell::Plain(end.to_string())].into_iter();
            let money = [totals.cost, totals.uncertain, totals.corrected].map(|amount| Cell::Plain(amount.to_string()));
            csv_line(out, period.chain(names).chain(counts(totals).map(Cell::Count)).chain(money))?;
        }
        Format::Jsonl => {
            let period = [("periodStart", Cell::Plain(start.to_string())), ("periodEnd", Cell::Plain(end.to_string()))];
            let names = query.group_by.iter().map(|dimension| json_name(*dimension)).zip(names);
            let counted = COUNTS.map(json_count).into_iter().zip(counts(totals).map(Cell::Count));
            let money = [
                ("costUsd", Cell::Plain(totals.cost.to_string())),
                ("costNanoUsd", Cell::Nano(totals.cost.get())),
                ("uncertainNanoUsd", Cell::Nano(totals.uncertain.get())),
                ("correctedNanoUsd", Cell::Nano(totals.corrected.get())),
            ];
            json_line(out, period.into_iter().chain(names).chain(counted).chain(money))?;
        }
    }
    Ok(1)
}

fn json_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::CostCenter => "costCenter",
        other => other.as_str(),
    }
}

fn json_count(column: &'static str) -> &'static str {
    match column {
        "input_tokens" => "inputTokens",
        "output_tokens" => "outputTokens",
        "cache_read_tokens" => "cacheReadTokens",
        "cache_write_tokens" => "cacheWriteTokens",
        other => other,
    }
}
