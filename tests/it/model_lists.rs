//! Allow and deny lists of models: no other name for a model, and no other spelling, gets around them.

use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::world::World;
use serde_json::{Value, json};

/// A file with one team's lists, and routes.
fn yaml(provider: &str, lists: &str, models: &str) -> String {
    format!(
        r#"
providers:
  openai: {{ kind: openai, base_url: "{provider}/v1", api_key: sk-canary-openai }}
  anthropic: {{ kind: anthropic, base_url: "{provider}", api_key: sk-canary-anthropic }}
  local: {{ kind: ollama, base_url: "{provider}", api_key: sk-canary-ollama }}
{models}
teams: {{ engineering: {{ models: {{ {lists} }} }} }}
users: [ {{ email: jane@corp.example, teams: [engineering] }} ]
keys: [ {{ name: ci, user: jane@corp.example, secret: "{KEY}" }} ]
"#
    )
}

async fn ask(world: &World, model: &str) -> Answer {
    let said = json!([{ "role": "user", "content": "Say hello." }]);
    let (path, cap) =
        if model.contains("claude") { ("/v1/messages", "max_tokens") } else { ("/v1/chat/completions", "max_tokens") };
    world.ask(path, &json!({ "model": model, cap: 16, "messages": said })).await
}

async fn assert_denied(world: &World, model: &str, pattern: &str) {
    let answer = ask(world, model).await;
    let told = (answer.status, answer.header("x-helix-error-code"));
    assert_eq!(told, (403, "model_access_denied"), "{model}: {}", answer.text());
    assert!(answer.text().contains(&format!("`{pattern}`")), "{model}: {}", answer.text());
    let one = format!("/v1/models/{}", model.replace('/', "%2F"));
    let listed = world.client.get(&world.url(&one), &[("x-api-key", KEY)]).await;
    assert_eq!(listed.status, 403, "{model}: {}", listed.text());
}

async fn listed(world: &World) -> Vec<String> {
    let list: Value = world.client.get(&world.url("/v1/models"), &[("x-api-key", KEY)]).await.json();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_model_is_denied_under_the_name_of_a_backend_and_in_capitals() {
    let lists = r#"allow: ["*"], deny: ["claude-opus-*", "qwen3-coder*"]"#;
    let world = World::start(|provider| yaml(provider, lists, ""));
    for (model, pattern) in [
        ("claude-opus-4-5", "claude-opus-*"),
        ("Claude-Opus-4-5", "claude-opus-*"),
        ("anthropic/claude-opus-4-5", "claude-opus-*"),
        ("anthropic/CLAUDE-opus-4-5", "claude-opus-*"),
        ("local/claude-opus-4-5", "claude-opus-*"),
        ("Qwen3-Coder:480b", "qwen3-coder*"),
        ("local/Qwen3-Coder:480b", "qwen3-coder*"),
        ("local/Qwen/Qwen3-Coder", "qwen3-coder*"),
    ] {
        assert_denied(&world, model, pattern).await;
    }
    assert_eq!(world.provider.bill.settled().await.len(), 0, "nothing of it reached a provider");
    let allowed = ["claude-haiku-4-5", "anthropic/claude-haiku-4-5", "openai/gpt-5-mini", "Qwen3:8b", "local/qwen3:8b"];
    for model in allowed {
        let answer = ask(&world, model).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    }
    let names = listed(&world).await;
    assert!(names.iter().any(|name| name.starts_with("claude-haiku")), "{names:?}");
    assert!(!names.iter().any(|name| name.to_lowercase().contains("claude-opus")), "{names:?}");
    world.verify(8 + allowed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_allowed_by_its_own_name_and_denied_by_what_it_stands_for() {
    let models = r#"models:
  - { match: fast, backends: [ { provider: openai, model: gpt-5-mini } ] }
  - { match: smart, backends: [ { provider: openai, model: gpt-5-mini }, { provider: anthropic, model: claude-opus-4-5 } ] }"#;
    for (lists, denied) in [
        (r#"allow: [fast, smart]"#, None),
        (r#"allow: [fast, smart], deny: ["*"]"#, None),
        (r#"allow: [fast, smart], deny: ["claude-opus-*"]"#, Some("claude-opus-*")),
        (r#"deny: ["CLAUDE-*"]"#, Some("CLAUDE-*")),
    ] {
        let world = World::start(|provider| yaml(provider, lists, models));
        assert_eq!(ask(&world, "fast").await.status, 200, "{lists}");
        match denied {
            Some(pattern) => {
                assert_denied(&world, "smart", pattern).await;
                assert_eq!(listed(&world).await, ["fast"]);
            }
            None => {
                assert_eq!(ask(&world, "smart").await.status, 200, "{lists}");
                assert_eq!(listed(&world).await, ["fast", "smart"]);
            }
        }
        world.verify(2);
    }
}
