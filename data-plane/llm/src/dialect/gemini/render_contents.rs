//! The contents of a `generateContent` request.
//!
//! Rule: the answers to one turn's calls stand in one content, each under the name of its call. Of the calls of a turn the
//! first one carries the signature, or the word that stands for a lost one.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::model::Model;
use crate::chat::names::ToolNames;
use crate::chat::request::{Block, BlockKind, Call, Role, Source, Turn};
use crate::chat::signed_id;
use crate::dialect::openai_chat::BILLING_NOTE;
use crate::json::{Node, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// What the API takes in place of a signature that was lost.
const LOST_SIGNATURE: &[u8] = b"skip_thought_signature_validator";

/// How contents are rendered for one request.
pub(super) struct Style<'a> {
    pub(super) model: Model,
    pub(super) names: &'a ToolNames,
    /// The model asked: only its own signatures go back to it.
    pub(super) signer: &'a str,
    pub(super) root: &'static str,
}

/// Returns the parts of the instructions.
pub(super) fn render_system(blocks: &[Block]) -> Vec<Node> {
    let texts = blocks.iter().filter(|block| !block.is_blank()).filter_map(Block::as_text);
    texts.filter(|text| !text.starts_with(BILLING_NOTE)).map(|text| object! { "text": text }).collect()
}

/// Renders turns that do not follow one of their own role.
pub(super) fn render_contents(turns: &[Turn], style: &Style<'_>) -> Result<Vec<Node>> {
    let mut contents = Vec::with_capacity(turns.len());
    // The names of the calls so far, by id.
    let mut called: HashMap<&str, &str> = HashMap::new();
    for turn in turns {
        called.extend(turn.calls().map(|call| (call.id.as_str(), call.name.as_str())));
        let (role, parts) = match turn.role {
            Role::Assistant => ("model", render_model(turn, style)?),
            Role::User | Role::System => ("user", render_user(turn, &called, style)?),
        };
        if !parts.is_empty() {
            contents.push(object! { "role": role, "parts": Node::Array(parts) });
        }
    }
    Ok(contents)
}

fn render_model(turn: &Turn, style: &Style<'_>) -> Result<Vec<Node>> {
    let mut parts = Vec::with_capacity(turn.blocks.len());
    let mut has_called = false;
    for block in &turn.blocks {
        match &block.kind {
            BlockKind::Call(call) => {
                let part = render_call(call, block, style)?;
                let signature = signed_id::split(&call.id).signature_of(style.signer);
                // The others of parallel calls need none.
                let stands_in = !std::mem::replace(&mut has_called, true) && style.model.is_third_generation();
                let signature = signature.or_else(|| stands_in.then(|| STANDARD.encode(LOST_SIGNATURE)));
                parts.push(part.with("thoughtSignature", signature));
            }
            // Thoughts are the model's own; they go back by signature only.
            BlockKind::Thinking { .. } | BlockKind::Redacted(_) => {}
            _ => render_part(block, style, &mut parts)?,
        }
    }
    Ok(parts)
}

fn render_call(call: &Call, block: &Block, style: &Style<'_>) -> Result<Node> {
    let args = if call.is_freeform {
        object! { "input": &call.arguments }
    } else if call.arguments.trim().is_empty() {
        object! {}
    } else {
        match Node::parse(call.arguments.as_bytes()) {
            Ok(args @ Node::Object(_)) => args,
            _ => {
                let reason = "has a call of a tool whose arguments are not a JSON object";
                return Err(TranslateError::invalid(block.place.path(style.root), reason));
            }
        }
    };
    let function = own_id(&call.id, style).with("name", Some(style.names.outward(&call.name)));
    Ok(object! { "functionCall": function.with("args", Some(args)) })
}

/// Begins an object with the id, for models that take one.
fn own_id(id: &str, style: &Style<'_>) -> Node {
    let plain = signed_id::split(id).plain;
    object! {}.with("id", Some(plain).filter(|id| style.model.is_third_generation() && !id.is_empty()))
}

fn render_user(turn: &Turn, called: &HashMap<&str, &str>, style: &Style<'_>) -> Result<Vec<Node>> {
    let mut parts = Vec::with_capacity(turn.blocks.len());
    let mut after = Vec::new();
    for block in &turn.blocks {
        match &block.kind {
            BlockKind::Result { id, blocks, is_error } => {
                let name = called.get(id.as_str()).copied().unwrap_or(id);
                let inner = if style.model.is_third_generation() { None } else { Some(&mut after) };
                parts.push(render_result((id, name), blocks, *is_error, inner, style)?);
            }
            _ => render_part(block, style, &mut after)?,
        }
    }
    parts.append(&mut after);
    Ok(parts)
}

/// Renders a result. What is not text goes inside, or to `outside` where the model takes nothing inside.
fn render_result(
    (id, name): (&str, &str),
    blocks: &[Block],
    is_error: bool,
    outside: Option<&mut Vec<Node>>,
    style: &Style<'_>,
) -> Result<Node> {
    let mut texts = Vec::new();
    let mut media = Vec::new();
    for block in blocks {
        match &block.kind {
            BlockKind::Text(text) | BlockKind::Refusal(text) => texts.push(text.as_str()),
            _ => render_part(block, style, &mut media)?,
        }
    }
    let text = texts.join("\n");
    let response = match Node::parse(text.as_bytes()) {
        _ if is_error => object! { "error": text },
        Ok(object @ Node::Object(_)) => object,
        _ => object! { "output": text },
    };
    let mut function = own_id(id, style).with("name", Some(style.names.outward(name))).with("response", Some(response));
    match outside {
        Some(outside) => outside.append(&mut media),
        None if media.is_empty() => {}
        None => function.set("parts", Node::Array(media)),
    }
    Ok(object! { "functionResponse": function })
}

fn render_part(block: &Block, style: &Style<'_>, parts: &mut Vec<Node>) -> Result<()> {
    let path = || block.place.path(style.root);
    let part = match &block.kind {
        BlockKind::Text(text) | BlockKind::Refusal(text) if text.trim().is_empty() => return Ok(()),
        BlockKind::Text(text) | BlockKind::Refusal(text) => object! { "text": text },
        BlockKind::Image { source, .. } => render_source(source, "image", path)?,
        BlockKind::Audio(audio) => render_audio(audio, path)?,
        BlockKind::Document { source: Source::Text(text), name } => {
            let text = match name {
                Some(name) => format!("{name}\n\n{text}"),
                None => text.clone(),
            };
            object! { "text": text }
        }
        BlockKind::Document { source, .. } => render_source(source, "document", path)?,
        BlockKind::Call(_) | BlockKind::Result { .. } | BlockKind::Thinking { .. } | BlockKind::Redacted(_) => {
            return Err(TranslateError::invalid(path(), "does not belong into a message of the user"));
        }
    };
    parts.push(part);
    Ok(())
}

fn render_source(source: &Source, what: &str, path: impl Fn() -> String) -> Result<Node> {
    match source {
        Source::Base64 { media_type, data } => {
            let media_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
            Ok(object! { "inlineData": object! { "mimeType": media_type, "data": data } })
        }
        Source::Url(url) if url.starts_with("https://") || url.starts_with("gs://") => {
            let media_type = media_type_of(url, what);
            Ok(object! { "fileData": object! { "mimeType": media_type, "fileUri": url } })
        }
        Source::Url(_) => Err(TranslateError::unsupported(
            path(),
            "a URL must be https, or a data URL in base64, or its route must fetch it (`fetch_urls`)",
        )),
        Source::FileId(_) => Err(TranslateError::unsupported(path(), "the file lies at another provider")),
        Source::Text(_) => Err(TranslateError::unsupported(path(), "an image cannot be text")),
    }
}

/// Guesses what a URL leads to by its ending; what has none is what is most common.
fn media_type_of(url: &str, what: &str) -> &'static str {
    let end = url.split(['?', '#']).next().unwrap_or_default();
    let ending = end.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    match ending.unwrap_or_default().to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "jpg" | "jpeg" => "image/jpeg",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        _ if what == "image" => "image/jpeg",
        _ => "application/pdf",
    }
}

fn render_audio(audio: &Node, path: impl Fn() -> String) -> Result<Node> {
    let (Some(data), Some(format)) = (audio.text("data"), audio.text("format")) else {
        return Err(TranslateError::invalid(path(), "needs `data` and `format`"));
    };
    let media_type = match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    };
    Ok(object! { "inlineData": object! { "mimeType": media_type, "data": data } })
}
