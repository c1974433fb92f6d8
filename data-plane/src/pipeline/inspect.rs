//! Content policy: the seam for input, output and streams.
//!
//! Rule: every request and every chunk passes here, so a policy added later holds on all doors at once. Today no policy can
//! be configured (a configured one is refused at start), so everything passes.

use super::refusal::Refusal;
use bytes::Bytes;
use helix_llm::RequestFacts;

/// What the policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to, by this many policies.
    Passed {
        /// How many policies looked.
        policies: usize,
    },
}

/// Looks at a request before it costs anything.
///
/// # Errors
/// The refusal of the policy that objects.
pub fn inspect_input(_facts: &RequestFacts, _body: &Bytes) -> Result<Verdict, Refusal> {
    Ok(Verdict::Passed { policies: 0 })
}

/// Looks at a whole answer before the caller gets it.
///
/// # Errors
/// The refusal of the policy that objects.
pub fn inspect_output(_body: &Bytes) -> Result<Verdict, Refusal> {
    Ok(Verdict::Passed { policies: 0 })
}

/// Looks at a piece of a stream before the caller gets it.
pub fn inspect_chunk(chunk: Bytes) -> Bytes {
    chunk
}
