//! A string as it stands in a document.
//!
//! Rule: it is decoded only for who asks; measuring and comparing need no copy in the common case.

use std::borrow::Cow;

use super::{Reason, Result, fault, to_u64};

/// A string value as it stands in the document, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a [u8],
    pub(super) is_escaped: bool,
    pub(super) at: usize,
}

impl<'a> Text<'a> {
    /// A word that is as good as one in the document.
    pub(crate) fn word(raw: &'static [u8]) -> Self {
        Self { raw, is_escaped: false, at: 0 }
    }

    /// Returns the decoded string; fails on half a surrogate pair or bytes that are not UTF-8.
    pub(crate) fn decode(self) -> Result<Cow<'a, str>> {
        if !self.is_escaped {
            return match std::str::from_utf8(self.raw) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(_) => Err(fault(self.at, Reason::Syntax("a string is not UTF-8"))),
            };
        }
        let mut quoted = Vec::with_capacity(self.raw.len().saturating_add(2));
        quoted.push(b'"');
        quoted.extend_from_slice(self.raw);
        quoted.push(b'"');
        match serde_json::from_slice::<String>(&quoted) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => Err(fault(self.at, Reason::Syntax("a string holds an escape that stands for no character"))),
        }
    }

    /// Returns whether the decoded string is `word` (ASCII, no escapes needed).
    pub(crate) fn is(self, word: &str) -> bool {
        if self.is_escaped { self.decode().is_ok_and(|text| text == word) } else { self.raw == word.as_bytes() }
    }

    /// Returns the bytes of the decoded string, and how many of them belong to characters outside ASCII.
    pub(crate) fn size(self) -> (u64, u64) {
        let mut bytes = self.raw.len();
        let mut wide = if self.raw.is_ascii() { 0 } else { self.raw.iter().filter(|byte| !byte.is_ascii()).count() };
        if self.is_escaped {
            let mut at = 0;
            while let Some(found) = memchr::memchr(b'\\', self.raw.get(at..).unwrap_or_default()) {
                let (written, stands_for) = match self.raw.get(at + found + 1) {
                    Some(b'u') => (6, escaped_size(self.raw.get(at + found + 2..at + found + 6))),
                    _ => (2, 1),
                };
                bytes = bytes.saturating_sub(written - stands_for);
                wide += if stands_for > 1 { stands_for } else { 0 };
                at += found + written;
            }
        }
        (to_u64(bytes), to_u64(wide))
    }
}

/// Returns how many UTF-8 bytes an escape of these four hexadecimal digits stands for; half of four for half a pair.
fn escaped_size(digits: Option<&[u8]>) -> usize {
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    match digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
        Some(0..0x80) => 1,
        Some(0x80..0x800 | 0xd800..0xe000) => 2,
        _ => 3,
    }
}

/// Passes whole blocks without a quote, a backslash or a control character; written so that it compiles to vector code.
#[inline]
fn skip_wide(bytes: &[u8], at: usize) -> usize {
    let (blocks, _) = bytes.get(at..).unwrap_or_default().as_chunks::<32>();
    let is_plain = |block: &&[u8; 32]| {
        let special = block
            .iter()
            .fold(0, |seen, byte| seen | u8::from(*byte == b'"') | u8::from(*byte == b'\\') | u8::from(*byte < 0x20));
        special == 0
    };
    at + 32 * blocks.iter().take_while(is_plain).count()
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Marks the quotes, backslashes and control characters among eight bytes, in their highest bits. The exact test for a zero
/// byte is not needed: a false hit can only lie above a true one in the same word.
#[inline]
fn special_in(word: u64) -> u64 {
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero_in(word ^ (ONES * u64::from(b'"'))) | zero_in(word ^ (ONES * u64::from(b'\\'))) | is_control) & HIGHS
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()).map(u64::from_le_bytes)
}

/// Returns the position of the first quote, backslash or control character from `at` on, or the end. Most names end in the
/// first word.
#[inline]
pub(super) fn skip_plain(bytes: &[u8], at: usize) -> usize {
    match word_at(bytes, at).map(special_in) {
        Some(0) | None => skip_long(bytes, at),
        Some(hit) => at + usize::try_from(hit.trailing_zeros() / 8).unwrap_or_default(),
    }
}

/// What does not end in the first word is mostly prose, and that goes by the half cache line.
#[inline(never)]
fn skip_long(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word_at(bytes, at) {
        let hit = special_in(word);
        if hit != 0 {
            return at + usize::try_from(hit.trailing_zeros() / 8).unwrap_or_default();
        }
        at = skip_wide(bytes, at + 8);
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::skip_plain;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found_wherever_it_stands(
            mut bytes in prop::collection::vec(prop_oneof![20 => 0x20_u8..=0xff, 1 => any::<u8>()], 0..400),
            plain in 0..200_usize, at in 0..40_usize
        ) {
            bytes.splice(0..0, std::iter::repeat_n(b'x', plain));
            let expected = (at..bytes.len()).find(|index| matches!(bytes[*index], b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(skip_plain(&bytes, at), expected.unwrap_or(bytes.len().max(at)));
        }
    }
}
