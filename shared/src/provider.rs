//! Provider kinds as rows of facts: what they speak, where, how they take a key.
//!
//! Rule: a provider of the OpenAI family is a row, not code. Sources: each provider's API reference and SDK, November 2026.

/// The wire format family a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFamily {
    /// Chat completions and embeddings under one base URL.
    OpenAi,
    /// Messages and token counts.
    Anthropic,
    /// Amazon Bedrock's Converse.
    Bedrock,
}

/// How a backend takes its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthScheme {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY`.
    XApiKey,
}

macro_rules! provider_kinds {
    ($($(#[$doc:meta])* $variant:ident $name:literal $family:ident $auth:ident $base_url:expr, $local:literal;)+) => {
        /// What kind of provider a backend is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProviderKind { $($(#[$doc])* $variant,)+ }

        impl ProviderKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The wire format it speaks.
            pub fn family(self) -> WireFamily {
                match self { $(Self::$variant => WireFamily::$family,)+ }
            }

            /// How it takes a key.
            pub fn auth(self) -> AuthScheme {
                match self { $(Self::$variant => AuthScheme::$auth,)+ }
            }

            /// Where it lives unless configured; `None`: a base URL must be given.
            pub fn default_base_url(self) -> Option<&'static str> {
                match self { $(Self::$variant => $base_url,)+ }
            }

            /// Whether it runs on one's own machines, so that a model without a price costs nothing.
            pub fn is_local(self) -> bool {
                match self { $(Self::$variant => $local,)+ }
            }
        }
    };
}

provider_kinds! {
    /// OpenAI.
    OpenAi "openai" OpenAi Bearer Some("https://api.openai.com/v1"), false;
    /// Anthropic.
    Anthropic "anthropic" Anthropic XApiKey Some("https://api.anthropic.com"), false;
    /// Amazon Bedrock; its key is a bearer token, or what requests are signed by ([`crate::aws::AwsAccess`]).
    Bedrock "bedrock" Bedrock Bearer None, false;
    /// Ollama, over its OpenAI-compatible API.
    Ollama "ollama" OpenAi Bearer Some("http://127.0.0.1:11434/v1"), true;
    /// Groq.
    Groq "groq" OpenAi Bearer Some("https://api.groq.com/openai/v1"), false;
    /// Together.
    Together "together" OpenAi Bearer Some("https://api.together.ai/v1"), false;
    /// xAI.
    XAi "xai" OpenAi Bearer Some("https://api.x.ai/v1"), false;
    /// OpenRouter.
    OpenRouter "openrouter" OpenAi Bearer Some("https://openrouter.ai/api/v1"), false;
    /// Fireworks.
    Fireworks "fireworks" OpenAi Bearer Some("https://api.fireworks.ai/inference/v1"), false;
    /// Hugging Face router.
    HuggingFace "huggingface" OpenAi Bearer Some("https://router.huggingface.co/v1"), false;
    /// LM Studio.
    LmStudio "lmstudio" OpenAi Bearer Some("http://127.0.0.1:1234/v1"), true;
    /// vLLM.
    Vllm "vllm" OpenAi Bearer None, true;
    /// `LocalAI`.
    LocalAi "localai" OpenAi Bearer Some("http://127.0.0.1:8080/v1"), true;
    /// Mistral.
    Mistral "mistral" OpenAi Bearer Some("https://api.mistral.ai/v1"), false;
    /// `DeepSeek`.
    DeepSeek "deepseek" OpenAi Bearer Some("https://api.deepseek.com/v1"), false;
    /// Perplexity.
    Perplexity "perplexity" OpenAi Bearer Some("https://api.perplexity.ai"), false;
    /// Cerebras.
    Cerebras "cerebras" OpenAi Bearer Some("https://api.cerebras.ai/v1"), false;
    /// Any base URL that speaks OpenAI's wire format.
    OpenAiCompatible "openai_compatible" OpenAi Bearer None, false;
}

impl ProviderKind {
    /// Reads the configured name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_its_own_name() {
        for kind in ProviderKind::ALL {
            assert_eq!(ProviderKind::parse(kind.as_str()), Some(*kind));
        }
    }
}
