//! Budgets made, changed and removed in the database: of keys that no file knows, and of everything where there is no file.
//!
//! Rule: what the file defines changes in the file only. A budget made here counts, is listed and is proven as any other. A
//! key that is rotated takes its budgets along, with what is spent of them: a new secret is no new money. Not here: what
//! lies on top of limits (`budgets`).

use super::actor::authorize;
use super::budgets::{BudgetState, state};
use super::error::AppError;
use super::users::{Edit, bump};
use super::validate::clean_email;
use super::{Actor, App, keys, new_id};
use crate::settings::FileScope;
use helix_shared::budget::{BudgetScope, Limit, Mode, Period, Share, WeekStart};
use helix_shared::ids::{BudgetId, TeamId};
use helix_shared::money::NanoUsd;
use helix_shared::rbac::{Action, ResourceType, Scope};
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::UnixMicros;
use helix_store::{self as store, ChangeOp, Managed, Tx};

/// How much, for how long, and what happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetTerms {
    /// Amount per period.
    pub limit: NanoUsd,
    /// How long a period is.
    pub period: Period,
    /// Hard or soft.
    pub mode: Mode,
    /// IANA zone.
    pub timezone: String,
    /// The day that weeks begin on.
    pub week_start: WeekStart,
    /// Shares of the limit at which people are told.
    pub alert_at: Vec<Share>,
}

impl App {
    /// Makes a budget. Teams and keys are given by id or name, people by address.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for an unknown team, person or key; [`AppError::Invalid`]; [`AppError::Forbidden`].
    pub async fn create_budget(
        &self,
        actor: &Actor,
        scope: &FileScope,
        terms: &BudgetTerms,
    ) -> Result<BudgetState, AppError> {
        let now = self.now();
        let mut tx = self.edit().await?;
        let (scope, label) = resolve(&mut tx, scope).await?;
        let (row, edit) = insert(&mut tx, actor, (scope, label), terms, now).await?;
        let made = state(&mut tx, &row, now).await?;
        let made = made.ok_or_else(|| AppError::invalid("the budget", "it cannot be used"))?;
        bump(&mut tx, &[edit], now).await?;
        self.commit(tx).await?;
        Ok(made)
    }

    /// Sets the limit of a budget of the database. What is spent stays spent; what data planes hold beyond a lowered limit is
    /// recalled.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::LockedByConfig`]; [`AppError::Invalid`]; [`AppError::Forbidden`].
    pub async fn set_budget_limit(&self, actor: &Actor, id: &str, limit: NanoUsd) -> Result<BudgetState, AppError> {
        let now = self.now();
        let mut tx = self.edit().await?;
        let mut row = editable(&mut tx, actor, Action::Update, id, now).await?;
        row.limit_nano = limit;
        check(&row)?;
        row.updated_at = now;
        tx.put(&row).await?;
        let changed = state(&mut tx, &row, now).await?;
        let changed = changed.ok_or_else(|| AppError::invalid(format!("budget `{id}`"), "it cannot be used"))?;
        bump(&mut tx, &[(ResourceKind::Budget, row.id, ChangeOp::Upsert)], now).await?;
        self.commit(tx).await?;
        Ok(changed)
    }

    /// Removes a budget of the database. What was spent of it stays in the ledger.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::LockedByConfig`]; [`AppError::Forbidden`].
    pub async fn remove_budget(&self, actor: &Actor, id: &str) -> Result<store::Budget, AppError> {
        let now = self.now();
        let mut tx = self.edit().await?;
        let row = editable(&mut tx, actor, Action::Delete, id, now).await?;
        tx.delete::<store::Budget>(id).await?;
        bump(&mut tx, &[(ResourceKind::Budget, row.id.clone(), ChangeOp::Remove)], now).await?;
        self.commit(tx).await?;
        Ok(row)
    }
}

/// Writes a budget of a key in the transaction that makes the key.
pub(super) async fn insert_for_key(
    tx: &mut Tx,
    actor: &Actor,
    key: &store::ApiKey,
    terms: &BudgetTerms,
    now: UnixMicros,
) -> Result<Edit, AppError> {
    let subject = (format!("key:{}", key.id), format!("key {}", key.name));
    Ok(insert(tx, actor, subject, terms, now).await?.1)
}

/// Moves the budgets of a key to the one that takes its place.
pub(super) async fn follow_key(tx: &mut Tx, old: &str, new: &str, now: UnixMicros) -> Result<Vec<Edit>, AppError> {
    let (old, new) = (format!("key:{old}"), format!("key:{new}"));
    let mut edits = Vec::new();
    for mut row in tx.list::<store::Budget>().await? {
        if row.scope == old {
            row.scope.clone_from(&new);
            row.updated_at = std::cmp::max(row.updated_at, now);
            tx.put(&row).await?;
            edits.push((ResourceKind::Budget, row.id, ChangeOp::Upsert));
        }
    }
    Ok(edits)
}

async fn insert(
    tx: &mut Tx,
    actor: &Actor,
    (scope, label): (String, String),
    terms: &BudgetTerms,
    now: UnixMicros,
) -> Result<(store::Budget, Edit), AppError> {
    let is_default_week = terms.week_start == WeekStart::default();
    let row = store::Budget {
        id: new_id(),
        scope,
        label,
        limit_nano: terms.limit,
        period: terms.period.as_str().to_owned(),
        mode: terms.mode.as_str().to_owned(),
        timezone: terms.timezone.clone(),
        alert_at: terms.alert_at.iter().map(ToString::to_string).collect(),
        week_start: (!is_default_week).then(|| terms.week_start.as_str().to_owned()),
        prior_timezone: None,
        prior_week_start: None,
        prior_until: None,
        managed: Managed::Db,
        updated_at: now,
    };
    let limit = check(&row)?;
    authorize(actor, Action::Create, ResourceType::Budget, &place(&limit.scope), now)?;
    tx.insert(&row).await?;
    let edit = (ResourceKind::Budget, row.id.clone(), ChangeOp::Upsert);
    Ok((row, edit))
}

/// A budget that nodes would quarantine is refused here.
fn check(row: &store::Budget) -> Result<Limit, AppError> {
    Limit::of(BudgetId::from(row.id.as_str()), &row.resource(Vec::new()))
        .map_err(|error| AppError::invalid("the budget", error.to_string()))
}

fn place(scope: &BudgetScope) -> Scope {
    match scope {
        BudgetScope::Team(team) => Scope::Team(team.clone()),
        BudgetScope::Instance | BudgetScope::User(_) | BudgetScope::Key(_) | BudgetScope::Model(_) => Scope::Instance,
    }
}

async fn editable(
    tx: &mut Tx,
    actor: &Actor,
    action: Action,
    id: &str,
    now: UnixMicros,
) -> Result<store::Budget, AppError> {
    let row = tx.get::<store::Budget>(id).await?;
    let row = row.ok_or_else(|| AppError::not_found(format!("budget `{id}`; `budgets list` shows their ids")))?;
    let place = match row.scope.strip_prefix("team:") {
        Some(team) => Scope::Team(TeamId::from(team)),
        None => Scope::Instance,
    };
    authorize(actor, action, ResourceType::Budget, &place, now)?;
    if row.managed == Managed::File {
        return Err(AppError::LockedByConfig { what: format!("budget `{id}`") });
    }
    Ok(row)
}

/// The scope as it is kept, and how people call it.
async fn resolve(tx: &mut Tx, scope: &FileScope) -> Result<(String, String), AppError> {
    Ok(match scope {
        FileScope::Instance => ("instance".to_owned(), "instance".to_owned()),
        FileScope::Model(pattern) => (format!("model:{pattern}"), format!("model {pattern}")),
        FileScope::Team(name) => (format!("team:{}", keys::team_id(tx, name).await?), format!("team {name}")),
        FileScope::User(email) => {
            let email = clean_email(email)?;
            let user = tx.user_by_email(&email).await?;
            let user = user.ok_or_else(|| AppError::not_found(format!("user {email}")))?;
            (format!("user:{}", user.id), format!("user {email}"))
        }
        FileScope::Key(name) => {
            let key = key_of(tx, name).await?;
            (format!("key:{}", key.id), format!("key {}", key.name))
        }
    })
}

/// The key of an id, or the one key of a name that has not been taken back.
async fn key_of(tx: &mut Tx, name: &str) -> Result<store::ApiKey, AppError> {
    if let Some(key) = tx.get::<store::ApiKey>(name).await? {
        return Ok(key);
    }
    let mut named = tx.list::<store::ApiKey>().await?;
    named.retain(|key| key.name == name && key.revoked_at.is_none());
    match (named.len(), named.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) | (_, None) => Err(AppError::not_found(format!("key `{name}`"))),
        _ => Err(AppError::invalid(format!("key `{name}`"), "several keys have this name; give the id")),
    }
}
