//! What the catalogue promises: the worked examples to the last digit, strict reading, and a worst case that holds.

mod examples;
mod lookup;
mod worst_case;

use super::*;
use crate::money::{NanoUsd, PicoUsd};
use crate::time::UnixMicros;
use crate::usage::TokenUsage;

/// Reads an RFC 3339 time.
fn at(text: &str) -> UnixMicros {
    UnixMicros::new(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// A Monday at noon, after the day of the facts.
fn now() -> UnixMicros {
    at("2026-11-23T12:00:00Z")
}

fn price(kind: &str, model: &str) -> Arc<ModelPrice> {
    Catalog::bundled().effective_price(kind, kind, model, &[]).unwrap_or_else(|| panic!("{kind} {model} has no price"))
}

fn usd_per_million(text: &str) -> Option<PicoUsd> {
    Some(PicoUsd::from_usd_per_million(text).unwrap())
}

fn usd(text: &str) -> NanoUsd {
    text.parse().unwrap()
}

fn standard_cost(kind: &str, model: &str, usage: TokenUsage) -> NanoUsd {
    cost(&usage, &price(kind, model), &Terms::standard(now())).unwrap()
}
