//! Reports: what requests came to in a period, by any of team, user, key, model, provider and cost centre.
//!
//! Rule: read from sums only, never from records: a whole month from the months, what sticks out of it from days and
//! hours. So a report costs what it shows, not what it is about. Equal questions give equal rows in equal order on every
//! database.

use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::rollup_keys::{KEYS, RollupKey};
use crate::rollups::{RollupSpan, SUMS, Totals};
use crate::row::Row;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use std::collections::BTreeMap;

const SUMMED: &str = "summed";

/// What a report may be grouped and filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The team that was charged.
    Team,
    /// The person.
    User,
    /// The API key.
    Key,
    /// The model.
    Model,
    /// The provider.
    Provider,
    /// The cost centre.
    CostCenter,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] = [Self::Team, Self::User, Self::Key, Self::Model, Self::Provider, Self::CostCenter];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::User => "user",
            Self::Key => "key",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::CostCenter => "cost_center",
        }
    }

    /// Reads the stable name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == name)
    }

    /// Its part of a combination.
    pub fn of(self, key: &RollupKey) -> &str {
        match self {
            Self::Team => &key.team_id,
            Self::User => &key.user_id,
            Self::Key => &key.api_key_id,
            Self::Model => &key.model,
            Self::Provider => &key.provider,
            Self::CostCenter => &key.cost_center,
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Team => "team_id",
            Self::User => "user_id",
            Self::Key => "api_key_id",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::CostCenter => "cost_center",
        }
    }

    fn is_about_people(self) -> bool {
        matches!(self, Self::User | Self::Key)
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportQuery {
    /// First instant, on a whole hour UTC.
    pub from: UnixMicros,
    /// First instant after it, on a whole hour UTC.
    pub until: UnixMicros,
    /// What rows are made by.
    pub group_by: Vec<Dimension>,
    /// How long a row covers; `None`: everything.
    pub every: Option<RollupSpan>,
    /// Only these.
    pub filters: Vec<(Dimension, String)>,
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// First instant that the row covers: of its bucket, or of the whole.
    pub bucket: UnixMicros,
    /// The values of the dimensions it is grouped by, in their order; empty text: none.
    pub names: Vec<String>,
    /// What requests came to.
    pub totals: Totals,
}

/// A stretch of time that is read from one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    span: RollupSpan,
    from: UnixMicros,
    until: UnixMicros,
}

impl ReportQuery {
    /// Cuts the period into stretches, each of the longest buckets that fit. Neither overlaps nor leaves a hole.
    fn parts(&self) -> Vec<Part> {
        let is_about_people = self.group_by.iter().copied().chain(self.filters.iter().map(|filter| filter.0));
        let day = if is_about_people.into_iter().any(Dimension::is_about_people) {
            RollupSpan::Day
        } else {
            RollupSpan::Trend
        };
        let spans: &[RollupSpan] = match self.every {
            Some(RollupSpan::Hour) => &[RollupSpan::Hour],
            Some(RollupSpan::Day | RollupSpan::Trend) => &[day, RollupSpan::Hour],
            Some(RollupSpan::Month) | None => &[RollupSpan::Month, day, RollupSpan::Hour],
        };
        let mut parts = Vec::new();
        cut(spans, self.from, self.until, &mut parts);
        parts
    }

    fn check(&self) -> Result<()> {
        for (column, at) in [("from", self.from), ("until", self.until)] {
            if RollupSpan::Hour.bucket(at) != at {
                let reason = format!("{at} is not a whole hour, UTC");
                return Err(StoreError::Invalid { table: "report", column, reason });
            }
        }
        Ok(())
    }
}

/// The whole buckets of the first span in the middle, the rest by the others.
fn cut(spans: &[RollupSpan], from: UnixMicros, until: UnixMicros, parts: &mut Vec<Part>) {
    let Some((span, finer)) = spans.split_first() else { return };
    if from >= until {
        return;
    }
    let floor = span.bucket(from);
    let first = if floor == from { from } else { span.end(floor) };
    let last = span.bucket(until);
    if first >= last {
        return cut(finer, from, until, parts);
    }
    cut(finer, from, first, parts);
    parts.push(Part { span: *span, from: first, until: last });
    cut(finer, last, until, parts);
}

impl Tx {
    /// Answers a question: rows in the order of their buckets and names.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the period does not begin and end on a whole hour; what the database says.
    pub async fn report(&mut self, query: &ReportQuery) -> Result<Vec<ReportRow>> {
        let mut rows = Vec::new();
        self.report_each(query, |row| rows.push(row)).await?;
        Ok(rows)
    }

    /// The same, row by row: whole months, days and hours need no memory.
    ///
    /// # Errors
    /// As [`Tx::report`].
    pub async fn report_each(&mut self, query: &ReportQuery, mut take: impl FnMut(ReportRow) + Send) -> Result<()> {
        query.check()?;
        let parts = query.parts();
        let count = query.group_by.len();
        if let ([part], true) = (parts.as_slice(), query.every.is_none_or(|every| is_same(every, &parts))) {
            let select = self.select(query, *part);
            let (table, from) = (part.span.table(), query.from);
            let each = |row: Row| read(&row, table, count, query.every.is_some(), from).map(&mut take);
            return self.fetch_each(table, &select, each).await;
        }
        let mut merged: BTreeMap<(UnixMicros, Vec<String>), Totals> = BTreeMap::new();
        for part in parts {
            let select = self.select(query, part);
            let table = part.span.table();
            let each = |row: Row| {
                let row = read(&row, table, count, query.every.is_some(), query.from)?;
                let bucket = query.every.map_or(row.bucket, |every| every.bucket(row.bucket));
                merged.entry((bucket, row.names)).or_default().add(&row.totals);
                Ok(())
            };
            self.fetch_each(table, &select, each).await?;
        }
        merged.into_iter().for_each(|((bucket, names), totals)| take(ReportRow { bucket, names, totals }));
        Ok(())
    }

    fn select(&self, query: &ReportQuery, part: Part) -> SelectStatement {
        let dialect = self.dialect();
        let table = part.span.table();
        // integers are added up first, by number; then the few sums by what the numbers stand for
        let mut summed = Query::select();
        if query.every.is_some() {
            summed.column("bucket");
        }
        summed.column("key_id").from(table);
        for sum in SUMS {
            match query.every {
                Some(_) => summed.column(sum),
                None => summed.expr_as(dialect.sum(Expr::col(sum)), sum),
            };
        }
        summed.and_where(Expr::col("bucket").gte(part.from.get())).and_where(Expr::col("bucket").lt(part.until.get()));
        if query.every.is_none() {
            summed.group_by_col("key_id");
        }
        if !query.filters.is_empty() {
            let mut wanted = Query::select();
            wanted.column("id").from(KEYS);
            for (dimension, value) in &query.filters {
                wanted.and_where(Expr::col(dimension.column()).eq(value.as_str()));
            }
            summed.and_where(Expr::col("key_id").in_subquery(wanted));
        }
        // what is told by every dimension is told by number: there is nothing left to add up
        let is_each = Dimension::ALL.iter().all(|dimension| query.group_by.contains(dimension));
        let mut select = Query::select();
        if query.every.is_some() {
            select.column((SUMMED, "bucket"));
            if !is_each {
                select.group_by_col((SUMMED, "bucket"));
            }
            select.order_by((SUMMED, "bucket"), Order::Asc);
        }
        select.from_subquery(summed, SUMMED);
        for dimension in &query.group_by {
            select.column((KEYS, dimension.column()));
            if !is_each {
                select.group_by_col((KEYS, dimension.column()));
            }
            select.order_by_expr(dialect.sorted(KEYS, dimension.column()), Order::Asc);
        }
        for sum in SUMS {
            match is_each {
                true => select.column((SUMMED, sum)),
                false => select.expr(dialect.sum(Expr::col((SUMMED, sum)))),
            };
        }
        if !query.group_by.is_empty() {
            select.inner_join(KEYS, Expr::col((KEYS, "id")).equals((SUMMED, "key_id")));
        } else if query.every.is_none() {
            // a sum over nothing would be a row
            select.and_having(Expr::col((SUMMED, "key_id")).count().gt(0_i64));
        }
        select
    }
}

/// Whether the one stretch has buckets of the length that was asked for.
fn is_same(every: RollupSpan, parts: &[Part]) -> bool {
    let is_day = |span| matches!(span, RollupSpan::Day | RollupSpan::Trend);
    parts.iter().all(|part| part.span == every || is_day(part.span) && is_day(every))
}

fn read(row: &Row, table: &'static str, names: usize, has_bucket: bool, from: UnixMicros) -> Result<ReportRow> {
    let mut cells = row.cells(table);
    let bucket = if has_bucket { UnixMicros::new(cells.take()?) } else { from };
    let names = (0..names).map(|_| cells.take()).collect::<Result<_>>()?;
    Ok(ReportRow { bucket, names, totals: Totals::take(&mut cells)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000;

    fn query(from: i64, until: i64, every: Option<RollupSpan>) -> ReportQuery {
        let (from, until) = (UnixMicros::new(from * HOUR), UnixMicros::new(until * HOUR));
        ReportQuery { from, until, group_by: vec![], every, filters: vec![] }
    }

    proptest! {
        #[test]
        fn stretches_cover_the_period_once_in_whole_buckets(
            from in 490_000_i64..500_000, hours in 0_i64..10_000, every in 0..4_usize,
        ) {
            let every = [None, Some(RollupSpan::Hour), Some(RollupSpan::Day), Some(RollupSpan::Month)][every];
            let query = query(from, from + hours, every);
            let mut at = query.from;
            for part in query.parts() {
                prop_assert_eq!(part.from, at);
                prop_assert!(part.until > part.from);
                prop_assert_eq!(part.span.bucket(part.from), part.from);
                prop_assert_eq!(part.span.bucket(part.until), part.until);
                at = part.until;
            }
            prop_assert_eq!(at, query.until);
            prop_assert!(query.parts().len() <= 5);
        }
    }

    #[test]
    fn a_year_is_read_from_its_months_alone() {
        let from = UnixMicros::parse("2026-01-01T00:00:00Z").unwrap();
        let until = UnixMicros::parse("2027-01-01T00:00:00Z").unwrap();
        let query = ReportQuery { from, until, group_by: vec![Dimension::User], every: None, filters: vec![] };
        assert_eq!(query.parts(), [Part { span: RollupSpan::Month, from, until }]);
    }
}
