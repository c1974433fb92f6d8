//! Why an operation of the app did not happen.
//!
//! Rule: each variant is something a person can act on; no text carries a secret.

use crate::secrets::SecretError;
use helix_shared::snapshot::Quarantined;
use helix_store::StoreError;

/// Why an operation did not happen. Nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The actor may not do this.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// Something given is not usable.
    #[error("{what}: {reason}")]
    Invalid {
        /// What was given.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is there already.
    #[error("{what} exists already")]
    Exists {
        /// What.
        what: String,
    },
    /// It is not there.
    #[error("there is no {what}")]
    NotFound {
        /// What.
        what: String,
    },
    /// The configuration file defines it, so it changes there only.
    #[error("{what} is defined in the configuration file; change it there")]
    LockedByConfig {
        /// What.
        what: String,
    },
    /// The file defines what was also made in the database.
    #[error(
        "{what} is defined in the configuration file and was also created in the database (id {id}); rename or remove one of the two"
    )]
    Clash {
        /// What the file calls it.
        what: String,
        /// The row that has its name.
        id: String,
    },
    /// The configuration would not compile.
    #[error("the configuration is not usable: {}", reasons(.0))]
    DoesNotCompile(Vec<Quarantined>),
    /// Nobody made this link.
    #[error("this link is not one of this gateway")]
    UnknownLink,
    /// The link was used, or its time is over.
    #[error("this link was used already or has expired")]
    SpentLink,
    /// A secret cannot be made or read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database refused or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AppError {
    pub(super) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// Whether the database is away, so that trying again later is right.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unavailable())
    }
}

fn reasons(quarantined: &[Quarantined]) -> String {
    let parts: Vec<String> = quarantined
        .iter()
        .map(|item| format!("{} `{}`: {}", item.key.kind.as_str(), item.key.id, item.reason))
        .collect();
    parts.join("; ")
}
