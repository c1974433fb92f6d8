//! Requests for Gemini, as the wire reference numbers them (G).

use super::*;
use crate::{Dialect, OutputCap, Rewrite, rewrite, scan_request};

const NEW: &str = "gemini-3.5-flash";
const OLD: &str = "gemini-2.5-flash";

fn config(model: &str, fields: &Value) -> (Value, Vec<String>) {
    let (body, dropped) = to_gemini(model, fields);
    (body["generationConfig"].clone(), dropped)
}

/// Two calls and their results.
fn round(first: &str, second: &str) -> Value {
    json!({ "messages": [
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": null, "tool_calls": [call("a", "f", "{\"x\":1}"), call("b", "g", "")] },
        { "role": "tool", "tool_call_id": "b", "content": second },
        { "role": "tool", "tool_call_id": "a", "content": first },
    ] })
}

#[test]
fn g01_instructions_alone_are_the_users_turn() {
    let (body, _) = to_gemini(NEW, &json!({ "messages": [{ "role": "system", "content": "Be brief." }] }));
    assert_eq!(body["contents"], json!([{ "role": "user", "parts": [{ "text": "Be brief." }] }]));
    assert!(body.get("systemInstruction").is_none());
    let (body, _) = to_gemini(
        NEW,
        &json!({ "messages": [
            { "role": "developer", "content": "Be brief." }, { "role": "user", "content": "Hi" },
            { "role": "system", "content": "Now." }, { "role": "assistant", "content": "" },
        ] }),
    );
    assert_eq!(body["systemInstruction"], json!({ "parts": [{ "text": "Be brief." }] }));
    assert_eq!(body["contents"], json!([{ "role": "user", "parts": [{ "text": "Hi" }, { "text": "Now." }] }]));
    assert!(body.get("model").is_none() && body.get("stream").is_none());
}

#[test]
fn g02_results_of_one_turn_are_one_content_under_their_names() {
    let (body, _) = to_gemini(OLD, &round("1", "2"));
    let contents = body["contents"].as_array().unwrap();
    assert_eq!(contents.len(), 3);
    assert_eq!(contents[1]["parts"][0]["functionCall"], json!({ "name": "f", "args": { "x": 1 } }));
    assert_eq!(contents[1]["parts"][1]["functionCall"], json!({ "name": "g", "args": {} }));
    let mut names: Vec<&str> = contents[2]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["functionResponse"]["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!((contents[2]["role"].as_str(), names), (Some("user"), vec!["f", "g"]));
}

#[test]
fn g03_a_result_is_an_object() {
    let (body, _) = to_gemini(OLD, &round("42", "{\"a\":1}"));
    let parts = &body["contents"][2]["parts"];
    assert_eq!(parts[0]["functionResponse"]["response"], json!({ "a": 1 }));
    assert_eq!(parts[1]["functionResponse"]["response"], json!({ "output": "42" }));
    let failed = json!({ "max_tokens": 9, "model": "m", "messages": [
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": true }] },
    ] });
    let body = value(&try_request(MESSAGES, GEMINI, OLD, &failed).unwrap());
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["response"], json!({ "error": "no" }));
}

#[test]
fn g04_calls_have_ids_from_the_third_generation_on() {
    for (model, id) in [(OLD, Value::Null), (NEW, json!("a")), ("gemini-4-argon", json!("a"))] {
        let (body, _) = to_gemini(model, &round("1", "2"));
        assert_eq!(body["contents"][1]["parts"][0]["functionCall"]["id"], id, "{model}");
        assert_eq!(body["contents"][2]["parts"][1]["functionResponse"]["id"], id, "{model}");
    }
}

#[test]
fn g17_a_schema_is_said_in_the_part_that_the_model_takes() {
    let schema = json!({
        "$schema": "x", "type": "object", "additionalProperties": false, "required": ["a"],
        "$defs": { "P": { "type": "object", "properties": { "self": { "$ref": "#/$defs/P" }, "n": { "type": "integer" } } } },
        "properties": {
            "a": { "$ref": "#/$defs/P", "description": "d" },
            "b": { "type": ["string", "null"], "minLength": 1, "examples": ["x"] },
            "c": { "anyOf": [{ "type": "number" }, { "type": "null" }] },
            "d": { "const": "only" },
            "e": { "oneOf": [{ "type": "string" }, { "type": "integer" }] },
            "f": { "enum": [1, "x"] },
        },
    });
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "t", "parameters": schema } }] });
    let (body, _) = to_gemini(NEW, &tools);
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"], schema);
    let (body, _) = to_gemini("gemini-2.0-flash", &tools);
    let found = &body["tools"][0]["functionDeclarations"][0]["parameters"];
    let text = found.to_string();
    for gone in ["$ref", "$defs", "$schema", "additionalProperties", "examples", "const", "oneOf"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert_eq!(found["properties"]["a"]["properties"]["n"], json!({ "type": "integer" }));
    assert_eq!(found["properties"]["a"]["description"], "d");
    assert_eq!(found["properties"]["b"], json!({ "type": "string", "minLength": 1, "nullable": true }));
    assert_eq!(found["properties"]["c"], json!({ "type": "number", "nullable": true }));
    assert_eq!(found["properties"]["d"], json!({ "type": "string", "enum": ["only"] }));
    assert_eq!(found["properties"]["e"], json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }));
    assert_eq!(found["properties"]["f"], json!({ "type": "string", "enum": ["x"] }));
    assert_eq!(found["required"], json!(["a"]));
}

#[test]
fn g17_a_schema_that_repeats_itself_does_not_grow_without_bound() {
    let own: Value =
        (0..40).map(|n| (format!("p{n}"), json!({ "$ref": "#" }))).collect::<serde_json::Map<_, _>>().into();
    let schema = json!({ "type": "object", "properties": own });
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "t", "parameters": schema } }] });
    let translated = try_request(CHAT, GEMINI, "gemini-2.0-flash", &with_defaults(&tools)).unwrap();
    assert!(translated.body.len() < 8 << 20, "{}", translated.body.len());
}

#[test]
fn g18_a_tool_without_parameters_has_none() {
    for model in [NEW, "gemini-2.0-flash"] {
        let bare = json!({ "type": "function", "function": { "name": "t", "description": "d" } });
        let (body, _) = to_gemini(model, &json!({ "tools": [bare, tool("u")] }));
        let declared = json!([{ "name": "t", "description": "d" }, { "name": "u" }]);
        assert_eq!(body["tools"], json!([{ "functionDeclarations": declared }]), "{model}");
    }
}

#[test]
fn g21_effort_is_a_budget_or_a_level() {
    for (model, effort, expected, dropped) in [
        ("gemini-2.5-pro", "none", json!({ "thinkingBudget": 128 }), true),
        (OLD, "none", json!({ "thinkingBudget": 0 }), false),
        (OLD, "minimal", json!({ "includeThoughts": true, "thinkingBudget": 1 }), false),
        ("gemini-2.5-flash-lite", "minimal", json!({ "includeThoughts": true, "thinkingBudget": 512 }), false),
        (OLD, "low", json!({ "includeThoughts": true, "thinkingBudget": 1024 }), false),
        (OLD, "max", json!({ "includeThoughts": true, "thinkingBudget": 16384 }), false),
        (NEW, "none", json!({ "thinkingLevel": "MINIMAL" }), true),
        ("gemini-4-argon", "minimal", json!({ "includeThoughts": true, "thinkingLevel": "LOW" }), false),
        (NEW, "medium", json!({ "includeThoughts": true, "thinkingLevel": "MEDIUM" }), false),
        (NEW, "xhigh", json!({ "includeThoughts": true, "thinkingLevel": "HIGH" }), false),
        ("gemini-2.0-flash", "high", Value::Null, true),
    ] {
        let (config, names) = config(model, &json!({ "reasoning_effort": effort }));
        assert_eq!(config["thinkingConfig"], expected, "{model} {effort}");
        assert_eq!(names == ["reasoning_effort"], dropped, "{model} {effort}: {names:?}");
    }
    assert_eq!(config(NEW, &json!({})).0["thinkingConfig"], Value::Null);
}

#[test]
fn g22_an_effort_and_a_budget_are_refused_together() {
    let own = json!({ "google": { "thinking_config": { "thinking_budget": 100, "include_thoughts": true } } });
    let both = json!({ "reasoning_effort": "low", "extra_body": own });
    let error = try_request(CHAT, GEMINI, OLD, &with_defaults(&both)).unwrap_err();
    assert_eq!((error.param(), error.code().http_status()), (Some("reasoning_effort"), 400));
    let (alone, dropped) = config(OLD, &json!({ "extra_body": own }));
    assert_eq!(alone["thinkingConfig"], json!({ "includeThoughts": true, "thinkingBudget": 100 }));
    assert!(dropped.is_empty());
    let claude = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }],
        "thinking": { "type": "enabled", "budget_tokens": 3000 } });
    let body = value(&try_request(MESSAGES, GEMINI, NEW, &claude).unwrap());
    let expected = json!({ "includeThoughts": true, "thinkingLevel": "MEDIUM" });
    assert_eq!(body["generationConfig"]["thinkingConfig"], expected);
}

#[test]
fn g28_penalties_go_to_models_that_take_them() {
    let fields =
        json!({ "frequency_penalty": 0.5, "seed": 7, "temperature": 0.2, "top_p": 0.9, "logit_bias": { "1": 2 } });
    let (old, dropped) = config(OLD, &fields);
    assert_eq!(old, json!({ "temperature": 0.2, "topP": 0.9, "seed": 7, "frequencyPenalty": 0.5 }));
    assert_eq!(dropped, ["logit_bias"]);
    let (new, dropped) = config(NEW, &fields);
    assert_eq!(new, json!({ "temperature": 0.2, "topP": 0.9, "seed": 7 }));
    assert_eq!(dropped, ["frequency_penalty", "logit_bias"]);
    let (newest, dropped) = config("gemini-3.8-flash", &json!({ "temperature": 0.2, "user": "u" }));
    assert_eq!((newest, dropped), (json!({}), vec!["temperature".to_owned(), "user".to_owned()]));
}

#[test]
fn g29_images_and_documents_go_inline_or_by_address() {
    let part = |url: &str| json!({ "type": "image_url", "image_url": { "url": url, "detail": "low" } });
    let file =
        json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD" } });
    let audio = json!({ "type": "input_audio", "input_audio": { "data": "QUJD", "format": "mp3" } });
    let content = json!([part("https://a.example/b.png?x=1"), part("data:image/webp;base64,QUJD"), file, audio]);
    let (body, _) = to_gemini(NEW, &json!({ "messages": [{ "role": "user", "content": content }] }));
    assert_eq!(
        body["contents"][0]["parts"],
        json!([
            { "fileData": { "mimeType": "image/png", "fileUri": "https://a.example/b.png?x=1" } },
            { "inlineData": { "mimeType": "image/webp", "data": "QUJD" } },
            { "inlineData": { "mimeType": "application/pdf", "data": "QUJD" } },
            { "inlineData": { "mimeType": "audio/mpeg", "data": "QUJD" } },
        ])
    );
    assert_eq!(body["generationConfig"]["mediaResolution"], "MEDIA_RESOLUTION_LOW");
    let facts = scan_request(Dialect::Gemini, &bytes(&body)).unwrap();
    assert_eq!((facts.media.images, facts.media.remote_images, facts.media.audio), (2, 1, 1));
    assert_eq!((facts.media.documents, facts.input_token_bound()), (1, None));
}

#[test]
fn g30_five_stop_texts_are_the_most() {
    let (config, dropped) = config(NEW, &json!({ "stop": ["1", "2", "3", "4", "5", "6"] }));
    assert_eq!((config["stopSequences"].as_array().unwrap().len(), dropped), (5, vec!["stop".to_owned()]));
}

#[test]
fn a_choice_of_tools_has_its_mode() {
    let named = json!({ "type": "function", "function": { "name": "1st" } });
    let allowed = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [named] } });
    for (choice, expected) in [
        (json!("none"), json!({ "mode": "NONE" })),
        (json!("auto"), json!({ "mode": "AUTO" })),
        (json!("required"), json!({ "mode": "ANY" })),
        (named.clone(), json!({ "mode": "ANY", "allowedFunctionNames": ["_1st"] })),
        (allowed, json!({ "mode": "VALIDATED", "allowedFunctionNames": ["_1st"] })),
    ] {
        let fields = json!({ "tools": [tool("1st")], "tool_choice": choice, "parallel_tool_calls": false });
        let (body, dropped) = to_gemini(NEW, &fields);
        assert_eq!(body["toolConfig"], json!({ "functionCallingConfig": expected }));
        assert_eq!(dropped, ["parallel_tool_calls"]);
    }
}

#[test]
fn json_is_asked_for_where_the_model_takes_it_beside_tools() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
    let (found, _) = config(NEW, &json!({ "response_format": format, "tools": [tool("t")] }));
    assert_eq!((&found["responseMimeType"], &found["responseJsonSchema"]), (&json!("application/json"), &schema));
    let (body, dropped) = to_gemini(OLD, &json!({ "response_format": format, "tools": [tool("t")] }));
    assert!(body["generationConfig"].get("responseMimeType").is_none());
    assert!(body["systemInstruction"]["parts"][0]["text"].as_str().unwrap().contains("JSON schema"));
    assert_eq!(dropped, ["response_format"]);
    let (found, _) = config("gemini-2.0-flash", &json!({ "response_format": format }));
    assert_eq!(found["responseSchema"]["propertyOrdering"], json!(["a"]));
}

#[test]
fn the_cap_is_found_added_and_lowered() {
    for (fields, cap) in [(json!({}), None), (json!({ "max_tokens": 900 }), Some(900))] {
        let translated = try_request(CHAT, GEMINI, NEW, &with_defaults(&fields)).unwrap();
        let facts = scan_request(Dialect::Gemini, &translated.body).unwrap();
        assert_eq!((facts.output_cap, facts.messages), (cap, 1));
        let output_cap = OutputCap { tokens: 500, field: crate::CapField::MaxTokens };
        let changes = Rewrite {
            model: Some("x"),
            force_usage: true,
            withhold_stream_options: false,
            output_cap: Some(output_cap),
            cap_name: None,
            previous_response: None,
            hosted_version: None,
        };
        let sent: Vec<u8> = rewrite(translated.body, &facts, &changes).parts.concat();
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(sent["generationConfig"]["maxOutputTokens"], 500);
        assert!(sent.get("model").is_none());
    }
    let bare = br#"{"contents":[]}"#;
    let facts = scan_request(Dialect::Gemini, bare).unwrap();
    let output_cap = Some(OutputCap { tokens: 7, field: crate::CapField::MaxTokens });
    let sent = rewrite(Bytes::from_static(bare), &facts, &Rewrite { output_cap, ..Rewrite::default() }).parts.concat();
    assert_eq!(String::from_utf8(sent).unwrap(), r#"{"generationConfig":{"maxOutputTokens":7},"contents":[]}"#);
}

#[test]
fn a_search_is_googles_and_has_no_bound() {
    let (body, _) = to_gemini(NEW, &json!({ "web_search_options": {} }));
    assert_eq!(body["tools"], json!([{ "googleSearch": {} }]));
    let facts = scan_request(Dialect::Gemini, &bytes(&body)).unwrap();
    assert!(facts.server_tools.has_uncapped);
    let (body, dropped) = to_gemini(OLD, &json!({ "web_search_options": {}, "tools": [tool("t")] }));
    assert_eq!((body["tools"].as_array().unwrap().len(), dropped), (1, vec!["web_search_options".to_owned()]));
}
