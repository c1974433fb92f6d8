//! What would let a request cost more than was reserved, or reach a model that nobody allowed, by a field beside those that
//! are usually read.
//!
//! Rule: the provider takes every such field at its word and bills what it stands for; the gateway runs as a process.

use crate::first_request;
use crate::support::world::{World, messages, prompt, reserved_nano_usd};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const MESSAGES: &str = "/v1/messages";

/// Beside the usual providers one that sells many models, and a server that reads `max_tokens` alone.
fn yaml(provider: &str) -> String {
    let head = format!(
        "models:
  - {{ match: gpt-cheap, backends: [{{ provider: market, model: cheap }}] }}
  - {{ match: claude-cheap, backends: [{{ provider: market, model: cheap }}] }}
  - {{ match: \"claude-*\", backends: [anthropic] }}
  - {{ match: gpt-older, backends: [{{ provider: older, model: cheap }}] }}
prices:
  - {{ provider: market, model: cheap, input: \"0.25\", output: \"2\" }}
  - {{ provider: older, model: cheap, input: \"0.25\", output: \"2\" }}
providers:
  market: {{ kind: openrouter, base_url: \"{provider}/v1\", api_key: sk-canary-market }}
  older: {{ kind: openai_compatible, base_url: \"{provider}/older/v1\", api_key: sk-canary-older }}
"
    );
    first_request::yaml(provider).replacen("providers:\n", &head, 1)
}

fn prices() -> Value {
    json!({ "cheap": { "input": 250_000, "output": 2_000_000 }, "dear": { "input": 15_000_000, "output": 75_000_000 } })
}

fn with(mut request: Value, further: &Value) -> Value {
    request.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_a_further_model_is_refused_also_where_only_soft_budgets_govern() {
    for mode in ["hard", "soft"] {
        let world = World::start(|provider| yaml(provider).replace("mode: hard", &format!("mode: {mode}")));
        world.provider.set_script(json!({ "prices": prices() })).unwrap();
        let haiku = messages(&json!({}));
        let chat = json!({ "model": "gpt-cheap", "max_tokens": 9, "messages": prompt(&json!({})) });
        let completion = json!({ "model": "gpt-cheap", "max_tokens": 9, "prompt": "hi" });
        let translated = with(haiku.clone(), &json!({ "model": "claude-cheap" }));
        let embedding = json!({ "model": "gpt-cheap", "input": "hi" });
        let advisor =
            json!([{ "type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-6", "max_uses": 5 }]);
        let fusion = json!([{ "type": "openrouter:advisor", "parameters": { "model": "dear" } }]);
        let cases = [
            (MESSAGES, &haiku, json!({ "tools": advisor }), "tools"),
            (MESSAGES, &haiku, json!({ "fallbacks": [{ "model": "claude-opus-4-6" }] }), "fallbacks"),
            (MESSAGES, &translated, json!({ "tools": advisor }), "tools"),
            (CHAT, &chat, json!({ "models": ["dear"], "route": "fallback" }), "models"),
            (CHAT, &chat, json!({ "fallbacks": ["dear"] }), "fallbacks"),
            (CHAT, &chat, json!({ "tools": fusion }), "tools"),
            (CHAT, &chat, json!({ "plugins": [{ "id": "fusion", "model": "dear" }] }), "plugins"),
            (COMPLETIONS, &completion, json!({ "models": ["dear"], "route": "fallback" }), "models"),
            (
                COMPLETIONS,
                &completion,
                json!({ "plugins": [{ "id": "fusion", "analysis_models": ["dear"] }] }),
                "plugins",
            ),
            ("/v1/embeddings", &embedding, json!({ "models": ["dear"] }), "models"),
        ];
        for (path, request, further, field) in &cases {
            let answer = world.ask(path, &with((*request).clone(), further)).await;
            let text = answer.text();
            assert_eq!(
                (answer.status, answer.header("x-helix-error-code")),
                (400, "invalid_request"),
                "{field} {text}"
            );
            assert!(text.contains(&format!("`{field}`")), "{text}");
        }
        assert!(world.provider.bill.settled().await.is_empty(), "nothing went to the provider");
        // What calls no model of its own goes on.
        let own =
            json!({ "tools": [{ "name": "f", "input_schema": { "properties": { "model": { "type": "string" } } } }] });
        assert_eq!(world.ask(MESSAGES, &with(haiku.clone(), &own)).await.status, 200);
        world.verify(cases.len() + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_search_beside_a_completion_or_an_embedding_has_no_bound() {
    let world = World::start(yaml);
    world.provider.set_script(json!({ "prices": prices() })).unwrap();
    let plugins = json!({ "plugins": [{ "id": "web" }] });
    for (path, request) in [
        (COMPLETIONS, json!({ "model": "gpt-cheap", "max_tokens": 9, "prompt": "hi" })),
        ("/v1/embeddings", json!({ "model": "gpt-cheap", "input": "hi" })),
    ] {
        let answer = world.ask(path, &with(request, &plugins)).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unbounded_cost"), "{}", answer.text());
    }
    assert!(world.provider.bill.settled().await.is_empty());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_holds_at_a_server_that_reads_only_one_of_its_two_names() {
    let world = World::start(yaml);
    world.provider.set_script(json!({ "prices": prices() })).unwrap();
    let talk = json!({ "output_tokens": 5_000 });
    for (caps, written) in [
        (json!({ "max_completion_tokens": 8 }), 8),
        (json!({ "max_completion_tokens": 8, "max_tokens": null }), 8),
        (json!({ "max_completion_tokens": 1, "max_tokens": 3_000 }), 3_000),
        (json!({ "max_completion_tokens": 3_000, "max_tokens": 2 }), 2),
        (json!({ "max_tokens": 7 }), 7),
    ] {
        let request = with(json!({ "model": "gpt-older", "messages": prompt(&talk) }), &caps);
        let answer = world.ask(CHAT, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.billed_usage.output, written, "{caps}");
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!(record.cost.get(), i64::try_from(entry.cost_nano_usd).unwrap(), "{caps}");
        assert!(record.cost.get() <= reserved_nano_usd(&record), "{caps}: {record:?}");
    }
    world.verify(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_fetched_may_fill_the_whole_context() {
    let world = World::start(yaml);
    let fetch = |limit: Value| {
        let tool = json!({ "type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 1 });
        json!({ "tools": [with(tool, &limit)] })
    };
    let script = json!({ "input_tokens": 190_000 });
    for limit in [json!({}), json!({ "max_content_tokens": 100 })] {
        let answer = world.ask(MESSAGES, &with(messages(&script), &fetch(limit))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!(record.cost.get(), i64::try_from(entry.cost_nano_usd).unwrap());
        assert!(record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
    }
    // Of this one nobody says what it reads at most.
    let vast = with(messages(&script), &json!({ "model": "claude-fable-5-2" }));
    let answer = world.ask(MESSAGES, &with(vast, &fetch(json!({})))).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unbounded_cost"), "{}", answer.text());
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_the_provider_makes_first_is_reserved_too() {
    let world = World::start(yaml);
    // The prompt is read twice, a token a byte; the summary is written beside an answer as long as it may be.
    let script = json!({ "input_tokens": 80_000, "output_tokens": 64 });
    let prompt = format!("{} [[fake:{script}]]", "é".repeat(20_000));
    let edits =
        json!({ "edits": [{ "type": "compact_20260112", "trigger": { "type": "input_tokens", "value": 50_000 } }] });
    let request = json!({ "model": "claude-haiku-4-5", "max_tokens": 64, "context_management": edits,
        "messages": [{ "role": "user", "content": prompt }] });
    let answer = world.ask(MESSAGES, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = world.record(answer.header("x-request-id")).await;
    let billed = world.provider.bill.settled().await.pop().unwrap().cost_nano_usd;
    assert_eq!(record.cost.get(), i64::try_from(billed).unwrap());
    assert!(record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
    world.verify(1);
}
