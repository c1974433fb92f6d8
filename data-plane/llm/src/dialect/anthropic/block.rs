//! The blocks of a messages request, read neutrally.
//!
//! Rule: thinking without a signature is kept as such: whoever renders it knows whether it is history. What a server tool
//! left in the history means nothing to another provider: it is dropped and named.

use crate::chat::request::{Block, BlockKind, CacheMark, Call, Place, Source};
use crate::json::{Node, Record, note};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads a text or a list of blocks. Names in `unread` what cannot be kept.
pub(super) fn parse_blocks(
    content: Option<Node>,
    path: &str,
    message: usize,
    unread: &mut Vec<String>,
) -> Result<Vec<Block>> {
    let nodes = match content {
        None => return Ok(Vec::new()),
        Some(Node::String(text)) => return Ok(vec![Block::text(text, Place::of(message))]),
        Some(Node::Array(nodes)) => nodes,
        Some(_) => return Err(TranslateError::wrong(path, "a string or an array of blocks")),
    };
    let mut blocks = Vec::with_capacity(nodes.len());
    for (part, node) in nodes.into_iter().enumerate() {
        let path = format!("{path}[{part}]");
        let place = Place::part(message, part);
        if let Node::String(text) = node {
            blocks.push(Block::text(text, place));
            continue;
        }
        let mut record = Record::new(node, path.as_str())?;
        let cache = parse_cache(&mut record);
        match parse_block(&mut record, message, unread)? {
            Parsed::Kind(kind) => {
                record.name_rest("messages[].content[]", unread);
                blocks.push(Block { kind, cache, place });
            }
            Parsed::Blocks(inner) => blocks.extend(inner),
            Parsed::Unread => note(unread, path),
            Parsed::Nothing => {}
        }
    }
    Ok(blocks)
}

/// What became of a block.
enum Parsed {
    Kind(BlockKind),
    /// It is other blocks in a frame.
    Blocks(Vec<Block>),
    Unread,
    Nothing,
}

pub(super) fn parse_cache(record: &mut Record) -> Option<CacheMark> {
    let mark = record.take("cache_control")?;
    Some(if mark.text("ttl") == Some("1h") { CacheMark::Long } else { CacheMark::Short })
}

fn parse_block(record: &mut Record, message: usize, unread: &mut Vec<String>) -> Result<Parsed> {
    Ok(Parsed::Kind(match record.needed_text("type")?.as_str() {
        "text" => BlockKind::Text(record.needed_text("text")?),
        "image" => BlockKind::Image { source: parse_source(record)?, detail: None },
        "document" => return parse_document(record, message, unread),
        "tool_use" => BlockKind::Call(Call {
            id: record.needed_text("id")?,
            name: record.needed_text("name")?,
            arguments: record.take("input").map_or_else(|| "{}".to_owned(), |input| input.to_json()),
            is_freeform: false,
        }),
        "tool_result" => {
            let path = record.path("content");
            let content = record.take("content");
            let mut blocks = parse_blocks(content, &path, message, unread)?;
            blocks.retain(|block| block.as_text() != Some(""));
            let is_error = record.flag("is_error")?.unwrap_or(false);
            BlockKind::Result { id: record.needed_text("tool_use_id")?, blocks, is_error }
        }
        "thinking" => {
            let text = record.text("thinking")?.unwrap_or_default();
            let signature = record.text("signature")?.filter(|signature| !signature.is_empty());
            if text.is_empty() && signature.is_none() {
                return Ok(Parsed::Nothing);
            }
            BlockKind::Thinking { text, signature }
        }
        "redacted_thinking" => BlockKind::Redacted(record.needed_text("data")?),
        "search_result" => {
            let title = record.text("title")?.unwrap_or_default();
            let path = record.path("content");
            let content = record.take("content");
            let mut blocks = vec![Block::text(title, Place::of(message))];
            blocks.extend(parse_blocks(content, &path, message, unread)?);
            return Ok(Parsed::Blocks(blocks));
        }
        "container_upload" => {
            return Err(TranslateError::unsupported(record.path("type"), "an uploaded file is Anthropic's own"));
        }
        _ => return Ok(Parsed::Unread),
    }))
}

fn parse_source(record: &mut Record) -> Result<Source> {
    let Some(mut source) = record.record("source")? else {
        return Err(TranslateError::wrong(record.path("source"), "an object"));
    };
    Ok(match source.needed_text("type")?.as_str() {
        "base64" => Source::Base64 { media_type: source.needed_text("media_type")?, data: source.needed_text("data")? },
        "url" => Source::Url(source.needed_text("url")?),
        "file" => Source::FileId(source.needed_text("file_id")?),
        "text" => Source::Text(source.needed_text("data")?),
        _ => return Err(TranslateError::wrong(source.path("type"), "base64, url, file or text")),
    })
}

fn parse_document(record: &mut Record, message: usize, unread: &mut Vec<String>) -> Result<Parsed> {
    let name = record.text("title")?;
    if let Some(context) = record.text("context")?
        && !context.is_empty()
    {
        note(unread, record.path("context"));
    }
    let path = record.path("source");
    let Some(source) = record.take("source") else {
        return Err(TranslateError::wrong(path, "an object"));
    };
    if source.text("type") == Some("content") {
        let mut source = Record::new(source, path)?;
        let path = source.path("content");
        let mut blocks: Vec<Block> = name.map(|name| Block::text(name, Place::of(message))).into_iter().collect();
        let content = source.take("content");
        blocks.extend(parse_blocks(content, &path, message, unread)?);
        return Ok(Parsed::Blocks(blocks));
    }
    let mut wrapped = Record::new(crate::json::object! { "source": source }, path.trim_end_matches(".source"))?;
    Ok(Parsed::Kind(BlockKind::Document { source: parse_source(&mut wrapped)?, name }))
}
