//! Responses requests and whole answers, over chat and messages.

use super::*;

fn with_input(fields: &Value) -> Value {
    let mut body = json!({ "model": "asked", "input": "Hi" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn to(target: ChatDialect, model: &str, fields: &Value) -> Result<Translated, TranslateError> {
    try_request(RESPONSES, target, model, &with_input(fields))
}

fn to_chat(fields: &Value) -> (Value, Vec<String>) {
    let translated = to(CHAT, "gpt-4.1", fields).unwrap();
    (value(&translated), translated.dropped)
}

fn refusal(fields: &Value) -> (String, &'static str) {
    let error = to(CHAT, "gpt-4.1", fields).unwrap_err();
    (error.param().unwrap_or_default().to_owned(), error.code().as_str())
}

fn function_call(id: &str, name: &str) -> Value {
    json!({ "type": "function_call", "call_id": id, "name": name, "arguments": "{}" })
}

fn output(id: &str, output: &Value) -> Value {
    json!({ "type": "function_call_output", "call_id": id, "output": output })
}

#[test]
fn r01_a_text_is_one_message_of_the_user() {
    let (body, _) = to_chat(&json!({ "instructions": "I" }));
    assert_eq!(body["messages"], json!([{ "role": "developer", "content": "I" }, { "role": "user", "content": "Hi" }]));
}

#[test]
fn r02_a_message_needs_no_type() {
    let (body, _) =
        to_chat(&json!({ "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "a" }] }] }));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "a" }]));
}

#[test]
fn r03_what_the_assistant_did_is_one_message() {
    let (body, _) = to_chat(&json!({ "input": [
        { "role": "user", "content": "a" },
        { "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": "hm" }] },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "b" }] },
        function_call("1", "f"), function_call("2", "g"),
        output("1", &json!("r1")), output("2", &json!("r2")),
    ] }));
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    assert_eq!(
        messages[1],
        json!({ "role": "assistant", "content": "b", "tool_calls": [call("1", "f", "{}"), call("2", "g", "{}")] })
    );
}

#[test]
fn r04_an_output_may_have_parts() {
    let (body, _) = to_chat(&json!({ "input": [
        function_call("1", "f"),
        output("1", &json!([{ "type": "input_text", "text": "see" }, { "type": "input_image", "image_url": "data:image/png;base64,AA==" }])),
    ] }));
    assert_eq!(body["messages"][1], json!({ "role": "tool", "tool_call_id": "1", "content": "see\n[image]" }));
    assert_eq!(body["messages"][2]["content"][0]["image_url"]["url"], "data:image/png;base64,AA==");
}

#[test]
fn r05_outputs_move_to_their_calls() {
    let (body, _) = to_chat(
        &json!({ "input": [function_call("1", "f"), { "role": "user", "content": "wait" }, output("1", &json!("r"))] }),
    );
    let roles: Vec<&str> = body["messages"].as_array().unwrap().iter().map(|it| it["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["assistant", "tool", "user"]);
}

#[test]
fn r06_r07_ids_of_calls_must_fit() {
    assert_eq!(
        refusal(&json!({ "input": [output("1", &json!("r"))] })),
        ("input[0].call_id".to_owned(), "invalid_request")
    );
    let twice = json!({ "input": [function_call("1", "f"), function_call("1", "g")] });
    assert_eq!(refusal(&twice), ("input[1].call_id".to_owned(), "invalid_request"));
}

#[test]
fn r08_to_r10_formats_tools_and_choices_are_nested() {
    let schema = json!({ "type": "object", "properties": {} });
    let (body, dropped) = to_chat(&json!({
        "text": { "format": { "type": "json_schema", "name": "n", "schema": schema, "strict": true } },
        "tools": [{ "type": "function", "name": "f", "parameters": schema, "strict": null }],
        "tool_choice": { "type": "function", "name": "f" },
        "top_logprobs": 2, "max_output_tokens": 20,
    }));
    assert_eq!(body["response_format"]["json_schema"], json!({ "name": "n", "schema": schema, "strict": true }));
    assert_eq!(body["tools"][0]["function"], json!({ "name": "f", "parameters": schema }));
    assert_eq!(body["tool_choice"], json!({ "type": "function", "function": { "name": "f" } }));
    assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(2)));
    assert!(dropped.is_empty());
}

#[test]
fn r11_r25_what_needs_a_store_and_what_is_chats_is_refused() {
    for (name, given) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("c")),
        ("prompt", json!({})),
        ("background", json!(true)),
        ("n", json!(1)),
        ("stop", json!("x")),
        ("messages", json!([])),
    ] {
        let mut fields = json!({});
        fields[name] = given;
        assert_eq!(refusal(&fields), (name.to_owned(), "invalid_request"));
    }
    assert_eq!(refusal(&json!({ "input": [{ "type": "item_reference", "id": "x" }] })).1, "invalid_request");
}

#[test]
fn r28_a_cap_under_the_minimum_is_refused() {
    assert_eq!(refusal(&json!({ "max_output_tokens": 5 })), ("max_output_tokens".to_owned(), "invalid_request"));
    assert_eq!(to_chat(&json!({ "max_output_tokens": 16 })).0["max_completion_tokens"], 16);
}

fn claude_answer(content: &Value, stop_reason: &str) -> Value {
    json!({ "type": "message", "content": content, "stop_reason": stop_reason, "usage": { "input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5 } })
}

#[test]
fn r12_a_whole_answer_is_a_response_that_is_not_stored() {
    let translated = to(
        MESSAGES,
        "claude-opus-5",
        &json!({ "metadata": { "a": "b" }, "tools": [{ "type": "function", "name": "f", "parameters": null }] }),
    )
    .unwrap();
    let body = claude_answer(
        &json!([
            { "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "text", "text": "a" }, { "type": "tool_use", "id": "t", "name": "f", "input": { "z": 1 } },
        ]),
        "tool_use",
    );
    insta::assert_json_snapshot!("response", answer(MESSAGES, RESPONSES, &translated.plan, &body));
}

#[test]
fn r13_signed_thinking_comes_back_first_in_its_turn() {
    let asked = to(MESSAGES, "claude-opus-5", &json!({ "include": ["reasoning.encrypted_content"] })).unwrap();
    let body = claude_answer(
        &json!([
            { "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "redacted_thinking", "data": "R" },
            { "type": "tool_use", "id": "t", "name": "f", "input": {} },
        ]),
        "tool_use",
    );
    let response = answer(MESSAGES, RESPONSES, &asked.plan, &body);
    let mut input = vec![json!({ "role": "user", "content": "Hi" })];
    input.extend(response["output"].as_array().unwrap().clone());
    input.push(output("t", &json!("r")));
    let again = value(&to(MESSAGES, "claude-opus-5", &json!({ "input": input })).unwrap());
    assert_eq!(
        again["messages"][1]["content"],
        json!([
            { "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "redacted_thinking", "data": "R" },
            { "type": "tool_use", "id": "t", "name": "f", "input": {} },
        ])
    );
    let unasked = to(MESSAGES, "claude-opus-5", &json!({})).unwrap();
    assert!(!answer(MESSAGES, RESPONSES, &unasked.plan, &body).to_string().contains("encrypted_content"));
}

#[test]
fn r14_foreign_thinking_is_dropped() {
    for blob in ["gAAAAABforeign", "gw1.!!!", "gw1.e30"] {
        let body = value(&to(MESSAGES, "claude-opus-5", &json!({ "input": [
            { "role": "user", "content": "a" }, { "type": "reasoning", "id": "r", "summary": [], "encrypted_content": blob },
            { "role": "assistant", "content": "b" }, { "role": "user", "content": "c" },
        ] })).unwrap());
        assert_eq!(body["messages"][1]["content"], json!([{ "type": "text", "text": "b" }]));
    }
}

#[test]
fn r23_the_role_developer_is_the_systems_elsewhere() {
    let context = RequestContext { traits: ModelTraits::openai_compatible(), ..context_for(CHAT, "mistral") };
    let body =
        with_input(&json!({ "input": [{ "role": "developer", "content": "d" }, { "role": "user", "content": "a" }] }));
    let sent = value(&translate_request(RESPONSES, CHAT, &bytes(&body), &context).unwrap());
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "d" }));
}

#[test]
fn r24_a_file_by_url_is_refused_where_it_cannot_be_fetched() {
    let input = json!({ "input": [{ "role": "user", "content": [{ "type": "input_file", "file_url": "https://a.example/b.pdf" }] }] });
    assert_eq!(refusal(&input).0, "input[0].content[0]");
    let sent = value(&to(MESSAGES, "claude-opus-5", &input).unwrap());
    assert_eq!(sent["messages"][0]["content"][0]["source"], json!({ "type": "url", "url": "https://a.example/b.pdf" }));
}

#[test]
fn r26_the_tools_of_a_coding_client_survive_where_they_can() {
    let translated = to(CHAT, "gpt-4.1", &json!({
        "tools": [
            { "type": "namespace", "name": "fs", "tools": [{ "type": "function", "name": "read", "parameters": { "type": "object" } }] },
            { "type": "custom", "name": "apply_patch", "description": "P" },
            { "type": "web_search" }, { "type": "local_shell" },
        ],
        "tool_choice": { "type": "function", "name": "gone" },
        "input": [
            { "role": "user", "content": "a" },
            { "type": "custom_tool_call", "call_id": "1", "name": "apply_patch", "input": "*** Begin" },
            { "type": "custom_tool_call_output", "call_id": "1", "output": "ok" },
        ],
    })).unwrap();
    let sent = value(&translated);
    let names: Vec<&str> =
        sent["tools"].as_array().unwrap().iter().map(|it| it["function"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fs__read", "apply_patch"]);
    assert!(sent.get("tool_choice").is_none());
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["arguments"], r#"{"input":"*** Begin"}"#);
    assert_eq!(translated.dropped, ["tools[3]", "tool_choice", "tools[2]"]);
    let body = json!({ "choices": [{ "message": { "tool_calls": [
        call("x", "fs__read", "{}"), call("y", "apply_patch", "{\"input\":\"*** End\"}"),
    ] }, "finish_reason": "tool_calls" }] });
    let response = answer(CHAT, RESPONSES, &translated.plan, &body);
    assert_eq!((&response["output"][0]["name"], &response["output"][0]["namespace"]), (&json!("read"), &json!("fs")));
    assert_eq!(
        (&response["output"][1]["type"], &response["output"][1]["input"]),
        (&json!("custom_tool_call"), &json!("*** End"))
    );
    assert_eq!(response["tools"].as_array().unwrap().len(), 4);
}
