//! What the catalogue knows that a model cannot do, said before it costs anything.
//!
//! Rule: only facts refuse. What the catalogue does not know is the provider's to say; a length that can only be estimated
//! refuses when it is beyond doubt.

use super::refusal::Refusal;
use crate::config::current::Place;
use helix_llm::{Dialect, RequestFacts};
use helix_shared::catalog::{Capability, Mode};
use helix_shared::error_code::ErrorCode;

/// A text of more bytes a token than these is made of blanks; common text has about four.
const MOST_BYTES_PER_TOKEN: u64 = 16;

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
