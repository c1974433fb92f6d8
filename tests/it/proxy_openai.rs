//! The OpenAI dialect on the wire: bytes and headers in both directions.
//!
//! Rule: what is compared is bytes or their hash, at the provider and at the client.

use crate::first_request;
use crate::support::client::Client;
use crate::support::gateway::KEY;
use crate::support::raw::{RawUpstream, whole};
use crate::support::world::{World, chat, streamed};
use helix_fake_provider::sha256_hex;
use http::Method;
use serde_json::{Value, json};

/// The usual file with a route under another name, and hard budgets only where `budgets` says so.
fn routed(provider: &str) -> String {
    let yaml = first_request::yaml(provider).replace("\"text-*\"]", "\"text-*\", fast]");
    let (yaml, _) = yaml.split_once("budgets:").unwrap();
    format!(
        "{yaml}models:
  - {{ match: fast, backends: [{{ provider: openai, model: gpt-5-mini }}] }}
  - {{ match: \"gpt-*\", backends: [openai] }}
  - {{ match: \"text-*\", backends: [openai] }}
  - {{ match: \"claude-*\", backends: [anthropic] }}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_provider_byte_for_byte_but_for_model_and_usage_option() {
    let world = World::start(routed);
    let messages = r#" [ {"role":"user" ,"content":"h\u00ef \ud83d\ude42 東京 \/"}]"#;
    let odd = r#""x_unknown":{"a":[1.50,1e5,-0,12345678901234567890,true,null]},"seed":9007199254740993"#;
    // What is sent, and what of it is different upstream.
    let cases = [
        (format!(r#"{{"model":"gpt-5-mini","messages":{messages},{odd}}}"#), ("", "")),
        (format!("\r\n{{ \"messages\" :{messages},\t{odd} ,\"model\"\n:  \"gpt-5-mini\" }}  \n"), ("", "")),
        (format!(r#"{{"messages":{messages},"model":"gpt-\u0035-mini",{odd}}}"#), ("", "")),
        (format!(r#"{{"messages":{messages},"model": "fast" ,{odd}}}"#), (r#""fast""#, r#""gpt-5-mini""#)),
        (format!(r#"{{"model":"gpt-5-mini","stream":false,"messages":{messages}}}"#), ("", "")),
        (
            format!(r#"{{"model":"gpt-5-mini","stream":true,"messages":{messages},{odd}}}"#),
            (r#"{"model""#, r#"{"stream_options":{"include_usage":true},"model""#),
        ),
        (
            format!(
                r#"{{"stream_options": {{"include_usage" : true }},"stream":true,"model":"gpt-5-mini","messages":{messages}}}"#
            ),
            ("", ""),
        ),
        (
            format!(
                r#"{{"stream_options": {{"include_usage" : false }},"stream":true,"model":"gpt-5-mini","messages":{messages}}}"#
            ),
            (": false", ": true"),
        ),
        (
            format!(r#"{{"stream_options":null,"stream":true,"model":"gpt-5-mini","messages":{messages}}}"#),
            (r#""stream_options":null"#, r#""stream_options":{"include_usage":true}"#),
        ),
        (
            format!(
                r#"{{"stream_options":{{"include_obfuscation":false}},"stream":true,"model":"gpt-5-mini","messages":{messages}}}"#
            ),
            (r#"{"include_obf"#, r#"{"include_usage":true,"include_obf"#),
        ),
    ];
    for (sent, (from, to)) in &cases {
        let answer = world.client.post(&world.url("/v1/chat/completions"), &[("x-api-key", KEY)], sent.clone()).await;
        assert_eq!(answer.status, 200, "{sent}\n{}", answer.text());
        let expected = if from.is_empty() { sent.clone() } else { sent.replacen(from, to, 1) };
        assert!(from.is_empty() || expected != *sent, "{sent}");
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_sha256, sha256_hex(expected.as_bytes()), "{sent}");
    }
    world.verify(cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_hard_budget_a_request_without_a_cap_gets_one_and_nothing_else_changes() {
    let world = World::start(first_request::yaml);
    let rest = r#""model":"gpt-5-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let url = world.url("/v1/chat/completions");
    for (sent, expected) in [
        (format!("{{{rest}"), format!(r#"{{"max_completion_tokens":128000,{rest}"#)),
        (format!(r#"{{"max_completion_tokens":7,{rest}"#), format!(r#"{{"max_completion_tokens":7,{rest}"#)),
        // This model refuses the older name of the cap.
        (format!(r#"{{"max_tokens": 7,{rest}"#), format!(r#"{{"max_completion_tokens":7,{rest}"#)),
    ] {
        let answer = world.client.post(&url, &[("x-api-key", KEY)], sent.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_sha256, sha256_hex(expected.as_bytes()), "{sent}");
    }
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_back_byte_for_byte_whatever_its_status_and_pieces() {
    let world = World::start(routed);
    for script in [
        json!({ "text": "Grüße 東京 🙂 \u{0}\u{7f}" }),
        json!({ "chunk_bytes": 1 }),
        json!({ "raw_body": "{ \"usage\" : {\"prompt_tokens\":1,\"completion_tokens\":2} , \"model\":\"x\" }\r\n" }),
        json!({ "raw_body": "this is not JSON" }),
        json!({ "tool_call": { "name": "weather", "arguments": { "a": 1 } } }),
        json!({ "status": 400, "error_message": "no \u{1f642}", "error_code": "odd" }),
    ] {
        let answer = world.ask("/v1/chat/completions", &chat(&script)).await;
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(answer.status, entry.status, "{script}");
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "{script}");
        assert!(answer.is_whole);
    }
    world.verify(6);
}

const STREAM: &[&str] = &[
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    ": a comment\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{ef} 東京 🙂\"}}],\"x_odd\" : 1.50}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
];
const USAGE: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// The stream with each way to end a line, with and without a byte order mark.
fn variants() -> Vec<(String, String)> {
    let (seen, usage) = (STREAM.concat(), USAGE);
    let whole = format!("{seen}{usage}{DONE}");
    let hidden = format!("{seen}{DONE}");
    let mut variants = Vec::new();
    for newline in ["\n", "\r\n", "\r"] {
        for mark in ["", "\u{feff}"] {
            let of = |text: &str| format!("{mark}{}", text.replace('\n', newline));
            variants.push((of(&whole), of(&hidden)));
        }
    }
    variants
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_back_byte_for_byte_but_for_the_usage_event_that_was_not_asked_for_n7() {
    let mut cases = Vec::new();
    for (sent, without_usage) in variants() {
        for piece_bytes in [1, 7, usize::MAX] {
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
            let mut pieces = vec![head.as_bytes().to_vec()];
            pieces.extend(sent.as_bytes().chunks(piece_bytes).map(<[u8]>::to_vec));
            cases.push((RawUpstream::answering(pieces).await, sent.clone(), without_usage.clone()));
        }
    }
    // Each variant is a provider of its own, behind a route of its own.
    let world = World::start(|provider| {
        let mut yaml = first_request::yaml(provider).replace("\"text-*\"]", "\"route-*\"]");
        let mut routes = String::from("models:\n");
        for (at, (upstream, ..)) in cases.iter().enumerate() {
            let url = &upstream.url;
            let entry = format!("providers:\n  p{at}: {{ kind: openai, base_url: \"{url}/v1\", api_key: sk-{at} }}\n");
            yaml = yaml.replacen("providers:\n", &entry, 1);
            let route = format!("{{ match: route-{at}, backends: [{{ provider: p{at}, model: gpt-5-mini }}] }}");
            routes.push_str(&format!("  - {route}\n"));
        }
        yaml + &routes
    });
    let mut ids = Vec::new();
    for (at, (_, sent, without_usage)) in cases.iter().enumerate() {
        let mut request = streamed(chat(&json!({})));
        request["model"] = json!(format!("route-{at}"));
        let hidden = world.ask("/v1/chat/completions", &request).await;
        request["stream_options"] = json!({ "include_usage": true });
        let asked = world.ask("/v1/chat/completions", &request).await;
        assert_eq!((&hidden.text(), &asked.text()), (without_usage, sent), "variant {at}");
        ids.extend([hidden, asked].map(|answer| answer.header("x-request-id").to_owned()));
    }
    for record in world.records(&ids).await {
        // 10 tokens at 0.25 and 5 at 2 USD per million.
        assert_eq!((record.cost.get(), record.basis.as_str()), (12_500, "exact"));
    }
    world.verify(ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_bytes_are_those_the_provider_sent_when_usage_was_asked_for() {
    let world = World::start(first_request::yaml);
    for script in [
        json!({ "chunks": 5, "text": "Grüße aus 東京 🙂" }),
        json!({ "chunks": 5, "newline": "crlf", "chunk_bytes": 1 }),
        json!({ "chunks": 5, "newline": "cr", "bom": true, "comments": true, "tight": true, "chunk_bytes": 3 }),
        json!({ "usage_in_every_chunk": true }),
        json!({ "tool_call": { "name": "weather", "arguments": { "city": "Oslo" } }, "thinking": "Hm." }),
        json!({ "error_midstream": 2 }),
    ] {
        let mut request = streamed(chat(&script));
        request["stream_options"] = json!({ "include_usage": true });
        let answer = world.ask("/v1/chat/completions", &request).await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{script}");
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "{script}");
    }
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_pass_byte_for_byte_and_are_priced() {
    let world = World::start(first_request::yaml);
    let body = r#"{ "model" : "text-embedding-3-small", "input":["one","two"], "encoding_format":"base64"}"#;
    let answer = world.client.post(&world.url("/v1/embeddings"), &[("x-api-key", KEY)], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = world.provider.bill.settled().await.pop().unwrap();
    assert_eq!(entry.request_sha256, sha256_hex(body.as_bytes()));
    assert_eq!(entry.response_sha256, sha256_hex(&answer.body));
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!(u64::try_from(record.cost.get()).unwrap(), entry.cost_nano_usd);
    assert_eq!(record.basis.as_str(), "exact");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_cross_but_for_credentials_addresses_and_our_own() {
    let answer = br#"{"model":"gpt-5-mini-2025","usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let headers = "content-type: application/json\r\nx-request-id: req_of_provider\r\nset-cookie: a=b\r\n\
                   openai-organization: org-secret\r\nopenai-processing-ms: 12\r\nx-ratelimit-remaining-requests: 9\r\n\
                   x-helix-model: forged\r\nserver: cloudflare\r\n";
    let upstream = RawUpstream::with_body("200 OK", headers, answer).await;
    let world = World::start(|_| first_request::yaml(&upstream.url));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let bearer = format!("Bearer {KEY}");
    let sent = [
        ("authorization", bearer.as_str()),
        ("x-api-key", KEY),
        ("x-request-id", "of-the-client-1"),
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("x-stainless-lang", "python"),
        ("idempotency-key", "idem-1"),
        ("traceparent", trace),
        ("tracestate", "vendor=1"),
        ("cookie", "session=secret"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("x-helix-approval", "wait=600"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("openai-organization", "org-of-the-client"),
        ("accept-encoding", "gzip, br"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
    ];
    let url = world.url("/v1/chat/completions?api-version=1");
    let got = world.client.post(&url, &sent, chat(&json!({})).to_string()).await;
    assert_eq!((got.status, got.body.as_ref()), (200, answer.as_slice()));

    let request = upstream.received().pop().unwrap();
    assert_eq!(request.head.lines().next(), Some("POST /v1/chat/completions?api-version=1 HTTP/1.1"));
    assert_eq!(request.header("authorization"), ["Bearer sk-canary-openai"]);
    assert_eq!(request.header("x-request-id"), ["of-the-client-1"]);
    assert_eq!(request.header("user-agent"), ["OpenAI/Python 3.54.0"]);
    assert_eq!(request.header("content-type"), ["application/json; charset=utf-8"]);
    assert_eq!(
        (request.header("x-stainless-lang"), request.header("idempotency-key")),
        (vec!["python"], vec!["idem-1"])
    );
    assert_eq!(request.header("content-length"), [request.body.len().to_string()]);
    assert!(request.header("traceparent")[0].contains("0af7651916cd43dd8448eb211c80319c"), "the trace goes on");
    assert_eq!(request.header("tracestate"), ["vendor=1"]);
    assert_eq!(request.header("host"), [upstream.url.strip_prefix("http://").unwrap()]);
    for name in ["x-api-key", "cookie", "proxy-authorization", "x-helix-approval", "x-forwarded-for", "forwarded"] {
        assert!(request.header(name).is_empty(), "{name} went upstream");
    }
    for name in ["x-real-ip", "openai-organization", "x-hop", "te", "transfer-encoding"] {
        assert!(request.header(name).is_empty(), "{name} went upstream");
    }
    assert_eq!(request.header("accept-encoding"), ["identity"], "nothing is decoded here");
    assert!(!request.head.contains(KEY) && !request.head.contains("secret"), "{}", request.head);

    assert_eq!(got.header("x-request-id"), "of-the-client-1");
    assert_eq!((got.header("openai-processing-ms"), got.header("x-ratelimit-remaining-requests")), ("12", "9"));
    for name in ["set-cookie", "openai-organization", "server", "request-id"] {
        assert_eq!(got.header(name), "", "{name} reached the client");
    }
    assert_eq!((got.header("x-helix-model"), got.header("x-helix-provider")), ("gpt-5-mini", "openai"));
    assert_eq!((got.header("x-helix-strategy"), got.header("x-helix-attempts")), ("priority", "1"));
    assert_eq!(got.header("x-helix-cost-usd"), "0.000002250");
    assert!(got.header("x-helix-budget-remaining-usd").starts_with("24.9"), "{:?}", got.headers);
    let record = world.record("of-the-client-1").await;
    assert_eq!(record.attempts[0].provider_request_id, "req_of_provider");
    assert_eq!((record.requested_model.as_str(), record.served_model.as_str()), ("gpt-5-mini", "gpt-5-mini-2025"));
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_that_is_none_is_replaced_and_one_that_is_missing_is_made() {
    let world = World::start(first_request::yaml);
    let long = "x".repeat(129);
    for sent in [None, Some("has space"), Some(long.as_str()), Some("")] {
        let mut headers = vec![("x-api-key", KEY)];
        headers.extend(sent.map(|id| ("x-request-id", id)));
        let answer =
            world.client.post(&world.url("/v1/chat/completions"), &headers, chat(&json!({})).to_string()).await;
        let id = answer.header("x-request-id");
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_id.as_deref(), Some(id));
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_a_stream_follows_as_a_trailer_for_clients_that_read_them() {
    let world = World::start(first_request::yaml);
    let body = streamed(chat(&json!({ "input_tokens": 1000, "output_tokens": 10 }))).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nx-api-key: {KEY}\r\nte: trailers\r\nconnection: close, te\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::support::raw::exchange(&world.gateway.url(), vec![request.into()]).await;
    assert!(answer.contains("trailer: x-helix-cost-usd\r\n"), "{answer}");
    assert!(answer.ends_with("0\r\nx-helix-cost-usd: 0.000270000\r\n\r\n"), "{answer}");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_either_key_header_lead_to_the_same_answer_t70() {
    let world = World::start(first_request::yaml);
    let bearer = format!("Bearer {KEY}");
    let lower = format!("bearer {KEY}");
    let keys: [&[(&str, &str)]; 4] = [
        &[("authorization", &bearer)],
        &[("x-api-key", KEY)],
        &[("authorization", &bearer), ("x-api-key", KEY)],
        &[("authorization", &lower)],
    ];
    let mut answered = 0;
    for path in ["/v1/chat/completions", "/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/"] {
        for key in keys {
            let answer = world.client.post(&world.url(path), key, chat(&json!({})).to_string()).await;
            assert_eq!(answer.status, 200, "{path} {key:?} {}", answer.text());
            answered += 1;
        }
    }
    let entries = world.provider.bill.settled().await;
    assert!(
        entries.iter().all(|entry| entry.path == "/v1/chat/completions" && entry.key_last4.as_deref() == Some("enai"))
    );
    let embedding = json!({ "model": "text-embedding-3-small", "input": "one" });
    for path in ["/embeddings", "/v1/v1/embeddings"] {
        assert_eq!(world.ask(path, &embedding).await.status, 200, "{path}");
        answered += 1;
    }
    world.verify(answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_look_whether_anybody_is_there_are_told_so() {
    let world = World::start(first_request::yaml);
    for path in ["/", "/api/hello", "/anthropic", "/anthropic/"] {
        let answer = world.client.send(Method::HEAD, &world.url(path), &[], bytes::Bytes::new()).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let upgrade =
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13"), ("x-api-key", KEY)];
    for path in ["/v1/responses", "/responses"] {
        let answer = world.client.get(&world.url(path), &upgrade).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (426, "upgrade_required"), "{path}");
    }
    for (method, path, status, code, allow) in [
        (Method::POST, "/v1/files", 404, "unknown_path", ""),
        (Method::GET, "/v1/responses", 405, "method_not_allowed", "POST"),
        (Method::POST, "/v1/nothing", 404, "unknown_path", ""),
        (Method::GET, "/v1/chat/completions", 405, "method_not_allowed", "POST"),
        (Method::DELETE, "/v1/models", 405, "method_not_allowed", "GET"),
    ] {
        let answer = world.client.send(method, &world.url(path), &[("x-api-key", KEY)], bytes::Bytes::new()).await;
        let error = answer.json();
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{path}");
        assert_eq!((&error["error"]["code"], answer.header("x-helix-error-code")), (&json!(code), code), "{path}");
        assert!(!answer.header("x-request-id").is_empty());
    }
    world.verify(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_models_holds_what_the_team_may_use_and_nothing_else() {
    let world = World::start(|provider| {
        first_request::yaml(provider).replace(
            r#"allow: ["claude-*", "gpt-*", "text-*"], deny: ["*-preview"]"#,
            r#"allow: ["gpt-5*"], deny: ["gpt-5-mini"]"#,
        )
    });
    for path in ["/v1/models", "/models", "/v1/v1/models"] {
        let answer = world.client.get(&world.url(path), &[("x-api-key", KEY)]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        let list = answer.json();
        assert_eq!(list["object"], "list");
        let names: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert!(names.contains(&"gpt-5") && !names.contains(&"gpt-5-mini"), "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("gpt-5")), "{names:?}");
        assert!(list["data"].as_array().unwrap().iter().all(|model| model["object"] == "model"));
    }
    let one = async |client: &Client, name: &str| {
        client.get(&world.url(&format!("/v1/models/{name}")), &[("x-api-key", KEY)]).await
    };
    assert_eq!(one(&world.client, "gpt-5").await.json()["id"], "gpt-5");
    assert_eq!(one(&world.client, "gpt%2D5").await.json()["id"], "gpt-5");
    assert_eq!(one(&world.client, "gpt-5-mini").await.status, 403);
    assert_eq!(one(&world.client, "no-such-model").await.status, 404);
    assert_eq!(world.client.get(&world.url("/v1/models"), &[]).await.status, 401);
    let refused: Value = world.client.get(&world.url("/v1/models"), &[("x-api-key", "hx_p_wrong")]).await.json();
    assert_eq!(refused["error"]["code"], "invalid_api_key");
    world.verify(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_answered_whole_passes_as_it_is() {
    let body = br#"{"model":"m","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    let upstream = RawUpstream::answering(vec![whole("200 OK", "content-type: application/json\r\n", body)]).await;
    let world = World::start(|_| first_request::yaml(&upstream.url));
    let answer = world.ask("/v1/chat/completions", &streamed(chat(&json!({})))).await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, body.as_slice()));
    assert_eq!(world.record(answer.header("x-request-id")).await.cost.get(), 12_500);
    world.verify(1);
}
