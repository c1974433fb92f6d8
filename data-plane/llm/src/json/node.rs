//! A JSON document as a tree, for the bodies that are translated.
//!
//! Rule: the order of fields and the text of numbers are kept, so that what passes through is what was sent (schemas and
//! tool arguments mean the same to a model only in their order). Half a surrogate pair becomes U+FFFD.
//! Not here: the bodies that pass through untranslated; those are never made a tree.

use std::borrow::Cow;

use super::{Kind, Reader, Result, Text};

/// The name of a field.
pub(crate) type Name = Cow<'static, str>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Node {
    #[default]
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// In the order it was written.
    Object(Vec<(Name, Node)>),
}

/// Builds an object from names and values, in this order.
macro_rules! object {
    ($($name:literal : $value:expr),* $(,)?) => {
        $crate::json::Node::Object(vec![$((std::borrow::Cow::Borrowed($name), $crate::json::Node::from($value))),*])
    };
}
pub(crate) use object;

/// Names that nearly every document has, by their length: a tree that is made for each chunk of a stream need not copy them.
const KNOWN: [&[&str]; 26] = [
    &[],
    &[],
    &["id"],
    &["url"],
    &["role", "type", "text", "name"],
    &["model", "index", "delta", "usage", "input", "parts"],
    &["object", "source"],
    &["created", "choices", "content", "refusal", "message"],
    &["logprobs", "function", "thinking", "messages", "required"],
    &["arguments", "signature", "image_url"],
    &["tool_calls", "candidates", "parameters", "properties"],
    &["obfuscation", "stop_reason", "description"],
    &["service_tier", "total_tokens", "audio_tokens", "partial_json", "input_tokens"],
    &["finish_reason", "prompt_tokens", "cached_tokens", "content_block", "output_tokens", "stop_sequence"],
    &[],
    &[],
    &["reasoning_tokens"],
    &["reasoning_content", "completion_tokens", "contentBlockIndex"],
    &["system_fingerprint"],
    &[],
    &[],
    &["prompt_tokens_details"],
    &[],
    &[],
    &[],
    &["completion_tokens_details"],
];

fn known(name: &[u8]) -> Option<&'static str> {
    KNOWN.get(name.len())?.iter().find(|known| known.as_bytes() == name).copied()
}

impl Node {
    /// Reads a document; nothing may follow it.
    pub(crate) fn parse(document: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(document);
        let node = Self::read(&mut reader)?;
        reader.end()?;
        Ok(node)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(match reader.kind()? {
            Kind::Null => {
                reader.skip()?;
                Self::Null
            }
            Kind::Bool => Self::Bool(reader.boolean()?),
            Kind::Number => Self::Number(String::from_utf8_lossy(reader.number()?).into_owned()),
            Kind::String => Self::String(decode(reader.string()?)),
            Kind::Array => {
                let mut list = Vec::new();
                reader.each_item(|reader| {
                    list.push(Self::read(reader)?);
                    Ok(())
                })?;
                Self::Array(list)
            }
            Kind::Object => {
                let mut fields = Vec::new();
                reader.each_field(|name, reader| {
                    let name = known(name)
                        .map_or_else(|| Cow::Owned(String::from_utf8_lossy(name).into_owned()), Cow::Borrowed);
                    fields.push((name, Self::read(reader)?));
                    Ok(())
                })?;
                Self::Object(fields)
            }
        })
    }

    /// Returns a field that is there and not `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(found, _)| found == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// Returns a field that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Self::as_str)
    }

    /// Returns the items of a field that is an array; none for anything else.
    pub(crate) fn list(&self, name: &str) -> &[Self] {
        self.get(name).map_or(&[], Self::items)
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Returns a number that is finite.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        let Self::Number(number) = self else { return None };
        number.parse::<f64>().ok().filter(|number| number.is_finite())
    }

    /// Returns a whole number; a fraction is rounded up.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        let Self::Number(number) = self else { return None };
        if let Ok(number) = number.parse() {
            return Some(number);
        }
        // `f64` prints whole numbers without exponent or point.
        let rounded = self.as_f64()?.ceil();
        (rounded >= 0.0).then(|| format!("{}", rounded.abs()).parse().unwrap_or(u64::MAX))
    }

    /// Adds a field, if there is a value.
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl Into<Self>>) -> Self {
        if let (Self::Object(fields), Some(value)) = (&mut self, value) {
            fields.push((Cow::Borrowed(name), value.into()));
        }
        self
    }

    /// Sets a field in its old place, or at the end.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Self>) {
        let Self::Object(fields) = self else { return };
        match fields.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value.into(),
            None => fields.push((Cow::Borrowed(name), value.into())),
        }
    }

    /// Removes a field and returns it, if it was there and not `null`.
    pub(crate) fn take(&mut self, name: &str) -> Option<Self> {
        let Self::Object(fields) = self else { return None };
        let at = fields.iter().position(|(found, _)| found == name)?;
        Some(fields.remove(at).1).filter(|value| !value.is_null())
    }

    /// Writes compact JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(number.as_bytes()),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(fields) => {
                out.push(b'{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_string(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// Returns compact JSON.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Returns compact JSON as text.
    pub(crate) fn to_json(&self) -> String {
        String::from_utf8_lossy(&self.to_bytes()).into_owned()
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if let Ok(quoted) = serde_json::to_string(text) {
        out.extend_from_slice(quoted.as_bytes());
    }
}

fn decode(text: Text<'_>) -> String {
    match text.decode() {
        Ok(text) => text.into_owned(),
        Err(_) => {
            let repaired = repair(text.raw);
            let quoted = [b"\"", repaired.as_bytes(), b"\""].concat();
            serde_json::from_slice(&quoted).unwrap_or(repaired)
        }
    }
}

/// Replaces each escape of half a surrogate pair by the escape of U+FFFD.
fn repair(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let unit = |rest: &str| {
        let digits = rest.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        digits.and_then(|digits| u16::from_str_radix(digits, 16).ok())
    };
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let next = unit(escape.get(6..).unwrap_or_default());
        let (length, is_half) = match unit(escape) {
            Some(0xd800..0xdc00) if matches!(next, Some(0xdc00..0xe000)) => (12, false),
            Some(0xd800..0xe000) => (6, true),
            Some(_) => (6, false),
            None => (2, false),
        };
        let (escape, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        out.push_str(if is_half { "\\ufffd" } else { escape });
        rest = after;
    }
    out.push_str(rest);
    out
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<&String> for Node {
    fn from(text: &String) -> Self {
        Self::String(text.clone())
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Node {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}

impl From<usize> for Node {
    fn from(number: usize) -> Self {
        Self::Number(number.to_string())
    }
}

impl From<f64> for Node {
    /// The number must be finite. A whole one keeps its point.
    fn from(number: f64) -> Self {
        Self::Number(format!("{number:?}"))
    }
}

impl<T: Into<Node>> From<Vec<T>> for Node {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Node>> From<Option<T>> for Node {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_numbers_are_kept() {
        let text = r#"{"b":12345678901234567890,"a":1.0,"é":[true,null,-1e-7,"x\ny"]}"#;
        assert_eq!(Node::parse(text.as_bytes()).unwrap().to_json(), text);
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        for (text, expected) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ud83dz\u0041""#, "a\u{fffd}zA"),
            (r#""\ude00\ud83d\ude00\\ud83d""#, "\u{fffd}😀\\ud83d"),
        ] {
            assert_eq!(Node::parse(text.as_bytes()).unwrap(), Node::from(expected), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_read_from_any_spelling() {
        for (text, expected) in
            [("12", Some(12)), ("12.0", Some(12)), ("11.2", Some(12)), ("1e3", Some(1000)), ("-1", None)]
        {
            assert_eq!(Node::Number(text.to_owned()).as_u64(), expected, "{text}");
        }
    }
}
