//! The bill: one line per accepted request, exact to the nano-dollar, closed before the client sees the end.
//!
//! Rule: expected charges are written out as numbers, not computed by the code under test.

use helix_fake_provider::{FakeProvider, State, sha256_hex};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::client::{chat, message, post, send, start};

#[tokio::test]
async fn the_line_tells_what_was_asked_answered_and_charged() {
    let fake = start();
    let script = json!({"input_tokens": 1000, "cache_read": 400, "output_tokens": 10});
    let mut request = chat(&script, &json!({"stream": true}));
    request.headers_mut().insert("x-request-id", "abc".parse().unwrap());
    let sent = request.body().clone().collect().await.unwrap().to_bytes();
    let answer = send(&fake, request).await.unwrap();
    let line = fake.bill.entries().pop().unwrap();
    assert_eq!((line.seq, line.request_id.as_deref(), line.path.as_str()), (1, Some("abc"), "/v1/chat/completions"));
    assert_eq!((line.key_last4.as_deref(), line.model.as_str(), line.stream), (Some("1234"), "gpt-5-mini", true));
    assert_eq!((line.status, line.state, line.priced), (200, State::Complete, true));
    assert_eq!(line.cost_nano_usd, 250_000 + 10_000 + 20_000);
    assert_eq!(line.reported_usage, None, "usage was not asked for");
    assert_eq!(line.request_sha256, sha256_hex(&sent));
    assert_eq!(line.response_sha256, sha256_hex(&answer.bytes()));
    assert_eq!(line.response_bytes, u64::try_from(answer.bytes().len()).unwrap());
    assert_eq!(line.headers["authorization"], "…1234", "no credential stays in the bill");
}

#[tokio::test]
async fn cache_kinds_have_their_own_prices() {
    let fake = start();
    let script =
        json!({"input_tokens": 1, "cache_read": 10, "cache_write": 100, "cache_write_1h": 1000, "output_tokens": 3});
    send(&fake, message(&script, &json!({}))).await.unwrap();
    let line = fake.bill.entries().pop().unwrap();
    assert_eq!(line.cost_nano_usd, 1000 + 1000 + 125_000 + 2_000_000 + 15_000);
    assert_eq!(line.reported_usage, Some(line.billed_usage));
}

#[tokio::test]
async fn what_is_reported_does_not_change_what_is_charged() {
    let fake = start();
    for script in [json!({}), json!({"no_usage": true}), json!({"usage_zero": true})] {
        let mut script = script;
        script["input_tokens"] = json!(8);
        send(&fake, chat(&script, &json!({}))).await.unwrap();
    }
    let lines = fake.bill.settled().await;
    assert!(lines.iter().all(|line| line.cost_nano_usd == 2000 + 40_000));
    assert_eq!(fake.bill.total_nano_usd(), 3 * 42_000);
    let reported: Vec<_> = lines.iter().map(|line| line.reported_usage.map(|tokens| tokens.output)).collect();
    assert_eq!(reported, [Some(20), None, Some(0)]);
}

#[tokio::test]
async fn different_texts_count_differently_and_the_same_text_alike() {
    let fake = start();
    for text in ["short", "a much longer prompt than that", "short"] {
        let fields = json!({"messages": [{"role": "user", "content": text}]});
        send(&fake, post("/v1/chat/completions", "gpt-4o-mini", &json!({}), &fields)).await.unwrap();
    }
    let inputs: Vec<u64> = fake.bill.entries().iter().map(|line| line.billed_usage.input).collect();
    assert_eq!(inputs, [1, 7, 1]);
}

#[tokio::test]
async fn a_model_without_a_price_is_marked_and_a_script_can_price_it() {
    let fake = start();
    let script = json!({"input_tokens": 3, "output_tokens": 1});
    send(&fake, post("/v1/chat/completions", "own", &script, &json!({}))).await.unwrap();
    let mut priced = script.clone();
    priced["prices"] = json!({"own": {"input": 1, "output": 1}});
    send(&fake, post("/v1/chat/completions", "own", &priced, &json!({}))).await.unwrap();
    let lines = fake.bill.entries();
    assert_eq!((lines[0].priced, lines[0].cost_nano_usd), (false, 0));
    assert_eq!((lines[1].priced, lines[1].cost_nano_usd), (true, 1), "4 pico-dollars round up to one nano-dollar");
}

#[tokio::test]
async fn counting_tokens_is_free_and_stands_on_the_bill() {
    let fake = start();
    send(&fake, post("/v1/messages/count_tokens", "claude-haiku-4-5", &json!({}), &json!({}))).await.unwrap();
    let line = fake.bill.entries().pop().unwrap();
    assert_eq!((line.state, line.cost_nano_usd, line.billed_usage.output), (State::Complete, 0, 0));
}

#[tokio::test]
async fn every_nth_request_fails_and_costs_nothing() {
    let script = json!({"error_every_nth": 3});
    let fake = FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap();
    for _ in 0..6 {
        send(&fake, chat(&json!({"input_tokens": 4}), &json!({}))).await.unwrap();
    }
    let statuses: Vec<u16> = fake.bill.entries().iter().map(|line| line.status).collect();
    assert_eq!(statuses, [200, 200, 500, 200, 200, 500]);
    assert_eq!(fake.bill.total_nano_usd(), 4 * 41_000);
}

#[tokio::test]
async fn the_fast_mode_charges_the_same_sums() {
    let script = json!({"input_tokens": 10, "output_tokens": 5, "chunks": 5});
    let address = "127.0.0.1:0".parse().unwrap();
    let fake = FakeProvider::new().with_script(script.clone()).fast().run(address).unwrap();
    let plain = FakeProvider::new().with_script(script).run(address).unwrap();
    let asks: [(Value, bool); 3] = [
        (json!({}), false),
        (json!({"stream": true}), true),
        (json!({"stream": true, "stream_options": {"include_usage": true}}), true),
    ];
    for (more, is_stream) in asks {
        for _ in 0..2 {
            let fast = send(&fake, chat(&json!({}), &more)).await.unwrap();
            let slow = send(&plain, chat(&json!({}), &more)).await.unwrap();
            assert_eq!(fast.headers.get("content-type"), slow.headers.get("content-type"));
            if is_stream {
                let count = |answer: &crate::client::Answer| answer.events().len();
                assert_eq!(count(&fast), count(&slow));
            } else {
                assert_eq!(fast.json()["usage"], slow.json()["usage"]);
            }
        }
    }
    assert_eq!(fake.bill.total_nano_usd(), 6 * 12_500);
    assert_eq!(plain.bill.total_nano_usd(), 6 * 12_500);
    assert_eq!((fake.bill.stats().complete, fake.bill.entries().len()), (6, 0));
}
