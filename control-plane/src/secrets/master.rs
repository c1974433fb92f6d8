//! The master key: given by the operator, or made once beside the database.
//!
//! Rule: exactly 32 bytes. Weak text is refused, not stretched.

use super::file::{self, FileError};
use crate::settings::MasterKeySource;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use helix_shared::secret::Secret;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// Not 32 bytes of hexadecimal or base64.
    #[error("the master key must be 32 bytes as 64 hexadecimal digits or base64, as `openssl rand -hex 32` prints it")]
    Malformed,
    /// The key file does not hold one.
    #[error("the file {0} does not hold a master key (64 hexadecimal digits); restore it from a backup")]
    MalformedFile(PathBuf),
    /// Nobody made one here.
    #[error(
        "there is no key file {0}; is this the folder of the gateway? Name its file with --config, or restore the key from a backup"
    )]
    Missing(PathBuf),
    /// The key file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a master key")]
    Randomness,
}

/// Finds the master key, making it on the first start.
///
/// # Errors
/// [`MasterKeyError`] says what to do.
pub fn load_master_key(source: &MasterKeySource, data_dir: &Path) -> Result<Secret, MasterKeyError> {
    match read_master_key(source, data_dir) {
        Err(MasterKeyError::Missing(path)) => {
            let made = file::make(&path, &random_hex()?)?;
            parse(&made).ok_or(MasterKeyError::MalformedFile(path))
        }
        found => found,
    }
}

/// Finds the master key that is there.
///
/// # Errors
/// [`MasterKeyError`] says what to do; [`MasterKeyError::Missing`] where nobody made one.
pub fn read_master_key(source: &MasterKeySource, data_dir: &Path) -> Result<Secret, MasterKeyError> {
    match source {
        MasterKeySource::Given(text) => {
            text.expose_str().and_then(|text| parse(text.trim())).ok_or(MasterKeyError::Malformed)
        }
        MasterKeySource::DataDir => {
            let path = data_dir.join("master.key");
            let text = file::read(&path)?.ok_or_else(|| MasterKeyError::Missing(path.clone()))?;
            parse(&text).ok_or(MasterKeyError::MalformedFile(path))
        }
    }
}

fn random_hex() -> Result<Zeroizing<String>, MasterKeyError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut *bytes).map_err(|_| MasterKeyError::Randomness)?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn parse(text: &str) -> Option<Secret> {
    let bytes = if text.len() == 64 {
        (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect::<Option<Vec<u8>>>()?
    } else {
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|form| form.decode(text).ok())?
    };
    (bytes.len() == 32).then(|| Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_given_key_is_hex_or_base64_of_32_bytes_and_nothing_else() {
        let load = |text: &str| load_master_key(&MasterKeySource::Given(Secret::new(text)), Path::new("/nowhere"));
        let key = Secret::new(vec![0xab; 32]);
        assert_eq!(load(&"ab".repeat(32)).unwrap(), key);
        assert_eq!(load(&STANDARD.encode([0xab; 32])).unwrap(), key);
        for bad in ["", "password", &"zz".repeat(32), &"ab".repeat(31), &STANDARD.encode([1; 16])] {
            assert!(matches!(load(bad), Err(MasterKeyError::Malformed)), "{bad}");
        }
    }

    #[test]
    fn a_generated_key_is_private_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("made");
        let one = load_master_key(&MasterKeySource::DataDir, &data_dir).unwrap();
        assert_eq!(load_master_key(&MasterKeySource::DataDir, &data_dir).unwrap(), one);
        let mode = std::fs::metadata(data_dir.join("master.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&data_dir).unwrap().count(), 1);
    }

    #[test]
    fn a_broken_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("master.key"), "short").unwrap();
        let error = load_master_key(&MasterKeySource::DataDir, folder.path()).unwrap_err();
        assert!(error.to_string().contains("master.key"), "{error}");
    }
}
