//! Pictures and sound: what a request may cost at most, and what is booked when the provider does not say.
//!
//! Rule: what the provider charges by is bounded before it is sent: tokens by the quality of a picture or the limits of the
//! model, characters exactly, seconds by the size of the file. Speech is never taken to be slower than a second a character,
//! and a file never to hold more than it can at 4 kbit/s, half of the thinnest speech that common encoders make; one that
//! plays longer is booked as the provider counts it, and the overrun is told.

use super::refusal::Refusal;
use crate::config::current::Place;
use helix_llm::{Dialect, RequestFacts};
use helix_shared::catalog::{ModelPrice, UsageBound};
use helix_shared::error_code::ErrorCode;
use helix_shared::time::UnixMicros;
use helix_shared::usage::TokenUsage;

/// 4 kbit/s.
const LEAST_BYTES_PER_SECOND: u64 = 500;
/// What an estimate takes for common speech: 32 kbit/s.
const USUAL_BYTES_PER_SECOND: u64 = 4_000;
/// The longest that one character is spoken.
const MOST_MS_PER_CHARACTER: u64 = 1_000;
/// What an estimate takes: fourteen characters a second.
const USUAL_MS_PER_CHARACTER: u64 = 72;
/// The shortest speech has some silence around it.
const SILENCE_CHARACTERS: u64 = 10;
/// More than the 21 tokens that a second of speech has at the published prices.
const TOKENS_PER_SECOND: u64 = 25;
/// What an estimate takes for a picture of unknown make.
const USUAL_PICTURE_TOKENS: u64 = 1_056;
/// What a transcript has at most where nobody knows the model.
const TRANSCRIPT_TOKENS: u64 = 16_384;

/// The most that a request can use at a place.
///
/// # Errors
/// `unbounded_cost`.
pub fn bound(
    facts: &RequestFacts,
    place: &Place,
    price: &ModelPrice,
    started_at: UnixMicros,
) -> Result<UsageBound, Refusal> {
    let mut bound = UsageBound::text(0, 0, started_at);
    if price.is_free() && !price.has_token_prices() {
        return Ok(bound);
    }
    let has_tokens = price.has_token_prices();
    match facts.dialect {
        Dialect::OpenAiImages | Dialect::OpenAiImageEdits => {
            bound.choices = u32::try_from(facts.choices).unwrap_or(u32::MAX);
            if has_tokens {
                bound.input_tokens_max = facts.input_token_bound().unwrap_or(u64::MAX);
                bound.output_tokens_max = facts.wish.image_tokens_max;
                bound.may_have_image_input = true;
                bound.may_have_image_output = true;
            }
            if price.units.image.is_some() {
                bound.images_max = facts.choices;
            }
        }
        Dialect::OpenAiSpeech => {
            let characters = facts.wish.characters;
            let ms = characters.saturating_add(SILENCE_CHARACTERS).saturating_mul(MOST_MS_PER_CHARACTER);
            if price.units.character.is_some() {
                bound.characters_max = characters;
            } else if has_tokens {
                bound.input_tokens_max = facts.input_token_bound().unwrap_or(u64::MAX);
                bound.output_tokens_max = ms.div_ceil(1_000).saturating_mul(TOKENS_PER_SECOND);
                bound.may_have_audio_output = true;
            } else {
                bound.audio_output_ms_max = ms;
            }
        }
        _ => {
            if price.units.audio_input_second.is_some() {
                let bytes = facts.wish.upload_bytes.unwrap_or(u64::MAX);
                bound.audio_input_ms_max = bytes.saturating_mul(1_000).div_ceil(LEAST_BYTES_PER_SECOND);
            }
            if has_tokens && !price.is_free() {
                bound.input_tokens_max = place.max_input_tokens.ok_or_else(unbounded)?;
                bound.output_tokens_max = place.max_output_tokens.unwrap_or(TRANSCRIPT_TOKENS);
                bound.may_have_audio_input = true;
            }
        }
    }
    Ok(bound)
}

fn unbounded() -> Refusal {
    let message = "Under a hard budget a request's cost must have a bound: what the model hears at most is not known.";
    Refusal::new("budget", ErrorCode::UnboundedCost, message)
}

/// What is booked when the provider says nothing of what was used, and whether that is exact. `None`: it is no request of
/// this kind.
pub fn unreported(facts: &RequestFacts, price: Option<&ModelPrice>) -> Option<(TokenUsage, bool)> {
    let has_tokens = price.is_some_and(ModelPrice::has_token_prices);
    let none = TokenUsage::default();
    Some(match facts.dialect {
        Dialect::OpenAiImages | Dialect::OpenAiImageEdits if price.is_some_and(|price| price.units.image.is_some()) => {
            (TokenUsage { images: facts.choices, ..none }, false)
        }
        Dialect::OpenAiImages | Dialect::OpenAiImageEdits => {
            let input_tokens = facts.estimate_input_tokens();
            let image_output_tokens = facts.choices.saturating_mul(USUAL_PICTURE_TOKENS);
            (TokenUsage { input_tokens, image_output_tokens, ..none }, false)
        }
        Dialect::OpenAiSpeech => {
            let characters = facts.wish.characters;
            if !has_tokens || price.is_some_and(|price| price.units.character.is_some()) {
                // What is charged by the character is known before it is spoken.
                return Some((TokenUsage { characters, ..none }, true));
            }
            let ms = characters.saturating_add(SILENCE_CHARACTERS).saturating_mul(USUAL_MS_PER_CHARACTER);
            let input_tokens = facts.estimate_input_tokens();
            let audio_output_tokens = ms.saturating_mul(TOKENS_PER_SECOND).div_ceil(1_000);
            (TokenUsage { input_tokens, audio_output_tokens, ..none }, false)
        }
        Dialect::OpenAiTranscriptions | Dialect::OpenAiTranslations => {
            let ms = facts.wish.upload_bytes.unwrap_or(0).saturating_mul(1_000) / USUAL_BYTES_PER_SECOND;
            if price.is_none_or(|price| price.units.audio_input_second.is_some()) {
                return Some((TokenUsage { audio_input_ms: ms, ..none }, false));
            }
            // Ten tokens a second of sound.
            (TokenUsage { audio_input_tokens: ms / 100, ..none }, false)
        }
        _ => return None,
    })
}
