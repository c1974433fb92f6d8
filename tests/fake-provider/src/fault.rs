//! The errors this provider answers, in the words and shapes of each dialect.
//!
//! Rule: an error bills nothing; its body is what the real provider's SDK turns into its own error class.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;

use crate::ask::Dialect;
use crate::plan::Plan;
use crate::script::Script;

/// An error to answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The status.
    pub(crate) status: u16,
    /// What went wrong.
    pub(crate) message: String,
    /// The type, if not the usual one of the status.
    pub(crate) kind: Option<String>,
    /// The code (OpenAI), if not the usual one of the status.
    pub(crate) code: Option<String>,
    /// Seconds of a `Retry-After` header.
    pub(crate) retry_after: Option<u64>,
    /// The value of an `x-should-retry` header.
    pub(crate) should_retry: Option<bool>,
    /// Whose form it has, if not that of the endpoint.
    pub(crate) form: Option<Dialect>,
}

impl Fault {
    /// An error with the usual words of its status.
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: None,
            code: None,
            retry_after: None,
            should_retry: None,
            form: None,
        }
    }

    /// A request that cannot be understood.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// A spent budget, as clients take it best.
    pub(crate) fn out_of_budget(dialect: Dialect) -> Self {
        let message = "You exceeded your current quota, please check your plan and billing details.";
        let refusal = match dialect {
            Dialect::OpenAi => {
                let word = Some("insufficient_quota".to_owned());
                Self { kind: word.clone(), code: word, ..Self::new(429, message) }
            }
            Dialect::Anthropic | Dialect::Bedrock => Self::new(402, message),
            Dialect::Gemini => Self::new(429, message),
        };
        Self { should_retry: Some(false), ..refusal }
    }

    /// The error that a script asks for with `status`.
    pub(crate) fn scripted(status: u16, script: &Script) -> Self {
        let message = script.error_message.clone().unwrap_or_else(|| format!("Scripted error {status}"));
        Self {
            kind: script.error_type.clone(),
            code: script.error_code.clone(),
            retry_after: script.retry_after,
            ..Self::new(status, message)
        }
    }

    /// Renders the JSON body.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> String {
        let kind = self.kind.as_deref();
        let error = match dialect {
            Dialect::OpenAi => {
                let (usual_kind, usual_code) = openai_words(self.status);
                let code = self.code.as_deref().or(usual_code);
                json!({"error": {"message": self.message, "type": kind.unwrap_or(usual_kind), "param": null, "code": code}})
            }
            Dialect::Anthropic => {
                let kind = kind.unwrap_or_else(|| anthropic_word(self.status));
                json!({"type": "error", "error": {"type": kind, "message": self.message}, "request_id": request_id})
            }
            Dialect::Bedrock => json!({"message": self.message}),
            Dialect::Gemini => crate::gemini::error(self),
        };
        error.to_string()
    }

    /// Plans the answer.
    pub(crate) fn plan(&self, dialect: Dialect, request_id: &str) -> Plan {
        let dialect = self.form.unwrap_or(dialect);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Google says it in the body.
        if let Some(seconds) = self.retry_after.filter(|_| dialect != Dialect::Gemini) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(retry) = self.should_retry {
            headers.insert("x-should-retry", HeaderValue::from_static(if retry { "true" } else { "false" }));
        }
        if dialect == Dialect::Bedrock {
            let kind = self.kind.as_deref().unwrap_or(crate::bedrock::error_type(self.status));
            headers.extend(HeaderValue::from_str(kind).map(|kind| (HeaderName::from_static("x-amzn-errortype"), kind)));
        }
        Plan::whole(self.status, headers, self.body(dialect, request_id))
    }
}

fn openai_words(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("permission_denied", Some("model_not_allowed")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 => ("server_error", Some("engine_overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

fn anthropic_word(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
