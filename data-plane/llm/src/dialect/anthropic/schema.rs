//! The JSON schema of a structured answer, in the part of JSON schema that Anthropic takes.
//!
//! Rule: the same schema always gives the same bytes, or prompt caches break. What cannot be said is told in words in the
//! description; what cannot be told either has no native form.

use crate::json::{Node, Pointers};

/// Keywords that become a note.
const NOTED: [&str; 29] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "prefixItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
    "if",
    "then",
    "else",
    "not",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
];
const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"];

/// Returns the schema in the form that the API takes; `None` when it has none.
pub(crate) fn transform(schema: &Node) -> Option<Node> {
    walk(schema, &Pointers::new(schema))
}

fn walk(node: &Node, pointers: &Pointers<'_>) -> Option<Node> {
    let Node::Object(fields) = node else { return Some(node.clone()) };
    let mut out = Vec::with_capacity(fields.len() + 1);
    let mut notes = Vec::new();
    for (name, value) in fields {
        match name.as_ref() {
            "properties" | "$defs" | "definitions" => out.push((name.clone(), walk_each(value, pointers)?)),
            "items" => out.push((name.clone(), walk(value, pointers)?)),
            "oneOf" | "anyOf" | "allOf" => {
                let parts: Option<Vec<Node>> = value.items().iter().map(|part| walk(part, pointers)).collect();
                let name = if name == "oneOf" { "anyOf".into() } else { name.clone() };
                out.push((name, Node::Array(parts?)));
            }
            "additionalProperties" => {
                let is_open = !matches!(value, Node::Bool(false));
                if is_open && node.get("properties").is_none() {
                    return None;
                }
            }
            "$ref" => {
                value.as_str().and_then(|reference| pointers.find(reference))?;
                out.push((name.clone(), value.clone()));
            }
            "pattern"
                if value.as_str().is_some_and(|it| it.contains("(?=") || it.contains("(?!") || it.contains("(?<")) =>
            {
                return None;
            }
            "format" if value.as_str().is_some_and(|it| it != "uuid" && !FORMATS.contains(&it)) => return None,
            "minItems" if value.as_u64().is_none_or(|count| count > 1) => notes.push(note(name, value)),
            keyword if NOTED.contains(&keyword) => notes.push(note(name, value)),
            _ => out.push((name.clone(), value.clone())),
        }
    }
    let is_object = node.text("type") == Some("object") || node.get("properties").is_some();
    let mut schema = Node::Object(out);
    if is_object {
        if node.get("properties").is_none() && node.get("additionalProperties").is_none() {
            return None;
        }
        schema.set("additionalProperties", false);
    }
    if !notes.is_empty() {
        let notes = format!("({})", notes.join(", "));
        let description = match node.text("description") {
            Some(text) => format!("{text} {notes}"),
            None => notes,
        };
        schema.set("description", description);
    }
    Some(schema)
}

fn walk_each(schemas: &Node, pointers: &Pointers<'_>) -> Option<Node> {
    let Node::Object(fields) = schemas else { return Some(schemas.clone()) };
    let walked: Option<Vec<_>> =
        fields.iter().map(|(name, schema)| Some((name.clone(), walk(schema, pointers)?))).collect();
    Some(Node::Object(walked?))
}

fn note(name: &str, value: &Node) -> String {
    format!("{name}: {}", value.to_json())
}
