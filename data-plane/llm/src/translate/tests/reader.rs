//! The client's side: reads what was written as a strict SDK would, and puts the answer together.
//!
//! It shares no code with the writers.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::ChatDialect;

/// Reads the events of a stream: name and data.
pub(super) fn events(stream: &str) -> Vec<(String, String)> {
    let mut events = Vec::new();
    for block in stream.split_inclusive("\n\n") {
        assert!(block.ends_with("\n\n"), "an unfinished event: {block:?}");
        let (mut name, mut data) = (String::new(), Vec::new());
        for line in block.lines() {
            if let Some(value) = line.strip_prefix("event: ") {
                name = value.to_owned();
            } else if let Some(value) = line.strip_prefix("data: ") {
                data.push(value);
            } else {
                assert!(line.is_empty() || line.starts_with(':'), "{line:?}");
            }
        }
        if !data.is_empty() {
            events.push((name, data.join("\n")));
        }
    }
    events
}

/// Reads a stream and returns the answer it adds up to, with an `error` if it ended in one. Panics where the order of
/// events is not the dialect's.
pub(super) fn gather(client: ChatDialect, stream: &str) -> Value {
    match client {
        ChatDialect::OpenAiChat | ChatDialect::Bedrock => gather_chat(stream),
        ChatDialect::AnthropicMessages => gather_messages(stream),
        ChatDialect::OpenAiResponses => gather_responses(stream),
        ChatDialect::OpenAiCompletions => gather_completions(stream),
        ChatDialect::Gemini | ChatDialect::Ollama => unreachable!("no client speaks it"),
    }
}

fn add(slot: &mut Value, piece: &Value) {
    let Some(piece) = piece.as_str() else { return };
    *slot = json!(format!("{}{piece}", slot.as_str().unwrap_or_default()));
}

fn gather_completions(stream: &str) -> Value {
    let mut answer = json!({ "text": "" });
    let mut is_over = false;
    for (name, data) in events(stream) {
        assert!(!is_over && name.is_empty());
        if data == "[DONE]" {
            assert!(answer["finish_reason"].is_string());
            is_over = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).unwrap();
        if chunk["error"].is_object() {
            answer["error"] = chunk["error"].clone();
            is_over = true;
            continue;
        }
        assert_eq!(chunk["object"], "text_completion");
        if chunk["usage"].is_object() {
            answer["usage"] = chunk["usage"].clone();
        }
        if let Some(choice) = chunk["choices"].get(0) {
            assert!(answer["finish_reason"].is_null(), "nothing follows the reason to end");
            add(&mut answer["text"], &choice["text"]);
            answer["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    assert!(is_over);
    answer
}

fn gather_chat(stream: &str) -> Value {
    let mut message = json!({});
    let mut answer = json!({});
    let (mut is_started, mut is_over) = (false, false);
    for (name, data) in events(stream) {
        assert!(!is_over && name.is_empty());
        if data == "[DONE]" {
            assert!(answer["finish_reason"].is_string());
            is_over = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).unwrap();
        if chunk["error"].is_object() {
            answer["error"] = chunk["error"].clone();
            is_over = true;
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        let Some(choice) = chunk["choices"].get(0) else {
            assert!(answer["finish_reason"].is_string() && answer["usage"].is_null());
            answer["usage"] = chunk["usage"].clone();
            continue;
        };
        let delta = &choice["delta"];
        assert_eq!(delta["role"].is_string(), !is_started, "the role stands in the first chunk");
        is_started = true;
        assert!(answer["finish_reason"].is_null(), "nothing follows the reason to end");
        for field in ["content", "refusal", "reasoning_content"] {
            if delta[field].as_str().is_some_and(|text| !text.is_empty())
                || delta["refusal"].is_string() && field == "refusal"
            {
                add(&mut message[field], &delta[field]);
            }
        }
        for field in ["thinking_blocks", "annotations"] {
            if let Some(given) = delta[field].as_array() {
                let known = message.as_object_mut().unwrap().entry(field).or_insert(json!([]));
                known.as_array_mut().unwrap().extend(given.clone());
            }
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message.as_object_mut().unwrap().entry("tool_calls").or_insert(json!([]));
            let calls = calls.as_array_mut().unwrap();
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if let Some(known) = calls.get_mut(index) {
                assert!(call["id"].is_null() && call["function"]["name"].is_null());
                add(&mut known["function"]["arguments"], &call["function"]["arguments"]);
            } else {
                assert_eq!(index, calls.len());
                assert!(call["id"].is_string() && call["type"].is_string());
                let mut call = call.clone();
                call.as_object_mut().unwrap().remove("index");
                calls.push(call);
            }
        }
        answer["finish_reason"] = choice["finish_reason"].clone();
    }
    assert!(is_over, "no last word");
    answer["message"] = message;
    answer
}

fn gather_messages(stream: &str) -> Value {
    let mut content: Vec<Value> = Vec::new();
    let mut answer = json!({});
    let mut inputs: Vec<String> = Vec::new();
    let (mut is_started, mut is_open, mut is_stopped, mut is_over) = (false, false, false, false);
    for (name, data) in events(stream) {
        let event: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(event["type"], name.as_str());
        assert!(!is_over, "{name} after the last word");
        let index = event["index"].as_u64().map(|index| usize::try_from(index).unwrap());
        match name.as_str() {
            "ping" => {}
            "error" => {
                answer["error"] = event["error"].clone();
                is_over = true;
            }
            "message_start" => {
                assert!(!is_started);
                is_started = true;
                assert_eq!(event["message"]["content"], json!([]));
            }
            "content_block_start" => {
                assert!(is_started && !is_open && !is_stopped);
                assert_eq!(index, Some(content.len()));
                is_open = true;
                content.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                assert!(is_open);
                assert_eq!(index, Some(content.len() - 1));
                let (block, delta) = (content.last_mut().unwrap(), &event["delta"]);
                let field = match (block["type"].as_str().unwrap(), delta["type"].as_str().unwrap()) {
                    ("text", "text_delta") => "text",
                    ("thinking", "thinking_delta") => "thinking",
                    ("thinking", "signature_delta") => "signature",
                    ("tool_use", "input_json_delta") => {
                        inputs.last_mut().unwrap().push_str(delta["partial_json"].as_str().unwrap());
                        continue;
                    }
                    other => panic!("{other:?}"),
                };
                add(&mut block[field], &delta[field]);
            }
            "content_block_stop" => {
                assert!(is_open);
                assert_eq!(index, Some(content.len() - 1));
                is_open = false;
                let input = inputs.last().unwrap();
                if content.last().unwrap()["type"] == "tool_use" && !input.is_empty() {
                    // Arguments that broke off are no object; a whole answer has none then.
                    let input = serde_json::from_str(input).ok().filter(Value::is_object);
                    content.last_mut().unwrap()["input"] = input.unwrap_or(json!({}));
                }
            }
            "message_delta" => {
                assert!(is_started && !is_open && !is_stopped);
                is_stopped = true;
                answer["stop_reason"] = event["delta"]["stop_reason"].clone();
                assert!(event["delta"].as_object().unwrap().contains_key("stop_sequence"));
                answer["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                answer["usage"] = event["usage"].clone();
            }
            "message_stop" => {
                assert!(is_stopped);
                is_over = true;
            }
            other => panic!("{other}"),
        }
    }
    assert!(is_over, "no last word");
    answer["content"] = Value::Array(content);
    answer
}

/// What is known of an item of a response.
#[derive(Default)]
struct Known {
    text: String,
    is_text_done: bool,
    has_part: bool,
}

fn gather_responses(stream: &str) -> Value {
    let mut items: Map<String, Value> = Map::new();
    let mut done = Vec::new();
    let mut open: Option<(String, Known)> = None;
    let mut seen = HashSet::new();
    let mut last = Value::Null;
    for (count, (name, data)) in events(stream).into_iter().enumerate() {
        let event: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(event["type"], name.as_str());
        assert_eq!(event["sequence_number"], count);
        assert!(last.is_null(), "{name} after the last word");
        match count {
            0 => assert_eq!(name, "response.created"),
            1 => assert_eq!(name, "response.in_progress"),
            _ => assert!(name != "response.created" && name != "response.in_progress"),
        }
        if let Some(id) = event["item_id"].as_str() {
            assert_eq!(open.as_ref().unwrap().0, id);
            assert_eq!(event["output_index"], done.len());
        }
        match name.as_str() {
            "response.created" | "response.in_progress" => {
                assert_eq!(event["response"]["status"], "in_progress");
                assert_eq!(event["response"]["output"], json!([]));
            }
            "response.output_item.added" => {
                assert!(open.is_none());
                assert_eq!(event["output_index"], done.len());
                let id = event["item"]["id"].as_str().unwrap().to_owned();
                assert!(seen.insert(id.clone()), "an id is used twice");
                items.insert(id.clone(), event["item"].clone());
                open = Some((id, Known::default()));
            }
            "response.output_item.done" => {
                let (id, known) = open.take().unwrap();
                assert_eq!(event["item"]["id"], id.as_str());
                assert_eq!(event["output_index"], done.len());
                assert_eq!(items[&id]["type"], event["item"]["type"]);
                assert_eq!(items[&id]["call_id"], event["item"]["call_id"]);
                let is_hidden = event["item"]["type"] == "reasoning" && known.text.is_empty();
                assert!(known.is_text_done || is_hidden);
                done.push(event["item"].clone());
            }
            "response.output_text.annotation.added" => assert!(!open.as_ref().unwrap().1.is_text_done),
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                open.as_mut().unwrap().1.has_part = true;
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                let known = &open.as_ref().unwrap().1;
                assert!(known.has_part && known.is_text_done);
                let part = &event["part"];
                let text = if part["type"] == "refusal" { &part["refusal"] } else { &part["text"] };
                assert_eq!(*text, known.text.as_str());
            }
            _ if name.ends_with(".delta") => {
                let known = &mut open.as_mut().unwrap().1;
                assert!(!known.is_text_done);
                known.text.push_str(event["delta"].as_str().unwrap());
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                let response = &event["response"];
                assert_eq!(format!("response.{}", response["status"].as_str().unwrap()), name);
                let output = response["output"].as_array().unwrap();
                assert_eq!(output[..done.len()], done[..]);
                assert_eq!(output.len(), done.len() + usize::from(open.is_some()));
                assert!(name == "response.failed" || open.is_none());
                last = response.clone();
            }
            _ if name.ends_with(".done") => {
                let known = &mut open.as_mut().unwrap().1;
                known.is_text_done = true;
                let text =
                    ["text", "refusal", "arguments", "input"].into_iter().find_map(|field| event[field].as_str());
                // A call without a piece of arguments has empty ones.
                let is_empty = known.text.is_empty() && text == Some("{}");
                assert!(text == Some(known.text.as_str()) || is_empty, "{event} {}", known.text);
            }
            other => panic!("{other}"),
        }
    }
    assert!(!last.is_null(), "no last word");
    last
}
