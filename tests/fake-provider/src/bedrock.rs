//! Answers as Amazon Bedrock: Converse and `ConverseStream`, and the signatures of who may ask.
//!
//! Rule: framing is worked out here from Amazon's documents, with no code of the gateway and none of the
//! signer that it uses; a wrong signature is refused as Amazon refuses it.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::answer::{Answer, Part, Stop};
use crate::ask::{Ask, Dialect, Endpoint, key_of};
use crate::fault::Fault;
use crate::issuers::Issuers;
use crate::openai::json_headers;
use crate::plan::{Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;
use crate::sigv4;

/// The one key that may sign, of Amazon's own documentation.
pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// Puts the model of the path and whether to stream into the body, where the other dialects have them.
pub(crate) fn completed(endpoint: Endpoint, parts: &Parts, mut body: Value) -> Value {
    if let (Dialect::Bedrock, Some(fields)) = (endpoint.dialect(), body.as_object_mut()) {
        let path = parts.uri.path();
        let model = path.rsplit_once("/model/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
        fields.insert("model".to_owned(), Value::from(unescaped(model)));
        fields.insert("stream".to_owned(), Value::from(endpoint == Endpoint::ConverseStream));
    }
    body
}

pub(crate) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.split_at_checked(2)).flatten();
        let byte = escaped.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = escaped.map_or(after, |(_, behind)| behind);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Refuses who may not ask: neither a bearer token alone nor a good signature.
pub(crate) fn admit(parts: &Parts, body: &[u8], issuers: &Issuers) -> Result<(), Fault> {
    if key_of(&parts.headers).is_some() {
        let has_signature = parts.headers.keys().any(|name| name.as_str().starts_with("x-amz-"));
        return if has_signature { Err(forbidden("both a token and a signature")) } else { Ok(()) };
    }
    let session = |id: &str| issuers.secret_of(id);
    match sigv4::key_id(parts) {
        None => Err(forbidden("Missing Authentication Token")),
        Some(ACCESS_KEY_ID) if issuers.is_replaced() => {
            let kind = Some("UnrecognizedClientException".to_owned());
            Err(Fault { kind, ..forbidden("The security token included in the request is invalid.") })
        }
        Some(id) if id != ACCESS_KEY_ID && session(id).is_none() => {
            let kind = Some("ExpiredTokenException".to_owned());
            Err(Fault { kind, ..forbidden("The security token included in the request is expired") })
        }
        Some(_) if sigv4::is_signed(parts, body, "bedrock", &session) => Ok(()),
        Some(_) => Err(forbidden("The request signature we calculated does not match the signature you provided.")),
    }
}

fn forbidden(message: &str) -> Fault {
    Fault { kind: Some("InvalidSignatureException".to_owned()), ..Fault::new(403, message) }
}

/// The headers of an error.
pub(crate) fn error_type(status: u16) -> &'static str {
    match status {
        400 => "ValidationException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

/// Plans an answer.
pub(crate) fn converse(ask: &Ask, script: &Script) -> Plan {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    if !ask.stream {
        let body = whole(&answer, script).to_string();
        return Plan::whole(200, json_headers(), body).counting(tokens, reported).scripted(script, Bytes::new);
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.amazon.eventstream"));
    let name = script.error_type.as_deref().unwrap_or("throttlingException");
    let said = json!({ "message": script.error_message.as_deref().unwrap_or("Too many requests") });
    Plan::stream(200, headers, frames(&answer, script))
        .counting(tokens, reported)
        .scripted(script, || frame([(":exception-type", name), (":message-type", "exception")], &said))
}

fn usage(tokens: &Tokens) -> Value {
    json!({
        "inputTokens": tokens.input, "outputTokens": tokens.output, "totalTokens": tokens.input + tokens.output,
        "cacheReadInputTokens": tokens.cache_read, "cacheWriteInputTokens": tokens.cache_write + tokens.cache_write_1h,
        "cacheDetails": [{ "ttl": "5m", "inputTokens": tokens.cache_write }, { "ttl": "1h", "inputTokens": tokens.cache_write_1h }],
    })
}

fn stop_reason<'a>(answer: &Answer, script: &'a Script) -> &'a str {
    let usual = match answer.stop {
        Stop::End => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
    };
    script.stop_reason.as_deref().unwrap_or(usual)
}

fn whole(answer: &Answer, script: &Script) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = &answer.thinking {
        content.push(json!({ "reasoningContent": { "reasoningText": { "text": thinking, "signature": "ZmFrZQ==" } } }));
    }
    content.extend(answer.text.as_ref().map(|text| json!({ "text": text })));
    for call in &answer.calls {
        let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        content.push(json!({ "toolUse": { "toolUseId": call.id, "name": call.name, "input": input } }));
    }
    let mut body = json!({
        "output": { "message": { "role": "assistant", "content": content } }, "stopReason": stop_reason(answer, script),
        "metrics": { "latencyMs": 1 },
    });
    if let Some(tokens) = &answer.reported {
        body["usage"] = usage(tokens);
    }
    body
}

fn frames(answer: &Answer, script: &Script) -> Vec<Frame> {
    let event = |name: &str, payload: Value, output: u64, content: bool| {
        let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
        Frame::now(frame(headers, &payload), output, content)
    };
    let mut frames = vec![event("messageStart", json!({ "role": "assistant" }), 0, false)];
    let (mut blocks, mut generated) = (0_usize, 0);
    let mut open: Option<usize> = None;
    for (part, output) in &answer.parts {
        let block = match part {
            Part::Thinking(_) => 0,
            Part::Text(_) => 1,
            Part::CallStart(at) | Part::CallArguments(at, _) => 2 + at,
        };
        if open.is_some_and(|before| before != block) {
            frames.push(event("contentBlockStop", json!({ "contentBlockIndex": blocks }), generated, false));
            blocks += 1;
        }
        open = Some(block);
        generated = *output;
        let (name, payload) = match part {
            Part::Thinking(text) => ("contentBlockDelta", json!({ "delta": { "reasoningContent": { "text": text } } })),
            Part::Text(text) => ("contentBlockDelta", json!({ "delta": { "text": text }, "p": "abcd" })),
            Part::CallStart(at) => {
                let call = answer.calls.get(*at).map(|call| json!({ "toolUseId": call.id, "name": call.name }));
                ("contentBlockStart", json!({ "start": { "toolUse": call } }))
            }
            Part::CallArguments(_, piece) => {
                ("contentBlockDelta", json!({ "delta": { "toolUse": { "input": piece } } }))
            }
        };
        let mut payload = payload;
        payload["contentBlockIndex"] = Value::from(blocks);
        frames.push(event(name, payload, *output, true));
    }
    frames.push(event("contentBlockStop", json!({ "contentBlockIndex": blocks }), generated, false));
    let all = answer.tokens.output;
    frames.push(event("messageStop", json!({ "stopReason": stop_reason(answer, script) }), all, false));
    if let Some(tokens) = &answer.reported {
        frames.push(event("metadata", json!({ "usage": usage(tokens), "metrics": { "latencyMs": 1 } }), all, false));
    }
    frames
}

fn frame<const N: usize>(headers: [(&str, &str); N], payload: &Value) -> Bytes {
    let payload = payload.to_string();
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = [number(written.len() + payload.len() + 16), number(written.len())].concat();
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&written);
    frame.extend_from_slice(payload.as_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    Bytes::from(frame)
}
