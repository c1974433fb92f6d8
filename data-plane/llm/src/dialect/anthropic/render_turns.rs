//! The turns and blocks of a messages request.
//!
//! Rule: turns alternate, the user's first; results of tools stand first in their turn; no text block is blank; at most
//! four cache marks remain, the last ones.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::chat::names::{ToolNames, plain};
use crate::chat::request::{Block, BlockKind, CacheMark, Call, Conversation, Role, Source, Tool, Turn};
use crate::chat::traits::ModelTraits;
use crate::json::{Node, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

const MAX_CACHE_MARKS: usize = 4;

/// Makes system turns the user's where the model takes none, and joins what then belongs together.
pub(crate) fn place_system_turns(conversation: &mut Conversation, traits: ModelTraits) {
    conversation.system.retain(|block| block.as_text().is_some() && !block.is_blank());
    for turn in &mut conversation.turns {
        if turn.role == Role::System && !traits.takes_system_turns {
            turn.role = Role::User;
        }
        // A thought without a signature is refused as history.
        turn.blocks.retain(|block| !block.is_blank() && !block.is_unsigned_thought());
    }
    conversation.merge_turns();
    // Stable: only results move. A thought stands where its provider signed it, among the words and calls of its turn.
    for turn in &mut conversation.turns {
        turn.blocks.sort_by_key(|block| !block.is_result());
    }
}

/// Checks the first and the last turn.
pub(crate) fn check_ends(conversation: &mut Conversation, traits: ModelTraits) -> Result<()> {
    let path = conversation.words.messages;
    let first = conversation.turns.iter().find(|turn| turn.role != Role::System);
    match first.map(|turn| turn.role) {
        Some(Role::User) => {}
        None => return Err(TranslateError::invalid(path, "must have at least one message of the user")),
        Some(_) => return Err(TranslateError::unsupported(path, "the first message must be the user's")),
    }
    let Some(last) = conversation.turns.last_mut().filter(|turn| turn.role == Role::Assistant) else { return Ok(()) };
    if !traits.takes_prefill {
        return Err(TranslateError::unsupported(path, "the last message must not be the assistant's"));
    }
    if let Some(Block { kind: BlockKind::Text(text), .. }) = last.blocks.last_mut() {
        text.truncate(text.trim_end().len());
    }
    Ok(())
}

/// Makes a stub of each tool that the history calls when no tools are given.
pub(crate) fn tools_of_history(conversation: &Conversation) -> Vec<Tool> {
    let mut stubs: Vec<Tool> = Vec::new();
    if !conversation.tools.is_empty() {
        return stubs;
    }
    let mut known = HashSet::new();
    for call in conversation.turns.iter().flat_map(Turn::calls) {
        if known.insert(call.name.as_str()) {
            let schema = Some(object! { "type": "object", "properties": object! {} });
            stubs.push(Tool {
                name: call.name.clone(),
                description: None,
                schema,
                strict: None,
                cache: None,
                is_freeform: call.is_freeform,
            });
        }
    }
    stubs
}

/// Takes away the first marks where there are too many.
pub(crate) fn keep_last_marks(conversation: &mut Conversation) {
    let tools = conversation.tools.iter_mut().map(|tool| &mut tool.cache);
    let system = conversation.system.iter_mut();
    let blocks = system.chain(conversation.turns.iter_mut().flat_map(|turn| &mut turn.blocks));
    let blocks = blocks.map(|block| {
        if block.is_thought() {
            block.cache = None;
        }
        &mut block.cache
    });
    let marks: Vec<&mut Option<CacheMark>> = tools.chain(blocks).filter(|mark| mark.is_some()).collect();
    let surplus = marks.len().saturating_sub(MAX_CACHE_MARKS);
    for mark in marks.into_iter().take(surplus) {
        *mark = None;
    }
}

pub(super) fn render_mark(mark: CacheMark) -> Node {
    match mark {
        CacheMark::Short => object! { "type": "ephemeral" },
        CacheMark::Long => object! { "type": "ephemeral", "ttl": "1h" },
    }
}

pub(super) fn render_turns(conversation: &Conversation, names: &ToolNames) -> Result<Node> {
    let mut messages = Vec::with_capacity(conversation.turns.len());
    for turn in &conversation.turns {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let blocks = render_blocks(&turn.blocks, conversation, names)?;
        messages.push(object! { "role": role, "content": Node::Array(blocks) });
    }
    Ok(Node::Array(messages))
}

pub(super) fn render_blocks(blocks: &[Block], conversation: &Conversation, names: &ToolNames) -> Result<Vec<Node>> {
    let mut rendered = Vec::with_capacity(blocks.len());
    for block in blocks {
        if let Some(node) = render_block(block, conversation, names)? {
            rendered.push(node.with("cache_control", block.cache.map(render_mark)));
        }
    }
    Ok(rendered)
}

fn render_block(block: &Block, conversation: &Conversation, names: &ToolNames) -> Result<Option<Node>> {
    let path = || block.place.path(conversation.words.messages);
    Ok(Some(match &block.kind {
        BlockKind::Text(text) | BlockKind::Refusal(text) if text.trim().is_empty() => return Ok(None),
        BlockKind::Text(text) | BlockKind::Refusal(text) => object! { "type": "text", "text": text },
        BlockKind::Image { source, .. } => object! { "type": "image", "source": render_image(source, path)? },
        BlockKind::Audio(_) => return Err(TranslateError::unsupported(path(), "the model takes no audio")),
        BlockKind::Document { source, name } => {
            object! { "type": "document", "source": render_document(source, path)? }.with("title", name.as_deref())
        }
        BlockKind::Call(call) => object! {
            "type": "tool_use",
            "id": plain(&call.id),
            "name": names.outward(&call.name),
            "input": input_of(call, path)?,
        },
        BlockKind::Result { id, blocks, is_error } => {
            let content = match blocks.as_slice() {
                [] => Node::from(""),
                [Block { kind: BlockKind::Text(text), cache: None, .. }] => Node::from(text),
                blocks => Node::Array(render_blocks(blocks, conversation, names)?),
            };
            let result = object! { "type": "tool_result", "tool_use_id": plain(id), "content": content };
            result.with("is_error", is_error.then_some(true))
        }
        BlockKind::Thinking { text, signature } => {
            let Some(signature) = signature.as_deref().filter(|it| !it.is_empty()) else { return Ok(None) };
            object! { "type": "thinking", "thinking": text, "signature": signature }
        }
        BlockKind::Redacted(data) => object! { "type": "redacted_thinking", "data": data },
    }))
}

/// Returns the arguments as the object they must be, in their own order and numbers.
pub(crate) fn input_of(call: &Call, path: impl Fn() -> String) -> Result<Node> {
    if call.is_freeform {
        return Ok(object! { "input": &call.arguments });
    }
    if call.arguments.trim().is_empty() {
        return Ok(object! {});
    }
    match Node::parse(call.arguments.as_bytes()) {
        Ok(input @ Node::Object(_)) => Ok(input),
        _ => Err(TranslateError::invalid(path(), "has a call of a tool whose arguments are not a JSON object")),
    }
}

fn render_image(source: &Source, path: impl Fn() -> String) -> Result<Node> {
    match source {
        Source::Base64 { media_type, data } => match image_type(data, media_type) {
            Some(media_type) => Ok(object! { "type": "base64", "media_type": media_type, "data": data }),
            None => Err(TranslateError::unsupported(path(), "an image must be JPEG, PNG, GIF or WebP")),
        },
        Source::Url(url) => render_url(url, path),
        Source::FileId(id) => Ok(object! { "type": "file", "file_id": id }),
        Source::Text(_) => Err(TranslateError::unsupported(path(), "an image cannot be text")),
    }
}

/// Tells the type of an image by its first bytes; a wrong label is common, and refused by the API.
pub(crate) fn image_type(data: &str, label: &str) -> Option<&'static str> {
    let head = data.get(..16).and_then(|head| STANDARD.decode(head).ok()).unwrap_or_default();
    let is = |magic: &[u8]| head.starts_with(magic);
    if is(b"\x89PNG") {
        Some("image/png")
    } else if is(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if is(b"GIF8") {
        Some("image/gif")
    } else if is(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else {
        match label {
            "image/jpeg" | "image/jpg" => Some("image/jpeg"),
            "image/png" => Some("image/png"),
            "image/gif" => Some("image/gif"),
            "image/webp" => Some("image/webp"),
            _ => None,
        }
    }
}

fn render_url(url: &str, path: impl Fn() -> String) -> Result<Node> {
    if url.starts_with("https://") {
        return Ok(object! { "type": "url", "url": url });
    }
    Err(TranslateError::unsupported(
        path(),
        "a URL must be https, or a data URL in base64, or its route must fetch it (`fetch_urls`)",
    ))
}

fn render_document(source: &Source, path: impl Fn() -> String) -> Result<Node> {
    match source {
        Source::Base64 { media_type, data } if media_type == "application/pdf" => {
            Ok(object! { "type": "base64", "media_type": media_type, "data": data })
        }
        Source::Base64 { media_type, data } if media_type.starts_with("text/") => {
            let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(text) = text else {
                return Err(TranslateError::invalid(path(), "is not UTF-8 text in base64"));
            };
            Ok(object! { "type": "text", "media_type": "text/plain", "data": text })
        }
        Source::Base64 { .. } => Err(TranslateError::unsupported(path(), "a file must be a PDF or text")),
        Source::Url(url) => render_url(url, path),
        Source::FileId(id) => Ok(object! { "type": "file", "file_id": id }),
        Source::Text(text) => Ok(object! { "type": "text", "media_type": "text/plain", "data": text }),
    }
}
