//! What a stream of each API adds up to, and that its events come in their order.
//!
//! Rule: an event out of its order, after the last one, or of another API ends the test.

use super::front::{Front, Said};
use serde_json::{Value, json};

/// Reads the events: name and data.
pub(super) fn events(stream: &str) -> Vec<(String, String)> {
    let mut events = Vec::new();
    for block in stream.split_inclusive("\n\n") {
        assert!(block.ends_with("\n\n"), "an unfinished event: {block:?}");
        let value =
            |field: &str| block.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().to_owned();
        let data = value("data: ");
        if !data.is_empty() {
            events.push((value("event: "), data));
        }
    }
    events
}

fn json(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|_| panic!("not JSON: {data}"))
}

/// Returns the error that a stream ended in; it must be its last word, and the only one.
pub(super) fn error_of(front: Front, stream: &str) -> Option<String> {
    let events = events(stream);
    let errors: Vec<_> =
        events.iter().filter(|(_, data)| data != "[DONE]").filter_map(|(_, data)| front.error(&json(data))).collect();
    let last = events.last().and_then(|(_, data)| (data != "[DONE]").then(|| front.error(&json(data))).flatten());
    assert_eq!(errors.len(), usize::from(last.is_some()), "{stream}");
    last
}

/// Reads a stream that ended well.
pub(super) fn read(front: Front, stream: &str) -> Said {
    let events = events(stream);
    match front {
        Front::Chat | Front::Completions => front.read(&chunks(front, &events)),
        Front::Messages => front.read(&blocks(&events)),
        Front::Responses => items(&events),
    }
}

fn add(slot: &mut Value, piece: &Value) {
    if let Some(piece) = piece.as_str() {
        *slot = json!(format!("{}{piece}", slot.as_str().unwrap_or_default()));
    }
}

/// Puts chunks together to a whole answer.
fn chunks(front: Front, events: &[(String, String)]) -> Value {
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.1, "[DONE]");
    let mut choice = json!({ "message": {}, "text": "", "finish_reason": null });
    let mut usage = Value::Null;
    for (name, data) in chunks {
        let chunk = json(data);
        assert!(name.is_empty(), "{data}");
        // Some say it in a chunk of its own, some beside the reason to end.
        if chunk["usage"].is_object() {
            usage = chunk["usage"].clone();
        }
        // Azure's first chunk is about the prompt.
        let Some(given) = chunk["choices"].get(0) else { continue };
        if front == Front::Completions {
            add(&mut choice["text"], &given["text"]);
        }
        let (delta, message) = (&given["delta"], &mut choice["message"]);
        for field in ["content", "reasoning_content"] {
            add(&mut message[field], &delta[field]);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if message["tool_calls"].is_null() {
                message["tool_calls"] = json!([]);
            }
            let calls = message["tool_calls"].as_array_mut().unwrap();
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                calls.push(call.clone());
            } else {
                assert_eq!(index + 1, calls.len(), "one call after the other");
                add(&mut calls[index]["function"]["arguments"], &call["function"]["arguments"]);
            }
        }
        if given["finish_reason"].is_string() {
            choice["finish_reason"] = given["finish_reason"].clone();
        }
    }
    assert!(choice["finish_reason"].is_string());
    json!({ "choices": [choice], "usage": usage })
}

/// Puts the events of messages together to a whole answer.
fn blocks(events: &[(String, String)]) -> Value {
    let mut answer = json!({ "content": [] });
    let mut input = String::new();
    let (mut is_open, mut is_over) = (false, false);
    for (at, (name, data)) in events.iter().enumerate() {
        let event = json(data);
        assert_eq!(event["type"], name.as_str());
        assert!(!is_over, "{name} after the end");
        assert_eq!(at == 0, name == "message_start", "{name} at {at}");
        let content = answer["content"].as_array_mut().unwrap();
        match name.as_str() {
            "message_start" => answer["usage"] = event["message"]["usage"].clone(),
            "ping" => {}
            "content_block_start" => {
                assert!(!is_open && event["index"] == content.len());
                is_open = true;
                input.clear();
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert!(is_open && event["index"] == content.len() - 1);
                let (block, delta) = (content.last_mut().unwrap(), &event["delta"]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add(&mut block["text"], &delta["text"]),
                    "thinking_delta" => add(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => add(&mut block["signature"], &delta["signature"]),
                    "input_json_delta" => input += delta["partial_json"].as_str().unwrap(),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => {
                assert!(is_open && event["index"] == content.len() - 1);
                is_open = false;
                if !input.is_empty() {
                    content.last_mut().unwrap()["input"] = json(&input);
                }
            }
            "message_delta" => {
                assert!(!is_open);
                answer["stop_reason"] = event["delta"]["stop_reason"].clone();
                // What is said again replaces what was said at the start.
                for (name, count) in event["usage"].as_object().into_iter().flatten() {
                    answer["usage"][name] = count.clone();
                }
            }
            "message_stop" => is_over = answer["stop_reason"].is_string(),
            other => panic!("{other}"),
        }
    }
    assert!(is_over);
    answer
}

/// Reads the events of responses; the deltas must say what the response at the end says.
fn items(events: &[(String, String)]) -> Said {
    let mut deltas = Said::default();
    for (at, (name, data)) in events.iter().enumerate() {
        let event = json(data);
        assert_eq!(
            (event["type"].as_str(), event["sequence_number"].as_u64()),
            (Some(name.as_str()), u64::try_from(at).ok())
        );
        let delta = event["delta"].as_str().unwrap_or_default();
        match name.as_str() {
            "response.output_text.delta" => deltas.text += delta,
            "response.reasoning_summary_text.delta" => deltas.reasoning += delta,
            "response.completed" => assert_eq!(at + 1, events.len()),
            _ => {}
        }
    }
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), events[0].0.as_str()), ("response.completed", "response.created"));
    let said = Front::Responses.read(&json(data)["response"]);
    assert_eq!((&said.text, &said.reasoning), (&deltas.text, &deltas.reasoning));
    said
}
