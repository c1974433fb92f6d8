//! A client of one dialect, a backend of the other: what crosses, what is said about what does not, and what it costs.
//!
//! Rule: the gateway runs as a process and the provider is scripted; what each dialect's words mean is proven in `helix-llm`.

use crate::first_request;
use crate::support::world::{World, chat, messages, reserved_nano_usd, streamed};
use helix_shared::record::Record;
use serde_json::{Value, json};

/// Each model at the other company.
fn crossed(provider: &str) -> String {
    first_request::yaml(provider)
        + r#"
models:
  - { match: gpt-5-mini, backends: [{ provider: anthropic, model: claude-haiku-4-5 }] }
  - { match: claude-haiku-4-5, backends: [{ provider: openai, model: gpt-5-mini }] }
  - { match: gpt-either, backends: [{ provider: anthropic, model: claude-haiku-4-5 }, { provider: openai, model: gpt-5-mini }] }
"#
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

fn route(record: &Record) -> &str {
    &record.stages.iter().find(|stage| stage.name == "route").unwrap().reason
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_in_the_clients_words_and_costs_what_the_provider_bills() {
    let world = World::start(crossed);
    let script = json!({ "text": "Hello there.", "input_tokens": 30, "output_tokens": 12, "cache_read": 7 });
    let answer = world.ask(CHAT, &chat(&script)).await;
    let body = answer.json();
    assert_eq!((answer.status, answer.header("x-helix-model")), (200, "claude-haiku-4-5"), "{body}");
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there.");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["prompt_tokens"], 37);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 7);
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("anthropic-")), "{:?}", answer.headers);
    let other = world.ask(MESSAGES, &messages(&script)).await;
    let body = other.json();
    assert_eq!((other.status, other.header("x-helix-model")), (200, "gpt-5-mini"), "{body}");
    assert_eq!((&body["type"], &body["stop_reason"]), (&json!("message"), &json!("end_turn")));
    assert_eq!(body["content"][0], json!({ "type": "text", "text": "Hello there." }));
    assert_eq!((&body["usage"]["input_tokens"], &body["usage"]["cache_read_input_tokens"]), (&json!(30), &json!(7)));

    let entries = world.provider.bill.settled().await;
    let ids: Vec<String> = [&answer, &other].map(|answer| answer.header("x-request-id").to_owned()).into();
    let records = world.records(&ids).await;
    for (record, entry) in records.iter().zip(&entries) {
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(entry.cost_nano_usd).unwrap(), "exact"));
    }
    assert_eq!(route(&records[0]), "backend anthropic, translated to anthropic_messages");
    assert_eq!(route(&records[1]), "backend openai, translated to openai_chat");
    assert_eq!((records[0].dialect.as_str(), records[1].dialect.as_str()), ("openai_chat", "anthropic_messages"));
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backend_does_not_get_is_named() {
    let world = World::start(crossed);
    let mut request = chat(&json!({}));
    request["logit_bias"] = json!({ "50256": -100 });
    let answer = world.ask(CHAT, &request).await;
    assert_eq!((answer.status, answer.header("x-helix-dropped-params")), (200, "logit_bias"), "{}", answer.text());
    let plain = world.ask(CHAT, &chat(&json!({}))).await;
    assert_eq!((plain.status, plain.headers.contains_key("x-helix-dropped-params")), (200, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_route_refuses_what_its_backend_would_not_get() {
    let strict = |provider: &str| crossed(provider).replace("match: gpt-5-mini,", "match: gpt-5-mini, params: strict,");
    let world = World::start(strict);
    let mut request = chat(&json!({}));
    assert_eq!(world.ask(CHAT, &request).await.status, 200);
    request["logit_bias"] = json!({ "50256": -100 });
    let refused = world.ask(CHAT, &request).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["param"]), (400, &json!("logit_bias")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("params: strict"), "{error}");
    assert_eq!(world.provider.bill.settled().await.len(), 1, "nothing more went upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_backend_can_say_is_refused_before_it_costs_and_another_backend_may_say_it() {
    let world = World::start(crossed);
    let mut request = chat(&json!({}));
    request["n"] = json!(3);
    let refused = world.ask(CHAT, &request).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["param"]), (400, &json!("n")), "{error}");
    assert_eq!(refused.header("x-helix-error-code"), "invalid_request");
    assert!(world.provider.bill.entries().is_empty(), "nothing went upstream");
    request["model"] = json!("gpt-either");
    let answer = world.ask(CHAT, &request).await;
    assert_eq!((answer.status, answer.header("x-helix-model")), (200, "gpt-5-mini"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_error_comes_in_the_clients_words() {
    let world = World::start(crossed);
    for (status, openai, anthropic) in [
        (400, (400, "invalid_request_error"), (400, "invalid_request_error")),
        (429, (429, "rate_limit_error"), (429, "rate_limit_error")),
        (500, (500, "server_error"), (500, "api_error")),
    ] {
        let script = json!({ "status": status });
        let answer = world.ask(CHAT, &chat(&script)).await;
        let error = answer.json();
        assert_eq!((answer.status, error["error"]["type"].as_str().unwrap()), openai, "{error}");
        assert!(error["error"]["message"].is_string() && error.get("type").is_none(), "{error}");
        let answer = world.ask(MESSAGES, &messages(&script)).await;
        let error = answer.json();
        assert_eq!((answer.status, error["error"]["type"].as_str().unwrap()), anthropic, "{error}");
        assert_eq!(error["type"], "error");
    }
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_in_one_error_of_the_clients_dialect_and_a_bill() {
    let world = World::start(crossed);
    let script = json!({ "chunks": 6, "cut_after_chunks": 3, "output_tokens": 30 });
    let cut = world.ask(CHAT, &streamed(chat(&script))).await;
    let text = cut.text();
    let last = events(&text).pop().unwrap();
    assert!(last["error"]["message"].is_string(), "{text}");
    assert_eq!((text.matches("\"error\"").count(), text.contains("message_start")), (1, false), "{text}");
    let cut = world.ask(MESSAGES, &streamed(messages(&script))).await;
    let text = cut.text();
    assert_eq!(events(&text).pop().unwrap()["type"], "error", "{text}");
    assert_eq!((text.matches("event: error").count(), text.matches("event: message_stop").count()), (1, 0), "{text}");
    let ids: Vec<String> =
        world.provider.bill.settled().await.iter().map(|it| it.request_id.clone().unwrap()).collect();
    for record in world.records(&ids).await {
        assert!(record.cost.get() > 0 && record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_translated_request_without_a_cap_gets_one_that_the_budget_affords() {
    let tight = |provider: &str| crossed(provider).replace("limit_usd: \"25\"", "limit_usd: \"0.02\"");
    let world = World::start(tight);
    let mut request = chat(&json!({ "output_tokens": 10 }));
    request.as_object_mut().unwrap().remove("max_completion_tokens");
    let answer = world.ask(CHAT, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let clamped: u64 = answer.header("x-helix-budget-clamped").parse().unwrap();
    assert!((256..64_000).contains(&clamped), "{clamped}");
    let sent = world.provider.bill.settled().await;
    assert_eq!(sent.len(), 1);
    let record = world.record(answer.header("x-request-id")).await;
    assert!(reserved_nano_usd(&record) <= 20_000_000);
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_estimated_where_no_backend_counts_them() {
    let world = World::start(crossed);
    let mut request = messages(&json!({}));
    request.as_object_mut().unwrap().remove("max_tokens");
    let counted = world.ask("/v1/messages/count_tokens", &request).await;
    assert!(counted.status == 200 && counted.json()["input_tokens"].as_u64().unwrap() > 5, "{}", counted.text());
    assert!(world.provider.bill.entries().is_empty());
    let record = world.record(counted.header("x-request-id")).await;
    assert_eq!(record.cost.get(), 0);
    // By the vocabulary of the backend's model: two tokens, a message's frame of four, three for the answer.
    let hello = json!({ "model": "claude-haiku-4-5", "messages": [{ "role": "user", "content": "Hello!" }] });
    let counted = world.ask("/v1/messages/count_tokens", &hello).await;
    assert_eq!(counted.json(), json!({ "input_tokens": 9 }));
    world.verify(2);
}
