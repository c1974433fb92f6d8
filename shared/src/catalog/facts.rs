//! The published facts of a price, and the defaults by which they become a full table.
//!
//! Rule: a default never undercuts the provider. A missing cache price is the input price, a missing long write the
//! provider's documented multiple, a discount that no source states is none. Nothing here runs during a request.

use super::price::{
    ContextTier, ModelPrice, ONE_PPM, OffPeak, PriceLine, PriceOrigin, PricePeriod, TierLines, UnitPrices,
};
use crate::money::PicoUsd;
use crate::time::UnixMicros;

/// What tokens processed under data residency cost at providers that publish a surcharge.
const RESIDENCY_PPM: u32 = 1_100_000;

/// The part of a price that changes with context size or date. `None`: scaled with the input, or not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) input: PicoUsd,
    pub(super) output: PicoUsd,
    pub(super) cache_read: Option<PicoUsd>,
}

/// The factor between two prices, kept exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    pub(super) numerator: PicoUsd,
    pub(super) denominator: PicoUsd,
}

/// Facts of one model's price, as published or overridden.
#[derive(Clone, Debug, Default)]
pub(super) struct PriceFacts {
    pub(super) kind: String,
    pub(super) input: Option<PicoUsd>,
    pub(super) output: Option<PicoUsd>,
    pub(super) cache_read: Option<PicoUsd>,
    pub(super) cache_write: Option<PicoUsd>,
    pub(super) cache_write_long: Option<PicoUsd>,
    pub(super) audio_input: Option<PicoUsd>,
    pub(super) audio_output: Option<PicoUsd>,
    pub(super) image_input: Option<PicoUsd>,
    pub(super) image_output: Option<PicoUsd>,
    pub(super) units: UnitPrices,
    pub(super) context_tiers: Vec<(u64, Step)>,
    pub(super) scheduled: Vec<(UnixMicros, Step)>,
    pub(super) batch: Option<Ratio>,
    pub(super) priority: Option<Ratio>,
    pub(super) off_peak: Option<OffPeak>,
    pub(super) per_search: Option<PicoUsd>,
    pub(super) per_request: PicoUsd,
    pub(super) searches_by_itself: bool,
    pub(super) takes_audio: bool,
    pub(super) max_input_tokens: Option<u64>,
    pub(super) max_output_tokens: Option<u64>,
}

impl Ratio {
    /// Multiplies, rounding up; a ratio to nothing leaves the price as it is.
    pub(super) fn of(self, price: PicoUsd) -> PicoUsd {
        if self.denominator.get() <= 0 {
            return price;
        }
        let denominator = i128::from(self.denominator.get());
        let product = i128::from(price.get()) * i128::from(self.numerator.get());
        let rounded_up = product.div_euclid(denominator) + i128::from(product.rem_euclid(denominator) != 0);
        PicoUsd::new(i64::try_from(rounded_up).unwrap_or(i64::MAX))
    }

    fn times(factor: i64) -> Self {
        Self { numerator: PicoUsd::new(factor), denominator: PicoUsd::new(10) }
    }
}

impl PriceFacts {
    /// Returns no facts: what an override alone fills.
    pub(super) fn empty(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// Returns the facts of a provider on the operator's own machines.
    pub(super) fn local() -> Self {
        Self {
            input: Some(PicoUsd::ZERO),
            output: Some(PicoUsd::ZERO),
            audio_output: Some(PicoUsd::ZERO),
            image_output: Some(PicoUsd::ZERO),
            units: UnitPrices {
                character: Some(PicoUsd::ZERO),
                audio_input_second: Some(PicoUsd::ZERO),
                audio_output_second: Some(PicoUsd::ZERO),
                image: Some(PicoUsd::ZERO),
            },
            per_search: Some(PicoUsd::ZERO),
            takes_audio: true,
            ..Self::default()
        }
    }

    /// Computes the table of every period, context size and service tier.
    pub(super) fn build(&self, origin: PriceOrigin) -> ModelPrice {
        let mut changes = self.scheduled.clone();
        changes.sort_by_key(|(from, _)| *from);
        let ends = changes.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        let scheduled =
            changes.iter().zip(ends).map(|((from, step), end)| self.after(step).period(Some(*from), end)).collect();
        let has_surcharge = matches!(self.kind.as_str(), "openai" | "anthropic");
        ModelPrice {
            origin,
            first: self.period(None, changes.first().map(|(from, _)| *from)),
            scheduled,
            off_peak: self.off_peak,
            residency_ppm: if has_surcharge { RESIDENCY_PPM } else { ONE_PPM },
            per_search: self.per_search,
            per_request: self.per_request,
            units: self.units,
            searches_by_itself: self.searches_by_itself,
            max_input_tokens: self.max_input_tokens,
            max_output_tokens: self.max_output_tokens,
        }
    }

    fn period(&self, valid_from: Option<UnixMicros>, valid_to: Option<UnixMicros>) -> PricePeriod {
        let mut context_tiers: Vec<ContextTier> = self
            .context_tiers
            .iter()
            .map(|(above_tokens, step)| ContextTier { above_tokens: *above_tokens, lines: self.after(step).lines() })
            .collect();
        context_tiers.sort_by_key(|tier| tier.above_tokens);
        PricePeriod { valid_from, valid_to, base: self.lines(), context_tiers: context_tiers.into() }
    }

    /// Returns the facts with input and output replaced, every other price moved in the proportion of the input.
    fn after(&self, step: &Step) -> Self {
        let ratio = Ratio { numerator: step.input, denominator: self.input.unwrap_or_default() };
        let scale = |price: Option<PicoUsd>| price.map(|price| ratio.of(price));
        let output_ratio = Ratio { numerator: step.output, denominator: self.output.unwrap_or_default() };
        let move_tier = |(above, tier): &(u64, Step)| {
            let tier = Step {
                input: ratio.of(tier.input),
                output: output_ratio.of(tier.output),
                cache_read: scale(tier.cache_read),
            };
            (*above, tier)
        };
        Self {
            input: Some(step.input),
            output: Some(step.output),
            cache_read: step.cache_read.or(scale(self.cache_read)),
            cache_write: scale(self.cache_write),
            cache_write_long: scale(self.cache_write_long),
            audio_input: scale(self.audio_input),
            audio_output: self.audio_output.map(|price| output_ratio.of(price)),
            image_input: scale(self.image_input),
            image_output: self.image_output.map(|price| output_ratio.of(price)),
            context_tiers: self.context_tiers.iter().map(move_tier).collect(),
            scheduled: Vec::new(),
            ..self.clone()
        }
    }

    fn lines(&self) -> TierLines {
        let standard = self.standard_line();
        let discount = |halves_cache: bool| match self.batch {
            Some(ratio) => discounted(&standard, ratio, halves_cache),
            None => standard,
        };
        TierLines {
            standard,
            batch: discount(self.kind == "anthropic"),
            // Flex is published at the batch price by the two that sell it.
            flex: if matches!(self.kind.as_str(), "openai" | "azure" | "gemini") { discount(false) } else { standard },
            priority: self.priority.map(|ratio| discounted(&standard, ratio, true)),
        }
    }

    fn standard_line(&self) -> PriceLine {
        let cache_write = self.cache_write.or(self.input);
        PriceLine {
            input: self.input,
            // What little a model of pictures writes is not known to cost less than what it draws.
            output: self.output.or(self.image_output),
            cache_read: self.cache_read.or(self.input),
            cache_write,
            cache_write_long: self.cache_write_long.or_else(|| self.default_long_write(cache_write)),
            audio_input: self.audio_input.or(if self.takes_audio { self.input } else { None }),
            audio_output: self.audio_output,
            image_input: self.image_input.or(self.input),
            image_output: self.image_output,
        }
    }

    /// One hour at Anthropic is 2x the input price; twelve hours at OpenAI 2.5x where writes are charged for at all.
    fn default_long_write(&self, cache_write: Option<PicoUsd>) -> Option<PicoUsd> {
        let input = self.input?;
        let published = match self.kind.as_str() {
            "anthropic" => Ratio::times(20).of(input),
            "openai" | "azure" if cache_write > Some(input) => Ratio::times(25).of(input),
            _ => input,
        };
        Some(published.max(cache_write.unwrap_or_default()))
    }
}

/// Scales a line; batch discounts leave the cache prices alone where the provider does not say otherwise.
fn discounted(line: &PriceLine, ratio: Ratio, with_cache: bool) -> PriceLine {
    let scale = |price: Option<PicoUsd>| price.map(|price| ratio.of(price));
    let cache = |price: Option<PicoUsd>| if with_cache { scale(price) } else { price };
    PriceLine {
        input: scale(line.input),
        output: scale(line.output),
        cache_read: cache(line.cache_read),
        cache_write: cache(line.cache_write),
        cache_write_long: cache(line.cache_write_long),
        audio_input: scale(line.audio_input),
        audio_output: scale(line.audio_output),
        image_input: scale(line.image_input),
        image_output: scale(line.image_output),
    }
}
