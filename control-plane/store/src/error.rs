//! What can go wrong in the store, in words that say what to do.
//!
//! Rule: "not found" is `None`, never an error; no text here carries a password or a sealed credential.

use crate::dialect::Dialect;
use helix_shared::ids::Incarnation;
use std::path::PathBuf;

/// The result of every store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL does not name a database.
    #[error(
        "storage.url is not usable: {reason}; write sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/NAME or mysql://USER:PASSWORD@HOST:PORT/NAME"
    )]
    Url {
        /// What is wrong with it, without quoting it.
        reason: String,
    },
    /// The SQLite file or its folder cannot be created or written.
    #[error(
        "cannot create or write the database file {}; give the user that runs the gateway write access to its folder, or point storage.url at another one",
        path.display()
    )]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is there but is not a database of ours.
    #[error("{} is not a SQLite database; move it away or point storage.url at another file", path.display())]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// There is no SQLite file, and this is not the place to make one.
    #[error(
        "there is no database at {}; is this the folder of the gateway? Name its file with --config, or make the database: `helixgateway db migrate`, or the first start",
        path.display()
    )]
    NoDatabase {
        /// The file.
        path: PathBuf,
    },
    /// Nobody answers.
    #[error("cannot reach the {database} server at {address}; check that it runs, and host and port in storage.url")]
    Unreachable {
        /// Which product.
        database: &'static str,
        /// Host and port.
        address: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The server refused the user or password.
    #[error(
        "the {database} server at {address} refused user `{user}`; check user and password in storage.url, and that the server lets this host in"
    )]
    Login {
        /// Which product.
        database: &'static str,
        /// Host and port.
        address: String,
        /// Who.
        user: String,
    },
    /// The server does not have the named database.
    #[error(
        "the {database} server at {address} has no database `{name}` that this user may open; create it or correct its name in storage.url"
    )]
    NoSuchDatabase {
        /// Which product.
        database: &'static str,
        /// Host and port.
        address: String,
        /// Its name.
        name: String,
    },
    /// A newer release has migrated this database.
    #[error(
        "the database schema is at step {found}, this release knows steps up to {known}; run the newer release, or restore the backup taken before the upgrade"
    )]
    NewerSchema {
        /// The step in the database.
        found: i64,
        /// The last step of this release.
        known: i64,
    },
    /// An older release made this database, or nobody set it up yet, and this is not the place to migrate it.
    #[error(
        "the database schema is at step {found}, this release works on step {known}; run `helixgateway db migrate` once no older release serves from it, or use the release that does"
    )]
    OlderSchema {
        /// How many steps the database has taken.
        found: usize,
        /// How many this release knows.
        known: usize,
    },
    /// Something unique exists already.
    #[error("an entry with the same key exists already in {table}")]
    Conflict {
        /// The table.
        table: String,
    },
    /// A row refers to a row that does not exist, or is still referred to.
    #[error("an entry of {table} refers to one that does not exist, or is still referred to")]
    Reference {
        /// The table.
        table: String,
    },
    /// A value cannot be kept.
    #[error("{column} of {table} cannot be kept: {reason}")]
    Invalid {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Why.
        reason: String,
    },
    /// A row cannot be read back.
    #[error("{what} in the database cannot be read: {reason}")]
    Corrupt {
        /// What was read.
        what: String,
        /// Why.
        reason: String,
    },
    /// Books that must agree do not.
    #[error("an invariant of the books is broken: {0}")]
    Invariant(String),
    /// What a process of a data plane held cannot be settled; that of every other one was.
    #[error("what the process {incarnation} held cannot be settled, and the same is true of {others} more")]
    Unsettled {
        /// The first that it is true of.
        incarnation: Incarnation,
        /// Of how many more.
        others: usize,
        /// Why not.
        source: Box<StoreError>,
    },
    /// The database is there but cannot serve now; trying again later is right.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused a statement.
    #[error("the database refused a statement")]
    Query(#[source] sqlx::Error),
}

impl StoreError {
    /// Sorts a driver's error. `table` is what the statement was about.
    pub(crate) fn from_sqlx(table: &str, error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => Self::Conflict { table: table.to_owned() },
            sqlx::Error::Database(inner) if inner.is_foreign_key_violation() => {
                Self::Reference { table: table.to_owned() }
            }
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::BeginFailed => Self::Unavailable(error),
            sqlx::Error::Database(inner) if is_server_trouble(&**inner) => Self::Unavailable(error),
            _ => Self::Query(error),
        }
    }

    /// Reports whether running the same transaction again may succeed: a deadlock or a serialization failure.
    pub fn is_transient(&self) -> bool {
        let (Self::Query(sqlx::Error::Database(error)) | Self::Unavailable(sqlx::Error::Database(error))) = self else {
            return false;
        };
        if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            // deadlock, lock wait timeout, and MariaDB's "record has changed since last read"
            return matches!(error.number(), 1213 | 1205 | 1020);
        }
        match error.code().as_deref() {
            // serialization failure, deadlock, lock not available
            Some("40001" | "40P01" | "55P03") => true,
            // SQLite: busy, locked and their extended forms
            Some(code) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
                matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(5 | 6))
            }
            _ => false,
        }
    }

    /// Reports whether the database is away, so that the caller should answer "try again later".
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unreachable { .. }) || self.is_transient()
    }

    pub(crate) fn corrupt(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn begin(_: Dialect, error: sqlx::Error) -> Self {
        Self::from_sqlx("transaction", error)
    }
}

/// What passes by itself or by an operator's hand, and is no fault of the statement: connections used up, a server that
/// shuts down or starts, a disk that is full.
fn is_server_trouble(error: &dyn sqlx::error::DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // too many connections, shutting down, disk full, read-only, table full
        return matches!(error.number(), 1040 | 1203 | 1053 | 1021 | 1290 | 1114);
    }
    let Some(code) = error.code() else { return false };
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // read-only, I/O error, full, cannot open
        return matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(8 | 10 | 13 | 14));
    }
    // connection, resources, operator, system; a standby that does not write
    ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) || code == "25006"
}
