//! What a request used: token counts by kind, disjoint, and how sure we are of them.
//!
//! Rule: the kinds never overlap (uncached input, cache read, cache writes), whatever the provider's own totals include;
//! each dialect's totals are derived from these on the way out. Source: the providers' SDK types.

/// Units used by one attempt, by kind. Disjoint: the sum of the input kinds is the total input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TokenUsage {
    /// Input tokens neither read from nor written to a cache.
    pub input_tokens: u64,
    /// Input tokens read from the provider's prompt cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the cache with the short (default) lifetime.
    pub cache_write_tokens: u64,
    /// Input tokens written to the cache with the long lifetime (one hour and more).
    pub cache_write_long_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Reasoning tokens, a part of `output_tokens` (information, never priced twice).
    pub reasoning_tokens: u64,
    /// Audio input tokens, outside `input_tokens`.
    pub audio_input_tokens: u64,
    /// Audio output tokens, outside `output_tokens`.
    pub audio_output_tokens: u64,
    /// Server-side web searches.
    pub searches: u64,
    /// Tokens of pictures given, outside `input_tokens`, where the provider counts them apart.
    pub image_input_tokens: u64,
    /// Tokens of pictures made, outside `output_tokens`.
    pub image_output_tokens: u64,
    /// Pictures made, where they are charged one by one.
    pub images: u64,
    /// Characters of text that were spoken.
    pub characters: u64,
    /// Sound that was heard, where it is charged by its length.
    pub audio_input_ms: u64,
    /// Sound that was made, where it is charged by its length.
    pub audio_output_ms: u64,
}

impl TokenUsage {
    /// Returns every input token of the request, cached and written ones included: what chooses a price tier.
    pub fn total_input_tokens(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_tokens)
            .saturating_add(self.cache_write_long_tokens)
            .saturating_add(self.audio_input_tokens)
            .saturating_add(self.image_input_tokens)
    }

    /// Returns every output token of the request.
    pub fn total_output_tokens(&self) -> u64 {
        self.output_tokens.saturating_add(self.audio_output_tokens).saturating_add(self.image_output_tokens)
    }

    /// Adds up two usages, kind by kind.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            cache_write_long_tokens: self.cache_write_long_tokens.saturating_add(other.cache_write_long_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            audio_input_tokens: self.audio_input_tokens.saturating_add(other.audio_input_tokens),
            audio_output_tokens: self.audio_output_tokens.saturating_add(other.audio_output_tokens),
            searches: self.searches.saturating_add(other.searches),
            image_input_tokens: self.image_input_tokens.saturating_add(other.image_input_tokens),
            image_output_tokens: self.image_output_tokens.saturating_add(other.image_output_tokens),
            images: self.images.saturating_add(other.images),
            characters: self.characters.saturating_add(other.characters),
            audio_input_ms: self.audio_input_ms.saturating_add(other.audio_input_ms),
            audio_output_ms: self.audio_output_ms.saturating_add(other.audio_output_ms),
        }
    }

    /// Reports whether nothing was counted at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the counts of a record come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CostBasis {
    /// The provider's final counts, priced by our table.
    Exact,
    /// The provider reported the money itself.
    ProviderReported,
    /// Counts estimated from what was seen (a cut stream, a provider that sends none).
    Estimated,
    /// Nobody can know (the process died): booked at the worst case.
    Unknown,
}

impl CostBasis {
    /// Every basis.
    pub const ALL: [Self; 4] = [Self::Exact, Self::ProviderReported, Self::Estimated, Self::Unknown];

    /// The stable name in records and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::ProviderReported => "provider_reported",
            Self::Estimated => "estimated",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the stable name back; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.as_str() == name)
    }
}
