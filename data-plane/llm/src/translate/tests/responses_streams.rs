//! Streams for a Responses client.

use super::reader::gather;
use super::*;

fn plan() -> AnswerPlan {
    try_request(
        RESPONSES,
        MESSAGES,
        "claude-opus-5",
        &json!({ "model": "m", "input": "Hi", "include": ["reasoning.encrypted_content"] }),
    )
    .unwrap()
    .plan
}

fn chat(chunks: &[Value]) -> Value {
    gather(RESPONSES, &whole((CHAT, RESPONSES), &plan(), &openai_stream(chunks)))
}

fn call_chunk(arguments: &str) -> Value {
    delta(&json!({ "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "f", "arguments": arguments } }] }))
}

#[test]
fn r15_numbers_have_no_gaps_and_ids_do_not_change() {
    // The reader checks both.
    insta::assert_snapshot!(
        "anthropic_to_responses",
        whole((MESSAGES, RESPONSES), &plan(), &super::streams_to_openai::example())
    );
    insta::assert_snapshot!(
        "chat_to_responses",
        whole((CHAT, RESPONSES), &plan(), &super::streams_to_anthropic::example())
    );
}

#[test]
fn r16_an_empty_answer_is_completed_without_items() {
    let response = chat(&[finish("stop")]);
    assert_eq!((&response["status"], &response["output"]), (&json!("completed"), &json!([])));
}

#[test]
fn r17_a_call_without_arguments_has_empty_ones() {
    let response = chat(&[call_chunk(""), finish("tool_calls")]);
    assert_eq!(
        (&response["output"][0]["arguments"], &response["output"][0]["status"]),
        (&json!("{}"), &json!("completed"))
    );
}

#[test]
fn r18_usage_behind_the_end_is_said() {
    let response = chat(&[delta(&json!({ "content": "a" })), finish("stop"), openai_usage(10, 5)]);
    assert_eq!((&response["usage"]["input_tokens"], &response["usage"]["total_tokens"]), (&json!(10), &json!(15)));
}

#[test]
fn r19_a_call_that_was_cut_is_incomplete() {
    let response = chat(&[call_chunk("{\"a\":"), finish("length")]);
    assert_eq!((&response["status"], &response["output"][0]["status"]), (&json!("incomplete"), &json!("incomplete")));
    assert_eq!(response["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    let response = chat(&[delta(&json!({ "content": "a" })), finish("content_filter")]);
    assert_eq!(response["incomplete_details"], json!({ "reason": "content_filter" }));
}

#[test]
fn a_refusal_in_the_models_own_words_is_completed_and_one_of_a_filter_is_not() {
    for (reason, status) in [("stop", "completed"), ("content_filter", "incomplete")] {
        let message = json!({ "role": "assistant", "content": null, "refusal": "No." });
        let body = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": reason }] });
        let whole_answer = answer(CHAT, RESPONSES, &plan(), &body);
        let streamed = chat(&[delta(&json!({ "refusal": "N" })), delta(&json!({ "refusal": "o." })), finish(reason)]);
        for response in [whole_answer, streamed] {
            assert_eq!(response["status"], status, "{response}");
            assert_eq!(response["output"].as_array().unwrap().len(), 1);
            let item = &response["output"][0];
            assert_eq!((&item["type"], &item["status"]), (&json!("message"), &json!(status)));
            assert_eq!(item["content"], json!([{ "type": "refusal", "refusal": "No." }]));
            let details = if reason == "stop" { Value::Null } else { json!({ "reason": "content_filter" }) };
            assert_eq!(response["incomplete_details"], details);
        }
    }
}

#[test]
fn r20_an_error_in_the_middle_fails_the_response_with_what_there_is() {
    let error = json!({ "error": { "message": "busy", "type": "server_error" } });
    let response = chat(&[delta(&json!({ "content": "a" })), error]);
    assert_eq!(
        (&response["status"], &response["error"]),
        (&json!("failed"), &json!({ "code": "server_error", "message": "busy" }))
    );
    assert_eq!(response["output"][0]["content"][0]["text"], "a");
}

#[test]
fn r27_text_behind_a_call_is_an_item_of_its_own() {
    let response = chat(&[
        delta(&json!({ "content": "a" })),
        call_chunk("{}"),
        delta(&json!({ "content": "b" })),
        finish("tool_calls"),
    ]);
    let kinds: Vec<&str> =
        response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "function_call", "message"]);
}

#[test]
fn r29_usage_is_metered_however_the_response_ends() {
    let stream = openai_stream(&[delta(&json!({ "content": "a" })), finish("length"), openai_usage(10, 5)]);
    let outcome = run((CHAT, RESPONSES), &plan(), [stream.as_bytes()], EndKind::Eof);
    assert!(outcome.facts.is_usage_final);
    assert_eq!(outcome.facts.answer.usage.unwrap().output_tokens, 5);
}

#[test]
fn plain_text_of_a_freeform_tool_is_said_when_it_is_whole() {
    let body = json!({ "model": "m", "input": "Hi", "tools": [{ "type": "custom", "name": "sh" }] });
    let plan = try_request(RESPONSES, CHAT, "gpt-4.1", &body).unwrap().plan;
    let part = |arguments: &str| {
        delta(
            &json!({ "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "sh", "arguments": arguments } }] }),
        )
    };
    let stream = openai_stream(&[part("{\"inp"), part("ut\":\"l\\ns\"}"), finish("tool_calls")]);
    let sent = whole((CHAT, RESPONSES), &plan, &stream);
    assert!(sent.contains("response.custom_tool_call_input.done"));
    assert_eq!(gather(RESPONSES, &sent)["output"][0]["input"], "l\ns");
}
