//! A neutral request as a Converse request.
//!
//! Rule: nothing is sent that the service model or the model is known to refuse. What is left out is named, so that the
//! caller may refuse the request instead.
//! Not here: turns and blocks, who thinks how.

use super::block::{Names, render_mark, render_system, render_turns};
use super::reason::{Maker, render_reasoning};
use crate::chat::names::ToolNames;
use crate::chat::request::{Block, Conversation, Format, Place, Tier, Tool, ToolChoice, Turn};
use crate::chat::traits::ModelTraits;
use crate::dialect::anthropic;
use crate::json::{Node, object};
use crate::translate::{AnswerPlan, RequestContext, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

/// What is assumed of a model whose most nobody knows; only a budget of thinking is measured by it.
const ASSUMED_MAX_TOKENS: u64 = 4096;
const MAX_NAME_BYTES: usize = 64;
const MAX_STOP_SEQUENCES: usize = 2500;

/// Renders a request whose calls and results are paired. The body names neither the model nor whether to stream.
pub(crate) fn render(
    conversation: &mut Conversation,
    context: &RequestContext<'_>,
    plan: &mut AnswerPlan,
) -> Result<Node> {
    let (traits, model) = (context.traits, context.upstream_model);
    let maker = Maker::of(model);
    anthropic::place_system_turns(conversation, traits);
    anthropic::check_ends(conversation, traits)?;
    choose_tools(conversation);
    if traits.takes_cache_marks {
        anthropic::keep_last_marks(conversation);
    } else {
        forget_marks(conversation);
    }
    let history = conversation.turns.iter().flat_map(|turn| turn.calls().map(|call| call.name.as_str()));
    let named = conversation.tools.iter().map(|tool| tool.name.as_str()).chain(history);
    plan.names = ToolNames::new(named, MAX_NAME_BYTES);

    let cap = context.cap_of(conversation);
    let mut fields = object! {};
    let most = cap.or(context.max_output_tokens).unwrap_or(ASSUMED_MAX_TOKENS);
    let is_thinking = render_reasoning(&mut fields, conversation, maker, traits, most);
    let format = render_format(conversation, maker, model);
    let names = Names::new(&plan.names);
    let mut body = object! {};
    let system = render_system(conversation, &names)?;
    if !system.is_empty() {
        body.set("system", Node::Array(system));
    }
    body.set("messages", render_turns(conversation, &names)?);
    let mut inference = object! {}.with("maxTokens", cap);
    render_sampling(&mut inference, &mut fields, conversation, maker, traits, is_thinking);
    let stop: Vec<&str> = conversation.stop.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
    if !stop.is_empty() {
        inference.set("stopSequences", stop.into_iter().take(MAX_STOP_SEQUENCES).collect::<Vec<_>>());
    }
    body.set("inferenceConfig", inference);
    if !conversation.tools.is_empty() {
        let config = render_tools(conversation, maker, traits, is_thinking, &plan.names, model)?;
        restrict_parallel(&mut fields, conversation, maker, config.get("toolChoice").is_some());
        body.set("toolConfig", config);
    }
    body = body.with("outputConfig", format);
    if matches!(&fields, Node::Object(fields) if !fields.is_empty()) {
        body.set("additionalModelRequestFields", fields);
    }
    match conversation.service_tier.take() {
        Some(Tier::Other(tier)) if matches!(tier.as_str(), "flex" | "priority") => {
            body.set("serviceTier", object! { "type": tier });
        }
        Some(Tier::Other(tier)) if tier != "default" => conversation.drop_field("service_tier"),
        _ => {}
    }
    drop_the_rest(conversation);
    Ok(body)
}

/// Names what Converse has no word for.
fn drop_the_rest(conversation: &mut Conversation) {
    if let Some(search) = conversation.web_search.take() {
        conversation.drop_field(search.path);
    }
    if conversation.user_id.take().is_some() {
        conversation.drop_field(conversation.words.user);
    }
    // Labels for the provider's own storage change no answer.
    let extra = std::mem::take(&mut conversation.extra);
    extra.into_iter().filter(|(name, _)| name != "metadata").for_each(|(name, _)| conversation.drop_field(name));
}

/// Keeps the tools that may be called, and those that the history needs: it is refused without them.
fn choose_tools(conversation: &mut Conversation) {
    let has_history = conversation.turns.iter().any(|turn| turn.calls().next().is_some());
    match &conversation.tool_choice {
        Some(ToolChoice::Allowed { .. }) => anthropic::allow_tools(conversation),
        Some(ToolChoice::None) if has_history => conversation.drop_field("tool_choice"),
        Some(ToolChoice::None) => conversation.tools.clear(),
        _ => {}
    }
    let stubs = anthropic::tools_of_history(conversation);
    conversation.tools.extend(stubs);
}

fn forget_marks(conversation: &mut Conversation) {
    let blocks = conversation.turns.iter_mut().flat_map(|turn: &mut Turn| &mut turn.blocks);
    conversation.system.iter_mut().chain(blocks).for_each(|block| block.cache = None);
    conversation.tools.iter_mut().for_each(|tool| tool.cache = None);
}

fn render_tools(
    conversation: &mut Conversation,
    maker: Maker,
    traits: ModelTraits,
    is_thinking: bool,
    names: &ToolNames,
    model: &str,
) -> Result<Node> {
    let mut tools = Vec::new();
    for tool in &conversation.tools {
        tools.push(object! { "toolSpec": render_tool(tool, names, maker.takes_schema(model)) });
        tools.extend(tool.cache.map(render_mark));
    }
    let choice = render_choice(conversation, maker, traits, is_thinking, names);
    Ok(object! { "tools": Node::Array(tools) }.with("toolChoice", choice))
}

fn render_tool(tool: &Tool, names: &ToolNames, takes_strict: bool) -> Node {
    let mut schema = tool.arguments().filter(Node::is_object).unwrap_or_else(|| object! { "properties": object! {} });
    if schema.get("type").is_none() {
        schema.set("type", "object");
    }
    object! { "name": names.outward(&tool.name) }
        .with("description", tool.description.as_deref().filter(|text| !text.is_empty()))
        .with("inputSchema", Some(object! { "json": schema }))
        .with("strict", tool.strict.filter(|_| takes_strict && !tool.is_freeform))
}

fn render_choice(
    conversation: &mut Conversation,
    maker: Maker,
    traits: ModelTraits,
    is_thinking: bool,
    names: &ToolNames,
) -> Option<Node> {
    // The Claude models that still take sampling parameters refuse a forced call while they think.
    let can_force = traits.takes_forced_tools && !(maker == Maker::Claude && is_thinking && traits.takes_sampling);
    match conversation.tool_choice.take()? {
        ToolChoice::None => None,
        ToolChoice::Auto | ToolChoice::Allowed { is_required: false, .. } => Some(object! { "auto": object! {} }),
        ToolChoice::Required | ToolChoice::Allowed { .. } if can_force => Some(object! { "any": object! {} }),
        ToolChoice::Named(name) if can_force && maker != Maker::Mistral => {
            Some(object! { "tool": object! { "name": names.outward(&name) } })
        }
        ToolChoice::Required | ToolChoice::Allowed { .. } | ToolChoice::Named(_) => {
            conversation.drop_field("tool_choice");
            None
        }
    }
}

/// Asks for one call at a time. Only Claude has a word for it, and none beside the type of a choice that is set.
fn restrict_parallel(fields: &mut Node, conversation: &mut Conversation, maker: Maker, has_choice: bool) {
    if conversation.parallel_tool_calls != Some(false) {
        return;
    }
    if maker != Maker::Claude {
        conversation.drop_field("parallel_tool_calls");
        return;
    }
    let mut choice = object! { "disable_parallel_tool_use": true };
    if !has_choice {
        choice.set("type", "auto");
    }
    fields.set("tool_choice", choice);
}

fn render_sampling(
    inference: &mut Node,
    fields: &mut Node,
    conversation: &mut Conversation,
    maker: Maker,
    traits: ModelTraits,
    is_thinking: bool,
) {
    // Models of Amazon and Anthropic refuse these while they think.
    let is_fixed = is_thinking && matches!(maker, Maker::Claude | Maker::Nova2);
    let (temperature, top_p, top_k) = (conversation.temperature, conversation.top_p, conversation.top_k);
    match temperature {
        Some(temperature) if traits.takes_sampling && !is_fixed => {
            inference.set("temperature", temperature.clamp(0.0, 1.0));
        }
        Some(_) => conversation.drop_field("temperature"),
        None => {}
    }
    // Claude refuses both together.
    let is_second = maker == Maker::Claude && temperature.is_some();
    match top_p {
        Some(top_p) if traits.takes_sampling && !is_second && !(is_fixed && maker == Maker::Nova2) => {
            inference.set("topP", top_p);
        }
        Some(_) => conversation.drop_field("top_p"),
        None => {}
    }
    match top_k {
        Some(top_k) if traits.takes_sampling && traits.takes_top_k && !is_fixed => match maker {
            Maker::Nova | Maker::Nova2 => fields.set("inferenceConfig", object! { "topK": top_k }),
            _ => fields.set("top_k", top_k),
        },
        Some(_) => conversation.drop_field("top_k"),
        None => {}
    }
}

/// Returns the native form of a structured answer; asks for JSON in words where there is none.
fn render_format(conversation: &mut Conversation, maker: Maker, model: &str) -> Option<Node> {
    let format = std::mem::take(&mut conversation.format);
    let wish = format.in_words()?;
    if let Format::JsonSchema { name, description, schema, .. } = format {
        if maker.takes_schema(model)
            && let Some(schema) = anthropic::fit_schema(&schema)
        {
            let json = object! { "schema": schema.to_json(), "name": crate::chat::names::plain(&name) }
                .with("description", description.filter(|text| !text.is_empty()));
            let structure = object! { "jsonSchema": json };
            return Some(object! { "textFormat": object! { "type": "json_schema", "structure": structure } });
        }
        conversation.drop_field(conversation.words.format);
    }
    conversation.system.push(Block::text(wish, Place::default()));
    None
}
