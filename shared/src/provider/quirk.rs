//! How a difference is written down: what, where it was read, and when.
//!
//! Rule: nothing is said of a provider without a source; what was not read anywhere says so.

use super::Quirk;

/// The day on which SDKs, documentation and the code of other gateways were read.
const AS_OF: &str = "2026-11-22";
/// A source for what was not read anywhere on that day: a default that must not fail hard.
pub(super) const UNCHECKED: &str = "general knowledge, not checked";
/// Where it is said who stops when a stream is cut.
const CANCELLATION: &str = "openrouter.ai, docs/api-reference/streaming";

/// A provider that stops where its stream is cut.
pub(super) const STOPS: Quirk =
    checked("A stream that is cut stops, and what came until then is billed; a whole answer does not.", CANCELLATION);
/// One that does not.
pub(super) const RUNS_ON: Quirk = checked(
    "A stream that is cut is generated to its end all the same, and billed: it is read to its end.",
    CANCELLATION,
);

/// A difference that was read on the first day.
pub(super) const fn quirk(what: &'static str, source: &'static str) -> Quirk {
    Quirk { what, source, as_of: AS_OF }
}

/// A difference that was read later than the rest.
pub(super) const fn checked(what: &'static str, source: &'static str) -> Quirk {
    Quirk { what, source, as_of: "2026-11-24" }
}
