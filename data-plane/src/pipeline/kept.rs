//! The ids of responses that a provider keeps, as clients get them: they say where the response lies and whose it is.
//!
//! Rule: an id is sealed with the key that all nodes of an instance share. What was tampered with, belongs to somebody
//! else, or lies at a backend whose credential has changed, is not there: the answer does not tell these apart. A response
//! is never looked for at another backend.

use super::refusal::Refusal;
use crate::config::Pinned;
use crate::upstream::Upstream;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use helix_llm::RenameId;
use helix_shared::error_code::ErrorCode;
use helix_shared::snapshot::Caller;
use std::sync::Arc;

const PREFIX: &str = "resp_";
const TAG_BYTES: usize = 16;
const OWNER_BYTES: usize = 8;
const CREDENTIAL_BYTES: usize = 4;

/// Where a response lies.
#[derive(Debug, Clone)]
pub struct KeptResponse {
    /// The backend.
    pub upstream: Arc<Upstream>,
    /// The model, in the client's words.
    pub model: String,
    /// The backend's own id.
    pub upstream_id: String,
}

/// Gives the client's names of one backend's responses to one caller.
#[derive(Debug)]
pub struct Names {
    pepper: hmac::Key,
    /// Owner, credential, backend and model, as they stand in every id.
    head: Vec<u8>,
    /// The response before: as the backend calls it, and as the client did.
    previous: Option<(String, String)>,
}

impl Names {
    /// For the answers to a caller; `None` while there is no key to seal with, or a name is too long to be sealed.
    pub fn of(pinned: &Pinned, caller: &Caller, upstream: &Upstream, model: &str) -> Option<Self> {
        let pepper = pinned.pepper.clone()?;
        let mut head = owner(&pepper, caller).to_vec();
        head.extend_from_slice(&credential(&pepper, upstream));
        for text in [upstream.backend.id.as_str(), model] {
            head.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
            head.extend_from_slice(text.as_bytes());
        }
        Some(Self { pepper, head, previous: None })
    }

    /// Keeps the client's own word for the response before.
    pub fn following(self, previous: Option<(String, String)>) -> Self {
        Self { previous, ..self }
    }
}

impl RenameId for Names {
    fn rename(&self, id: &str) -> String {
        if let Some((_, given)) = self.previous.as_ref().filter(|(own, _)| own == id) {
            return given.clone();
        }
        let mut sealed = vec![0; TAG_BYTES];
        sealed.extend_from_slice(&self.head);
        sealed.extend_from_slice(id.as_bytes());
        let tag = tag(&self.pepper, sealed.get(TAG_BYTES..).unwrap_or_default());
        if let Some(place) = sealed.get_mut(..TAG_BYTES) {
            place.copy_from_slice(&tag);
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
    }
}

/// Finds the response that a caller's id speaks of.
///
/// # Errors
/// `previous_response_not_found`.
pub fn find(pinned: &Pinned, caller: &Caller, id: &str) -> Result<KeptResponse, Refusal> {
    open(pinned, caller, id).ok_or_else(|| {
        let message = "There is no such response, or it is not yours. Responses are kept where they were made: an id that \
                       did not come from this gateway, or of a provider that was taken away, leads nowhere.";
        Refusal::new("route", ErrorCode::ResponseNotFound, message).with_param(Some("previous_response_id"))
    })
}

fn open(pinned: &Pinned, caller: &Caller, id: &str) -> Option<KeptResponse> {
    let pepper = pinned.pepper.as_ref()?;
    let sealed = URL_SAFE_NO_PAD.decode(id.strip_prefix(PREFIX)?).ok()?;
    let (given, rest) = sealed.split_at_checked(TAG_BYTES)?;
    aws_lc_rs::constant_time::verify_slices_are_equal(given, &tag(pepper, rest)).ok()?;
    let (owned_by, rest) = rest.split_at_checked(OWNER_BYTES)?;
    let (made_with, rest) = rest.split_at_checked(CREDENTIAL_BYTES)?;
    let (backend, rest) = text(rest)?;
    let (model, rest) = text(rest)?;
    let upstream = pinned.upstreams.iter().find(|upstream| upstream.backend.id.as_str() == backend)?;
    let is_same = owned_by == owner(pepper, caller) && made_with == credential(pepper, upstream);
    is_same.then_some(KeptResponse {
        upstream: Arc::clone(upstream),
        model: model.to_owned(),
        upstream_id: std::str::from_utf8(rest).ok()?.to_owned(),
    })
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn keyed<const N: usize>(pepper: &hmac::Key, purpose: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut context = hmac::Context::with_key(pepper);
    // No API key holds a zero byte, so that none of these is the hash of one.
    context.update(purpose.as_bytes());
    context.update(&[0]);
    for part in parts {
        context.update(part);
    }
    let whole = context.sign();
    whole.as_ref().first_chunk::<N>().copied().unwrap_or([0; N])
}

fn tag(pepper: &hmac::Key, sealed: &[u8]) -> [u8; TAG_BYTES] {
    keyed(pepper, "response id", &[sealed])
}

/// A person's responses are theirs under every key; those of a team's key are the team's.
fn owner(pepper: &hmac::Key, caller: &Caller) -> [u8; OWNER_BYTES] {
    let (kind, id): (&[u8], &str) = match (&caller.user_id, &caller.team_id) {
        (Some(user), _) => (b"user ", user.as_str()),
        (None, Some(team)) => (b"team ", team.as_str()),
        (None, None) => (b"key ", caller.key_id.as_str()),
    };
    keyed(pepper, "response owner", &[kind, id.as_bytes()])
}

fn credential(pepper: &hmac::Key, upstream: &Upstream) -> [u8; CREDENTIAL_BYTES] {
    let key = upstream.backend.api_key.as_ref().map_or(&[][..], |key| key.expose());
    keyed(pepper, "response credential", &[key])
}
