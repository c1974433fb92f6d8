//! What an operator sees when the database cannot be opened.

use crate::support::{TestDb, on_every_database, server_url};
use helix_store::{Db, Dialect, StoreError};
use std::error::Error as _;

async fn refused(url: &str) -> StoreError {
    Db::connect(url).await.map(|_| ()).unwrap_err()
}

/// Everything that an error prints, sources included.
fn chain(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[tokio::test]
async fn a_bad_url_says_what_a_good_one_looks_like() {
    for url in [
        "",
        "helix.db",
        "oracle://h/x",
        "sqlite://",
        "sqlite:///tmp/x.db?mode=ro",
        "postgres://",
        "postgres://h:99999/x",
        "postgres://u:s3cr3t@/x",
        "mysql://u:s3cr3t@h",
        "mysql://u:s3cr3t@h:x/db",
        "postgres://u:s3cr3t@h/db?sslmode=perhaps",
    ] {
        let error = refused(url).await;
        assert!(matches!(error, StoreError::Url { .. }), "{url}: {error}");
        assert!(error.to_string().contains("sqlite://PATH"), "{error}");
        assert!(!chain(&error).contains("s3cr3t"), "{error:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_named_without_its_password() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for scheme in ["postgres", "mysql"] {
        let error = refused(&format!("{scheme}://helix:s3cr3t@127.0.0.1:{port}/helix")).await;
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        assert!(error.is_unavailable());
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(!chain(&error).contains("s3cr3t"), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_is_made_only_for_who_makes_databases() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("made/helix.db").display());
    let error = Db::connect_existing(&url).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::NoDatabase { .. }), "{error}");
    for part in ["made/helix.db", "--config", "db migrate"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    Db::connect(&url).await.unwrap().close().await;
    Db::connect_existing(&url).await.unwrap().close().await;
    let memory = Db::connect_existing("sqlite::memory:").await.map(drop).unwrap_err();
    assert!(matches!(memory, StoreError::NoDatabase { .. }), "{memory}");
}

#[tokio::test]
async fn an_unwritable_folder_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "not a folder").unwrap();
    let error = refused(&format!("sqlite://{}/file/helix.db", folder.path().display())).await;
    assert!(matches!(error, StoreError::Folder { .. }), "{error}");
    assert!(error.to_string().contains("write access"), "{error}");
    // a folder is no file either
    let error = refused(&format!("sqlite://{}", folder.path().display())).await;
    assert!(matches!(error, StoreError::Folder { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "these are my notes, not a database\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let error = refused(&format!("sqlite://{}", path.display())).await;
    assert!(matches!(error, StoreError::NotSqlite { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let test = TestDb::fresh(Dialect::Sqlite).await.unwrap();
    let path = test.url.strip_prefix("sqlite://").unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.as_ref()), 0o600);
    assert_eq!(mode(std::path::Path::new(path).parent().unwrap()), 0o700);
    assert_eq!(mode(format!("{path}-wal").as_ref()), 0o600);
}

#[tokio::test]
async fn a_database_in_memory_serves_readers_and_writers() {
    let db = Db::connect("sqlite::memory:").await.unwrap();
    db.migrate(crate::support::NOW).await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.head_revision().await.unwrap(), 0);
}

on_every_database! {
    async fn a_refused_login_names_the_user_and_an_absent_database_its_name(test: &TestDb) {
        let Some(server) = server_url(test.db.dialect()) else { return };
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path("no_such_database");
        let error = refused(url.as_str()).await;
        assert!(matches!(error, StoreError::NoSuchDatabase { .. }), "{error}");
        assert!(error.to_string().contains("no_such_database"), "{error}");
        url.set_username("nobody_here").unwrap();
        url.set_password(Some("s3cr3t")).unwrap();
        url.set_path(url::Url::parse(&server).unwrap().path());
        let error = refused(url.as_str()).await;
        assert!(matches!(error, StoreError::Login { .. }), "{error}");
        assert!(error.to_string().contains("nobody_here"), "{error}");
        assert!(!chain(&error).contains("s3cr3t"), "{error:?}");
    }

    async fn the_address_of_a_database_has_no_password(test: &TestDb) {
        let address = test.db.address();
        assert!(!address.is_empty() && !address.contains('@'), "{address}");
    }
}
