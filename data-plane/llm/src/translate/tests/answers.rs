//! Whole answers, both ways.

use super::*;

fn from_claude(fields: &Value) -> Value {
    let mut body = json!({ "type": "message", "id": "msg_1", "model": "served", "content": [{ "type": "text", "text": "Hi" }], "stop_reason": "end_turn" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    answer(MESSAGES, CHAT, &AnswerPlan::default(), &body)
}

fn from_gpt(message: &Value, finish: &str, usage: &Value) -> Value {
    let body = json!({ "id": "c", "model": "served", "choices": [{ "index": 0, "message": message, "finish_reason": finish }], "usage": usage });
    answer(CHAT, MESSAGES, &AnswerPlan::default(), &body)
}

#[test]
fn t42_usage_is_summed_as_openai_means_it() {
    let body = from_claude(
        &json!({ "usage": { "input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 5, "output_tokens": 7 } }),
    );
    assert_eq!(
        body["usage"],
        json!({
            "prompt_tokens": 105, "completion_tokens": 7, "total_tokens": 112,
            "prompt_tokens_details": { "cached_tokens": 90, "cache_write_tokens": 5 },
        })
    );
}

#[test]
fn t47_a_refusal_is_a_filter_with_its_words() {
    let body =
        from_claude(&json!({ "content": [], "stop_reason": "refusal", "stop_details": { "explanation": "No." } }));
    assert_eq!(body["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(
        (&body["choices"][0]["message"]["refusal"], &body["choices"][0]["message"]["content"]),
        (&json!("No."), &Value::Null)
    );
    assert_eq!(from_claude(&json!({ "stop_reason": "refusal" }))["choices"][0]["message"]["refusal"], "");
}

#[test]
fn t48_t49_stop_reasons_find_their_words() {
    for (reason, expected) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("tool_use", "tool_calls"),
        ("unheard_of", "stop"),
    ] {
        assert_eq!(from_claude(&json!({ "stop_reason": reason }))["choices"][0]["finish_reason"], expected, "{reason}");
    }
}

#[test]
fn a_message_becomes_a_completion() {
    let body = from_claude(&json!({ "content": [
        { "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "redacted_thinking", "data": "R" },
        { "type": "text", "text": "a" }, { "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} },
        { "type": "text", "text": "b" }, { "type": "tool_use", "id": "t", "name": "f", "input": { "z": 1, "a": 2 } },
    ], "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 2 } }));
    insta::assert_json_snapshot!("message_as_completion", body);
}

#[test]
fn a_completion_becomes_a_message() {
    let body = from_gpt(
        &json!({ "content": "a", "reasoning_content": "hm", "tool_calls": [call("1", "f", "{\"z\":1,\"a\":1.0}"), call("2", "g", ""), call("3", "h", "broken")] }),
        "stop",
        &json!({ "prompt_tokens": 100, "completion_tokens": 9, "prompt_tokens_details": { "cached_tokens": 60, "cache_write_tokens": 10 } }),
    );
    insta::assert_json_snapshot!("completion_as_message", body);
}

#[test]
fn t61_finish_reasons_find_their_words() {
    let usage = json!({});
    let message = json!({ "content": "a" });
    let calling = json!({ "tool_calls": [call("1", "f", "{}")] });
    assert_eq!(from_gpt(&calling, "stop", &usage)["stop_reason"], "tool_use");
    assert_eq!(from_gpt(&message, "length", &usage)["stop_reason"], "max_tokens");
    assert_eq!(from_gpt(&message, "content_filter", &usage)["stop_reason"], "refusal");
    assert_eq!(from_gpt(&message, "stop", &usage)["stop_sequence"], Value::Null);
    let refused = from_gpt(&json!({ "content": null, "refusal": "No." }), "stop", &usage);
    assert_eq!((&refused["stop_reason"], &refused["content"][0]["text"]), (&json!("refusal"), &json!("No.")));
    let vllm = json!({ "choices": [{ "message": message, "finish_reason": "stop", "stop_reason": "END" }] });
    let body = answer(CHAT, MESSAGES, &AnswerPlan::default(), &vllm);
    assert_eq!((&body["stop_reason"], &body["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
}

#[test]
fn freeform_tools_take_plain_text_and_give_it_back() {
    let body =
        with_defaults(&json!({ "tools": [{ "type": "custom", "custom": { "name": "sh", "description": "D" } }] }));
    let translated = try_request(CHAT, MESSAGES, "claude-opus-5", &body).unwrap();
    assert_eq!(value(&translated)["tools"][0]["input_schema"]["required"], json!(["input"]));
    let back = answer(
        MESSAGES,
        CHAT,
        &translated.plan,
        &json!({ "type": "message", "stop_reason": "tool_use", "content": [
        { "type": "tool_use", "id": "1", "name": "sh", "input": { "input": "ls -l" } },
    ] }),
    );
    assert_eq!(
        back["choices"][0]["message"]["tool_calls"][0],
        json!({ "id": "1", "type": "custom", "custom": { "name": "sh", "input": "ls -l" } })
    );
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    for (provider, body) in [(CHAT, "{}"), (CHAT, "<html>"), (MESSAGES, "{}"), (MESSAGES, ""), (RESPONSES, "{}")] {
        assert!(translate_answer(provider, CHAT, body.as_bytes(), &AnswerPlan::default(), &answer_context()).is_err());
    }
}
