//! The keys that requests to Amazon are signed with: given ones, or those of a profile in a shared file.
//!
//! Rule: the file is read when a key is needed and again after a key was refused, by one at a time; the configuration and
//! not the environment says which. A secret is in no error.
//! Not here: sessions from the token service, and keys of a machine's or a container's own.

use aws_credential_types::Credentials;
use helix_shared::aws::AwsAccess;
use helix_shared::secret::Secret;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

/// The largest shared file that is read.
const MOST_FILE_BYTES: usize = 1 << 20;

/// No key can be had.
#[derive(Debug, thiserror::Error)]
pub enum NoCredentials {
    /// Nothing says where keys come from.
    #[error("no key, profile or bearer token is configured")]
    Nothing,
    /// The shared file cannot be read.
    #[error("the shared credentials file `{path}` cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The profile is not in the file, or has no key.
    #[error("profile `{profile}` has no key in the shared credentials file")]
    Profile {
        /// Its name.
        profile: String,
    },
}

/// Where the keys of one backend come from.
#[derive(Debug)]
pub struct AwsCredentials {
    access: AwsAccess,
    /// What a profile gave last.
    known: Mutex<Option<Credentials>>,
}

impl AwsCredentials {
    /// Takes what was configured.
    pub fn new(access: AwsAccess) -> Self {
        Self { access, known: Mutex::new(None) }
    }

    /// The configured region.
    pub fn region(&self) -> &str {
        &self.access.region
    }

    /// Whether another key may be had after one was refused.
    pub fn can_refresh(&self) -> bool {
        self.access.access_key_id.is_none() && self.access.profile_file.is_some()
    }

    /// Forgets a key that was refused.
    pub async fn forget(&self) {
        *self.known.lock().await = None;
    }

    /// Returns the keys. Whoever asks while a file is read waits for the same answer.
    ///
    /// # Errors
    /// [`NoCredentials`].
    pub async fn resolve(&self) -> Result<Credentials, NoCredentials> {
        let access = &self.access;
        if let (Some(id), Some(secret)) = (text(access.access_key_id.as_ref()), text(access.secret_access_key.as_ref()))
        {
            let token = text(access.session_token.as_ref()).map(str::to_owned);
            return Ok(Credentials::new(id, secret, token, None, "given"));
        }
        let Some(path) = access.profile_file.as_deref().map(Path::new) else { return Err(NoCredentials::Nothing) };
        let mut known = self.known.lock().await;
        if let Some(credentials) = &*known {
            return Ok(credentials.clone());
        }
        let failed = |source| NoCredentials::File { path: path.to_owned(), source };
        let bytes = tokio::fs::read(path).await.map_err(failed)?;
        let file = String::from_utf8_lossy(bytes.get(..bytes.len().min(MOST_FILE_BYTES)).unwrap_or_default());
        let profile = access.profile.as_deref().unwrap_or("default");
        let found = read_profile(&file, profile);
        let credentials = found.ok_or_else(|| NoCredentials::Profile { profile: profile.to_owned() })?;
        *known = Some(credentials.clone());
        Ok(credentials)
    }
}

fn text(secret: Option<&Secret>) -> Option<&str> {
    secret.and_then(Secret::expose_str).filter(|text| !text.is_empty())
}

/// Finds a profile's key in a shared file.
fn read_profile(file: &str, profile: &str) -> Option<Credentials> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut is_wanted = false;
    for line in file.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            is_wanted = section.strip_prefix("profile ").unwrap_or(section).trim() == profile;
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_wanted && !line.starts_with(['#', ';'])) else {
            continue;
        };
        let value = Some(value.trim().to_owned());
        match name.trim() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(Credentials::new(id?, secret?, token, None, "profile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=s/=1\n\n[profile work]\n\
                        aws_access_key_id=B\naws_secret_access_key=t\naws_session_token = tok\n[broken]\naws_access_key_id=C\n";

    #[test]
    fn a_profile_is_found_by_its_section() {
        let default = read_profile(FILE, "default").unwrap();
        assert_eq!((default.access_key_id(), default.secret_access_key()), ("A", "s/=1"));
        let work = read_profile(FILE, "work").unwrap();
        assert_eq!((work.access_key_id(), work.session_token()), ("B", Some("tok")));
        assert!(read_profile(FILE, "broken").is_none() && read_profile(FILE, "none").is_none());
    }

    #[tokio::test]
    async fn b24_a_refused_key_of_a_profile_is_read_anew() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[default]\naws_access_key_id=A\naws_secret_access_key=s\n").unwrap();
        let profile_file = Some(file.path().display().to_string());
        let credentials = AwsCredentials::new(AwsAccess { profile_file, ..AwsAccess::default() });
        assert_eq!(credentials.resolve().await.unwrap().access_key_id(), "A");
        std::fs::write(file.path(), "[default]\naws_access_key_id=B\naws_secret_access_key=s\n").unwrap();
        assert_eq!(credentials.resolve().await.unwrap().access_key_id(), "A");
        credentials.forget().await;
        assert_eq!(credentials.resolve().await.unwrap().access_key_id(), "B");
    }
}
