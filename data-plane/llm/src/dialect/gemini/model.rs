//! What is particular to Gemini's models, by name.
//!
//! Rule: a name that is not known is taken for the newest, and the provider decides.

use crate::chat::traits::gemini_version;

/// A model, as far as its requests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    version: (u32, u32),
    class: Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Pro,
    Flash,
    FlashLite,
    Other,
}

impl Model {
    pub(super) fn of(name: &str) -> Self {
        let class = if name.contains("flash-lite") {
            Class::FlashLite
        } else if name.contains("flash") {
            Class::Flash
        } else if name.contains("pro") {
            Class::Pro
        } else {
            Class::Other
        };
        Self { version: gemini_version(name), class }
    }

    /// Whether it is of the third generation or a later one: ids on calls, levels of thinking, signatures that must come
    /// back, functions beside a JSON answer; no penalties.
    pub(super) fn is_third_generation(self) -> bool {
        self.version >= (3, 0)
    }

    /// Whether it takes whole JSON schemas, and not only the part that OpenAPI has.
    pub(super) fn takes_json_schema(self) -> bool {
        self.version >= (2, 5)
    }

    /// The smallest budget of thinking, in tokens; 0 where it can be told not to think.
    pub(super) fn least_budget(self) -> u64 {
        if self.class == Class::Pro { 128 } else { 0 }
    }

    /// The smallest budget of a model that thinks, in tokens.
    pub(super) fn minimal_budget(self) -> u64 {
        match self.class {
            Class::Pro | Class::Other => 128,
            Class::Flash => 1,
            Class::FlashLite => 512,
        }
    }

    /// The largest budget of thinking, in tokens.
    pub(super) fn most_budget(self) -> u64 {
        if self.class == Class::Pro { 32_768 } else { 24_576 }
    }

    /// Whether it has the level below `LOW`.
    pub(super) fn takes_minimal_level(self) -> bool {
        matches!(self.class, Class::Flash | Class::FlashLite)
    }
}
