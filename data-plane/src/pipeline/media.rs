//! Pictures and sound: what a request may cost at most, and what is booked when the provider does not say.
//!
//! Rule: what the provider charges by is bounded before it is sent: tokens by the quality of a picture or the limits of the
//! model, characters exactly, seconds by what the file says of itself (`helix_llm::Sound`) and by its size. Speech is never
//! taken to be slower than a second a character; a file of which nobody knows how long it plays is refused where that counts.
//! One that lies about itself is booked as the provider counts it, and the overrun is told.

use super::refusal::Refusal;
use crate::config::current::Place;
use helix_llm::{Dialect, RequestFacts};
use helix_shared::catalog::{ModelPrice, UsageBound};
use helix_shared::error_code::ErrorCode;
use helix_shared::time::UnixMicros;
use helix_shared::usage::TokenUsage;

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
            let ms = spoken_ms(facts, MOST_MS_PER_CHARACTER);
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
                bound.audio_input_ms_max = facts.wish.sound.longest_ms(bytes).ok_or_else(unknown_length)?;
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

/// How long the text of a request is spoken, at so much a character and at the speed that was asked for.
fn spoken_ms(facts: &RequestFacts, ms_per_character: u64) -> u64 {
    let ms = facts.wish.characters.saturating_add(SILENCE_CHARACTERS).saturating_mul(ms_per_character);
    ms.saturating_mul(1_000).div_ceil(facts.wish.speed_permille.unwrap_or(1_000).max(1))
}

/// Of an upload whose length nobody had said: what is booked for the bytes that came, and no more than for those that might.
pub fn as_far_as_it_came(usage: TokenUsage, bytes: u64) -> TokenUsage {
    let ms = usual_sound_ms(bytes);
    TokenUsage {
        audio_input_ms: usage.audio_input_ms.min(ms),
        audio_input_tokens: usage.audio_input_tokens.min(sound_tokens(ms)),
        ..usage
    }
}

fn usual_sound_ms(bytes: u64) -> u64 {
    bytes.saturating_mul(1_000) / USUAL_BYTES_PER_SECOND
}

/// Ten tokens a second of sound.
fn sound_tokens(ms: u64) -> u64 {
    ms / 100
}

fn unknown_length() -> Refusal {
    let message = "Under a hard budget a request's cost must have a bound: how long this file plays is not known. Send WAV, \
                   MP3, FLAC, or MP4 or WebM that says its duration in front; Ogg and live recordings up to 1 MiB.";
    Refusal::new("budget", ErrorCode::UnboundedCost, message)
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
            // A stream that is cut has made as much of its pictures as nobody knows: all that their quality may take.
            let image_output_tokens = facts.choices.saturating_mul(facts.wish.image_tokens_max);
            (TokenUsage { input_tokens, image_output_tokens, ..none }, false)
        }
        Dialect::OpenAiSpeech => {
            let characters = facts.wish.characters;
            if !has_tokens || price.is_some_and(|price| price.units.character.is_some()) {
                // What is charged by the character is known before it is spoken.
                return Some((TokenUsage { characters, ..none }, true));
            }
            let ms = spoken_ms(facts, USUAL_MS_PER_CHARACTER);
            let input_tokens = facts.estimate_input_tokens();
            let audio_output_tokens = ms.saturating_mul(TOKENS_PER_SECOND).div_ceil(1_000);
            (TokenUsage { input_tokens, audio_output_tokens, ..none }, false)
        }
        Dialect::OpenAiTranscriptions | Dialect::OpenAiTranslations => {
            let ms = usual_sound_ms(facts.wish.upload_bytes.unwrap_or(0));
            if price.is_none_or(|price| price.units.audio_input_second.is_some()) {
                return Some((TokenUsage { audio_input_ms: ms, ..none }, false));
            }
            (TokenUsage { audio_input_tokens: sound_tokens(ms), ..none }, false)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_llm::scan_request;

    fn facts(dialect: Dialect, body: &str) -> RequestFacts {
        scan_request(dialect, body.as_bytes()).unwrap()
    }

    #[test]
    fn slow_speech_lasts_longer_and_fast_speech_shorter() {
        let input = "x".repeat(90);
        for (speed, expected) in
            [("", 100_000), (",\"speed\":1.0", 100_000), (",\"speed\":0.25", 400_000), (",\"speed\":4", 25_000)]
        {
            let body = format!("{{\"model\":\"tts-1\",\"input\":\"{input}\"{speed}}}");
            assert_eq!(spoken_ms(&facts(Dialect::OpenAiSpeech, &body), MOST_MS_PER_CHARACTER), expected, "{speed}");
        }
    }

    #[test]
    fn a_picture_that_nobody_reported_is_booked_at_what_its_quality_may_take() {
        for (quality, tokens) in [("low", 2_048), ("high", 16_384)] {
            let body = format!("{{\"model\":\"m\",\"prompt\":\"p\",\"n\":3,\"quality\":\"{quality}\"}}");
            let (usage, is_exact) = unreported(&facts(Dialect::OpenAiImages, &body), None).unwrap();
            assert_eq!((usage.image_output_tokens, is_exact), (3 * tokens, false), "{quality}");
        }
    }

    #[test]
    fn an_upload_of_unknown_length_is_booked_by_what_came() {
        let might = TokenUsage { audio_input_ms: usual_sound_ms(100 << 20), ..TokenUsage::default() };
        assert_eq!(as_far_as_it_came(might, 40_000).audio_input_ms, 10_000);
        assert_eq!(as_far_as_it_came(might, u64::MAX), might);
        let tokens = TokenUsage { audio_input_tokens: 1 << 20, ..TokenUsage::default() };
        assert_eq!(as_far_as_it_came(tokens, 40_000).audio_input_tokens, 100);
    }
}
