//! Answers of OpenAI's responses, whole and streamed, and the responses that are kept.
//!
//! Rule: strict as the real one: fields of chat completions are refused, and an earlier response is known by its id and
//! the key it was made with. Ids are random to nobody: they follow from the number of the request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::answer::{Answer, Part, Stop};
use crate::ask::Ask;
use crate::fault::Fault;
use crate::openai::{CREATED, event_headers, json_headers};
use crate::plan::{EventWriter, Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;

/// What is kept: a response, by key and id.
#[derive(Default)]
pub(crate) struct Kept(Mutex<BTreeMap<(String, String), Value>>);

impl Kept {
    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response.
    pub(crate) fn keep(&self, key: &str, id: &str, response: Value) {
        self.entries().insert((key.to_owned(), id.to_owned()), response);
    }

    /// Whether a response is kept.
    pub(crate) fn has(&self, key: &str, id: &str) -> bool {
        self.entries().contains_key(&(key.to_owned(), id.to_owned()))
    }

    /// Answers a request for `{id}` or `{id}/input_items`; `None`: there is no such response.
    pub(crate) fn answer(&self, key: &str, rest: &str, is_delete: bool) -> Option<Value> {
        let (id, is_items) = rest.strip_suffix("/input_items").map_or((rest, false), |id| (id, true));
        let at = (key.to_owned(), id.to_owned());
        let mut entries = self.entries();
        if is_delete {
            entries.remove(&at)?;
            return Some(json!({ "id": id, "object": "response.deleted", "deleted": true }));
        }
        let response = entries.get(&at)?;
        if is_items {
            let content = json!([{ "type": "input_text", "text": "Say hello." }]);
            let item =
                json!({ "id": "msg_in", "type": "message", "role": "user", "status": "completed", "content": content });
            return Some(
                json!({ "object": "list", "data": [item], "first_id": "msg_in", "last_id": "msg_in", "has_more": false }),
            );
        }
        Some(response.clone())
    }
}

/// Reads what only this API has.
///
/// # Errors
/// A fault for what the real one refuses.
pub(crate) fn read(body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    for foreign in ["messages", "n", "stop", "max_tokens", "max_completion_tokens", "seed"] {
        if body.get(foreign).is_some() {
            return Err(Fault::invalid(format!("Unknown parameter: '{foreign}'.")));
        }
    }
    if body.pointer("/stream_options/include_usage").is_some() {
        return Err(Fault::invalid("Unknown parameter: 'stream_options.include_usage'."));
    }
    if body.get("input").is_none() && body.get("prompt").is_none() {
        return Err(Fault::invalid("One of 'input' or 'prompt' must be provided."));
    }
    ask.output_cap = body.get("max_output_tokens").and_then(Value::as_u64);
    if ask.output_cap.is_some_and(|cap| cap < 16) {
        return Err(Fault::invalid("Invalid 'max_output_tokens': integer below minimum value."));
    }
    ask.is_unstored = body.get("store") == Some(&Value::Bool(false));
    ask.previous = body.get("previous_response_id").and_then(Value::as_str).map(str::to_owned);
    Ok(())
}

/// The error for an id that leads nowhere.
pub(crate) fn not_found(id: &str) -> Fault {
    let code = Some("previous_response_not_found".to_owned());
    Fault { code, ..Fault::new(400, format!("Previous response with id '{id}' not found.")) }
}

fn usage(tokens: &Tokens) -> Value {
    let (input, output) = (tokens.total_input(), tokens.output);
    json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cached_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write + tokens.cache_write_1h,
        },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": tokens.reasoning },
        "total_tokens": input + output,
    })
}

fn response(id: &str, ask: &Ask, answer: &Answer, script: &Script, status: &str, output: &[Value]) -> Value {
    let is_over = status != "in_progress";
    json!({
        "id": id, "object": "response", "created_at": CREATED, "status": status, "background": false,
        "error": null,
        "incomplete_details": if status == "incomplete" { json!({ "reason": "max_output_tokens" }) } else { Value::Null },
        "instructions": null, "max_output_tokens": ask.output_cap, "model": answer.model, "output": output,
        "parallel_tool_calls": true, "previous_response_id": ask.previous,
        "reasoning": { "effort": null, "summary": null },
        "service_tier": script.service_tier.as_deref().unwrap_or(if is_over { "default" } else { "auto" }),
        "store": !ask.is_unstored, "temperature": 1.0, "text": { "format": { "type": "text" } }, "tool_choice": "auto",
        "tools": [], "top_p": 1.0, "truncation": "disabled",
        "usage": answer.reported.filter(|_| is_over).map(|tokens| usage(&tokens)),
        "user": null, "metadata": {},
    })
}

/// The items of a whole answer.
fn items(answer: &Answer, seq: u64) -> Vec<Value> {
    let mut items = Vec::new();
    if let Some(thinking) = &answer.thinking {
        let summary = json!([{ "type": "summary_text", "text": thinking }]);
        items.push(json!({ "id": format!("rs_{seq}"), "type": "reasoning", "summary": summary }));
    }
    if let Some(text) = &answer.text {
        let content = json!([{ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }]);
        items.push(json!({ "id": format!("msg_{seq}"), "type": "message", "status": "completed", "role": "assistant",
            "content": content }));
    }
    for (at, call) in answer.calls.iter().enumerate() {
        items.push(json!({ "id": format!("fc_{seq}_{at}"), "type": "function_call", "status": "completed",
            "call_id": call.id, "name": call.name, "arguments": call.arguments }));
    }
    items
}

/// An item before anything was said.
fn opened(item: &Value) -> Value {
    let mut item = item.clone();
    match item["type"].as_str() {
        Some("reasoning") => item["summary"] = json!([]),
        Some("message") => {
            item["content"] = json!([]);
            item["status"] = json!("in_progress");
        }
        _ => {
            item["arguments"] = json!("");
            item["status"] = json!("in_progress");
        }
    }
    item
}

/// Plans a response, and says what is kept of it.
pub(crate) fn respond(ask: &Ask, script: &Script, seq: u64) -> (Plan, Option<(String, Value)>) {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    let id = format!("resp_fake_{seq}");
    let items = items(&answer, seq);
    let status = if answer.stop == Stop::Length { "incomplete" } else { "completed" };
    let whole = response(&id, ask, &answer, script, status, &items);
    let kept = (!ask.is_unstored).then(|| (id.clone(), whole.clone()));
    if !ask.stream {
        let plan = Plan::whole(200, json_headers(), whole.to_string());
        return (plan.counting(tokens, reported).scripted(script, bytes::Bytes::new), kept);
    }
    let mut events = Events { writer: EventWriter::new(script), number: 0, frames: Vec::new() };
    let begun = response(&id, ask, &answer, script, "in_progress", &[]);
    events.add("response.created", json!({ "response": begun }), 0, false);
    events.add("response.in_progress", json!({ "response": begun }), 0, false);
    let mut open: Option<usize> = None;
    for (part, output) in &answer.parts {
        let at = index_of(&answer, part);
        if open != Some(at) {
            if let Some(before) = open {
                events.close(&items, before, *output);
            }
            events.open(&items, at, *output);
            open = Some(at);
        }
        let item = &items[at]["id"];
        match part {
            Part::Thinking(text) => events.add(
                "response.reasoning_summary_text.delta",
                json!({ "item_id": item, "output_index": at, "summary_index": 0, "delta": text }),
                *output,
                true,
            ),
            Part::Text(text) => events.add(
                "response.output_text.delta",
                json!({ "item_id": item, "output_index": at, "content_index": 0, "delta": text, "logprobs": [] }),
                *output,
                true,
            ),
            Part::CallStart(_) => {}
            Part::CallArguments(_, piece) => events.add(
                "response.function_call_arguments.delta",
                json!({ "item_id": item, "output_index": at, "delta": piece }),
                *output,
                true,
            ),
        }
    }
    let all = tokens.output;
    if let Some(last) = open {
        events.close(&items, last, all);
    }
    if script.novelty {
        events.add("response.novelty", json!({ "id": id, "item_id": "x" }), all, false);
    }
    events.add(&format!("response.{status}"), json!({ "response": whole }), all, false);
    let Events { writer, number, frames } = events;
    // An error in the middle counts on from the events before it.
    let number = script.error_midstream.map_or(number, |after| {
        let mut seen = 0;
        let at = frames.iter().position(|frame| {
            let is_here = seen == after;
            seen += u64::from(frame.content);
            is_here
        });
        at.and_then(|at| u64::try_from(at).ok()).unwrap_or(number)
    });
    let fault = json!({ "type": "error", "sequence_number": number, "code": "server_error",
        "message": "The server had an error while processing your request", "param": null });
    let plan = Plan::stream(200, event_headers(), frames).counting(tokens, reported);
    (plan.scripted(script, || writer.event(Some("error"), &fault.to_string())), kept)
}

/// The item that a part belongs to.
fn index_of(answer: &Answer, part: &Part) -> usize {
    let thinking = usize::from(answer.thinking.is_some());
    match part {
        Part::Thinking(_) => 0,
        Part::Text(_) => thinking,
        Part::CallStart(at) | Part::CallArguments(at, _) => thinking + usize::from(answer.text.is_some()) + at,
    }
}

struct Events {
    writer: EventWriter,
    number: u64,
    frames: Vec<Frame>,
}

impl Events {
    fn add(&mut self, name: &str, fields: Value, output: u64, is_content: bool) {
        let mut event = json!({ "type": name, "sequence_number": self.number });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        self.number += 1;
        self.frames.push(Frame::now(self.writer.event(Some(name), &event.to_string()), output, is_content));
    }

    fn open(&mut self, items: &[Value], at: usize, output: u64) {
        let item = &items[at];
        self.add("response.output_item.added", json!({ "output_index": at, "item": opened(item) }), output, false);
        let id = &item["id"];
        match item["type"].as_str() {
            Some("reasoning") => {
                let part = json!({ "type": "summary_text", "text": "" });
                let fields = json!({ "item_id": id, "output_index": at, "summary_index": 0, "part": part });
                self.add("response.reasoning_summary_part.added", fields, output, false);
            }
            Some("message") => {
                let part = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
                let fields = json!({ "item_id": id, "output_index": at, "content_index": 0, "part": part });
                self.add("response.content_part.added", fields, output, false);
            }
            _ => {}
        }
    }

    fn close(&mut self, items: &[Value], at: usize, output: u64) {
        let item = &items[at];
        let id = &item["id"];
        match item["type"].as_str() {
            Some("reasoning") => {
                let part = &item["summary"][0];
                let fields = json!({ "item_id": id, "output_index": at, "summary_index": 0, "text": part["text"] });
                self.add("response.reasoning_summary_text.done", fields, output, false);
                let fields = json!({ "item_id": id, "output_index": at, "summary_index": 0, "part": part });
                self.add("response.reasoning_summary_part.done", fields, output, false);
            }
            Some("message") => {
                let part = &item["content"][0];
                let fields = json!({ "item_id": id, "output_index": at, "content_index": 0, "text": part["text"],
                    "logprobs": [] });
                self.add("response.output_text.done", fields, output, false);
                let fields = json!({ "item_id": id, "output_index": at, "content_index": 0, "part": part });
                self.add("response.content_part.done", fields, output, false);
            }
            _ => {
                let fields = json!({ "item_id": id, "output_index": at, "name": item["name"],
                    "arguments": item["arguments"] });
                self.add("response.function_call_arguments.done", fields, output, false);
            }
        }
        self.add("response.output_item.done", json!({ "output_index": at, "item": item }), output, false);
    }
}
