//! Clients of every dialect at Ollama's own API: answers, streams, calls, embeddings and errors, and the cost by its
//! counters.
//!
//! Rule: the gateway runs as a process, and the provider refuses what is not in Ollama's own form.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::world::{World, chat, messages, streamed};
use helix_shared::record::Record;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const QWEN: &str = "qwen3:8b";
const SLASHES: &str = "hf.co/a/b:Q4";

/// Ollama under both of its addresses; what is local is priced here, so that there is something to compare.
fn yaml(provider: &str) -> String {
    let price = |model: &str| format!("  - {{ provider: ollama, model: \"{model}\", input: \"1\", output: \"3\" }}\n");
    let head = format!(
        "prices:\n{}models:
  - {{ match: gpt-5-mini, backends: [{{ provider: ollama, model: \"{QWEN}\" }}] }}
  - {{ match: claude-haiku-4-5, backends: [{{ provider: ollama, model: \"{QWEN}\" }}] }}
  - {{ match: gpt-llama, backends: [{{ provider: ollama, model: missing-llama }}] }}
  - {{ match: gpt-either, backends: [{{ provider: ollama, model: \"{QWEN}\" }}, {{ provider: openai, model: gpt-5-mini }}] }}
  - {{ match: gpt-v1, backends: [{{ provider: ollama-v1, model: gpt-5-mini }}] }}
providers:
  ollama: {{ kind: ollama, base_url: \"{provider}\", api_key: sk-canary-ollama }}
  ollama-v1: {{ kind: ollama, base_url: \"{provider}/v1\", api_key: sk-canary-ollama }}
",
        price(QWEN),
    );
    first_request::yaml(provider).replacen("providers:\n", &head, 1)
}

fn world() -> World {
    let world = World::start(yaml);
    let price = json!({ "input": 1_000_000, "output": 3_000_000 });
    world.provider.set_script(json!({ "prices": { QWEN: price } })).unwrap();
    world
}

fn of(model: &str, mut request: Value) -> Value {
    request["model"] = json!(model);
    request
}

/// Compares each record with its line on the provider's bill.
async fn costs_agree(world: &World) -> Vec<Record> {
    let bill: Vec<_> = world.provider.bill.settled().await.into_iter().filter(|entry| entry.status == 200).collect();
    let ids: Vec<String> = bill.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    let records = world.records(&ids).await;
    for (record, entry) in records.iter().zip(&bill) {
        assert!(entry.priced && entry.cost_nano_usd > 0, "{entry:?}");
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(entry.cost_nano_usd).unwrap(), "exact"));
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_each_dialect_are_answered_whole_and_streamed_and_pay_by_its_counters() {
    let world = world();
    let script = json!({ "text": "Hello there.", "thinking": "Hm.", "input_tokens": 31, "output_tokens": 12 });
    let body = world.ask(CHAT, &chat(&script)).await.json();
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("Hello there."), &json!("Hm.")), "{body}");
    assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]), (&json!(31), &json!(12)));
    let text = world.ask(CHAT, &streamed(chat(&script))).await.text();
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("\"usage\""), "{text}");
    let body = world.ask(MESSAGES, &messages(&script)).await.json();
    assert_eq!((&body["stop_reason"], &body["usage"]["input_tokens"]), (&json!("end_turn"), &json!(31)), "{body}");
    let text = world.ask(MESSAGES, &streamed(messages(&script))).await.text();
    assert!(text.contains("event: message_stop"), "{text}");
    let input = format!("Say hello. [[fake:{script}]]");
    let body = world.ask("/v1/responses", &json!({ "model": "gpt-5-mini", "input": input })).await.json();
    assert_eq!((&body["object"], &body["usage"]["input_tokens"]), (&json!("response"), &json!(31)), "{body}");
    let records = costs_agree(&world).await;
    let route = records[0].stages.iter().find(|stage| stage.name == "route").unwrap();
    assert_eq!((records.len(), route.reason.as_str()), (5, "backend ollama, translated to ollama"));
    assert!(world.provider.bill.entries().iter().all(|entry| entry.path == "/api/chat"));
    world.verify(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_results_images_and_schemas_are_in_ollamas_own_form() {
    let world = world();
    let script = json!({ "tool_call": [{ "name": "f", "arguments": { "z": 1, "a": 2 } }] });
    let mut request = chat(&script);
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } });
    request["tools"] = json!([tool]);
    request["num_ctx"] = json!(16_384);
    request["keep_alive"] = json!("5m");
    let body = world.ask(CHAT, &request).await.json();
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["tool_calls"][0]["function"]["name"]),
        (&json!("tool_calls"), &json!("f"))
    );
    let call = choice["message"]["tool_calls"][0].clone();
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,QUFB" } });
    let mut history = request["messages"].as_array().unwrap().clone();
    history.push(json!({ "role": "assistant", "content": null, "tool_calls": [call.clone()] }));
    history.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "42" }));
    history.push(json!({ "role": "user", "content": [{ "type": "text", "text": "And this?" }, image] }));
    let mut request = of("gpt-5-mini", request);
    request["messages"] = json!(history);
    request["response_format"] =
        json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } });
    request["reasoning_effort"] = json!("low");
    let answer = world.ask(CHAT, &request).await;
    assert_eq!((answer.status, answer.header("x-helix-dropped-params")), (200, ""), "{}", answer.text());
    costs_agree(&world).await;
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_each_request_of_a_conversation_one_id_may_call_again_and_again() {
    let world = world();
    let script = json!({ "tool_call": [{ "name": "f", "arguments": {} }] });
    let mut input = vec![json!({ "role": "user", "content": format!("Call. [[fake:{script}]]") })];
    let tools = json!([{ "type": "function", "name": "f", "parameters": { "type": "object" } }]);
    let headers = [("authorization", &*format!("Bearer {KEY}")), ("x-request-id", "conversation-1")];
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let body = json!({ "model": "gpt-5-mini", "input": input, "tools": tools }).to_string();
        let answer = world.client.post(&world.url("/v1/responses"), &headers, body).await;
        let response = answer.json();
        assert_eq!((answer.status, answer.header("x-request-id")), (200, "conversation-1"), "{response}");
        let call = &response["output"][0];
        ids.extend([&response["id"], &call["id"], &call["call_id"]].map(Value::to_string));
        input.push(call.clone());
        input.push(json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "42" }));
    }
    assert_eq!(ids.len(), 9, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o18_a_name_with_slashes_goes_whole() {
    // Without routes the first part of a name is the provider's.
    let world = World::start(|provider| {
        let price = format!("prices:\n  - {{ provider: ollama, model: \"{SLASHES}\", input: \"1\", output: \"3\" }}\n");
        let own =
            format!("providers:\n  ollama: {{ kind: ollama, base_url: \"{provider}\", api_key: sk-canary-ollama }}\n");
        let yaml = first_request::yaml(provider).replace("\"text-*\"", "\"text-*\", \"ollama/*\"");
        price + &yaml.replacen("providers:\n", &own, 1)
    });
    world.provider.set_script(json!({ "prices": { SLASHES: { "input": 1_000_000, "output": 3_000_000 } } })).unwrap();
    let answer = world.ask(CHAT, &of("ollama/hf.co/a/b:Q4", chat(&json!({})))).await;
    assert_eq!((answer.status, answer.header("x-helix-model")), (200, SLASHES), "{}", answer.text());
    assert_eq!(world.provider.bill.settled().await[0].model, SLASHES);
    costs_agree(&world).await;
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o4_o13_errors_are_told_and_one_that_begins_a_stream_goes_to_another_backend() {
    let world = world();
    let answer = world.ask(CHAT, &of("gpt-llama", chat(&json!({})))).await;
    let error = answer.json();
    assert_eq!((answer.status, &error["error"]["code"]), (404, &json!("model_not_found")), "{error}");
    let script = json!({ "error_midstream": 2, "chunks": 6, "output_tokens": 30 });
    let answer = world.ask(CHAT, &streamed(chat(&script))).await;
    let text = answer.text();
    assert!(answer.status == 200 && text.contains("an error was encountered"), "{text}");
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!(record.basis.as_str(), "estimated", "{record:?}");
    let answer = world.ask(CHAT, &streamed(of("gpt-either", chat(&json!({ "error_midstream": 0 }))))).await;
    assert_eq!(
        (answer.header("x-helix-attempts"), answer.header("x-helix-provider")),
        ("2", "openai"),
        "{}",
        answer.text()
    );
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_embeddings_are_asked_for_in_its_own_api() {
    let world = world();
    let request =
        json!({ "model": "gpt-5-mini", "input": ["One text.", "Another one."], "dimensions": 4, "keep_alive": "1m" });
    let answer = world.ask("/v1/embeddings", &request).await;
    let body = answer.json();
    assert_eq!((answer.status, body["data"].as_array().map(Vec::len)), (200, Some(2)), "{body}");
    assert_eq!(
        (&body["data"][1]["index"], body["data"][1]["embedding"].as_array().map(Vec::len)),
        (&json!(1), Some(4))
    );
    assert_eq!(world.provider.bill.settled().await[0].path, "/api/embed");
    costs_agree(&world).await;
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_ends_in_v1_is_asked_in_openais_dialect() {
    let world = world();
    let answer = world.ask(CHAT, &of("gpt-v1", chat(&json!({})))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.provider.bill.settled().await[0].path, "/v1/chat/completions");
    let answer = world.ask("/v1/responses", &json!({ "model": "gpt-v1", "input": "Hi" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.provider.bill.settled().await[1].path, "/v1/responses", "it speaks them itself");
    world.verify(2);
}
