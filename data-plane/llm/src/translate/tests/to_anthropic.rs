//! Chat completion requests for Claude models: messages, tools and their results.

use super::*;

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn messages(model: &str, messages: &Value) -> Value {
    to_claude(model, &json!({ "messages": messages })).0
}

#[test]
fn t01_leading_system_messages_become_blocks_in_order() {
    let roles = ["system", "developer", "system"];
    let mut all: Vec<Value> =
        roles.iter().enumerate().map(|(at, role)| json!({ "role": role, "content": format!("s{at}") })).collect();
    all.push(user("Hi"));
    let body = messages("claude-sonnet-4-5", &json!(all));
    assert_eq!(body["system"], json!([text("s0"), text("s1"), text("s2")]));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": [text("Hi")] }]));
}

#[test]
fn t02_a_later_system_message_becomes_the_users_in_its_place() {
    let all = json!([{ "role": "system", "content": "s" }, user("a"), { "role": "assistant", "content": "b" }, { "role": "system", "content": "late" }, user("c")]);
    let body = messages("claude-haiku-4-5", &all);
    assert_eq!(body["system"], json!([text("s")]));
    assert_eq!(body["messages"][2], json!({ "role": "user", "content": [text("late"), text("c")] }));
}

#[test]
fn t03_a_later_system_message_stays_one_where_the_model_takes_it() {
    let body = messages("claude-opus-5", &json!([user("a"), { "role": "system", "content": "late" }, user("c")]));
    assert_eq!(body["messages"][1], json!({ "role": "system", "content": [text("late")] }));
}

#[test]
fn t04_an_empty_system_message_is_no_system() {
    let body = messages("claude-opus-5", &json!([{ "role": "system", "content": "" }, user("a")]));
    assert!(body.get("system").is_none());
}

#[test]
fn t07_results_of_parallel_calls_share_one_turn_with_the_text_behind_them() {
    let body = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"),
            { "role": "assistant", "content": null, "tool_calls": [call("1", "f", "{}"), call("2", "g", "{}")] },
            { "role": "tool", "tool_call_id": "1", "content": "r1" },
            { "role": "tool", "tool_call_id": "2", "content": "r2" },
            user("and?"),
        ]),
    );
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            { "type": "tool_result", "tool_use_id": "1", "content": "r1" },
            { "type": "tool_result", "tool_use_id": "2", "content": "r2" },
            text("and?"),
        ])
    );
}

#[test]
fn t08_results_in_another_order_stay_one_turn() {
    let body = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"),
            { "role": "assistant", "tool_calls": [call("1", "f", "{}"), call("2", "g", "{}")] },
            { "role": "tool", "tool_call_id": "2", "content": "r2" },
            { "role": "tool", "tool_call_id": "1", "content": "r1" },
        ]),
    );
    let ids: Vec<&str> = body["messages"][2]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["tool_use_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["2", "1"]);
}

#[test]
fn t09_a_call_without_a_result_gets_one_that_says_so() {
    let body = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"), { "role": "assistant", "tool_calls": [call("1", "f", "{}")] }, user("never mind"),
        ]),
    );
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            { "type": "tool_result", "tool_use_id": "1", "content": "no result", "is_error": true },
            text("never mind"),
        ])
    );
}

#[test]
fn t10_a_result_without_a_call_becomes_text() {
    let body =
        messages("claude-sonnet-4-5", &json!([user("a"), { "role": "tool", "tool_call_id": "x", "content": "r" }]));
    assert_eq!(body["messages"][0]["content"], json!([text("a"), text("[tool result x]"), text("r")]));
}

#[test]
fn t11_of_two_results_the_first_counts() {
    let body = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"),
            { "role": "assistant", "tool_calls": [call("1", "f", "{}")] },
            { "role": "tool", "tool_call_id": "1", "content": "first" },
            { "role": "tool", "tool_call_id": "1", "content": "second" },
        ]),
    );
    assert_eq!(
        body["messages"][2]["content"],
        json!([{ "type": "tool_result", "tool_use_id": "1", "content": "first" }])
    );
}

#[test]
fn ids_that_are_used_again_belong_to_the_turn_before() {
    let turn = |answer: &str| {
        [
            json!({ "role": "assistant", "tool_calls": [call("c", "f", "{}")] }),
            json!({ "role": "tool", "tool_call_id": "c", "content": answer }),
        ]
    };
    let all = [vec![user("a")], turn("one").to_vec(), turn("two").to_vec()].concat();
    let body = messages("claude-sonnet-4-5", &json!(all));
    assert_eq!(body["messages"][2]["content"][0]["content"], "one");
    assert_eq!(body["messages"][4]["content"][0]["content"], "two");
}

/// The body, as text, of a conversation with one call of these arguments.
fn with_arguments(arguments: &str) -> Result<String, TranslateError> {
    let body = with_defaults(
        &json!({ "messages": [user("a"), { "role": "assistant", "tool_calls": [call("1", "f", arguments)] }] }),
    );
    let translated = try_request(CHAT, MESSAGES, "claude-sonnet-4-5", &body)?;
    Ok(String::from_utf8(translated.body.to_vec()).unwrap())
}

#[test]
fn t12_empty_arguments_are_an_empty_object() {
    assert!(with_arguments("").unwrap().contains(r#""input":{}"#));
}

#[test]
fn t13_arguments_that_are_no_object_are_refused() {
    let error = with_arguments("[1]").unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_request");
    assert_eq!(error.param(), Some("messages[1]"));
}

#[test]
fn t14_numbers_in_arguments_keep_their_text() {
    let input = r#"{"big":12345678901234567890,"one":1.0,"e":1e-7}"#;
    assert!(with_arguments(input).unwrap().contains(&format!(r#""input":{input}"#)));
}

#[test]
fn t15_keys_of_arguments_keep_their_order() {
    assert!(
        with_arguments(r#"{ "z": 1, "a": {"y":2,"b":3} }"#).unwrap().contains(r#""input":{"z":1,"a":{"y":2,"b":3}}"#)
    );
}

#[test]
fn t16_a_tool_without_parameters_takes_an_empty_object() {
    let (body, _) =
        to_claude("claude-sonnet-4-5", &json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }));
    assert_eq!(body["tools"][0]["input_schema"], json!({ "type": "object", "properties": {} }));
}

#[test]
fn t17_bent_names_are_bent_back() {
    let body = with_defaults(&json!({ "tools": [tool("a.b"), tool("a_b")] }));
    let translated = try_request(CHAT, MESSAGES, "claude-sonnet-4-5", &body).unwrap();
    let sent = value(&translated);
    assert_eq!((&sent["tools"][0]["name"], &sent["tools"][1]["name"]), (&json!("a_b_2"), &json!("a_b")));
    let back = answer(
        MESSAGES,
        CHAT,
        &translated.plan,
        &json!({
            "type": "message", "stop_reason": "tool_use", "content": [
                { "type": "tool_use", "id": "1", "name": "a_b_2", "input": {} }, { "type": "tool_use", "id": "2", "name": "a_b", "input": {} },
            ],
        }),
    );
    let calls = &back["choices"][0]["message"]["tool_calls"];
    assert_eq!((&calls[0]["function"]["name"], &calls[1]["function"]["name"]), (&json!("a.b"), &json!("a_b")));
}

#[test]
fn t18_long_names_are_cut_and_stay_apart() {
    let names = ["x".repeat(150), format!("{}y", "x".repeat(149))];
    let body = with_defaults(&json!({ "tools": [tool(&names[0]), tool(&names[1])] }));
    let translated = try_request(CHAT, MESSAGES, "claude-sonnet-4-5", &body).unwrap();
    let sent = value(&translated);
    let bent: Vec<&str> = [0, 1].map(|at| sent["tools"][at]["name"].as_str().unwrap()).to_vec();
    assert!(bent.iter().all(|name| name.len() <= 128) && bent[0] != bent[1]);
    assert_eq!([0, 1].map(|at| translated.plan.names.inward(bent[at]).to_owned()), names);
}

#[test]
fn t19_a_history_of_calls_without_tools_gets_stubs() {
    let (body, _) = to_claude(
        "claude-sonnet-4-5",
        &json!({ "messages": [
        user("a"),
        { "role": "assistant", "tool_calls": [call("1", "f", "{}"), call("2", "f", "{}")] },
        { "role": "tool", "tool_call_id": "1", "content": "r" }, { "role": "tool", "tool_call_id": "2", "content": "r" },
    ] }),
    );
    assert_eq!(body["tools"], json!([{ "name": "f", "input_schema": { "type": "object", "properties": {} } }]));
}

#[test]
fn functions_of_old_are_paired_in_order() {
    let body = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"),
            { "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{\"n\":1}" } },
            { "role": "function", "name": "f", "content": "one" },
            { "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{\"n\":2}" } },
            { "role": "function", "name": "f", "content": "two" },
        ]),
    );
    assert_eq!(body["messages"][1]["content"][0]["id"], "call_f_0");
    assert_eq!(
        body["messages"][4]["content"][0],
        json!({ "type": "tool_result", "tool_use_id": "call_f_1", "content": "two" })
    );
}

#[test]
fn t34_t35_images_get_the_type_that_they_are() {
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let body = messages(
        "claude-sonnet-4-5",
        &json!([{ "role": "user", "content": [
        image("data:image/jpg;base64,/9j/4AAQ SkZJRgABAQAAAQ=="),
        image("data:image/jpeg;base64,iVBORw0KGgoAAAANSUhEUg=="),
        image("https://a.example/b.png"),
    ] }]),
    );
    let sources = [0, 1, 2].map(|at| body["messages"][0]["content"][at]["source"].clone());
    assert_eq!(sources[0], json!({ "type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQSkZJRgABAQAAAQ==" }));
    assert_eq!(sources[1]["media_type"], "image/png");
    assert_eq!(sources[2], json!({ "type": "url", "url": "https://a.example/b.png" }));
    let error = claude_error(
        "claude-sonnet-4-5",
        &json!({ "messages": [{ "role": "user", "content": [image("http://10.0.0.1/x")] }] }),
    );
    assert_eq!(error.param(), Some("messages[0].content[0]"));
}

#[test]
fn t36_a_pdf_becomes_a_document_with_its_name() {
    let file = |data: &str| json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": data } });
    let body = messages(
        "claude-sonnet-4-5",
        &json!([{ "role": "user", "content": [
        file("data:application/pdf;base64,JVBERi0="), file("data:text/plain;base64,aMOpCg=="),
    ] }]),
    );
    assert_eq!(
        body["messages"][0]["content"],
        json!([
            { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=" }, "title": "a.pdf" },
            { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "hé\n" }, "title": "a.pdf" },
        ])
    );
}

#[test]
fn t37_audio_is_refused_where_it_stands() {
    let error = claude_error(
        "claude-sonnet-4-5",
        &json!({ "messages": [{ "role": "user", "content": [
        text("a"), { "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } },
    ] }] }),
    );
    assert_eq!(error.param(), Some("messages[0].content[1]"));
    assert_eq!(error.code().as_str(), "invalid_request");
}

#[test]
fn t68_t69_only_signed_thinking_is_history() {
    let body = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"),
            { "role": "assistant", "content": "b", "reasoning_content": "plain", "thinking_blocks": [
                { "type": "thinking", "thinking": "ours", "signature": "" },
                { "type": "thinking", "thinking": "theirs", "signature": "S" },
                { "type": "redacted_thinking", "data": "R" },
            ], "reasoning_details": [{ "type": "reasoning.text", "text": "gemini", "signature": "G", "format": "google-gemini-v1" }] },
            user("c"),
        ]),
    );
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            { "type": "thinking", "thinking": "theirs", "signature": "S" },
            { "type": "redacted_thinking", "data": "R" },
            text("b"),
        ])
    );
    let foreign = messages(
        "claude-sonnet-4-5",
        &json!([
            user("a"),
            { "role": "assistant", "content": "b", "reasoning_details": [{ "type": "reasoning.text", "text": "gemini", "signature": "G", "format": "google-gemini-v1" }] },
            user("c"),
        ]),
    );
    assert_eq!(foreign["messages"][1]["content"], json!([text("b")]));
}

#[test]
fn the_user_is_first_and_the_assistant_last_only_where_it_may() {
    let assistant = json!({ "role": "assistant", "content": "b " });
    assert!(
        try_request(CHAT, MESSAGES, "claude-opus-5", &with_defaults(&json!({ "messages": [assistant, user("a")] })))
            .is_err()
    );
    assert!(
        try_request(CHAT, MESSAGES, "claude-opus-5", &with_defaults(&json!({ "messages": [user("a"), assistant] })))
            .is_err()
    );
    let body = messages("claude-haiku-4-5", &json!([user("a"), assistant]));
    assert_eq!(body["messages"][1]["content"], json!([text("b")]));
}

#[test]
fn urls_are_refused_where_nobody_fetches_them() {
    let image = json!({ "type": "image_url", "image_url": { "url": "https://a.example/b.png" } });
    let body = with_defaults(&json!({ "messages": [user("a"), { "role": "user", "content": [text("b"), image] }] }));
    let mut context = context_for(MESSAGES, "claude-opus-5");
    context.traits.takes_urls = false;
    let error = translate_request(CHAT, MESSAGES, &bytes(&body), &context).unwrap_err();
    assert_eq!(error.param(), Some("messages[1].content[1]"));
}
