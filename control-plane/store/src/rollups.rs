//! Sums of records by hour and by day: team, user, model, provider.
//!
//! Rule: raised only in the transaction that inserts the records they count, and only by those; so they always equal the
//! sums over the records, to the last unit.

use crate::db::Tx;
use crate::error::Result;
use crate::usage_row::Checked;
use helix_shared::ids::{TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::Decision;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query};
use std::collections::BTreeMap;

/// Rows a statement raises at once.
const CHUNK: usize = 200;

/// How long one sum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RollupSpan {
    /// An hour, UTC.
    Hour,
    /// A day, UTC.
    Day,
}

impl RollupSpan {
    /// Both spans.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// Its length in µs.
    pub fn micros(self) -> i64 {
        match self {
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }

    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Hour => "rollups_hourly",
            Self::Day => "rollups_daily",
        }
    }
}

pub(crate) const KEY: [&str; 5] = ["bucket", "team_id", "user_id", "model", "provider"];
pub(crate) const SUMS: [&str; 8] = [
    "requests",
    "denied",
    "failed",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_nano",
];

/// The sums of one bucket for one combination of team, user, model and provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// First instant of the hour or day.
    pub bucket: UnixMicros,
    /// The team that was charged.
    pub team_id: Option<TeamId>,
    /// The person.
    pub user_id: Option<UserId>,
    /// The model that answered, or was asked for when none did; empty for refused requests.
    pub model: String,
    /// The backend that answered, or was tried last; empty when none was.
    pub provider: String,
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
    /// What they cost.
    pub cost: NanoUsd,
}

/// Bucket, team, user, model, provider.
type Key = (i64, String, String, String, String);

/// What new records add.
#[derive(Debug, Default)]
pub(crate) struct Added {
    hourly: BTreeMap<Key, [i64; 8]>,
    daily: BTreeMap<Key, [i64; 8]>,
}

impl Added {
    pub(crate) fn add(&mut self, checked: &Checked<'_>) {
        let record = checked.record;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let usage = &record.usage;
        let sums = [
            1,
            i64::from(matches!(record.decision, Decision::Denied { .. })),
            i64::from(matches!(record.decision, Decision::Failed { .. })),
            number(usage.input_tokens),
            number(usage.output_tokens),
            number(usage.cache_read_tokens),
            number(usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens)),
            record.cost.get(),
        ];
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        for span in RollupSpan::ALL {
            let at = record.started_at.get();
            let key = (
                at - at % span.micros(),
                text(record.actor.team_id.as_ref().map(TeamId::as_str)),
                text(record.actor.user_id.as_ref().map(UserId::as_str)),
                checked.model.clone(),
                checked.provider.clone(),
            );
            let known = self.of(span).entry(key).or_default();
            for (known, more) in known.iter_mut().zip(sums) {
                *known = known.saturating_add(more);
            }
        }
    }

    fn of(&mut self, span: RollupSpan) -> &mut BTreeMap<Key, [i64; 8]> {
        match span {
            RollupSpan::Hour => &mut self.hourly,
            RollupSpan::Day => &mut self.daily,
        }
    }
}

impl Tx {
    /// Raises the sums, in key order so that two batches wait for each other instead of deadlocking.
    pub(crate) async fn raise_rollups(&mut self, mut added: Added) -> Result<()> {
        for span in RollupSpan::ALL {
            let table = span.table();
            let rows: Vec<(Key, [i64; 8])> = std::mem::take(added.of(span)).into_iter().collect();
            for chunk in rows.chunks(CHUNK) {
                let mut insert = Query::insert();
                insert.into_table(table).columns(KEY.into_iter().chain(SUMS));
                for ((bucket, team, user, model, provider), sums) in chunk {
                    let key = [
                        Expr::val(*bucket),
                        Expr::val(team.as_str()),
                        Expr::val(user.as_str()),
                        Expr::val(model.as_str()),
                        Expr::val(provider.as_str()),
                    ];
                    insert.values_panic(key.into_iter().chain(sums.map(Expr::val)));
                }
                let dialect = self.dialect();
                let raised = SUMS.map(|column| (column, Expr::col((table, column)).add(dialect.proposed(column))));
                insert.on_conflict(OnConflict::columns(KEY).values(raised).to_owned());
                self.execute(table, &insert).await?;
            }
        }
        Ok(())
    }

    /// Lists sums with `from <= bucket < to`, ordered by bucket.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rollups(&mut self, span: RollupSpan, from: UnixMicros, to: UnixMicros) -> Result<Vec<Rollup>> {
        let table = span.table();
        let mut query = Query::select();
        query
            .columns(KEY.into_iter().chain(SUMS))
            .from(table)
            .and_where(Expr::col("bucket").gte(from.get()))
            .and_where(Expr::col("bucket").lt(to.get()));
        for column in KEY {
            query.order_by(column, Order::Asc);
        }
        let rows = self.fetch_all(table, &query).await?;
        rows.iter()
            .map(|row| {
                let mut cells = row.cells(table);
                let some = |text: String| (!text.is_empty()).then_some(text);
                let bucket = UnixMicros::new(cells.take()?);
                let team_id = some(cells.take()?).map(TeamId::from);
                let user_id = some(cells.take()?).map(UserId::from);
                let (model, provider) = (cells.take()?, cells.take()?);
                let mut sums = [0_u64; 7];
                for sum in &mut sums {
                    let value: i64 = cells.take()?;
                    *sum = u64::try_from(value).map_err(|error| cells.corrupt(error))?;
                }
                let [requests, denied, failed, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens] =
                    sums;
                let cost = NanoUsd::new(cells.take()?);
                Ok(Rollup {
                    bucket,
                    team_id,
                    user_id,
                    model,
                    provider,
                    requests,
                    denied,
                    failed,
                    input_tokens,
                    output_tokens,
                    cache_read_tokens,
                    cache_write_tokens,
                    cost,
                })
            })
            .collect()
    }
}
