//! Amazon's signatures of requests, worked out anew.
//!
//! Rule: from Amazon's documents, with no code of the gateway and none of the signer that it uses.

use aws_lc_rs::hmac;
use http::request::Parts;

use crate::bill::sha256_hex;

/// Whether a request is signed for a service with a key that is known: the fixed one, or one of a session.
pub(crate) fn is_signed(parts: &Parts, body: &[u8], service: &str, session: &dyn Fn(&str) -> Option<String>) -> bool {
    expected(parts, body, service, session).is_some_and(|(given, expected)| given == expected)
}

/// The id of the key that a request says it is signed with.
pub(crate) fn key_id(parts: &Parts) -> Option<&str> {
    let fields = parts.headers.get("authorization")?.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    fields.split(", ").find_map(|field| field.strip_prefix("Credential="))?.split('/').next()
}

/// Returns the signature that came and the one that should have.
fn expected(
    parts: &Parts,
    body: &[u8],
    wanted: &str,
    session: &dyn Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let text = |name: &str| parts.headers.get(name)?.to_str().ok();
    let fields = text("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let field = |name: &str| fields.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let (credential, names, given) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let (id, scope) = credential.split_once('/')?;
    let moment = text("x-amz-date")?;
    let [date, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else { return None };
    if service != wanted || !moment.starts_with(date) {
        return None;
    }
    let mut needed = vec!["host", "x-amz-date", "content-type"];
    let secret = if id == crate::bedrock::ACCESS_KEY_ID {
        crate::bedrock::SECRET_ACCESS_KEY.to_owned()
    } else {
        needed.push("x-amz-security-token");
        session(id)?
    };
    for needed in needed {
        names.split(';').find(|name| *name == needed)?;
    }
    let mut headers = String::new();
    for name in names.split(';') {
        headers += &format!("{name}:{}\n", text(name)?.trim());
    }
    let path = escaped_again(parts.uri.path());
    let canonical = format!("POST\n{path}\n\n{headers}\n{names}\n{}", sha256_hex(body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, service, "aws4_request", &to_sign] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
        key = tag.as_ref().to_vec();
    }
    let expected = key.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Some((given.to_owned(), expected))
}

fn escaped_again(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
