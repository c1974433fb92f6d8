//! What is fuzzed of this crate: one function a reader, each taking any bytes.
//!
//! Rule: a function returns for every input, or panics where a law of its reader is broken. `fuzz/` runs them with a fuzzer;
//! the tests here run them over every seed that is kept there. Not here: bounds of memory and time, which `fuzz/` measures.

mod readers;
mod streams;

#[cfg(test)]
mod tests;

pub use readers::{aws_events, json, multipart, request, sse};
pub use streams::answer;

/// Splits the first bytes off, which say how the rest is to be taken; missing ones are zero.
fn choices<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    match data.split_first_chunk::<N>() {
        Some((choices, rest)) => (*choices, rest),
        None => ([0; N], &[]),
    }
}

/// Cuts bytes into chunks of lengths that repeat: `lengths` holds two of them in its halves.
fn chunks(bytes: &[u8], lengths: u8) -> impl Iterator<Item = &[u8]> {
    let sizes = [usize::from(lengths & 15) + 1, usize::from(lengths >> 4) * 7 + 1];
    let (mut rest, mut turn) = (bytes, 0);
    std::iter::from_fn(move || {
        let size = sizes.get(turn % 2).copied().unwrap_or(1).min(rest.len());
        turn += 1;
        let (chunk, after) = rest.split_at(size);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}
