//! The sums as the records say, made anew: for the proof of the ledger, and for databases that are older than a sum.
//!
//! Rule: the database groups; nothing kept is trusted.

use crate::closing::LATE;
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::record_words::basis_number;
use crate::rollup_keys::{KEYS, PARTS, RollupKey};
use crate::rollups::{Added, RollupSpan, SUMS, Sums};
use crate::usage_row::{DENIED, FAILED, RECORDS};
use helix_shared::time::UnixMicros;
use helix_shared::usage::CostBasis;
use sea_query::{Expr, ExprTrait as _, Query, SelectStatement, UnionType};

/// A time from which records are read, and the first one that is not.
pub(crate) type Range = (UnixMicros, UnixMicros);

const GROUPED: &str = "grouped";
const COUNTED: &str = "counted";
/// What of a record counts in a sum.
const COUNTED_COLUMNS: [&str; 9] = [
    "seq",
    "key_id",
    "decision",
    "basis",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_nano",
];
/// What records have a part in: every sum but that of corrections.
const RECORDED: [&str; 9] = [
    "requests",
    "denied",
    "failed",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_nano",
    "uncertain_nano",
];

/// The sums of records by bucket and combination. Months are made one at a time, over their range.
pub(crate) fn derived(dialect: Dialect, span: RollupSpan, range: Option<Range>) -> SelectStatement {
    let mut query = Query::select();
    query.column((GROUPED, "bucket"));
    let parts = PARTS.map(|part| (part, span == RollupSpan::Trend && matches!(part, "user_id" | "api_key_id")));
    for (part, is_left_out) in parts {
        match is_left_out {
            true => query.expr_as(Expr::cust("''"), part),
            false => query.column((KEYS, part)),
        };
    }
    for sum in RECORDED {
        query.expr_as(dialect.sum(Expr::col((GROUPED, sum))), sum);
    }
    query.expr_as(Expr::cust("0"), "corrected_nano");
    query.from_subquery(by_number(dialect, span, range), GROUPED);
    query.inner_join(KEYS, Expr::col((KEYS, "id")).equals((GROUPED, "key_id")));
    query.group_by_col((GROUPED, "bucket"));
    for (part, _) in parts.into_iter().filter(|(_, is_left_out)| !is_left_out) {
        query.group_by_col((KEYS, part));
    }
    query
}

/// The records with the time at which they count: their own, unless its month was closed when they came.
fn counted(range: Option<Range>) -> SelectStatement {
    let columns = COUNTED_COLUMNS.map(|column| (RECORDS, column));
    let is_late = Expr::col((LATE, "incarnation_no"))
        .equals((RECORDS, "incarnation_no"))
        .and(Expr::col((LATE, "seq")).equals((RECORDS, "seq")));
    let within = |query: &mut SelectStatement, time: (&'static str, &'static str)| {
        if let Some((from, to)) = range {
            query.and_where(Expr::col(time).gte(from.get())).and_where(Expr::col(time).lt(to.get()));
        }
    };
    let mut own = Query::select();
    own.expr_as(Expr::col((RECORDS, "started_at")), "booked_at").columns(columns).from(RECORDS);
    own.left_join(LATE, is_late.clone()).and_where(Expr::col((LATE, "seq")).is_null());
    within(&mut own, (RECORDS, "started_at"));
    let mut late = Query::select();
    late.column((LATE, "booked_at")).columns(columns).from(LATE).inner_join(RECORDS, is_late);
    within(&mut late, (LATE, "booked_at"));
    own.union(UnionType::All, late).to_owned()
}

/// The same under the numbers of the combinations.
fn by_number(dialect: Dialect, span: RollupSpan, range: Option<Range>) -> SelectStatement {
    // fixed text: a bound value would make the selected and the grouped expression two different ones
    let bucket = match span {
        RollupSpan::Hour => Some("booked_at - booked_at % 3600000000"),
        RollupSpan::Day | RollupSpan::Trend => Some("booked_at - booked_at % 86400000000"),
        RollupSpan::Month => None,
    };
    let is = |column: &'static str, numbers: &[i64]| {
        Expr::expr(Expr::case(Expr::col(column).is_in(numbers.iter().copied()), 1_i64).finally(0_i64))
    };
    let mut query = Query::select();
    match (bucket, range) {
        (None, Some((from, _))) => query.expr_as(Expr::cust(from.get().to_string()), "bucket"),
        _ => query.expr_as(Expr::cust(bucket.unwrap_or("0")), "bucket"),
    };
    query.column("key_id");
    query.expr_as(Expr::col("seq").count(), "requests");
    query.expr_as(dialect.sum(is("decision", &[DENIED])), "denied");
    query.expr_as(dialect.sum(is("decision", &[FAILED])), "failed");
    for column in ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nano"] {
        query.expr_as(dialect.sum(Expr::col(column)), column);
    }
    let uncertain = is("basis", &[CostBasis::Estimated, CostBasis::Unknown].map(basis_number));
    query.expr_as(dialect.sum(uncertain.mul(Expr::col("cost_nano"))), "uncertain_nano");
    query.from_subquery(counted(range), COUNTED);
    query.add_group_by(bucket.map(Expr::cust));
    query.group_by_col("key_id");
    query
}

impl Tx {
    /// When the first and the last record counts; `None` without records.
    pub(crate) async fn recorded_range(&mut self) -> Result<Option<(UnixMicros, UnixMicros)>> {
        let query = Query::select()
            .expr(Expr::col("started_at").min())
            .expr(Expr::col("started_at").max())
            .from(RECORDS)
            .to_owned();
        let Some(row) = self.fetch_optional(RECORDS, &query).await? else { return Ok(None) };
        let mut cells = row.cells(RECORDS);
        let (first, last) = (cells.take::<Option<i64>>()?, cells.take::<Option<i64>>()?);
        let latest = Query::select().expr(Expr::col("booked_at").max()).from(LATE).to_owned();
        let booked = match self.fetch_optional(LATE, &latest).await? {
            Some(row) => row.cells(LATE).take::<Option<i64>>()?,
            None => None,
        };
        let last = std::cmp::max(last, booked);
        Ok(first.zip(last).map(|(first, last)| (UnixMicros::new(first), UnixMicros::new(last))))
    }

    /// Makes every sum anew from the records and corrections, a day at a time.
    pub(crate) async fn fill_rollups(&mut self) -> Result<()> {
        for table in RollupSpan::ALL.map(RollupSpan::table) {
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
        self.raise_all(added).await
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
        self.raise_all(added).await
    }
}
