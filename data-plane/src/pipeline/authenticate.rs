//! A key in either header becomes a caller.
//!
//! Rule: keys are looked up by their keyed hash; what is presented is never kept, logged or echoed. Unknown and revoked
//! keys get the same answer.

use super::refusal::Refusal;
use crate::config::Pinned;
use aws_lc_rs::hmac;
use helix_shared::error_code::ErrorCode;
use helix_shared::snapshot::Caller;
use helix_shared::snapshot::view::Standing;
use helix_shared::time::UnixMicros;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::Arc;

const STAGE: &str = "auth";

/// Finds the caller.
///
/// # Errors
/// `invalid_api_key`, `expired_api_key`, `conflicting_credentials`, `quarantined`, `not_ready`.
pub fn authenticate(pinned: &Pinned, headers: &HeaderMap, now: UnixMicros) -> Result<Arc<Caller>, Refusal> {
    let refuse = |code, message: &str| Refusal::new(STAGE, code, message);
    let key = presented(headers)?;
    let Some(pepper) = &pinned.pepper else {
        return Err(
            refuse(ErrorCode::NotReady, "The gateway has no settings yet; try again in a moment.").with_retry_after(1)
        );
    };
    let tag = hmac::sign(pepper, key);
    let hash = tag.as_ref().try_into().ok();
    let caller = hash.and_then(|hash| pinned.snapshot.caller(hash));
    let Some(caller) = caller else {
        let hint = if key.starts_with(b"hx_") {
            "The API key is unknown or revoked. Ask your administrator for a new one, or create it with `helixgateway keys create`."
        } else {
            "This is not a Helix API key (they begin with hx_). Provider keys stay in the gateway; use the key your administrator gave you."
        };
        return Err(refuse(ErrorCode::InvalidApiKey, hint));
    };
    match &caller.standing {
        Standing::Good => {}
        Standing::Revoked | Standing::OwnerDisabled => {
            return Err(refuse(
                ErrorCode::InvalidApiKey,
                "The API key is unknown or revoked. Ask your administrator for a new one, or create it with `helixgateway keys create`.",
            ));
        }
        Standing::Quarantined(reason) => {
            let message =
                format!("The configuration that governs this key cannot be used: {reason}. Ask your administrator.");
            return Err(Refusal::new(STAGE, ErrorCode::Quarantined, message).with_retry_after(30));
        }
    }
    if caller.expires_at.is_some_and(|end| now >= end) {
        return Err(refuse(ErrorCode::ExpiredApiKey, "The API key has expired. Ask your administrator for a new one."));
    }
    Ok(Arc::clone(caller))
}

fn presented(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let bearer = headers.get(AUTHORIZATION).map(|value| bearer(value.as_bytes()));
    let plain = headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii()).filter(|key| !key.is_empty());
    match (bearer, plain) {
        (Some(Some(bearer)), Some(plain)) if bearer != plain => Err(Refusal::new(
            STAGE,
            ErrorCode::ConflictingCredentials,
            "Authorization and x-api-key carry different keys; send one of them.",
        )),
        (Some(Some(key)), _) | (_, Some(key)) => Ok(key),
        (Some(None), None) => {
            Err(Refusal::new(STAGE, ErrorCode::InvalidApiKey, "The Authorization header must read `Bearer KEY`."))
        }
        (None, None) => Err(Refusal::new(
            STAGE,
            ErrorCode::InvalidApiKey,
            "No API key. Send it as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
        )),
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let key = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !key.is_empty()).then_some(key)
}
