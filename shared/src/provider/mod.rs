//! Provider kinds as rows of facts: what they speak, where, how they take a key, and in what they differ.
//!
//! Rule: a provider of the OpenAI family is one row of `table`, not code. Whoever needs to know a difference reads the
//! row; nobody else matches on kinds. What a single model can do is not here but in the catalogue and in `helix-llm`.

pub mod azure;
mod http_version;
mod quirk;
mod table;
pub mod vertex;

#[cfg(test)]
mod document;
#[cfg(test)]
mod tests;

pub use http_version::HttpVersion;
pub use table::ProviderKind;

use vertex::Publisher;

/// The wire format family a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFamily {
    /// Chat completions and embeddings under one base URL.
    OpenAi,
    /// Messages and token counts.
    Anthropic,
    /// Amazon Bedrock's Converse.
    Bedrock,
    /// `generateContent` and its stream; the model stands in the path.
    Gemini,
    /// Ollama's `/api/chat` and `/api/embed`.
    Ollama,
}

/// An API beside conversations, embeddings and what else every server of the OpenAI family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/responses`, in its own words.
    Responses,
    /// Responses that are kept: `previous_response_id`, and reading and deleting by id.
    StoredResponses,
    /// `/completions`, the legacy ones.
    Completions,
    /// `/images/generations` and `/images/edits`.
    Images,
    /// `/audio/speech`.
    Speech,
    /// `/audio/transcriptions` and `/audio/translations`.
    Transcription,
}

/// How a server of the OpenAI family makes embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Embeddings {
    /// As OpenAI does.
    AsOpenAi,
    /// As numbers only, never in base64.
    Floats {
        /// What it calls the number of dimensions.
        dimensions: &'static str,
    },
}

/// What is done with an answer whose client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnLeave {
    /// It is cut at once and estimated: generating on costs nothing but the server's time.
    Cancel,
    /// It is read on for a moment, to catch its last words, and then cut and estimated: the provider stops where it is cut,
    /// or nobody knows.
    DrainBriefly,
    /// It is read to its end: the provider generates and bills it in any case, and only its last words say how much.
    Drain,
}

/// How a backend takes its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthScheme {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY`.
    XApiKey,
    /// `api-key: KEY`.
    ApiKey,
    /// `x-goog-api-key: KEY`.
    XGoogApiKey,
}

/// How the addresses of a backend are made of its base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathForm {
    /// Paths follow the base URL as it is.
    AsGiven,
    /// Paths follow the base URL; one without a path gets `/v1`, because its API is nowhere else.
    UnderV1,
    /// Paths carry their version; a base URL that ends with it is meant without.
    OwnVersion,
    /// `/openai/deployments/{deployment}` with a dated `api-version`, or `/openai/v1` without.
    Azure,
    /// `/v1beta/models/{model}:{method}`; a base URL that ends with that version is meant without.
    Gemini,
    /// `/v1/projects/{project}/locations/{region}/publishers/{publisher}/models/{model}:{method}`.
    Vertex,
    /// `/model/{model}/{operation}`.
    Bedrock,
    /// `/api/…`; a base URL that ends in `/v1` is that of its OpenAI dialect.
    Ollama,
}

/// The names of the output cap in OpenAI's dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapField {
    /// `max_tokens`: Anthropic, and most servers that speak like OpenAI.
    MaxTokens,
    /// `max_completion_tokens`: OpenAI itself.
    MaxCompletionTokens,
}

/// Whose models a kind serves, which says what they can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelMaker {
    /// OpenAI's, with OpenAI's limits for each.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Google's.
    Google,
    /// Several makers', each with its own limits, under names that say whose: Bedrock's.
    Several,
    /// Anybody's: nothing is known by the name.
    Anybody,
}

/// Which model names find a kind without a written route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelNames {
    /// Names of the provider's own models begin with one of these.
    Own(&'static [&'static str]),
    /// Names of another maker's models that it hosts: asked where the maker itself is not configured.
    Hosted(&'static [&'static str]),
    /// It serves other people's models under any name.
    Any,
}

/// A documented difference, and where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirk {
    /// What is different.
    pub what: &'static str,
    /// Where it was read.
    pub source: &'static str,
    /// The day of the reading.
    pub as_of: &'static str,
}

/// What is known of a provider kind.
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of a provider, and they do not exclude each other")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderFacts {
    /// The name in configuration.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// The wire format it speaks.
    pub family: WireFamily,
    /// How it takes a key.
    pub auth: AuthScheme,
    /// Where it lives unless configured; `None`: a base URL must be given.
    pub base_url: Option<&'static str>,
    /// How addresses are made.
    pub paths: PathForm,
    /// Whether it takes an `api_version`.
    pub has_api_version: bool,
    /// Whether it runs on one's own machines, so that a model without a price costs nothing.
    pub is_local: bool,
    /// Whether nothing works without a key.
    pub needs_key: bool,
    /// The variables that usually hold its key; the first that is set counts.
    pub key_variables: &'static [&'static str],
    /// The variables that usually hold its base URL.
    pub url_variables: &'static [&'static str],
    /// Which model names find it without a route.
    pub names: ModelNames,
    /// Whose models it serves.
    pub maker: ModelMaker,
    /// The name of the output cap.
    pub cap_field: CapField,
    /// Whether a cap under the other of OpenAI's two names may be passed over, instead of being read or refused.
    pub may_ignore_other_cap: bool,
    /// Whether the output cap is also taken as `max_completion_tokens`, where that is not its name.
    pub takes_newer_cap: bool,
    /// Whether `stream_options` is taken; otherwise it is kept from the provider.
    pub takes_stream_options: bool,
    /// Whether a request that names no service tier may be served, and billed, at another than the standard one.
    pub may_choose_tier: bool,
    /// Whether reasoning tokens are counted beside `completion_tokens`, not inside.
    pub has_reasoning_outside: bool,
    /// Whether the provider's own cost in `usage` is the authority.
    pub has_cost: bool,
    /// Whether `top_k` is taken.
    pub takes_top_k: bool,
    /// Whether `user` is taken.
    pub takes_user: bool,
    /// Whether a choice of tools that forces a call is `any`, not `required`.
    pub says_any: bool,
    /// How embeddings are made, in the OpenAI family.
    pub embeddings: Embeddings,
    /// Whether earlier thinking is taken back as `reasoning_content`.
    pub takes_reasoning_content: bool,
    /// What is done with an answer whose client has left.
    pub on_leave: OnLeave,
    /// The further APIs that it has, by its SDK or documentation of the day in `table`; conversations by `/responses` are translated where it does not speak them.
    pub apis: &'static [Api],
    /// Differences, with their sources.
    pub quirks: &'static [Quirk],
}

impl ProviderKind {
    /// Reads the configured name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// The name in configuration.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The wire format it speaks; where that depends on the model, the one of its own maker's models.
    pub fn family(self) -> WireFamily {
        self.facts().family
    }

    /// Whether it has a further API.
    pub fn serves(self, api: Api) -> bool {
        self.facts().apis.contains(&api)
    }

    /// The wire format it speaks with a model.
    pub fn family_of(self, model: &str) -> WireFamily {
        let facts = self.facts();
        match facts.paths {
            PathForm::Vertex if vertex::Model::of(model).publisher == Publisher::Anthropic => WireFamily::Anthropic,
            _ => facts.family,
        }
    }

    /// Where it lives unless configured; `None`: a base URL must be given.
    pub fn default_base_url(self) -> Option<&'static str> {
        self.facts().base_url
    }

    /// Whether it runs on one's own machines, so that a model without a price costs nothing.
    pub fn is_local(self) -> bool {
        self.facts().is_local
    }
}
