//! What `ledger verify` proves beyond sums: that each hard budget held in each period, who charged what of a request that
//! failed over, and that nothing of the chain of entries was cut off.

use crate::support::{NOW, TestDb, acquire, ask, attempt, incarnation, nano, node, on_every_database, record};
use helix_shared::ids::{BackendId, BudgetId};
use helix_shared::record::Record;
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::UnixMicros;
use helix_shared::usage::TokenUsage;
use helix_store::{AdjustmentKind, Budget, ChangeOp, LedgerReport, Managed, NewAdjustment, RollupSpan};

/// Writes a budget with a mode, as a new revision.
async fn revision(test: &TestDb, mode: &str) -> u64 {
    let mut tx = test.db.begin().await.unwrap();
    tx.lock_config().await.unwrap();
    let budget = Budget {
        id: "b".to_owned(),
        scope: "instance".to_owned(),
        label: String::new(),
        limit_nano: nano(1_000),
        period: "daily".to_owned(),
        mode: mode.to_owned(),
        timezone: "UTC".to_owned(),
        alert_at: vec![],
        week_start: None,
        prior_timezone: None,
        prior_week_start: None,
        prior_until: None,
        managed: Managed::Db,
        updated_at: NOW,
    };
    tx.put(&budget).await.unwrap();
    let revision = tx.bump(&[(ResourceKind::Budget, "b", ChangeOp::Upsert)], NOW).await.unwrap();
    tx.commit().await.unwrap();
    revision
}

fn charged(seq: u64, cost: i64, config_revision: u64, is_reserved: bool) -> Record {
    let unreserved = if is_reserved { Vec::new() } else { vec![BudgetId::from("b")] };
    Record { config_revision, unreserved, ..record(1, seq, cost, &["b"]) }
}

async fn take(test: &TestDb, record: Record) {
    test.db.ingest(&incarnation(1), &node(), &[record], &[], NOW).await.unwrap();
}

async fn verified(test: &TestDb) -> LedgerReport {
    test.db.verify_ledger().await.unwrap()
}

/// A request that was charged by one provider, and answered by another.
fn failed_over() -> Record {
    let usage = |input_tokens, output_tokens| TokenUsage { input_tokens, output_tokens, ..TokenUsage::default() };
    let mut first = attempt(1, 30);
    (first.backend_id, first.usage) = (BackendId::from("azure"), usage(50, 10));
    let mut second = attempt(2, 10);
    second.usage = usage(100, 20);
    Record { attempts: vec![first, second], usage: usage(150, 30), ..record(1, 1, 40, &["b"]) }
}

async fn by_provider(test: &TestDb, span: RollupSpan) -> Vec<(String, String, u64, u64, i64)> {
    let mut tx = test.db.read().await.unwrap();
    let rollups = tx.rollups(span, UnixMicros::new(0), UnixMicros::new(i64::MAX)).await.unwrap();
    let told = |key: &helix_store::RollupKey| (key.provider.clone(), key.model.clone());
    let mut all: Vec<_> = rollups
        .iter()
        .map(|it| {
            let (provider, model) = told(&it.key);
            (provider, model, it.totals.requests, it.totals.input_tokens, it.totals.cost.get())
        })
        .collect();
    all.sort();
    all
}

async fn append(test: &TestDb, number: u64) {
    let mut tx = test.db.begin().await.unwrap();
    tx.lock_config().await.unwrap();
    let entry = NewAdjustment {
        id: format!("e{number}"),
        budget_id: "b".to_owned(),
        kind: AdjustmentKind::TopUp,
        amount: nano(10),
        from: NOW,
        until: NOW.plus(std::time::Duration::from_secs(60)),
        corrects: None,
        actor: "carol".to_owned(),
        reason: "the fair".to_owned(),
    };
    tx.append_adjustment(entry, NOW).await.unwrap();
    tx.commit().await.unwrap();
}

on_every_database! {
    async fn each_period_of_a_budget_that_was_hard_is_proven_from_its_records_whatever_it_is_now(test: &TestDb) {
        let hard = revision(test, "hard").await;
        acquire(&test.db, 1, vec![ask("b", 1_000, 900, 900)]).await.unwrap();
        take(test, charged(1, 500, hard, true)).await;
        let soft = revision(test, "soft").await;
        take(test, charged(2, 2_000, soft, false)).await;
        let again = revision(test, "hard").await;
        take(test, charged(3, 400, again, true)).await;
        // one that was under way when it became hard again is no offence
        take(test, charged(4, 7, soft, false)).await;
        let report = verified(test).await;
        assert_eq!(report.problems, Vec::<String>::new());
        let over = &report.over_limit[0];
        assert_eq!((report.over_limit.len(), over.limit_nano_usd), (1, 1_000));
        assert_eq!((over.reserved_nano_usd, over.soft_nano_usd, over.corrected_nano_usd), (900, 2_007, 0));
        // what was reserved, past the limit: found from the records, though the budget is soft by now
        revision(test, "soft").await;
        take(test, charged(5, 101, again, true)).await;
        let report = verified(test).await;
        let said = report.problems.join("\n");
        assert!(said.contains("requests that found it hard cost 1001, the highest limit it had is 1000"), "{said}");
    }

    async fn a_request_that_reserved_nothing_of_a_hard_budget_is_named(test: &TestDb) {
        let hard = revision(test, "hard").await;
        let unchanged = revision(test, "hard").await;
        acquire(&test.db, 1, vec![ask("b", 1_000, 900, 900)]).await.unwrap();
        take(test, charged(1, 500, hard, true)).await;
        take(test, charged(2, 0, hard, false)).await;
        assert!(verified(test).await.is_clean(), "what costs nothing reserves nothing");
        take(test, charged(3, 1, unchanged, false)).await;
        let report = verified(test).await;
        let bad = report.first_bad.unwrap();
        assert_eq!(bad.seq, 3);
        assert!(bad.problem.contains("nothing was reserved of account b"), "{}", bad.problem);
    }

    async fn what_each_provider_charged_of_a_request_that_failed_over_is_counted_for_that_provider(test: &TestDb) {
        take(test, failed_over()).await;
        take(test, failed_over()).await;
        for span in RollupSpan::ALL {
            let expected = [
                ("azure".to_owned(), "gpt-5-2026-08-07".to_owned(), 0, 50, 30),
                ("openai".to_owned(), "gpt-5".to_owned(), 1, 100, 10),
            ];
            assert_eq!(by_provider(test, span).await, expected, "{span:?}");
        }
        let report = verified(test).await;
        assert_eq!((report.problems, report.shares), (Vec::new(), 1));
    }

    async fn what_each_try_used_is_counted_whatever_the_record_says_of_all(test: &TestDb) {
        // data planes say in the record what the last try used
        let mut record = failed_over();
        record.usage = record.attempts[1].usage;
        take(test, record).await;
        let expected = [
            ("azure".to_owned(), "gpt-5-2026-08-07".to_owned(), 0, 50, 30),
            ("openai".to_owned(), "gpt-5".to_owned(), 1, 100, 10),
        ];
        assert_eq!(by_provider(test, RollupSpan::Day).await, expected);
        let mut record = failed_over();
        (record.seq, record.usage) = (2, TokenUsage::default());
        (record.attempts[0].intent, record.attempts[1].intent) = (3, 4);
        take(test, record).await;
        let tokens: Vec<u64> = by_provider(test, RollupSpan::Trend).await.iter().map(|row| row.3).collect();
        assert_eq!(tokens, [100, 200]);
        assert_eq!(verified(test).await.problems, Vec::<String>::new());
    }

    async fn a_share_that_was_moved_to_another_provider_is_found(test: &TestDb) {
        take(test, failed_over()).await;
        test.raw("UPDATE attempt_shares SET cost_nano = cost_nano + 1 WHERE cost_nano > 0").await;
        let said = verified(test).await.problems.join("\n");
        assert!(said.contains("what other providers charged of it is not what its attempts say"), "{said}");
        assert!(said.contains("cost_nano is 30, the records say 31"), "{said}");
        test.raw("DELETE FROM attempt_shares").await;
        let said = verified(test).await.problems.join("\n");
        assert!(said.contains("cost_nano is 10, the records say 40"), "{said}");
    }

    async fn a_chain_of_entries_whose_end_was_cut_off_is_noticed(test: &TestDb) {
        revision(test, "hard").await;
        for number in 1..=3 {
            append(test, number).await;
        }
        let report = verified(test).await;
        assert_eq!(report.problems, Vec::<String>::new());
        let noted: helix_store::ChainHead = report.entries_head.unwrap().parse().unwrap();
        assert_eq!(noted.entries, 3);
        append(test, 4).await;
        assert!(test.db.verify_ledger_through(Some(&noted)).await.unwrap().is_clean());
        test.raw("DELETE FROM budget_adjustments WHERE id = 'e4'").await;
        let said = verified(test).await.problems.join("\n");
        assert!(said.contains("ends at 3, its head says 4"), "{said}");
        // who knows of the head moves it, too: the one that was noted elsewhere tells
        test.raw("DELETE FROM budget_adjustments WHERE id = 'e3'").await;
        test.raw("UPDATE chain_heads SET entries = 2, hash = (SELECT hash FROM budget_adjustments WHERE id = 'e2')").await;
        assert!(verified(test).await.is_clean());
        let said = test.db.verify_ledger_through(Some(&noted)).await.unwrap().problems.join("\n");
        assert!(said.contains("does not go through the noted head 3:"), "{said}");
        test.raw("DELETE FROM budget_adjustments").await;
        let said = verified(test).await.problems.join("\n");
        assert!(said.contains("there is no budget entry, but there were 2"), "{said}");
    }

    async fn a_database_of_before_is_given_its_modes_and_its_head(test: &TestDb) {
        revision(test, "hard").await;
        append(test, 1).await;
        test.raw("DELETE FROM budget_modes").await;
        test.raw("DELETE FROM chain_heads").await;
        assert!(verified(test).await.problems.join("\n").contains("have no head"));
        test.raw("DELETE FROM schema_history WHERE step = 15").await;
        assert_eq!(test.db.migrate(NOW).await.unwrap(), 1);
        assert!(verified(test).await.is_clean());
        take(test, charged(1, 1, u64::from(u32::MAX), false)).await;
        assert!(verified(test).await.problems.join("\n").contains("which was hard at revision"));
    }
}
