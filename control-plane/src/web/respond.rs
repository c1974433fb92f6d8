//! Answers: a rendered page with its status, and the headers that every answer has.
//!
//! Rule: an error page says what to do and nothing of the inside; the cause goes to the log, once.

use crate::app::AppError;
use axum::response::{Html, IntoResponse, Response};
use helix_ui::{CONTENT_SECURITY_POLICY, NoticePage, RenderError};
use http::{HeaderValue, StatusCode, header};

pub(super) fn page(status: StatusCode, html: Result<String, RenderError>) -> Response {
    match html {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be rendered.").into_response()
        }
    }
}

/// A page that says one thing. The advice may end in a command, which stands on a line of its own.
pub(super) fn notice(status: StatusCode, title: &str, message: &str, (advice, command): (&str, &str)) -> Response {
    let notice = NoticePage {
        title: title.to_owned(),
        message: message.to_owned(),
        advice: advice.to_owned(),
        command: command.to_owned(),
    };
    page(status, notice.to_html())
}

pub(super) async fn not_found() -> Response {
    notice(StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.", ("", ""))
}

/// An operation that failed through no fault of who asked.
pub(super) fn failed(error: &AppError) -> Response {
    tracing::error!(error = %crate::error::chain(error), "a page could not be served");
    let advice = "Try again in a moment. If it stays like this, the log says why.";
    notice(StatusCode::SERVICE_UNAVAILABLE, "Not available", "The gateway could not reach its database.", (advice, ""))
}

pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // links carry one-time tokens; `no-referrer` would also blank the Origin that forms are checked by
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
