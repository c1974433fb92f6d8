//! What the gateway keeps to with providers, whoever they are: time limits by phase, no encodings that were not asked for,
//! no address but the operator's, no header that is not the client's business.
//!
//! Rule: the gateway runs as a process; a provider may be hostile.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::raw::RawUpstream;
use crate::support::world::{World, chat, reserved_nano_usd, streamed};
use helix_shared::record::Decision;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CHAT: &str = "/v1/chat/completions";

fn limited(timeout: &'static str) -> impl Fn(&str) -> String {
    move |provider| {
        first_request::yaml(provider).replace("kind: openai,", &format!("kind: openai, timeout: {{ {timeout} }},"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_phase_has_its_own_limit_and_the_error_names_it() {
    // A server that takes connections and never speaks TLS.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf = format!("https://{}", silent.local_addr().unwrap());
    let slow = json!({ "chunks": 30, "chunk_delay_ms": 100 });
    let cases: [(_, _, Value, _, _); 4] = [
        ("connect: 300ms", Some(deaf), chat(&json!({})), (502, "upstream_unreachable"), ""),
        ("first_byte: 300ms", None, chat(&json!({ "hang": true })), (504, "upstream_timeout"), "timeout.first_byte"),
        (
            "between_chunks: 300ms",
            None,
            streamed(chat(&json!({ "hang_after_chunks": 1 }))),
            (200, "upstream_timeout"),
            "timeout.between_chunks",
        ),
        ("total: 1s", None, streamed(chat(&slow)), (200, "upstream_timeout"), "timeout.total"),
    ];
    for (timeout, base, request, (status, code), named) in cases {
        let world = World::start(|provider| limited(timeout)(base.as_deref().unwrap_or(provider)));
        let answer = world.ask(CHAT, &request).await;
        assert_eq!(answer.status, status, "{timeout}: {}", answer.text());
        assert!(answer.text().contains(code), "{timeout}: {}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!(record.decision, Decision::Failed { stage: "model".to_owned(), code: code.to_owned() }, "{timeout}");
        assert!(answer.text().contains(named), "{timeout}: {}", answer.text());
        if !named.is_empty() {
            let limit = format!("timed_out_{}", named.trim_start_matches("timeout."));
            assert_eq!(record.attempts[0].error, limit, "{timeout}");
            let log = world.gateway.log();
            assert!(log.contains(named) && log.contains(answer.header("x-request-id")), "{timeout}: {log}");
        }
        world.verify(1);
    }
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_an_encoding_that_nobody_asked_for_is_not_read_and_bombs_nobody() {
    for encoding in ["gzip", "br", "zstd", "deflate", "gzip, br"] {
        // What would be gigabytes somewhere else is some bytes here.
        let bomb = vec![0x1f; 100_000];
        let headers = format!("content-type: application/json\r\ncontent-encoding: {encoding}\r\n");
        let hostile = RawUpstream::with_body("200 OK", &headers, &bomb).await;
        let world = World::start(|_| first_request::yaml(&hostile.url));
        let before = world.peak_kib();
        for request in [chat(&json!({})), streamed(chat(&json!({})))] {
            let answer = world.ask(CHAT, &request).await;
            assert_eq!(answer.status, 502, "{encoding}: {}", answer.text());
            assert_eq!(answer.header("x-helix-error-code"), "upstream_error");
            assert_eq!(answer.header("content-encoding"), "");
            assert!(answer.text().contains("encoded"), "{}", answer.text());
            let record = world.record(answer.header("x-request-id")).await;
            // Nobody knows what the provider bills for it.
            assert_eq!((record.basis.as_str(), record.cost.get()), ("unknown", reserved_nano_usd(&record)));
        }
        assert!(hostile.received().iter().all(|request| request.header("accept-encoding") == ["identity"]));
        assert!(world.peak_kib() < before + 20_000);
        world.verify(2);
    }
    let errors = RawUpstream::with_body("400 Bad Request", "content-encoding: gzip\r\n", b"\x1f\x8b").await;
    let world = World::start(|_| first_request::yaml(&errors.url));
    let answer = world.ask(CHAT, &chat(&json!({}))).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (502, ""));
    assert_eq!(world.record(answer.header("x-request-id")).await.cost.get(), 0, "an error costs nothing");
    let plain =
        RawUpstream::with_body("200 OK", "content-type: application/json\r\ncontent-encoding: identity\r\n", b"{}")
            .await;
    let world = World::start(|_| first_request::yaml(&plain.url));
    assert_eq!(world.ask(CHAT, &chat(&json!({}))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_url_no_field_of_a_request_says_where_it_goes_cve_2024_6587() {
    let elsewhere = RawUpstream::with_body("200 OK", "", b"{}").await;
    let world = World::start(first_request::yaml);
    let host = elsewhere.url.strip_prefix("http://").unwrap();
    let names = [
        "api_base",
        "base_url",
        "baseURL",
        "api_url",
        "endpoint",
        "url",
        "uri",
        "host",
        "hostname",
        "server",
        "proxy",
        "http_proxy",
        "target",
        "upstream",
        "provider",
        "provider_url",
        "backend",
        "custom_host",
        "custom_llm_provider",
        "azure_endpoint",
        "api_host",
        "origin",
        "redirect",
        "webhook",
        "callback",
        "model_url",
        "deployment_url",
        "aws_bedrock_runtime_endpoint",
        "vertex_api_base",
        "organization_url",
        "litellm_params",
        "extra_body",
    ];
    let mut asked = 0;
    for name in names {
        for value in [elsewhere.url.clone(), host.to_owned(), format!("//{host}"), format!("{}/v1", elsewhere.url)] {
            let mut body = chat(&json!({}));
            body[name] = json!(value);
            body["metadata"] = json!({ name: value });
            let header = format!("x-{}", name.replace('_', "-").to_ascii_lowercase());
            let portkey = format!("x-portkey-{}", name.replace('_', "-").to_ascii_lowercase());
            let mut headers: Vec<(&str, &str)> = vec![("authorization", ""), (&header, &value), (&portkey, &value)];
            let bearer = format!("Bearer {KEY}");
            headers[0].1 = &bearer;
            headers.extend([
                ("content-type", "application/json"),
                ("x-forwarded-host", value.as_str()),
                ("forwarded", "host=canary"),
                ("x-original-url", &value),
                ("x-rewrite-url", &value),
                ("x-host", &value),
                ("x-base-url", &value),
                ("x-upstream", &value),
                ("x-custom-host", &value),
            ]);
            let url = format!("{}?{name}={value}", world.url(CHAT));
            let answer = world.client.post(&url, &headers, body.to_string()).await;
            // The provider may refuse what it does not know; it is the one that is asked.
            assert!(matches!(answer.status, 200 | 400), "{name}: {}", answer.text());
            asked += 1;
        }
    }
    assert!(elsewhere.received().is_empty(), "{:?}", elsewhere.received());
    let entries = world.provider.bill.settled().await;
    assert_eq!(entries.len(), asked, "every request went to the provider of the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_providers_headers_only_those_cross_that_are_the_clients_business() {
    let world = World::start(first_request::yaml);
    let kept_back = [
        ("set-cookie", "__cf_bm=canary"),
        ("set-cookie2", "canary"),
        ("clear-site-data", "\"*\""),
        ("alt-svc", "h3=canary"),
        ("strict-transport-security", "max-age=1"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("content-security-policy", "canary"),
        ("report-to", "canary"),
        ("nel", "canary"),
        ("reporting-endpoints", "canary"),
        ("service-worker-allowed", "/"),
        ("refresh", "0; url=canary"),
        ("www-authenticate", "Bearer canary"),
        ("server", "canary"),
        ("via", "canary"),
        ("openai-organization", "canary"),
        ("anthropic-organization-id", "canary"),
        ("cf-ray", "canary"),
        ("x-helix-cost-usd", "canary"),
        ("sourcemap", "canary"),
        ("proxy-authenticate", "canary"),
        ("upgrade", "canary"),
    ];
    let passed = [
        ("openai-processing-ms", "7"),
        ("x-ratelimit-remaining-tokens", "9"),
        ("retry-after-ms", "5"),
        ("x-new-thing", "x"),
    ];
    let headers: serde_json::Map<String, Value> =
        kept_back.iter().chain(&passed).map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    for request in [
        chat(&json!({ "headers": headers })),
        streamed(chat(&json!({ "headers": headers }))),
        chat(&json!({ "headers": headers, "status": 400 })),
    ] {
        let answer = world.ask(CHAT, &request).await;
        assert!(!format!("{:?}", answer.headers).contains("canary"), "{:?}", answer.headers);
        for (name, value) in kept_back {
            assert_ne!(answer.header(name), value, "{name}");
        }
        for (name, value) in passed {
            assert_eq!(answer.header(name), value, "{name}");
        }
    }
}
