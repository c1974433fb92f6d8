//! One record read back from its row.
//!
//! Rule: what `usage_row` wrote, whole; a row that cannot be read is an error that names the column.

use crate::error::Result;
use crate::incarnations::INCARNATIONS;
use crate::interned::{Interned as _, Source};
use crate::record_body::{Unpacked, unpack};
use crate::record_words::basis_of;
use crate::request_key::request_text;
use crate::rollup_keys::{KEYS, PARTS, RollupKey};
use crate::row::{Cells, Row};
use crate::usage_row::{ALLOWED, COLUMNS, ChargeRow, Charges, Cover, DENIED, FAILED, NO_CHARGES, RECORDS};
use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Decision, Record};
use helix_shared::time::UnixMicros;
use helix_shared::usage::TokenUsage;
use sea_query::{Expr, ExprTrait as _, Query, SelectStatement};

/// The select list of records: the columns, then what their numbers stand for.
pub(crate) fn select_records() -> SelectStatement {
    let mut query = Query::select();
    query
        .columns(COLUMNS.map(|column| (RECORDS, column)))
        .columns([(INCARNATIONS, "id"), (INCARNATIONS, "node_id")])
        .column((Charges::TABLE, "charges"))
        .columns(PARTS.map(|part| (KEYS, part)))
        .from(RECORDS);
    join_incarnation(&mut query);
    query
        .inner_join(KEYS, Expr::col((KEYS, "id")).equals((RECORDS, "key_id")))
        .left_join(Charges::TABLE, Expr::col((Charges::TABLE, "id")).equals((RECORDS, "charged_id")))
        .to_owned()
}

/// Joins each record's incarnation.
pub(crate) fn join_incarnation(query: &mut SelectStatement) {
    query
        .inner_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((RECORDS, "incarnation_no")))
        .inner_join(INCARNATIONS, Expr::col((INCARNATIONS, "id")).equals((Source::TABLE, "incarnation")));
}

/// The account that a charge names.
pub(crate) fn account_of((budget_id, period_start, _): &ChargeRow) -> AccountKey {
    AccountKey { budget_id: BudgetId::from(budget_id.as_str()), period_start: UnixMicros::new(*period_start) }
}

/// The accounts that charges name, from their text.
pub(crate) fn accounts_of(charged: &str) -> Result<Vec<AccountKey>, serde_json::Error> {
    Ok(Charges::rows(charged)?.iter().map(account_of).collect())
}

/// The charges of a row: none, or what its number stands for.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn charges_of(number: i64, text: Option<&str>) -> std::result::Result<Vec<ChargeRow>, String> {
    match (number, text) {
        (NO_CHARGES, _) => Ok(Vec::new()),
        (_, None) => Err(format!("the list {number} is not known")),
        (_, Some(text)) => Charges::rows(text).map_err(|error| error.to_string()),
    }
}

fn unsigned<T: TryFrom<i64, Error: std::fmt::Display>>(cells: &mut Cells<'_>) -> Result<T> {
    let value: i64 = cells.take()?;
    T::try_from(value).map_err(|error| cells.corrupt(error))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Reads a record back, column by column in the order of [`select_records`].
pub(crate) fn read_record(row: &Row) -> Result<Record> {
    let cells = &mut row.cells(RECORDS);
    cells.take::<i64>()?;
    let seq = unsigned(cells)?;
    let request_id = request_text(&cells.take::<Vec<u8>>()?)?;
    cells.take::<i64>()?;
    let started_at = UnixMicros::new(cells.take()?);
    let decision: i64 = cells.take()?;
    let basis = cells.take()?;
    let basis = basis_of(basis).ok_or_else(|| cells.corrupt("the basis is none that is known"))?;
    let columns = TokenUsage {
        input_tokens: unsigned(cells)?,
        output_tokens: unsigned(cells)?,
        cache_read_tokens: unsigned(cells)?,
        cache_write_tokens: unsigned(cells)?,
        ..TokenUsage::default()
    };
    let cost = NanoUsd::new(cells.take()?);
    let charged_id = cells.take()?;
    let body: Vec<u8> = cells.take()?;
    let (incarnation, node_id): (String, String) = (cells.take()?, cells.take()?);
    let charges = charges_of(charged_id, cells.take::<Option<String>>()?.as_deref());
    let charges = charges.map_err(|error| cells.corrupt(error))?;
    let key = RollupKey::take(cells)?;
    let unpacked = unpack(&body, &key, columns).map_err(|error| cells.corrupt(error))?;
    let Unpacked { body, decision_stage: stage, decision_code: code, .. } = unpacked;
    let unreserved = charges.iter().filter(|(_, _, cover)| *cover == Cover::Unreserved as u8);
    Ok(Record {
        incarnation: Incarnation::from(incarnation),
        seq,
        node_id: NodeId::from(node_id),
        request_id,
        config_revision: body.config_revision,
        actor: Actor {
            api_key_id: some(key.api_key_id).map(ApiKeyId::from),
            user_id: some(key.user_id).map(UserId::from),
            team_id: some(key.team_id).map(TeamId::from),
        },
        decision: match decision {
            ALLOWED => Decision::Allowed,
            DENIED => Decision::Denied { stage, code },
            FAILED => Decision::Failed { stage, code },
            _ => return Err(cells.corrupt("the decision is none that is known")),
        },
        dialect: unpacked.dialect,
        requested_model: unpacked.requested_model,
        served_model: unpacked.served_model,
        backend_id: unpacked.backend_id,
        strategy: unpacked.strategy,
        is_streaming: body.is_streaming,
        http_status: u16::try_from(body.http_status).map_err(|error| cells.corrupt(error))?,
        attempts: unpacked.attempts,
        usage: unpacked.usage,
        cost,
        basis,
        charged: charges.iter().map(account_of).collect(),
        unreserved: unreserved.map(|(budget_id, _, _)| BudgetId::from(budget_id.as_str())).collect(),
        started_at,
        first_byte_us: body.first_byte_us,
        total_us: body.total_us,
        stages: unpacked.stages,
    })
}
