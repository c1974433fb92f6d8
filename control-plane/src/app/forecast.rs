//! When each budget will be spent, from the sums of the last eight weeks and of today.
//!
//! Rule: read from sums and accounts, never from records; the foretelling itself is `helix_shared`'s. A budget whose
//! scope, period or zone cannot be read is left out: it does not compile either.

use super::App;
use helix_shared::budget::forecast::{Forecast, MOST_DAYS, Outlook, Today, forecast};
use helix_shared::budget::{AccountKey, BudgetScope, Limit, Window};
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use helix_store::{Budget, Dimension, ReportQuery, ReportRow, RollupSpan, StoreError, Tx};

const DAY_US: i64 = 86_400_000_000;

/// A budget and when it will be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foretold {
    /// Its id.
    pub budget_id: String,
    /// Whom it limits.
    pub scope: String,
    /// How people call it.
    pub label: String,
    /// How long a period is.
    pub period: &'static str,
    /// The limit that holds now, with what lies on top.
    pub limit: NanoUsd,
    /// What is spent of it.
    pub spent: NanoUsd,
    /// The period that runs.
    pub window: Window,
    /// When it will be spent.
    pub forecast: Forecast,
}

impl App {
    /// Foretells when each budget will be spent, in the order of their ids.
    ///
    /// # Errors
    /// What the database says.
    pub async fn forecast_budgets(&self) -> Result<Vec<Foretold>, StoreError> {
        let now = self.now();
        let mut tx = self.db.read().await?;
        let mut foretold = Vec::new();
        let budgets = tx.list::<Budget>().await?;
        let mut increases = tx.increases(&budgets).await?;
        for budget in budgets {
            let on_top = increases.remove(&budget.id).unwrap_or_default();
            let Ok(known) = Limit::of(BudgetId::from(budget.id.as_str()), &budget.resource(on_top)) else { continue };
            let Ok(window) = known.window(now) else { continue };
            let key = AccountKey { budget_id: known.id.clone(), period_start: window.start };
            let account = tx.account(&key).await?;
            let spent = account.map_or(NanoUsd::ZERO, |account| account.settled);
            let limit = known.at(now);
            let days = days(&mut tx, &known.scope, now).await?;
            let today = today(&mut tx, &known.scope, now).await?;
            let left = limit.saturating_sub(spent);
            let forecast = forecast(&Outlook { days: &days, today, now, left, period_end: window.end });
            let label = if budget.label.is_empty() { budget.scope.clone() } else { budget.label };
            foretold.push(Foretold {
                budget_id: budget.id,
                scope: budget.scope,
                label,
                period: known.period.as_str(),
                limit,
                spent,
                window,
                forecast,
            });
        }
        Ok(foretold)
    }
}

/// What the scope cost on each of the last whole days, from its first request on.
async fn days(tx: &mut Tx, scope: &BudgetScope, now: UnixMicros) -> Result<Vec<NanoUsd>, StoreError> {
    let until = RollupSpan::Day.bucket(now);
    let most = i64::try_from(MOST_DAYS).unwrap_or_default();
    let from = UnixMicros::new(until.get().saturating_sub(most.saturating_mul(DAY_US)));
    let rows = sums(tx, scope, (from, until), RollupSpan::Day).await?;
    let Some(first) = rows.first().map(|row| row.bucket) else { return Ok(Vec::new()) };
    let count = usize::try_from(until.get().saturating_sub(first.get()) / DAY_US).unwrap_or_default();
    let mut days = vec![NanoUsd::ZERO; count];
    for row in rows {
        let at = usize::try_from(row.bucket.get().saturating_sub(first.get()) / DAY_US).unwrap_or(usize::MAX);
        if let Some(day) = days.get_mut(at) {
            *day = day.saturating_add(row.totals.cost);
        }
    }
    Ok(days)
}

/// What the scope cost today, from its first hour on that cost something.
async fn today(tx: &mut Tx, scope: &BudgetScope, now: UnixMicros) -> Result<Option<Today>, StoreError> {
    let hour = RollupSpan::Hour;
    let times = (RollupSpan::Day.bucket(now), hour.end(hour.bucket(now)));
    let rows = sums(tx, scope, times, hour).await?;
    let spent = rows.iter().map(|row| row.totals.cost).sum();
    let since = rows.iter().find(|row| row.totals.cost > NanoUsd::ZERO).map(|row| row.bucket);
    Ok(since.map(|since| Today { spent, since }))
}

/// The sums of a scope, the oldest first.
async fn sums(
    tx: &mut Tx,
    scope: &BudgetScope,
    (from, until): (UnixMicros, UnixMicros),
    every: RollupSpan,
) -> Result<Vec<ReportRow>, StoreError> {
    let of = |dimension, id: &str| vec![(dimension, id.to_owned())];
    let (filters, group_by) = match scope {
        BudgetScope::Instance => (Vec::new(), Vec::new()),
        BudgetScope::Team(id) => (of(Dimension::Team, id.as_str()), Vec::new()),
        BudgetScope::User(id) => (of(Dimension::User, id.as_str()), Vec::new()),
        BudgetScope::Key(id) => (of(Dimension::Key, id.as_str()), Vec::new()),
        // sums know a model by the name that answered; a budget may cover further names for it
        BudgetScope::Model(_) => (Vec::new(), vec![Dimension::Model]),
    };
    let query = ReportQuery { from, until, group_by, every: Some(every), filters };
    let mut rows = tx.report(&query).await?;
    rows.retain(|row| row.names.first().is_none_or(|model| scope.covers_model(model)));
    Ok(rows)
}
