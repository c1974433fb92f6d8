//! Answers as each provider would say them, whole and as a stream, of what all of them can say.

use proptest::prelude::*;

use super::*;
use crate::aws_events::tests::event;

/// A piece of an answer, in a form that both providers can say.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String),
    Call(String, Vec<(String, u32)>),
}

pub(super) fn pieces() -> impl Strategy<Value = (Option<String>, Vec<Piece>)> {
    let text = "[a-zé😀\"\\\\\n ]{1,12}";
    let call = ("[a-z]{1,6}", prop::collection::vec(("[a-z\"]{1,4}", any::<u32>()), 0..3))
        .prop_map(|(name, fields)| Piece::Call(name, fields));
    let thinking = prop::option::of(text.prop_map(|text| text));
    let first = prop::option::of(text.prop_map(Piece::Text));
    (thinking, first, prop::collection::vec(call, 0..4))
        .prop_map(|(thinking, first, calls)| (thinking, first.into_iter().chain(calls).collect()))
}

pub(super) fn input(fields: &[(String, u32)]) -> Value {
    Value::Object(fields.iter().map(|(name, number)| (name.clone(), json!(number))).collect())
}

/// Cuts a text in two at a character.
fn halves(text: &str) -> [String; 2] {
    let middle = text.chars().count() / 2;
    [text.chars().take(middle).collect(), text.chars().skip(middle).collect()]
}

/// The answer as OpenAI says it: whole, and as a stream.
fn as_openai(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let mut message = json!({ "role": "assistant", "content": null });
    let mut chunks = vec![delta(&json!({ "role": "assistant", "content": "" }))];
    if let Some(thinking) = thinking {
        message["reasoning_content"] = json!(thinking);
        chunks.extend(halves(thinking).map(|half| delta(&json!({ "reasoning_content": half }))));
    }
    let mut calls = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                message["content"] = json!(text);
                chunks.extend(halves(text).map(|half| delta(&json!({ "content": half }))));
            }
            Piece::Call(name, fields) => {
                let (index, arguments) = (calls.len(), input(fields).to_string());
                let id = format!("c{index}");
                let part = |function: Value| {
                    delta(&json!({ "tool_calls": [{ "index": index, "id": id, "function": function }] }))
                };
                chunks.push(part(json!({ "name": name, "arguments": "" })));
                chunks.extend(halves(&arguments).map(|half| part(json!({ "arguments": half }))));
                calls.push(call(&id, name, &arguments));
            }
        }
    }
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    chunks.extend([finish(reason), openai_usage(10, 5)]);
    let usage = openai_usage(10, 5)["usage"].clone();
    (
        json!({ "choices": [{ "index": 0, "message": message, "finish_reason": reason }], "usage": usage }),
        openai_stream(&chunks),
    )
}

/// The answer as Anthropic says it: whole, and as a stream.
fn as_anthropic(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let mut content = Vec::new();
    let mut events = vec![
        json!({ "type": "message_start", "message": { "model": "served", "usage": { "input_tokens": 10, "output_tokens": 1 } } }),
    ];
    let mut add = |block: Value, empty: Value, deltas: Vec<Value>| {
        let index = content.len();
        content.push(block);
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": empty }));
        events.extend(
            deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    };
    if let Some(text) = thinking {
        let mut deltas = halves(text).map(|half| json!({ "type": "thinking_delta", "thinking": half })).to_vec();
        deltas.push(json!({ "type": "signature_delta", "signature": "S" }));
        add(
            json!({ "type": "thinking", "thinking": text, "signature": "S" }),
            json!({ "type": "thinking", "thinking": "", "signature": "" }),
            deltas,
        );
    }
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let deltas = halves(text).map(|half| json!({ "type": "text_delta", "text": half })).to_vec();
                add(json!({ "type": "text", "text": text }), json!({ "type": "text", "text": "" }), deltas);
            }
            Piece::Call(name, fields) => {
                let (id, whole) = (format!("c{number}"), input(fields));
                let deltas = halves(&whole.to_string())
                    .map(|half| json!({ "type": "input_json_delta", "partial_json": half }))
                    .to_vec();
                let block = |input: Value| json!({ "type": "tool_use", "id": id, "name": name, "input": input });
                add(block(whole), block(json!({})), deltas);
            }
        }
    }
    let reason = if pieces.iter().any(|piece| matches!(piece, Piece::Call(..))) { "tool_use" } else { "end_turn" };
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": { "output_tokens": 5 } }));
    events.push(json!({ "type": "message_stop" }));
    let usage = json!({ "input_tokens": 10, "output_tokens": 5 });
    (json!({ "type": "message", "content": content, "stop_reason": reason, "usage": usage }), anthropic_stream(&events))
}

/// The answer as Gemini says it: whole, and as a stream.
fn as_gemini(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let mut parts = Vec::new();
    let mut events = Vec::new();
    let mut add = |whole: Value, pieces: Vec<Value>| {
        parts.push(whole);
        events.extend(pieces.into_iter().map(|piece| counted(candidate(&json!([piece]), None))));
    };
    if let Some(text) = thinking {
        let part = |text: &str| json!({ "text": text, "thought": true });
        add(part(text), halves(text).map(|half| part(&half)).to_vec());
    }
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let part = |text: &str| json!({ "text": text });
                add(part(text), halves(text).map(|half| part(&half)).to_vec());
            }
            Piece::Call(name, fields) => {
                let call = json!({ "id": format!("c{number}"), "name": name, "args": input(fields) });
                let part = json!({ "functionCall": call, "thoughtSignature": "U0lH" });
                add(part.clone(), vec![part]);
            }
        }
    }
    events.push(counted(candidate(&json!([]), Some("STOP"))));
    (counted(candidate(&json!(parts), Some("STOP"))), gemini_stream(&events))
}

/// The answer as Ollama says it: whole, and as lines.
fn as_ollama(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let line = |message: Value| json!({ "model": "served", "message": message, "done": false });
    let mut message = json!({ "role": "assistant", "content": "" });
    let mut lines = Vec::new();
    if let Some(thinking) = thinking {
        message["thinking"] = json!(thinking);
        lines
            .extend(halves(thinking).map(|half| line(json!({ "role": "assistant", "content": "", "thinking": half }))));
    }
    let mut calls = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                message["content"] = json!(text);
                lines.extend(halves(text).map(|half| line(json!({ "role": "assistant", "content": half }))));
            }
            Piece::Call(name, fields) => {
                let function = json!({ "name": name, "arguments": input(fields) });
                let call = json!({ "id": format!("c{}", calls.len()), "function": function });
                lines.push(line(json!({ "role": "assistant", "content": "", "tool_calls": [call] })));
                calls.push(call);
            }
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    let last = |message: Value| {
        json!({ "model": "served", "message": message, "done": true, "done_reason": "stop",
            "prompt_eval_count": 10, "eval_count": 5 })
    };
    lines.push(last(json!({ "role": "assistant", "content": "" })));
    (last(message), lines.iter().map(|line| format!("{line}\n")).collect())
}

/// The answer as Bedrock says it: whole, and as frames.
fn as_bedrock(thinking: Option<&String>, pieces: &[Piece]) -> (Value, Vec<u8>) {
    let mut content = Vec::new();
    let mut frames = event("messageStart", r#"{"role":"assistant"}"#);
    let mut add = |whole: Value, start: Option<Value>, deltas: Vec<Value>| {
        let index = content.len();
        content.push(whole);
        let mut push = |name: &str, field: &str, value: Value| {
            let mut payload = json!({ "contentBlockIndex": index });
            payload[field] = value;
            frames.extend(event(name, &payload.to_string()));
        };
        if let Some(start) = start {
            push("contentBlockStart", "start", start);
        }
        deltas.into_iter().for_each(|delta| push("contentBlockDelta", "delta", delta));
        push("contentBlockStop", "p", json!("ab"));
    };
    if let Some(text) = thinking {
        let reasoning = |value: Value| json!({ "reasoningContent": value });
        let mut deltas = halves(text).map(|half| reasoning(json!({ "text": half }))).to_vec();
        deltas.push(reasoning(json!({ "signature": "S" })));
        add(reasoning(json!({ "reasoningText": { "text": text, "signature": "S" } })), None, deltas);
    }
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let deltas = halves(text).map(|half| json!({ "text": half })).to_vec();
                add(json!({ "text": text }), None, deltas);
            }
            Piece::Call(name, fields) => {
                let (id, whole) = (format!("c{number}"), input(fields));
                let start = json!({ "toolUse": { "toolUseId": id, "name": name } });
                let pieces = halves(&whole.to_string());
                let deltas = pieces.map(|half| json!({ "toolUse": { "input": half } })).to_vec();
                let whole = json!({ "toolUse": { "toolUseId": id, "name": name, "input": whole } });
                add(whole, Some(start), deltas);
            }
        }
    }
    let reason = if pieces.iter().any(|piece| matches!(piece, Piece::Call(..))) { "tool_use" } else { "end_turn" };
    let usage = json!({ "inputTokens": 10, "outputTokens": 5, "totalTokens": 15 });
    frames.extend(event("messageStop", &json!({ "stopReason": reason }).to_string()));
    frames.extend(event("metadata", &json!({ "usage": usage }).to_string()));
    let message = json!({ "role": "assistant", "content": content });
    (json!({ "output": { "message": message }, "stopReason": reason, "usage": usage }), frames)
}

/// The answer as a provider says it.
pub(super) fn said_by(provider: ChatDialect, thinking: Option<&String>, pieces: &[Piece]) -> (Value, Vec<u8>) {
    let (whole, stream) = match provider {
        MESSAGES => as_anthropic(thinking, pieces),
        GEMINI => as_gemini(thinking, pieces),
        BEDROCK => return as_bedrock(thinking, pieces),
        OLLAMA => as_ollama(thinking, pieces),
        _ => as_openai(thinking, pieces),
    };
    (whole, stream.into_bytes())
}

/// Brings a whole answer into the form that the reader of streams gives.
pub(super) fn comparable(client: ChatDialect, whole: &Value) -> Value {
    match client {
        CHAT => {
            let choice = &whole["choices"][0];
            let mut message = choice["message"].clone();
            message.as_object_mut().unwrap().retain(|name, value| name != "role" && !value.is_null());
            json!({ "message": message, "finish_reason": choice["finish_reason"], "usage": whole["usage"] })
        }
        MESSAGES => json!({
            "content": whole["content"], "stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"], "usage": whole["usage"],
        }),
        _ => whole.clone(),
    }
}
