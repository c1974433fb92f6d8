//! What a request asks for, read from its body and headers as a strict provider would.
//!
//! Rule: a request that a real provider refuses is refused here too, so that a gateway which garbles one is caught.

use http::HeaderMap;
use http::request::Parts;
use serde_json::Value;

use crate::fault::Fault;
use crate::script::{Script, ScriptError, find_marker, parse_layer};

/// The part of a base path under which this provider is as strict as Mistral.
const MISTRAL: &str = "/mistral/";
/// The part of a base path under which this provider reads `max_tokens` alone and passes over what it does not know.
const OLDER: &str = "/older/";

/// Whose wire format an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    /// OpenAI.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Amazon Bedrock.
    Bedrock,
    /// Google's Gemini API.
    Gemini,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/moderations`.
    Moderations,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/images/generations`.
    Images,
    /// `POST /v1/images/edits`.
    ImageEdits,
    /// `POST /v1/audio/speech`.
    Speech,
    /// `POST /v1/audio/transcriptions` and `/v1/audio/translations`.
    Transcripts,
    /// `POST /model/{model}/converse`.
    Converse,
    /// `POST /model/{model}/converse-stream`.
    ConverseStream,
    /// `POST /v1beta/models/{model}:generateContent`.
    Generate,
    /// `POST /v1beta/models/{model}:streamGenerateContent`.
    StreamGenerate,
    /// `POST /v1beta/models/{model}:batchEmbedContents`.
    BatchEmbed,
    /// `POST …/models/{model}:predict` of Vertex AI.
    Predict,
    /// `POST /model/{model}/invoke` of Bedrock, for embeddings.
    Invoke,
    /// `POST /api/embed` of Ollama.
    OllamaEmbed,
    /// `POST /api/chat` of Ollama.
    OllamaChat,
}

impl Endpoint {
    /// Finds the endpoint by the end of the path, so that any base path works.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let ends = [
            ("/chat/completions", Self::Chat),
            ("/messages/count_tokens", Self::CountTokens),
            ("/messages", Self::Messages),
            ("/embeddings", Self::Embeddings),
            ("/completions", Self::Completions),
            ("/moderations", Self::Moderations),
            ("/responses", Self::Responses),
            ("/images/generations", Self::Images),
            ("/images/edits", Self::ImageEdits),
            ("/audio/speech", Self::Speech),
            ("/audio/transcriptions", Self::Transcripts),
            ("/audio/translations", Self::Transcripts),
            ("/converse", Self::Converse),
            ("/converse-stream", Self::ConverseStream),
            (":generateContent", Self::Generate),
            (":streamGenerateContent", Self::StreamGenerate),
            (":batchEmbedContents", Self::BatchEmbed),
            (":predict", Self::Predict),
            ("/invoke", Self::Invoke),
            ("/api/embed", Self::OllamaEmbed),
            ("/api/chat", Self::OllamaChat),
        ];
        let hosted = crate::vertex::endpoint(path);
        hosted.or_else(|| ends.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, endpoint)| endpoint))
    }

    /// Returns the dialect of the endpoint.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Chat
            | Self::Embeddings
            | Self::Completions
            | Self::Moderations
            | Self::Responses
            | Self::Images
            | Self::ImageEdits
            | Self::Speech
            | Self::Transcripts
            | Self::OllamaEmbed
            | Self::OllamaChat => Dialect::OpenAi,
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
            Self::Converse | Self::ConverseStream | Self::Invoke => Dialect::Bedrock,
            Self::Generate | Self::StreamGenerate | Self::BatchEmbed | Self::Predict => Dialect::Gemini,
        }
    }
}

/// A request, as far as the answer depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// The model.
    pub(crate) model: String,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
    /// Whether the stream shall carry usage (OpenAI).
    pub(crate) include_usage: bool,
    /// Whether the last chunk of a stream with a choice carries usage, asked or not.
    pub(crate) counts_unasked: bool,
    /// Whether it came by an address of Azure.
    pub(crate) is_azure: bool,
    /// Whether it came by a regional address of a host that charges more there.
    pub(crate) is_regional: bool,
    /// The cap on output tokens.
    pub(crate) output_cap: Option<u64>,
    /// Bytes of text in the request.
    pub(crate) text_bytes: u64,
    /// The inputs of an embedding request.
    pub(crate) inputs: u64,
    /// Whether embeddings shall be base64.
    pub base64: bool,
    /// The length of each embedding.
    pub(crate) dimensions: u64,
    /// Whether the response shall not be kept.
    pub(crate) is_unstored: bool,
    /// The response before.
    pub(crate) previous: Option<String>,
    /// Files in a form, and their bytes.
    pub(crate) files: u64,
    /// Bytes of those files.
    pub(crate) file_bytes: u64,
    /// Pictures asked for.
    pub(crate) pictures: u64,
    /// Pictures to be shown before they are done.
    pub(crate) previews: u64,
    /// Characters to be spoken.
    pub(crate) characters: u64,
    /// The format of the answer.
    pub(crate) format: Option<String>,
    /// Whether what is heard is fetched from elsewhere.
    pub(crate) is_remote: bool,
    /// Models that run beside the one that was asked, or in its place.
    pub(crate) others: Vec<String>,
    /// Whether a header asks for the dear tier of a host.
    pub(crate) is_priority: bool,
}

impl Ask {
    /// Returns the input tokens this provider counts by default: one per four bytes of text, at least one.
    pub(crate) fn counted_input(&self) -> u64 {
        (self.text_bytes / 4).max(1)
    }
}

/// Reads the key from the headers.
pub(crate) fn key_of(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let named = ["x-api-key", "api-key", "x-goog-api-key"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    bearer.or(named).map(str::trim).filter(|key| !key.is_empty())
}

/// Builds the script of a request from the default, the marker in its text and its header.
///
/// # Errors
/// When the marker or the header is no script.
pub(crate) fn script_of(default: &Value, headers: &HeaderMap, body: &Value) -> Result<Script, ScriptError> {
    let mut marker = None;
    visit_texts(body, &mut |text| {
        if marker.is_none() {
            marker = find_marker(text);
        }
    });
    let mut marker = marker.transpose()?;
    if let Some(after) = marker.as_mut().and_then(|marker| marker.as_object_mut()?.remove("after_tool"))
        && has_tool_result(body)
    {
        marker = Some(after);
    }
    let header = headers.get("x-fake-script").and_then(|value| value.to_str().ok()).map(parse_layer);
    Script::layered(&[Some(default.clone()), marker, header.transpose()?])
}

/// Whether the conversation holds the result of a tool: a marker's `after_tool` is the script from then on.
fn has_tool_result(body: &Value) -> bool {
    match body {
        Value::Object(fields) => {
            let is = |name: &str, word: &str| fields.get(name).and_then(Value::as_str) == Some(word);
            is("role", "tool")
                || is("type", "tool_result")
                || is("type", "function_call_output")
                || fields.contains_key("toolResult")
                || fields.contains_key("functionResponse")
                || fields.values().any(has_tool_result)
        }
        Value::Array(items) => items.iter().any(has_tool_result),
        _ => false,
    }
}

/// Reads a request.
///
/// # Errors
/// A fault with status 400 that names the field.
pub(crate) fn read(endpoint: Endpoint, parts: &Parts, body: &Value) -> Result<Ask, Fault> {
    let headers = &parts.headers;
    let fields = body.as_object().ok_or_else(|| Fault::invalid("the body is not a JSON object"))?;
    if matches!(endpoint, Endpoint::BatchEmbed | Endpoint::Predict | Endpoint::Invoke | Endpoint::OllamaEmbed) {
        return crate::embed::read(endpoint, parts, body);
    }
    if endpoint.dialect() == Dialect::Gemini {
        let mut ask = crate::gemini::read(endpoint, &parts.uri, body)?;
        visit_texts(body, &mut |text| ask.text_bytes += u64::try_from(text.len()).unwrap_or(0));
        return Ok(ask);
    }
    let given = fields.get("model").and_then(Value::as_str).filter(|model| !model.is_empty());
    let model = given.or((endpoint == Endpoint::Moderations).then_some("omni-moderation-latest"));
    let model = model.ok_or_else(|| Fault::invalid("model: a non-empty string is required"))?.to_owned();
    let mut ask = Ask { model, dimensions: 8, others: other_models(body), ..Ask::default() };
    visit_texts(body, &mut |text| ask.text_bytes += u64::try_from(text.len()).unwrap_or(0));
    // A form says everything in text.
    if body.get("_files").is_none() {
        ask.stream = optional(body, "stream", Value::as_bool, "a boolean")?.unwrap_or(false);
    }
    match endpoint {
        Endpoint::Chat => {
            read_chat(body, &mut ask)?;
            if parts.uri.path().contains(MISTRAL) {
                read_mistral(body, &mut ask)?;
            }
            if parts.uri.path().contains(OLDER) {
                ask.output_cap = optional(body, "max_tokens", Value::as_u64, "an integer")?;
            }
        }
        Endpoint::Messages | Endpoint::CountTokens => read_messages(endpoint, headers, body, &mut ask)?,
        Endpoint::Embeddings => read_embeddings(body, &mut ask)?,
        Endpoint::OllamaChat => crate::ollama::read(body, &mut ask)?,
        Endpoint::Completions => read_completion(body, &mut ask)?,
        Endpoint::Responses => crate::responses::read(body, &mut ask)?,
        Endpoint::Images | Endpoint::ImageEdits | Endpoint::Speech | Endpoint::Transcripts => {
            crate::media::read(endpoint, body, &mut ask)?;
        }
        Endpoint::Moderations
        | Endpoint::Generate
        | Endpoint::StreamGenerate
        | Endpoint::BatchEmbed
        | Endpoint::Predict
        | Endpoint::Invoke
        | Endpoint::OllamaEmbed => {}
        Endpoint::Converse | Endpoint::ConverseStream => {
            require_messages(body)?;
            let config = body.get("inferenceConfig").unwrap_or(&Value::Null);
            ask.output_cap = optional(config, "maxTokens", Value::as_u64, "an integer")?;
        }
    }
    Ok(ask)
}

/// Models that a request names beside its own: in place of it, or in tools that run here. What a schema says of a field is no
/// name.
fn other_models(body: &Value) -> Vec<String> {
    fn collect(value: &Value, is_named: bool, names: &mut Vec<String>) {
        match value {
            Value::String(name) if is_named => names.push(name.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, is_named, names)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    collect(value, name.contains("model"), names);
                }
            }
            _ => {}
        }
    }
    let mut names = Vec::new();
    for field in ["models", "fallbacks"] {
        collect(body.get(field).unwrap_or(&Value::Null), true, &mut names);
    }
    let tools = ["tools", "plugins"].into_iter().filter_map(|field| body.get(field)?.as_array()).flatten();
    for tool in tools.filter(|tool| tool.get("input_schema").is_none() && tool.get("function").is_none()) {
        collect(tool, false, &mut names);
    }
    names
}

fn read_completion(body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    if body.get("max_completion_tokens").is_some() {
        return Err(Fault::invalid("Unrecognized request argument supplied: max_completion_tokens"));
    }
    let options = body.get("stream_options").filter(|value| !value.is_null());
    ask.include_usage = options.and_then(|value| value.get("include_usage")?.as_bool()).unwrap_or(false);
    ask.output_cap = optional(body, "max_tokens", Value::as_u64, "an integer")?.or(Some(16));
    Ok(())
}

fn read_chat(body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    require_messages(body)?;
    let options = body.get("stream_options").filter(|value| !value.is_null());
    if options.is_some() && !ask.stream {
        return Err(Fault::invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
    }
    ask.include_usage = options.and_then(|value| value.get("include_usage")?.as_bool()).unwrap_or(false);
    let new = optional(body, "max_completion_tokens", Value::as_u64, "an integer")?;
    ask.output_cap = new.or(optional(body, "max_tokens", Value::as_u64, "an integer")?);
    Ok(())
}

/// What Mistral refuses: fields that it does not know, and another's word for a call that must be made.
fn read_mistral(body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    for foreign in ["stream_options", "user", "logit_bias"] {
        if body.get(foreign).is_some_and(|value| !value.is_null()) {
            return Err(Fault::new(422, format!("Extra inputs are not permitted: {foreign}")));
        }
    }
    if body.get("tool_choice").and_then(Value::as_str) == Some("required") {
        return Err(Fault::new(422, "Input should be 'auto', 'none' or 'any': tool_choice"));
    }
    ask.counts_unasked = true;
    Ok(())
}

fn read_messages(endpoint: Endpoint, headers: &HeaderMap, body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    if !headers.contains_key("anthropic-version") && body.get("anthropic_version").is_none() {
        return Err(Fault::invalid("anthropic-version: header is required"));
    }
    require_messages(body)?;
    for foreign in ["stream_options", "max_completion_tokens", "n"] {
        if body.get(foreign).is_some() {
            return Err(Fault::invalid(format!("{foreign}: Extra inputs are not permitted")));
        }
    }
    ask.output_cap = optional(body, "max_tokens", Value::as_u64, "an integer")?;
    if endpoint == Endpoint::Messages && ask.output_cap.is_none() {
        return Err(Fault::invalid("max_tokens: Field required"));
    }
    Ok(())
}

fn read_embeddings(body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    ask.inputs = match body.get("input") {
        Some(Value::String(_)) => 1,
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => 1,
        Some(Value::Array(items)) if !items.is_empty() => u64::try_from(items.len()).unwrap_or(1),
        _ => return Err(Fault::invalid("input: a string or a non-empty array is required")),
    };
    ask.base64 = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    ask.dimensions = optional(body, "dimensions", Value::as_u64, "an integer")?.unwrap_or(8).clamp(1, 4096);
    Ok(())
}

fn require_messages(body: &Value) -> Result<(), Fault> {
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Fault::invalid("messages: a non-empty array is required"))?;
    if messages.iter().any(|message| message.get("role").and_then(Value::as_str).is_none()) {
        return Err(Fault::invalid("messages: every message needs a role"));
    }
    Ok(())
}

fn optional<'a, T>(
    body: &'a Value,
    field: &str,
    read: impl Fn(&'a Value) -> Option<T>,
    kind: &str,
) -> Result<Option<T>, Fault> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| Fault::invalid(format!("{field}: must be {kind}"))),
    }
}

/// Visits the texts that a model would read: the strings under `messages`, `contents`, `system`, `input` and `tools`.
fn visit_texts(body: &Value, visit: &mut impl FnMut(&str)) {
    fn walk(value: &Value, visit: &mut impl FnMut(&str)) {
        match value {
            Value::String(text) => visit(text),
            Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    if !matches!(name.as_str(), "role" | "type" | "id" | "tool_call_id" | "tool_use_id") {
                        walk(field, visit);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    const FIELDS: [&str; 11] = [
        "messages",
        "system",
        "input",
        "prompt",
        "tools",
        "contents",
        "systemInstruction",
        "requests",
        "instances",
        "inputText",
        "texts",
    ];
    for field in FIELDS {
        if let Some(value) = body.get(field) {
            walk(value, visit);
        }
    }
}
