//! The tree that configuration is read into before it has types: text, lists and maps, each knowing where it was set.
//!
//! Rule: a node never loses its source, so that every later message and origin can name the place. It knows nothing of
//! what a setting means.

use std::sync::Arc;

/// Where a piece of the file sits: byte range, and line and column as people count them (from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// In the file.
    File(Span),
    /// In an environment variable.
    Env(Arc<str>),
    /// By a command line flag, named by its dotted key.
    Flag(Arc<str>),
    /// Nowhere: built in.
    Default,
}

/// One value with its source.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// The shapes a value can have. Scalars keep their text: numbers are read by the type that wants them, never as floats.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_source: Source,
    pub(super) node: Node,
}

impl Node {
    /// A built-in text.
    pub(super) fn built_in(text: &str) -> Self {
        Self { value: Value::Scalar(text.to_owned()), source: Source::Default }
    }

    /// An empty map of the given source.
    pub(super) fn empty_map(source: Source) -> Self {
        Self { value: Value::Map(Vec::new()), source }
    }

    /// Finds a key of a map; `None` on every other shape.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// What this node is called in messages about a wrong type.
    pub(super) fn shape(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}
