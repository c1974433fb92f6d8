//! The proof that hourly and daily sums equal the sums over the records, in both directions.
//!
//! Rule: the database groups and compares; only what differs is read.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::rollups::{KEY, RollupSpan, SUMS};
use crate::row::Cells;
use crate::usage_row::RECORDS;
use crate::verify_report::{BadRecord, LedgerReport};
use helix_shared::ids::Incarnation;
use helix_shared::time::UnixMicros;
use sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};

/// Differences read per direction and span.
const MAX_DIFFERENCES: u64 = 50;
const DERIVED: &str = "derived";

/// Bucket, team, user, model, provider.
struct Key(i64, [String; 4]);

impl Key {
    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Ok(Self(cells.take()?, [cells.take()?, cells.take()?, cells.take()?, cells.take()?]))
    }

    fn describe(&self, span: RollupSpan) -> String {
        let [team, user, model, provider] = &self.1;
        let at = UnixMicros::new(self.0);
        format!("{} {at}, team `{team}`, user `{user}`, model `{model}`, provider `{provider}`", span.table())
    }
}

impl Tx {
    /// Compares the sums of both spans with the records.
    pub(crate) async fn verify_rollups(&mut self, report: &mut LedgerReport) -> Result<()> {
        for span in RollupSpan::ALL {
            let count = Query::select().expr(Expr::col("bucket").count()).from(span.table()).to_owned();
            if let Some(row) = self.fetch_optional(span.table(), &count).await? {
                let count: i64 = row.cells(span.table()).take()?;
                report.rollups = report.rollups.saturating_add(u64::try_from(count).unwrap_or_default());
            }
            // records without a sum first: they point at a record, a wrong sum only at an hour
            self.recorded_but_not_kept(span, report).await?;
            self.kept_but_different(span, report).await?;
        }
        Ok(())
    }

    async fn kept_but_different(&mut self, span: RollupSpan, report: &mut LedgerReport) -> Result<()> {
        let table = span.table();
        let mut differs = Cond::any().add(Expr::col((DERIVED, "bucket")).is_null());
        for sum in SUMS {
            differs = differs.add(Expr::col((table, sum)).ne(Expr::col((DERIVED, sum))));
        }
        let mut query = Query::select();
        query
            .columns(KEY.map(|column| (table, column)))
            .columns(SUMS.map(|column| (table, column)))
            .columns(SUMS.map(|column| (DERIVED, column)))
            .from(table)
            .join_subquery(sea_query::JoinType::LeftJoin, derived(self.dialect(), span), DERIVED, same_key(table))
            .cond_where(differs)
            .limit(MAX_DIFFERENCES);
        for column in KEY {
            query.order_by((table, column), Order::Asc);
        }
        for row in self.fetch_all(table, &query).await? {
            let mut cells = row.cells(table);
            let key = Key::take(&mut cells)?;
            let mut kept = [0_i64; SUMS.len()];
            for sum in &mut kept {
                *sum = cells.take()?;
            }
            let mut wrong = Vec::new();
            for (name, kept) in SUMS.iter().zip(kept) {
                let recorded = cells.take::<Option<i64>>()?.unwrap_or_default();
                if kept != recorded {
                    wrong.push(format!("{name} is {kept}, the records say {recorded}"));
                }
            }
            let what = if wrong.is_empty() { "no record belongs to it".to_owned() } else { wrong.join("; ") };
            self.blame(span, &key, &what, report).await?;
        }
        Ok(())
    }

    async fn recorded_but_not_kept(&mut self, span: RollupSpan, report: &mut LedgerReport) -> Result<()> {
        let table = span.table();
        let mut query = Query::select();
        query
            .columns(KEY.map(|column| (DERIVED, column)))
            .from_subquery(derived(self.dialect(), span), DERIVED)
            .left_join(table, same_key(table))
            .and_where(Expr::col((table, "bucket")).is_null())
            .limit(MAX_DIFFERENCES);
        for column in KEY {
            query.order_by((DERIVED, column), Order::Asc);
        }
        for row in self.fetch_all(table, &query).await? {
            let key = Key::take(&mut row.cells(table))?;
            self.blame(span, &key, "records belong to it, but the row is missing", report).await?;
        }
        Ok(())
    }

    /// Tells a difference, and pins it on the first record that counts in it.
    async fn blame(&mut self, span: RollupSpan, key: &Key, what: &str, report: &mut LedgerReport) -> Result<()> {
        let problem = format!("{}: {what}", key.describe(span));
        if report.first_bad.is_some() {
            report.problem(problem);
            return Ok(());
        }
        let mut query = Query::select();
        query
            .columns(["incarnation", "seq", "request_id"])
            .from(RECORDS)
            .and_where(Expr::col("started_at").gte(key.0))
            .and_where(Expr::col("started_at").lt(key.0.saturating_add(span.micros())));
        for (column, value) in KEY.iter().skip(1).zip(&key.1) {
            query.and_where(Expr::col(*column).eq(value.as_str()));
        }
        query.order_by("started_at", Order::Asc).order_by("incarnation", Order::Asc).order_by("seq", Order::Asc);
        let Some(row) = self.fetch_optional(RECORDS, &query.limit(1).to_owned()).await? else {
            report.problem(problem);
            return Ok(());
        };
        let mut cells = row.cells(RECORDS);
        let incarnation = Incarnation::from(cells.take::<String>()?);
        let (seq, request_id) = (cells.take()?, cells.take()?);
        report.bad(BadRecord { incarnation, seq, request_id, problem });
        Ok(())
    }
}

/// The sums as the records say.
fn derived(dialect: Dialect, span: RollupSpan) -> SelectStatement {
    // fixed text: a bound value would make the selected and the grouped expression two different ones
    let bucket = match span {
        RollupSpan::Hour => "started_at - started_at % 3600000000",
        RollupSpan::Day => "started_at - started_at % 86400000000",
    };
    let is = |decision: &'static str| Expr::expr(Expr::case(Expr::col("decision").eq(decision), 1_i64).finally(0_i64));
    let mut query = Query::select();
    query.expr_as(Expr::cust(bucket), "bucket").columns(KEY.into_iter().skip(1));
    query.expr_as(Expr::col("seq").count(), "requests");
    query.expr_as(dialect.sum(is("denied")), "denied");
    query.expr_as(dialect.sum(is("failed")), "failed");
    for column in SUMS.into_iter().skip(3) {
        query.expr_as(dialect.sum(Expr::col(column)), column);
    }
    query.from(RECORDS).add_group_by([Expr::cust(bucket)]).group_by_columns(KEY.into_iter().skip(1));
    query
}

fn same_key(table: &'static str) -> Cond {
    KEY.into_iter().fold(Cond::all(), |all, column| all.add(Expr::col((table, column)).equals((DERIVED, column))))
}
