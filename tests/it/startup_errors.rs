//! What keeps a gateway from starting: exit code 1 and a message that says what to do, never a panic.

use crate::support::databases::{Database, Engine};
use crate::support::gateway::{ANY_PORT, command};
use std::net::TcpListener;
use std::path::Path;
use url::Url;

/// Runs a role that must not start; returns what it complained.
fn complaint(folder: &Path, arguments: &[&str], yaml: &str) -> String {
    std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
    let output =
        command(folder).args(arguments).args(["--config", "gateway.yaml"]).env("RUST_BACKTRACE", "1").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("started"), "it said that it started");
    text
}

/// Checks that `serve` with a file does not start and says all of `expected`.
#[track_caller]
fn check(yaml: &str, expected: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = complaint(folder.path(), &["serve"], &format!("version: 1\n{yaml}"));
    for expected in expected {
        assert!(text.contains(expected), "`{expected}` is missing in: {text}");
    }
    text
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["listen", "ops_listen", "plane_listen"] {
        let others = ["listen", "ops_listen", "plane_listen"].into_iter().filter(|other| *other != setting);
        let others: String = others.map(|other| format!("{other}: 127.0.0.1:0, ")).collect();
        let yaml = format!("server: {{ {others}{setting}: \"{address}\" }}\n");
        check(&yaml, &[&address, &format!("server.{setting}"), "another process"]);
    }
}

#[test]
fn a_database_that_does_not_answer_is_named_without_its_password() {
    for scheme in ["postgres", "mysql"] {
        let yaml = format!("{ANY_PORT}storage: {{ url: \"{scheme}://helix:canary-pw@127.0.0.1:1/helix\" }}\n");
        let text = check(&yaml, &["127.0.0.1:1", "storage.url"]);
        assert!(!text.contains("canary-pw"), "{text}");
    }
    let missing = format!("{ANY_PORT}storage: {{ url: \"sqlite:///proc/nowhere/helix.db\" }}\n");
    check(&missing, &["/proc/nowhere/helix.db"]);
    check(&format!("{ANY_PORT}storage: {{ url: \"oracle://db\" }}\n"), &["storage.url", "sqlite"]);
}

#[test]
fn a_server_that_refuses_is_named_with_its_reason() {
    for engine in Engine::here().into_iter().filter(|engine| *engine != Engine::Sqlite) {
        let database = Database::fresh(engine);
        let (mut unknown, mut stranger) = (Url::parse(database.url()).unwrap(), Url::parse(database.url()).unwrap());
        unknown.set_path("/helix_nobody_made_this");
        stranger.set_username("helix_stranger").unwrap();
        stranger.set_password(Some("canary-pw")).unwrap();
        for (url, named) in [(unknown, "helix_nobody_made_this"), (stranger, "helix_stranger")] {
            let text = check(&format!("{ANY_PORT}storage: {{ url: \"{url}\" }}\n"), &[named, "storage.url"]);
            assert!(!text.contains("canary-pw"), "{text}");
        }
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A file in its place stands in the way of every user, root included.
    std::fs::write(folder.path().join("occupied"), "").unwrap();
    let yaml = format!("version: 1\n{ANY_PORT}data_dir: ./occupied\n");
    let text = complaint(folder.path(), &["serve"], &yaml);
    assert!(text.contains("./occupied") && text.contains("write access") && text.contains("storage.url"), "{text}");
    let text = complaint(folder.path(), &["serve"], &format!("{yaml}storage: {{ url: \"sqlite://db/helix.db\" }}\n"));
    assert!(text.contains("./occupied") && text.contains("data_dir"), "{text}");
}

#[test]
fn an_unset_variable_is_named_with_its_place() {
    let yaml =
        format!("{ANY_PORT}providers:\n  openai: {{ kind: openai, api_key: \"${{HELIX_TEST_NOT_SET_ANYWHERE}}\" }}\n");
    check(&yaml, &["HELIX_TEST_NOT_SET_ANYWHERE", "gateway.yaml:4", "providers.openai.api_key"]);
}

#[test]
fn another_master_key_than_the_databases_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = |key: &str| format!("version: 1\n{ANY_PORT}secrets: {{ master_key: \"{}\" }}\n", key.repeat(32));
    std::fs::write(folder.path().join("gateway.yaml"), yaml("a1")).unwrap();
    let admin = ["admin", "create", "--email", "root@corp.example", "--config", "gateway.yaml"];
    let made = command(folder.path()).args(admin).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = complaint(folder.path(), &["serve"], &yaml("b2"));
    assert!(text.contains("this master key is not the one") && text.contains("secrets.master_key"), "{text}");
    assert!(!text.contains("b2b2b2"), "{text}");
}

#[test]
fn a_public_address_is_refused_until_somebody_administers() {
    let yaml = "server: { listen: 0.0.0.0:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:0 }\n";
    check(yaml, &["server.listen", "public address", "admin create", "allow_unclaimed"]);
}

#[test]
fn a_data_plane_says_what_it_lacks_to_join() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("version: 1\n{ANY_PORT}");
    let data_plane = |arguments: &[&str]| complaint(folder.path(), &[&["data-plane"], arguments].concat(), &yaml);
    assert!(data_plane(&[]).contains("--control-plane URL"));
    let to = ["--control-plane", "http://127.0.0.1:1"];
    assert!(data_plane(&to).contains("--join-token-file FILE"));
    let missing = data_plane(&[to.as_slice(), &["--join-token-file", "missing"]].concat());
    assert!(missing.contains("cannot read the join token missing"), "{missing}");
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    assert!(data_plane(&[to.as_slice(), &["--join-token-file", "empty"]].concat()).contains("is empty"));
    std::fs::write(folder.path().join("token"), "hxj_0123456789abcdef").unwrap();
    let odd = data_plane(&["--control-plane", "not a url", "--join-token-file", "token"]);
    assert!(odd.contains("control_plane.url"), "{odd}");
}
