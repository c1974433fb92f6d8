//! A JSON schema in the part that OpenAPI has, for models that take no more.
//!
//! Rule: the same schema always gives the same bytes. What cannot be said is left out: a looser schema still shapes the
//! answer, a refused one gives none.

use std::cell::Cell;
use std::collections::HashSet;

use crate::json::{Name, Node, Pointers, object};

/// References inside of references that are followed; a schema that contains itself ends there.
const MAX_REFERENCES: usize = 4;
/// The most bytes that all references together may repeat.
const MAX_REPEATED_BYTES: usize = 1024 * 1024;
/// Containers inside of containers in what is made; what would lie deeper is left open.
const MAX_LEVELS: usize = 112;
/// The types that a schema may list.
const KINDS: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];
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
    let walker = Walker { pointers: Pointers::new(schema), left: Cell::new(MAX_REPEATED_BYTES), is_ordered };
    walker.walk(schema, Depth::default())
}

/// Walks one schema.
struct Walker<'a> {
    pointers: Pointers<'a>,
    /// The bytes that references may still repeat.
    left: Cell<usize>,
    is_ordered: bool,
}

/// How deep a place lies.
#[derive(Debug, Clone, Copy, Default)]
struct Depth {
    /// In references inside of references.
    references: usize,
    /// In what is made.
    levels: usize,
}

impl Depth {
    fn behind_reference(self) -> Self {
        Self { references: self.references + 1, ..self }
    }

    fn below(self, levels: usize) -> Self {
        Self { levels: self.levels + levels, ..self }
    }
}

impl<'a> Walker<'a> {
    /// Finds what a reference points at, unless that repeats too much.
    fn resolve(&self, reference: &str, depth: Depth) -> Option<&'a Node> {
        let left = self.left.get();
        if left == 0 || depth.references >= MAX_REFERENCES {
            return None;
        }
        let target = self.pointers.find(reference)?;
        let rest = left.checked_sub(target.to_bytes().len());
        self.left.set(rest.unwrap_or(0));
        rest.map(|_| target)
    }

    fn walk(&self, node: &'a Node, depth: Depth) -> Node {
        let open = || object! { "type": "object" };
        if depth.levels >= MAX_LEVELS {
            return open();
        }
        if let Some(reference) = node.text("$ref") {
            let target = self.resolve(reference, depth);
            let mut target = target.map_or_else(open, |target| self.walk(target, depth.behind_reference()));
            if let Some(description) = node.text("description") {
                target.set("description", description);
            }
            return target;
        }
        if let Some(choices) = node.get("anyOf").or_else(|| node.get("oneOf")) {
            return self.choice(node, choices.items(), depth);
        }
        let (said, depth) = self.said_by(node, depth);
        let (kinds, is_nullable) = said.kinds();
        match kinds.as_slice() {
            [] => self.render(&said, None, is_nullable, depth),
            [only] => self.render(&said, Some(only), is_nullable, depth),
            several => {
                let choices =
                    several.iter().map(|kind| self.render(&said.as_one_of(kind), Some(kind), false, depth.below(2)));
                let choices: Vec<Node> = choices.collect();
                object! { "anyOf": Node::Array(choices) }.with("nullable", is_nullable.then_some(true))
            }
        }
    }

    fn render(&self, said: &Said<'a>, kind: Option<&str>, is_nullable: bool, depth: Depth) -> Node {
        let mut out = object! {};
        if let Some(kind) = kind {
            out.set("type", kind);
        }
        let kept = said.fields.iter().filter(|(name, _)| KEPT.contains(&name.as_ref()));
        push_all(&mut out, kept.map(|(name, value)| ((*name).clone(), (*value).clone())));
        if is_nullable {
            out.set("nullable", true);
        }
        let words = said.get("const").map(std::slice::from_ref).or_else(|| said.get("enum").map(Node::items));
        let words: Vec<&str> = words.unwrap_or_default().iter().filter_map(Node::as_str).collect();
        if !words.is_empty() {
            if out.get("type").is_none() {
                out.set("type", "string");
            }
            out.set("enum", words);
        }
        if let Some(items) = said.get("items") {
            out.set("items", self.walk(items, depth.below(1)));
        }
        self.properties(said, depth, &mut out);
        out
    }

    fn properties(&self, said: &Said<'a>, depth: Depth, out: &mut Node) {
        if said.properties.is_empty() {
            return;
        }
        if out.get("type").is_none() {
            out.set("type", "object");
        }
        let walked = said.properties.iter().map(|(name, schema)| ((*name).clone(), self.walk(schema, depth.below(2))));
        out.set("properties", Node::Object(walked.collect()));
        if !said.required.is_empty() {
            out.set("required", said.required.clone());
        }
        if self.is_ordered {
            let names = said.properties.iter().map(|(name, _)| Node::from(name.as_ref()));
            out.set("propertyOrdering", Node::Array(names.collect()));
        }
    }

    /// A choice stands alone; one that is only about being there is said as `nullable`.
    fn choice(&self, node: &Node, choices: &'a [Node], depth: Depth) -> Node {
        let is_null = |choice: &&Node| choice.text("type") == Some("null");
        let is_nullable = choices.iter().any(|choice| is_null(&choice));
        let rest = choices.iter().filter(|choice| !is_null(choice)).map(|choice| self.walk(choice, depth.below(2)));
        let mut rest: Vec<Node> = rest.collect();
        let mut out = match rest.pop() {
            None => object! {},
            Some(mut only) if rest.is_empty() => {
                if let Some(description) = node.text("description") {
                    only.set("description", description);
                }
                only
            }
            Some(last) => {
                rest.push(last);
                object! { "anyOf": Node::Array(rest) }
            }
        };
        if is_nullable {
            out.set("nullable", true);
        }
        out
    }

    /// Reads a schema together with those that must hold beside it, and says how deep their insides lie.
    fn said_by(&self, node: &'a Node, depth: Depth) -> (Said<'a>, Depth) {
        let (mut said, mut known) = (Said::default(), Known::default());
        said.add(node, &mut known);
        let mut inside = depth;
        // One level is enough for what generators write; a deeper one is left out.
        for part in node.list("allOf") {
            let target = part.text("$ref").and_then(|reference| self.resolve(reference, depth));
            if target.is_some() {
                inside = depth.behind_reference();
            }
            said.add(target.unwrap_or(part), &mut known);
        }
        (said, inside)
    }
}

/// What a schema says, as far as it can be said again: of two fields of one name the first counts, properties add up.
#[derive(Debug, Clone, Default)]
struct Said<'a> {
    fields: Vec<(&'a Name, &'a Node)>,
    properties: Vec<(&'a Name, &'a Node)>,
    required: Vec<&'a str>,
}

/// The properties that were met.
#[derive(Default)]
struct Known<'a> {
    properties: HashSet<&'a str>,
    required: HashSet<&'a str>,
}

impl<'a> Said<'a> {
    fn add(&mut self, node: &'a Node, known: &mut Known<'a>) {
        let Node::Object(fields) = node else { return };
        for (name, value) in fields {
            match (name.as_ref(), value) {
                ("properties", Node::Object(more)) => {
                    let more = more.iter().filter(|(name, _)| known.properties.insert(name));
                    self.properties.extend(more.map(|(name, schema)| (name, schema)));
                }
                ("required", Node::Array(more)) => {
                    self.required
                        .extend(more.iter().filter_map(Node::as_str).filter(|name| known.required.insert(name)));
                }
                (_, Node::Null) => {}
                // These are few, so that looking through them costs nothing.
                (kept, _)
                    if (KEPT.contains(&kept) || ["type", "const", "enum", "items"].contains(&kept))
                        && self.get(kept).is_none() =>
                {
                    self.fields.push((name, value));
                }
                _ => {}
            }
        }
    }

    fn get(&self, name: &str) -> Option<&'a Node> {
        self.fields.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// Returns the types, each once, and whether `null` is one too.
    fn kinds(&self) -> (Vec<&'a str>, bool) {
        let Some(kinds) = self.get("type") else { return (Vec::new(), false) };
        if let Some(kind) = kinds.as_str() {
            return (vec![kind], false);
        }
        let listed = || kinds.items().iter().filter_map(Node::as_str);
        let mut named = Vec::new();
        for kind in listed() {
            let known = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind)).copied();
            named.extend(known.filter(|kind| !named.contains(kind)));
        }
        (named, listed().any(|kind| kind.eq_ignore_ascii_case("null")))
    }

    /// Returns what is said of one of several types: what lies inside belongs to the one that holds it.
    fn as_one_of(&self, kind: &str) -> Self {
        let belongs = |name: &str| match name {
            "items" => kind == "array",
            "enum" | "const" => kind == "string",
            _ => true,
        };
        let fields = self.fields.iter().filter(|(name, _)| belongs(name)).copied().collect();
        if kind == "object" {
            return Self { fields, ..self.clone() };
        }
        Self { fields, ..Self::default() }
    }
}

fn push_all(out: &mut Node, more: impl Iterator<Item = (Name, Node)>) {
    if let Node::Object(fields) = out {
        fields.extend(more);
    }
}
