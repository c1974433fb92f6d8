//! A fresh, empty database for a test: SQLite always, PostgreSQL and MariaDB where `./test` started them.
//! Upholds: no test sees another test's rows, and a database that had to be there is never left out in silence.
//! Not here: starting servers (`tests/parts`) and anything that knows our tables (`control-plane/store`).

use std::process::Command;

use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

/// Name of the variable with the URL of a PostgreSQL server on which tests may create databases.
const POSTGRES: &str = "HELIX_TEST_POSTGRES_URL";
/// The same for MariaDB or MySQL.
const MYSQL: &str = "HELIX_TEST_MYSQL_URL";
/// Set by `./test`: an engine without a server fails the test instead of being left out.
const REQUIRE: &str = "HELIX_TEST_REQUIRE_DATABASES";

/// The kinds of database the gateway runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    Mysql,
}

impl Engine {
    /// The engines a test runs on here: all three under `./test`, at least SQLite anywhere.
    pub(crate) fn here() -> Vec<Self> {
        let engines = [Self::Sqlite, Self::Postgres, Self::Mysql];
        engines.into_iter().filter(|engine| *engine == Self::Sqlite || engine.server().is_some()).collect()
    }

    /// The server to create databases on, if there is one.
    fn server(self) -> Option<Url> {
        let variable = match self {
            Self::Sqlite => return None,
            Self::Postgres => POSTGRES,
            Self::Mysql => MYSQL,
        };
        match std::env::var(variable) {
            Ok(url) => Some(Url::parse(&url).unwrap_or_else(|error| panic!("{variable} is not a URL: {error}"))),
            Err(_) if std::env::var(REQUIRE).is_ok_and(|required| required == "1") => {
                panic!("{REQUIRE}=1, but {variable} is not set: run this through ./test")
            }
            Err(_) => None,
        }
    }
}

/// An empty database that ends with this value.
pub(crate) struct Database {
    engine: Engine,
    url: String,
    kept: Kept,
}

enum Kept {
    Folder(#[expect(dead_code, reason = "held so that the folder lives as long as the database")] TempDir),
    OnServer { server: Url, name: String },
}

impl Database {
    /// Creates one. Panics when the engine has no server here; `Engine::here` lists those that have.
    pub(crate) fn fresh(engine: Engine) -> Self {
        let Some(server) = engine.server() else {
            assert_eq!(engine, Engine::Sqlite, "{engine:?} has no server here: run this through ./test");
            let folder = TempDir::new().expect("a temporary folder");
            let url = format!("sqlite://{}/helix.db", folder.path().display());
            return Self { engine, url, kept: Kept::Folder(folder) };
        };
        let name = format!("helix_test_{}", Uuid::now_v7().simple());
        let create = match engine {
            // template1 cannot be copied while anyone is connected to it, template0 always can.
            Engine::Postgres => format!("CREATE DATABASE {name} TEMPLATE template0"),
            Engine::Sqlite | Engine::Mysql => format!("CREATE DATABASE {name}"),
        };
        if let Err(reason) = run(engine, &server, &create) {
            panic!("cannot create a database on {engine:?}: {reason}");
        }
        let mut url = server.clone();
        url.set_path(&name);
        Self { engine, url: url.into(), kept: Kept::OnServer { server, name } }
    }

    /// What goes into `storage.url`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The engine it is on, for the message of a failing test.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Kept::OnServer { server, name } = &self.kept {
            let force = if self.engine == Engine::Postgres { " WITH (FORCE)" } else { "" };
            if let Err(reason) = run(self.engine, server, &format!("DROP DATABASE IF EXISTS {name}{force}")) {
                // Not worth failing for: the whole server is thrown away after the run.
                eprintln!("{name} stays on {:?}: {reason}", self.engine);
            }
        }
    }
}

/// Runs one statement with the database's own client program and returns what it printed.
fn run(engine: Engine, server: &Url, sql: &str) -> Result<String, String> {
    let mut client = match engine {
        Engine::Sqlite => return Err("SQLite has no server".to_owned()),
        Engine::Postgres => {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
            psql.args(["--dbname", server.as_str(), "--command", sql]);
            psql
        }
        Engine::Mysql => {
            let mut mariadb = Command::new("mariadb");
            mariadb.args(["--no-defaults", "--skip-column-names", "--protocol=tcp"]);
            mariadb.args(["--host", server.host_str().unwrap_or("127.0.0.1")]);
            mariadb.args(["--port", &server.port().unwrap_or(3306).to_string(), "--user", server.username()]);
            mariadb.env("MYSQL_PWD", server.password().unwrap_or_default());
            mariadb.args(["--execute", sql, server.path().trim_start_matches('/')]);
            mariadb
        }
    };
    let output = client.output().map_err(|error| format!("the client program does not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

#[test]
fn every_test_gets_an_empty_database_of_its_own() {
    for engine in Engine::here() {
        let (one, other) = (Database::fresh(engine), Database::fresh(engine));
        assert_ne!(one.url(), other.url());
        assert_eq!(one.engine(), engine);
        let schema = match engine {
            Engine::Sqlite => continue,
            Engine::Postgres => "'public'",
            Engine::Mysql => "DATABASE()",
        };
        let tables = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {schema}");
        assert_eq!(run(engine, &Url::parse(one.url()).unwrap(), &tables).as_deref(), Ok("0"), "{engine:?}");
    }
}

#[test]
fn a_database_ends_with_its_test() {
    for engine in Engine::here().into_iter().filter(|engine| *engine != Engine::Sqlite) {
        let url = Url::parse(Database::fresh(engine).url()).unwrap();
        assert!(run(engine, &url, "SELECT 1").is_err(), "{engine:?} still has {url}");
    }
}
