//! Azure OpenAI as a backend: its two generations of addresses, its header, its streams, and what it bills.
//!
//! Rule: the provider demands what Azure demands and keeps its own bill; what is compared is bytes or their hash.

use crate::first_request;
use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::raw::{RawUpstream, whole};
use crate::support::world::{World, chat, messages, prompt, streamed};
use helix_fake_provider::sha256_hex;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const DATED: &str = "/azure/openai/deployments/prod%20fast/chat/completions?api-version=2025-04-01-preview";
const V1: &str = "/azure/openai/v1/chat/completions";

/// One resource by a dated version and by the newer addresses; `gpt-5-mini` is deployed as `prod fast`.
fn yaml(provider: &str) -> String {
    first_request::yaml(provider).replacen(
        "providers:\n",
        &format!(
            r#"models:
  - {{ match: gpt-5-mini, backends: [{{ provider: dated, model: prod fast }}] }}
  - {{ match: gpt-v1, backends: [{{ provider: newer, model: prod fast }}] }}
  - {{ match: gpt-refused, backends: [{{ provider: refused, model: prod fast }}] }}
  - {{ match: claude-haiku-4-5, backends: [{{ provider: dated, model: prod fast }}] }}
  - {{ match: text-embedding-3-small, backends: [dated] }}
prices:
  - {{ provider: dated, model: prod fast, input: "0.25", output: "2", cache_read: "0.025" }}
  - {{ provider: newer, model: prod fast, input: "0.25", output: "2", cache_read: "0.025" }}
  - {{ provider: refused, model: prod fast, input: "0.25", output: "2", cache_read: "0.025" }}
  - {{ provider: dated, model: text-embedding-3-small, input: "0.02", output: "0" }}
providers:
  dated: {{ kind: azure, base_url: "{provider}/azure", api_key: az-canary-dated, api_version: 2025-04-01-preview }}
  newer: {{ kind: azure, base_url: "{provider}/azure/openai/v1/", api_key: az-canary-newer }}
  refused: {{ kind: azure, base_url: "{provider}/azure", api_key: bad-canary-azure, api_version: 2025-04-01-preview }}
"#
        ),
        1,
    )
}

/// A world whose provider bills the deployment like the model that it is.
fn world() -> World {
    let world = World::start(yaml);
    let price = json!({ "input": 250_000, "output": 2_000_000, "cache_read": 25_000 });
    world.provider.set_script(json!({ "prices": { "prod fast": price } })).unwrap();
    world
}

async fn agrees_with_the_bill(world: &World, answers: &[Answer]) {
    let ids: Vec<String> = answers.iter().map(|answer| answer.header("x-request-id").to_owned()).collect();
    let entries = world.provider.bill.settled().await;
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        assert!(entry.priced && entry.cost_nano_usd > 0, "{entry:?}");
        let cost = u64::try_from(record.cost.get()).unwrap();
        assert_eq!((cost, record.basis.as_str()), (entry.cost_nano_usd, "exact"), "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_azure_by_either_address_byte_for_byte_and_costs_what_azure_bills_z12_z14() {
    let world = world();
    let mut answers = Vec::new();
    for (model, path) in [("gpt-5-mini", DATED), ("gpt-v1", V1)] {
        let rest = r#" , "max_completion_tokens":7,"messages":[{"role":"user","content":"h\u00ef"}],"x":[1.50]}"#;
        let sent = format!(r#"{{"model":"{model}"{rest}"#);
        let url = world.url("/v1/chat/completions?api-version=of-the-client");
        let headers = [("api-key", "of-the-client"), ("authorization", &format!("Bearer {KEY}"))];
        let answer = world.client.post(&url, &headers, sent.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        let expected = format!(r#"{{"model":"prod fast"{rest}"#);
        assert_eq!((entry.path.as_str(), entry.model.as_str()), (path, "prod fast"));
        assert_eq!(entry.request_sha256, sha256_hex(expected.as_bytes()));
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body));
        answers.push(answer);
    }
    let body = json!({ "model": "text-embedding-3-small", "input": "one", "encoding_format": "base64" });
    let answer = world.ask("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answers.push(answer);
    agrees_with_the_bill(&world, &answers).await;
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_with_its_filter_results_and_is_metered_z6() {
    let world = world();
    let mut answers = Vec::new();
    for (model, asks_usage) in [("gpt-5-mini", true), ("gpt-v1", true), ("gpt-5-mini", false)] {
        let mut request = streamed(chat(&json!({ "chunks": 4, "text": "Grüße 東京" })));
        request["model"] = json!(model);
        if asks_usage {
            request["stream_options"] = json!({ "include_usage": true });
        }
        let answer = world.ask(CHAT, &request).await;
        let text = answer.text();
        assert_eq!((answer.status, answer.is_whole), (200, true), "{text}");
        assert!(text.contains("prompt_filter_results") && text.contains("content_filter_offsets"), "{text}");
        assert_eq!(text.contains("prompt_tokens"), asks_usage, "{text}");
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.response_sha256 == sha256_hex(&answer.body), asks_usage);
        answers.push(answer);
    }
    agrees_with_the_bill(&world, &answers).await;
    world.verify(3);
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anthropic_client_is_served_by_azure_z4_z5() {
    let world = world();
    let script =
        json!({ "text": "Hello there.", "input_tokens": 30, "output_tokens": 12, "cache_read": 7, "chunks": 3 });
    let answer = world.ask(MESSAGES, &messages(&script)).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["type"]), (200, &json!("message")), "{body}");
    assert_eq!(body["content"][0], json!({ "type": "text", "text": "Hello there." }));
    assert_eq!((&body["usage"]["input_tokens"], &body["usage"]["output_tokens"]), (&json!(30), &json!(12)));
    let stream = world.ask(MESSAGES, &streamed(messages(&script))).await;
    let text = stream.text();
    let events = events(&text);
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("message_start"), count("message_stop"), count("error")), (1, 1, 0), "{text}");
    assert_eq!(events[0]["type"], "message_start", "the filter's chunk says nothing: {text}");
    let said: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(said, "Hello there.", "{text}");
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!((&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]), (&json!("end_turn"), &json!(12)));
    assert!(!text.contains("filter"), "{text}");
    agrees_with_the_bill(&world, &[answer, stream]).await;
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_our_own_affair() {
    let world = world();
    let mut request = chat(&json!({}));
    request["model"] = json!("gpt-refused");
    let answer = world.ask(CHAT, &request).await;
    let text = answer.text();
    assert_eq!(answer.header("x-helix-error-code"), "upstream_credential", "{text}");
    assert!(answer.status >= 500 && text.contains("not about your key"), "{text}");
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(world.record(answer.header("x-request-id")).await.cost.get(), 0);
    world.verify(1);
}

/// A gateway whose dated resource answers like this.
async fn answering(status: &str, headers: &str, body: &str) -> (World, RawUpstream) {
    let upstream = RawUpstream::answering(vec![whole(status, headers, body.as_bytes())]).await;
    (World::start(|_| yaml(&upstream.url)), upstream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_prompt_is_told_and_not_tried_again_z7() {
    let body = r#"{"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"}}}}}"#;
    let headers = "content-type: application/json\r\napim-request-id: apim-1\r\nx-ms-deployment-name: prod fast\r\n";
    let (world, upstream) = answering("400 Bad Request", headers, body).await;
    let answer = world.ask(CHAT, &chat(&json!({}))).await;
    assert_eq!((answer.status, answer.text().as_str()), (400, body));
    assert_eq!(answer.header("x-ms-deployment-name"), "", "the account's own names stay");
    let translated = world.ask(MESSAGES, &messages(&json!({}))).await;
    let error = translated.json();
    assert_eq!((translated.status, &error["error"]["type"]), (400, &json!("invalid_request_error")), "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("was filtered"), "{error}");
    let received = upstream.received();
    assert_eq!(received.len(), 2, "one attempt each");
    assert_eq!(received[0].header("api-key"), ["az-canary-dated"]);
    assert!(received[0].header("authorization").is_empty() && received[0].header("x-api-key").is_empty());
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!((record.cost.get(), record.attempts[0].provider_request_id.as_str()), (0, "apim-1"));
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_answer_says_when_in_its_header_too_z8() {
    let body = r#"{"error":{"code":"429","message":"Requests have exceeded the call rate limit. Please retry after 7 seconds."}}"#;
    let (world, _upstream) = answering("429 Too Many Requests", "content-type: application/json\r\n", body).await;
    let answer = world.ask(CHAT, &chat(&json!({}))).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("retry-after")), (429, body, "7"));
    let translated = world.ask(MESSAGES, &messages(&json!({}))).await;
    assert_eq!((translated.status, translated.header("retry-after")), (429, "7"), "{}", translated.text());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cap_azure_gets_one_under_its_newer_name() {
    let world = world();
    let mut request = chat(&json!({}));
    request.as_object_mut().unwrap().remove("max_completion_tokens");
    request["messages"] = prompt(&json!({ "output_tokens": 3 }));
    let sent = request.to_string();
    let answer = world.client.post(&world.url(CHAT), &[("x-api-key", KEY)], sent.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = world.provider.bill.settled().await.pop().unwrap();
    let expected = sent.replacen('{', r#"{"max_completion_tokens":16384,"#, 1).replace("gpt-5-mini", "prod fast");
    assert_eq!(entry.request_sha256, sha256_hex(expected.as_bytes()));
    world.verify(1);
}
