//! Answers in the Gemini dialect: `generateContent`, and the stream of it.
//!
//! Rule: strict where the real one is: model and method stand in the path, a stream is asked for with `alt=sse`, an unknown
//! name is refused, and each call has its answer. Counters come with every event and are running totals; the stream has no
//! end mark.

use http::Uri;
use serde_json::{Value, json};

use crate::answer::{Answer, Part, Stop};
use crate::ask::{Ask, Dialect, Endpoint};
use crate::fault::Fault;
use crate::openai::{event_headers, json_headers};
use crate::plan::{EventWriter, Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;

const FIELDS: [&str; 8] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "serviceTier",
];

/// Reads a request.
///
/// # Errors
/// A fault with status 400 that names the field.
pub(crate) fn read(endpoint: Endpoint, uri: &Uri, body: &Value) -> Result<Ask, Fault> {
    let stream = endpoint == Endpoint::StreamGenerate;
    if stream && !uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse")) {
        return Err(Fault::invalid("this provider streams with alt=sse only"));
    }
    let name = uri.path().rsplit('/').next().and_then(|last| last.rsplit_once(':'));
    let model = name.map(|(model, _)| model.to_owned()).filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| Fault::invalid("the path names no model"))?;
    let unknown = body.as_object().and_then(|fields| fields.keys().find(|name| !FIELDS.contains(&name.as_str())));
    if let Some(name) = unknown {
        let message = format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
        return Err(Fault::invalid(message));
    }
    check_contents(body)?;
    let cap = body.get("generationConfig").and_then(|config| config.get("maxOutputTokens"));
    Ok(Ask { model, stream, output_cap: cap.and_then(Value::as_u64), ..Ask::default() })
}

fn check_contents(body: &Value) -> Result<(), Fault> {
    let contents = body.get("contents").and_then(Value::as_array).filter(|contents| !contents.is_empty());
    let contents =
        contents.ok_or_else(|| Fault::invalid("GenerateContentRequest.contents: contents is not specified"))?;
    let mut open_calls = 0;
    for content in contents {
        let parts = content.get("parts").and_then(Value::as_array).filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| Fault::invalid("contents.parts must not be empty."))?;
        let count = |name: &str| parts.iter().filter(|part| part.get(name).is_some()).count();
        match content.get("role").and_then(Value::as_str) {
            Some("user") if count("functionResponse") != open_calls => {
                return Err(Fault::invalid(
                    "Please ensure that the number of function response parts is equal to the number of function call \
                     parts of the function call turn.",
                ));
            }
            Some("user") => open_calls = 0,
            Some("model") => open_calls = count("functionCall"),
            _ => return Err(Fault::invalid("Please use a valid role: user, model.")),
        }
    }
    Ok(())
}

/// The refusal of a bad key, which comes as a bad request.
pub(crate) fn bad_key() -> Fault {
    let message = "API key not valid. Please pass a valid API key.";
    Fault { kind: Some("API_KEY_INVALID".to_owned()), ..Fault::new(400, message) }
}

/// Renders an error; its kind is the reason in the details.
pub(crate) fn error(fault: &Fault) -> Value {
    let mut details = Vec::new();
    if let Some(reason) = &fault.kind {
        details.push(json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason }));
    }
    if let Some(seconds) = fault.retry_after {
        let delay = format!("{seconds}s");
        details.push(json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay }));
    }
    let status = match fault.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    json!({ "error": { "code": fault.status, "message": fault.message, "status": status, "details": details } })
}

/// Plans an answer.
pub(crate) fn generate(ask: &Ask, script: &Script, seq: u64) -> Plan {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    if !ask.stream {
        let mut parts = Vec::new();
        parts.extend(answer.thinking.iter().map(|text| json!({ "text": text, "thought": true })));
        parts.extend(answer.text.iter().map(|text| json!({ "text": text })));
        parts.extend((0..answer.calls.len()).map(|at| call(&answer, at)));
        let body = document(&answer, &parts, Some(finish_reason(&answer, script)), tokens.output, seq);
        return Plan::whole(200, json_headers(), body.to_string())
            .counting(tokens, reported)
            .scripted(script, bytes::Bytes::new);
    }
    let writer = EventWriter::new(script);
    let fault = Fault::new(503, "The model is overloaded. Please try again later.").body(Dialect::Gemini, "");
    Plan::stream(200, event_headers(), events(&answer, script, seq, writer))
        .counting(tokens, reported)
        .scripted(script, || writer.event(None, &fault))
}

fn events(answer: &Answer, script: &Script, seq: u64, writer: EventWriter) -> Vec<Frame> {
    let send = |part: Value, reason: Option<String>, output: u64, content: bool| {
        let event = document(answer, &[part], reason, output, seq);
        Frame::now(writer.event(None, &event.to_string()), output, content)
    };
    let mut frames = Vec::new();
    for (part, output) in &answer.parts {
        let part = match part {
            Part::Thinking(text) => json!({ "text": text, "thought": true }),
            Part::Text(text) => json!({ "text": text }),
            Part::CallStart(at) => call(answer, *at),
            // A call comes whole.
            Part::CallArguments(..) => continue,
        };
        frames.push(send(part, None, *output, true));
    }
    let reason = Some(finish_reason(answer, script));
    frames.push(send(json!({ "text": "" }), reason, answer.tokens.output, false));
    frames
}

/// Of parallel calls the first is signed.
fn call(answer: &Answer, at: usize) -> Value {
    let Some(call) = answer.calls.get(at) else { return json!({}) };
    let args: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
    let mut part = json!({ "functionCall": { "id": call.id, "name": call.name, "args": args } });
    if at == 0 {
        part["thoughtSignature"] = json!("ZmFrZSs/");
    }
    part
}

fn document(answer: &Answer, parts: &[Value], reason: Option<String>, output: u64, seq: u64) -> Value {
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    let mut document = json!({
        "candidates": [candidate], "modelVersion": answer.model, "responseId": format!("fake_{seq}"),
    });
    if let Some(tokens) = answer.reported_at(output) {
        document["usageMetadata"] = usage(&tokens);
    }
    document
}

fn finish_reason(answer: &Answer, script: &Script) -> String {
    let usual = match answer.stop {
        Stop::End | Stop::Tools => "STOP",
        Stop::Length => "MAX_TOKENS",
    };
    script.stop_reason.clone().unwrap_or_else(|| usual.to_owned())
}

/// Cached tokens lie inside of the prompt, thoughts beside the candidates; zeros are left out.
fn usage(tokens: &Tokens) -> Value {
    let (prompt, candidates) = (tokens.total_input(), tokens.output - tokens.reasoning);
    let counts = [
        ("promptTokenCount", prompt),
        ("cachedContentTokenCount", tokens.cache_read),
        ("candidatesTokenCount", candidates),
        ("thoughtsTokenCount", tokens.reasoning),
        ("totalTokenCount", prompt + tokens.output),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), json!(count))).collect()
}
