//! A stream whose first word is an error: some providers say 200 first and think again.
//!
//! Rule: while nothing was generated, such an error counts as the answer: it has a status, costs nothing, and another
//! backend may do better.

use super::attempts::Tried;
use super::exchange::{Broken, Exchange};
use super::failure::{Failure, lost, may_fail_over, provider_refusal};
use super::settle::Ending;
use super::wire::{Watch, Wire};
use bytes::Bytes;
use helix_llm::{Family, ProviderError, StreamEnd, TextSize};
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
        let watch = translation.watch(draft.request_id(), draft.started_at_us());
        exchange.filter = Some(watch);
    }
    exchange.begin(first).await?;
    let facts = exchange.filter.as_ref().map(Watch::facts).unwrap_or_default();
    let is_refused = facts.end == StreamEnd::Error && facts.answer.text == TextSize::default();
    Ok(facts.answer.error.filter(|_| is_refused))
}

/// Fails with the error that a stream began with, as if it had been the answer.
pub(super) fn refused_in_stream(
    exchange: &mut Exchange,
    wire: &Wire<'_>,
    mut parts: Parts,
    error: &ProviderError,
    is_last: bool,
) -> Tried {
    let (Some((mut draft, mut open)), Some(translation)) = (exchange.take(), &wire.translation) else {
        return lost(Family::OpenAi);
    };
    let status = error.code.as_deref().and_then(|code| code.parse().ok());
    parts.status = status.unwrap_or(StatusCode::BAD_GATEWAY);
    let status = parts.status.as_u16();
    open.status = status;
    open.close(&mut draft, &Ending::Unbilled("provider_error"));
    draft.stage("model", "error", format_args!("status {status}, said in the stream"));
    let said = serde_json::json!({ "type": "error", "error": { "type": error.kind, "message": error.message } });
    let body = translation.error(&mut parts, said.to_string().as_bytes(), draft.request_id());
    let (refusal, verbatim) = provider_refusal(status, parts, body);
    let is_final = is_last || !may_fail_over(status);
    Tried::Failed(draft, Box::new(Failure { refusal, verbatim, is_final, key_over_us: None }))
}
