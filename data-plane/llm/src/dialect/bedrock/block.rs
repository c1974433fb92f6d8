//! The turns and blocks of a Converse request.
//!
//! Rule: a cache mark is a block of its own behind the one that it marks; names of documents are plain and unique; beside
//! a document stands a text.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::chat::names::{ToolNames, plain};
use crate::chat::request::{Block, BlockKind, CacheMark, Conversation, Role, Source};
use crate::dialect::anthropic;
use crate::json::{Node, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

const MAX_ID_BYTES: usize = 64;
const MAX_DOCUMENT_NAME_BYTES: usize = 200;
const DOCUMENT_FORMATS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
];

/// The names that a request uses.
pub(super) struct Names<'a> {
    tools: &'a ToolNames,
    documents: RefCell<DocumentNames>,
}

#[derive(Default)]
struct DocumentNames {
    taken: HashSet<String>,
    /// How often each name came up, so that a thousand alike do not try a thousand numbers each.
    numbers: HashMap<String, u32>,
}

impl<'a> Names<'a> {
    pub(super) fn new(tools: &'a ToolNames) -> Self {
        Self { tools, documents: RefCell::default() }
    }

    /// Makes a document's name that no other has.
    fn document(&self, wanted: Option<&str>) -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' };
        let spaced: String = wanted.unwrap_or("document").chars().map(fit).collect();
        let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
        let mut base = words.join(" ");
        // Room for a number.
        base.truncate(MAX_DOCUMENT_NAME_BYTES - 8);
        let base = if base.trim().is_empty() { "document" } else { base.trim() };
        let mut documents = self.documents.borrow_mut();
        let DocumentNames { taken, numbers } = &mut *documents;
        let number = numbers.entry(base.to_owned()).or_insert(1);
        let mut name = base.to_owned();
        while taken.contains(&name) {
            *number += 1;
            name = format!("{base} ({number})");
        }
        taken.insert(name.clone());
        name
    }
}

pub(super) fn render_mark(mark: CacheMark) -> Node {
    let point = object! { "type": "default" };
    object! { "cachePoint": point.with("ttl", (mark == CacheMark::Long).then_some("1h")) }
}

pub(super) fn render_turns(conversation: &Conversation, names: &Names<'_>) -> Result<Node> {
    let mut messages = Vec::with_capacity(conversation.turns.len());
    for turn in &conversation.turns {
        let role = if turn.role == Role::Assistant { "assistant" } else { "user" };
        let blocks = first_calls(&turn.blocks);
        let has_document = blocks.clone().any(|block| matches!(block.kind, BlockKind::Document { .. }));
        let has_text = blocks.clone().any(|block| block.as_text().is_some());
        let mut content = render_blocks(blocks, Marks::Kept, conversation, names)?;
        if has_document && !has_text {
            content.push(object! { "text": "The document is attached." });
        }
        if !content.is_empty() {
            messages.push(object! { "role": role, "content": Node::Array(content) });
        }
    }
    Ok(Node::Array(messages))
}

/// Leaves out the calls whose id an earlier one has: two of one id are refused.
fn first_calls(blocks: &[Block]) -> impl Iterator<Item = &Block> + Clone {
    let mut known = HashSet::new();
    blocks.iter().filter(move |block| block.as_call().is_none_or(|call| known.insert(call.id.as_str())))
}

/// Whether cache marks are said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marks {
    Kept,
    /// Inside of a result there are none.
    Left,
}

/// Renders the blocks of the instructions.
pub(super) fn render_system(conversation: &Conversation, names: &Names<'_>) -> Result<Vec<Node>> {
    render_blocks(conversation.system.iter(), Marks::Kept, conversation, names)
}

fn render_blocks<'a>(
    blocks: impl Iterator<Item = &'a Block>,
    marks: Marks,
    conversation: &Conversation,
    names: &Names<'_>,
) -> Result<Vec<Node>> {
    let mut rendered = Vec::new();
    for block in blocks {
        if let Some(node) = render_block(block, conversation, names)? {
            rendered.push(node);
            rendered.extend(block.cache.filter(|_| marks == Marks::Kept).map(render_mark));
        }
    }
    Ok(rendered)
}

fn render_block(block: &Block, conversation: &Conversation, names: &Names<'_>) -> Result<Option<Node>> {
    let path = || block.place.path(conversation.words.messages);
    Ok(Some(match &block.kind {
        BlockKind::Text(text) | BlockKind::Refusal(text) if text.trim().is_empty() => return Ok(None),
        BlockKind::Text(text) | BlockKind::Refusal(text) => object! { "text": text },
        BlockKind::Image { source, .. } => object! { "image": render_image(source, path)? },
        BlockKind::Audio(_) => return Err(TranslateError::unsupported(path(), "the model takes no audio")),
        BlockKind::Document { source, name } => {
            object! { "document": render_document(source, name.as_deref(), names, path)? }
        }
        BlockKind::Call(call) => object! { "toolUse": object! {
            "toolUseId": fit_id(&call.id),
            "name": names.tools.outward(&call.name),
            "input": anthropic::input_of(call, path)?,
        } },
        BlockKind::Result { id, blocks, is_error } => {
            let mut content = render_blocks(blocks.iter(), Marks::Left, conversation, names)?;
            if content.is_empty() {
                content.push(object! { "text": "(empty)" });
            }
            let result = object! { "toolUseId": fit_id(id), "content": Node::Array(content) };
            object! { "toolResult": result.with("status", is_error.then_some("error")) }
        }
        BlockKind::Thinking { text, signature } => {
            let Some(signature) = signature.as_deref().filter(|it| !it.is_empty()) else { return Ok(None) };
            let thought = object! { "text": text, "signature": signature };
            object! { "reasoningContent": object! { "reasoningText": thought } }
        }
        BlockKind::Redacted(data) => object! { "reasoningContent": object! { "redactedContent": data } },
    }))
}

/// Makes an id that Converse takes; the end is what tells long ones apart.
fn fit_id(id: &str) -> String {
    let plain = plain(id);
    let surplus = plain.len().saturating_sub(MAX_ID_BYTES);
    plain.get(surplus..).filter(|id| !id.is_empty()).unwrap_or("call").to_owned()
}

fn render_image(source: &Source, path: impl Fn() -> String) -> Result<Node> {
    let Source::Base64 { media_type, data } = source else {
        return Err(TranslateError::unsupported(path(), "an image must be sent in base64"));
    };
    match anthropic::image_type(data, media_type).and_then(|kind| kind.strip_prefix("image/")) {
        Some(format) => Ok(object! { "format": format, "source": object! { "bytes": data } }),
        None => Err(TranslateError::unsupported(path(), "an image must be JPEG, PNG, GIF or WebP")),
    }
}

fn render_document(source: &Source, name: Option<&str>, names: &Names<'_>, path: impl Fn() -> String) -> Result<Node> {
    let (format, bytes) = match source {
        Source::Base64 { media_type, data } => {
            let known = DOCUMENT_FORMATS.iter().find(|(known, _)| known == media_type).map(|(_, format)| *format);
            let Some(format) = known.or_else(|| media_type.starts_with("text/").then_some("txt")) else {
                let reason = "a file must be a PDF, text, or a document of an office suite";
                return Err(TranslateError::unsupported(path(), reason));
            };
            (format, data.clone())
        }
        Source::Text(text) => ("txt", STANDARD.encode(text)),
        Source::Url(_) | Source::FileId(_) => {
            return Err(TranslateError::unsupported(path(), "a document must be sent in base64, or as text"));
        }
    };
    let name = names.document(name);
    Ok(object! { "format": format, "name": name, "source": object! { "bytes": bytes } })
}
