//! Rows of FOCUS 1.2, the FinOps Foundation's Open Cost and Usage Specification (focus.finops.org, May 2025).
//!
//! Rule: every mandatory column is there, and those that may not be null are not; words come from the allowed values; what
//! is ours alone begins with `x_`. A row is a day of one combination. Corrections are rows of their own (`Adjustment`), so
//! that usage stays what it was. The gateway knows one price: billed, effective, list and contracted cost are equal.

use super::table::{Cell, csv_line};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use helix_store::{Dimension, ReportRow};
use std::io::{self, Write};

/// The columns, in the order in which they are written: the standard's by name, then ours.
pub(super) const COLUMNS: [&str; 36] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_InputTokens",
    "x_OutputTokens",
    "x_CacheReadTokens",
    "x_CacheWriteTokens",
    "x_Requests",
];

/// Who is named where nobody is: a request that no provider was asked about.
const NOBODY: &str = "Helix Gateway";

/// What a row of usage and a row of correction differ in.
#[derive(Clone, Copy)]
struct Charge {
    category: &'static str,
    cost: NanoUsd,
    is_usage: bool,
}

/// Writes the rows of one combination on one day: usage, and corrections if there are any. Returns how many.
pub(super) fn rows(
    group_by: &[Dimension],
    account: &str,
    period: (UnixMicros, UnixMicros),
    row: &ReportRow,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let totals = &row.totals;
    let mut written = 0;
    let usage = totals.cost.saturating_sub(totals.corrected);
    // what a provider charged of a request that another one answered is its usage, too, though no request of its own
    if totals.requests > 0 || usage != NanoUsd::ZERO {
        let charge = Charge { category: "Usage", cost: usage, is_usage: true };
        line(group_by, account, period, row, charge, out)?;
        written += 1;
    }
    if totals.corrected != NanoUsd::ZERO {
        let charge = Charge { category: "Adjustment", cost: totals.corrected, is_usage: false };
        line(group_by, account, period, row, charge, out)?;
        written += 1;
    }
    Ok(written)
}

fn line(
    group_by: &[Dimension],
    account: &str,
    (start, end): (UnixMicros, UnixMicros),
    row: &ReportRow,
    charge: Charge,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = |wanted: Dimension| {
        let at = group_by.iter().position(|dimension| *dimension == wanted)?;
        row.names.get(at).map(String::as_str).filter(|name| !name.is_empty())
    };
    let plain = |text: &str| Cell::Plain(text.to_owned());
    let maybe = |text: Option<String>| text.map_or(Cell::Null, Cell::Plain);
    let totals = &row.totals;
    let tokens = [totals.input_tokens, totals.output_tokens, totals.cache_read_tokens, totals.cache_write_tokens];
    let all_tokens = tokens.into_iter().fold(0_u64, u64::saturating_add);
    let (quantity, unit) = if all_tokens > 0 { (all_tokens, "Tokens") } else { (totals.requests, "Requests") };
    let provider = name(Dimension::Provider);
    let model = name(Dimension::Model);
    let seller = || provider.map_or_else(|| plain(NOBODY), Cell::Text);
    let sku = model.map(|model| format!("{}/{model}", provider.unwrap_or(NOBODY)));
    let description = match (charge.is_usage, model) {
        (true, Some(model)) => format!("{} requests to {model}", totals.requests),
        (true, None) => format!("{} requests", totals.requests),
        (false, Some(model)) => format!("Correction of requests to {model}"),
        (false, None) => "Correction of requests".to_owned(),
    };
    let cost = || Cell::Plain(charge.cost.to_string());
    let of_usage = |cell: Cell<'static>| if charge.is_usage { cell } else { Cell::Null };
    let count = |units: u64| of_usage(Cell::Count(units));
    let team = || name(Dimension::Team).map_or(Cell::Null, Cell::Text);
    let month = start.month_start();
    let mut cells = vec![
        cost(),
        plain(account),
        plain(NOBODY),
        plain("USD"),
        plain(&month.next_month_start().to_string()),
        plain(&month.to_string()),
        plain(charge.category),
        Cell::Null,
        plain(&description),
        plain(if charge.is_usage { "Usage-Based" } else { "One-Time" }),
        plain(&end.to_string()),
        plain(&start.to_string()),
        count(quantity),
        of_usage(plain(unit)),
        cost(),
        cost(),
        seller(),
        cost(),
        of_usage(plain("Standard")),
        count(quantity),
        of_usage(plain(unit)),
        seller(),
        seller(),
        model.map_or(Cell::Null, Cell::Text),
        plain("AI and Machine Learning"),
        seller(),
        plain("Generative AI"),
        maybe(sku),
        team(),
        team(),
        maybe(tags(group_by, row)),
    ];
    cells.extend(tokens.map(count));
    cells.push(count(totals.requests));
    csv_line(out, cells)
}

/// Who it was, as an object of JSON; `None` when nobody is known.
fn tags(group_by: &[Dimension], row: &ReportRow) -> Option<String> {
    let named = [Dimension::CostCenter, Dimension::Key, Dimension::Team, Dimension::User];
    let mut tags = std::collections::BTreeMap::new();
    for (dimension, value) in group_by.iter().zip(&row.names) {
        if named.contains(dimension) && !value.is_empty() {
            tags.insert(dimension.as_str(), value.as_str());
        }
    }
    // texts always encode
    (!tags.is_empty()).then(|| serde_json::to_string(&tags).unwrap_or_default())
}
