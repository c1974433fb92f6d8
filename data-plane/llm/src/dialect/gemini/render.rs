//! A neutral request as a `generateContent` request.
//!
//! Rule: nothing is sent that the model is known to refuse. What is left out is named, so that the caller may refuse the
//! request instead.
//! Not here: contents and their parts, the amount of thinking, schemas; the model and the wish for a stream (in the address).

use super::model::Model;
use super::render_contents::{Style, render_contents, render_system};
use super::{schema, thinking};
use crate::chat::names::ToolNames;
use crate::chat::request::{
    Block, BlockKind, Conversation, Format, Place, Role, Tier, Tool, ToolChoice, Turn, WebSearch,
};
use crate::chat::traits::ModelTraits;
use crate::dialect::Family;
use crate::json::{Node, object};
use crate::translate::{AnswerPlan, RequestContext, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

const MAX_NAME_BYTES: usize = 64;
const MAX_STOPS: usize = 5;

/// Renders a request whose calls and results are paired.
pub(crate) fn render(
    conversation: &mut Conversation,
    context: &RequestContext<'_>,
    plan: &mut AnswerPlan,
) -> Result<Node> {
    let traits = context.traits;
    let model = Model::of(context.upstream_model);
    context.upstream_model.clone_into(&mut plan.signer);
    let history = conversation.turns.iter().flat_map(|turn| turn.calls().map(|call| call.name.as_str()));
    let named = conversation.tools.iter().map(|tool| tool.name.as_str()).chain(history);
    plan.names = ToolNames::led_by_letter(named, MAX_NAME_BYTES);

    let mut config = object! {};
    if let Some(cap) = context.cap_of(conversation) {
        config.set("maxOutputTokens", cap);
    }
    render_sampling(&mut config, conversation, traits, model);
    render_format(&mut config, conversation, model);
    if let Some(thinking) = thinking::thinking_config(conversation, model, traits)? {
        config.set("thinkingConfig", thinking);
    }
    if let Some(resolution) = media_resolution(conversation) {
        config.set("mediaResolution", resolution);
    }
    place_system(conversation);
    let style = Style { model, names: &plan.names, signer: &plan.signer, root: conversation.words.messages };
    let contents = render_contents(&conversation.turns, &style)?;
    if contents.is_empty() {
        return Err(TranslateError::invalid(conversation.words.messages, "must say something"));
    }
    let mut body = object! { "generationConfig": config };
    let system = render_system(&conversation.system);
    if !system.is_empty() {
        body.set("systemInstruction", object! { "parts": Node::Array(system) });
    }
    body.set("contents", Node::Array(contents));
    render_tools(&mut body, conversation, model, &plan.names);
    drop_rest(conversation);
    Ok(body)
}

/// Makes later instructions the user's, and instructions alone a turn of the user: there must be one.
fn place_system(conversation: &mut Conversation) {
    for turn in conversation.turns.iter_mut().filter(|turn| turn.role == Role::System) {
        turn.role = Role::User;
    }
    for turn in &mut conversation.turns {
        turn.blocks.retain(|block| !block.is_blank());
    }
    conversation.merge_turns();
    if conversation.turns.is_empty() {
        let blocks = std::mem::take(&mut conversation.system);
        conversation.turns.push(Turn::new(Role::User, blocks));
    }
}

fn render_sampling(config: &mut Node, conversation: &mut Conversation, traits: ModelTraits, model: Model) {
    let heat = [("temperature", "temperature", conversation.temperature), ("top_p", "topP", conversation.top_p)];
    for (name, own, value) in heat {
        match value {
            Some(value) if traits.takes_sampling => config.set(own, value),
            Some(_) => conversation.drop_field(name),
            None => {}
        }
    }
    match conversation.top_k {
        Some(top_k) if traits.takes_top_k => config.set("topK", top_k),
        Some(_) => conversation.drop_field("top_k"),
        None => {}
    }
    let mut stop = std::mem::take(&mut conversation.stop);
    if stop.len() > MAX_STOPS {
        stop.truncate(MAX_STOPS);
        conversation.drop_field(conversation.words.stop);
    }
    if !stop.is_empty() {
        config.set("stopSequences", stop);
    }
    for (name, own) in
        [("seed", "seed"), ("frequency_penalty", "frequencyPenalty"), ("presence_penalty", "presencePenalty")]
    {
        let is_taken = name == "seed" || !model.is_third_generation();
        let at = conversation.extra.iter().position(|(found, _)| found == name).filter(|_| is_taken);
        if let Some((_, value @ Node::Number(_))) = at.map(|at| conversation.extra.remove(at)) {
            config.set(own, value);
        }
    }
}

/// Asks for JSON; in words where the model takes no functions beside it.
fn render_format(config: &mut Node, conversation: &mut Conversation, model: Model) {
    let format = std::mem::take(&mut conversation.format);
    let is_clash = !conversation.tools.is_empty() && !model.is_third_generation();
    let Some(wish) = format.in_words() else { return };
    if is_clash {
        conversation.drop_field(conversation.words.format);
        conversation.system.push(Block::text(wish, Place::default()));
        return;
    }
    config.set("responseMimeType", "application/json");
    match format {
        Format::JsonSchema { schema, .. } if model.takes_json_schema() => config.set("responseJsonSchema", schema),
        Format::JsonSchema { schema, .. } => config.set("responseSchema", schema::of_answer(&schema)),
        Format::Text | Format::JsonObject => {}
    }
}

/// One word for all images: the highest that was asked for.
fn media_resolution(conversation: &Conversation) -> Option<&'static str> {
    let blocks = conversation.turns.iter().flat_map(|turn| &turn.blocks);
    let details = blocks.filter_map(|block| match &block.kind {
        BlockKind::Image { detail, .. } => detail.as_deref(),
        _ => None,
    });
    let rank = |detail| match detail {
        "low" => Some(1),
        "high" => Some(2),
        _ => None,
    };
    match details.filter_map(rank).max() {
        Some(1) => Some("MEDIA_RESOLUTION_LOW"),
        Some(_) => Some("MEDIA_RESOLUTION_HIGH"),
        None => None,
    }
}

fn render_tools(body: &mut Node, conversation: &mut Conversation, model: Model, names: &ToolNames) {
    let functions: Vec<Node> = conversation.tools.iter().map(|tool| render_tool(tool, model, names)).collect();
    let has_functions = !functions.is_empty();
    let mut tools = Vec::new();
    if has_functions {
        tools.push(object! { "functionDeclarations": Node::Array(functions) });
    }
    if let Some(search) = conversation.web_search.take() {
        // Earlier models refuse a search beside functions.
        if has_functions && !model.is_third_generation() {
            conversation.drop_field(search.path);
        } else {
            drop_of_search(&search, conversation);
            tools.push(object! { "googleSearch": object! {} });
        }
    }
    if !tools.is_empty() {
        body.set("tools", Node::Array(tools));
    }
    let choice = conversation.tool_choice.take();
    if !has_functions {
        return;
    }
    if conversation.parallel_tool_calls == Some(false) {
        let path = match conversation.extra_family {
            Some(Family::Anthropic) => "tool_choice.disable_parallel_tool_use",
            _ => "parallel_tool_calls",
        };
        conversation.drop_field(path);
    }
    let outward =
        |allowed: &[String]| -> Vec<String> { allowed.iter().map(|name| names.outward(name).to_owned()).collect() };
    let calling = match choice {
        Some(ToolChoice::None) => object! { "mode": "NONE" },
        Some(ToolChoice::Auto) => object! { "mode": "AUTO" },
        Some(ToolChoice::Required) => object! { "mode": "ANY" },
        Some(ToolChoice::Named(name)) => object! { "mode": "ANY", "allowedFunctionNames": outward(&[name]) },
        Some(ToolChoice::Allowed { is_required, names: allowed }) => {
            let mode = if is_required { "ANY" } else { "VALIDATED" };
            object! { "mode": mode, "allowedFunctionNames": outward(&allowed) }
        }
        None => return,
    };
    body.set("toolConfig", object! { "functionCallingConfig": calling });
}

fn drop_of_search(search: &WebSearch, conversation: &mut Conversation) {
    if search.max_uses.is_some() {
        conversation.drop_field(format!("{}.max_uses", search.path));
    }
    if search.location.is_some() {
        conversation.drop_field(format!("{}.user_location", search.path));
    }
}

fn render_tool(tool: &Tool, model: Model, names: &ToolNames) -> Node {
    let function = object! { "name": names.outward(&tool.name) }.with("description", tool.description.as_deref());
    match tool.arguments().filter(|schema| !schema::is_empty(schema)) {
        None => function,
        Some(schema) if model.takes_json_schema() => function.with("parametersJsonSchema", Some(schema)),
        Some(schema) => function.with("parameters", Some(schema::of_arguments(&schema))),
    }
}

/// Names what the API has no word for.
fn drop_rest(conversation: &mut Conversation) {
    if conversation.user_id.take().is_some() {
        conversation.drop_field(conversation.words.user);
    }
    // The tier is priced by what the answer says, and it does not say so for every model: only the usual one is asked for.
    if let Some(Tier::Other(_)) = conversation.service_tier.take() {
        conversation.drop_field("service_tier");
    }
    // Labels for OpenAI's own storage change no answer.
    let extra = std::mem::take(&mut conversation.extra);
    extra.into_iter().filter(|(name, _)| name != "metadata").for_each(|(name, _)| conversation.drop_field(name));
}
