//! What the ledger bears: a year of requests made in one go, the time of reports over it, and how many records a second
//! it takes from two control planes at once.
//!
//! ```sh
//! cargo run --release -p helix-store --example ledger_load -- seed URL [REQUESTS]      # 10,000,000 over a year
//! cargo run --release -p helix-store --example ledger_load -- sizes URL [REQUESTS]     # bytes a record, table by table
//! cargo run --release -p helix-store --example ledger_load -- reports URL              # of a seeded database
//! cargo run --release -p helix-store --example ledger_load -- ingest URL [SECONDS] [RECORDS A SECOND]
//! ```
//!
//! Rule: everything goes through the store's own `ingest`, so that rows and sums agree as they always do; the seed gives
//! the same records each time. The database must be one of its own: nothing is deleted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement run by hand: it ends at the first surprise"
)]

use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Attempt, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use helix_store::{Db, Dialect, Dimension, ReportQuery, RollupSpan};
use sqlx::{Connection as _, Row as _};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// 2025-12-01T00:00:00Z: a year of whole months.
const START: i64 = 1_764_547_200_000_000;
const YEAR_US: i64 = 365 * 86_400_000_000;
const USERS: u64 = 500;
const TEAMS: u64 = 20;
const MODELS: [(&str, &str); 12] = [
    ("gpt-5", "openai"),
    ("gpt-5-mini", "openai"),
    ("gpt-5-nano", "openai"),
    ("text-embedding-3-small", "openai"),
    ("claude-opus-4-1", "anthropic"),
    ("claude-sonnet-4-6", "anthropic"),
    ("claude-haiku-4-5", "anthropic"),
    ("claude-sonnet-4-6", "bedrock-eu"),
    ("gemini-2.5-pro", "vertex"),
    ("gemini-2.5-flash", "vertex"),
    ("qwen3-32b", "vllm"),
    ("mistral-large", "mistral"),
];

/// Says a line.
macro_rules! say {
    ($($text:tt)+) => {{
        let mut out = std::io::stdout();
        writeln!(out, $($text)+).unwrap();
    }};
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// One answered request of a company: 500 people in 20 teams, one or two keys each, three favourite models of twelve.
fn record(incarnation: &Incarnation, node: &NodeId, seq: u64, at: i64, draw: &mut Draw) -> Record {
    // few ask much, many ask little
    let user = draw.below(USERS) * draw.below(USERS) / USERS;
    let team = user % TEAMS;
    let key = format!("0193a5c2-7d11-7c3b-9a53-{:012x}", user * 2 + draw.below(2) * (user % 2));
    let favourite = usize::try_from((user * 7 + draw.below(3) * 5) % 12).unwrap();
    let (model, provider) = MODELS[favourite];
    let usage = TokenUsage {
        input_tokens: 200 + draw.below(4_000),
        output_tokens: 20 + draw.below(900),
        cache_read_tokens: draw.below(2) * draw.below(8_000),
        ..TokenUsage::default()
    };
    let cost = NanoUsd::new(i64::try_from(usage.input_tokens * 2_500 + usage.output_tokens * 10_000).unwrap());
    let month = UnixMicros::new(at).month_start();
    let account = |budget: String| AccountKey { budget_id: BudgetId::from(budget), period_start: month };
    let stage = |name: &str| Stage {
        name: name.to_owned(),
        verdict: "allowed".to_owned(),
        reason: String::new(),
        duration_us: 1 + seq % 40,
    };
    Record {
        incarnation: incarnation.clone(),
        seq,
        node_id: node.clone(),
        request_id: format!("{:08x}-{:04x}-7{:03x}-9{:03x}-{:012x}", at >> 32, at & 0xffff, seq & 0xfff, user, seq),
        config_revision: 7,
        actor: Actor {
            api_key_id: Some(ApiKeyId::from(key)),
            user_id: Some(UserId::from(format!("person.{user:03}@corp.example"))),
            team_id: Some(TeamId::from(format!("team-{team:02}"))),
        },
        decision: Decision::Allowed,
        dialect: "openai_chat".to_owned(),
        requested_model: model.to_owned(),
        served_model: model.to_owned(),
        backend_id: provider.to_owned(),
        strategy: "priority".to_owned(),
        is_streaming: seq.is_multiple_of(2),
        http_status: 200,
        attempts: vec![Attempt {
            intent: seq,
            backend_id: provider.into(),
            upstream_model: model.to_owned(),
            status: 200,
            error: String::new(),
            duration_us: 812_345,
            usage,
            cost,
            basis: "exact".to_owned(),
            price_version: "2026-11-22".to_owned(),
            provider_request_id: format!("req_011CQ{seq:016x}"),
        }],
        usage,
        cost,
        basis: CostBasis::Exact,
        unreserved: vec![],
        charged: vec![account("instance/monthly".to_owned()), account(format!("team:team-{team:02}/monthly"))],
        started_at: UnixMicros::new(at),
        first_byte_us: 412_345,
        total_us: 815_000,
        stages: ["auth", "rbac", "policy", "budget", "route", "model", "cost", "audit"].map(stage).into(),
    }
}

/// Batches as large as this are folded into few sums before they are written: a year is loaded in minutes.
async fn seed(url: &str, requests: u64) {
    const BATCH: u64 = 100_000;
    let db = Db::connect(url).await.unwrap();
    db.migrate(UnixMicros::new(START)).await.unwrap();
    let (incarnation, node) = (Incarnation::from("0193a5c2-7d11-7c3b-9a53-seed00000000"), NodeId::from("seed"));
    let known = db.read().await.unwrap().through_seq(&incarnation).await.unwrap();
    let start = Instant::now();
    let step = YEAR_US / i64::try_from(requests).unwrap();
    let (send, mut made) = tokio::sync::mpsc::channel(1);
    let (maker, its_node) = (incarnation.clone(), node.clone());
    let making = std::thread::spawn(move || {
        let mut draw = Draw(known);
        let mut seq = known;
        while seq < requests {
            let last = (seq + BATCH).min(requests);
            let at = |seq: u64| START + i64::try_from(seq - 1).unwrap() * step;
            let batch: Vec<Record> =
                (seq + 1..=last).map(|seq| record(&maker, &its_node, seq, at(seq), &mut draw)).collect();
            if send.blocking_send(batch).is_err() {
                return;
            }
            seq = last;
        }
    });
    while let Some(batch) = made.recv().await {
        let last = batch.last().unwrap();
        let (seq, now) = (last.seq, last.started_at);
        db.ingest(&incarnation, &node, &batch, &[], now).await.unwrap();
        if seq.is_multiple_of(500_000) {
            say!("{seq} of {requests} after {} s", start.elapsed().as_secs());
        }
    }
    making.join().unwrap();
    say!("{}: {requests} requests in {} s", db.dialect().as_str(), start.elapsed().as_secs());
    db.close().await;
    sizes(url, requests).await;
}

/// What every table takes with its indexes, and a record's share of it.
async fn sizes(url: &str, requests: u64) {
    let requests = i64::try_from(requests.max(1)).unwrap();
    let mut all = 0;
    for (table, bytes) in tables(url).await.into_iter().filter(|(_, bytes)| *bytes >= requests / 10) {
        all += bytes;
        say!("{table}: {bytes} bytes with its indexes, {} a record", bytes / requests);
    }
    say!("every table: {} bytes a record", all / requests);
}

/// Every table with its bytes, indexes included; the largest first.
async fn tables(url: &str) -> Vec<(String, i64)> {
    if url.starts_with("postgres") {
        let mut to = sqlx::PgConnection::connect(url).await.unwrap();
        let query = "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class \
                     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC";
        let rows = sqlx::query(query).fetch_all(&mut to).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    } else if url.starts_with("mysql") {
        let mut to = sqlx::MySqlConnection::connect(url).await.unwrap();
        sqlx::raw_sql("ANALYZE TABLE ledger_records, rollups_hour, rollups_day").execute(&mut to).await.unwrap();
        let query = "SELECT table_name, CAST(data_length + index_length AS SIGNED) FROM information_schema.tables \
                     WHERE table_schema = DATABASE() ORDER BY 2 DESC";
        let rows = sqlx::query(query).fetch_all(&mut to).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    } else {
        let mut to = sqlx::SqliteConnection::connect(url).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut to).await.unwrap();
        let query = "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name \
                     WHERE s.aggregate = 1 GROUP BY 1 ORDER BY 2 DESC";
        let rows = sqlx::query(query).fetch_all(&mut to).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

async fn reports(url: &str) {
    let db = Db::connect(url).await.unwrap();
    let (from, until) = (UnixMicros::new(START), UnixMicros::new(START + YEAR_US));
    let ask = |group_by: &[Dimension], every, filters: &[(Dimension, &str)]| ReportQuery {
        from,
        until,
        group_by: group_by.to_vec(),
        every,
        filters: filters.iter().map(|(dimension, value)| (*dimension, (*value).to_owned())).collect(),
    };
    use Dimension::{CostCenter, Key, Model, Provider, Team, User};
    let (day, month) = (Some(RollupSpan::Day), Some(RollupSpan::Month));
    let mut questions = vec![("in all", ask(&[], None, &[]))];
    for (name, dimension) in
        [("by team", Team), ("by user", User), ("by key", Key), ("by model", Model), ("by provider", Provider)]
    {
        questions.push((name, ask(&[dimension], None, &[])));
    }
    questions.push(("by everything", ask(&[Team, User, Key, Model, Provider, CostCenter], None, &[])));
    questions.push(("by month and user", ask(&[User], month, &[])));
    questions.push(("by month and everything", ask(&[Team, User, Key, Model, Provider, CostCenter], month, &[])));
    questions.push(("by day", ask(&[], day, &[])));
    questions.push(("by day and team", ask(&[Team], day, &[])));
    questions.push(("by day and model", ask(&[Model], day, &[])));
    questions.push(("by day, of one user, by model", ask(&[Model], day, &[(User, "person.007@corp.example")])));
    questions.push(("by day, of one team, by user", ask(&[User], day, &[(Team, "team-07")])));
    let odd = ReportQuery {
        from: UnixMicros::new(START + 11 * 86_400_000_000 + 5 * 3_600_000_000),
        until: UnixMicros::new(START + YEAR_US - 7 * 86_400_000_000 - 3_600_000_000),
        ..ask(&[User], None, &[])
    };
    questions.push(("by user, from an hour in a month", odd));
    for (name, query) in questions {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..5 {
            let mut tx = db.read().await.unwrap();
            let start = Instant::now();
            rows = tx.report(&query).await.unwrap().len();
            times.push(start.elapsed().as_millis());
        }
        let first = times[0];
        times.sort_unstable();
        say!("| {name} | {rows} | {} | {} | {first} |", times[2], times[4]);
    }
    db.close().await;
}

/// Two control planes with two nodes each, in an open loop: what is late is not left out.
async fn ingest(url: &str, seconds: u64, rate: u64) {
    const NODES: u64 = 4;
    const BATCH: u64 = 500;
    let first = Db::connect(url).await.unwrap();
    first.migrate(UnixMicros::new(START)).await.unwrap();
    // SQLite is for one control plane
    let second = if first.dialect() == Dialect::Sqlite { first.clone() } else { Db::connect(url).await.unwrap() };
    let deadlocks = deadlocks_of(url).await;
    let start = Instant::now();
    let batches = seconds * rate / BATCH / NODES;
    let every = Duration::from_micros(1_000_000 * BATCH * NODES / rate);
    let run = uuid::Uuid::now_v7().simple().to_string();
    let tasks: Vec<_> = (0..NODES)
        .map(|number| {
            let db = if number % 2 == 0 { first.clone() } else { second.clone() };
            let incarnation = Incarnation::from(format!("{run}-{number}"));
            let node = NodeId::from(format!("node-{number}"));
            tokio::spawn(async move {
                let mut draw = Draw(number);
                let (mut inserted, mut slowest) = (0, Duration::ZERO);
                for batch in 0..batches {
                    let due = every * u32::try_from(batch).unwrap() + every * u32::try_from(number).unwrap() / 4;
                    tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
                    let at = START + i64::try_from(start.elapsed().as_micros()).unwrap();
                    let seqs = batch * BATCH + 1..=(batch + 1) * BATCH;
                    let records: Vec<Record> =
                        seqs.map(|seq| record(&incarnation, &node, seq, at, &mut draw)).collect();
                    let outcome = db.ingest(&incarnation, &node, &records, &[], UnixMicros::new(at)).await.unwrap();
                    inserted += outcome.inserted;
                    slowest = slowest.max(start.elapsed().saturating_sub(due));
                }
                (inserted, slowest)
            })
        })
        .collect();
    let (mut inserted, mut slowest) = (0, Duration::ZERO);
    for task in tasks {
        let (more, late) = task.await.unwrap();
        inserted += more;
        slowest = slowest.max(late);
    }
    let elapsed = start.elapsed();
    let deadlocks = deadlocks_of(url).await - deadlocks;
    let sent = batches * BATCH * NODES;
    say!(
        "{}: {inserted} of {sent} records in {} ms, {} a second; a batch was acknowledged {} ms after it was due at the latest; {deadlocks} deadlocks",
        first.dialect().as_str(),
        elapsed.as_millis(),
        u128::try_from(inserted).unwrap() * 1_000 / elapsed.as_millis(),
        slowest.as_millis(),
    );
    sizes(url, sent).await;
    let report = first.verify_ledger().await.unwrap();
    say!("ledger: {} records, {} sums, {} problems", report.records, report.rollups, report.problem_count);
    assert!(report.is_clean(), "{:?}", report.problems);
    first.close().await;
    second.close().await;
}

/// Deadlocks that the server has seen.
async fn deadlocks_of(url: &str) -> i64 {
    if url.starts_with("postgres") {
        let mut to = sqlx::PgConnection::connect(url).await.unwrap();
        let query = sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
        query.fetch_one(&mut to).await.unwrap()
    } else if url.starts_with("mysql") {
        let mut to = sqlx::MySqlConnection::connect(url).await.unwrap();
        let rows = sqlx::query("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").fetch_all(&mut to).await.unwrap();
        rows.first().map_or(0, |row| row.get::<String, _>(1).parse().unwrap())
    } else {
        0
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: u64| arguments.get(at).map_or(usual, |text| text.parse().expect("a number"));
    match (arguments.first().map(String::as_str), arguments.get(1)) {
        (Some("seed"), Some(url)) => seed(url, number(2, 10_000_000)).await,
        (Some("sizes"), Some(url)) => sizes(url, number(2, 10_000_000)).await,
        (Some("reports"), Some(url)) => reports(url).await,
        (Some("ingest"), Some(url)) => ingest(url, number(2, 60), number(3, 5_000)).await,
        _ => panic!(
            "usage: seed URL [REQUESTS] | sizes URL [REQUESTS] | reports URL | ingest URL [SECONDS] [RECORDS A SECOND]"
        ),
    }
}
