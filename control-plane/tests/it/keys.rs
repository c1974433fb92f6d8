//! Keys: shown once, kept as a keyed hash, revoked and rotated for good.

use crate::support::{Fixture, file};
use helix_control_plane::app::{BudgetTerms, KeyOwner, NewKey};
use helix_control_plane::settings::FileScope;
use helix_control_plane::{Actor, AppError};
use helix_shared::budget::{Mode, Period, Share, WeekStart};
use helix_shared::ids::UserId;
use helix_shared::money::NanoUsd;
use helix_shared::snapshot::{Resource, ResourceKey, ResourceKind};
use std::time::Duration;

fn new(owner: KeyOwner) -> NewKey {
    NewKey { owner, name: "a key".to_owned(), expires_at: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_form_of_its_kind_and_only_its_hash_is_kept() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    for (owner, prefix) in [
        (KeyOwner::User("JANE@corp.example".to_owned()), "hx_p_"),
        (KeyOwner::Team("blue".to_owned()), "hx_t_"),
        (KeyOwner::Service("blue".to_owned()), "hx_s_"),
    ] {
        let minted = app.create_key(&Actor::Operator, &new(owner)).await.unwrap();
        let secret = minted.secret.expose_str().unwrap();
        assert!(secret.starts_with(prefix) && secret.len() == 5 + 43, "{secret}");
        let random = &secret.as_bytes()[5..];
        assert!(random.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        assert!(secret.ends_with(&minted.row.last_four) && minted.row.hash.len() == 64);
        assert!(!format!("{minted:?}").contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_a_rotated_one_are_published_as_revoked() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let owner = KeyOwner::User("jane@corp.example".to_owned());
    let first = app.create_key(&Actor::Operator, &new(owner)).await.unwrap();
    let second = app.rotate_key(&Actor::Operator, &first.row.id).await.unwrap();
    assert_ne!(first.row.hash, second.row.hash);
    app.revoke_key(&Actor::Operator, &second.row.id).await.unwrap();
    assert!(fixture.control.feed().refresh().await);
    let current = fixture.control.feed().current();
    for id in [first.row.id.clone(), second.row.id.clone()] {
        let key = ResourceKey { kind: ResourceKind::ApiKey, id };
        assert!(matches!(current.set().get(&key), Some(Resource::ApiKey(key)) if key.revoked));
    }
    let again = app.rotate_key(&Actor::Operator, &first.row.id).await.unwrap_err();
    assert!(matches!(again, AppError::Invalid { .. }), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_handle_their_own_keys_and_no_others() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let own = KeyOwner::User("jane@corp.example".to_owned());
    let jane = Actor::Person { user_id: UserId::from("jane@corp.example"), grants: Vec::new() };
    let other = Actor::Person { user_id: UserId::from("someone"), grants: Vec::new() };
    let minted = app.create_key(&jane, &new(own.clone())).await.unwrap();
    assert!(matches!(app.create_key(&other, &new(own)).await, Err(AppError::Forbidden(_))));
    assert!(matches!(app.revoke_key(&other, &minted.row.id).await, Err(AppError::Forbidden(_))));
    assert!(matches!(app.list_keys(&jane, None).await, Err(AppError::Forbidden(_))));
    let team = KeyOwner::Team("blue".to_owned());
    assert!(matches!(app.create_key(&jane, &new(team)).await, Err(AppError::Forbidden(_))));
    app.revoke_key(&jane, &minted.row.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_lived_key_ends_by_itself_and_unknown_owners_are_named() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let minted = app.mint_short_lived_key("jane@corp.example", Duration::from_secs(60)).await.unwrap();
    assert!(minted.row.expires_at.unwrap() > minted.row.created_at);
    let error = app.mint_short_lived_key("nobody@corp.example", Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no user nobody@corp.example");
    let error = app.create_key(&Actor::Operator, &new(KeyOwner::Team("red".to_owned()))).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no team `red`");
}

fn terms(dollars: i64, period: Period) -> BudgetTerms {
    BudgetTerms {
        limit: NanoUsd::new(dollars * 1_000_000_000),
        period,
        mode: Mode::Hard,
        timezone: "Europe/Berlin".to_owned(),
        week_start: WeekStart::default(),
        alert_at: vec![Share::parse("0.8").unwrap()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_with_a_budget_of_its_own_in_one_revision_and_a_rotated_one_takes_it_along() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let before = app.facts().await.unwrap().head_revision;
    let owner = KeyOwner::User("jane@corp.example".to_owned());
    let budget = terms(10, Period::Weekly);
    let key = app.create_key_with_budget(&Actor::Operator, &new(owner.clone()), Some(&budget)).await.unwrap();
    assert_eq!(app.facts().await.unwrap().head_revision, before + 1, "no moment without a budget");
    let state = app.list_budgets(&Actor::Operator).await.unwrap().remove(0);
    assert_eq!(state.limit.scope.to_string(), format!("key:{}", key.row.id));
    assert_eq!(
        (state.limit.label.as_str(), state.effective, state.is_of_file),
        ("key a key, weekly", budget.limit, false)
    );
    // the same file again leaves it alone
    let again = app.sync_file(&file()).await.unwrap();
    assert_eq!((again.upserted, again.removed), (0, 0));
    let rotated = app.rotate_key(&Actor::Operator, &key.row.id).await.unwrap();
    let moved = app.list_budgets(&Actor::Operator).await.unwrap().remove(0);
    assert_eq!(moved.limit.scope.to_string(), format!("key:{}", rotated.row.id));
    assert_eq!(
        (&moved.limit.id, moved.window),
        (&state.limit.id, state.window),
        "the same budget and what is spent of it"
    );
    assert!(fixture.control.feed().refresh().await);
    let current = fixture.control.feed().current();
    let place = ResourceKey { kind: ResourceKind::Budget, id: moved.limit.id.as_str().to_owned() };
    assert!(
        matches!(current.set().get(&place), Some(Resource::Budget(it)) if it.scope == moved.limit.scope.to_string())
    );
    assert!(app.verify_ledger(&Actor::Operator).await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_of_the_database_are_made_changed_and_removed_by_name_and_those_of_the_file_are_not() {
    let mut config = file();
    config.budgets = vec![crate::support::budget(FileScope::Instance, 1, Mode::Hard)];
    let fixture = Fixture::new(config).await;
    let app = fixture.control.app();
    let owner = KeyOwner::User("jane@corp.example".to_owned());
    let key = app.create_key(&Actor::Operator, &new(owner.clone())).await.unwrap();
    for (scope, expected) in [
        (FileScope::Key("a key".to_owned()), format!("key:{}", key.row.id)),
        (FileScope::Key(key.row.id.clone()), format!("key:{}", key.row.id)),
        (FileScope::Team("blue".to_owned()), "team:blue".to_owned()),
        (FileScope::User("JANE@corp.example".to_owned()), "user:jane@corp.example".to_owned()),
        (FileScope::Model("gpt-*".to_owned()), "model:gpt-*".to_owned()),
        (FileScope::Instance, "instance".to_owned()),
    ] {
        let made = app.create_budget(&Actor::Operator, &scope, &terms(5, Period::Daily)).await.unwrap();
        assert_eq!(made.limit.scope.to_string(), expected);
        let id = made.limit.id.as_str();
        let raised = app.set_budget_limit(&Actor::Operator, id, NanoUsd::new(7)).await.unwrap();
        assert_eq!(raised.effective, NanoUsd::new(7));
        app.remove_budget(&Actor::Operator, id).await.unwrap();
    }
    assert_eq!(app.list_budgets(&Actor::Operator).await.unwrap().len(), 1);
    app.create_key(&Actor::Operator, &new(owner)).await.unwrap();
    let refused = |scope: FileScope, terms: BudgetTerms| async move {
        app.create_budget(&Actor::Operator, &scope, &terms).await.unwrap_err().to_string()
    };
    let daily = || terms(5, Period::Daily);
    assert!(refused(FileScope::Key("a key".to_owned()), daily()).await.contains("several keys have this name"));
    assert_eq!(refused(FileScope::Key("no key".to_owned()), daily()).await, "there is no key `no key`");
    assert_eq!(refused(FileScope::Team("red".to_owned()), daily()).await, "there is no team `red`");
    let nowhere = BudgetTerms { timezone: "Mars/Base".to_owned(), ..daily() };
    assert!(refused(FileScope::Instance, nowhere).await.contains("Mars/Base"));
    let below = BudgetTerms { limit: NanoUsd::new(-1), ..daily() };
    assert!(refused(FileScope::Instance, below).await.contains("below zero"));
    for error in [
        app.set_budget_limit(&Actor::Operator, "instance/monthly", NanoUsd::new(1)).await.unwrap_err(),
        app.remove_budget(&Actor::Operator, "instance/monthly").await.unwrap_err(),
    ] {
        assert!(matches!(error, AppError::LockedByConfig { .. }), "{error}");
    }
    let jane = Actor::Person { user_id: UserId::from("jane@corp.example"), grants: Vec::new() };
    let forbidden = app.create_budget(&jane, &FileScope::Instance, &daily()).await.unwrap_err();
    assert!(matches!(forbidden, AppError::Forbidden(_)), "{forbidden}");
}
