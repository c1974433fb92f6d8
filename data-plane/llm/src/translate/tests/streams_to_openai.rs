//! Anthropic's streams for a client of chat completions.

use super::reader::{events, gather};
use super::*;

const PAIR: (ChatDialect, ChatDialect) = (MESSAGES, CHAT);

fn start(usage: &Value) -> Value {
    json!({ "type": "message_start", "message": { "id": "msg_1", "model": "served", "content": [], "usage": usage } })
}

fn block(index: u64, block: &Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn piece(index: u64, delta: &Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn end(reason: &str, usage: &Value) -> [Value; 2] {
    [
        json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ]
}

fn stream_of(blocks: &[Value], reason: &str) -> String {
    let all = [
        &[start(&json!({ "input_tokens": 1, "output_tokens": 1 }))][..],
        blocks,
        &end(reason, &json!({ "output_tokens": 2 })),
    ]
    .concat();
    anthropic_stream(&all)
}

fn usage_of(first: &Value, last: &Value) -> Value {
    let all = [&[start(first)][..], &end("end_turn", last)].concat();
    gather(CHAT, &whole(PAIR, &asking(), &anthropic_stream(&all)))["usage"].clone()
}

/// The worked example of the wire reference.
pub(super) fn example() -> String {
    let all = [
        vec![
            start(
                &json!({ "input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 0, "output_tokens": 1 }),
            ),
            block(0, &json!({ "type": "thinking", "thinking": "", "signature": "" })),
            piece(0, &json!({ "type": "thinking_delta", "thinking": "Need weather" })),
            piece(0, &json!({ "type": "signature_delta", "signature": "EqQ" })),
            stop(0),
            json!({ "type": "ping" }),
            block(1, &json!({ "type": "tool_use", "id": "toolu_1", "name": "get", "input": {} })),
            piece(1, &json!({ "type": "input_json_delta", "partial_json": "" })),
            piece(1, &json!({ "type": "input_json_delta", "partial_json": "{\"ci" })),
            piece(1, &json!({ "type": "input_json_delta", "partial_json": "ty\":\"Öslo\"}" })),
            stop(1),
        ],
        end("tool_use", &json!({ "output_tokens": 42 })).to_vec(),
    ];
    anthropic_stream(&all.concat())
}

#[test]
fn the_worked_example_reads_as_written() {
    insta::assert_snapshot!("anthropic_to_chat", whole(PAIR, &asking(), &example()));
}

#[test]
fn t43_to_t46_usage_is_replaced_field_by_field() {
    let first = json!({ "input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1 });
    for (last, prompt, cached, completion) in [
        (json!({ "output_tokens": 7 }), 100, 90, 7),
        (json!({ "output_tokens": 7, "cache_read_input_tokens": 90 }), 100, 90, 7),
        (json!({ "output_tokens": 7, "input_tokens": 0 }), 90, 90, 7),
        (json!({ "output_tokens": 7, "input_tokens": null }), 100, 90, 7),
        (Value::Null, 100, 90, 1),
    ] {
        let usage = usage_of(&first, &last);
        assert_eq!(usage["prompt_tokens"], prompt, "{last}");
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], cached, "{last}");
        assert_eq!(usage["completion_tokens"], completion, "{last}");
    }
}

#[test]
fn usage_is_said_only_to_who_asked() {
    assert!(!whole(PAIR, &AnswerPlan::default(), &example()).contains("usage"));
    assert!(whole(PAIR, &asking(), &example()).contains("usage"));
}

#[test]
fn t47_a_refusal_is_said_before_the_end() {
    let all = [&[start(&json!({}))][..], &[
        json!({ "type": "message_delta", "delta": { "stop_reason": "refusal", "stop_details": { "explanation": "No." } } }), json!({ "type": "message_stop" }),
    ]].concat();
    let answer = gather(CHAT, &whole(PAIR, &asking(), &anthropic_stream(&all)));
    assert_eq!((&answer["message"]["refusal"], &answer["finish_reason"]), (&json!("No."), &json!("content_filter")));
}

#[test]
fn t50_a_call_without_arguments_has_empty_ones() {
    let stream = stream_of(
        &[
            block(0, &json!({ "type": "tool_use", "id": "1", "name": "f", "input": {} })),
            stop(0),
            block(1, &json!({ "type": "tool_use", "id": "2", "name": "g", "input": { "a": 1, "z": 2 } })),
            stop(1),
        ],
        "tool_use",
    );
    let answer = gather(CHAT, &whole(PAIR, &asking(), &stream));
    assert_eq!(answer["message"]["tool_calls"], json!([call("1", "f", "{}"), call("2", "g", "{\"a\":1,\"z\":2}")]));
}

#[test]
fn t51_t52_only_the_clients_calls_are_calls_and_they_count_from_zero() {
    let json_piece =
        |index: u64, text: &str| piece(index, &json!({ "type": "input_json_delta", "partial_json": text }));
    let stream = stream_of(
        &[
            block(0, &json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} })),
            json_piece(0, "{\"q\":1}"),
            stop(0),
            block(1, &json!({ "type": "tool_use", "id": "1", "name": "f", "input": {} })),
            json_piece(1, "{}"),
            stop(1),
            block(2, &json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": [] })),
            stop(2),
            block(3, &json!({ "type": "tool_use", "id": "2", "name": "g", "input": {} })),
            json_piece(3, "{}"),
            stop(3),
        ],
        "tool_use",
    );
    let answer = gather(CHAT, &whole(PAIR, &asking(), &stream));
    assert_eq!(answer["message"]["tool_calls"], json!([call("1", "f", "{}"), call("2", "g", "{}")]));
}

#[test]
fn t53_framing_changes_nothing() {
    let stream = example();
    let expected = whole(PAIR, &asking(), &stream);
    for variant in [
        stream.replace("data: ", "data:"),
        stream.replace('\n', "\r\n"),
        stream.replace('\n', "\r"),
        format!("\u{feff}{stream}"),
    ] {
        for size in [1, 2, 3, 7, 64, variant.len()] {
            let outcome = run(PAIR, &asking(), variant.as_bytes().chunks(size), EndKind::Eof);
            assert_eq!(outcome.sent, expected, "{size}");
            assert!(outcome.facts.is_usage_final);
        }
    }
}

#[test]
fn t54_an_error_ends_the_stream_without_an_end_mark() {
    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "busy" } });
    let first = anthropic_stream(std::slice::from_ref(&error));
    let outcome = run(PAIR, &asking(), [first.as_bytes()], EndKind::Eof);
    assert_eq!(
        events(&outcome.sent).len(),
        1,
        "nothing is sent before the error, so the caller can still say it by status"
    );
    assert_eq!(outcome.facts.end, crate::stream::StreamEnd::Error);
    let late = anthropic_stream(&[start(&json!({})), error]);
    let sent = whole(PAIR, &asking(), &late);
    assert_eq!(
        gather(CHAT, &sent)["error"],
        json!({ "message": "busy", "type": "server_error", "param": null, "code": "overloaded" })
    );
    assert!(!sent.contains("[DONE]"));
}

#[test]
fn t55_pings_are_comments() {
    let ping = anthropic_stream(&[json!({ "type": "ping" })]);
    let mut translator = StreamTranslator::new(MESSAGES, CHAT, asking(), answer_context());
    let mut sent = Vec::new();
    translator.push(Bytes::from(ping), &mut |bytes| sent.extend_from_slice(&bytes));
    assert_eq!(sent, b": ping\n\n");
}

#[test]
fn a_stream_that_only_lacks_its_end_mark_gets_it() {
    let stream = example();
    let cut = stream.get(..stream.find("event: message_stop").unwrap()).unwrap();
    assert_eq!(whole(PAIR, &asking(), cut), whole(PAIR, &asking(), &stream));
}
