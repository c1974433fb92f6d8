//! Migrations: once, together, alike on all three databases, never backwards.

use crate::support::{NOW, TestDb, on_every_database, pairs};
use helix_store::{Db, Dialect, Provider, StoreError};
use std::collections::BTreeSet;

on_every_database! {
    empty:

    async fn migrating_twice_takes_each_step_once(test: &TestDb) {
        let pending = test.db.schema_steps().await.unwrap();
        assert!(!pending.is_empty() && pending.iter().all(|step| step.applied_at.is_none()));
        assert_eq!(test.db.migrate(NOW).await.unwrap(), pending.len());
        assert_eq!(test.db.migrate(NOW).await.unwrap(), 0);
        let taken = test.db.schema_steps().await.unwrap();
        assert!(taken.iter().all(|step| step.applied_at == Some(NOW)));
    }

    async fn control_planes_that_start_at_once_migrate_once(test: &TestDb) {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let url = test.url.clone();
                crate::support::spawn(async move {
                    let db = Db::connect(&url).await.unwrap();
                    let taken = db.migrate(NOW).await.unwrap();
                    db.close().await;
                    taken
                })
            })
            .collect();
        let mut taken = 0;
        for start in starts {
            taken += start.await.unwrap();
        }
        assert_eq!(taken, test.db.schema_steps().await.unwrap().len());
    }

    async fn the_schema_of_a_newer_release_is_refused(test: &TestDb) {
        test.db.migrate(NOW).await.unwrap();
        test.raw("INSERT INTO schema_history (step, name, applied_at) VALUES (999, 'from the future', 1)").await;
        let refused = test.db.migrate(NOW).await.unwrap_err();
        assert!(matches!(refused, StoreError::NewerSchema { found: 999, .. }), "{refused}");
        assert!(refused.to_string().contains("run the newer release"), "{refused}");
    }

    async fn a_look_at_the_schema_tells_older_and_newer_ones_and_changes_nothing(test: &TestDb) {
        let known = test.db.schema_steps().await.unwrap().len();
        let look = async || test.db.check_schema().await;
        let refused = look().await.unwrap_err();
        assert!(matches!(refused, StoreError::OlderSchema { found: 0, .. }), "{refused}");
        assert!(refused.to_string().contains("`helixgateway db migrate`"), "{refused}");
        assert!(test.db.schema_steps().await.unwrap().iter().all(|step| step.applied_at.is_none()));
        test.db.migrate(NOW).await.unwrap();
        look().await.unwrap();
        test.raw(&format!("DELETE FROM schema_history WHERE step = {known}")).await;
        let refused = look().await.unwrap_err();
        assert!(matches!(refused, StoreError::OlderSchema { found, .. } if found + 1 == known), "{refused}");
        test.raw("INSERT INTO schema_history (step, name, applied_at) VALUES (999, 'from the future', 1)").await;
        let refused = look().await.unwrap_err();
        assert!(matches!(refused, StoreError::NewerSchema { found: 999, .. }), "{refused}");
    }

    async fn a_provider_from_before_api_versions_has_none(test: &TestDb) {
        test.db.migrate(NOW).await.unwrap();
        // The database as release 7 left it, and the last step taken anew.
        test.raw("ALTER TABLE providers DROP COLUMN api_version").await;
        test.raw("DELETE FROM schema_history WHERE step = 8").await;
        let spec = r#"{"connect_timeout_ms":1,"first_byte_timeout_ms":1,"idle_timeout_ms":1,"total_timeout_ms":1,"max_in_flight":0}"#;
        let insert = |id: &str| {
            format!(
                "INSERT INTO providers (id, kind, base_url, spec, position, managed, updated_at) \
                 VALUES ('{id}', 'openai', 'https://a.example', '{spec}', 0, 'file', 1)"
            )
        };
        test.raw(&insert("before")).await;
        assert_eq!(test.db.migrate(NOW).await.unwrap(), 1);
        // the previous release runs against the new schema
        test.raw(&insert("beside")).await;
        let mut tx = test.db.read().await.unwrap();
        let versions: Vec<_> = tx.list::<Provider>().await.unwrap().into_iter().map(|row| row.api_version).collect();
        assert_eq!(versions, [None, None]);
    }

    async fn a_step_that_broke_off_is_taken_again(test: &TestDb) {
        test.db.migrate(NOW).await.unwrap();
        if test.db.dialect() == Dialect::MySql {
            test.raw("DELETE FROM schema_history WHERE step = 8").await;
            assert_eq!(test.db.migrate(NOW).await.unwrap(), 1);
        }
    }

    async fn the_schema_has_the_same_tables_and_columns_as_on_sqlite(test: &TestDb) {
        test.db.migrate(NOW).await.unwrap();
        let sqlite = TestDb::fresh(Dialect::Sqlite).await.unwrap();
        let expected = columns(&sqlite).await;
        assert!(expected.len() > 100, "{expected:?}");
        assert_eq!(columns(test).await, expected);
    }
}

async fn columns(test: &TestDb) -> BTreeSet<(String, String)> {
    let sql = match test.db.dialect() {
        Dialect::Sqlite => {
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
        }
        Dialect::Postgres => {
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'"
        }
        Dialect::MySql => {
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
        }
    };
    pairs(&test.url, sql).await.into_iter().collect()
}
