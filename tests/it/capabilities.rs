//! What the catalogue knows that a model cannot do is said before it costs anything, in the caller's dialect.

use crate::first_request;
use crate::support::world::World;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// One model that only writes, and one that does everything, behind it for `either`.
fn yaml(provider: &str) -> String {
    let own =
        format!("providers:\n  deepseek: {{ kind: deepseek, base_url: \"{provider}/v1\", api_key: sk-canary-ds }}\n");
    first_request::yaml(provider)
        .replacen("providers:\n", &own, 1)
        .replace("\"text-*\"", "\"text-*\", \"plain\", \"either\"")
        + r#"
models:
  - { match: plain, backends: [{ provider: deepseek, model: deepseek-v4-pro }] }
  - { match: either, backends: [{ provider: deepseek, model: deepseek-v4-pro }, { provider: openai, model: gpt-5-mini }] }
  - { match: "gpt-*", backends: [openai] }
  - { match: "claude-*", backends: [anthropic] }
"#
}

fn picture() -> Value {
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } });
    json!([{ "role": "user", "content": [{ "type": "text", "text": "What is it?" }, image] }])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_for_a_model_that_sees_nothing_is_refused_or_goes_to_one_that_does() {
    let world = World::start(yaml);
    let ask = |model: &str| json!({ "model": model, "messages": picture(), "max_tokens": 50 });
    let answer = world.ask(CHAT, &ask("plain")).await;
    assert_eq!(
        (answer.status, answer.header("x-helix-error-code")),
        (400, "unsupported_by_model"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("takes no images"), "{}", answer.text());
    let answer = world.ask(CHAT, &ask("either")).await;
    assert_eq!((answer.status, answer.header("x-helix-model")), (200, "gpt-5-mini"), "{}", answer.text());
    assert_eq!(world.provider.bill.settled().await.len(), 1);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_answer_than_the_model_writes_is_refused_in_both_dialects() {
    let world = World::start(yaml);
    let chat = json!({ "model": "gpt-5-mini", "max_completion_tokens": 900_000, "messages": [{ "role": "user", "content": "hi" }] });
    let answer = world.ask(CHAT, &chat).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (400, &json!("unsupported_by_model")),
        "{}",
        answer.text()
    );
    let messages = json!({ "model": "claude-haiku-4-5", "max_tokens": 900_000, "messages": [{ "role": "user", "content": "hi" }] });
    let answer = world.ask("/v1/messages", &messages).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (400, &json!("invalid_request_error")),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("at most"), "{}", answer.text());
    assert!(world.provider.bill.settled().await.is_empty());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_far_beyond_the_context_is_refused_as_clients_know_it() {
    let world = World::start(yaml);
    let text = "word ".repeat(1_600_000);
    let chat = json!({ "model": "gpt-5-mini", "max_completion_tokens": 50, "messages": [{ "role": "user", "content": text }] });
    let answer = world.ask(CHAT, &chat).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (400, &json!("context_length_exceeded")),
        "{}",
        answer.text()
    );
    assert!(world.provider.bill.settled().await.is_empty());
    world.verify(1);
}
