//! The configuration file mirrored into the database: only what differs, all or nothing, never over what others made.

use crate::support::settings as settings_in;
use crate::support::{Fixture, budget, file, start};
use helix_control_plane::app::users::NewUser;
use helix_control_plane::app::{KeyOwner, NewKey};
use helix_control_plane::settings::{FileConfig, FileScope, FileUser};
use helix_control_plane::{Actor, AppError, Settings};
use helix_shared::budget::Mode;
use helix_shared::rbac::Role;
use helix_shared::secret::Secret;
use helix_shared::snapshot::ResourceKind;

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
