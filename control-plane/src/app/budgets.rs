//! Budgets as they stand, and what is put on top of their limits.
//!
//! Rule: the limit itself is its owner's, the file's or the database's; a top-up or an increase lies on top and is an entry
//! of the ledger with who and why. An entry is never changed: what was wrong is taken back by another one, from now on.
//! An increase ends by itself, because the limit is computed for an instant.

use super::actor::authorize;
use super::error::AppError;
use super::users::bump;
use super::{Actor, App, new_id};
use helix_shared::budget::{AccountKey, BudgetScope, Limit, Window};
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use helix_shared::rbac::{Action, ResourceType, Scope};
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::UnixMicros;
use helix_store::{self as store, AdjustmentKind, BudgetAdjustment, BudgetEvent, ChangeOp, NewAdjustment, Tx};

/// The longest reason that is kept, in characters.
const REASON_CHARS: usize = 1_000;

/// How a budget stands in its present period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetState {
    /// The budget, checked.
    pub limit: Limit,
    /// The limit that holds now: the base and what lies on top.
    pub effective: NanoUsd,
    /// The present period.
    pub window: Window,
    /// Cost of what is settled.
    pub used: NanoUsd,
    /// Held by data planes beyond that: reserved for requests, or in hand for the next ones.
    pub held: NanoUsd,
    /// Entries that hold now or later, in order.
    pub entries: Vec<BudgetAdjustment>,
    /// Whether the configuration file defines it.
    pub is_of_file: bool,
}

/// Who changes a budget, and why. Both are kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A time on top of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// From now to the end of the present period.
    ThisPeriod,
    /// From an instant, or now, to another.
    Until {
        /// First instant; `None`: now.
        from: Option<UnixMicros>,
        /// First instant at which it holds no more.
        until: UnixMicros,
    },
}

impl App {
    /// Lists every budget that can be used, by id.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says.
    pub async fn list_budgets(&self, actor: &Actor) -> Result<Vec<BudgetState>, AppError> {
        let now = self.now();
        authorize(actor, Action::Read, ResourceType::Budget, &Scope::Instance, now)?;
        let mut tx = self.db.read().await?;
        let mut states = Vec::new();
        for row in tx.list::<store::Budget>().await? {
            states.extend(state(&mut tx, &row, now).await?);
        }
        tx.rollback().await?;
        Ok(states)
    }

    /// Puts money on top of a budget for a time.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] for an amount, a time or words that are none; [`AppError::Forbidden`].
    pub async fn raise_budget(
        &self,
        actor: &Actor,
        budget_id: &str,
        amount: NanoUsd,
        span: Span,
        said: &Said,
    ) -> Result<(BudgetAdjustment, BudgetState), AppError> {
        let now = self.now();
        if amount <= NanoUsd::ZERO {
            return Err(AppError::invalid("the amount", "it must be above zero"));
        }
        check_said(said)?;
        let mut tx = self.edit().await?;
        let (row, limit) = changeable(&mut tx, actor, budget_id, now).await?;
        let (kind, from, until) = match span {
            Span::ThisPeriod => (AdjustmentKind::TopUp, now, window(&limit, now)?.end),
            Span::Until { from, until } => (AdjustmentKind::Increase, from.unwrap_or(now), until),
        };
        if from < now {
            return Err(AppError::invalid("the start", "it is in the past; what was refused then stays refused"));
        }
        if until <= from {
            return Err(AppError::invalid("the end", "it must be after the start and in the future"));
        }
        let new = NewAdjustment {
            id: new_id(),
            budget_id: budget_id.to_owned(),
            kind,
            amount,
            from,
            until,
            corrects: None,
            actor: said.by.trim().to_owned(),
            reason: said.reason.trim().to_owned(),
        };
        self.append(tx, row, new, now).await
    }

    /// Takes an entry back for the rest of its time.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] for an entry that has ended, was taken back, or is a correction itself;
    /// [`AppError::Forbidden`].
    pub async fn correct_budget_entry(
        &self,
        actor: &Actor,
        entry_id: &str,
        said: &Said,
    ) -> Result<(BudgetAdjustment, BudgetState), AppError> {
        let now = self.now();
        check_said(said)?;
        let mut tx = self.edit().await?;
        let entries = tx.adjustments().await?;
        let entry = entries.iter().find(|entry| entry.id == entry_id);
        let entry =
            entry.ok_or_else(|| AppError::not_found(format!("entry {entry_id}; `budgets entries` lists them")))?;
        let invalid = |reason: &str| Err(AppError::invalid(format!("entry {entry_id}"), reason));
        if entry.corrects.is_some() {
            return invalid("it is a correction itself; make a new entry");
        }
        if entries.iter().any(|other| other.corrects.as_deref() == Some(entry_id)) {
            return invalid("it was taken back before");
        }
        if entry.holds_until <= now {
            return invalid("it has ended");
        }
        let (row, _) = changeable(&mut tx, actor, &entry.budget_id, now).await?;
        let new = NewAdjustment {
            id: new_id(),
            budget_id: entry.budget_id.clone(),
            kind: AdjustmentKind::Correction,
            amount: NanoUsd::ZERO.saturating_sub(entry.amount_nano),
            from: std::cmp::max(now, entry.holds_from),
            until: entry.holds_until,
            corrects: Some(entry.id.clone()),
            actor: said.by.trim().to_owned(),
            reason: said.reason.trim().to_owned(),
        };
        self.append(tx, row, new, now).await
    }

    /// Lists every entry, in order, of one budget if given.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says.
    pub async fn budget_entries(&self, actor: &Actor, of: Option<&str>) -> Result<Vec<BudgetAdjustment>, AppError> {
        authorize(actor, Action::Read, ResourceType::Budget, &Scope::Instance, self.now())?;
        let mut tx = self.db.read().await?;
        let mut entries = tx.adjustments().await?;
        tx.rollback().await?;
        entries.retain(|entry| of.is_none_or(|of| of == entry.budget_id));
        Ok(entries)
    }

    /// Lists the latest events of budgets, the newest first.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says.
    pub async fn budget_events(&self, actor: &Actor, most: u32) -> Result<Vec<BudgetEvent>, AppError> {
        authorize(actor, Action::Read, ResourceType::Budget, &Scope::Instance, self.now())?;
        let mut tx = self.db.read().await?;
        let events = tx.budget_events(most).await?;
        tx.rollback().await?;
        Ok(events)
    }

    /// Writes the entry, makes the next revision of the budget, and returns how it stands then.
    async fn append(
        &self,
        mut tx: Tx,
        mut row: store::Budget,
        new: NewAdjustment,
        now: UnixMicros,
    ) -> Result<(BudgetAdjustment, BudgetState), AppError> {
        let entry = tx.append_adjustment(new, now).await?;
        row.updated_at = std::cmp::max(row.updated_at, now);
        tx.put(&row).await?;
        let gone = || AppError::not_found(format!("budget `{}`", row.id));
        let state = state(&mut tx, &row, now).await?.ok_or_else(gone)?;
        bump(&mut tx, &[(ResourceKind::Budget, row.id.clone(), ChangeOp::Upsert)], now).await?;
        self.commit(tx).await?;
        Ok((entry, state))
    }
}

/// How a budget stands; `None` for one that is quarantined.
pub(super) async fn state(tx: &mut Tx, row: &store::Budget, now: UnixMicros) -> Result<Option<BudgetState>, AppError> {
    let entries = tx.adjustments_after(Some(&row.id), now).await?;
    let increases = entries.iter().map(BudgetAdjustment::increase).collect();
    let Ok(limit) = Limit::of(BudgetId::from(row.id.as_str()), &row.resource(increases)) else { return Ok(None) };
    let window = window(&limit, now)?;
    let key = AccountKey { budget_id: limit.id.clone(), period_start: window.start };
    let account = tx.account(&key).await?;
    let used = account.as_ref().map_or(NanoUsd::ZERO, |account| account.settled);
    let out = account.map_or(NanoUsd::ZERO, |account| account.escrow.saturating_add(account.unleased));
    Ok(Some(BudgetState {
        effective: limit.at(now),
        window,
        used,
        held: out.saturating_sub(used).max(NanoUsd::ZERO),
        entries,
        is_of_file: row.managed == store::Managed::File,
        limit,
    }))
}

async fn changeable(tx: &mut Tx, actor: &Actor, id: &str, now: UnixMicros) -> Result<(store::Budget, Limit), AppError> {
    let row = tx.get::<store::Budget>(id).await?;
    let row = row.ok_or_else(|| AppError::not_found(format!("budget `{id}`; `budgets list` shows their ids")))?;
    let quarantined = |error| AppError::invalid(format!("budget `{id}`"), format!("{error}"));
    let limit = Limit::of(BudgetId::from(id), &row.resource(Vec::new())).map_err(quarantined)?;
    let place = match &limit.scope {
        BudgetScope::Team(team) => Scope::Team(team.clone()),
        BudgetScope::Instance | BudgetScope::User(_) | BudgetScope::Key(_) | BudgetScope::Model(_) => Scope::Instance,
    };
    authorize(actor, Action::Update, ResourceType::Budget, &place, now)?;
    Ok((row, limit))
}

fn window(limit: &Limit, now: UnixMicros) -> Result<Window, AppError> {
    limit.window(now).map_err(|error| AppError::invalid(format!("budget `{}`", limit.id), error.to_string()))
}

fn check_said(said: &Said) -> Result<(), AppError> {
    for (what, text) in [("who", &said.by), ("the reason", &said.reason)] {
        if text.trim().is_empty() {
            return Err(AppError::invalid(what, "it must be said; it is kept"));
        }
        if text.chars().count() > REASON_CHARS || text.contains('\0') {
            return Err(AppError::invalid(what, format!("it must have at most {REASON_CHARS} characters and no NUL")));
        }
    }
    Ok(())
}
