//! The wire formats that clients and providers speak, one folder or file for each.
//!
//! Rule: a dialect file knows its own format, and the neutral conversation that it is read into and rendered from; a
//! conversion from one dialect straight into another never hides in these files.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod gemini;
pub(crate) mod openai_chat;
pub(crate) mod openai_completions;
pub(crate) mod openai_embeddings;
pub(crate) mod openai_moderations;
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
    /// `POST /v1/responses`; a client's dialect only: every backend gets a translation.
    OpenAiResponses,
    /// `POST /v1/completions`.
    OpenAiCompletions,
    /// `POST /v1/moderations`.
    OpenAiModerations,
    /// Amazon Bedrock's `converse` and `converse-stream`; a backend's dialect only.
    BedrockConverse,
    /// `POST /v1beta/models/{model}:generateContent`, and `:streamGenerateContent`; a backend's dialect only.
    Gemini,
}

/// Whose conventions errors, streams and model lists follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `{"error": {...}}`, streams end in `data: [DONE]`.
    OpenAi,
    /// `{"type": "error", ...}`, streams end in `message_stop`.
    Anthropic,
    /// `{"error": {...}}` with Google's status, streams just end. No client's: what we say ourselves is said as to OpenAI's.
    Gemini,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 9] = [
        Self::OpenAiChat,
        Self::AnthropicMessages,
        Self::AnthropicCountTokens,
        Self::OpenAiEmbeddings,
        Self::OpenAiResponses,
        Self::OpenAiCompletions,
        Self::OpenAiModerations,
        Self::BedrockConverse,
        Self::Gemini,
    ];

    /// The stable name in records, traces and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::AnthropicMessages => "anthropic_messages",
            Self::AnthropicCountTokens => "anthropic_count_tokens",
            Self::OpenAiEmbeddings => "openai_embeddings",
            Self::OpenAiResponses => "openai_responses",
            Self::OpenAiCompletions => "openai_completions",
            Self::OpenAiModerations => "openai_moderations",
            Self::BedrockConverse => "bedrock_converse",
            Self::Gemini => "gemini",
        }
    }

    /// Returns the family whose error shape and headers this dialect uses. Converse has no clients; its counters and
    /// texts are measured as Anthropic's.
    pub fn family(self) -> Family {
        match self {
            Self::OpenAiChat
            | Self::OpenAiEmbeddings
            | Self::OpenAiResponses
            | Self::OpenAiCompletions
            | Self::OpenAiModerations => Family::OpenAi,
            Self::AnthropicMessages | Self::AnthropicCountTokens | Self::BedrockConverse => Family::Anthropic,
            Self::Gemini => Family::Gemini,
        }
    }

    /// Whether an answer can be a stream of events.
    pub fn can_stream(self) -> bool {
        matches!(
            self,
            Self::OpenAiChat
                | Self::AnthropicMessages
                | Self::OpenAiResponses
                | Self::OpenAiCompletions
                | Self::BedrockConverse
                | Self::Gemini
        )
    }

    /// Whether requests cost nothing, whatever the model.
    pub fn is_free(self) -> bool {
        matches!(self, Self::AnthropicCountTokens | Self::OpenAiModerations)
    }

    /// Whether a stream tells its usage only when it is asked to.
    pub fn asks_for_stream_usage(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::OpenAiCompletions)
    }
}
