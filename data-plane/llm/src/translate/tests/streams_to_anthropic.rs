//! Streams of chat completions for a client of messages.

use super::reader::gather;
use super::*;

const PAIR: (ChatDialect, ChatDialect) = (CHAT, MESSAGES);

fn calls(calls: &Value) -> Value {
    delta(&json!({ "tool_calls": calls }))
}

fn message(chunks: &[Value]) -> Value {
    gather(MESSAGES, &whole(PAIR, &AnswerPlan::default(), &openai_stream(chunks)))
}

fn content(chunks: &[Value]) -> Value {
    message(chunks)["content"].clone()
}

fn tool_use(id: &str, name: &str, input: &Value) -> Value {
    json!({ "type": "tool_use", "id": id, "name": name, "input": input })
}

/// Everything at once: reasoning, text, parallel calls, usage behind the end.
pub(super) fn example() -> String {
    openai_stream(&[
        delta(&json!({ "role": "assistant", "content": "" })),
        delta(&json!({ "reasoning_content": "hm" })),
        delta(&json!({ "content": "Héllo" })),
        delta(&json!({ "content": "" })),
        calls(&json!([{ "index": 0, "id": "c0", "type": "function", "function": { "name": "f", "arguments": "" } }])),
        calls(&json!([{ "index": 0, "function": { "arguments": "{\"a\":" } }])),
        calls(&json!([{ "index": 0, "function": { "arguments": "1}" } }])),
        calls(&json!([{ "index": 1, "id": "c1", "type": "function", "function": { "name": "g", "arguments": "{}" } }])),
        finish("tool_calls"),
        json!({ "id": "c1", "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 42, "prompt_tokens_details": { "cached_tokens": 60 } } }),
    ])
}

#[test]
fn a_stream_reads_as_anthropic_writes() {
    insta::assert_snapshot!("chat_to_anthropic", whole(PAIR, &AnswerPlan::default(), &example()));
}

#[test]
fn t56_usage_after_the_end_is_said() {
    let answer = message(&[delta(&json!({ "content": "a" })), finish("stop"), openai_usage(10, 5)]);
    assert_eq!((&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]), (&json!(10), &json!(5)));
}

#[test]
fn t57_without_usage_the_stream_is_whole_with_an_estimate_and_the_facts_say_so() {
    let stream = openai_stream(&[delta(&json!({ "content": "abc" })), finish("stop")]);
    let outcome = run(PAIR, &AnswerPlan::default(), [stream.as_bytes()], EndKind::Eof);
    let answer = gather(MESSAGES, &outcome.sent);
    assert_eq!(answer["stop_reason"], "end_turn");
    assert_eq!((&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]), (&json!(9), &json!(1)));
    let whole = json!({ "choices": [{ "message": { "content": "abc" }, "finish_reason": "stop" }] });
    let whole = super::answer(CHAT, MESSAGES, &AnswerPlan::default(), &whole);
    assert_eq!(whole["usage"], answer["usage"]);
    assert!(!outcome.facts.is_usage_final && outcome.facts.answer.usage.is_none());
    assert_eq!(outcome.facts.answer.text.bytes, 3);
    assert_eq!(outcome.facts.answer.served_model.as_deref(), Some("served"));
}

#[test]
fn t58_a_repeated_id_is_one_call() {
    let part = |text: &str| calls(&json!([{ "index": 0, "id": "c", "function": { "name": "f", "arguments": text } }]));
    assert_eq!(
        content(&[part("{"), part("\"a\":1"), part("}"), finish("tool_calls")]),
        json!([tool_use("c", "f", &json!({ "a": 1 }))])
    );
}

#[test]
fn t59_interleaved_calls_stay_apart() {
    let begin = |index: u64, name: &str| {
        calls(&json!([{ "index": index, "id": name, "function": { "name": name, "arguments": "" } }]))
    };
    let part = |index: u64, text: &str| calls(&json!([{ "index": index, "function": { "arguments": text } }]));
    let expected = json!([tool_use("f", "f", &json!({ "a": 1 })), tool_use("g", "g", &json!({ "b": 2 }))]);
    let chunks = [
        begin(0, "f"),
        begin(1, "g"),
        part(0, "{\"a\""),
        part(1, "{\"b\""),
        part(0, ":1}"),
        part(1, ":2}"),
        finish("tool_calls"),
    ];
    assert_eq!(content(&chunks), expected);
    let both = calls(
        &json!([{ "index": 1, "id": "g", "function": { "name": "g", "arguments": "{\"b\":2}" } }, { "index": 0, "id": "f", "function": { "name": "f", "arguments": "{\"a\":1}" } }]),
    );
    assert_eq!(content(&[both, finish("tool_calls")]), json!([expected[1], expected[0]]));
}

#[test]
fn calls_are_told_apart_without_indexes_and_with_wrong_ones() {
    let expected = json!([tool_use("x", "f", &json!({})), tool_use("y", "g", &json!({}))]);
    let plain = |id: &str, name: &str| calls(&json!([{ "id": id, "function": { "name": name, "arguments": "{}" } }]));
    assert_eq!(content(&[plain("x", "f"), plain("y", "g"), finish("stop")]), expected);
    let zero = |id: &str, name: &str| {
        calls(&json!([{ "index": 0, "id": id, "function": { "name": name, "arguments": "{}" } }]))
    };
    assert_eq!(content(&[zero("x", "f"), zero("y", "g"), finish("stop")]), expected);
    let nameless = calls(&json!([{ "function": { "name": "f", "arguments": "{}" } }]));
    assert_eq!(content(&[nameless, finish("stop")]), json!([tool_use("toolu_7_0", "f", &json!({}))]));
}

#[test]
fn t60_reasoning_is_closed_before_the_text() {
    let blocks = content(&[delta(&json!({ "reasoning": "hm" })), delta(&json!({ "content": "a" })), finish("stop")]);
    assert_eq!(
        blocks,
        json!([{ "type": "thinking", "thinking": "hm", "signature": "" }, { "type": "text", "text": "a" }])
    );
}

#[test]
fn t61_a_stop_with_calls_waits_for_results() {
    let one = calls(&json!([{ "index": 0, "id": "c", "function": { "name": "f", "arguments": "{}" } }]));
    assert_eq!(message(&[one, finish("stop")])["stop_reason"], "tool_use");
}

#[test]
fn t62_empty_text_is_no_block_and_an_empty_answer_is_one() {
    let answer = message(&[delta(&json!({ "content": "" })), finish("stop")]);
    assert_eq!((&answer["content"], &answer["stop_reason"]), (&json!([]), &json!("end_turn")));
}

#[test]
fn t63_a_call_begins_when_its_name_comes() {
    let chunks = [
        calls(&json!([{ "index": 0, "id": "c", "function": { "arguments": "{\"a\"" } }])),
        calls(&json!([{ "index": 0, "function": { "name": "f", "arguments": ":1}" } }])),
        finish("tool_calls"),
    ];
    assert_eq!(content(&chunks), json!([tool_use("c", "f", &json!({ "a": 1 }))]));
}

#[test]
fn t64_t65_the_end_is_said_once_behind_the_last_text() {
    let last = json!({ "choices": [{ "index": 0, "delta": { "content": "b" }, "finish_reason": "length" }] });
    let answer = message(&[delta(&json!({ "content": "a" })), last, finish("stop")]);
    assert_eq!((&answer["content"][0]["text"], &answer["stop_reason"]), (&json!("ab"), &json!("max_tokens")));
}

#[test]
fn text_behind_a_call_is_a_block_of_its_own() {
    let one = calls(&json!([{ "index": 0, "id": "c", "function": { "name": "f", "arguments": "{}" } }]));
    let blocks = content(&[one, delta(&json!({ "content": "a" })), finish("tool_calls")]);
    assert_eq!(blocks, json!([tool_use("c", "f", &json!({})), { "type": "text", "text": "a" }]));
}

#[test]
fn a_providers_error_is_said_in_the_clients_words() {
    let error = json!({ "error": { "message": "busy", "type": "server_error", "code": "engine_overloaded" } });
    let stream = openai_stream(&[delta(&json!({ "content": "a" })), error]);
    let answer = gather(MESSAGES, &whole(PAIR, &AnswerPlan::default(), &stream));
    assert_eq!(answer["error"], json!({ "type": "overloaded_error", "message": "busy" }));
}

#[test]
fn too_much_ends_in_an_error_and_not_in_memory() {
    let huge = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(5 * 1024 * 1024));
    let answer = gather(MESSAGES, &whole(PAIR, &AnswerPlan::default(), &huge));
    assert_eq!(answer["error"]["type"], "api_error");
    let begin = |index: u64| {
        calls(&json!([{ "index": index, "id": index.to_string(), "function": { "name": "f", "arguments": "" } }]))
    };
    let part = calls(&json!([{ "index": 1, "function": { "arguments": "x".repeat(900_000) } }]));
    let waiting = [vec![begin(0), begin(1)], vec![part; 6]].concat();
    let answer = gather(MESSAGES, &whole(PAIR, &AnswerPlan::default(), &openai_stream(&waiting)));
    assert_eq!(answer["error"]["type"], "api_error");
}
