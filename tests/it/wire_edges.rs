//! Cases of the wire reference that need more than one crate: errors that come first in a stream, tiers, and what is not counted.
//!
//! Rule: each is named by its number; the gateway runs as a process and the provider keeps its own bill.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::patience::within;
use crate::support::raw::Live;
use crate::support::world::{World, chat, messages, reserved_nano_usd, streamed};
use helix_fake_provider::State;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

fn crossed(provider: &str) -> String {
    let own = format!("  gemini: {{ kind: gemini, base_url: \"{provider}\", api_key: sk-canary-gemini }}\nteams:");
    first_request::yaml(provider).replacen("teams:", &own, 1)
        + r#"
models:
  - { match: gpt-5-mini, backends: [{ provider: anthropic, model: claude-haiku-4-5 }] }
  - { match: claude-haiku-4-5, backends: [{ provider: openai, model: gpt-5-mini }] }
  - { match: gpt-gemini, backends: [{ provider: gemini, model: gemini-2.5-flash }] }
  - { match: gpt-either, backends: [{ provider: anthropic, model: claude-haiku-4-5 }, { provider: openai, model: gpt-5-mini }] }
"#
}

fn of(model: &str, mut request: Value) -> Value {
    request["model"] = json!(model);
    request
}

fn responses(script: &Value) -> Value {
    json!({ "model": "gpt-5-mini", "max_output_tokens": 64, "input": format!("Say hello. [[fake:{script}]]") })
}

#[tokio::test(flavor = "multi_thread")]
async fn t54_an_error_before_the_first_event_is_an_answer_and_may_go_to_another_backend() {
    let world = World::start(crossed);
    let script = json!({ "error_midstream": 0 });
    for (path, request, status, kind) in [
        (CHAT, chat(&script), 503, "server_error"),
        (RESPONSES, responses(&script), 503, "server_error"),
        (MESSAGES, messages(&script), 500, "api_error"),
        (CHAT, of("gpt-gemini", chat(&script)), 503, "server_error"),
    ] {
        let answer = world.ask(path, &streamed(request)).await;
        let body = answer.json();
        assert_eq!((answer.status, body["error"]["type"].as_str()), (status, Some(kind)), "{path} {body}");
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((record.cost.get(), record.attempts.len()), (0, 1), "{record:?}");
    }
    let answer = world.ask(CHAT, &streamed(of("gpt-either", chat(&script)))).await;
    assert_eq!((answer.header("x-helix-attempts"), answer.header("x-helix-provider")), ("2", "openai"));
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!((record.attempts[0].status, record.attempts[0].cost.get()), (503, 0), "{record:?}");
    // Once something was said, it stays with its backend, and its last word is the error.
    let late = world.ask(CHAT, &streamed(of("gpt-either", chat(&json!({ "error_midstream": 1 }))))).await;
    assert_eq!((late.status, late.header("x-helix-attempts")), (200, "1"));
    assert!(late.text().contains("\"overloaded\"") && !late.text().contains("[DONE]"), "{}", late.text());
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn n15_the_tier_that_is_charged_is_the_one_of_the_answer() {
    let world = World::start(first_request::yaml);
    let script = json!({ "service_tier": "default", "input_tokens": 1000, "output_tokens": 20 });
    let mut request = chat(&script);
    request["service_tier"] = json!("flex");
    for request in [request.clone(), streamed(request)] {
        let answer = world.ask(CHAT, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(record.cost.get(), i64::try_from(entry.cost_nano_usd).unwrap());
        assert_eq!(record.cost.get(), 1000 * 250 + 20 * 2000, "the usual price");
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn n24_embeddings_that_nobody_counted_are_estimated() {
    let world = World::start(first_request::yaml);
    let input = format!("Some words. [[fake:{}]]", json!({ "no_usage": true }));
    let answer = world.ask("/v1/embeddings", &json!({ "model": "text-embedding-3-small", "input": input })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!(record.basis.as_str(), "estimated");
    assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()), "{record:?}");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_a_stream_that_goes_on_too_long_for_nobody_is_cut_and_estimated() {
    let world = World::start(first_request::yaml);
    let script = json!({ "text": "one-two", "chunks": 2, "hang_after_chunks": 1 });
    let mut live = Live::post(&world.url(CHAT), KEY, streamed(chat(&script)).to_string()).await;
    within("the first chunk", live.until("one")).await;
    let id = live.headers["x-request-id"].to_str().unwrap().to_owned();
    drop(live);
    let record = world.record(&id).await;
    assert_eq!(record.basis.as_str(), "estimated");
    assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()), "{record:?}");
    let entry = within("the bill", world.provider.bill.settled()).await.pop().unwrap();
    assert_ne!(entry.state, State::Complete, "the connection was closed");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_under_a_status_of_success_is_an_error_and_may_go_to_another_backend() {
    let world = World::start(crossed);
    let error = json!({ "error": { "message": "Provider returned error", "code": 502 } });
    let script = json!({ "raw_body": error.to_string() });
    let answer = world.ask(MESSAGES, &messages(&script)).await;
    let body = answer.json();
    assert_eq!((answer.status, body["error"]["type"].as_str()), (529, Some("overloaded_error")), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("Provider returned error"), "{body}");
    assert_eq!(world.record(answer.header("x-request-id")).await.cost.get(), 0);
    // The second one is asked in its own dialect: what it says passes as it is.
    let answer = world.ask(CHAT, &of("gpt-either", chat(&script))).await;
    assert_eq!((answer.header("x-helix-attempts"), answer.json()), ("2", error));
    world.verify(2);
}
