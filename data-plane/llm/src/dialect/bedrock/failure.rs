//! Amazon's exceptions, by name, and what they mean to a client.
//!
//! Rule: the name decides, then the status; the message stays Amazon's own, with a hint where it needs one.

use bytes::Bytes;

use crate::json::{Node, object};

/// What an exception means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The HTTP status that says it.
    pub(super) status: u16,
    /// Anthropic's word for it, or `insufficient_quota`, or `context_length_exceeded`.
    pub(super) word: &'static str,
    hint: &'static str,
}

impl Meaning {
    /// Reads a name as it stands in a header (`ThrottlingException:http://…`), a body (`ns#ThrottlingException`) or a
    /// stream (`throttlingException`). `status` speaks for names that are not known.
    pub(super) fn of(name: &str, message: &str, status: u16) -> Self {
        let name = name.split(':').next().unwrap_or_default();
        let name = name.rsplit('#').next().unwrap_or_default();
        let name = name.strip_suffix("Exception").unwrap_or(name).to_ascii_lowercase();
        let says = |text: &str| message.contains(text);
        let (status, word) = match name.as_str() {
            "validation" if says("nput is too long") || says("oo many tokens") || says("oo many input tokens") => {
                (400, "context_length_exceeded")
            }
            "validation" => (400, "invalid_request_error"),
            "accessdenied" => (403, "permission_error"),
            "unrecognizedclient"
            | "expiredtoken"
            | "invalidsignature"
            | "signaturedoesnotmatch"
            | "incompletesignature"
            | "invalidclienttokenid"
            | "missingauthenticationtoken" => (401, "authentication_error"),
            "resourcenotfound" => (404, "not_found_error"),
            "modeltimeout" => (504, "timeout_error"),
            "modelerror" | "modelstreamerror" => (502, "api_error"),
            "servicequotaexceeded" => (429, "insufficient_quota"),
            "throttling" if says("per day") => (429, "insufficient_quota"),
            "throttling" => (429, "rate_limit_error"),
            "modelnotready" | "serviceunavailable" => (503, "overloaded_error"),
            "internalserver" => (500, "api_error"),
            _ => (status, word_of(status)),
        };
        let hint = if says("on-demand throughput isn") {
            " (Name an inference profile instead, such as `us.` or `eu.` before the model's id.)"
        } else {
            ""
        };
        Self { status, word, hint }
    }

    /// Returns the message with its hint.
    pub(super) fn explain(self, message: String) -> String {
        message + self.hint
    }
}

fn word_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        502 | 503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Reads an error answer of Bedrock: its status, the header `x-amzn-errortype` and the body. Returns the status that says
/// what it means, and the error as a body of Anthropic's shape.
pub fn bedrock_error(status: u16, error_type: Option<&str>, body: &[u8]) -> (u16, Bytes) {
    let node = Node::parse(body).unwrap_or_default();
    let message = node.text("message").or_else(|| node.text("Message")).unwrap_or_default();
    let name = error_type.or_else(|| node.text("__type")).unwrap_or_default();
    let meaning = Meaning::of(name, message, status);
    let said = if message.is_empty() { "The provider answered with an error." } else { message };
    let error = object! { "type": meaning.word, "message": meaning.explain(said.to_owned()) };
    (meaning.status, Bytes::from(object! { "type": "error", "error": error }.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_wherever_they_stand() {
        for (status, header, body, expected, word) in [
            (
                429,
                Some("ThrottlingException:http://internal.amazon.com/"),
                r#"{"message":"slow"}"#,
                429,
                "rate_limit_error",
            ),
            (
                400,
                None,
                r#"{"__type":"com.amazon#ValidationException","Message":"Input is too long"}"#,
                400,
                "context_length_exceeded",
            ),
            (400, Some("ServiceQuotaExceededException"), r#"{"message":"q"}"#, 429, "insufficient_quota"),
            (408, Some("ModelTimeoutException"), "{}", 504, "timeout_error"),
            (424, Some("ModelErrorException"), "{}", 502, "api_error"),
            (429, Some("ModelNotReadyException"), "{}", 503, "overloaded_error"),
            (403, Some("ExpiredTokenException"), "{}", 401, "authentication_error"),
            (418, None, "<html>", 418, "invalid_request_error"),
        ] {
            let (status, body) = bedrock_error(status, header, body.as_bytes());
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, body["error"]["type"].as_str().unwrap()), (expected, word), "{header:?}");
        }
    }

    #[test]
    fn a_model_without_on_demand_throughput_gets_a_hint() {
        let body = br#"{"message":"Invocation of model ID x with on-demand throughput isn't supported."}"#;
        let (_, body) = bedrock_error(400, Some("ValidationException"), body);
        assert!(String::from_utf8_lossy(&body).contains("inference profile"));
    }
}
