//! What of a record nobody filters or sums, packed: as protobuf, whose numbers are short and whose unknown fields are skipped.
//!
//! Rule: a field's number is never given anew. What the row or its combination says already is not said again, except what
//! an attempt cost: the proof of the ledger compares that with the row. What is written is read back as it was.

use crate::record_words::{Speaking, Words};
use crate::rollup_keys::RollupKey;
use crate::usage_row::{Checked, clip};
use helix_shared::ids::BackendId;
use helix_shared::money::NanoUsd;
use helix_shared::record::{Attempt, Decision, Stage};
use helix_shared::usage::TokenUsage;
use prost::Message;

/// The packed part of a row.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Body {
    #[prost(uint64, tag = "1")]
    pub(crate) config_revision: u64,
    #[prost(uint32, tag = "2")]
    dialect: u32,
    #[prost(uint32, tag = "3")]
    strategy: u32,
    #[prost(uint32, tag = "4")]
    decision_stage: u32,
    #[prost(uint32, tag = "5")]
    decision_code: u32,
    /// None: the model of the combination.
    #[prost(string, optional, tag = "6")]
    requested_model: Option<String>,
    /// None: the model of the combination.
    #[prost(string, optional, tag = "7")]
    served_model: Option<String>,
    /// None: the provider of the combination.
    #[prost(string, optional, tag = "8")]
    backend_id: Option<String>,
    #[prost(bool, tag = "9")]
    pub(crate) is_streaming: bool,
    #[prost(uint32, tag = "10")]
    pub(crate) http_status: u32,
    /// As [`units`] lists them, without the zeros at the end; empty: the row says all.
    #[prost(uint64, repeated, tag = "11")]
    units: Vec<u64>,
    #[prost(uint64, tag = "12")]
    pub(crate) first_byte_us: u64,
    #[prost(uint64, tag = "13")]
    pub(crate) total_us: u64,
    /// Of the last attempt.
    #[prost(string, tag = "14")]
    price_version: String,
    #[prost(message, repeated, tag = "15")]
    tries: Vec<Try>,
    /// For each stage: name, verdict and whether it gives a reason in one number, and µs.
    #[prost(uint64, repeated, tag = "16")]
    trace: Vec<u64>,
    /// The words that have no number, in the order in which they are met.
    #[prost(string, repeated, tag = "17")]
    texts: Vec<String>,
}

/// One attempt.
#[derive(Clone, PartialEq, Message)]
struct Try {
    #[prost(uint64, tag = "1")]
    intent: u64,
    /// None: the provider of the combination.
    #[prost(string, optional, tag = "2")]
    backend_id: Option<String>,
    /// None: the model of the combination.
    #[prost(string, optional, tag = "3")]
    upstream_model: Option<String>,
    #[prost(uint32, tag = "4")]
    status: u32,
    #[prost(string, tag = "5")]
    error: String,
    #[prost(uint32, tag = "6")]
    duration_us: u32,
    #[prost(int64, tag = "7")]
    cost_nano: i64,
    #[prost(uint32, tag = "8")]
    basis: u32,
    #[prost(string, tag = "9")]
    provider_request_id: String,
    /// None: the record's.
    #[prost(string, optional, tag = "10")]
    price_version: Option<String>,
    /// None: what the record used.
    #[prost(message, optional, tag = "11")]
    used: Option<Used>,
}

/// Units as [`units`] lists them, without the zeros at the end.
#[derive(Clone, PartialEq, Message)]
struct Used {
    #[prost(uint64, repeated, tag = "1")]
    units: Vec<u64>,
}

/// What an attempt says to the proof of the ledger: its intent and what it cost.
pub(crate) type Paid = (u64, i64);

/// Units in the order in which they are kept.
pub(crate) fn units(usage: &TokenUsage) -> [u64; 15] {
    [
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_long_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.searches,
        usage.image_input_tokens,
        usage.image_output_tokens,
        usage.images,
        usage.characters,
        usage.audio_input_ms,
        usage.audio_output_ms,
    ]
}

/// The same, back.
pub(crate) fn usage_of(units: &[u64]) -> TokenUsage {
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

fn listed(usage: &TokenUsage) -> Vec<u64> {
    let all = units(usage);
    let length = all.iter().rposition(|units| *units > 0).map_or(0, |last| last + 1);
    all.into_iter().take(length).collect()
}

/// What a row says of units by itself.
fn in_columns(usage: &TokenUsage) -> TokenUsage {
    let TokenUsage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, .. } = *usage;
    TokenUsage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, ..TokenUsage::default() }
}

/// `None` when it is what is said already.
fn unless_same(text: String, same: &str) -> Option<String> {
    (text != same).then_some(text)
}

/// Packs a record.
pub(crate) fn pack(checked: &Checked<'_>) -> Vec<u8> {
    let record = checked.record;
    let mut speaking = Speaking::default();
    let (stage, code) = match &record.decision {
        Decision::Allowed => ("", ""),
        Decision::Denied { stage, code } | Decision::Failed { stage, code } => (stage.as_str(), code.as_str()),
    };
    // in the order in which `unpack` takes them
    let dialect = speaking.word(Words::Dialects, &clip(&record.dialect));
    let strategy = speaking.word(Words::Strategies, &clip(&record.strategy));
    let decision_stage = speaking.word(Words::Stages, &clip(stage));
    let decision_code = speaking.word(Words::Codes, &clip(code));
    let price_version = record.attempts.last().map(|attempt| clip(&attempt.price_version)).unwrap_or_default();
    let mut pack_try = |attempt: &Attempt| Try {
        intent: attempt.intent,
        backend_id: unless_same(attempt.backend_id.as_str().to_owned(), &checked.provider),
        upstream_model: unless_same(attempt.upstream_model.clone(), &checked.model),
        status: u32::from(attempt.status),
        error: attempt.error.clone(),
        duration_us: attempt.duration_us,
        cost_nano: attempt.cost.get(),
        basis: speaking.word(Words::Bases, &attempt.basis),
        provider_request_id: attempt.provider_request_id.clone(),
        price_version: unless_same(clip(&attempt.price_version), &price_version),
        used: (attempt.usage != record.usage).then(|| Used { units: listed(&attempt.usage) }),
    };
    let tries = record.attempts.iter().map(&mut pack_try).collect();
    let mut trace = Vec::with_capacity(record.stages.len().saturating_mul(2));
    for stage in &record.stages {
        trace.push(speaking.stage(stage));
        trace.push(stage.duration_us);
    }
    let usage = &record.usage;
    let body = Body {
        config_revision: record.config_revision,
        dialect,
        strategy,
        decision_stage,
        decision_code,
        requested_model: unless_same(clip(&record.requested_model), &checked.model),
        served_model: unless_same(clip(&record.served_model), &checked.model),
        backend_id: unless_same(record.backend_id.clone(), &checked.provider),
        is_streaming: record.is_streaming,
        http_status: u32::from(record.http_status),
        units: if in_columns(usage) == *usage { Vec::new() } else { listed(usage) },
        first_byte_us: record.first_byte_us,
        total_us: record.total_us,
        price_version,
        tries,
        trace,
        texts: speaking.texts,
    };
    body.encode_to_vec()
}

/// What the packed part says, with what the row says beside it.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) body: Body,
    pub(crate) dialect: String,
    pub(crate) strategy: String,
    pub(crate) decision_stage: String,
    pub(crate) decision_code: String,
    pub(crate) requested_model: String,
    pub(crate) served_model: String,
    pub(crate) backend_id: String,
    pub(crate) usage: TokenUsage,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) stages: Vec<Stage>,
}

/// Unpacks. `columns` is what the row says of units.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn unpack(bytes: &[u8], key: &RollupKey, columns: TokenUsage) -> Result<Unpacked, String> {
    let mut body = Body::decode(bytes).map_err(|error| error.to_string())?;
    let mut texts = std::mem::take(&mut body.texts).into_iter();
    let mut word = |list: Words, number: u32| list.read(number, &mut texts);
    let (dialect, strategy) = (word(Words::Dialects, body.dialect)?, word(Words::Strategies, body.strategy)?);
    let decision_stage = word(Words::Stages, body.decision_stage)?;
    let decision_code = word(Words::Codes, body.decision_code)?;
    let usage = if body.units.is_empty() { columns } else { usage_of(&body.units) };
    let mut attempts = Vec::with_capacity(body.tries.len());
    for one in std::mem::take(&mut body.tries) {
        attempts.push(Attempt {
            intent: one.intent,
            backend_id: BackendId::from(one.backend_id.unwrap_or_else(|| key.provider.clone())),
            upstream_model: one.upstream_model.unwrap_or_else(|| key.model.clone()),
            status: u16::try_from(one.status).map_err(|error| error.to_string())?,
            error: one.error,
            duration_us: one.duration_us,
            usage: one.used.map_or(usage, |used| usage_of(&used.units)),
            cost: NanoUsd::new(one.cost_nano),
            basis: word(Words::Bases, one.basis)?,
            price_version: one.price_version.unwrap_or_else(|| body.price_version.clone()),
            provider_request_id: one.provider_request_id,
        });
    }
    let mut stages = Vec::with_capacity(body.trace.len() / 2);
    for pair in body.trace.chunks(2) {
        let (Some(words), Some(duration_us)) = (pair.first(), pair.get(1)) else {
            return Err("a stage of its trace has no time".to_owned());
        };
        stages.push(crate::record_words::stage(*words, *duration_us, &mut texts)?);
    }
    let or_key = |text: Option<String>, same: &str| text.unwrap_or_else(|| same.to_owned());
    Ok(Unpacked {
        dialect,
        strategy,
        decision_stage,
        decision_code,
        requested_model: or_key(body.requested_model.take(), &key.model),
        served_model: or_key(body.served_model.take(), &key.model),
        backend_id: or_key(body.backend_id.take(), &key.provider),
        usage,
        attempts,
        stages,
        body,
    })
}

/// What each attempt says to the proof of the ledger.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn paid(bytes: &[u8]) -> Result<Vec<Paid>, String> {
    let body = Body::decode(bytes).map_err(|error| error.to_string())?;
    Ok(body.tries.iter().map(|one| (one.intent, one.cost_nano)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_they_are_listed() {
        let usage = TokenUsage { input_tokens: 3, searches: 2, ..TokenUsage::default() };
        assert_eq!(listed(&usage).len(), 9);
        assert_eq!(usage_of(&listed(&usage)), usage);
        assert!(listed(&TokenUsage::default()).is_empty());
    }
}
