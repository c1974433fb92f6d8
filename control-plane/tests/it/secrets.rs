//! Secrets at rest: sealed in the database, bound to one master key.

use crate::support::{Fixture, file, settings, start};
use helix_control_plane::Settings;
use helix_control_plane::app::{KeyOwner, NewKey};
use helix_control_plane::settings::MasterKeySource;
use helix_shared::secret::Secret;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_the_data_folder_holds_a_credential_a_key_or_a_link_in_the_clear() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let owner = KeyOwner::User("jane@corp.example".to_owned());
    let new = NewKey { owner, name: "a key".to_owned(), expires_at: None };
    let minted = app.create_key(&helix_control_plane::Actor::Operator, &new).await.unwrap();
    let link = app.create_setup_link(Duration::from_secs(60)).await.unwrap().unwrap();
    let key = minted.secret.expose_str().unwrap().to_owned();
    let canaries = ["sk-canary-of-the-provider", "hx_p_canary-of-the-key-of-ci", &key, &link.token];
    // while it runs: the write-ahead log is searched too
    let mut files = 0;
    for entry in std::fs::read_dir(fixture.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        files += 1;
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds {canary}", path.display());
        }
    }
    assert!(files >= 3, "database, master key and join token");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_is_refused_and_the_right_one_still_opens() {
    let fixture = Fixture::new(file()).await;
    let folder = fixture.stop().await;
    let wrong = MasterKeySource::Given(Secret::new("ab".repeat(32)));
    let error = start(Settings { master_key: wrong, ..settings(folder.path()) }).await.unwrap_err().to_string();
    assert!(error.contains("master key") && error.contains("helix.db"), "{error}");
    Fixture::in_folder(folder, file()).await;
}
