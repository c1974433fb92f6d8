//! Reads a request's body, bounded in size and time.
//!
//! Rule: a body of one piece is not copied; a larger one is joined once, because it is scanned as a whole.

use super::body_room::{BodyRoom, Claim};
use super::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use helix_shared::error_code::ErrorCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;

const STAGE: &str = "request";

/// Reads the whole body.
///
/// # Errors
/// `request_too_large`, `request_timeout`, `invalid_request`, `overloaded`.
pub async fn read_body(
    headers: &HeaderMap,
    body: &mut Incoming,
    limit_bytes: u64,
    limit: Duration,
    room: &BodyRoom,
) -> Result<(Bytes, Claim), Refusal> {
    refuse_encoding(headers)?;
    if declared(headers).is_some_and(|length| length > limit_bytes) {
        return Err(too_large(limit_bytes));
    }
    let read = tokio::time::timeout(limit, join(body, limit_bytes, room)).await;
    read.unwrap_or_else(|_| {
        let message = format!("The body did not arrive within {} seconds.", limit.as_secs());
        Err(Refusal::new(STAGE, ErrorCode::RequestTimeout, message))
    })
}

pub(super) fn refuse_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        let message = "Compressed request bodies are not supported; send the body without Content-Encoding.";
        return Err(Refusal::new(STAGE, ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

async fn join(body: &mut Incoming, limit_bytes: u64, room: &BodyRoom) -> Result<(Bytes, Claim), Refusal> {
    let mut claim = room.claim();
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| Refusal::new(STAGE, ErrorCode::InvalidRequest, "The body broke off.");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let so_far = first.len() + joined.len() + data.len();
        if u64::try_from(so_far).unwrap_or(u64::MAX) > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            let expected = usize::try_from(body.size_hint().lower().min(limit_bytes)).unwrap_or(0);
            claim_room(&mut claim, so_far + expected)?;
            joined.reserve(so_far + expected);
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        claim_room(&mut claim, so_far)?;
        joined.extend_from_slice(&data);
    }
    Ok((if joined.is_empty() { first } else { joined.freeze() }, claim))
}

pub(super) fn claim_room(claim: &mut Claim, bytes: usize) -> Result<(), Refusal> {
    if claim.grow_to(u64::try_from(bytes).unwrap_or(u64::MAX)) {
        return Ok(());
    }
    let message = "The gateway holds as many request bodies as it has memory for; try again in a moment.";
    Err(Refusal::new(STAGE, ErrorCode::Overloaded, message).with_retry_after(1))
}

pub(super) fn declared(headers: &header::HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn too_large(limit_bytes: u64) -> Refusal {
    let message = format!("The body is larger than the limit of {} MiB (server.limits.body_mb).", limit_bytes >> 20);
    Refusal::new(STAGE, ErrorCode::RequestTooLarge, message)
}
