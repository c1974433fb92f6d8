//! What the catalogue knows of one model besides its price: its limits, abilities and dates.
//!
//! Rule: facts as published, unknown stays unknown (`None`). It deliberately holds no opinion on who may use a model.

use super::facts::PriceFacts;
use super::price::{ModelPrice, UnitPrices};
use crate::money::PicoUsd;
use crate::time::UnixMicros;
use jiff::civil::Date;
use std::sync::Arc;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Reads the stable name back; `None` for another word.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }
    };
}

named! {
    /// What a model is for.
    Mode {
        /// Text generation.
        Chat "chat",
        /// Vectors of a text.
        Embedding "embedding",
        /// Pictures.
        ImageGeneration "image_generation",
        /// Speech to text.
        AudioTranscription "audio_transcription",
        /// Text to speech.
        AudioSpeech "audio_speech",
        /// Classification of harmful text.
        Moderation "moderation",
    }
}

named! {
    /// One thing a model can do.
    Capability {
        /// Takes pictures.
        Vision "vision",
        /// Takes PDF files.
        Pdf "pdf",
        /// Takes sound.
        AudioInput "audio_in",
        /// Gives sound.
        AudioOutput "audio_out",
        /// Takes video.
        VideoInput "video_in",
        /// Calls tools.
        Tools "tools",
        /// Calls several tools at once.
        ParallelTools "parallel_tools",
        /// Can be told which tool to call.
        ToolChoice "tool_choice",
        /// Keeps to a JSON schema.
        JsonSchema "json_schema",
        /// Thinks before it answers.
        Reasoning "reasoning",
        /// Caches prompts.
        Cache "cache",
        /// Searches the web on the provider's side.
        WebSearch "web_search",
        /// Operates a computer.
        ComputerUse "computer_use",
    }
}

named! {
    /// What a model refuses although others of its dialect take it.
    Refusal {
        /// `temperature`, `top_p` and `top_k`, but for their defaults.
        Sampling "sampling",
        /// A choice of tools that forces a call.
        ForcedTools "forced_tools",
        /// The output cap under its older name, `max_tokens`.
        MaxTokens "max_tokens",
    }
}

named! {
    /// A unit, other than a text token, that a provider charges for. Prices are per unit, those of tokens per token.
    Meter {
        /// Audio input token.
        AudioInputToken "audio_in/Mtok",
        /// Audio output token.
        AudioOutputToken "audio_out/Mtok",
        /// Image input token.
        ImageInputToken "img_in/Mtok",
        /// Image output token.
        ImageOutputToken "img_out/Mtok",
        /// Server-side web search.
        Search "search/query",
        /// Character of input.
        InputCharacter "input_cost_per_character",
        /// Second of input sound.
        InputSecond "input_cost_per_second",
        /// Second of output sound.
        OutputSecond "output_cost_per_second",
        /// Picture given.
        InputImage "input_cost_per_image",
        /// Picture made.
        OutputImage "output_cost_per_image",
    }
}

/// A set of [`Capability`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// Adds one ability.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | Self::bit(capability))
    }

    /// Reports whether the set holds an ability.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    /// Returns the abilities in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| self.has(*capability))
    }

    fn bit(capability: Capability) -> u16 {
        1 << capability as u16
    }
}

/// A set of [`Refusal`], and where it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    bits: u8,
    /// Where it was read; empty for none.
    pub source: String,
}

impl Refusals {
    /// The set of these.
    pub(super) fn of(refusals: &[Refusal], source: &str) -> Self {
        let bits = refusals.iter().fold(0, |bits, refusal| bits | Self::bit(*refusal));
        Self { bits, source: source.to_owned() }
    }

    /// Reports whether the model is known to refuse it.
    pub fn has(&self, refusal: Refusal) -> bool {
        self.bits & Self::bit(refusal) != 0
    }

    fn bit(refusal: Refusal) -> u8 {
        1 << refusal as u8
    }
}

/// One model of one provider kind.
#[derive(Clone, Debug)]
pub struct CatalogModel {
    /// The provider kind, such as `openai`.
    pub kind: String,
    /// The id that the provider knows it by.
    pub id: String,
    /// What it is for.
    pub mode: Mode,
    /// The most tokens it takes in one request.
    pub max_input_tokens: Option<u64>,
    /// The most tokens it gives in one answer.
    pub max_output_tokens: Option<u64>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What it refuses.
    pub refuses: Refusals,
    /// The length of its vectors, of embedding models.
    pub embedding_dimensions: Option<u32>,
    /// Prices of units that [`crate::usage::TokenUsage`] does not count as text tokens.
    pub meters: Vec<(Meter, PicoUsd)>,
    /// The day since which its present price holds.
    pub price_effective_from: Option<Date>,
    /// The day on which the provider ends it.
    pub deprecation: Option<Date>,
    /// How many of the compared sources agree on the price.
    pub sources_agreeing: u32,
    /// Its price; `None` when nothing is known of it.
    pub price: Option<Arc<ModelPrice>>,
    pub(super) facts: PriceFacts,
    pub(super) snapshots: Vec<Date>,
}

impl CatalogModel {
    /// Reports whether the provider has ended the model: no longer listed, still priced.
    pub fn is_retired(&self, at: UnixMicros) -> bool {
        self.deprecation.and_then(day_start).is_some_and(|end| at >= end)
    }

    /// Reports whether the facts price what this model does. One that writes and draws is not priced: its answers in a
    /// conversation do not tell the tokens of either apart.
    pub(super) fn is_priced(&self) -> bool {
        if self.mode == Mode::ImageGeneration && self.facts.output.is_some() {
            return false;
        }
        self.facts.input.is_some() || self.facts.output.is_some() || self.facts.units != UnitPrices::default()
    }

    /// Reports whether a dated id costs what this row says. An older snapshot than the price may have kept an older,
    /// dearer price (`gpt-4o-2024-05-13` does), so it counts only where the row names it.
    pub(super) fn covers_snapshot(&self, date: Date) -> bool {
        self.price_effective_from.is_some_and(|from| date >= from) || self.snapshots.contains(&date)
    }
}

/// Splits `base-YYYY-MM-DD` or `base-YYYYMMDD`; `None` when the end is not a real date.
pub(super) fn split_dated_id(model_id: &str) -> Option<(&str, Date)> {
    let dashed = model_id.len().checked_sub(11).and_then(|at| model_id.split_at_checked(at));
    let compact = model_id.len().checked_sub(9).and_then(|at| model_id.split_at_checked(at));
    for (base, suffix) in [dashed, compact].into_iter().flatten() {
        let Some(suffix) = suffix.strip_prefix('-') else { continue };
        let date = match suffix.split('-').collect::<Vec<_>>().as_slice() {
            [year, month, day] => to_date(year, month, day),
            [compact] => compact
                .split_at_checked(4)
                .and_then(|(year, rest)| rest.split_at_checked(2).and_then(|(m, d)| to_date(year, m, d))),
            _ => None,
        };
        if let Some(date) = date
            && !base.is_empty()
        {
            return Some((base, date));
        }
    }
    None
}

fn to_date(year: &str, month: &str, day: &str) -> Option<Date> {
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

/// Returns the first moment of a day in UTC.
pub(super) fn day_start(date: Date) -> Option<UnixMicros> {
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(UnixMicros::new(start.timestamp().as_microsecond()))
}
