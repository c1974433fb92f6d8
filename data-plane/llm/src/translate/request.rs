//! The translation of a request.
//!
//! Rule: read, pair calls with results, render. What was dropped is named by its path in the client's body.

use std::collections::HashSet;

use bytes::Bytes;

use super::fetched::Fetched;
use super::{ChatDialect, TranslateError};
use crate::chat::names::ToolNames;
use crate::chat::pairing;
use crate::chat::request::{Conversation, Role};
use crate::chat::signed_id;
use crate::chat::traits::ModelTraits;
use crate::dialect::{anthropic, bedrock, gemini, ollama, openai_chat, openai_completions, openai_responses};
use crate::json::Node;

/// What a request is translated for.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    /// The backend's name of the model.
    pub upstream_model: &'a str,
    /// The most output tokens that are affordable. A client's own lower cap stays.
    pub output_cap: Option<u64>,
    /// The most output tokens that the model can write.
    pub max_output_tokens: Option<u64>,
    /// What the model and its server take.
    pub traits: ModelTraits,
}

impl RequestContext<'_> {
    /// Returns the cap on output to send: the client's, no higher than what is affordable and possible; `None`: neither the
    /// client nor a budget asks for one.
    pub(crate) fn cap_of(&self, conversation: &Conversation) -> Option<u64> {
        let most = [conversation.output_cap, self.output_cap, self.max_output_tokens];
        let is_capped = conversation.output_cap.is_some() || self.output_cap.is_some();
        most.into_iter().flatten().min().filter(|_| is_capped).map(|cap| cap.max(1))
    }
}

/// A translated request.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// The body for the backend. Usage of a stream is asked for, whether or not the client did.
    pub body: Bytes,
    /// What the backend does not get, by its path in the client's body; each once. Empty: it gets everything.
    pub dropped: Vec<String>,
    /// What the answer must be rendered with.
    pub plan: AnswerPlan,
}

/// What a request says about the rendering of its answer. To be kept until then.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerPlan {
    pub(crate) names: ToolNames,
    /// The client's names of tools that take plain text.
    pub(crate) freeform: HashSet<String>,
    pub(crate) asks_usage: bool,
    /// The model, where it signs its calls.
    pub(crate) signer: String,
    /// What a Responses client gets back of its request.
    pub(crate) echo: openai_responses::Echo,
}

impl AnswerPlan {
    /// Whether a tool, by the client's name, takes plain text.
    pub(crate) fn is_freeform(&self, name: &str) -> bool {
        self.freeform.contains(name)
    }
}

/// Translates a request of a client's dialect into a backend's.
///
/// # Errors
/// `invalid_json` and `invalid_request` as for a request that is not translated, with the field at fault; also
/// `invalid_request` for what the backend cannot do; `unsupported_backend` when there is no such target.
pub fn translate_request(
    from: ChatDialect,
    to: ChatDialect,
    body: &[u8],
    context: &RequestContext<'_>,
) -> Result<Translated, TranslateError> {
    translate_fetched(from, to, body, context, &Fetched::default())
}

/// Reads a request of a client's dialect.
pub(super) fn parse(from: ChatDialect, body: &[u8]) -> Result<(Conversation, AnswerPlan), TranslateError> {
    let mut plan = AnswerPlan::default();
    let conversation = match from {
        ChatDialect::OpenAiChat => openai_chat::parse(body)?,
        ChatDialect::AnthropicMessages => anthropic::parse(body)?,
        ChatDialect::OpenAiResponses => openai_responses::parse(body, &mut plan.echo)?,
        ChatDialect::OpenAiCompletions => openai_completions::parse(body)?,
        ChatDialect::Bedrock | ChatDialect::Gemini | ChatDialect::Ollama => {
            return Err(TranslateError::UnsupportedSource { dialect: from.as_str() });
        }
    };
    Ok((conversation, plan))
}

/// Translates a request whose files were fetched, as far as its backend needs them.
///
/// # Errors
/// As [`translate_request`]; also for a file that was not fetched.
pub fn translate_fetched(
    from: ChatDialect,
    to: ChatDialect,
    body: &[u8],
    context: &RequestContext<'_>,
    fetched: &Fetched,
) -> Result<Translated, TranslateError> {
    let (mut conversation, mut plan) = parse(from, body)?;
    // These say a signature in its own place, to the model that made it.
    if !matches!(to, ChatDialect::Gemini | ChatDialect::OpenAiChat) {
        signed_id::strip(&mut conversation);
    }
    pairing::pair(&mut conversation);
    conversation.drop_media_of(Role::System);
    fetched.put_into(&mut conversation, to, &context.traits);
    if let Some(place) = conversation.first_url().filter(|_| !context.traits.takes_urls) {
        let reason =
            "it fetches nothing; send images and documents in base64, or let the route fetch them (`fetch_urls`)";
        return Err(TranslateError::unsupported(place.path(conversation.words.messages), reason));
    }
    plan.asks_usage = conversation.asks_usage;
    let freeform = conversation.tools.iter().filter(|tool| tool.is_freeform);
    plan.freeform = freeform.map(|tool| tool.name.clone()).collect();
    let rendered: Node = match to {
        ChatDialect::OpenAiChat => openai_chat::render(&mut conversation, context, &mut plan)?,
        ChatDialect::AnthropicMessages => anthropic::render(&mut conversation, context, &mut plan)?,
        ChatDialect::Bedrock => bedrock::render(&mut conversation, context, &mut plan)?,
        ChatDialect::Gemini => gemini::render(&mut conversation, context, &mut plan)?,
        ChatDialect::Ollama => ollama::render(&mut conversation, context, &mut plan)?,
        ChatDialect::OpenAiResponses | ChatDialect::OpenAiCompletions => {
            return Err(TranslateError::UnsupportedTarget { dialect: to.as_str() });
        }
    };
    Ok(Translated { body: Bytes::from(rendered.to_bytes()), dropped: conversation.unread, plan })
}
