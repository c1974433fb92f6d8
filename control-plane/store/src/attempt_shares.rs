//! What of a record other providers charged than the one that it is counted for.
//!
//! Rule: a request that failed over after its provider had begun to work was charged by two. The record is one and is counted
//! once, for who answered; what each attempt used and cost is counted for who charged it, in the same transaction, by rows whose
//! money adds up to nothing. Most records have none. Records of before this table stay as they were counted.

use crate::blocks::blocks;
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::interned::{Interned as _, Source};
use crate::rollup_keys::{KEYS, RollupKey};
use crate::rollups::{Added, RollupSpan, SUMS, Sums};
use crate::rollups_derived::Range;
use crate::usage_read::{read_record, select_records};
use crate::usage_row::{Checked, RECORDS, check, clip, key_fits};
use crate::verify_report::{BadRecord, LedgerReport};
use helix_shared::ids::Incarnation;
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use std::collections::BTreeMap;

const SHARES: &str = "attempt_shares";
/// What moves, in the order of the columns and of [`Moved`].
const MOVED: [&str; 6] =
    ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nano", "uncertain_nano"];

/// What moves: to a provider, or below zero from one.
pub(crate) type Moved = [i64; MOVED.len()];

/// What is kept of one record.
#[derive(Debug, Default)]
struct Kept {
    incarnation: Option<String>,
    by_key: BTreeMap<i64, Moved>,
}

/// As sums: no request is counted anew.
fn sums([input, output, cache_read, cache_write, cost, uncertain]: Moved) -> Sums {
    [0, 0, 0, input, output, cache_read, cache_write, cost, uncertain, 0]
}

impl Checked<'_> {
    /// What is counted for other combinations, and what its own differs by; nothing where one provider charged everything.
    /// The record has its cost whole and the units of its last try.
    pub(crate) fn shares(&self, own: &RollupKey) -> BTreeMap<RollupKey, Moved> {
        let mut shares: BTreeMap<RollupKey, Moved> = BTreeMap::new();
        let Some(last) = self.record.attempts.last().filter(|_| self.record.attempts.len() > 1) else { return shares };
        let is_uncertain = matches!(self.record.basis, CostBasis::Estimated | CostBasis::Unknown);
        for attempt in &self.record.attempts {
            let is_own = attempt.backend_id.as_str() == own.provider
                && (attempt.upstream_model == last.upstream_model || last.backend_id.as_str() != own.provider);
            let key = if is_own || !key_fits(attempt.backend_id.as_str()) {
                own.clone()
            } else {
                let model = clip(&attempt.upstream_model).trim_end_matches(' ').to_owned();
                RollupKey { model, provider: attempt.backend_id.as_str().to_owned(), ..own.clone() }
            };
            add(shares.entry(key).or_default(), moved(&attempt.usage, attempt.cost.get(), is_uncertain));
        }
        if shares.iter().all(|(key, moved)| key == own || *moved == [0; MOVED.len()]) {
            return BTreeMap::new();
        }
        let counted = moved(&self.record.usage, self.record.cost.get(), is_uncertain);
        add(shares.entry(own.clone()).or_default(), counted.map(|amount| -amount));
        shares.retain(|_, moved| *moved != [0; MOVED.len()]);
        shares
    }
}

fn moved(usage: &TokenUsage, cost: i64, is_uncertain: bool) -> Moved {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    [
        number(usage.input_tokens),
        number(usage.output_tokens),
        number(usage.cache_read_tokens),
        number(usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens)),
        cost,
        if is_uncertain { cost } else { 0 },
    ]
}

fn add(sum: &mut Moved, more: Moved) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.saturating_add(more);
    }
}

/// Adds what moves to the sums that a batch raises, at the time when its record counts.
pub(crate) fn add_shares(added: &mut Added, checked: &Checked<'_>, own: &RollupKey, booked_at: UnixMicros) {
    for (key, moved) in checked.shares(own) {
        added.add_sums(booked_at, &key, sums(moved));
    }
}

/// The sums of what moved, by bucket and number, as [`crate::rollups_derived`] groups records.
pub(crate) fn moved_by_number(dialect: Dialect, span: RollupSpan, range: Option<Range>) -> SelectStatement {
    // fixed text: a bound value would make the selected and the grouped expression two different ones
    let bucket = match span {
        RollupSpan::Hour => Some("booked_at - booked_at % 3600000000"),
        RollupSpan::Day | RollupSpan::Trend => Some("booked_at - booked_at % 86400000000"),
        RollupSpan::Month => None,
    };
    let mut query = Query::select();
    match (bucket, range) {
        (None, Some((from, _))) => query.expr_as(Expr::cust(from.get().to_string()), "bucket"),
        _ => query.expr_as(Expr::cust(bucket.unwrap_or("0")), "bucket"),
    };
    query.column("key_id");
    for count in SUMS.into_iter().take(3) {
        query.expr_as(Expr::cust("0"), count);
    }
    for column in MOVED {
        query.expr_as(dialect.sum(Expr::col(column)), column);
    }
    query.from(SHARES);
    if let Some((from, to)) = range {
        query.and_where(Expr::col("booked_at").gte(from.get())).and_where(Expr::col("booked_at").lt(to.get()));
    }
    query.add_group_by(bucket.map(Expr::cust));
    query.group_by_col("key_id");
    query
}

impl Tx {
    /// Inserts what moves of new records, each with the time when it counts.
    pub(crate) async fn insert_shares<'a>(
        &mut self,
        source: i64,
        records: impl Iterator<Item = (&'a Checked<'a>, &'a RollupKey, UnixMicros)>,
        keys: &BTreeMap<RollupKey, i64>,
    ) -> Result<()> {
        let mut rows = Vec::new();
        for (checked, own, booked_at) in records {
            for (key, moved) in checked.shares(own) {
                let key = keys.get(&key).ok_or_else(|| StoreError::corrupt(KEYS, "a share has no number"))?;
                let place = [source, checked.seq, *key, booked_at.get()];
                rows.push(place.into_iter().chain(moved).map(Expr::val).collect::<Vec<_>>());
            }
        }
        for block in blocks(&rows) {
            let mut insert = Query::insert();
            let place = ["incarnation_no", "seq", "key_id", "booked_at"];
            insert.into_table(SHARES).columns(place.into_iter().chain(MOVED));
            for row in block {
                insert.values_panic(row.iter().cloned());
            }
            self.execute(SHARES, &insert).await?;
        }
        Ok(())
    }

    /// Proves that what moved is what the attempts of its record say.
    pub(crate) async fn verify_shares(&mut self, report: &mut LedgerReport) -> Result<()> {
        let query = Query::select()
            .columns(["incarnation_no", "seq", "key_id"].map(|column| (SHARES, column)))
            .columns(MOVED.map(|column| (SHARES, column)))
            .column((Source::TABLE, "incarnation"))
            .from(SHARES)
            .left_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((SHARES, "incarnation_no")))
            .order_by((SHARES, "incarnation_no"), Order::Asc)
            .order_by((SHARES, "seq"), Order::Asc)
            .to_owned();
        let mut kept: BTreeMap<(i64, i64), Kept> = BTreeMap::new();
        for row in self.fetch_all(SHARES, &query).await? {
            let mut cells = row.cells(SHARES);
            let (place, key): ((i64, i64), i64) = ((cells.take()?, cells.take()?), cells.take()?);
            let mut moved: Moved = [0; MOVED.len()];
            for amount in &mut moved {
                *amount = cells.take()?;
            }
            let of = kept.entry(place).or_default();
            of.incarnation = cells.take()?;
            of.by_key.insert(key, moved);
        }
        for ((source, seq), kept) in kept {
            report.shares = report.shares.saturating_add(1);
            let incarnation = Incarnation::from(kept.incarnation.unwrap_or_default());
            if let Some((request_id, problem)) = self.wrong_shares((source, seq), &incarnation, &kept.by_key).await? {
                report.bad(BadRecord { incarnation, seq, request_id, problem });
            }
        }
        Ok(())
    }

    /// What is wrong with what moved of a record.
    async fn wrong_shares(
        &mut self,
        (source, seq): (i64, i64),
        incarnation: &Incarnation,
        kept: &BTreeMap<i64, Moved>,
    ) -> Result<Option<(String, String)>> {
        let query = select_records()
            .and_where(Expr::col((RECORDS, "incarnation_no")).eq(source))
            .and_where(Expr::col((RECORDS, "seq")).eq(seq))
            .to_owned();
        let Some(row) = self.fetch_optional(RECORDS, &query).await? else {
            return Ok(Some((
                String::new(),
                "what other providers charged of it is kept, but it is not there".to_owned(),
            )));
        };
        let record = read_record(&row)?;
        let problem = match check(incarnation, &record) {
            Err(problem) => Some(problem),
            Ok(mut checked) => {
                let own = self.combination_of((source, seq)).await?;
                checked.cost_center.clone_from(&own.cost_center);
                let wanted = checked.shares(&own);
                let numbers = self.numbers_known(wanted.keys()).await?;
                let wanted: BTreeMap<i64, Moved> =
                    wanted.into_iter().filter_map(|(key, moved)| Some((*numbers.get(&key)?, moved))).collect();
                (wanted != *kept).then(|| "what other providers charged of it is not what its attempts say".to_owned())
            }
        };
        Ok(problem.map(|problem| (record.request_id, problem)))
    }

    /// The combination that a record is counted for.
    async fn combination_of(&mut self, (source, seq): (i64, i64)) -> Result<RollupKey> {
        let query = Query::select()
            .columns(crate::rollup_keys::PARTS.map(|part| (KEYS, part)))
            .from(RECORDS)
            .inner_join(KEYS, Expr::col((KEYS, "id")).equals((RECORDS, "key_id")))
            .and_where(Expr::col((RECORDS, "incarnation_no")).eq(source))
            .and_where(Expr::col((RECORDS, "seq")).eq(seq))
            .to_owned();
        match self.fetch_optional(RECORDS, &query).await? {
            Some(row) => RollupKey::take(&mut row.cells(RECORDS)),
            None => Ok(RollupKey::default()),
        }
    }

    /// The numbers of combinations that have one.
    async fn numbers_known<'a>(
        &mut self,
        wanted: impl Iterator<Item = &'a RollupKey>,
    ) -> Result<BTreeMap<RollupKey, i64>> {
        let mut known = BTreeMap::new();
        for key in wanted {
            let mut query = Query::select().column("id").from(KEYS).to_owned();
            for (column, value) in crate::rollup_keys::PARTS.into_iter().zip(key.parts()) {
                query.and_where(Expr::col(column).eq(value));
            }
            if let Some(row) = self.fetch_optional(KEYS, &query).await? {
                known.insert(key.clone(), row.cells(KEYS).take()?);
            }
        }
        Ok(known)
    }
}
