//! The request for embeddings: read once, said again as one call or several.
//!
//! Rule: texts only. What a backend has no word for is named; token numbers are refused, because they are numbers of
//! another model's tokenizer.

use bytes::Bytes;

use super::{EmbeddingForm, EmbeddingPlan, Titan, TranslatedEmbeddings};
use crate::dialect::ollama;
use crate::json::{Name, Node, note, object};
use crate::translate::TranslateError;

/// The most inputs of one request. Source: OpenAI API reference, `input`.
const MOST_INPUTS: usize = 2048;
/// The longest word for a purpose.
const MOST_WORD_BYTES: usize = 64;

type Result<T> = std::result::Result<T, TranslateError>;

/// What a client asks for.
struct Ask<'a> {
    model: &'a str,
    dimensions: Option<u64>,
    /// `search_document`, or what else the client said.
    purpose: Option<String>,
    truncate: Option<String>,
    normalize: Option<bool>,
}

/// Puts a request for embeddings into the calls that a backend takes; `model` is the backend's name of the model.
///
/// # Errors
/// `invalid_json` and `invalid_request`, with the field at fault.
pub fn translate_embeddings(form: EmbeddingForm, model: &str, body: &[u8]) -> Result<TranslatedEmbeddings> {
    let mut body = Node::parse(body)?;
    let asked_model = body.take("model").and_then(|model| model.as_str().map(str::to_owned)).unwrap_or_default();
    let texts = read_input(body.take("input").unwrap_or_default())?;
    let is_base64 = match body.take("encoding_format") {
        None => false,
        Some(format) => match format.as_str() {
            Some("float") => false,
            Some("base64") => true,
            _ => return Err(TranslateError::invalid("encoding_format", "must be `float` or `base64`")),
        },
    };
    let dimensions = body.take("dimensions").map(|count| count.as_u64().filter(|count| *count > 0));
    let dimensions = match dimensions {
        Some(None) => return Err(TranslateError::wrong("dimensions", "a positive number")),
        given => given.flatten(),
    };
    let mut ask = Ask {
        model,
        dimensions,
        purpose: text_of(&mut body, "input_type")?,
        truncate: text_of(&mut body, "truncate")?,
        normalize: body.take("normalize").map(|flag| matches!(flag, Node::Bool(true))),
    };
    let mut dropped = Vec::new();
    let mut extra = Vec::new();
    if let Node::Object(fields) = body {
        extra = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    }
    if !matches!(form, EmbeddingForm::Floats { .. } | EmbeddingForm::Ollama) {
        extra.drain(..).for_each(|(name, _)| note(&mut dropped, name.into_owned()));
    }
    if matches!(form, EmbeddingForm::Floats { takes_user: false, .. }) {
        let names = extra.iter().filter(|(name, _)| name == "user").map(|(name, _)| name.to_string());
        names.for_each(|name| note(&mut dropped, name));
        extra.retain(|(name, _)| name != "user");
    }
    if form == EmbeddingForm::Ollama {
        let is_known = |name: &Name| matches!(&**name, "options" | "keep_alive");
        extra.iter().filter(|(name, _)| !is_known(name)).for_each(|(name, _)| note(&mut dropped, name.to_string()));
        extra.retain(|(name, _)| is_known(name));
        for (name, options) in extra.iter_mut().filter(|(name, _)| name == "options") {
            if !options.is_object() {
                return Err(TranslateError::wrong(name.to_string(), "an object"));
            }
            ollama::keep_own(options, &mut dropped);
        }
    }
    drop_unsaid(form, &mut ask, &mut dropped);
    let most = form.most_texts();
    let (mut calls, mut counts) = (Vec::new(), Vec::new());
    for texts in texts.chunks(most) {
        counts.push(texts.len());
        calls.push(Bytes::from(render(form, &ask, texts, &extra).to_bytes()));
    }
    Ok(TranslatedEmbeddings { calls, dropped, plan: EmbeddingPlan { form, is_base64, model: asked_model, counts } })
}

fn read_input(input: Node) -> Result<Vec<String>> {
    let texts: Vec<String> = match input {
        Node::String(text) => vec![text],
        Node::Array(items) => {
            let read = |(index, item)| match item {
                Node::String(text) => Ok(text),
                Node::Number(_) | Node::Array(_) => Err(TranslateError::unsupported(
                    "input",
                    "token numbers are those of another model's tokenizer; send text",
                )),
                _ => Err(TranslateError::unsupported(format!("input[{index}]"), "it takes texts only")),
            };
            items.into_iter().enumerate().map(read).collect::<Result<_>>()?
        }
        _ => return Err(TranslateError::wrong("input", "a string or an array of strings")),
    };
    if texts.is_empty() {
        return Err(TranslateError::invalid("input", "must not be empty"));
    }
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Err(TranslateError::invalid(format!("input[{index}]"), "must not be empty"));
    }
    if texts.len() > MOST_INPUTS {
        return Err(TranslateError::invalid("input", "must have at most 2048 items"));
    }
    Ok(texts)
}

fn text_of(body: &mut Node, name: &'static str) -> Result<Option<String>> {
    match body.take(name) {
        None => Ok(None),
        // It is repeated with every text.
        Some(Node::String(text)) if text.len() > MOST_WORD_BYTES => Err(TranslateError::invalid(name, "is too long")),
        Some(Node::String(text)) => Ok(Some(text)),
        Some(_) => Err(TranslateError::wrong(name, "a string")),
    }
}

/// Lets go of what the backend has no word for, and names it.
fn drop_unsaid(form: EmbeddingForm, ask: &mut Ask<'_>, dropped: &mut Vec<String>) {
    let takes_dimensions = match form {
        EmbeddingForm::Titan(Titan::Text1) => false,
        EmbeddingForm::Cohere { takes_dimensions } => takes_dimensions,
        _ => true,
    };
    let is_cohere = matches!(form, EmbeddingForm::Cohere { .. });
    let takes_own = matches!(form, EmbeddingForm::Floats { .. });
    let takes_purpose = is_cohere || takes_own || matches!(form, EmbeddingForm::Gemini | EmbeddingForm::Predict { .. });
    if !takes_dimensions && ask.dimensions.take().is_some() {
        note(dropped, "dimensions".to_owned());
    }
    if !takes_purpose && ask.purpose.take().is_some() {
        note(dropped, "input_type".to_owned());
    }
    if !(is_cohere || takes_own) && ask.truncate.take().is_some() {
        note(dropped, "truncate".to_owned());
    }
    let takes_normalize = takes_own || form == EmbeddingForm::Titan(Titan::Text2);
    if !takes_normalize && ask.normalize.take().is_some() {
        note(dropped, "normalize".to_owned());
    }
}

fn render(form: EmbeddingForm, ask: &Ask<'_>, texts: &[String], extra: &[(Name, Node)]) -> Node {
    let first = texts.first().map(String::as_str).unwrap_or_default();
    let dimensions = ask.dimensions;
    match form {
        EmbeddingForm::Gemini => {
            let model = match ask.model.split_once('/') {
                Some(("models" | "tunedModels", _)) => ask.model.to_owned(),
                _ => format!("models/{}", ask.model),
            };
            let request = |text: &String| {
                let content = object! { "parts": vec![object! { "text": text }] };
                object! { "model": &model, "content": content }
                    .with("taskType", ask.purpose.as_deref().map(googles_purpose))
                    .with("outputDimensionality", dimensions)
            };
            object! { "requests": texts.iter().map(request).collect::<Vec<_>>() }
        }
        EmbeddingForm::Predict { .. } => {
            let instance = |text: &String| {
                object! { "content": text }.with("task_type", ask.purpose.as_deref().map(googles_purpose))
            };
            let instances = texts.iter().map(instance).collect::<Vec<_>>();
            let parameters = dimensions.map(|count| object! { "outputDimensionality": count });
            object! { "instances": instances }.with("parameters", parameters)
        }
        EmbeddingForm::Titan(Titan::Text1) => object! { "inputText": first },
        EmbeddingForm::Titan(Titan::Text2) => {
            object! { "inputText": first }.with("dimensions", dimensions).with("normalize", ask.normalize)
        }
        EmbeddingForm::Titan(Titan::Image) => {
            let config = dimensions.map(|count| object! { "outputEmbeddingLength": count });
            object! { "inputText": first }.with("embeddingConfig", config)
        }
        EmbeddingForm::Cohere { .. } => {
            let purpose = ask.purpose.as_deref().unwrap_or("search_document");
            object! { "texts": texts.iter().map(String::as_str).collect::<Vec<_>>(), "input_type": purpose }
                .with("truncate", ask.truncate.as_deref())
                .with("embedding_types", Some(vec!["float"]))
                .with("output_dimension", dimensions)
        }
        EmbeddingForm::Nova => {
            let text = object! { "value": first, "truncationMode": "NONE" };
            let mut params = object! { "embeddingPurpose": "GENERIC_INDEX", "text": text };
            if let Some(count) = dimensions {
                params.set("embeddingDimension", count);
            }
            object! { "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params }
        }
        EmbeddingForm::Ollama => {
            let mut body =
                object! { "model": ask.model, "input": texts.iter().map(String::as_str).collect::<Vec<_>>() }
                    .with("dimensions", dimensions);
            add(&mut body, extra);
            body
        }
        EmbeddingForm::Floats { dimensions: name, .. } => {
            let mut body =
                object! { "model": ask.model, "input": texts.iter().map(String::as_str).collect::<Vec<_>>() }
                    .with(name, dimensions)
                    .with("input_type", ask.purpose.as_deref())
                    .with("truncate", ask.truncate.as_deref())
                    .with("normalize", ask.normalize);
            add(&mut body, extra);
            body
        }
    }
}

fn add(body: &mut Node, extra: &[(Name, Node)]) {
    if let Node::Object(fields) = body {
        fields.extend(extra.iter().cloned());
    }
}

/// Google's word for what a vector is for; a word of Google's own stays.
fn googles_purpose(purpose: &str) -> String {
    match purpose {
        "search_document" => "RETRIEVAL_DOCUMENT".to_owned(),
        "search_query" => "RETRIEVAL_QUERY".to_owned(),
        other => other.to_ascii_uppercase(),
    }
}
