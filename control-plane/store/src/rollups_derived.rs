//! The sums as the records say, made anew: for the proof of the ledger, and for databases that are older than a sum.
//!
//! Rule: the database groups; nothing kept is trusted.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::rollup_keys::{KEYS, PARTS, RollupKey};
use crate::rollups::{Added, RollupSpan, SUMS, Sums};
use crate::usage_row::RECORDS;
use helix_shared::time::UnixMicros;
use helix_shared::usage::CostBasis;
use sea_query::{Expr, ExprTrait as _, Query, SelectStatement};

/// A time from which records are read, and the first one that is not.
pub(crate) type Range = (UnixMicros, UnixMicros);

/// The sums of records by bucket and combination. Months are made one at a time, over their range.
pub(crate) fn derived(dialect: Dialect, span: RollupSpan, range: Option<Range>) -> SelectStatement {
    // fixed text: a bound value would make the selected and the grouped expression two different ones
    let bucket = match span {
        RollupSpan::Hour => Some("started_at - started_at % 3600000000"),
        RollupSpan::Day | RollupSpan::Trend => Some("started_at - started_at % 86400000000"),
        RollupSpan::Month => None,
    };
    let is = |column: &'static str, words: &[&'static str]| {
        Expr::expr(Expr::case(Expr::col(column).is_in(words.iter().copied()), 1_i64).finally(0_i64))
    };
    let mut query = Query::select();
    match (bucket, range) {
        (None, Some((from, _))) => query.expr_as(Expr::cust(from.get().to_string()), "bucket"),
        _ => query.expr_as(Expr::cust(bucket.unwrap_or("0")), "bucket"),
    };
    let parts = PARTS.map(|part| match (span, part) {
        (RollupSpan::Trend, "user_id" | "api_key_id") => (part, None),
        (_, "cost_center") => (part, Some("COALESCE(cost_center, '')")),
        _ => (part, Some(part)),
    });
    for (part, text) in parts {
        query.expr_as(Expr::cust(text.unwrap_or("''")), part);
    }
    query.expr_as(Expr::col("seq").count(), "requests");
    query.expr_as(dialect.sum(is("decision", &["denied"])), "denied");
    query.expr_as(dialect.sum(is("decision", &["failed"])), "failed");
    for column in ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nano"] {
        query.expr_as(dialect.sum(Expr::col(column)), column);
    }
    let uncertain = is("basis", &[CostBasis::Estimated.as_str(), CostBasis::Unknown.as_str()]);
    query.expr_as(dialect.sum(uncertain.mul(Expr::col("cost_nano"))), "uncertain_nano");
    query.expr_as(Expr::cust("0"), "corrected_nano");
    query.from(RECORDS);
    if let Some((from, to)) = range {
        query.and_where(Expr::col("started_at").gte(from.get())).and_where(Expr::col("started_at").lt(to.get()));
    }
    let grouped = bucket.into_iter().chain(parts.into_iter().filter_map(|(_, text)| text));
    query.add_group_by(grouped.map(Expr::cust));
    query
}

impl Tx {
    /// When the first and the last record began; `None` without records.
    pub(crate) async fn recorded_range(&mut self) -> Result<Option<(UnixMicros, UnixMicros)>> {
        let query = Query::select()
            .expr(Expr::col("started_at").min())
            .expr(Expr::col("started_at").max())
            .from(RECORDS)
            .to_owned();
        let Some(row) = self.fetch_optional(RECORDS, &query).await? else { return Ok(None) };
        let mut cells = row.cells(RECORDS);
        let (first, last) = (cells.take::<Option<i64>>()?, cells.take::<Option<i64>>()?);
        Ok(first.zip(last).map(|(first, last)| (UnixMicros::new(first), UnixMicros::new(last))))
    }

    /// Makes every sum anew from the records and corrections, a day at a time.
    pub(crate) async fn fill_rollups(&mut self) -> Result<()> {
        for table in RollupSpan::ALL.map(RollupSpan::table).into_iter().chain([KEYS]) {
            self.execute(table, &Query::delete().from_table(table).to_owned()).await?;
        }
        if let Some((first, last)) = self.recorded_range().await? {
            let mut day = RollupSpan::Day.bucket(first);
            while day <= last {
                let next = RollupSpan::Day.end(day);
                self.fill_day((day, next)).await?;
                day = next;
            }
        }
        let mut added = Added::default();
        self.corrections().await?.iter().for_each(|correction| added.add_correction(correction));
        self.raise_rollups(added).await
    }

    async fn fill_day(&mut self, range: Range) -> Result<()> {
        let query = derived(self.dialect(), RollupSpan::Hour, Some(range));
        let mut added = Added::default();
        for row in self.fetch_all(RECORDS, &query).await? {
            let mut cells = row.cells(RECORDS);
            let (bucket, key) = (UnixMicros::new(cells.take()?), RollupKey::take(&mut cells)?);
            let mut sums: Sums = [0; SUMS.len()];
            // no record is a correction
            for sum in sums.iter_mut().take(SUMS.len() - 1) {
                *sum = cells.take()?;
            }
            added.add_sums(bucket, &key, sums);
        }
        self.raise_rollups(added).await
    }
}
