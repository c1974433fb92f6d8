//! An object that is taken apart field by field, in the types that are expected.
//!
//! Rule: every field is either taken or left over; what is left over is named, so that nothing vanishes unseen.

use super::{Name, Node};

/// A field that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Where, as in `messages[0].content`.
    pub(crate) path: String,
    /// What it must be.
    pub(crate) expected: &'static str,
}

/// The fields of an object that were not taken yet.
#[derive(Debug)]
pub(crate) struct Record {
    fields: Vec<(Name, Node)>,
    path: String,
}

/// The most names that are noted; a client's list has no end.
const MAX_NAMES: usize = 64;
const MAX_NAME_BYTES: usize = 128;

/// Notes the name of a field once, in a form that fits into a header: short, printable, without a comma.
pub(crate) fn note(names: &mut Vec<String>, mut name: String) {
    if names.len() >= MAX_NAMES {
        return;
    }
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    if name.contains(|c: char| !c.is_ascii_graphic() || c == ',') {
        name = name.replace(|c: char| !c.is_ascii_graphic() || c == ',', "?");
    }
    if !names.contains(&name) {
        names.push(name);
    }
}

type Result<T> = std::result::Result<T, Misfit>;

impl Record {
    /// Begins with an object at this path (empty for the body itself).
    pub(crate) fn new(node: Node, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match node {
            Node::Object(fields) => Ok(Self { fields, path }),
            _ => Err(Misfit { path, expected: "an object" }),
        }
    }

    /// Returns the path of a field.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn misfit<T>(&self, name: &str, expected: &'static str) -> Result<T> {
        Err(Misfit { path: self.path(name), expected })
    }

    /// Takes a field; `None` when it is not there, or `null`.
    pub(crate) fn take(&mut self, name: &str) -> Option<Node> {
        let at = self.fields.iter().position(|(found, _)| found == name)?;
        Some(self.fields.remove(at).1).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::String(text)) => Ok(Some(text)),
            Some(_) => self.misfit(name, "a string"),
        }
    }

    pub(crate) fn needed_text(&mut self, name: &str) -> Result<String> {
        match self.text(name)? {
            Some(text) => Ok(text),
            None => self.misfit(name, "a string"),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Bool(value)) => Ok(Some(value)),
            Some(_) => self.misfit(name, "a boolean"),
        }
    }

    /// Takes a whole number of at least 0; a fraction is rounded up.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64() {
            Some(count) => Ok(Some(count)),
            None => self.misfit(name, "a whole number"),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => self.misfit(name, "a number"),
        }
    }

    /// Takes an array; an absent one has no items.
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<Node>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Node::Array(items)) => Ok(items),
            Some(_) => self.misfit(name, "an array"),
        }
    }

    /// Takes an object, to be taken apart itself.
    pub(crate) fn record(&mut self, name: &str) -> Result<Option<Self>> {
        let path = self.path(name);
        self.take(name).map(|node| Self::new(node, path)).transpose()
    }

    /// Names what was not taken and says something, each name once: `prefix.name`.
    pub(crate) fn name_rest(self, prefix: &str, names: &mut Vec<String>) {
        for (name, value) in self.rest() {
            let is_empty = match &value {
                Node::Array(items) => items.is_empty(),
                Node::Object(fields) => fields.is_empty(),
                _ => false,
            };
            let path = format!("{prefix}.{name}");
            if !is_empty {
                note(names, path);
            }
        }
    }

    /// Returns the fields that were not taken and are not `null`.
    pub(crate) fn rest(self) -> Vec<(Name, Node)> {
        self.fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}
