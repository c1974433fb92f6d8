//! Responses at backends that speak them: passed as they are, metered, and followed up where they were made.
//!
//! Rule: the gateway runs as a process and the provider keeps its own bill and its own responses, for each key apart.

use crate::first_request;
use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::world::{World, reserved_nano_usd, streamed};
use helix_fake_provider::sha256_hex;
use http::Method;
use serde_json::{Value, json};

const PATH: &str = "/v1/responses";
const OTHER_KEY: &str = "hx_p_other0123456789abcdefghijklmnopqrstu";

/// The usual file, a second person, and two accounts at OpenAI of which the first is full for `gpt-4o-mini`.
fn yaml(provider: &str) -> String {
    let key = format!("keys:\n  - {{ name: other, user: joe@corp.example, secret: \"{OTHER_KEY}\" }}\n");
    let user = "users:\n  - { email: joe@corp.example, name: Joe, teams: [engineering] }\n";
    let second =
        format!("providers:\n  second: {{ kind: openai, base_url: \"{provider}/v1\", api_key: sk-canary-two }}\n");
    let yaml = first_request::yaml(provider).replace("keys:\n", &key).replace("users:\n", user);
    yaml.replacen("providers:\n", &second, 1)
        + r#"
models:
  - { match: gpt-5-mini, backends: [openai, second] }
  - { match: gpt-4o-mini, backends: [second, openai] }
  - { match: "claude-*", backends: [anthropic] }
"#
}

fn request(script: &Value) -> Value {
    let input = json!([{ "role": "user", "content": format!("Say hello. [[fake:{script}]]") }]);
    json!({ "model": "gpt-5-mini", "input": input, "max_output_tokens": 64 })
}

fn script() -> Value {
    json!({ "text": "Hello there.", "input_tokens": 30, "output_tokens": 12, "reasoning": 5, "cache_read": 7 })
}

fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

async fn call(world: &World, method: Method, path: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    world.client.send(method, &world.url(path), &[("authorization", &bearer)], bytes::Bytes::new()).await
}

/// Compares each record with its line on the provider's bill.
async fn costs_agree(world: &World) {
    let entries = world.provider.bill.settled().await;
    let ids: Vec<String> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    for (record, entry) in world.records(&ids).await.iter().zip(&entries).filter(|(_, entry)| entry.status == 200) {
        assert!(entry.priced && entry.cost_nano_usd > 0, "{entry:?}");
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(entry.cost_nano_usd).unwrap(), "exact"));
        assert!(record.cost.get() <= reserved_nano_usd(record), "{record:?}");
        assert_eq!(record.dialect, "openai_responses");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_passes_byte_for_byte_and_costs_what_the_provider_bills() {
    let world = World::start(yaml);
    let mut asked = request(&script());
    asked["store"] = json!(false);
    asked["novel_parameter"] = json!({ "b": [1, 2.50] });
    for request in [asked.clone(), streamed(asked)] {
        let answer = world.ask(PATH, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.path, "/v1/responses");
        assert_eq!(entry.request_sha256, sha256_hex(request.to_string().as_bytes()), "the request changed");
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "the answer changed");
    }
    costs_agree(&world).await;
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_equals_its_whole_twin_and_events_nobody_knows_pass_r15_r21() {
    let world = World::start(yaml);
    let whole = world.ask(PATH, &request(&script())).await.json();
    let mut broken = script();
    broken["chunk_bytes"] = json!(7);
    broken["novelty"] = json!(true);
    let stream = world.ask(PATH, &streamed(request(&broken))).await;
    let events = events(&stream);
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    assert!(events.iter().any(|event| event["type"] == "response.novelty"), "an unknown event passes");
    let last = &events.last().unwrap()["response"];
    assert_eq!((&last["usage"], &last["output"][0]["content"]), (&whole["usage"], &whole["output"][0]["content"]));
    let id = last["id"].as_str().unwrap();
    let named = events.iter().filter(|event| event["response"].is_object());
    assert!(named.clone().count() >= 3 && named.clone().all(|event| event["response"]["id"] == id));
    costs_agree(&world).await;
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_followed_up_where_it_was_made_with_the_model_of_another_account_first() {
    let world = World::start(yaml);
    let first = world.ask(PATH, &request(&script())).await.json();
    let id = first["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("resp_") && !id.contains("fake"), "{id}");
    for is_stream in [false, true] {
        let mut next = request(&script());
        // Its route asks the other account first, which would not know the response.
        next["model"] = json!("gpt-4o-mini");
        next["previous_response_id"] = json!(id);
        let answer = world.ask(PATH, &if is_stream { streamed(next) } else { next }).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let response = if is_stream { events(&answer).pop().unwrap()["response"].clone() } else { answer.json() };
        assert_eq!(response["previous_response_id"], json!(id), "the client's own word for it");
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!((entry.key_last4.as_deref(), entry.model.as_str()), (Some("enai"), "gpt-4o-mini"));
    }
    costs_agree(&world).await;
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_tampered_with_or_is_somebody_elses_leads_nowhere_r22() {
    let world = World::start(yaml);
    let id = world.ask(PATH, &request(&script())).await.json()["id"].as_str().unwrap().to_owned();
    let mut tampered = id.clone().into_bytes();
    let at = tampered.len() - 2;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for (wrong, key) in [(tampered.as_str(), KEY), ("resp_fake_1", KEY), ("x", KEY), (id.as_str(), OTHER_KEY)] {
        let mut next = request(&script());
        next["previous_response_id"] = json!(wrong);
        let answer = world.client.ask(&world.url(PATH), key, &next).await;
        assert_eq!(
            (answer.status, answer.header("x-helix-error-code")),
            (404, "previous_response_not_found"),
            "{wrong}"
        );
        assert_eq!(answer.json()["error"]["param"], "previous_response_id");
        let read = call(&world, Method::GET, &format!("{PATH}/{wrong}"), key).await;
        assert_eq!((read.status, read.header("x-helix-error-code")), (404, "previous_response_not_found"), "{wrong}");
    }
    assert_eq!(world.provider.bill.settled().await.len(), 1, "nothing of it reached the provider");
    world.verify(9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_response_is_read_and_deleted_by_its_owner_for_nothing() {
    let world = World::start(yaml);
    let made = world.ask(PATH, &request(&script())).await.json();
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let read = call(&world, Method::GET, &path, KEY).await;
    assert_eq!((read.status, &read.json()), (200, &made), "{}", read.text());
    let record = world.record(read.header("x-request-id")).await;
    assert_eq!((record.cost.get(), record.dialect.as_str()), (0, "openai_stored_responses"));
    assert_eq!(record.requested_model, "gpt-5-mini");
    let items = call(&world, Method::GET, &format!("{path}/input_items?limit=5"), KEY).await;
    assert_eq!((items.status, &items.json()["object"]), (200, &json!("list")), "{}", items.text());
    let streamed = call(&world, Method::GET, &format!("{path}?stream=true"), KEY).await;
    assert_eq!((streamed.status, &streamed.json()["error"]["param"]), (400, &json!("stream")));
    let deleted = call(&world, Method::DELETE, &path, KEY).await;
    assert_eq!((deleted.status, &deleted.json()["id"]), (200, &made["id"]), "{}", deleted.text());
    assert_eq!(call(&world, Method::GET, &path, KEY).await.status, 404);
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_answer_for_is_refused_by_name_r11() {
    let world = World::start(yaml);
    for (field, value) in [("background", json!(true)), ("conversation", json!("conv_1"))] {
        let mut asked = request(&script());
        asked[field] = value;
        let answer = world.ask(PATH, &asked).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(field)), "{}", answer.text());
    }
    let mut translated = request(&script());
    translated["model"] = json!("claude-haiku-4-5");
    translated["previous_response_id"] = json!("resp_x");
    let answer = world.ask(PATH, &translated).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("previous_response_id")));
    assert!(world.provider.bill.settled().await.is_empty());
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_the_provider_are_bounded_or_refused_under_a_hard_budget() {
    let world = World::start(yaml);
    let with = |tool: &str, most: Option<u64>| {
        let mut asked = request(&script());
        asked["tools"] = json!([{ "type": tool }]);
        if let Some(most) = most {
            asked["max_tool_calls"] = json!(most);
        }
        asked
    };
    for (tool, most) in [("web_search", None), ("code_interpreter", Some(2)), ("mcp", None)] {
        let answer = world.ask(PATH, &with(tool, most)).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unbounded_cost"), "{tool}");
    }
    let answer = world.ask(PATH, &with("apply_patch", None)).await;
    assert_eq!(answer.status, 200, "what the client runs is no cost of the provider's: {}", answer.text());
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_in_one_error_event_and_a_bill() {
    let world = World::start(yaml);
    for fault in ["cut_after_chunks", "error_midstream"] {
        let mut broken = script();
        broken[fault] = json!(2);
        broken["chunks"] = json!(4);
        let answer = world.ask(PATH, &streamed(request(&broken))).await;
        let events = events(&answer);
        let ends = |event: &&Value| {
            ["error", "response.completed", "response.failed"].contains(&event["type"].as_str().unwrap())
        };
        assert_eq!(events.iter().filter(ends).count(), 1, "{}", answer.text());
        let last = events.last().unwrap();
        let is_ours = fault == "cut_after_chunks";
        assert!(!is_ours || last["sequence_number"] == json!(events.len() - 1), "{last}");
        let record = world.record(answer.header("x-request-id")).await;
        assert!(record.cost.get() > 0 && record.basis.as_str() == "estimated", "{record:?}");
    }
    world.verify(2);
}
