//! Chat completion requests for Claude models: choices, caps, thinking, sampling, formats, marks.

use super::*;

fn with_tools(fields: &Value) -> Value {
    let mut fields = fields.clone();
    fields["tools"] = json!([tool("f")]);
    fields
}

#[test]
fn t05_max_tokens_is_never_missing() {
    assert_eq!(to_claude("claude-haiku-4-5", &json!({})).0["max_tokens"], 64_000);
    let context = RequestContext { max_output_tokens: None, ..context_for(MESSAGES, "claude-haiku-4-5") };
    let body = translate_request(CHAT, MESSAGES, &bytes(&with_defaults(&json!({}))), &context).unwrap();
    assert_eq!(value(&body)["max_tokens"], 4096);
    let context = RequestContext { output_cap: Some(50), ..context };
    let body =
        translate_request(CHAT, MESSAGES, &bytes(&with_defaults(&json!({ "max_tokens": 70 }))), &context).unwrap();
    assert_eq!(value(&body)["max_tokens"], 50);
}

#[test]
fn t06_the_newer_cap_wins() {
    let (body, _) = to_claude("claude-haiku-4-5", &json!({ "max_tokens": 50, "max_completion_tokens": 100 }));
    assert_eq!(body["max_tokens"], 100);
    assert_eq!(to_claude("claude-haiku-4-5", &json!({ "max_tokens": 99.5 })).0["max_tokens"], 100);
    assert_eq!(claude_error("claude-haiku-4-5", &json!({ "max_tokens": 0 })).param(), Some("max_tokens"));
}

#[test]
fn t20_t21_t23_parallel_calls_are_forbidden_inside_the_choice() {
    let choice = |fields: &Value| to_claude("claude-opus-5", fields).0["tool_choice"].clone();
    let off = json!({ "parallel_tool_calls": false });
    assert_eq!(choice(&with_tools(&off)), json!({ "type": "auto", "disable_parallel_tool_use": true }));
    let none = json!({ "parallel_tool_calls": false, "tool_choice": "none" });
    assert_eq!(choice(&with_tools(&none)), json!({ "type": "none" }));
    assert_eq!(choice(&off), Value::Null);
    let named = json!({ "tool_choice": { "type": "function", "function": { "name": "f" } } });
    assert_eq!(choice(&with_tools(&named)), json!({ "type": "tool", "name": "f" }));
    assert_eq!(choice(&with_tools(&json!({ "tool_choice": "required" }))), json!({ "type": "any" }));
}

#[test]
fn t22_a_forced_choice_is_dropped_by_name_where_it_is_refused() {
    let (body, dropped) = to_claude("claude-opus-5-5", &with_tools(&json!({ "tool_choice": "required" })));
    assert_eq!(body["tool_choice"], json!({ "type": "auto" }));
    assert_eq!(dropped, ["tool_choice"]);
}

#[test]
fn only_the_allowed_tools_are_sent() {
    let (body, _) = to_claude(
        "claude-opus-5",
        &json!({
            "tools": [tool("f"), tool("g")],
            "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [{ "type": "function", "function": { "name": "g" } }] } },
        }),
    );
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body["tools"][0]["name"], "g");
    assert_eq!(body["tool_choice"], json!({ "type": "any" }));
}

#[test]
fn t24_to_t27_sampling_goes_where_it_is_taken() {
    assert_eq!(to_claude("claude-sonnet-4-5", &json!({ "temperature": 1.5 })).0["temperature"], 1.0);
    let (body, dropped) = to_claude("claude-sonnet-5", &json!({ "temperature": 0.2, "top_p": 0.5 }));
    assert!(body.get("temperature").is_none() && body.get("top_p").is_none());
    assert_eq!(dropped, ["temperature", "top_p"]);
    let (body, dropped) = to_claude("claude-sonnet-4-6", &json!({ "temperature": 0.2, "reasoning_effort": "low" }));
    assert!(body.get("temperature").is_none());
    assert_eq!(dropped, ["temperature"]);
    assert_eq!(to_claude("claude-sonnet-4-6", &json!({ "temperature": 0.2 })).0["temperature"], 0.2);
}

#[test]
fn t28_thinking_is_not_disabled_where_it_cannot_be() {
    let none = json!({ "reasoning_effort": "none" });
    let (body, dropped) = to_claude("claude-fable-5-1", &none);
    assert!(body.get("thinking").is_none());
    assert_eq!((&body["output_config"]["effort"], dropped), (&json!("low"), vec!["reasoning_effort".to_owned()]));
    assert_eq!(to_claude("claude-sonnet-5-5", &none).0["thinking"], json!({ "type": "between_tools" }));
    assert_eq!(to_claude("claude-sonnet-5", &none).0["thinking"], json!({ "type": "disabled" }));
}

#[test]
fn t29_t30_a_budget_fits_under_the_cap_or_is_dropped() {
    let high = |cap: u64| to_claude("claude-haiku-4-5", &json!({ "reasoning_effort": "high", "max_tokens": cap }));
    assert_eq!(high(2000).0["thinking"], json!({ "type": "enabled", "budget_tokens": 1999 }));
    let (body, dropped) = high(1000);
    assert!(body.get("thinking").is_none());
    assert_eq!(dropped, ["reasoning_effort"]);
}

#[test]
fn t31_an_adaptive_model_shows_what_it_thinks() {
    let (body, _) = to_claude("claude-opus-5", &json!({ "reasoning_effort": "minimal" }));
    assert_eq!(body["thinking"], json!({ "type": "adaptive", "display": "summarized" }));
    assert_eq!(body["output_config"], json!({ "effort": "low" }));
}

#[test]
fn a_budget_model_does_not_think_on_from_calls_without_thoughts() {
    let (body, dropped) = to_claude(
        "claude-haiku-4-5",
        &json!({ "reasoning_effort": "high", "messages": [
        { "role": "user", "content": "a" }, { "role": "assistant", "tool_calls": [call("1", "f", "{}")] },
        { "role": "tool", "tool_call_id": "1", "content": "r" },
    ] }),
    );
    assert!(body.get("thinking").is_none());
    assert_eq!(dropped, ["reasoning_effort"]);
}

#[test]
fn t32_blank_stops_are_left_out() {
    assert_eq!(to_claude("claude-opus-5", &json!({ "stop": ["\n\n", "END"] })).0["stop_sequences"], json!(["END"]));
    assert_eq!(to_claude("claude-opus-5", &json!({ "stop": "X" })).0["stop_sequences"], json!(["X"]));
}

#[test]
fn t33_an_address_is_no_user_id() {
    for contact in ["a@b.com", "+49 170 1234567"] {
        let (body, dropped) = to_claude("claude-opus-5", &json!({ "user": contact }));
        assert!(body.get("metadata").is_none());
        assert_eq!(dropped, ["user"]);
    }
    assert_eq!(to_claude("claude-opus-5", &json!({ "user": "u-1" })).0["metadata"], json!({ "user_id": "u-1" }));
}

#[test]
fn t38_the_last_four_cache_marks_are_kept() {
    let part =
        |text: &str| json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral", "ttl": "1h" } });
    let (body, _) = to_claude(
        "claude-opus-5",
        &json!({ "messages": [
        { "role": "system", "content": [part("a"), part("b")] }, { "role": "user", "content": [part("c"), part("d"), part("e")] },
    ] }),
    );
    assert!(body["system"][0].get("cache_control").is_none());
    assert_eq!(body["system"][1]["cache_control"], json!({ "type": "ephemeral", "ttl": "1h" }));
    assert_eq!(body.to_string().matches("cache_control").count(), 4);
}

#[test]
fn t39_a_mark_of_a_tool_message_stands_on_its_result() {
    let (body, _) = to_claude(
        "claude-opus-5",
        &json!({ "messages": [
        { "role": "user", "content": "a" }, { "role": "assistant", "tool_calls": [call("1", "f", "{}")] },
        { "role": "tool", "tool_call_id": "1", "content": "r", "cache_control": { "type": "ephemeral" } },
    ] }),
    );
    assert_eq!(body["messages"][2]["content"][0]["cache_control"], json!({ "type": "ephemeral" }));
}

#[test]
fn t40_t41_a_schema_keeps_its_meaning_and_its_bytes() {
    let schema = json!({ "type": "object", "required": ["a"], "properties": {
        "z": { "type": "integer", "minimum": 3, "description": "Z." }, "a": { "oneOf": [{ "type": "string" }, { "type": "null" }] },
    } });
    let format =
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema } } });
    let body = with_defaults(&format);
    let text =
        |_| String::from_utf8(try_request(CHAT, MESSAGES, "claude-opus-5", &body).unwrap().body.to_vec()).unwrap();
    assert_eq!(text(0), text(1));
    let (sent, dropped) = to_claude("claude-opus-5", &format);
    let schema = &sent["output_config"]["format"]["schema"];
    assert_eq!(schema["properties"]["z"], json!({ "type": "integer", "description": "Z. (minimum: 3)" }));
    assert_eq!(schema["properties"]["a"], json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }));
    assert_eq!((&schema["additionalProperties"], &schema["required"]), (&json!(false), &json!(["a"])));
    assert!(dropped.is_empty());
}

#[test]
fn a_schema_without_a_native_form_is_asked_for_in_words_and_named() {
    let format = json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object", "additionalProperties": true } } } });
    let (body, dropped) = to_claude("claude-opus-5", &format);
    assert!(body.get("output_config").is_none() && body["system"][0]["text"].as_str().unwrap().contains("JSON schema"));
    assert_eq!(dropped, ["response_format"]);
}

#[test]
fn what_cannot_be_said_is_named_and_defaults_are_not() {
    let (_, dropped) = to_claude(
        "claude-opus-5",
        &json!({
            "logprobs": true, "seed": 1, "frequency_penalty": 0.5, "presence_penalty": 0, "logit_bias": {}, "modalities": ["text"],
            "unheard_of": 1, "store": true, "metadata": { "a": "b" }, "service_tier": "flex", "n": 1,
        }),
    );
    assert_eq!(dropped, ["service_tier", "frequency_penalty", "logprobs", "seed", "unheard_of"]);
    let error = claude_error("claude-opus-5", &json!({ "n": 2 }));
    assert_eq!((error.param(), error.code().as_str()), (Some("n"), "invalid_request"));
}

#[test]
fn fields_inside_are_named_once() {
    let odd = |name: &str| {
        let mut tool = tool(name);
        tool["function"]["odd"] = json!(1);
        tool
    };
    let message = json!({ "role": "user", "name": "u", "content": "a", "annotations": [] });
    let (_, dropped) =
        to_claude("claude-opus-5", &json!({ "tools": [odd("f"), odd("g")], "messages": [message, message] }));
    assert_eq!(dropped, ["messages[].name", "tools[].odd"]);
}

#[test]
fn streams_and_tiers_are_said() {
    let (body, _) = to_claude(
        "claude-opus-5",
        &json!({ "stream": true, "stream_options": { "include_usage": true }, "service_tier": "default" }),
    );
    assert_eq!((&body["stream"], &body["service_tier"]), (&json!(true), &json!("standard_only")));
    assert!(body.get("stream_options").is_none());
}
