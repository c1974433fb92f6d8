//! When each budget will be spent, from the sums of the last eight weeks.
//!
//! Rule: read from sums and accounts, never from records; the foretelling itself is `helix_shared`'s. A budget whose
//! scope, period or zone cannot be read is left out: it does not compile either.

use super::App;
use helix_shared::budget::forecast::{Forecast, MOST_DAYS, Outlook, forecast};
use helix_shared::budget::{AccountKey, BudgetScope, Period, Window};
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use helix_store::{Budget, Dimension, ReportQuery, RollupSpan, StoreError, Tx};

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
    /// The amount per period.
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
        for budget in tx.list::<Budget>().await? {
            let Some(scope) = BudgetScope::parse(&budget.scope) else { continue };
            let Some(period) = Period::parse(&budget.period) else { continue };
            let Ok(window) = period.window(now, &budget.timezone) else { continue };
            let key = AccountKey { budget_id: BudgetId::from(budget.id.as_str()), period_start: window.start };
            let account = tx.account(&key).await?;
            let spent = account.as_ref().map_or(NanoUsd::ZERO, |account| account.settled);
            let limit = account.and_then(|account| account.limit).unwrap_or(budget.limit_nano);
            let days = days(&mut tx, &scope, now).await?;
            let left = limit.saturating_sub(spent);
            let forecast = forecast(&Outlook { days: &days, now, left, period_end: window.end });
            let label = if budget.label.is_empty() { budget.scope.clone() } else { budget.label.clone() };
            let (budget_id, scope) = (budget.id, budget.scope);
            foretold.push(Foretold {
                budget_id,
                scope,
                label,
                period: period.as_str(),
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
    let filters = match scope {
        BudgetScope::Instance => Vec::new(),
        BudgetScope::Team(id) => vec![(Dimension::Team, id.as_str().to_owned())],
        BudgetScope::User(id) => vec![(Dimension::User, id.as_str().to_owned())],
    };
    let query = ReportQuery { from, until, group_by: Vec::new(), every: Some(RollupSpan::Day), filters };
    let rows = tx.report(&query).await?;
    let Some(first) = rows.first().map(|row| row.bucket) else { return Ok(Vec::new()) };
    let count = usize::try_from(until.get().saturating_sub(first.get()) / DAY_US).unwrap_or_default();
    let mut days = vec![NanoUsd::ZERO; count];
    for row in rows {
        let at = usize::try_from(row.bucket.get().saturating_sub(first.get()) / DAY_US).unwrap_or(usize::MAX);
        if let Some(day) = days.get_mut(at) {
            *day = row.totals.cost;
        }
    }
    Ok(days)
}
