//! What the catalogue knows that a model cannot do is said before it costs anything, in the caller's dialect.

use crate::first_request;
use crate::support::raw::RawUpstream;
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

/// A gateway in front of a server that answers anything and keeps what it was sent; a route of its own may be strict.
async fn kept(params: &'static str) -> (World, RawUpstream) {
    let answers = json!({ "id": "x", "object": "chat.completion", "model": "m", "choices": [], "data": [
        { "object": "embedding", "index": 0, "embedding": [0.5] } ] });
    let upstream =
        RawUpstream::with_body("200 OK", "content-type: application/json\r\n", answers.to_string().as_bytes()).await;
    let url = upstream.url.clone();
    let world = World::start(|_| {
        let own =
            format!("providers:\n  mistral: {{ kind: mistral, base_url: \"{url}/v1\", api_key: sk-canary-mistral }}\n");
        let routes = [
            ("gpt-5-mini", "openai"),
            ("gpt-4o", "openai"),
            ("claude-opus-5-5", "anthropic"),
            ("claude-sonnet-4-6", "anthropic"),
            ("mistral-large-4", "mistral"),
            ("mistral-embed", "mistral"),
        ];
        let routes =
            routes.map(|(model, provider)| format!("  - {{ match: {model}{params}, backends: [{provider}] }}\n"));
        first_request::yaml(&url).replacen("providers:\n", &own, 1).replace("\"text-*\"", "\"text-*\", \"mistral-*\"")
            + "models:\n"
            + &routes.concat()
    });
    (world, upstream)
}

fn last_body(upstream: &RawUpstream) -> Value {
    serde_json::from_slice(&upstream.received().last().unwrap().body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn t22_t25_what_a_model_refuses_is_left_out_and_named_also_where_nothing_is_translated() {
    let (world, upstream) = kept("").await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let tools = json!([{ "name": "f", "input_schema": { "type": "object" } }]);
    let claude = |model: &str| {
        json!({ "model": model, "max_tokens": 50, "temperature": 0.2, "top_k": 5, "tools": tools, "messages": messages,
            "tool_choice": { "type": "any", "disable_parallel_tool_use": true } })
    };
    let gpt =
        |model: &str, temperature: Value| json!({ "model": model, "temperature": temperature, "messages": messages });
    let auto = json!({ "type": "auto", "disable_parallel_tool_use": true });
    let any = json!({ "type": "any", "disable_parallel_tool_use": true });
    for (path, request, dropped, left) in [
        ("/v1/messages", claude("claude-opus-5-5"), "temperature,tool_choice,top_k", json!([null, null, auto])),
        ("/v1/messages", claude("claude-sonnet-4-6"), "", json!([0.2, 5, any])),
        (CHAT, gpt("gpt-5-mini", json!(0.5)), "temperature", json!([null, null, null])),
        // The default is no wish.
        (CHAT, gpt("gpt-5-mini", json!(1)), "", json!([1, null, null])),
        (CHAT, gpt("gpt-4o", json!(0.5)), "", json!([0.5, null, null])),
    ] {
        let answer = world.ask(path, &request).await;
        assert_eq!((answer.status, answer.header("x-helix-dropped-params")), (200, dropped), "{request}");
        let sent = last_body(&upstream);
        assert_eq!(json!([sent["temperature"], sent["top_k"], sent["tool_choice"]]), left, "{sent}");
        assert_eq!(sent["messages"], messages);
    }
    world.verify(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn t22_t25_a_strict_route_refuses_what_the_model_would_and_nothing_goes_upstream() {
    let (world, upstream) = kept(", params: strict").await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let chat = json!({ "model": "gpt-5-mini", "top_p": 0.5, "messages": messages });
    let answer = world.ask(CHAT, &chat).await;
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status, &error["code"], &error["param"]),
        (400, &json!("unsupported_by_model"), &json!("top_p")),
        "{error}"
    );
    let claude = json!({ "model": "claude-opus-5-5", "max_tokens": 50, "temperature": 1, "messages": messages });
    let answer = world.ask("/v1/messages", &claude).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["type"]), (400, &json!("invalid_request_error")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("refuses `temperature`"), "{error}");
    assert!(upstream.received().is_empty());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_goes_under_the_name_that_the_model_or_its_provider_knows() {
    let (world, upstream) = kept("").await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    for (model, given, sent) in [
        ("gpt-5-mini", "max_tokens", "max_completion_tokens"),
        ("gpt-4o", "max_tokens", "max_tokens"),
        ("mistral-large-4", "max_completion_tokens", "max_tokens"),
        ("mistral-large-4", "max_tokens", "max_tokens"),
    ] {
        let answer = world.ask(CHAT, &json!({ "model": model, given: 77, "messages": messages })).await;
        assert_eq!((answer.status, answer.header("x-helix-dropped-params")), (200, ""), "{}", answer.text());
        let body = last_body(&upstream);
        assert_eq!((&body[sent], body.as_object().unwrap().len()), (&json!(77), 3), "{model}: {body}");
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistral_is_not_sent_the_name_of_a_user_which_it_refuses() {
    let (world, upstream) = kept("").await;
    let chat = json!({ "model": "mistral-large-4", "user": "jane", "messages": [{ "role": "user", "content": "hi" }] });
    let embeddings = json!({ "model": "mistral-embed", "user": "jane", "input": "hi" });
    for (path, request) in [(CHAT, chat), ("/v1/embeddings", embeddings)] {
        let answer = world.ask(path, &request).await;
        assert_eq!((answer.status, answer.header("x-helix-dropped-params")), (200, "user"), "{}", answer.text());
        assert!(last_body(&upstream).get("user").is_none());
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_for_a_model_that_hears_nothing_is_refused() {
    let (world, upstream) = kept("").await;
    let sound = json!({ "type": "input_audio", "input_audio": { "data": "UklGRg==", "format": "wav" } });
    let chat = json!({ "model": "gpt-4o", "max_tokens": 50, "messages": [{ "role": "user", "content": [sound] }] });
    let answer = world.ask(CHAT, &chat).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unsupported_by_model"));
    assert!(answer.text().contains("takes no sound"), "{}", answer.text());
    assert!(upstream.received().is_empty());
    world.verify(1);
}
