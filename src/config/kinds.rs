//! The kinds of providers the file may name.
//!
//! Rule: what is known of a kind stands in the table of `helix-shared`; here is only its name.

use super::setting::choices;
use helix_shared::provider::{self, ProviderFacts};

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
    /// Returns what the planes know of the kind; `None` only for a kind that they have lost.
    pub(crate) fn facts(self) -> Option<&'static ProviderFacts> {
        provider::ProviderKind::parse(self.as_str()).map(provider::ProviderKind::facts)
    }

    /// Returns the address of the kind when the file gives none; `None` when there is no usual one.
    pub(crate) fn default_base_url(self) -> Option<&'static str> {
        self.facts().and_then(|facts| facts.base_url)
    }

    /// Returns whether the kind needs a key.
    pub(crate) fn key_need(self) -> KeyNeed {
        match self.facts() {
            Some(facts) if !facts.needs_key => KeyNeed::Optional,
            _ => KeyNeed::Required,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_planes_may_be_configured() {
        for kind in provider::ProviderKind::ALL {
            assert!(ProviderKind::ALL.iter().any(|known| known.as_str() == kind.as_str()), "{}", kind.as_str());
        }
        assert!(ProviderKind::ALL.iter().all(|kind| kind.facts().is_some()), "every kind is served");
    }
}
