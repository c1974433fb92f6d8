//! The kinds of providers the file may name, where each is reached, and which of them this version serves.
//!
//! Rule: a kind is a row here. A kind that is known but not served yet is refused with that word, never ignored.

use super::setting::choices;

choices! {
    /// The kind of a provider: which service it is and so how it is reached.
    pub(crate) enum ProviderKind {
        /// OpenAI.
        Openai = "openai",
        /// Anthropic.
        Anthropic = "anthropic",
        /// AWS Bedrock.
        Bedrock = "bedrock",
        /// Azure OpenAI.
        Azure = "azure",
        /// Google Vertex AI.
        Vertex = "vertex",
        /// Google Gemini API.
        Gemini = "gemini",
        /// Groq.
        Groq = "groq",
        /// Together AI.
        Together = "together",
        /// xAI.
        Xai = "xai",
        /// Ollama, local or in its cloud.
        Ollama = "ollama",
        /// OpenRouter.
        Openrouter = "openrouter",
        /// Fireworks AI.
        Fireworks = "fireworks",
        /// The Hugging Face router.
        Huggingface = "huggingface",
        /// LM Studio.
        Lmstudio = "lmstudio",
        /// A vLLM server.
        Vllm = "vllm",
        /// A LocalAI server.
        Localai = "localai",
        /// Mistral.
        Mistral = "mistral",
        /// DeepSeek.
        Deepseek = "deepseek",
        /// Cohere.
        Cohere = "cohere",
        /// Perplexity.
        Perplexity = "perplexity",
        /// Cerebras.
        Cerebras = "cerebras",
        /// Any server that speaks the OpenAI dialect at a base URL.
        OpenaiCompatible = "openai_compatible",
    }
}

/// Whether a kind needs a key at its usual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyNeed {
    /// A hosted service: nothing works without a key.
    Required,
    /// A server of one's own: a key only if it was set up with one.
    Optional,
}

impl ProviderKind {
    /// Reports whether this version can send requests to the kind.
    pub(crate) fn is_served(self) -> bool {
        !matches!(self, Self::Azure | Self::Vertex | Self::Gemini | Self::Cohere)
    }

    /// Returns the address of the kind when the file gives none; `None` when there is no usual one.
    pub(crate) fn default_base_url(self) -> Option<&'static str> {
        Some(match self {
            Self::Openai => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com",
            Self::Groq => "https://api.groq.com/openai/v1",
            Self::Together => "https://api.together.ai/v1",
            Self::Xai => "https://api.x.ai/v1",
            Self::Ollama => "http://127.0.0.1:11434/v1",
            Self::Openrouter => "https://openrouter.ai/api/v1",
            Self::Fireworks => "https://api.fireworks.ai/inference/v1",
            Self::Huggingface => "https://router.huggingface.co/v1",
            Self::Lmstudio => "http://127.0.0.1:1234/v1",
            Self::Mistral => "https://api.mistral.ai/v1",
            Self::Deepseek => "https://api.deepseek.com/v1",
            Self::Perplexity => "https://api.perplexity.ai",
            Self::Cerebras => "https://api.cerebras.ai/v1",
            Self::Vllm | Self::Localai | Self::OpenaiCompatible => return None,
            Self::Bedrock | Self::Azure | Self::Vertex | Self::Gemini | Self::Cohere => return None,
        })
    }

    /// Returns whether the kind needs a key.
    pub(crate) fn key_need(self) -> KeyNeed {
        match self {
            Self::Ollama | Self::Lmstudio | Self::Vllm | Self::Localai | Self::OpenaiCompatible => KeyNeed::Optional,
            _ => KeyNeed::Required,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::provider;

    #[test]
    fn the_usual_addresses_are_those_that_the_planes_know() {
        for kind in ProviderKind::ALL.iter().copied().filter(|kind| kind.is_served()) {
            let known = provider::ProviderKind::parse(kind.as_str()).unwrap_or_else(|| panic!("{}", kind.as_str()));
            // LocalAI listens where this gateway does: its address must be said.
            if kind != ProviderKind::Localai {
                assert_eq!(kind.default_base_url(), known.default_base_url(), "{}", kind.as_str());
            }
        }
    }
}
