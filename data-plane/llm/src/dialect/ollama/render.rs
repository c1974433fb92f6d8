//! A neutral request as an `/api/chat` request.
//!
//! Rule: an option is sent only where the client said it, so that the model's own defaults hold. What shapes the server's
//! memory (`num_ctx`, `keep_alive`, `options`) passes from the client's body. What has no word is named.

use std::collections::HashSet;

use super::options::keep_own;
use super::render_messages::render_messages;
use crate::chat::names::ToolNames;
use crate::chat::request::{Conversation, Effort, Format, Role, Thinking, Tool, ToolChoice};
use crate::chat::traits::{ModelTraits, ThinkingForm};
use crate::json::{Name, Node, object};
use crate::translate::{AnswerPlan, RequestContext, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

const MAX_NAME_BYTES: usize = 64;
/// Fields of a client's body that are options here, under the same name.
const OPTIONS: [&str; 9] = [
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "num_ctx",
    "num_keep",
    "min_p",
    "typical_p",
    "repeat_last_n",
    "repeat_penalty",
];
/// Fields that stand beside the messages, under the same name.
const OWN: [&str; 4] = ["keep_alive", "think", "truncate", "shift"];

/// Renders a request whose calls and results are paired.
pub(crate) fn render(
    conversation: &mut Conversation,
    context: &RequestContext<'_>,
    plan: &mut AnswerPlan,
) -> Result<Node> {
    conversation.drop_media_of(Role::Assistant);
    let history = conversation.turns.iter().flat_map(|turn| turn.calls().map(|call| call.name.as_str()));
    let named = conversation.tools.iter().map(|tool| tool.name.as_str()).chain(history);
    plan.names = ToolNames::new(named, MAX_NAME_BYTES);

    let mut body = object! { "model": context.upstream_model };
    body.set("messages", render_messages(conversation, &plan.names)?);
    render_tools(&mut body, conversation, &plan.names);
    body.set("stream", conversation.is_stream);
    match std::mem::take(&mut conversation.format) {
        Format::Text => {}
        Format::JsonObject => body.set("format", "json"),
        Format::JsonSchema { schema, .. } => body.set("format", schema),
    }
    let think = think(conversation, context.traits, context.upstream_model);
    let mut options = own_options(conversation)?;
    render_options(&mut options, conversation, context);
    for (name, value) in std::mem::take(&mut conversation.extra) {
        if OPTIONS.contains(&&*name) {
            put(&mut options, name, value);
        } else if OWN.contains(&&*name) {
            put(&mut body, name, value);
        } else {
            conversation.drop_field(name);
        }
    }
    if let Some(think) = think.filter(|_| body.get("think").is_none()) {
        body.set("think", think);
    }
    if options != object! {} {
        body.set("options", options);
    }
    if conversation.user_id.take().is_some() {
        conversation.drop_field(conversation.words.user);
    }
    if matches!(conversation.service_tier.take(), Some(crate::chat::request::Tier::Other(_))) {
        conversation.drop_field("service_tier");
    }
    Ok(body)
}

/// Takes the options that the client wrote in Ollama's own form.
fn own_options(conversation: &mut Conversation) -> Result<Node> {
    let Some(at) = conversation.extra.iter().position(|(name, _)| name == "options") else { return Ok(object! {}) };
    match conversation.extra.remove(at).1 {
        mut options @ Node::Object(_) => {
            if let Some(cap) = keep_own(&mut options, &mut conversation.unread) {
                conversation.output_cap = Some(conversation.output_cap.map_or(cap, |other| other.min(cap)).max(1));
            }
            Ok(options)
        }
        _ => Err(TranslateError::wrong("options", "an object")),
    }
}

fn put(object: &mut Node, name: Name, value: Node) {
    let Node::Object(fields) = object else { return };
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name, value)),
    }
}

fn render_options(options: &mut Node, conversation: &mut Conversation, context: &RequestContext<'_>) {
    let most = [conversation.output_cap, context.output_cap, context.max_output_tokens];
    let is_capped = conversation.output_cap.is_some() || context.output_cap.is_some();
    if let Some(cap) = most.into_iter().flatten().min().filter(|_| is_capped) {
        options.set("num_predict", cap.max(1));
    }
    if let Some(temperature) = conversation.temperature {
        options.set("temperature", temperature);
    }
    if let Some(top_p) = conversation.top_p {
        options.set("top_p", top_p);
    }
    if let Some(top_k) = conversation.top_k {
        options.set("top_k", top_k);
    }
    let stop = std::mem::take(&mut conversation.stop);
    if !stop.is_empty() {
        options.set("stop", stop);
    }
}

fn render_tools(body: &mut Node, conversation: &mut Conversation, names: &ToolNames) {
    if let Some(search) = conversation.web_search.take() {
        conversation.drop_field(search.path);
    }
    let choice = conversation.tool_choice.take();
    if conversation.tools.is_empty() {
        return;
    }
    let allowed = match &choice {
        Some(ToolChoice::None) => return,
        Some(ToolChoice::Allowed { names, .. }) => Some(names.iter().map(String::as_str).collect::<HashSet<_>>()),
        _ => None,
    };
    let is_forced = match &choice {
        Some(ToolChoice::Required | ToolChoice::Named(_)) => true,
        Some(ToolChoice::Allowed { is_required, .. }) => *is_required,
        _ => false,
    };
    if is_forced {
        conversation.drop_field("tool_choice");
    }
    if conversation.parallel_tool_calls == Some(false) {
        conversation.drop_field("parallel_tool_calls");
    }
    let is_offered = |tool: &&Tool| allowed.as_ref().is_none_or(|allowed| allowed.contains(tool.name.as_str()));
    let tools: Vec<Node> = conversation.tools.iter().filter(is_offered).map(|tool| render_tool(tool, names)).collect();
    body.set("tools", Node::Array(tools));
}

fn render_tool(tool: &Tool, names: &ToolNames) -> Node {
    let freeform = || {
        object! {
            "type": "object",
            "properties": object! { "input": object! { "type": "string" } },
            "required": vec!["input"],
        }
    };
    let schema = if tool.is_freeform { Some(freeform()) } else { tool.schema.clone() };
    let schema = schema.unwrap_or_else(|| object! { "type": "object", "properties": object! {} });
    let function = object! { "name": names.outward(&tool.name) }
        .with("description", tool.description.as_deref())
        .with("parameters", Some(schema));
    object! { "type": "function", "function": function }
}

/// How much to think, in the words that the model takes; a model that does not think refuses every word.
fn think(conversation: &mut Conversation, traits: ModelTraits, model: &str) -> Option<Node> {
    let reasoning = conversation.reasoning;
    let effort = match (reasoning.effort, reasoning.thinking) {
        (_, Some(Thinking::Disabled)) => Effort::None,
        (Some(effort), _) => effort,
        (None, Some(Thinking::BetweenTools | Thinking::Budget(0..2048))) => Effort::Low,
        (None, Some(Thinking::Budget(2048..8192))) => Effort::Medium,
        (None, Some(Thinking::Budget(_))) => Effort::High,
        (None, Some(Thinking::Adaptive)) => Effort::Medium,
        (None, None) => return None,
    };
    if traits.thinking == ThinkingForm::None {
        if effort != Effort::None {
            conversation.drop_field(conversation.words.effort);
        }
        return None;
    }
    if !model.contains("gpt-oss") {
        return Some(Node::Bool(effort != Effort::None));
    }
    Some(Node::from(match effort {
        Effort::None => {
            conversation.drop_field(conversation.words.effort);
            "low"
        }
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }))
}
