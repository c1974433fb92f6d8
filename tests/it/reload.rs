//! A changed configuration file: taken over while requests run, or left alone with every error told.

use crate::first_request;
use crate::support::client::Client;
use crate::support::gateway::{ANY_PORT, Gateway, KEY, command};
use crate::support::ledger::sqlite_in;
use crate::support::load::{Load, Outcome, chat};
use crate::support::patience::{logged, until};
use helix_control_plane::Db;
use helix_fake_provider::FakeProvider;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

const OTHER_KEY: &str = "hx_p_otherotherotherotherotherother0002";

fn whole(yaml: &str) -> String {
    format!("version: 1\n{ANY_PORT}{yaml}")
}

async fn outcome(client: &Client, gateway: &Gateway, key: &str) -> (u16, String) {
    let url = format!("{}/v1/chat/completions", gateway.url());
    let Outcome { status, code, .. } = Outcome::from(&client.ask(&url, key, &chat("gpt-5-mini", "hi")).await);
    (status, code)
}

async fn becomes(client: &Client, gateway: &Gateway, key: &str, status: u16, code: &str) {
    until(&format!("{status} {code} for {key}"), async || {
        (outcome(client, gateway, key).await == (status, code.to_owned())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_over_by_itself_and_at_once_on_a_signal() {
    let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (client, yaml) = (Client::new(), first_request::yaml(&provider.url()));
    std::fs::write(folder.path().join("steady-key"), "hx_p_steadysteadysteadysteadysteady0003").unwrap();
    let steady = "keys:\n  - { name: steady, user: jane@corp.example, secret: \"${file:steady-key}\" }";
    let yaml = yaml.replace("keys:", steady);
    let mut gateway = Gateway::serve(folder.path(), &yaml);
    let load = Load::start(&gateway.url(), "hx_p_steadysteadysteadysteadysteady0003", 1);
    assert_eq!(outcome(&client, &gateway, KEY).await.0, 200);
    assert_eq!(outcome(&client, &gateway, OTHER_KEY).await, (401, "invalid_api_key".to_owned()));

    gateway.write(&whole(&yaml.replace(KEY, OTHER_KEY)));
    becomes(&client, &gateway, OTHER_KEY, 200, "").await;
    assert_eq!(outcome(&client, &gateway, KEY).await, (401, "invalid_api_key".to_owned()), "a removed key");

    gateway.write(&whole(&yaml.replace("*-preview", "gpt-5-mini")));
    gateway.reload();
    becomes(&client, &gateway, KEY, 403, "model_access_denied").await;
    let outcomes = load.stop().await;
    assert!(outcomes.iter().all(|it| it.status == 200 || it.code == "model_access_denied"), "{outcomes:?}");

    // The content of a secret file counts like the file that names it.
    gateway.write(&whole(&yaml));
    becomes(&client, &gateway, KEY, 200, "").await;
    std::fs::write(folder.path().join("steady-key"), OTHER_KEY).unwrap();
    becomes(&client, &gateway, OTHER_KEY, 200, "").await;
    assert!(gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_changes_nothing_and_every_error_is_in_the_log() {
    let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (client, yaml) = (Client::new(), first_request::yaml(&provider.url()));
    let mut gateway = Gateway::serve(folder.path(), &yaml);
    assert_eq!(outcome(&client, &gateway, KEY).await.0, 200);

    let broken = yaml.replace("limit_usd: \"25\"", "limit_usd: lots").replace("budgets:", "budgetz:\nbudgets:");
    gateway.write(&whole(&broken.replace(KEY, OTHER_KEY)));
    gateway.reload();
    until("the log tells both errors", async || {
        let log = gateway.log();
        let told = ["the last good one stays in force", "budgetz", "did you mean `budgets`", "limit_usd"];
        told.iter().all(|text| log.contains(text)).then_some(())
    })
    .await;
    assert_eq!(outcome(&client, &gateway, KEY).await.0, 200, "the last good one is in force");
    assert_eq!(outcome(&client, &gateway, OTHER_KEY).await.0, 401, "nothing of the broken one is");
    assert!(!gateway.log().contains(OTHER_KEY), "a secret of the broken file is in the log");

    gateway.write(&whole(&yaml.replace(KEY, OTHER_KEY)));
    becomes(&client, &gateway, OTHER_KEY, 200, "").await;
    assert!(gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_while_the_database_could_not_be_written_is_taken_over_once_it_can() {
    let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (client, yaml) = (Client::new(), first_request::yaml(&provider.url()));
    let mut gateway = Gateway::serve(folder.path(), &yaml);
    assert_eq!(outcome(&client, &gateway, KEY).await.0, 200);
    // somebody else writes, and does not end
    let db = Db::connect(&sqlite_in(folder.path())).await.unwrap();
    let writing = db.begin().await.unwrap();
    gateway.write(&whole(&yaml.replace(KEY, OTHER_KEY)));
    logged(&gateway, "the changed configuration cannot be stored now").await;
    assert_eq!(outcome(&client, &gateway, OTHER_KEY).await.0, 401, "the last good one is in force");
    // nothing is edited and nobody signals
    writing.rollback().await.unwrap();
    becomes(&client, &gateway, OTHER_KEY, 200, "").await;
    assert_eq!(outcome(&client, &gateway, KEY).await, (401, "invalid_api_key".to_owned()));
    db.close().await;
    assert!(gateway.stop());
}

fn config(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).arg("config").args(arguments).env("HELIX__LOGGING__LEVEL", "debug").output().unwrap()
}

#[test]
fn config_check_exits_with_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.yaml"), whole(&first_request::yaml("http://127.0.0.1:1"))).unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "version: 1\nserver: { lisen: 127.0.0.1:80 }\nteams: 7\n").unwrap();
    let code = |arguments: &[&str]| config(folder.path(), arguments).status.code();
    assert_eq!(code(&["check", "--config", "good.yaml"]), Some(0));
    assert_eq!(code(&["check", "--config", "bad.yaml"]), Some(1));
    assert_eq!(code(&["check", "--config", "missing.yaml"]), Some(1));
    assert_eq!(code(&["check", "--no-such-flag"]), Some(2));
    // what only taking it over would find, and no line of the file is to blame for
    let odd = first_request::yaml("http://127.0.0.1:1").replace("api_key: sk-canary-openai", "api_key: \"sk canary\"");
    std::fs::write(folder.path().join("refused.yaml"), whole(&odd)).unwrap();
    assert_eq!(code(&["check", "--config", "refused.yaml"]), Some(1));
    let said = String::from_utf8(config(folder.path(), &["check", "--config", "refused.yaml"]).stdout).unwrap();
    assert!(said.contains("E0210") && said.contains("no header can carry"), "{said}");
    let findings: Value = serde_json::from_slice(&config(folder.path(), &["check", "--config", "bad.yaml"]).stdout)
        .expect("without a terminal it is JSON");
    let text = findings.to_string();
    assert!(text.contains("lisen") && text.contains("teams") && text.contains("listen"), "every error at once: {text}");
}

#[test]
fn config_show_says_where_each_value_comes_from_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), whole(&first_request::yaml("http://127.0.0.1:1"))).unwrap();
    let output = config(folder.path(), &["show", "--origin", "--config", "gateway.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    let rows: Value = serde_json::from_slice(&output.stdout).expect("without a terminal it is JSON");
    let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap_or(&Value::Null).clone();
    assert_eq!(row("server.listen")["origin"]["kind"], "file");
    assert_eq!(row("server.listen")["origin"]["line"], 2);
    assert_eq!(row("logging.level")["origin"]["variable"], "HELIX__LOGGING__LEVEL");
    assert_eq!(row("storage.max_connections")["origin"]["kind"], "default");
    assert_eq!(row("providers.openai.api_key")["value"], "[redacted]");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains(KEY) && !text.contains("sk-canary"), "a secret is shown");
}
