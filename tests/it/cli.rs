//! The commands, as an operator and a script use them: answers, exit codes, and what they change in a running gateway.
//! Upholds: without a terminal every answer is one JSON document; 0 is done, 1 is refused or failed, 2 is wrong usage.
//! Not here: what a wrong configuration says (`src/config/tests.rs`), and starts that fail.

use crate::first_request::yaml;
use crate::support::client::{Answer, Client};
use crate::support::gateway::{ANY_PORT, Gateway, command};
use crate::support::patience::until;
use helix_fake_provider::FakeProvider;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

fn provider() -> helix_fake_provider::Running {
    FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// What a command said, which must be JSON, and its exit code.
fn said(output: &Output) -> (i32, Value) {
    let code = output.status.code().expect("it was not killed");
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"));
    (code, value)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

async fn models(client: &Client, gateway: &Gateway, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    client.get(&format!("{}/v1/models", gateway.url()), &[("authorization", &bearer)]).await.status
}

async fn until_status(client: &Client, gateway: &Gateway, key: &str, status: u16) {
    let what = format!("{status} for a key");
    until(&what, async || (models(client, gateway, key).await == status).then_some(())).await;
}

/// Runs a command on a terminal of its own, as `script` makes one.
fn on_a_terminal(folder: &Path, arguments: &str, no_color: bool) -> (i32, String) {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_helixgateway"));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(folder).env("TERM", "xterm").env_remove("NO_COLOR");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    let output = script.output().expect("`script` of util-linux is there");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code().expect("it was not killed"), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_from_its_making_to_its_revocation() {
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(folder.path(), &yaml(&provider.url()));
    let client = Client::new();

    let (code, made) = said(&gateway.command(&["keys", "create", "--user", "jane@corp.example", "--name", "laptop"]));
    assert_eq!((code, text(&made, "name")), (0, "laptop"));
    let (id, first) = (text(&made, "id"), text(&made, "key"));
    assert!(first.starts_with("hx_p_"), "{first}");
    until_status(&client, &gateway, first, 200).await;

    let (_, listed) = said(&gateway.command(&["keys", "list", "--user", "jane@corp.example"]));
    let listed = listed.as_array().unwrap();
    let row = listed.iter().find(|row| row["id"] == *id).expect("the new key is listed");
    assert_eq!((text(row, "state"), text(row, "kind")), ("active", "personal"));
    assert!(first.starts_with(text(row, "prefix")) && first.ends_with(text(row, "last4")), "{row}");
    assert!(!listed.iter().any(|row| row.to_string().contains(first)), "a list shows no secret");

    let (code, rotated) = said(&gateway.command(&["keys", "rotate", id]));
    let second = text(&rotated, "key");
    assert_eq!(code, 0);
    until_status(&client, &gateway, second, 200).await;
    until_status(&client, &gateway, first, 401).await;

    let (code, revoked) = said(&gateway.command(&["keys", "revoke", text(&rotated, "id")]));
    assert_eq!((code, revoked["revoked"].as_bool()), (0, Some(true)));
    until_status(&client, &gateway, second, 401).await;
    let (_, active) = said(&gateway.command(&["keys", "list"]));
    assert!(!active.to_string().contains("laptop"), "{active}");
    let (_, all) = said(&gateway.command(&["keys", "list", "--all"]));
    assert!(all.to_string().contains("revoked"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_link_makes_one_administrator_and_works_once() {
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let url = provider.url();
    let open = format!("providers: {{ openai: {{ kind: openai, base_url: \"{url}/v1\", api_key: sk-canary }} }}\n");
    let mut gateway = Gateway::serve(folder.path(), &open);
    let client = Client::new();
    let token = token_of(text(&gateway.started, "setupLink"));

    let page = client.get(&format!("{}/setup?token={token}", gateway.url()), &[]).await;
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"));
    assert!(page.text().contains("Create the first administrator"));
    let typo = claim(&client, &gateway, &token, "not-an-address").await;
    assert_eq!(typo.status, 422, "a typing error does not spend the link");
    let claimed = claim(&client, &gateway, &token, "ada%40corp.example").await;
    assert_eq!(claimed.status, 200, "{}", claimed.text());
    let key = key_on(&claimed);
    until_status(&client, &gateway, &key, 200).await;
    assert_eq!(claim(&client, &gateway, &token, "eve%40corp.example").await.status, 410);

    let body = json!({ "model": "gpt-5-mini", "messages": [{ "role": "user", "content": "hi" }] });
    let answer = client.ask(&format!("{}/v1/chat/completions", gateway.url()), &key, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    gateway.stop();
    gateway.run();
    assert_eq!(gateway.started["setupLink"], Value::Null, "an administrator exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_create_makes_an_administrator_whose_link_gives_a_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(folder.path(), "");
    let client = Client::new();
    let (code, made) = said(&gateway.command(&["admin", "create", "--email", "root@corp.example"]));
    assert_eq!((code, text(&made, "role")), (0, "instance_admin"));
    let token = token_of(text(&made, "link"));
    let claimed = claim(&client, &gateway, &token, "").await;
    assert_eq!(claimed.status, 200, "{}", claimed.text());
    until_status(&client, &gateway, &key_on(&claimed), 200).await;
    assert_eq!(claim(&client, &gateway, &token, "").await.status, 410);

    let wrong = gateway.command(&["admin", "create", "--email", "root@corp.example", "--role", "emperor"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("instance_admin"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explained_request_shows_the_eight_stages_and_a_denied_one_where_it_stopped() {
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(folder.path(), &yaml(&provider.url()));
    let url = gateway.url();
    for model in ["gpt-5-mini", "claude-haiku-4-5"] {
        let (code, answer) = said(&gateway.command(&["test", "hi", "-m", model, "--explain", "--url", &url]));
        assert_eq!((code, answer["status"].as_u64()), (0, Some(200)), "{answer}");
        assert_eq!(stages(&answer), ["auth", "rbac", "policy", "budget", "route", "model", "cost", "audit"]);
        assert_eq!(answer["trace"]["decision"], "allowed");
        let cost = answer["trace"]["costNanoUsd"].as_i64().unwrap();
        assert!(cost > 0);
        assert_eq!(text(&answer["trace"], "costUsd"), format!("0.{cost:09}"));
    }
    let (code, denied) =
        said(&gateway.command(&["test", "hi", "-m", "gpt-4o-audio-preview", "--explain", "--url", &url]));
    assert_eq!((code, denied["status"].as_u64()), (1, Some(403)), "{denied}");
    assert_eq!(stages(&denied), ["auth", "rbac", "audit"]);
    assert_eq!((text(&denied["trace"], "deniedBy"), text(&denied["trace"], "code")), ("rbac", "model_access_denied"));

    // For people: a line a stage, also for those that were not asked; colours only where they are wanted.
    let (code, shown) = on_a_terminal(folder.path(), &format!("test hi -m gpt-5-mini --explain --url {url}"), true);
    assert_eq!(code, 0, "{shown}");
    assert_eq!(shown.matches('✓').count(), 8, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let (code, shown) =
        on_a_terminal(folder.path(), &format!("test hi -m gpt-4o-audio-preview --explain --url {url}"), false);
    assert_eq!(code, 1, "{shown}");
    let marks =
        ['✓', '✗', '·'].map(|mark| shown.lines().filter(|line| line.contains(mark) && !line.contains("USD")).count());
    assert_eq!(marks, [2, 1, 5], "{shown}");
    assert!(shown.contains('\u{1b}') && shown.contains("denied by rbac: model_access_denied"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_lived_keys_of_the_command_leave_nothing_behind() {
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(folder.path(), &yaml(&provider.url()));
    let (code, answer) = said(&gateway.command(&["test", "hi", "-m", "gpt-5-mini", "--url", &gateway.url()]));
    assert_eq!(code, 0, "{answer}");
    let (_, active) = said(&gateway.command(&["keys", "list"]));
    assert_eq!(active.as_array().unwrap().len(), 1, "only the key of the file: {active}");
    let bill = provider.bill.settled().await;
    assert_eq!(bill.len(), 1);
    // Waiting for the key to arrive is not a refused request.
    let report = until("the record", async || {
        let report = gateway.verify();
        (report["records"] != 0).then_some(report)
    })
    .await;
    assert_eq!((report["ok"].as_bool(), report["records"].as_u64()), (Some(true), Some(1)), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_server_is_reached_by_its_bare_address() {
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let url = provider.url();
    let file = format!(
        "providers: {{ local: {{ kind: ollama, base_url: \"{url}\", api_key: sk-canary }} }}\n\
         models: [ {{ match: small, backends: [ {{ provider: local, model: qwen3 }} ] }} ]\n\
         users: [ {{ email: jane@corp.example }} ]\n"
    );
    let gateway = Gateway::serve(folder.path(), &file);
    let line = ["test", "hi", "-m", "small", "--as", "jane@corp.example", "--explain", "--url", &gateway.url()];
    let (code, answer) = said(&gateway.command(&line));
    assert_eq!((code, text(&answer["trace"], "servedModel")), (0, "qwen3"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_is_wrong_with_its_remedy_and_exits_by_the_worst() {
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = "server: { listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:0 }";
    let doctor = |server: &str, rest: &str| {
        std::fs::write(folder.path().join("gateway.yaml"), format!("version: 1\n{server}\n{rest}")).unwrap();
        said(&command(folder.path()).arg("doctor").output().unwrap())
    };
    let provided = format!("providers: {{ local: {{ kind: ollama, base_url: \"{}\" }} }}\n", provider.url());
    std::fs::write(folder.path().join("gateway.yaml"), format!("version: 1\n{free}\n")).unwrap();
    let made = command(folder.path()).args(["admin", "create", "--email", "root@corp.example"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let (code, healthy) = doctor(free, &provided);
    assert_eq!((code, healthy["ok"].as_bool()), (0, Some(true)), "{healthy}");
    let checks = healthy["checks"].as_array().unwrap();
    for name in ["configuration", "clock", "disk", "database", "server.listen", "provider local", "identity"] {
        let found = checks.iter().find(|check| check["check"] == name);
        assert!(found.is_some_and(|check| check["state"] == "ok"), "{name}: {healthy}");
    }
    let port = taken.local_addr().unwrap().port();
    let busy = format!("server: {{ listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:{port} }}");
    for (server, rest, check, state, expected) in [
        (busy.as_str(), "", "server.plane_listen", "fail", 1),
        (free, "storage: { url: \"postgres://helix@127.0.0.1:1/helix\" }\n", "database", "fail", 1),
        (free, "data_dir: /proc/nowhere\nstorage: { url: \"sqlite://h.db\" }\n", "disk", "fail", 1),
        (free, "", "providers", "warn", 0),
        (free, "breaker: { failures: 3 }\n", "configuration", "warn", 0),
    ] {
        let (code, ill) = doctor(server, rest);
        let found = ill["checks"].as_array().unwrap().iter().find(|row| row["check"] == check);
        let found = found.unwrap_or_else(|| panic!("no {check} in {ill}"));
        assert_eq!(text(found, "state"), state, "{ill}");
        assert!(!text(found, "fix").is_empty(), "{found}");
        assert_eq!(code, expected, "{ill}");
    }
}

#[test]
fn exit_codes_tell_wrong_usage_from_refusal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "version: 1\nprovders: {}\n").unwrap();
    std::fs::write(folder.path().join("good.yaml"), format!("version: 1\n{ANY_PORT}")).unwrap();
    let run = |line: &str| command(folder.path()).args(line.split(' ')).output().unwrap();
    for (line, expected) in [
        ("version", 0),
        ("--help", 0),
        ("config schema", 0),
        ("config check --config good.yaml", 0),
        ("db status --config good.yaml", 1),
        ("db migrate --config good.yaml", 0),
        ("db status --config good.yaml", 0),
        ("ledger verify --config good.yaml", 0),
        ("ledger suspense --config good.yaml", 0),
        ("ledger report --config good.yaml --month 2026-10 --group-by team,key --every day", 0),
        ("ledger report --config good.yaml --month 2026-13", 1),
        ("ledger report --config good.yaml --group-by colour", 2),
        ("ledger forecast --config good.yaml", 0),
        ("ledger correct --config good.yaml nobody --by-usd -1 --reason refund", 1),
        ("ledger correct --config good.yaml nobody --by-usd 1", 2),
        ("billing export --config good.yaml --from 2026-10-01 --until 2026-10-02 --format focus", 0),
        ("billing export --config good.yaml --from 2026-10-01 --until 2026-10-01", 1),
        ("billing reconcile --config good.yaml missing.json --provider openai", 1),
        ("ledger restored --config good.yaml --reason drill", 0),
        ("ledger release --config good.yaml nobody --spent-usd 0 --reason gone", 1),
        ("ledger release --config good.yaml nobody --spent-usd 0", 2),
        ("config check --config bad.yaml", 1),
        ("config check --config missing.yaml", 1),
        ("keys create --config good.yaml --user nobody@corp.example --name x", 1),
        ("keys revoke --config good.yaml nothing", 1),
        ("test hi -m gpt-5 --config good.yaml", 1),
        ("keys create --name x", 2),
        ("keys create --user a@b.c --team t --name x", 2),
        ("frobnicate", 2),
        ("serve --port 1", 2),
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(expected), "{line}: {output:?}");
        let (full, empty) = if expected == 0 || line.contains("check") || line.contains("status") {
            (&output.stdout, &output.stderr)
        } else {
            (&output.stderr, &output.stdout)
        };
        assert!(!full.is_empty() && empty.is_empty(), "{line}: answers and complaints are apart: {output:?}");
    }
    let (_, version) = said(&run("version"));
    assert_eq!(text(&version, "version"), env!("CARGO_PKG_VERSION"));
    let (_, findings) = said(&run("config check --config bad.yaml"));
    let finding = &findings["diagnostics"][0];
    assert_eq!((&finding["place"]["line"], text(finding, "label")), (&json!(2), "did you mean `providers`?"));
}

#[test]
fn config_show_names_origins_and_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = "version: 1\nproviders: { openai: { kind: openai, api_key: \"${K}\" } }\n";
    std::fs::write(folder.path().join("gateway.yaml"), file).unwrap();
    let mut show = command(folder.path());
    show.args(["config", "show", "--origin"]).env("K", "sk-canary").env("HELIX__SERVER__LISTEN", "127.0.0.1:18080");
    let output = show.output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sk-canary"));
    let (_, shown) = said(&output);
    let row = |key: &str| {
        let found = shown.as_array().unwrap().iter().find(|row| row["key"] == key);
        found.unwrap_or_else(|| panic!("no {key}")).clone()
    };
    let listen = row("server.listen");
    assert_eq!(
        (text(&listen, "value"), text(&listen["origin"], "variable")),
        ("127.0.0.1:18080", "HELIX__SERVER__LISTEN")
    );
    let key = row("providers.openai.api_key");
    assert_eq!((text(&key, "value"), &key["origin"]["line"]), ("[redacted]", &json!(2)));
    assert_eq!(row("server.ops_listen")["origin"]["kind"], "default");
}

#[test]
fn completion_scripts_know_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = command(folder.path()).args(["completion", shell]).output().unwrap();
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && script.contains("control-plane") && script.contains("revoke"), "{shell}");
    }
}

#[test]
fn a_public_address_waits_for_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let public = "version: 1\nserver: { listen: \"0.0.0.0:0\", ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:0 }\n";
    std::fs::write(folder.path().join("gateway.yaml"), public).unwrap();
    let refused = command(folder.path()).arg("serve").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("helixgateway admin create"), "{refused:?}");

    let made = command(folder.path()).args(["admin", "create", "--email", "root@corp.example"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let gateway = Gateway::start(folder.path(), "serve");
    assert_eq!(gateway.started["setupLink"], Value::Null);
}

fn stages(answer: &Value) -> Vec<&str> {
    let stages = answer["trace"]["stages"].as_array().unwrap_or_else(|| panic!("no trace: {answer}"));
    stages.iter().map(|stage| text(stage, "stage")).collect()
}

fn token_of(link: &str) -> String {
    link.split_once("token=").unwrap_or_else(|| panic!("no token in {link}")).1.to_owned()
}

async fn claim(client: &Client, gateway: &Gateway, token: &str, email: &str) -> Answer {
    let form = format!("token={token}&email={email}&name=");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    client.post(&format!("{}/setup", gateway.url()), &headers, form).await
}

/// The key that a page shows.
fn key_on(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("hx_p_").unwrap_or_else(|| panic!("no key on {text}"));
    let random = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    format!("hx_p_{}", random.collect::<String>())
}

#[test]
fn administration_works_in_a_shell_whose_base_url_is_the_gateway_and_only_what_calls_providers_minds() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let clients = [("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"), ("OPENAI_API_KEY", "hx_p_of-a-client")];
        command(folder.path()).args(arguments).envs(clients).output().unwrap()
    };
    let (code, made) = said(&run(&["admin", "create", "--email", "ada@corp.example"]));
    assert_eq!(code, 0, "{made}");
    let (code, made) = said(&run(&["keys", "create", "--user", "ada@corp.example", "--name", "laptop"]));
    assert_eq!(code, 0, "{made}");
    for role in ["serve", "doctor"] {
        let output = run(&[role]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("E0208") && complaint.contains("OPENAI_BASE_URL"), "{complaint}");
    }
}
