//! The price of one model as a ready table, and the exact cost of a usage under it.
//!
//! Rule: the cost is the exact sum in `i128`, rounded once, up; a used unit without a price is an error, never zero.
//! Every scaled line (service tiers, context tiers) is computed when the table is built, so that pricing a request takes
//! a few comparisons and multiplications, no allocation and no text. Facts and defaults are `facts.rs`'s business.

use crate::money::{NanoUsd, PicoUsd};
use crate::time::UnixMicros;
use crate::usage::TokenUsage;
use std::sync::{Arc, LazyLock};

const MICROS_PER_HOUR: i64 = 3_600_000_000;
/// The multiplier that changes nothing, in millionths.
pub(super) const ONE_PPM: u32 = 1_000_000;

/// The price of each unit at one point of the price axes. `None`: the unit has no known price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceLine {
    /// An input token neither read from nor written to a cache.
    pub input: Option<PicoUsd>,
    /// An output token, reasoning included.
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
    /// A token of a picture given, where it is priced apart.
    pub image_input: Option<PicoUsd>,
    /// A token of a picture made.
    pub image_output: Option<PicoUsd>,
}

/// What is charged by another unit than the token. `None`: the unit has no known price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitPrices {
    /// A character that is spoken.
    pub character: Option<PicoUsd>,
    /// A second of sound that is heard.
    pub audio_input_second: Option<PicoUsd>,
    /// A second of sound that is made.
    pub audio_output_second: Option<PicoUsd>,
    /// A picture that is made.
    pub image: Option<PicoUsd>,
}

/// The lines of one context size, by service tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierLines {
    /// The normal line.
    pub standard: PriceLine,
    /// Files of requests answered later; the normal line where no discount is known.
    pub batch: PriceLine,
    /// Answered when there is room; the normal line where no discount is known.
    pub flex: PriceLine,
    /// Answered first; `None` where the model has no such price.
    pub priority: Option<PriceLine>,
}

/// The lines of requests whose whole input, cached and written tokens included, is over a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextTier {
    /// The lines hold for inputs of more tokens than this, not of as many.
    pub above_tokens: u64,
    /// The lines, for all tokens of such a request.
    pub lines: TierLines,
}

/// The hours in which a provider charges less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffPeak {
    /// Two spans of full price on weekdays, as UTC hours `[from, to)`. All other time is off-peak.
    pub peak_hours: [(u8, u8); 2],
    /// The off-peak price in millionths of the full price.
    pub ppm: u32,
}

/// The prices of one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePeriod {
    /// The first moment; the first period has no beginning.
    pub valid_from: Option<UnixMicros>,
    /// The first moment after it; the last period has no end.
    pub valid_to: Option<UnixMicros>,
    /// The lines of ordinary requests.
    pub base: TierLines,
    /// The lines of large requests, by rising size.
    pub context_tiers: Box<[ContextTier]>,
}

/// Where a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceOrigin {
    /// The bundled catalogue.
    Catalog,
    /// The configuration, over the catalogue where it left fields open.
    Override,
    /// A provider on the operator's own machines: zero.
    Local,
}

/// What a model costs, at every time and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPrice {
    /// Where the price comes from.
    pub origin: PriceOrigin,
    /// The first (or only) period.
    pub first: PricePeriod,
    /// Scheduled changes, by rising date.
    pub scheduled: Box<[PricePeriod]>,
    /// The hours of lower prices.
    pub off_peak: Option<OffPeak>,
    /// Tokens processed under data residency cost this many millionths of the line.
    pub residency_ppm: u32,
    /// One server-side web search.
    pub per_search: Option<PicoUsd>,
    /// One request, whatever it holds.
    pub per_request: PicoUsd,
    /// What is charged by another unit than the token.
    pub units: UnitPrices,
    /// The model searches without being asked: its cost has no bound beforehand.
    pub searches_by_itself: bool,
    /// The most tokens the model takes.
    pub max_input_tokens: Option<u64>,
    /// The most tokens the model gives in one choice.
    pub max_output_tokens: Option<u64>,
}

/// How a request was really processed, as its response says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// The normal price.
    #[default]
    Standard,
    /// A line of a batch file.
    Batch,
    /// Slow and cheap.
    Flex,
    /// First and dear (also called `fast`).
    Priority,
    /// A tier that the table has no price for (`ultrafast`, `balanced`).
    Other,
}

impl ServiceTier {
    /// Reads the `service_tier` of an OpenAI-dialect response; `None` in the response is the normal price.
    pub fn from_openai(stated: Option<&str>) -> Self {
        match stated {
            None | Some("auto" | "default" | "standard" | "on_demand" | "scale") => Self::Standard,
            Some("flex") => Self::Flex,
            Some("priority" | "fast") => Self::Priority,
            Some("batch") => Self::Batch,
            Some(_) => Self::Other,
        }
    }

    /// Reads `usageMetadata.serviceTier` of a Gemini response, whose words come in either case, or `trafficType`, as Vertex
    /// AI calls it. Its provisioned throughput is capacity bought beforehand, counted at the list price.
    pub fn from_gemini(stated: Option<&str>) -> Self {
        let word = stated.map(str::to_ascii_lowercase);
        let word = word.as_deref().map(|word| {
            ["service_tier_", "traffic_type_", "on_demand_"]
                .iter()
                .find_map(|head| word.strip_prefix(head))
                .unwrap_or(word)
        });
        Self::from_openai(word.filter(|word| !matches!(*word, "unspecified" | "provisioned_throughput")))
    }

    /// Reads `usage.service_tier` and `usage.speed` of an Anthropic response. Its `priority` tier is capacity bought
    /// beforehand, counted at the list price; its `fast` speed is what others call priority.
    pub fn from_anthropic(service_tier: Option<&str>, speed: Option<&str>) -> Self {
        match (service_tier, speed) {
            (_, Some("fast")) => Self::Priority,
            (_, Some(speed)) if speed != "standard" => Self::Other,
            (None | Some("standard" | "priority" | "standard_only" | "auto"), _) => Self::Standard,
            (Some("batch"), _) => Self::Batch,
            (Some(_), _) => Self::Other,
        }
    }
}

/// The circumstances that choose a line, beside the size of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How the response says the request was processed.
    pub tier: ServiceTier,
    /// Whether data residency was asked for (Anthropic `inference_geo: "us"`, OpenAI's regional hosts).
    pub has_residency: bool,
    /// When the attempt started: prices are those of that moment, even if they change before it ends.
    pub started_at: UnixMicros,
}

impl Terms {
    /// Returns the terms of a normal request.
    pub fn standard(started_at: UnixMicros) -> Self {
        Self { tier: ServiceTier::Standard, has_residency: false, started_at }
    }
}

/// A unit that was used, or may be, and has no known price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unpriced {
    /// Input tokens.
    #[error("the model has no input price")]
    Input,
    /// Output tokens.
    #[error("the model has no output price")]
    Output,
    /// Audio input tokens.
    #[error("the model has no audio input price")]
    AudioInput,
    /// Audio output tokens.
    #[error("the model has no audio output price")]
    AudioOutput,
    /// Web searches.
    #[error("the model has no price for a web search")]
    Search,
    /// Tokens of pictures.
    #[error("the model has no price for the tokens of pictures")]
    ImageToken,
    /// Pictures.
    #[error("the model has no price for a picture")]
    Image,
    /// Characters.
    #[error("the model has no price for a character")]
    Character,
    /// Seconds of sound.
    #[error("the model has no price for a second of sound")]
    AudioSecond,
    /// The service tier.
    #[error("the model has no price for this service tier")]
    ServiceTier,
}

/// Computes what a usage costs.
///
/// # Errors
/// [`Unpriced`] when a unit that was used has no price: the cost is unknown, not zero.
pub fn cost(usage: &TokenUsage, price: &ModelPrice, terms: &Terms) -> Result<NanoUsd, Unpriced> {
    let lines = price.period_at(terms.started_at).lines_for(usage.total_input_tokens());
    let line = lines.line(terms.tier).ok_or(Unpriced::ServiceTier)?;
    let mut tokens = charge(line.input, usage.input_tokens, Unpriced::Input)?;
    for (unit_price, count, missing) in [
        (line.cache_read, usage.cache_read_tokens, Unpriced::Input),
        (line.cache_write, usage.cache_write_tokens, Unpriced::Input),
        (line.cache_write_long, usage.cache_write_long_tokens, Unpriced::Input),
        (line.output, usage.output_tokens, Unpriced::Output),
        (line.audio_input, usage.audio_input_tokens, Unpriced::AudioInput),
        (line.audio_output, usage.audio_output_tokens, Unpriced::AudioOutput),
        (line.image_input, usage.image_input_tokens, Unpriced::ImageToken),
        (line.image_output, usage.image_output_tokens, Unpriced::ImageToken),
    ] {
        tokens = tokens.saturating_add(charge(unit_price, count, missing)?);
    }
    let searches = charge(price.per_search, usage.searches, Unpriced::Search)?;
    let multiplier = price.multiplier_ppm(terms.has_residency, price.off_peak_ppm(terms.started_at));
    let total =
        multiply_ppm(tokens, multiplier).saturating_add(searches).saturating_add(i128::from(price.per_request.get()));
    let total = total.saturating_add(unit_pico(usage, &price.units)?);
    Ok(NanoUsd::from_pico_rounded_up(total))
}

/// Returns what is charged by other units than tokens, in pico-USD; a part of a second counts as that part, rounded up.
pub(super) fn unit_pico(usage: &TokenUsage, units: &UnitPrices) -> Result<i128, Unpriced> {
    let of_seconds = |price, ms| {
        let thousandths = charge(price, ms, Unpriced::AudioSecond)?;
        Ok(thousandths / 1000 + i128::from(thousandths % 1000 != 0))
    };
    Ok(charge(units.character, usage.characters, Unpriced::Character)?
        .saturating_add(charge(units.image, usage.images, Unpriced::Image)?)
        .saturating_add(of_seconds(units.audio_input_second, usage.audio_input_ms)?)
        .saturating_add(of_seconds(units.audio_output_second, usage.audio_output_ms)?))
}

fn charge(unit_price: Option<PicoUsd>, count: u64, missing: Unpriced) -> Result<i128, Unpriced> {
    match unit_price {
        _ if count == 0 => Ok(0),
        Some(unit_price) => Ok(unit_price.times(count)),
        None => Err(missing),
    }
}

/// Multiplies an amount of pico-USD that is not negative, rounding up: a later rounding up gives the same result as one
/// rounding of the exact value.
pub(super) fn multiply_ppm(pico: i128, ppm: u64) -> i128 {
    if ppm == u64::from(ONE_PPM) {
        return pico;
    }
    let product = pico.saturating_mul(i128::from(ppm));
    let one = i128::from(ONE_PPM);
    product / one + i128::from(product % one != 0)
}

impl ModelPrice {
    /// Returns the price of a local provider: explicit zeroes.
    pub fn free() -> &'static Arc<Self> {
        static FREE: LazyLock<Arc<ModelPrice>> =
            LazyLock::new(|| Arc::new(super::facts::PriceFacts::local().build(PriceOrigin::Local)));
        &FREE
    }

    /// Reports whether tokens of text are priced at all, not only other units.
    pub fn has_token_prices(&self) -> bool {
        self.first.base.standard.input.is_some()
    }

    /// Returns the prices in force at a moment.
    pub fn period_at(&self, at: UnixMicros) -> &PricePeriod {
        let started = |period: &&PricePeriod| period.valid_from.is_some_and(|from| from <= at);
        self.scheduled.iter().rev().find(started).unwrap_or(&self.first)
    }

    /// Returns every period, by rising date.
    pub fn periods(&self) -> impl Iterator<Item = &PricePeriod> {
        std::iter::once(&self.first).chain(&self.scheduled)
    }

    /// Reports whether nothing this model does costs anything.
    pub fn is_free(&self) -> bool {
        let is_zero = |line: &PriceLine| line.input == Some(PicoUsd::ZERO) && line.output == Some(PicoUsd::ZERO);
        self.per_request == PicoUsd::ZERO
            && self.per_search.unwrap_or_default() == PicoUsd::ZERO
            && self.periods().all(|period| is_zero(&period.base.standard) && period.context_tiers.is_empty())
    }

    fn off_peak_ppm(&self, at: UnixMicros) -> u32 {
        match &self.off_peak {
            Some(off_peak) if !off_peak.is_peak(at) => off_peak.ppm,
            _ => ONE_PPM,
        }
    }

    /// Returns the product of the multipliers on token prices, in millionths, rounded up.
    pub(super) fn multiplier_ppm(&self, has_residency: bool, off_peak_ppm: u32) -> u64 {
        let residency_ppm = if has_residency { self.residency_ppm } else { ONE_PPM };
        (u64::from(residency_ppm) * u64::from(off_peak_ppm)).div_ceil(u64::from(ONE_PPM))
    }
}

impl PricePeriod {
    /// Returns the lines for a request of this many input tokens, cached and written ones included.
    pub fn lines_for(&self, total_input_tokens: u64) -> &TierLines {
        let reached = self.context_tiers.iter().rev().find(|tier| total_input_tokens > tier.above_tokens);
        reached.map_or(&self.base, |tier| &tier.lines)
    }

    /// Returns the lines that requests of at most this many input tokens can come to.
    pub(super) fn reachable(&self, input_tokens_max: u64) -> impl Iterator<Item = &TierLines> {
        let tiers = self.context_tiers.iter().filter(move |tier| input_tokens_max > tier.above_tokens);
        std::iter::once(&self.base).chain(tiers.map(|tier| &tier.lines))
    }
}

impl TierLines {
    /// Returns the line of a service tier; `None` when it has no price.
    pub fn line(&self, tier: ServiceTier) -> Option<&PriceLine> {
        match tier {
            ServiceTier::Standard => Some(&self.standard),
            ServiceTier::Batch => Some(&self.batch),
            ServiceTier::Flex => Some(&self.flex),
            ServiceTier::Priority => self.priority.as_ref(),
            ServiceTier::Other => None,
        }
    }
}

impl OffPeak {
    /// Reports whether the full price holds at a moment.
    pub fn is_peak(&self, at: UnixMicros) -> bool {
        let hours = at.get().div_euclid(MICROS_PER_HOUR);
        // 1970-01-01 was a Thursday; Monday is 0.
        let weekday = (hours.div_euclid(24) + 3).rem_euclid(7);
        let hour = hours.rem_euclid(24);
        weekday < 5 && self.peak_hours.iter().any(|(from, to)| (i64::from(*from)..i64::from(*to)).contains(&hour))
    }
}
