//! Embeddings at Google, Amazon and servers that write numbers only: vectors, counts, refusals, and the cost that is billed.
//!
//! Rule: the gateway runs as a process; a request that becomes several calls costs what all of them are billed, to the
//! nano-dollar, whether it is answered or not.

use crate::first_request;
use crate::support::world::{World, reserved_nano_usd};
use base64::Engine as _;
use serde_json::{Value, json};

const EMBEDDINGS: &str = "/v1/embeddings";
const TITAN: &str = "amazon.titan-embed-text-v2:0";
const COHERE: &str = "cohere.embed-english-v3";
const OLLAMA: &str = "nomic-embed-text";
const GEMINI: &str = "gemini-embedding-001";

fn yaml(provider: &str) -> String {
    let providers = format!(
        "providers:
  bedrock: {{ kind: bedrock, region: us-east-1, base_url: \"{provider}/aws\", access_key_id: AKIDEXAMPLE, \
secret_access_key: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY }}
  gemini: {{ kind: gemini, base_url: \"{provider}\", api_key: sk-canary-gemini }}
  vertex: {{ kind: vertex, project: fake-project, region: global, base_url: \"{provider}\", credentials_file: google.json }}
  together: {{ kind: together, base_url: \"{provider}/v1\", api_key: sk-canary-together }}
  ollama: {{ kind: ollama, base_url: \"{provider}\", api_key: sk-canary-ollama }}
"
    );
    let route = |name: &str, provider: &str, model: &str| {
        format!("  - {{ match: {name}, backends: [{{ provider: {provider}, model: \"{model}\" }}] }}\n")
    };
    let models = [
        route("text-titan", "bedrock", TITAN),
        route("text-cohere", "bedrock", COHERE),
        route("text-gemini", "gemini", GEMINI),
        route("text-vertex", "vertex", GEMINI),
        route("text-together", "together", "text-embedding-3-small"),
        route("text-ollama", "ollama", OLLAMA),
        route("text-chat", "bedrock", "us.amazon.nova-2-lite-v1:0"),
        "  - { match: text-strict, params: strict, backends: [{ provider: bedrock, model: \"amazon.titan-embed-text-v2:0\" }] }\n"
            .to_owned(),
    ]
    .concat();
    let prices = "prices:\n  - { provider: together, model: text-embedding-3-small, input: \"0.02\", output: \"0\" }\n  - { provider: ollama, model: nomic-embed-text, input: \"1\", output: \"0\" }\n";
    first_request::yaml(provider).replacen("providers:\n", &format!("{prices}models:\n{models}{providers}"), 1)
}

/// A gateway with a route to each of them.
pub(crate) fn world() -> World {
    let world = World::start(yaml);
    std::fs::write(world.folder.path().join("google.json"), world.provider.service_account()).unwrap();
    let price = json!({ "input": 1_000_000, "output": 0 });
    world.provider.set_script(json!({ "prices": { OLLAMA: price } })).unwrap();
    world
}

/// Checks that the record of a request is what all its calls are billed.
async fn assert_billed(world: &World, request_id: &str, calls: usize) {
    let bill = world.provider.bill.settled().await;
    let lines: Vec<_> = bill.iter().filter(|entry| entry.request_id.as_deref() == Some(request_id)).collect();
    let billed: u64 = lines.iter().map(|entry| entry.cost_nano_usd).sum();
    let record = world.record(request_id).await;
    assert_eq!((lines.len(), record.attempts.len()), (calls, 1), "{record:?}");
    assert!(billed > 0 && lines.iter().all(|entry| entry.priced || entry.status != 200), "{lines:?}");
    let rounding = i64::try_from(calls).unwrap();
    let cost = i64::try_from(billed).unwrap();
    assert_eq!(record.basis.as_str(), "exact", "{record:?}");
    // Each call is rounded up on its own bill, and the record once: with whole nano-dollars a token they are the same.
    assert!(record.cost.get() <= cost && record.cost.get() > cost - rounding, "{} of {cost}", record.cost.get());
    assert_eq!(record.cost.get(), cost, "prices of these models are whole nano-dollars a token");
    assert!(record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backend_embeds_several_texts_as_numbers_and_as_base64() {
    let world = world();
    for (model, calls) in
        [("text-titan", 3), ("text-cohere", 1), ("text-gemini", 1), ("text-vertex", 3), ("text-together", 1)]
    {
        let request = json!({ "model": model, "input": ["One text here.", "Another text.", "A third one, longer."] });
        let answer = world.ask(EMBEDDINGS, &request).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["object"], &body["model"]), (200, &json!("list"), &json!(model)), "{body}");
        let data = body["data"].as_array().unwrap();
        assert_eq!(data.iter().map(|item| item["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(data[0]["embedding"].as_array().unwrap().len(), 8, "{body}");
        assert!(body["usage"]["prompt_tokens"].as_u64().unwrap() >= 3, "{body}");
        assert_eq!(body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]);
        if model != "text-together" {
            assert_billed(&world, answer.header("x-request-id"), calls).await;
        }
        let mut packed = request.clone();
        packed["encoding_format"] = json!("base64");
        let answer = world.ask(EMBEDDINGS, &packed).await.json();
        for (item, plain) in answer["data"].as_array().unwrap().iter().zip(data) {
            let bytes = base64::engine::general_purpose::STANDARD.decode(item["embedding"].as_str().unwrap()).unwrap();
            let numbers: Vec<f64> =
                bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect();
            let expected: Vec<f64> =
                plain["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
            assert_eq!(numbers, expected, "{model}");
        }
    }
    world.verify(10);
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_a_thousand_texts_are_a_thousand_calls_of_one_attempt() {
    let world = world();
    let texts: Vec<String> = (0..1000).map(|index| "x".repeat(index % 60 + 1)).collect();
    let answer = world.ask(EMBEDDINGS, &json!({ "model": "text-titan", "input": texts, "dimensions": 4 })).await;
    let body = answer.json();
    assert_eq!((answer.status, body["data"].as_array().map(Vec::len)), (200, Some(1000)), "{}", answer.text());
    for (index, item) in body["data"].as_array().unwrap().iter().enumerate() {
        // The provider makes the first number of the length of the text.
        let length = u16::try_from(index % 60 + 1).unwrap();
        assert_eq!(item["embedding"][0], json!((f64::from(length) - 64.0) / 64.0), "{index}");
    }
    assert_billed(&world, answer.header("x-request-id"), 1000).await;
    assert!(world.provider.bill.stats().peak_in_flight <= 8);
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_request_keep_to_the_limit_of_their_backend() {
    let world = World::start(|provider| yaml(provider).replace("kind: bedrock,", "kind: bedrock, max_in_flight: 2,"));
    let texts: Vec<String> = (0..40).map(|index| format!("text number {index}")).collect();
    let answer = world.ask(EMBEDDINGS, &json!({ "model": "text-titan", "input": texts })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_billed(&world, answer.header("x-request-id"), 40).await;
    assert!(world.provider.bill.stats().peak_in_flight <= 2, "{:?}", world.provider.bill.stats());
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_one_call_that_fails_fails_the_request_and_what_was_billed_is_booked() {
    let world = world();
    let mut texts: Vec<String> = (0..40).map(|index| format!("text number {index}")).collect();
    texts[20] = r#"[[fake:{"status":400,"error_message":"Too long for this model"}]]"#.to_owned();
    let answer = world.ask(EMBEDDINGS, &json!({ "model": "text-titan", "input": texts })).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]["message"]), (400, &json!("Too long for this model")), "{body}");
    let bill = world.provider.bill.settled().await;
    assert!(bill.len() < 40, "no call is made once one has failed: {}", bill.len());
    assert_billed(&world, answer.header("x-request-id"), bill.len()).await;
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_pays_for_the_calls_that_were_made() {
    let world = world();
    let held = r#"[[fake:{"gate":"g"}]]"#;
    let texts: Vec<String> = (0..40).map(|index| format!("text {index} {held}")).collect();
    let request = json!({ "model": "text-titan", "input": texts });
    let asked = tokio::spawn({
        let (client, url) = (crate::support::client::Client::new(), world.url(EMBEDDINGS));
        async move { client.ask(&url, crate::support::gateway::KEY, &request).await }
    });
    world.provider.bill.wait_for(|stats| stats.in_flight == 8).await;
    asked.abort();
    assert!(asked.await.is_err());
    // The gateway has noticed when it cannot be asked by this client any more: its connection is gone.
    let metrics = world.ask(EMBEDDINGS, &json!({ "model": "text-gemini", "input": "after" })).await;
    assert_eq!(metrics.status, 200);
    world.provider.open_gate("g");
    let bill = world.provider.bill.settled().await;
    let id = bill[0].request_id.clone().unwrap();
    let calls = bill.iter().filter(|entry| entry.request_id.as_ref() == Some(&id)).count();
    assert!(calls < 40, "{calls}");
    assert_billed(&world, &id, calls).await;
    let record = world.record(&id).await;
    assert_eq!(record.http_status, 499, "{record:?}");
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_cannot_carry_is_named_or_refused() {
    let world = world();
    let request = json!({ "model": "text-cohere", "input": "a", "dimensions": 16, "user": "u" });
    let answer = world.ask(EMBEDDINGS, &request).await;
    assert_eq!((answer.status, answer.header("x-helix-dropped-params")), (200, "user,dimensions"), "{}", answer.text());
    for (request, code, param) in [
        (json!({ "model": "text-titan", "input": [1, 2] }), "invalid_request", json!("input")),
        (json!({ "model": "text-strict", "input": "a", "user": "u" }), "invalid_request", json!("user")),
        (json!({ "model": "text-chat", "input": "a" }), "unsupported_backend", json!("model")),
    ] {
        let answer = world.ask(EMBEDDINGS, &request).await;
        let body = answer.json();
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, code), "{body}");
        assert_eq!(body["error"]["param"], param, "{body}");
    }
    assert_eq!(world.provider.bill.settled().await.len(), 1);
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_count_is_booked_as_an_estimate() {
    let world = world();
    let text = r#"Some words to be counted. [[fake:{"no_usage":true}]]"#;
    let answer = world.ask(EMBEDDINGS, &json!({ "model": "text-gemini", "input": text })).await;
    let body: Value = answer.json();
    assert!(answer.status == 200 && body["usage"]["prompt_tokens"].as_u64().unwrap() > 3, "{body}");
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!(record.basis.as_str(), "estimated", "{record:?}");
    world.verify(1);
}
