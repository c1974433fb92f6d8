//! A whole message, both ways.
//!
//! Rule: what the provider's own tools did is not the client's call. Every field that the SDKs require is there, `null`
//! where it says nothing.

use helix_shared::usage::TokenUsage;

use crate::chat::answer::{Answer, Citation, Stop};
use crate::chat::request::{Block, BlockKind, Call, Place};
use crate::json::{Node, object};
use crate::translate::{AnswerContext, AnswerPlan, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads an answer.
pub(crate) fn parse_answer(body: &[u8]) -> Result<Answer> {
    let node = Node::parse(body).map_err(|_| TranslateError::UnreadableAnswer)?;
    if node.text("type") != Some("message") && node.get("content").is_none() {
        return Err(TranslateError::UnreadableAnswer);
    }
    let mut answer = Answer { stop: parse_stop(&node), ..Answer::default() };
    for node in node.list("content") {
        let Some(block) = parse_block(node) else { continue };
        let cited = node.list("citations").iter().filter_map(|citation| Citation::parse(citation, "url"));
        answer.cited.extend(cited.map(|citation| (answer.blocks.len(), citation)));
        answer.blocks.push(block);
    }
    Ok(answer)
}

fn parse_block(node: &Node) -> Option<Block> {
    let text = |name: &str| node.text(name).unwrap_or_default().to_owned();
    let kind = match node.text("type")? {
        "text" if node.text("text") == Some("") => return None,
        "text" => BlockKind::Text(text("text")),
        "thinking" => BlockKind::Thinking {
            text: text("thinking"),
            signature: node.text("signature").filter(|it| !it.is_empty()).map(str::to_owned),
        },
        "redacted_thinking" => BlockKind::Redacted(text("data")),
        "tool_use" => BlockKind::Call(Call {
            id: text("id"),
            name: text("name"),
            arguments: node.get("input").map_or_else(|| "{}".to_owned(), Node::to_json),
            is_freeform: false,
        }),
        _ => return None,
    };
    Some(Block::new(kind, Place::default()))
}

/// Reads `stop_reason` and what belongs to it, from a message or from the delta at its end.
pub(super) fn parse_stop(node: &Node) -> Stop {
    match node.text("stop_reason") {
        Some("stop_sequence") => Stop::Sequence(node.text("stop_sequence").map(str::to_owned)),
        Some("max_tokens" | "model_context_window_exceeded" | "pause_turn") => Stop::Length,
        Some("tool_use") => Stop::Calls,
        Some("refusal") => {
            let explanation = node.get("stop_details").and_then(|details| details.text("explanation"));
            Stop::Refusal(explanation.map(str::to_owned))
        }
        _ => Stop::End,
    }
}

/// Returns `stop_reason` and `stop_sequence`.
pub(super) fn render_stop(stop: &Stop) -> (&'static str, Option<&str>) {
    match stop {
        Stop::End => ("end_turn", None),
        // A stop sequence without its text would break the client's own rule that they come together.
        Stop::Sequence(None) => ("end_turn", None),
        Stop::Sequence(Some(text)) => ("stop_sequence", Some(text)),
        Stop::Length => ("max_tokens", None),
        Stop::Calls => ("tool_use", None),
        Stop::Declined | Stop::Refusal(_) => ("refusal", None),
    }
}

/// Renders an answer.
pub(crate) fn render_answer(answer: &Answer, usage: TokenUsage, plan: &AnswerPlan, context: &AnswerContext) -> Node {
    let mut calls = 0_usize;
    let mut content = Vec::with_capacity(answer.blocks.len());
    for block in &answer.blocks {
        content.push(match &block.kind {
            BlockKind::Text(text) | BlockKind::Refusal(text) if text.is_empty() => continue,
            BlockKind::Text(text) | BlockKind::Refusal(text) => object! { "type": "text", "text": text },
            BlockKind::Thinking { text, signature } => {
                object! { "type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or_default() }
            }
            BlockKind::Redacted(data) => object! { "type": "redacted_thinking", "data": data },
            BlockKind::Call(call) => {
                calls += 1;
                let id = if call.id.is_empty() { context.call_id("toolu", calls - 1) } else { call.id.clone() };
                let name = plan.names.inward(&call.name);
                object! { "type": "tool_use", "id": id, "name": name, "input": input_of(&call.arguments) }
            }
            _ => continue,
        });
    }
    let (reason, sequence) = render_stop(&answer.stop);
    object! {
        "id": context.answer_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": &context.model,
        "content": Node::Array(content),
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": render_usage(usage),
    }
}

/// Arguments that are no JSON object become an empty one: the client's SDK takes nothing else.
fn input_of(arguments: &str) -> Node {
    Node::parse(arguments.as_bytes()).ok().filter(Node::is_object).unwrap_or_else(|| object! {})
}

/// Renders the counters as Anthropic means them: cached tokens lie outside of `input_tokens`.
pub(super) fn render_usage(usage: TokenUsage) -> Node {
    let written = usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens);
    let mut node = object! {
        "input_tokens": usage.input_tokens.saturating_add(usage.audio_input_tokens),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.total_output_tokens(),
    };
    if usage.cache_write_long_tokens > 0 {
        node.set(
            "cache_creation",
            object! {
                "ephemeral_5m_input_tokens": usage.cache_write_tokens,
                "ephemeral_1h_input_tokens": usage.cache_write_long_tokens,
            },
        );
    }
    if usage.reasoning_tokens > 0 {
        node.set("output_tokens_details", object! { "thinking_tokens": usage.reasoning_tokens });
    }
    if usage.searches > 0 {
        node.set("server_tool_use", object! { "web_search_requests": usage.searches });
    }
    node
}
