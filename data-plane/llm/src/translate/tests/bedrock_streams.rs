//! Streams of Converse for clients of both dialects: frames in, events out, wherever they are cut.

use helix_shared::error_code::ErrorCode;
use proptest::prelude::*;

use super::reader::gather;
use super::*;
use crate::aws_events::tests::{event, exception};
use crate::stream::StreamEnd;
use crate::{Dialect, Quirks, StreamFilter};

const CLIENTS: [ChatDialect; 3] = [CHAT, MESSAGES, RESPONSES];

fn delta_of(index: usize, delta: &Value) -> Vec<u8> {
    event("contentBlockDelta", &json!({ "contentBlockIndex": index, "delta": delta, "p": "abc" }).to_string())
}

fn stop_of(index: usize) -> Vec<u8> {
    event("contentBlockStop", &json!({ "contentBlockIndex": index }).to_string())
}

fn call_of(index: usize, id: &str, name: &str, pieces: &[&str]) -> Vec<u8> {
    let start = json!({ "contentBlockIndex": index, "start": { "toolUse": { "toolUseId": id, "name": name } } });
    let mut frames = event("contentBlockStart", &start.to_string());
    for piece in pieces {
        frames.extend(delta_of(index, &json!({ "toolUse": { "input": piece } })));
    }
    frames.extend(stop_of(index));
    frames
}

fn start() -> Vec<u8> {
    event("messageStart", r#"{"role":"assistant"}"#)
}

fn end(reason: &str) -> Vec<u8> {
    let usage = json!({ "inputTokens": 10, "outputTokens": 4, "totalTokens": 14, "cacheReadInputTokens": 90 });
    let metadata = json!({ "usage": usage, "metrics": { "latencyMs": 1 } });
    [event("messageStop", &json!({ "stopReason": reason }).to_string()), event("metadata", &metadata.to_string())]
        .concat()
}

/// Everything at once: reasoning, text, two calls, usage behind the end.
pub(super) fn example() -> Vec<u8> {
    [
        start(),
        delta_of(0, &json!({ "reasoningContent": { "text": "hm" } })),
        delta_of(0, &json!({ "reasoningContent": { "signature": "S" } })),
        stop_of(0),
        delta_of(1, &json!({ "text": "Hé" })),
        delta_of(1, &json!({ "text": "llo" })),
        stop_of(1),
        call_of(2, "t0", "f", &["{\"a\":", "1}"]),
        call_of(3, "t1", "g", &[]),
        end("tool_use"),
    ]
    .concat()
}

fn stream(client: ChatDialect, frames: &[u8]) -> Outcome {
    run((BEDROCK, client), &asking(), [frames], EndKind::Eof)
}

#[test]
fn b11_text_without_a_start_gets_one_at_its_first_piece() {
    let frames = [start(), delta_of(0, &json!({ "text": "Hi" })), stop_of(0), end("end_turn")].concat();
    let sent = stream(MESSAGES, &frames).sent;
    assert_eq!(sent.matches(r#""type":"content_block_start","index":0"#).count(), 1, "{sent}");
    let answer = gather(MESSAGES, &sent);
    assert_eq!(answer["content"], json!([{ "type": "text", "text": "Hi" }]));
    assert_eq!((&answer["usage"]["input_tokens"], &answer["stop_reason"]), (&json!(10), &json!("end_turn")));
}

#[test]
fn b12_two_calls_are_counted_from_nought() {
    let answer = gather(CHAT, &stream(CHAT, &example()).sent);
    let calls = answer["message"]["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), &calls[0]["id"], &calls[1]["id"]), (2, &json!("t0"), &json!("t1")));
    assert_eq!(calls[0]["function"], json!({ "name": "f", "arguments": "{\"a\":1}" }));
    assert_eq!(calls[1]["function"], json!({ "name": "g", "arguments": "{}" }));
    assert_eq!(answer["finish_reason"], "tool_calls");
    let answer = gather(MESSAGES, &stream(MESSAGES, &example()).sent);
    assert_eq!(answer["content"][3], json!({ "type": "tool_use", "id": "t1", "name": "g", "input": {} }));
    assert_eq!(answer["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "S" }));
}

#[test]
fn b13_b14_usage_behind_the_end_is_said_and_metered() {
    let outcome = stream(CHAT, &example());
    assert_eq!(gather(CHAT, &outcome.sent)["usage"]["prompt_tokens"], 100);
    let usage = outcome.facts.answer.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.output_tokens), (10, 90, 4));
    assert!(outcome.facts.is_usage_final && outcome.facts.end == StreamEnd::Done);
}

#[test]
fn b23_an_exception_after_text_is_the_last_word_and_the_text_is_measured() {
    let frames = [start(), delta_of(0, &json!({ "text": "Hello" })), exception("modelStreamErrorException", "broke")];
    for client in CLIENTS {
        let outcome = stream(client, &[frames.concat(), end("end_turn")].concat());
        assert!(outcome.sent.contains("broke"), "{}", outcome.sent);
        assert!(gather(client, &outcome.sent)["error"].is_object(), "{}", outcome.sent);
        assert_eq!((outcome.facts.end, outcome.facts.answer.text.bytes), (StreamEnd::Error, 5));
        assert_eq!(outcome.facts.answer.error.unwrap().code.as_deref(), Some("502"));
    }
}

#[test]
fn b22_an_exception_as_the_first_frame_says_its_status_and_no_text_came() {
    let outcome = stream(CHAT, &exception("throttlingException", "Too many requests"));
    let error = outcome.facts.answer.error.unwrap();
    assert_eq!((error.code.as_deref(), error.kind.as_deref()), (Some("429"), Some("rate_limit_error")));
    assert_eq!((outcome.facts.end, outcome.facts.answer.text.bytes), (StreamEnd::Error, 0));
}

#[test]
fn b09_a_broken_frame_cuts_the_stream_with_one_error() {
    let good = [start(), delta_of(0, &json!({ "text": "Hi" }))].concat();
    let mut bad = end("end_turn");
    *bad.last_mut().unwrap() ^= 1;
    bad[20] ^= 1;
    for client in CLIENTS {
        for size in [1, 1000] {
            let frames = [good.clone(), bad.clone()].concat();
            let outcome = run((BEDROCK, client), &asking(), frames.chunks(size), EndKind::Eof);
            let answer = gather(client, &outcome.sent);
            assert!(answer["error"].is_object(), "{}", outcome.sent);
            assert!(!outcome.facts.is_usage_final && outcome.facts.answer.text.bytes == 2);
        }
    }
}

#[test]
fn single_bytes_give_what_the_whole_gives() {
    let frames = example();
    for client in CLIENTS {
        let expected = stream(client, &frames);
        for size in [1, 2, 5, 13, 100] {
            let outcome = run((BEDROCK, client), &asking(), frames.chunks(size), EndKind::Eof);
            assert_eq!(outcome.sent, expected.sent, "pieces of {size}");
            assert_eq!(outcome.facts, expected.facts);
        }
    }
}

#[test]
fn a_cut_at_every_byte_leaves_exactly_one_last_word() {
    let frames = example();
    for client in CLIENTS {
        for cut in 0..frames.len() {
            for kind in [EndKind::Eof, EndKind::cut(ErrorCode::UpstreamTimeout)] {
                let outcome = run((BEDROCK, client), &asking(), [frames.get(..cut).unwrap()], kind);
                let is_failed = gather(client, &outcome.sent)["error"].is_object();
                // Why the answer ended has come, but not its counters: it is whole, and estimated.
                let is_stopped = outcome.facts.answer.finish.is_some() && kind == EndKind::Eof;
                assert_eq!(is_failed, !is_stopped, "{client:?} {cut}");
                assert!(!outcome.facts.is_usage_final, "{client:?} {cut}");
            }
        }
    }
}

#[test]
fn a_meter_reads_frames_where_nobody_translates_them() {
    let frames = example();
    for size in [1, 7, frames.len()] {
        let mut filter = StreamFilter::new(Dialect::BedrockConverse, false, Quirks::default());
        for chunk in frames.chunks(size) {
            filter.push(Bytes::copy_from_slice(chunk), &mut drop);
        }
        assert_eq!(filter.facts(), stream(CHAT, &frames).facts);
    }
}

proptest! {
    #[test]
    fn any_cuts_end_once_and_keep_the_usage(
        texts in prop::collection::vec("[a-zé😀\"\\\\\n ]{1,12}", 0..6),
        cut in any::<prop::sample::Index>(),
        size in 1_usize..80,
    ) {
        let mut frames = start();
        for (index, text) in texts.iter().enumerate() {
            frames.extend(delta_of(index, &json!({ "text": text })));
            frames.extend(stop_of(index));
        }
        frames.extend(end("end_turn"));
        for client in CLIENTS {
            let entire = run((BEDROCK, client), &asking(), frames.chunks(size), EndKind::Eof);
            prop_assert!(gather(client, &entire.sent)["error"].is_null());
            prop_assert_eq!(entire.facts.answer.usage.unwrap().output_tokens, 4);
            let kept = cut.index(frames.len());
            let cut = run((BEDROCK, client), &asking(), frames.get(..kept).unwrap().chunks(size), EndKind::cut(ErrorCode::UpstreamTimeout));
            prop_assert!(gather(client, &cut.sent)["error"].is_object());
        }
    }
}
