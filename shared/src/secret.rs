//! A value that never prints.
//!
//! Rule: no `Display`, a `Debug` that shows nothing, memory wiped on drop. Reading it takes the word `expose`.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Secret text or bytes: a provider credential, a pepper, a join token. Cloning shares one wiped-on-drop buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes ownership of the secret bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }

    /// Returns the secret bytes. The name is the warning.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret as text; `None` when it is not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Reports whether the secret is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("sk-canary");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(secret.expose_str(), Some("sk-canary"));
    }
}
