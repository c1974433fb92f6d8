//! Sums of records by hour, day and month: team, user, API key, model, provider, cost centre.
//!
//! Rule: raised only in the transaction that inserts the records or corrections they count, and only by those; so they
//! always equal the sums over them, to the last unit. Buckets are UTC. The trend is the days without people and keys: a
//! year of it is few rows.

use crate::blocks::blocks;
use crate::corrections::Correction;
use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::rollup_keys::{KEYS, PARTS, RollupKey};
use crate::row::Cells;
use crate::usage_row::Checked;
use helix_shared::money::NanoUsd;
use helix_shared::record::Decision;
use helix_shared::time::UnixMicros;
use helix_shared::usage::CostBasis;
use sea_query::{Expr, ExprTrait as _, Order, Query};
use std::collections::{BTreeMap, BTreeSet};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 86_400_000_000;

/// How long one sum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RollupSpan {
    /// An hour, UTC.
    Hour,
    /// A day, UTC.
    Day,
    /// A calendar month, UTC.
    Month,
    /// A day, UTC, without people and keys.
    Trend,
}

impl RollupSpan {
    /// Every span.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::Trend];

    /// First instant of the bucket that `at` is in.
    pub fn bucket(self, at: UnixMicros) -> UnixMicros {
        let whole = |length: i64| UnixMicros::new(at.get().saturating_sub(at.get().rem_euclid(length)));
        match self {
            Self::Hour => whole(HOUR_US),
            Self::Day | Self::Trend => whole(DAY_US),
            Self::Month => at.month_start(),
        }
    }

    /// First instant after a bucket.
    pub fn end(self, bucket: UnixMicros) -> UnixMicros {
        match self {
            Self::Hour => UnixMicros::new(bucket.get().saturating_add(HOUR_US)),
            Self::Day | Self::Trend => UnixMicros::new(bucket.get().saturating_add(DAY_US)),
            Self::Month => bucket.next_month_start(),
        }
    }

    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Hour => "rollups_hour",
            Self::Day => "rollups_day",
            Self::Month => "rollups_month",
            Self::Trend => "rollups_trend",
        }
    }

    /// The combination as this span keeps it.
    pub(crate) fn key(self, key: &RollupKey) -> RollupKey {
        match self {
            Self::Hour | Self::Day | Self::Month => key.clone(),
            Self::Trend => key.without_people(),
        }
    }
}

/// The columns of a sum, in the order of [`Sums`].
pub(crate) const SUMS: [&str; 10] = [
    "requests",
    "denied",
    "failed",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_nano",
    "uncertain_nano",
    "corrected_nano",
];

/// Amounts in the order of [`SUMS`].
pub(crate) type Sums = [i64; SUMS.len()];

/// What requests came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests, refused ones included.
    pub requests: u64,
    /// Those refused.
    pub denied: u64,
    /// Those admitted that failed.
    pub failed: u64,
    /// Uncached input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Tokens written to a cache.
    pub cache_write_tokens: u64,
    /// What they cost, corrections included.
    pub cost: NanoUsd,
    /// How much of it is estimated, or booked at the worst case because nobody can know.
    pub uncertain: NanoUsd,
    /// How much of it corrections added; below zero when they took away.
    pub corrected: NanoUsd,
}

impl Totals {
    pub(crate) fn take(cells: &mut Cells<'_>) -> Result<Self> {
        let mut counts = [0_u64; 7];
        for count in &mut counts {
            let value: i64 = cells.take()?;
            *count = u64::try_from(value).map_err(|error| cells.corrupt(error))?;
        }
        let [requests, denied, failed, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens] = counts;
        let mut money = || Ok::<_, StoreError>(NanoUsd::new(cells.take()?));
        let (cost, uncertain, corrected) = (money()?, money()?, money()?);
        Ok(Self {
            requests,
            denied,
            failed,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            cost,
            uncertain,
            corrected,
        })
    }

    /// Adds others, stopping at the ends of the range.
    pub fn add(&mut self, other: &Self) {
        let counts = [
            (&mut self.requests, other.requests),
            (&mut self.denied, other.denied),
            (&mut self.failed, other.failed),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
        ];
        for (count, more) in counts {
            *count = count.saturating_add(more);
        }
        let money = [
            (&mut self.cost, other.cost),
            (&mut self.uncertain, other.uncertain),
            (&mut self.corrected, other.corrected),
        ];
        for (amount, more) in money {
            *amount = amount.saturating_add(more);
        }
    }
}

/// The sums of one bucket for one combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// First instant of the hour, day or month.
    pub bucket: UnixMicros,
    /// What it is the sum of.
    pub key: RollupKey,
    /// What they came to.
    pub totals: Totals,
}

/// What new entries add, by hour and combination; the longer buckets are made of these.
#[derive(Debug, Default)]
pub(crate) struct Added(BTreeMap<i64, BTreeMap<RollupKey, Sums>>);

impl Added {
    /// Adds a record at the time when it counts.
    pub(crate) fn add(&mut self, checked: &Checked<'_>, key: &RollupKey, at: UnixMicros) {
        let record = checked.record;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let usage = &record.usage;
        let is_uncertain = matches!(record.basis, CostBasis::Estimated | CostBasis::Unknown);
        let sums = [
            1,
            i64::from(matches!(record.decision, Decision::Denied { .. })),
            i64::from(matches!(record.decision, Decision::Failed { .. })),
            number(usage.input_tokens),
            number(usage.output_tokens),
            number(usage.cache_read_tokens),
            number(usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens)),
            record.cost.get(),
            if is_uncertain { record.cost.get() } else { 0 },
            0,
        ];
        self.add_sums(at, key, sums);
    }

    pub(crate) fn add_correction(&mut self, correction: &Correction) {
        let amount = correction.amount.get();
        self.add_sums(correction.at, &correction.key, [0, 0, 0, 0, 0, 0, 0, amount, 0, amount]);
    }

    pub(crate) fn add_sums(&mut self, at: UnixMicros, key: &RollupKey, sums: Sums) {
        let hour = self.0.entry(RollupSpan::Hour.bucket(at).get()).or_default();
        match hour.get_mut(key) {
            Some(known) => raise_by(known, sums),
            None => drop(hour.insert(key.clone(), sums)),
        }
    }

    fn keys(&self) -> BTreeSet<RollupKey> {
        with_trends(self.0.values().flat_map(BTreeMap::keys))
    }
}

/// These combinations and those that the trend keeps of them.
pub(crate) fn with_trends<'k>(all: impl Iterator<Item = &'k RollupKey>) -> BTreeSet<RollupKey> {
    let mut keys: BTreeSet<RollupKey> = BTreeSet::new();
    for key in all {
        if !keys.contains(key) {
            keys.insert(key.without_people());
            keys.insert(key.clone());
        }
    }
    keys
}

fn unknown(key: &RollupKey) -> StoreError {
    StoreError::corrupt(KEYS, format!("the combination {:?} has no number", key.parts()))
}

fn raise_by(known: &mut Sums, more: Sums) {
    for (known, more) in known.iter_mut().zip(more) {
        *known = known.saturating_add(more);
    }
}

impl Tx {
    /// Raises the sums that entries add, whose combinations may be new.
    pub(crate) async fn raise_all(&mut self, added: Added) -> Result<()> {
        let ids = self.numbers_of(added.keys()).await?;
        self.raise_rollups(added, &ids).await
    }

    /// Raises the sums, in order, so that two batches wait for each other instead of deadlocking. `ids` are the numbers of
    /// every combination.
    pub(crate) async fn raise_rollups(&mut self, added: Added, ids: &BTreeMap<RollupKey, i64>) -> Result<()> {
        let mut spans = RollupSpan::ALL.map(|_| BTreeMap::<(i64, i64), Sums>::new());
        let mut trends: BTreeMap<i64, i64> = BTreeMap::new();
        for (hour, keys) in added.0 {
            let buckets = RollupSpan::ALL.map(|span| span.bucket(UnixMicros::new(hour)).get());
            for (key, sums) in keys {
                let number = |key: &RollupKey| ids.get(key).copied().ok_or_else(|| unknown(key));
                let id = number(&key)?;
                let trend = match trends.get(&id) {
                    Some(trend) => *trend,
                    None => *trends.entry(id).or_insert(number(&key.without_people())?),
                };
                for ((span, rows), bucket) in RollupSpan::ALL.into_iter().zip(&mut spans).zip(buckets) {
                    let id = if span == RollupSpan::Trend { trend } else { id };
                    raise_by(rows.entry((bucket, id)).or_default(), sums);
                }
            }
        }
        for (span, rows) in RollupSpan::ALL.into_iter().zip(spans) {
            let rows: Vec<_> = rows.into_iter().collect();
            for block in blocks(&rows) {
                self.raise(span.table(), block).await?;
            }
        }
        Ok(())
    }

    /// Whether there is any sum.
    pub(crate) async fn has_rollups(&mut self) -> Result<bool> {
        let table = RollupSpan::Hour.table();
        let query = Query::select().column("bucket").from(table).limit(1).to_owned();
        Ok(self.fetch_optional(table, &query).await?.is_some())
    }

    async fn raise(&mut self, table: &'static str, rows: &[((i64, i64), Sums)]) -> Result<()> {
        let mut insert = Query::insert();
        insert.into_table(table).columns(["bucket", "key_id"].into_iter().chain(SUMS));
        for ((bucket, id), sums) in rows {
            insert.values_panic([*bucket, *id].into_iter().chain(*sums).map(Expr::val));
        }
        insert.on_conflict(self.raising(table, &["bucket", "key_id"], &SUMS));
        self.execute(table, &insert).await.map(|_| ())
    }

    /// Lists sums with `from <= bucket < to`, ordered by bucket and combination.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rollups(&mut self, span: RollupSpan, from: UnixMicros, to: UnixMicros) -> Result<Vec<Rollup>> {
        let table = span.table();
        let query = Query::select()
            .column((table, "bucket"))
            .columns(PARTS.map(|part| (KEYS, part)))
            .columns(SUMS.map(|sum| (table, sum)))
            .from(table)
            .inner_join(KEYS, Expr::col((KEYS, "id")).equals((table, "key_id")))
            .and_where(Expr::col((table, "bucket")).gte(from.get()))
            .and_where(Expr::col((table, "bucket")).lt(to.get()))
            .order_by((table, "bucket"), Order::Asc)
            .to_owned();
        let rows = self.fetch_all(table, &query).await?;
        let read = |row: &crate::row::Row| {
            let mut cells = row.cells(table);
            let bucket = UnixMicros::new(cells.take()?);
            Ok(Rollup { bucket, key: RollupKey::take(&mut cells)?, totals: Totals::take(&mut cells)? })
        };
        let mut rollups: Vec<Rollup> = rows.iter().map(read).collect::<Result<_>>()?;
        rollups.sort_by(|a, b| (a.bucket, &a.key).cmp(&(b.bucket, &b.key)));
        Ok(rollups)
    }
}
