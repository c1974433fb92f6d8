//! Records, tokens and account keys.

use crate::v1;
use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BackendId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Attempt, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};

/// Why a record cannot be taken; it is parked, never dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A part that every record has is missing.
    #[error("record {seq} has no {part}")]
    Missing {
        /// Number of the record.
        seq: u64,
        /// What is missing.
        part: &'static str,
    },
    /// A number is outside its range.
    #[error("record {seq}: {part} is out of range")]
    OutOfRange {
        /// Number of the record.
        seq: u64,
        /// Which number.
        part: &'static str,
    },
}

/// Encodes token counts.
pub fn tokens_to_wire(usage: &TokenUsage) -> v1::Tokens {
    v1::Tokens {
        input: usage.input_tokens,
        cache_read: usage.cache_read_tokens,
        cache_write: usage.cache_write_tokens,
        cache_write_long: usage.cache_write_long_tokens,
        output: usage.output_tokens,
        reasoning: usage.reasoning_tokens,
        audio_input: usage.audio_input_tokens,
        audio_output: usage.audio_output_tokens,
        searches: usage.searches,
        image_input: usage.image_input_tokens,
        image_output: usage.image_output_tokens,
        images: usage.images,
        characters: usage.characters,
        audio_input_ms: usage.audio_input_ms,
        audio_output_ms: usage.audio_output_ms,
    }
}

/// Decodes token counts.
pub fn tokens_from_wire(tokens: &v1::Tokens) -> TokenUsage {
    TokenUsage {
        input_tokens: tokens.input,
        cache_read_tokens: tokens.cache_read,
        cache_write_tokens: tokens.cache_write,
        cache_write_long_tokens: tokens.cache_write_long,
        output_tokens: tokens.output,
        reasoning_tokens: tokens.reasoning,
        audio_input_tokens: tokens.audio_input,
        audio_output_tokens: tokens.audio_output,
        searches: tokens.searches,
        image_input_tokens: tokens.image_input,
        image_output_tokens: tokens.image_output,
        images: tokens.images,
        characters: tokens.characters,
        audio_input_ms: tokens.audio_input_ms,
        audio_output_ms: tokens.audio_output_ms,
    }
}

/// Encodes how sure a cost is.
pub fn basis_to_wire(basis: CostBasis) -> v1::CostBasis {
    match basis {
        CostBasis::Exact => v1::CostBasis::Exact,
        CostBasis::ProviderReported => v1::CostBasis::ProviderReported,
        CostBasis::Estimated => v1::CostBasis::Estimated,
        CostBasis::Unknown => v1::CostBasis::Unknown,
    }
}

/// Decodes how sure a cost is; what is not said is unknown.
pub fn basis_from_wire(basis: i32) -> CostBasis {
    match v1::CostBasis::try_from(basis).unwrap_or_default() {
        v1::CostBasis::Exact => CostBasis::Exact,
        v1::CostBasis::ProviderReported => CostBasis::ProviderReported,
        v1::CostBasis::Estimated => CostBasis::Estimated,
        v1::CostBasis::Unknown | v1::CostBasis::Unspecified => CostBasis::Unknown,
    }
}

/// Encodes an account key.
pub fn account_to_wire(account: &AccountKey) -> v1::AccountKey {
    v1::AccountKey { budget_id: account.budget_id.as_str().to_owned(), period_start_us: account.period_start.get() }
}

/// Decodes an account key.
pub fn account_from_wire(account: &v1::AccountKey) -> AccountKey {
    AccountKey {
        budget_id: BudgetId::from(account.budget_id.as_str()),
        period_start: UnixMicros::new(account.period_start_us),
    }
}

/// Decodes a record of an incarnation.
///
/// # Errors
/// [`RecordError`] when a part is missing or out of range.
pub fn record_from_wire(
    node: &NodeId,
    incarnation: &Incarnation,
    wire: v1::UsageRecord,
) -> Result<Record, RecordError> {
    let seq = wire.seq;
    let missing = |part| RecordError::Missing { seq, part };
    let out_of_range = |part| RecordError::OutOfRange { seq, part };
    let actor = wire.actor.unwrap_or_default();
    let timing = wire.timing.ok_or_else(|| missing("timing"))?;
    let decision = wire.decision.ok_or_else(|| missing("decision"))?;
    if wire.cost_nano_usd < 0 || wire.attempts.iter().any(|attempt| attempt.cost_nano_usd < 0) {
        return Err(out_of_range("cost"));
    }
    if seq == 0 {
        return Err(out_of_range("seq"));
    }
    Ok(Record {
        incarnation: incarnation.clone(),
        seq,
        node_id: node.clone(),
        request_id: wire.request_id,
        config_revision: wire.config_revision,
        actor: Actor {
            api_key_id: some(actor.api_key_id).map(ApiKeyId::from),
            user_id: some(actor.user_id).map(UserId::from),
            team_id: some(actor.team_id).map(TeamId::from),
        },
        decision: decision_from_wire(decision),
        dialect: wire.dialect,
        requested_model: wire.requested_model,
        served_model: wire.served_model,
        backend_id: wire.backend_id,
        strategy: wire.strategy,
        is_streaming: wire.streaming,
        http_status: u16::try_from(wire.http_status).map_err(|_| out_of_range("http_status"))?,
        attempts: wire.attempts.into_iter().map(attempt_from_wire).collect(),
        usage: wire.tokens.as_ref().map(tokens_from_wire).unwrap_or_default(),
        cost: NanoUsd::new(wire.cost_nano_usd),
        basis: basis_from_wire(wire.basis),
        charged: wire.charged.iter().map(account_from_wire).collect(),
        unreserved: wire.unreserved.into_iter().map(BudgetId::from).collect(),
        started_at: UnixMicros::new(timing.started_at_us),
        first_byte_us: timing.first_byte_us,
        total_us: timing.total_us,
        stages: wire.stages.into_iter().map(stage_from_wire).collect(),
    })
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn decision_from_wire(decision: v1::Decision) -> Decision {
    match v1::decision::Kind::try_from(decision.kind).unwrap_or_default() {
        v1::decision::Kind::Allowed => Decision::Allowed,
        v1::decision::Kind::Denied => Decision::Denied { stage: decision.stage, code: decision.code },
        v1::decision::Kind::Failed | v1::decision::Kind::Unspecified => {
            Decision::Failed { stage: decision.stage, code: decision.code }
        }
    }
}

fn attempt_from_wire(attempt: v1::Attempt) -> Attempt {
    Attempt {
        intent: attempt.intent,
        backend_id: BackendId::from(attempt.backend_id),
        upstream_model: attempt.upstream_model,
        status: u16::try_from(attempt.status).unwrap_or_default(),
        error: attempt.error,
        duration_us: attempt.duration_us,
        usage: attempt.tokens.as_ref().map(tokens_from_wire).unwrap_or_default(),
        cost: NanoUsd::new(attempt.cost_nano_usd),
        basis: basis_from_wire(attempt.basis).as_str().to_owned(),
        price_version: attempt.price_version,
        provider_request_id: attempt.provider_request_id,
    }
}

fn stage_from_wire(stage: v1::Stage) -> Stage {
    Stage { name: stage.name, verdict: stage.verdict, reason: stage.reason, duration_us: stage.duration_us }
}
