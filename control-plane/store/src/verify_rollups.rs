//! The proof that every sum equals the sum over records and corrections, in both directions.
//!
//! Rule: the database groups and compares; only what differs is read. Corrections are few: they are added up here.

use crate::corrections::Correction;
use crate::db::Tx;
use crate::error::Result;
use crate::interned::{Interned as _, Source};
use crate::request_key::request_text;
use crate::rollup_keys::{KEYS, PARTS, RollupKey};
use crate::rollups::{RollupSpan, SUMS, Sums};
use crate::rollups_derived::{Range, derived};
use crate::usage_row::RECORDS;
use crate::verify_report::{BadRecord, LedgerReport};
use helix_shared::ids::Incarnation;
use helix_shared::time::UnixMicros;
use sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};
use std::collections::BTreeMap;

/// Differences read per direction and span.
const MAX_DIFFERENCES: usize = 50;
const DERIVED: &str = "derived";
const KEPT: &str = "kept";
/// The sum that records have no part in, and the one that both have.
const CORRECTED: &str = "corrected_nano";
const COST: &str = "cost_nano";

/// One bucket of one combination.
type Place = (i64, RollupKey);

fn describe(span: RollupSpan, (bucket, key): &Place) -> String {
    let [team, user, api_key, model, provider, cost_center] = key.parts();
    let at = UnixMicros::new(*bucket);
    let table = span.table();
    format!(
        "{table} {at}, team `{team}`, user `{user}`, key `{api_key}`, model `{model}`, provider `{provider}`, cost centre `{cost_center}`"
    )
}

impl Tx {
    /// Compares the sums of every span with records and corrections.
    pub(crate) async fn verify_rollups(&mut self, corrections: &[Correction], report: &mut LedgerReport) -> Result<()> {
        let recorded = self.recorded_range().await?;
        self.edited_keys(report).await?;
        self.unknown_keys(RECORDS, "started_at", report).await?;
        for span in RollupSpan::ALL {
            let count = Query::select().expr(Expr::col("bucket").count()).from(span.table()).to_owned();
            if let Some(row) = self.fetch_optional(span.table(), &count).await? {
                let count: i64 = row.cells(span.table()).take()?;
                report.rollups = report.rollups.saturating_add(u64::try_from(count).unwrap_or_default());
            }
            self.unknown_keys(span.table(), "bucket", report).await?;
            let mut corrected: BTreeMap<Place, i64> = BTreeMap::new();
            for one in corrections {
                let place = (span.bucket(one.at).get(), span.key(&one.key));
                let sum = corrected.entry(place).or_default();
                *sum = sum.saturating_add(one.amount.get());
            }
            for range in self.ranges(span, recorded).await? {
                // records without a sum first: they point at a record, a wrong sum only at an hour
                self.recorded_but_not_kept(span, range, report).await?;
                self.kept_but_different(span, range, &mut corrected, report).await?;
            }
            for (place, amount) in corrected.into_iter().filter(|(_, amount)| *amount != 0) {
                report.problem(format!("{}: corrections of {amount} are missing", describe(span, &place)));
            }
        }
        Ok(())
    }

    /// What is compared at once: everything, or one month after the other.
    async fn ranges(&mut self, span: RollupSpan, recorded: Option<Range>) -> Result<Vec<Option<Range>>> {
        if span != RollupSpan::Month {
            return Ok(vec![None]);
        }
        let table = span.table();
        let kept = Query::select().distinct().column("bucket").from(table).to_owned();
        let mut months = std::collections::BTreeSet::new();
        for row in self.fetch_all(table, &kept).await? {
            months.insert(UnixMicros::new(row.cells(table).take()?));
        }
        if let Some((first, last)) = recorded {
            let mut month = first.month_start();
            while month <= last {
                months.insert(month);
                month = month.next_month_start();
            }
        }
        Ok(months.into_iter().map(|month| Some((month, month.next_month_start()))).collect())
    }

    /// Combinations that stand under a number which they never try: they were edited.
    async fn edited_keys(&mut self, report: &mut LedgerReport) -> Result<()> {
        let query = Query::select().column("id").columns(PARTS).from(KEYS).order_by("id", Order::Asc).to_owned();
        for row in self.fetch_all(KEYS, &query).await? {
            let mut cells = row.cells(KEYS);
            let (id, key): (i64, RollupKey) = (cells.take()?, RollupKey::take(&mut cells)?);
            if !key.may_be(id) {
                report.problem(format!("the key {id} stands for {:?}, whose number it is not", key.parts()));
            }
        }
        Ok(())
    }

    /// Rows under a number that stands for nothing.
    async fn unknown_keys(&mut self, table: &'static str, time: &'static str, report: &mut LedgerReport) -> Result<()> {
        let known = Query::select().column("id").from(KEYS).to_owned();
        let query = Query::select()
            .columns([time, "key_id"])
            .from(table)
            .and_where(Expr::col("key_id").not_in_subquery(known))
            .order_by(time, Order::Asc)
            .limit(1)
            .to_owned();
        if let Some(row) = self.fetch_optional(table, &query).await? {
            let mut cells = row.cells(table);
            let (at, id): (i64, i64) = (cells.take()?, cells.take()?);
            report.problem(format!("{table} {}: the key {id} is not known", UnixMicros::new(at)));
        }
        Ok(())
    }

    async fn kept_but_different(
        &mut self,
        span: RollupSpan,
        range: Option<Range>,
        corrected: &mut BTreeMap<Place, i64>,
        report: &mut LedgerReport,
    ) -> Result<()> {
        let mut differs = Cond::any().add(Expr::col((DERIVED, "bucket")).is_null());
        for sum in SUMS {
            differs = differs.add(Expr::col((KEPT, sum)).ne(Expr::col((DERIVED, sum))));
        }
        let recorded = SUMS.into_iter().filter(|sum| *sum != CORRECTED);
        let mut query = Query::select();
        query
            .column((KEPT, "bucket"))
            .columns(PARTS.map(|part| (KEPT, part)))
            .columns(SUMS.map(|sum| (KEPT, sum)))
            .columns(recorded.map(|sum| (DERIVED, sum)))
            .from_subquery(kept(span, range), KEPT)
            .join_subquery(
                sea_query::JoinType::LeftJoin,
                derived(self.dialect(), span, range),
                DERIVED,
                same_place(KEPT),
            )
            .cond_where(differs)
            .limit(u64::try_from(MAX_DIFFERENCES.saturating_add(corrected.len())).unwrap_or(u64::MAX));
        order(&mut query, KEPT);
        for row in self.fetch_all(span.table(), &query).await? {
            let mut cells = row.cells(span.table());
            let place: Place = (cells.take()?, RollupKey::take(&mut cells)?);
            let mut kept: Sums = [0; SUMS.len()];
            for sum in &mut kept {
                *sum = cells.take()?;
            }
            let correction = corrected.remove(&place).unwrap_or_default();
            let mut has_record = false;
            let mut wrong = Vec::new();
            for (name, kept) in SUMS.into_iter().zip(kept) {
                let recorded = if name == CORRECTED { None } else { cells.take::<Option<i64>>()? };
                has_record |= recorded.is_some();
                let mut expected = recorded.unwrap_or_default();
                if name == CORRECTED || name == COST {
                    expected = expected.saturating_add(correction);
                }
                if kept != expected {
                    wrong.push(format!("{name} is {kept}, the records say {expected}"));
                }
            }
            if wrong.is_empty() && !has_record && correction == 0 {
                wrong.push("no record belongs to it".to_owned());
            }
            if !wrong.is_empty() {
                self.blame(span, &place, &wrong.join("; "), report).await?;
            }
        }
        Ok(())
    }

    async fn recorded_but_not_kept(
        &mut self,
        span: RollupSpan,
        range: Option<Range>,
        report: &mut LedgerReport,
    ) -> Result<()> {
        let mut query = Query::select();
        query
            .column((DERIVED, "bucket"))
            .columns(PARTS.map(|part| (DERIVED, part)))
            .from_subquery(derived(self.dialect(), span, range), DERIVED)
            .join_subquery(sea_query::JoinType::LeftJoin, kept(span, range), KEPT, same_place(KEPT))
            .and_where(Expr::col((KEPT, "bucket")).is_null())
            .limit(u64::try_from(MAX_DIFFERENCES).unwrap_or(u64::MAX));
        order(&mut query, DERIVED);
        for row in self.fetch_all(span.table(), &query).await? {
            let mut cells = row.cells(span.table());
            let place: Place = (cells.take()?, RollupKey::take(&mut cells)?);
            self.blame(span, &place, "records belong to it, but the row is missing", report).await?;
        }
        Ok(())
    }

    /// Tells a difference, and pins it on the first record that counts in it.
    async fn blame(&mut self, span: RollupSpan, place: &Place, what: &str, report: &mut LedgerReport) -> Result<()> {
        let problem = format!("{}: {what}", describe(span, place));
        if report.first_bad.is_some() {
            report.problem(problem);
            return Ok(());
        }
        let bucket = UnixMicros::new(place.0);
        let mut query = Query::select();
        query
            .columns([(Source::TABLE, "incarnation"), (RECORDS, "seq"), (RECORDS, "request_id")])
            .from(RECORDS)
            .inner_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((RECORDS, "incarnation_no")))
            .inner_join(KEYS, Expr::col((KEYS, "id")).equals((RECORDS, "key_id")))
            .and_where(Expr::col((RECORDS, "started_at")).gte(bucket.get()))
            .and_where(Expr::col((RECORDS, "started_at")).lt(span.end(bucket).get()));
        for (column, value) in PARTS.into_iter().zip(place.1.parts()) {
            if span != RollupSpan::Trend || !matches!(column, "user_id" | "api_key_id") {
                query.and_where(Expr::col((KEYS, column)).eq(value));
            }
        }
        query.order_by((RECORDS, "started_at"), Order::Asc);
        query.order_by((Source::TABLE, "incarnation"), Order::Asc).order_by((RECORDS, "seq"), Order::Asc);
        let Some(row) = self.fetch_optional(RECORDS, &query.limit(1).to_owned()).await? else {
            report.problem(problem);
            return Ok(());
        };
        let mut cells = row.cells(RECORDS);
        let incarnation = Incarnation::from(cells.take::<String>()?);
        let (seq, request_id) = (cells.take()?, request_text(&cells.take::<Vec<u8>>()?)?);
        report.bad(BadRecord { incarnation, seq, request_id, problem });
        Ok(())
    }
}

/// The sums as they are kept.
fn kept(span: RollupSpan, range: Option<Range>) -> SelectStatement {
    let table = span.table();
    let mut query = Query::select();
    query
        .column((table, "bucket"))
        .columns(PARTS.map(|part| (KEYS, part)))
        .columns(SUMS.map(|sum| (table, sum)))
        .from(table)
        .inner_join(KEYS, Expr::col((KEYS, "id")).equals((table, "key_id")));
    if let Some((from, to)) = range {
        query.and_where(Expr::col((table, "bucket")).gte(from.get()));
        query.and_where(Expr::col((table, "bucket")).lt(to.get()));
    }
    query
}

fn order(query: &mut SelectStatement, table: &'static str) {
    query.order_by((table, "bucket"), Order::Asc);
    for part in PARTS {
        query.order_by((table, part), Order::Asc);
    }
}

fn same_place(table: &'static str) -> Cond {
    let same = |all: Cond, column: &'static str| all.add(Expr::col((table, column)).equals((DERIVED, column)));
    PARTS.into_iter().fold(same(Cond::all(), "bucket"), same)
}
