//! The configuration file mirrored into the database: only what differs, all or nothing, never over what others made.

use crate::support::settings as settings_in;
use crate::support::{Fixture, budget, file, start};
use helix_control_plane::app::users::NewUser;
use helix_control_plane::app::{KeyOwner, NewKey, check_file};
use helix_control_plane::settings::{FileConfig, FileKey, FileScope, FileUser};
use helix_control_plane::{Actor, App, AppError, Settings};
use helix_shared::budget::Mode;
use helix_shared::rbac::Role;
use helix_shared::secret::Secret;
use helix_shared::snapshot::ResourceKind;
use std::collections::{BTreeMap, BTreeSet};

#[tokio::test(flavor = "multi_thread")]
async fn syncing_the_same_file_again_changes_nothing() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let before = app.facts().await.unwrap().head_revision;
    let again = app.sync_file(&file()).await.unwrap();
    assert_eq!((again.revision, again.upserted, again.removed), (before, 0, 0));
    let folder = fixture.stop().await;
    let fixture = Fixture::in_folder(folder, file()).await;
    assert_eq!(fixture.control.app().facts().await.unwrap().head_revision, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_differs_is_in_the_change_log() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let before = app.facts().await.unwrap().head_revision;
    let mut changed = file();
    changed.providers[0].api_key = Some(Secret::new("sk-another"));
    changed.budgets = vec![budget(FileScope::Instance, 200, Mode::Soft)];
    let outcome = app.sync_file(&changed).await.unwrap();
    assert_eq!((outcome.revision, outcome.upserted, outcome.removed), (before + 1, 2, 1));
    let mut tx = app.db().read().await.unwrap();
    let changes = tx.changes_since(before, 100).await.unwrap().unwrap();
    let keys: Vec<_> = changes.iter().map(|change| (change.key.kind, change.key.id.as_str())).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&(ResourceKind::Backend, "openai")));
    // an edited limit and mode stay the same budget
    assert!(keys.contains(&(ResourceKind::Budget, "instance/monthly")));
    assert!(keys.contains(&(ResourceKind::Budget, "user:jane@corp.example/monthly")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_the_file_and_the_database_define_is_named_and_left_alone() {
    let fixture = Fixture::new(FileConfig::default()).await;
    let app = fixture.control.app();
    let new = NewUser { email: "jane@corp.example".to_owned(), name: String::new(), role: Role::Member };
    let user = app.create_user(&Actor::Operator, &new).await.unwrap();
    let error = app.sync_file(&file()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AppError::Clash { .. }), "{text}");
    assert!(text.contains("jane@corp.example") && text.contains(&user.id), "{text}");
    assert_eq!(app.list_keys(&Actor::Operator, None).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_compile_is_refused_whole_with_reasons() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let before = app.facts().await.unwrap().head_revision;
    let mut broken = file();
    broken.models[0].strategy = "cheapest".to_owned();
    broken.teams[0].allow_models = vec!["gpt-*".to_owned()];
    let error = app.sync_file(&broken).await.unwrap_err().to_string();
    assert!(error.contains("model `gpt-*`: strategy `cheapest` is not known"), "{error}");
    let facts = app.facts().await.unwrap();
    assert_eq!(facts.head_revision, before);
    let mut dangling = file();
    dangling.keys[0].user = Some("nobody@corp.example".to_owned());
    let error = app.sync_file(&dangling).await.unwrap_err().to_string();
    assert!(error.contains("ci") && error.contains("nobody@corp.example"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_defines_is_locked_elsewhere_and_goes_when_the_file_lets_it_go() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let keys = app.list_keys(&Actor::Operator, None).await.unwrap();
    let error = app.revoke_key(&Actor::Operator, &keys[0].id).await.unwrap_err();
    assert!(matches!(error, AppError::LockedByConfig { .. }), "{error}");
    let owner = KeyOwner::Team("blue".to_owned());
    let new = NewKey { owner, name: "of the team".to_owned(), expires_at: None };
    let kept = app.create_key(&Actor::Operator, &new).await.unwrap();
    app.sync_file(&FileConfig::default()).await.unwrap();
    let keys = app.list_keys(&Actor::Operator, None).await.unwrap();
    assert_eq!(keys.iter().map(|key| &key.id).collect::<Vec<_>>(), [&kept.row.id]);
}

/// Keys of a file, by name and secret.
fn with_keys(keys: &[(&str, &str)]) -> FileConfig {
    let one = file().keys.remove(0);
    let made = |(name, secret): &(&str, &str)| FileKey {
        name: (*name).to_owned(),
        secret: Secret::new(format!("hx_p_canary_0000_{secret}")),
        ..one.clone()
    };
    FileConfig { keys: keys.iter().map(made).collect(), ..file() }
}

/// Secrets that roll forward from key to key, change places, move to a new key or come back, on whichever database.
pub(crate) async fn secrets_change_hands(app: &App) {
    let mut hashes: BTreeMap<String, String> = BTreeMap::new();
    for keys in [
        &[("current", "K1"), ("next", "K2")][..],
        &[("current", "K2"), ("next", "K3")],
        &[("current", "K3"), ("next", "K2")],
        &[("another", "K3"), ("current", "K2"), ("next", "K1")],
        &[("another", "K1"), ("next", "K3")],
        &[("current", "K3")],
    ] {
        app.sync_file(&with_keys(keys)).await.unwrap_or_else(|error| panic!("{keys:?}: {error}"));
        let mut rows = app.list_keys(&Actor::Operator, None).await.unwrap();
        rows.retain(|row| ["current", "next", "another"].contains(&row.name.as_str()));
        assert_eq!(rows.len(), keys.len(), "{keys:?}");
        for (name, secret) in keys {
            let row = rows.iter().find(|row| row.name == *name).unwrap();
            assert!(row.last_four.ends_with(secret), "{keys:?}: {name} shows {}", row.last_four);
            let known = hashes.entry((*secret).to_owned()).or_insert_with(|| row.hash.clone());
            assert_eq!(*known, row.hash, "{keys:?}: {name} has the hash of {secret}");
        }
        assert_eq!(app.sync_file(&with_keys(keys)).await.unwrap().upserted, 0, "{keys:?}");
    }
    assert_eq!(hashes.into_values().collect::<BTreeSet<String>>().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_files_keys_roll_forward_and_change_places_in_one_revision() {
    let fixture = Fixture::new(FileConfig::default()).await;
    secrets_change_hands(fixture.control.app()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_a_key_that_the_database_made_is_not_taken_over_by_an_edited_key_either() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let new = NewKey { owner: KeyOwner::Team("blue".to_owned()), name: "made".to_owned(), expires_at: None };
    let made = app.create_key(&Actor::Operator, &new).await.unwrap();
    let mut taking = file();
    taking.keys[0].secret = made.secret.clone();
    let error = app.sync_file(&taking).await.unwrap_err();
    assert!(matches!(error, AppError::Clash { .. }), "{error}");
    assert!(error.to_string().contains(&made.row.id), "{error}");
    assert_eq!(app.sync_file(&file()).await.unwrap().upserted, 0, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_check_of_a_file_takes_is_taken_over_and_what_it_refuses_is_refused_alike() {
    let fixture = Fixture::new(FileConfig::default()).await;
    let broken = |change: fn(&mut FileConfig)| {
        let mut file = file();
        change(&mut file);
        file
    };
    for (is_good, file) in [
        (true, file()),
        (true, FileConfig::default()),
        (false, broken(|file| file.keys[0].secret = Secret::new("hx_p_short"))),
        (false, broken(|file| file.keys[0].secret = Secret::new("hx_p_with a space in it"))),
        (false, broken(|file| file.users[0].email = "a,b@c".to_owned())),
        (false, broken(|file| file.users[0].email = "a@b..c".to_owned())),
        (false, broken(|file| file.users[0].teams = vec!["blue".to_owned(), "blue".to_owned()])),
        (false, broken(|file| file.users[0].roles = vec![Role::Member, Role::Member])),
        (false, broken(|file| file.teams[0].deny_models = vec!["x".repeat(201)])),
        (false, broken(|file| file.models[0].strategy = "cheapest".to_owned())),
        (false, broken(|file| file.budgets[0].timezone = "Mars/Olympus".to_owned())),
        (false, broken(|file| file.providers[0].base_url = Some("ftp://nowhere".to_owned()))),
    ] {
        let (checked, synced) = (check_file(&file), fixture.control.app().sync_file(&file).await);
        assert_eq!((checked.is_ok(), synced.is_ok()), (is_good, is_good), "{checked:?} {synced:?}");
        if let (Err(checked), Err(synced)) = (checked, synced) {
            assert_eq!(checked.to_string(), synced.to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_takes_an_administrator_first() {
    let folder = tempfile::tempdir().unwrap();
    let public = Settings { http_listen: Some("0.0.0.0:8080".parse().unwrap()), ..settings_in(folder.path()) };
    let error = start(public.clone()).await.unwrap_err().to_string();
    assert!(error.contains("allow_unclaimed") && error.contains("admin create"), "{error}");
    let admin = FileUser {
        email: "root@corp.example".to_owned(),
        name: String::new(),
        teams: Vec::new(),
        roles: vec![Role::InstanceAdmin],
        disabled: false,
        cost_center: None,
    };
    let file = FileConfig { users: vec![admin], ..FileConfig::default() };
    start(Settings { file, ..public }).await.unwrap().shutdown().await;
}
