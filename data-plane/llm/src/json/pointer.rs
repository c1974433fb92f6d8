//! Where references inside of a document lead.
//!
//! Rule: following one costs no more than its own length, however many fields the objects on its way have: a large one is
//! indexed once. Nothing outside of the document is looked at.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Node;

/// Objects with more fields than this are indexed.
const MAX_SEARCHED: usize = 16;

/// Finds what references point at.
pub(crate) struct Pointers<'a> {
    root: &'a Node,
    /// The fields of the large objects met so far, by where they lie.
    indexed: RefCell<HashMap<*const Node, HashMap<&'a str, &'a Node>>>,
}

impl<'a> Pointers<'a> {
    /// Begins with a document.
    pub(crate) fn new(root: &'a Node) -> Self {
        Self { root, indexed: RefCell::default() }
    }

    /// Returns what a reference such as `#/$defs/a` points at; `None` when nothing is there, or it is elsewhere.
    pub(crate) fn find(&self, reference: &str) -> Option<&'a Node> {
        let path = reference.strip_prefix('#')?;
        let mut at = self.root;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            at = self.field(at, &segment.replace("~1", "/").replace("~0", "~"))?;
        }
        Some(at)
    }

    fn field(&self, node: &'a Node, name: &str) -> Option<&'a Node> {
        let Node::Object(fields) = node else { return None };
        if fields.len() <= MAX_SEARCHED {
            return node.get(name);
        }
        let mut indexed = self.indexed.borrow_mut();
        // Of two fields of one name the first counts, as everywhere.
        let index = || fields.iter().rev().map(|(name, value)| (name.as_ref(), value)).collect();
        let index = indexed.entry(std::ptr::from_ref(node)).or_insert_with(index);
        index.get(name).copied().filter(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_leads_to_a_field_by_its_name() {
        let many: String = (0..40).map(|at| format!(r#""f{at}":{{"is":{at}}},"#)).collect();
        let document =
            format!(r#"{{"a/b":{{"~":1,"gone":null}},"many":{{{many}"f3":{{"is":"another"}},"none":null}}}}"#);
        let document = Node::parse(document.as_bytes()).unwrap();
        let pointers = Pointers::new(&document);
        let found = |reference| pointers.find(reference).map(Node::to_json);
        assert_eq!(found("#/a~1b/~0").as_deref(), Some("1"));
        assert_eq!(found("#/many/f39/is").as_deref(), Some("39"));
        assert_eq!(found("#/many/f3/is").as_deref(), Some("3"));
        assert_eq!(found("#").as_deref(), Some(document.to_json().as_str()));
        for lost in ["", "many", "https://a/#/many", "#/many/f40", "#/many/none", "#/a~1b/gone", "#/many/f1/is/x"] {
            assert_eq!(found(lost), None, "{lost}");
        }
    }
}
