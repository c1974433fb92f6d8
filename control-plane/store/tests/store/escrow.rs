//! Escrow: never over the limit, nothing lost, whatever comes twice, late or at once.

use crate::support::{NOW, TestDb, account, ask, incarnation, nano, node, on_every_database, record};
use helix_shared::budget::AccountKey;
use helix_shared::time::UnixMicros;
use helix_store::{Balance, GrantRow};

fn balance(budget: &str, spent: i64, returned: i64) -> Balance {
    Balance { account: account(budget), spent_total: nano(spent), returned_total: nano(returned) }
}

async fn acquire(test: &TestDb, number: usize, budget: &str, limit: i64, need: i64, want: i64) -> GrantRow {
    let asks = [ask(budget, limit, need, want)];
    let mut rows = test.db.acquire(&incarnation(number), &node(), &asks, NOW).await.unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn escrow_of(test: &TestDb, budget: &str) -> i64 {
    let mut tx = test.db.read().await.unwrap();
    tx.check_account(&account(budget)).await.unwrap();
    tx.account(&account(budget)).await.unwrap().unwrap().escrow.get()
}

on_every_database! {
    async fn nodes_that_ask_at_once_never_get_more_than_the_limit(test: &TestDb) {
        const LIMIT: i64 = 1_000;
        let asks: Vec<_> = (0..32)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let asks = [ask("b", LIMIT, 40, 40)];
                    let rows = db.acquire(&incarnation(number), &node(), &asks, NOW).await.unwrap();
                    rows.first().unwrap().granted_total.get()
                })
            })
            .collect();
        let mut granted = Vec::new();
        for one in asks {
            granted.push(one.await.unwrap());
        }
        // 32 * 40 do not fit: the needs are met in part and the money is used up
        assert_eq!(granted.iter().sum::<i64>(), LIMIT, "{granted:?}");
        assert_eq!(granted.iter().filter(|one| **one == 40).count(), 25, "{granted:?}");
        assert_eq!(escrow_of(test, "b").await, LIMIT);
    }

    async fn paths_that_cross_never_block_each_other_for_good(test: &TestDb) {
        let asks: Vec<_> = (0..24)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let mut asks: Vec<_> =
                        ["a", "b", "c"].iter().map(|budget| ask(budget, 10_000, 100, 100)).collect();
                    if number % 2 == 0 {
                        asks.reverse();
                    }
                    let rows = db.acquire(&incarnation(number), &node(), &asks, NOW).await.unwrap();
                    rows.iter().map(|row| row.account.budget_id.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        for one in asks {
            assert_eq!(one.await.unwrap(), ["a", "b", "c"]);
        }
        for budget in ["a", "b", "c"] {
            assert_eq!(escrow_of(test, budget).await, 2_400);
        }
    }

    async fn asking_again_for_the_same_total_grants_nothing_more(test: &TestDb) {
        let first = acquire(test, 1, "b", 1_000, 100, 300).await;
        assert_eq!((first.granted_total, first.available), (nano(300), nano(700)));
        assert_eq!(first.limit, nano(1_000));
        assert_eq!(acquire(test, 1, "b", 1_000, 100, 300).await, first);
        let more = acquire(test, 1, "b", 1_000, 400, 400).await;
        assert_eq!((more.granted_total, more.escrow), (nano(400), nano(400)));
        // of two asks in one message the larger one counts, once
        let asks = [ask("b", 1_000, 400, 400), ask("b", 1_000, 450, 450), ask("b", 1_000, 400, 400)];
        let rows = test.db.acquire(&incarnation(1), &node(), &asks, NOW).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.granted_total.get()).collect::<Vec<_>>(), [450]);
        assert_eq!(escrow_of(test, "b").await, 450);
    }

    async fn a_need_that_cannot_be_met_is_met_in_part(test: &TestDb) {
        acquire(test, 1, "b", 100, 70, 70).await;
        let rest = acquire(test, 2, "b", 100, 50, 50).await;
        assert_eq!((rest.granted_total, rest.available), (nano(30), nano(0)));
        let nothing = acquire(test, 3, "b", 100, 50, 50).await;
        assert_eq!(nothing.granted_total, nano(0));
        assert_eq!(escrow_of(test, "b").await, 100);
    }

    async fn a_wish_is_a_fair_share_and_a_need_goes_first(test: &TestDb) {
        // one holder: at most half of what is free
        assert_eq!(acquire(test, 1, "b", 1_000, 10, 10_000).await.granted_total, nano(500));
        // two holders: at most a quarter
        assert_eq!(acquire(test, 2, "b", 1_000, 10, 10_000).await.granted_total, nano(125));
        assert_eq!(acquire(test, 3, "b", 1_000, 300, 10_000).await.granted_total, nano(300));
        assert_eq!(escrow_of(test, "b").await, 925);
    }

    async fn a_lowered_limit_grants_nothing_until_escrow_is_below_it(test: &TestDb) {
        acquire(test, 1, "b", 1_000, 800, 800).await;
        let lowered = acquire(test, 2, "b", 500, 10, 10).await;
        assert_eq!((lowered.granted_total, lowered.available, lowered.limit), (nano(0), nano(-300), nano(500)));
        test.db.report(&incarnation(1), &node(), &[balance("b", 100, 600)], NOW).await.unwrap();
        let free = acquire(test, 2, "b", 500, 10, 10).await;
        assert_eq!((free.granted_total, free.escrow), (nano(10), nano(210)));
        let mut tx = test.db.read().await.unwrap();
        let account = tx.account(&account("b")).await.unwrap().unwrap();
        assert_eq!((account.limit, account.peak_limit), (Some(nano(500)), nano(1_000)));
    }

    async fn reports_may_come_twice_late_and_too_large(test: &TestDb) {
        acquire(test, 1, "b", 1_000, 500, 500).await;
        let report = async |spent, returned| {
            test.db.report(&incarnation(1), &node(), &[balance("b", spent, returned)], NOW).await.unwrap();
            escrow_of(test, "b").await
        };
        assert_eq!(report(100, 150).await, 350);
        assert_eq!(report(100, 150).await, 350, "twice");
        assert_eq!(report(50, 20).await, 350, "late");
        assert_eq!(report(200, 9_999).await, 200, "what was spent cannot come back");
        assert_eq!(report(-5, -5).await, 200);
        let mut tx = test.db.read().await.unwrap();
        let leases = tx.leases_of(&incarnation(1)).await.unwrap();
        let lease = leases.first().unwrap();
        assert_eq!((lease.granted, lease.spent, lease.returned), (nano(500), nano(200), nano(300)));
        drop(tx);
        // totals of accounts that it holds nothing of change nothing
        test.db.report(&incarnation(1), &node(), &[balance("other", 5, 5)], NOW).await.unwrap();
        assert_eq!(test.db.read().await.unwrap().account(&account("other")).await.unwrap(), None);
    }

    async fn an_idle_report_is_noted_now_and_then(test: &TestDb) {
        let seen = async |seconds: i64| {
            let at = UnixMicros::new(NOW.get() + seconds * 1_000_000);
            test.db.report(&incarnation(1), &node(), &[], at).await.unwrap();
            let mut tx = test.db.read().await.unwrap();
            (tx.incarnation(&incarnation(1)).await.unwrap().unwrap().seen_at.get() - NOW.get()) / 1_000_000
        };
        assert_eq!(seen(0).await, 0);
        assert_eq!(seen(1).await, 0);
        assert_eq!(seen(20).await, 20);
    }

    async fn closing_frees_what_was_not_spent_once(test: &TestDb) {
        acquire(test, 1, "a", 1_000, 500, 500).await;
        acquire(test, 1, "b", 1_000, 400, 400).await;
        acquire(test, 2, "b", 1_000, 100, 100).await;
        test.db.report(&incarnation(1), &node(), &[balance("a", 10, 50)], NOW).await.unwrap();
        let finals = [balance("a", 120, 0), balance("b", 0, 0)];
        for _ in 0..3 {
            test.db.close_incarnation(&incarnation(1), &node(), &finals, NOW).await.unwrap();
            assert_eq!(escrow_of(test, "a").await, 120);
            assert_eq!(escrow_of(test, "b").await, 100);
        }
        let other = [balance("a", 999, 0)];
        test.db.close_incarnation(&incarnation(1), &node(), &other, NOW).await.unwrap();
        assert_eq!(escrow_of(test, "a").await, 120, "closed is closed");
        // a late ask of the dead is granted nothing
        let late = acquire(test, 1, "a", 1_000, 900, 900).await;
        assert_eq!(late.granted_total, nano(500));
        assert_eq!(acquire(test, 1, "c", 1_000, 1, 1).await.granted_total, nano(0));
        test.db.report(&incarnation(1), &node(), &[balance("a", 500, 500)], NOW).await.unwrap();
        assert_eq!(escrow_of(test, "a").await, 120);
    }

    async fn an_account_without_a_final_was_spent_as_recorded(test: &TestDb) {
        acquire(test, 1, "b", 1_000, 500, 500).await;
        let records = [record(1, 1, 70, &["b"]), record(1, 2, 30, &["b"])];
        test.db.ingest(&incarnation(1), &node(), &records, &[], NOW).await.unwrap();
        test.db.close_incarnation(&incarnation(1), &node(), &[], NOW).await.unwrap();
        assert_eq!(escrow_of(test, "b").await, 100);
        let mut tx = test.db.read().await.unwrap();
        let leases = tx.leases_of(&incarnation(1)).await.unwrap();
        let lease = leases.first().unwrap();
        assert_eq!((lease.spent, lease.returned, lease.settled), (nano(100), nano(400), nano(100)));
        assert!(lease.sealed && tx.incarnation(&incarnation(1)).await.unwrap().unwrap().sealed);
    }

    async fn closing_one_that_was_never_heard_of_is_final_too(test: &TestDb) {
        test.db.close_incarnation(&incarnation(9), &node(), &[], NOW).await.unwrap();
        assert_eq!(acquire(test, 9, "b", 100, 10, 10).await.granted_total, nano(0));
    }

    async fn totals_are_told_again_for_every_lease(test: &TestDb) {
        acquire(test, 1, "b", 1_000, 10, 10).await;
        let a = acquire(test, 1, "a", 500, 20, 20).await;
        acquire(test, 2, "b", 1_000, 30, 30).await;
        let mut tx = test.db.read().await.unwrap();
        let rows = tx.balances(&incarnation(1)).await.unwrap();
        assert_eq!(rows.first(), Some(&a));
        let b = rows.get(1).unwrap();
        assert_eq!((b.granted_total, b.escrow, b.available), (nano(10), nano(40), nano(960)));
        assert_eq!(tx.balances(&incarnation(3)).await.unwrap(), vec![]);
        assert_eq!(tx.accounts_of(&account("b").budget_id, 10).await.unwrap().len(), 1);
    }

    async fn what_a_soft_budget_spent_counts_when_it_becomes_hard(test: &TestDb) {
        test.db.ingest(&incarnation(1), &node(), &[record(1, 1, 80, &["b"])], &[], NOW).await.unwrap();
        let hard = acquire(test, 1, "b", 100, 50, 50).await;
        assert_eq!((hard.granted_total, hard.available, hard.settled), (nano(20), nano(0), nano(80)));
    }

    async fn a_limit_at_the_end_of_the_range_is_a_limit(test: &TestDb) {
        let row = acquire(test, 1, "b", i64::MAX, 5, i64::MAX).await;
        assert_eq!(row.granted_total.get(), i64::MAX / 2);
        let row = acquire(test, 2, "b", i64::MAX, i64::MAX, i64::MAX).await;
        assert_eq!(row.escrow.get(), i64::MAX);
        assert_eq!(row.available.get(), 0);
        assert_eq!(escrow_of(test, "b").await, i64::MAX);
    }

    async fn a_planted_imbalance_is_an_error_and_nothing_is_closed(test: &TestDb) {
        acquire(test, 1, "b", 1_000, 100, 100).await;
        test.raw("UPDATE accounts SET escrow_nano = escrow_nano + 7").await;
        let error = test.db.close_incarnation(&incarnation(1), &node(), &[], NOW).await.unwrap_err();
        assert!(error.to_string().contains("escrow is 7"), "{error}");
        let mut tx = test.db.read().await.unwrap();
        assert!(!tx.incarnation(&incarnation(1)).await.unwrap().unwrap().sealed);
        let key: AccountKey = account("b");
        assert!(tx.check_account(&key).await.is_err());
    }

    async fn an_incarnation_remembers_its_boot(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.see_incarnation(&incarnation(1), &node(), "boot-1", NOW).await.unwrap();
        let known = tx.see_incarnation(&incarnation(1), &node(), "boot-1", NOW).await.unwrap();
        assert_eq!((known.boot_id.as_str(), known.through_seq, known.sealed), ("boot-1", 0, false));
        assert_eq!(tx.incarnations_of(&node()).await.unwrap(), vec![known]);
    }
}
