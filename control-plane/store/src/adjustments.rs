//! What was put on top of budgets' limits: top-ups, temporary increases, and what was taken back of them.
//!
//! Rule: an entry is never edited and never removed; a correction is another entry. Each carries a hash of itself and of
//! the entry before it, so that an edited or missing one is found. They are written one after the other, under the lock
//! of the configuration.

use crate::api_keys::to_hex;
use crate::budgets::Budget;
use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::table::{Table as _, select, table};
use crate::verify_report::LedgerReport;
use aws_lc_rs::digest::{Context, SHA256};
use helix_shared::budget::Increase;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order};
use std::collections::{BTreeMap, BTreeSet};

table! {
    "budget_adjustments";
    /// One entry. It is made by [`Tx::append_adjustment`] alone.
    pub struct BudgetAdjustment {
        /// Its id.
        pub id: String,
        /// Its place among all entries, from 1.
        pub seq: i64,
        /// The budget.
        pub budget_id: String,
        /// `top_up`, `increase` or `correction`.
        pub kind: String,
        /// By how much the limit is raised; below zero for a correction.
        pub amount_nano: NanoUsd,
        /// First instant at which it holds.
        pub holds_from: UnixMicros,
        /// First instant at which it holds no more.
        pub holds_until: UnixMicros,
        /// The entry that a correction takes back.
        pub corrects: Option<String>,
        /// Who made it.
        pub actor: String,
        /// Why.
        pub reason: String,
        /// When.
        pub made_at: UnixMicros,
        /// Hash of the entry and of the one before it.
        pub hash: String,
    }
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdjustmentKind {
    /// More money in the present period.
    TopUp,
    /// A higher limit for a time.
    Increase,
    /// An earlier entry is taken back for the rest of its time.
    Correction,
}

impl AdjustmentKind {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Increase => "increase",
            Self::Correction => "correction",
        }
    }
}

/// An entry to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAdjustment {
    /// Its id.
    pub id: String,
    /// The budget.
    pub budget_id: String,
    /// Its kind.
    pub kind: AdjustmentKind,
    /// By how much the limit is raised; below zero for a correction.
    pub amount: NanoUsd,
    /// First instant at which it holds.
    pub from: UnixMicros,
    /// First instant at which it holds no more.
    pub until: UnixMicros,
    /// The entry that a correction takes back.
    pub corrects: Option<String>,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl BudgetAdjustment {
    /// What it puts on top, and when.
    pub fn increase(&self) -> Increase {
        Increase { amount: self.amount_nano, from: self.holds_from, until: self.holds_until }
    }

    fn hash_after(&self, before: &str) -> String {
        let mut context = Context::new(&SHA256);
        let numbers = [
            self.seq,
            self.amount_nano.get(),
            self.holds_from.get(),
            self.holds_until.get(),
            self.made_at.get(),
            i64::from(self.corrects.is_some()),
        ];
        numbers.iter().for_each(|number| context.update(&number.to_be_bytes()));
        let corrects = self.corrects.as_deref().unwrap_or_default();
        for text in [before, &self.id, &self.budget_id, &self.kind, corrects, &self.actor, &self.reason] {
            // with its length: no two entries are one text
            context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(text.as_bytes());
        }
        to_hex(context.finish().as_ref())
    }
}

impl Tx {
    /// Writes an entry behind the last one. The caller holds the lock of the configuration ([`Tx::lock_config`]).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the entry that it corrects has been corrected already; what the database says.
    pub async fn append_adjustment(&mut self, new: NewAdjustment, now: UnixMicros) -> Result<BudgetAdjustment> {
        let last = select::<BudgetAdjustment>().order_by("seq", Order::Desc).limit(1).to_owned();
        let last = self.fetch_optional(BudgetAdjustment::NAME, &last).await?;
        let last = last.as_ref().map(crate::table::read::<BudgetAdjustment>).transpose()?;
        let (seq, before) = last.map_or((0, String::new()), |last| (last.seq, last.hash));
        let seq = seq.checked_add(1).ok_or_else(|| StoreError::corrupt(BudgetAdjustment::NAME, "no number is left"))?;
        let mut row = BudgetAdjustment {
            id: new.id,
            seq,
            budget_id: new.budget_id,
            kind: new.kind.as_str().to_owned(),
            amount_nano: new.amount,
            holds_from: new.from,
            holds_until: new.until,
            corrects: new.corrects,
            actor: new.actor,
            reason: new.reason,
            made_at: now,
            hash: String::new(),
        };
        row.hash = row.hash_after(&before);
        self.insert(&row).await?;
        Ok(row)
    }

    /// Lists every entry, in order.
    ///
    /// # Errors
    /// What the database says.
    pub async fn adjustments(&mut self) -> Result<Vec<BudgetAdjustment>> {
        let query = select::<BudgetAdjustment>().order_by("seq", Order::Asc).to_owned();
        self.fetch_all(BudgetAdjustment::NAME, &query).await?.iter().map(crate::table::read).collect()
    }

    /// What lies or will lie on top of budgets, by budget: what had not ended at the budget's last change. Two that read
    /// the same revision read the same.
    ///
    /// # Errors
    /// What the database says.
    pub async fn increases(&mut self, budgets: &[Budget]) -> Result<BTreeMap<String, Vec<Increase>>> {
        let mut found: BTreeMap<String, Vec<Increase>> = BTreeMap::new();
        let Some(earliest) = budgets.iter().map(|budget| budget.updated_at).min() else { return Ok(found) };
        let since: BTreeMap<&str, UnixMicros> =
            budgets.iter().map(|budget| (budget.id.as_str(), budget.updated_at)).collect();
        let one = budgets.first().filter(|_| budgets.len() == 1).map(|budget| budget.id.as_str());
        for entry in self.adjustments_after(one, earliest).await? {
            if since.get(entry.budget_id.as_str()).is_some_and(|since| entry.holds_until > *since) {
                found.entry(entry.budget_id.clone()).or_default().push(entry.increase());
            }
        }
        Ok(found)
    }

    /// Lists the entries that hold beyond an instant, of one budget or of all, in order.
    ///
    /// # Errors
    /// What the database says.
    pub async fn adjustments_after(
        &mut self,
        budget_id: Option<&str>,
        after: UnixMicros,
    ) -> Result<Vec<BudgetAdjustment>> {
        let mut query = select::<BudgetAdjustment>()
            .and_where(Expr::col("holds_until").gt(after.get()))
            .order_by("seq", Order::Asc)
            .to_owned();
        if let Some(id) = budget_id {
            query.and_where(Expr::col("budget_id").eq(id));
        }
        self.fetch_all(BudgetAdjustment::NAME, &query).await?.iter().map(crate::table::read).collect()
    }

    /// Lists the entries of these budgets that hold beyond an instant, in order.
    pub(crate) async fn adjustments_among(
        &mut self,
        budget_ids: &[&str],
        after: UnixMicros,
    ) -> Result<Vec<BudgetAdjustment>> {
        if budget_ids.is_empty() {
            return Ok(Vec::new());
        }
        let query = select::<BudgetAdjustment>()
            .and_where(Expr::col("budget_id").is_in(budget_ids.iter().copied()))
            .and_where(Expr::col("holds_until").gt(after.get()))
            .order_by("seq", Order::Asc)
            .to_owned();
        self.fetch_all(BudgetAdjustment::NAME, &query).await?.iter().map(crate::table::read).collect()
    }

    /// Proves that no entry was edited or removed, and that each says who, why, how much and for how long.
    pub(crate) async fn verify_adjustments(&mut self, report: &mut LedgerReport) -> Result<()> {
        let entries = self.adjustments().await?;
        let (mut before, mut next_seq) = (String::new(), 1);
        let mut known: BTreeMap<&str, &BudgetAdjustment> = BTreeMap::new();
        let mut corrected: BTreeSet<&str> = BTreeSet::new();
        for entry in &entries {
            report.adjustments += 1;
            let mut bad = |what: String| report.problem(format!("budget entry {} ({}): {what}", entry.seq, entry.id));
            if entry.seq != next_seq {
                bad(format!("no entry has the numbers {next_seq} to {}", entry.seq.saturating_sub(1)));
            }
            next_seq = entry.seq.saturating_add(1);
            if entry.hash != entry.hash_after(&before) {
                bad("its hash does not fit it and the entry before it: one of them was edited or removed".to_owned());
            }
            if let Some(problem) = problem_of(entry, &known, &corrected) {
                bad(problem);
            }
            before.clone_from(&entry.hash);
            known.insert(entry.id.as_str(), entry);
            corrected.extend(entry.corrects.as_deref());
        }
        Ok(())
    }
}

fn problem_of(
    entry: &BudgetAdjustment,
    known: &BTreeMap<&str, &BudgetAdjustment>,
    corrected: &BTreeSet<&str>,
) -> Option<String> {
    if entry.actor.trim().is_empty() || entry.reason.trim().is_empty() {
        return Some("it does not say who made it and why".to_owned());
    }
    if entry.holds_from >= entry.holds_until {
        return Some("it ends before it begins".to_owned());
    }
    let Some(id) = entry.corrects.as_deref() else {
        let is_raise = [AdjustmentKind::TopUp, AdjustmentKind::Increase].iter().any(|kind| kind.as_str() == entry.kind);
        let is_sound = is_raise && entry.amount_nano > NanoUsd::ZERO;
        return (!is_sound).then(|| format!("a {} of {} USD is none", entry.kind, entry.amount_nano));
    };
    let Some(taken_back) = known.get(id) else { return Some(format!("it corrects {id}, which is no entry before it")) };
    let is_opposite = entry.kind == AdjustmentKind::Correction.as_str()
        && taken_back.corrects.is_none()
        && entry.budget_id == taken_back.budget_id
        && i128::from(entry.amount_nano.get()) == -i128::from(taken_back.amount_nano.get())
        && entry.holds_until == taken_back.holds_until
        && entry.holds_from >= taken_back.holds_from;
    if !is_opposite {
        return Some(format!("it does not take back entry {}", taken_back.seq));
    }
    corrected.contains(id).then(|| format!("entry {} was taken back before", taken_back.seq))
}
