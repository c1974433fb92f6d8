//! The most that a request can cost, for holding money back before it is sent.
//!
//! Rule: for every usage within the bound and every service tier that a response can state for it,
//! `cost(usage) <= worst_case(bound)`. Where that cannot be promised the answer is [`Unbounded`], never a guess. It
//! saturates rather than overflows, and it ignores discounts by the hour: the provider's clock is not ours.

use super::price::{ModelPrice, ONE_PPM, PriceLine, TierLines, Unpriced, multiply_ppm, unit_pico};
use crate::money::{NanoUsd, PicoUsd};
use crate::time::UnixMicros;
use crate::usage::TokenUsage;

/// The service tier that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TierRequest {
    /// The normal tier, by name or because the provider's default is known to be normal.
    #[default]
    Standard,
    /// The provider chooses: the answer may come from the priority tier where the model has one.
    Auto,
    /// Slow and cheap; the provider may answer normally instead.
    Flex,
    /// A line of a batch file.
    Batch,
    /// First and dear; the provider may answer normally instead.
    Priority,
    /// A tier that the table has no price for.
    Other,
}

/// What is known of a request before it is sent. All counts are upper bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageBound {
    /// Input tokens of every kind together, with what server-side tools may add to the context.
    pub input_tokens_max: u64,
    /// Output tokens of one choice, reasoning included.
    pub output_tokens_max: u64,
    /// Choices asked for (`n`, `best_of`); zero counts as one.
    pub choices: u32,
    /// Requests that the provider bills for it, each rounded up for itself; zero counts as one.
    pub requests: u32,
    /// Whether the request may write to the cache with the long lifetime.
    pub may_cache_write_long: bool,
    /// Whether the input may hold sound.
    pub may_have_audio_input: bool,
    /// Whether the output may hold sound.
    pub may_have_audio_output: bool,
    /// Whether tokens of the input may be those of pictures, priced apart.
    pub may_have_image_input: bool,
    /// Whether tokens of the output may be those of pictures.
    pub may_have_image_output: bool,
    /// Pictures that are charged one by one.
    pub images_max: u64,
    /// Characters that are spoken.
    pub characters_max: u64,
    /// Sound that is heard and charged by its length.
    pub audio_input_ms_max: u64,
    /// Sound that is made and charged by its length.
    pub audio_output_ms_max: u64,
    /// Server-side searches: `Some(0)` when there is no such tool, `None` when there is one without a cap.
    pub searches_max: Option<u32>,
    /// The service tier asked for.
    pub tier: TierRequest,
    /// Whether data residency is asked for.
    pub has_residency: bool,
    /// When the attempt starts; the same moment that [`super::cost`] is given later.
    pub started_at: UnixMicros,
}

/// Why a request has no highest cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unbounded {
    /// A unit that the request may use has no price.
    #[error("{0}")]
    Unpriced(#[from] Unpriced),
    /// The provider may search as often as it likes.
    #[error("the number of web searches has no limit")]
    Searches,
}

impl UsageBound {
    /// Returns the bound of a plain text request for one choice.
    pub fn text(input_tokens_max: u64, output_tokens_max: u64, started_at: UnixMicros) -> Self {
        Self {
            input_tokens_max,
            output_tokens_max,
            choices: 1,
            requests: 1,
            may_cache_write_long: false,
            may_have_audio_input: false,
            may_have_audio_output: false,
            may_have_image_input: false,
            may_have_image_output: false,
            images_max: 0,
            characters_max: 0,
            audio_input_ms_max: 0,
            audio_output_ms_max: 0,
            searches_max: Some(0),
            tier: TierRequest::Standard,
            has_residency: false,
            started_at,
        }
    }

    fn output_total(&self) -> u64 {
        self.output_tokens_max.saturating_mul(u64::from(self.choices.max(1)))
    }
}

/// The dearest unit prices of one line that a request can meet.
struct Dearest {
    input: PicoUsd,
    output: PicoUsd,
}

/// Computes the most that a request within the bound can cost.
///
/// # Errors
/// [`Unbounded`] when a unit that may be used has no price, or the searches have no cap.
pub fn worst_case(bound: &UsageBound, price: &ModelPrice) -> Result<NanoUsd, Unbounded> {
    let fixed = fixed_pico(bound, price)?;
    let multiplier = price.multiplier_ppm(bound.has_residency, ONE_PPM);
    let mut most: i128 = 0;
    for_each_line(bound, price, |line| {
        let dearest = dearest(bound, line)?;
        let tokens =
            dearest.input.times(bound.input_tokens_max).saturating_add(dearest.output.times(bound.output_total()));
        most = most.max(multiply_ppm(tokens, multiplier));
        Ok(())
    })?;
    Ok(NanoUsd::from_pico_rounded_up(most.saturating_add(fixed)))
}

/// Computes the largest output cap for one choice, at most the one asked for, whose worst case fits an amount of money.
/// Zero when not even the input fits, or the cost has no bound.
pub fn affordable_output(budget: NanoUsd, bound: &UsageBound, price: &ModelPrice) -> u64 {
    affordable(budget, bound, price).unwrap_or(0)
}

fn affordable(budget: NanoUsd, bound: &UsageBound, price: &ModelPrice) -> Result<u64, Unbounded> {
    if worst_case(bound, price)? <= budget {
        return Ok(bound.output_tokens_max);
    }
    let without_fixed = i128::from(budget.get()).saturating_mul(1000).saturating_sub(fixed_pico(bound, price)?);
    if without_fixed < 0 {
        return Ok(0);
    }
    // Rounding up fits exactly when the exact value fits, so the tokens may cost this much before the multiplier.
    let multiplier = i128::from(price.multiplier_ppm(bound.has_residency, ONE_PPM).max(1));
    let tokens_pico = without_fixed.saturating_mul(i128::from(ONE_PPM)) / multiplier;
    let mut cap = bound.output_tokens_max;
    for_each_line(bound, price, |line| {
        let dearest = dearest(bound, line)?;
        let for_output = tokens_pico.saturating_sub(dearest.input.times(bound.input_tokens_max));
        let per_token = dearest.output.times(u64::from(bound.choices.max(1)));
        if for_output < 0 {
            cap = 0;
        } else if per_token > 0 {
            cap = cap.min(u64::try_from(for_output / per_token).unwrap_or(u64::MAX));
        }
        Ok(())
    })?;
    Ok(cap)
}

/// Returns what the request costs beside its tokens, in pico-USD.
fn fixed_pico(bound: &UsageBound, price: &ModelPrice) -> Result<i128, Unbounded> {
    let searches = match bound.searches_max {
        Some(_) if price.searches_by_itself => return Err(Unbounded::Searches),
        None => return Err(Unbounded::Searches),
        Some(0) => 0,
        Some(searches) => price.per_search.ok_or(Unpriced::Search)?.times(u64::from(searches)),
    };
    let units = TokenUsage {
        images: bound.images_max,
        characters: bound.characters_max,
        audio_input_ms: bound.audio_input_ms_max,
        audio_output_ms: bound.audio_output_ms_max,
        ..TokenUsage::default()
    };
    let units = unit_pico(&units, &price.units)?;
    let further = further_requests(bound);
    let per_request = price.per_request.times(u64::from(bound.requests.max(1))).saturating_add(further);
    Ok(searches.saturating_add(per_request).saturating_add(units))
}

/// Returns what rounding up may add beside the first request, in pico-USD: less than one nano-USD for each.
fn further_requests(bound: &UsageBound) -> i128 {
    i128::from(bound.requests.max(1) - 1).saturating_mul(1000)
}

/// Visits every line that a request within the bound can be charged by.
fn for_each_line(
    bound: &UsageBound,
    price: &ModelPrice,
    mut visit: impl FnMut(&PriceLine) -> Result<(), Unbounded>,
) -> Result<(), Unbounded> {
    for lines in price.period_at(bound.started_at).reachable(bound.input_tokens_max) {
        let TierLines { standard, batch, flex, priority } = lines;
        match bound.tier {
            TierRequest::Standard => visit(standard)?,
            TierRequest::Batch => visit(batch)?,
            TierRequest::Flex => {
                visit(standard)?;
                visit(flex)?;
            }
            TierRequest::Auto => {
                visit(standard)?;
                visit(flex)?;
                if let Some(priority) = priority {
                    visit(priority)?;
                }
            }
            TierRequest::Priority => {
                visit(standard)?;
                visit(priority.as_ref().ok_or(Unpriced::ServiceTier)?)?;
            }
            TierRequest::Other => return Err(Unpriced::ServiceTier.into()),
        }
    }
    Ok(())
}

/// Returns the dearest input and output kind of a line that the bound allows.
fn dearest(bound: &UsageBound, line: &PriceLine) -> Result<Dearest, Unbounded> {
    let mut input = PicoUsd::ZERO;
    if bound.input_tokens_max > 0 {
        for kind in [line.input, line.cache_read, line.cache_write] {
            input = input.max(kind.ok_or(Unpriced::Input)?);
        }
        if bound.may_cache_write_long {
            input = input.max(line.cache_write_long.ok_or(Unpriced::Input)?);
        }
        if bound.may_have_audio_input {
            input = input.max(line.audio_input.ok_or(Unpriced::AudioInput)?);
        }
        if bound.may_have_image_input {
            input = input.max(line.image_input.ok_or(Unpriced::ImageToken)?);
        }
    }
    let mut output = PicoUsd::ZERO;
    if bound.output_tokens_max > 0 {
        output = line.output.ok_or(Unpriced::Output)?;
        if bound.may_have_audio_output {
            output = output.max(line.audio_output.ok_or(Unpriced::AudioOutput)?);
        }
        if bound.may_have_image_output {
            output = output.max(line.image_output.ok_or(Unpriced::ImageToken)?);
        }
    }
    Ok(Dearest { input, output })
}
