//! Embeddings in the forms of Google's Gemini API and Vertex AI, of Amazon Bedrock's `InvokeModel`, and of Ollama.
//!
//! Rule: strict where the real ones are: an unknown field is refused, and so is a text too many for one call. Each call is
//! a line of the bill of its own; what it counted is said where the real one says it.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::ask::{Ask, Endpoint};
use crate::fault::Fault;
use crate::openai::json_headers;
use crate::plan::Plan;
use crate::price::Tokens;
use crate::script::Script;

/// Reads a request.
///
/// # Errors
/// A fault with status 400 that names the field.
pub(crate) fn read(endpoint: Endpoint, parts: &Parts, body: &Value) -> Result<Ask, Fault> {
    let path = parts.uri.path();
    let in_path = path.rsplit('/').next().and_then(|last| last.rsplit_once(':')).map(|(model, _)| model);
    let given = body.get("model").and_then(Value::as_str);
    let mut ask = Ask { dimensions: 8, ..Ask::default() };
    let (model, texts, dimensions) = match endpoint {
        Endpoint::BatchEmbed => {
            let model = in_path.unwrap_or_default().to_owned();
            only(body, &["requests"])?;
            let requests = list(body, "requests", 100)?;
            let mut texts = Vec::new();
            for request in requests {
                only(request, &["model", "content", "taskType", "outputDimensionality"])?;
                if request.get("model").and_then(Value::as_str) != Some(&format!("models/{model}")) {
                    return Err(Fault::invalid("the model of a request is not that of the path"));
                }
                texts.push(text(request.pointer("/content/parts/0/text"), "content.parts.text")?);
            }
            (model, texts, requests.first().and_then(|request| request.get("outputDimensionality")?.as_u64()))
        }
        Endpoint::Predict => {
            let model = in_path.unwrap_or_default().to_owned();
            only(body, &["instances", "parameters"])?;
            let most = if model.contains("gemini") { 1 } else { 5 };
            let texts = list(body, "instances", most)?.iter().map(|instance| {
                only(instance, &["content", "task_type", "title"])?;
                text(instance.get("content"), "content")
            });
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            (model, texts, body.pointer("/parameters/outputDimensionality").and_then(Value::as_u64))
        }
        Endpoint::Invoke => {
            let model = given.unwrap_or_default().to_owned();
            let (texts, dimensions) = read_invoked(&model, body)?;
            (model, texts, dimensions)
        }
        _ => {
            only(body, &["model", "input", "truncate", "dimensions", "keep_alive", "options"])?;
            let texts = list(body, "input", usize::MAX)?.iter().map(|item| text(Some(item), "input"));
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            (given.unwrap_or_default().to_owned(), texts, body.get("dimensions").and_then(Value::as_u64))
        }
    };
    ask.model = model;
    ask.inputs = u64::try_from(texts.len()).unwrap_or(1);
    ask.text_bytes = texts.iter().map(|text| u64::try_from(text.len()).unwrap_or(0)).sum();
    ask.dimensions = dimensions.unwrap_or(8);
    Ok(ask)
}

fn read_invoked<'a>(model: &str, body: &'a Value) -> Result<(Vec<&'a str>, Option<u64>), Fault> {
    if model.contains("cohere") {
        only(body, &["model", "stream", "texts", "input_type", "truncate", "embedding_types", "output_dimension"])?;
        if body.get("input_type").and_then(Value::as_str).is_none() {
            return Err(Fault::invalid("Malformed input request: required key [input_type] not found"));
        }
        let texts = list(body, "texts", 96)?.iter().map(|item| text(Some(item), "texts"));
        return Ok((texts.collect::<Result<_, _>>()?, body.get("output_dimension").and_then(Value::as_u64)));
    }
    if model.contains("titan-embed-text-v2") {
        only(body, &["model", "stream", "inputText", "dimensions", "normalize", "embeddingTypes"])?;
    } else {
        only(body, &["model", "stream", "inputText"])?;
    }
    Ok((vec![text(body.get("inputText"), "inputText")?], body.get("dimensions").and_then(Value::as_u64)))
}

fn only(body: &Value, known: &[&str]) -> Result<(), Fault> {
    let fields = body.as_object().ok_or_else(|| Fault::invalid("an object is required"))?;
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Fault::invalid(format!("extraneous key [{name}] is not permitted"))),
        None => Ok(()),
    }
}

fn list<'a>(body: &'a Value, name: &str, most: usize) -> Result<&'a Vec<Value>, Fault> {
    let items = body.get(name).and_then(Value::as_array).filter(|items| !items.is_empty() && items.len() <= most);
    items.ok_or_else(|| Fault::invalid(format!("{name}: an array of 1 to {most} items is required")))
}

fn text<'a>(value: Option<&'a Value>, name: &str) -> Result<&'a str, Fault> {
    let text = value.and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| Fault::invalid(format!("{name}: a text is required")))
}

/// Plans an answer.
pub(crate) fn plan(endpoint: Endpoint, ask: &Ask, script: &Script) -> Plan {
    let input = script.input_tokens.unwrap_or_else(|| ask.counted_input());
    let tokens = Tokens { input, ..Tokens::default() };
    let reported = (!script.no_usage).then_some(tokens);
    let count = reported.map(|tokens| tokens.input);
    let mut headers = json_headers();
    let vectors: Vec<Value> = (0..ask.inputs).map(|index| json!(crate::openai::vector(index, ask))).collect();
    let first = vectors.first().cloned().unwrap_or_default();
    let mut body = match endpoint {
        Endpoint::BatchEmbed => {
            let embeddings: Vec<Value> = vectors.iter().map(|values| json!({ "values": values })).collect();
            json!({ "embeddings": embeddings, "usageMetadata": { "promptTokenCount": count } })
        }
        Endpoint::Predict => {
            // All of it is said of the first.
            let said = |at: usize| if at == 0 { count } else { Some(0) };
            let one = |(at, values): (usize, &Value)| json!({ "embeddings": { "values": values, "statistics": { "truncated": false, "token_count": said(at) } } });
            json!({ "predictions": vectors.iter().enumerate().map(one).collect::<Vec<_>>() })
        }
        Endpoint::Invoke if ask.model.contains("cohere") => {
            if let Some(count) = count {
                let name = HeaderName::from_static("x-amzn-bedrock-input-token-count");
                headers.insert(name, HeaderValue::from(count));
            }
            json!({ "id": "fake", "response_type": "embeddings_by_type", "embeddings": { "float": vectors } })
        }
        Endpoint::Invoke => json!({ "embedding": first, "inputTextTokenCount": count }),
        _ => json!({ "model": ask.model, "embeddings": vectors, "total_duration": 1000, "prompt_eval_count": count }),
    };
    if count.is_none()
        && let Some(fields) = body.as_object_mut()
    {
        fields
            .retain(|name, _| !matches!(name.as_str(), "usageMetadata" | "inputTextTokenCount" | "prompt_eval_count"));
    }
    Plan::whole(200, headers, body.to_string()).counting(tokens, reported).scripted(script, Bytes::new)
}
