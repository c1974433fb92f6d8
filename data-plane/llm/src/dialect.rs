//! The wire formats that clients and providers speak, one folder or file for each.
//!
//! Rule: a dialect file knows its own format, and the neutral conversation that it is read into and rendered from; a
//! conversion from one dialect straight into another never hides in these files.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod openai_chat;
pub(crate) mod openai_embeddings;
pub(crate) mod openai_responses;

/// A wire format of requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `POST /v1/chat/completions`.
    OpenAiChat,
    /// `POST /v1/messages`.
    AnthropicMessages,
    /// `POST /v1/messages/count_tokens`.
    AnthropicCountTokens,
    /// `POST /v1/embeddings`.
    OpenAiEmbeddings,
    /// Amazon Bedrock's `converse` and `converse-stream`; a backend's dialect only.
    BedrockConverse,
}

/// Whose conventions errors, streams and model lists follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `{"error": {...}}`, streams end in `data: [DONE]`.
    OpenAi,
    /// `{"type": "error", ...}`, streams end in `message_stop`.
    Anthropic,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 5] = [
        Self::OpenAiChat,
        Self::AnthropicMessages,
        Self::AnthropicCountTokens,
        Self::OpenAiEmbeddings,
        Self::BedrockConverse,
    ];

    /// The stable name in records, traces and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::AnthropicMessages => "anthropic_messages",
            Self::AnthropicCountTokens => "anthropic_count_tokens",
            Self::OpenAiEmbeddings => "openai_embeddings",
            Self::BedrockConverse => "bedrock_converse",
        }
    }

    /// Returns the family whose error shape and headers this dialect uses. Converse has no clients; its counters and
    /// texts are measured as Anthropic's.
    pub fn family(self) -> Family {
        match self {
            Self::OpenAiChat | Self::OpenAiEmbeddings => Family::OpenAi,
            Self::AnthropicMessages | Self::AnthropicCountTokens | Self::BedrockConverse => Family::Anthropic,
        }
    }

    /// Whether an answer can be a stream of events.
    pub fn can_stream(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::AnthropicMessages | Self::BedrockConverse)
    }
}
