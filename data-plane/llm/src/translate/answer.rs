//! The translation of a whole answer.
//!
//! Rule: the usage that the client sees is the usage that is billed: one scan reads both. Where the provider counts nothing, the
//! client sees an estimate: clients keep their own context in bounds by it.

use bytes::Bytes;
use helix_shared::usage::TokenUsage;

use super::{AnswerPlan, ChatDialect, TranslateError};
use crate::dialect::{
    Dialect, Family, anthropic, bedrock, gemini, ollama, openai_chat, openai_completions, openai_responses,
};
use crate::estimate::estimate_tokens;
use crate::response::scan_response;
use crate::usage::{Quirks, TextSize};

/// What an answer is rendered with, beside what its request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerContext {
    /// The id of the request, for errors. A client may give it, and give it twice.
    pub request_id: String,
    /// What no other answer has: the ids in the answer are made from it, so that those of a conversation's calls differ.
    pub unique: String,
    /// Now, in seconds since 1970.
    pub created_unix_s: u64,
    /// The model as the client asked for it.
    pub model: String,
    /// What the input was estimated at, in tokens: said at the start of an Anthropic stream, corrected at its end.
    pub estimated_input_tokens: u64,
    /// How the provider's counters differ.
    pub quirks: Quirks,
}

impl AnswerContext {
    /// Estimates the usage of an answer that nobody counted.
    pub(crate) fn estimate(&self, provider: Family, text: TextSize) -> TokenUsage {
        TokenUsage {
            input_tokens: self.estimated_input_tokens,
            output_tokens: estimate_tokens(provider, text),
            ..TokenUsage::default()
        }
    }

    /// Makes the id of the answer.
    pub(crate) fn answer_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.unique).replacen("cmpl_", "cmpl-", 1)
    }

    /// Makes the id of a part of the answer, or of a call that came without one.
    pub(crate) fn call_id(&self, prefix: &str, number: usize) -> String {
        format!("{prefix}_{}_{number}", self.unique)
    }

    /// Adds the estimate of an input that the provider does not count.
    pub(crate) fn completed(&self, provider: Dialect, usage: TokenUsage) -> TokenUsage {
        if provider != Dialect::Ollama || usage.total_input_tokens() > 0 {
            return usage;
        }
        TokenUsage { input_tokens: self.estimated_input_tokens, ..usage }
    }
}

/// Translates a whole answer of a provider into the client's dialect.
///
/// # Errors
/// `upstream_disconnected` when the answer is not what the provider's dialect says.
pub fn translate_answer(
    provider: ChatDialect,
    client: ChatDialect,
    body: &[u8],
    plan: &AnswerPlan,
    context: &AnswerContext,
) -> Result<Bytes, TranslateError> {
    let answer = match provider {
        ChatDialect::OpenAiChat => openai_chat::parse_answer(body, plan, context)?,
        ChatDialect::AnthropicMessages => anthropic::parse_answer(body)?,
        ChatDialect::Bedrock => bedrock::parse_answer(body)?,
        ChatDialect::Gemini => gemini::parse_answer(body, plan, context)?,
        ChatDialect::Ollama => ollama::parse_answer(body, context)?,
        ChatDialect::OpenAiResponses | ChatDialect::OpenAiCompletions => {
            return Err(TranslateError::UnsupportedTarget { dialect: provider.as_str() });
        }
    };
    let dialect = provider.backend().unwrap_or(Dialect::OpenAiChat);
    let facts = scan_response(dialect, body, context.quirks);
    let counted = facts.usage.map(|usage| context.completed(dialect, usage));
    let usage = counted.unwrap_or_else(|| context.estimate(provider.family(), facts.text));
    let rendered = match client {
        ChatDialect::OpenAiChat => openai_chat::render_answer(&answer, usage, plan, context),
        ChatDialect::AnthropicMessages => anthropic::render_answer(&answer, usage, plan, context),
        ChatDialect::OpenAiResponses => openai_responses::render_answer(&answer, usage, plan, context),
        ChatDialect::OpenAiCompletions => openai_completions::render_answer(&answer, usage, context),
        ChatDialect::Bedrock | ChatDialect::Gemini | ChatDialect::Ollama => {
            return Err(TranslateError::UnsupportedSource { dialect: client.as_str() });
        }
    };
    Ok(Bytes::from(rendered.to_bytes()))
}
