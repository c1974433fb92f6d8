//! Translation, case by case, as the wire reference numbers them; then what must hold for all bodies and streams.

mod answers;
mod bedrock;
mod bedrock_streams;
mod citations;
mod completions;
mod embeddings;
mod errors;
mod gemini_answers;
mod gemini_requests;
mod gemini_signatures;
mod gemini_streams;
mod hostile;
mod laws;
mod ollama;
mod reader;
mod responses;
mod responses_streams;
mod round_trips;
mod said;
mod streams_to_anthropic;
mod streams_to_openai;
mod thinking;
mod to_anthropic;
mod to_anthropic_limits;
mod to_openai;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::chat::traits::ModelTraits;
use crate::stream::{EndKind, StreamFacts};

const CHAT: ChatDialect = ChatDialect::OpenAiChat;
const MESSAGES: ChatDialect = ChatDialect::AnthropicMessages;
const RESPONSES: ChatDialect = ChatDialect::OpenAiResponses;
const BEDROCK: ChatDialect = ChatDialect::Bedrock;
const GEMINI: ChatDialect = ChatDialect::Gemini;
const OLLAMA: ChatDialect = ChatDialect::Ollama;

fn bytes(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).unwrap()
}

fn context_for(to: ChatDialect, model: &str) -> RequestContext<'_> {
    let traits = match to {
        MESSAGES => ModelTraits::claude(model),
        BEDROCK => ModelTraits::bedrock(model),
        GEMINI => ModelTraits::gemini(model),
        _ => ModelTraits::openai(model),
    };
    RequestContext { upstream_model: model, output_cap: None, max_output_tokens: Some(64_000), traits }
}

/// Translates a request, and returns the body as text too.
fn try_request(from: ChatDialect, to: ChatDialect, model: &str, body: &Value) -> Result<Translated, TranslateError> {
    translate_request(from, to, &bytes(body), &context_for(to, model))
}

fn value(translated: &Translated) -> Value {
    serde_json::from_slice(&translated.body).unwrap()
}

/// A chat completion request with these fields, for a Claude model.
fn to_claude(model: &str, fields: &Value) -> (Value, Vec<String>) {
    let translated = try_request(CHAT, MESSAGES, model, &with_defaults(fields)).unwrap();
    (value(&translated), translated.dropped)
}

fn claude_error(model: &str, fields: &Value) -> TranslateError {
    try_request(CHAT, MESSAGES, model, &with_defaults(fields)).unwrap_err()
}

/// A messages request with these fields, for an OpenAI model.
fn to_gpt(model: &str, fields: &Value) -> (Value, Vec<String>) {
    let mut body = with_defaults(fields);
    body.as_object_mut().unwrap().entry("max_tokens").or_insert(json!(100));
    let translated = try_request(MESSAGES, CHAT, model, &body).unwrap();
    (value(&translated), translated.dropped)
}

/// A chat completion request with these fields, for a Gemini model.
fn to_gemini(model: &str, fields: &Value) -> (Value, Vec<String>) {
    let translated = try_request(CHAT, GEMINI, model, &with_defaults(fields)).unwrap();
    (value(&translated), translated.dropped)
}

fn with_defaults(fields: &Value) -> Value {
    let mut body = json!({ "model": "asked", "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object", "properties": {} } } })
}

fn answer_context() -> AnswerContext {
    AnswerContext {
        request_id: "req_7".to_owned(),
        unique: "7".to_owned(),
        created_unix_s: 1_700_000_000,
        model: "asked".to_owned(),
        estimated_input_tokens: 9,
        ..AnswerContext::default()
    }
}

fn answer(provider: ChatDialect, client: ChatDialect, plan: &AnswerPlan, body: &Value) -> Value {
    let answer = translate_answer(provider, client, &bytes(body), plan, &answer_context()).unwrap();
    serde_json::from_slice(&answer).unwrap()
}

/// What became of a stream.
struct Outcome {
    sent: String,
    facts: StreamFacts,
}

fn run<'a>(
    (provider, client): (ChatDialect, ChatDialect),
    plan: &AnswerPlan,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    kind: EndKind,
) -> Outcome {
    let mut translator = StreamTranslator::new(provider, client, plan.clone(), answer_context());
    let mut sent = Vec::new();
    for chunk in chunks {
        translator.push(Bytes::copy_from_slice(chunk), &mut |bytes| sent.extend_from_slice(&bytes));
    }
    sent.extend(translator.finish(kind).unwrap_or_default());
    assert_eq!(translator.finish(kind), None);
    assert!(translator.is_over());
    Outcome { sent: String::from_utf8(sent).unwrap(), facts: translator.facts() }
}

fn whole(pair: (ChatDialect, ChatDialect), plan: &AnswerPlan, stream: &str) -> String {
    run(pair, plan, [stream.as_bytes()], EndKind::Eof).sent
}

/// A plan of a client that asked for the usage event.
fn asking() -> AnswerPlan {
    AnswerPlan { asks_usage: true, ..AnswerPlan::default() }
}

/// Writes events as Anthropic does.
fn anthropic_stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

/// Writes events as Gemini does: line ends of two bytes, no names, no end mark.
fn gemini_stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect()
}

/// A Gemini answer, or event, with these parts; `reason` where it ends.
fn candidate(parts: &Value, reason: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({ "candidates": [candidate], "modelVersion": "served", "responseId": "r1" })
}

/// The same with counters of 10 and 5 tokens.
fn counted(mut event: Value) -> Value {
    event["usageMetadata"] = json!({ "promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15 });
    event
}

/// Writes chunks as OpenAI does, with the end mark.
fn openai_stream(chunks: &[Value]) -> String {
    let chunks: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    chunks + "data: [DONE]\n\n"
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "c1", "model": "served", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finish(reason: &str) -> Value {
    json!({ "id": "c1", "model": "served", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

fn openai_usage(prompt: u64, completion: u64) -> Value {
    json!({ "id": "c1", "choices": [], "usage": { "prompt_tokens": prompt, "completion_tokens": completion } })
}
