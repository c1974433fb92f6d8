//! The messages of an `/api/chat` request.
//!
//! Rule: a message's content is one text; images stand beside it in base64. The result of a tool says whose it is by the
//! name of the call.

use std::collections::HashMap;

use crate::chat::names::ToolNames;
use crate::chat::request::{Block, BlockKind, Call, Conversation, Role, Source, Turn, join_text};
use crate::dialect::openai_chat::BILLING_NOTE;
use crate::json::{Node, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

pub(super) fn render_messages(conversation: &Conversation, names: &ToolNames) -> Result<Node> {
    let root = conversation.words.messages;
    let mut messages = Vec::new();
    let is_note = |block: &&Block| block.as_text().is_some_and(|text| text.starts_with(BILLING_NOTE));
    let system: Vec<Block> = conversation.system.iter().filter(|block| !is_note(block)).cloned().collect();
    push_system(&system, &mut messages);
    // The names of the calls so far, by id.
    let mut called: HashMap<&str, &str> = HashMap::new();
    for turn in &conversation.turns {
        called.extend(turn.calls().map(|call| (call.id.as_str(), call.name.as_str())));
        match turn.role {
            Role::System => push_system(&turn.blocks, &mut messages),
            Role::User => push_user(turn, &called, names, root, &mut messages)?,
            Role::Assistant => messages.push(render_assistant(turn, names, root)?),
        }
    }
    Ok(Node::Array(messages))
}

fn push_system(blocks: &[Block], messages: &mut Vec<Node>) {
    let text = join_text(blocks, "\n\n");
    if !text.is_empty() {
        messages.push(object! { "role": "system", "content": text });
    }
}

fn push_user(
    turn: &Turn,
    called: &HashMap<&str, &str>,
    names: &ToolNames,
    root: &'static str,
    messages: &mut Vec<Node>,
) -> Result<()> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for block in &turn.blocks {
        let BlockKind::Result { id, blocks, .. } = &block.kind else { continue };
        let (mut said, mut shown) = (Vec::new(), Vec::new());
        for inner in blocks {
            push_part(inner, root, &mut said, &mut shown)?;
        }
        let name = called.get(id.as_str()).copied().unwrap_or(id);
        let message = object! { "role": "tool", "content": said.join("\n"), "tool_name": names.outward(name) };
        messages.push(message.with("tool_call_id", Some(id.as_str()).filter(|id| !id.is_empty())));
        // A tool's message shows nothing: its images follow as the user's.
        images.extend(shown);
    }
    for block in turn.blocks.iter().filter(|block| !block.is_result()) {
        push_part(block, root, &mut texts, &mut images)?;
    }
    if texts.is_empty() && images.is_empty() {
        return Ok(());
    }
    let message = object! { "role": "user", "content": texts.join("\n") };
    messages.push(message.with("images", Some(images).filter(|images| !images.is_empty())));
    Ok(())
}

fn push_part(block: &Block, root: &'static str, texts: &mut Vec<String>, images: &mut Vec<Node>) -> Result<()> {
    let unsupported = |reason| Err(TranslateError::unsupported(block.place.path(root), reason));
    match &block.kind {
        BlockKind::Text(text) | BlockKind::Refusal(text) => texts.push(text.clone()),
        BlockKind::Image { source: Source::Base64 { data, .. }, .. } => images.push(Node::from(data)),
        BlockKind::Image { .. } => return unsupported("an image must be in base64"),
        BlockKind::Document { source: Source::Text(text), name } => texts.push(match name {
            Some(name) => format!("{name}\n\n{text}"),
            None => text.clone(),
        }),
        BlockKind::Document { .. } => return unsupported("it takes no documents; send their text"),
        BlockKind::Audio(_) => return unsupported("it takes no audio"),
        BlockKind::Call(_) | BlockKind::Result { .. } | BlockKind::Thinking { .. } | BlockKind::Redacted(_) => {
            return Err(TranslateError::invalid(block.place.path(root), "does not belong into a message of the user"));
        }
    }
    Ok(())
}

fn render_assistant(turn: &Turn, names: &ToolNames, root: &'static str) -> Result<Node> {
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for block in &turn.blocks {
        match &block.kind {
            BlockKind::Text(piece) | BlockKind::Refusal(piece) => text.push_str(piece),
            BlockKind::Thinking { text, .. } => thinking.push_str(text),
            BlockKind::Call(call) => calls.push(render_call(call, calls.len(), block, names, root)?),
            _ => {}
        }
    }
    let message = object! { "role": "assistant", "content": text };
    let message = message.with("thinking", Some(thinking).filter(|text| !text.is_empty()));
    Ok(message.with("tool_calls", Some(calls).filter(|calls| !calls.is_empty())))
}

fn render_call(call: &Call, index: usize, block: &Block, names: &ToolNames, root: &'static str) -> Result<Node> {
    let arguments = if call.is_freeform {
        object! { "input": &call.arguments }
    } else if call.arguments.trim().is_empty() {
        object! {}
    } else {
        match Node::parse(call.arguments.as_bytes()) {
            Ok(arguments @ Node::Object(_)) => arguments,
            _ => {
                let reason = "has a call of a tool whose arguments are not a JSON object";
                return Err(TranslateError::invalid(block.place.path(root), reason));
            }
        }
    };
    let function = object! { "index": index, "name": names.outward(&call.name), "arguments": arguments };
    let id = Some(call.id.as_str()).filter(|id| !id.is_empty());
    Ok(object! {}.with("id", id).with("function", Some(function)))
}
