//! A whole chat completion, both ways.
//!
//! Rule: the first choice is the answer. Thinking never stands in `content`; what its provider must see again travels in
//! `thinking_blocks`.

use helix_shared::usage::TokenUsage;

use crate::chat::answer::{Answer, Citation, Stop};
use crate::chat::request::{Block, BlockKind, Call, Place};
use crate::chat::signed_id;
use crate::json::{Node, object};
use crate::translate::{AnswerContext, AnswerPlan, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads an answer.
pub(crate) fn parse_answer(body: &[u8], plan: &AnswerPlan, context: &AnswerContext) -> Result<Answer> {
    let node = Node::parse(body).map_err(|_| TranslateError::UnreadableAnswer)?;
    let Some(choice) = node.list("choices").first() else { return Err(TranslateError::UnreadableAnswer) };
    let Some(message) = choice.get("message") else { return Err(TranslateError::UnreadableAnswer) };
    let mut kinds = Vec::new();
    if let Some(text) = thinking_of(message) {
        kinds.push(BlockKind::Thinking { text, signature: None });
    }
    if let Some(text) = text_of(message.get("content")) {
        kinds.push(BlockKind::Text(text));
    }
    if let Some(text) = message.text("refusal").filter(|text| !text.is_empty()) {
        kinds.push(BlockKind::Refusal(text.to_owned()));
    }
    for (number, call) in message.list("tool_calls").iter().enumerate() {
        let function = call.get("function").unwrap_or(call);
        let id = call.text("id").unwrap_or_default().to_owned();
        let id = match signature_beside(call) {
            Some(signature) if id.is_empty() => {
                signed_id::sign(&context.call_id("call", number), Some(&plan.signer), signature)
            }
            Some(signature) => signed_id::sign(&id, Some(&plan.signer), signature),
            None => id,
        };
        kinds.push(parse_call(function, id));
    }
    if let Some(function) = message.get("function_call") {
        kinds.push(parse_call(function, String::new()));
    }
    let stop = parse_stop(choice, &kinds);
    let blocks = kinds.into_iter().map(|kind| Block::new(kind, Place::default())).collect();
    Ok(Answer { blocks, stop, ..Answer::default() })
}

fn parse_call(function: &Node, id: String) -> BlockKind {
    let arguments = match function.get("arguments") {
        None => String::new(),
        Some(Node::String(text)) => text.clone(),
        Some(object) => object.to_json(),
    };
    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
    BlockKind::Call(Call {
        id,
        name: function.text("name").unwrap_or_default().to_owned(),
        arguments,
        is_freeform: false,
    })
}

/// Returns the visible thinking of a message or a delta, in whichever field the server puts it.
pub(super) fn thinking_of(message: &Node) -> Option<String> {
    let plain = message.text("reasoning_content").or_else(|| message.text("reasoning"));
    let text = match plain {
        Some(text) => text.to_owned(),
        None => message.list("reasoning_details").iter().filter_map(|detail| detail.text("text")).collect(),
    };
    let text = if text.is_empty() { thinking_in(message.list("content")) } else { text };
    Some(text).filter(|text| !text.is_empty())
}

/// Returns the thinking that stands among the parts of a content, as Mistral writes it.
fn thinking_in(parts: &[Node]) -> String {
    let thoughts = parts.iter().filter(|part| part.text("type") == Some("thinking"));
    thoughts.flat_map(|thought| thought.list("thinking")).filter_map(|piece| piece.text("text")).collect()
}

/// Returns the text of a `content`: a string, or (some servers) an array of parts.
pub(super) fn text_of(content: Option<&Node>) -> Option<String> {
    let text = match content? {
        Node::String(text) => text.clone(),
        parts => parts.items().iter().filter_map(|part| part.text("text")).collect(),
    };
    Some(text).filter(|text| !text.is_empty())
}

fn parse_stop(choice: &Node, kinds: &[BlockKind]) -> Stop {
    let has_calls = kinds.iter().any(|kind| matches!(kind, BlockKind::Call(_)));
    let is_refused = kinds.iter().any(|kind| matches!(kind, BlockKind::Refusal(_)));
    stop_of(choice, has_calls, is_refused)
}

/// Reads `finish_reason`, which not every server sets right when there are calls.
pub(super) fn stop_of(choice: &Node, has_calls: bool, is_refused: bool) -> Stop {
    match choice.text("finish_reason") {
        Some("length") => Stop::Length,
        Some("content_filter") => Stop::Refusal(None),
        _ if is_refused => Stop::Declined,
        Some("tool_calls" | "function_call") => Stop::Calls,
        _ if has_calls => Stop::Calls,
        // vLLM's word for the stop text that was met.
        _ => match choice.text("stop_reason") {
            Some(text) => Stop::Sequence(Some(text.to_owned())),
            None => Stop::End,
        },
    }
}

pub(crate) fn render_stop(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Declined => "stop",
        Stop::Length => "length",
        Stop::Calls => "tool_calls",
        Stop::Refusal(_) => "content_filter",
    }
}

/// Renders an answer.
pub(crate) fn render_answer(answer: &Answer, usage: TokenUsage, plan: &AnswerPlan, context: &AnswerContext) -> Node {
    let mut text = String::new();
    let mut reasoning = String::new();
    let mut refusal = None;
    let mut thinking = Vec::new();
    let mut calls = Vec::new();
    let mut annotations = Vec::new();
    let mut written_chars = 0_usize;
    for (at, block) in answer.blocks.iter().enumerate() {
        match &block.kind {
            BlockKind::Text(piece) => {
                text.push_str(piece);
                let chars = piece.chars().count();
                written_chars += chars;
                let cited = answer.cited.iter().filter(|(block, _)| *block == at);
                annotations.extend(cited.map(|(_, citation)| annotation(citation, written_chars, chars)));
            }
            BlockKind::Refusal(piece) => refusal = Some(piece.clone()),
            BlockKind::Thinking { text, signature } => {
                reasoning.push_str(text);
                thinking.extend(signature.as_deref().map(|signature| thinking_block(text, signature)));
            }
            BlockKind::Redacted(data) => thinking.push(redacted_block(data)),
            BlockKind::Call(call) => calls.push(render_call(call, calls.len(), plan, context)),
            _ => {}
        }
    }
    if let Stop::Refusal(explanation) = &answer.stop {
        refusal = refusal.or_else(|| Some(explanation.clone().unwrap_or_default()));
    }
    let content = if text.is_empty() { Node::Null } else { Node::from(text) };
    let mut message = object! { "role": "assistant", "content": content, "refusal": refusal };
    if !reasoning.is_empty() {
        message.set("reasoning_content", reasoning);
    }
    if !thinking.is_empty() {
        message.set("thinking_blocks", Node::Array(thinking));
    }
    if !annotations.is_empty() {
        message.set("annotations", Node::Array(annotations));
    }
    if !calls.is_empty() {
        message.set("tool_calls", Node::Array(calls));
    }
    let finish = render_stop(&answer.stop);
    let choice = object! { "index": 0_u64, "message": message, "logprobs": Node::Null, "finish_reason": finish };
    object! {
        "id": context.answer_id("chatcmpl"),
        "object": "chat.completion",
        "created": context.created_unix_s,
        "model": &context.model,
        "choices": Node::Array(vec![choice]),
        "usage": render_usage(usage),
    }
}

/// Renders what the text before `end` comes from.
pub(super) fn annotation(citation: &Citation, end: usize, chars: usize) -> Node {
    object! { "type": "url_citation", "url_citation": citation.render(end, chars) }
}

pub(super) fn thinking_block(text: &str, signature: &str) -> Node {
    object! { "type": "thinking", "thinking": text, "signature": signature }
}

pub(super) fn redacted_block(data: &str) -> Node {
    object! { "type": "redacted_thinking", "data": data }
}

fn render_call(call: &Call, index: usize, plan: &AnswerPlan, context: &AnswerContext) -> Node {
    let id = if call.id.is_empty() { context.call_id("call", index) } else { call.id.clone() };
    let name = plan.names.inward(&call.name);
    if plan.is_freeform(name) {
        let input = freeform_input(&call.arguments);
        return object! { "id": id, "type": "custom", "custom": object! { "name": name, "input": input } };
    }
    let function = object! { "name": name, "arguments": &call.arguments };
    let extra = extra_content(&id);
    object! { "id": id, "type": "function", "function": function }.with("extra_content", extra)
}

/// Returns the signature of a call's id where Google's own servers of this dialect put it.
pub(super) fn extra_content(id: &str) -> Option<Node> {
    signed_id::split(id).signature.map(google_signature)
}

pub(super) fn google_signature(signature: String) -> Node {
    object! { "google": object! { "thought_signature": signature } }
}

/// Returns the signature that stands beside a call.
pub(super) fn signature_beside(call: &Node) -> Option<&str> {
    let google = call.get("extra_content")?.get("google")?;
    google.text("thought_signature").filter(|signature| !signature.is_empty())
}

/// Returns the plain text that a freeform tool takes, out of the JSON that carried it.
pub(crate) fn freeform_input(arguments: &str) -> String {
    let node = Node::parse(arguments.as_bytes()).unwrap_or_default();
    node.text("input").map_or_else(|| arguments.to_owned(), str::to_owned)
}

/// Renders the counters as OpenAI means them: cached tokens lie inside `prompt_tokens`.
pub(crate) fn render_usage(usage: TokenUsage) -> Node {
    let (prompt, completion) = (usage.total_input_tokens(), usage.total_output_tokens());
    let written = usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens);
    let mut node = object! {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt.saturating_add(completion),
        "prompt_tokens_details": object! {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": written,
        },
    };
    if usage.reasoning_tokens > 0 {
        node.set("completion_tokens_details", object! { "reasoning_tokens": usage.reasoning_tokens });
    }
    node
}
