//! Names of tools that the target does not take, and the way back.
//!
//! Rule: a name that the target takes stays as it is; the others are bent, each to a name of its own. Only bent names are
//! bent back.

use std::collections::{HashMap, HashSet};

/// What a number behind a name takes at most: `_` and the digits of more tools than a body holds.
const ROOM_FOR_NUMBER: usize = 9;

/// The names of one request's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolNames {
    /// The target's name for the client's, for those that differ; and the way back.
    outward: HashMap<String, String>,
    inward: HashMap<String, String>,
}

impl ToolNames {
    /// Makes names of at most `max_bytes` out of letters, digits, `_` and `-`.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str> + Clone, max_bytes: usize) -> Self {
        Self::bend(names, max_bytes, false)
    }

    /// Makes such names that begin with a letter or `_`.
    pub(crate) fn led_by_letter<'a>(names: impl Iterator<Item = &'a str> + Clone, max_bytes: usize) -> Self {
        Self::bend(names, max_bytes, true)
    }

    fn bend<'a>(names: impl Iterator<Item = &'a str> + Clone, max_bytes: usize, needs_letter: bool) -> Self {
        let is_led = |name: &str| !needs_letter || !name.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let is_fit = |name: &str| (1..=max_bytes).contains(&name.len()) && name.bytes().all(is_plain) && is_led(name);
        let mut taken: HashSet<String> = names.clone().filter(|name| is_fit(name)).map(str::to_owned).collect();
        // The last number behind each beginning, so that a thousand alike do not try a thousand numbers each: those that are
        // cut for a number share one.
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let stem_chars = max_bytes.saturating_sub(ROOM_FOR_NUMBER);
        let mut bent = Self::default();
        for name in names.filter(|name| !is_fit(name)) {
            if bent.outward.contains_key(name) {
                continue;
            }
            let plain = plain(name);
            let lead = if is_led(&plain) { "" } else { "_" };
            let plain: String = lead.chars().chain(plain.chars()).take(max_bytes).collect();
            let plain = if plain.is_empty() { "tool".to_owned() } else { plain };
            let number = numbers.entry(plain.chars().take(stem_chars).collect()).or_insert(1);
            let mut candidate = plain.clone();
            while taken.contains(&candidate) {
                *number += 1;
                let suffix = format!("_{number}");
                let kept = plain.chars().take(max_bytes.saturating_sub(suffix.len()));
                candidate = kept.chain(suffix.chars()).collect();
            }
            taken.insert(candidate.clone());
            bent.inward.insert(candidate.clone(), name.to_owned());
            bent.outward.insert(name.to_owned(), candidate);
        }
        bent
    }

    /// Returns the target's name for the client's.
    pub(crate) fn outward<'a>(&'a self, name: &'a str) -> &'a str {
        self.outward.get(name).map_or(name, String::as_str)
    }

    /// Returns the client's name for the target's.
    pub(crate) fn inward<'a>(&'a self, name: &'a str) -> &'a str {
        self.inward.get(name).map_or(name, String::as_str)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Replaces every character but letters, digits, `_` and `-` by `_`.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii() && u8::try_from(c).is_ok_and(is_plain) { c } else { '_' }).collect()
}
