//! The messages of a chat completion request.
//!
//! Rule: each result of a tool is a message of its own, before what else the user says in that turn; what a tool message
//! cannot hold (images) follows in a message of the user after all of them. A call's signature stands beside it, where
//! Google's servers of this dialect read it, and only for the model that made it.

use crate::chat::names::ToolNames;
use crate::chat::request::{Block, BlockKind, CacheMark, Call, Conversation, Role, Source, Turn, join_text};
use crate::chat::signed_id;
use crate::chat::traits::ModelTraits;
use crate::dialect::openai_chat::answer::google_signature;
use crate::json::{Node, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// What coding clients send for Anthropic's billing; it means nothing elsewhere, and changes with each request.
pub(crate) const BILLING_NOTE: &str = "x-anthropic-billing-header:";

struct Style<'a> {
    traits: ModelTraits,
    names: &'a ToolNames,
    /// The model asked: only its own signatures go back to it.
    signer: &'a str,
    root: &'static str,
}

pub(super) fn render_messages(
    conversation: &Conversation,
    traits: ModelTraits,
    names: &ToolNames,
    signer: &str,
) -> Result<Node> {
    let style = Style { traits, names, signer, root: conversation.words.messages };
    let mut messages = Vec::new();
    let is_note = |block: &&Block| block.as_text().is_some_and(|text| text.starts_with(BILLING_NOTE));
    let system: Vec<Block> = conversation.system.iter().filter(|block| !is_note(block)).cloned().collect();
    render_system(&system, &style, &mut messages);
    for turn in &conversation.turns {
        match turn.role {
            Role::System => render_system(&turn.blocks, &style, &mut messages),
            Role::User => render_user(turn, &style, &mut messages)?,
            // Thoughts alone say nothing to a server that takes none.
            Role::Assistant if !traits.takes_reasoning_content && turn.blocks.iter().all(Block::is_thought) => {}
            Role::Assistant => messages.push(render_assistant(turn, &style)),
        }
    }
    Ok(Node::Array(messages))
}

fn render_system(blocks: &[Block], style: &Style<'_>, messages: &mut Vec<Node>) {
    let role = if style.traits.takes_developer_role { "developer" } else { "system" };
    let has_marks = style.traits.takes_cache_marks && blocks.iter().any(|block| block.cache.is_some());
    let content = if has_marks {
        let part = |block: &Block| block.as_text().map(|text| marked(object! { "type": "text", "text": text }, block));
        Node::Array(blocks.iter().filter_map(part).collect())
    } else {
        Node::from(join_text(blocks, "\n\n"))
    };
    if content.as_str() != Some("") {
        messages.push(object! { "role": role, "content": content });
    }
}

fn marked(part: Node, block: &Block) -> Node {
    part.with(
        "prompt_cache_breakpoint",
        block.cache.map(|mark| match mark {
            CacheMark::Short => object! { "ttl": "30m" },
            CacheMark::Long => object! { "ttl": "12h" },
        }),
    )
}

fn render_user(turn: &Turn, style: &Style<'_>, messages: &mut Vec<Node>) -> Result<()> {
    let mut parts = Vec::new();
    for block in &turn.blocks {
        let BlockKind::Result { id, blocks, .. } = &block.kind else { continue };
        let mut texts = Vec::new();
        for inner in blocks {
            match &inner.kind {
                BlockKind::Text(text) | BlockKind::Refusal(text) => texts.push(text.as_str()),
                BlockKind::Image { .. } => {
                    texts.push("[image]");
                    parts.push(render_part(inner, style)?);
                }
                BlockKind::Document { .. } | BlockKind::Audio(_) => {
                    texts.push("[file]");
                    parts.push(render_part(inner, style)?);
                }
                _ => {}
            }
        }
        let id = signed_id::split(id).plain;
        messages.push(object! { "role": "tool", "tool_call_id": id, "content": texts.join("\n") });
    }
    for block in turn.blocks.iter().filter(|block| !block.is_result()) {
        parts.push(render_part(block, style)?);
    }
    let content = match parts.as_slice() {
        [] => return Ok(()),
        [Node::Object(fields)] if fields.len() == 2 && parts.iter().all(|part| part.text("text").is_some()) => {
            parts.iter().find_map(|part| part.text("text")).map_or(Node::Null, Node::from)
        }
        _ => Node::Array(parts),
    };
    messages.push(object! { "role": "user", "content": content });
    Ok(())
}

fn render_part(block: &Block, style: &Style<'_>) -> Result<Node> {
    let path = || block.place.path(style.root);
    let part = match &block.kind {
        BlockKind::Text(text) | BlockKind::Refusal(text) => object! { "type": "text", "text": text },
        BlockKind::Image { source, detail } => {
            let url = match source {
                Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
                Source::Url(url) => url.clone(),
                _ => return Err(TranslateError::unsupported(path(), "an image must be a URL or base64")),
            };
            object! { "type": "image_url", "image_url": object! { "url": url }.with("detail", detail.as_deref()) }
        }
        BlockKind::Audio(audio) => object! { "type": "input_audio", "input_audio": audio.clone() },
        BlockKind::Document { source: Source::Base64 { media_type, data }, name } => {
            let name = name.as_deref().unwrap_or("document.pdf");
            let data = format!("data:{media_type};base64,{data}");
            object! { "type": "file", "file": object! { "filename": name, "file_data": data } }
        }
        BlockKind::Document { source: Source::Text(text), name } => {
            let text = match name {
                Some(name) => format!("{name}\n\n{text}"),
                None => text.clone(),
            };
            object! { "type": "text", "text": text }
        }
        BlockKind::Document { .. } => {
            return Err(TranslateError::unsupported(path(), "a document must be in the request itself"));
        }
        BlockKind::Call(_) | BlockKind::Result { .. } | BlockKind::Thinking { .. } | BlockKind::Redacted(_) => {
            return Err(TranslateError::invalid(path(), "does not belong into a message of the user"));
        }
    };
    Ok(if style.traits.takes_cache_marks { marked(part, block) } else { part })
}

fn render_assistant(turn: &Turn, style: &Style<'_>) -> Node {
    let mut text = String::new();
    let mut thinking = String::new();
    let mut refusal = None;
    let mut calls = Vec::new();
    for block in &turn.blocks {
        match &block.kind {
            BlockKind::Text(piece) => text.push_str(piece),
            BlockKind::Refusal(piece) => refusal = Some(piece.as_str()),
            BlockKind::Thinking { text, .. } => thinking.push_str(text),
            BlockKind::Call(call) => calls.push(render_call(call, style)),
            _ => {}
        }
    }
    let content = if text.is_empty() { Node::Null } else { Node::from(text) };
    let has_nothing = content.is_null() && calls.is_empty() && refusal.is_none();
    let content = if has_nothing { Node::from("") } else { content };
    let mut message = object! { "role": "assistant", "content": content }.with("refusal", refusal);
    // It must be there on every turn, also where it was lost.
    if style.traits.takes_reasoning_content {
        message.set("reasoning_content", thinking);
    }
    if !calls.is_empty() {
        message.set("tool_calls", Node::Array(calls));
    }
    message
}

fn render_call(call: &Call, style: &Style<'_>) -> Node {
    let arguments = if call.is_freeform {
        object! { "input": &call.arguments }.to_json()
    } else if call.arguments.trim().is_empty() {
        "{}".to_owned()
    } else {
        call.arguments.clone()
    };
    let function = object! { "name": style.names.outward(&call.name), "arguments": arguments };
    let id = signed_id::split(&call.id);
    let rendered = object! { "id": id.plain, "type": "function", "function": function };
    rendered.with("extra_content", id.signature_of(style.signer).map(google_signature))
}
