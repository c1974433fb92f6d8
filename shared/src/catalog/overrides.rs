//! Prices that the operator states, laid field by field over the catalogue's facts.
//!
//! Rule: a field that is not stated keeps its fact, or follows the stated input price where it has none; the dearer lines
//! of large requests keep their proportion to the line that was overridden. An exact name beats a pattern, the first
//! listed beats later ones.

use super::facts::{PriceFacts, Ratio, Step};
use crate::money::PicoUsd;
use globset::{Glob, GlobMatcher};
use std::fmt;

/// Which models an override speaks of: an exact id, or a pattern with `*`, `?`, `[..]`, `{..}`.
#[derive(Clone)]
pub struct ModelPattern {
    text: String,
    matcher: Option<GlobMatcher>,
}

/// A model pattern that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{pattern}` is not a model name or pattern")]
pub struct PatternError {
    pattern: String,
    #[source]
    source: globset::Error,
}

impl ModelPattern {
    /// Reads a model id or pattern.
    ///
    /// # Errors
    /// [`PatternError`] when the pattern is malformed, such as an unclosed bracket.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let is_pattern = text.contains(['*', '?', '[', '{']);
        let compile = || Glob::new(text).map_err(|source| PatternError { pattern: text.to_owned(), source });
        let matcher = if is_pattern { Some(compile()?.compile_matcher()) } else { None };
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// Reports whether the pattern is one exact id.
    pub fn is_exact(&self) -> bool {
        self.matcher.is_none()
    }

    /// Reports whether a model id is meant.
    pub fn matches(&self, model_id: &str) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(model_id),
            None => self.text == model_id,
        }
    }
}

impl fmt::Debug for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelPattern({})", self.text)
    }
}

impl PartialEq for ModelPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ModelPattern {}

/// One entry of the configuration's `prices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceOverride {
    /// The configured name of the provider, not its kind.
    pub provider: String,
    /// The provider's models that it holds for.
    pub model: ModelPattern,
    /// An input token.
    pub input: Option<PicoUsd>,
    /// An output token.
    pub output: Option<PicoUsd>,
    /// An input token read from the cache.
    pub cache_read: Option<PicoUsd>,
    /// An input token written to the cache with the short lifetime.
    pub cache_write: Option<PicoUsd>,
    /// An input token written to the cache with the long lifetime.
    pub cache_write_long: Option<PicoUsd>,
    /// An audio input token.
    pub audio_input: Option<PicoUsd>,
    /// An audio output token.
    pub audio_output: Option<PicoUsd>,
    /// One web search on the provider's side.
    pub per_search: Option<PicoUsd>,
    /// A picture that is made.
    pub per_image: Option<PicoUsd>,
    /// A second of sound, heard or made.
    pub per_second: Option<PicoUsd>,
    /// A character that is spoken.
    pub per_character: Option<PicoUsd>,
    /// One request.
    pub per_request: Option<PicoUsd>,
    /// The most tokens the model gives in one choice.
    pub max_output_tokens: Option<u64>,
}

impl PriceOverride {
    /// Returns an override of nothing, to be filled.
    pub fn new(provider: impl Into<String>, model: ModelPattern) -> Self {
        Self {
            provider: provider.into(),
            model,
            input: None,
            output: None,
            cache_read: None,
            cache_write: None,
            cache_write_long: None,
            audio_input: None,
            audio_output: None,
            per_search: None,
            per_image: None,
            per_second: None,
            per_character: None,
            per_request: None,
            max_output_tokens: None,
        }
    }

    /// Lays the stated fields over the facts.
    pub(super) fn apply(&self, facts: &mut PriceFacts) {
        let old = facts.clone();
        let tiers = facts.context_tiers.iter_mut().map(|(_, step)| step);
        for step in tiers {
            self.rescale(step, &old);
        }
        for (_, step) in &mut facts.scheduled {
            step.input = self.input.unwrap_or(step.input);
            step.output = self.output.unwrap_or(step.output);
            step.cache_read = self.cache_read.or(step.cache_read);
        }
        let fields = [
            (&mut facts.input, self.input),
            (&mut facts.output, self.output),
            (&mut facts.cache_read, self.cache_read),
            (&mut facts.cache_write, self.cache_write),
            (&mut facts.cache_write_long, self.cache_write_long),
            (&mut facts.audio_input, self.audio_input),
            (&mut facts.audio_output, self.audio_output),
            (&mut facts.per_search, self.per_search),
        ];
        for (fact, stated) in fields {
            *fact = stated.or(*fact);
        }
        let units = &mut facts.units;
        units.image = self.per_image.or(units.image);
        units.character = self.per_character.or(units.character);
        units.audio_input_second = self.per_second.or(units.audio_input_second);
        units.audio_output_second = self.per_second.or(units.audio_output_second);
        facts.per_request = self.per_request.unwrap_or(facts.per_request);
        facts.max_output_tokens = self.max_output_tokens.or(facts.max_output_tokens);
    }

    fn rescale(&self, step: &mut Step, old: &PriceFacts) {
        let in_proportion = |stated: Option<PicoUsd>, was: Option<PicoUsd>, tier: PicoUsd| match (stated, was) {
            (Some(stated), Some(was)) if was > PicoUsd::ZERO => Ratio { numerator: stated, denominator: was }.of(tier),
            (Some(stated), _) => stated,
            (None, _) => tier,
        };
        step.input = in_proportion(self.input, old.input, step.input);
        step.output = in_proportion(self.output, old.output, step.output);
        step.cache_read = step.cache_read.map(|tier| in_proportion(self.cache_read, old.cache_read, tier));
    }
}

/// Returns the override that holds for a model: the first exact one, else the first pattern.
pub(super) fn pick<'a>(
    overrides: &'a [PriceOverride],
    provider_name: &str,
    upstream_model: &str,
) -> Option<&'a PriceOverride> {
    let matching = |entry: &&PriceOverride| entry.provider == provider_name && entry.model.matches(upstream_model);
    let exact = overrides.iter().filter(matching).find(|entry| entry.model.is_exact());
    exact.or_else(|| overrides.iter().find(matching))
}
