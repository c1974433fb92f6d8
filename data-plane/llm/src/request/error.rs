//! Why a request body is refused: what, where (path, line, column), and what it should be.
//!
//! Rule: the text names fields and types, never a value that the client sent.

use std::fmt::Write as _;

use crate::json::{Fault, Reason, Segment};

/// Why a body cannot be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The body is not one JSON document.
    #[error("the body is not valid JSON: {reason} (line {line}, column {column})")]
    InvalidJson {
        /// What was expected there.
        reason: &'static str,
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// The body nests deeper than is read.
    #[error("the body nests deeper than {} levels (line {line}, column {column})", crate::json::MAX_DEPTH)]
    TooDeep {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// A field has the wrong type.
    #[error("{} must be {expected}, not {found} (line {line}, column {column})", named(path))]
    WrongType {
        /// Where, as in `messages[0].content`; empty for the body itself.
        path: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// A field is not there.
    #[error("`{path}` is required")]
    Missing {
        /// Which.
        path: String,
    },
    /// A field stands twice; which one counts would depend on the reader.
    #[error("`{path}` is given twice (line {line}, column {column})")]
    Duplicate {
        /// Which.
        path: String,
        /// Of the second.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// A field differs from a known one only in upper and lower case; some servers would take it for that one.
    #[error("a field must be spelled `{path}` exactly (line {line}, column {column})")]
    Miscased {
        /// The right name.
        path: String,
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
}

impl ScanError {
    /// Returns the path of the field at fault, the `param` of an OpenAI error; `None` when the body is not JSON.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidJson { .. } | Self::TooDeep { .. } => None,
            Self::WrongType { path, .. }
            | Self::Missing { path }
            | Self::Duplicate { path, .. }
            | Self::Miscased { path, .. } => Some(path.as_str()).filter(|path| !path.is_empty()),
        }
    }

    /// Returns the stable code of the refusal.
    pub fn code(&self) -> helix_shared::error_code::ErrorCode {
        use helix_shared::error_code::ErrorCode;
        match self {
            Self::InvalidJson { .. } | Self::TooDeep { .. } => ErrorCode::InvalidJson,
            _ => ErrorCode::InvalidRequest,
        }
    }

    pub(crate) fn from_fault(fault: &Fault, body: &[u8]) -> Self {
        let before = body.get(..fault.at.min(body.len())).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
        let path = path_text(&fault.path);
        match fault.reason {
            Reason::Syntax(reason) => Self::InvalidJson { reason, line, column },
            Reason::TooDeep => Self::TooDeep { line, column },
            Reason::WrongType { expected, found } => Self::WrongType { path, expected, found, line, column },
            Reason::Missing => Self::Missing { path },
            Reason::Duplicate => Self::Duplicate { path, line, column },
            Reason::Miscased => Self::Miscased { path, line, column },
        }
    }
}

fn path_text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path.iter().rev() {
        match segment {
            Segment::Index(index) => {
                // Writing to a String cannot fail.
                let _infallible = write!(text, "[{index}]");
            }
            Segment::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
        }
    }
    text
}

fn named(path: &str) -> String {
    if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") }
}
