//! The script of one answer: what to say, how to count it, how slowly, and where to break.
//!
//! Rule: a request is scripted by the default script, overlaid field by field by a `[[fake:{json}]]` marker in its text,
//! overlaid by an `x-fake-script: {json}` header; an unknown field is an error, never ignored. Rendering is not done here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expect::Expected;
use crate::price::Price;

/// What a script says is no script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The text is not JSON, or a field is unknown or of a wrong type.
    #[error("the script cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The JSON value is not an object.
    #[error("the script is not a JSON object")]
    NotAnObject,
}

/// How lines of an event stream end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Newline {
    /// `\n`, as the providers send.
    #[default]
    Lf,
    /// `\r\n`.
    Crlf,
    /// `\r`.
    Cr,
}

impl Newline {
    /// Returns the bytes that end a line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::Crlf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

/// A tool call that the model makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments: an object, or a string sent as it is (even when it is not JSON).
    #[serde(default)]
    pub arguments: Value,
    /// The call's id; made from its position when absent.
    #[serde(default)]
    pub id: Option<String>,
}

/// One tool call or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolCalls {
    /// One call.
    One(ToolCall),
    /// Several calls, in order.
    Many(Vec<ToolCall>),
}

/// Everything that can be asked of one answer. An absent field keeps the plain behaviour: 20 output tokens, at once, whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Input tokens outside the cache; by default a function of the texts of the request.
    pub input_tokens: Option<u64>,
    /// Output tokens, reasoning included; 20 by default; never more than the cap of the request.
    pub output_tokens: Option<u64>,
    /// Input tokens read from the cache, beside `input_tokens`.
    pub cache_read: u64,
    /// Input tokens written to the cache for a short time, beside `input_tokens`.
    pub cache_write: u64,
    /// Input tokens written to the cache for an hour, beside `input_tokens`.
    pub cache_write_1h: u64,
    /// Reasoning tokens, a part of the output.
    #[serde(alias = "reasoning_tokens")]
    pub reasoning: u64,
    /// The answer's text; by default one word per output token.
    pub text: Option<String>,
    /// Tool calls; without `text` the answer has no text then.
    pub tool_call: Option<ToolCalls>,
    /// Text of the reasoning shown before the answer.
    pub thinking: Option<String>,
    /// Milliseconds before the response headers.
    pub delay_ms: u64,
    /// Milliseconds between the headers and the first chunk of a stream.
    pub first_chunk_delay_ms: u64,
    /// Milliseconds between the content chunks of a stream.
    pub chunk_delay_ms: u64,
    /// Content chunks of a stream; by default at most eight.
    pub chunks: Option<u64>,
    /// Splits the raw body into TCP writes of so many bytes.
    pub chunk_bytes: Option<usize>,
    /// Milliseconds between those writes, so that the reader cannot get two at once.
    pub write_delay_ms: u64,
    /// How lines of a stream end.
    pub newline: Newline,
    /// Starts the stream with a byte order mark.
    pub bom: bool,
    /// Puts a comment line before every event.
    pub comments: bool,
    /// Leaves out the space after `data:` and `event:`.
    pub tight: bool,
    /// Closes the connection after so many bytes of the body.
    pub cut_at_byte: Option<u64>,
    /// Closes the connection after so many content chunks.
    pub cut_after_chunks: Option<u64>,
    /// Cuts with a reset instead of an end of file.
    pub cut_rst: bool,
    /// Sends no usage at all, even when asked.
    pub no_usage: bool,
    /// Sends running totals with every chunk (OpenAI dialect).
    pub usage_in_every_chunk: bool,
    /// Reports zero for every count.
    pub usage_zero: bool,
    /// Answers with this status; 400 and above with an error body of the dialect.
    pub status: Option<u16>,
    /// A `Retry-After` header on an error.
    pub retry_after: Option<u64>,
    /// Overrides the error's type.
    pub error_type: Option<String>,
    /// Overrides the error's code (OpenAI dialect).
    pub error_code: Option<String>,
    /// Overrides the error's message.
    pub error_message: Option<String>,
    /// Sends this body in place of the answer, as it is.
    pub raw_body: Option<String>,
    /// Further response headers.
    pub headers: BTreeMap<String, String>,
    /// Sends an error event after so many content chunks and ends.
    pub error_midstream: Option<u64>,
    /// Answers every n-th request with 500.
    pub error_every_nth: Option<u64>,
    /// Resets the connection before any header.
    pub reset: bool,
    /// Never answers.
    pub hang: bool,
    /// Never goes on after so many content chunks.
    pub hang_after_chunks: Option<u64>,
    /// Puts a line of so many bytes into the stream after the first content chunk.
    pub huge_line_bytes: Option<u64>,
    /// Waits until this gate is opened by `POST /_fake/gate/NAME`.
    pub gate: Option<String>,
    /// Where to wait at the gate: before this content chunk (from 1), or before the headers (0).
    pub gate_at_chunk: u64,
    /// Overrides the stop reason, in the words of the dialect.
    pub stop_reason: Option<String>,
    /// The service tier to report.
    pub service_tier: Option<String>,
    /// Sends an event of a type that nobody knows (responses).
    pub novelty: bool,
    /// How many pictures come; by default as many as were asked for.
    pub images: Option<u64>,
    /// Bytes of each picture.
    pub picture_bytes: Option<u64>,
    /// Milliseconds of sound in a file; by default by its size, at 32 kbit/s.
    pub sound_ms: Option<u64>,
    /// Prices by model, over the built-in table.
    pub prices: BTreeMap<String, Price>,
    /// What the request must hold; it is refused without.
    pub expects: Vec<Expected>,
    /// `false` accepts requests without a key, as a local provider does.
    pub require_auth: Option<bool>,
}

impl Script {
    /// Reads a script from JSON text.
    ///
    /// # Errors
    /// When the text is no JSON object or has an unknown or ill-typed field.
    pub fn from_json(text: &str) -> Result<Self, ScriptError> {
        Self::layered(&[Some(parse_layer(text)?)])
    }

    /// Builds a script from layers, later ones over earlier ones, field by field.
    ///
    /// # Errors
    /// When a layer is no object or the result has an unknown or ill-typed field.
    pub fn layered(layers: &[Option<Value>]) -> Result<Self, ScriptError> {
        let mut merged = serde_json::Map::new();
        for layer in layers.iter().flatten() {
            merged.extend(layer.as_object().ok_or(ScriptError::NotAnObject)?.clone());
        }
        merged.retain(|_, value| !value.is_null());
        Ok(serde_json::from_value(Value::Object(merged))?)
    }

    /// Returns the tool calls of the answer.
    pub fn tool_calls(&self) -> &[ToolCall] {
        match &self.tool_call {
            None => &[],
            Some(ToolCalls::One(call)) => std::slice::from_ref(call),
            Some(ToolCalls::Many(calls)) => calls,
        }
    }
}

/// Reads one layer of a script.
///
/// # Errors
/// When the text is not JSON.
pub(crate) fn parse_layer(text: &str) -> Result<Value, ScriptError> {
    Ok(serde_json::from_str(text)?)
}

/// Finds the first `[[fake:{json}]]` in a text. `None` without one; an error for a marker that cannot be read.
pub(crate) fn find_marker(text: &str) -> Option<Result<Value, ScriptError>> {
    let (_, rest) = text.split_once("[[fake:")?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    values.next().map(|first| first.map_err(ScriptError::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_inside_a_prompt_whatever_brackets_it_holds() {
        let value = find_marker(r#"Say hi [[fake:{"text":"a ]] b","chunks":3}]] please"#).unwrap().unwrap();
        assert_eq!(value["text"], "a ]] b");
        assert!(find_marker("no marker").is_none());
        assert!(find_marker("[[fake:{oops").unwrap().is_err());
    }

    #[test]
    fn later_layers_win_field_by_field_and_null_restores_the_default() {
        let default = serde_json::json!({"output_tokens": 9, "chunks": 2});
        let over = serde_json::json!({"chunks": 4, "output_tokens": null});
        let script = Script::layered(&[Some(default), None, Some(over)]).unwrap();
        assert_eq!((script.chunks, script.output_tokens), (Some(4), None));
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        assert!(Script::from_json(r#"{"chunk":1}"#).unwrap_err().to_string().contains("chunk"));
    }
}
