//! What a Responses client gets back of its own request, and the response object around an answer.
//!
//! Rule: every field that the SDKs require is there. Nothing is stored, so `store` is always answered with `false`.

use std::collections::HashMap;

use helix_shared::usage::TokenUsage;

use crate::json::{Node, object};
use crate::translate::AnswerContext;

/// What the answer must know of its request.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Echo {
    /// The fields that are answered as they were asked, with their defaults.
    pub(super) fields: Vec<(&'static str, Node)>,
    /// Whether the client wants to carry signed thinking.
    pub(super) asks_encrypted: bool,
    /// Namespace and name of each tool that stood in a namespace, by its flat name.
    pub(super) namespaces: HashMap<String, (String, String)>,
}

/// The field of a request that is answered, and its default.
pub(super) fn echoed() -> [(&'static str, Node); 12] {
    [
        ("instructions", Node::Null),
        ("max_output_tokens", Node::Null),
        ("parallel_tool_calls", Node::Bool(true)),
        ("reasoning", object! { "effort": Node::Null, "summary": Node::Null }),
        ("temperature", Node::from(1.0)),
        ("text", object! { "format": object! { "type": "text" } }),
        ("tool_choice", Node::from("auto")),
        ("tools", Node::Array(Vec::new())),
        ("top_p", Node::from(1.0)),
        ("truncation", Node::from("disabled")),
        ("user", Node::Null),
        ("metadata", object! {}),
    ]
}

/// How a response stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Status<'a> {
    InProgress,
    Completed,
    /// With the reason.
    Incomplete(&'static str),
    /// With code and message.
    Failed(&'a str, &'a str),
}

impl Status<'_> {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(..) => "failed",
        }
    }
}

/// Builds the response object.
pub(super) fn response(
    echo: &Echo,
    context: &AnswerContext,
    status: Status<'_>,
    output: Vec<Node>,
    usage: Option<TokenUsage>,
) -> Node {
    let error = match status {
        Status::Failed(code, message) => object! { "code": code, "message": message },
        _ => Node::Null,
    };
    let details = match status {
        Status::Incomplete(reason) => object! { "reason": reason },
        _ => Node::Null,
    };
    let mut response = object! {
        "id": context.answer_id("resp"),
        "object": "response",
        "created_at": context.created_unix_s,
        "status": status.name(),
        "error": error,
        "incomplete_details": details,
        "model": &context.model,
        "output": Node::Array(output),
        "previous_response_id": Node::Null,
        "store": false,
        "usage": usage.map(render_usage),
    };
    let fields = if echo.fields.is_empty() { echoed().to_vec() } else { echo.fields.clone() };
    for (name, value) in fields {
        response.set(name, value);
    }
    response
}

/// Renders the counters: cached tokens lie inside `input_tokens`.
fn render_usage(usage: TokenUsage) -> Node {
    let (input, output) = (usage.total_input_tokens(), usage.total_output_tokens());
    let written = usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens);
    object! {
        "input_tokens": input,
        "input_tokens_details": object! {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": written,
        },
        "output_tokens": output,
        "output_tokens_details": object! { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": input.saturating_add(output),
    }
}
