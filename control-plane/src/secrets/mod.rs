//! The secrets of an instance: the master key and all that is derived from it.
//!
//! Rule: the master key itself encrypts nothing. It derives the key that wraps one random data key per stored credential
//! (envelope), the pepper of API keys, and a check value, each under its own label; so knowing one tells nothing of the
//! others. A sealed value is bound to its table, row and column and opens nowhere else.

mod file;
mod join_token;
mod master;

pub use file::FileError;
pub use join_token::{JoinToken, JoinTokenError, load_or_make_join_token};
pub use master::{MasterKeyError, load_master_key, read_master_key};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use helix_shared::secret::Secret;
use helix_shared::snapshot::view::KeyHash;
use zeroize::Zeroizing;

const FORM: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// Why a secret cannot be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The operating system gives no randomness, or the cipher refuses.
    #[error("the cryptography library refused to {0}")]
    Crypto(&'static str),
    /// The stored value was not sealed by this master key for this place, or was changed.
    #[error("a sealed value cannot be opened: another master key sealed it, or it was moved or changed")]
    Unreadable,
}

/// Where a sealed value lives; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's id.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
}

impl Place<'_> {
    fn to_aad(self) -> Aad<Vec<u8>> {
        Aad::from(format!("{}|{}|{}", self.table, self.row, self.column).into_bytes())
    }
}

/// The derived keys of an instance. Never printed, wiped on drop.
#[derive(Clone)]
pub struct Vault {
    wrapping: Secret,
    pepper: Secret,
    check: Secret,
    link: Secret,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault([redacted])")
    }
}

impl Vault {
    /// Derives every key from the master key.
    pub fn new(master: &Secret) -> Self {
        let derive = |label: &str| Secret::new(keyed_hash(master, label.as_bytes()).to_vec());
        Self {
            wrapping: derive("credential-wrapping"),
            pepper: derive("api-key-pepper"),
            check: derive("master-key-check"),
            link: derive("one-time-links"),
        }
    }

    /// The key that API keys are hashed with.
    pub fn pepper(&self) -> &Secret {
        &self.pepper
    }

    /// The text that is stored in a database to know its master key again; tells nothing of the key.
    pub fn check_value(&self) -> String {
        STANDARD.encode(self.check.expose())
    }

    /// The hash that an API key is stored and looked up by.
    pub fn hash_api_key(&self, secret: &Secret) -> KeyHash {
        keyed_hash(&self.pepper, secret.expose())
    }

    /// The hash that a one-time link's token is stored by.
    pub fn hash_link_token(&self, token: &str) -> KeyHash {
        keyed_hash(&self.link, token.as_bytes())
    }

    /// Seals a credential for one place.
    ///
    /// # Errors
    /// [`SecretError::Crypto`].
    pub fn seal(&self, place: Place<'_>, secret: &Secret) -> Result<Vec<u8>, SecretError> {
        let mut data_key = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(&mut *data_key).map_err(|_| SecretError::Crypto("make a key"))?;
        let mut sealed = vec![FORM];
        sealed.extend(seal_with(self.wrapping.expose(), place, &*data_key)?);
        sealed.extend(seal_with(&*data_key, place, secret.expose())?);
        Ok(sealed)
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`SecretError::Unreadable`] when it is not what was sealed there by this master key.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret, SecretError> {
        let Some((&FORM, rest)) = sealed.split_first() else { return Err(SecretError::Unreadable) };
        let Some((wrapped, body)) = rest.split_at_checked(WRAPPED_BYTES) else { return Err(SecretError::Unreadable) };
        let data_key = open_with(self.wrapping.expose(), place, wrapped)?;
        open_with(data_key.expose(), place, body)
    }
}

fn keyed_hash(key: &Secret, data: &[u8]) -> KeyHash {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), data);
    let mut hash = [0; KEY_BYTES];
    hash.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

fn seal_with(key: &[u8], place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, SecretError> {
    let refused = |_| SecretError::Crypto("seal a value");
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(refused)?;
    let mut body = plain.to_vec();
    let nonce = key.seal_in_place_append_tag(place.to_aad(), &mut body).map_err(refused)?;
    Ok([nonce.as_ref().as_slice(), &body].concat())
}

fn open_with(key: &[u8], place: Place<'_>, sealed: &[u8]) -> Result<Secret, SecretError> {
    let unreadable = |_| SecretError::Unreadable;
    let (nonce, body) = sealed.split_at_checked(NONCE_BYTES).ok_or(SecretError::Unreadable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(unreadable)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(unreadable)?;
    let mut body = Zeroizing::new(body.to_vec());
    key.open_in_place(nonce, place.to_aad(), &mut body).map(|plain| Secret::new(plain.to_vec())).map_err(unreadable)
}

/// Makes random text of 32 bytes: 43 characters that are safe in a URL.
///
/// # Errors
/// [`SecretError::Crypto`] when the operating system gives no randomness.
pub fn random_token() -> Result<String, SecretError> {
    let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
    rand::fill(&mut *bytes).map_err(|_| SecretError::Crypto("make a token"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { table: "providers", row: "openai", column: "api_key" };

    fn vault(byte: u8) -> Vault {
        Vault::new(&Secret::new(vec![byte; 32]))
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place_under_its_master_key() {
        let secret = Secret::new("sk-canary");
        let sealed = vault(1).seal(PLACE, &secret).unwrap();
        assert_eq!(vault(1).open(PLACE, &sealed), Ok(secret));
        assert_eq!(vault(2).open(PLACE, &sealed), Err(SecretError::Unreadable));
        for elsewhere in [Place { table: "x", ..PLACE }, Place { row: "x", ..PLACE }, Place { column: "x", ..PLACE }] {
            assert_eq!(vault(1).open(elsewhere, &sealed), Err(SecretError::Unreadable));
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault(1).open(PLACE, &changed), Err(SecretError::Unreadable), "byte {at}");
            assert_eq!(vault(1).open(PLACE, &sealed[..at]), Err(SecretError::Unreadable), "cut at {at}");
        }
    }

    #[test]
    fn sealing_twice_gives_two_values_and_neither_shows_the_secret() {
        let secret = Secret::new("sk-canary");
        let (one, two) = (vault(1).seal(PLACE, &secret).unwrap(), vault(1).seal(PLACE, &secret).unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(9).any(|window| window == b"sk-canary"));
    }

    #[test]
    fn derived_values_depend_on_the_master_key_and_their_label() {
        let (one, two) = (vault(1), vault(2));
        assert_ne!(one.check_value(), two.check_value());
        assert_ne!(one.hash_api_key(&Secret::new("k")), two.hash_api_key(&Secret::new("k")));
        assert_ne!(one.hash_api_key(&Secret::new("k")), one.hash_link_token("k"));
        assert_eq!(one.pepper().expose().len(), 32);
    }
}
