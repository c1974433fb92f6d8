//! Tables of configuration: what is written is read back, and nothing else changes.

use crate::support::{NOW, TestDb, nano, on_every_database};
use helix_shared::money::PicoUsd;
use helix_shared::time::UnixMicros;
use helix_store::{
    ApiKey, Budget, Managed, Model, ModelBackend, Node, Price, Provider, ProviderSpec, QuarantinedRow, RoleGrant,
    Setting, SetupToken, StoreError, Table, Team, Tx, User,
};

fn user(id: &str, email: &str) -> User {
    let (id, email) = (id.to_owned(), email.to_owned());
    User { id, email, name: "Jäne 🦀 Doe".to_owned(), disabled: false, managed: Managed::Db, updated_at: NOW }
}

fn admin_grant(user_id: &str) -> RoleGrant {
    RoleGrant {
        id: format!("grant-{user_id}"),
        user_id: user_id.to_owned(),
        role: "instance_admin".to_owned(),
        team_id: None,
        expires_at: None,
        managed: Managed::Db,
        updated_at: NOW,
    }
}

fn setup_token(hash: &str) -> SetupToken {
    SetupToken {
        hash: hash.to_owned(),
        purpose: "setup".to_owned(),
        user_id: None,
        created_at: NOW,
        expires_at: UnixMicros::new(NOW.get() + 1000),
        used_at: None,
    }
}

fn api_key(id: &str, hash: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        name: "ci".to_owned(),
        hash: hash.to_owned(),
        prefix: "hx_p_abc".to_owned(),
        last_four: "wxyz".to_owned(),
        kind: "personal".to_owned(),
        user_id: Some("u".to_owned()),
        team_id: None,
        expires_at: Some(UnixMicros::new(i64::MAX)),
        revoked_at: None,
        created_at: NOW,
        managed: Managed::File,
        updated_at: NOW,
    }
}

fn budget(id: &str, limit: i64) -> Budget {
    Budget {
        id: id.to_owned(),
        scope: "team:engineering".to_owned(),
        label: "team engineering, monthly".to_owned(),
        limit_nano: nano(limit),
        period: "monthly".to_owned(),
        mode: "hard".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        alert_at: vec!["0.5".to_owned(), "0.95".to_owned()],
        week_start: None,
        prior_timezone: None,
        prior_week_start: None,
        prior_until: None,
        managed: Managed::File,
        updated_at: NOW,
    }
}

/// Inserts, reads back, changes, lists and deletes.
async fn round_trip<T: Table + Clone + PartialEq + std::fmt::Debug>(tx: &mut Tx, id: &str, row: T, changed: T) {
    assert_eq!(tx.get::<T>(id).await.unwrap(), None);
    tx.insert(&row).await.unwrap();
    assert_eq!(tx.get::<T>(id).await.unwrap().as_ref(), Some(&row));
    tx.put(&changed).await.unwrap();
    assert_eq!(tx.get::<T>(id).await.unwrap().as_ref(), Some(&changed));
    assert!(tx.list::<T>().await.unwrap().contains(&changed));
    assert!(tx.delete::<T>(id).await.unwrap());
    assert!(!tx.delete::<T>(id).await.unwrap());
    tx.put(&row).await.unwrap();
    assert_eq!(tx.list::<T>().await.unwrap(), vec![row]);
}

on_every_database! {
    async fn every_row_is_read_back_as_it_was_written(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        let first = user("u", "jane@corp.example");
        round_trip(&mut tx, "u", first.clone(), User { disabled: true, managed: Managed::File, ..first }).await;
        let team = Team {
            id: "engineering".to_owned(),
            name: "Engineering".to_owned(),
            allow_models: vec!["claude-*".to_owned(), "a\"b\\c".to_owned()],
            deny_models: vec![],
            managed: Managed::File,
            updated_at: NOW,
        };
        round_trip(&mut tx, "engineering", team.clone(), Team { name: String::new(), ..team }).await;
        let grant = admin_grant("u");
        round_trip(&mut tx, "grant-u", grant.clone(), RoleGrant { team_id: Some("t".to_owned()), ..grant }).await;
        let key = api_key("k", &"ab".repeat(32));
        round_trip(&mut tx, "k", key.clone(), ApiKey { revoked_at: Some(NOW), ..key }).await;
        let spec = ProviderSpec {
            http_version: String::new(),
            connect_timeout_ms: 5_000,
            first_byte_timeout_ms: u32::MAX,
            idle_timeout_ms: 0,
            total_timeout_ms: 600_000,
            max_in_flight: 0,
        };
        let provider = Provider {
            id: "openai".to_owned(),
            kind: "openai".to_owned(),
            base_url: "https://api.openai.com/v1".to_owned(),
            api_version: None,
            sealed_credential: Some((0..=255).collect()),
            spec,
            position: 3,
            managed: Managed::File,
            updated_at: NOW,
        };
        let version = Some("2025-04-01-preview".to_owned());
        let without = Provider { sealed_credential: None, api_version: version, ..provider.clone() };
        round_trip(&mut tx, "openai", provider, without).await;
        let backends = vec![ModelBackend { backend_id: "openai".to_owned(), upstream_model: None, weight: 9, fetches_urls: false }];
        let model = Model {
            id: "m".to_owned(),
            pattern: "gpt-5*".to_owned(),
            strategy: "priority".to_owned(),
            params: "drop".to_owned(),
            position: u32::MAX,
            backends,
            managed: Managed::File,
            updated_at: NOW,
        };
        round_trip(&mut tx, "m", model.clone(), Model { backends: vec![], ..model }).await;
        let price = Price {
            id: "p".to_owned(),
            backend_id: "openai".to_owned(),
            model: "gpt-5".to_owned(),
            input_pico: PicoUsd::new(i64::MAX),
            output_pico: PicoUsd::new(0),
            cache_read_pico: Some(PicoUsd::new(0)),
            cache_write_pico: None,
            cache_write_long_pico: None,
            per_image_pico: Some(PicoUsd::new(40_000_000_000)),
            per_second_pico: None,
            per_character_pico: Some(PicoUsd::new(15_000_000)),
            per_search_pico: Some(PicoUsd::new(0)),
            max_output_tokens: Some(128_000),
            managed: Managed::Db,
            updated_at: NOW,
        };
        round_trip(&mut tx, "p", price.clone(), Price { cache_read_pico: None, ..price }).await;
        round_trip(&mut tx, "b", budget("b", i64::MAX), budget("b", 0)).await;
        let setting = Setting {
            id: "instance_id".to_owned(),
            value: "x".repeat(100_000),
            managed: Managed::Db,
            updated_at: NOW,
        };
        round_trip(&mut tx, "instance_id", setting.clone(), Setting { value: String::new(), ..setting }).await;
        let quarantined = QuarantinedRow { kind: "budget".to_owned(), id: "b".to_owned(), reason: "?".to_owned() };
        let node = Node {
            id: "node-a".to_owned(),
            incarnation: "i".to_owned(),
            version: "0.1.0".to_owned(),
            zone: String::new(),
            applied_revision: 412,
            quarantined: vec![quarantined],
            connected_at: NOW,
            seen_at: UnixMicros::new(i64::MIN),
        };
        round_trip(&mut tx, "node-a", node.clone(), Node { quarantined: vec![], ..node }).await;
        round_trip(&mut tx, "h", setup_token("h"), SetupToken { used_at: Some(NOW), ..setup_token("h") }).await;
        tx.commit().await.unwrap();
    }

    async fn a_dropped_transaction_leaves_nothing(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&user("u", "jane@corp.example")).await.unwrap();
        drop(tx);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.list::<User>().await.unwrap(), vec![]);
    }

    async fn keys_and_addresses_differ_by_case(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&user("Jane", "Jane@corp.example")).await.unwrap();
        tx.insert(&user("jane", "jane@corp.example")).await.unwrap();
        tx.insert(&user("JANE", "jané@corp.example")).await.unwrap();
        assert_eq!(tx.get::<User>("jANE").await.unwrap(), None);
        assert_eq!(tx.user_by_email("JANE@corp.example").await.unwrap(), None);
        let found = tx.user_by_email("jane@corp.example").await.unwrap();
        assert_eq!(found.map(|user| user.id).as_deref(), Some("jane"));
        assert!(tx.delete::<User>("Jane").await.unwrap());
        assert_eq!(tx.list::<User>().await.unwrap().len(), 2);
    }

    async fn an_address_or_hash_of_another_row_is_a_conflict_and_overwrites_nothing(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&user("a", "jane@corp.example")).await.unwrap();
        tx.insert(&api_key("k1", &"11".repeat(32))).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        let error = tx.put(&user("b", "jane@corp.example")).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
        drop(tx);
        let mut tx = test.db.begin().await.unwrap();
        let error = tx.insert(&api_key("k2", &"11".repeat(32))).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
        drop(tx);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.list::<User>().await.unwrap(), vec![user("a", "jane@corp.example")]);
        let found = tx.api_key_by_hash(&"11".repeat(32)).await.unwrap();
        assert_eq!(found.map(|key| key.id).as_deref(), Some("k1"));
        assert_eq!(tx.api_keys_of_user("u").await.unwrap().len(), 1);
        assert_eq!(tx.api_keys_of_team("u").await.unwrap().len(), 0);
    }

    async fn what_one_database_would_cut_is_refused_on_all(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        for bad in [user(&"ü".repeat(65), "a@b"), user("a\0b", "a@b"), user("", "a@b"), user("a", &"x".repeat(256))] {
            let error = tx.insert(&bad).await.unwrap_err();
            assert!(matches!(error, StoreError::Invalid { table: "users", .. }), "{error}");
        }
        tx.insert(&user(&"ü".repeat(64), &"ü".repeat(255))).await.unwrap();
        assert_eq!(tx.list::<User>().await.unwrap().len(), 1);
    }

    async fn rows_of_the_file_are_told_from_the_others(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&user("a", "a@corp.example")).await.unwrap();
        tx.insert(&User { managed: Managed::File, ..user("b", "b@corp.example") }).await.unwrap();
        let file: Vec<User> = tx.list_managed(Managed::File).await.unwrap();
        assert_eq!(file.iter().map(|user| user.id.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    async fn memberships_keep_their_order_and_go_with_the_person(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&user("a", "a@corp.example")).await.unwrap();
        let teams = ["zebra".to_owned(), "apple".to_owned()];
        tx.set_memberships("a", &["old".to_owned()], Managed::Db, NOW).await.unwrap();
        tx.set_memberships("a", &teams, Managed::Db, NOW).await.unwrap();
        let found = tx.memberships_of("a").await.unwrap();
        assert_eq!(found.iter().map(|row| row.team_id.as_str()).collect::<Vec<_>>(), ["zebra", "apple"]);
        assert_eq!(tx.members_of("apple").await.unwrap().len(), 1);
        tx.commit().await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        let error = tx.set_memberships("nobody", &teams, Managed::Db, NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Reference { .. }), "{error}");
        drop(tx);
        let mut tx = test.db.begin().await.unwrap();
        tx.delete::<User>("a").await.unwrap();
        assert_eq!(tx.members_of("apple").await.unwrap(), vec![]);
    }

    async fn an_expired_disabled_or_team_bound_administrator_is_none(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&user("a", "a@corp.example")).await.unwrap();
        assert!(!tx.has_admin(NOW).await.unwrap());
        for (grant, expected) in [
            (RoleGrant { role: "member".to_owned(), ..admin_grant("a") }, false),
            (RoleGrant { team_id: Some("t".to_owned()), ..admin_grant("a") }, false),
            (RoleGrant { expires_at: Some(NOW), ..admin_grant("a") }, false),
            (RoleGrant { user_id: "gone".to_owned(), ..admin_grant("a") }, false),
            (RoleGrant { expires_at: Some(UnixMicros::new(NOW.get() + 1)), ..admin_grant("a") }, true),
            (admin_grant("a"), true),
        ] {
            tx.put(&grant).await.unwrap();
            assert_eq!(tx.has_admin(NOW).await.unwrap(), expected, "{grant:?}");
        }
        assert_eq!(tx.role_grants_of("a").await.unwrap().len(), 1);
        tx.put(&User { disabled: true, ..user("a", "a@corp.example") }).await.unwrap();
        assert!(!tx.has_admin(NOW).await.unwrap());
    }

    async fn of_many_first_administrators_one_wins(test: &TestDb) {
        let claims: Vec<_> = (0..24)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let mut tx = db.begin().await.unwrap();
                    tx.lock_config().await.unwrap();
                    if tx.has_admin(NOW).await.unwrap() {
                        return false;
                    }
                    let id = format!("admin-{number}");
                    tx.insert(&user(&id, &format!("{id}@corp.example"))).await.unwrap();
                    tx.insert(&admin_grant(&id)).await.unwrap();
                    tx.commit().await.unwrap();
                    true
                })
            })
            .collect();
        let mut winners = 0;
        for claim in claims {
            winners += usize::from(claim.await.unwrap());
        }
        assert_eq!(winners, 1);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(tx.list::<RoleGrant>().await.unwrap().len(), 1);
    }

    async fn a_one_time_link_works_once(test: &TestDb) {
        let mut tx = test.db.begin().await.unwrap();
        tx.insert(&setup_token("good")).await.unwrap();
        tx.insert(&SetupToken { expires_at: NOW, ..setup_token("ended") }).await.unwrap();
        tx.commit().await.unwrap();
        let uses: Vec<_> = (0..16)
            .map(|_| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let mut tx = db.begin().await.unwrap();
                    let used = tx.consume_setup_token("good", NOW).await.unwrap().is_some();
                    tx.commit().await.unwrap();
                    used
                })
            })
            .collect();
        let mut used = 0;
        for attempt in uses {
            used += usize::from(attempt.await.unwrap());
        }
        assert_eq!(used, 1);
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(tx.consume_setup_token("ended", NOW).await.unwrap(), None);
        assert_eq!(tx.consume_setup_token("unknown", NOW).await.unwrap(), None);
        assert_eq!(tx.prune_setup_tokens(NOW).await.unwrap(), 1);
    }

    async fn of_many_first_settings_one_holds_and_all_see_it(test: &TestDb) {
        let tries: Vec<_> = (0..16)
            .map(|number| {
                let db = test.db.clone();
                crate::support::spawn(async move {
                    let mut tx = db.begin().await.unwrap();
                    let setting = Setting {
                        id: "instance_id".to_owned(),
                        value: format!("candidate {number}"),
                        managed: Managed::Db,
                        updated_at: NOW,
                    };
                    let held = tx.setting_or_insert(&setting).await.unwrap();
                    tx.commit().await.unwrap();
                    held.value
                })
            })
            .collect();
        let mut held = std::collections::BTreeSet::new();
        for one in tries {
            held.insert(one.await.unwrap());
        }
        assert_eq!(held.len(), 1, "{held:?}");
    }
}

#[test]
fn bytes_survive_hexadecimal() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(helix_store::from_hex(&helix_store::to_hex(&bytes)), Some(bytes));
    for bad in ["a", "zz", "é0", " 0"] {
        assert_eq!(helix_store::from_hex(bad), None, "{bad}");
    }
}
