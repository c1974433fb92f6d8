//! The last configuration that was in force, sealed on disk: a restart while the control plane is away serves on.
//!
//! Rule: sealed with AES-256-GCM, because it holds provider credentials; without a key it is not written. A file that
//! cannot be opened, read or decoded is set aside with a reason, never a reason not to start.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use helix_proto::convert::resource::{from_wire, to_wire};
use helix_proto::v1;
use helix_shared::secret::Secret;
use helix_shared::snapshot::ResourceSet;
use prost::Message;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"helix-last-good-2\n";
const NONCE_BYTES: usize = 12;

/// The file and its key.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
    key: Secret,
}

/// Why the file was not used.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The disk.
    #[error("cannot read or write the last good configuration")]
    Io(#[from] std::io::Error),
    /// Not our file, damaged, or sealed with another key.
    #[error("the last good configuration is damaged or sealed with another key")]
    Unsealed,
    /// Unsealed, and yet not readable.
    #[error("the last good configuration cannot be decoded")]
    Undecodable,
}

impl LastGood {
    /// Names the file; any secret text serves as key material.
    pub fn new(data_dir: &Path, key: &Secret) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), b"helix last-good configuration");
        Self { path: data_dir.join("last-good.sealed"), key: Secret::new(derived.as_ref()) }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`LastGoodError::Io`]; the file before stays whole.
    pub fn save(&self, revision: u64, set: &ResourceSet) -> Result<(), LastGoodError> {
        let mut sealed = revision.to_be_bytes().to_vec();
        for (key, _, resource) in set.iter() {
            // One after another, here and when they are read: the set is never there twice.
            let resource = to_wire(&key.id, resource);
            resource.encode_length_delimited(&mut sealed).map_err(|_| LastGoodError::Undecodable)?;
        }
        let key = self.aead()?;
        let nonce = key.seal_in_place_append_tag(Aad::from(MAGIC), &mut sealed).map_err(|_| LastGoodError::Unsealed)?;
        let fresh = self.path.with_extension("new");
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(MAGIC)?;
        file.write_all(nonce.as_ref())?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        Ok(())
    }

    /// Reads the file; `None`: there is none.
    ///
    /// # Errors
    /// [`LastGoodError`]; the file was set aside as `.bad`.
    pub fn load(&self) -> Result<Option<(u64, ResourceSet)>, LastGoodError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let opened = self.open(bytes);
        if opened.is_err() {
            std::fs::rename(&self.path, self.path.with_extension("bad"))?;
        }
        opened.map(Some)
    }

    fn open(&self, mut bytes: Vec<u8>) -> Result<(u64, ResourceSet), LastGoodError> {
        if !bytes.starts_with(MAGIC) {
            return Err(LastGoodError::Unsealed);
        }
        let rest = bytes.get_mut(MAGIC.len()..).ok_or(LastGoodError::Unsealed)?;
        let (nonce, sealed) = rest.split_at_mut_checked(NONCE_BYTES).ok_or(LastGoodError::Unsealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| LastGoodError::Unsealed)?;
        let plain = self.aead()?.open_in_place(nonce, Aad::from(MAGIC), sealed).map_err(|_| LastGoodError::Unsealed)?;
        let (revision, resources) = plain.split_first_chunk::<8>().ok_or(LastGoodError::Undecodable)?;
        let mut resources: &[u8] = resources;
        let mut set = ResourceSet::default();
        while !resources.is_empty() {
            let resource =
                v1::Resource::decode_length_delimited(&mut resources).map_err(|_| LastGoodError::Undecodable)?;
            let (id, hash, resource) = from_wire(resource).map_err(|_| LastGoodError::Undecodable)?;
            set.upsert(id, hash, resource);
        }
        Ok((u64::from_be_bytes(*revision), set))
    }

    fn aead(&self) -> Result<RandomizedNonceKey, LastGoodError> {
        RandomizedNonceKey::new(&AES_256_GCM, self.key.expose()).map_err(|_| LastGoodError::Unsealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::snapshot::Resource;
    use helix_shared::snapshot::resource::Backend;

    fn set() -> ResourceSet {
        let backend = Backend {
            kind: "openai".into(),
            base_url: "https://api.example".into(),
            api_version: Some("2025-04-01-preview".into()),
            api_key: Some(Secret::new("sk-canary-credential")),
            http_version: String::new(),
            connect_timeout_ms: 0,
            first_byte_timeout_ms: 0,
            idle_timeout_ms: 0,
            total_timeout_ms: 0,
            max_in_flight: 0,
            position: 0,
        };
        let resource = Resource::Backend(backend);
        let wire = to_wire("b", &resource);
        let mut set = ResourceSet::default();
        set.upsert("b", wire.content_hash, resource);
        set
    }

    #[test]
    fn what_was_saved_loads_and_no_credential_is_readable_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = LastGood::new(folder.path(), &Secret::new("key"));
        assert!(file.load().unwrap().is_none());
        file.save(7, &set()).unwrap();
        let (revision, loaded) = file.load().unwrap().unwrap();
        assert_eq!((revision, loaded.digest()), (7, set().digest()));
        let bytes = std::fs::read(folder.path().join("last-good.sealed")).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"sk-canary"));
    }

    #[test]
    fn a_damaged_file_or_another_key_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-good.sealed");
        let file = LastGood::new(folder.path(), &Secret::new("key"));
        file.save(7, &set()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 5, MAGIC.len() + 3, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(file.load().is_err());
            assert!(!path.exists() && path.with_extension("bad").exists());
            assert!(file.load().unwrap().is_none(), "the next start finds nothing");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(LastGood::new(folder.path(), &Secret::new("other")).load().is_err());
    }
}
