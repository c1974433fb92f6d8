//! Every way a script can break an answer, seen from the client.
//!
//! Rule: what the client received is compared byte for byte with the whole answer.

use std::time::Duration;

use bytes::Bytes;
use helix_fake_provider::State;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::client::{chat, message, open, send, start};

fn stream() -> Value {
    json!({"stream": true, "stream_options": {"include_usage": true}})
}

/// The same answer has the same bytes but for its number.
fn without_number(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("-fake-");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        rest.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    rest
}

#[tokio::test]
async fn a_stream_is_cut_at_the_byte_asked_for() {
    let fake = start();
    for more in [stream(), json!({})] {
        for at in [0, 1, 100, 101, 333] {
            let script = json!({"cut_at_byte": at, "text": "héllo", "chunks": 2});
            let answer = send(&fake, chat(&script, &more)).await.unwrap();
            assert!(answer.is_cut, "cut at {at}");
            assert_eq!(answer.bytes().len(), at, "cut at {at} {more}");
            assert_eq!(fake.bill.settled().await.pop().unwrap().state, State::Cut);
        }
    }
}

#[tokio::test]
async fn a_cut_after_chunks_bills_what_was_generated() {
    let fake = start();
    let script = json!({"cut_after_chunks": 2, "chunks": 4, "output_tokens": 40, "input_tokens": 10});
    for rst in [false, true] {
        let mut script = script.clone();
        script["cut_rst"] = json!(rst);
        assert!(send(&fake, message(&script, &stream_only())).await.unwrap().is_cut);
        let line = fake.bill.settled().await.pop().unwrap();
        assert_eq!((line.billed_usage.output, line.cost_nano_usd), (20, 10_000 + 100_000), "rst {rst}");
        assert_eq!(line.reported_usage, None);
    }
}

fn stream_only() -> Value {
    json!({"stream": true})
}

#[tokio::test]
async fn a_stream_split_into_single_bytes_is_the_same_stream() {
    let fake = start();
    let script = json!({"text": "東京 naïve 🙂", "chunks": 3, "input_tokens": 9});
    let whole = send(&fake, chat(&script, &stream())).await.unwrap();
    let mut split = script.clone();
    split["chunk_bytes"] = json!(1);
    let bytes = send(&fake, chat(&split, &stream())).await.unwrap();
    assert!(bytes.frames.iter().all(|frame| frame.len() == 1), "one byte per HTTP chunk");
    assert_eq!(without_number(&bytes.bytes()), without_number(&whole.bytes()));
    let mut spaced = script.clone();
    spaced["chunk_bytes"] = json!(200);
    spaced["write_delay_ms"] = json!(1);
    let bytes = send(&fake, chat(&spaced, &stream())).await.unwrap();
    assert_eq!(without_number(&bytes.bytes()), without_number(&whole.bytes()));
}

#[tokio::test]
async fn line_ends_comments_and_marks_are_as_scripted() {
    let fake = start();
    let plain = send(&fake, message(&json!({"text": "a"}), &stream_only())).await.unwrap().bytes();
    for (newline, end) in [("crlf", "\r\n"), ("cr", "\r")] {
        let script = json!({"text": "a", "newline": newline, "bom": true, "comments": true});
        let bytes = send(&fake, message(&script, &stream_only())).await.unwrap().bytes();
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_prefix('\u{feff}').unwrap().replace(end, "\n").replace(": keep-alive\n\n", "");
        let counts = |text: &str| (text.matches("event: ").count(), text.matches("\n\n").count());
        assert_eq!(counts(&text), counts(&String::from_utf8_lossy(&plain)));
        assert!(!text.contains('\r'));
    }
}

#[tokio::test]
async fn a_reset_comes_before_any_header() {
    let fake = start();
    let error = send(&fake, chat(&json!({"reset": true}), &json!({}))).await.err().unwrap();
    assert!(!error.is_timeout(), "{error}");
    let line = fake.bill.settled().await.pop().unwrap();
    assert_eq!((line.state, line.status, line.cost_nano_usd), (State::Cut, 0, 0));
}

#[tokio::test]
async fn a_hanging_request_is_noticed_when_the_client_leaves() {
    let fake = start();
    let hanging = open(&fake, chat(&json!({"hang": true, "input_tokens": 4}), &json!({})));
    tokio::select! {
        answer = hanging => panic!("answered: {answer:?}"),
        _ = fake.bill.wait_for(|stats| stats.in_flight == 1) => {}
    }
    let line = fake.bill.settled().await.pop().unwrap();
    assert_eq!((line.state, line.billed_usage.output, line.cost_nano_usd), (State::ClientGone, 0, 1000));
}

#[tokio::test]
async fn a_client_that_leaves_inside_a_stream_pays_for_what_was_generated() {
    let fake = start();
    let script = json!({"chunks": 4, "output_tokens": 8, "input_tokens": 100, "hang_after_chunks": 3});
    let mut answer = open(&fake, chat(&script, &stream())).await.unwrap();
    let mut text = Vec::new();
    while String::from_utf8_lossy(&text).matches(r#""content":"#).count() < 4 {
        text.extend_from_slice(&answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop(answer);
    let line = fake.bill.settled().await.pop().unwrap();
    assert_eq!((line.state, line.billed_usage.output), (State::ClientGone, 6));
    assert_eq!(line.cost_nano_usd, 25_000 + 12_000);
}

#[tokio::test]
async fn a_gate_holds_an_answer_until_it_is_opened() {
    let fake = start();
    let script = json!({"gate": "g", "gate_at_chunk": 2, "chunks": 3, "text": "abc"});
    let mut answer = open(&fake, chat(&script, &stream())).await.unwrap();
    let mut text = String::new();
    let read = |frame: Option<Result<http_body::Frame<Bytes>, _>>| {
        let data: Result<_, hyper::Error> = frame.unwrap();
        String::from_utf8(data.unwrap().into_data().unwrap().to_vec()).unwrap()
    };
    while !text.contains(r#""content":"a""#) {
        text += &read(answer.body_mut().frame().await);
    }
    assert!(tokio::time::timeout(Duration::from_millis(1), answer.body_mut().frame()).await.is_err());
    fake.open_gate("g");
    while !text.contains("[DONE]") {
        text += &read(answer.body_mut().frame().await);
    }
    let held = json!({"gate": "g", "text": "x"});
    assert_eq!(send(&fake, chat(&held, &json!({}))).await.unwrap().status, 200, "an open gate stays open");
    fake.close_gate("g");
    let waiting = send(&fake, chat(&held, &json!({})));
    tokio::select! {
        _ = waiting => panic!("answered before the gate opened"),
        stats = fake.bill.wait_for(|stats| stats.in_flight == 1) => assert_eq!(stats.accepted, 3),
    }
}

#[tokio::test]
async fn an_error_event_ends_a_stream_in_the_dialect() {
    let fake = start();
    let script = json!({"error_midstream": 1, "chunks": 4, "output_tokens": 8});
    let chat = send(&fake, chat(&script, &stream())).await.unwrap();
    assert!(!chat.is_cut && !chat.text().contains("[DONE]"));
    assert_eq!(chat.events().pop().unwrap()["error"]["type"], "server_error");
    let message = send(&fake, message(&script, &stream_only())).await.unwrap();
    assert_eq!(message.events().pop().unwrap()["error"]["type"], "overloaded_error");
    for line in fake.bill.settled().await {
        assert_eq!((line.state, line.status, line.billed_usage.output), (State::Error, 200, 2));
    }
}

#[tokio::test]
async fn a_huge_line_arrives_whole() {
    let fake = start();
    let script = json!({"huge_line_bytes": 8_000_000, "text": "ab", "chunks": 2});
    let answer = send(&fake, chat(&script, &stream())).await.unwrap();
    let text = answer.text();
    assert_eq!(text.lines().map(str::len).max(), Some(8_000_006));
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn an_error_status_has_the_body_and_headers_of_the_script() {
    let fake = start();
    let script = json!({"status": 429, "retry_after": 7, "error_code": "mine", "headers": {"x-more": "1"}});
    let answer = send(&fake, chat(&script, &stream())).await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (429, &json!("mine")));
    assert_eq!(
        (&answer.headers["retry-after"], &answer.headers["x-more"]),
        (&"7".parse().unwrap(), &"1".parse().unwrap())
    );
    let answer = send(&fake, message(&json!({"status": 529}), &json!({}))).await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (529, &json!("overloaded_error")));
    let script = json!({"status": 502, "raw_body": "<html>bad gateway</html>"});
    let answer = send(&fake, message(&script, &json!({}))).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (502, "<html>bad gateway</html>"));
    for line in fake.bill.settled().await {
        assert_eq!((line.state, line.cost_nano_usd), (State::Error, 0));
    }
}
