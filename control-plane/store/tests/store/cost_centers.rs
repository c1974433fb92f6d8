//! Cost centres: those of the revision that a request saw, however late its record comes.

use crate::support::{NOW, TestDb, incarnation, node, on_every_database, record};
use helix_shared::time::UnixMicros;
use helix_store::{Dimension, ReportQuery, Subject};

on_every_database! {
    async fn a_record_belongs_to_the_cost_centre_of_its_revision(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.set_cost_center(Subject::Team, "team-1", 3, "CC-old").await.unwrap();
        tx.set_cost_center(Subject::Team, "team-1", 9, "CC-new").await.unwrap();
        tx.set_cost_center(Subject::User, "user-1", 12, "CC-own").await.unwrap();
        tx.set_cost_center(Subject::User, "user-1", 14, "").await.unwrap();
        tx.commit().await.unwrap();
        // the latest revision comes first: what counts is what the request saw
        let revisions = [15, 13, 12, 10, 9, 8, 3, 2];
        let batch: Vec<_> = (1_u64..)
            .zip(revisions)
            .map(|(seq, revision)| {
                let mut one = record(1, seq, 1, &[]);
                one.config_revision = revision;
                one
            })
            .collect();
        test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        let until = NOW.plus(std::time::Duration::from_secs(86_400));
        let query = ReportQuery {
            from: NOW, until, group_by: vec![Dimension::CostCenter], every: None, filters: vec![],
        };
        let mut tx = test.db.read().await.unwrap();
        let rows = tx.report(&query).await.unwrap();
        let counts: Vec<_> = rows.iter().map(|row| (row.names[0].as_str(), row.totals.requests)).collect();
        assert_eq!(counts, [("", 1), ("CC-new", 3), ("CC-old", 2), ("CC-own", 2)]);
        let current = tx.cost_centers().await.unwrap().current();
        assert_eq!(current.into_iter().collect::<Vec<_>>(), [((Subject::Team, "team-1".to_owned()), "CC-new".to_owned())]);
        drop(tx);
        assert_eq!(test.db.verify_ledger().await.unwrap().problems, Vec::<String>::new());
    }

    async fn without_cost_centres_there_is_none(test: &TestDb) {
        test.db.ingest(&incarnation(1), &node(), &[record(1, 1, 1, &[])], &[], NOW).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let rows = tx.rollups(helix_store::RollupSpan::Month, UnixMicros::new(0), UnixMicros::new(i64::MAX)).await.unwrap();
        assert_eq!(rows[0].key.cost_center, "");
    }
}
