//! Messages requests for models that speak chat completions.

use super::*;

#[test]
fn a_whole_conversation_is_said_in_chat() {
    let (body, dropped) = to_gpt(
        "gpt-4.1",
        &json!({
            "system": [{ "type": "text", "text": "x-anthropic-billing-header: cc" }, { "type": "text", "text": "A" }, { "type": "text", "text": "B", "cache_control": { "type": "ephemeral" } }],
            "messages": [
                { "role": "user", "content": [
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } },
                    { "type": "image", "source": { "type": "url", "url": "https://a.example/b.png" } },
                    { "type": "document", "title": "d.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "JV" } },
                    { "type": "document", "title": "T", "source": { "type": "text", "media_type": "text/plain", "data": "body" } },
                ] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "redacted_thinking", "data": "R" },
                    { "type": "text", "text": "x" }, { "type": "tool_use", "id": "t1", "name": "f", "input": { "z": 1, "a": 1.0 } },
                ] },
                { "role": "user", "content": [{ "type": "text", "text": "and" }, { "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "text", "text": "r" }] }] },
            ],
            "tools": [{ "name": "f", "description": "F", "input_schema": { "type": "object" }, "strict": true }],
            "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
            "metadata": { "user_id": "u".repeat(80) },
            "stream": true,
        }),
    );
    insta::assert_json_snapshot!("messages_to_chat", body);
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn t66_images_of_results_follow_after_all_tool_messages() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } });
    let (body, _) = to_gpt(
        "gpt-4.1",
        &json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "f", "input": {} }, { "type": "tool_use", "id": "2", "name": "f", "input": {} }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "1", "content": [{ "type": "text", "text": "see" }, image] },
            { "type": "tool_result", "tool_use_id": "2" },
            { "type": "text", "text": "well?" },
        ] },
    ] }),
    );
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[1]["content"], Value::Null);
    assert_eq!(messages[2], json!({ "role": "tool", "tool_call_id": "1", "content": "see\n[image]" }));
    assert_eq!(messages[3], json!({ "role": "tool", "tool_call_id": "2", "content": "" }));
    assert_eq!(messages[4]["content"][0]["image_url"]["url"], "data:image/png;base64,AA==");
    assert_eq!(messages[4]["content"][1], json!({ "type": "text", "text": "well?" }));
}

#[test]
fn t67_more_than_four_stops_are_cut_and_named() {
    let (body, dropped) = to_gpt("gpt-4.1", &json!({ "stop_sequences": ["1", "2", "3", "4", "5", "6"] }));
    assert_eq!(body["stop"], json!(["1", "2", "3", "4"]));
    assert_eq!(dropped, ["stop_sequences"]);
}

#[test]
fn thinking_becomes_an_effort_where_the_model_has_one() {
    let effort = |model: &str, fields: &Value| to_gpt(model, fields).0["reasoning_effort"].clone();
    let budget = |tokens: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": tokens } });
    assert_eq!(effort("gpt-5.4", &budget(1024)), "low");
    assert_eq!(effort("gpt-5.4", &budget(4000)), "medium");
    assert_eq!(effort("gpt-5.4", &budget(16_000)), "high");
    assert_eq!(effort("gpt-5.4", &json!({ "thinking": { "type": "disabled" } })), "none");
    assert_eq!(effort("gpt-5.4", &json!({ "thinking": { "type": "adaptive" } })), Value::Null);
    assert_eq!(
        effort("gpt-5.4", &json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "max" } })),
        "xhigh"
    );
    let (body, dropped) = to_gpt("o3", &json!({ "thinking": { "type": "disabled" } }));
    assert_eq!((&body["reasoning_effort"], dropped), (&json!("low"), vec!["thinking".to_owned()]));
    let (body, dropped) = to_gpt("gpt-4.1", &budget(4000));
    assert!(body.get("reasoning_effort").is_none());
    assert_eq!(dropped, ["thinking"]);
}

#[test]
fn caps_tiers_and_formats_are_said() {
    let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let (body, dropped) = to_gpt(
        "gpt-4.1",
        &json!({
            "max_tokens": 90_000, "service_tier": "standard_only", "top_k": 3, "temperature": 0.5, "context_management": {},
            "output_config": { "format": { "type": "json_schema", "schema": schema } },
        }),
    );
    assert_eq!((&body["max_completion_tokens"], &body["service_tier"]), (&json!(64_000), &json!("default")));
    assert_eq!(
        body["response_format"],
        json!({ "type": "json_schema", "json_schema": { "name": "output", "schema": schema, "strict": true } })
    );
    assert_eq!(dropped, ["top_k", "context_management"]);
    assert!(try_request(MESSAGES, CHAT, "gpt-4.1", &with_defaults(&json!({ "max_tokens": 0 }))).is_err());
}

#[test]
fn tools_of_anthropics_own_are_refused_and_choices_need_tools() {
    let own = with_defaults(&json!({ "max_tokens": 9, "tools": [{ "type": "bash_20250124", "name": "bash" }] }));
    assert_eq!(try_request(MESSAGES, CHAT, "gpt-4.1", &own).unwrap_err().param(), Some("tools[0]"));
    let (body, _) = to_gpt("gpt-4.1", &json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } }));
    assert!(body.get("tool_choice").is_none() && body.get("parallel_tool_calls").is_none());
    let search = json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] });
    assert_eq!(to_gpt("gpt-4.1", &search).1, ["tools[0]"]);
    assert_eq!(to_gpt("gpt-4o-search-preview", &search).0["web_search_options"], json!({}));
}

#[test]
fn reasoning_goes_back_to_the_servers_that_want_it() {
    let body = with_defaults(&json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "text", "text": "x" }] },
        { "role": "user", "content": "b" },
    ] }));
    let traits = ModelTraits { takes_reasoning_content: true, ..ModelTraits::openai_compatible() };
    let context = RequestContext { upstream_model: "deepseek", output_cap: None, max_output_tokens: None, traits };
    let sent = value(&translate_request(MESSAGES, CHAT, &bytes(&body), &context).unwrap());
    assert_eq!(sent["messages"][1], json!({ "role": "assistant", "content": "x", "reasoning_content": "hm" }));
}

#[test]
fn broken_bodies_are_refused_with_their_place() {
    let refuse =
        |body: &str| translate_request(MESSAGES, CHAT, body.as_bytes(), &context_for(CHAT, "gpt-4.1")).unwrap_err();
    assert_eq!(refuse("{").code().as_str(), "invalid_json");
    for (body, param) in [
        ("[]", None),
        (r#"{"messages":[]}"#, Some("model")),
        (r#"{"model":"m","messages":[]}"#, Some("messages")),
        (r#"{"model":"m","messages":[{"role":"x","content":"a"}]}"#, Some("messages[0].role")),
        (
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image"}]}]}"#,
            Some("messages[0].content[0].source"),
        ),
        (r#"{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":"hot"}"#, Some("temperature")),
    ] {
        let error = refuse(body);
        assert_eq!((error.param(), error.code().as_str()), (param, "invalid_request"), "{body}");
    }
    let error = translate_request(
        CHAT,
        RESPONSES,
        br#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#,
        &context_for(CHAT, "m"),
    );
    assert_eq!(error.unwrap_err().code().as_str(), "unsupported_backend");
}

#[test]
fn media_that_nobody_takes_there_are_named() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } });
    let (body, dropped) = to_gpt(
        "gpt-4.1",
        &json!({ "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": [{ "type": "text", "text": "b" }, image] },
            { "role": "system", "content": [image, { "type": "text", "text": "c" }] },
            { "role": "user", "content": "d" },
        ] }),
    );
    assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": "b" }));
    assert_eq!(body["messages"][2], json!({ "role": "developer", "content": "c" }));
    assert_eq!(dropped, ["messages[2].content[0]", "messages[1].content[1]"]);
}

#[test]
fn a_server_that_refuses_what_it_does_not_know_gets_its_own_words() {
    let traits = ModelTraits { takes_user: false, says_any: true, ..ModelTraits::openai_compatible() };
    let context = RequestContext { traits, ..context_for(CHAT, "mistral-large") };
    let body = with_defaults(&json!({
        "max_tokens": 9, "metadata": { "user_id": "u" }, "tool_choice": { "type": "any" },
        "tools": [{ "name": "f", "input_schema": { "type": "object" } }],
    }));
    let translated = translate_request(MESSAGES, CHAT, &bytes(&body), &context).unwrap();
    let sent = value(&translated);
    assert_eq!((&sent["tool_choice"], sent.get("user")), (&json!("any"), None));
    assert_eq!(translated.dropped, ["metadata.user_id"]);
}

#[test]
fn thinking_among_the_parts_of_a_content_is_thinking() {
    let content = json!([
        { "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "type": "text", "text": "a" },
    ]);
    let body = json!({ "choices": [{ "message": { "content": content }, "finish_reason": "stop" }] });
    let found = answer(CHAT, MESSAGES, &AnswerPlan::default(), &body);
    let expected = json!([{ "type": "thinking", "thinking": "hm", "signature": "" }, { "type": "text", "text": "a" }]);
    assert_eq!(found["content"], expected);
    let chunks = [
        delta(&json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }] })),
        delta(&json!({ "content": "a" })),
        finish("stop"),
    ];
    let stream = whole((CHAT, MESSAGES), &AnswerPlan::default(), &openai_stream(&chunks));
    assert_eq!(super::reader::gather(MESSAGES, &stream)["content"], expected);
}
