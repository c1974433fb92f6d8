//! The input items of a Responses request, read neutrally.
//!
//! Rule: what the assistant did between two inputs is one turn: its reasoning, its words and its calls.

use std::collections::HashSet;

use super::carrier;
use super::parse::flat_name;
use crate::chat::request::{Block, BlockKind, Call, Conversation, Place, Role, Source, Turn};
use crate::dialect::openai_chat::{parse_file, parse_url};
use crate::json::{Node, Record};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads a text, or a list of items.
pub(super) fn parse_input(input: Option<Node>, conversation: &mut Conversation) -> Result<()> {
    let items = match input {
        Some(Node::String(text)) => {
            conversation.turns.push(Turn::new(Role::User, vec![Block::text(text, Place::default())]));
            return Ok(());
        }
        Some(Node::Array(items)) => items,
        _ => return Err(TranslateError::wrong("input", "a string or an array of items")),
    };
    let mut called = HashSet::new();
    for (index, node) in items.into_iter().enumerate() {
        let mut item = Record::new(node, format!("input[{index}]"))?;
        let kind = item.text("type")?.unwrap_or_else(|| "message".to_owned());
        let place = Place::of(index);
        match kind.as_str() {
            "message" => parse_message(&mut item, index, conversation)?,
            "function_call" | "custom_tool_call" => {
                let call = parse_call(&mut item, kind == "custom_tool_call")?;
                if !called.insert(call.id.clone()) {
                    return Err(TranslateError::invalid(item.path("call_id"), "is the id of an earlier call too"));
                }
                push(conversation, Role::Assistant, vec![Block::new(BlockKind::Call(call), place)]);
            }
            "function_call_output" | "custom_tool_call_output" => {
                let id = item.needed_text("call_id")?;
                if !called.contains(&id) {
                    return Err(TranslateError::invalid(item.path("call_id"), "is not the id of an earlier call"));
                }
                let path = item.path("output");
                let mut blocks = parse_content(item.take("output"), &path, index)?;
                blocks.retain(|block| block.as_text() != Some(""));
                let kind = BlockKind::Result { id, blocks, is_error: false };
                push(conversation, Role::User, vec![Block::new(kind, place)]);
            }
            "reasoning" => {
                let block = parse_reasoning(&mut item)?;
                push(conversation, Role::Assistant, block.map(|kind| Block::new(kind, place)).into_iter().collect());
            }
            "item_reference" => {
                return Err(TranslateError::unsupported(
                    item.path("type"),
                    "items are not stored; send the whole item",
                ));
            }
            // What OpenAI's own tools left in the history means nothing elsewhere.
            _ => conversation.drop_field(format!("input[{index}]")),
        }
    }
    Ok(())
}

/// Adds blocks to the last turn, if it is of this role; results do not join what the user said before them.
fn push(conversation: &mut Conversation, role: Role, blocks: Vec<Block>) {
    if blocks.is_empty() {
        return;
    }
    match conversation.turns.last_mut() {
        Some(last) if last.role == role && (role == Role::Assistant || last.blocks.iter().all(Block::is_result)) => {
            last.blocks.extend(blocks);
        }
        _ => conversation.turns.push(Turn::new(role, blocks)),
    }
}

fn parse_message(item: &mut Record, index: usize, conversation: &mut Conversation) -> Result<()> {
    let role = item.needed_text("role")?;
    let path = item.path("content");
    let mut blocks = parse_content(item.take("content"), &path, index)?;
    match role.as_str() {
        "system" | "developer" if conversation.turns.is_empty() => conversation.system.append(&mut blocks),
        "system" | "developer" => conversation.turns.push(Turn::new(Role::System, blocks)),
        "user" => conversation.turns.push(Turn::new(Role::User, blocks)),
        "assistant" => push(conversation, Role::Assistant, blocks),
        _ => return Err(TranslateError::wrong(item.path("role"), "system, developer, user or assistant")),
    }
    Ok(())
}

fn parse_call(item: &mut Record, is_freeform: bool) -> Result<Call> {
    let name = item.needed_text("name")?;
    let name = match item.text("namespace")? {
        Some(namespace) => flat_name(&namespace, &name),
        None => name,
    };
    let arguments = item.text(if is_freeform { "input" } else { "arguments" })?.unwrap_or_default();
    Ok(Call { id: item.needed_text("call_id")?, name, arguments, is_freeform })
}

/// Returns the thinking that we carried through the client; else its visible text, which nobody vouches for.
fn parse_reasoning(item: &mut Record) -> Result<Option<BlockKind>> {
    if let Some(kind) = item.text("encrypted_content")?.and_then(|carrier| carrier::unpack(&carrier)) {
        return Ok(Some(kind));
    }
    let parts = [item.list("summary")?, item.list("content")?].concat();
    let text: Vec<&str> = parts.iter().filter_map(|part| part.text("text")).collect();
    Ok((!text.is_empty()).then(|| BlockKind::Thinking { text: text.join("\n"), signature: None }))
}

fn parse_content(content: Option<Node>, path: &str, index: usize) -> Result<Vec<Block>> {
    match content {
        None => Ok(Vec::new()),
        Some(Node::String(text)) => Ok(vec![Block::text(text, Place::of(index))]),
        Some(Node::Array(parts)) => {
            let part = |(part, node)| {
                let kind = parse_part(node, format!("{path}[{part}]"))?;
                Ok(Block::new(kind, Place::part(index, part)))
            };
            parts.into_iter().enumerate().map(part).collect()
        }
        Some(_) => Err(TranslateError::wrong(path, "a string or an array of parts")),
    }
}

fn parse_part(node: Node, path: String) -> Result<BlockKind> {
    let mut part = Record::new(node, path.as_str())?;
    Ok(match part.needed_text("type")?.as_str() {
        "input_text" | "output_text" | "text" | "summary_text" => BlockKind::Text(part.needed_text("text")?),
        "refusal" => BlockKind::Refusal(part.needed_text("refusal")?),
        "input_image" => {
            let source = match (part.text("image_url")?, part.text("file_id")?) {
                (Some(url), _) => parse_url(url),
                (None, Some(id)) => Source::FileId(id),
                (None, None) => return Err(TranslateError::wrong(part.path("image_url"), "a URL")),
            };
            BlockKind::Image { source, detail: part.text("detail")? }
        }
        "input_file" => parse_file(&mut part)?,
        "input_audio" => BlockKind::Audio(part.take("input_audio").unwrap_or_default()),
        _ => return Err(TranslateError::unsupported(path, "a part of this type cannot be translated")),
    })
}
