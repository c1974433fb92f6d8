//! `${ENV}`, `${ENV:-default}`, `${file:/path}` and `$$` inside values of the file.
//!
//! Rule: every problem of a value is reported, by the name of the variable or file and never by its content. Values of
//! variables and flags are not interpolated: they are final.

use super::suggest::closest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The largest file that `${file:...}` reads.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A value with its references replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpolated {
    pub(super) text: String,
    /// The value stands in the file itself, at least in part.
    pub(super) is_literal: bool,
    /// A `:-` default was used; whether it was empty.
    pub(super) used_default: Option<DefaultText>,
}

/// The default that was used for an unset variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultText {
    Empty,
    Text,
}

/// What can be wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    Unset { variable: String },
    Malformed { reference: String, reason: &'static str },
    Unreadable { path: PathBuf, reason: String },
    UnknownScheme { scheme: String },
}

impl Problem {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unset { .. } => "E0311",
            Self::Malformed { .. } | Self::UnknownScheme { .. } => "E0310",
            Self::Unreadable { .. } => "E0312",
        }
    }

    pub(super) fn message(&self, key: &str) -> String {
        match self {
            Self::Unset { variable } => format!("${{{variable}}} is not set (needed by {key})"),
            Self::Malformed { reference, reason } => format!("`{reference}` is not a reference: {reason}"),
            Self::Unreadable { path, reason } => {
                format!("cannot read ${{file:{}}} (needed by {key}): {reason}", path.display())
            }
            Self::UnknownScheme { scheme } => format!("`${{{scheme}:...}}` is not a source of values in this version"),
        }
    }

    pub(super) fn help(&self, env: &BTreeMap<String, String>) -> Option<String> {
        match self {
            Self::Unset { variable } => Some(match closest(variable, env.keys().map(String::as_str)) {
                Some(near) => format!("{near} is set: is that the one? Otherwise export it, or use ${{file:/path}}"),
                None => "export it, or use ${file:/path}".to_owned(),
            }),
            Self::Malformed { .. } => {
                Some("write ${NAME}, ${NAME:-default} or ${file:/path}; $$ is a plain $".to_owned())
            }
            Self::Unreadable { .. } => None,
            Self::UnknownScheme { .. } => Some("use ${NAME} or ${file:/path}".to_owned()),
        }
    }
}

/// Replaces every reference of `text`, adding the files it read to `files`.
///
/// # Errors
/// Every [`Problem`] of the value.
pub(super) fn resolve(
    text: &str,
    env: &BTreeMap<String, String>,
    files: &mut BTreeSet<PathBuf>,
) -> Result<Interpolated, Vec<Problem>> {
    let mut result = Interpolated { text: String::with_capacity(text.len()), is_literal: false, used_default: None };
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(at);
        result.push_literal(before);
        if let Some(after) = from_dollar.strip_prefix("$$") {
            result.push_literal("$");
            rest = after;
        } else if let Some(inside) = from_dollar.strip_prefix("${") {
            let Some((reference, after)) = inside.split_once('}') else {
                problems.push(Problem::Malformed { reference: "${".to_owned(), reason: "the closing } is missing" });
                return Err(problems);
            };
            if let Err(problem) = result.push_reference(reference, env, files) {
                problems.push(problem);
            }
            rest = after;
        } else {
            result.push_literal("$");
            rest = from_dollar.strip_prefix('$').unwrap_or("");
        }
    }
    result.push_literal(rest);
    if text.is_empty() {
        result.is_literal = true;
    }
    if problems.is_empty() { Ok(result) } else { Err(problems) }
}

impl Interpolated {
    fn push_literal(&mut self, text: &str) {
        self.is_literal |= !text.is_empty();
        self.text.push_str(text);
    }

    fn push_reference(
        &mut self,
        reference: &str,
        env: &BTreeMap<String, String>,
        files: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Problem> {
        if let Some(path) = reference.strip_prefix("file:") {
            self.text.push_str(&read(Path::new(path), files)?);
            return Ok(());
        }
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if let Some((scheme, _)) = name.split_once(':') {
            return Err(Problem::UnknownScheme { scheme: scheme.to_owned() });
        }
        let starts_right = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_right || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let reason = "a name has letters, digits and _";
            // What is no name may be a value that was put in by mistake: it is not repeated.
            let shown = if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') { name } else { "..." };
            return Err(Problem::Malformed { reference: format!("${{{shown}}}"), reason });
        }
        match (env.get(name), default) {
            (Some(value), None) => self.text.push_str(value),
            (Some(value), Some(_)) if !value.is_empty() => self.text.push_str(value),
            (_, Some(default)) => {
                let kind = if default.is_empty() { DefaultText::Empty } else { DefaultText::Text };
                self.used_default = Some(kind);
                self.text.push_str(default);
            }
            (None, None) => return Err(Problem::Unset { variable: name.to_owned() }),
        }
        Ok(())
    }
}

/// Reads a small text file without its final line break.
///
/// # Errors
/// [`Problem::Unreadable`] with the reason.
pub(super) fn read(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<String, Problem> {
    files.insert(path.to_owned());
    let unreadable = |reason: String| Problem::Unreadable { path: path.to_owned(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a file".to_owned()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &[&str]>) {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let got = resolve(text, &env, &mut BTreeSet::new());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got.text, expected, "{text}"),
            (Err(got), Err(expected)) => {
                let codes: Vec<&str> = got.iter().map(Problem::code).collect();
                assert_eq!(codes, expected, "{text}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn references_are_replaced_and_every_problem_is_named() {
        check("a${A}b", Ok("a1b"));
        check("${B:-x}${EMPTY:-y}${EMPTY}", Ok("xy"));
        check("$$${A} $ 5$", Ok("$1 $ 5$"));
        check("${B}${C}", Err(&["E0311", "E0311"]));
        check("${A", Err(&["E0310"]));
        check("${}", Err(&["E0310"]));
        check("${vault:kv#x}", Err(&["E0310"]));
        check("${file:/nowhere/at/all}", Err(&["E0312"]));
    }
}
