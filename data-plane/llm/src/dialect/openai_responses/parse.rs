//! A Responses request, read neutrally.
//!
//! Rule: nothing is stored here, so whatever refers to something stored is refused. Tools that run at OpenAI are dropped
//! and named.
//! Not here: input items.

use std::collections::HashSet;

use super::echo::{Echo, echoed};
use super::items::parse_input;
use crate::chat::request::{Conversation, Format, Tool, ToolChoice, WebSearch, Words};
use crate::dialect::Family;
use crate::dialect::openai_chat::{
    parse_allowed, parse_choice_word, parse_effort, parse_function, parse_schema, parse_tier,
};
use crate::json::{Node, Record};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

const WORDS: Words =
    Words { messages: "input", stop: "stop", effort: "reasoning.effort", format: "text.format", user: "user" };
/// OpenAI's own minimum.
const MIN_OUTPUT_TOKENS: u64 = 16;
const STORED: [&str; 3] = ["previous_response_id", "conversation", "prompt"];
/// Fields of chat completions, which a client sends here by mistake.
const FOREIGN: [&str; 3] = ["n", "stop", "messages"];

/// Reads a whole request, and notes in `echo` what its answer repeats.
pub(crate) fn parse(body: &[u8], echo: &mut Echo) -> Result<Conversation> {
    let body = Node::parse(body)?;
    echo.fields = echoed().to_vec();
    for (name, value) in &mut echo.fields {
        if let Some(given) = body.get(name) {
            *value = given.clone();
        }
    }
    let mut record = Record::new(body, "")?;
    refuse_stored(&mut record)?;
    record.needed_text("model")?;
    let mut conversation =
        Conversation { words: WORDS, extra_family: Some(Family::OpenAi), asks_usage: true, ..Conversation::default() };
    parse_tools(&mut record, &mut conversation, echo)?;
    if let Some(instructions) = record.text("instructions")? {
        let place = crate::chat::request::Place::default();
        conversation.system.push(crate::chat::request::Block::text(instructions, place));
    }
    parse_input(record.take("input"), &mut conversation)?;
    parse_choice(&mut record, &mut conversation)?;
    conversation.parallel_tool_calls = record.flag("parallel_tool_calls")?;
    conversation.output_cap = record.count("max_output_tokens")?;
    if conversation.output_cap.is_some_and(|cap| cap < MIN_OUTPUT_TOKENS) {
        return Err(TranslateError::invalid("max_output_tokens", "must be at least 16"));
    }
    conversation.temperature = record.number("temperature")?;
    conversation.top_p = record.number("top_p")?;
    if let Some(mut reasoning) = record.record("reasoning")? {
        conversation.reasoning.effort = parse_effort(reasoning.text("effort")?, "reasoning.effort")?;
    }
    parse_text(&mut record, &mut conversation)?;
    let user = record.text("user")?;
    conversation.user_id = record.text("safety_identifier")?.or(user);
    conversation.service_tier = record.text("service_tier")?.map(parse_tier);
    conversation.is_stream = record.flag("stream")?.unwrap_or(false);
    if let Some(count) = record.count("top_logprobs")?.filter(|count| *count > 0) {
        conversation.extra.push(("logprobs".into(), Node::Bool(true)));
        conversation.extra.push(("top_logprobs".into(), Node::from(count)));
    }
    for wish in record.list("include")? {
        match wish.as_str() {
            Some("reasoning.encrypted_content") => echo.asks_encrypted = true,
            _ => conversation.drop_field("include"),
        }
    }
    if record.text("truncation")?.is_some_and(|word| word != "disabled") {
        conversation.drop_field("truncation");
    }
    for quiet in
        ["store", "metadata", "stream_options", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"]
    {
        record.take(quiet);
    }
    for (name, _) in record.rest() {
        conversation.drop_field(name);
    }
    Ok(conversation)
}

fn refuse_stored(record: &mut Record) -> Result<()> {
    for name in FOREIGN {
        if record.take(name).is_some() {
            return Err(TranslateError::invalid(name, "is not a parameter of responses"));
        }
    }
    for name in STORED {
        if record.take(name).is_some() {
            return Err(TranslateError::unsupported(name, "responses are not stored; send the whole input"));
        }
    }
    if record.flag("background")? == Some(true) {
        return Err(TranslateError::unsupported("background", "responses are not stored"));
    }
    Ok(())
}

fn parse_tools(record: &mut Record, conversation: &mut Conversation, echo: &mut Echo) -> Result<()> {
    for (index, node) in record.list("tools")?.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        let mut tool = Record::new(node, path.as_str())?;
        match tool.needed_text("type")?.as_str() {
            kind @ ("function" | "custom") => {
                conversation.tools.push(parse_function(&mut tool, kind == "custom")?);
                tool.name_rest("tools[]", &mut conversation.unread);
            }
            "namespace" => {
                let namespace = tool.needed_text("name")?;
                for (member, node) in tool.list("tools")?.into_iter().enumerate() {
                    let mut record = Record::new(node, format!("{path}.tools[{member}]"))?;
                    let is_freeform = match record.text("type")?.as_deref() {
                        Some("function") | None => false,
                        Some("custom") => true,
                        Some(_) => {
                            conversation.drop_field(format!("{path}.tools[{member}]"));
                            continue;
                        }
                    };
                    let tool = parse_function(&mut record, is_freeform)?;
                    let flat = flat_name(&namespace, &tool.name);
                    let whole = (namespace.clone(), tool.name.clone());
                    echo.namespaces.entry(flat.clone()).or_insert(whole);
                    conversation.tools.push(Tool { name: flat, ..tool });
                }
            }
            kind if kind.starts_with("web_search") => {
                let location = tool.take("user_location");
                conversation.web_search = Some(WebSearch { location, max_uses: None, path });
            }
            _ => conversation.drop_field(path),
        }
    }
    Ok(())
}

/// The name of a tool of a namespace, where there are no namespaces.
pub(super) fn flat_name(namespace: &str, name: &str) -> String {
    format!("{namespace}__{name}")
}

fn parse_choice(record: &mut Record, conversation: &mut Conversation) -> Result<()> {
    let path = "tool_choice";
    let Some(choice) = record.take(path) else { return Ok(()) };
    let parsed = match (choice.as_str(), choice.text("type"), choice.text("name")) {
        (Some(word), _, _) => parse_choice_word(word, path)?,
        (None, Some("function" | "custom"), Some(name)) => ToolChoice::Named(match choice.text("namespace") {
            Some(namespace) => flat_name(namespace, name),
            None => name.to_owned(),
        }),
        (None, Some("allowed_tools"), _) => parse_allowed(&choice),
        (None, Some(_), _) => {
            conversation.drop_field(path);
            return Ok(());
        }
        _ => return Err(TranslateError::wrong(path, "auto, none, required or a named tool")),
    };
    let known: HashSet<&str> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
    let is_known = |name: &String| known.contains(name.as_str());
    let is_dangling = match &parsed {
        ToolChoice::Named(name) => !is_known(name),
        ToolChoice::Allowed { names, .. } => !names.iter().any(is_known),
        ToolChoice::Required => conversation.tools.is_empty() && conversation.web_search.is_none(),
        ToolChoice::None | ToolChoice::Auto => false,
    };
    if is_dangling {
        conversation.drop_field(path);
    } else {
        conversation.tool_choice = Some(parsed);
    }
    Ok(())
}

fn parse_text(record: &mut Record, conversation: &mut Conversation) -> Result<()> {
    let Some(mut text) = record.record("text")? else { return Ok(()) };
    if let Some(verbosity) = text.take("verbosity") {
        conversation.extra.push(("verbosity".into(), verbosity));
    }
    let Some(mut format) = text.record("format")? else { return Ok(()) };
    conversation.format = match format.needed_text("type")?.as_str() {
        "text" => Format::Text,
        "json_object" => Format::JsonObject,
        "json_schema" => parse_schema(&mut format)?,
        _ => return Err(TranslateError::wrong("text.format.type", "text, json_object or json_schema")),
    };
    Ok(())
}
