//! The counters of an answer, as a provider writes them, and what they mean.
//!
//! Rule: a counter is a fact that replaces an older one, field by field; counters of one answer are never added up. What
//! they mean (what is inside what) is decided once, here, for each family.

use helix_shared::money::NanoUsd;
use helix_shared::usage::TokenUsage;

use crate::json::{Kind, Reader, Result};

/// How a provider differs from the family whose dialect it speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Reasoning tokens are counted beside `completion_tokens`, not inside (xAI, Perplexity).
    pub has_reasoning_outside: bool,
    /// The provider's own cost in `usage` is the authority (OpenRouter, Perplexity, xAI).
    pub has_cost: bool,
}

/// An amount of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextSize {
    /// UTF-8 bytes.
    pub bytes: u64,
    /// Those of them that belong to characters outside ASCII.
    pub wide_bytes: u64,
}

impl TextSize {
    pub(crate) fn add(&mut self, (bytes, wide_bytes): (u64, u64)) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.wide_bytes = self.wide_bytes.saturating_add(wide_bytes);
    }
}

/// Counters as they stand in a body; `None` was not there, or not a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) input: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) cache_write_short: Option<u64>,
    pub(crate) cache_write_long: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) audio_input: Option<u64>,
    pub(crate) audio_output: Option<u64>,
    pub(crate) searches: Option<u64>,
    /// Gemini: what its own tools added to the input, outside of `input`.
    pub(crate) tool_prompt: Option<u64>,
    /// Gemini: audio inside of `cached`.
    pub(crate) audio_cached: Option<u64>,
    /// Gemini: all of them; tells whether `reasoning` lies inside of `output`, and is never priced.
    pub(crate) total: Option<u64>,
    /// Image tokens inside of `input` and of `output`.
    pub(crate) image_input: Option<u64>,
    pub(crate) image_output: Option<u64>,
    /// Pictures that came.
    pub(crate) images: Option<u64>,
    /// Sound that was heard.
    pub(crate) audio_input_ms: Option<u64>,
    /// In 1e-12 USD.
    pub(crate) cost_pico_usd: Option<i128>,
    /// Anthropic's `iterations[]`, summed: all passes of the model, which the counters beside it leave out in part.
    pub(crate) iterations: Option<TokenUsage>,
}

impl Counts {
    /// Whether the counters that money depends on are there.
    pub(crate) fn is_usage(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    /// Replaces each field that the newer counters have.
    pub(crate) fn replace_with(&mut self, newer: &Self) {
        let newest = |old: &mut Option<u64>, new: Option<u64>| *old = new.or(*old);
        newest(&mut self.input, newer.input);
        newest(&mut self.cached, newer.cached);
        newest(&mut self.cache_write, newer.cache_write);
        newest(&mut self.cache_write_short, newer.cache_write_short);
        newest(&mut self.cache_write_long, newer.cache_write_long);
        newest(&mut self.output, newer.output);
        newest(&mut self.reasoning, newer.reasoning);
        newest(&mut self.audio_input, newer.audio_input);
        newest(&mut self.audio_output, newer.audio_output);
        newest(&mut self.searches, newer.searches);
        newest(&mut self.tool_prompt, newer.tool_prompt);
        newest(&mut self.audio_cached, newer.audio_cached);
        newest(&mut self.total, newer.total);
        newest(&mut self.image_input, newer.image_input);
        newest(&mut self.image_output, newer.image_output);
        newest(&mut self.images, newer.images);
        newest(&mut self.audio_input_ms, newer.audio_input_ms);
        self.cost_pico_usd = newer.cost_pico_usd.or(self.cost_pico_usd);
        self.iterations = newer.iterations.or(self.iterations);
    }

    /// Reads the counters as OpenAI means them: cached, written and audio tokens are inside the prompt, reasoning and
    /// audio inside the completion. A cache larger than the prompt can only lie outside of it.
    pub(crate) fn as_openai(&self, quirks: Quirks) -> Option<TokenUsage> {
        if !self.is_usage() {
            return None;
        }
        let prompt = self.input.unwrap_or(0);
        let cached = self.cached.unwrap_or(0);
        let written = self.cache_write.unwrap_or(0);
        let written_long = self.cache_write_long.unwrap_or(0).min(written);
        let audio_input = self.audio_input.unwrap_or(0);
        let is_cache_outside = cached > prompt;
        let inside = if is_cache_outside { 0 } else { cached.saturating_add(written) };
        let completion = self.output.unwrap_or(0);
        let reasoning = self.reasoning.unwrap_or(0);
        let audio_output = self.audio_output.unwrap_or(0);
        let extra = if quirks.has_reasoning_outside { reasoning } else { 0 };
        Some(TokenUsage {
            input_tokens: prompt.saturating_sub(inside).saturating_sub(audio_input),
            cache_read_tokens: cached,
            cache_write_tokens: written - written_long,
            cache_write_long_tokens: written_long,
            output_tokens: completion.saturating_sub(audio_output).saturating_add(extra),
            reasoning_tokens: reasoning,
            audio_input_tokens: audio_input,
            audio_output_tokens: audio_output,
            searches: self.searches.unwrap_or(0),
            ..TokenUsage::default()
        })
    }

    /// Reads the counters of pictures and sound: the tokens of either lie inside of the totals. Nothing but the length of
    /// a sound, or the number of pictures, is a count as well.
    pub(crate) fn as_media(&self) -> Option<TokenUsage> {
        if !self.is_usage() && self.audio_input_ms.is_none() && self.images.is_none() {
            return None;
        }
        let (input, output) = (self.input.unwrap_or(0), self.output.unwrap_or(0));
        let image_input = self.image_input.unwrap_or(0).min(input);
        let audio_input = self.audio_input.unwrap_or(0).min(input - image_input);
        let image_output = self.image_output.unwrap_or(0).min(output);
        let audio_output = self.audio_output.unwrap_or(0).min(output - image_output);
        Some(TokenUsage {
            input_tokens: input - image_input - audio_input,
            output_tokens: output - image_output - audio_output,
            audio_input_tokens: audio_input,
            audio_output_tokens: audio_output,
            image_input_tokens: image_input,
            image_output_tokens: image_output,
            images: if self.is_usage() { 0 } else { self.images.unwrap_or(0) },
            audio_input_ms: if self.is_usage() { 0 } else { self.audio_input_ms.unwrap_or(0) },
            ..TokenUsage::default()
        })
    }

    /// Reads the counters as Anthropic means them: cached and written tokens are outside `input_tokens`. With
    /// iterations, their sum is what is billed.
    pub(crate) fn as_anthropic(&self) -> Option<TokenUsage> {
        if !self.is_usage() {
            return None;
        }
        let split = self.cache_write_short.unwrap_or(0).saturating_add(self.cache_write_long.unwrap_or(0));
        let written = self.cache_write.unwrap_or(split);
        let written_long = self.cache_write_long.unwrap_or(0).min(written);
        let own = TokenUsage {
            input_tokens: self.input.unwrap_or(0),
            cache_read_tokens: self.cached.unwrap_or(0),
            cache_write_tokens: written - written_long,
            cache_write_long_tokens: written_long,
            output_tokens: self.output.unwrap_or(0),
            reasoning_tokens: self.reasoning.unwrap_or(0),
            searches: self.searches.unwrap_or(0),
            ..TokenUsage::default()
        };
        let Some(all) = self.iterations else { return Some(own) };
        Some(TokenUsage {
            input_tokens: own.input_tokens.max(all.input_tokens),
            cache_read_tokens: own.cache_read_tokens.max(all.cache_read_tokens),
            cache_write_tokens: own.cache_write_tokens.max(all.cache_write_tokens),
            cache_write_long_tokens: own.cache_write_long_tokens.max(all.cache_write_long_tokens),
            output_tokens: own.output_tokens.max(all.output_tokens),
            reasoning_tokens: own.reasoning_tokens.max(all.reasoning_tokens),
            ..own
        })
    }

    /// Reads the counters as Gemini means them: cached tokens and audio are inside the prompt, thoughts beside the
    /// candidates (unless the total says otherwise), and what its tools fed the model beside the prompt.
    pub(crate) fn as_gemini(&self) -> Option<TokenUsage> {
        if !self.is_usage() {
            return None;
        }
        let prompt = self.input.unwrap_or(0);
        let cached = self.cached.unwrap_or(0);
        let tools = self.tool_prompt.unwrap_or(0);
        let candidates = self.output.unwrap_or(0);
        let thoughts = self.reasoning.unwrap_or(0);
        let fresh = if cached > prompt { prompt } else { prompt - cached };
        let audio_input = self.audio_input.unwrap_or(0).saturating_sub(self.audio_cached.unwrap_or(0)).min(fresh);
        let without_thoughts = prompt.saturating_add(candidates).saturating_add(tools);
        let are_inside = self.total == Some(without_thoughts) && thoughts <= candidates;
        let completion = if are_inside { candidates } else { candidates.saturating_add(thoughts) };
        let audio_output = self.audio_output.unwrap_or(0).min(completion);
        Some(TokenUsage {
            input_tokens: (fresh - audio_input).saturating_add(tools),
            cache_read_tokens: cached,
            output_tokens: completion - audio_output,
            reasoning_tokens: thoughts,
            audio_input_tokens: audio_input,
            audio_output_tokens: audio_output,
            searches: self.searches.unwrap_or(0),
            ..TokenUsage::default()
        })
    }

    /// Returns the provider's own price of the answer, rounded up, if it is to be believed.
    pub(crate) fn cost(&self, quirks: Quirks) -> Option<NanoUsd> {
        self.cost_pico_usd.filter(|_| quirks.has_cost).map(NanoUsd::from_pico_rounded_up)
    }
}

/// Reads a counter leniently: less than nothing is nothing, a fraction is rounded up, what is no number is absent.
pub(crate) fn read_counter(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    if reader.kind()? != Kind::Number {
        reader.skip()?;
        return Ok(None);
    }
    let number = reader.number()?;
    if let Some(count) = plain(number) {
        return Ok(Some(count));
    }
    Ok(scaled(number, 0).map(|count| u64::try_from(count.max(0)).unwrap_or(u64::MAX)))
}

/// Reads an amount of units of `10^-decimals`, rounded up; a provider may write it as a number or as a string.
pub(crate) fn read_amount(reader: &mut Reader<'_>, decimals: i32) -> Result<Option<i128>> {
    let amount = match reader.kind()? {
        Kind::Number => scaled(reader.number()?, decimals),
        Kind::String => scaled(reader.string()?.raw, decimals),
        _ => {
            reader.skip()?;
            None
        }
    };
    Ok(amount.map(|amount| amount.max(0)))
}

/// Reads a number of digits alone, as nearly every counter is; `None` for any other, and for one too long to be sure of.
fn plain(number: &[u8]) -> Option<u64> {
    let is_plain = (1..=19).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    is_plain.then(|| number.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// Returns `number * 10^decimals`, rounded up, exactly; `None` for what is no number or does not fit.
fn scaled(number: &[u8], decimals: i32) -> Option<i128> {
    let text = std::str::from_utf8(number).ok()?;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let shift = exponent.checked_add(decimals)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    let magnitude = match (shift >= 0, power) {
        (true, Some(power)) => value.checked_mul(power)?,
        (true, None) => return (value == 0).then_some(0),
        (false, Some(power)) => value.div_euclid(power) + i128::from(!is_negative && value.rem_euclid(power) != 0),
        (false, None) => i128::from(!is_negative && value != 0),
    };
    Some(if is_negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_round_up() {
        for (number, decimals, expected) in [
            ("12", 0, Some(12)),
            ("12.0", 0, Some(12)),
            ("12.1", 0, Some(13)),
            ("-3.5", 0, Some(-3)),
            ("1.4e-4", 12, Some(140_000_000)),
            ("0.00014", 12, Some(140_000_000)),
            ("1e3", 0, Some(1000)),
            ("0.0000000000001", 12, Some(1)),
            ("1e-99", 12, Some(1)),
            ("0e99", 12, Some(0)),
            ("1e99", 12, None),
            ("abc", 12, None),
            ("", 12, None),
            ("1e99999999999", 0, None),
        ] {
            assert_eq!(scaled(number.as_bytes(), decimals), expected, "{number}");
        }
    }

    #[test]
    fn a_counter_of_digits_alone_reads_as_any_other() {
        for number in ["0", "7", "128000", "9999999999999999999", "007"] {
            assert_eq!(plain(number.as_bytes()).map(i128::from), scaled(number.as_bytes(), 0), "{number}");
        }
        for number in ["", "-1", "1.5", "1e3", "10000000000000000000"] {
            assert_eq!(plain(number.as_bytes()), None, "{number}");
        }
    }

    #[test]
    fn a_cache_larger_than_the_prompt_lies_outside_of_it_n11() {
        let counts = Counts { input: Some(400), cached: Some(500), output: Some(7), ..Counts::default() };
        let usage = counts.as_openai(Quirks::default()).unwrap();
        assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.output_tokens), (400, 500, 7));
    }

    #[test]
    fn an_absent_counter_leaves_the_older_one() {
        let mut counts = Counts { input: Some(10), cached: Some(90), output: Some(1), ..Counts::default() };
        counts.replace_with(&Counts { output: Some(42), ..Counts::default() });
        assert_eq!((counts.input, counts.cached, counts.output), (Some(10), Some(90), Some(42)));
    }
}
