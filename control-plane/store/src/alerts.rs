//! What people are told of budgets: that what was spent reached a share of the limit.
//!
//! Rule: an event is written in the transaction that moves the sum, once for a budget, a period and a share: its key says
//! so, and the account's row is locked. A limit that is raised and reached again makes no second one. Whoever wants to
//! tell people reads the table; nothing here sends anything.

use crate::accounts::{ACCOUNTS, Account, read_account, select_accounts};
use crate::db::Tx;
use crate::error::Result;
use crate::table::{Table as _, read, select, table};
use helix_shared::budget::{AccountKey, AlertKind, Increase, Limit, Mode, Share};
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order};
use std::collections::{BTreeMap, BTreeSet};

/// Accounts that a statement asks for at once: a database takes only so many values.
const CHUNK: usize = 400;

table! {
    "budget_events";
    /// One event.
    pub struct BudgetEvent {
        /// The budget.
        pub budget_id: String,
        /// First instant of the period.
        pub period_start: UnixMicros,
        /// What happened: the name of the event.
        pub kind: String,
        /// The share that was reached, in ten-thousandths.
        pub threshold: u32,
        /// Its id; later ones sort later.
        pub id: String,
        /// When it was noticed.
        pub at: UnixMicros,
        /// How people called the budget then.
        pub label: String,
        /// Its scope then.
        pub scope: String,
        /// First instant after the period: when the budget starts anew.
        pub period_end: UnixMicros,
        /// What was spent then.
        pub used_nano: NanoUsd,
        /// The limit then.
        pub limit_nano: NanoUsd,
    }
}

impl Tx {
    /// Lists the latest events, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn budget_events(&mut self, limit: u32) -> Result<Vec<BudgetEvent>> {
        let query = select::<BudgetEvent>().order_by("id", Order::Desc).limit(u64::from(limit)).to_owned();
        self.fetch_all(BudgetEvent::NAME, &query).await?.iter().map(read).collect()
    }

    /// Writes the events of accounts that were just charged in this transaction, and returns the new ones.
    pub(crate) async fn raise_alerts(
        &mut self,
        charged: &BTreeSet<&AccountKey>,
        now: UnixMicros,
    ) -> Result<Vec<BudgetEvent>> {
        // also what has ended: a late record counts in its own period
        let Some(earliest) = charged.iter().map(|account| account.period_start).min() else { return Ok(Vec::new()) };
        let mut increases: BTreeMap<String, Vec<Increase>> = BTreeMap::new();
        for entry in self.adjustments_after(None, earliest).await? {
            increases.entry(entry.budget_id.clone()).or_default().push(entry.increase());
        }
        let mut raised = Vec::new();
        let accounts: Vec<&AccountKey> = charged.iter().copied().collect();
        for chunk in accounts.chunks(CHUNK) {
            self.raise_alerts_of(chunk, &increases, now, &mut raised).await?;
        }
        Ok(raised)
    }

    async fn raise_alerts_of(
        &mut self,
        charged: &[&AccountKey],
        increases: &BTreeMap<String, Vec<Increase>>,
        now: UnixMicros,
        raised: &mut Vec<BudgetEvent>,
    ) -> Result<()> {
        let ids: BTreeSet<&str> = charged.iter().map(|account| account.budget_id.as_str()).collect();
        let mut limits: BTreeMap<BudgetId, Limit> = BTreeMap::new();
        for budget in self.budgets_among(&ids).await? {
            let id = BudgetId::from(budget.id.as_str());
            let on_top = increases.get(&budget.id).cloned().unwrap_or_default();
            // one that cannot be read is quarantined, and says so elsewhere
            if let Ok(limit) = Limit::of(id.clone(), &budget.resource(on_top)) {
                limits.insert(id, limit);
            }
        }
        for account in self.charged_accounts(&ids, charged).await? {
            let Some(limit) = limits.get(&account.key.budget_id) else { continue };
            let due = due(limit, &account, now);
            if due.is_empty() {
                continue;
            }
            let told = self.told(&account.key).await?;
            for event in due.into_iter().filter(|event| !told.contains(&(event.kind.clone(), event.threshold))) {
                self.insert(&event).await?;
                raised.push(event);
            }
        }
        Ok(())
    }

    async fn charged_accounts(&mut self, ids: &BTreeSet<&str>, charged: &[&AccountKey]) -> Result<Vec<Account>> {
        let periods: BTreeSet<i64> = charged.iter().map(|account| account.period_start.get()).collect();
        let query = select_accounts()
            .and_where(Expr::col("budget_id").is_in(ids.iter().copied()))
            .and_where(Expr::col("period_start").is_in(periods))
            .to_owned();
        let rows = self.fetch_all(ACCOUNTS, &query).await?;
        let accounts: Vec<Account> = rows.iter().map(read_account).collect::<Result<_>>()?;
        let charged: BTreeSet<&AccountKey> = charged.iter().copied().collect();
        Ok(accounts.into_iter().filter(|account| charged.contains(&account.key)).collect())
    }

    async fn told(&mut self, account: &AccountKey) -> Result<BTreeSet<(String, u32)>> {
        let query = select::<BudgetEvent>()
            .and_where(Expr::col("budget_id").eq(account.budget_id.as_str()))
            .and_where(Expr::col("period_start").eq(account.period_start.get()))
            .to_owned();
        let rows = self.fetch_all(BudgetEvent::NAME, &query).await?;
        rows.iter().map(|row| read::<BudgetEvent>(row).map(|event| (event.kind, event.threshold))).collect()
    }
}

/// What an account has reached, told or not.
fn due(limit: &Limit, account: &Account, now: UnixMicros) -> Vec<BudgetEvent> {
    let period_end = match limit.window(account.key.period_start) {
        Ok(window) if window.start == account.key.period_start => window.end,
        // the calendar was another one then
        _ => account.period_end,
    };
    // A late record counts against the limit that its own period had.
    let last = UnixMicros::new(period_end.get().saturating_sub(1));
    let amount = limit.at(std::cmp::max(std::cmp::min(now, last), account.key.period_start));
    let spent = match limit.mode {
        Mode::Hard => AlertKind::Exceeded,
        Mode::Soft => AlertKind::SoftExceeded,
    };
    let shares = limit.alert_at.iter().map(|share| (AlertKind::ThresholdReached, *share));
    let reached: BTreeSet<(AlertKind, Share)> = shares
        .chain(std::iter::once((spent, Share::ALL)))
        .filter(|(_, share)| share.is_reached(account.settled, amount))
        .collect();
    let event = |(kind, share): (AlertKind, Share)| BudgetEvent {
        budget_id: account.key.budget_id.as_str().to_owned(),
        period_start: account.key.period_start,
        kind: kind.as_str().to_owned(),
        threshold: share.ten_thousandths(),
        id: uuid::Uuid::now_v7().to_string(),
        at: now,
        label: limit.label.clone(),
        scope: limit.scope.to_string(),
        period_end,
        used_nano: account.settled,
        limit_nano: amount,
    };
    reached.into_iter().map(event).collect()
}
