//! Ids of calls that carry what their provider must see again with the call.
//!
//! Rule: clients keep ids and lose everything else, so the signature of a call travels in its id, in letters that every
//! provider takes in one. It goes back whole and to the model that made it, or not at all; no other provider sees it.

use super::request::{BlockKind, Conversation};

/// What follows is a seal over the model and the signature, `_`, and the signature. LiteLLM writes the same without a seal.
const MARK: &str = "__thought_";
const SEAL_DIGITS: usize = 8;

/// An id, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedId<'a> {
    /// The provider's own id, or ours.
    pub(crate) plain: &'a str,
    /// Tells whether the signature is whole and whose it is; empty: nobody knows.
    seal: &'a str,
    /// The signature in base64; `None`: the id is not signed.
    pub(crate) signature: Option<String>,
}

impl SignedId<'_> {
    /// Returns the signature if this model made it and no client cut it, as far as anybody can tell.
    pub(crate) fn signature_of(self, model: &str) -> Option<String> {
        self.signature.filter(|signature| self.seal.is_empty() || self.seal == seal(model, signature))
    }
}

fn seal(model: &str, signature: &str) -> String {
    // FNV-1a: it tells models and cuts apart, and keeps no secret. How base64 is spelled does not count.
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let bytes = model.bytes().chain([0]).chain(signature.trim_end_matches('=').bytes().map(standard));
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

/// Makes the id that carries a signature of a model, which is given in base64; without a model, whoever is asked gets it.
pub(crate) fn sign(id: &str, model: Option<&str>, signature: &str) -> String {
    let seal = model.map(|model| seal(model, signature)).unwrap_or_default();
    let plain = |c: char| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    };
    let signature: String = signature.trim_end_matches('=').chars().map(plain).collect();
    format!("{id}{MARK}{seal}_{signature}")
}

/// Takes an id apart.
pub(crate) fn split(id: &str) -> SignedId<'_> {
    let unsigned = SignedId { plain: id, seal: "", signature: None };
    let Some((plain, rest)) = id.split_once(MARK) else { return unsigned };
    let Some((seal, data)) = rest.split_once('_') else { return unsigned };
    let is_seal = seal.is_empty() || (seal.len() == SEAL_DIGITS && seal.bytes().all(|it| it.is_ascii_hexdigit()));
    let data = data.trim_end_matches('=');
    let is_data = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte));
    if !is_seal || data.is_empty() || !is_data {
        return unsigned;
    }
    let base64 = |c: char| match c {
        '-' => '+',
        '_' => '/',
        other => other,
    };
    let padding = std::iter::repeat_n('=', (4 - data.len() % 4) % 4);
    SignedId { plain, seal, signature: Some(data.chars().map(base64).chain(padding).collect()) }
}

/// Takes the signatures away, for a provider that made none of them.
pub(crate) fn strip(conversation: &mut Conversation) {
    for block in conversation.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
        let id = match &mut block.kind {
            BlockKind::Call(call) => &mut call.id,
            BlockKind::Result { id, .. } => id,
            _ => continue,
        };
        let plain = split(id).plain.len();
        id.truncate(plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "gemini-3.8-flash";

    #[test]
    fn a_signature_comes_back_whole_to_its_model_or_not_at_all() {
        for signature in ["YQ==", "YWI=", "a+/b", "////"] {
            let id = sign("call_1", Some(MODEL), signature);
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
            assert_eq!((split(&id).plain, split(&id).signature_of(MODEL).as_deref()), ("call_1", Some(signature)));
            assert_eq!(split(&id).signature_of("gemini-4-argon"), None);
            let cut = id.get(..id.len() - 1).unwrap();
            assert_eq!(split(cut).signature_of(MODEL), None, "{cut}");
        }
        for unsealed in [sign("call_x", None, "YWI="), "call_x__thought__YWI=".to_owned()] {
            assert_eq!(split(&unsealed).signature_of(MODEL).as_deref(), Some("YWI="));
        }
    }

    #[test]
    fn other_ids_stay_as_they_are() {
        for id in ["call_1", "", "call__thought_", "call__thought_x_YWI=", "call__thought__", "call__thought__a b"] {
            assert_eq!(split(id), SignedId { plain: id, seal: "", signature: None }, "{id}");
        }
    }
}
