//! Records: kept once, read back whole, summed exactly.

use crate::support::{NOW, TestDb, account, attempt, incarnation, nano, node, on_every_database, record};
use helix_shared::ids::{BackendId, TeamId, UserId};
use helix_shared::record::{Actor, Decision, Record, Stage};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use helix_store::RollupSpan;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

const FOREVER: UnixMicros = UnixMicros::new(i64::MAX);

async fn ingest(test: &TestDb, number: usize, records: &[Record]) -> (u64, usize) {
    let outcome = test.db.ingest(&incarnation(number), &node(), records, &[], NOW).await.unwrap();
    assert_eq!(outcome.rejected, Vec::<u64>::new());
    (outcome.through_seq, outcome.inserted)
}

/// A record with every field set.
fn full() -> Record {
    let mut record = record(1, 1, 300, &["a", "b"]);
    record.decision = Decision::Failed { stage: "upstream".to_owned(), code: "upstream_unavailable".to_owned() };
    record.requested_model = "fast".to_owned();
    record.served_model = "claude-haiku-4-5 🦀".to_owned();
    record.is_streaming = true;
    record.http_status = 502;
    record.usage = TokenUsage {
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
    record.basis = CostBasis::Estimated;
    record.attempts = vec![attempt(1, 100), attempt(2, 200)];
    record.attempts[0].usage = TokenUsage { audio_output_ms: 15, ..TokenUsage::default() };
    record.attempts[1].usage = record.usage;
    record.attempts[1].price_version = "config".to_owned();
    record.attempts[1].error = "tcp \"reset\" \\ \u{7}".to_owned();
    record.stages.push(Stage {
        name: "route".to_owned(),
        verdict: "ok".to_owned(),
        reason: "priority".to_owned(),
        duration_us: u64::MAX,
    });
    record
}

on_every_database! {
    async fn a_record_is_read_back_whole(test: &TestDb) {
        let mut refused = record(1, 2, 0, &[]);
        refused.actor = Actor::default();
        refused.decision = Decision::Denied { stage: "auth".to_owned(), code: "invalid_key".to_owned() };
        refused.served_model = String::new();
        refused.backend_id = String::new();
        refused.attempts = vec![];
        refused.started_at = UnixMicros::new(NOW.get() + 1);
        let mut failed = record(1, 3, 7, &["a"]);
        failed.decision = Decision::Failed { stage: "upstream".to_owned(), code: "timeout".to_owned() };
        failed.served_model = String::new();
        failed.backend_id = String::new();
        failed.started_at = UnixMicros::new(NOW.get() + 2);
        let records = [full(), refused, failed];
        assert_eq!(ingest(test, 1, &records).await, (3, 3));
        let mut tx = test.db.read().await.unwrap();
        for record in &records {
            assert_eq!(tx.request_by_id(&record.request_id).await.unwrap().as_ref(), Some(record));
        }
        assert_eq!(tx.request_by_id("unknown").await.unwrap(), None);
        let recent = tx.recent_requests(2).await.unwrap();
        assert_eq!(recent.iter().map(|record| record.seq).collect::<Vec<_>>(), [3, 2]);
        // a request that no backend answered counts where it was tried; a refused name makes no sum of its own
        let sums = tx.rollups(RollupSpan::Hour, NOW, FOREVER).await.unwrap();
        let names: Vec<_> = sums.iter().map(|sum| (sum.key.model.as_str(), sum.key.provider.as_str(), sum.totals.denied, sum.totals.failed)).collect();
        assert_eq!(names, [("", "", 1, 0), ("claude-haiku-4-5 🦀", "openai", 0, 1), ("gpt-5", "openai", 0, 1)]);
        assert_eq!(sums[1].totals.uncertain, nano(300));
        assert_eq!(sums[1].totals.cache_write_tokens, 7);
    }

    async fn a_batch_that_comes_again_counts_nothing_twice(test: &TestDb) {
        let batch: Vec<Record> = (1..=250).map(|seq| record(1, seq, 10, &["b"])).collect();
        assert_eq!(ingest(test, 1, &batch).await, (250, 250));
        assert_eq!(ingest(test, 1, &batch).await, (250, 0));
        assert_eq!(ingest(test, 1, &batch[100..]).await, (250, 0));
        // overlapping: only the new ones
        let overlap: Vec<Record> = (200..=260).map(|seq| record(1, seq, 10, &["b"])).collect();
        assert_eq!(ingest(test, 1, &overlap).await, (260, 10));
        let mut tx = test.db.read().await.unwrap();
        let sums = tx.rollups(RollupSpan::Day, NOW, FOREVER).await.unwrap();
        assert_eq!(sums.iter().map(|sum| (sum.totals.requests, sum.totals.cost.get())).collect::<Vec<_>>(), [(260, 2_600)]);
        assert_eq!(tx.account(&account("b")).await.unwrap().unwrap().settled, nano(2_600));
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn one_batch_at_once_from_many_sides_counts_once(test: &TestDb) {
        let deliveries: Vec<_> = (0..12)
            .map(|delivery| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    // two incarnations, each delivered by six
                    let number = delivery % 2;
                    let batch: Vec<Record> = (1..=120).map(|seq| record(number, seq, 5, &["a", "b"])).collect();
                    db.ingest(&incarnation(number), &node(), &batch, &[], NOW).await.unwrap().inserted
                })
            })
            .collect();
        let mut inserted = 0;
        for delivery in deliveries {
            inserted += delivery.await.unwrap();
        }
        assert_eq!(inserted, 240);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.account(&account("a")).await.unwrap().unwrap().settled, nano(1_200));
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn what_comes_out_of_order_is_acknowledged_up_to_the_first_hole(test: &TestDb) {
        let batch = |from, to| (from..=to).map(|seq| record(1, seq, 1, &[])).collect::<Vec<_>>();
        assert_eq!(test.db.read().await.unwrap().through_seq(&incarnation(1)).await.unwrap(), 0);
        assert_eq!(ingest(test, 1, &batch(301, 900)).await, (0, 600));
        assert_eq!(ingest(test, 1, &batch(1, 100)).await, (100, 100));
        assert_eq!(ingest(test, 1, &batch(150, 300)).await, (100, 151));
        assert_eq!(ingest(test, 1, &batch(101, 149)).await, (900, 49));
        assert_eq!(test.db.read().await.unwrap().through_seq(&incarnation(1)).await.unwrap(), 900);
        assert_eq!(ingest(test, 1, &[]).await, (900, 0));
    }

    async fn sums_are_exact_after_random_batches(test: &TestDb) {
        let mut runner = TestRunner::deterministic();
        let one = (0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..1_000_000_i64, 0..5_u64, 0..1_600_000_000_000_i64);
        let strategy = proptest::collection::vec((0..3_usize, proptest::collection::vec(one, 1..60)), 6..10);
        random_batches(test, &strategy.new_tree(&mut runner).unwrap().current()).await;
        for _ in 0..3 {
            let another = TestDb::fresh(test.db.dialect()).await.unwrap();
            random_batches(&another, &strategy.new_tree(&mut runner).unwrap().current()).await;
            another.drop_database().await;
        }
    }
}

type One = (u8, u8, u8, u8, i64, u64, i64);

/// Span, bucket, user, model, provider.
type SumKey = (RollupSpan, i64, String, String, String);
/// Requests, denied, input tokens, cost.
type Sums = (u64, u64, u64, i64);

/// Sends batches, some twice, and compares every sum with one made here.
async fn random_batches(test: &TestDb, batches: &[(usize, Vec<One>)]) {
    let mut expected: BTreeMap<SumKey, Sums> = BTreeMap::new();
    let mut next: BTreeMap<usize, u64> = BTreeMap::new();
    for (index, (number, ones)) in batches.iter().enumerate() {
        let seq = next.entry(*number).or_default();
        let records: Vec<Record> = ones
            .iter()
            .map(|one| {
                *seq += 1;
                random_record(*number, *seq, one)
            })
            .collect();
        for _ in 0..=index % 2 {
            test.db.ingest(&incarnation(*number), &node(), &records, &[], NOW).await.unwrap();
        }
        records.iter().for_each(|record| add(&mut expected, record));
    }
    let mut found: BTreeMap<SumKey, Sums> = BTreeMap::new();
    let mut tx = test.db.read().await.unwrap();
    for span in RollupSpan::ALL {
        for sum in tx.rollups(span, UnixMicros::new(0), FOREVER).await.unwrap() {
            assert_eq!(sum.key.api_key_id.is_empty(), span == RollupSpan::Trend);
            if span != RollupSpan::Trend {
                assert_eq!(sum.key.team_id.is_empty(), sum.key.user_id.is_empty());
            }
            let key = (span, sum.bucket.get(), sum.key.user_id, sum.key.model, sum.key.provider);
            let (totals, known) = (sum.totals, found.entry(key).or_default());
            known.0 += totals.requests;
            known.1 += totals.denied;
            known.2 += totals.input_tokens;
            known.3 += totals.cost.get();
        }
    }
    drop(tx);
    assert_eq!(found, expected);
    let report = test.db.verify_ledger().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.records, next.values().sum::<u64>());
}

fn add(expected: &mut BTreeMap<SumKey, Sums>, record: &Record) {
    let model = match &record.decision {
        Decision::Denied { .. } => "",
        _ if record.served_model.is_empty() => &record.requested_model,
        _ => &record.served_model,
    };
    for span in RollupSpan::ALL {
        let user = record.actor.user_id.as_ref().map_or("", UserId::as_str).to_owned();
        let user = if span == RollupSpan::Trend { String::new() } else { user };
        let provider = record.attempts.last().map_or(String::new(), |attempt| attempt.backend_id.to_string());
        let bucket = span.bucket(record.started_at).get();
        let sums = expected.entry((span, bucket, user, model.to_owned(), provider)).or_default();
        sums.0 += 1;
        sums.1 += u64::from(matches!(record.decision, Decision::Denied { .. }));
        sums.2 += record.usage.input_tokens;
        sums.3 += record.cost.get();
    }
}

fn random_record(number: usize, seq: u64, one: &One) -> Record {
    let (user, model, backend, kind, cost, tokens, at) = *one;
    let is_denied = kind == 0;
    let mut made = record(number, seq, if is_denied { 0 } else { cost }, if is_denied { &[] } else { &["a", "b"] });
    made.actor.user_id = (user > 0).then(|| UserId::from(format!("User-{user}")));
    made.actor.team_id = made.actor.user_id.as_ref().map(|_| TeamId::from("t"));
    made.requested_model = format!("model-{model}");
    made.served_model = if kind == 1 { String::new() } else { made.requested_model.clone() };
    made.usage.input_tokens = tokens;
    made.started_at = UnixMicros::new(NOW.get() + at);
    if is_denied {
        made.decision = Decision::Denied { stage: "rbac".to_owned(), code: "model_denied".to_owned() };
        made.served_model = String::new();
        made.backend_id = String::new();
        made.attempts = vec![];
    } else {
        made.attempts[0].backend_id = BackendId::from(format!("backend-{backend}"));
        made.backend_id = if kind == 1 { String::new() } else { format!("backend-{backend}") };
        if kind == 1 {
            made.decision = Decision::Failed { stage: "upstream".to_owned(), code: "timeout".to_owned() };
        }
    }
    made
}
