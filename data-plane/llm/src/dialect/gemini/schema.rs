//! A JSON schema in the part that OpenAPI has, for models that take no more.
//!
//! Rule: the same schema always gives the same bytes. What cannot be said is left out: a looser schema still shapes the
//! answer, a refused one gives none.

use std::cell::Cell;

use crate::json::{Name, Node, object};

/// References inside of references that are followed; a schema that contains itself ends there.
const MAX_REFERENCES: usize = 4;
/// The most bytes that all references together may repeat.
const MAX_REPEATED_BYTES: usize = 1024 * 1024;
/// What is kept as it is.
const KEPT: [&str; 13] = [
    "description",
    "title",
    "format",
    "nullable",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
];

/// Whether a schema of arguments says that there are none.
pub(super) fn is_empty(schema: &Node) -> bool {
    let has_fields = |node: &Node| matches!(node, Node::Object(fields) if !fields.is_empty());
    let names = ["properties", "$ref", "anyOf", "oneOf", "allOf", "patternProperties", "additionalProperties"];
    !names.iter().any(|name| match schema.get(name) {
        Some(Node::Bool(is_open)) => *is_open,
        Some(Node::Array(items)) => !items.is_empty(),
        Some(Node::String(_)) => true,
        Some(node) => has_fields(node),
        None => false,
    })
}

/// Returns the schema of a tool's arguments.
pub(super) fn of_arguments(schema: &Node) -> Node {
    start(schema, false)
}

/// Returns the schema of an answer, whose fields come in the order they are written.
pub(super) fn of_answer(schema: &Node) -> Node {
    start(schema, true)
}

fn start(schema: &Node, is_ordered: bool) -> Node {
    let left = Cell::new(MAX_REPEATED_BYTES);
    walk(schema, &Place { root: schema, references: 0, left: &left, is_ordered })
}

#[derive(Clone, Copy)]
struct Place<'a> {
    root: &'a Node,
    references: usize,
    left: &'a Cell<usize>,
    is_ordered: bool,
}

impl<'a> Place<'a> {
    /// Finds what a reference points at, unless that repeats too much.
    fn resolve(&self, reference: &str) -> Option<&'a Node> {
        let left = self.left.get();
        if left == 0 || self.references >= MAX_REFERENCES {
            return None;
        }
        let target = resolve(reference, self.root)?;
        let rest = left.checked_sub(target.to_bytes().len());
        self.left.set(rest.unwrap_or(0));
        rest.map(|_| target)
    }
}

fn walk(node: &Node, place: &Place<'_>) -> Node {
    if let Some(reference) = node.text("$ref") {
        let deeper = Place { references: place.references + 1, ..*place };
        let mut target =
            place.resolve(reference).map_or_else(|| object! { "type": "object" }, |target| walk(target, &deeper));
        if let Some(description) = node.text("description") {
            target.set("description", description);
        }
        return target;
    }
    if let Some(choices) = node.get("anyOf").or_else(|| node.get("oneOf")) {
        return choice(node, choices.items(), place);
    }
    let merged = merged(node, place);
    let node = merged.as_ref().unwrap_or(node);
    let mut out = object! {};
    let (kind, is_nullable) = kind_of(node);
    match kind {
        Some(Kind::One(kind)) => out.set("type", kind),
        Some(Kind::Several(kinds)) => {
            let choices = kinds.iter().map(|kind| {
                let mut one = node.clone();
                one.set("type", kind.as_str());
                walk(&one, place)
            });
            let choices: Vec<Node> = choices.collect();
            return object! { "anyOf": Node::Array(choices) }.with("nullable", is_nullable.then_some(true));
        }
        None => {}
    }
    if let Node::Object(fields) = node {
        let kept = fields.iter().filter(|(name, value)| KEPT.contains(&name.as_ref()) && !value.is_null());
        push_all(&mut out, kept.cloned());
    }
    if is_nullable {
        out.set("nullable", true);
    }
    let words = node.get("const").map(std::slice::from_ref).unwrap_or_else(|| node.list("enum"));
    let words: Vec<&str> = words.iter().filter_map(Node::as_str).collect();
    if !words.is_empty() {
        if out.get("type").is_none() {
            out.set("type", "string");
        }
        out.set("enum", words);
    }
    if let Some(items) = node.get("items") {
        out.set("items", walk(items, place));
    }
    properties(node, place, &mut out);
    out
}

fn push_all(out: &mut Node, more: impl Iterator<Item = (Name, Node)>) {
    if let Node::Object(fields) = out {
        fields.extend(more);
    }
}

fn properties(node: &Node, place: &Place<'_>, out: &mut Node) {
    let Some(Node::Object(fields)) = node.get("properties") else { return };
    if fields.is_empty() {
        return;
    }
    if out.get("type").is_none() {
        out.set("type", "object");
    }
    let walked: Vec<(Name, Node)> = fields.iter().map(|(name, schema)| (name.clone(), walk(schema, place))).collect();
    let names: Vec<Node> = walked.iter().map(|(name, _)| Node::from(name.as_ref())).collect();
    let required: Vec<&str> = node.list("required").iter().filter_map(Node::as_str).collect();
    out.set("properties", Node::Object(walked));
    if !required.is_empty() {
        out.set("required", required);
    }
    if place.is_ordered {
        out.set("propertyOrdering", Node::Array(names));
    }
}

/// A choice stands alone; one that is only about being there is said as `nullable`.
fn choice(node: &Node, choices: &[Node], place: &Place<'_>) -> Node {
    let is_null = |choice: &&Node| choice.text("type") == Some("null");
    let is_nullable = choices.iter().any(|choice| is_null(&choice));
    let rest: Vec<Node> = choices.iter().filter(|choice| !is_null(choice)).map(|choice| walk(choice, place)).collect();
    let mut out = match rest.as_slice() {
        [only] => {
            let mut only = only.clone();
            if let Some(description) = node.text("description") {
                only.set("description", description);
            }
            only
        }
        _ => object! { "anyOf": Node::Array(rest) },
    };
    if is_nullable {
        out.set("nullable", true);
    }
    out
}

enum Kind {
    One(String),
    Several(Vec<String>),
}

/// Returns the type, and whether `null` is one too.
fn kind_of(node: &Node) -> (Option<Kind>, bool) {
    match node.get("type") {
        Some(Node::String(kind)) => (Some(Kind::One(kind.clone())), false),
        Some(Node::Array(kinds)) => {
            let all = || kinds.iter().filter_map(Node::as_str);
            let named: Vec<String> = all().filter(|kind| *kind != "null").map(str::to_owned).collect();
            let is_nullable = all().any(|kind| kind == "null");
            match named.as_slice() {
                [] => (None, is_nullable),
                [only] => (Some(Kind::One(only.clone())), is_nullable),
                _ => (Some(Kind::Several(named)), is_nullable),
            }
        }
        _ => (None, false),
    }
}

/// Returns one schema for those that must all hold; fields of the first win, properties add up.
fn merged(node: &Node, place: &Place<'_>) -> Option<Node> {
    let parts = node.get("allOf")?.items();
    let mut merged = node.clone();
    merged.take("allOf");
    for part in parts {
        let target = part.text("$ref").and_then(|reference| place.resolve(reference));
        let Node::Object(fields) = target.unwrap_or(part) else { continue };
        for (name, value) in fields {
            match (name.as_ref(), merged.take(name)) {
                ("properties" | "required", Some(known)) => {
                    push_all(&mut merged, std::iter::once((name.clone(), join(known, value))));
                }
                (_, known) => {
                    push_all(&mut merged, std::iter::once((name.clone(), known.unwrap_or_else(|| value.clone()))));
                }
            }
        }
    }
    // One level is enough for what generators write; a deeper one is left out.
    merged.take("allOf");
    Some(merged)
}

fn join(known: Node, more: &Node) -> Node {
    match (known, more) {
        (Node::Object(mut fields), Node::Object(more)) => {
            let added: Vec<_> =
                more.iter().filter(|(name, _)| !fields.iter().any(|(it, _)| it == name)).cloned().collect();
            fields.extend(added);
            Node::Object(fields)
        }
        (Node::Array(mut items), Node::Array(more)) => {
            let added: Vec<_> = more.iter().filter(|item| !items.contains(item)).cloned().collect();
            items.extend(added);
            Node::Array(items)
        }
        (known, _) => known,
    }
}

fn resolve<'a>(reference: &str, root: &'a Node) -> Option<&'a Node> {
    let path = reference.strip_prefix('#')?;
    let mut at = root;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        at = at.get(&segment.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(at)
}
