//! Every answer we make ourselves, in the caller's dialect.
//!
//! Rule: one place knows statuses, shapes and headers of refusals. The message says what happened, what binds and what to
//! do; never a secret, never the caller's text.

use crate::body::GatewayBody;
use helix_llm::{ErrorBody, Family};
use helix_shared::error_code::ErrorCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

/// The request's id, as OpenAI's clients and most tools read it.
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The stage that refused.
    pub stage: &'static str,
    /// For people.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// When to come back.
    pub retry_after_seconds: Option<u32>,
}

impl Refusal {
    /// A refusal of a stage.
    pub fn new(stage: &'static str, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, stage, message: message.into(), param: None, retry_after_seconds: None }
    }

    /// Names the field at fault.
    pub fn with_param(mut self, param: Option<&str>) -> Self {
        self.param = param.map(str::to_owned);
        self
    }

    /// Says when to come back.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The status in this dialect.
    pub fn status(&self, family: Family) -> u16 {
        helix_llm::error_shape(family, self.code).status
    }

    /// Renders the answer.
    pub fn respond(&self, family: Family, request_id: &str) -> Response<GatewayBody> {
        let mut error = ErrorBody::new(family, self.code, &self.message, request_id);
        error.param = self.param.as_deref();
        let mut response = Response::new(GatewayBody::from(error.render(family)));
        *response.status_mut() = StatusCode::from_u16(error.shape.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        identify(headers, family, request_id);
        headers.insert(
            HeaderName::from_static("x-helix-error-source"),
            HeaderValue::from_static(self.code.source().as_str()),
        );
        headers.insert(HeaderName::from_static("x-helix-error-code"), HeaderValue::from_static(self.code.as_str()));
        let should_retry = if self.code.is_retryable() { "true" } else { "false" };
        headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static(should_retry));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Sets the request's id under the names that the dialect's clients read.
pub fn identify(headers: &mut HeaderMap, family: Family, request_id: &str) {
    let Ok(id) = HeaderValue::from_str(request_id) else { return };
    if family == Family::Anthropic {
        headers.insert(HeaderName::from_static("request-id"), id.clone());
    }
    headers.insert(X_REQUEST_ID.clone(), id);
}
