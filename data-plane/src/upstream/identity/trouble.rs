//! Why no credential can be had.
//!
//! Rule: says what to look at, and nothing that an issuer or a file said beyond a short code: their texts may quote what
//! was presented to them.

use std::path::Path;

/// Why no credential can be had; cheap to hand to everybody who waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing says where one comes from.
    #[error("no credential is configured for {cloud}, and this machine has none: {hint}")]
    Nothing {
        /// Whose.
        cloud: &'static str,
        /// What would be one.
        hint: &'static str,
    },
    /// A file cannot be read.
    #[error("the file `{path}` cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Something is not what it should be.
    #[error("{what} {wrong}")]
    Content {
        /// A file, a setting, an answer.
        what: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// An issuer cannot be asked.
    #[error("{place} cannot be asked: {reason}")]
    Unreachable {
        /// Its host.
        place: String,
        /// Why.
        reason: String,
    },
    /// An issuer said no.
    #[error("{place} answered {status} ({code})")]
    Refused {
        /// Its host.
        place: String,
        /// The HTTP status.
        status: u16,
        /// Its own short code.
        code: String,
    },
    /// The credential makes no signature or header.
    #[error("the credential of {cloud} cannot be used: {wrong}")]
    Unusable {
        /// Whose.
        cloud: &'static str,
        /// What is wrong with it.
        wrong: &'static str,
    },
}

impl Trouble {
    /// Something that is not what it should be.
    pub(super) fn content(what: impl Into<String>, wrong: &'static str) -> Self {
        Self::Content { what: what.into(), wrong }
    }

    /// A file that cannot be read.
    pub(super) fn file(path: &Path, source: &std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), reason: source.kind().to_string() }
    }
}
