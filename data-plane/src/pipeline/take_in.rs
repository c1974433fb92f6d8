//! Takes a request's body in: whole where it must be known, only its front where it is a file.
//!
//! Rule: of an upload only so much is held as names its model; the rest goes upstream as it comes, once. A client that
//! sends the file before the model has its file held, within the limit of a body and the room of all bodies. A form is read
//! to its end nevertheless: while it is held, and then by the upload.

use super::body_room::{BodyRoom, Claim};
use super::read_body::{self, claim_room, declared, read_body, too_large};
use super::refusal::Refusal;
use crate::upstream::body::Upload;
use bytes::{Bytes, BytesMut};
use helix_llm::{Dialect, Form, FormError, RequestFacts, boundary, scan_request};
use helix_shared::error_code::ErrorCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;

const STAGE: &str = "request";

/// A body, as far as it is here.
#[derive(Debug)]
pub(super) struct Taken {
    /// What is here.
    pub(super) body: Bytes,
    /// What it asks for.
    pub(super) facts: RequestFacts,
    /// Memory that it takes.
    pub(super) room: Claim,
    /// What still comes.
    pub(super) upload: Option<Upload>,
}

/// Bounds of reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// The largest body.
    pub(super) limit_bytes: u64,
    /// How long it may take.
    pub(super) limit: Duration,
    /// Memory for all bodies.
    pub(super) room: &'a BodyRoom,
}

/// Takes the body in. What is taken of `body` is gone from it.
///
/// # Errors
/// As the reading of any body; `invalid_request`, `invalid_json` for what cannot be read.
pub(super) async fn take_in(
    dialect: Dialect,
    headers: &mut HeaderMap,
    body: &mut Option<Incoming>,
    bounds: Bounds<'_>,
) -> Result<Taken, Refusal> {
    let Some(incoming) = body.as_mut() else {
        return Err(Refusal::new(STAGE, ErrorCode::Internal, "The body of this request was taken already."));
    };
    let form = match form_of(dialect, headers)? {
        Some(form) if dialect.is_upload() => return front(dialect, headers, body, form, bounds).await,
        form => form,
    };
    let (body, room) = read_body(headers, incoming, bounds.limit_bytes, bounds.limit, bounds.room).await?;
    let facts = match form {
        None => scan_request(dialect, &body)
            .map_err(|error| Refusal::new(STAGE, error.code(), error.to_string()).with_param(error.param()))?,
        Some(mut form) => {
            let read = form.read(&body).and_then(|()| form.finish());
            read.and_then(|()| form.facts(dialect, &body, None)).map_err(unreadable)?
        }
    };
    Ok(Taken { body, facts, room, upload: None })
}

/// Begins the form that a body is, if it is one. Its `Content-Type` becomes our own words: the provider's reader finds the
/// boundary that ours found.
fn form_of(dialect: Dialect, headers: &mut HeaderMap) -> Result<Option<Form>, Refusal> {
    if !dialect.may_be_form() {
        return Ok(None);
    }
    let refuse = |message: &str| Err(Refusal::new(STAGE, ErrorCode::InvalidRequest, message));
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let content_type = given.next().map(|value| value.to_str().unwrap_or("multipart/"));
    if given.next().is_some() {
        return refuse("The Content-Type is given twice.");
    }
    match boundary(content_type.unwrap_or_default()).map_err(unreadable)? {
        Some(boundary) => {
            let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
            let Ok(content_type) = content_type else { return refuse("The boundary of the form cannot be sent on.") };
            headers.insert(CONTENT_TYPE, content_type);
            let form = Form::new(&boundary);
            Ok(Some(if dialect.is_upload() { form.with_file() } else { form }))
        }
        None if dialect.is_upload() => refuse("The body must be a form (multipart/form-data) with a boundary."),
        None => Ok(None),
    }
}

fn unreadable(error: FormError) -> Refusal {
    Refusal::new(STAGE, error.code(), error.to_string()).with_param(error.param())
}

async fn front(
    dialect: Dialect,
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
    mut form: Form,
    bounds: Bounds<'_>,
) -> Result<Taken, Refusal> {
    read_body::refuse_encoding(headers)?;
    let length = declared(headers);
    if length.is_some_and(|length| length > bounds.limit_bytes) {
        return Err(too_large(bounds.limit_bytes));
    }
    let mut room = bounds.room.claim();
    let mut held = BytesMut::new();
    let read = async {
        let Some(incoming) = body.as_mut() else { return Ok(true) };
        while !form.has_model() {
            let Some(frame) = incoming.frame().await else { return Ok(true) };
            let broken = |_| Refusal::new(STAGE, ErrorCode::InvalidRequest, "The body broke off.");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            let so_far = held.len() + data.len();
            if u64::try_from(so_far).unwrap_or(u64::MAX) > bounds.limit_bytes {
                return Err(too_large(bounds.limit_bytes));
            }
            claim_room(&mut room, so_far)?;
            held.extend_from_slice(&data);
            form.read(&held).map_err(unreadable)?;
        }
        Ok(false)
    };
    let read = tokio::time::timeout(bounds.limit, read).await;
    let is_over = read.unwrap_or_else(|_| {
        let message = format!("The model's name did not arrive within {} seconds.", bounds.limit.as_secs());
        Err(Refusal::new(STAGE, ErrorCode::RequestTimeout, message))
    })?;
    let held_bytes = u64::try_from(held.len()).unwrap_or(u64::MAX);
    let is_whole = is_over || body.as_ref().is_none_or(Body::is_end_stream);
    if is_whole {
        form.finish().map_err(unreadable)?;
    }
    let upload = if is_whole { None } else { body.take() };
    let whole_bytes = if is_whole { Some(held_bytes) } else { length };
    let facts = form.facts(dialect, &held, whole_bytes).map_err(unreadable)?;
    let Some(body) = upload else { return Ok(Taken { body: held.freeze(), facts, room, upload: None }) };
    let waiting = held.split_off(form.known_bytes());
    let known_bytes = u64::try_from(held.len()).unwrap_or(u64::MAX);
    let declared = length.map(|length| length.saturating_sub(known_bytes));
    form.forget_known();
    let upload = Upload::new(body, form, waiting, declared, bounds.limit_bytes.saturating_sub(held_bytes));
    Ok(Taken { body: held.freeze(), facts, room, upload: Some(upload) })
}
