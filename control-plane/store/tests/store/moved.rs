//! A database as the release before packed records left it: nothing of it is lost on the way.

use crate::support::{NOW, TestDb, attempt, incarnation, nano, on_every_database, record};
use helix_shared::ids::{BudgetId, NodeId};
use helix_shared::record::{Actor, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use helix_store::{Dialect, RollupSpan};

/// What that release wrote of [`records`], with two leases, cost centres, a parked record and a correction: its own rows.
const BEFORE: &str = include_str!("before_packed_records.sql");

/// The records that it took.
pub(crate) fn records() -> Vec<Record> {
    let mut media = record(1, 1, 300, &["a", "b"]);
    media.decision = Decision::Failed { stage: "upstream".to_owned(), code: "upstream_unavailable".to_owned() };
    media.requested_model = "fast".to_owned();
    media.served_model = "claude-haiku-4-5 🦀".to_owned();
    media.is_streaming = true;
    media.http_status = 502;
    media.usage = TokenUsage {
        input_tokens: 1,
        cache_read_tokens: 2,
        cache_write_tokens: 3,
        cache_write_long_tokens: 4,
        output_tokens: 5,
        reasoning_tokens: 6,
        audio_input_tokens: 7,
        audio_output_tokens: 8,
        searches: 9,
        image_input_tokens: 10,
        image_output_tokens: 11,
        images: 12,
        characters: 13,
        audio_input_ms: 14,
        audio_output_ms: 15,
    };
    media.basis = CostBasis::Estimated;
    media.attempts = vec![attempt(1, 100), attempt(2, 200)];
    media.attempts[0].usage = TokenUsage { audio_output_ms: 15, ..TokenUsage::default() };
    media.attempts[1].usage = media.usage;
    media.attempts[1].price_version = "config".to_owned();
    media.attempts[1].error = "tcp \"reset\" \\ \u{7} it's".to_owned();
    let stage = |name: &str, verdict: &str, reason: &str, duration_us| Stage {
        name: name.to_owned(),
        verdict: verdict.to_owned(),
        reason: reason.to_owned(),
        duration_us,
    };
    media.stages = vec![stage("auth", "ok", "", 3), stage("route", "fetched", "priority", u64::MAX)];
    let mut refused = record(1, 2, 0, &[]);
    refused.request_id = "0193a5c2-7d11-7c3b-9a53-0123456789ab".to_owned();
    refused.actor = Actor::default();
    refused.decision = Decision::Denied { stage: "auth".to_owned(), code: "invalid_api_key".to_owned() };
    refused.served_model = String::new();
    refused.backend_id = String::new();
    refused.attempts = vec![];
    refused.started_at = UnixMicros::new(NOW.get() + 86_400_000_000 * 20);
    let mut reasoned = record(1, 3, 7, &["a"]);
    reasoned.usage.reasoning_tokens = 3;
    reasoned.attempts[0].usage = reasoned.usage;
    let mut soft = record(2, 1, 40, &["a", "b"]);
    soft.unreserved = vec![BudgetId::from("b")];
    soft.config_revision = 9;
    soft.started_at = UnixMicros::new(NOW.get() + 3_600_000_000);
    vec![media, refused, reasoned, soft]
}

/// Makes the tables as that release left them, with its rows.
async fn back_to_before(test: &TestDb) {
    let new = ["ledger_records", "record_sources", "charge_lists", "ledger_frontier", "closed_months", "late_records"];
    for table in new {
        test.raw(&format!("DROP TABLE {table}")).await;
    }
    // text as it stands: a backslash is one
    let plain = if test.db.dialect() == Dialect::MySql { "SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n" } else { "" };
    test.raw(&format!("{plain}DELETE FROM schema_history WHERE step >= 13;\n{BEFORE}")).await;
}

async fn sums(test: &TestDb) -> Vec<Vec<helix_store::Rollup>> {
    let mut tx = test.db.read().await.unwrap();
    let mut sums = Vec::new();
    for span in RollupSpan::ALL {
        sums.push(tx.rollups(span, UnixMicros::new(0), UnixMicros::new(i64::MAX)).await.unwrap());
    }
    sums
}

on_every_database! {
    async fn records_of_the_release_before_are_read_as_it_took_them(test: &TestDb) {
        back_to_before(test).await;
        let before = sums(test).await;
        assert!(before.iter().all(|sums| !sums.is_empty()));
        assert_eq!(test.db.migrate(NOW).await.unwrap(), 3);
        let mut tx = test.db.read().await.unwrap();
        for mut record in records() {
            // whoever took the lease
            record.node_id = NodeId::from(record.incarnation.as_str().replace("incarnation", "node"));
            assert_eq!(tx.request_by_id(&record.request_id).await.unwrap(), Some(record));
        }
        drop(tx);
        // not made anew: what was kept is still proven by what was moved
        assert_eq!(sums(test).await, before);
        let report = test.db.verify_ledger().await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!((report.records, report.corrections, report.leases), (4, 1, 2));
        // and goes on where it was
        let next = [record(2, 2, 5, &["a"])];
        let outcome = test.db.ingest(&incarnation(2), &crate::support::node(), &next, &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.inserted), (2, 1));
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn sums_of_records_from_before_them_are_made_anew(test: &TestDb) {
        back_to_before(test).await;
        let before = sums(test).await;
        for table in ["rollups_hour", "rollups_day", "rollups_month", "rollups_trend"] {
            test.raw(&format!("DELETE FROM {table}")).await;
        }
        test.raw("DELETE FROM schema_history WHERE step = 11").await;
        for column in ["cost_center", "price_version", "attempt_units", "trace"] {
            test.raw(&format!("ALTER TABLE usage_records DROP COLUMN {column}")).await;
        }
        assert_eq!(test.db.migrate(NOW).await.unwrap(), 4);
        let costs = |sums: &[Vec<helix_store::Rollup>]| -> Vec<i64> {
            sums.iter().map(|sums| sums.iter().map(|sum| sum.totals.cost.get()).sum()).collect()
        };
        assert_eq!(costs(&sums(test).await), costs(&before));
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn a_move_that_broke_off_moves_nothing_twice(test: &TestDb) {
        back_to_before(test).await;
        test.db.migrate(NOW).await.unwrap();
        // the rows are there, moved already, and the step is not written down: only MySQL commits in between
        test.raw("DELETE FROM schema_history WHERE step = 14").await;
        let rows = BEFORE.lines().filter(|line| line.starts_with("INSERT INTO usage_records"));
        let plain = if test.db.dialect() == Dialect::MySql { "SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n" } else { "" };
        test.raw(&format!("{plain}{}", rows.collect::<Vec<_>>().join("\n"))).await;
        assert_eq!(test.db.migrate(NOW).await.unwrap(), 1);
        let report = test.db.verify_ledger().await.unwrap();
        assert_eq!((report.records, report.problems), (4, Vec::<String>::new()));
        assert_eq!(nano(347), report_cost(test).await);
    }
}

async fn report_cost(test: &TestDb) -> helix_shared::money::NanoUsd {
    let mut tx = test.db.read().await.unwrap();
    let mut cost = nano(0);
    for record in tx.recent_requests(10).await.unwrap() {
        cost = cost.saturating_add(record.cost);
    }
    cost
}
