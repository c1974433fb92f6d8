//! A neutral request as a chat completion request.
//!
//! Rule: the answers of tools directly follow the message that called them; usage is always asked for. What is left out is
//! named, so that the caller may refuse the request instead.

use super::render_messages::render_messages;
use crate::chat::names::ToolNames;
use crate::chat::request::{Conversation, Effort, Format, Role, Thinking, Tier, Tool, ToolChoice};
use crate::chat::traits::{LeastThinking, ModelTraits, ThinkingForm};
use crate::dialect::Family;
use crate::json::{Node, object};
use crate::rewrite::CapField;
use crate::translate::{AnswerPlan, RequestContext, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

const MAX_NAME_BYTES: usize = 64;
/// OpenAI's own limits.
const MAX_STOPS: usize = 4;
const MAX_USER_BYTES: usize = 64;

/// Renders a request whose calls and results are paired.
pub(crate) fn render(
    conversation: &mut Conversation,
    context: &RequestContext<'_>,
    plan: &mut AnswerPlan,
) -> Result<Node> {
    let traits = context.traits;
    conversation.drop_media_of(Role::Assistant);
    let history = conversation.turns.iter().flat_map(|turn| turn.calls().map(|call| call.name.as_str()));
    let named = conversation.tools.iter().map(|tool| tool.name.as_str()).chain(history);
    plan.names = ToolNames::new(named, MAX_NAME_BYTES);

    let mut body = object! { "model": context.upstream_model };
    context.upstream_model.clone_into(&mut plan.signer);
    body.set("messages", render_messages(conversation, traits, &plan.names, &plan.signer)?);
    if let Some(cap) = context.cap_of(conversation) {
        let name = match traits.cap_field {
            CapField::MaxTokens => "max_tokens",
            CapField::MaxCompletionTokens => "max_completion_tokens",
        };
        body.set(name, cap);
    }
    render_tools(&mut body, conversation, traits, &plan.names);
    render_sampling(&mut body, conversation, traits);
    if let Some(effort) = effort(conversation, traits) {
        body.set("reasoning_effort", effort.as_str());
    }
    render_format(&mut body, std::mem::take(&mut conversation.format));
    match conversation.user_id.take() {
        Some(mut user) if traits.takes_user => {
            user.truncate(user.floor_char_boundary(MAX_USER_BYTES));
            body.set("user", user);
        }
        Some(_) => conversation.drop_field(conversation.words.user),
        None => {}
    }
    match conversation.service_tier.take() {
        Some(Tier::Auto) => body.set("service_tier", "auto"),
        Some(Tier::Standard) => body.set("service_tier", "default"),
        Some(Tier::Other(tier)) if conversation.extra_family == Some(Family::OpenAi) => body.set("service_tier", tier),
        Some(Tier::Other(_)) => conversation.drop_field("service_tier"),
        None => {}
    }
    if conversation.is_stream {
        body.set("stream", true);
        body.set("stream_options", object! { "include_usage": true });
    }
    let extra = std::mem::take(&mut conversation.extra);
    match (&mut body, conversation.extra_family) {
        (Node::Object(fields), Some(Family::OpenAi)) => fields.extend(extra),
        _ => extra.into_iter().for_each(|(name, _)| conversation.drop_field(name)),
    }
    Ok(body)
}

fn render_tools(body: &mut Node, conversation: &mut Conversation, traits: ModelTraits, names: &ToolNames) {
    let tools: Vec<Node> = conversation.tools.iter().map(|tool| render_tool(tool, names)).collect();
    let has_tools = !tools.is_empty();
    if has_tools {
        body.set("tools", Node::Array(tools));
    }
    if let Some(search) = conversation.web_search.take() {
        if traits.takes_web_search {
            let location = search.location.map(|mut place| {
                place.take("type");
                object! { "type": "approximate", "approximate": place }
            });
            body.set("web_search_options", object! {}.with("user_location", location));
        } else {
            conversation.drop_field(search.path);
        }
    }
    let choice = conversation.tool_choice.take();
    if !has_tools {
        return;
    }
    let named = |name: &str| object! { "type": "function", "function": object! { "name": names.outward(name) } };
    match choice {
        Some(ToolChoice::None) => body.set("tool_choice", "none"),
        Some(ToolChoice::Auto) => body.set("tool_choice", "auto"),
        Some(ToolChoice::Required) => body.set("tool_choice", if traits.says_any { "any" } else { "required" }),
        Some(ToolChoice::Named(name)) => body.set("tool_choice", named(&name)),
        Some(ToolChoice::Allowed { is_required, names: allowed }) => {
            let mode = if is_required { "required" } else { "auto" };
            let tools: Vec<Node> = allowed.iter().map(|name| named(name)).collect();
            let allowed = object! { "mode": mode, "tools": Node::Array(tools) };
            body.set("tool_choice", object! { "type": "allowed_tools", "allowed_tools": allowed });
        }
        None => {}
    }
    if let Some(parallel) = conversation.parallel_tool_calls {
        body.set("parallel_tool_calls", parallel);
    }
}

fn render_tool(tool: &Tool, names: &ToolNames) -> Node {
    let function = object! { "name": names.outward(&tool.name) }
        .with("description", tool.description.as_deref())
        .with("parameters", tool.arguments())
        .with("strict", tool.strict.filter(|_| !tool.is_freeform));
    object! { "type": "function", "function": function }
}

fn render_sampling(body: &mut Node, conversation: &mut Conversation, traits: ModelTraits) {
    for (name, value) in [("temperature", conversation.temperature), ("top_p", conversation.top_p)] {
        match value {
            Some(value) if traits.takes_sampling => body.set(name, value),
            Some(_) => conversation.drop_field(name),
            None => {}
        }
    }
    match conversation.top_k {
        Some(top_k) if traits.takes_top_k => body.set("top_k", top_k),
        Some(_) => conversation.drop_field("top_k"),
        None => {}
    }
    let mut stop = std::mem::take(&mut conversation.stop);
    if stop.len() > MAX_STOPS {
        stop.truncate(MAX_STOPS);
        conversation.drop_field(conversation.words.stop);
    }
    if !stop.is_empty() {
        body.set("stop", stop);
    }
}

/// Returns the effort in the words that the model takes.
fn effort(conversation: &mut Conversation, traits: ModelTraits) -> Option<Effort> {
    let reasoning = conversation.reasoning;
    let effort = match (reasoning.effort, reasoning.thinking) {
        (_, Some(Thinking::Disabled)) => Effort::None,
        (_, Some(Thinking::BetweenTools)) => Effort::Minimal,
        (Some(effort), _) => effort,
        (None, Some(Thinking::Budget(0..2048))) => Effort::Low,
        (None, Some(Thinking::Budget(2048..8192))) => Effort::Medium,
        (None, Some(Thinking::Budget(_))) => Effort::High,
        (None, Some(Thinking::Adaptive) | None) => return None,
    };
    if traits.thinking == ThinkingForm::None {
        if effort != Effort::None {
            conversation.drop_field(conversation.words.effort);
        }
        return None;
    }
    Some(match effort {
        Effort::None if traits.least_thinking != LeastThinking::Disabled => {
            conversation.drop_field(conversation.words.effort);
            Effort::Low
        }
        Effort::Max if traits.takes_max_effort => Effort::Max,
        Effort::Max | Effort::XHigh if traits.takes_xhigh_effort => Effort::XHigh,
        Effort::Max | Effort::XHigh => Effort::High,
        effort => effort,
    })
}

fn render_format(body: &mut Node, format: Format) {
    match format {
        Format::Text => {}
        Format::JsonObject => body.set("response_format", object! { "type": "json_object" }),
        Format::JsonSchema { name, description, schema, strict } => {
            let schema = object! { "name": name }
                .with("description", description)
                .with("schema", Some(schema))
                .with("strict", strict);
            body.set("response_format", object! { "type": "json_schema", "json_schema": schema });
        }
    }
}
