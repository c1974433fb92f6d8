//! A secret kept in a file of its own, made once.
//!
//! Rule: readable by the owner only from its first byte on, complete or absent: two processes that start at the same
//! moment end up with the same secret, also in two containers that share the folder, where both are process 1.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Why a secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The folder cannot be made.
    #[error("the data folder {path} cannot be made; create it, or set another data_dir that this user may write to")]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error(
        "the secret file {path} cannot be read; give the user that runs the gateway access to it, or set another data_dir"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("the secret file {path} cannot be written; the folder must be writable by this user")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a secret file's text without surrounding white space; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, FileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::Read { path: path.to_owned(), source }),
    };
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path.display(), "a secret file can be read by other users of this machine; chmod 600 it");
    }
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// Writes a secret file unless there is one, and returns what it holds then.
pub(super) fn make(path: &Path, text: &str) -> Result<Zeroizing<String>, FileError> {
    let write = |source| FileError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| FileError::MakeFolder { path: folder.to_owned(), source })?;
    }
    let unfinished = path.with_extension(format!("new-{}", Uuid::now_v7().simple()));
    let result = write_whole(&unfinished, text).and_then(|()| match fs::hard_link(&unfinished, path) {
        // Another process was faster: its secret is the secret.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&unfinished);
    result.and(removed).map_err(write)?;
    sync_folder(path).map_err(write)?;
    read(path)?.ok_or_else(|| write(io::ErrorKind::NotFound.into()))
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    #[test]
    fn of_many_that_make_a_secret_at_once_all_get_the_same_one_and_nothing_is_left_over() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let (path, together) = (folder.path().join("master.key"), Barrier::new(16));
            let made: BTreeSet<String> = std::thread::scope(|scope| {
                let one = |number: usize| {
                    let (path, together) = (&path, &together);
                    scope.spawn(move || {
                        together.wait();
                        make(path, &format!("secret {number}")).unwrap().to_string()
                    })
                };
                let all: Vec<_> = (0..16).map(one).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(made.len(), 1, "{made:?}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
