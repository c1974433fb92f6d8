//! The Anthropic dialect on the wire: bytes and headers in both directions.
//!
//! Rule: what is compared is bytes or their hash, at the provider and at the client.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::raw::RawUpstream;
use crate::support::world::{World, messages, streamed};
use bytes::Bytes;
use helix_fake_provider::sha256_hex;
use http::Method;
use serde_json::json;

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The usual file with the provider's model under another name.
fn routed(provider: &str) -> String {
    let yaml = first_request::yaml(provider).replace("\"text-*\"]", "fast]");
    format!(
        "{yaml}models:
  - {{ match: fast, backends: [{{ provider: anthropic, model: claude-haiku-4-5 }}] }}
  - {{ match: \"claude-*\", backends: [anthropic] }}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_provider_byte_for_byte_but_for_the_model() {
    let world = World::start(routed);
    let rest = r#""max_tokens": 16 ,"system":[{"type":"text","text":"Be \u0062rief.","cache_control":{"type":"ephemeral"}}],
        "messages":[ {"role":"user","content":[{"type":"text","text":"h\u00ef \ud83d\ude42 東京 \/"}]}],"x_new":[1.50,1e5,-0,null]"#;
    let cases = [
        (format!(r#"{{"model":"claude-haiku-4-5",{rest}}}"#), None),
        (format!("\n {{ {rest} ,\"stream\":true, \"model\"\t: \"claude-haiku-4-5\" }} \n"), None),
        (format!(r#"{{"model" : "fast",{rest}}}"#), Some((r#""fast""#, r#""claude-haiku-4-5""#))),
        (format!(r#"{{"stream":true,{rest},"model":"fast"}}"#), Some((r#""fast""#, r#""claude-haiku-4-5""#))),
    ];
    for (sent, change) in &cases {
        let answer = world.client.post(&world.url("/v1/messages"), &[("x-api-key", KEY)], sent.clone()).await;
        assert_eq!(answer.status, 200, "{sent}\n{}", answer.text());
        let expected = change.map_or_else(|| sent.clone(), |(from, to)| sent.replacen(from, to, 1));
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_sha256, sha256_hex(expected.as_bytes()), "{sent}");
    }
    world.verify(cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_streams_come_back_byte_for_byte_and_cost_what_the_provider_bills() {
    let world = World::start(first_request::yaml);
    let usage = json!({ "input_tokens": 21, "cache_read": 400, "cache_write": 30, "output_tokens": 9 });
    let mut ids = Vec::new();
    for (is_stream, script) in [
        (false, json!({ "text": "Grüße 東京 🙂" })),
        (false, json!({ "thinking": "Hm.", "chunk_bytes": 1 })),
        (false, json!({ "tool_call": { "name": "weather", "arguments": { "a": 1 } } })),
        (true, json!({ "chunks": 5, "text": "Grüße aus 東京 🙂" })),
        (true, json!({ "chunks": 5, "newline": "crlf", "chunk_bytes": 1 })),
        (true, json!({ "chunks": 5, "newline": "cr", "bom": true, "comments": true, "tight": true, "chunk_bytes": 3 })),
        (true, json!({ "thinking": "Hm. Hm.", "tool_call": { "name": "weather", "arguments": { "city": "Oslo" } } })),
    ] {
        let mut script = script;
        script.as_object_mut().unwrap().extend(usage.as_object().unwrap().clone());
        let request = if is_stream { streamed(messages(&script)) } else { messages(&script) };
        let answer = world.ask("/v1/messages", &request).await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{script} {}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "{script}");
        ids.push(answer.header("x-request-id").to_owned());
    }
    let records = world.records(&ids).await;
    for (record, entry) in records.iter().zip(world.provider.bill.settled().await) {
        assert_eq!(u64::try_from(record.cost.get()).unwrap(), entry.cost_nano_usd);
        let usage = &record.usage;
        assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens), (21, 400, 30));
        assert_eq!((usage.output_tokens, record.basis.as_str()), (9, "exact"));
    }
    world.verify(records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_tokens_passes_and_costs_nothing_n25() {
    let world = World::start(first_request::yaml);
    let body = r#"{ "model":"claude-haiku-4-5", "messages":[{"role":"user","content":"hi"}] }"#;
    for path in ["/v1/messages/count_tokens", "/messages/count_tokens", "/anthropic/v1/messages/count_tokens"] {
        let answer = world.client.post(&world.url(path), &[("x-api-key", KEY)], body).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_sha256, sha256_hex(body.as_bytes()));
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body));
        assert_eq!(world.record(answer.header("request-id")).await.cost.get(), 0);
    }
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_cross_but_for_credentials_addresses_and_our_own() {
    let answer =
        br#"{"type":"message","model":"claude-haiku-4-5-20251001","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let headers = "content-type: application/json\r\nrequest-id: req_of_provider\r\nset-cookie: a=b\r\n\
                   anthropic-organization-id: org-secret\r\nanthropic-ratelimit-tokens-remaining: 9\r\n\
                   cf-ray: 1\r\nx-helix-cost-usd: forged\r\n";
    let upstream = RawUpstream::with_body("200 OK", headers, answer).await;
    let world = World::start(|_| first_request::yaml(&upstream.url));
    let bearer = format!("Bearer {KEY}");
    let sent = [
        // The SDKs of the newer API version send a key this way; what is configured goes upstream as this provider takes it.
        ("authorization", bearer.as_str()),
        ("anthropic-version", "2026-10-21"),
        ("anthropic-beta", "files-api-2025-04-14,fine-grained-2025"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("anthropic-workspace-id", "ws-of-the-client"),
        ("request-id", "not-ours"),
        ("cookie", "session=secret"),
        ("x-helix-team", "eng"),
    ];
    let url = world.url("/anthropic/v1/messages?beta=true");
    let got = world.client.post(&url, &sent, messages(&json!({})).to_string()).await;
    assert_eq!((got.status, got.body.as_ref()), (200, answer.as_slice()));

    let request = upstream.received().pop().unwrap();
    assert_eq!(request.head.lines().next(), Some("POST /v1/messages?beta=true HTTP/1.1"));
    assert_eq!(request.header("x-api-key"), ["sk-canary-anthropic"]);
    assert_eq!(request.header("anthropic-version"), ["2026-10-21"]);
    assert_eq!(request.header("anthropic-beta"), ["files-api-2025-04-14,fine-grained-2025"]);
    assert_eq!(request.header("anthropic-dangerous-direct-browser-access"), ["true"]);
    for name in ["authorization", "cookie", "x-helix-team", "anthropic-workspace-id", "request-id"] {
        assert!(request.header(name).is_empty(), "{name} went upstream");
    }
    assert!(!request.head.contains(KEY), "{}", request.head);

    let id = got.header("request-id");
    assert!(
        uuid::Uuid::parse_str(id).is_ok() && got.header("x-request-id") == id && request.header("x-request-id") == [id]
    );
    assert_eq!(got.header("anthropic-ratelimit-tokens-remaining"), "9");
    for name in ["set-cookie", "anthropic-organization-id", "cf-ray"] {
        assert_eq!(got.header(name), "", "{name} reached the client");
    }
    assert_eq!((got.header("x-helix-model"), got.header("x-helix-provider")), ("claude-haiku-4-5", "anthropic"));
    assert_eq!((got.header("x-helix-cost-usd"), got.header("x-helix-attempts")), ("0.000006000", "1"));
    let record = world.record(id).await;
    assert_eq!(record.attempts[0].provider_request_id, "req_of_provider");
    assert_eq!(record.served_model, "claude-haiku-4-5-20251001");

    // Without a version the one that everybody's examples name is sent; the client's request id is kept.
    let headers = [("x-api-key", KEY), ("x-request-id", "mine-7")];
    let got = world.client.post(&world.url("/v1/messages"), &headers, messages(&json!({})).to_string()).await;
    assert_eq!((got.header("request-id"), got.header("x-request-id")), ("mine-7", "mine-7"));
    let request = upstream.received().pop().unwrap();
    assert_eq!(
        (request.header("anthropic-version"), request.header("x-request-id")),
        (vec!["2023-06-01"], vec!["mine-7"])
    );
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_either_key_header_lead_to_the_same_answer_t70() {
    let world = World::start(first_request::yaml);
    let bearer = format!("Bearer {KEY}");
    let keys: [&[(&str, &str)]; 3] = [
        &[("x-api-key", KEY), VERSION],
        &[("authorization", &bearer), VERSION],
        &[("authorization", &bearer), ("x-api-key", KEY)],
    ];
    let paths = ["/v1/messages", "/messages", "/v1/v1/messages", "/anthropic/v1/messages", "/anthropic/messages"];
    for path in paths {
        for key in keys {
            let answer = world.client.post(&world.url(path), key, messages(&json!({})).to_string()).await;
            assert_eq!(answer.status, 200, "{path} {key:?} {}", answer.text());
        }
    }
    let entries = world.provider.bill.settled().await;
    assert!(entries.iter().all(|entry| entry.path == "/v1/messages" && entry.key_last4.as_deref() == Some("opic")));
    world.verify(paths.len() * keys.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_with_and_without_its_version_is_the_same_backend() {
    let world = World::start(|provider| {
        first_request::yaml(provider).replace(
            &format!("kind: anthropic, base_url: \"{provider}\""),
            &format!("kind: anthropic, base_url: \"{provider}/v1/\""),
        )
    });
    assert_eq!(world.ask("/v1/messages", &messages(&json!({}))).await.status, 200);
    assert_eq!(world.provider.bill.settled().await.pop().unwrap().path, "/v1/messages");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_models_holds_what_the_team_may_use_and_nothing_else_m15() {
    let world = World::start(|provider| {
        first_request::yaml(provider).replace(
            r#"allow: ["claude-*", "gpt-*", "text-*"], deny: ["*-preview"]"#,
            r#"allow: ["claude-*"], deny: ["claude-opus-*"]"#,
        )
    });
    for (path, headers) in [
        ("/v1/models", vec![("x-api-key", KEY), VERSION]),
        ("/anthropic/v1/models", vec![("x-api-key", KEY)]),
        ("/models?limit=1000", vec![("x-api-key", KEY), ("anthropic-version", "2026-10-21")]),
    ] {
        let answer = world.client.get(&world.url(path), &headers).await;
        let list = answer.json();
        assert_eq!((answer.status, &list["has_more"]), (200, &json!(false)), "{path}");
        assert!(!answer.header("request-id").is_empty());
        let models = list["data"].as_array().unwrap();
        let names: Vec<&str> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert!(names.contains(&"claude-haiku-4-5"), "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("claude-") && !name.contains("opus")), "{names:?}");
        assert!(models.iter().all(|model| model["type"] == "model" && model["created_at"].is_string()));
        assert_eq!(
            (list["first_id"].as_str(), list["last_id"].as_str()),
            (names.first().copied(), names.last().copied())
        );
    }
    let headers = [("x-api-key", KEY), VERSION];
    let one = world.client.get(&world.url("/v1/models/claude-haiku-4-5"), &headers).await.json();
    assert_eq!((&one["type"], &one["id"]), (&json!("model"), &json!("claude-haiku-4-5")));
    let missing = world.client.get(&world.url("/v1/models/no-such-model"), &headers).await;
    assert_eq!((missing.status, &missing.json()["error"]["type"]), (404, &json!("not_found_error")));
    world.verify(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_answered_in_the_dialect() {
    let world = World::start(first_request::yaml);
    for (method, path, status, kind, allow) in [
        (Method::GET, "/v1/messages", 405, "invalid_request_error", "POST"),
        (Method::PUT, "/anthropic/v1/messages/count_tokens", 405, "invalid_request_error", "POST"),
        (Method::POST, "/v1/messages/batches", 404, "not_found_error", ""),
        (Method::GET, "/anthropic/v1/nothing", 404, "not_found_error", ""),
        (Method::GET, "/v1/nothing", 404, "not_found_error", ""),
    ] {
        let answer = world.client.send(method, &world.url(path), &[("x-api-key", KEY), VERSION], Bytes::new()).await;
        let error = answer.json();
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{path}");
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)), "{path}");
        assert_eq!(error["request_id"], answer.header("request-id"));
    }
    world.verify(0);
}
