//! What is wrong with a configuration, and where: one [`Diagnostic`] a finding, all of them at once.
//!
//! Rule: a finding names its place, says what to do, has a stable code and never shows a secret.

use super::mask;
use super::node::{Source, Span};
use serde_json::{Value as Json, json};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The configuration is not applied.
    Error,
    /// The configuration is applied, but not all of it does what it says.
    Warning,
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the file; line and column count from 1.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// In an environment variable.
    Env(String),
    /// In a command line flag.
    Flag(String),
}

/// The quoted line of the file, secrets hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The text of the line.
    pub(crate) line: String,
    /// Where the carets start, in characters from 0.
    pub(crate) start: usize,
    /// How many carets there are.
    pub(crate) length: usize,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// The stable code, such as `E0107`.
    pub(crate) code: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What is wrong.
    pub(crate) message: String,
    /// The dotted key it is about; empty when it is about the file as a whole.
    pub(crate) key: String,
    /// Where it is; `None` when it is nowhere in particular.
    pub(crate) place: Option<Place>,
    /// The quoted line.
    pub(crate) excerpt: Option<Excerpt>,
    /// The words beside the carets.
    pub(crate) label: Option<String>,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(code: &'static str, key: &str, message: impl Into<String>) -> Self {
        let severity = if code.starts_with('W') { Severity::Warning } else { Severity::Error };
        Self {
            code,
            severity,
            message: mask::hide_credentials(&message.into()),
            key: key.to_owned(),
            place: None,
            excerpt: None,
            label: None,
            help: None,
        }
    }

    /// Something that only the configuration as a whole shows, at no place in particular.
    pub(crate) fn of_the_whole(message: impl Into<String>) -> Self {
        Self::new("E0210", "", message)
    }

    /// Adds the words beside the carets.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(mask::hide_credentials(&label.into()));
        self
    }

    /// Adds what to do.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(mask::hide_credentials(&help.into()));
        self
    }

    /// Returns the finding as JSON.
    pub(crate) fn to_json(&self) -> Json {
        let place = match &self.place {
            None => Json::Null,
            Some(Place::File { path, line, column }) => {
                json!({ "file": path.display().to_string(), "line": line, "column": column })
            }
            Some(Place::Env(variable)) => json!({ "env": variable }),
            Some(Place::Flag(key)) => json!({ "flag": key }),
        };
        json!({
            "code": self.code,
            "severity": if self.severity == Severity::Error { "error" } else { "warning" },
            "message": self.message,
            "key": self.key,
            "place": place,
            "label": self.label,
            "help": self.help,
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{word}[{}]: {}", self.code, self.message)?;
        let mut has_label = self.label.is_none();
        match &self.place {
            Some(Place::File { path, line, column }) => {
                write!(f, "\n  --> {}:{line}:{column}", path.display())?;
                if let Some(excerpt) = &self.excerpt {
                    let number = line.to_string();
                    let margin = " ".repeat(number.len().max(3));
                    write!(f, "\n {number:>3} | {}", excerpt.line)?;
                    let blanks = " ".repeat(excerpt.start);
                    write!(f, "\n {margin} | {blanks}{}", "^".repeat(excerpt.length.max(1)))?;
                    if let Some(label) = &self.label {
                        write!(f, " {label}")?;
                        has_label = true;
                    }
                }
            }
            Some(Place::Env(variable)) => write!(f, "\n  --> environment variable {variable}")?,
            Some(Place::Flag(key)) => write!(f, "\n  --> command line, {key}")?,
            None => {}
        }
        if let (false, Some(label)) = (has_label, &self.label) {
            write!(f, "\n      = {label}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n      = help: {help}")?;
        }
        Ok(())
    }
}

/// Every finding of one reading, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Diagnostics(pub(crate) Vec<Diagnostic>);

impl Diagnostics {
    /// Reports whether there is at least one error.
    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Returns how many errors and how many warnings there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let errors = self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        (errors, self.0.len() - errors)
    }

    /// Returns the findings as a JSON document.
    pub(crate) fn to_json(&self) -> Json {
        let (errors, warnings) = self.counts();
        json!({
            "ok": errors == 0,
            "errors": errors,
            "warnings": warnings,
            "diagnostics": self.0.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        })
    }

    /// Sorts by place: flags, then variables, then the file from top to bottom, then the rest.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|diagnostic| match &diagnostic.place {
            Some(Place::Flag(_)) => (0, 0, 0),
            Some(Place::Env(_)) => (1, 0, 0),
            Some(Place::File { line, column, .. }) => (2, *line, *column),
            None => (3, 0, 0),
        });
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.0 {
            writeln!(f, "{diagnostic}")?;
        }
        let (errors, warnings) = self.counts();
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        match (errors, warnings) {
            (0, 0) => f.write_str("configuration is valid"),
            (0, n) => write!(f, "{}: configuration is valid", plural(n, "warning")),
            (n, 0) => write!(f, "{}: configuration not applied", plural(n, "error")),
            (n, m) => write!(f, "{}, {}: configuration not applied", plural(n, "error"), plural(m, "warning")),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// The file a configuration was read from, and what of it must not be shown.
#[derive(Debug, Default)]
pub(super) struct SourceFile {
    path: PathBuf,
    text: String,
    masks: Vec<Range<usize>>,
    line_starts: Vec<usize>,
}

/// How many characters of a long line are shown around a finding.
const EXCERPT_WIDTH: usize = 140;

impl SourceFile {
    pub(super) fn new(path: &Path, text: String) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), text, masks: Vec::new(), line_starts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the byte ranges that are never shown.
    pub(super) fn hide(&mut self, masks: Vec<Range<usize>>) {
        self.masks = masks;
    }

    /// Returns the span of a byte range, clipped to the text.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let start = start.min(self.text.len());
        let line = self.line_starts.partition_point(|at| *at <= start).max(1);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(line_start..start).map_or(0, |before| before.chars().count()) + 1;
        Span { start, end: end.clamp(start, self.text.len()), line, column }
    }

    /// Fills in place and excerpt of a finding.
    pub(super) fn locate(&self, diagnostic: &mut Diagnostic, source: &Source) {
        diagnostic.place = match source {
            Source::File(span) => {
                diagnostic.excerpt = Some(self.excerpt(*span));
                Some(Place::File { path: self.path.clone(), line: span.line, column: span.column })
            }
            Source::Env(variable) => Some(Place::Env(variable.to_string())),
            Source::Flag(key) => Some(Place::Flag(key.to_string())),
            Source::Default => None,
        };
    }

    fn excerpt(&self, span: Span) -> Excerpt {
        let line_start = self.line_starts.get(span.line - 1).copied().unwrap_or(0);
        let rest = self.text.get(line_start..).unwrap_or("");
        let line = rest.get(..rest.find('\n').unwrap_or(rest.len())).unwrap_or("").trim_end_matches('\r');
        let line_end = line_start + line.len();
        let mut masks: Vec<Range<usize>> = self
            .masks
            .iter()
            .filter(|mask| mask.start < line_end && mask.end > line_start)
            .map(|mask| mask.start.max(line_start) - line_start..mask.end.min(line_end) - line_start)
            .collect();
        masks.extend(mask::credential_ranges(line));
        let (shown, moved) = mask::replace(line, &masks);
        let position = |byte: usize| {
            let byte = byte.clamp(line_start, line_end) - line_start;
            moved.get(byte).copied().unwrap_or_else(|| shown.chars().count())
        };
        let start = position(span.start);
        let mut end = position(span.end);
        if masks.iter().any(|mask| mask.contains(&(span.start - line_start))) {
            end = end.max(start + mask::HIDDEN.len());
        }
        window(&shown, start, end.saturating_sub(start).max(1))
    }
}

/// Cuts a long line down to the part around the carets.
fn window(line: &str, start: usize, length: usize) -> Excerpt {
    let total = line.chars().count();
    let length = length.min(total.saturating_sub(start).max(1));
    if total <= EXCERPT_WIDTH {
        return Excerpt { line: line.to_owned(), start, length };
    }
    let from = start.saturating_sub(EXCERPT_WIDTH / 2).min(total - EXCERPT_WIDTH);
    let part: String = line.chars().skip(from).take(EXCERPT_WIDTH).collect();
    let (before, after) = (if from > 0 { "..." } else { "" }, if from + EXCERPT_WIDTH < total { "..." } else { "" });
    let start = start - from + before.len();
    Excerpt { line: format!("{before}{part}{after}"), start, length: length.min(EXCERPT_WIDTH) }
}
