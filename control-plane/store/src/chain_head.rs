//! Where the chain of budget entries ends: how many there are, and the hash of the last one.
//!
//! Rule: kept beside the chain, in the transaction of each entry, so that a chain whose end was cut off is noticed. Who can
//! edit both is caught by a head that was noted elsewhere: each command that makes an entry prints it, and
//! `ledger verify --entries-head` takes it.

use crate::adjustments::BudgetAdjustment;
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::verify_report::LedgerReport;
use sea_query::{Expr, ExprTrait as _, Query};
use std::fmt;
use std::str::FromStr;

const HEADS: &str = "chain_heads";
const BUDGET_ENTRIES: &str = "budget_entries";

/// The end of a chain: how many entries it has, and the hash of the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// How many.
    pub entries: i64,
    /// Hash of the last one.
    pub hash: String,
}

impl ChainHead {
    fn of(entry: &BudgetAdjustment) -> Self {
        Self { entries: entry.seq, hash: entry.hash.clone() }
    }
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.entries, self.hash)
    }
}

/// A text that is no head of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form NUMBER:HASH")]
pub struct NoChainHead;

impl FromStr for ChainHead {
    type Err = NoChainHead;

    fn from_str(text: &str) -> std::result::Result<Self, NoChainHead> {
        let (entries, hash) = text.split_once(':').ok_or(NoChainHead)?;
        let entries = entries.parse().map_err(|_| NoChainHead)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if entries < 1 || !is_hash {
            return Err(NoChainHead);
        }
        Ok(Self { entries, hash: hash.to_ascii_lowercase() })
    }
}

impl Tx {
    /// Moves the head to an entry that was just made.
    pub(crate) async fn move_head(&mut self, entry: &BudgetAdjustment) -> Result<()> {
        let head = ChainHead::of(entry);
        let values = vec![Expr::val(BUDGET_ENTRIES), Expr::val(head.entries), Expr::val(head.hash.as_str())];
        let keep = Dialect::keep_existing(&["name"]);
        self.insert_if_absent(HEADS, &["name", "entries", "hash"], keep, values).await?;
        let update = Query::update()
            .table(HEADS)
            .value("entries", head.entries)
            .value("hash", head.hash)
            .and_where(Expr::col("name").eq(BUDGET_ENTRIES))
            .to_owned();
        self.execute(HEADS, &update).await.map(|_| ())
    }

    /// Sets the head where the chain ends now. For databases that are older than it; it may run twice.
    pub(crate) async fn set_head(&mut self) -> Result<()> {
        match self.adjustments().await?.last() {
            Some(last) => self.move_head(last).await,
            None => Ok(()),
        }
    }

    /// The head of the chain of budget entries; `None` before the first.
    async fn head_of_entries(&mut self) -> Result<Option<ChainHead>> {
        let query = Query::select()
            .columns(["entries", "hash"])
            .from(HEADS)
            .and_where(Expr::col("name").eq(BUDGET_ENTRIES))
            .to_owned();
        let Some(row) = self.fetch_optional(HEADS, &query).await? else { return Ok(None) };
        let mut cells = row.cells(HEADS);
        Ok(Some(ChainHead { entries: cells.take()?, hash: cells.take()? }))
    }

    /// Proves that the chain ends where its head says, and still goes through a head that was noted elsewhere.
    pub(crate) async fn verify_head(
        &mut self,
        entries: &[BudgetAdjustment],
        noted: Option<&ChainHead>,
        report: &mut LedgerReport,
    ) -> Result<()> {
        let last = entries.last().map(ChainHead::of);
        let kept = self.head_of_entries().await?;
        match (&last, &kept) {
            (None, Some(head)) => {
                report.problem(format!("there is no budget entry, but there were {}", head.entries));
            }
            (Some(last), None) => {
                report.problem(format!("{} budget entries have no head that says so", last.entries));
            }
            (Some(last), Some(head)) if last != head => {
                let (found, said) = (last.entries, head.entries);
                report.problem(format!(
                    "the chain of budget entries ends at {found}, its head says {said}: its end was cut off or edited"
                ));
            }
            _ => {}
        }
        if let Some(noted) = noted
            && !entries.iter().any(|entry| ChainHead::of(entry) == *noted)
        {
            report.problem(format!(
                "the chain of budget entries does not go through the noted head {noted}: it was cut off or made anew"
            ));
        }
        report.entries_head = last.map(|head| head.to_string());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_as_it_is_written_and_nothing_else_is_one() {
        let head = ChainHead { entries: 7, hash: "ab".repeat(32) };
        assert_eq!(head.to_string().parse(), Ok(head));
        for text in ["", "7", "7:", "0:ab", "x:ab", "-1:ab"] {
            assert_eq!(text.parse::<ChainHead>(), Err(NoChainHead), "{text}");
        }
    }
}
