//! One record read back from its row.
//!
//! Rule: what `usage_row` wrote, whole; a row that cannot be read is an error that names the column.

use crate::error::Result;
use crate::incarnations::INCARNATIONS;
use crate::row::{Cells, Row};
use crate::trace_text;
use crate::usage_row::{AttemptRow, COLUMNS, ChargeRow, Cover, RECORDS, StageRow, UnitsRow};
use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BackendId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Attempt, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use sea_query::{Expr, ExprTrait as _, Query, SelectStatement};

/// The select list of records, with the node's id at the end.
pub(crate) fn select_records() -> SelectStatement {
    Query::select()
        .columns(COLUMNS.map(|column| (RECORDS, column)))
        .column((INCARNATIONS, "node_id"))
        .from(RECORDS)
        .inner_join(INCARNATIONS, Expr::col((INCARNATIONS, "id")).equals((RECORDS, "incarnation")))
        .to_owned()
}

/// Reads the attempts of a row, without what each of them used.
pub(crate) fn parse_attempts(text: &str) -> Result<Vec<Attempt>, serde_json::Error> {
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

/// The account that a charge names.
pub(crate) fn account_of((budget_id, period_start, _): &ChargeRow) -> AccountKey {
    AccountKey { budget_id: BudgetId::from(budget_id.as_str()), period_start: UnixMicros::new(*period_start) }
}

/// The accounts that charges name, from their text.
pub(crate) fn accounts_of(charged: &str) -> Result<Vec<AccountKey>, serde_json::Error> {
    Ok(serde_json::from_str::<Vec<ChargeRow>>(charged)?.iter().map(account_of).collect())
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

/// Units in the order in which `usage_row` lists them.
fn usage_of(units: &[u64]) -> TokenUsage {
    let mut units = units.iter().copied();
    let mut next = || units.next().unwrap_or(0);
    TokenUsage {
        input_tokens: next(),
        cache_read_tokens: next(),
        cache_write_tokens: next(),
        cache_write_long_tokens: next(),
        output_tokens: next(),
        reasoning_tokens: next(),
        audio_input_tokens: next(),
        audio_output_tokens: next(),
        searches: next(),
        image_input_tokens: next(),
        image_output_tokens: next(),
        images: next(),
        characters: next(),
        audio_input_ms: next(),
        audio_output_ms: next(),
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

/// Reads a record back, column by column in the order of [`COLUMNS`].
pub(crate) fn read_record(row: &Row) -> Result<Record> {
    let cells = &mut row.cells(RECORDS);
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
    // what reports are made of; a record does not say it
    drop(cells.take::<Option<String>>()?);
    let price_version: Option<String> = cells.take()?;
    let list: Option<String> = cells.take()?;
    let list = list.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| cells.corrupt(error))?;
    if let Some(trace) = cells.take::<Option<String>>()? {
        stages = trace_text::read(&trace).map_err(|error| cells.corrupt(error))?;
    }
    give_units(&mut attempts, list, usage, price_version);
    Ok(Record {
        incarnation,
        seq,
        node_id: NodeId::from(cells.take::<String>()?),
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
    })
}
