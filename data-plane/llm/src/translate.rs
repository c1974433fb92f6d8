//! Translation between the dialects of conversations: requests, answers, streams and errors.
//!
//! Rule: everything goes through the neutral conversation ([`crate::chat`]). What the target cannot say is refused where
//! dropping it would change what the client gets, and named otherwise; the caller decides whether names are enough.
//! Pure: ids and times come in with a context. Not here: which backend is asked, and what it costs.

mod answer;
mod embeddings;
mod error;
mod failure;
mod fetched;
mod request;
mod stream;

pub use answer::{AnswerContext, translate_answer};
pub use embeddings::{EmbeddedCall, EmbeddingForm, EmbeddingPlan, TranslatedEmbeddings, translate_embeddings};
pub use error::TranslateError;
pub(crate) use failure::Failure;
pub use failure::{StatedError, TranslatedError, error_family, stated_error, stream_error_status, translate_error};
pub use fetched::{Fetched, Wanted, wanted_files};
pub use request::{AnswerPlan, RequestContext, Translated, translate_fetched, translate_request};
pub use stream::StreamTranslator;

use crate::dialect::{Dialect, Family};

/// The dialects of conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatDialect {
    /// `POST /v1/chat/completions`.
    OpenAiChat,
    /// `POST /v1/messages`.
    AnthropicMessages,
    /// `POST /v1/responses`; a client's dialect only.
    OpenAiResponses,
    /// `POST /v1/completions`; a client's dialect only.
    OpenAiCompletions,
    /// Amazon Bedrock's Converse; a backend's dialect only.
    Bedrock,
    /// `generateContent`; a backend's dialect only.
    Gemini,
    /// Ollama's `/api/chat`; a backend's dialect only.
    Ollama,
}

impl ChatDialect {
    /// Every dialect.
    pub const ALL: [Self; 7] = [
        Self::OpenAiChat,
        Self::AnthropicMessages,
        Self::OpenAiResponses,
        Self::OpenAiCompletions,
        Self::Bedrock,
        Self::Gemini,
        Self::Ollama,
    ];

    /// Returns the dialect of a conversation; `None` for one that is about something else.
    pub fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::OpenAiChat => Some(Self::OpenAiChat),
            Dialect::AnthropicMessages => Some(Self::AnthropicMessages),
            Dialect::OpenAiResponses => Some(Self::OpenAiResponses),
            Dialect::OpenAiCompletions => Some(Self::OpenAiCompletions),
            Dialect::BedrockConverse => Some(Self::Bedrock),
            Dialect::Gemini => Some(Self::Gemini),
            Dialect::Ollama => Some(Self::Ollama),
            Dialect::AnthropicCountTokens
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiStoredResponses
            | Dialect::OpenAiImages
            | Dialect::OpenAiImageEdits
            | Dialect::OpenAiSpeech
            | Dialect::OpenAiTranscriptions
            | Dialect::OpenAiTranslations
            | Dialect::OpenAiModerations => None,
        }
    }

    /// The stable name in records, traces and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::AnthropicMessages => "anthropic_messages",
            Self::OpenAiResponses => "openai_responses",
            Self::OpenAiCompletions => "openai_completions",
            Self::Bedrock => "bedrock_converse",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// Returns the family whose error shape and headers this dialect uses.
    pub fn family(self) -> Family {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses | Self::OpenAiCompletions => Family::OpenAi,
            Self::AnthropicMessages | Self::Bedrock => Family::Anthropic,
            Self::Gemini | Self::Ollama => Family::Gemini,
        }
    }

    /// Returns the dialect in which a backend is asked; `None` when no backend is asked in this one.
    pub fn backend(self) -> Option<Dialect> {
        match self {
            Self::OpenAiChat => Some(Dialect::OpenAiChat),
            Self::AnthropicMessages => Some(Dialect::AnthropicMessages),
            Self::Bedrock => Some(Dialect::BedrockConverse),
            Self::Gemini => Some(Dialect::Gemini),
            Self::Ollama => Some(Dialect::Ollama),
            Self::OpenAiResponses | Self::OpenAiCompletions => None,
        }
    }
}

#[cfg(test)]
mod tests;
