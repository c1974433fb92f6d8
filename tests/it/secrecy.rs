//! Canaries in every secret and in every prompt: whatever goes wrong, none of them turns up where it must not.

use crate::support::client::{Answer, Client};
use crate::support::fleet::JOIN_TOKEN;
use crate::support::gateway::Gateway;
use crate::support::patience::until;
use helix_fake_provider::{FakeProvider, Running};
use http::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const KEY: &str = "hx_p_canarykeycanarykeycanarykey00001";
const POOR_KEY: &str = "hx_t_canarypoorcanarypoorcanarypoor02";
const EXPIRED_KEY: &str = "hx_p_canaryoldcanaryoldcanaryold00003";
const STRANGE_KEY: &str = "hx_p_canarystrangecanarystrange000004";
const FOREIGN_KEY: &str = "sk-canary-foreign-0123456789abcdefghijkl";
const PROVIDER_KEY: &str = "sk-canary-openai-0123456789abcdefghijkl";
const REFUSED_PROVIDER_KEY: &str = "bad-canary-openai-0123456789abcdefghijk";
const ANTHROPIC_KEY: &str = "sk-ant-canary-0123456789abcdefghijklmno";
const MASTER_KEY: &str = "ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a7ca4a";
const STATE_KEY: &str = "canary-state-key-0123456789abcdef";
const PROMPT: &str = "canary-prompt-violets-are-blue";
const COMPLETION: &str = "canary-completion-roses-are-red";

const NOWHERE: [&str; 13] = [
    KEY,
    POOR_KEY,
    EXPIRED_KEY,
    STRANGE_KEY,
    FOREIGN_KEY,
    PROVIDER_KEY,
    REFUSED_PROVIDER_KEY,
    ANTHROPIC_KEY,
    MASTER_KEY,
    STATE_KEY,
    JOIN_TOKEN,
    PROMPT,
    COMPLETION,
];

/// Two processes, their secrets in files of a folder of their own.
struct Stage {
    provider: Running,
    control: Gateway,
    plane: Gateway,
    client: Client,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let provider = FakeProvider::new().with_script(json!({ "text": COMPLETION }));
        let provider = provider.run("127.0.0.1:0".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = |name: &str, value: &str| {
            let path = folder.path().join("secrets").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, value).unwrap();
            format!("\"${{file:{}}}\"", path.display())
        };
        let start = |role: &'static str, yaml: String| {
            let home = folder.path().join(role);
            std::fs::create_dir_all(&home).unwrap();
            std::fs::write(home.join("gateway.yaml"), yaml).unwrap();
            Gateway::start(&home, role)
        };
        let control = start("control-plane", control_yaml(&provider.url(), &secret));
        let plane = start("data-plane", data_yaml(&control.plane_url(), &secret));
        let stage = Self { provider, control, plane, client: Client::new(), folder };
        let ready = format!("{}/healthz/ready", stage.plane.ops_url());
        until("ready", async || (stage.client.get(&ready, &[]).await.status == 200).then_some(())).await;
        stage
    }

    async fn send(&self, method: Method, path: &str, key: &str, body: String) -> Answer {
        let bearer = format!("Bearer {key}");
        let url = format!("{}{path}", self.plane.url());
        self.client.send(method, &url, &[("authorization", &bearer)], body.into()).await
    }

    async fn chat(&self, key: &str, model: &str, script: Value) -> Answer {
        self.send(Method::POST, "/v1/chat/completions", key, chat(model, &script).to_string()).await
    }
}

fn control_yaml(provider: &str, secret: &dyn Fn(&str, &str) -> String) -> String {
    let (openai, refused) = (secret("openai", PROVIDER_KEY), secret("refused", REFUSED_PROVIDER_KEY));
    let (anthropic, master) = (secret("anthropic", ANTHROPIC_KEY), secret("master", MASTER_KEY));
    let (key, poor, expired) = (secret("key", KEY), secret("poor", POOR_KEY), secret("expired", EXPIRED_KEY));
    let join = secret("join", JOIN_TOKEN);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!(
        r#"
version: 1
server: {{ listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:0, limits: {{ body_mb: 1 }} }}
plane: {{ join_token: {join} }}
secrets: {{ master_key: {master} }}
logging: {{ level: debug }}
providers:
  openai: {{ kind: openai, base_url: "{provider}/v1", api_key: {openai}, timeout: {{ first_byte: 500ms }} }}
  refused: {{ kind: openai, base_url: "{provider}/v1", api_key: {refused} }}
  away: {{ kind: openai, base_url: "http://{unused}/v1", api_key: {openai} }}
  anthropic: {{ kind: anthropic, base_url: "{provider}", api_key: {anthropic} }}
models:
  - {{ match: "gpt-*", backends: [openai] }}
  - {{ match: "text-*", backends: [openai] }}
  - {{ match: "claude-*", backends: [anthropic] }}
  - {{ match: gpt-refused, backends: [{{ provider: refused, model: gpt-5-mini }}] }}
  - {{ match: gpt-away, backends: [{{ provider: away, model: gpt-5-mini }}] }}
teams:
  rich: {{ models: {{ allow: ["*"], deny: ["*-preview"] }} }}
  poor: {{}}
users:
  - {{ email: jane@corp.example, name: Jane, teams: [rich], roles: [member] }}
keys:
  - {{ name: key, user: jane@corp.example, secret: {key} }}
  - {{ name: poor, team: poor, secret: {poor} }}
  - {{ name: expired, user: jane@corp.example, secret: {expired}, expires_at: 2020-01-01T00:00:00Z }}
budgets:
  - {{ scope: "team:rich", limit_usd: "500", period: monthly, mode: hard }}
  - {{ scope: "team:poor", limit_usd: "0.000000001", period: monthly, mode: hard }}
"#
    )
}

fn data_yaml(control: &str, secret: &dyn Fn(&str, &str) -> String) -> String {
    let (join, state) = (secret("join", JOIN_TOKEN), secret("state", STATE_KEY));
    format!(
        "version: 1\nserver: {{ listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0 }}\nlogging: {{ level: debug }}\n\
         control_plane: {{ url: \"{control}\", join_token: {join} }}\nsecrets: {{ state_key: {state} }}\n"
    )
}

fn chat(model: &str, script: &Value) -> Value {
    let prompt = format!("{PROMPT} [[fake:{script}]]");
    json!({ "model": model, "max_completion_tokens": 60, "messages": [{ "role": "user", "content": prompt }] })
}

/// Everything that can go wrong with one request, and the codes that it leads to. An empty code: the provider's answer.
async fn failures(stage: &Stage) -> Vec<(&'static str, Answer)> {
    let ok = json!({});
    let text = |path: &'static str, body: String| stage.send(Method::POST, path, KEY, body);
    let scripted = async |script: Value| stage.chat(KEY, "gpt-5-mini", script).await;
    let mut wrong_type = chat("gpt-5-mini", &ok);
    wrong_type["max_completion_tokens"] = json!(PROMPT);
    let mut unbounded = chat("gpt-unpriced", &ok);
    unbounded["n"] = json!(1);
    let url = format!("{}/v1/chat/completions", stage.plane.url());
    let two_keys = [("authorization", &*format!("Bearer {KEY}")), ("x-api-key", STRANGE_KEY)];
    let anthropic = json!({ "model": "claude-haiku-4-5", "max_tokens": 50,
        "messages": [{ "role": "user", "content": format!("{PROMPT} [[fake:{{\"status\":529}}]]") }] });
    vec![
        ("invalid_api_key", stage.chat(STRANGE_KEY, "gpt-5-mini", ok.clone()).await),
        ("invalid_api_key", stage.chat(FOREIGN_KEY, "gpt-5-mini", ok.clone()).await),
        ("invalid_api_key", stage.client.post(&url, &[], chat("gpt-5-mini", &ok).to_string()).await),
        ("expired_api_key", stage.chat(EXPIRED_KEY, "gpt-5-mini", ok.clone()).await),
        ("conflicting_credentials", stage.client.post(&url, &two_keys, chat("gpt-5-mini", &ok).to_string()).await),
        ("invalid_json", text("/v1/chat/completions", format!("{{\"model\": \"{PROMPT}")).await),
        ("invalid_request", text("/v1/chat/completions", json!({ "messages": [PROMPT] }).to_string()).await),
        ("invalid_request", text("/v1/chat/completions", wrong_type.to_string()).await),
        ("request_too_large", text("/v1/chat/completions", PROMPT.repeat(60_000)).await),
        ("model_not_found", stage.chat(KEY, "nobody-has-this", ok.clone()).await),
        ("model_access_denied", stage.chat(KEY, "gpt-5-preview", ok.clone()).await),
        ("unpriced_model", text("/v1/chat/completions", unbounded.to_string()).await),
        ("budget_exceeded", stage.chat(POOR_KEY, "gpt-5-mini", ok.clone()).await),
        ("unknown_path", text("/v1/nothing", PROMPT.to_owned()).await),
        ("method_not_allowed", stage.send(Method::PUT, "/v1/chat/completions", KEY, PROMPT.to_owned()).await),
        ("upstream_credential", stage.chat(KEY, "gpt-refused", ok.clone()).await),
        ("upstream_unreachable", stage.chat(KEY, "gpt-away", ok.clone()).await),
        ("upstream_timeout", scripted(json!({ "hang": true })).await),
        ("", scripted(json!({ "status": 400 })).await),
        ("", scripted(json!({ "status": 429 })).await),
        ("", scripted(json!({ "status": 500 })).await),
        ("", scripted(json!({ "reset": true })).await),
        ("", scripted(json!({ "raw_body": "<html>not JSON" })).await),
        ("", text("/v1/messages", anthropic.to_string()).await),
    ]
}

/// Answers that break off or come whole: not looked at for the completion they carry.
async fn conversations(stage: &Stage) {
    let stream = async |script: Value| {
        let mut body = chat("gpt-5-mini", &script);
        body["stream"] = json!(true);
        stage.send(Method::POST, "/v1/chat/completions", KEY, body.to_string()).await
    };
    let whole = stage.chat(KEY, "gpt-5-mini", json!({})).await;
    assert!(whole.status == 200 && whole.text().contains(COMPLETION), "{}", whole.text());
    assert!(stream(json!({})).await.is_whole);
    for script in [
        json!({ "cut_after_chunks": 1 }),
        json!({ "cut_at_byte": 100, "cut_rst": true }),
        json!({ "error_midstream": 1 }),
        json!({ "no_usage": true }),
    ] {
        assert_eq!(stream(script).await.status, 200);
    }
    stage.chat(KEY, "gpt-5-mini", json!({ "cut_at_byte": 40 })).await;
}

fn assert_absent(text: &[u8], place: &str) {
    for canary in NOWHERE {
        assert!(memchr::memmem::find(text, canary.as_bytes()).is_none(), "{canary} in {place}");
    }
}

/// Every file below a folder but the one a person wrote.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if !path.ends_with("gateway.yaml") {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_prompt_turns_up_whatever_goes_wrong() {
    let mut stage = Stage::set().await;
    for (code, answer) in failures(&stage).await {
        let text = answer.text();
        assert!(answer.status != 200 || text.starts_with("<html>"), "{code}: {text}");
        if !code.is_empty() {
            assert_eq!(answer.header("x-helix-error-code"), code, "{text}");
        }
        assert_absent(text.as_bytes(), &format!("the answer {code} {text}"));
        assert_absent(format!("{:?}", answer.headers).as_bytes(), &format!("the headers of {code}"));
    }
    conversations(&stage).await;
    let made = stage.control.command(&[
        "keys",
        "create",
        "--config",
        "gateway.yaml",
        "--user",
        "jane@corp.example",
        "--name",
        "made",
        "--json",
    ]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let made = made["key"].as_str().unwrap().to_owned();
    until("the new key works", async || (stage.chat(&made, "gpt-5-mini", json!({})).await.status == 200).then_some(()))
        .await;
    let shown = stage.control.command(&["config", "show", "--origin", "--config", "gateway.yaml"]);
    assert!(shown.status.success());
    assert_absent(&[shown.stdout, shown.stderr].concat(), "config show");
    let metrics = stage.client.get(&format!("{}/metrics", stage.plane.ops_url()), &[]).await;
    assert_absent(&metrics.body, "the metrics");

    // Once as a crash leaves it, with a journal on disk; once as an orderly end does.
    for round in ["killed", "stopped"] {
        if round == "killed" {
            stage.plane.kill();
        } else {
            assert!(stage.plane.stop() && stage.control.stop());
        }
        let mut found = Vec::new();
        for home in ["control-plane", "data-plane"] {
            files(&stage.folder.path().join(home), &mut found);
        }
        let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
        for expected in ["helix.db", "last-good.sealed", "journal"] {
            assert!(round == "stopped" || names.iter().any(|name| name.contains(expected)), "{expected}: {names:?}");
        }
        // The search would find them: it finds what may be there.
        let holds = |text: &str| {
            found.iter().any(|path| memchr::memmem::find(&std::fs::read(path).unwrap(), text.as_bytes()).is_some())
        };
        assert!(holds("jane@corp.example") && holds("gpt-5-mini"), "{names:?}");
        for path in &found {
            let bytes = std::fs::read(path).unwrap();
            let place = format!("{} ({round})", path.display());
            assert_absent(&bytes, &place);
            assert!(memchr::memmem::find(&bytes, made.as_bytes()).is_none(), "a made key in {place}");
        }
        if round == "killed" {
            stage.plane.run();
        }
    }
    for (name, process) in [("control plane", &mut stage.control), ("data plane", &mut stage.plane)] {
        let said = process.started.to_string() + &process.finish_and_read();
        assert!(said.lines().count() > 3, "{said}");
        assert_absent(said.as_bytes(), &format!("what the {name} said"));
        assert!(!said.contains(&made), "a made key in what the {name} said");
    }
    assert!(stage.provider.bill.settled().await.len() > 10, "most requests reached the provider");
}
