//! Tokens as the vocabularies of OpenAI's models count them, for estimates: of a stream that was cut, of an answer without
//! usage, of a count that no provider makes.
//!
//! Rule: slow (a vocabulary is read at its first use), so it is never on the way of a request that a provider counts; and
//! an estimate, so it is never the base of a reservation. Other makers publish none: their text goes by its length.

mod text;

use std::borrow::Cow;

use crate::dialect::Dialect;
use crate::json::to_u64;
use crate::usage::TextSize;
use text::each_text;
pub(crate) use text::keep_answer;

/// The most text of a stream that is kept to be counted; of a longer answer it is a sample.
pub(crate) const MOST_KEPT_BYTES: usize = 8 * 1024;
/// The most text of a request that is counted; of a longer one it is a sample.
const MOST_COUNTED_BYTES: usize = 1 << 20;
/// A text is split like this before it is counted: whatever stands in it, no piece is slow.
const PIECE_BYTES: usize = 8 * 1024;

/// A vocabulary that its maker published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// `o200k_base`: GPT-4o and what came after.
    O200k,
    /// `cl100k_base`: GPT-4, GPT-3.5 and the embeddings.
    Cl100k,
}

impl Vocabulary {
    /// Finds the vocabulary of a model by its name, also where others serve it (`openai/gpt-oss-120b`); `None`: none is
    /// published, or nothing is known of the name.
    pub fn of(model: &str) -> Option<Self> {
        const NEWER: [&str; 9] =
            ["gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-6", "gpt-oss", "codex-", "computer-use-"];
        const OLDER: [&str; 5] = ["gpt-4", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada"];
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = ["ft:", "openai."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        let is_o_series = ["o1", "o3", "o4"]
            .iter()
            .any(|series| name.strip_prefix(series).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')));
        if is_o_series || NEWER.iter().any(|prefix| name.starts_with(prefix)) {
            Some(Self::O200k)
        } else if OLDER.iter().any(|prefix| name.starts_with(prefix)) {
            Some(Self::Cl100k)
        } else {
            None
        }
    }

    /// Counts the tokens of a text; never more than its bytes. The first count reads the vocabulary, which takes a fifth of
    /// a second and some 50 MB that stay.
    pub fn count(self, text: &str) -> u64 {
        let coder = match self {
            Self::O200k => tiktoken_rs::o200k_base_singleton(),
            Self::Cl100k => tiktoken_rs::cl100k_base_singleton(),
        };
        let (mut rest, mut tokens) = (text, 0_u64);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            tokens = tokens.saturating_add(to_u64(coder.encode_ordinary(piece).len()));
            rest = behind;
        }
        tokens
    }

    /// Counts what a stream or an answer wrote, of which `kept` was kept, as it stood in JSON.
    pub fn count_written(self, kept: &[u8], whole: TextSize) -> u64 {
        let text = unescaped(kept);
        scaled(self.count(&text), to_u64(text.len()), whole.bytes)
    }

    /// Counts the texts of a request; `whole`: all of its text. What else is in it, each picture and the frame of each
    /// message, is not counted here.
    pub fn count_request(self, body: &[u8], whole: TextSize) -> u64 {
        let (mut tokens, mut counted, mut read) = (0_u64, 0_usize, 0_usize);
        each_text(body, &mut |text| {
            read = read.saturating_add(text.len());
            if counted < MOST_COUNTED_BYTES {
                let text = text.get(..text.floor_char_boundary(MOST_COUNTED_BYTES - counted)).unwrap_or_default();
                counted += text.len();
                tokens = tokens.saturating_add(self.count(text));
            }
        });
        scaled(tokens, to_u64(counted), to_u64(read)).min(whole.bytes.max(tokens))
    }
}

/// Returns the first of what a whole answer wrote, as it stands in JSON.
pub fn kept_of_answer(dialect: Dialect, body: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    keep_answer(dialect, body, &mut kept);
    kept
}

/// Text as it stands between the quotes of JSON strings, decoded; half a pair of escapes stays as it was written.
fn unescaped(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Owned)
}

/// What a whole has when a part has so many; rounded up.
fn scaled(tokens: u64, part_bytes: u64, whole_bytes: u64) -> u64 {
    if whole_bytes <= part_bytes || part_bytes == 0 {
        return tokens;
    }
    let whole = u128::from(tokens).saturating_mul(u128::from(whole_bytes)).div_ceil(u128::from(part_bytes));
    u64::try_from(whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
