//! One walk through everything on each of the three databases: SQLite anywhere, the servers where `./test` started them.
//!
//! Rule: a database that had to be there is never left out in silence.

use crate::escrow::{BUDGET, Escrow, USD, hard};
use crate::file_sync::secrets_change_hands;
use crate::records::{Reporter, record};
use crate::support::{Fixture, settings, soon};
use helix_control_plane::app::{KeyOwner, NewKey};
use helix_control_plane::{Actor, Settings};
use helix_proto::v1::begin::Mode;
use helix_shared::secret::Secret;
use std::process::Command;
use std::time::Duration;

/// A database of its own on a server.
struct OnServer {
    server: String,
    name: String,
}

impl OnServer {
    /// `None`: this run has no such server.
    fn create(variable: &str) -> Option<Self> {
        let required = std::env::var("HELIX_TEST_REQUIRE_DATABASES").is_ok_and(|required| required == "1");
        let server = std::env::var(variable).ok().filter(|url| !url.is_empty());
        assert!(server.is_some() || !required, "{variable} is not set: run this through ./test");
        let name = format!("helix_control_{}", uuid::Uuid::now_v7().simple());
        let database = Self { server: server?, name };
        let template = if database.is_postgres() { " TEMPLATE template0" } else { "" };
        database.run(&format!("CREATE DATABASE {}{template}", database.name));
        Some(database)
    }

    fn is_postgres(&self) -> bool {
        self.server.starts_with("postgres")
    }

    /// The server's URL with another database.
    fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    fn run(&self, sql: &str) {
        let mut client = if self.is_postgres() {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &self.server, "--command", sql]);
            psql
        } else {
            // mysql://USER[:PASSWORD]@HOST:PORT/NAME
            let (user, place) = self.server.trim_start_matches("mysql://").split_once('@').unwrap();
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let (host, port) = place.split_once('/').unwrap().0.split_once(':').unwrap();
            let mut mariadb = Command::new("mariadb");
            mariadb.args(["--no-defaults", "--protocol=tcp", "--host", host, "--port", port, "--user", user]);
            mariadb.env("MYSQL_PWD", password).args(["--execute", sql]);
            mariadb
        };
        let output = client.output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for OnServer {
    fn drop(&mut self) {
        let force = if self.is_postgres() { " WITH (FORCE)" } else { "" };
        self.run(&format!("DROP DATABASE IF EXISTS {}{force}", self.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_carries_the_whole_walk() {
    walk(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_carries_the_whole_walk() {
    if let Some(database) = OnServer::create("HELIX_TEST_POSTGRES_URL") {
        walk(Some(database.url())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_carries_the_whole_walk() {
    if let Some(database) = OnServer::create("HELIX_TEST_MYSQL_URL") {
        walk(Some(database.url())).await;
    }
}

async fn walk(url: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { file: hard(1), ..settings(folder.path()) };
    if let Some(url) = url {
        settings.database_url = Secret::new(url);
    }
    let fixture = Fixture::with(folder, settings.clone()).await;
    let app = fixture.control.app();
    let mut node = fixture.node("walker").await;
    let push = node.push().await;
    node.apply(&push).await;

    let owner = KeyOwner::User("jane@corp.example".to_owned());
    let mut made = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (app, owner) = (app.clone(), owner.clone());
        let new = NewKey { owner, name: format!("key {number}"), expires_at: None };
        made.spawn(async move { app.create_key(&Actor::Operator, &new).await.unwrap() });
    }
    let made = soon(made.join_all()).await;
    let mut sent = 0;
    while sent < made.len() {
        let push = node.push().await;
        assert_eq!(push.mode, Mode::Delta);
        sent += push.upserts.len();
        node.apply(&push).await;
    }
    claim_once(&fixture).await;
    escrow_within_the_limit(&fixture).await;

    let mut reporter = Reporter::open(&fixture).await;
    for _ in 0..2 {
        reporter.send((1..=50).map(record).collect()).await;
        assert_eq!(reporter.ack().await.through_seq, 50);
    }
    let report = app.verify_ledger(&Actor::Operator).await.unwrap();
    assert!(report.is_clean() && report.records == 50, "{report:?}");
    let facts = app.facts().await.unwrap();
    assert!(facts.has_admin && facts.nodes.iter().any(|node| node.id == "walker"), "{facts:?}");
    assert!(facts.schema.iter().all(|step| step.applied_at.is_some()));
    secrets_change_hands(app).await;
    app.sync_file(&settings.file).await.unwrap();
    let facts = app.facts().await.unwrap();

    drop(node);
    let folder = fixture.stop().await;
    let again = Fixture::with(folder, settings).await;
    assert_eq!(again.control.app().facts().await.unwrap().head_revision, facts.head_revision);
    again.stop().await;
}

async fn claim_once(fixture: &Fixture) {
    let app = fixture.control.app();
    let link = app.create_setup_link(Duration::from_secs(60)).await.unwrap().unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (app, token) = (app.clone(), link.token.clone());
        claims.spawn(async move { app.claim_setup(&token, &format!("root{number}@corp.example"), "").await.is_ok() });
    }
    let claimed = soon(claims.join_all()).await.into_iter().filter(|is_claimed| *is_claimed).count();
    assert_eq!(claimed, 1);
}

async fn escrow_within_the_limit(fixture: &Fixture) {
    let mut nodes = Vec::new();
    for number in 0..10 {
        nodes.push(Escrow::open(fixture, &format!("n{number}")).await);
    }
    let asks = nodes.iter_mut().map(|node| node.acquire(1, &[(BUDGET, USD / 4, USD / 2)]));
    let granted = soon(futures_util::future::join_all(asks)).await;
    let total: i64 = granted.iter().map(|totals| totals[0].granted_total_nano_usd).sum();
    assert_eq!(total, USD);
}
