//! Embeddings at backends that do not speak OpenAI's `/embeddings`, or not all of it.
//!
//! Rule: vectors pass as the text that the backend wrote; only where the client wants base64 is a number ever read. One
//! request may be several calls: the order of its inputs is the order of the answer, and an answer is whole or none.

mod answer;
mod request;

use bytes::Bytes;
use helix_shared::usage::TokenUsage;

pub use request::translate_embeddings;

/// How a backend is asked for embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingForm {
    /// Gemini's `batchEmbedContents`.
    Gemini,
    /// Vertex AI's `predict`, with so many texts a call.
    Predict {
        /// The most texts in one call.
        most_texts: usize,
    },
    /// Amazon's Titan, one text a call.
    Titan(Titan),
    /// Cohere's models as Bedrock hosts them.
    Cohere {
        /// Whether it takes a number of dimensions: from the fourth version on.
        takes_dimensions: bool,
    },
    /// Amazon's Nova, one text a call.
    Nova,
    /// Ollama's `/api/embed`.
    Ollama,
    /// OpenAI's own form, from a server that writes numbers only.
    Floats {
        /// What it calls the number of dimensions.
        dimensions: &'static str,
        /// Whether it takes the client's name of its user.
        takes_user: bool,
    },
}

/// The versions of Titan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Titan {
    /// Text, at its own number of dimensions.
    Text1,
    /// Text, normalised, at a number of dimensions.
    Text2,
    /// Text and images in one space.
    Image,
}

/// A request for embeddings as its backend gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedEmbeddings {
    /// The bodies of the calls, in order.
    pub calls: Vec<Bytes>,
    /// What the backend does not get, by its path in the client's body.
    pub dropped: Vec<String>,
    /// What the answers are read and joined with.
    pub plan: EmbeddingPlan,
}

/// What the answers to a request for embeddings are read and joined with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingPlan {
    form: EmbeddingForm,
    is_base64: bool,
    model: String,
    /// Texts in each call.
    counts: Vec<usize>,
}

/// What one call said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbeddedCall {
    /// The vectors, each a list in JSON as it was written.
    pub(crate) vectors: Vec<Bytes>,
    /// What was counted; `None`: nothing was said.
    pub usage: Option<TokenUsage>,
}

impl EmbeddingForm {
    /// The form that a model has at Bedrock, by its id or that of a profile; `None`: no embedding model is known by it.
    pub fn bedrock(model: &str) -> Option<Self> {
        let has = |word: &str| model.contains(word);
        if has("titan-embed-image") {
            Some(Self::Titan(Titan::Image))
        } else if has("titan-embed-text-v2") {
            Some(Self::Titan(Titan::Text2))
        } else if has("titan-embed") {
            Some(Self::Titan(Titan::Text1))
        } else if has("cohere.embed") {
            Some(Self::Cohere { takes_dimensions: !has("-v3") })
        } else if has("nova") && has("embeddings") {
            Some(Self::Nova)
        } else {
            None
        }
    }

    /// The form that a model of Google's has at Vertex AI. Gemini's own takes one text a call; of the others each region
    /// takes five.
    pub fn vertex(model: &str) -> Self {
        Self::Predict { most_texts: if model.contains("gemini") { 1 } else { 5 } }
    }

    /// The most texts in one call.
    fn most_texts(self) -> usize {
        match self {
            Self::Gemini => 100,
            Self::Predict { most_texts } => most_texts,
            Self::Titan(_) | Self::Nova => 1,
            Self::Cohere { .. } => 96,
            Self::Ollama | Self::Floats { .. } => usize::MAX,
        }
    }
}
