//! A stream whose first word is an error: some providers say 200 first and think again.
//!
//! Rule: while nothing was generated and nothing counted, such an error counts as the answer: it has a status, costs
//! nothing, and another backend may do better.

use super::attempts::Tried;
use super::broken::Broken;
use super::exchange::Exchange;
use super::failure::{Failure, lost, may_fail_over, provider_refusal};
use super::settle::{Ending, OpenAttempt};
use super::wire::{Watch, Wire};
use crate::records::draft::Draft;
use bytes::Bytes;
use helix_llm::{Family, ProviderError, StreamEnd, TextSize, stream_error_status};
use http::StatusCode;
use http::response::Parts;
use std::collections::VecDeque;

/// Reads the first of a stream whose provider may say an error instead; returns it if nothing was generated before.
pub(super) async fn first_error(
    exchange: &mut Exchange,
    wire: &Wire<'_>,
    first: &mut VecDeque<Bytes>,
) -> Result<Option<ProviderError>, Broken> {
    if let (Some(translation), Some(draft)) = (&wire.translation, exchange.draft()) {
        let mut watch = translation.watch(draft.request_id(), draft.started_at_us());
        if exchange.can_be_counted() {
            watch.keep_text();
        }
        exchange.filter = Some(watch);
    }
    exchange.begin(first).await?;
    let facts = exchange.filter.as_ref().map(Watch::facts).unwrap_or_default();
    let is_idle = facts.answer.text == TextSize::default() && facts.answer.usage.is_none();
    let is_refused = facts.end == StreamEnd::Error && is_idle;
    Ok(facts.answer.error.filter(|_| is_refused))
}

/// Fails with an error that a provider said under a status of success, as if it had been the answer: the first word of a
/// stream, or (some do) a whole body.
pub(super) fn refused(
    taken: Option<(Box<Draft>, Box<OpenAttempt>)>,
    wire: &Wire<'_>,
    mut parts: Parts,
    error: &ProviderError,
    is_last: bool,
) -> Tried {
    let (Some((mut draft, mut open)), Some(translation)) = (taken, &wire.translation) else {
        return lost(Family::OpenAi);
    };
    parts.status = StatusCode::from_u16(stream_error_status(error)).unwrap_or(StatusCode::BAD_GATEWAY);
    let status = parts.status.as_u16();
    open.status = status;
    open.close(&mut draft, &Ending::Unbilled("provider_error"));
    draft.stage("model", "error", format_args!("status {status}, said under a status of success"));
    let said = serde_json::json!({ "type": "error", "error": { "type": error.kind, "message": error.message } });
    let body = translation.error(&mut parts, said.to_string().as_bytes(), draft.request_id());
    let (refusal, verbatim) = provider_refusal(status, parts, body);
    let is_final = is_last || !may_fail_over(status);
    Tried::Failed(draft, Box::new(Failure { refusal, verbatim, is_final, key_over_us: None }))
}
