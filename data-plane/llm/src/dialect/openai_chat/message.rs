//! The messages of a chat completion request, read neutrally.
//!
//! Rule: thinking that nobody signed is not history; signed thinking comes first in its turn, as the provider that signed
//! it demands.

use std::collections::HashMap;

use crate::chat::request::{Block, BlockKind, CacheMark, Call, Conversation, Place, Role, Source, Turn};
use crate::chat::signed_id;
use crate::json::{Node, Record};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads all messages into system blocks and turns.
pub(super) fn parse_messages(messages: Vec<Node>, conversation: &mut Conversation) -> Result<()> {
    if messages.is_empty() {
        return Err(TranslateError::wrong("messages", "an array of at least one message"));
    }
    let mut functions = Functions::default();
    for (index, node) in messages.into_iter().enumerate() {
        let mut message = Record::new(node, format!("messages[{index}]"))?;
        let role = message.needed_text("role")?;
        let cache = parse_cache(&mut message);
        let (role, mut blocks) = match role.as_str() {
            "system" | "developer" => (Role::System, parse_content(&mut message, index)?),
            "user" => (Role::User, parse_content(&mut message, index)?),
            "assistant" => (Role::Assistant, parse_assistant(&mut message, index, &mut functions)?),
            "tool" => {
                let Some(id) = functions.result(message.needed_text("tool_call_id")?) else { continue };
                (Role::User, vec![parse_result(&mut message, index, id)?])
            }
            "function" => {
                let name = message.needed_text("name")?;
                let id = functions.answered(&name);
                (Role::User, vec![parse_result(&mut message, index, id)?])
            }
            _ => {
                let expected = "system, developer, user, assistant or tool";
                return Err(TranslateError::wrong(message.path("role"), expected));
            }
        };
        message.name_rest("messages[]", &mut conversation.unread);
        if let (Some(mark), Some(last)) = (cache, blocks.last_mut()) {
            last.cache = Some(mark);
        }
        if role == Role::System && conversation.turns.is_empty() {
            conversation.system.append(&mut blocks);
        } else {
            conversation.turns.push(Turn::new(role, blocks));
        }
    }
    Ok(())
}

/// Ids for the calls of functions, which have none, and for calls with a signature beside their id.
#[derive(Default)]
struct Functions {
    called: HashMap<String, usize>,
    answered: HashMap<String, usize>,
    /// The client's id and the one that carries the signature beside it, until its result has come.
    signed: HashMap<String, Option<String>>,
}

impl Functions {
    fn called(&mut self, name: &str) -> String {
        Self::next(&mut self.called, name)
    }

    fn answered(&mut self, name: &str) -> String {
        Self::next(&mut self.answered, name)
    }

    /// Returns the id of a result's call, signed where its signature came beside it; `None`: the call has a result. An id
    /// may be short and its signature long, so that it is not repeated for results that do not count.
    fn result(&mut self, id: String) -> Option<String> {
        match self.signed.get_mut(&id) {
            Some(signed) => signed.take(),
            None => Some(id),
        }
    }

    /// Puts a signature that stands beside a call into its id.
    fn sign(&mut self, id: String, extra: Option<&Node>) -> String {
        let google = extra.and_then(|extra| extra.get("google"));
        let signature = google.and_then(|google| google.text("thought_signature"));
        let Some(signature) = signature.filter(|_| signed_id::split(&id).signature.is_none()) else {
            self.signed.remove(&id);
            return id;
        };
        let signed = signed_id::sign(&id, None, signature);
        self.signed.insert(id, Some(signed.clone()));
        signed
    }

    fn next(counts: &mut HashMap<String, usize>, name: &str) -> String {
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        format!("call_{name}_{}", *count - 1)
    }
}

/// Reads a cache mark: OpenAI's, or the one that many clients send to every provider.
pub(super) fn parse_cache(record: &mut Record) -> Option<CacheMark> {
    let own = record.take("prompt_cache_breakpoint");
    let mark = record.take("cache_control").or(own)?;
    let is_long = matches!(mark.text("ttl"), Some("1h" | "12h" | "24h"));
    Some(if is_long { CacheMark::Long } else { CacheMark::Short })
}

fn parse_content(message: &mut Record, index: usize) -> Result<Vec<Block>> {
    let path = message.path("content");
    match message.take("content") {
        None => Ok(Vec::new()),
        Some(Node::String(text)) => Ok(vec![Block::text(text, Place::of(index))]),
        Some(Node::Array(parts)) => {
            let part = |(part, node)| parse_part(node, format!("{path}[{part}]"), Place::part(index, part));
            parts.into_iter().enumerate().map(part).collect()
        }
        Some(_) => Err(TranslateError::wrong(path, "a string or an array of parts")),
    }
}

fn parse_part(node: Node, path: String, place: Place) -> Result<Block> {
    if let Node::String(text) = node {
        return Ok(Block::text(text, place));
    }
    let mut part = Record::new(node, path.as_str())?;
    let cache = parse_cache(&mut part);
    let kind = match part.needed_text("type")?.as_str() {
        "text" => BlockKind::Text(part.needed_text("text")?),
        "refusal" => BlockKind::Refusal(part.needed_text("refusal")?),
        "image_url" => parse_image(&mut part)?,
        "file" => {
            let Some(mut file) = part.record("file")? else {
                return Err(TranslateError::wrong(part.path("file"), "an object"));
            };
            parse_file(&mut file)?
        }
        "input_audio" => BlockKind::Audio(part.take("input_audio").unwrap_or_default()),
        _ => return Err(TranslateError::unsupported(path, "a part of this type cannot be translated")),
    };
    Ok(Block { kind, cache, place })
}

fn parse_image(part: &mut Record) -> Result<BlockKind> {
    let path = part.path("image_url");
    let (url, detail) = match part.take("image_url") {
        Some(Node::String(url)) => (url, None),
        Some(image) => {
            let mut image = Record::new(image, path)?;
            (image.needed_text("url")?, image.text("detail")?)
        }
        None => return Err(TranslateError::wrong(path, "an object with a url")),
    };
    Ok(BlockKind::Image { source: parse_url(url), detail })
}

/// Reads `{file_data, filename}` or `{file_id}`.
pub(crate) fn parse_file(file: &mut Record) -> Result<BlockKind> {
    let name = file.text("filename")?;
    let source = match (file.text("file_data")?, file.text("file_id")?) {
        (Some(data), _) => parse_url(data),
        (None, Some(id)) => Source::FileId(id),
        (None, None) => match file.text("file_url")? {
            Some(url) => Source::Url(url),
            None => return Err(TranslateError::wrong(file.path("file_data"), "a data URL")),
        },
    };
    Ok(BlockKind::Document { source, name })
}

/// Takes a data URL apart; any other URL stays one.
pub(crate) fn parse_url(url: String) -> Source {
    let parts = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    let Some((kind, data)) = parts else { return Source::Url(url) };
    let Some(media_type) = kind.strip_suffix(";base64") else { return Source::Url(url) };
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let data = if data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        data.split_ascii_whitespace().collect()
    } else {
        data.to_owned()
    };
    Source::Base64 { media_type, data }
}

fn parse_result(message: &mut Record, index: usize, id: String) -> Result<Block> {
    let mut blocks = parse_content(message, index)?;
    // A mark on a part of the result counts for the result.
    let cache = blocks.iter_mut().filter_map(|block| block.cache.take()).last();
    blocks.retain(|block| block.as_text() != Some(""));
    let kind = BlockKind::Result { id, blocks, is_error: false };
    Ok(Block { kind, cache, place: Place::of(index) })
}

fn parse_assistant(message: &mut Record, index: usize, functions: &mut Functions) -> Result<Vec<Block>> {
    let place = Place::of(index);
    let mut blocks = parse_thinking(message, place)?;
    blocks.extend(parse_content(message, index)?.into_iter().filter(|block| block.as_text() != Some("")));
    if let Some(refusal) = message.text("refusal")? {
        blocks.push(Block::new(BlockKind::Refusal(refusal), place));
    }
    for (number, node) in message.list("tool_calls")?.into_iter().enumerate() {
        let path = format!("messages[{index}].tool_calls[{number}]");
        let mut call = Record::new(node, path.as_str())?;
        let id = call.text("id")?.unwrap_or_else(|| format!("call_{index}_{number}"));
        let id = functions.sign(id, call.take("extra_content").as_ref());
        let call = match (call.record("function")?, call.record("custom")?) {
            (Some(mut function), _) => parse_call(&mut function, id)?,
            (None, Some(mut custom)) => Call {
                id,
                name: custom.needed_text("name")?,
                arguments: custom.text("input")?.unwrap_or_default(),
                is_freeform: true,
            },
            (None, None) => return Err(TranslateError::wrong(format!("{path}.function"), "an object")),
        };
        blocks.push(Block::new(BlockKind::Call(call), place));
    }
    if let Some(mut function) = message.record("function_call")? {
        let call = parse_call(&mut function, String::new())?;
        let id = functions.called(&call.name);
        blocks.push(Block::new(BlockKind::Call(Call { id, ..call }), place));
    }
    Ok(blocks)
}

fn parse_call(function: &mut Record, id: String) -> Result<Call> {
    let name = function.needed_text("name")?;
    Ok(Call { id, name, arguments: parse_arguments(function)?, is_freeform: false })
}

/// Reads the arguments: a text, or (some servers) the object itself.
fn parse_arguments(function: &mut Record) -> Result<String> {
    Ok(match function.take("arguments") {
        None => String::new(),
        Some(Node::String(text)) => text,
        Some(object) => object.to_json(),
    })
}

/// Reads the thinking that clients carry for a provider: `thinking_blocks`, or OpenRouter's `reasoning_details`.
fn parse_thinking(message: &mut Record, place: Place) -> Result<Vec<Block>> {
    message.take("reasoning_content");
    message.take("reasoning");
    let details = message.list("reasoning_details")?;
    let mut kinds = Vec::new();
    for block in message.list("thinking_blocks")? {
        match block.text("type") {
            Some("thinking") => kinds.push(signed(block.text("thinking"), block.text("signature"))),
            Some("redacted_thinking") => {
                kinds.push(block.text("data").map(|data| BlockKind::Redacted(data.to_owned())));
            }
            _ => {}
        }
    }
    if kinds.is_empty() {
        // A signature of another provider means nothing to the one that is asked.
        let is_own = |detail: &&Node| detail.text("format").is_none_or(|format| format.starts_with("anthropic"));
        for detail in details.iter().filter(is_own) {
            match detail.text("type") {
                Some("reasoning.text") => kinds.push(signed(detail.text("text"), detail.text("signature"))),
                Some("reasoning.encrypted") => {
                    kinds.push(detail.text("data").map(|data| BlockKind::Redacted(data.to_owned())));
                }
                _ => {}
            }
        }
    }
    Ok(kinds.into_iter().flatten().map(|kind| Block::new(kind, place)).collect())
}

fn signed(text: Option<&str>, signature: Option<&str>) -> Option<BlockKind> {
    let signature = signature.filter(|signature| !signature.is_empty())?;
    Some(BlockKind::Thinking { text: text.unwrap_or_default().to_owned(), signature: Some(signature.to_owned()) })
}
