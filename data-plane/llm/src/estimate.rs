//! Token counts where nobody reports any: by length of text, with a factor for each family.
//!
//! Rule: an estimate is never the base of a reservation (that is [`crate::RequestFacts::input_token_bound`]); it is
//! integer arithmetic on sizes, so it is the same everywhere.

use bytes::Bytes;

use crate::dialect::Family;
use crate::request::RequestFacts;
use crate::usage::TextSize;

/// A message's frame (role, separators), an answer's start, and a tool's frame around its own text.
const PER_MESSAGE: u64 = 4;
const PER_REPLY: u64 = 3;
const PER_TOOL: u64 = 8;
/// A picture of common size.
const PER_IMAGE: u64 = 1_100;
/// A few pages.
const PER_DOCUMENT: u64 = 6_000;
const PER_AUDIO: u64 = 300;

/// Estimates the tokens of a text: 4 bytes a token, 3.6 for Claude; outside ASCII about one character a token.
pub fn estimate_tokens(family: Family, text: TextSize) -> u64 {
    let wide = text.wide_bytes.min(text.bytes);
    let narrow = text.bytes - wide;
    let narrow_tokens = match family {
        Family::OpenAi | Family::Gemini => narrow.div_ceil(4),
        Family::Anthropic => narrow.saturating_mul(5).div_ceil(18),
    };
    narrow_tokens.saturating_add(wide.div_ceil(3))
}

pub(crate) fn estimate_request(facts: &RequestFacts) -> u64 {
    let items = [
        (facts.messages, PER_MESSAGE),
        (facts.tools, PER_TOOL),
        (facts.media.images, PER_IMAGE),
        (facts.media.documents, PER_DOCUMENT),
        (facts.media.audio, PER_AUDIO),
    ];
    let text = estimate_tokens(facts.dialect.family(), facts.text).saturating_add(PER_REPLY);
    items.iter().fold(text, |sum, (count, each)| sum.saturating_add(count.saturating_mul(*each)))
}

/// Renders the answer of Anthropic's `count_tokens`.
pub fn count_tokens_body(input_tokens: u64) -> Bytes {
    Bytes::from(format!("{{\"input_tokens\":{input_tokens}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_ideographs_have_their_own_factors() {
        let english = TextSize { bytes: 3_600, wide_bytes: 0 };
        assert_eq!(estimate_tokens(Family::OpenAi, english), 900);
        assert_eq!(estimate_tokens(Family::Anthropic, english), 1_000);
        let chinese = TextSize { bytes: 300, wide_bytes: 300 };
        assert_eq!(estimate_tokens(Family::OpenAi, chinese), 100);
        assert_eq!(estimate_tokens(Family::OpenAi, TextSize::default()), 0);
        let huge = TextSize { bytes: u64::MAX, wide_bytes: u64::MAX };
        assert!(estimate_tokens(Family::Anthropic, huge) > 0);
    }

    #[test]
    fn a_token_count_answers_in_the_dialect() {
        assert_eq!(count_tokens_body(42), "{\"input_tokens\":42}");
    }
}
