//! The cost centres of teams and people, by the revision of the configuration that gave them.
//!
//! Rule: a record names the revision that its request saw, so its cost centre is the one of that revision, however late
//! the record comes. A person's own cost centre wins over the team's. Nothing here is edited: a change is a new entry.

use crate::db::Tx;
use crate::error::Result;
use helix_shared::record::Record;
use sea_query::{Expr, Order, Query};
use std::collections::BTreeMap;

const COST_CENTERS: &str = "cost_centers";

/// Whose cost centre it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A team.
    Team,
    /// A person.
    User,
}

impl Subject {
    fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::User => "user",
        }
    }
}

/// Every cost centre that a team or person ever had. An empty text: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CostCenters(BTreeMap<(Subject, String), BTreeMap<u64, String>>);

impl CostCenters {
    /// The cost centre of a team or person at a revision; empty when there is none.
    pub fn at(&self, subject: Subject, id: &str, revision: u64) -> &str {
        let history = self.0.get(&(subject, id.to_owned()));
        history.and_then(|history| history.range(..=revision).next_back()).map_or("", |(_, name)| name)
    }

    /// The cost centres that hold now, of those who have one.
    pub fn current(&self) -> BTreeMap<(Subject, String), String> {
        let last =
            |history: &BTreeMap<u64, String>| history.values().next_back().filter(|name| !name.is_empty()).cloned();
        self.0.iter().filter_map(|(subject, history)| Some((subject.clone(), last(history)?))).collect()
    }

    /// The cost centre that a record belongs to; empty when there is none.
    pub(crate) fn of(&self, record: &Record) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let revision = record.config_revision;
        let user = record.actor.user_id.as_ref().map_or("", |id| self.at(Subject::User, id.as_str(), revision));
        let team = record.actor.team_id.as_ref().map_or("", |id| self.at(Subject::Team, id.as_str(), revision));
        if user.is_empty() { team.to_owned() } else { user.to_owned() }
    }
}

impl Tx {
    /// Reads every cost centre there ever was.
    ///
    /// # Errors
    /// What the database says.
    pub async fn cost_centers(&mut self) -> Result<CostCenters> {
        let query = Query::select()
            .columns(["subject", "subject_id", "revision", "cost_center"])
            .from(COST_CENTERS)
            .order_by("revision", Order::Asc)
            .to_owned();
        let mut all = CostCenters::default();
        for row in self.fetch_all(COST_CENTERS, &query).await? {
            let mut cells = row.cells(COST_CENTERS);
            let subject = match cells.take::<String>()?.as_str() {
                "team" => Subject::Team,
                "user" => Subject::User,
                _ => return Err(cells.corrupt("it is neither `team` nor `user`")),
            };
            let id: String = cells.take()?;
            let revision: i64 = cells.take()?;
            let revision = u64::try_from(revision).map_err(|error| cells.corrupt(error))?;
            all.0.entry((subject, id)).or_default().insert(revision, cells.take()?);
        }
        Ok(all)
    }

    /// Notes the cost centre of a team or person from a revision on; an empty text takes it away.
    ///
    /// # Errors
    /// What the database says; [`crate::StoreError::Conflict`] when the revision has one already.
    pub async fn set_cost_center(&mut self, subject: Subject, id: &str, revision: u64, name: &str) -> Result<()> {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        let insert = Query::insert()
            .into_table(COST_CENTERS)
            .columns(["subject", "subject_id", "revision", "cost_center"])
            .values_panic([Expr::val(subject.as_str()), Expr::val(id), Expr::val(revision), Expr::val(name)])
            .to_owned();
        self.execute(COST_CENTERS, &insert).await.map(|_| ())
    }
}
