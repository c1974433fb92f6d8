//! Errors in the caller's dialect: bodies, and the error event of a stream.
//!
//! Rule: the words and codes are the ones that real clients were seen to act on; one table says them all.

use bytes::Bytes;
use helix_shared::error_code::ErrorCode;
use serde::Serialize;

use crate::dialect::Family;

/// How a code looks in a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorShape {
    /// The HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code` (OpenAI only; Anthropic has none).
    pub code: &'static str,
}

/// Returns the shape of a code in a family.
pub fn error_shape(family: Family, code: ErrorCode) -> ErrorShape {
    match family {
        Family::OpenAi | Family::Gemini => openai_shape(code),
        Family::Anthropic => anthropic_shape(code),
    }
}

fn openai_shape(code: ErrorCode) -> ErrorShape {
    let status = code.http_status();
    let kind = match (code, status) {
        // What makes clients stop and show the message, instead of trying again in silence.
        (ErrorCode::BudgetExceeded, _) => {
            return ErrorShape { status, kind: "insufficient_quota", code: "insufficient_quota" };
        }
        (_, 403) => "permission_error",
        (_, 429) => "rate_limit_error",
        (_, 500..) => "server_error",
        _ => "invalid_request_error",
    };
    ErrorShape { status, kind, code: code.as_str() }
}

fn anthropic_shape(code: ErrorCode) -> ErrorShape {
    let (status, kind) = match (code, code.http_status()) {
        (ErrorCode::BudgetExceeded, _) => (402, "billing_error"),
        (ErrorCode::NoHealthyBackend | ErrorCode::Overloaded, _) => (529, "overloaded_error"),
        (_, 401) => (401, "authentication_error"),
        (_, 403) => (403, "permission_error"),
        (_, 404) => (404, "not_found_error"),
        (_, 413) => (413, "request_too_large"),
        (_, 429) => (429, "rate_limit_error"),
        (_, status @ (408 | 504)) => (status, "timeout_error"),
        (_, status @ 500..) => (status, "api_error"),
        (_, status) => (status, "invalid_request_error"),
    };
    ErrorShape { status, kind, code: code.as_str() }
}

/// An error to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct ErrorBody<'a> {
    /// Its type and code.
    pub shape: ErrorShape,
    /// What happened, what binds, what to do.
    pub message: &'a str,
    /// The field at fault (OpenAI only).
    pub param: Option<&'a str>,
    /// The id of the request (Anthropic only; OpenAI has it in a header).
    pub request_id: &'a str,
}

impl<'a> ErrorBody<'a> {
    /// Makes the error of a code, without a field at fault.
    pub fn new(family: Family, code: ErrorCode, message: &'a str, request_id: &'a str) -> Self {
        Self { shape: error_shape(family, code), message, param: None, request_id }
    }

    /// Renders the body of a whole answer.
    pub fn render(&self, family: Family) -> Bytes {
        Bytes::from(self.json(family))
    }

    /// Renders the event that ends a stream.
    pub fn render_event(&self, family: Family) -> Bytes {
        let prefix: &[u8] = match family {
            Family::OpenAi | Family::Gemini => b"data: ",
            Family::Anthropic => b"event: error\ndata: ",
        };
        Bytes::from([prefix, &self.json(family), b"\n\n"].concat())
    }

    /// Renders the event that ends a stream of responses, after so many events.
    pub fn render_responses_event(&self, events: u64) -> Bytes {
        let event = ResponsesError {
            r#type: "error",
            sequence_number: events,
            code: self.shape.code,
            message: self.message,
            param: self.param,
        };
        // Strings always serialize.
        let json = serde_json::to_vec(&event).unwrap_or_default();
        Bytes::from([b"event: error\ndata: ", json.as_slice(), b"\n\n"].concat())
    }

    fn json(&self, family: Family) -> Vec<u8> {
        let json = match family {
            Family::OpenAi | Family::Gemini => serde_json::to_vec(&OpenAiError {
                error: OpenAiDetail {
                    message: self.message,
                    r#type: self.shape.kind,
                    param: self.param,
                    code: self.shape.code,
                },
            }),
            Family::Anthropic => serde_json::to_vec(&AnthropicError {
                r#type: "error",
                error: AnthropicDetail { r#type: self.shape.kind, message: self.message },
                request_id: self.request_id,
            }),
        };
        // Strings always serialize.
        json.unwrap_or_default()
    }
}

#[derive(Serialize)]
struct ResponsesError<'a> {
    r#type: &'static str,
    sequence_number: u64,
    code: &'static str,
    message: &'a str,
    param: Option<&'a str>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    error: OpenAiDetail<'a>,
}

#[derive(Serialize)]
struct OpenAiDetail<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    error: AnthropicDetail<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicDetail<'a> {
    r#type: &'static str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_shape_in_both_families() {
        let row = |code: &ErrorCode| {
            let openai = error_shape(Family::OpenAi, *code);
            let anthropic = error_shape(Family::Anthropic, *code);
            format!(
                "{:<24} {} {:<22} {:<24} | {} {}",
                code.as_str(),
                openai.status,
                openai.kind,
                openai.code,
                anthropic.status,
                anthropic.kind
            )
        };
        let table: Vec<String> = ErrorCode::ALL.iter().map(row).collect();
        insta::assert_snapshot!("error_shapes", table.join("\n"));
    }

    #[test]
    fn bodies_and_events_read_as_each_family_writes_them() {
        let mut text = String::new();
        for family in [Family::OpenAi, Family::Anthropic] {
            for code in [ErrorCode::BudgetExceeded, ErrorCode::InvalidRequest, ErrorCode::NoHealthyBackend] {
                let mut error = ErrorBody::new(family, code, "A \"quoted\"\nmessage.", "req_1");
                error.param = (code == ErrorCode::InvalidRequest).then_some("messages[0].content");
                text.push_str(std::str::from_utf8(&error.render(family)).unwrap());
                text.push('\n');
                text.push_str(std::str::from_utf8(&error.render_event(family)).unwrap());
            }
        }
        insta::assert_snapshot!("error_bodies", text);
    }
}
