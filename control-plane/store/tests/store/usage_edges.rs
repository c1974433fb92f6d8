//! Records that are odd: parked or kept, but never in the way of the next one.

use crate::support::{NOW, TestDb, account, close, incarnation, nano, node, on_every_database, record};
use helix_shared::ids::{BudgetId, UserId};
use helix_shared::record::{Decision, Record};
use helix_shared::time::UnixMicros;
use helix_store::{Dialect, Malformed, RollupSpan};

/// A change to a record that makes it one that cannot be kept.
type Spoil = fn(&mut Record);

on_every_database! {
    async fn a_malformed_record_is_parked_and_does_not_block_the_next(test: &TestDb) {
        let spoils: [Spoil; 11] = [
            |record| record.cost = nano(-1),
            |record| record.attempts[0].cost = nano(-1),
            |record| record.cost = nano(i64::MAX),
            |record| record.usage.input_tokens = u64::MAX,
            |record| record.usage.searches = 1_000_000_000_001,
            |record| record.config_revision = u64::MAX,
            |record| record.total_us = u64::MAX,
            |record| record.started_at = UnixMicros::new(-1),
            |record| record.actor.user_id = Some(UserId::from("u".repeat(65))),
            |record| record.charged[0].budget_id = BudgetId::from("nul\0nul"),
            |record| record.incarnation = incarnation(99),
        ];
        let mut batch = vec![record(1, 1, 5, &["b"])];
        for (seq, spoil) in (2..).zip(spoils) {
            let mut bad = record(1, seq, 5, &["b"]);
            spoil(&mut bad);
            batch.push(bad);
        }
        let unread = Malformed { seq: 13, reason: "record 13 has no timing".to_owned(), payload: "raw\0".to_owned() };
        batch.push(record(1, 14, 5, &["b"]));
        let outcome = test.db.ingest(&incarnation(1), &node(), &batch, std::slice::from_ref(&unread), NOW).await.unwrap();
        assert_eq!(outcome.through_seq, 14);
        assert_eq!(outcome.rejected, (2..=13).collect::<Vec<u64>>());
        assert_eq!(outcome.inserted, 2);
        let again = test.db.ingest(&incarnation(1), &node(), &batch, &[unread], NOW).await.unwrap();
        assert_eq!((again.through_seq, again.inserted), (14, 0));
        let mut tx = test.db.read().await.unwrap();
        let parked = tx.parked(&incarnation(1)).await.unwrap();
        assert_eq!(parked.iter().map(|one| one.seq).collect::<Vec<_>>(), (2..=13).collect::<Vec<u64>>());
        assert!(parked.iter().all(|one| !one.reason.is_empty() && !one.payload.is_empty()));
        assert_eq!(tx.account(&account("b")).await.unwrap().unwrap().settled, nano(10));
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn numbers_outside_the_range_are_parked_under_their_own_name(test: &TestDb) {
        let batch = [record(1, 0, 5, &[]), record(1, u64::MAX, 5, &[]), record(1, 1, 5, &[])];
        let outcome = test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.inserted), (1, 1));
        assert_eq!(outcome.rejected, [0, u64::MAX]);
        let mut tx = test.db.read().await.unwrap();
        let parked = tx.parked(&incarnation(1)).await.unwrap();
        assert_eq!(parked.iter().map(|one| one.seq).collect::<Vec<_>>(), [0, u64::MAX]);
        drop(tx);
        // the largest number there is, far away: kept, not reached
        let last = i64::MAX.unsigned_abs();
        let outcome = test.db.ingest(&incarnation(1), &node(), &[record(1, last, 5, &[])], &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.inserted), (1, 1));
    }

    async fn names_that_clients_invent_are_kept_as_far_as_they_fit(test: &TestDb) {
        let mut odd = record(1, 1, 0, &[]);
        odd.requested_model = format!("nul\0{}", "🦀".repeat(1_000));
        odd.served_model = String::new();
        odd.backend_id = String::new();
        odd.attempts = vec![];
        odd.request_id = "r".repeat(300);
        odd.decision = Decision::Denied { stage: "rbac".to_owned(), code: "unknown_model".to_owned() };
        odd.stages[0].reason = "nul\0 inside JSON is text".to_owned();
        let outcome = test.db.ingest(&incarnation(1), &node(), &[odd.clone()], &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.rejected.len()), (1, 0));
        let mut tx = test.db.read().await.unwrap();
        let kept = tx.request_by_id(&odd.request_id).await.unwrap().unwrap();
        assert_eq!(kept.requested_model.chars().count(), 255);
        assert!(kept.requested_model.starts_with("nul\u{fffd}🦀"));
        assert_eq!(kept.stages, odd.stages);
        let sums = tx.rollups(RollupSpan::Hour, NOW, UnixMicros::new(i64::MAX)).await.unwrap();
        assert_eq!(sums.iter().map(|sum| sum.key.model.as_str()).collect::<Vec<_>>(), [""]);
    }

    async fn a_name_with_spaces_after_it_is_one_sum_with_the_name(test: &TestDb) {
        let mut batch = Vec::new();
        for (seq, model) in (1..).zip(["gpt-5", "gpt-5 ", "gpt-5   ", " gpt-5"]) {
            let mut one = record(1, seq, 1, &[]);
            one.requested_model = model.to_owned();
            one.served_model = model.to_owned();
            batch.push(one);
        }
        test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let sums = tx.rollups(RollupSpan::Month, UnixMicros::new(0), UnixMicros::new(i64::MAX)).await.unwrap();
        let found: Vec<_> = sums.iter().map(|sum| (sum.key.model.as_str(), sum.totals.requests)).collect();
        assert_eq!(found, [(" gpt-5", 1), ("gpt-5", 3)]);
        // the record says what was asked for, to the last space
        assert_eq!(tx.request_by_id(&batch[2].request_id).await.unwrap().as_ref(), Some(&batch[2]));
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn a_name_in_another_case_is_another_sum(test: &TestDb) {
        let mut batch = Vec::new();
        for (seq, model) in (1..).zip(["GPT-5", "gpt-5", "Gpt-5"]) {
            let mut one = record(1, seq, 1, &[]);
            one.requested_model = model.to_owned();
            one.served_model = model.to_owned();
            batch.push(one);
        }
        test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.rollups(RollupSpan::Day, NOW, UnixMicros::new(i64::MAX)).await.unwrap().len(), 3);
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn of_two_records_with_one_number_the_first_counts(test: &TestDb) {
        let batch = [record(1, 1, 5, &["b"]), record(1, 1, 50, &["b"])];
        let outcome = test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.inserted), (1, 1));
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.account(&account("b")).await.unwrap().unwrap().settled, nano(5));
    }

    async fn a_number_may_be_parked_and_kept(test: &TestDb) {
        let mut stray = record(1, 2, 5, &[]);
        stray.incarnation = incarnation(99);
        let batch = [record(1, 1, 5, &[]), stray, record(1, 2, 5, &[]), record(1, 3, 5, &[])];
        let outcome = test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.inserted, outcome.rejected), (3, 3, vec![2]));
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn an_account_named_twice_is_charged_once(test: &TestDb) {
        let batch = [record(1, 1, 5, &["b", "b"])];
        test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.account(&account("b")).await.unwrap().unwrap().settled, nano(5));
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn a_record_of_a_closed_incarnation_is_still_taken(test: &TestDb) {
        close(&test.db, 1, &[]).await.unwrap();
        let outcome = test.db.ingest(&incarnation(1), &node(), &[record(1, 1, 5, &["b"])], &[], NOW).await.unwrap();
        assert_eq!((outcome.through_seq, outcome.inserted), (1, 1));
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }
}

/// An id as long as the gateway's own.
fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[tokio::test]
async fn a_record_takes_a_modest_number_of_bytes() {
    let test = TestDb::fresh(Dialect::Sqlite).await.unwrap();
    let batch: Vec<Record> = (1..=2_000)
        .map(|seq| {
            let mut one = record(1, seq, 1_234_567, &["instance-monthly", "team-engineering"]);
            one.request_id = id();
            // as in a company: many requests of one key
            one.actor.api_key_id = Some(format!("0193a5c2-7d11-7c3b-9a53-{:012}", seq % 20).into());
            one.stages = ["auth", "rbac", "policy", "budget", "route", "model", "cost", "audit"]
                .iter()
                .map(|name| helix_shared::record::Stage {
                    name: (*name).to_owned(),
                    verdict: "allowed".to_owned(),
                    reason: String::new(),
                    duration_us: 3,
                })
                .collect();
            one
        })
        .collect();
    test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
    let path = test.url.strip_prefix("sqlite://").unwrap().to_owned();
    test.raw("VACUUM").await;
    test.raw("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let bytes = std::fs::metadata(path).unwrap().len() / 2_000;
    assert!(bytes <= 600, "{bytes} bytes a record, its indexes and all tables included");
}
