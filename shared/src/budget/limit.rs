//! What a budget limits: a scope, an amount, a period, hard or soft.
//!
//! Rule: a hard limit is never passed; a soft one warns. A budget always names itself in words people know.

use super::period::{Period, PeriodError, check_zone};
use crate::ids::{BudgetId, TeamId, UserId};
use crate::money::NanoUsd;
use std::fmt;

/// Whom a budget limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BudgetScope {
    /// Everyone.
    Instance,
    /// One team.
    Team(TeamId),
    /// One person.
    User(UserId),
}

impl BudgetScope {
    /// Reads `instance`, `team:ID` or `user:ID`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "instance" => Some(Self::Instance),
            Some(("team", id)) if !id.is_empty() => Some(Self::Team(TeamId::from(id))),
            Some(("user", id)) if !id.is_empty() => Some(Self::User(UserId::from(id))),
            _ => None,
        }
    }
}

impl fmt::Display for BudgetScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instance"),
            Self::Team(id) => write!(f, "team:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
        }
    }
}

/// What happens at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Requests are refused.
    Hard,
    /// Requests go on with a warning.
    Soft,
}

impl Mode {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }

    /// Reads the stable name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hard, Self::Soft].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// A budget, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its identity.
    pub id: BudgetId,
    /// Whom it limits.
    pub scope: BudgetScope,
    /// How people call it: `team engineering, monthly`.
    pub label: String,
    /// The amount per period.
    pub limit: NanoUsd,
    /// The period.
    pub period: Period,
    /// Hard or soft.
    pub mode: Mode,
    /// IANA zone of the calendar.
    pub timezone: String,
}

/// Why a budget cannot be used. What it governs is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not a scope.
    #[error("scope `{0}` is not instance, team:NAME or user:EMAIL")]
    Scope(String),
    /// Not a period.
    #[error("period `{0}` is not daily, weekly or monthly")]
    Period(String),
    /// Not a mode.
    #[error("mode `{0}` is not hard or soft")]
    Mode(String),
    /// Below zero.
    #[error("the limit {0} is below zero")]
    Negative(NanoUsd),
    /// Not a zone.
    #[error(transparent)]
    Zone(#[from] PeriodError),
}

impl Limit {
    /// Checks the parts of a budget.
    ///
    /// # Errors
    /// [`LimitError`] names the part that is wrong.
    pub fn new(
        id: BudgetId,
        (scope, label): (&str, &str),
        limit: NanoUsd,
        (period, timezone): (&str, &str),
        mode: &str,
    ) -> Result<Self, LimitError> {
        let scope_parsed = BudgetScope::parse(scope).ok_or_else(|| LimitError::Scope(scope.to_owned()))?;
        let period_parsed = Period::parse(period).ok_or_else(|| LimitError::Period(period.to_owned()))?;
        let mode = Mode::parse(mode).ok_or_else(|| LimitError::Mode(mode.to_owned()))?;
        if limit < NanoUsd::ZERO {
            return Err(LimitError::Negative(limit));
        }
        check_zone(timezone)?;
        let label = if label.is_empty() { scope } else { label };
        Ok(Self {
            id,
            scope: scope_parsed,
            label: format!("{label}, {}", period_parsed.as_str()),
            limit,
            period: period_parsed,
            mode,
            timezone: timezone.to_owned(),
        })
    }
}
