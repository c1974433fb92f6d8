//! OpenAI's older and smaller APIs through the gateway: legacy completions and moderations.

use crate::first_request;
use crate::support::world::{World, reserved_nano_usd, streamed};
use serde_json::{Value, json};

fn yaml(provider: &str) -> String {
    first_request::yaml(provider).replace(r#""text-*""#, r#""text-*", "omni-*""#)
}

fn completion(script: &Value) -> Value {
    json!({ "model": "gpt-5-mini", "prompt": format!("Say hello. [[fake:{script}]]"), "max_tokens": 12 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_is_answered_metered_and_billed_streamed_or_not() {
    let world = World::start(yaml);
    let script = json!({ "text": "Hello there.", "input_tokens": 9, "output_tokens": 6 });
    let whole = world.ask("/v1/completions", &completion(&script)).await;
    let body = whole.json();
    assert_eq!((whole.status, &body["choices"][0]["text"]), (200, &json!("Hello there.")), "{body}");
    let stream = world.ask("/v1/completions", &streamed(completion(&script))).await;
    let text = stream.text();
    assert!(stream.status == 200 && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(!text.contains("usage"), "usage was not asked for: {text}");
    let entries = world.provider.bill.settled().await;
    let ids: Vec<String> = [&whole, &stream].map(|answer| answer.header("x-request-id").to_owned()).into();
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(entry.cost_nano_usd).unwrap(), "exact"));
        assert!(record.cost.get() > 0 && record.dialect == "openai_completions");
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_without_a_cap_keeps_the_apis_own_default() {
    let world = World::start(yaml);
    let mut request = completion(&json!({ "output_tokens": 400 }));
    request.as_object_mut().unwrap().remove("max_tokens");
    let answer = world.ask("/v1/completions", &request).await;
    assert_eq!((answer.status, &answer.json()["usage"]["completion_tokens"]), (200, &json!(16)), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moderation_costs_nothing_with_and_without_a_model() {
    let world = World::start(yaml);
    for request in [json!({ "input": "hi" }), json!({ "input": ["hi"], "model": "omni-moderation-latest" })] {
        let answer = world.ask("/v1/moderations", &request).await;
        assert_eq!((answer.status, &answer.json()["results"][0]["flagged"]), (200, &json!(false)), "{}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((record.cost.get(), record.basis.as_str()), (0, "exact"));
        assert_eq!(record.requested_model, "omni-moderation-latest");
    }
    let denied = world.ask("/v1/moderations", &json!({ "input": "hi", "model": "secret-moderation" })).await;
    assert!(matches!(denied.status, 403 | 404), "{}", denied.text());
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_conversations_answers_a_prompt_whole_and_streamed() {
    let world = World::start(yaml);
    let script = json!({ "text": "Hello there.", "input_tokens": 9, "output_tokens": 6 });
    let mut request = completion(&script);
    request["model"] = json!("claude-haiku-4-5");
    let whole = world.ask("/v1/completions", &request).await;
    let body = whole.json();
    let choice = json!({ "text": "Hello there.", "index": 0, "logprobs": null, "finish_reason": "stop" });
    assert_eq!(
        (whole.status, &body["object"], &body["choices"]),
        (200, &json!("text_completion"), &json!([choice])),
        "{body}"
    );
    assert_eq!(body["usage"]["total_tokens"], 15);
    let stream = world.ask("/v1/completions", &streamed(request.clone())).await;
    let text = stream.text();
    assert!(text.contains("data: {\"id\":\"cmpl-") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(!text.contains("usage"), "usage was not asked for: {text}");
    // M16: two prompts, two answers each, are four requests of one attempt.
    let prompt = request["prompt"].clone();
    request["prompt"] = json!([prompt, prompt]);
    request["n"] = json!(2);
    let four = world.ask("/v1/completions", &request).await;
    let body = four.json();
    let indexes: Vec<u64> =
        body["choices"].as_array().unwrap().iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!((four.status, indexes), (200, vec![0, 1, 2, 3]), "{body}");
    assert_eq!(body["usage"], json!({ "prompt_tokens": 36, "completion_tokens": 24, "total_tokens": 60 }));
    let bill = world.provider.bill.settled().await;
    assert_eq!(bill.len(), 6);
    for answer in [&whole, &stream, &four] {
        let id = answer.header("x-request-id");
        let billed: u64 =
            bill.iter().filter(|entry| entry.request_id.as_deref() == Some(id)).map(|entry| entry.cost_nano_usd).sum();
        let record = world.record(id).await;
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(billed).unwrap(), "exact"), "{record:?}");
        assert!(billed > 0 && record.attempts.len() == 1);
    }
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_of_conversations_cannot_do_with_a_prompt_is_refused_by_its_name() {
    let world = World::start(yaml);
    for (field, value) in [
        ("echo", json!(true)),
        ("suffix", json!(".")),
        ("logprobs", json!(2)),
        ("best_of", json!(3)),
        ("prompt", json!([1, 2])),
    ] {
        let mut request = json!({ "model": "claude-haiku-4-5", "prompt": "hi" });
        request[field] = value;
        let answer = world.ask("/v1/completions", &request).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["error"]["param"]), (400, &json!(field)), "{body}");
    }
    assert!(world.provider.bill.settled().await.is_empty());
    let request = json!({ "model": "claude-haiku-4-5", "input": "hi" });
    let answer = world.ask("/v1/moderations", &request).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unsupported_backend"));
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_prompts_are_priced_each_by_its_own_size() {
    let world = World::start(yaml);
    // Beyond 100,000 tokens of input this model costs five times as much; neither prompt reaches that, both together do.
    let price = json!({ "claude-haiku-5-5": { "input": 100_000, "output": 500_000 } });
    world.provider.set_script(json!({ "prices": price })).unwrap();
    let script = json!({ "input_tokens": 60_001, "output_tokens": 7 });
    let prompt = format!("{} [[fake:{script}]]", "word ".repeat(13_000));
    let request = json!({ "model": "claude-haiku-5-5", "prompt": [prompt, prompt], "max_tokens": 9 });
    let answer = world.ask("/v1/completions", &request).await;
    assert_eq!((answer.status, &answer.json()["usage"]["prompt_tokens"]), (200, &json!(120_002)), "{}", answer.text());
    let record = world.record(answer.header("x-request-id")).await;
    let billed: u64 = world.provider.bill.settled().await.iter().map(|entry| entry.cost_nano_usd).sum();
    assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(billed).unwrap(), "exact"));
    assert!(record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moderation_that_the_operator_has_a_price_for_is_reserved_and_charged() {
    let world = World::start(|provider| {
        let head = format!(
            "models:
  - {{ match: \"omni-paid\", backends: [{{ provider: house, model: paid }}] }}
prices:
  - {{ provider: house, model: paid, input: \"0.1\", output: \"0.1\" }}
providers:
  house: {{ kind: mistral, base_url: \"{provider}/v1\", api_key: sk-canary-house }}
"
        );
        yaml(provider).replacen("providers:\n", &head, 1)
    });
    world.provider.set_script(json!({ "prices": { "paid": { "input": 100_000 } } })).unwrap();
    let input = ["Say nothing wrong.", "Or do."];
    let answer = world.ask("/v1/moderations", &json!({ "model": "omni-paid", "input": input })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = world.record(answer.header("x-request-id")).await;
    let billed = i64::try_from(world.provider.bill.settled().await[0].cost_nano_usd).unwrap();
    let reserved = reserved_nano_usd(&record);
    assert!(billed > 0 && record.cost.get() > 0 && billed <= reserved && record.cost.get() <= reserved, "{record:?}");
    assert_eq!((record.basis.as_str(), record.charged.len()), ("estimated", 3));
    // A picture may be of any size, and nobody says what this model reads at most.
    let picture = json!([{ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } }]);
    let answer = world.ask("/v1/moderations", &json!({ "model": "omni-paid", "input": picture })).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unbounded_cost"), "{}", answer.text());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_calls_is_priced_by_its_own_size() {
    let model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let world = World::start(|provider| {
        let aws = format!(
            "providers:\n  aws: {{ kind: bedrock, region: us-east-1, base_url: \"{provider}/aws\", api_key: ABSKbearer }}"
        );
        yaml(provider).replacen("providers:", &aws, 1).replace("mode: hard", "mode: soft")
            + &format!("models:\n  - {{ match: gpt-large, backends: [{{ provider: aws, model: \"{model}\" }}] }}\n")
    });
    // Two calls below the line of 200,000 tokens where its price rises, and together above it.
    let script = json!({ "input_tokens": 150_000, "output_tokens": 6 });
    let mut request = completion(&script);
    request["model"] = json!("gpt-large");
    request["prompt"] = json!([request["prompt"], request["prompt"]]);
    let answer = world.ask("/v1/completions", &request).await;
    assert_eq!((answer.status, &answer.json()["usage"]["prompt_tokens"]), (200, &json!(300_000)), "{}", answer.text());
    let bill = world.provider.bill.settled().await;
    let billed: u64 = bill.iter().map(|entry| entry.cost_nano_usd).sum();
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!((bill.len(), record.basis.as_str()), (2, "exact"));
    assert_eq!(record.cost.get(), i64::try_from(billed).unwrap(), "{record:?}");
    world.verify(1);
}
