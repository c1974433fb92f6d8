//! Clients of both dialects at Amazon Bedrock: signed, translated, metered, and another backend where it throttles.
//!
//! Rule: the provider works out every signature by itself and refuses a wrong one; the gateway runs as a process.

use crate::first_request;
use crate::support::world::{World, chat, messages, streamed};
use helix_shared::record::Record;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn yaml(provider: &str) -> String {
    let bedrock = |name: &str, key: &str| {
        format!("providers:\n  {name}: {{ kind: bedrock, region: us-east-1, base_url: \"{provider}/aws\", {key} }}")
    };
    let with = |name: &str, key: &str, yaml: &str| yaml.replacen("providers:", &bedrock(name, key), 1);
    let signed = format!("access_key_id: AKIDEXAMPLE, secret_access_key: \"{SECRET}\"");
    let yaml = with("bedrock", &signed, &first_request::yaml(provider));
    let yaml = with("bedrock-session", &format!("{signed}, session_token: TOKEN"), &yaml);
    let yaml = with("bedrock-bearer", "api_key: ABSKbearer", &yaml);
    let yaml = with("bedrock-wrong", "access_key_id: AKIDEXAMPLE, secret_access_key: canary-wrong", &yaml);
    yaml + &format!(
        r#"
models:
  - {{ match: gpt-5-mini, backends: [{{ provider: bedrock, model: "{SONNET}" }}] }}
  - {{ match: claude-haiku-4-5, backends: [{{ provider: bedrock, model: "{NOVA}" }}] }}
  - {{ match: gpt-session, backends: [{{ provider: bedrock-session, model: "{SONNET}" }}] }}
  - {{ match: gpt-bearer, backends: [{{ provider: bedrock-bearer, model: "{SONNET}" }}] }}
  - {{ match: gpt-wrong, backends: [{{ provider: bedrock-wrong, model: "{SONNET}" }}] }}
  - {{ match: gpt-either, backends: [{{ provider: bedrock, model: "{SONNET}" }}, {{ provider: openai, model: gpt-5-mini }}] }}
"#
    )
}

fn of(model: &str, mut request: Value) -> Value {
    request["model"] = json!(model);
    request
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Checks that what was recorded is what the provider bills, to the nano-dollar.
async fn assert_billed(world: &World) -> Vec<Record> {
    let bill: Vec<_> = world.provider.bill.settled().await.into_iter().filter(|entry| entry.status == 200).collect();
    let ids: Vec<String> = bill.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    let records = world.records(&ids).await;
    for (record, entry) in records.iter().zip(&bill) {
        let cost = i64::try_from(entry.cost_nano_usd).unwrap();
        assert!(cost > 0 && entry.priced, "{entry:?}");
        assert_eq!((record.cost.get(), record.basis.as_str()), (cost, "exact"), "{record:?}");
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dialects_get_answers_whole_and_streamed_and_pay_what_is_billed() {
    let world = World::start(yaml);
    let script =
        json!({ "text": "Hello there.", "input_tokens": 31, "output_tokens": 12, "cache_read": 7, "cache_write": 5 });
    let whole = world.ask(CHAT, &chat(&script)).await;
    let body = whole.json();
    assert_eq!((whole.status, whole.header("x-helix-model")), (200, SONNET), "{body}");
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there.");
    assert_eq!((&body["usage"]["prompt_tokens"], &body["model"]), (&json!(43), &json!("gpt-5-mini")));
    let mut asking = streamed(chat(&script));
    asking["stream_options"] = json!({ "include_usage": true });
    let stream = world.ask(CHAT, &asking).await;
    let text = stream.text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(events(&text).pop().unwrap()["usage"]["prompt_tokens"], 43, "{text}");
    let script = json!({ "text": "Hello there.", "input_tokens": 31, "output_tokens": 12, "cache_read": 7 });
    let whole = world.ask(MESSAGES, &messages(&script)).await;
    let body = whole.json();
    assert_eq!((whole.status, whole.header("x-helix-model")), (200, NOVA), "{body}");
    assert_eq!(body["content"][0], json!({ "type": "text", "text": "Hello there." }));
    assert_eq!((&body["usage"]["input_tokens"], &body["usage"]["cache_read_input_tokens"]), (&json!(31), &json!(7)));
    let stream = world.ask(MESSAGES, &streamed(messages(&script))).await;
    let text = stream.text();
    assert_eq!(events(&text).pop().unwrap()["type"], "message_stop", "{text}");
    let records = assert_billed(&world).await;
    assert_eq!(records.len(), 4);
    let route = records[0].stages.iter().find(|stage| stage.name == "route").unwrap();
    assert_eq!(route.reason, "backend bedrock, translated to bedrock_converse");
    for entry in world.provider.bill.entries() {
        assert!(entry.path.starts_with("/aws/model/us.") && entry.path.contains("%3A0/converse"), "{}", entry.path);
        assert!(!entry.headers.contains_key("anthropic-version"));
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_responses_are_served_and_other_apis_refused() {
    let world = World::start(yaml);
    let input = json!({ "input_tokens": 31, "output_tokens": 12, "text": "Hello there." });
    let mut request =
        json!({ "model": "gpt-5-mini", "input": format!("Say hello. [[fake:{input}]]"), "max_output_tokens": 100 });
    let whole = world.ask("/v1/responses", &request).await;
    let body = whole.json();
    assert_eq!((whole.status, whole.header("x-helix-model")), (200, SONNET), "{body}");
    let usage = (&body["usage"]["input_tokens"], &body["usage"]["output_tokens"]);
    assert_eq!((&body["object"], usage), (&json!("response"), (&json!(31), &json!(12))), "{body}");
    request["stream"] = json!(true);
    let text = world.ask("/v1/responses", &request).await.text();
    let last = events(&text).pop().unwrap();
    assert_eq!((&last["type"], &last["response"]["usage"]["input_tokens"]), (&json!("response.completed"), &json!(31)));
    assert_eq!(assert_billed(&world).await.len(), 2);
    for (path, body) in [
        ("/v1/moderations", json!({ "model": "gpt-5-mini", "input": "hi" })),
        ("/v1/images/generations", json!({ "model": "gpt-5-mini", "prompt": "hi" })),
    ] {
        let answer = world.ask(path, &body).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unsupported_backend"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_tools_come_in_the_clients_words() {
    let world = World::start(yaml);
    let script = json!({ "tool_call": [{ "name": "f", "arguments": { "a": 1 } }, { "name": "g" }] });
    let mut request = chat(&script);
    request["tools"] = json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }]);
    let body = world.ask(CHAT, &request).await.json();
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{body}");
    assert_eq!(choice["message"]["tool_calls"][0]["function"], json!({ "name": "f", "arguments": "{\"a\":1}" }));
    let mut request = streamed(messages(&script));
    request["tools"] = json!([{ "name": "f", "input_schema": { "type": "object" } }]);
    let text = world.ask(MESSAGES, &request).await.text();
    let starts: Vec<Value> = events(&text).into_iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!(starts.len(), 2, "{text}");
    assert_eq!(starts[1]["content_block"]["name"], "g");
    assert_billed(&world).await;
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn b25_a_bearer_token_signs_nothing_and_a_session_token_is_signed() {
    let world = World::start(yaml);
    for model in ["gpt-bearer", "gpt-session"] {
        let answer = world.ask(CHAT, &of(model, chat(&json!({})))).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    }
    let entries = world.provider.bill.settled().await;
    assert!(!entries[0].headers.contains_key("x-amz-date"), "{:?}", entries[0].headers);
    assert!(entries[1].headers.contains_key("x-amz-date") && entries[1].headers.contains_key("x-amz-security-token"));
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused_by_the_provider_and_stays_our_own_trouble() {
    let world = World::start(yaml);
    let answer = world.ask(CHAT, &of("gpt-wrong", chat(&json!({})))).await;
    let text = answer.text();
    assert_eq!(answer.header("x-helix-error-code"), "upstream_credential", "{text}");
    assert!(!text.contains("canary") && !text.contains("signature"), "{text}");
    assert_eq!(world.provider.bill.settled().await[0].status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn b22_throttling_as_the_first_frame_goes_to_another_backend() {
    let world = World::start(yaml);
    let script = json!({ "error_midstream": 0 });
    let alone = world.ask(CHAT, &streamed(chat(&script))).await;
    let error = alone.json();
    assert_eq!((alone.status, error["error"]["type"].as_str()), (429, Some("rate_limit_error")), "{error}");
    let alone = world.ask(MESSAGES, &streamed(messages(&script))).await;
    assert_eq!((alone.status, &alone.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    let answer = world.ask(CHAT, &streamed(of("gpt-either", chat(&script)))).await;
    assert_eq!((answer.header("x-helix-attempts"), answer.header("x-helix-provider")), ("2", "openai"));
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!((record.attempts[0].status, record.attempts[0].cost.get()), (429, 0), "{record:?}");
    let whole = world.ask(CHAT, &of("gpt-either", chat(&json!({ "status": 429 })))).await;
    assert_eq!(whole.header("x-helix-attempts"), "2", "{}", whole.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_an_exception_after_text_is_the_last_event_and_what_came_is_booked() {
    let world = World::start(yaml);
    let script =
        json!({ "error_midstream": 2, "chunks": 6, "output_tokens": 30, "error_type": "modelStreamErrorException" });
    let answer = world.ask(CHAT, &streamed(chat(&script))).await;
    let text = answer.text();
    let last = events(&text).pop().unwrap();
    assert!(answer.status == 200 && last["error"]["message"].is_string(), "{text}");
    let record = world.record(answer.header("x-request-id")).await;
    assert!(record.cost.get() > 0 && record.basis.as_str() == "estimated", "{record:?}");
    world.verify(1);
}
