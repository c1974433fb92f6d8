//! A whole answer of Converse, read neutrally.
//!
//! Rule: why it ended is said as closely as the client's dialects can say it; a stop sequence is not named by Converse.

use crate::chat::answer::{Answer, Stop};
use crate::chat::request::{Block, BlockKind, Call, Place};
use crate::json::Node;
use crate::translate::TranslateError;

/// Reads an answer.
pub(crate) fn parse_answer(body: &[u8]) -> Result<Answer, TranslateError> {
    let node = Node::parse(body).map_err(|_| TranslateError::UnreadableAnswer)?;
    let message = node.get("output").and_then(|output| output.get("message"));
    let message = message.ok_or(TranslateError::UnreadableAnswer)?;
    let blocks = message.list("content").iter().filter_map(parse_block).collect();
    Ok(Answer { blocks, stop: parse_stop(&node), ..Answer::default() })
}

fn parse_block(node: &Node) -> Option<Block> {
    let kind = if let Some(text) = node.text("text") {
        BlockKind::Text(Some(text).filter(|text| !text.is_empty())?.to_owned())
    } else if let Some(call) = node.get("toolUse") {
        let text = |name: &str| call.text(name).unwrap_or_default().to_owned();
        let arguments = call.get("input").map_or_else(|| "{}".to_owned(), Node::to_json);
        BlockKind::Call(Call { id: text("toolUseId"), name: text("name"), arguments, is_freeform: false })
    } else if let Some(reasoning) = node.get("reasoningContent") {
        match (reasoning.get("reasoningText"), reasoning.text("redactedContent")) {
            (Some(thought), _) => BlockKind::Thinking {
                text: thought.text("text").unwrap_or_default().to_owned(),
                signature: thought.text("signature").filter(|it| !it.is_empty()).map(str::to_owned),
            },
            (None, Some(data)) => BlockKind::Redacted(data.to_owned()),
            (None, None) => return None,
        }
    } else if let Some(cited) = node.get("citationsContent") {
        let text: String = cited.list("content").iter().filter_map(|part| part.text("text")).collect();
        BlockKind::Text(Some(text).filter(|text| !text.is_empty())?)
    } else {
        return None;
    };
    Some(Block::new(kind, Place::default()))
}

/// Reads `stopReason`, from an answer or from the event at its end.
pub(super) fn parse_stop(node: &Node) -> Stop {
    match node.text("stopReason") {
        Some("stop_sequence") => Stop::Sequence(None),
        Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
        Some("tool_use") => Stop::Calls,
        Some("content_filtered" | "guardrail_intervened") => Stop::Refusal(None),
        _ => Stop::End,
    }
}
