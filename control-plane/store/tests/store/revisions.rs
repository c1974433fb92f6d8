//! Revisions: no number is skipped, doubled or seen out of order.

use crate::support::{NOW, TestDb, on_every_database};
use helix_shared::snapshot::resource::{ResourceKey, ResourceKind};
use helix_store::{Change, ChangeOp};
use std::collections::BTreeSet;

on_every_database! {
    async fn edits_at_once_get_one_number_each(test: &TestDb) {
        let edits: Vec<_> = (0..24)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let mut tx = db.begin().await.unwrap();
                    let id = format!("user-{number}");
                    let changes = [(ResourceKind::User, id.as_str(), ChangeOp::Upsert)];
                    let revision = tx.bump(&changes, NOW).await.unwrap();
                    tx.commit().await.unwrap();
                    revision
                })
            })
            .collect();
        let mut numbers = BTreeSet::new();
        for edit in edits {
            numbers.insert(edit.await.unwrap());
        }
        assert_eq!(numbers, (1..=24).collect::<BTreeSet<u64>>());
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.head_revision().await.unwrap(), 24);
        let changes = tx.changes_since(0, 100).await.unwrap().unwrap();
        assert_eq!(changes.iter().map(|change| change.revision).collect::<Vec<_>>(), (1..=24).collect::<Vec<u64>>());
    }

    async fn a_rolled_back_edit_leaves_no_number(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(tx.bump(&[(ResourceKind::Team, "t", ChangeOp::Upsert)], NOW).await.unwrap(), 1);
        tx.rollback().await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(tx.lock_config().await.unwrap(), 0);
        assert_eq!(tx.bump(&[], NOW).await.unwrap(), 0);
        assert_eq!(tx.bump(&[(ResourceKind::Team, "t", ChangeOp::Remove)], NOW).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let key = ResourceKey { kind: ResourceKind::Team, id: "t".to_owned() };
        let expected = Change { revision: 1, key, op: ChangeOp::Remove, at: NOW };
        assert_eq!(tx.changes_since(0, 100).await.unwrap(), Some(vec![expected]));
    }

    async fn a_large_edit_is_one_revision_and_its_last_word_counts(test: &TestDb) {
        let ids: Vec<String> = (0..450).map(|number| format!("key-{number:04}")).collect();
        let mut changes: Vec<_> =
            ids.iter().map(|id| (ResourceKind::ApiKey, id.as_str(), ChangeOp::Upsert)).collect();
        changes.push((ResourceKind::ApiKey, "key-0000", ChangeOp::Remove));
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(tx.bump(&changes, NOW).await.unwrap(), 1);
        let found = tx.changes_since(0, 450).await.unwrap().unwrap();
        assert_eq!(found.len(), 450);
        assert_eq!(found.first().map(|change| change.op), Some(ChangeOp::Remove));
        assert_eq!(tx.changes_since(0, 449).await.unwrap(), None, "more than asked for");
    }

    async fn a_follower_too_far_back_or_ahead_is_told_to_read_anew(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        for number in 0..5 {
            let id = format!("m{number}");
            tx.bump(&[(ResourceKind::Model, id.as_str(), ChangeOp::Upsert)], NOW).await.unwrap();
        }
        assert_eq!(tx.prune_config_log(3).await.unwrap(), 3);
        assert_eq!(tx.changes_since(2, 100).await.unwrap(), None);
        assert_eq!(tx.changes_since(3, 100).await.unwrap().unwrap().len(), 2);
        assert_eq!(tx.changes_since(5, 100).await.unwrap(), Some(vec![]));
        assert_eq!(tx.changes_since(6, 100).await.unwrap(), None, "a database that was restored is behind its followers");
        assert_eq!(tx.prune_config_log(1).await.unwrap(), 0);
        assert_eq!(tx.changes_since(2, 100).await.unwrap(), None, "the log does not come back");
        assert_eq!(tx.prune_config_log(u64::MAX).await.unwrap(), 2);
        assert_eq!(tx.changes_since(5, 100).await.unwrap(), Some(vec![]));
    }

    async fn a_reader_sees_one_state(test: &TestDb) {
        let mut reader = test.db.read().await.unwrap();
        assert_eq!(reader.head_revision().await.unwrap(), 0);
        let mut writer = test.db.begin().await.unwrap();
        writer.bump(&[(ResourceKind::Team, "t", ChangeOp::Upsert)], NOW).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(reader.head_revision().await.unwrap(), 0);
        assert_eq!(reader.changes_since(0, 10).await.unwrap(), Some(vec![]));
        drop(reader);
        assert_eq!(test.db.read().await.unwrap().head_revision().await.unwrap(), 1);
    }
}
