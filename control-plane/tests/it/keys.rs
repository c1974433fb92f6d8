//! Keys: shown once, kept as a keyed hash, revoked and rotated for good.

use crate::support::{Fixture, file};
use helix_control_plane::app::{KeyOwner, NewKey};
use helix_control_plane::{Actor, AppError};
use helix_shared::ids::UserId;
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
