//! Errors of the reader: what, where, and on which path.
//!
//! Rule: the good path pays nothing; the path of a value is put together only while an error travels up.

use super::Result;

/// What is wrong with a document, where, and on which path (collected while the error travels up).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) reason: Reason,
    /// Innermost first.
    pub(crate) path: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    Syntax(&'static str),
    TooDeep,
    WrongType {
        expected: &'static str,
        found: &'static str,
    },
    Missing,
    Duplicate,
    /// A field that some servers read as this one, because they ignore case.
    Miscased,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    Field(&'static str),
    Index(usize),
}

/// Names the place of an error while it travels up.
pub(crate) trait InPath {
    fn in_field(self, name: &'static str) -> Self;
    fn in_item(self, index: usize) -> Self;
}

impl<T> InPath for Result<T> {
    fn in_field(mut self, name: &'static str) -> Self {
        if let Err(fault) = &mut self {
            fault.path.push(Segment::Field(name));
        }
        self
    }

    fn in_item(mut self, index: usize) -> Self {
        if let Err(fault) = &mut self {
            fault.path.push(Segment::Index(index));
        }
        self
    }
}

pub(crate) fn fault(at: usize, reason: Reason) -> Box<Fault> {
    Box::new(Fault { at, reason, path: Vec::new() })
}
