//! What the catalogue knows that a model cannot do, said before it costs anything.
//!
//! Rule: only facts refuse. What the catalogue does not know is the provider's to say; a length that can only be estimated
//! refuses when it is beyond doubt.

use super::attempts::Ask;
use super::refusal::Refusal;
use crate::config::current::Place;
use bytes::Bytes;
use helix_llm::{CapField, Dialect, LeaveOut, RequestFacts, ScanError, leave_out, scan_request};
use helix_shared::catalog::{Capability, Mode, Refusal as Refused};
use helix_shared::error_code::ErrorCode;
use helix_shared::routing::Params;
use std::borrow::Cow;

/// A text of more bytes a token than these is made of blanks; common text has about four.
const MOST_BYTES_PER_TOKEN: u64 = 16;

/// What of a request that passes in the client's own words its backend is known to refuse.
pub(super) fn refused(facts: &RequestFacts, place: &Place) -> LeaveOut {
    let takes_user = place.upstream.backend.kind.facts().takes_user || facts.dialect != Dialect::OpenAiChat;
    if facts.asks.is_none() && takes_user {
        return LeaveOut::default();
    }
    let refuses = |what| place.known.is_some_and(|known| known.refuses.has(what));
    LeaveOut {
        sampling: facts.asks.sampling && refuses(Refused::Sampling),
        forced_tools: facts.asks.forced_tool && refuses(Refused::ForcedTools),
        user: !takes_user,
    }
}

/// Leaves out what the model of a place refuses, or refuses the request where its route says so.
pub(super) fn without<'a>(
    ask: &'a Ask,
    place: &Place,
    refused: LeaveOut,
) -> Result<(Bytes, Cow<'a, RequestFacts>, Vec<String>), Refusal> {
    let unreadable = |error: ScanError| {
        tracing::error!(%error, "invariant broken: a request that was read once cannot be read again");
        Refusal::new("model", ErrorCode::Internal, "The request could not be put into the words of its backend.")
    };
    let (body, dropped) = leave_out(&ask.body, refused).map_err(unreadable)?;
    let Some(first) = dropped.first() else { return Ok((ask.body.clone(), Cow::Borrowed(&ask.facts), dropped)) };
    if ask.resolved.params == Params::Strict {
        let message = format!(
            "The model `{}` refuses {}, and its route takes requests whole or not at all (params: strict).",
            place.upstream_model,
            dropped.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        );
        return Err(Refusal::new("model", ErrorCode::UnsupportedByModel, message).with_param(Some(first)));
    }
    let facts = scan_request(ask.facts.dialect, &body).map_err(unreadable)?;
    Ok((body, Cow::Owned(facts), dropped))
}

/// The name under which the client's output cap must go, where the backend does not know the one that was used.
pub(super) fn cap_name(facts: &RequestFacts, place: &Place) -> Option<CapField> {
    if facts.dialect != Dialect::OpenAiChat {
        return None;
    }
    let refuses_older = place.known.is_some_and(|known| known.refuses.has(Refused::MaxTokens));
    match place.upstream.backend.cap_field() {
        CapField::MaxCompletionTokens => refuses_older.then_some(CapField::MaxCompletionTokens),
        CapField::MaxTokens => (!place.upstream.backend.kind.facts().takes_newer_cap).then_some(CapField::MaxTokens),
    }
}

/// Checks a request, as its backend gets it, against what is known of the model there.
///
/// # Errors
/// `unsupported_by_model`, `context_length_exceeded`.
pub(super) fn check(facts: &RequestFacts, place: &Place) -> Result<(), Refusal> {
    let model = &place.upstream_model;
    if let Some(known) = place.known.filter(|known| known.mode == Mode::Chat && !facts.dialect.is_media()) {
        let can = |capability| known.capabilities.has(capability);
        // A row that names neither tools nor pictures was not described in full: that it is silent is no fact.
        let is_described = can(Capability::Tools) || can(Capability::Vision);
        let lacks = [
            (facts.media.images > 0 && !can(Capability::Vision), "takes no images", "messages"),
            (facts.media.audio > 0 && !can(Capability::AudioInput), "takes no sound", "messages"),
            (facts.tools > 0 && !can(Capability::Tools), "calls no tools", "tools"),
        ];
        if let Some((_, what, param)) = lacks.into_iter().filter(|_| is_described).find(|(is_lacking, ..)| *is_lacking)
        {
            let message = format!("The model `{model}` {what}. Choose another model, or leave it out of the request.");
            return Err(Refusal::new("model", ErrorCode::UnsupportedByModel, message).with_param(Some(param)));
        }
    }
    if let (Some(cap), Some(most)) = (facts.output_cap, place.max_output_tokens)
        && cap > most
        && place.known.is_some()
    {
        let message = format!("The model `{model}` writes at most {most} tokens, and {cap} were asked for.");
        return Err(Refusal::new("model", ErrorCode::UnsupportedByModel, message).with_param(Some("max_tokens")));
    }
    // Of several texts to be embedded each may be as long as the model takes.
    let is_one_text = facts.dialect != Dialect::OpenAiEmbeddings || facts.messages <= 1;
    if let Some(most) = place.max_input_tokens.filter(|_| is_one_text) {
        let least = facts.text.bytes / MOST_BYTES_PER_TOKEN;
        if least > most {
            let message = format!(
                "The model `{model}` takes at most {most} tokens, and this request has {least} at the very least. Shorten it."
            );
            return Err(Refusal::new("model", ErrorCode::ContextLengthExceeded, message).with_param(Some("messages")));
        }
    }
    Ok(())
}
