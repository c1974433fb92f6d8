//! Which mode each budget had from which revision on: hard, or soft.
//!
//! Rule: written in the transaction of the revision, whoever changes the budget, and never edited. So the proof of the ledger
//! can tell a request that was right to go on without a reservation from one that was not.

use crate::budgets::Budget;
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use sea_query::{Expr, ExprTrait as _, Order, Query};
use std::collections::{BTreeMap, BTreeSet};

const MODES: &str = "budget_modes";
const COLUMNS: [&str; 3] = ["budget_id", "revision", "mode"];
/// Budgets asked about at once.
const CHUNK: usize = 200;

/// Every mode that every budget had.
#[derive(Debug, Default)]
pub(crate) struct ModeHistory(BTreeMap<String, BTreeMap<u64, String>>);

impl ModeHistory {
    /// The mode that held at a revision; `None` where it was not written down: before the release that began to.
    pub(crate) fn mode_at(&self, budget_id: &str, revision: u64) -> Option<&str> {
        self.0.get(budget_id)?.range(..=revision).next_back().map(|(_, mode)| mode.as_str())
    }

    fn latest(&self, budget_id: &str) -> Option<&str> {
        self.mode_at(budget_id, u64::MAX)
    }
}

impl Tx {
    /// Writes down the modes of budgets that a revision changed, where they are others than before.
    pub(crate) async fn note_modes(&mut self, ids: &BTreeSet<&str>, revision: u64) -> Result<()> {
        let ids: Vec<&str> = ids.iter().copied().collect();
        for chunk in ids.chunks(CHUNK) {
            let chunk: BTreeSet<&str> = chunk.iter().copied().collect();
            let known = self.modes(Some(&chunk)).await?;
            for budget in self.budgets_among(&chunk).await? {
                if known.latest(&budget.id) != Some(budget.mode.as_str()) {
                    self.note_mode(&budget, revision).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes down the present mode of every budget. For databases that are older than this table; it may run twice.
    pub(crate) async fn note_all_modes(&mut self) -> Result<()> {
        let revision = self.head_revision().await?;
        for budget in self.list::<Budget>().await? {
            self.note_mode(&budget, revision).await?;
        }
        Ok(())
    }

    async fn note_mode(&mut self, budget: &Budget, revision: u64) -> Result<()> {
        let number = i64::try_from(revision).map_err(|error| StoreError::corrupt(MODES, error))?;
        let values = vec![Expr::val(budget.id.as_str()), Expr::val(number), Expr::val(budget.mode.as_str())];
        let keep = Dialect::keep_existing(&["budget_id", "revision"]);
        self.insert_if_absent(MODES, &COLUMNS, keep, values).await.map(|_| ())
    }

    /// The modes that budgets had: of these, or of all.
    pub(crate) async fn modes(&mut self, of: Option<&BTreeSet<&str>>) -> Result<ModeHistory> {
        let mut query = Query::select().columns(COLUMNS).from(MODES).order_by("revision", Order::Asc).to_owned();
        if let Some(ids) = of {
            query.and_where(Expr::col("budget_id").is_in(ids.iter().copied()));
        }
        let mut history = ModeHistory::default();
        for row in self.fetch_all(MODES, &query).await? {
            let mut cells = row.cells(MODES);
            let (id, revision, mode): (String, i64, String) = (cells.take()?, cells.take()?, cells.take()?);
            let revision = u64::try_from(revision).map_err(|error| cells.corrupt(error))?;
            history.0.entry(id).or_default().insert(revision, mode);
        }
        Ok(history)
    }
}
