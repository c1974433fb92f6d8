//! What people are told of budgets: that what was spent reached a share of the limit.
//!
//! Rule: an event is written in the transaction that moves the sum, once for a budget, a period and a share: its key says
//! so, and the account's row is locked. A limit that is raised and reached again makes no second one. What budgets say is
//! read before the sums are locked, and what was told is asked only of accounts that reached something. Whoever wants to
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

    /// The limits of the budgets of these accounts, with what lies on top of them.
    pub(crate) async fn watched(&mut self, charged: &BTreeSet<AccountKey>) -> Result<Watched> {
        // also what has ended: a late record counts in its own period
        let Some(earliest) = charged.iter().map(|account| account.period_start).min() else {
            return Ok(Watched::default());
        };
        let ids: BTreeSet<&str> = charged.iter().map(|account| account.budget_id.as_str()).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let mut limits = BTreeMap::new();
        for chunk in ids.chunks(CHUNK) {
            let budgets = self.budgets_among(&chunk.iter().copied().collect()).await?;
            let known: Vec<&str> = budgets.iter().map(|budget| budget.id.as_str()).collect();
            let mut increases: BTreeMap<String, Vec<Increase>> = BTreeMap::new();
            for entry in self.adjustments_among(&known, earliest).await? {
                increases.entry(entry.budget_id.clone()).or_default().push(entry.increase());
            }
            for budget in &budgets {
                let id = BudgetId::from(budget.id.as_str());
                let on_top = increases.remove(&budget.id).unwrap_or_default();
                // one that cannot be read is quarantined, and says so elsewhere
                if let Ok(limit) = Limit::of(id.clone(), &budget.resource(on_top)) {
                    limits.insert(id, limit);
                }
            }
        }
        Ok(Watched(limits))
    }

    /// Writes the events of accounts that were just charged in this transaction, and returns the new ones.
    pub(crate) async fn raise_alerts(
        &mut self,
        watched: &Watched,
        charged: &BTreeSet<AccountKey>,
        now: UnixMicros,
    ) -> Result<Vec<BudgetEvent>> {
        let charged: Vec<&AccountKey> =
            charged.iter().filter(|account| watched.0.contains_key(&account.budget_id)).collect();
        let mut raised = Vec::new();
        for chunk in charged.chunks(CHUNK) {
            let mut events = Vec::new();
            for account in self.charged_accounts(chunk).await? {
                if let Some(limit) = watched.0.get(&account.key.budget_id) {
                    events.extend(due(limit, &account, now));
                }
            }
            if events.is_empty() {
                continue;
            }
            let told = self.told(&events).await?;
            for event in events.into_iter().filter(|event| !told.contains(&place(event))) {
                self.insert(&event).await?;
                raised.push(event);
            }
        }
        Ok(raised)
    }

    async fn charged_accounts(&mut self, charged: &[&AccountKey]) -> Result<Vec<Account>> {
        let ids: BTreeSet<&str> = charged.iter().map(|account| account.budget_id.as_str()).collect();
        let periods: BTreeSet<i64> = charged.iter().map(|account| account.period_start.get()).collect();
        let query = select_accounts()
            .and_where(Expr::col("budget_id").is_in(ids))
            .and_where(Expr::col("period_start").is_in(periods))
            .to_owned();
        let rows = self.fetch_all(ACCOUNTS, &query).await?;
        let accounts: Vec<Account> = rows.iter().map(read_account).collect::<Result<_>>()?;
        let charged: BTreeSet<&AccountKey> = charged.iter().copied().collect();
        Ok(accounts.into_iter().filter(|account| charged.contains(&account.key)).collect())
    }

    /// Which events of these budgets and periods there are.
    async fn told(&mut self, events: &[BudgetEvent]) -> Result<BTreeSet<Place>> {
        let ids: BTreeSet<&str> = events.iter().map(|event| event.budget_id.as_str()).collect();
        let periods: BTreeSet<i64> = events.iter().map(|event| event.period_start.get()).collect();
        let query = select::<BudgetEvent>()
            .and_where(Expr::col("budget_id").is_in(ids))
            .and_where(Expr::col("period_start").is_in(periods))
            .to_owned();
        let rows = self.fetch_all(BudgetEvent::NAME, &query).await?;
        rows.iter().map(|row| read::<BudgetEvent>(row).map(|event| place(&event))).collect()
    }
}

/// The limits that accounts are watched by.
#[derive(Debug, Default)]
pub(crate) struct Watched(BTreeMap<BudgetId, Limit>);

/// What there is one event of: budget, period, kind, share.
type Place = (String, UnixMicros, String, u32);

fn place(event: &BudgetEvent) -> Place {
    (event.budget_id.clone(), event.period_start, event.kind.clone(), event.threshold)
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
