//! Months that are closed: what they came to stays as it was, and so do the bytes of their exports.
//!
//! Rule: a month is closed when it is over, with every month before it, under a lock that every booking takes before it
//! raises sums. What comes later of a closed month, a record or a correction, is booked when it comes, in a month that is
//! open; the record keeps its own time, and what was booked so is listed here. Budgets are not closed: what is spent counts
//! in its own period.

use crate::db::{Db, Tx, retrying};
use crate::error::{Result, StoreError};
use crate::rollups::RollupSpan;
use crate::row::Row;
use crate::usage_row::clip;
use crate::verify_report::LedgerReport;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query};
use std::collections::BTreeMap;

const FRONTIER: &str = "ledger_frontier";
const MONTHS: &str = "closed_months";
const MONTH_COLUMNS: [&str; 6] = ["month", "closed_at", "actor", "reason", "requests", "cost_nano"];
/// Records that were booked later than they were made.
pub(crate) const LATE: &str = "late_records";
pub(crate) const LATE_COLUMNS: [&str; 5] = ["incarnation_no", "seq", "started_at", "booked_at", "cost_nano"];

/// A month that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedMonth {
    /// Its first instant, UTC.
    pub month: UnixMicros,
    /// When it was closed.
    pub closed_at: UnixMicros,
    /// Who closed it.
    pub actor: String,
    /// Why; may be empty.
    pub reason: String,
    /// The requests that it had then.
    pub requests: u64,
    /// What it came to then.
    pub cost: NanoUsd,
}

/// What became of a closing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// These months are closed now: the one that was named, and those before it that were open.
    Done(Vec<ClosedMonth>),
    /// It was closed before.
    Already,
    /// It is not over.
    NotOver,
}

/// What was booked later than it was made: of one month, in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateBooking {
    /// The month that the records are of.
    pub of: UnixMicros,
    /// The month that they are booked in.
    pub booked_in: UnixMicros,
    /// How many they are.
    pub requests: u64,
    /// What they cost.
    pub cost: NanoUsd,
}

impl Db {
    /// Closes a month and those before it.
    ///
    /// # Errors
    /// What the database says; then nothing is closed.
    pub async fn close_month(&self, month: UnixMicros, actor: &str, reason: &str, now: UnixMicros) -> Result<Closing> {
        retrying!(self.close_month_once(month.month_start(), actor, reason, now))
    }

    async fn close_month_once(&self, month: UnixMicros, actor: &str, reason: &str, now: UnixMicros) -> Result<Closing> {
        let end = month.next_month_start();
        if now < end {
            return Ok(Closing::NotOver);
        }
        let mut tx = self.begin().await?;
        let closed_until = tx.lock_frontier().await?;
        if end <= closed_until {
            return Ok(Closing::Already);
        }
        let mut totals = tx.months_before(end).await?;
        // a month without a request is closed, too
        totals.entry(month).or_default();
        let mut done = Vec::new();
        for (month, (requests, cost)) in totals.into_iter().filter(|(month, _)| *month >= closed_until) {
            let (actor, reason) = (clip(actor), reason.replace('\0', "\u{fffd}"));
            let closed = ClosedMonth { month, closed_at: now, actor, reason, requests, cost };
            tx.insert_closed(&closed).await?;
            done.push(closed);
        }
        let update = Query::update()
            .table(FRONTIER)
            .value("closed_until", end.get())
            .and_where(Expr::col("id").eq(1_i64))
            .to_owned();
        tx.execute(FRONTIER, &update).await?;
        tx.commit().await?;
        Ok(Closing::Done(done))
    }
}

impl Tx {
    /// The first instant that is not closed; 0 when no month is. Until this transaction ends, nobody closes a month, and
    /// nobody else raises sums.
    pub(crate) async fn lock_frontier(&mut self) -> Result<UnixMicros> {
        let query = Query::select()
            .column("closed_until")
            .from(FRONTIER)
            .and_where(Expr::col("id").eq(1_i64))
            .lock_exclusive()
            .to_owned();
        let row = self.fetch_optional(FRONTIER, &query).await?;
        let row = row.ok_or_else(|| StoreError::corrupt(FRONTIER, "its row is not there"))?;
        Ok(UnixMicros::new(row.cells(FRONTIER).take()?))
    }

    /// Lists the months that are closed, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn closed_months(&mut self) -> Result<Vec<ClosedMonth>> {
        let query = Query::select().columns(MONTH_COLUMNS).from(MONTHS).order_by("month", Order::Asc).to_owned();
        self.fetch_all(MONTHS, &query).await?.iter().map(read).collect()
    }

    /// Whether everything before an instant is closed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_closed(&mut self, until: UnixMicros) -> Result<bool> {
        let query = Query::select().column("closed_until").from(FRONTIER).to_owned();
        let Some(row) = self.fetch_optional(FRONTIER, &query).await? else { return Ok(false) };
        Ok(until.get() <= row.cells(FRONTIER).take::<i64>()?)
    }

    /// Lists what was booked in another month than it was made in.
    ///
    /// # Errors
    /// What the database says.
    pub async fn late_bookings(&mut self) -> Result<Vec<LateBooking>> {
        let query = Query::select().columns(["started_at", "booked_at", "cost_nano"]).from(LATE).to_owned();
        let mut found: BTreeMap<(UnixMicros, UnixMicros), (u64, NanoUsd)> = BTreeMap::new();
        let take = |row: Row| {
            let mut cells = row.cells(LATE);
            let mut month = || Ok::<_, StoreError>(UnixMicros::new(cells.take()?).month_start());
            let sums = found.entry((month()?, month()?)).or_default();
            sums.0 = sums.0.saturating_add(1);
            sums.1 = sums.1.saturating_add(NanoUsd::new(cells.take()?));
            Ok(())
        };
        self.fetch_each(LATE, &query, take).await?;
        let booking = |((of, booked_in), (requests, cost))| LateBooking { of, booked_in, requests, cost };
        Ok(found.into_iter().map(booking).collect())
    }

    /// What months before an instant came to, by month.
    async fn months_before(&mut self, end: UnixMicros) -> Result<BTreeMap<UnixMicros, (u64, NanoUsd)>> {
        let dialect = self.dialect();
        let table = RollupSpan::Month.table();
        let query = Query::select()
            .column("bucket")
            .expr(dialect.sum(Expr::col("requests")))
            .expr(dialect.sum(Expr::col("cost_nano")))
            .from(table)
            .and_where(Expr::col("bucket").lt(end.get()))
            .group_by_col("bucket")
            .to_owned();
        let rows = self.fetch_all(table, &query).await?;
        let read = |row: &Row| {
            let mut cells = row.cells(table);
            let (month, requests) = (UnixMicros::new(cells.take()?), cells.take::<i64>()?);
            let requests = u64::try_from(requests).map_err(|error| cells.corrupt(error))?;
            Ok((month, (requests, NanoUsd::new(cells.take()?))))
        };
        rows.iter().map(read).collect()
    }

    async fn insert_closed(&mut self, closed: &ClosedMonth) -> Result<()> {
        let values = [
            Expr::val(closed.month.get()),
            Expr::val(closed.closed_at.get()),
            Expr::val(closed.actor.as_str()),
            Expr::val(closed.reason.as_str()),
            Expr::val(i64::try_from(closed.requests).unwrap_or(i64::MAX)),
            Expr::val(closed.cost.get()),
        ];
        let insert = Query::insert().into_table(MONTHS).columns(MONTH_COLUMNS).values_panic(values).to_owned();
        self.execute(MONTHS, &insert).await.map(|_| ())
    }

    /// Proves that what is closed comes to what it came to then.
    pub(crate) async fn verify_closed(&mut self, report: &mut LedgerReport) -> Result<()> {
        let closed = self.closed_months().await?;
        let Some(last) = closed.last() else { return Ok(()) };
        let totals = self.months_before(last.month.next_month_start()).await?;
        for month in &closed {
            let (requests, cost) = totals.get(&month.month).copied().unwrap_or_default();
            if (requests, cost) != (month.requests, month.cost) {
                report.problem(format!(
                    "the month from {} was closed with {} requests of {} USD, its sums say {requests} of {cost} USD",
                    month.month, month.requests, month.cost
                ));
            }
        }
        let mut between = totals.keys().filter(|month| !closed.iter().any(|closed| closed.month == **month));
        if let Some(month) = between.next() {
            report.problem(format!("the month from {month} is closed, but was empty when it was: it has sums now"));
        }
        Ok(())
    }
}

fn read(row: &Row) -> Result<ClosedMonth> {
    let mut cells = row.cells(MONTHS);
    let (month, closed_at) = (UnixMicros::new(cells.take()?), UnixMicros::new(cells.take()?));
    let (actor, reason) = (cells.take()?, cells.take()?);
    let requests: i64 = cells.take()?;
    let requests = u64::try_from(requests).map_err(|error| cells.corrupt(error))?;
    Ok(ClosedMonth { month, closed_at, actor, reason, requests, cost: NanoUsd::new(cells.take()?) })
}
