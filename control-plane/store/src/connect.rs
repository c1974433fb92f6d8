//! From `storage.url` to open pools.
//!
//! Rule: the first connection is made here, so that a bad URL, an unwritable folder, a silent server or a wrong password
//! is one clear error at start; the password appears in none. It creates no tables (see `migrate`), and a file only for
//! who says so.

use crate::db::{Db, Pools};
use crate::error::{Result, StoreError};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

/// Connections to a server for writing transactions.
const SERVER_CONNECTIONS: u32 = 16;
/// Connections for readers, where they are apart.
const READ_CONNECTIONS: u32 = 8;
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a SQLite writer waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl Db {
    /// Opens the database that a URL names; SQLite files and their folder are created, readable by their owner only.
    ///
    /// URLs: `sqlite://PATH`, `sqlite::memory:` (lost at exit), `postgres://…`, `mysql://…`.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Folder`], [`StoreError::NotSqlite`], [`StoreError::Unreachable`],
    /// [`StoreError::Login`] or [`StoreError::NoSuchDatabase`]: each says what to do.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::open(url, Missing::IsMade).await
    }

    /// Opens a database that is there: a SQLite file is not made.
    ///
    /// # Errors
    /// [`StoreError::NoDatabase`] where there is none, and those of [`Db::connect`].
    pub async fn connect_existing(url: &str) -> Result<Self> {
        Self::open(url, Missing::IsAnError).await
    }

    async fn open(url: &str, missing: Missing) -> Result<Self> {
        let scheme = url.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => sqlite(url, missing).await,
            "postgres" | "postgresql" => postgres(url).await,
            "mysql" | "mariadb" => mysql(url).await,
            _ => Err(bad_url("it does not begin with sqlite:, postgres: or mysql:")),
        }
    }
}

/// What happens where there is no SQLite file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsMade,
    IsAnError,
}

fn bad_url(reason: impl Into<String>) -> StoreError {
    StoreError::Url { reason: reason.into() }
}

async fn sqlite(url: &str, missing: Missing) -> Result<Db> {
    let rest = url.strip_prefix("sqlite:").unwrap_or_default();
    if rest == ":memory:" {
        return match missing {
            Missing::IsMade => sqlite_in_memory().await,
            // nobody else's can be looked into
            Missing::IsAnError => Err(StoreError::NoDatabase { path: PathBuf::from("memory") }),
        };
    }
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(bad_url("it names no file"));
    }
    if path.contains(['?', '#']) {
        return Err(bad_url("a SQLite URL is a path and takes no parameters"));
    }
    let path = PathBuf::from(path);
    match missing {
        Missing::IsMade => create_file(&path)?,
        Missing::IsAnError if path.exists() => {}
        Missing::IsAnError => return Err(StoreError::NoDatabase { path }),
    }
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(missing == Missing::IsMade)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let first = SqliteConnection::connect_with(&options).await.map_err(|error| sqlite_error(&path, error))?;
    first.close().await.map_err(|error| sqlite_error(&path, error))?;
    let write = sqlite_pool(1).connect_lazy_with(options.clone());
    let read = sqlite_pool(READ_CONNECTIONS).connect_lazy_with(options.pragma("query_only", "ON"));
    Ok(Db { pools: Pools::Sqlite { write, read }, address: path.display().to_string() })
}

/// One connection for readers and writers: an in-memory database belongs to its connection.
async fn sqlite_in_memory() -> Result<Db> {
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true).disable_statement_logging();
    let pool = sqlite_pool(1)
        .min_connections(1)
        .connect_with(options)
        .await
        .map_err(|error| StoreError::from_sqlx("memory", error))?;
    Ok(Db { pools: Pools::Sqlite { write: pool.clone(), read: pool }, address: "memory".to_owned() })
}

/// Connections to a file do not age.
fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Makes the folder and an empty file first, for an error that names the path, and for permissions: it holds hashes of
/// keys and sealed credentials.
fn create_file(path: &Path) -> Result<()> {
    let folder_error = |source| StoreError::Folder { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(folder_error)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(folder_error)
}

fn sqlite_error(path: &Path, error: sqlx::Error) -> StoreError {
    let code = match &error {
        sqlx::Error::Database(inner) => inner.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default(),
        _ => 0,
    };
    match code & 0xff {
        // not a database
        26 => StoreError::NotSqlite { path: path.to_owned() },
        // read-only, I/O error, full, cannot open
        8 | 10 | 13 | 14 => StoreError::Folder { path: path.to_owned(), source: std::io::Error::other(error) },
        _ => StoreError::from_sqlx("database", error),
    }
}

/// What the two servers have in common when a connection is refused.
struct Server {
    database: &'static str,
    address: String,
    user: String,
    name: String,
}

impl Server {
    fn unreachable(self, source: sqlx::Error) -> StoreError {
        StoreError::Unreachable { database: self.database, address: self.address, source }
    }

    fn sort(self, error: sqlx::Error) -> StoreError {
        let code = match &error {
            sqlx::Error::Database(inner) => match inner.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                Some(inner) => inner.number().to_string(),
                None => inner.code().unwrap_or_default().into_owned(),
            },
            _ => String::new(),
        };
        match code.as_str() {
            "28P01" | "28000" | "1045" | "1698" => {
                StoreError::Login { database: self.database, address: self.address, user: self.user }
            }
            "3D000" | "42501" | "1049" | "1044" => {
                StoreError::NoSuchDatabase { database: self.database, address: self.address, name: self.name }
            }
            _ => self.unreachable(error),
        }
    }
}

/// Checks a server URL; returns it parsed.
fn server_url(url: &str) -> Result<url::Url> {
    // the parser's own error never quotes the text
    let parsed = url::Url::parse(url).map_err(|error| bad_url(error.to_string()))?;
    if parsed.host_str().is_none_or(str::is_empty) {
        return Err(bad_url("it names no host"));
    }
    if parsed.path().trim_matches('/').is_empty() {
        return Err(bad_url("it names no database after the host"));
    }
    Ok(parsed)
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 10 seconds"))
}

async fn postgres(url: &str) -> Result<Db> {
    server_url(url)?;
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| bad_url("a parameter of it is not one that PostgreSQL knows"))?
        .application_name("helixgateway")
        .disable_statement_logging();
    let address = format!("{}:{}", options.get_host(), options.get_port());
    let name = options.get_database().unwrap_or_default().to_owned();
    let user = options.get_username().to_owned();
    let server = Server { database: "PostgreSQL", address: address.clone(), user, name: name.clone() };
    match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
        Err(_) => return Err(server.unreachable(timed_out())),
        Ok(Err(error)) => return Err(server.sort(error)),
        Ok(Ok(connection)) => connection.close().await.map_err(|error| server.sort(error))?,
    }
    let pool = PgPoolOptions::new()
        .max_connections(SERVER_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options);
    Ok(Db { pools: Pools::Postgres(pool), address: format!("{address}/{name}") })
}

async fn mysql(url: &str) -> Result<Db> {
    server_url(url)?;
    let options = MySqlConnectOptions::from_str(url)
        .map_err(|_| bad_url("a parameter of it is not one that MySQL knows"))?
        .charset("utf8mb4")
        .collation("utf8mb4_bin")
        .disable_statement_logging();
    let address = format!("{}:{}", options.get_host(), options.get_port());
    let name = options.get_database().unwrap_or_default().to_owned();
    let user = options.get_username().to_owned();
    let server = Server { database: "MySQL", address: address.clone(), user, name: name.clone() };
    match tokio::time::timeout(CONNECT_TIMEOUT, MySqlConnection::connect_with(&options)).await {
        Err(_) => return Err(server.unreachable(timed_out())),
        Ok(Err(error)) => return Err(server.sort(error)),
        Ok(Ok(connection)) => connection.close().await.map_err(|error| server.sort(error))?,
    }
    let write = mysql_pool(SERVER_CONNECTIONS, "READ COMMITTED").connect_lazy_with(options.clone());
    let read = mysql_pool(READ_CONNECTIONS, "REPEATABLE READ").connect_lazy_with(options);
    Ok(Db { pools: Pools::MySql { write, read }, address: format!("{address}/{name}") })
}

/// Every session is strict, whatever the server's default: values that do not fit are refused, never cut.
fn mysql_pool(connections: u32, isolation: &'static str) -> MySqlPoolOptions {
    let set = match isolation {
        "READ COMMITTED" => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        _ => "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    };
    MySqlPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT).after_connect(
        move |connection, _| {
            Box::pin(async move {
                connection
                    .execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION'")
                    .await?;
                connection.execute("SET SESSION innodb_lock_wait_timeout = 10").await?;
                connection.execute(set).await?;
                Ok(())
            })
        },
    )
}
