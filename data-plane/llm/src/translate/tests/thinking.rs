//! Thinking across dialects: whose it is, to whom it goes back, and in which form it is asked for.

use super::*;
use crate::dialect::Family;
use crate::response::ProviderError;
use crate::stream_error_status;

const BUDGET: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
const BOTH: &str = "us.anthropic.claude-opus-4-6-v1";
const NEWEST: &str = "us.anthropic.claude-opus-5-5";
const LEAST: &str = "us.anthropic.claude-sonnet-5-5";

fn deepseek() -> RequestContext<'static> {
    let traits = ModelTraits { takes_reasoning_content: true, ..ModelTraits::openai_compatible() };
    RequestContext { upstream_model: "deepseek-v4", output_cap: None, max_output_tokens: None, traits }
}

/// A request of responses whose only thinking is a summary that nobody signed, before a call.
fn unsigned_input() -> Value {
    json!({ "model": "m", "reasoning": { "effort": "high" }, "input": [
        { "role": "user", "content": "a" },
        { "type": "reasoning", "id": "r", "summary": [{ "type": "summary_text", "text": "hm" }] },
        { "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "1", "output": "r" },
        { "type": "reasoning", "id": "s", "summary": [{ "type": "summary_text", "text": "alone" }] },
        { "role": "user", "content": "b" },
    ] })
}

#[test]
fn what_nobody_signed_is_no_history_of_claudes() {
    for (target, model) in [(MESSAGES, "claude-haiku-4-5"), (BEDROCK, BUDGET)] {
        let translated = try_request(RESPONSES, target, model, &unsigned_input()).unwrap();
        let sent = value(&translated);
        let roles: Vec<&str> =
            sent["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user"], "{sent}");
        let text = sent.to_string();
        assert!(!text.contains("hm") && !text.contains("alone"), "{text}");
        // From a call without a signed thought the model does not think on: it would refuse the request.
        assert!(!text.contains("budget_tokens"), "{text}");
        assert_eq!(translated.dropped, ["reasoning.effort"]);
    }
}

#[test]
fn a_server_that_wants_its_thinking_back_gets_it_on_every_turn_whoever_signed_it() {
    let turns = |thinking: Value| {
        json!([
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": [thinking, { "type": "text", "text": "x" }] },
            { "role": "user", "content": "b" },
            { "role": "assistant", "content": "y" },
            { "role": "user", "content": "c" },
        ])
    };
    for signature in [json!(""), json!("S"), Value::Null] {
        let thinking = json!({ "type": "thinking", "thinking": "hm", "signature": signature });
        let body = with_defaults(&json!({ "max_tokens": 9, "messages": turns(thinking) }));
        let sent = value(&translate_request(MESSAGES, CHAT, &bytes(&body), &deepseek()).unwrap());
        assert_eq!(sent["messages"][1], json!({ "role": "assistant", "content": "x", "reasoning_content": "hm" }));
        assert_eq!(sent["messages"][3], json!({ "role": "assistant", "content": "y", "reasoning_content": "" }));
        let (sent, _) = to_gpt("gpt-4.1", &body);
        assert_eq!(sent["messages"][1], json!({ "role": "assistant", "content": "x" }));
    }
    let sent = value(&translate_request(RESPONSES, CHAT, &bytes(&unsigned_input()), &deepseek()).unwrap());
    assert_eq!(sent["messages"][1]["reasoning_content"], "hm");
    assert_eq!(sent["messages"][3]["reasoning_content"], "alone");
    let sent = value(&try_request(RESPONSES, CHAT, "gpt-4.1", &unsigned_input()).unwrap());
    let messages = sent["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4, "a turn of thoughts alone is none: {sent}");
}

/// What a model at Bedrock is told about thinking, and what was dropped.
fn fitted(model: &str, thinking: &Value, more: &Value) -> (Value, Value, Vec<String>) {
    let mut body = with_defaults(&json!({ "max_tokens": 9000, "thinking": thinking }));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let translated = try_request(MESSAGES, BEDROCK, model, &body).unwrap();
    let fields = value(&translated)["additionalModelRequestFields"].clone();
    (fields["thinking"].clone(), fields["output_config"]["effort"].clone(), translated.dropped)
}

#[test]
fn thinking_is_asked_for_in_the_form_that_the_model_takes() {
    let adaptive = json!({ "type": "adaptive", "display": "summarized" });
    let enabled = |tokens: u64| json!({ "type": "enabled", "budget_tokens": tokens });
    let kind = |word: &str| json!({ "type": word });
    let dropped = vec!["thinking".to_owned()];
    let none = Vec::new();
    for (model, asked, thinking, effort, left_out) in [
        (BUDGET, enabled(3000), enabled(3000), Value::Null, &none),
        (BUDGET, enabled(20_000), enabled(8999), Value::Null, &none),
        (BUDGET, kind("adaptive"), enabled(4096), Value::Null, &none),
        (BUDGET, kind("disabled"), kind("disabled"), Value::Null, &none),
        (BUDGET, kind("between_tools"), Value::Null, Value::Null, &dropped),
        (BOTH, enabled(3000), enabled(3000), Value::Null, &none),
        (BOTH, kind("adaptive"), adaptive.clone(), Value::Null, &none),
        (NEWEST, enabled(1024), adaptive.clone(), json!("low"), &none),
        (NEWEST, enabled(3000), adaptive.clone(), json!("medium"), &none),
        (NEWEST, enabled(8192), adaptive.clone(), json!("high"), &none),
        (NEWEST, kind("disabled"), Value::Null, json!("low"), &dropped),
        (LEAST, kind("between_tools"), kind("between_tools"), Value::Null, &none),
        (LEAST, kind("disabled"), kind("between_tools"), Value::Null, &none),
        ("meta.llama4-maverick", kind("disabled"), Value::Null, Value::Null, &none),
    ] {
        let found = fitted(model, &asked, &json!({}));
        assert_eq!(found, (thinking, effort, left_out.clone()), "{model} {asked}");
    }
    let high = json!({ "output_config": { "effort": "high" } });
    assert_eq!(fitted(NEWEST, &enabled(1024), &high).1, "high", "the client's own effort stays");
    assert_eq!(fitted(BUDGET, &kind("adaptive"), &json!({ "max_tokens": 1000 })), (Value::Null, Value::Null, dropped));
}

#[test]
fn an_error_inside_a_stream_has_the_status_that_its_words_say() {
    let error = |kind: &str, code: &str| ProviderError {
        kind: Some(kind.to_owned()).filter(|kind| !kind.is_empty()),
        code: Some(code.to_owned()).filter(|code| !code.is_empty()),
        message: "m".to_owned(),
    };
    for (kind, code, expected) in [
        ("overloaded_error", "", 503),
        ("rate_limit_error", "", 429),
        ("invalid_request_error", "", 400),
        ("authentication_error", "", 401),
        ("server_error", "insufficient_quota", 429),
        ("api_error", "", 500),
        ("", "502", 502),
        ("UNAVAILABLE", "503", 503),
        ("", "1", 500),
        ("", "", 500),
    ] {
        assert_eq!(stream_error_status(&error(kind, code)), expected, "{kind} {code}");
    }
}

#[test]
fn z13_an_error_without_its_usual_frame_keeps_its_words() {
    let body = br#"{"statusCode":401,"message":"Access denied due to missing subscription key."}"#;
    for client in [Family::OpenAi, Family::Anthropic] {
        let error = translate_error(Family::OpenAi, client, 401, body, "req_7");
        let found: Value = serde_json::from_slice(&error.body).unwrap();
        assert_eq!(error.status, 401);
        assert_eq!(found["error"]["message"], "Access denied due to missing subscription key.");
    }
}

#[test]
fn signed_thinking_stays_where_it_was_signed_among_words_and_calls() {
    let thought = |signature: &str| json!({ "type": "thinking", "thinking": "hm", "signature": signature });
    let said = |text: &str| json!({ "type": "text", "text": text });
    let tool = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
    let turn = json!([thought("1"), said("a"), thought("2"), tool("x"), { "type": "redacted_thinking", "data": "R" }, tool("y")]);
    let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "r" });
    let messages = json!([
        { "role": "user", "content": "go" }, { "role": "assistant", "content": turn },
        { "role": "user", "content": [said("and"), result("x"), result("y")] },
    ]);
    let body = with_defaults(&json!({ "max_tokens": 9, "messages": messages }));
    let sent = value(&try_request(MESSAGES, MESSAGES, "claude-opus-5", &body).unwrap());
    assert_eq!(sent["messages"][1]["content"], turn);
    assert_eq!(sent["messages"][2]["content"], json!([result("x"), result("y"), said("and")]));
    let sent = value(&try_request(MESSAGES, BEDROCK, NEWEST, &body).unwrap());
    let blocks = sent["messages"][1]["content"].as_array().unwrap();
    let kinds: Vec<&str> =
        blocks.iter().map(|block| block.as_object().unwrap().keys().next().unwrap().as_str()).collect();
    assert_eq!(kinds, ["reasoningContent", "text", "reasoningContent", "toolUse", "reasoningContent", "toolUse"]);
    assert_eq!(blocks[2]["reasoningContent"]["reasoningText"]["signature"], "2");
    let blocks = sent["messages"][2]["content"].as_array().unwrap();
    assert!(blocks[0]["toolResult"].is_object() && blocks[1]["toolResult"].is_object() && blocks[2]["text"] == "and");
}
