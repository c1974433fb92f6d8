//! Answers as Ollama: `/api/chat`, whole or as lines of JSON.
//!
//! Rule: stricter than the real one, which passes over what it does not know: a content that is no text, arguments that are
//! no object, an image with a prefix and an unknown field are refused. A stream is the default; it has no end mark but
//! its last line.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::answer::{Answer, Part, Stop};
use crate::ask::Ask;
use crate::fault::Fault;
use crate::openai::json_headers;
use crate::plan::{Frame, Plan};
use crate::script::Script;

const FIELDS: [&str; 10] =
    ["model", "messages", "tools", "format", "options", "stream", "keep_alive", "think", "truncate", "shift"];
const CREATED: &str = "2026-11-24T10:00:00.123456789Z";

/// Reads a request.
///
/// # Errors
/// A fault with status 400 that names the field.
pub(crate) fn read(body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    let unknown = body.as_object().and_then(|fields| fields.keys().find(|name| !FIELDS.contains(&name.as_str())));
    if let Some(name) = unknown {
        return Err(Fault::invalid(format!("unknown field {name}")));
    }
    ask.stream = body.get("stream").and_then(Value::as_bool).unwrap_or(true);
    ask.output_cap = body.pointer("/options/num_predict").and_then(Value::as_u64);
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    for message in messages.ok_or_else(|| Fault::invalid("messages: a non-empty array is required"))? {
        if !message.get("content").is_some_and(Value::is_string) {
            return Err(Fault::invalid(
                "json: cannot unmarshal into Go struct field ChatRequest.messages.content of type string",
            ));
        }
        let images = message.get("images").and_then(Value::as_array).into_iter().flatten();
        if images.into_iter().any(|image| image.as_str().is_none_or(|image| image.starts_with("data:"))) {
            return Err(Fault::invalid("illegal base64 data at input byte 4"));
        }
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            if !call.pointer("/function/arguments").is_some_and(Value::is_object) {
                return Err(Fault::invalid("json: cannot unmarshal string into ToolCallFunctionArguments"));
            }
        }
        if message.get("role").and_then(Value::as_str) == Some("tool") && message.get("tool_name").is_none() {
            return Err(Fault::invalid("a result without the name of its tool"));
        }
    }
    let thinks = ["qwen3", "gpt-oss"].iter().any(|name| ask.model.contains(name));
    if body.get("think").is_some_and(|think| think != &Value::Bool(false)) && !thinks {
        return Err(Fault::invalid(format!("\"{}\" does not support thinking", ask.model)));
    }
    Ok(())
}

/// Plans an answer.
pub(crate) fn chat(ask: &Ask, script: &Script) -> Plan {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    if !ask.stream {
        let mut message = json!({ "role": "assistant", "content": answer.text.clone().unwrap_or_default() });
        if let Some(thinking) = &answer.thinking {
            message["thinking"] = json!(thinking);
        }
        if !answer.calls.is_empty() {
            message["tool_calls"] = (0..answer.calls.len()).map(|at| call(&answer, at)).collect();
        }
        let body = last(&answer, script, &message).to_string();
        return Plan::whole(200, json_headers(), body).counting(tokens, reported).scripted(script, Bytes::new);
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let fault = json!({ "error": script.error_message.as_deref().unwrap_or("an error was encountered while running the model") });
    Plan::stream(200, headers, lines(&answer, script))
        .counting(tokens, reported)
        .scripted(script, || Bytes::from(format!("{fault}\n")))
}

fn lines(answer: &Answer, script: &Script) -> Vec<Frame> {
    let line = |document: &Value| format!("{document}\n");
    let mut frames = Vec::new();
    for (part, output) in &answer.parts {
        let message = match part {
            Part::Thinking(text) => json!({ "role": "assistant", "content": "", "thinking": text }),
            Part::Text(text) => json!({ "role": "assistant", "content": text }),
            Part::CallStart(at) => json!({ "role": "assistant", "content": "", "tool_calls": [call(answer, *at)] }),
            // A call comes whole.
            Part::CallArguments(..) => continue,
        };
        let document = json!({ "model": answer.model, "created_at": CREATED, "message": message, "done": false });
        frames.push(Frame::now(line(&document), *output, true));
    }
    let end = last(answer, script, &json!({ "role": "assistant", "content": "" }));
    frames.push(Frame::now(line(&end), answer.tokens.output, false));
    frames
}

fn call(answer: &Answer, at: usize) -> Value {
    let Some(call) = answer.calls.get(at) else { return json!({}) };
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
    json!({ "function": { "index": at, "name": call.name, "arguments": arguments } })
}

fn last(answer: &Answer, script: &Script, message: &Value) -> Value {
    let usual = if answer.stop == Stop::Length { "length" } else { "stop" };
    let mut document = json!({
        "model": answer.model, "created_at": CREATED, "message": message, "done": true,
        "done_reason": script.stop_reason.as_deref().unwrap_or(usual),
        "total_duration": 174_560_334, "load_duration": 101_397_084, "eval_duration": 50_000_000,
    });
    if let Some(tokens) = &answer.reported {
        // Zeros are left out.
        let counts = [("prompt_eval_count", tokens.total_input()), ("eval_count", tokens.output)];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            document[name] = json!(count);
        }
    }
    document
}
