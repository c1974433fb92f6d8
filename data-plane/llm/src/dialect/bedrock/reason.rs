//! Who made a model, and how each maker's models are asked to think.
//!
//! Rule: Converse has no word of its own for it: what is said stands in the fields that go to the model unread. A wish
//! that a model cannot follow is named.

use crate::chat::request::{Conversation, Effort, Thinking};
use crate::chat::traits::ModelTraits;
use crate::dialect::anthropic;
use crate::json::{Node, object};

/// Who made a model, as far as its requests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Claude,
    Nova,
    /// Amazon's models that think.
    Nova2,
    /// OpenAI's open models, and `DeepSeek`'s.
    OpenWeights,
    OpenAi,
    Mistral,
    Other,
}

impl Maker {
    /// Reads the model's name, which may stand inside of a profile's or an ARN.
    pub(super) fn of(model: &str) -> Self {
        let has = |word: &str| model.contains(word);
        if has("claude") {
            Self::Claude
        } else if has("nova-2") {
            Self::Nova2
        } else if has("amazon.nova") {
            Self::Nova
        } else if has("gpt-oss") || has("deepseek") {
            Self::OpenWeights
        } else if has("openai.") {
            Self::OpenAi
        } else if has("mistral") {
            Self::Mistral
        } else {
            Self::Other
        }
    }

    /// Whether it takes a schema for its answer.
    pub(super) fn takes_schema(self, model: &str) -> bool {
        const OLDER: [&str; 6] =
            ["claude-3", "claude-opus-4-1", "claude-opus-4-2", "claude-sonnet-4-2", "claude-v2", "instant"];
        self == Self::Claude && !OLDER.iter().any(|older| model.contains(older))
    }
}

/// Says how much to think in `fields`; returns whether the model thinks.
pub(super) fn render_reasoning(
    fields: &mut Node,
    conversation: &mut Conversation,
    maker: Maker,
    traits: ModelTraits,
    max_tokens: u64,
) -> bool {
    if maker == Maker::Claude {
        let thinking = anthropic::thinking(conversation, traits, max_tokens);
        let effort = anthropic::effort(conversation, traits);
        let is_thinking = thinking.as_ref().is_some_and(|it| matches!(it.text("type"), Some("adaptive" | "enabled")));
        let mut rendered = std::mem::take(fields).with("thinking", thinking);
        if let Some(effort) = effort {
            rendered.set("output_config", object! { "effort": effort.as_str() });
        }
        *fields = rendered;
        return is_thinking;
    }
    let Some(effort) = wish(conversation) else { return false };
    let word = match effort {
        Effort::None => return false,
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        // More than that is not taken.
        Effort::High | Effort::XHigh | Effort::Max => "high",
    };
    match maker {
        Maker::Nova2 => {
            fields.set("reasoningConfig", object! { "type": "enabled", "maxReasoningEffort": word });
        }
        Maker::OpenWeights => fields.set("reasoning_effort", word),
        Maker::OpenAi => fields.set("reasoning", object! { "effort": word }),
        Maker::Claude | Maker::Nova | Maker::Mistral | Maker::Other => {
            conversation.drop_field(conversation.words.effort);
            return false;
        }
    }
    true
}

/// Returns the effort that is wished for, in whatever words.
fn wish(conversation: &Conversation) -> Option<Effort> {
    if let Some(effort) = conversation.reasoning.effort {
        return Some(effort);
    }
    Some(match conversation.reasoning.thinking? {
        Thinking::Adaptive => Effort::Medium,
        Thinking::Budget(..=2048) => Effort::Low,
        Thinking::Budget(..=8192) => Effort::Medium,
        Thinking::Budget(_) => Effort::High,
        Thinking::Disabled | Thinking::BetweenTools => Effort::None,
    })
}
