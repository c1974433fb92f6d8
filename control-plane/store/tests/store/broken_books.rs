//! Books that do not agree stop what they are about, and nothing else.

use crate::escrow::{after, restarted};
use crate::support::{TestDb, acquire, ask, incarnation, on_every_database};
use helix_store::{Dialect, StoreError};

on_every_database! {
    async fn one_process_whose_books_are_broken_keeps_no_other_from_being_settled(test: &TestDb) {
        let day = 86_400;
        for number in 1..=4 {
            acquire(&test.db, number, vec![ask(&format!("b{number}"), 1_000, 500, 500)]).await.unwrap();
            restarted(test, number, number + 10).await;
        }
        // what the first and the third hold cannot be written off
        let refuses = match test.db.dialect() {
            Dialect::Sqlite => {
                "CREATE TRIGGER broken BEFORE UPDATE ON leases WHEN NEW.budget_id IN ('b1', 'b3') \
                 BEGIN SELECT RAISE(ABORT, 'broken'); END"
            }
            Dialect::Postgres | Dialect::MySql => {
                "ALTER TABLE leases ADD CONSTRAINT broken CHECK (budget_id NOT IN ('b1', 'b3') OR written_off_nano = 0)"
            }
        };
        test.raw(refuses).await;
        let failed = test.db.expire_suspense(after(day), false).await.unwrap_err();
        let StoreError::Unsettled { incarnation: first, others: 1, source } = failed else { panic!("{failed}") };
        assert_eq!(first, incarnation(1));
        assert!(matches!(*source, StoreError::Query(_)), "{source}");
        let left = test.db.suspense(after(day)).await.unwrap();
        assert_eq!(left.iter().map(|item| &item.incarnation).collect::<Vec<_>>(), [&incarnation(1), &incarnation(3)]);
        // and the same where they are put to rest
        let failed = test.db.retire(after(2 * day), after(31 * day), false).await.unwrap_err();
        let StoreError::Unsettled { incarnation: first, .. } = failed else { panic!("{failed}") };
        assert_eq!(first, incarnation(1));
        let mut sealed = Vec::new();
        for number in 1..=4 {
            sealed.push(acquire(&test.db, number, vec![ask("c", 1_000, 1, 1)]).await.is_none());
        }
        assert_eq!(sealed, [false, true, false, true]);
    }
}
