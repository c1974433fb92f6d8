//! Whose model a name at Vertex AI is, and what its own name is there.
//!
//! Rule: a name may say its publisher, as `anthropic/NAME` or `publishers/anthropic/models/NAME`; without one, Claude is
//! Anthropic's and everything else Google's.

/// Who publishes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// Google: Gemini.
    Google,
    /// Anthropic: Claude.
    Anthropic,
    /// A tuned model, which is an endpoint of the project's own.
    Endpoint,
}

/// A model at Vertex AI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model<'a> {
    /// Whose it is.
    pub publisher: Publisher,
    /// What it is called there.
    pub name: &'a str,
}

impl<'a> Model<'a> {
    /// Reads a backend's name of a model.
    pub fn of(name: &'a str) -> Self {
        let short = name.strip_prefix("publishers/").unwrap_or(name);
        let (publisher, rest) = match short.split_once('/') {
            Some(("google", rest)) => (Publisher::Google, rest),
            Some(("anthropic", rest)) => (Publisher::Anthropic, rest),
            Some(("endpoints", rest)) => (Publisher::Endpoint, rest),
            _ if short.starts_with("claude") => (Publisher::Anthropic, short),
            _ => (Publisher::Google, short),
        };
        Self { publisher, name: rest.strip_prefix("models/").unwrap_or(rest) }
    }

    /// The same model without its date: prices are known by that name.
    pub fn undated(self) -> &'a str {
        self.name.split_once('@').map_or(self.name, |(base, _)| base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_model_it_is() {
        for (name, publisher, short) in [
            ("gemini-2.5-flash", Publisher::Google, "gemini-2.5-flash"),
            ("claude-sonnet-4-5@20250929", Publisher::Anthropic, "claude-sonnet-4-5@20250929"),
            ("anthropic/tuned", Publisher::Anthropic, "tuned"),
            ("publishers/google/models/gemini-2.5-pro", Publisher::Google, "gemini-2.5-pro"),
            ("endpoints/123", Publisher::Endpoint, "123"),
            ("x/../y", Publisher::Google, "x/../y"),
        ] {
            assert_eq!(Model::of(name), Model { publisher, name: short });
        }
        assert_eq!(Model::of("claude-sonnet-4-5@20250929").undated(), "claude-sonnet-4-5");
    }
}
