//! A fresh database per test, on whichever server the test runs.

use helix_shared::budget::AccountKey;
use helix_shared::budget::message::{Balance, Past, Standing};
use helix_shared::budget::plane::{Acquiring, Ask, Hearing, Outcome, Settling, What};
use helix_shared::ids::{ApiKeyId, BackendId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Attempt, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use helix_store::{Db, Dialect, EscrowSpeaker, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor as _, Row as _};
use std::collections::BTreeMap;

/// A time to start from: 2026-11-22T00:00:00Z.
pub(crate) const NOW: UnixMicros = UnixMicros::new(1_795_305_600_000_000);

/// A migrated database of its own.
#[derive(Debug)]
pub(crate) struct TestDb {
    pub(crate) db: Db,
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
    server: Option<(String, String)>,
}

/// Where a server is; `None`: it is not part of this run.
pub(crate) fn server_url(dialect: Dialect) -> Option<String> {
    let name = match dialect {
        Dialect::Sqlite => return None,
        Dialect::Postgres => "HELIX_TEST_POSTGRES_URL",
        Dialect::MySql => "HELIX_TEST_MYSQL_URL",
    };
    std::env::var(name).ok().filter(|url| !url.is_empty())
}

/// Runs one statement on a connection of its own.
pub(crate) async fn run_raw(url: &str, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    } else if url.starts_with("postgres") {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// Reads two columns of text.
pub(crate) async fn pairs(url: &str, sql: &str) -> Vec<(String, String)> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    } else if url.starts_with("postgres") {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    } else {
        let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

impl TestDb {
    /// Makes a database without any table; `None` when its server is not part of this run.
    pub(crate) async fn empty(dialect: Dialect) -> Option<Self> {
        if dialect == Dialect::Sqlite {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("data").join("helix.db").display());
            let db = Db::connect(&url).await.unwrap();
            return Some(Self { db, url, _folder: Some(folder), server: None });
        }
        let server = server_url(dialect)?;
        let name = format!("helix_{}", uuid::Uuid::now_v7().simple());
        run_raw(&server, &format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path(&name);
        let url = url.to_string();
        let db = Db::connect(&url).await.unwrap();
        Some(Self { db, url, _folder: None, server: Some((server, name)) })
    }

    /// The same, migrated.
    pub(crate) async fn fresh(dialect: Dialect) -> Option<Self> {
        let test = Self::empty(dialect).await?;
        test.db.migrate(NOW).await.unwrap();
        Some(test)
    }

    /// Runs one statement behind the store's back.
    pub(crate) async fn raw(&self, sql: &str) {
        run_raw(&self.url, sql).await;
    }

    pub(crate) async fn drop_database(self) {
        self.db.close().await;
        if let Some((server, name)) = self.server {
            run_raw(&server, &format!("DROP DATABASE {name}")).await;
        }
    }
}

/// Runs something at the same time as something else.
#[expect(clippy::disallowed_methods, reason = "a test awaits what it spawns itself")]
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// Runs a test on one database, made fresh and dropped after; without its server it does nothing.
pub(crate) async fn on(dialect: Dialect, migrated: bool, body: impl AsyncFnOnce(&TestDb)) {
    let test = if migrated { TestDb::fresh(dialect).await } else { TestDb::empty(dialect).await };
    let Some(test) = test else {
        eprintln!("skipped: no {} server is named for this run", dialect.as_str());
        return;
    };
    body(&test).await;
    test.drop_database().await;
}

/// Declares tests that run on every database, each as a test of its own.
macro_rules! on_every_database {
    ($(async fn $name:ident($test:ident: &TestDb) $body:block)+) => {
        on_every_database! { @migrated true; $(async fn $name($test: &TestDb) $body)+ }
    };
    (empty: $(async fn $name:ident($test:ident: &TestDb) $body:block)+) => {
        on_every_database! { @migrated false; $(async fn $name($test: &TestDb) $body)+ }
    };
    (@migrated $migrated:literal; $(async fn $name:ident($test:ident: &TestDb) $body:block)+) => {$(
        mod $name {
            use super::*;
            async fn body($test: &TestDb) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::support::on(helix_store::Dialect::Sqlite, $migrated, body).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::support::on(helix_store::Dialect::Postgres, $migrated, body).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn mysql() {
                crate::support::on(helix_store::Dialect::MySql, $migrated, body).await;
            }
        }
    )+};
}
pub(crate) use on_every_database;

pub(crate) fn nano(amount: i64) -> NanoUsd {
    NanoUsd::new(amount)
}

pub(crate) fn account(budget: &str) -> AccountKey {
    AccountKey { budget_id: BudgetId::from(budget), period_start: NOW }
}

pub(crate) fn incarnation(number: usize) -> Incarnation {
    Incarnation::from(format!("incarnation-{number:03}"))
}

pub(crate) fn node() -> NodeId {
    NodeId::from("node-a")
}

/// A node for each incarnation: what two incarnations of one node hold is never recalled between them.
fn node_of(number: usize) -> NodeId {
    NodeId::from(format!("node-{number:03}"))
}

pub(crate) fn speaker(number: usize, now: UnixMicros) -> EscrowSpeaker {
    EscrowSpeaker { node: node_of(number), now, fleet_rates: BTreeMap::new(), counts_histories: false }
}

/// Asks; answers how the accounts stand, or nothing when the incarnation is sealed.
pub(crate) async fn acquire(db: &Db, number: usize, asks: Vec<Ask>) -> Option<Vec<Standing>> {
    let acquiring = Acquiring::new(incarnation(number), asks, NOW, 1_800);
    match db.run_escrow(acquiring, &speaker(number, NOW)).await.unwrap().remove(0) {
        Outcome::Granted { standings, .. } => Some(standings),
        Outcome::Sealed => None,
        other => panic!("{other:?}"),
    }
}

/// Says everything that a node says in a heartbeat.
pub(crate) async fn hear(
    db: &Db,
    number: usize,
    epoch: u64,
    balances: Vec<Balance>,
    pasts: Vec<Past>,
    now: UnixMicros,
) -> Result<Vec<Outcome>, StoreError> {
    let hearing = Hearing::new(node_of(number), incarnation(number), epoch, balances, pasts, now, 1_800);
    db.run_escrow(hearing, &speaker(number, now)).await
}

/// Closes an incarnation by its node's next process.
pub(crate) async fn close(db: &Db, number: usize, finals: &[(&str, i64)]) -> Result<Vec<Outcome>, StoreError> {
    let finals = finals.iter().map(|(budget, spent)| balance(budget, 0, *spent, 0)).collect();
    db.run_escrow(Settling::new(What::Close, incarnation(number), finals, NOW, 0), &speaker(number, NOW)).await
}

pub(crate) fn balance(budget: &str, granted: i64, spent: i64, returned: i64) -> Balance {
    let (granted, spent, returned) = (nano(granted), nano(spent), nano(returned));
    Balance { account: account(budget), granted, spent, returned, rate: nano(0) }
}

/// Asks of a budget with this limit.
pub(crate) fn ask(budget: &str, limit: i64, need_total: i64, want_total: i64) -> Ask {
    Ask {
        account: account(budget),
        period_end: NOW.plus(std::time::Duration::from_secs(86_400)),
        limit: nano(limit),
        // whoever waits takes any part
        least_total: nano(0),
        need_total: nano(need_total),
        want_total: nano(want_total),
    }
}

/// A plain answered request that cost `cost`.
pub(crate) fn record(number: usize, seq: u64, cost: i64, charged: &[&str]) -> Record {
    Record {
        incarnation: incarnation(number),
        seq,
        node_id: node(),
        request_id: format!("0193-{number}-{seq}"),
        config_revision: 7,
        actor: Actor {
            api_key_id: Some(ApiKeyId::from("key-1")),
            user_id: Some(UserId::from("user-1")),
            team_id: Some(TeamId::from("team-1")),
        },
        decision: Decision::Allowed,
        dialect: "openai_chat".to_owned(),
        requested_model: "gpt-5".to_owned(),
        served_model: "gpt-5".to_owned(),
        backend_id: "openai".to_owned(),
        strategy: "priority".to_owned(),
        is_streaming: false,
        http_status: 200,
        attempts: vec![attempt(seq, cost)],
        usage: TokenUsage { input_tokens: 100, output_tokens: 20, ..TokenUsage::default() },
        cost: nano(cost),
        basis: CostBasis::Exact,
        charged: charged.iter().map(|budget| account(budget)).collect(),
        unreserved: Vec::new(),
        started_at: NOW,
        first_byte_us: 900,
        total_us: 1800,
        stages: vec![Stage {
            name: "auth".to_owned(),
            verdict: "allowed".to_owned(),
            reason: "key ci".to_owned(),
            duration_us: 12,
        }],
    }
}

pub(crate) fn attempt(intent: u64, cost: i64) -> Attempt {
    Attempt {
        intent,
        backend_id: BackendId::from("openai"),
        upstream_model: "gpt-5-2026-08-07".to_owned(),
        status: 200,
        error: String::new(),
        duration_us: 1700,
        usage: TokenUsage { input_tokens: 100, output_tokens: 20, ..TokenUsage::default() },
        cost: nano(cost),
        basis: "exact".to_owned(),
        price_version: "2026-11-22".to_owned(),
        provider_request_id: "req_011CQ".to_owned(),
    }
}

/// Random numbers of a seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    /// A number from 0 up to, and without, `end`.
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((z ^ (z >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}
