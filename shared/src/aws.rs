//! How a Bedrock backend proves who it is to Amazon, as one credential that travels as any other.
//!
//! Rule: the text form is printable and without spaces, so that it passes wherever a key passes; a key of Bedrock's own
//! (a bearer token) is that key and nothing else. Nothing here prints.
//! Not here: reading profiles, asking for sessions, signing.

use crate::secret::Secret;

const MARK: &str = "aws:?";

/// What a backend is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsAccess {
    /// The region that requests are signed for.
    pub region: String,
    /// An access key's id.
    pub access_key_id: Option<Secret>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
    /// The token of a temporary key.
    pub session_token: Option<Secret>,
    /// The file of shared credentials.
    pub profile_file: Option<String>,
    /// The section of it.
    pub profile: Option<String>,
}

impl AwsAccess {
    /// Writes the text form.
    pub fn to_secret(&self) -> Secret {
        let secret = |value: &Option<Secret>| value.as_ref().and_then(Secret::expose_str).map(str::to_owned);
        let fields = [
            ("region", Some(self.region.clone())),
            ("access_key_id", secret(&self.access_key_id)),
            ("secret_access_key", secret(&self.secret_access_key)),
            ("session_token", secret(&self.session_token)),
            ("profile_file", self.profile_file.clone()),
            ("profile", self.profile.clone()),
        ];
        let mut text = MARK.to_owned();
        for (name, value) in fields {
            let Some(value) = value else { continue };
            text.push_str(name);
            text.push('=');
            encode(&value, &mut text);
            text.push('&');
        }
        Secret::new(text)
    }

    /// Reads the text form; `None` for anything else, which is a key of Bedrock's own.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let fields = secret.expose_str()?.strip_prefix(MARK)?;
        let mut access = Self::default();
        for field in fields.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=')?;
            let value = decode(value)?;
            match name {
                "region" => access.region = value,
                "access_key_id" => access.access_key_id = Some(Secret::new(value)),
                "secret_access_key" => access.secret_access_key = Some(Secret::new(value)),
                "session_token" => access.session_token = Some(Secret::new(value)),
                "profile_file" => access.profile_file = Some(value),
                "profile" => access.profile = Some(value),
                _ => return None,
            }
        }
        Some(access)
    }
}

/// Returns the host of Bedrock's runtime in a region.
pub fn bedrock_host(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("bedrock-runtime.{region}.{domain}")
}

/// Escapes everything but letters, digits and `-._~`, as one segment of a path wants it.
pub fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                out.extend(char::from_digit(u32::from(digit), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_can_stand_in_a_header() {
        let access = AwsAccess {
            region: "eu-central-1".into(),
            access_key_id: Some(Secret::new("AKID")),
            secret_access_key: Some(Secret::new("a/b+c=&d%")),
            profile_file: Some("/home/jane doe/ü".into()),
            ..AwsAccess::default()
        };
        let secret = access.to_secret();
        assert!(secret.expose().iter().all(|byte| (0x21..0x7f).contains(byte)));
        assert_eq!(AwsAccess::from_secret(&secret), Some(access));
        assert_eq!(AwsAccess::from_secret(&Secret::new("ABSKQmVk")), None);
    }

    #[test]
    fn a_secret_does_not_print() {
        let access = AwsAccess { secret_access_key: Some(Secret::new("canary")), ..AwsAccess::default() };
        assert!(!format!("{access:?}").contains("canary"));
    }
}
