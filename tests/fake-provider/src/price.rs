//! What the provider charges: integer prices by model, and one rounding, up, per request.
//!
//! Rule: this table and this arithmetic share no code with the gateway, so that an agreement of the two bills means something.

use serde::{Deserialize, Serialize};

/// Prices of one model in 1e-12 USD per token. An absent cache price is the input price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// An input token outside the cache.
    pub input: u64,
    /// An output token, reasoning included.
    #[serde(default)]
    pub output: u64,
    /// An input token read from the cache.
    #[serde(default)]
    pub cache_read: Option<u64>,
    /// An input token written to the cache for a short time.
    #[serde(default)]
    pub cache_write: Option<u64>,
    /// An input token written to the cache for an hour.
    #[serde(default)]
    pub cache_write_1h: Option<u64>,
    /// A token of a picture given.
    #[serde(default)]
    pub image_input: u64,
    /// A token of a picture made.
    #[serde(default)]
    pub image_output: u64,
    /// A token of sound heard.
    #[serde(default)]
    pub audio_input: u64,
    /// A token of sound made.
    #[serde(default)]
    pub audio_output: u64,
    /// A picture made.
    #[serde(default)]
    pub image: u64,
    /// A character spoken.
    #[serde(default)]
    pub character: u64,
    /// A second of sound heard.
    #[serde(default)]
    pub sound_second: u64,
}

/// Token counts of one answer. The kinds of input do not overlap; reasoning is a part of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Input outside the cache.
    pub input: u64,
    /// Input read from the cache.
    pub cache_read: u64,
    /// Input written to the cache for a short time.
    pub cache_write: u64,
    /// Input written to the cache for an hour.
    pub cache_write_1h: u64,
    /// Output, reasoning included.
    pub output: u64,
    /// Reasoning, a part of `output`.
    pub reasoning: u64,
    /// Tokens of pictures given.
    pub image_input: u64,
    /// Tokens of pictures made.
    pub image_output: u64,
    /// Tokens of sound heard.
    pub audio_input: u64,
    /// Tokens of sound made.
    pub audio_output: u64,
    /// Pictures made, where they are charged one by one.
    pub images: u64,
    /// Characters spoken.
    pub characters: u64,
    /// Milliseconds of sound heard.
    pub sound_ms: u64,
}

impl Tokens {
    /// Returns all input tokens, cached ones included.
    pub fn total_input(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.cache_write_1h
    }
}

/// The built-in table, in 1e-12 USD per token: `$1` per million tokens is 1,000,000.
const TABLE: [(&str, Price); 7] = [
    ("gpt-5-mini", Price { cache_read: Some(25_000), ..price(250_000, 2_000_000) }),
    ("gpt-4o-mini", Price { cache_read: Some(75_000), ..price(150_000, 600_000) }),
    (
        "claude-haiku-4-5",
        Price {
            cache_read: Some(100_000),
            cache_write: Some(1_250_000),
            cache_write_1h: Some(2_000_000),
            ..price(1_000_000, 5_000_000)
        },
    ),
    (
        "claude-sonnet-4-6",
        Price {
            cache_read: Some(300_000),
            cache_write: Some(3_750_000),
            cache_write_1h: Some(6_000_000),
            ..price(3_000_000, 15_000_000)
        },
    ),
    ("text-embedding-3-small", price(20_000, 0)),
    ("gemini-2.5-flash", Price { cache_read: Some(30_000), ..price(300_000, 2_500_000) }),
    ("gemini-3.1-flash-lite", Price { cache_read: Some(25_000), ..price(250_000, 1_500_000) }),
];

/// Models of pictures and sound.
const MEDIA: [(&str, Price); 5] = [
    ("gpt-image-2", Price { image_input: 8_000_000, image_output: 30_000_000, ..price(5_000_000, 0) }),
    ("tts-1", Price { character: 15_000_000, ..price(0, 0) }),
    ("gpt-4o-mini-tts", Price { audio_output: 12_000_000, ..price(600_000, 0) }),
    ("whisper-1", Price { sound_second: 100_000_000, ..price(0, 0) }),
    ("gpt-4o-transcribe", Price { audio_input: 2_500_000, ..price(2_500_000, 10_000_000) }),
];

/// Models of Amazon Bedrock and Vertex AI, which no list names.
const HOSTED: [(&str, Price); 6] = [
    ("gemini-embedding-001", price(150_000, 0)),
    ("amazon.titan-embed-text-v2:0", price(20_000, 0)),
    ("cohere.embed-english-v3", price(100_000, 0)),
    (
        "claude-sonnet-4-5@20250929",
        Price {
            cache_read: Some(300_000),
            cache_write: Some(3_750_000),
            cache_write_1h: Some(6_000_000),
            ..price(3_000_000, 15_000_000)
        },
    ),
    (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        Price {
            cache_read: Some(330_000),
            cache_write: Some(4_125_000),
            cache_write_1h: Some(6_600_000),
            ..price(3_300_000, 16_500_000)
        },
    ),
    ("us.amazon.nova-2-lite-v1:0", Price { cache_read: Some(82_500), ..price(330_000, 2_750_000) }),
];

const fn price(input: u64, output: u64) -> Price {
    Price {
        input,
        output,
        cache_read: None,
        cache_write: None,
        cache_write_1h: None,
        image_input: 0,
        image_output: 0,
        audio_input: 0,
        audio_output: 0,
        image: 0,
        character: 0,
        sound_second: 0,
    }
}

/// The models of the built-in table.
pub fn known_models() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Returns the built-in price of a model; `None` for an unknown one.
pub fn built_in(model: &str) -> Option<Price> {
    TABLE.iter().chain(&MEDIA).chain(&HOSTED).find(|(name, _)| *name == model).map(|(_, price)| *price)
}

/// Returns what the tokens cost in 1e-9 USD, rounded up once.
pub fn cost_nano_usd(price: &Price, tokens: &Tokens) -> u64 {
    let line = |count: u64, pico: u64| u128::from(count) * u128::from(pico);
    let pico = line(tokens.input, price.input)
        + line(tokens.cache_read, price.cache_read.unwrap_or(price.input))
        + line(tokens.cache_write, price.cache_write.unwrap_or(price.input))
        + line(tokens.cache_write_1h, price.cache_write_1h.or(price.cache_write).unwrap_or(price.input))
        + line(tokens.output, price.output)
        + line(tokens.image_input, price.image_input)
        + line(tokens.image_output, price.image_output)
        + line(tokens.audio_input, price.audio_input)
        + line(tokens.audio_output, price.audio_output)
        + line(tokens.images, price.image)
        + line(tokens.characters, price.character)
        + line(tokens.sound_ms, price.sound_second).div_ceil(1000);
    u64::try_from(pico.div_ceil(1000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_exact_and_rounds_up_once() {
        let check = |model: &str, tokens: Tokens, expected: u64| {
            assert_eq!(cost_nano_usd(&built_in(model).unwrap(), &tokens), expected, "{model}");
        };
        let tokens = |input, output| Tokens { input, output, ..Tokens::default() };
        check("gpt-5-mini", tokens(1000, 100), 450_000);
        check("gpt-5-mini", Tokens { cache_read: 1, ..tokens(0, 0) }, 25);
        check("text-embedding-3-small", tokens(1, 0), 20);
        check("gpt-4o-mini", Tokens { cache_read: 8000, ..tokens(2000, 500) }, 1_200_000);
        let sonnet = Tokens {
            input: 100,
            cache_read: 50_000,
            cache_write: 10,
            cache_write_1h: 2000,
            output: 1000,
            reasoning: 9,
            ..Tokens::default()
        };
        check("claude-sonnet-4-6", sonnet, 300_000 + 15_000_000 + 37_500 + 12_000_000 + 15_000_000);
        assert_eq!(cost_nano_usd(&price(1, 0), &tokens(1, 0)), 1, "a part of a nano-dollar is a whole one");
        assert_eq!(cost_nano_usd(&price(1, 0), &tokens(1001, 0)), 2);
    }
}
