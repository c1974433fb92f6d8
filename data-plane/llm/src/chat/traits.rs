//! What the target model and its server can take, as far as it changes how a request is said.
//!
//! Rule: these are facts of the catalogue. The constructors are what is known of a name when the catalogue says nothing;
//! a name that is not known is taken for the newest of its family, and the provider decides.

use crate::rewrite::CapField;

/// How a model thinks when it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingForm {
    /// As much as it finds right, steered by an effort.
    Adaptive,
    /// Up to a budget of tokens.
    Budget,
    /// The server takes no word about thinking.
    None,
}

/// How little a model can be asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeastThinking {
    /// Not at all.
    Disabled,
    /// Only between calls of tools.
    BetweenTools,
    /// At the lowest effort.
    LowestEffort,
}

/// What a target can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelTraits {
    /// `temperature`, `top_p` and `top_k`.
    pub takes_sampling: bool,
    /// `top_k` (OpenAI dialect: vLLM, Together, OpenRouter, Fireworks).
    pub takes_top_k: bool,
    /// How it thinks.
    pub thinking: ThinkingForm,
    /// How little it can be asked to think.
    pub least_thinking: LeastThinking,
    /// The effort `xhigh`; otherwise it is said as `high`.
    pub takes_xhigh_effort: bool,
    /// The effort `max`; otherwise it is said as the next lower one.
    pub takes_max_effort: bool,
    /// A tool choice that forces a call.
    pub takes_forced_tools: bool,
    /// A `system` message after the first turn.
    pub takes_system_turns: bool,
    /// A conversation whose last turn is the assistant's.
    pub takes_prefill: bool,
    /// The name of the output cap (OpenAI dialect only).
    pub cap_field: CapField,
    /// Earlier thinking as `reasoning_content` (OpenAI dialect: DeepSeek, Moonshot and others).
    pub takes_reasoning_content: bool,
    /// Cache marks (OpenAI dialect: `prompt_cache_breakpoint`).
    pub takes_cache_marks: bool,
    /// A web search that the provider runs.
    pub takes_web_search: bool,
    /// Images and documents by URL, which the provider fetches.
    pub takes_urls: bool,
    /// Such URLs of any site; otherwise those of its own store are sure, and the rest it may refuse (Gemini API).
    pub takes_any_url: bool,
    /// The role `developer` (OpenAI dialect only).
    pub takes_developer_role: bool,
    /// The field `user` (OpenAI dialect only).
    pub takes_user: bool,
    /// A choice of tools that forces a call is `any`, not `required` (OpenAI dialect only).
    pub says_any: bool,
}

impl ModelTraits {
    /// Returns the traits of a Claude model on Anthropic's own API, by its name.
    pub fn claude(model: &str) -> Self {
        let newest = Self {
            takes_sampling: false,
            takes_top_k: false,
            thinking: ThinkingForm::Adaptive,
            least_thinking: LeastThinking::LowestEffort,
            takes_xhigh_effort: true,
            takes_max_effort: true,
            takes_forced_tools: false,
            takes_system_turns: true,
            takes_prefill: false,
            cap_field: CapField::MaxTokens,
            takes_reasoning_content: false,
            takes_cache_marks: true,
            takes_web_search: true,
            takes_urls: true,
            takes_any_url: true,
            takes_developer_role: false,
            takes_user: true,
            says_any: false,
        };
        let is = |families: &[&str]| families.iter().any(|family| names(model, family));
        let older = Self { takes_sampling: true, takes_top_k: true, takes_forced_tools: true, ..newest };
        let older = Self { takes_system_turns: false, least_thinking: LeastThinking::Disabled, ..older };
        if is(&["sonnet-4-5", "haiku-4-5", "opus-4-5", "opus-4-1", "opus-4", "sonnet-4", "sonnet-3-7", "3-7-sonnet"]) {
            Self { thinking: ThinkingForm::Budget, takes_prefill: true, takes_xhigh_effort: false, ..older }
        } else if is(&["3-5-sonnet", "3-5-haiku", "3-opus", "3-haiku"]) {
            Self { thinking: ThinkingForm::None, takes_prefill: true, takes_xhigh_effort: false, ..older }
        } else if is(&["opus-4-6", "sonnet-4-6"]) {
            Self { takes_xhigh_effort: false, ..older }
        } else if is(&["opus-4-7"]) {
            Self { takes_sampling: false, takes_top_k: false, ..older }
        } else if is(&["opus-4-8", "sonnet-5", "opus-5", "haiku-5-5"]) {
            let takes_xhigh_effort = is(&["opus-4-8", "sonnet-5"]);
            Self { takes_forced_tools: true, least_thinking: LeastThinking::Disabled, takes_xhigh_effort, ..newest }
        } else if is(&["fable-5", "mythos-5"]) {
            Self { takes_forced_tools: true, takes_xhigh_effort: false, ..newest }
        } else if is(&["fable-5-1", "mythos-5-1"]) {
            Self { takes_xhigh_effort: false, ..newest }
        } else if is(&["sonnet-5-5"]) {
            Self { least_thinking: LeastThinking::BetweenTools, ..newest }
        } else {
            newest
        }
    }

    /// Returns the traits of a model at Amazon Bedrock, by its name or that of a profile.
    pub fn bedrock(model: &str) -> Self {
        let is_of = |makers: &[&str]| makers.iter().any(|maker| model.contains(maker));
        let own = if is_of(&["claude"]) { Self::claude(model) } else { Self::openai_compatible() };
        let own = Self { takes_system_turns: false, takes_web_search: false, takes_urls: false, ..own };
        if is_of(&["claude"]) {
            return own;
        }
        let thinks = is_of(&["nova-2", "gpt-oss", "deepseek", "openai.gpt"]);
        Self {
            takes_top_k: is_of(&["amazon.nova"]),
            thinking: if thinks { ThinkingForm::Adaptive } else { ThinkingForm::None },
            takes_forced_tools: is_of(&["amazon.nova", "mistral"]),
            takes_cache_marks: is_of(&["amazon.nova"]),
            ..own
        }
    }

    /// Returns the traits of a model on OpenAI's own API, by its name.
    pub fn openai(model: &str) -> Self {
        let is_of = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        let is_reasoning = is_of(&["o1", "o3", "o4", "gpt-5", "gpt-6"]) && !model.contains("chat");
        // From GPT-5.1 on the scale of efforts is longer at both ends.
        let has_long_scale = is_reasoning && is_of(&["gpt-5.", "gpt-6"]);
        Self {
            takes_sampling: !is_reasoning,
            takes_top_k: false,
            thinking: if is_reasoning { ThinkingForm::Adaptive } else { ThinkingForm::None },
            least_thinking: if has_long_scale { LeastThinking::Disabled } else { LeastThinking::LowestEffort },
            takes_xhigh_effort: has_long_scale,
            takes_max_effort: false,
            cap_field: CapField::MaxCompletionTokens,
            takes_web_search: model.contains("search"),
            takes_developer_role: true,
            ..Self::openai_compatible()
        }
    }

    /// Returns the traits of a model on Google's Gemini API, by its name.
    pub fn gemini(model: &str) -> Self {
        let version = gemini_version(model);
        let can_rest = version == (2, 5) && model.contains("flash");
        Self {
            takes_sampling: version < (3, 6) && !model.contains("3.5-flash-lite"),
            takes_top_k: version < (3, 6) && !model.contains("3.5-flash-lite"),
            thinking: match version {
                (3.., _) => ThinkingForm::Adaptive,
                (2, 5..) => ThinkingForm::Budget,
                _ => ThinkingForm::None,
            },
            least_thinking: if can_rest { LeastThinking::Disabled } else { LeastThinking::LowestEffort },
            takes_system_turns: false,
            takes_web_search: true,
            ..Self::openai_compatible()
        }
    }

    /// Returns the traits of a model at Ollama, by its name. One that does not think refuses every word about it.
    pub fn ollama(model: &str) -> Self {
        let is_of = |families: &[&str]| families.iter().any(|family| model.contains(family));
        let thinks = is_of(&["gpt-oss", "qwen3", "deepseek-r1", "deepseek-v3.1", "magistral"])
            && !is_of(&["coder", "instruct", "embedding"]);
        Self {
            takes_top_k: true,
            thinking: if thinks { ThinkingForm::Adaptive } else { ThinkingForm::None },
            least_thinking: LeastThinking::Disabled,
            takes_forced_tools: false,
            takes_urls: false,
            ..Self::openai_compatible()
        }
    }

    /// Returns the traits of a server that speaks like OpenAI.
    pub fn openai_compatible() -> Self {
        Self {
            takes_sampling: true,
            takes_top_k: false,
            thinking: ThinkingForm::None,
            least_thinking: LeastThinking::LowestEffort,
            takes_xhigh_effort: false,
            takes_max_effort: false,
            takes_forced_tools: true,
            takes_system_turns: true,
            takes_prefill: true,
            cap_field: CapField::MaxTokens,
            takes_reasoning_content: false,
            takes_cache_marks: false,
            takes_web_search: false,
            takes_urls: true,
            takes_any_url: true,
            takes_developer_role: false,
            takes_user: true,
            says_any: false,
        }
    }
}

/// Whether a model's name is of this family: the family's words, then nothing but a date or a version.
fn names(model: &str, family: &str) -> bool {
    let Some(at) = model.find(family) else { return false };
    let rest = model.get(at + family.len()..).unwrap_or_default();
    // `sonnet-4` also begins `sonnet-4-6`: one or two digits more are another family, eight are a date.
    let digits = rest.strip_prefix(['-', '.']).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    !rest.starts_with(|next: char| next.is_ascii_digit()) && !(1..=2).contains(&digits)
}

/// Returns the version in a Gemini model's name; the newest where there is none. Gemma is older than all of them.
pub(crate) fn gemini_version(model: &str) -> (u32, u32) {
    if model.contains("gemma") {
        return (0, 0);
    }
    let newest = (u32::MAX, 0);
    let Some((_, rest)) = model.split_once("gemini-") else { return newest };
    let version = rest.split('-').next().unwrap_or_default();
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (major, minor),
        _ => newest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gemini_has_the_version_in_its_name() {
        for (model, expected) in [
            ("gemini-2.5-pro", (2, 5)),
            ("models/gemini-3-flash-preview", (3, 0)),
            ("gemini-4-argon", (4, 0)),
            ("gemini-flash-latest", (u32::MAX, 0)),
            ("tuned-7", (u32::MAX, 0)),
            ("gemma-3-27b-it", (0, 0)),
        ] {
            assert_eq!(gemini_version(model), expected, "{model}");
        }
    }

    #[test]
    fn what_the_catalogue_says_that_a_model_refuses_is_what_its_name_says() {
        use helix_shared::catalog::{Capabilities, Catalog, Refusal};
        let catalog = Catalog::bundled();
        let described = |kind| catalog.models(kind).filter(|model| model.capabilities != Capabilities::default());
        let mut refusing = 0;
        for model in described("anthropic") {
            let traits = ModelTraits::claude(&model.id);
            assert_eq!(model.refuses.has(Refusal::Sampling), !traits.takes_sampling, "{}", model.id);
            assert_eq!(model.refuses.has(Refusal::ForcedTools), !traits.takes_forced_tools, "{}", model.id);
            refusing += usize::from(!traits.takes_sampling);
        }
        for model in described("openai").filter(|model| model.refuses.has(Refusal::Sampling)) {
            // Newer ones take it while they do not think: that is the provider's to say.
            assert!(!ModelTraits::openai(&model.id).takes_sampling, "{}", model.id);
            refusing += 1;
        }
        assert!(refusing > 10, "{refusing}");
    }

    #[test]
    fn a_name_is_of_one_family() {
        for (model, family, expected) in [
            ("claude-sonnet-4-20250514", "sonnet-4", true),
            ("claude-sonnet-4-6", "sonnet-4", false),
            ("claude-sonnet-4-6", "sonnet-4-6", true),
            ("eu.anthropic.claude-sonnet-4-6-v1", "sonnet-4-6", true),
            ("claude-opus-5-5", "opus-5", false),
            ("claude-opus-5", "opus-5", true),
            ("claude-opus-50", "opus-5", false),
        ] {
            assert_eq!(names(model, family), expected, "{model} {family}");
        }
    }
}
