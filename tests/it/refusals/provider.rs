//! What a provider does wrong, and what of it reaches the client and the books.
//!
//! Rule: its errors pass word for word, except for what it says about our own credential.

use super::{BOTH, KEY, OpenAi, check, refused, upstream, yaml};
use crate::support::raw::RawUpstream;
use crate::support::world::{World, reserved_nano_usd, streamed};
use helix_fake_provider::sha256_hex;
use helix_shared::record::Decision;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn its_errors_pass_word_for_word() {
    let world = World::start(yaml);
    let mut cases = Vec::new();
    for dialect in BOTH {
        for (status, is_worth_retrying) in
            [(400, false), (404, false), (422, false), (429, true), (500, true), (529, true)]
        {
            let script = json!({ "status": status, "retry_after": 7, "error_type": "odd_type", "error_message": "prompt is too long: 🙂" });
            for request in [dialect.request(&script), streamed(dialect.request(&script))] {
                let answer = world.ask(dialect.path(), &request).await;
                let entry = world.provider.bill.settled().await.pop().unwrap();
                assert_eq!((answer.status, sha256_hex(&answer.body)), (status, entry.response_sha256), "{status}");
                assert_eq!(answer.header("x-helix-error-source"), "provider");
                assert_eq!(answer.header("x-helix-error-code"), "upstream_error");
                assert_eq!(answer.header("retry-after"), "7");
                assert_eq!(answer.header("x-should-retry"), if is_worth_retrying { "" } else { "false" });
                assert_eq!(answer.header("x-helix-attempts"), "1");
                let id = if dialect == OpenAi { "x-request-id" } else { "request-id" };
                cases.push((answer.header(id).to_owned(), status, entry.seq));
            }
        }
    }
    let ids: Vec<_> = cases.iter().map(|(id, ..)| id.clone()).collect();
    for (record, (_, status, seq)) in world.records(&ids).await.iter().zip(&cases) {
        let (stage, code) = ("model".to_owned(), "upstream_error".to_owned());
        assert_eq!((&record.decision, record.http_status), (&Decision::Failed { stage, code }, *status));
        assert_eq!((record.cost.get(), record.attempts.len()), (0, 1));
        assert_eq!(record.attempts[0].provider_request_id, format!("req_fake_{seq}"));
    }
    world.verify(cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_word_about_our_credential_is_kept_to_ourselves() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let body = br#"{"error":{"message":"Incorrect API key provided: sk-canary-openai, sk-canary-anthropic"}}"#;
        let headers = "content-type: application/json\r\nwww-authenticate: Bearer sk-canary-openai\r\n";
        let upstream_server = RawUpstream::with_body(status, headers, body).await;
        let world = World::start(|_| yaml(&upstream_server.url));
        for dialect in BOTH {
            let expected = upstream("upstream_credential", 502, "api_error", false);
            let request = dialect.request(&json!({})).to_string();
            let (message, answer) = refused(&world, dialect, KEY, request, &expected).await;
            assert!(message.contains("administrator"), "{message}");
            assert!(!format!("{:?}", answer.headers).contains("canary"), "{:?}", answer.headers);
            let record = world.record(answer.header("x-request-id")).await;
            assert_eq!((record.cost.get(), record.attempts.len()), (0, 1));
            assert!(!format!("{record:?}").contains("canary"), "{record:?}");
        }
        assert!(!world.gateway.log().contains("canary"), "a credential in the log");
        world.verify(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_silence_ends_in_time_and_is_booked_at_the_worst_case() {
    let world =
        World::start(|provider| yaml(provider).replace("base_url:", "timeout: { first_byte: 500ms }, base_url:"));
    for dialect in BOTH {
        for request in [dialect.request(&json!({ "hang": true })), streamed(dialect.request(&json!({ "hang": true })))]
        {
            let expected = upstream("upstream_timeout", 504, "timeout_error", true);
            let (_, answer) = refused(&world, dialect, KEY, request.to_string(), &expected).await;
            let record = world.record(answer.header("x-request-id")).await;
            // It was sent, and nobody can know what the provider made of it.
            assert_eq!((record.basis.as_str(), record.cost.get()), ("unknown", reserved_nano_usd(&record)));
        }
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_absence_costs_nothing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::start(|_| yaml(&format!("http://{nobody}")));
    for dialect in BOTH {
        let expected = upstream("upstream_unreachable", 502, "api_error", true);
        let request = dialect.request(&json!({})).to_string();
        let (_, answer) = refused(&world, dialect, KEY, request, &expected).await;
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((record.basis.as_str(), record.cost.get(), record.attempts.len()), ("exact", 0, 1));
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_reset_before_any_header_is_booked_at_the_worst_case() {
    let world = World::start(yaml);
    for dialect in BOTH {
        for script in [json!({ "reset": true }), json!({ "cut_at_byte": 20 })] {
            let answer = world.ask(dialect.path(), &dialect.request(&script)).await;
            check(dialect, &answer, &upstream("upstream_disconnected", 502, "api_error", true));
            let record = world.record(answer.header("x-request-id")).await;
            assert_eq!((record.basis.as_str(), record.cost.get()), ("unknown", reserved_nano_usd(&record)));
        }
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_it_does_not_have_is_refused() {
    let world = World::start(yaml);
    let request = json!({ "model": "claude-haiku-4-5", "input": "hi" });
    let answer = world.ask("/v1/embeddings", &request).await;
    let expected = super::refusal("unsupported_backend", super::INVALID, super::INVALID);
    let message = super::check(OpenAi, &answer, &expected);
    assert!(message.contains("can serve this API"), "{message}");
    assert!(world.provider.bill.entries().is_empty(), "nothing went to the provider");
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_redirect_is_followed_by_nobody() {
    let elsewhere = RawUpstream::with_body("200 OK", "content-type: application/json\r\n", b"{}").await;
    for status in ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let redirecting = RawUpstream::with_body(status, &format!("location: {}/v1/x\r\n", elsewhere.url), b"").await;
        let world = World::start(|_| yaml(&redirecting.url));
        for dialect in BOTH {
            let expected = upstream("upstream_error", 502, "api_error", true);
            let request = dialect.request(&json!({})).to_string();
            let (message, answer) = refused(&world, dialect, KEY, request, &expected).await;
            // A client that followed it would take its key to a place that the provider chose.
            assert_eq!(answer.header("location"), "");
            assert!(message.contains("base_url"), "{message}");
            assert_eq!(world.record(answer.header("x-request-id")).await.cost.get(), 0);
        }
        world.verify(2);
    }
    assert!(elsewhere.received().is_empty(), "the gateway followed");
}
