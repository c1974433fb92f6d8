//! Requests for Converse, and its whole answers, as the wire reference numbers the cases.

use super::*;

const SONNET: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";

fn from_chat(model: &str, fields: &Value) -> (Value, Translated) {
    let translated = try_request(CHAT, BEDROCK, model, &with_defaults(fields)).unwrap();
    (value(&translated), translated)
}

fn from_messages(model: &str, fields: &Value) -> (Value, Translated) {
    let mut body = with_defaults(fields);
    body.as_object_mut().unwrap().entry("max_tokens").or_insert(json!(100));
    let translated = try_request(MESSAGES, BEDROCK, model, &body).unwrap();
    (value(&translated), translated)
}

fn with_history(more: &Value) -> Value {
    let mut fields = json!({ "messages": [
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "tool_calls": [call("c1", "f", "{\"a\":1}")] },
        { "role": "tool", "tool_call_id": "c1", "content": "42" },
    ] });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

#[test]
fn a_chat_request_is_a_converse_request() {
    let (body, translated) = from_chat(
        SONNET,
        &json!({
            "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }],
            "max_completion_tokens": 50, "temperature": 1.7, "stop": ["END"], "tools": [tool("f")], "tool_choice": "required",
            "stream": true, "logit_bias": { "1": 2 }, "service_tier": "flex",
        }),
    );
    assert_eq!(
        body,
        json!({
            "system": [{ "text": "Be brief." }],
            "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }],
            "inferenceConfig": { "maxTokens": 50, "temperature": 1.0, "stopSequences": ["END"] },
            "toolConfig": {
                "tools": [{ "toolSpec": { "name": "f", "inputSchema": { "json": { "type": "object", "properties": {} } } } }],
                "toolChoice": { "any": {} },
            },
            "serviceTier": { "type": "flex" },
        })
    );
    assert_eq!(translated.dropped, ["logit_bias"]);
}

#[test]
fn without_a_cap_the_model_decides_how_long_it_answers() {
    assert_eq!(from_chat(SONNET, &json!({})).0["inferenceConfig"], json!({}));
}

#[test]
fn b15_no_choice_keeps_the_tools_that_the_history_needs() {
    let none = json!({ "tools": [tool("f")], "tool_choice": "none" });
    let (body, translated) = from_chat(SONNET, &with_history(&none));
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    assert!(body["toolConfig"]["toolChoice"].is_null());
    assert_eq!(translated.dropped, ["tool_choice"]);
    let (body, translated) = from_chat(SONNET, &none);
    assert!(body.get("toolConfig").is_none() && translated.dropped.is_empty(), "{body}");
    let (body, _) = from_chat(SONNET, &with_history(&json!({})));
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f", "a stub for the history's tool");
    let result = json!({ "toolResult": { "toolUseId": "c1", "content": [{ "text": "42" }] } });
    assert_eq!(body["messages"][2], json!({ "role": "user", "content": [result] }));
    let used = json!({ "toolUse": { "toolUseId": "c1", "name": "f", "input": { "a": 1 } } });
    assert_eq!(body["messages"][1]["content"][0], used);
}

#[test]
fn b16_one_call_at_a_time_is_said_without_a_type_beside_a_choice() {
    let named = json!({ "type": "function", "function": { "name": "f" } });
    let (body, _) =
        from_chat(SONNET, &json!({ "tools": [tool("f")], "tool_choice": named, "parallel_tool_calls": false }));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "tool": { "name": "f" } }));
    assert_eq!(body["additionalModelRequestFields"]["tool_choice"], json!({ "disable_parallel_tool_use": true }));
    let (body, _) = from_chat(SONNET, &json!({ "tools": [tool("f")], "parallel_tool_calls": false }));
    let alone = json!({ "disable_parallel_tool_use": true, "type": "auto" });
    assert_eq!(body["additionalModelRequestFields"]["tool_choice"], alone);
    let (_, translated) = from_chat(NOVA, &json!({ "tools": [tool("f")], "parallel_tool_calls": false }));
    assert_eq!(translated.dropped, ["parallel_tool_calls"]);
}

#[test]
fn b17_an_empty_message_of_the_assistant_is_dropped() {
    let messages = json!([
        { "role": "user", "content": "Hi" }, { "role": "assistant", "content": "  " }, { "role": "user", "content": "?" },
    ]);
    let (body, _) = from_chat(SONNET, &json!({ "messages": messages }));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": [{ "text": "Hi" }, { "text": "?" }] }]));
}

#[test]
fn b18_names_of_documents_are_plain_and_unique_and_a_text_stands_beside_them() {
    let document = |title: &str| {
        let source = json!({ "type": "base64", "media_type": "application/pdf", "data": "JVBERg==" });
        json!({ "type": "document", "title": title, "source": source })
    };
    let content = json!([document("a__b.pdf"), document("a__b.pdf"), document("ü")]);
    let (body, _) = from_messages(SONNET, &json!({ "messages": [{ "role": "user", "content": content }] }));
    let content = body["messages"][0]["content"].as_array().unwrap();
    let names: Vec<&Value> = content.iter().map(|block| &block["document"]["name"]).collect();
    assert_eq!(
        names,
        ["a b pdf", "a b pdf (2)", "document"].map(Value::from).iter().chain([&json!(null)]).collect::<Vec<_>>()
    );
    assert_eq!(content[0]["document"]["format"], "pdf");
    assert!(content[3]["text"].is_string());
}

#[test]
fn b19_a_cache_mark_is_a_block_behind_the_one_that_it_marks() {
    let marked = json!([{ "type": "text", "text": "long", "cache_control": { "type": "ephemeral", "ttl": "1h" } }]);
    let fields = json!({
        "system": [{ "type": "text", "text": "s", "cache_control": { "type": "ephemeral" } }],
        "messages": [{ "role": "user", "content": marked }],
        "tools": [{ "name": "f", "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } }],
    });
    let (body, _) = from_messages(SONNET, &fields);
    let (short, long) =
        (json!({ "cachePoint": { "type": "default" } }), json!({ "cachePoint": { "type": "default", "ttl": "1h" } }));
    assert_eq!(body["system"], json!([{ "text": "s" }, short]));
    assert_eq!(body["messages"][0]["content"], json!([{ "text": "long" }, long]));
    assert_eq!(body["toolConfig"]["tools"][1], short);
    let (body, _) = from_messages("meta.llama4", &fields);
    assert!(!body.to_string().contains("cachePoint"), "a model that takes none gets none");
}

#[test]
fn b20_redacted_reasoning_comes_back_as_it_came() {
    let data = "AQID/+8=";
    let message = json!({ "role": "assistant", "content": [{ "reasoningContent": { "redactedContent": data } }, { "text": "Hi" }] });
    let given = answer(
        BEDROCK,
        MESSAGES,
        &AnswerPlan::default(),
        &json!({ "output": { "message": message }, "stopReason": "end_turn" }),
    );
    assert_eq!(given["content"][0], json!({ "type": "redacted_thinking", "data": data }));
    let turns = json!([
        { "role": "user", "content": "Hi" }, { "role": "assistant", "content": given["content"] }, { "role": "user", "content": "?" },
    ]);
    let (body, _) = from_messages(SONNET, &json!({ "messages": turns }));
    assert_eq!(body["messages"][1]["content"], message["content"]);
}

#[test]
fn b21_a_schema_is_a_text_in_the_output_config() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "out put", "schema": schema } });
    let (body, _) = from_chat(SONNET, &json!({ "response_format": format }));
    let text = &body["outputConfig"]["textFormat"];
    let given = &text["structure"]["jsonSchema"];
    assert_eq!((&text["type"], &given["name"]), (&json!("json_schema"), &json!("out_put")));
    assert_eq!(serde_json::from_str::<Value>(given["schema"].as_str().unwrap()).unwrap(), schema);
    let (body, translated) = from_chat(NOVA, &json!({ "response_format": format }));
    assert!(body.get("outputConfig").is_none());
    assert!(body["system"][0]["text"].as_str().unwrap().contains("JSON schema"));
    assert_eq!(translated.dropped, ["response_format"]);
}

#[test]
fn b26_a_long_name_of_a_tool_is_bent_and_bent_back() {
    let name = "n".repeat(70);
    let (body, translated) = from_chat(SONNET, &json!({ "tools": [tool(&name)] }));
    let sent = body["toolConfig"]["tools"][0]["toolSpec"]["name"].as_str().unwrap().to_owned();
    assert!(sent.len() <= 64);
    let content = json!([{ "toolUse": { "toolUseId": "t1", "name": sent, "input": { "x": 1 } } }]);
    let reply =
        json!({ "output": { "message": { "role": "assistant", "content": content } }, "stopReason": "tool_use" });
    let given = answer(BEDROCK, CHAT, &translated.plan, &reply);
    let choice = &given["choices"][0];
    assert_eq!(choice["message"]["tool_calls"][0]["function"], json!({ "name": name, "arguments": "{\"x\":1}" }));
    assert_eq!(choice["finish_reason"], "tool_calls");
}

#[test]
fn b27_a_stop_sequence_is_not_named() {
    let message = json!({ "role": "assistant", "content": [{ "text": "Hi" }] });
    let reply = json!({ "output": { "message": message }, "stopReason": "stop_sequence" });
    assert!(answer(BEDROCK, MESSAGES, &AnswerPlan::default(), &reply)["stop_sequence"].is_null());
    assert_eq!(answer(BEDROCK, CHAT, &AnswerPlan::default(), &reply)["choices"][0]["finish_reason"], "stop");
}

#[test]
fn b28_an_image_that_is_only_a_url_is_refused() {
    let content = json!([{ "type": "image_url", "image_url": { "url": "https://x.example/a.png" } }]);
    let body = with_defaults(&json!({ "messages": [{ "role": "user", "content": content }] }));
    let error = try_request(CHAT, BEDROCK, SONNET, &body).unwrap_err();
    assert_eq!(error.param(), Some("messages[0].content[0]"));
    let content = json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgoAAAAN" } }]);
    let (body, _) = from_chat(SONNET, &json!({ "messages": [{ "role": "user", "content": content }] }));
    let image = json!({ "image": { "format": "png", "source": { "bytes": "iVBORw0KGgoAAAAN" } } });
    assert_eq!(body["messages"][0]["content"][0], image);
}

#[test]
fn b29_each_maker_is_asked_to_think_in_its_own_words() {
    let ask = |model: &str, effort: &str| from_chat(model, &json!({ "reasoning_effort": effort }));
    let fields = |model: &str, effort: &str| ask(model, effort).0["additionalModelRequestFields"].clone();
    let nova = json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "high" } });
    assert_eq!(fields(NOVA, "xhigh"), nova, "more than high is high");
    assert_eq!(fields(NOVA, "none"), json!(null));
    assert_eq!(fields("openai.gpt-oss-120b-1:0", "low"), json!({ "reasoning_effort": "low" }));
    assert_eq!(fields("openai.gpt-5.6", "medium"), json!({ "reasoning": { "effort": "medium" } }));
    assert_eq!(fields(SONNET, "high"), json!({ "thinking": { "type": "enabled", "budget_tokens": 4096 } }));
    let opus = fields("us.anthropic.claude-opus-5-5", "high");
    assert_eq!((&opus["thinking"]["type"], &opus["output_config"]["effort"]), (&json!("adaptive"), &json!("high")));
    assert_eq!(ask("amazon.nova-pro-v1:0", "high").1.dropped, ["reasoning_effort"]);
}

#[test]
fn an_answer_comes_in_the_clients_words() {
    let reasoning = json!({ "reasoningContent": { "reasoningText": { "text": "hm", "signature": "S" } } });
    let reply = json!({
        "output": { "message": { "role": "assistant", "content": [reasoning, { "text": "Hi" }] } }, "stopReason": "max_tokens",
        "usage": { "inputTokens": 10, "outputTokens": 4, "totalTokens": 14, "cacheReadInputTokens": 90 },
    });
    let given = answer(BEDROCK, CHAT, &AnswerPlan::default(), &reply);
    assert_eq!(
        (&given["usage"]["prompt_tokens"], &given["choices"][0]["finish_reason"]),
        (&json!(100), &json!("length"))
    );
    let given = answer(BEDROCK, MESSAGES, &AnswerPlan::default(), &reply);
    assert_eq!(given["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "S" }));
    assert_eq!((&given["usage"]["input_tokens"], &given["usage"]["cache_read_input_tokens"]), (&json!(10), &json!(90)));
    let nothing = translate_answer(BEDROCK, CHAT, b"{}", &AnswerPlan::default(), &answer_context());
    assert_eq!(nothing, Err(TranslateError::UnreadableAnswer));
}

#[test]
fn nobody_asks_in_the_dialect_of_a_backend() {
    assert!(translate_request(BEDROCK, CHAT, b"{}", &context_for(CHAT, "m")).is_err());
}
