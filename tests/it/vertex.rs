//! Clients of both dialects at Google's Vertex AI: Gemini and Claude, tokens of a service account, and the cost that Google
//! bills.
//!
//! Rule: the provider verifies the signed claim of the service account by its public key, and lets in only tokens that it
//! issued; the gateway runs as a process.

use crate::first_request;
use crate::support::world::{World, chat, messages, reserved_nano_usd, streamed};
use helix_fake_provider::PRESENTED;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "gemini-2.5-flash";
const CLAUDE: &str = "claude-sonnet-4-5@20250929";

/// A file with Vertex AI in three places, all by a credentials file that the test writes beside it.
fn yaml(provider: &str) -> String {
    let vertex = |name: &str, region: &str, more: &str| {
        format!(
            "  {name}: {{ kind: vertex, project: fake-project, region: {region}, base_url: \"{provider}\", {more} }}\n"
        )
    };
    let file = "credentials_file: google.json";
    let over = json!({ "type": "authorized_user", "client_id": "id", "client_secret": PRESENTED, "refresh_token": "over",
        "token_uri": format!("{provider}/google/token") });
    let providers = [
        vertex("vertex", "global", file),
        vertex("vertex-eu", "europe-west4", file),
        vertex("vertex-full", "quota", file),
        vertex("vertex-stale", "global", "api_key: not-issued-here"),
        vertex("vertex-over", "global", &format!("credentials: '{over}'")),
    ]
    .concat();
    let route = |name: &str, provider: &str, model: &str| {
        format!("  - {{ match: {name}, backends: [{{ provider: {provider}, model: \"{model}\" }}] }}\n")
    };
    let models = [
        route("gpt-gemini", "vertex", GEMINI),
        route("claude-gemini", "vertex", GEMINI),
        route("gpt-claude", "vertex", CLAUDE),
        route("claude-here", "vertex", CLAUDE),
        route("claude-eu", "vertex-eu", CLAUDE),
        route("gpt-full", "vertex-full", CLAUDE),
        route("claude-full", "vertex-full", CLAUDE),
        route("claude-stale", "vertex-stale", CLAUDE),
        route("claude-over", "vertex-over", CLAUDE),
    ]
    .concat();
    first_request::yaml(provider).replacen("providers:\n", &format!("models:\n{models}providers:\n{providers}"), 1)
}

/// A world whose credentials file is written once the provider's address is known.
fn world() -> World {
    let world = World::start(yaml);
    std::fs::write(world.folder.path().join("google.json"), world.provider.service_account()).unwrap();
    world
}

fn of(model: &str, mut request: Value) -> Value {
    request["model"] = json!(model);
    request
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Compares each record with its line on the provider's bill.
async fn costs_agree(world: &World) {
    let entries = world.provider.bill.settled().await;
    let billed: Vec<_> = entries.into_iter().filter(|entry| entry.status == 200 && entry.cost_nano_usd > 0).collect();
    let ids: Vec<String> = billed.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    for (record, entry) in world.records(&ids).await.iter().zip(&billed) {
        assert!(entry.priced, "{entry:?}");
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(entry.cost_nano_usd).unwrap(), "exact"));
        assert!(record.cost.get() <= reserved_nano_usd(record), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_answers_clients_of_both_dialects_whole_and_streamed() {
    let world = world();
    let script = json!({ "text": "Hello there.", "input_tokens": 30, "output_tokens": 12, "cache_read": 7 });
    let answer = world.ask(CHAT, &of("gpt-gemini", chat(&script))).await;
    let body = answer.json();
    assert_eq!((answer.status, answer.header("x-helix-model")), (200, GEMINI), "{body}");
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there.");
    assert_eq!(body["usage"]["prompt_tokens"], 37);
    let text = world.ask(CHAT, &streamed(of("gpt-gemini", chat(&script)))).await.text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let body = world.ask(MESSAGES, &of("claude-gemini", messages(&script))).await.json();
    assert_eq!(
        (&body["content"][0]["text"], &body["stop_reason"]),
        (&json!("Hello there."), &json!("end_turn")),
        "{body}"
    );
    let text = world.ask(MESSAGES, &streamed(of("claude-gemini", messages(&script)))).await.text();
    assert_eq!(events(&text).pop().unwrap()["type"], "message_stop", "{text}");
    costs_agree(&world).await;
    let entries = world.provider.bill.entries();
    let base = "/v1/projects/fake-project/locations/global/publishers/google/models/gemini-2.5-flash";
    assert_eq!(entries[0].path, format!("{base}:generateContent"));
    assert_eq!(entries[1].path, format!("{base}:streamGenerateContent?alt=sse"));
    assert_eq!(world.provider.issuer_asked("google"), 1, "one token for all");
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn g26_claude_answers_its_own_clients_in_their_bytes() {
    let world = world();
    let script = json!({ "text": "Hello there.", "input_tokens": 31, "output_tokens": 12, "cache_read": 7 });
    let answer = world.ask(MESSAGES, &of("claude-here", messages(&script))).await;
    let body = answer.json();
    assert_eq!((answer.status, answer.header("x-helix-model")), (200, CLAUDE), "{body}");
    assert_eq!(body["content"][0], json!({ "type": "text", "text": "Hello there." }));
    let mut sent = streamed(of("claude-here", messages(&script)));
    sent["unknown"] = json!({ "kept": [1, 2] });
    let answer = world.ask(MESSAGES, &sent).await;
    let text = answer.text();
    assert_eq!(events(&text).pop().unwrap()["type"], "message_stop", "{text}");
    let entries = world.provider.bill.settled().await;
    let expected = sent.to_string().replace("\"model\":\"claude-here\"", "\"anthropic_version\":\"vertex-2023-10-16\"");
    assert_eq!(entries[1].request_sha256, helix_fake_provider::sha256_hex(expected.as_bytes()), "only that field");
    let base = "/v1/projects/fake-project/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929";
    assert_eq!(
        (&entries[0].path, &entries[1].path),
        (&format!("{base}:rawPredict"), &format!("{base}:streamRawPredict"))
    );
    assert!(!entries[0].headers.contains_key("anthropic-version") && !entries[0].headers.contains_key("x-api-key"));
    let mut count = of("claude-here", messages(&json!({})));
    count.as_object_mut().unwrap().remove("max_tokens");
    let counted = world.ask("/v1/messages/count_tokens", &count).await;
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 0, "{}", counted.text());
    let path = world.provider.bill.settled().await.pop().unwrap().path;
    assert_eq!(path, "/v1/projects/fake-project/locations/global/publishers/anthropic/models/count-tokens:rawPredict");
    costs_agree(&world).await;
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_answers_openais_clients_with_calls_of_tools() {
    let world = world();
    let script = json!({ "tool_call": [{ "name": "f", "arguments": { "a": 1 } }, { "name": "g" }] });
    let mut request = of("gpt-claude", chat(&script));
    request["tools"] = json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }]);
    let body = world.ask(CHAT, &request).await.json();
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{body}");
    assert_eq!(choice["message"]["tool_calls"][0]["function"], json!({ "name": "f", "arguments": "{\"a\":1}" }));
    let text = world.ask(CHAT, &streamed(request)).await.text();
    assert!(text.contains("\"name\":\"g\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
    costs_agree(&world).await;
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_in_a_region_costs_a_tenth_more_as_google_bills_it() {
    let world = world();
    let script = json!({ "input_tokens": 1000, "output_tokens": 10, "cache_write": 10 });
    for model in ["claude-here", "claude-eu"] {
        assert_eq!(world.ask(MESSAGES, &of(model, messages(&script))).await.status, 200);
    }
    costs_agree(&world).await;
    let costs: Vec<u64> = world.provider.bill.entries().iter().map(|entry| entry.cost_nano_usd).collect();
    assert_eq!(costs[1], costs[0] + costs[0] / 10);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_refusals_come_in_the_clients_words_also_from_claude() {
    let world = world();
    let answer = world.ask(MESSAGES, &of("claude-full", messages(&json!({})))).await;
    let error = answer.json();
    assert_eq!((answer.status, &error["error"]["type"]), (429, &json!("rate_limit_error")), "{error}");
    assert_eq!((answer.header("retry-after"), &error["type"]), ("34", &json!("error")));
    let answer = world.ask(CHAT, &of("gpt-full", chat(&json!({})))).await;
    let error = answer.json();
    assert_eq!((answer.status, &error["error"]["type"]), (429, &json!("rate_limit_error")), "{error}");
    assert_eq!(answer.header("retry-after"), "34");
    // Anthropic's own pass as they are.
    let answer = world.ask(MESSAGES, &of("claude-here", messages(&json!({ "status": 529 })))).await;
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (529, &json!("overloaded_error")));
    assert!(answer.text().contains("Scripted error 529"));
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_back_is_renewed_once_and_the_request_tried_again() {
    let world = world();
    let ask = async || world.ask(MESSAGES, &of("claude-here", messages(&json!({})))).await;
    assert_eq!(ask().await.status, 200);
    world.provider.revoke_issued();
    let answer = ask().await;
    assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{}", answer.text());
    assert_eq!(world.provider.issuer_asked("google"), 2);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_the_credential_is_ours_and_says_no_secret() {
    let world = world();
    let stale = world.ask(MESSAGES, &of("claude-stale", messages(&json!({})))).await;
    assert_eq!(stale.header("x-helix-error-code"), "upstream_credential", "{}", stale.text());
    assert_eq!(world.provider.bill.settled().await.len(), 1, "a token that was given has no other");
    world.provider.set_issuers_away(true);
    let away = world.ask(MESSAGES, &of("claude-here", messages(&json!({})))).await;
    assert_eq!(away.header("x-helix-error-code"), "upstream_credential", "{}", away.text());
    world.provider.set_issuers_away(false);
    let over = world.ask(MESSAGES, &of("claude-over", messages(&json!({})))).await;
    assert_eq!(over.header("x-helix-error-code"), "upstream_credential", "{}", over.text());
    let log = world.gateway.log();
    assert!(log.contains("answered 503") && log.contains("(invalid_grant)"), "{log}");
    assert!(!log.contains("PRIVATE KEY") && !log.contains(PRESENTED), "{log}");
    assert!(!away.text().contains("503"), "{}", away.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_of_a_person_and_of_a_machine_serve_as_well() {
    let yaml = |provider: &str| yaml(provider).replace("credentials_file: google.json", "max_in_flight: 9");
    let world = World::with_env(&["GCE_METADATA_HOST={host}"], yaml);
    let answer = world.ask(MESSAGES, &of("claude-here", messages(&json!({})))).await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), world.gateway.log());
    assert_eq!(world.provider.issuer_asked("google metadata"), 1);
    world.verify(1);
    let world = World::with_env(&["CLOUDSDK_CONFIG={folder}"], yaml);
    let uri = format!("{}/google/token", world.provider.url());
    let file = json!({ "type": "authorized_user", "client_id": "id", "client_secret": PRESENTED,
        "refresh_token": PRESENTED, "token_uri": uri });
    let path = world.folder.path().join("application_default_credentials.json");
    std::fs::write(path, file.to_string()).unwrap();
    let answer = world.ask(MESSAGES, &of("claude-here", messages(&json!({})))).await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), world.gateway.log());
    assert_eq!(world.provider.issuer_asked("google"), 1);
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_ask_for_the_dear_tier_by_a_header() {
    let world = world();
    let script = json!({ "input_tokens": 30, "output_tokens": 12 });
    let bearer = format!("Bearer {}", crate::support::gateway::KEY);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("X-Vertex-AI-LLM-Shared-Request-Type", "priority"),
        ("x-hf-bill-to", "somebody"),
        ("anthropic-beta", "novel-2026-11-01"),
    ];
    for (path, request, hears_betas) in [
        (CHAT, of("gpt-gemini", chat(&script)), false),
        (MESSAGES, of("claude-gemini", messages(&script)), false),
        (CHAT, of("gpt-claude", chat(&script)), false),
        (MESSAGES, of("claude-here", messages(&script)), true),
    ] {
        let answer = world.client.post(&world.url(path), &headers, request.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let got = world.provider.bill.settled().await.pop().unwrap().headers;
        assert!(!got.keys().any(|name| name.starts_with("x-vertex-") || name.starts_with("x-hf-")), "{got:?}");
        assert_eq!(got.contains_key("anthropic-beta"), hears_betas, "{got:?}");
    }
    costs_agree(&world).await;
    world.verify(4);
}
