//! `config show` and `config schema`: what is in effect and where it was set, and what may be set.
//!
//! Rule: a secret is shown as `[redacted]`, whatever its value.

use super::setting::{Setting, Shown};
use super::settings::Settings;
use super::{Loaded, Origin};
use serde_json::{Value as Json, json};

/// One effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectiveValue {
    /// The dotted key.
    pub(crate) key: String,
    /// The value as text, secrets redacted.
    pub(crate) value: String,
    /// Where it was set.
    pub(crate) origin: Origin,
}

/// Whether origins are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Each value with its origin.
    Shown,
    /// Values alone.
    Hidden,
}

pub(super) fn effective(settings: &Settings) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    settings.show("", &mut rows);
    rows.into_iter().map(|Shown { key, value }| (key, value)).collect()
}

/// Returns every effective value with its origin, in the order of the documentation.
pub(crate) fn show(loaded: &Loaded) -> Vec<EffectiveValue> {
    let rows = effective(&loaded.settings).into_iter();
    rows.map(|(key, value)| EffectiveValue { origin: loaded.origin(&key), key, value }).collect()
}

/// Renders every effective value for people, one a line.
pub(crate) fn show_text(loaded: &Loaded, origins: Origins) -> String {
    let rows = show(loaded);
    let width = rows.iter().map(|row| row.key.len() + row.value.len() + 2).filter(|width| *width <= 70).max();
    let mut text = String::new();
    for row in rows {
        let line = format!("{}: {}", row.key, row.value);
        match origins {
            Origins::Hidden => text.push_str(&line),
            Origins::Shown => text.push_str(&format!("{line:<width$}  # {}", row.origin, width = width.unwrap_or(0))),
        }
        text.push('\n');
    }
    text
}

/// Renders every effective value with its origin as JSON.
pub(crate) fn show_json(loaded: &Loaded) -> Json {
    let row = |row: EffectiveValue| {
        let origin = match &row.origin {
            Origin::Default => json!({ "kind": "default" }),
            Origin::Env(variable) => json!({ "kind": "env", "variable": variable }),
            Origin::Flag(flag) => json!({ "kind": "flag", "key": flag }),
            Origin::File { path, line, column } => {
                json!({ "kind": "file", "file": path.display().to_string(), "line": line, "column": column })
            }
        };
        json!({ "key": row.key, "value": row.value, "origin": origin })
    };
    Json::Array(show(loaded).into_iter().map(row).collect())
}

/// Returns the JSON Schema of the file.
pub(crate) fn schema() -> Json {
    let mut schema = <Settings as Setting>::schema();
    if let Json::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".to_owned(), json!("gateway.yaml"));
    }
    schema
}
