//! What a backend of Google's Vertex AI is configured with, and where that is.
//!
//! Rule: nothing set beside project and region means what the machine is: the default credentials of its user, or the
//! metadata server's.

use super::{Field, read, write};
use crate::secret::Secret;

const MARK: &str = "google:?";

/// What a backend is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoogleAccess {
    /// The project that is asked, and pays.
    pub project: String,
    /// The location: a region, `global`, or a multi-region such as `eu`.
    pub region: String,
    /// A credentials file's content.
    pub credentials: Option<Secret>,
    /// The path of a credentials file.
    pub credentials_file: Option<String>,
    /// An access token that somebody else keeps fresh.
    pub access_token: Option<Secret>,
}

impl GoogleAccess {
    /// Writes the text form.
    pub fn to_secret(&self) -> Secret {
        write(
            MARK,
            &[
                Field::Plain("project", Some(&self.project)),
                Field::Plain("region", Some(&self.region)),
                Field::Secret("credentials", self.credentials.as_ref()),
                Field::Plain("credentials_file", self.credentials_file.as_deref()),
                Field::Secret("access_token", self.access_token.as_ref()),
            ],
        )
    }

    /// Reads the text form; `None` for anything else.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let mut access = Self::default();
        read(MARK, secret, |name, value| {
            match name {
                "project" => access.project = value,
                "region" => access.region = value,
                "credentials" => access.credentials = Some(Secret::new(value)),
                "credentials_file" => access.credentials_file = Some(value),
                "access_token" => access.access_token = Some(Secret::new(value)),
                _ => return false,
            }
            true
        })?;
        Some(access)
    }
}

/// Returns the host of Vertex AI for a location.
pub fn vertex_host(region: &str) -> String {
    match region {
        "global" => "aiplatform.googleapis.com".to_owned(),
        region if !region.contains('-') => format!("aiplatform.{region}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_can_stand_in_a_header() {
        let access = GoogleAccess {
            project: "my-project".into(),
            region: "global".into(),
            credentials: Some(Secret::new("{\n  \"private_key\": \"-----BEGIN\\n\"\n}")),
            access_token: Some(Secret::new("ya29.a&b=c")),
            credentials_file: None,
        };
        let secret = access.to_secret();
        assert!(secret.expose().iter().all(|byte| (0x21..0x7f).contains(byte)));
        assert_eq!(GoogleAccess::from_secret(&secret), Some(access));
        assert_eq!(GoogleAccess::from_secret(&Secret::new("ya29.plain")), None);
    }

    #[test]
    fn g24_the_host_follows_the_location() {
        for (region, expected) in [
            ("global", "aiplatform.googleapis.com"),
            ("eu", "aiplatform.eu.rep.googleapis.com"),
            ("us", "aiplatform.us.rep.googleapis.com"),
            ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ] {
            assert_eq!(vertex_host(region), expected);
        }
    }
}
