//! What the process runs on, as the clouds tell it by variables.
//!
//! Rule: only these names are kept, and no value is printed.

use crate::settings::Surroundings;
use std::collections::BTreeMap;

const NAMES: [&str; 25] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HOME",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
];

/// The variables that are set.
#[derive(Clone, Default)]
pub(super) struct Ambient {
    set: BTreeMap<&'static str, String>,
}

impl std::fmt::Debug for Ambient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Some are secret.
        f.debug_set().entries(self.set.keys()).finish()
    }
}

impl Ambient {
    /// Keeps what counts of the variables of the process.
    pub(super) fn of(surroundings: &Surroundings) -> Self {
        let read = |name: &'static str| Some((name, surroundings.0.get(name)?.clone()));
        Self { set: NAMES.into_iter().filter_map(read).collect() }
    }

    /// Returns a variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}
