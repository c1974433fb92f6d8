//! What a budget limits: a scope, an amount, a period, hard or soft.
//!
//! Rule: a hard limit is never passed; a soft one warns. A budget always names itself in words people know.

use super::alert::Share;
use super::period::{Calendar, Period, PeriodError, Window};
use crate::access::Pattern;
use crate::ids::{ApiKeyId, BudgetId, TeamId, UserId};
use crate::money::NanoUsd;
use crate::snapshot::resource;
use crate::time::UnixMicros;
use std::fmt;

/// Whom or what a budget limits.
#[derive(Clone, Debug)]
pub enum BudgetScope {
    /// Everyone.
    Instance,
    /// One team.
    Team(TeamId),
    /// One person.
    User(UserId),
    /// One API key.
    Key(ApiKeyId),
    /// Every request for a model of this name: as the client asks for it, or as a provider may be asked for it.
    Model(Pattern),
}

impl BudgetScope {
    /// Reads `instance`, `team:ID`, `user:ID`, `key:ID` or `model:PATTERN`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "instance" => Some(Self::Instance),
            Some(("team", id)) if !id.is_empty() => Some(Self::Team(TeamId::from(id))),
            Some(("user", id)) if !id.is_empty() => Some(Self::User(UserId::from(id))),
            Some(("key", id)) if !id.is_empty() => Some(Self::Key(ApiKeyId::from(id))),
            Some(("model", pattern)) => Pattern::ignoring_case(pattern).ok().map(Self::Model),
            _ => None,
        }
    }

    /// Whether requests for this model are charged, as far as the scope speaks of models.
    pub fn covers_model(&self, model: &str) -> bool {
        match self {
            Self::Instance | Self::Team(_) | Self::User(_) | Self::Key(_) => true,
            Self::Model(pattern) => pattern.matches(model),
        }
    }

    /// Who can do something about it, for the end of a sentence.
    pub fn whom_to_ask(&self) -> &'static str {
        match self {
            Self::Team(_) => "a manager of the team or your administrator",
            Self::Instance | Self::User(_) | Self::Key(_) | Self::Model(_) => "your administrator",
        }
    }
}

impl PartialEq for BudgetScope {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Instance, Self::Instance) => true,
            (Self::Team(one), Self::Team(two)) => one == two,
            (Self::User(one), Self::User(two)) => one == two,
            (Self::Key(one), Self::Key(two)) => one == two,
            (Self::Model(one), Self::Model(two)) => one.as_str() == two.as_str(),
            _ => false,
        }
    }
}

impl Eq for BudgetScope {}

impl fmt::Display for BudgetScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instance"),
            Self::Team(id) => write!(f, "team:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Model(pattern) => write!(f, "model:{}", pattern.as_str()),
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

/// An amount that lies on top of a limit for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Increase {
    /// By how much; below zero where an earlier one is taken back.
    pub amount: NanoUsd,
    /// First instant.
    pub from: UnixMicros,
    /// First instant after it.
    pub until: UnixMicros,
}

impl Increase {
    /// Whether it holds at an instant.
    pub fn holds_at(&self, at: UnixMicros) -> bool {
        self.from <= at && at < self.until
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
    /// The amount per period, without what lies on top.
    pub base: NanoUsd,
    /// The period.
    pub period: Period,
    /// Hard or soft.
    pub mode: Mode,
    /// Where and when its periods begin.
    pub calendar: Calendar,
    /// What lies on top, and when.
    pub increases: Vec<Increase>,
    /// Shares of the limit at which people are told.
    pub alert_at: Vec<Share>,
}

/// Why a budget cannot be used. What it governs is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not a scope.
    #[error("scope `{0}` is not instance, team:NAME, user:EMAIL, key:NAME or model:PATTERN")]
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
    /// Not a share.
    #[error("`{0}` is not a share of the limit above 0 and at most 1")]
    Share(String),
    /// Not a calendar.
    #[error(transparent)]
    Calendar(#[from] PeriodError),
}

impl Limit {
    /// Checks a budget.
    ///
    /// # Errors
    /// [`LimitError`] names the part that is wrong.
    pub fn of(id: BudgetId, budget: &resource::Budget) -> Result<Self, LimitError> {
        let scope = BudgetScope::parse(&budget.scope).ok_or_else(|| LimitError::Scope(budget.scope.clone()))?;
        let period = Period::parse(&budget.period).ok_or_else(|| LimitError::Period(budget.period.clone()))?;
        let mode = Mode::parse(&budget.mode).ok_or_else(|| LimitError::Mode(budget.mode.clone()))?;
        if budget.limit < NanoUsd::ZERO {
            return Err(LimitError::Negative(budget.limit));
        }
        let share = |text: &String| Share::parse(text).ok_or_else(|| LimitError::Share(text.clone()));
        let label = if budget.label.is_empty() { &budget.scope } else { &budget.label };
        Ok(Self {
            id,
            scope,
            label: format!("{label}, {}", period.as_str()),
            base: budget.limit,
            period,
            mode,
            calendar: Calendar::of(budget)?,
            increases: budget.increases.clone(),
            alert_at: budget.alert_at.iter().map(share).collect::<Result<_, _>>()?,
        })
    }

    /// The limit that holds at an instant: the base and what lies on top then, never below zero.
    pub fn at(&self, at: UnixMicros) -> NanoUsd {
        let on_top = self.increases.iter().filter(|increase| increase.holds_at(at));
        let sum: i128 = on_top.map(|increase| i128::from(increase.amount.get())).sum();
        let sum = (i128::from(self.base.get()) + sum).max(0);
        NanoUsd::new(i64::try_from(sum).unwrap_or(i64::MAX))
    }

    /// The period that contains an instant.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`] for a time outside the calendar.
    pub fn window(&self, at: UnixMicros) -> Result<Window, PeriodError> {
        self.calendar.window(self.period, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(increases: &[(i64, i64, i64)]) -> Limit {
        let increases = increases
            .iter()
            .map(|(amount, from, until)| Increase {
                amount: NanoUsd::new(*amount),
                from: UnixMicros::new(*from),
                until: UnixMicros::new(*until),
            })
            .collect();
        let budget = resource::Budget {
            scope: "instance".to_owned(),
            label: String::new(),
            limit: NanoUsd::new(100),
            period: "monthly".to_owned(),
            mode: "hard".to_owned(),
            timezone: "UTC".to_owned(),
            week_start: String::new(),
            prior: None,
            alert_at: vec!["0.5".to_owned()],
            increases,
        };
        Limit::of(BudgetId::from("b"), &budget).unwrap()
    }

    #[test]
    fn an_increase_holds_from_its_first_instant_to_before_its_last_and_ends_by_itself() {
        let raised = limit(&[(50, 10, 20), (7, 15, 30)]);
        for (at, expected) in [(9, 100), (10, 150), (15, 157), (19, 157), (20, 107), (29, 107), (30, 100)] {
            assert_eq!(raised.at(UnixMicros::new(at)), NanoUsd::new(expected), "{at}");
        }
    }

    #[test]
    fn a_correction_takes_back_and_the_limit_never_falls_below_zero_nor_wraps() {
        assert_eq!(limit(&[(50, 10, 20), (-50, 12, 20)]).at(UnixMicros::new(12)), NanoUsd::new(100));
        assert_eq!(limit(&[(-500, 0, 20)]).at(UnixMicros::new(1)), NanoUsd::ZERO);
        assert_eq!(limit(&[(i64::MAX, 0, 20), (i64::MAX, 0, 20)]).at(UnixMicros::new(1)), NanoUsd::new(i64::MAX));
    }

    #[test]
    fn scopes_read_back_as_they_are_written() {
        for text in ["instance", "team:a", "user:u1", "key:file/ci", "model:claude-*", "model:openai/gpt:5"] {
            assert_eq!(BudgetScope::parse(text).map(|scope| scope.to_string()), Some(text.to_owned()));
        }
        for text in ["", "team:", "user:", "key:", "model:", "keys:a", "instance:x"] {
            assert_eq!(BudgetScope::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_scope_of_models_covers_what_its_pattern_matches_and_the_others_every_model() {
        let model = BudgetScope::parse("model:claude-*").unwrap();
        assert!(model.covers_model("claude-haiku-4-5") && !model.covers_model("gpt-5"));
        // some providers do not mind capitals, and then no budget may be got around by them
        assert!(model.covers_model("Claude-Haiku-4-5") && BudgetScope::parse("model:o3").unwrap().covers_model("O3"));
        assert!(BudgetScope::parse("key:a").unwrap().covers_model("gpt-5"));
    }
}
