//! A messages request, read neutrally.
//!
//! Rule: what has no neutral word is kept in `extra` or named in `unread`; a block that would be lost with the user's
//! content in it is refused instead.
//! Not here: single blocks.

use super::block::{parse_blocks, parse_cache};
use crate::chat::request::{
    Conversation, Format, Reasoning, Role, Thinking, Tier, Tool, ToolChoice, Turn, WebSearch, Words,
};
use crate::dialect::Family;
use crate::dialect::openai_chat::parse_effort;
use crate::json::{Node, Record};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

const WORDS: Words = Words {
    messages: "messages",
    stop: "stop_sequences",
    effort: "thinking",
    format: "output_config.format",
    user: "metadata.user_id",
};

/// Reads a whole request.
pub(crate) fn parse(body: &[u8]) -> Result<Conversation> {
    let mut record = Record::new(Node::parse(body)?, "")?;
    let mut conversation =
        Conversation { words: WORDS, extra_family: Some(Family::Anthropic), ..Conversation::default() };
    record.needed_text("model")?;
    if let Some(system) = record.take("system") {
        conversation.system = parse_blocks(Some(system), "system", 0, &mut conversation.unread)?;
    }
    parse_messages(record.list("messages")?, &mut conversation)?;
    parse_tools(&mut record, &mut conversation)?;
    parse_tool_choice(&mut record, &mut conversation)?;
    conversation.output_cap = record.count("max_tokens")?;
    if conversation.output_cap == Some(0) {
        return Err(TranslateError::unsupported("max_tokens", "it cannot warm a cache without an answer"));
    }
    conversation.temperature = record.number("temperature")?;
    conversation.top_p = record.number("top_p")?;
    conversation.top_k = record.count("top_k")?;
    for (index, item) in record.list("stop_sequences")?.into_iter().enumerate() {
        match item {
            Node::String(text) => conversation.stop.push(text),
            _ => return Err(TranslateError::wrong(format!("stop_sequences[{index}]"), "a string")),
        }
    }
    conversation.reasoning.thinking = parse_thinking(&mut record)?;
    parse_output(&mut record, &mut conversation)?;
    if let Some(mut metadata) = record.record("metadata")? {
        conversation.user_id = metadata.text("user_id")?;
    }
    conversation.service_tier = record.text("service_tier")?.map(|word| match word.as_str() {
        "auto" => Tier::Auto,
        "standard_only" => Tier::Standard,
        _ => Tier::Other(word),
    });
    conversation.is_stream = record.flag("stream")?.unwrap_or(false);
    // The mark of the whole prompt changes no answer.
    record.take("cache_control");
    conversation.extra = record.rest();
    Ok(conversation)
}

fn parse_messages(messages: Vec<Node>, conversation: &mut Conversation) -> Result<()> {
    if messages.is_empty() {
        return Err(TranslateError::wrong("messages", "an array of at least one message"));
    }
    for (index, node) in messages.into_iter().enumerate() {
        let mut message = Record::new(node, format!("messages[{index}]"))?;
        let role = match message.needed_text("role")?.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return Err(TranslateError::wrong(message.path("role"), "user, assistant or system")),
        };
        let path = message.path("content");
        let blocks = parse_blocks(message.take("content"), &path, index, &mut conversation.unread)?;
        message.name_rest("messages[]", &mut conversation.unread);
        conversation.turns.push(Turn::new(role, blocks));
    }
    Ok(())
}

fn parse_tools(record: &mut Record, conversation: &mut Conversation) -> Result<()> {
    for (index, node) in record.list("tools")?.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        let mut tool = Record::new(node, path.as_str())?;
        let kind = tool.text("type")?.unwrap_or_else(|| "custom".to_owned());
        if kind.starts_with("web_search_") {
            let (location, max_uses) = (tool.take("user_location"), tool.count("max_uses")?);
            conversation.web_search = Some(WebSearch { location, max_uses, path });
            continue;
        }
        if kind != "custom" {
            return Err(TranslateError::unsupported(path, "a tool of this type is Anthropic's own"));
        }
        conversation.tools.push(Tool {
            cache: parse_cache(&mut tool),
            name: tool.needed_text("name")?,
            description: tool.text("description")?,
            schema: tool.take("input_schema"),
            strict: tool.flag("strict")?,
            is_freeform: false,
        });
        tool.name_rest("tools[]", &mut conversation.unread);
    }
    Ok(())
}

fn parse_tool_choice(record: &mut Record, conversation: &mut Conversation) -> Result<()> {
    let Some(mut choice) = record.record("tool_choice")? else { return Ok(()) };
    if choice.flag("disable_parallel_tool_use")? == Some(true) {
        conversation.parallel_tool_calls = Some(false);
    }
    conversation.tool_choice = Some(match choice.needed_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.needed_text("name")?),
        _ => return Err(TranslateError::wrong("tool_choice.type", "auto, any, tool or none")),
    });
    Ok(())
}

fn parse_thinking(record: &mut Record) -> Result<Option<Thinking>> {
    let Some(mut thinking) = record.record("thinking")? else { return Ok(None) };
    Ok(Some(match thinking.needed_text("type")?.as_str() {
        "adaptive" => Thinking::Adaptive,
        "disabled" => Thinking::Disabled,
        "between_tools" => Thinking::BetweenTools,
        "enabled" => match thinking.count("budget_tokens")? {
            Some(budget) => Thinking::Budget(budget),
            None => return Err(TranslateError::wrong("thinking.budget_tokens", "a whole number")),
        },
        _ => return Err(TranslateError::wrong("thinking.type", "enabled, adaptive, disabled or between_tools")),
    }))
}

fn parse_output(record: &mut Record, conversation: &mut Conversation) -> Result<()> {
    let old = record.take("output_format");
    let mut format = old;
    if let Some(mut output) = record.record("output_config")? {
        let effort = parse_effort(output.text("effort")?, "output_config.effort")?;
        conversation.reasoning = Reasoning { effort, ..conversation.reasoning };
        format = output.take("format").or(format);
        for (name, _) in output.rest() {
            conversation.drop_field(format!("output_config.{name}"));
        }
    }
    let Some(mut format) = format else { return Ok(()) };
    if format.text("type") != Some("json_schema") {
        return Err(TranslateError::wrong("output_config.format.type", "json_schema"));
    }
    let Some(schema) = format.take("schema") else {
        return Err(TranslateError::wrong("output_config.format.schema", "an object"));
    };
    conversation.format =
        Format::JsonSchema { name: "output".to_owned(), description: None, schema, strict: Some(true) };
    Ok(())
}
