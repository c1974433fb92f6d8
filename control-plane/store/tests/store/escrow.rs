//! Escrow: never over the limit, nothing lost, whatever comes twice, late or at once.

use crate::support::{
    NOW, TestDb, account, acquire, ask, balance, close, hear, incarnation, nano, node, on_every_database, record,
    speaker,
};
use helix_shared::budget::message::{Past, Standing};
use helix_shared::budget::plane::{Acquiring, Hearing, Outcome, Seal, Settling, Vanished, What};
use helix_shared::ids::{BudgetId, NodeId};
use helix_shared::time::UnixMicros;
use helix_store::{Malformed, Node};

async fn one(test: &TestDb, number: usize, budget: &str, limit: i64, need: i64, want: i64) -> Standing {
    let mut standings = acquire(&test.db, number, vec![ask(budget, limit, need, want)]).await.unwrap();
    assert_eq!(standings.len(), 1);
    standings.remove(0)
}

/// What the leases hold, proven to be the account's escrow.
async fn escrow_of(test: &TestDb, budget: &str) -> i64 {
    let mut tx = test.db.read().await.unwrap();
    tx.check_account(&account(budget)).await.unwrap();
    tx.account(&account(budget)).await.unwrap().unwrap().escrow.get()
}

async fn lease_of(test: &TestDb, number: usize, budget: &str) -> helix_store::Lease {
    let mut tx = test.db.read().await.unwrap();
    tx.lease(&incarnation(number), &account(budget)).await.unwrap().unwrap()
}

pub(crate) fn after(seconds: i64) -> UnixMicros {
    UnixMicros::new(NOW.get() + seconds * 1_000_000)
}

/// The node of this incarnation has started anew.
pub(crate) async fn restarted(test: &TestDb, number: usize, next: usize) {
    let mut tx = test.db.begin().await.unwrap();
    let id = format!("node-{number:03}");
    tx.put(&Node {
        id,
        incarnation: incarnation(next).as_str().to_owned(),
        version: "1".to_owned(),
        zone: String::new(),
        applied_revision: 1,
        quarantined: Vec::new(),
        connected_at: NOW,
        seen_at: NOW,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

on_every_database! {
    async fn nodes_that_ask_at_once_never_get_more_than_the_limit(test: &TestDb) {
        const LIMIT: i64 = 1_000;
        let asks: Vec<_> = (0..32)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let standings = acquire(&db, number, vec![ask("b", LIMIT, 40, 40)]).await.unwrap();
                    standings.first().unwrap().granted.get()
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
                    let rows = acquire(&db, number, asks).await.unwrap();
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
        let first = one(test, 1, "b", 1_000, 100, 300).await;
        assert_eq!((first.granted, first.available, first.limit), (nano(300), nano(700), nano(1_000)));
        assert_eq!(one(test, 1, "b", 1_000, 100, 300).await, first);
        assert_eq!(one(test, 1, "b", 1_000, 400, 400).await.granted, nano(400));
        // of two asks in one message the larger one counts, once
        let asks = vec![ask("b", 1_000, 400, 400), ask("b", 1_000, 450, 450), ask("b", 1_000, 400, 400)];
        let rows = acquire(&test.db, 1, asks).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.granted.get()).collect::<Vec<_>>(), [450]);
        assert_eq!(escrow_of(test, "b").await, 450);
    }

    async fn a_need_is_met_in_part_unless_the_part_admits_nobody(test: &TestDb) {
        one(test, 1, "b", 100, 70, 70).await;
        let mut least = ask("b", 100, 50, 50);
        least.least_total = nano(31);
        let idle = acquire(&test.db, 2, vec![least]).await.unwrap().remove(0);
        assert_eq!((idle.granted, idle.available, idle.recallable), (nano(0), nano(30), nano(70)));
        assert_eq!(one(test, 2, "b", 100, 50, 50).await.granted, nano(30));
        assert_eq!(one(test, 3, "b", 100, 50, 50).await.granted, nano(0));
        assert_eq!(escrow_of(test, "b").await, 100);
    }

    async fn a_wish_is_a_fair_share_and_a_need_goes_first(test: &TestDb) {
        // one holder: at most half of what is free
        assert_eq!(one(test, 1, "b", 1_000, 10, 10_000).await.granted, nano(500));
        // two holders: at most a quarter
        assert_eq!(one(test, 2, "b", 1_000, 10, 10_000).await.granted, nano(125));
        assert_eq!(one(test, 3, "b", 1_000, 300, 10_000).await.granted, nano(300));
        assert_eq!(escrow_of(test, "b").await, 925);
    }

    async fn a_lowered_limit_grants_nothing_until_escrow_is_below_it(test: &TestDb) {
        one(test, 1, "b", 1_000, 800, 800).await;
        let lowered = one(test, 2, "b", 500, 10, 10).await;
        assert_eq!((lowered.granted, lowered.available, lowered.limit), (nano(0), nano(-300), nano(500)));
        hear(&test.db, 1, 0, vec![balance("b", 800, 100, 600)], vec![], NOW).await.unwrap();
        assert_eq!(one(test, 2, "b", 500, 10, 10).await.granted, nano(10));
        assert_eq!(escrow_of(test, "b").await, 210);
        let mut tx = test.db.read().await.unwrap();
        let account = tx.account(&account("b")).await.unwrap().unwrap();
        assert_eq!((account.limit, account.peak_limit), (Some(nano(500)), nano(1_000)));
    }

    async fn reports_may_come_twice_late_and_too_large(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        let report = async |spent, returned| {
            hear(&test.db, 1, 0, vec![balance("b", 500, spent, returned)], vec![], NOW).await.unwrap();
            escrow_of(test, "b").await
        };
        assert_eq!(report(100, 150).await, 350);
        assert_eq!(report(100, 150).await, 350, "twice");
        assert_eq!(report(50, 20).await, 350, "late");
        assert_eq!(report(200, 9_999).await, 200, "what was spent cannot come back");
        let lease = lease_of(test, 1, "b").await;
        assert_eq!((lease.granted, lease.spent, lease.returned), (nano(500), nano(200), nano(300)));
    }

    async fn an_acknowledgement_tells_what_was_heard_so_that_the_node_knows_what_it_may_forget(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        let told = hear(&test.db, 1, 1, vec![balance("b", 500, 100, 150)], vec![], NOW).await.unwrap();
        let [Outcome::Acknowledged { epoch, standings, .. }] = told.as_slice() else { panic!("{told:?}") };
        let standing = standings.first().unwrap();
        assert_eq!((standing.granted, standing.spent, standing.returned), (nano(500), nano(100), nano(150)));
        assert_eq!(*epoch, 1);
    }

    async fn a_heartbeat_that_says_nothing_new_writes_nothing(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        let peek = async |returned: i64, now| {
            let said = vec![balance("b", 500, 100, returned)];
            let hearing =
                Hearing::new(NodeId::from("node-001"), incarnation(1), 1, said, vec![], now, 1_800);
            test.db.peek_escrow(hearing, &speaker(1, now)).await.unwrap().map(|told| told.len())
        };
        assert_eq!(peek(10, NOW).await, None, "news");
        hear(&test.db, 1, 1, vec![balance("b", 500, 100, 10)], vec![], NOW).await.unwrap();
        assert_eq!(peek(10, NOW).await, Some(1), "the same again");
        assert_eq!(peek(11, NOW).await, None, "more came back");
        assert_eq!(peek(10, after(20)).await, None, "not noted as seen for a while");
    }

    async fn closing_frees_what_was_not_spent_once(test: &TestDb) {
        acquire(&test.db, 1, vec![ask("a", 1_000, 500, 500), ask("b", 1_000, 400, 400)]).await.unwrap();
        one(test, 2, "b", 1_000, 100, 100).await;
        hear(&test.db, 1, 0, vec![balance("a", 500, 10, 50)], vec![], NOW).await.unwrap();
        for _ in 0..3 {
            close(&test.db, 1, &[("a", 120)]).await.unwrap();
            assert_eq!(escrow_of(test, "a").await, 120);
            assert_eq!(escrow_of(test, "b").await, 100);
        }
        close(&test.db, 1, &[("a", 999)]).await.unwrap();
        assert_eq!(escrow_of(test, "a").await, 120, "closed is closed");
        // a late ask of the dead is granted nothing, and its reports change nothing
        assert_eq!(acquire(&test.db, 1, vec![ask("a", 1_000, 900, 900), ask("c", 1_000, 1, 1)]).await, None);
        let told = hear(&test.db, 1, 0, vec![balance("a", 500, 500, 500)], vec![], NOW).await.unwrap();
        assert_eq!(told, [Outcome::Sealed]);
        assert_eq!(escrow_of(test, "a").await, 120);
    }

    async fn an_account_without_a_final_was_spent_as_recorded(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        let records = [record(1, 1, 70, &["b"]), record(1, 2, 30, &["b"])];
        test.db.ingest(&incarnation(1), &node(), &records, &[], NOW).await.unwrap();
        assert!(test.db.has_every_record(&incarnation(1), 2).await.unwrap());
        close(&test.db, 1, &[]).await.unwrap();
        assert_eq!(escrow_of(test, "b").await, 100);
        let lease = lease_of(test, 1, "b").await;
        assert_eq!((lease.spent, lease.returned, lease.settled, lease.sealed), (nano(100), nano(400), nano(100), true));
        assert_eq!(test.db.finals(&incarnation(1)).await.unwrap().unwrap(), [(account("b"), nano(100))]);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.incarnation(&incarnation(1)).await.unwrap().unwrap().seal, Seal::Closed);
    }

    async fn an_incarnation_with_a_parked_or_missing_record_is_not_whole(test: &TestDb) {
        test.db.ingest(&incarnation(1), &node(), &[record(1, 1, 70, &["b"])], &[], NOW).await.unwrap();
        assert!(test.db.has_every_record(&incarnation(1), 1).await.unwrap());
        assert!(!test.db.has_every_record(&incarnation(1), 2).await.unwrap(), "its last record is not here");
        let parked = Malformed { seq: 2, reason: "no actor".to_owned(), payload: "request 7".to_owned() };
        test.db.ingest(&incarnation(1), &node(), &[], &[parked], NOW).await.unwrap();
        assert!(!test.db.has_every_record(&incarnation(1), 2).await.unwrap(), "nobody knows what it cost");
    }

    async fn what_a_soft_budget_spent_counts_when_it_becomes_hard(test: &TestDb) {
        test.db.ingest(&incarnation(1), &node(), &[record(1, 1, 80, &["b"])], &[], NOW).await.unwrap();
        let hard = one(test, 1, "b", 100, 50, 50).await;
        assert_eq!((hard.granted, hard.available, hard.fleet_spent), (nano(20), nano(0), nano(80)));
    }

    async fn what_was_spent_while_a_budget_was_soft_counts_beside_the_lease_from_before(test: &TestDb) {
        one(test, 1, "b", 1_000, 100, 100).await;
        // soft for a while: 700 are spent that nobody reserved; 60 were reserved while it was hard
        let mut soft = record(1, 1, 700, &["b"]);
        soft.unreserved = vec![BudgetId::from("b")];
        let records = [soft, record(1, 2, 60, &["b"])];
        test.db.ingest(&incarnation(1), &node(), &records, &[], NOW).await.unwrap();
        hear(&test.db, 1, 0, vec![balance("b", 100, 60, 0)], vec![], NOW).await.unwrap();
        let hard = one(test, 1, "b", 1_000, 1_000, 1_000).await;
        assert_eq!((hard.granted, hard.available, hard.fleet_spent), (nano(300), nano(0), nano(760)));
        assert_eq!(escrow_of(test, "b").await, 300);
        let mut tx = test.db.read().await.unwrap();
        let read = tx.request_by_id("0193-1-1").await.unwrap().unwrap();
        assert_eq!(read.unreserved, [BudgetId::from("b")]);
        drop(tx);
        close(&test.db, 1, &[]).await.unwrap();
        assert_eq!(escrow_of(test, "b").await, 60, "the lease spent what was reserved under it");
        let report = test.db.verify_ledger().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }

    async fn a_limit_at_the_end_of_the_range_is_a_limit(test: &TestDb) {
        assert_eq!(one(test, 1, "b", i64::MAX, 5, i64::MAX).await.granted.get(), i64::MAX / 2);
        assert_eq!(one(test, 2, "b", i64::MAX, i64::MAX, i64::MAX).await.available.get(), 0);
        assert_eq!(escrow_of(test, "b").await, i64::MAX);
    }

    async fn a_planted_imbalance_is_an_error_and_nothing_is_closed(test: &TestDb) {
        one(test, 1, "b", 1_000, 100, 100).await;
        test.raw("UPDATE accounts SET escrow_nano = escrow_nano + 7").await;
        let error = close(&test.db, 1, &[]).await.unwrap_err();
        assert!(error.to_string().contains("escrow is 7"), "{error}");
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.incarnation(&incarnation(1)).await.unwrap().unwrap().seal, Seal::Open);
        assert!(tx.check_account(&account("b")).await.is_err());
    }

    async fn after_a_restore_nothing_is_granted_until_every_known_node_has_declared_what_it_holds(test: &TestDb) {
        one(test, 1, "b", 1_000, 400, 400).await;
        one(test, 2, "b", 1_000, 100, 100).await;
        // the database forgets a grant of node 1, and somebody says so
        test.raw("UPDATE leases SET granted_nano = 100 WHERE granted_nano = 400").await;
        test.raw("UPDATE accounts SET escrow_nano = 200").await;
        test.db.begin_history(NOW, "restored from the backup of noon").await.unwrap();
        let ask_of = async |number: usize, now| {
            let acquiring = Acquiring::new(incarnation(number), vec![ask("b", 1_000, 800, 800)], now, 1_800);
            match test.db.run_escrow(acquiring, &speaker(number, now)).await.unwrap().remove(0) {
                Outcome::Granted { epoch, standings, is_learning, .. } => (epoch, standings[0].granted.get(), is_learning),
                other => panic!("{other:?}"),
            }
        };
        let (epoch, granted, is_learning) = ask_of(3, NOW).await;
        assert_eq!((granted, is_learning), (0, true));
        let declare = async |number: usize, granted: i64, said_in: u64, seconds: i64| {
            let said = if granted == 0 { vec![] } else { vec![balance("b", granted, 0, 0)] };
            let told = hear(&test.db, number, said_in, said, vec![], after(seconds)).await.unwrap();
            let [Outcome::Acknowledged { is_learning, has_forgotten, .. }] = told.as_slice() else { panic!("{told:?}") };
            (*is_learning, *has_forgotten)
        };
        assert_eq!(declare(1, 400, 1, 5).await, (true, true), "said in the epoch that is over: heard, not declared");
        assert_eq!(declare(1, 400, epoch, 6).await, (true, false));
        assert_eq!(declare(3, 0, epoch, 6).await, (true, false));
        assert_eq!(ask_of(3, after(3_600)).await.1, 0, "no timeout ends learning: node 2 may be spending");
        assert_eq!(declare(2, 100, epoch, 3_601).await, (false, false));
        // 400 and 100 are held: the rest is free, and not the 300 that were forgotten
        assert_eq!(ask_of(3, after(3_602)).await, (epoch, 500, false));
        assert_eq!(escrow_of(test, "b").await, 1_000);
    }

    async fn a_grant_that_is_not_on_the_books_begins_learning_in_the_transaction_that_takes_it(test: &TestDb) {
        one(test, 1, "b", 1_000, 400, 400).await;
        test.raw("UPDATE leases SET granted_nano = 100").await;
        test.raw("UPDATE accounts SET escrow_nano = 100").await;
        // the process that takes the proof dies with its first commit: nothing else needs to happen
        let said = vec![balance("b", 400, 0, 0)];
        let own = Settling::new(What::Report, incarnation(1), said, NOW, 1_800);
        test.db.run_escrow(own, &speaker(1, NOW)).await.unwrap();
        assert_eq!(escrow_of(test, "b").await, 400);
        let awaited = test.db.awaited().await.unwrap().expect("nothing is granted until every node has declared");
        assert_eq!(awaited.iter().map(|one| &one.incarnation).collect::<Vec<_>>(), [&incarnation(1)]);
        assert_eq!(one(test, 2, "b", 1_000, 100, 100).await.granted, nano(0));
    }

    async fn a_database_that_counts_fewer_histories_than_a_node_has_heard_of_begins_a_new_one(test: &TestDb) {
        one(test, 1, "b", 1_000, 400, 400).await;
        one(test, 2, "b", 1_000, 100, 100).await;
        // a dump from before the failovers that node 1 has lived through, in a new server
        let heard_of = 9;
        let hear_of = async |number: usize, granted: i64, said_in: u64, seconds: i64| {
            let told =
                hear(&test.db, number, said_in, vec![balance("b", granted, 0, 0)], vec![], after(seconds)).await.unwrap();
            let [Outcome::Acknowledged { epoch, is_learning, .. }] = told.as_slice() else { panic!("{told:?}") };
            (*epoch, *is_learning)
        };
        assert_eq!(hear_of(1, 400, u64::MAX, 0).await, (1, false), "nobody can have heard of that");
        let (epoch, is_learning) = hear_of(1, 400, heard_of, 1).await;
        assert!(epoch > heard_of && is_learning, "{epoch}: the node believes nothing older than what it has heard of");
        assert_eq!(hear_of(1, 400, epoch, 5).await, (epoch, true));
        assert_eq!(hear_of(2, 100, epoch, 6).await, (epoch, false));
        // the fleet's row itself remembers more histories than the server counts
        test.raw("UPDATE escrow_fleet SET restored_ms = 0").await;
        test.raw("UPDATE escrow_declared SET epoch = epoch + 5").await;
        assert_eq!(one(test, 3, "b", 1_000, 100, 100).await.granted, nano(0), "an older copy grants nothing");
        assert_eq!(test.db.awaited().await.unwrap().unwrap().len(), 3, "whoever declared did so in another history");
        let (again, is_learning) = hear_of(1, 400, epoch, 20).await;
        assert!(again > epoch && is_learning, "{again}");
    }

    async fn a_node_that_is_gone_for_good_is_shown_and_its_release_ends_learning(test: &TestDb) {
        one(test, 2, "b", 1_000, 100, 100).await;
        // node 1 holds nothing that the books know of
        hear(&test.db, 1, 0, vec![], vec![], NOW).await.unwrap();
        assert_eq!(test.db.awaited().await.unwrap(), None);
        test.db.begin_history(NOW, "restored").await.unwrap();
        let beat = async |seconds| {
            let said = vec![balance("b", 100, 0, 0)];
            let awaited = test.db.awaited().await.unwrap();
            let epoch = match hear(&test.db, 2, 0, said.clone(), vec![], after(seconds)).await.unwrap().as_slice() {
                [Outcome::Acknowledged { epoch, .. }] => *epoch,
                other => panic!("{other:?}"),
            };
            let told = hear(&test.db, 2, epoch, said, vec![], after(seconds)).await.unwrap();
            let [Outcome::Acknowledged { is_learning, .. }] = told.as_slice() else { panic!("{told:?}") };
            (awaited.map(|awaited| awaited.len()), *is_learning)
        };
        assert_eq!(beat(1).await, (Some(2), true));
        assert_eq!(beat(70).await, (Some(1), true));
        assert_eq!(test.db.suspense(after(70)).await.unwrap(), vec![], "it holds nothing");
        test.db.release_suspense(&incarnation(1), nano(0), "the machine is scrap", after(70)).await.unwrap();
        assert_eq!(beat(71).await, (Some(0), false));
        assert_eq!(test.db.awaited().await.unwrap(), None);
    }

    async fn what_is_long_gone_is_put_to_rest_and_what_left_nothing_is_forgotten(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        hear(&test.db, 2, 0, vec![], vec![], NOW).await.unwrap();
        let record = [record(3, 1, 70, &["b"])];
        test.db.ingest(&incarnation(3), &node(), &record, &[], NOW).await.unwrap();
        let day = 86_400;
        // the period of `b` ends a day after it began
        assert_eq!(test.db.retire(after(0), after(30 * day), false).await.unwrap(), 0, "they were heard since");
        assert_eq!(test.db.retire(after(day), after(31 * day), false).await.unwrap(), 2, "what `b` was ends just then");
        assert_eq!(test.db.suspense(after(31 * day)).await.unwrap().len(), 1);
        assert_eq!(test.db.retire(after(day + 1), after(31 * day), false).await.unwrap(), 1);
        assert_eq!(test.db.suspense(after(31 * day)).await.unwrap(), vec![]);
        assert_eq!(escrow_of(test, "b").await, 500, "nothing comes free: it counts as spent");
        assert_eq!(acquire(&test.db, 1, vec![ask("b", 1_000, 600, 600)]).await, None);
        // one that comes back in that very moment keeps what it was granted, and nobody else gets it
        one(test, 4, "c", 1_000, 300, 300).await;
        let retiring = Settling::new(What::Retire, incarnation(4), vec![], after(31 * day), 0);
        test.db.run_escrow(retiring, &speaker(4, after(31 * day))).await.unwrap();
        assert_eq!((escrow_of(test, "c").await, lease_of(test, 4, "c").await.totals().hold()), (300, nano(0)));
        // it was sealed on the 31st day: from then on it counts as seen
        assert_eq!(test.db.forget_incarnations(after(31 * day)).await.unwrap(), 0);
        assert_eq!(test.db.forget_incarnations(after(31 * day + 1)).await.unwrap(), 1);
        let known = async |number| test.db.owner(&incarnation(number)).await.unwrap().is_some();
        assert_eq!((known(1).await, known(2).await, known(3).await), (true, false, true), "books are kept");
        let report = test.db.verify_ledger().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }

    async fn a_heartbeat_of_many_accounts_tells_how_each_of_them_stands(test: &TestDb) {
        let budgets: Vec<String> = (0..230).map(|number| format!("b{number:03}")).collect();
        let asks = || budgets.iter().map(|budget| ask(budget, 1_000, 100, 100)).collect::<Vec<_>>();
        acquire(&test.db, 1, asks()).await.unwrap();
        acquire(&test.db, 2, asks().split_off(200)).await.unwrap();
        let said: Vec<_> = budgets.iter().map(|budget| balance(budget, 100, 10, 0)).collect();
        for _ in 0..2 {
            let told = hear(&test.db, 1, 1, said.clone(), vec![], NOW).await.unwrap();
            let [Outcome::Acknowledged { standings, .. }] = told.as_slice() else { panic!("{told:?}") };
            assert_eq!(standings.len(), budgets.len());
            for (at, (standing, budget)) in standings.iter().zip(&budgets).enumerate() {
                let (available, recallable) = if at < 200 { (900, 0) } else { (800, 100) };
                assert_eq!(standing.account, account(budget));
                assert_eq!((standing.granted, standing.spent), (nano(100), nano(10)));
                assert_eq!((standing.available, standing.recallable), (nano(available), nano(recallable)));
            }
        }
    }

    async fn what_a_closed_incarnation_spent_is_declared_again_to_a_database_that_forgot_it(test: &TestDb) {
        let account = account("b");
        let past =
            Past { incarnation: incarnation(1), finals: vec![(account, nano(300))], is_whole: true, last_seq: 0 };
        let told = hear(&test.db, 2, 0, vec![], vec![past.clone()], NOW).await.unwrap();
        let [Outcome::Acknowledged { pasts, .. }] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(*pasts, [incarnation(1)]);
        hear(&test.db, 2, 0, vec![], vec![past], NOW).await.unwrap();
        assert_eq!(escrow_of(test, "b").await, 300);
        assert_eq!(one(test, 2, "b", 1_000, 900, 900).await.granted, nano(700));
    }

    async fn what_a_vanished_node_holds_is_listed_and_never_released_by_time(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        assert_eq!(test.db.suspense(after(59)).await.unwrap(), vec![]);
        let listed = test.db.suspense(after(60)).await.unwrap();
        assert_eq!(listed.iter().map(|item| (item.amount, item.why)).collect::<Vec<_>>(), [(nano(500), Vanished::Silent)]);
        // a year later, and the period is over: a node that is cut off may still be spending
        assert_eq!(test.db.expire_suspense(after(365 * 86_400), false).await.unwrap(), 0);
        assert_eq!(escrow_of(test, "b").await, 500);
        restarted(test, 1, 7).await;
        let listed = test.db.suspense(after(1)).await.unwrap();
        assert_eq!(listed.first().unwrap().why, Vanished::Replaced);
        assert_eq!(test.db.expire_suspense(after(86_399), false).await.unwrap(), 0, "the period is not over");
        assert_eq!(test.db.expire_suspense(after(86_400), false).await.unwrap(), 1);
        let lease = lease_of(test, 1, "b").await;
        assert_eq!((lease.written_off, lease.returned), (nano(500), nano(0)), "counted as spent");
        assert_eq!(escrow_of(test, "b").await, 500);
        assert_eq!(test.db.suspense(after(86_400)).await.unwrap(), vec![]);
    }

    async fn an_operator_releases_what_a_dead_node_cannot_have_spent_and_a_late_journal_corrects_it(test: &TestDb) {
        one(test, 1, "b", 1_000, 500, 500).await;
        let release = async |spent: i64, now| test.db.release_suspense(&incarnation(1), nano(spent), "disk lost", now).await;
        assert!(release(0, after(30)).await.unwrap_err().to_string().contains("may be alive"));
        assert_eq!(release(200, after(90)).await.unwrap(), nano(300));
        assert_eq!(escrow_of(test, "b").await, 200);
        assert!(release(0, after(90)).await.unwrap_err().to_string().contains("released already"));
        assert_eq!(acquire(&test.db, 1, vec![ask("b", 1_000, 600, 600)]).await, None, "it may spend no more");
        let report = test.db.verify_ledger().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        close(&test.db, 1, &[("b", 250)]).await.unwrap();
        assert_eq!(escrow_of(test, "b").await, 250, "the journal was found: facts win over the operator's word");
    }

    async fn a_recall_is_told_to_other_control_planes(test: &TestDb) {
        assert_eq!(test.db.recalled_since(NOW).await.unwrap(), vec![]);
        for expected in 1..=2 {
            test.db.note_recall(&account("b"), after(1)).await.unwrap();
            let recalled = test.db.recalled_since(NOW).await.unwrap();
            assert_eq!(recalled.iter().map(|one| (&one.account, one.recalls)).collect::<Vec<_>>(), [(&account("b"), expected)]);
        }
        test.db.forget_recalls(after(2)).await.unwrap();
        assert_eq!(test.db.recalled_since(NOW).await.unwrap(), vec![]);
    }

    async fn an_incarnation_remembers_its_boot(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.see_incarnation(&incarnation(1), &node(), "boot-1", NOW).await.unwrap();
        let known = tx.see_incarnation(&incarnation(1), &node(), "boot-1", NOW).await.unwrap();
        assert_eq!((known.boot_id.as_str(), known.through_seq, known.seal), ("boot-1", 0, Seal::Open));
        assert_eq!(tx.incarnations_of(&node()).await.unwrap(), vec![known]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_counts_its_own_histories() {
    crate::support::on(helix_store::Dialect::Postgres, true, async |test: &TestDb| {
        assert!(test.db.counts_histories().await.unwrap());
        let mut counting = speaker(1, NOW);
        counting.counts_histories = true;
        let acquiring = Acquiring::new(incarnation(1), vec![ask("b", 100, 10, 10)], NOW, 1_800);
        let told = test.db.run_escrow(acquiring, &counting).await.unwrap();
        let Some(Outcome::Granted { epoch, is_learning, .. }) = told.first() else { panic!("{told:?}") };
        assert_eq!(
            (*epoch, *is_learning),
            (1, false),
            "a fresh cluster is on its first timeline, and has forgotten nothing"
        );
    })
    .await;
}
