//! What lies beside budgets: events that are written once, entries that nobody edits, limits that change under way.

use crate::support::{
    NOW, TestDb, account, acquire, ask, balance, hear, incarnation, nano, node, on_every_database, record,
};
use helix_shared::budget::AccountKey;
use helix_shared::time::UnixMicros;
use helix_store::{AdjustmentKind, Budget, BudgetAdjustment, Managed, NewAdjustment, StoreError};
use std::time::Duration;

fn budget(id: &str, limit: i64, mode: &str, alert_at: &[&str]) -> Budget {
    Budget {
        id: id.to_owned(),
        scope: "team:blue".to_owned(),
        label: "team blue".to_owned(),
        limit_nano: nano(limit),
        period: "daily".to_owned(),
        mode: mode.to_owned(),
        timezone: "UTC".to_owned(),
        alert_at: alert_at.iter().map(|share| (*share).to_owned()).collect(),
        week_start: None,
        prior_timezone: None,
        prior_week_start: None,
        prior_until: None,
        managed: Managed::File,
        updated_at: NOW,
    }
}

async fn put(test: &TestDb, row: &Budget) {
    let mut tx = test.db.begin().await.unwrap();
    tx.put(row).await.unwrap();
    tx.commit().await.unwrap();
}

/// Takes one record that costs so much, and names the events it made.
async fn spend(test: &TestDb, number: usize, seq: u64, cost: i64, budgets: &[&str]) -> Vec<String> {
    let batch = [record(number, seq, cost, budgets)];
    let told = test.db.ingest(&incarnation(number), &node(), &batch, &[], NOW).await.unwrap().alerts;
    told.iter().map(|event| format!("{} {} {}", event.budget_id, event.kind, event.threshold)).collect()
}

async fn events(test: &TestDb) -> usize {
    let mut tx = test.db.read().await.unwrap();
    tx.budget_events(1_000).await.unwrap().len()
}

fn at(seconds: u64) -> UnixMicros {
    NOW.plus(Duration::from_secs(seconds))
}

fn entry(id: &str, budget: &str, amount: i64, from: u64, until: u64) -> NewAdjustment {
    NewAdjustment {
        id: id.to_owned(),
        budget_id: budget.to_owned(),
        kind: AdjustmentKind::Increase,
        amount: nano(amount),
        from: at(from),
        until: at(until),
        corrects: None,
        actor: "carol".to_owned(),
        reason: "the fair".to_owned(),
    }
}

fn correction(id: &str, of: &NewAdjustment) -> NewAdjustment {
    NewAdjustment {
        id: id.to_owned(),
        kind: AdjustmentKind::Correction,
        amount: nano(-of.amount.get()),
        corrects: Some(of.id.clone()),
        reason: "by mistake".to_owned(),
        ..of.clone()
    }
}

async fn append(test: &TestDb, new: NewAdjustment) -> Result<BudgetAdjustment, StoreError> {
    let mut tx = test.db.begin().await.unwrap();
    tx.lock_config().await.unwrap();
    let entry = tx.append_adjustment(new, NOW).await?;
    tx.commit().await.unwrap();
    Ok(entry)
}

async fn problems(test: &TestDb) -> Vec<String> {
    test.db.verify_ledger().await.unwrap().problems
}

on_every_database! {
    async fn each_share_of_a_budget_makes_one_event_in_a_period_however_often_it_is_reached(test: &TestDb) {
        put(test, &budget("hard", 1_000, "hard", &["0.5", "0.8"])).await;
        put(test, &budget("soft", 2_000, "soft", &[])).await;
        let both = ["hard", "soft"];
        assert_eq!(spend(test, 1, 1, 499, &both).await, Vec::<String>::new());
        assert_eq!(spend(test, 1, 2, 1, &both).await, ["hard budget.threshold_reached 5000"]);
        // the same record again, and a further one below the next share
        assert_eq!(spend(test, 1, 2, 1, &both).await, Vec::<String>::new());
        assert_eq!(spend(test, 1, 3, 299, &both).await, Vec::<String>::new());
        let all = ["hard budget.threshold_reached 8000", "hard budget.exceeded 10000"];
        assert_eq!(spend(test, 2, 1, 201, &both).await, all);
        assert_eq!(spend(test, 2, 2, 1_000, &both).await, ["soft budget.soft_exceeded 10000"]);
        // a raised limit that is reached again tells nothing new in this period
        put(test, &budget("hard", 2_000, "hard", &["0.5", "0.8"])).await;
        assert_eq!(spend(test, 2, 3, 100, &both).await, Vec::<String>::new());
        assert_eq!(events(test).await, 4);
        let mut tx = test.db.read().await.unwrap();
        let event = tx.budget_events(1_000).await.unwrap().pop().unwrap();
        assert_eq!((event.used_nano, event.limit_nano, event.period_start), (nano(500), nano(1_000), NOW));
        assert_eq!((event.label.as_str(), event.scope.as_str()), ("team blue, daily", "team:blue"));
        assert_eq!(event.period_end, at(86_400));
    }

    async fn two_control_planes_that_take_records_at_once_make_one_event(test: &TestDb) {
        put(test, &budget("hard", 1_000, "hard", &["0.5", "0.9"])).await;
        let takes: Vec<_> = (1..=10)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let batch = [record(number, 1, 100, &["hard"])];
                    db.ingest(&incarnation(number), &node(), &batch, &[], NOW).await.unwrap().alerts
                })
            })
            .collect();
        let mut told = Vec::new();
        for take in takes {
            told.extend(take.await.unwrap().into_iter().map(|event| event.threshold));
        }
        told.sort_unstable();
        assert_eq!(told, [5_000, 9_000, 10_000]);
        assert_eq!(events(test).await, 3);
    }

    async fn a_batch_that_charges_more_budgets_than_a_statement_takes_tells_of_each(test: &TestDb) {
        let ids: Vec<String> = (0..450).map(|number| format!("budget-{number:03}")).collect();
        let mut tx = test.db.begin().await.unwrap();
        for id in &ids {
            tx.insert(&budget(id, 1_000, "hard", &["0.5"])).await.unwrap();
        }
        tx.commit().await.unwrap();
        let charged: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(spend(test, 1, 1, 500, &charged).await.len(), 450);
        assert_eq!(spend(test, 1, 2, 1, &charged).await.len(), 0);
    }

    async fn another_period_tells_anew_and_a_late_record_counts_against_the_limit_of_its_own(test: &TestDb) {
        put(test, &budget("hard", 1_000, "hard", &["0.5"])).await;
        // yesterday lay 1,000 on top, which has ended since
        append(test, entry("e1", "hard", 1_000, 0, 86_400)).await.unwrap();
        let tomorrow = at(86_400 + 60);
        let mut today = record(1, 1, 600, &["hard"]);
        today.charged = vec![AccountKey { period_start: at(86_400), ..account("hard") }];
        let mut late = record(1, 2, 999, &["hard"]);
        late.charged = vec![account("hard")];
        let told = test.db.ingest(&incarnation(1), &node(), &[today, late], &[], tomorrow).await.unwrap().alerts;
        let told: Vec<_> = told.iter().map(|event| (event.period_start, event.used_nano)).collect();
        assert_eq!(told, [(at(86_400), nano(600))]);
    }

    async fn entries_are_numbered_and_proven_and_what_has_ended_no_longer_travels(test: &TestDb) {
        put(test, &budget("a", 1_000, "hard", &[])).await;
        put(test, &budget("b", 1_000, "hard", &[])).await;
        let one = append(test, entry("e1", "a", 50, 0, 100)).await.unwrap();
        let two = append(test, entry("e2", "b", 70, 10, 200)).await.unwrap();
        assert_eq!((one.seq, two.seq), (1, 2));
        append(test, correction("e3", &entry("e2", "b", 70, 10, 200))).await.unwrap();
        let again = append(test, correction("e4", &entry("e2", "b", 70, 10, 200))).await.unwrap_err();
        assert!(matches!(again, StoreError::Conflict { .. }), "{again}");
        let report = test.db.verify_ledger().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        assert_eq!(report.adjustments, 3);
        let mut tx = test.db.read().await.unwrap();
        let budgets = tx.list::<Budget>().await.unwrap();
        let increases = tx.increases(&budgets).await.unwrap();
        assert_eq!(increases["a"], [one.increase()]);
        assert_eq!(increases["b"].iter().map(|it| it.amount.get()).collect::<Vec<_>>(), [70, -70]);
        assert_eq!(tx.increases(&budgets[..1]).await.unwrap().keys().collect::<Vec<_>>(), ["a"]);
        drop(tx);
        put(test, &Budget { updated_at: at(150), ..budget("a", 1_000, "hard", &[]) }).await;
        let mut tx = test.db.read().await.unwrap();
        let budgets = tx.list::<Budget>().await.unwrap();
        assert_eq!(tx.increases(&budgets).await.unwrap().keys().collect::<Vec<_>>(), ["b"]);
    }

    async fn an_edited_entry_and_a_missing_one_are_found(test: &TestDb) {
        put(test, &budget("a", 1_000, "hard", &[])).await;
        for number in 1..=4_u64 {
            append(test, entry(&format!("e{number}"), "a", 50, number, 100)).await.unwrap();
        }
        assert_eq!(problems(test).await, Vec::<String>::new());
        for (edit, undo) in [
            ("amount_nano = 51", "amount_nano = 50"),
            ("reason = 'none'", "reason = 'the fair'"),
            ("actor = 'mallory'", "actor = 'carol'"),
            ("holds_until = holds_until + 1", "holds_until = holds_until - 1"),
            ("budget_id = 'b'", "budget_id = 'a'"),
        ] {
            test.raw(&format!("UPDATE budget_adjustments SET {edit} WHERE id = 'e2'")).await;
            let found = problems(test).await;
            assert!(found.len() == 1 && found[0].contains("(e2)"), "{edit}: {found:?}");
            test.raw(&format!("UPDATE budget_adjustments SET {undo} WHERE id = 'e2'")).await;
        }
        assert_eq!(problems(test).await, Vec::<String>::new());
        test.raw("DELETE FROM budget_adjustments WHERE id = 'e3'").await;
        let found = problems(test).await;
        assert!(found.iter().any(|problem| problem.contains("no entry has the numbers 3 to 3")), "{found:?}");
        assert!(found.iter().any(|problem| problem.contains("edited or removed")), "{found:?}");
    }

    async fn an_entry_that_makes_no_sense_is_found_even_where_its_hash_fits(test: &TestDb) {
        put(test, &budget("a", 1_000, "hard", &[])).await;
        let good = entry("e1", "a", 50, 0, 100);
        append(test, good.clone()).await.unwrap();
        append(test, NewAdjustment { reason: " ".to_owned(), ..entry("e2", "a", 50, 0, 100) }).await.unwrap();
        append(test, entry("e3", "a", -50, 0, 100)).await.unwrap();
        append(test, entry("e4", "a", 50, 100, 100)).await.unwrap();
        append(test, NewAdjustment { amount: nano(-49), ..correction("e5", &good) }).await.unwrap();
        let found = problems(test).await;
        assert_eq!(found.len(), 4, "{found:?}");
    }

    async fn a_lowered_limit_is_written_under_way_and_says_what_can_come_back(test: &TestDb) {
        acquire(&test.db, 1, vec![ask("b", 1_000, 800, 800)]).await.unwrap();
        let running = test.db.running_accounts(NOW).await.unwrap();
        assert_eq!(running.iter().map(|it| it.key.clone()).collect::<Vec<_>>(), [account("b")]);
        assert_eq!(test.db.recallable(&account("b"), NOW).await.unwrap(), nano(0));
        let lowered = test.db.set_limit(&account("b"), nano(300), at(86_400)).await.unwrap();
        assert_eq!((lowered.available(), lowered.peak_limit), (nano(-500), nano(1_000)));
        assert_eq!(test.db.recallable(&account("b"), NOW).await.unwrap(), nano(800));
        // it spent 400 and gives the rest back: nothing more can come
        hear(&test.db, 1, 1, vec![balance("b", 800, 400, 400)], vec![], NOW).await.unwrap();
        assert_eq!(test.db.recallable(&account("b"), NOW).await.unwrap(), nano(0));
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.account(&account("b")).await.unwrap().unwrap().available(), nano(-100));
        drop(tx);
        assert!(test.db.running_accounts(at(86_400)).await.unwrap().is_empty());
    }
}
