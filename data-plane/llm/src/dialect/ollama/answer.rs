//! A whole answer of Ollama's, read neutrally.
//!
//! Rule: calls come whole, as objects in the order of their fields; that they were made is known by them, never by the
//! reason to end.

use crate::chat::answer::{Answer, Stop};
use crate::chat::request::{Block, BlockKind, Call, Place};
use crate::json::Node;
use crate::translate::{AnswerContext, TranslateError};

/// Reads an answer.
pub(crate) fn parse_answer(body: &[u8], context: &AnswerContext) -> std::result::Result<Answer, TranslateError> {
    let node = Node::parse(body).map_err(|_| TranslateError::UnreadableAnswer)?;
    let message = node.get("message");
    if message.is_none() && node.get("done_reason").is_none() {
        return Err(TranslateError::UnreadableAnswer);
    }
    let mut kinds = Vec::new();
    if let Some(message) = message {
        let text = |name: &str| message.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        kinds.extend(text("thinking").map(|text| BlockKind::Thinking { text, signature: None }));
        kinds.extend(text("content").map(BlockKind::Text));
        for (number, call) in message.list("tool_calls").iter().enumerate() {
            let (id, name, arguments) = read_call(call, number, context);
            kinds.push(BlockKind::Call(Call { id, name, arguments, is_freeform: false }));
        }
    }
    let has_calls = kinds.iter().any(|kind| matches!(kind, BlockKind::Call(_)));
    let stop = stop_of(node.text("done_reason").unwrap_or_default(), has_calls);
    let blocks = kinds.into_iter().map(|kind| Block::new(kind, Place::default())).collect();
    Ok(Answer { blocks, stop })
}

/// Reads id, name and arguments of a call; the id is made where there is none.
pub(super) fn read_call(call: &Node, number: usize, context: &AnswerContext) -> (String, String, String) {
    let function = call.get("function").unwrap_or(call);
    let id = call.text("id").or_else(|| function.text("id")).filter(|id| !id.is_empty());
    let id = id.map_or_else(|| context.call_id("call", number), str::to_owned);
    let arguments = match function.get("arguments") {
        Some(object @ Node::Object(_)) => object.to_json(),
        Some(Node::String(text)) if !text.trim().is_empty() => text.clone(),
        _ => "{}".to_owned(),
    };
    (id, function.text("name").unwrap_or_default().to_owned(), arguments)
}

/// Reads `done_reason`.
pub(super) fn stop_of(reason: &str, has_calls: bool) -> Stop {
    match reason {
        "length" => Stop::Length,
        _ if has_calls => Stop::Calls,
        _ => Stop::End,
    }
}
