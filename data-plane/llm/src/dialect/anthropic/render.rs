//! A neutral request as a messages request.
//!
//! Rule: nothing is sent that the model is known to refuse. What is left out is named, so that the caller may refuse the
//! request instead.
//! Not here: turns and blocks, the schema of a structured answer.

use std::collections::HashSet;

use super::render_turns::{
    check_ends, keep_last_marks, place_system_turns, render_blocks, render_turns, tools_of_history,
};
use super::schema;
use crate::chat::names::ToolNames;
use crate::chat::request::{
    Block, Conversation, Effort, Format, Place, Role, Thinking, Tier, Tool, ToolChoice, WebSearch,
};
use crate::chat::traits::{LeastThinking, ModelTraits, ThinkingForm};
use crate::dialect::Family;
use crate::json::{Node, object};
use crate::translate::{AnswerPlan, RequestContext, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

/// Asked for when neither the client nor the catalogue says how long an answer may be; every Claude model takes it.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// The smallest budget of thinking that the API takes.
const MIN_BUDGET_TOKENS: u64 = 1024;
const MAX_NAME_BYTES: usize = 128;

/// Renders a request whose calls and results are paired.
pub(crate) fn render(
    conversation: &mut Conversation,
    context: &RequestContext<'_>,
    plan: &mut AnswerPlan,
) -> Result<Node> {
    let traits = context.traits;
    let max_tokens = max_tokens(conversation, context);
    place_system_turns(conversation, traits);
    check_ends(conversation, traits)?;
    allow_tools(conversation);
    let stubs = tools_of_history(conversation);
    conversation.tools.extend(stubs);
    keep_last_marks(conversation);
    let history = conversation.turns.iter().flat_map(|turn| turn.calls().map(|call| call.name.as_str()));
    let named = conversation.tools.iter().map(|tool| tool.name.as_str()).chain(history);
    plan.names = ToolNames::new(named, MAX_NAME_BYTES);

    let mut body = object! { "model": context.upstream_model, "max_tokens": max_tokens };
    let thinking = thinking(conversation, traits, max_tokens);
    let format = render_format(conversation);
    let system = render_blocks(&conversation.system, conversation, &plan.names)?;
    if !system.is_empty() {
        body.set("system", Node::Array(system));
    }
    body.set("messages", render_turns(conversation, &plan.names)?);
    let mut tools = Vec::new();
    for (index, tool) in conversation.tools.iter().enumerate() {
        tools.push(render_tool(tool, index, &plan.names)?);
    }
    if let Some(search) = conversation.web_search.take() {
        if traits.takes_web_search {
            tools.push(render_web_search(search));
        } else {
            conversation.drop_field(search.path);
        }
    }
    let has_tools = !tools.is_empty();
    if has_tools {
        body.set("tools", Node::Array(tools));
    }
    let is_thinking =
        thinking.as_ref().is_some_and(|thinking| matches!(thinking.text("type"), Some("adaptive" | "enabled")));
    if has_tools && let Some(choice) = render_choice(conversation, traits, is_thinking, &plan.names) {
        body.set("tool_choice", choice);
    }
    let effort = effort(conversation, traits);
    body = body.with("thinking", thinking);
    if format.is_some() || effort.is_some() {
        body.set("output_config", object! {}.with("effort", effort.map(Effort::as_str)).with("format", format));
    }
    body = render_sampling(body, conversation, traits, is_thinking);
    let stop: Vec<&str> = conversation.stop.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
    if !stop.is_empty() {
        body.set("stop_sequences", stop);
    }
    if let Some(user) = conversation.user_id.take() {
        if is_contact(&user) {
            conversation.drop_field(conversation.words.user);
        } else {
            body.set("metadata", object! { "user_id": user });
        }
    }
    match conversation.service_tier.take() {
        Some(Tier::Auto) => body.set("service_tier", "auto"),
        Some(Tier::Standard) => body.set("service_tier", "standard_only"),
        Some(Tier::Other(_)) => conversation.drop_field("service_tier"),
        None => {}
    }
    if conversation.is_stream {
        body.set("stream", true);
    }
    let extra = std::mem::take(&mut conversation.extra);
    match (&mut body, conversation.extra_family) {
        (Node::Object(fields), Some(Family::Anthropic)) => fields.extend(extra),
        _ => {
            // Labels for OpenAI's own storage change no answer.
            let named = extra.into_iter().filter(|(name, _)| name != "metadata");
            named.for_each(|(name, _)| conversation.drop_field(name));
        }
    }
    Ok(body)
}

fn max_tokens(conversation: &Conversation, context: &RequestContext<'_>) -> u64 {
    let wanted = conversation.output_cap.or(context.max_output_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
    let most = context.max_output_tokens.unwrap_or(u64::MAX).min(context.output_cap.unwrap_or(u64::MAX));
    wanted.min(most).max(1)
}

/// Keeps only the tools that the choice allows.
pub(crate) fn allow_tools(conversation: &mut Conversation) {
    if let Some(ToolChoice::Allowed { names, .. }) = &conversation.tool_choice {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        conversation.tools.retain(|tool| names.contains(tool.name.as_str()));
    }
}

fn render_tool(tool: &Tool, index: usize, names: &ToolNames) -> Result<Node> {
    let mut schema = tool.arguments().unwrap_or_else(|| object! { "type": "object", "properties": object! {} });
    if ["oneOf", "anyOf", "allOf"].iter().any(|name| schema.get(name).is_some()) {
        let reason = "the arguments' schema must be one object, not a choice of several";
        return Err(TranslateError::unsupported(format!("tools[{index}]"), reason));
    }
    if schema.get("type").is_none() {
        schema.set("type", "object");
    }
    let rendered = object! { "name": names.outward(&tool.name) }
        .with("description", tool.description.as_deref())
        .with("input_schema", Some(schema))
        .with("strict", tool.strict.filter(|_| !tool.is_freeform));
    Ok(rendered.with("cache_control", tool.cache.map(super::render_turns::render_mark)))
}

/// Searches that a client of another dialect, which has no word for their number, gets at most: without a number the cost of
/// a request has no bound, and no hard budget would admit it.
const MOST_SEARCHES: u64 = 5;

fn render_web_search(search: WebSearch) -> Node {
    object! { "type": "web_search_20250305", "name": "web_search" }
        .with("max_uses", Some(search.max_uses.unwrap_or(MOST_SEARCHES)))
        .with("user_location", search.location)
}

fn render_choice(
    conversation: &mut Conversation,
    traits: ModelTraits,
    is_thinking: bool,
    names: &ToolNames,
) -> Option<Node> {
    // The models that still take sampling parameters refuse a forced call while they think; the later ones take both.
    let can_force = traits.takes_forced_tools && !(is_thinking && traits.takes_sampling);
    let choice = conversation.tool_choice.take();
    let mut rendered = match &choice {
        Some(ToolChoice::None) => return Some(object! { "type": "none" }),
        Some(ToolChoice::Required | ToolChoice::Allowed { is_required: true, .. } | ToolChoice::Named(_))
            if !can_force =>
        {
            conversation.drop_field("tool_choice");
            object! { "type": "auto" }
        }
        Some(ToolChoice::Required | ToolChoice::Allowed { is_required: true, .. }) => object! { "type": "any" },
        Some(ToolChoice::Named(name)) => object! { "type": "tool", "name": names.outward(name) },
        Some(ToolChoice::Auto | ToolChoice::Allowed { .. }) => object! { "type": "auto" },
        None if conversation.parallel_tool_calls == Some(false) => object! { "type": "auto" },
        None => return None,
    };
    if conversation.parallel_tool_calls == Some(false) {
        rendered.set("disable_parallel_tool_use", true);
    }
    Some(rendered)
}

/// Returns what to say about thinking, if anything.
pub(crate) fn thinking(conversation: &mut Conversation, traits: ModelTraits, max_tokens: u64) -> Option<Node> {
    match conversation.reasoning.thinking {
        Some(thinking) => fit_thinking(conversation, thinking, traits, max_tokens),
        None => thinking_of_effort(conversation, traits, max_tokens),
    }
}

fn adaptive() -> Option<Node> {
    Some(object! { "type": "adaptive", "display": "summarized" })
}

/// Says a client's own word for thinking in the form that the model takes.
fn fit_thinking(
    conversation: &mut Conversation,
    thinking: Thinking,
    traits: ModelTraits,
    max_tokens: u64,
) -> Option<Node> {
    let effort = conversation.reasoning.effort;
    match (thinking, traits.thinking) {
        (Thinking::Adaptive, ThinkingForm::Adaptive) => adaptive(),
        (Thinking::Adaptive, ThinkingForm::Budget) => {
            budget(conversation, budget_of(effort.unwrap_or(Effort::High)), max_tokens)
        }
        (Thinking::Budget(wanted), ThinkingForm::Budget) => budget(conversation, wanted, max_tokens),
        // The models that take both still take sampling parameters.
        (Thinking::Budget(wanted), ThinkingForm::Adaptive) if traits.takes_sampling => {
            budget(conversation, wanted, max_tokens)
        }
        (Thinking::Budget(wanted), ThinkingForm::Adaptive) => {
            conversation.reasoning.effort = effort.or(Some(effort_of(wanted)));
            adaptive()
        }
        (Thinking::BetweenTools, ThinkingForm::Adaptive) if traits.least_thinking == LeastThinking::BetweenTools => {
            Some(object! { "type": "between_tools" })
        }
        (Thinking::Disabled, ThinkingForm::Adaptive | ThinkingForm::Budget)
            if traits.least_thinking == LeastThinking::Disabled =>
        {
            Some(object! { "type": "disabled" })
        }
        (Thinking::Disabled | Thinking::BetweenTools, ThinkingForm::Adaptive) => {
            conversation.reasoning.effort = Some(Effort::None);
            if thinking == Thinking::BetweenTools {
                conversation.drop_field(conversation.words.effort);
            }
            thinking_of_effort(conversation, traits, max_tokens)
        }
        // It does not think unless it is asked to.
        (Thinking::Disabled, _) => None,
        (_, ThinkingForm::None) | (Thinking::BetweenTools, ThinkingForm::Budget) => {
            conversation.drop_field(conversation.words.effort);
            None
        }
    }
}

/// Returns the effort that a budget stands for.
fn effort_of(budget: u64) -> Effort {
    match budget {
        0..2048 => Effort::Low,
        2048..8192 => Effort::Medium,
        _ => Effort::High,
    }
}

/// Asks for thinking up to a budget, where it fits under the cap and the history allows it.
fn budget(conversation: &mut Conversation, wanted: u64, max_tokens: u64) -> Option<Node> {
    let budget = wanted.min(max_tokens.saturating_sub(1));
    if budget < MIN_BUDGET_TOKENS || has_calls_without_thinking(conversation) {
        conversation.drop_field(conversation.words.effort);
        return None;
    }
    Some(object! { "type": "enabled", "budget_tokens": budget })
}

fn thinking_of_effort(conversation: &mut Conversation, traits: ModelTraits, max_tokens: u64) -> Option<Node> {
    let effort = conversation.reasoning.effort?;
    match (traits.thinking, effort) {
        (ThinkingForm::None, Effort::None) | (ThinkingForm::Budget, Effort::None) => None,
        (ThinkingForm::None, _) => {
            conversation.drop_field(conversation.words.effort);
            None
        }
        (ThinkingForm::Adaptive, Effort::None) => match traits.least_thinking {
            LeastThinking::Disabled => Some(object! { "type": "disabled" }),
            LeastThinking::BetweenTools => Some(object! { "type": "between_tools" }),
            LeastThinking::LowestEffort => {
                conversation.drop_field(conversation.words.effort);
                None
            }
        },
        (ThinkingForm::Adaptive, _) => adaptive(),
        (ThinkingForm::Budget, effort) => budget(conversation, budget_of(effort), max_tokens),
    }
}

fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 2048,
        Effort::High => 4096,
        Effort::XHigh => 8192,
        Effort::Max => 16384,
    }
}

/// A history of calls without a single thought: the API refuses to think on from there.
fn has_calls_without_thinking(conversation: &Conversation) -> bool {
    let own = || conversation.turns.iter().filter(|turn| turn.role == Role::Assistant);
    own().any(|turn| turn.calls().next().is_some()) && !own().any(|turn| turn.blocks.iter().any(Block::is_thought))
}

/// Returns the effort in the words that the model takes.
pub(crate) fn effort(conversation: &Conversation, traits: ModelTraits) -> Option<Effort> {
    let effort = conversation.reasoning.effort.filter(|_| traits.thinking == ThinkingForm::Adaptive)?;
    Some(match effort {
        Effort::None if traits.least_thinking == LeastThinking::LowestEffort => Effort::Low,
        Effort::None => return None,
        Effort::Minimal => Effort::Low,
        Effort::XHigh if !traits.takes_xhigh_effort => Effort::High,
        Effort::Max if !traits.takes_max_effort => Effort::High,
        effort => effort,
    })
}

fn render_sampling(mut body: Node, conversation: &mut Conversation, traits: ModelTraits, is_thinking: bool) -> Node {
    let (temperature, top_p, top_k) = (conversation.temperature, conversation.top_p, conversation.top_k);
    match temperature {
        Some(temperature) if traits.takes_sampling && !is_thinking => {
            body.set("temperature", temperature.clamp(0.0, 1.0));
        }
        Some(_) => conversation.drop_field("temperature"),
        None => {}
    }
    match top_p {
        // Both together are refused.
        Some(top_p) if traits.takes_sampling && temperature.is_none() => body.set("top_p", top_p),
        Some(_) => conversation.drop_field("top_p"),
        None => {}
    }
    match top_k {
        Some(top_k) if traits.takes_sampling && !is_thinking => body.set("top_k", top_k),
        Some(_) => conversation.drop_field("top_k"),
        None => {}
    }
    body
}

/// Returns the native form of a structured answer; asks for JSON in words where there is none.
fn render_format(conversation: &mut Conversation) -> Option<Node> {
    let format = std::mem::take(&mut conversation.format);
    let wish = format.in_words()?;
    if let Format::JsonSchema { schema, .. } = &format {
        if let Some(schema) = schema::transform(schema) {
            return Some(object! { "type": "json_schema", "schema": schema });
        }
        conversation.drop_field(conversation.words.format);
    }
    conversation.system.push(Block::text(wish, Place::default()));
    None
}

/// Whether a user id looks like an e-mail address or a phone number, which the API refuses.
fn is_contact(user: &str) -> bool {
    let is_phone_mark = |c: char| c.is_ascii_digit() || " +-().".contains(c);
    let digits = user.chars().filter(char::is_ascii_digit).count();
    user.contains('@') || (digits >= 7 && user.chars().all(is_phone_mark))
}
