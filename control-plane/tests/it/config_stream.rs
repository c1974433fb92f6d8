//! The configuration stream: whole first, then differences, resumed where it broke off.
//!
//! Rule: after each push the node's own digest is the one it was told.

use crate::support::{Fixture, Node, file, settings, soon};
use helix_control_plane::app::{KeyOwner, NewKey};
use helix_control_plane::{Actor, App};
use helix_proto::v1;
use helix_proto::v1::begin::Mode;
use helix_shared::snapshot::{ResourceSet, compile};
use helix_shared::time::{SystemClock, UnixMicros};
use helix_store::{ApiKey, ChangeOp, Managed};
use sqlx::Connection as _;
use std::sync::Arc;

fn key(name: &str) -> NewKey {
    NewKey { owner: KeyOwner::User("jane@corp.example".to_owned()), name: name.to_owned(), expires_at: None }
}

async fn add_key(app: &App, name: &str) -> String {
    app.create_key(&Actor::Operator, &key(name)).await.unwrap().row.id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_is_sent_everything_and_then_differences() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    assert_eq!(push.mode, Mode::Replace);
    node.apply(&push).await;
    assert!(compile(&node.set, push.revision).quarantined.is_empty());
    let current = fixture.control.feed().current();
    assert_eq!((current.revision(), current.digest()), (node.revision, node.set.digest()));

    let id = add_key(fixture.control.app(), "second").await;
    let push = node.push().await;
    assert_eq!((push.mode, push.upserts.len(), push.removals.len()), (Mode::Delta, 1, 0));
    assert_eq!(push.upserts[0].id, id);
    node.apply(&push).await;

    let mut without_models = file();
    without_models.models.clear();
    fixture.control.reload(&without_models).await.unwrap();
    let push = node.push().await;
    assert_eq!((push.mode, push.upserts.len(), push.removals.len()), (Mode::Delta, 0, 1));
    node.apply(&push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_difference_is_followed_by_everything_and_that_one_waits_for_the_next_revision() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    node.apply(&push).await;
    add_key(fixture.control.app(), "second").await;
    let delta = node.push().await;
    assert_eq!(delta.mode, Mode::Delta);
    node.refuse(&delta.id).await;
    let whole = node.push().await;
    assert_eq!((whole.mode, whole.revision), (Mode::Replace, delta.revision));
    node.refuse(&whole.id).await;
    add_key(fixture.control.app(), "third").await;
    let next = node.push().await;
    assert_eq!(next.mode, Mode::Replace);
    assert!(next.revision > whole.revision);
    node.apply(&next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_during_an_unanswered_push_merge_into_the_next_one() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let first = node.push().await;
    for name in ["a", "b", "c"] {
        add_key(fixture.control.app(), name).await;
    }
    assert!(soon(fixture.control.feed().refresh()).await);
    node.apply(&first).await;
    let merged = node.push().await;
    assert_eq!((merged.mode, merged.upserts.len()), (Mode::Delta, 3));
    node.apply(&merged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_resumes_with_the_difference_also_after_a_restart_of_the_control_plane() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    node.apply(&push).await;
    let (set, revision) = (node.set.clone(), node.revision);
    drop(node);
    let revoked = add_key(fixture.control.app(), "short-lived").await;
    let mut node = Node::watch(fixture.channel().await, "n1", set.clone(), revision).await;
    let push = node.push().await;
    assert_eq!((push.mode, push.upserts.len()), (Mode::Delta, 1));
    node.apply(&push).await;
    let (set, revision) = (node.set.clone(), node.revision);
    drop(node);

    let folder = fixture.stop().await;
    let fixture = Fixture::in_folder(folder, file()).await;
    fixture.control.app().revoke_key(&Actor::Operator, &revoked).await.unwrap();
    let mut node = Node::watch(fixture.channel().await, "n1", set, revision).await;
    let push = node.push().await;
    assert_eq!((push.mode, push.upserts.len()), (Mode::Delta, 1));
    node.apply(&push).await;
}

/// Takes the last revisions back, as a server does that fails over to a standby which had not heard of them.
async fn forget_after(fixture: &Fixture, revision: u64) {
    let path = fixture.folder.path().join("helix.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let revision = i64::try_from(revision).unwrap();
    let mut tx = connection.begin().await.unwrap();
    for statement in [
        "DELETE FROM api_keys WHERE id IN (SELECT resource_id FROM config_log WHERE revision > ?)",
        "DELETE FROM config_log WHERE revision > ?",
        "UPDATE config_head SET revision = ?",
    ] {
        sqlx::query(statement).bind(revision).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_node_is_sent_everything_once_the_database_has_lost_commits_and_revocations_go_on() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let kept = add_key(app, "kept").await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    node.apply(&push).await;
    let before = node.revision;
    for name in ["lost", "lost too"] {
        add_key(app, name).await;
        let push = node.push().await;
        node.apply(&push).await;
    }
    assert_eq!(node.revision, before + 2);
    forget_after(&fixture, before).await;
    let push = node.push().await;
    assert_eq!((push.mode, push.revision), (Mode::Replace, before));
    node.apply(&push).await;
    // the numbers come again and mean something else
    app.revoke_key(&Actor::Operator, &kept).await.unwrap();
    let push = node.push().await;
    assert_eq!((push.mode, push.revision, push.upserts.len()), (Mode::Delta, before + 1, 1));
    assert_eq!(push.upserts[0].id, kept);
    node.apply(&push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_current_is_greeted_and_one_with_another_state_is_sent_everything() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    node.apply(&push).await;
    let (set, revision) = (node.set.clone(), node.revision);

    let mut current = Node::watch(fixture.channel().await, "n2", set.clone(), revision).await;
    let greeting = current.message().await;
    let Some(v1::config_push::Step::Commit(commit)) = greeting.step else { panic!("{greeting:?}") };
    assert_eq!((commit.revision, commit.digest), (revision, set.digest().to_bytes().to_vec()));

    // a node that finds the heartbeat wrong holds something else than what was agreed
    current.refuse(&greeting.push_id).await;
    assert_eq!(current.push().await.mode, Mode::Replace);

    let mut other = set.clone();
    let key = other.iter().next().unwrap().0.clone();
    other.remove(&key);
    let mut other = Node::watch(fixture.channel().await, "n3", other, revision).await;
    assert_eq!(other.push().await.mode, Mode::Replace);
    let mut ahead = Node::watch(fixture.channel().await, "n4", set, revision + 100).await;
    ahead.revision = revision + 100;
    assert_eq!(ahead.push().await.mode, Mode::Replace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beside_a_running_gateway_reaches_its_nodes() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    node.apply(&push).await;
    let command = App::open(&settings(fixture.folder.path()), Arc::new(SystemClock::new())).await.unwrap();
    let id = add_key(&command, "from-the-command-line").await;
    command.close().await;
    let push = node.push().await;
    assert_eq!((push.mode, push.upserts[0].id.as_str()), (Mode::Delta, id.as_str()));
    node.apply(&push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_keys_come_in_chunks_of_at_most_a_mebibyte() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let mut tx = app.db().begin().await.unwrap();
    for number in 0..20_000 {
        let now = UnixMicros::new(1);
        tx.insert(&ApiKey {
            id: format!("key-{number}"),
            name: format!("key number {number}"),
            hash: format!("{number:064x}"),
            prefix: "hx_p_".to_owned(),
            last_four: "abcd".to_owned(),
            kind: "personal".to_owned(),
            user_id: Some("jane@corp.example".to_owned()),
            team_id: None,
            expires_at: None,
            revoked_at: None,
            created_at: now,
            managed: Managed::Db,
            updated_at: now,
        })
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    let folder = fixture.stop().await;
    let fixture = Fixture::in_folder(folder, file()).await;
    let mut node = Node::watch(fixture.channel().await, "n1", ResourceSet::default(), 0).await;
    let push = node.push().await;
    assert!(push.largest_chunk <= 1024 * 1024, "{}", push.largest_chunk);
    assert!(push.chunks >= 2, "{}", push.chunks);
    assert!(push.upserts.len() > 20_000);
    node.apply(&push).await;
    let snapshot = compile(&node.set, push.revision);
    assert_eq!(snapshot.callers.len(), 20_001);
    let mut tx = fixture.control.app().db().begin().await.unwrap();
    let removed = (helix_shared::snapshot::ResourceKind::ApiKey, "key-7", ChangeOp::Remove);
    tx.delete::<ApiKey>("key-7").await.unwrap();
    tx.bump(&[removed], UnixMicros::new(2)).await.unwrap();
    tx.commit().await.unwrap();
    let push = node.push().await;
    assert_eq!((push.mode, push.upserts.len(), push.removals.len()), (Mode::Delta, 0, 1));
    node.apply(&push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_leaves_the_configuration_stream_open() {
    let fixture = Fixture::new(file()).await;
    let mut node = fixture.node("n1").await;
    let push = node.push().await;
    fixture.control.app().close().await;
    node.apply(&push).await;
    let current = fixture.control.feed().current();
    let mut late = fixture.node("n2").await;
    let push = late.push().await;
    assert_eq!((push.mode, push.revision), (Mode::Replace, current.revision()));
    late.apply(&push).await;
    assert!(!soon(fixture.control.feed().refresh()).await);
}
