//! Model allow and deny lists with wildcards.
//!
//! Rule: the most specific pattern that matches decides; of two equally specific ones, deny wins. No allow list means
//! every model; an allow list means nothing else. A deny list takes capitals for small letters, and it holds under every
//! name that a model has: the client's, the provider's, the catalogue's, and each of them without what stands before its
//! last `/`. An allow list is about the client's name alone: what an operator calls `fast` is allowed as `fast`.

use globset::{GlobBuilder, GlobMatcher};

/// A compiled pair of lists.
#[derive(Debug, Clone, Default)]
pub struct ModelAccess {
    /// Most specific first, deny before allow at the same specificity.
    rules: Vec<Rule>,
    has_allow_list: bool,
    has_deny_list: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    is_deny: bool,
}

/// A model-name pattern: plain text, or text with `*` for any run of characters.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: Option<GlobMatcher>,
    literal_chars: usize,
    ignores_case: bool,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a model pattern: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// What the lists say about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Allowed, by this pattern or for want of an allow list.
    Allowed(Option<&'a str>),
    /// Denied by this pattern.
    DeniedBy(&'a str),
    /// Not on the allow list.
    NotListed,
}

impl Access<'_> {
    /// Whether the model may be used.
    pub fn is_allowed(self) -> bool {
        matches!(self, Access::Allowed(_))
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is empty, over 200 characters, or not a valid pattern.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, false)
    }

    /// Compiles a pattern that takes capitals for small letters: where a name that differs by them must not escape.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn ignoring_case(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, true)
    }

    fn compile(text: &str, ignores_case: bool) -> Result<Self, PatternError> {
        let error = |reason: &str| PatternError { pattern: text.to_owned(), reason: reason.to_owned() };
        if text.is_empty() || text.len() > 200 {
            return Err(error("it must have 1 to 200 characters"));
        }
        let matcher = if text.contains('*') {
            let escaped: String =
                text.chars().map(|c| if "?[]{}\\!".contains(c) { format!("\\{c}") } else { c.to_string() }).collect();
            let glob = GlobBuilder::new(&escaped)
                .literal_separator(false)
                .backslash_escape(true)
                .case_insensitive(ignores_case)
                .build()
                .map_err(|source| error(&source.kind().to_string()))?;
            Some(glob.compile_matcher())
        } else {
            None
        };
        let literal_chars = text.chars().filter(|c| *c != '*').count();
        Ok(Self { text: text.to_owned(), matcher, literal_chars, ignores_case })
    }

    /// The text it was made from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is one plain name.
    pub fn is_exact(&self) -> bool {
        self.matcher.is_none()
    }

    /// Whether the name matches.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(name),
            None if self.ignores_case => self.text.eq_ignore_ascii_case(name),
            None => self.text == name,
        }
    }

    /// Orders patterns: exact names first, then by the number of literal characters.
    pub fn specificity(&self) -> (bool, usize) {
        (self.is_exact(), self.literal_chars)
    }
}

impl ModelAccess {
    /// Compiles the lists.
    ///
    /// # Errors
    /// The first pattern that cannot be used.
    pub fn new<'a>(
        allow: impl IntoIterator<Item = &'a str>,
        deny: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PatternError> {
        let mut rules = Vec::new();
        for text in allow {
            rules.push(Rule { pattern: Pattern::new(text)?, is_deny: false });
        }
        let has_allow_list = !rules.is_empty();
        for text in deny {
            rules.push(Rule { pattern: Pattern::ignoring_case(text)?, is_deny: true });
        }
        let has_deny_list = rules.iter().any(|rule| rule.is_deny);
        rules.sort_by_key(|rule| std::cmp::Reverse((rule.pattern.specificity(), rule.is_deny)));
        Ok(Self { rules, has_allow_list, has_deny_list })
    }

    /// Says whether a model may be used, and which pattern said so.
    pub fn check(&self, model: &str) -> Access<'_> {
        match self.rules.iter().find(|rule| rule.pattern.matches(model)) {
            Some(rule) if rule.is_deny => Access::DeniedBy(rule.pattern.as_str()),
            Some(rule) => Access::Allowed(Some(rule.pattern.as_str())),
            None if self.has_allow_list => Access::NotListed,
            None => Access::Allowed(None),
        }
    }

    /// Says which deny pattern refuses a model under another name of it, after [`ModelAccess::check`] allowed the name that
    /// the client `asked` for. `served` is the provider's name, `known` the catalogue's. A pattern that was outvoted under
    /// one name does not count under the next, and a `served` that is itself on the allow list has no further names.
    pub fn denied_under<'a>(&'a self, asked: &str, served: &str, known: Option<&str>) -> Option<&'a str> {
        let has_one_name = served == asked && known.is_none_or(|known| known == asked) && !asked.contains('/');
        if !self.has_deny_list || has_one_name {
            return None;
        }
        let mut decided = vec![asked];
        for name in [Some(served), Some(last_part(asked)), Some(last_part(served)), known].into_iter().flatten() {
            if !decided.contains(&name) {
                let is_open = |rule: &&Rule| !(rule.is_deny && decided.iter().any(|name| rule.pattern.matches(name)));
                let mut open = self.rules.iter().filter(|rule| rule.pattern.matches(name)).filter(is_open);
                if let Some(rule) = open.next().filter(|rule| rule.is_deny) {
                    return Some(rule.pattern.as_str());
                }
                decided.push(name);
            }
            if name == served && self.names(served) {
                return None;
            }
        }
        None
    }

    /// Whether a name is on the allow list as it is, without a wildcard.
    fn names(&self, model: &str) -> bool {
        self.rules.iter().any(|rule| !rule.is_deny && rule.pattern.is_exact() && rule.pattern.matches(model))
    }
}

/// What a name says after its last `/`; all of it where nothing would be left.
fn last_part(name: &str) -> &str {
    match name.rsplit_once('/') {
        Some((_, last)) if !last.is_empty() => last,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_decides_and_deny_wins_ties() {
        let cases: &[(&[&str], &[&str], &str, bool)] = &[
            (&[], &[], "anything", true),
            (&["claude-*"], &[], "claude-haiku-4-5", true),
            (&["claude-*"], &[], "gpt-5", false),
            (&["claude-*"], &["*-preview"], "claude-x-preview", false),
            (&["claude-opus-*"], &["claude-*"], "claude-opus-5", true),
            (&["claude-*"], &["claude-opus-*"], "claude-opus-5", false),
            (&["gpt-5"], &["gpt-5"], "gpt-5", false),
            (&["gpt-5"], &["gpt-*"], "gpt-5", true),
            (&[], &["*"], "gpt-5", false),
            (&["*"], &[], "org/model:8b", true),
            (&["a[b]*"], &[], "a[b]c", true),
        ];
        for (allow, deny, model, expected) in cases {
            let lists = ModelAccess::new(allow.iter().copied(), deny.iter().copied()).unwrap();
            assert_eq!(lists.check(model).is_allowed(), *expected, "{allow:?} {deny:?} {model}");
        }
    }
    #[test]
    fn a_deny_list_takes_capitals_for_small_letters() {
        let lists = ModelAccess::new(["*"], ["qwen3-coder*", "GPT-5"]).unwrap();
        for name in ["Qwen3-Coder:480b", "QWEN3-CODER", "gpt-5", "Gpt-5"] {
            assert!(!lists.check(name).is_allowed(), "{name}");
        }
        assert!(lists.check("gpt-5-mini").is_allowed());
    }

    #[test]
    fn a_deny_list_holds_under_every_name_of_a_model() {
        /// Allowed, denied, asked for, served as, known as, the pattern that refuses.
        type Case<'c> = (&'c [&'c str], &'c [&'c str], &'c str, &'c str, Option<&'c str>, Option<&'c str>);
        let cases: &[Case<'_>] = &[
            // the prefix of a backend, in whatever letters
            (&["*"], &["claude-opus-*"], "anthropic/claude-opus-5", "claude-opus-5", None, Some("claude-opus-*")),
            (&[], &["claude-opus-*"], "anthropic/Claude-Opus-5", "Claude-Opus-5", None, Some("claude-opus-*")),
            (
                &["anthropic/*"],
                &["claude-opus-*"],
                "anthropic/claude-opus-5",
                "claude-opus-5",
                None,
                Some("claude-opus-*"),
            ),
            (&["anthropic/*"], &["claude-opus-*"], "anthropic/claude-haiku-5", "claude-haiku-5", None, None),
            // another operator's prefix, served under the same name
            (
                &["*"],
                &["claude-opus-*"],
                "anthropic/claude-opus-5",
                "anthropic/claude-opus-5",
                None,
                Some("claude-opus-*"),
            ),
            // an alias: allowed by its own name, denied by what it stands for
            (&["fast"], &[], "fast", "gpt-5-mini", None, None),
            (&["fast"], &["gpt-5*"], "fast", "gpt-5-mini", None, Some("gpt-5*")),
            (&["fast"], &["*"], "fast", "gpt-5-mini", None, None),
            (&["fast", "gpt-5-mini"], &["gpt-5*"], "fast", "gpt-5-mini", None, None),
            // the catalogue's name, unless the very name is allowed
            (
                &["*"],
                &["claude-opus-*"],
                "eu.anthropic.claude-opus-5-v1",
                "eu.anthropic.claude-opus-5-v1",
                Some("claude-opus-5"),
                Some("claude-opus-*"),
            ),
            (&["gpt-4o-2024-08-06"], &["gpt-4o"], "gpt-4o-2024-08-06", "gpt-4o-2024-08-06", Some("gpt-4o"), None),
            (&["gpt-4o*"], &["gpt-4o"], "gpt-4o-2024-08-06", "gpt-4o-2024-08-06", Some("gpt-4o"), Some("gpt-4o")),
            (&["a/"], &["b"], "a/", "a/", None, None),
        ];
        for (allow, deny, asked, served, known, expected) in cases {
            let lists = ModelAccess::new(allow.iter().copied(), deny.iter().copied()).unwrap();
            assert!(lists.check(asked).is_allowed(), "{allow:?} {deny:?} {asked}");
            assert_eq!(lists.denied_under(asked, served, *known), *expected, "{allow:?} {deny:?} {asked} {served}");
        }
    }
}
