//! The one table of settings: a struct written with `settings!` is at once the type, the reader, the documentation, the
//! JSON Schema and the list that `config show` prints.
//!
//! Rule: one source of truth. A setting that exists in one of these forms exists in all. Defaults are texts, read the
//! same way as a value of the file.

use super::decoder::Decoder;
use super::node::Node;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// One effective value, as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) key: String,
    pub(super) value: String,
}

/// Something that can be configured.
pub(super) trait Setting: Sized {
    /// Whether a key of this type may be left out although it has no default.
    const IS_OPTIONAL: bool = false;

    /// Reads a value. `None` after reporting what is wrong with it.
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self>;

    /// Reads a value that may also say that it is not set.
    fn decode_optional(node: &Node, decoder: &mut Decoder<'_>) -> Option<Option<Self>> {
        Self::decode(node, decoder).map(Some)
    }

    /// The value of a key that is not set and has no default; `None` when it must be set.
    fn absent(_decoder: &mut Decoder<'_>) -> Option<Self> {
        None
    }

    /// The JSON Schema of the value.
    fn schema() -> Json;

    /// Lists the effective values, secrets redacted.
    fn show(&self, key: &str, out: &mut Vec<Shown>);
}

/// A value that is one piece of text.
pub(super) trait Scalar: Sized {
    /// What is expected, for messages: "a duration such as 30s".
    const EXPECTED: &'static str;

    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence; `None` when "it is not EXPECTED" says it all.
    fn parse(text: &str) -> Result<Self, Option<String>>;

    /// The JSON Schema of the value.
    fn schema() -> Json {
        json!({ "type": "string" })
    }

    /// Writes the value back.
    fn text(&self) -> String;

    /// The closest legal value to a wrong one.
    fn suggest(_text: &str) -> Option<String> {
        None
    }
}

impl<T: Scalar> Setting for T {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = decoder.text(node, T::EXPECTED)?.text;
        let text = text.trim();
        if text.is_empty() {
            let message = format!("`{}` must not be empty", decoder.path());
            decoder.error("E0105", &node.source, message).label(format!("here goes {}", T::EXPECTED));
            return None;
        }
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                let reason = reason.unwrap_or_else(|| format!("`{text}` is not {}", T::EXPECTED));
                let message = format!("`{}`: {reason}", decoder.path());
                let finding = decoder.error("E0103", &node.source, message);
                if let Some(near) = T::suggest(text) {
                    finding.label(format!("did you mean `{near}`?"));
                }
                None
            }
        }
    }

    fn schema() -> Json {
        <T as Scalar>::schema()
    }

    fn show(&self, key: &str, out: &mut Vec<Shown>) {
        out.push(Shown { key: key.to_owned(), value: self.text() });
    }
}

impl<T: Setting> Setting for Option<T> {
    const IS_OPTIONAL: bool = true;

    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::decode_optional(node, decoder)
    }

    fn absent(_decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(None)
    }

    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "type": "null" }] })
    }

    fn show(&self, key: &str, out: &mut Vec<Shown>) {
        match self {
            Some(value) => value.show(key, out),
            None => out.push(Shown { key: key.to_owned(), value: "null".to_owned() }),
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    const IS_OPTIONAL: bool = true;

    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let items = decoder.items(node)?;
        let decoded = items.iter().enumerate().map(|(at, item)| decoder.item(&format!("[{at}]"), item));
        // An item that fails is reported and left out: the others are still checked.
        Some(decoded.collect::<Vec<Option<T>>>().into_iter().flatten().collect())
    }

    fn absent(_decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self::new())
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn show(&self, key: &str, out: &mut Vec<Shown>) {
        if self.is_empty() {
            out.push(Shown { key: key.to_owned(), value: "[]".to_owned() });
        }
        for (at, item) in self.iter().enumerate() {
            item.show(&format!("{key}[{at}]"), out);
        }
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    const IS_OPTIONAL: bool = true;

    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let expanded = decoder.expand(node)?;
        let map = decoder.open_any(&expanded)?;
        let mut values = Self::new();
        for entry in map.entries() {
            if let Some(value) = decoder.item(&entry.key, &entry.node) {
                values.insert(entry.key.clone(), value);
            }
        }
        Some(values)
    }

    fn absent(_decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self::new())
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn show(&self, key: &str, out: &mut Vec<Shown>) {
        if self.is_empty() {
            out.push(Shown { key: key.to_owned(), value: "{}".to_owned() });
        }
        for (name, value) in self {
            value.show(&format!("{key}.{name}"), out);
        }
    }
}

/// One row of a struct's schema.
pub(super) struct FieldSchema {
    pub(super) key: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) schema: Json,
    pub(super) default: Option<&'static str>,
    pub(super) is_optional: bool,
}

/// Builds the JSON Schema of a struct.
pub(super) fn object_schema(doc: &[&str], fields: Vec<FieldSchema>) -> Json {
    let required: Vec<&str> = fields.iter().filter(|f| !f.is_optional).map(|f| f.key).collect();
    let mut properties = serde_json::Map::new();
    for field in fields {
        let mut schema = field.schema;
        if let Json::Object(map) = &mut schema {
            map.insert("description".to_owned(), Json::String(sentence(field.doc)));
            if let Some(default) = field.default {
                map.insert("default".to_owned(), default_value(default, map.get("type")));
            }
        }
        properties.insert(field.key.to_owned(), schema);
    }
    let mut object = json!({
        "type": "object",
        "description": sentence(doc),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty()
        && let Json::Object(map) = &mut object
    {
        map.insert("required".to_owned(), json!(required));
    }
    object
}

fn sentence(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn default_value(text: &str, kind: Option<&Json>) -> Json {
    if kind == Some(&json!("array")) {
        return Json::Array(text.split(',').map(|part| Json::String(part.to_owned())).collect());
    }
    match serde_json::from_str(text) {
        Ok(value @ (Json::Number(_) | Json::Bool(_))) => value,
        _ => Json::String(text.to_owned()),
    }
}

/// Declares structs of settings. Per field: documentation, name, `["key"]` when the key is another word, type,
/// `= "default"`, `=> check` for what the type cannot say.
macro_rules! settings {
    ($(
        $(#[doc = $struct_doc:literal])+
        $(#[prepare($prepare:path)])?
        $(#[check($struct_check:path)])?
        pub(crate) struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident $([$key:literal])? : $ty:ty $(= $default:literal)? $(=> $check:path)?, )*
        }
    )+) => {$(
        $(#[doc = $struct_doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])+ pub(crate) $field: $ty, )*
        }

        impl $crate::config::setting::Setting for $name {
            const IS_OPTIONAL: bool = true $(&& settings!(@optional $ty, $($default)?))*;

            fn decode(
                node: &$crate::config::node::Node,
                decoder: &mut $crate::config::decoder::Decoder<'_>,
            ) -> Option<Self> {
                let expanded = decoder.expand(node)?;
                let node = &*expanded;
                $( let prepared = $prepare(node); let node = &*prepared; )?
                let map = decoder.open(node, &[$( settings!(@key $field $($key)?) ),*])?;
                $(
                    let $field: Option<$ty> = decoder.field(
                        &map,
                        settings!(@key $field $($key)?),
                        settings!(@some $($default)?),
                        settings!(@some $($check)?),
                    );
                )*
                let value = Self { $( $field: $field?, )* };
                $( $struct_check(&value, node, decoder); )?
                Some(value)
            }

            fn absent(decoder: &mut $crate::config::decoder::Decoder<'_>) -> Option<Self> {
                if !<Self as $crate::config::setting::Setting>::IS_OPTIONAL {
                    return None;
                }
                let empty = $crate::config::node::Node::empty_map($crate::config::node::Source::Default);
                <Self as $crate::config::setting::Setting>::decode(&empty, decoder)
            }

            fn schema() -> serde_json::Value {
                $crate::config::setting::object_schema(&[$($struct_doc),+], vec![$(
                    $crate::config::setting::FieldSchema {
                        key: settings!(@key $field $($key)?),
                        doc: &[$($doc),+],
                        schema: <$ty as $crate::config::setting::Setting>::schema(),
                        default: settings!(@some $($default)?),
                        is_optional: settings!(@optional $ty, $($default)?),
                    },
                )*])
            }

            fn show(&self, key: &str, out: &mut Vec<$crate::config::setting::Shown>) {
                let prefix = if key.is_empty() { String::new() } else { format!("{key}.") };
                $( $crate::config::setting::Setting::show(
                    &self.$field, &format!("{prefix}{}", settings!(@key $field $($key)?)), out,
                ); )*
            }
        }
    )+};
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@some) => { None };
    (@some $value:expr) => { Some($value) };
    (@optional $ty:ty, $default:literal) => { true };
    (@optional $ty:ty,) => { <$ty as $crate::config::setting::Setting>::IS_OPTIONAL };
}

/// Declares an enum whose values are words of the file.
macro_rules! choices {
    ($(
        $(#[doc = $enum_doc:literal])+
        pub(crate) enum $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    )+) => {$(
        $(#[doc = $enum_doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub(crate) const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// Returns the word of the file.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl $crate::config::setting::Scalar for $name {
            const EXPECTED: &'static str = concat!("one of" $(, " `", $word, "`")+);

            fn parse(text: &str) -> Result<Self, Option<String>> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or(None)
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "string", "enum": [$( $word ),+] })
            }

            fn text(&self) -> String {
                self.as_str().to_owned()
            }

            fn suggest(text: &str) -> Option<String> {
                $crate::config::suggest::closest(text, [$( $word ),+]).map(str::to_owned)
            }
        }
    )+};
}

pub(super) use {choices, settings};
