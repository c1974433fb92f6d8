//! The token that data planes present to join.
//!
//! Rule: compared in constant time. It proves membership of the fleet, not which node it is.

use super::file::{self, FileError};
use super::{SecretError, random_token};
use helix_shared::secret::Secret;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Why there is no join token.
#[derive(Debug, thiserror::Error)]
pub enum JoinTokenError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] SecretError),
    /// Too easy to guess.
    #[error("the join token must have at least 16 characters, none of them white space")]
    Weak,
}

/// What a data plane must present.
#[derive(Debug, Clone)]
pub struct JoinToken(Secret);

impl JoinToken {
    /// Takes a token.
    ///
    /// # Errors
    /// [`JoinTokenError::Weak`].
    pub fn new(token: &Secret) -> Result<Self, JoinTokenError> {
        let text = token.expose_str().map(str::trim).unwrap_or_default();
        if text.len() < 16 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(JoinTokenError::Weak);
        }
        Ok(Self(Secret::new(text)))
    }

    /// Whether `presented` is the token, in constant time.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.expose().ct_eq(presented).into()
    }

    /// The token, for the operator who starts a data plane.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Takes the configured join token, or the one in `data_dir/join-token`, made on the first start.
///
/// # Errors
/// [`JoinTokenError`] says what to do.
pub fn load_or_make_join_token(configured: Option<&Secret>, data_dir: &Path) -> Result<JoinToken, JoinTokenError> {
    if let Some(token) = configured {
        return JoinToken::new(token);
    }
    let path = data_dir.join("join-token");
    let text = match file::read(&path)? {
        Some(text) => text,
        None => file::make(&path, &format!("hxj_{}", random_token()?))?,
    };
    JoinToken::new(&Secret::new(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_stays_and_matches_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let one = load_or_make_join_token(None, folder.path()).unwrap();
        let two = load_or_make_join_token(None, folder.path()).unwrap();
        assert!(one.matches(two.secret().expose()));
        assert!(!one.matches(b"") && !one.matches(b"hxj_wrong"));
    }

    #[test]
    fn a_weak_token_is_refused() {
        for weak in ["", "short", "has white  space in it"] {
            assert!(matches!(JoinToken::new(&Secret::new(weak)), Err(JoinTokenError::Weak)), "{weak}");
        }
    }
}
