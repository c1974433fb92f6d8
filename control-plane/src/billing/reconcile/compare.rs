//! A provider's report beside the ledger, by model.
//!
//! Rule: the ledger is asked for exactly the times that the report covers. A model counts under its name without a date
//! on both sides, since providers bill a dated name and callers ask for another. Percentages are integers, rounded up:
//! what is over the tolerance is never rounded into it.

use super::amount::AttoUsd;
use super::reports::{ProviderReport, Quantity};
use crate::billing::BillingError;
use helix_shared::time::UnixMicros;
use helix_store::{Db, Dimension, ReportQuery};
use std::collections::BTreeMap;

/// How far apart the two may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Millionths of what the provider says.
    Ppm(u64),
    /// 1e-18 USD; not for reports of tokens.
    Usd(AttoUsd),
}

/// What the two say of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What it is about: a model without its date, a project; empty: not told.
    pub name: String,
    /// What the provider says: 1e-18 USD, or tokens.
    pub provider: i128,
    /// What the ledger says, in the same unit.
    pub ledger: i128,
    /// How much of the ledger's is estimated or unknown.
    pub uncertain: i128,
}

impl Difference {
    /// What the provider says beyond the ledger; below zero when it says less.
    pub fn amount(&self) -> i128 {
        self.provider.saturating_sub(self.ledger)
    }

    /// The difference in millionths of what the provider says, rounded up; of what the ledger says when that is all there is.
    pub fn ppm(&self) -> u64 {
        let base = if self.provider == 0 { self.ledger } else { self.provider };
        let apart = self.amount().unsigned_abs();
        if base == 0 {
            return 0;
        }
        let ppm = apart.saturating_mul(1_000_000).div_ceil(base.unsigned_abs());
        u64::try_from(ppm).unwrap_or(u64::MAX)
    }

    fn is_within(&self, tolerance: Tolerance) -> bool {
        match tolerance {
            Tolerance::Ppm(ppm) => self.ppm() <= ppm,
            Tolerance::Usd(most) => self.amount().unsigned_abs() <= most.get().unsigned_abs(),
        }
    }
}

/// What came of a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Whether it is about money; else about tokens.
    pub is_cost: bool,
    /// First instant that was compared.
    pub from: UnixMicros,
    /// First instant after what was compared.
    pub until: UnixMicros,
    /// By model, by name.
    pub models: Vec<Difference>,
    /// What the provider says by project, workspace or key. The ledger knows one credential a provider: nothing to compare.
    pub places: Vec<(String, i128)>,
    /// Everything together.
    pub total: Difference,
    /// Names of models that are further apart than was allowed.
    pub beyond: Vec<String>,
    /// Whether everything together, and each model, is within the tolerance.
    pub is_within: bool,
}

/// Compares a report with the ledger. `provider` is the name of the configuration; `place` leaves other projects out.
///
/// # Errors
/// [`BillingError`] when the ledger cannot be read, or the tolerance is not one for such a report.
pub async fn reconcile(
    db: &Db,
    report: &ProviderReport,
    provider: &str,
    place: Option<&str>,
    tolerance: Tolerance,
) -> Result<Reconciled, BillingError> {
    let mut models: BTreeMap<String, Difference> = BTreeMap::new();
    let mut places: BTreeMap<String, i128> = BTreeMap::new();
    let is_cost = report.charges.iter().all(|charge| matches!(charge.quantity, Quantity::Cost(_)));
    if !is_cost && matches!(tolerance, Tolerance::Usd(_)) {
        return Err(BillingError::ToleranceOfTokens);
    }
    for charge in report.charges.iter().filter(|charge| place.is_none_or(|place| place == charge.place)) {
        let amount = match charge.quantity {
            Quantity::Cost(amount) => amount.get(),
            Quantity::Tokens(tokens) => i128::from(tokens),
        };
        let name = undated(&charge.model);
        let line = models.entry(name.to_owned()).or_default();
        line.provider = line.provider.saturating_add(amount);
        let sum = places.entry(charge.place.clone()).or_default();
        *sum = sum.saturating_add(amount);
    }
    let runs = runs(&report.times);
    let mut tx = db.read().await?;
    for (from, until) in &runs {
        let query = ReportQuery {
            from: *from,
            until: *until,
            group_by: vec![Dimension::Model],
            every: None,
            filters: vec![(Dimension::Provider, provider.to_owned())],
        };
        for row in tx.report(&query).await? {
            let model = row.names.first().map_or("", String::as_str);
            let totals = &row.totals;
            let (amount, uncertain) = if is_cost {
                (AttoUsd::from(totals.cost).get(), AttoUsd::from(totals.uncertain).get())
            } else {
                let kinds =
                    [totals.input_tokens, totals.output_tokens, totals.cache_read_tokens, totals.cache_write_tokens];
                (kinds.into_iter().map(i128::from).sum(), 0)
            };
            if amount != 0 || uncertain != 0 {
                let line = models.entry(undated(model).to_owned()).or_default();
                line.ledger = line.ledger.saturating_add(amount);
                line.uncertain = line.uncertain.saturating_add(uncertain);
            }
        }
    }
    let mut total = Difference::default();
    let mut lines = Vec::new();
    for (name, line) in models {
        total.provider = total.provider.saturating_add(line.provider);
        total.ledger = total.ledger.saturating_add(line.ledger);
        total.uncertain = total.uncertain.saturating_add(line.uncertain);
        lines.push(Difference { name, ..line });
    }
    let beyond: Vec<String> =
        lines.iter().filter(|line| !line.is_within(tolerance)).map(|line| line.name.clone()).collect();
    let is_within = beyond.is_empty() && total.is_within(tolerance);
    let from = runs.first().map_or(UnixMicros::new(0), |run| run.0);
    let until = runs.last().map_or(UnixMicros::new(0), |run| run.1);
    let places = places.into_iter().collect();
    Ok(Reconciled { is_cost, from, until, models: lines, places, total, beyond, is_within })
}

/// Joins times that follow or overlap one another.
fn runs(times: &[(UnixMicros, UnixMicros)]) -> Vec<(UnixMicros, UnixMicros)> {
    let mut runs: Vec<(UnixMicros, UnixMicros)> = Vec::new();
    for (from, until) in times {
        match runs.last_mut() {
            Some(last) if *from <= last.1 => last.1 = last.1.max(*until),
            _ => runs.push((*from, *until)),
        }
    }
    runs
}

/// A model's name without a date at its end: `-2024-08-06`, `-20250514`.
fn undated(model: &str) -> &str {
    let is_date = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && text.starts_with("20") && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    for length in [10, 8] {
        let Some(at) = model.len().checked_sub(length + 1) else { continue };
        if let Some((name, end)) = model.split_at_checked(at)
            && let Some(date) = end.strip_prefix('-')
            && is_date(date)
            && !name.is_empty()
        {
            return name;
        }
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_at_the_end_are_left_out_and_nothing_else() {
        let cases = [
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("claude-sonnet-4-20250514", "claude-sonnet-4"),
            ("gpt-5", "gpt-5"),
            ("model-12345678", "model-12345678"),
            ("-20250514", "-20250514"),
            ("ü-20250514", "ü"),
            ("", ""),
        ];
        for (model, name) in cases {
            assert_eq!(undated(model), name, "{model}");
        }
    }

    #[test]
    fn times_that_touch_are_one_run() {
        let at = UnixMicros::new;
        let times = [(at(0), at(10)), (at(10), at(20)), (at(15), at(18)), (at(30), at(40))];
        assert_eq!(runs(&times), [(at(0), at(20)), (at(30), at(40))]);
    }

    #[test]
    fn what_is_over_the_tolerance_is_never_rounded_into_it() {
        let line = |provider, ledger| Difference { provider, ledger, ..Difference::default() };
        assert_eq!(line(1_000_000, 999_999).ppm(), 1);
        assert_eq!(line(3_000_000_000, 2_999_999_999).ppm(), 1);
        assert!(line(1_000, 990).is_within(Tolerance::Ppm(10_000)));
        assert!(!line(1_000, 989).is_within(Tolerance::Ppm(10_000)));
        assert!(!line(0, 1).is_within(Tolerance::Ppm(999_999)));
        assert!(line(0, 0).is_within(Tolerance::Ppm(0)));
    }
}
