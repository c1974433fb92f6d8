//! Corrections: new entries that every sum and account follows, and no record changes.

use crate::support::{NOW, TestDb, account, acquire, ask, incarnation, nano, node, on_every_database, record};
use helix_shared::time::UnixMicros;
use helix_store::{Budget, Corrected, Managed, NewCorrection, RollupSpan};
use std::time::Duration;

/// A day in the month after the records.
const LATER: UnixMicros = UnixMicros::new(NOW.get() + 15 * 86_400_000_000);
const FOREVER: UnixMicros = UnixMicros::new(i64::MAX);

fn correction(id: &str, request_id: &str, amount: i64) -> NewCorrection {
    NewCorrection {
        id: id.to_owned(),
        request_id: request_id.to_owned(),
        record: None,
        amount: nano(amount),
        actor: "jane@corp.example".to_owned(),
        reason: "the provider gave it back".to_owned(),
    }
}

async fn clean(test: &TestDb) {
    assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
}

async fn fill(test: &TestDb) {
    let batch: Vec<_> = (1..=5).map(|seq| record(1, seq, 100, &["a", "b"])).collect();
    test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
}

/// A daily budget that tells at nine tenths.
fn watched(id: &str, limit: i64) -> Budget {
    Budget {
        id: id.to_owned(),
        scope: "instance".to_owned(),
        label: String::new(),
        limit_nano: nano(limit),
        period: "daily".to_owned(),
        mode: "soft".to_owned(),
        timezone: "UTC".to_owned(),
        alert_at: vec!["0.9".to_owned()],
        week_start: None,
        prior_timezone: None,
        prior_week_start: None,
        prior_until: None,
        managed: Managed::Db,
        updated_at: NOW,
    }
}

on_every_database! {
    async fn a_correction_is_an_entry_of_its_own_day_and_the_record_stays(test: &TestDb) {
        fill(test).await;
        let mut tx = test.db.read().await.unwrap();
        let before = tx.rollups(RollupSpan::Month, NOW.month_start(), NOW.next_month_start()).await.unwrap();
        drop(tx);
        let seen_at = test.db.read().await.unwrap().incarnation(&incarnation(1)).await.unwrap().unwrap().seen_at;
        let booked = test.db.correct(&correction("c-1", "0193-1-2", -30), LATER).await.unwrap();
        let Corrected::Booked { correction: entry, cost, .. } = booked else { panic!("{booked:?}") };
        assert_eq!((cost, entry.seq, entry.at), (nano(70), 2, LATER));
        assert_eq!(entry.charged, [account("a"), account("b")]);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.request_by_id("0193-1-2").await.unwrap().unwrap().cost, nano(100));
        assert_eq!(tx.corrections().await.unwrap(), [*entry]);
        // no sign of life of the process that made the record
        assert_eq!(tx.incarnation(&incarnation(1)).await.unwrap().unwrap().seen_at, seen_at);
        assert_eq!(tx.rollups(RollupSpan::Month, NOW.month_start(), NOW.next_month_start()).await.unwrap(), before);
        for span in RollupSpan::ALL {
            let sums = tx.rollups(span, NOW.next_month_start(), FOREVER).await.unwrap();
            let found: Vec<_> = sums.iter().map(|sum| (sum.totals.requests, sum.totals.cost, sum.totals.corrected)).collect();
            assert_eq!(found, [(0, nano(-30), nano(-30))]);
            assert_eq!(sums[0].key.model, "gpt-5");
        }
        for budget in ["a", "b"] {
            let account = tx.account(&account(budget)).await.unwrap().unwrap();
            // shown as not spent, and not to be spent again
            assert_eq!((account.settled, account.unleased), (nano(470), nano(500)));
        }
        drop(tx);
        clean(test).await;
        assert_eq!(test.db.verify_ledger().await.unwrap().corrections, 1);
        // in the hour of records, too
        test.db.correct(&correction("c-2", "0193-1-3", 5), NOW).await.unwrap();
        test.db.correct(&correction("c-3", "0193-1-3", -105), NOW).await.unwrap();
        clean(test).await;
    }

    async fn what_cannot_be_corrected_is_refused_and_books_nothing(test: &TestDb) {
        fill(test).await;
        assert_eq!(test.db.correct(&correction("c", "nobody", 1), NOW).await.unwrap(), Corrected::NoRecord);
        assert_eq!(test.db.correct(&correction("c", "0193-1-2", -101), NOW).await.unwrap(), Corrected::BelowZero(nano(100)));
        test.db.correct(&correction("c-1", "0193-1-2", -60), NOW).await.unwrap();
        assert_eq!(test.db.correct(&correction("c-2", "0193-1-2", -60), NOW).await.unwrap(), Corrected::BelowZero(nano(40)));
        let mut twin = record(2, 1, 9, &[]);
        twin.request_id = "0193-1-2".to_owned();
        test.db.ingest(&incarnation(2), &node(), &[twin], &[], NOW).await.unwrap();
        let several = vec![(incarnation(1), 2), (incarnation(2), 1)];
        assert_eq!(test.db.correct(&correction("c-2", "0193-1-2", 1), NOW).await.unwrap(), Corrected::Several(several));
        let mut named = correction("c-2", "0193-1-2", 1);
        named.record = Some((incarnation(2), 1));
        assert!(matches!(test.db.correct(&named, NOW).await.unwrap(), Corrected::Booked { cost, .. } if cost == nano(10)));
        clean(test).await;
    }

    async fn corrections_of_one_record_at_once_never_take_it_below_nothing(test: &TestDb) {
        fill(test).await;
        let tries: Vec<_> = (0..8)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    db.correct(&correction(&format!("c-{number}"), "0193-1-1", -30), NOW).await.unwrap()
                })
            })
            .collect();
        let mut booked = 0;
        for one in tries {
            booked += u32::from(matches!(one.await.unwrap(), Corrected::Booked { .. }));
        }
        assert_eq!(booked, 3);
        clean(test).await;
    }

    async fn no_correction_makes_a_request_cost_more_than_any_request_can(test: &TestDb) {
        fill(test).await;
        let most = nano(1_000_000_000_000_000);
        let before = match test.db.correct(&correction("c-0", "0193-1-1", 1), NOW).await.unwrap() {
            Corrected::Booked { cost, .. } => cost,
            other => panic!("{other:?}"),
        };
        for (id, amount) in [("c-1", i64::MAX), ("c-2", most.get()), ("c-3", most.get() - before.get() + 1)] {
            let told = test.db.correct(&correction(id, "0193-1-1", amount), NOW).await.unwrap();
            assert_eq!(told, Corrected::TooMuch(most, before), "{amount}");
        }
        let to_the_most = correction("c-4", "0193-1-1", most.get() - before.get());
        let told = test.db.correct(&to_the_most, NOW).await.unwrap();
        assert!(matches!(told, Corrected::Booked { cost, .. } if cost == most), "{told:?}");
        clean(test).await;
    }

    async fn a_correction_upwards_may_pass_a_hard_limit_and_the_proof_knows_it(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        let hard = Budget {
            id: "hard".to_owned(), scope: "instance".to_owned(), label: String::new(), limit_nano: nano(1_000),
            period: "daily".to_owned(), mode: "hard".to_owned(), timezone: "UTC".to_owned(), alert_at: vec![],
            week_start: None,
            prior_timezone: None,
            prior_week_start: None,
            prior_until: None,
            managed: Managed::Db, updated_at: NOW,
        };
        tx.put(&hard).await.unwrap();
        tx.commit().await.unwrap();
        acquire(&test.db, 1, vec![ask("hard", 1_000, 1_000, 1_000)]).await.unwrap();
        test.db.ingest(&incarnation(1), &node(), &[record(1, 1, 990, &["hard"])], &[], NOW).await.unwrap();
        test.db.correct(&correction("c-1", "0193-1-1", 500), NOW).await.unwrap();
        clean(test).await;
        let at = NOW.plus(Duration::from_secs(60));
        test.db.correct(&correction("c-2", "0193-1-1", -700), at).await.unwrap();
        clean(test).await;
        // what was taken away is not granted again
        acquire(&test.db, 2, vec![ask("hard", 1_000, 500, 500)]).await.unwrap();
        let account = test.db.read().await.unwrap().account(&account("hard")).await.unwrap().unwrap();
        assert_eq!((account.escrow, account.settled), (nano(1_000), nano(790)));
        clean(test).await;
    }

    async fn a_correction_that_is_lost_changed_or_without_a_record_is_found(test: &TestDb) {
        let planted = [
            ("DELETE FROM ledger_corrections", "corrected_nano is -30, the records say 0"),
            ("UPDATE ledger_corrections SET cost_nano = -29", "corrected_nano is -30, the records say -29"),
            ("UPDATE ledger_corrections SET seq = 99", "correction c-1 corrects request 0193-1-2, of which there is no record"),
            ("UPDATE rollups_month SET cost_nano = 500, corrected_nano = 0", "corrections of -30 are missing"),
            ("UPDATE ledger_corrections SET charged = '[]'", "settled is 470, the records charged to it cost 500"),
        ];
        for (sql, says) in planted {
            let another = TestDb::fresh(test.db.dialect()).await.unwrap();
            fill(&another).await;
            another.db.correct(&correction("c-1", "0193-1-2", -30), NOW).await.unwrap();
            another.raw(sql).await;
            let said = another.db.verify_ledger().await.unwrap().problems.join("\n");
            assert!(said.contains(says), "{sql}\nsaid:\n{said}");
            another.drop_database().await;
        }
    }

    async fn a_correction_that_makes_a_budget_reach_a_share_is_told_once(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        for id in ["a", "b"] {
            tx.put(&watched(id, if id == "a" { 600 } else { 1_000_000 })).await.unwrap();
        }
        tx.commit().await.unwrap();
        fill(test).await;
        assert_eq!(test.db.read().await.unwrap().budget_events(10).await.unwrap(), []);
        let booked = test.db.correct(&correction("c-1", "0193-1-2", 60), NOW).await.unwrap();
        let Corrected::Booked { alerts, .. } = booked else { panic!("{booked:?}") };
        let told: Vec<_> = alerts.iter().map(|event| (event.budget_id.as_str(), event.threshold, event.used_nano)).collect();
        assert_eq!(told, [("a", 9_000, nano(560))]);
        assert_eq!(test.db.read().await.unwrap().budget_events(10).await.unwrap(), alerts);
        let booked = test.db.correct(&correction("c-2", "0193-1-2", 1), NOW).await.unwrap();
        assert!(matches!(booked, Corrected::Booked { alerts, .. } if alerts.is_empty()));
        clean(test).await;
    }

    async fn a_correction_of_an_account_that_is_not_there_books_nothing(test: &TestDb) {
        fill(test).await;
        test.raw("DELETE FROM accounts WHERE budget_id = 'b'").await;
        let refused = test.db.correct(&correction("c-1", "0193-1-2", 60), NOW).await.unwrap_err().to_string();
        assert!(refused.contains("account b") && refused.contains("not there to correct"), "{refused}");
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.corrections().await.unwrap(), []);
        assert_eq!(tx.account(&account("a")).await.unwrap().unwrap().settled, nano(500));
    }
}
