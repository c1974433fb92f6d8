//! The wire formats that clients and providers speak, one folder or file for each.
//!
//! Rule: a dialect file knows its own format, and the neutral conversation that it is read into and rendered from; a
//! conversion from one dialect straight into another never hides in these files.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod framing;
pub(crate) mod gemini;
pub(crate) mod ollama;
pub(crate) mod openai_chat;
pub(crate) mod openai_completions;
pub(crate) mod openai_embeddings;
pub(crate) mod openai_images;
pub(crate) mod openai_moderations;
pub(crate) mod openai_responses;
pub(crate) mod openai_speech;
pub(crate) mod openai_transcriptions;

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
    /// `POST /v1/responses`; backends that do not speak it get a translation.
    OpenAiResponses,
    /// `GET` and `DELETE /v1/responses/{id}`: what a provider keeps of a response.
    OpenAiStoredResponses,
    /// `POST /v1/images/generations`.
    OpenAiImages,
    /// `POST /v1/images/edits`, a form or JSON.
    OpenAiImageEdits,
    /// `POST /v1/audio/speech`.
    OpenAiSpeech,
    /// `POST /v1/audio/transcriptions`, a form.
    OpenAiTranscriptions,
    /// `POST /v1/audio/translations`, a form.
    OpenAiTranslations,
    /// `POST /v1/completions`.
    OpenAiCompletions,
    /// `POST /v1/moderations`.
    OpenAiModerations,
    /// Amazon Bedrock's `converse` and `converse-stream`; a backend's dialect only.
    BedrockConverse,
    /// Ollama's `POST /api/chat`; a backend's dialect only.
    Ollama,
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
    /// `{"error": {...}}` with Google's status, streams just end; Ollama's end and are counted alike. No client's: what we
    /// say ourselves is said as to OpenAI's.
    Gemini,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 16] = [
        Self::OpenAiChat,
        Self::AnthropicMessages,
        Self::AnthropicCountTokens,
        Self::OpenAiEmbeddings,
        Self::OpenAiResponses,
        Self::OpenAiStoredResponses,
        Self::OpenAiImages,
        Self::OpenAiImageEdits,
        Self::OpenAiSpeech,
        Self::OpenAiTranscriptions,
        Self::OpenAiTranslations,
        Self::OpenAiCompletions,
        Self::OpenAiModerations,
        Self::BedrockConverse,
        Self::Gemini,
        Self::Ollama,
    ];

    /// The stable name in records, traces and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::AnthropicMessages => "anthropic_messages",
            Self::AnthropicCountTokens => "anthropic_count_tokens",
            Self::OpenAiEmbeddings => "openai_embeddings",
            Self::OpenAiResponses => "openai_responses",
            Self::OpenAiStoredResponses => "openai_stored_responses",
            Self::OpenAiImages => "openai_images",
            Self::OpenAiImageEdits => "openai_image_edits",
            Self::OpenAiSpeech => "openai_speech",
            Self::OpenAiTranscriptions => "openai_transcriptions",
            Self::OpenAiTranslations => "openai_translations",
            Self::OpenAiCompletions => "openai_completions",
            Self::OpenAiModerations => "openai_moderations",
            Self::BedrockConverse => "bedrock_converse",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// Returns the family whose error shape and headers this dialect uses. Converse has no clients; its counters and
    /// texts are measured as Anthropic's.
    pub fn family(self) -> Family {
        match self {
            Self::OpenAiChat
            | Self::OpenAiEmbeddings
            | Self::OpenAiResponses
            | Self::OpenAiStoredResponses
            | Self::OpenAiImages
            | Self::OpenAiImageEdits
            | Self::OpenAiSpeech
            | Self::OpenAiTranscriptions
            | Self::OpenAiTranslations
            | Self::OpenAiCompletions
            | Self::OpenAiModerations => Family::OpenAi,
            Self::AnthropicMessages | Self::AnthropicCountTokens | Self::BedrockConverse => Family::Anthropic,
            Self::Gemini | Self::Ollama => Family::Gemini,
        }
    }

    /// Whether a request may be capped in the tokens of its answer.
    pub fn can_be_capped(self) -> bool {
        matches!(
            self,
            Self::OpenAiChat
                | Self::AnthropicMessages
                | Self::OpenAiResponses
                | Self::OpenAiCompletions
                | Self::BedrockConverse
                | Self::Gemini
                | Self::Ollama
        )
    }

    /// Whether requests cost nothing, whatever the model.
    pub fn is_free(self) -> bool {
        matches!(self, Self::AnthropicCountTokens | Self::OpenAiStoredResponses)
    }

    /// Whether the body is a form, or may be one.
    pub fn may_be_form(self) -> bool {
        matches!(self, Self::OpenAiImageEdits) || self.is_upload()
    }

    /// Whether the body is a file that goes upstream as it comes.
    pub fn is_upload(self) -> bool {
        matches!(self, Self::OpenAiTranscriptions | Self::OpenAiTranslations)
    }

    /// Whether pictures or sound are made or heard, which are bounded and metered in units of their own.
    pub fn is_media(self) -> bool {
        matches!(self, Self::OpenAiImages | Self::OpenAiImageEdits | Self::OpenAiSpeech) || self.is_upload()
    }

    /// Whether one event of a stream may hold a picture, or all that was said before.
    pub(crate) fn has_large_events(self) -> bool {
        matches!(self, Self::OpenAiResponses) || self.is_media()
    }

    /// Whether a stream tells its usage only when it is asked to.
    pub fn asks_for_stream_usage(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::OpenAiCompletions)
    }
}
