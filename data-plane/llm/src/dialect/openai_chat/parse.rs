//! A chat completion request, read neutrally.
//!
//! Rule: what has no neutral word is kept in `extra` under its own name; a value that asks for nothing (the default,
//! spelled out) is not kept.
//! Not here: single messages and their parts.

use super::message::parse_messages;
use crate::chat::request::{Conversation, Effort, Format, Reasoning, Tier, Tool, ToolChoice, WebSearch};
use crate::dialect::Family;
use crate::json::{Name, Node, Record};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads a whole request.
pub(crate) fn parse(body: &[u8]) -> Result<Conversation> {
    let mut record = Record::new(Node::parse(body)?, "")?;
    let mut conversation = Conversation { extra_family: Some(Family::OpenAi), ..Conversation::default() };
    record.needed_text("model")?;
    let messages = record.list("messages")?;
    parse_messages(messages, &mut conversation)?;
    conversation.tools = parse_tools(&mut record, &mut conversation.unread)?;
    conversation.tool_choice = parse_tool_choice(&mut record)?;
    conversation.parallel_tool_calls = record.flag("parallel_tool_calls")?;
    parse_caps(&mut record, &mut conversation)?;
    conversation.temperature = record.number("temperature")?;
    conversation.top_p = record.number("top_p")?;
    conversation.top_k = record.count("top_k")?;
    conversation.stop = parse_stop(&mut record)?;
    conversation.reasoning = parse_reasoning(&mut record)?;
    conversation.format = parse_format(&mut record)?;
    let user = record.text("user")?;
    conversation.user_id = record.text("safety_identifier")?.or(user);
    conversation.service_tier = record.text("service_tier")?.map(parse_tier);
    conversation.is_stream = record.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = record.record("stream_options")? {
        conversation.asks_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    if let Some(options) = record.take("web_search_options") {
        conversation.web_search = Some(WebSearch {
            location: parse_location(&options),
            max_uses: None,
            path: "web_search_options".to_owned(),
        });
    }
    // Hints to OpenAI's own storage and cache change no answer.
    for quiet in ["store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_control"] {
        record.take(quiet);
    }
    conversation.extra = record.rest().into_iter().filter(asks_for_something).collect();
    Ok(conversation)
}

/// OpenAI nests the place one level deeper.
fn parse_location(options: &Node) -> Option<Node> {
    let location = options.get("user_location")?;
    let mut place = location.get("approximate").unwrap_or(location).clone();
    place.set("type", "approximate");
    Some(place)
}

pub(crate) fn parse_tier(word: String) -> Tier {
    match word.as_str() {
        "auto" => Tier::Auto,
        "default" => Tier::Standard,
        _ => Tier::Other(word),
    }
}

/// Whether a field says anything that its absence does not.
fn asks_for_something((name, value): &(Name, Node)) -> bool {
    match (name.as_ref(), value) {
        ("logprobs", Node::Bool(is_asked)) => *is_asked,
        ("top_logprobs", Node::Number(_)) => value.as_u64() != Some(0),
        ("frequency_penalty" | "presence_penalty", Node::Number(_)) => value.as_f64().is_some_and(|it| it.abs() > 0.0),
        ("logit_bias" | "metadata", Node::Object(fields)) => !fields.is_empty(),
        ("modalities", Node::Array(kinds)) => kinds.iter().any(|kind| kind.as_str() != Some("text")),
        _ => true,
    }
}

fn parse_caps(record: &mut Record, conversation: &mut Conversation) -> Result<()> {
    let old = record.count("max_tokens")?;
    let (name, cap) = match record.count("max_completion_tokens")? {
        Some(cap) => ("max_completion_tokens", Some(cap)),
        None => ("max_tokens", old),
    };
    if cap == Some(0) {
        return Err(TranslateError::invalid(name, "must be at least 1"));
    }
    conversation.output_cap = cap;
    if record.count("n")?.is_some_and(|choices| choices != 1) {
        return Err(TranslateError::unsupported("n", "it gives one answer to a request"));
    }
    Ok(())
}

pub(crate) fn parse_stop(record: &mut Record) -> Result<Vec<String>> {
    let texts = match record.take("stop") {
        None => return Ok(Vec::new()),
        Some(Node::String(text)) => return Ok(vec![text]),
        Some(Node::Array(items)) => items,
        Some(_) => return Err(TranslateError::wrong("stop", "a string or an array of strings")),
    };
    let text = |(index, item)| match item {
        Node::String(text) => Ok(text),
        _ => Err(TranslateError::wrong(format!("stop[{index}]"), "a string")),
    };
    texts.into_iter().enumerate().map(text).collect()
}

pub(crate) fn parse_effort(word: Option<String>, path: &str) -> Result<Option<Effort>> {
    let Some(word) = word else { return Ok(None) };
    match Effort::parse(&word) {
        Some(effort) => Ok(Some(effort)),
        None => Err(TranslateError::wrong(path, "one of none, minimal, low, medium, high, xhigh, max")),
    }
}

fn parse_reasoning(record: &mut Record) -> Result<Reasoning> {
    let effort = parse_effort(record.text("reasoning_effort")?, "reasoning_effort")?;
    Ok(Reasoning { effort, thinking: None })
}

fn parse_format(record: &mut Record) -> Result<Format> {
    let Some(mut format) = record.record("response_format")? else { return Ok(Format::Text) };
    match format.needed_text("type")?.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let Some(mut schema) = format.record("json_schema")? else {
                return Err(TranslateError::wrong("response_format.json_schema", "an object"));
            };
            parse_schema(&mut schema)
        }
        _ => Err(TranslateError::wrong("response_format.type", "text, json_object or json_schema")),
    }
}

/// Reads `{name, schema, strict, description}`.
pub(crate) fn parse_schema(record: &mut Record) -> Result<Format> {
    Ok(Format::JsonSchema {
        name: record.text("name")?.unwrap_or_else(|| "output".to_owned()),
        description: record.text("description")?,
        strict: record.flag("strict")?,
        schema: record.take("schema").unwrap_or_else(|| crate::json::object! { "type": "object" }),
    })
}

fn parse_tools(record: &mut Record, unread: &mut Vec<String>) -> Result<Vec<Tool>> {
    let mut tools = Vec::new();
    for (index, node) in record.list("tools")?.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        let mut tool = Record::new(node, path.as_str())?;
        let cache = super::message::parse_cache(&mut tool);
        let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
        let (name, is_freeform) = match kind.as_str() {
            "function" => ("function", false),
            "custom" => ("custom", true),
            _ => return Err(TranslateError::unsupported(path, "a tool of this type runs at the provider")),
        };
        let Some(mut function) = tool.record(name)? else {
            return Err(TranslateError::wrong(format!("{path}.{name}"), "an object"));
        };
        tools.push(Tool { cache, ..parse_function(&mut function, is_freeform)? });
        function.name_rest("tools[]", unread);
    }
    // The form before tools.
    for (index, node) in record.list("functions")?.into_iter().enumerate() {
        tools.push(parse_function(&mut Record::new(node, format!("functions[{index}]"))?, false)?);
    }
    Ok(tools)
}

/// Reads `{name, description, parameters, strict}`.
pub(crate) fn parse_function(record: &mut Record, is_freeform: bool) -> Result<Tool> {
    Ok(Tool {
        name: record.needed_text("name")?,
        description: record.text("description")?,
        schema: record.take("parameters"),
        strict: record.flag("strict")?,
        cache: None,
        is_freeform,
    })
}

fn parse_tool_choice(record: &mut Record) -> Result<Option<ToolChoice>> {
    let path = "tool_choice";
    let old = record.take("function_call");
    let Some(choice) = record.take(path).or(old) else { return Ok(None) };
    if let Some(word) = choice.as_str() {
        return parse_choice_word(word, path).map(Some);
    }
    let named = choice.get("function").or_else(|| choice.get("custom")).unwrap_or(&choice);
    if let Some(name) = named.text("name") {
        return Ok(Some(ToolChoice::Named(name.to_owned())));
    }
    if choice.text("type") == Some("allowed_tools") {
        return Ok(Some(parse_allowed(choice.get("allowed_tools").unwrap_or(&choice))));
    }
    Err(TranslateError::wrong(path, "auto, none, required or a named tool"))
}

pub(crate) fn parse_choice_word(word: &str, path: &str) -> Result<ToolChoice> {
    match word {
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(TranslateError::wrong(path, "auto, none, required or a named tool")),
    }
}

/// Reads `{mode, tools: [...]}`.
pub(crate) fn parse_allowed(allowed: &Node) -> ToolChoice {
    let name = |tool: &Node| tool.get("function").unwrap_or(tool).text("name").map(str::to_owned);
    ToolChoice::Allowed {
        is_required: allowed.text("mode") == Some("required"),
        names: allowed.list("tools").iter().filter_map(name).collect(),
    }
}
