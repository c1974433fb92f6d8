//! How an attempt fails, and what the client hears of it.
//!
//! Rule: the last backend's error passes as the provider wrote it, except for errors about our own credential, redirects,
//! and an upload that cannot be sent again.

use super::attempts::{Ask, Tried};
use super::broken::Broken;
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::settle::Ending;
use crate::body::GatewayBody;
use crate::records::draft::Draft;
use crate::upstream::body::Upload;
use bytes::Bytes;
use helix_llm::Family;
use helix_shared::error_code::ErrorCode;
use http::response::Parts;
use http::{Response, StatusCode};

pub(super) struct Failure {
    pub(super) refusal: Refusal,
    /// The provider's own error, passed on when this was the last try.
    pub(super) verbatim: Option<(Parts, Bytes)>,
    pub(super) is_final: bool,
    /// The provider says that our key is over: when it was used, on the clock that never goes back.
    pub(super) key_over_us: Option<u64>,
}

pub(super) fn no_place(ask: &Ask, family: Family) -> Refusal {
    if ask.kept.is_some() {
        let message = "The response that this one follows lies at a backend that does not serve this model.";
        return Refusal::new("route", ErrorCode::ResponseNotFound, message).with_param(Some("previous_response_id"));
    }
    if ask.resolved.places.is_empty() {
        let message =
            "No backend of this model is available. Its route or backends may be quarantined; ask your administrator.";
        return Refusal::new("route", ErrorCode::NoHealthyBackend, message).with_retry_after(30);
    }
    let dialect = match family {
        Family::OpenAi => "OpenAI",
        Family::Anthropic => "Anthropic",
        Family::Gemini => "Gemini",
    };
    let message = format!("No backend of this model can serve this API of the {dialect} dialect.");
    Refusal::new("route", ErrorCode::UnsupportedBackend, message).with_param(Some("model"))
}

pub(super) fn may_fail_over(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403 | 408 | 409 | 429 | 500..)
}

/// Whether a provider says that a session or a token is over: another one may do.
pub(super) fn is_key_over(parts: &Parts) -> bool {
    if parts.status == StatusCode::UNAUTHORIZED {
        return true;
    }
    let kind = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("ExpiredToken"))
}

pub(super) fn broke(exchange: &mut Exchange, broken: Broken, family: Family) -> Tried {
    let Some((mut draft, mut open)) = exchange.take() else { return lost(family) };
    let ending = match broken {
        Broken::Unreachable => Ending::Unbilled(broken.verdict()),
        // An error costs nothing, whatever it says.
        Broken::Encoded if open.status >= 400 => Ending::Unbilled("provider_error"),
        _ => Ending::Uncertain(broken.verdict()),
    };
    let message = broken.message();
    open.note_broken(&mut draft, broken);
    let upload = open.upload.clone();
    open.close(&mut draft, &ending);
    let form_error = upload.as_ref().and_then(Upload::form_error);
    let refusal = match (upload.filter(Upload::is_begun), form_error) {
        (_, Some(error)) => Refusal::new("request", error.code(), error.to_string()).with_param(error.param()),
        (None, None) => Refusal::new("model", broken.code(), message),
        (Some(upload), None) if upload.is_too_large() => Refusal::new(
            "request",
            ErrorCode::RequestTooLarge,
            "The upload is larger than the limit (server.limits.body_mb).",
        ),
        (Some(_), None) => {
            let message =
                format!("{message} The upload had begun and cannot be sent again by the gateway; send it again.");
            Refusal::new("model", broken.code(), message)
        }
    };
    Tried::Failed(draft, Box::new(Failure { refusal, verbatim: None, is_final: broken.is_final(), key_over_us: None }))
}

/// The record was closed elsewhere: a broken invariant, answered as such.
pub(super) fn lost(family: Family) -> Tried {
    tracing::error!("invariant broken: an exchange lost its record before its answer");
    let refusal = Refusal::new("model", ErrorCode::Internal, "The gateway lost track of this request.");
    Tried::Answered(Box::new(refusal.respond(family, "")))
}

/// What a provider's error means to us. One about our own credential is never passed on: it may quote the key. Nor is a
/// redirect: a client that followed it would take its own key to a place that the provider chose.
pub(super) fn provider_refusal(status: u16, parts: Parts, body: Bytes) -> (Refusal, Option<(Parts, Bytes)>) {
    if status == 401 || status == 403 {
        tracing::error!(status, "a provider refuses the gateway's credential; check the provider's api_key");
        let message =
            "The provider refused the gateway's own credential. This is not about your key; tell your administrator.";
        return (Refusal::new("model", ErrorCode::UpstreamCredential, message), None);
    }
    if parts.status.is_redirection() {
        let message = "The provider answered with a redirect, and none is followed. Its base_url must be the final address; \
                       tell your administrator.";
        return (Refusal::new("model", ErrorCode::UpstreamError, message), None);
    }
    let refusal = Refusal::new("model", ErrorCode::UpstreamError, "The provider answered with an error.");
    (refusal, Some((parts, body)))
}

pub(super) fn fail(mut draft: Box<Draft>, family: Family, refusal: &Refusal) -> Response<GatewayBody> {
    draft.failed(refusal.stage, refusal.code.as_str(), refusal.status(family));
    draft.note_first_byte();
    let response = refusal.respond(family, draft.request_id());
    draft.finish();
    response
}

pub(super) fn audit_unavailable(error: &crate::records::journal::JournalError) -> Refusal {
    tracing::error!(error = %crate::chain(error), "a request was refused because its record could not be written");
    let message =
        "The record of this request cannot be made durable right now, and no request goes unrecorded. Try again later.";
    Refusal::new("audit", ErrorCode::AuditUnavailable, message).with_retry_after(5)
}
