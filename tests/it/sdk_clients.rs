//! The official SDKs of OpenAI and Anthropic, in Python and Node, unmodified, pointed at the gateway by their usual variable.
//!
//! Rule: the clients are the real ones; where they cannot be installed the test says so loudly, and fails where
//! `HELIX_TEST_REQUIRE_CLIENTS=1` (as under `./test`).

use crate::embeddings;
use crate::first_request;
use crate::support::clients::{Part, set_up, tests_folder};
use crate::support::gateway::KEY;
use crate::support::world::World;
use serde_json::Value;
use tokio::process::Command;

const BROKE_KEY: &str = "hx_p_broke0123456789abcdefghijklmnopqrstu";

/// The usual file with a user whose budget affords nothing, and a model that is denied.
fn yaml(provider: &str) -> String {
    let key = format!("keys:\n  - {{ name: broke, user: joe@corp.example, secret: \"{BROKE_KEY}\" }}\n");
    let user = "users:\n  - { email: joe@corp.example, name: Joe, teams: [engineering] }\n";
    let budget =
        "budgets:\n  - { scope: \"user:joe@corp.example\", limit_usd: \"0.000001\", period: monthly, mode: hard }\n";
    let yaml = first_request::yaml(provider).replace("\"text-*\"", "\"text-*\", \"tts-*\", \"whisper-*\"");
    yaml.replace("keys:\n", &key).replace("users:\n", user).replace("budgets:\n", budget)
}

/// The same, with each model at the other company: every conversation is translated, both ways.
fn crossed(provider: &str) -> String {
    yaml(provider)
        + r#"
models:
  - { match: gpt-5-mini, backends: [{ provider: anthropic, model: claude-haiku-4-5 }] }
  - { match: claude-haiku-4-5, backends: [{ provider: openai, model: gpt-5-mini }] }
  - { match: "text-*", backends: [openai] }
  - { match: "gpt-image-*", backends: [openai] }
  - { match: "tts-*", backends: [openai] }
  - { match: "whisper-*", backends: [openai] }
  - { match: "*-preview", backends: [openai] }
"#
}

/// The same, with both models at Vertex AI: OpenAI's client at Gemini, Anthropic's at Claude as Google hosts it.
fn hosted(provider: &str) -> String {
    let vertex = format!(
        "providers:\n  vertex: {{ kind: vertex, project: fake-project, region: global, base_url: \"{provider}\", credentials_file: google.json }}"
    );
    yaml(provider).replacen("providers:", &vertex, 1)
        + r#"
models:
  - { match: gpt-5-mini, backends: [{ provider: vertex, model: gemini-2.5-flash }] }
  - { match: claude-haiku-4-5, backends: [{ provider: vertex, model: "claude-sonnet-4-5@20250929" }] }
  - { match: "text-*", backends: [openai] }
  - { match: "gpt-image-*", backends: [openai] }
  - { match: "tts-*", backends: [openai] }
  - { match: "whisper-*", backends: [openai] }
  - { match: "*-preview", backends: [openai] }
"#
}

/// Runs every scenario of a language through the gateway, and proves that what they cost is what the provider billed.
async fn run(part: Part, yaml: fn(&str) -> String, further: &[&str]) {
    let Some(_) = set_up(part) else { return };
    let world = World::start(yaml);
    std::fs::write(world.folder.path().join("google.json"), world.provider.service_account()).unwrap();
    let output = Command::new(tests_folder().join("clients/run"))
        .env("LANGUAGES", part.name())
        .args([
            world.gateway.url().as_str(),
            KEY,
            "--missing-model",
            "no-such-model",
            "--denied-model",
            "gpt-5-preview",
        ])
        .args(["--bad-key", "hx_p_unknown", "--broke-key", BROKE_KEY])
        .args(further)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let scenarios: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = scenarios.iter().filter(|scenario| scenario["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{stderr}");
    assert!(output.status.success(), "{stderr}");
    assert!(scenarios.len() >= 20, "{stdout}");
    let detail = |name: &str| {
        let name = format!("{}.{name}", part.name());
        let found = scenarios.iter().find(|scenario| scenario["name"] == name.as_str());
        found.unwrap_or_else(|| panic!("no {name}: {stdout}"))["detail"].as_str().unwrap().to_owned()
    };
    for dialect in ["openai", "anthropic"] {
        let message = detail(&format!("{dialect}.budget"));
        assert!(message.contains("joe@corp.example") && message.contains("0.000001"), "{message}");
    }
    let entries = world.provider.bill.settled().await;
    let ids: Vec<_> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        let billed = i64::try_from(entry.cost_nano_usd).unwrap();
        assert_eq!((record.cost.get(), record.basis.as_str()), (billed, "exact"), "{entry:?}");
    }
    // Refusals have records, too: two budgets, a key, a missing and a denied model, in two dialects.
    // So has a count of tokens that the gateway estimated, because no backend of the model counts.
    // What a provider keeps is read, listed (in Python) and deleted beside the bill, and looked for once more.
    let is_translated = further.contains(&"--translated");
    let kept = match part {
        _ if is_translated || further.contains(&"--stateless") => 0,
        Part::Python => 4,
        _ => 3,
    };
    world.verify(entries.len() + 10 + kept + usize::from(is_translated));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdks_work_unmodified() {
    run(Part::Python, yaml, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdks_work_unmodified() {
    run(Part::Node, yaml, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdks_work_unmodified_when_each_model_is_at_the_other_company() {
    run(Part::Python, crossed, &["--translated"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdks_work_unmodified_when_each_model_is_at_the_other_company() {
    run(Part::Node, crossed, &["--translated"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdks_work_unmodified_with_models_at_vertex() {
    run(Part::Python, hosted, &["--stateless"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdks_work_unmodified_with_models_at_vertex() {
    run(Part::Node, hosted, &["--stateless"]).await;
}

/// Each backend's embeddings, as numbers and as the SDKs' own base64; the bills of all calls agree.
async fn embed(part: Part) {
    let Some(_) = set_up(part) else { return };
    let world = embeddings::world();
    for model in ["text-titan", "text-gemini", "text-vertex", "text-ollama", "text-together"] {
        let output = Command::new(tests_folder().join("clients/run"))
            .env("LANGUAGES", part.name())
            .args([world.gateway.url().as_str(), KEY, "--embedding-model", model, "openai.embeddings"])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stdout.lines().count() == 1, "{model}: {stdout}{stderr}");
    }
    let mut billed = std::collections::BTreeMap::<String, i64>::new();
    for entry in world.provider.bill.settled().await {
        assert!(entry.priced && entry.status == 200, "{entry:?}");
        *billed.entry(entry.request_id.unwrap()).or_default() += i64::try_from(entry.cost_nano_usd).unwrap();
    }
    for (id, cost) in &billed {
        let record = world.record(id).await;
        assert_eq!((record.cost.get(), record.basis.as_str()), (*cost, "exact"), "{record:?}");
    }
    assert_eq!(billed.len(), 10);
    world.verify(10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_reads_the_embeddings_of_every_kind_of_backend() {
    embed(Part::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdk_reads_the_embeddings_of_every_kind_of_backend() {
    embed(Part::Node).await;
}
