//! Names of tools that the target does not take, and the way back.
//!
//! Rule: a name that the target takes stays as it is; the others are bent, each to a name of its own. Only bent names are
//! bent back.

/// The names of one request's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolNames {
    /// The client's name and the target's, for those that differ.
    bent: Vec<(String, String)>,
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
        let mut taken: std::collections::HashSet<String> =
            names.clone().filter(|name| is_fit(name)).map(str::to_owned).collect();
        let mut known = std::collections::HashSet::new();
        let mut bent = Vec::new();
        for name in names.filter(|name| !is_fit(name)) {
            if !known.insert(name) {
                continue;
            }
            let lead = if is_led(&plain(name)) { "" } else { "_" };
            let plain: String = lead.chars().chain(plain(name).chars()).take(max_bytes).collect();
            let mut candidate = if plain.is_empty() { "tool".to_owned() } else { plain.clone() };
            let mut number = 1_u32;
            while taken.contains(&candidate) {
                number += 1;
                let suffix = format!("_{number}");
                let kept = plain.chars().take(max_bytes.saturating_sub(suffix.len()));
                candidate = kept.chain(suffix.chars()).collect();
            }
            taken.insert(candidate.clone());
            bent.push((name.to_owned(), candidate));
        }
        Self { bent }
    }

    /// Returns the target's name for the client's.
    pub(crate) fn outward<'a>(&'a self, name: &'a str) -> &'a str {
        self.bent.iter().find(|(own, _)| own == name).map_or(name, |(_, bent)| bent)
    }

    /// Returns the client's name for the target's.
    pub(crate) fn inward<'a>(&'a self, name: &'a str) -> &'a str {
        self.bent.iter().find(|(_, bent)| bent == name).map_or(name, |(own, _)| own)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Replaces every character but letters, digits, `_` and `-` by `_`.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii() && u8::try_from(c).is_ok_and(is_plain) { c } else { '_' }).collect()
}
