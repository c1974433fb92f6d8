//! Notices that the configuration changed, by content.
//!
//! Rule: a watcher reads and reports, it never applies: the caller keeps what it has until it accepts something new. It
//! also notices new content of the secret files the configuration names. It has no timer of its own.

use super::diagnostic::Diagnostics;
use super::{Loaded, read_configuration};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Watches one configuration for the life of the process.
#[derive(Debug)]
pub(crate) struct Watcher {
    path: Option<PathBuf>,
    env: BTreeMap<String, String>,
    flags: Vec<(String, String)>,
    files: BTreeSet<PathBuf>,
    seen: Fingerprint,
}

impl Watcher {
    /// Watches what `loaded` was read from, with the same variables and flags.
    pub(crate) fn new(loaded: &Loaded, env: BTreeMap<String, String>, flags: Vec<(String, String)>) -> Self {
        let (path, files, seen) = (loaded.path.clone(), loaded.secret_files.clone(), loaded.fingerprint);
        Self { path, env, flags, files, seen }
    }

    /// Reads again if the content of the file, or of a secret file it names, is another one than the last time. `None`
    /// when nothing changed. An invalid configuration is reported once, and again after its next change.
    pub(crate) fn changed(&mut self) -> Option<Result<Loaded, Diagnostics>> {
        let now = Fingerprint::of_file(self.path.as_deref()).with_secrets(&self.files);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(self.reload())
    }

    /// Reads again whether or not anything changed (SIGHUP).
    ///
    /// # Errors
    /// Every finding, when the configuration is not valid.
    pub(crate) fn reload(&mut self) -> Result<Loaded, Diagnostics> {
        let (result, files) = read_configuration(self.path.as_deref(), &self.env, &self.flags);
        // Also after a failure: a secret file that appears may be what was missing.
        self.files = files;
        match &result {
            Ok(loaded) => self.seen = loaded.fingerprint,
            Err(_) => self.seen = self.seen.with_secrets(&self.files),
        }
        result
    }
}

/// What changes with the content of the files. Only compared within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    file: u64,
    secrets: u64,
}

impl Fingerprint {
    /// Taken before the file is read: a change while it is read then counts as new.
    pub(super) fn of_file(path: Option<&Path>) -> Self {
        Self { file: hash(path), secrets: hash(None) }
    }

    /// Adds the secret files, which are known only after the file was read.
    pub(super) fn with_secrets(self, files: &BTreeSet<PathBuf>) -> Self {
        Self { secrets: hash(files.iter().map(PathBuf::as_path)), ..self }
    }
}

fn hash<'p>(files: impl IntoIterator<Item = &'p Path>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}
