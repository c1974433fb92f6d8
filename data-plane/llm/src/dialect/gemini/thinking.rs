//! How much a Gemini model shall think.
//!
//! Rule: a level or a budget, never both; thoughts come back only where the client asked for thinking.

use super::model::Model;
use crate::chat::request::{Conversation, Effort, Thinking};
use crate::chat::traits::{ModelTraits, ThinkingForm};
use crate::json::{Node, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// What the client wants, in one form.
enum Wish {
    Effort(Effort),
    Budget(u64),
    /// As much as the model finds right.
    Adaptive,
}

/// Returns `thinkingConfig`, if there is anything to say.
pub(super) fn thinking_config(
    conversation: &mut Conversation,
    model: Model,
    traits: ModelTraits,
) -> Result<Option<Node>> {
    let Some((wish, shows)) = wish(conversation)? else { return Ok(None) };
    let effort_word = conversation.words.effort;
    Ok(match (traits.thinking, wish) {
        (ThinkingForm::None, Wish::Effort(Effort::None)) => None,
        (ThinkingForm::None, _) => {
            conversation.drop_field(effort_word);
            None
        }
        (ThinkingForm::Adaptive, wish) => {
            if matches!(wish, Wish::Effort(Effort::None)) {
                // It cannot be told not to think.
                conversation.drop_field(effort_word);
            }
            Some(shown(shows).with("thinkingLevel", level(&wish, model, traits)))
        }
        (ThinkingForm::Budget, Wish::Adaptive) => {
            let mut config = shown(shows);
            config.set("thinkingBudget", Node::Number("-1".to_owned()));
            Some(config)
        }
        (ThinkingForm::Budget, Wish::Effort(Effort::None)) => {
            let least = model.least_budget();
            if least > 0 {
                conversation.drop_field(effort_word);
            }
            Some(object! { "thinkingBudget": least })
        }
        (ThinkingForm::Budget, Wish::Effort(effort)) => {
            let budget = budget_of(effort, model).clamp(model.minimal_budget(), model.most_budget());
            Some(shown(shows).with("thinkingBudget", Some(budget)))
        }
        (ThinkingForm::Budget, Wish::Budget(budget)) => {
            let least = if budget == 0 { model.least_budget() } else { model.minimal_budget() };
            Some(shown(shows && budget > 0).with("thinkingBudget", Some(budget.clamp(least, model.most_budget()))))
        }
    })
}

/// Says whether thoughts come back; by default they do not.
fn shown(shows: bool) -> Node {
    if shows {
        object! { "includeThoughts": true }
    } else {
        object! {}
    }
}

/// Returns the wish, and whether the client shall see the thoughts.
fn wish(conversation: &mut Conversation) -> Result<Option<(Wish, bool)>> {
    let reasoning = conversation.reasoning;
    let (budget, asked_shown) = own_config(conversation);
    let own = budget.is_some() || matches!(reasoning.thinking, Some(Thinking::Budget(_)));
    if own && reasoning.effort.is_some() {
        let reason = "it takes an effort or a budget of thinking, not both";
        return Err(TranslateError::unsupported(conversation.words.effort, reason));
    }
    let (wish, shows) = match (reasoning.effort, reasoning.thinking) {
        (_, Some(Thinking::Disabled)) => (Wish::Effort(Effort::None), false),
        (_, Some(Thinking::BetweenTools)) => (Wish::Effort(Effort::Minimal), true),
        (Some(effort), _) => (Wish::Effort(effort), effort != Effort::None),
        (None, Some(Thinking::Budget(budget))) => (Wish::Budget(budget), true),
        (None, Some(Thinking::Adaptive)) => (Wish::Adaptive, true),
        (None, None) => match budget {
            Some(budget) => (Wish::Budget(budget), false),
            None if asked_shown == Some(true) => (Wish::Adaptive, true),
            None => return Ok(None),
        },
    };
    Ok(Some((wish, asked_shown.unwrap_or(shows))))
}

/// Takes what a client of Google's own OpenAI dialect says: `extra_body.google.thinking_config`.
fn own_config(conversation: &mut Conversation) -> (Option<u64>, Option<bool>) {
    let at = conversation.extra.iter().position(|(name, _)| name == "extra_body");
    let Some(at) = at else { return (None, None) };
    let config = |node: &Node| node.get("google").and_then(|google| google.get("thinking_config")).cloned();
    let Some(config) = conversation.extra.get(at).and_then(|(_, node)| config(node)) else { return (None, None) };
    conversation.extra.remove(at);
    let shows = match config.get("include_thoughts") {
        Some(Node::Bool(shows)) => Some(*shows),
        _ => None,
    };
    (config.get("thinking_budget").and_then(Node::as_u64), shows)
}

fn budget_of(effort: Effort, model: Model) -> u64 {
    match effort {
        Effort::None | Effort::Minimal => model.minimal_budget(),
        Effort::Low => 1024,
        Effort::Medium => 2048,
        Effort::High => 4096,
        Effort::XHigh => 8192,
        Effort::Max => 16_384,
    }
}

fn level(wish: &Wish, model: Model, traits: ModelTraits) -> Option<&'static str> {
    let effort = match wish {
        Wish::Adaptive => return None,
        Wish::Effort(effort) => *effort,
        Wish::Budget(0..2048) => Effort::Low,
        Wish::Budget(2048..8192) => Effort::Medium,
        Wish::Budget(_) => Effort::High,
    };
    Some(match effort {
        Effort::None | Effort::Minimal if model.takes_minimal_level() => "MINIMAL",
        Effort::None | Effort::Minimal | Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::XHigh | Effort::Max if traits.takes_xhigh_effort => "XHIGH",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    })
}
