//! How a Bedrock backend proves who it is to Amazon, as one credential that travels as any other.
//!
//! Rule: the text form is printable and without spaces, so that it passes wherever a key passes; a key of Bedrock's own
//! (a bearer token) is that key and nothing else. Nothing here prints.
//! Not here: reading profiles, asking for sessions, signing.

use crate::cloud::{Field, read, write};
use crate::secret::Secret;

pub use crate::cloud::encode;

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
    /// A role that is assumed, with these keys or with a web identity.
    pub role_arn: Option<String>,
    /// What the role's owner wants to hear from whoever assumes it.
    pub external_id: Option<Secret>,
    /// The file with the token of a web identity; read for each session, because it is replaced.
    pub web_identity_token_file: Option<String>,
}

impl AwsAccess {
    /// Writes the text form.
    pub fn to_secret(&self) -> Secret {
        write(
            MARK,
            &[
                Field::Plain("region", Some(&self.region)),
                Field::Secret("access_key_id", self.access_key_id.as_ref()),
                Field::Secret("secret_access_key", self.secret_access_key.as_ref()),
                Field::Secret("session_token", self.session_token.as_ref()),
                Field::Plain("profile_file", self.profile_file.as_deref()),
                Field::Plain("profile", self.profile.as_deref()),
                Field::Plain("role_arn", self.role_arn.as_deref()),
                Field::Secret("external_id", self.external_id.as_ref()),
                Field::Plain("web_identity_token_file", self.web_identity_token_file.as_deref()),
            ],
        )
    }

    /// Reads the text form; `None` for anything else, which is a key of Bedrock's own.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let mut access = Self::default();
        read(MARK, secret, |name, value| {
            match name {
                "region" => access.region = value,
                "access_key_id" => access.access_key_id = Some(Secret::new(value)),
                "secret_access_key" => access.secret_access_key = Some(Secret::new(value)),
                "session_token" => access.session_token = Some(Secret::new(value)),
                "profile_file" => access.profile_file = Some(value),
                "profile" => access.profile = Some(value),
                "role_arn" => access.role_arn = Some(value),
                "external_id" => access.external_id = Some(Secret::new(value)),
                "web_identity_token_file" => access.web_identity_token_file = Some(value),
                _ => return false,
            }
            true
        })?;
        Some(access)
    }
}

/// Returns the host of Bedrock's runtime in a region.
pub fn bedrock_host(region: &str) -> String {
    format!("bedrock-runtime.{region}.{}", domain(region))
}

/// Returns the domain that Amazon's services have in a region.
pub fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
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
