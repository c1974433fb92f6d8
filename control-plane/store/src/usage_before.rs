//! Records as releases before step 14 kept them, one row of texts each, and their way into the table of today.
//!
//! Rule: what was kept is kept: every record with its charges and cost centre, so that sums and accounts stay as they are.
//! The old table is left, empty. Moving again moves nothing twice.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::incarnations::INCARNATIONS;
use crate::interned::Source;
use crate::record_body::usage_of;
use crate::rollup_keys::RollupKey;
use crate::row::{Cells, Row};
use crate::trace_text;
use crate::usage_read::account_of;
use crate::usage_row::{ChargeRow, Charges, Checked, Cover, NO_CHARGES, Numbers};
use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BackendId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Attempt, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use sea_query::{Expr, ExprTrait as _, Order, Query};
use std::collections::BTreeSet;

const BEFORE: &str = "usage_records";
/// Rows moved at once.
const PAGE: u64 = 2_000;

const COLUMNS: [&str; 36] = [
    "incarnation",
    "seq",
    "request_id",
    "config_revision",
    "api_key_id",
    "user_id",
    "team_id",
    "decision",
    "decision_stage",
    "decision_code",
    "dialect",
    "requested_model",
    "served_model",
    "backend_id",
    "model",
    "provider",
    "strategy",
    "is_streaming",
    "http_status",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "other_units",
    "cost_nano",
    "basis",
    "started_at",
    "first_byte_us",
    "total_us",
    "charged",
    "attempts",
    "stages",
    "cost_center",
    "price_version",
    "attempt_units",
    "trace",
];

/// Attempt as it was kept: intent, backend, upstream model, status, error, µs, cost, basis, the provider's request id.
type AttemptRow = (u64, String, String, u16, String, u32, i64, String, String);
/// Stage as it was kept: name, verdict, reason, µs.
type StageRow = (String, String, String, u64);
/// What an attempt used and by which prices: the version, and its units without the zeros at the end.
type UnitsRow = (String, Vec<u64>);

/// A row of before.
struct Kept {
    record: Record,
    key: RollupKey,
    charges: Vec<ChargeRow>,
}

impl Tx {
    /// Moves every record of the old table into the one of today.
    pub(crate) async fn move_records(&mut self) -> Result<()> {
        let mut after = (String::new(), 0);
        loop {
            let query = Query::select()
                .columns(COLUMNS.map(|column| (BEFORE, column)))
                .column((INCARNATIONS, "node_id"))
                .from(BEFORE)
                .left_join(INCARNATIONS, Expr::col((INCARNATIONS, "id")).equals((BEFORE, "incarnation")))
                .and_where(
                    Expr::tuple([Expr::col((BEFORE, "incarnation")), Expr::col((BEFORE, "seq"))])
                        .gt(Expr::tuple([Expr::val(after.0.as_str()), Expr::val(after.1)])),
                )
                .order_by((BEFORE, "incarnation"), Order::Asc)
                .order_by((BEFORE, "seq"), Order::Asc)
                .limit(PAGE)
                .to_owned();
            let page: Vec<Kept> = self.fetch_all(BEFORE, &query).await?.iter().map(read_kept).collect::<Result<_>>()?;
            let Some(last) = page.last() else { break };
            after = (last.record.incarnation.as_str().to_owned(), i64::try_from(last.record.seq).unwrap_or(i64::MAX));
            self.write_kept(&page).await?;
        }
        match self.dialect() {
            Dialect::Sqlite => self.run(BEFORE, format!("DELETE FROM {BEFORE}")).await,
            // MySQL commits here: a step that breaks off after it finds an empty table
            Dialect::Postgres | Dialect::MySql => self.run(BEFORE, format!("TRUNCATE TABLE {BEFORE}")).await,
        }
    }

    async fn write_kept(&mut self, page: &[Kept]) -> Result<()> {
        let sources: BTreeSet<Source> =
            page.iter().map(|kept| Source(kept.record.incarnation.as_str().to_owned())).collect();
        let sources = self.numbers_of(sources).await?;
        let keys = self.numbers_of(page.iter().map(|kept| kept.key.clone()).collect()).await?;
        let lists: BTreeSet<Charges> = page.iter().map(Kept::list).filter(|list| !list.0.is_empty()).collect();
        let lists = self.numbers_of(lists).await?;
        let mut rows = Vec::with_capacity(page.len());
        for kept in page {
            let source = Source(kept.record.incarnation.as_str().to_owned());
            let (Some(incarnation), Some(key)) = (sources.get(&source), keys.get(&kept.key)) else { continue };
            let charges = lists.get(&kept.list()).copied().unwrap_or(NO_CHARGES);
            let checked = Checked {
                record: &kept.record,
                seq: i64::try_from(kept.record.seq).unwrap_or(i64::MAX),
                model: kept.key.model.clone(),
                provider: kept.key.provider.clone(),
                cost_center: kept.key.cost_center.clone(),
                charged: Vec::new(),
            };
            rows.push(checked.values(Numbers { incarnation: *incarnation, key: *key, charges }));
        }
        self.insert_records(rows, true).await
    }
}

impl Kept {
    fn list(&self) -> Charges {
        let cover = |number: u8| match number {
            1 => Cover::Lease,
            2 => Cover::Unreserved,
            _ => Cover::None,
        };
        let accounts: Vec<(AccountKey, Cover)> =
            self.charges.iter().map(|row| (account_of(row), cover(row.2))).collect();
        Charges::of(accounts.iter().map(|(account, cover)| (account, *cover)))
    }
}

/// Reads the attempts of a row, without what each of them used.
fn parse_attempts(text: &str) -> Result<Vec<Attempt>, serde_json::Error> {
    let rows: Vec<AttemptRow> = serde_json::from_str(text)?;
    let attempt = |row: AttemptRow| {
        let (intent, backend_id, upstream_model, status, error, duration_us, cost, basis, provider_request_id) = row;
        let (backend_id, cost) = (BackendId::from(backend_id), NanoUsd::new(cost));
        let (usage, price_version) = (TokenUsage::default(), String::new());
        Attempt {
            intent,
            backend_id,
            upstream_model,
            status,
            error,
            duration_us,
            usage,
            cost,
            basis,
            price_version,
            provider_request_id,
        }
    };
    Ok(rows.into_iter().map(attempt).collect())
}

/// Tells each attempt what it used: the list, or else what the row says of its one attempt.
fn give_units(attempts: &mut [Attempt], list: Option<Vec<UnitsRow>>, usage: TokenUsage, version: Option<String>) {
    match (list, attempts) {
        (Some(list), attempts) => {
            for (attempt, (version, units)) in attempts.iter_mut().zip(list) {
                attempt.usage = usage_of(&units);
                attempt.price_version = version;
            }
        }
        (None, [only]) => {
            only.usage = usage;
            only.price_version = version.unwrap_or_default();
        }
        (None, _) => {}
    }
}

fn unsigned<T: TryFrom<i64, Error: std::fmt::Display>>(cells: &mut Cells<'_>) -> Result<T> {
    let value: i64 = cells.take()?;
    T::try_from(value).map_err(|error| cells.corrupt(error))
}

fn json<T: serde::de::DeserializeOwned>(cells: &mut Cells<'_>) -> Result<T> {
    let text: String = cells.take()?;
    serde_json::from_str(&text).map_err(|error| cells.corrupt(error))
}

fn some(cells: &mut Cells<'_>) -> Result<Option<String>> {
    let text: String = cells.take()?;
    Ok((!text.is_empty()).then_some(text))
}

fn decision(cells: &mut Cells<'_>) -> Result<Decision> {
    let (kind, stage, code) = (cells.take::<String>()?, cells.take()?, cells.take()?);
    match kind.as_str() {
        "allowed" => Ok(Decision::Allowed),
        "denied" => Ok(Decision::Denied { stage, code }),
        "failed" => Ok(Decision::Failed { stage, code }),
        _ => Err(cells.corrupt("the decision is none that is known")),
    }
}

fn usage(cells: &mut Cells<'_>) -> Result<TokenUsage> {
    let mut usage = TokenUsage {
        input_tokens: unsigned(cells)?,
        output_tokens: unsigned(cells)?,
        cache_read_tokens: unsigned(cells)?,
        cache_write_tokens: unsigned(cells)?,
        ..TokenUsage::default()
    };
    let Some(others) = some(cells)? else { return Ok(usage) };
    let others: Vec<u64> = serde_json::from_str(&others).map_err(|error| cells.corrupt(error))?;
    let mut others = others.into_iter();
    let mut next = || others.next().unwrap_or(0);
    let [long, reasoning, audio_in, audio_out, searches] = [next(), next(), next(), next(), next()];
    usage.cache_write_tokens = usage.cache_write_tokens.saturating_sub(long);
    usage.cache_write_long_tokens = long;
    usage.reasoning_tokens = reasoning;
    usage.audio_input_tokens = audio_in;
    usage.audio_output_tokens = audio_out;
    usage.searches = searches;
    usage.image_input_tokens = next();
    usage.image_output_tokens = next();
    usage.images = next();
    usage.characters = next();
    usage.audio_input_ms = next();
    usage.audio_output_ms = next();
    Ok(usage)
}

/// Reads a row, column by column in the order of [`COLUMNS`].
fn read_kept(row: &Row) -> Result<Kept> {
    let cells = &mut row.cells(BEFORE);
    let incarnation = Incarnation::from(cells.take::<String>()?);
    let seq = unsigned(cells)?;
    let request_id = cells.take()?;
    let config_revision = unsigned(cells)?;
    let actor = Actor {
        api_key_id: some(cells)?.map(ApiKeyId::from),
        user_id: some(cells)?.map(UserId::from),
        team_id: some(cells)?.map(TeamId::from),
    };
    let decision = decision(cells)?;
    let dialect = cells.take()?;
    let (requested, served, backend) =
        (cells.take::<Option<String>>()?, cells.take::<Option<String>>()?, cells.take::<Option<String>>()?);
    let (model, provider) = (cells.take::<String>()?, cells.take::<String>()?);
    let strategy = cells.take()?;
    let is_streaming = cells.take::<i64>()? != 0;
    let http_status = unsigned(cells)?;
    let usage = usage(cells)?;
    let cost = NanoUsd::new(cells.take()?);
    let basis = cells.take::<String>()?;
    let basis = CostBasis::parse(&basis).ok_or_else(|| cells.corrupt("the basis is none that is known"))?;
    let started_at = UnixMicros::new(cells.take()?);
    let (first_byte_us, total_us) = (unsigned(cells)?, unsigned(cells)?);
    let charges = json::<Vec<ChargeRow>>(cells)?;
    let charged = charges.iter().map(account_of).collect();
    let unreserved = charges.iter().filter(|(_, _, cover)| *cover == Cover::Unreserved as u8);
    let unreserved = unreserved.map(|(budget_id, _, _)| BudgetId::from(budget_id.as_str())).collect();
    let mut attempts = parse_attempts(&cells.take::<String>()?).map_err(|error| cells.corrupt(error))?;
    let stage = |(name, verdict, reason, duration_us): StageRow| Stage { name, verdict, reason, duration_us };
    let mut stages: Vec<Stage> = json::<Vec<StageRow>>(cells)?.into_iter().map(stage).collect();
    let cost_center = cells.take::<Option<String>>()?.unwrap_or_default();
    let price_version: Option<String> = cells.take()?;
    let list: Option<String> = cells.take()?;
    let list = list.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| cells.corrupt(error))?;
    if let Some(trace) = cells.take::<Option<String>>()? {
        stages = trace_text::read(&trace).map_err(|error| cells.corrupt(error))?;
    }
    give_units(&mut attempts, list, usage, price_version);
    let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let key = RollupKey {
        team_id: text(actor.team_id.as_ref().map(TeamId::as_str)),
        user_id: text(actor.user_id.as_ref().map(UserId::as_str)),
        api_key_id: text(actor.api_key_id.as_ref().map(ApiKeyId::as_str)),
        model: model.clone(),
        provider: provider.clone(),
        cost_center,
    };
    // nobody's record is kept, too: the proof of the ledger names it
    let node_id = NodeId::from(cells.take::<Option<String>>()?.unwrap_or_default());
    let record = Record {
        incarnation,
        seq,
        node_id,
        request_id,
        config_revision,
        actor,
        decision,
        dialect,
        requested_model: requested.unwrap_or_else(|| model.clone()),
        served_model: served.unwrap_or(model),
        backend_id: backend.unwrap_or(provider),
        strategy,
        is_streaming,
        http_status,
        attempts,
        usage,
        cost,
        basis,
        charged,
        unreserved,
        started_at,
        first_byte_us,
        total_us,
        stages,
    };
    Ok(Kept { record, key, charges })
}
