//! Months that are closed stay as they were, to the last unit, and what comes later is not lost.

use crate::support::{NOW, TestDb, account, incarnation, nano, node, on_every_database, record, spawn};
use helix_shared::record::Record;
use helix_shared::time::UnixMicros;
use helix_store::{Closing, Corrected, LateBooking, NewCorrection, Rollup, RollupSpan};

/// A day in the month after that of the records.
const NEXT: UnixMicros = UnixMicros::new(NOW.get() + 12 * 86_400_000_000);
const FOREVER: UnixMicros = UnixMicros::new(i64::MAX);

fn made(number: usize, seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    seqs.map(|seq| record(number, seq, 100, &["a"])).collect()
}

async fn take(test: &TestDb, records: &[Record], now: UnixMicros) {
    let incarnation = records[0].incarnation.clone();
    test.db.ingest(&incarnation, &node(), records, &[], now).await.unwrap();
}

/// Every sum of the month of the records.
async fn sums(test: &TestDb) -> Vec<Vec<Rollup>> {
    let mut tx = test.db.read().await.unwrap();
    let mut sums = Vec::new();
    for span in RollupSpan::ALL {
        sums.push(tx.rollups(span, NOW.month_start(), NOW.next_month_start()).await.unwrap());
    }
    sums
}

async fn clean(test: &TestDb) {
    assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
}

on_every_database! {
    async fn what_comes_after_a_month_was_closed_is_booked_in_an_open_one(test: &TestDb) {
        take(test, &made(1, 1..=5), NOW).await;
        let Closing::Done(closed) = test.db.close_month(NOW, "jane", "November is billed", NEXT).await.unwrap() else { panic!() };
        assert_eq!(closed.iter().map(|one| (one.month, one.requests, one.cost)).collect::<Vec<_>>(), [(NOW.month_start(), 5, nano(500))]);
        let before = sums(test).await;
        // two that come late, one of the open month
        let mut later = made(2, 1..=3);
        later[2].started_at = NEXT;
        take(test, &later, NEXT).await;
        let correction = NewCorrection {
            id: "c-1".to_owned(), request_id: "0193-1-2".to_owned(), record: None, amount: nano(-30),
            actor: "jane".to_owned(), reason: "refund".to_owned(),
        };
        // a clock that goes behind
        assert!(matches!(test.db.correct(&correction, NOW).await.unwrap(), Corrected::Booked { .. }));
        assert_eq!(sums(test).await, before);
        let mut tx = test.db.read().await.unwrap();
        for span in RollupSpan::ALL {
            let open = tx.rollups(span, NOW.next_month_start(), FOREVER).await.unwrap();
            let cost: i64 = open.iter().map(|sum| sum.totals.cost.get()).sum();
            assert_eq!((open.iter().map(|sum| sum.totals.requests).sum::<u64>(), cost), (3, 270), "{span:?}");
        }
        // with a note of their own month; and in their own period of the budget
        let late = LateBooking { of: NOW.month_start(), booked_in: NOW.next_month_start(), requests: 2, cost: nano(200) };
        assert_eq!(tx.late_bookings().await.unwrap(), [late]);
        assert_eq!(tx.request_by_id("0193-2-1").await.unwrap().unwrap().started_at, NOW);
        assert_eq!(tx.account(&account("a")).await.unwrap().unwrap().settled, nano(770));
        drop(tx);
        clean(test).await;
        // again: nothing is booked twice
        take(test, &later, NEXT).await;
        assert_eq!(sums(test).await, before);
        clean(test).await;
    }

    async fn a_month_is_closed_once_when_it_is_over_and_those_before_it_with_it(test: &TestDb) {
        let mut earlier = made(1, 1..=2);
        earlier[0].started_at = UnixMicros::new(NOW.get() - 40 * 86_400_000_000);
        take(test, &earlier, NOW).await;
        let close = async |month: UnixMicros, now| test.db.close_month(month, "jane", "", now).await.unwrap();
        assert_eq!(close(NOW, NOW).await, Closing::NotOver);
        let Closing::Done(closed) = close(NOW, NEXT).await else { panic!() };
        assert_eq!(closed.iter().map(|one| one.month).collect::<Vec<_>>(), [earlier[0].started_at.month_start(), NOW.month_start()]);
        assert_eq!(close(NOW, NEXT).await, Closing::Already);
        assert_eq!(close(earlier[0].started_at, NEXT).await, Closing::Already);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.closed_months().await.unwrap(), closed);
        assert!(tx.is_closed(NOW.next_month_start()).await.unwrap() && !tx.is_closed(NEXT).await.unwrap());
        drop(tx);
        clean(test).await;
    }

    async fn records_that_are_taken_while_a_month_is_closed_are_in_it_or_after_it(test: &TestDb) {
        let takers: Vec<_> = (1..=6)
            .map(|number| {
                let db = test.db.clone();
                spawn(async move {
                    for seq in 1..=10 {
                        let one = made(number, seq..=seq);
                        db.ingest(&incarnation(number), &node(), &one, &[], NEXT).await.unwrap();
                    }
                })
            })
            .collect();
        let Closing::Done(closed) = test.db.close_month(NOW, "jane", "", NEXT).await.unwrap() else { panic!() };
        for taker in takers {
            taker.await.unwrap();
        }
        let mut tx = test.db.read().await.unwrap();
        let late: u64 = tx.late_bookings().await.unwrap().iter().map(|booking| booking.requests).sum();
        assert_eq!(closed.iter().map(|one| one.requests).sum::<u64>() + late, 60);
        drop(tx);
        clean(test).await;
    }

    async fn a_closed_month_that_was_changed_is_found(test: &TestDb) {
        let planted = [
            ("UPDATE closed_months SET cost_nano = 499", "was closed with 5 requests of 0.000000499 USD, its sums say 5 of 0.000000500 USD"),
            ("DELETE FROM closed_months WHERE month = 1793491200000000", "is closed, but was empty when it was"),
            ("DELETE FROM late_records", "requests is 5, the records say 7"),
        ];
        for (sql, says) in planted {
            let another = TestDb::fresh(test.db.dialect()).await.unwrap();
            let mut before = made(3, 1..=1);
            before[0].started_at = NOW.plus(std::time::Duration::from_secs(40 * 86_400));
            take(&another, &before, NOW).await;
            take(&another, &made(1, 1..=5), NOW).await;
            let end = NOW.plus(std::time::Duration::from_secs(100 * 86_400));
            another.db.close_month(before[0].started_at, "jane", "", end).await.unwrap();
            take(&another, &made(2, 1..=2), end).await;
            another.raw(sql).await;
            let said = another.db.verify_ledger().await.unwrap().problems.join("\n");
            assert!(said.contains(says), "{sql}\nsaid:\n{said}");
            another.drop_database().await;
        }
    }
}
