//! What a backend of Azure is configured with instead of a key: an identity of Microsoft Entra ID.
//!
//! Rule: a secret, a federated token, or the machine's own identity, in this order; nothing is tried out.

use super::{Field, read, write};
use crate::secret::Secret;

const MARK: &str = "entra:?";

/// What a backend is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntraAccess {
    /// The directory.
    pub tenant_id: Option<String>,
    /// The application, or the identity among several that a machine has.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<Secret>,
    /// The file with the token of a federated identity; read for each token, because it is replaced.
    pub federated_token_file: Option<String>,
}

impl EntraAccess {
    /// Writes the text form.
    pub fn to_secret(&self) -> Secret {
        write(
            MARK,
            &[
                Field::Plain("tenant_id", self.tenant_id.as_deref()),
                Field::Plain("client_id", self.client_id.as_deref()),
                Field::Secret("client_secret", self.client_secret.as_ref()),
                Field::Plain("federated_token_file", self.federated_token_file.as_deref()),
            ],
        )
    }

    /// Reads the text form; `None` for anything else, which is a key of Azure's own.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let mut access = Self::default();
        read(MARK, secret, |name, value| {
            match name {
                "tenant_id" => access.tenant_id = Some(value),
                "client_id" => access.client_id = Some(value),
                "client_secret" => access.client_secret = Some(Secret::new(value)),
                "federated_token_file" => access.federated_token_file = Some(value),
                _ => return false,
            }
            true
        })?;
        Some(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let access = EntraAccess {
            tenant_id: Some("t".into()),
            client_secret: Some(Secret::new("a~b&c=d")),
            ..EntraAccess::default()
        };
        assert_eq!(EntraAccess::from_secret(&access.to_secret()), Some(access));
        assert_eq!(EntraAccess::from_secret(&EntraAccess::default().to_secret()), Some(EntraAccess::default()));
        assert_eq!(EntraAccess::from_secret(&Secret::new("0123abcd")), None);
    }
}
