//! Answers and errors of Gemini (G9 to G16, G27).

use super::*;
use crate::dialect::Family;
use crate::{Dialect, Quirks, scan_response, stated_error};

fn chat(body: &Value) -> Value {
    answer(GEMINI, CHAT, &AnswerPlan::default(), body)
}

fn with_usage(usage: &Value) -> Value {
    let mut body = candidate(&json!([{ "text": "Hi" }]), Some("STOP"));
    body["usageMetadata"] = usage.clone();
    body
}

#[test]
fn g09_thoughts_count_beside_the_candidates() {
    let usage = json!({ "promptTokenCount": 100, "cachedContentTokenCount": 80, "candidatesTokenCount": 5,
        "thoughtsTokenCount": 20, "totalTokenCount": 125 });
    let seen = &chat(&with_usage(&usage))["usage"];
    assert_eq!((&seen["prompt_tokens"], &seen["completion_tokens"]), (&json!(100), &json!(25)));
    assert_eq!(seen["prompt_tokens_details"]["cached_tokens"], 80);
    assert_eq!(seen["completion_tokens_details"]["reasoning_tokens"], 20);
}

#[test]
fn g10_thoughts_inside_of_the_candidates_count_once_n12() {
    let usage = json!({ "promptTokenCount": 100, "candidatesTokenCount": 25, "thoughtsTokenCount": 20,
        "totalTokenCount": 125 });
    assert_eq!(chat(&with_usage(&usage))["usage"]["completion_tokens"], 25);
}

#[test]
fn what_tools_and_audio_took_is_counted_apart() {
    let usage = json!({ "promptTokenCount": 100, "cachedContentTokenCount": 30, "candidatesTokenCount": 5,
        "toolUsePromptTokenCount": 40, "totalTokenCount": 145,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 40 }, { "modality": "AUDIO", "tokenCount": 60 }],
        "cacheTokensDetails": [{ "modality": "AUDIO", "tokenCount": 10 }] });
    let usage = scan_response(Dialect::Gemini, &bytes(&with_usage(&usage)), Quirks::default()).usage.unwrap();
    assert_eq!((usage.input_tokens, usage.audio_input_tokens, usage.cache_read_tokens), (60, 50, 30));
    assert_eq!((usage.total_input_tokens(), usage.output_tokens), (140, 5));
    let odd = json!({ "promptTokenCount": 4, "cachedContentTokenCount": 5 });
    let usage = scan_response(Dialect::Gemini, &bytes(&with_usage(&odd)), Quirks::default()).usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.output_tokens), (4, 5, 0));
}

#[test]
fn g12_a_blocked_prompt_is_a_refusal() {
    let body = json!({ "promptFeedback": { "blockReason": "SAFETY" },
        "usageMetadata": { "promptTokenCount": 7, "totalTokenCount": 7 }, "modelVersion": "served" });
    let choice = &chat(&body)["choices"][0];
    assert_eq!(choice["finish_reason"], "content_filter");
    assert_eq!(answer(GEMINI, MESSAGES, &AnswerPlan::default(), &body)["stop_reason"], "refusal");
    let facts = scan_response(Dialect::Gemini, &bytes(&body), Quirks::default());
    assert_eq!((facts.finish.as_deref(), facts.usage.unwrap().input_tokens), (Some("SAFETY"), 7));
}

#[test]
fn g13_all_tokens_may_have_been_thoughts() {
    let mut body = with_usage(&json!({ "promptTokenCount": 3, "thoughtsTokenCount": 50, "totalTokenCount": 53 }));
    body["candidates"] = json!([{ "finishReason": "MAX_TOKENS", "index": 0 }]);
    let answer = chat(&body);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 50);
}

#[test]
fn g14_an_error_may_stand_in_an_array() {
    let body = json!([{ "error": { "code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED" } }]);
    for (client, kind) in [(Family::OpenAi, "rate_limit_error"), (Family::Anthropic, "rate_limit_error")] {
        let error = translate_error(Family::Gemini, client, 429, &bytes(&body), "req_7");
        let found: Value = serde_json::from_slice(&error.body).unwrap();
        assert_eq!((error.status, &found["error"]["message"]), (429, &json!("slow down")));
        assert_eq!(found["error"]["type"], kind);
    }
    let facts = scan_response(Dialect::Gemini, &bytes(&body), Quirks::default());
    assert_eq!(facts.error.unwrap().kind.as_deref(), Some("RESOURCE_EXHAUSTED"));
}

#[test]
fn g15_a_bad_key_is_no_bad_request() {
    let details = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
    let error =
        json!({ "code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": details });
    let body = bytes(&json!({ "error": error }));
    assert_eq!(stated_error(Family::Gemini, 400, &body).status, 401);
    assert_eq!(translate_error(Family::Gemini, Family::OpenAi, 400, &body, "r").status, 401);
    assert_eq!(stated_error(Family::OpenAi, 400, &body).status, 400);
    let plain = bytes(&json!({ "error": { "code": 400, "message": "m", "status": "INVALID_ARGUMENT" } }));
    assert_eq!(stated_error(Family::Gemini, 400, &plain).status, 400);
}

#[test]
fn g16_the_body_says_when_to_come_back() {
    for (delay, expected) in [("34s", Some(34)), ("34.07s", Some(35)), ("0s", Some(0)), ("x", None)] {
        let details = json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay }]);
        let body = json!([{ "error": { "code": 429, "status": "RESOURCE_EXHAUSTED", "details": details } }]);
        assert_eq!(stated_error(Family::Gemini, 429, &bytes(&body)).retry_after_s, expected, "{delay}");
    }
}

#[test]
fn g27_thoughts_alone_are_reasoning() {
    let parts = json!([{ "text": "hm", "thought": true }, { "text": "m", "thought": true }]);
    let message = &chat(&counted(candidate(&parts, Some("MAX_TOKENS"))))["choices"][0]["message"];
    assert_eq!((&message["reasoning_content"], &message["content"]), (&json!("hmm"), &Value::Null));
}

#[test]
fn every_reason_to_end_has_its_word() {
    for (reason, openai, anthropic) in [
        ("STOP", "stop", "end_turn"),
        ("MAX_TOKENS", "length", "max_tokens"),
        ("SAFETY", "content_filter", "refusal"),
        ("IMAGE_SAFETY", "content_filter", "refusal"),
        ("PROHIBITED_CONTENT", "content_filter", "refusal"),
        ("MALFORMED_FUNCTION_CALL", "stop", "end_turn"),
        ("FINISH_REASON_OF_TOMORROW", "stop", "end_turn"),
    ] {
        let body = counted(candidate(&json!([{ "text": "x" }]), Some(reason)));
        assert_eq!(chat(&body)["choices"][0]["finish_reason"], openai, "{reason}");
        assert_eq!(answer(GEMINI, MESSAGES, &AnswerPlan::default(), &body)["stop_reason"], anthropic, "{reason}");
    }
    let called = json!([{ "functionCall": { "name": "f", "args": { "b": 1, "a": 2.50 } } }]);
    let choice = chat(&counted(candidate(&called, Some("STOP"))))["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["tool_calls"][0]["id"], "call_7_0");
}

#[test]
fn what_is_no_answer_is_told() {
    for body in ["", "[]", "{}", "{\"candidates\":[]}", "{\"usageMetadata\":{\"promptTokenCount\":1}}"] {
        let error = translate_answer(GEMINI, CHAT, body.as_bytes(), &AnswerPlan::default(), &answer_context());
        assert_eq!(error, Err(TranslateError::UnreadableAnswer), "{body}");
    }
    let none = translate_answer(CHAT, GEMINI, b"{\"choices\":[{\"message\":{}}]}", &asking(), &answer_context());
    assert_eq!(none, Err(TranslateError::UnsupportedSource { dialect: "gemini" }));
    let context = context_for(CHAT, "gpt-5");
    let none = translate_request(GEMINI, CHAT, b"{}", &context);
    assert_eq!(none, Err(TranslateError::UnsupportedSource { dialect: "gemini" }));
}
