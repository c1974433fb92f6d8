//! Bodies that were made to cost more than they weigh.
//!
//! Rule: each would take minutes, or all of the memory or the stack, if anything were looked for once for each of its like,
//! or followed as often as it is pointed at.

use std::time::Instant;

use super::*;

/// A model of Google's that takes schemas in its own words only.
const OLD_GEMINI: &str = "gemini-2.0-flash";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";
const CLAUDE: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
const MANY: usize = 10_000;

/// Translates a body and says that it took no longer than one of its length may.
fn done(from: ChatDialect, to: ChatDialect, model: &str, fields: &Value) -> Translated {
    let mut body = with_defaults(fields);
    body["max_tokens"] = json!(100);
    let started = Instant::now();
    let translated = try_request(from, to, model, &body).unwrap();
    assert!(started.elapsed().as_secs() < 60);
    translated
}

fn function(name: &str, schema: &Value) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": schema } })
}

fn named(many: usize) -> impl Iterator<Item = String> + Clone {
    (0..many).map(|at| format!("f{at}"))
}

/// A schema as an old model of Google's gets it.
fn said(schema: &Value) -> Value {
    let translated = done(CHAT, GEMINI, OLD_GEMINI, &json!({ "tools": [function("t", schema)] }));
    // Read as deep as it is made: a server reads no deeper.
    let body: Value = serde_json::from_slice(&translated.body).unwrap();
    body["tools"][0]["functionDeclarations"][0]["parameters"].clone()
}

#[test]
fn names_and_ids_that_are_many_cost_no_more_than_their_length() {
    let calls: Vec<Value> = (0..MANY).map(|at| call(&format!("c{at}"), &format!("ü{at}"), "{}")).collect();
    let results = (0..MANY).map(|at| json!({ "role": "tool", "tool_call_id": format!("c{at}"), "content": "r" }));
    let mut messages =
        vec![json!({ "role": "user", "content": "a" }), json!({ "role": "assistant", "tool_calls": calls })];
    messages.extend(results);
    let mut body = json!({ "messages": messages });
    for at in 0..MANY {
        body[format!("odd\n{at}")] = json!(1);
    }
    for (to, model) in [(MESSAGES, "claude-opus-5"), (BEDROCK, CLAUDE), (GEMINI, OLD_GEMINI), (CHAT, "gpt-4.1")] {
        let translated = done(CHAT, to, model, &body);
        assert_eq!(translated.dropped.len(), if to == CHAT { 0 } else { 64 }, "{to:?}");
        assert!(translated.dropped.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic())));
    }
}

#[test]
fn tools_that_a_choice_allows_cost_no_more_than_their_length() {
    let tools: Vec<Value> = named(MANY).map(|name| function(&name, &json!({ "type": "object" }))).collect();
    let allowed: Vec<Value> =
        named(MANY).map(|name| json!({ "type": "function", "function": { "name": name } })).collect();
    let choice = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": allowed } });
    let body = json!({ "tools": tools, "tool_choice": choice });
    for (to, model) in [(MESSAGES, "claude-opus-5"), (BEDROCK, CLAUDE), (ChatDialect::Ollama, "qwen3")] {
        let sent = value(&done(CHAT, to, model, &body));
        let tools = if to == BEDROCK { &sent["toolConfig"]["tools"] } else { &sent["tools"] };
        assert_eq!(tools.as_array().unwrap().len(), MANY, "{to:?}");
    }
}

#[test]
fn tools_whose_bent_names_are_cut_alike_are_numbered_at_no_more_than_their_length() {
    let begin = "p".repeat(58);
    let odd = |odd: char| (0..MANY / 2).map(move |at| (at, odd));
    let tools: Vec<Value> = odd('é')
        .chain(odd('ü'))
        .map(|(at, odd)| function(&format!("{begin}{at:05}{odd}"), &json!({ "type": "object" })))
        .collect();
    let sent = value(&done(CHAT, CHAT, "gpt-4.1", &json!({ "tools": tools })));
    let sent = sent["tools"].as_array().unwrap();
    let names: Vec<&str> = sent.iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    let unique: std::collections::HashSet<&str> = names.iter().copied().collect();
    assert_eq!((names.len(), unique.len()), (MANY, MANY));
    assert!(names.iter().all(|name| name.len() <= 64));
}

#[test]
fn documents_of_one_name_are_numbered_at_no_more_than_their_length() {
    let file =
        json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } });
    let taken =
        json!({ "type": "file", "file": { "filename": "a pdf (3)", "file_data": "data:application/pdf;base64,AAAA" } });
    let mut parts = vec![taken];
    parts.extend(std::iter::repeat_n(file, MANY));
    let sent = value(&done(CHAT, BEDROCK, NOVA, &json!({ "messages": [{ "role": "user", "content": parts }] })));
    let parts = sent["messages"][0]["content"].as_array().unwrap();
    let names: Vec<&str> = parts.iter().filter_map(|part| part["document"]["name"].as_str()).collect();
    assert_eq!(names.get(..4), Some(&["a pdf (3)", "a pdf", "a pdf (2)", "a pdf (4)"][..]));
    let unique: std::collections::HashSet<&str> = names.iter().copied().collect();
    assert_eq!((names.len(), unique.len()), (MANY + 1, MANY + 1));
}

#[test]
fn results_inside_of_results_are_not_kept_once_for_each() {
    let mut content = json!([{ "type": "text", "text": "x".repeat(4 << 20) }]);
    for at in 0..50 {
        content = json!([{ "type": "tool_result", "tool_use_id": format!("t{at}"), "content": content }]);
    }
    let messages = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t49", "name": "f", "input": {} }] },
        { "role": "user", "content": content },
    ]);
    let translated = done(MESSAGES, BEDROCK, CLAUDE, &json!({ "messages": messages }));
    assert!(translated.body.len() < 5 << 20);
}

#[test]
fn a_signature_goes_back_once_however_often_its_call_is_answered() {
    let mut signed = call("c", "f", "{}");
    signed["extra_content"] = json!({ "google": { "thought_signature": "A".repeat(1 << 20) } });
    let mut messages =
        vec![json!({ "role": "user", "content": "a" }), json!({ "role": "assistant", "tool_calls": [signed] })];
    messages.extend((0..MANY).map(|at| json!({ "role": "tool", "tool_call_id": "c", "content": format!("r{at}") })));
    for (to, model) in [(GEMINI, "gemini-3.8-flash"), (CHAT, "gemini-3.8-flash"), (MESSAGES, "claude-opus-5")] {
        let translated = done(CHAT, to, model, &json!({ "messages": messages }));
        let text = String::from_utf8(translated.body.to_vec()).unwrap();
        assert_eq!(
            (text.len() >> 20, text.contains("r0"), text.contains("r1")),
            (usize::from(to != MESSAGES), true, false)
        );
    }
}

#[test]
fn files_that_are_named_by_many_urls_cost_no_more_than_their_length() {
    let parts: Vec<Value> = named(MANY)
        .map(|name| json!({ "type": "image_url", "image_url": { "url": format!("https://a.example/{name}.png") } }))
        .collect();
    let body = with_defaults(&json!({ "messages": [{ "role": "user", "content": parts }] }));
    let started = Instant::now();
    let wanted = wanted_files(CHAT, BEDROCK, &bytes(&body), &ModelTraits::bedrock(NOVA)).unwrap();
    assert!(started.elapsed().as_secs() < 60);
    assert_eq!(wanted.len(), MANY);
}

#[test]
fn a_schema_that_contains_itself_by_all_of_ends() {
    let own = json!({ "allOf": [{ "$ref": "#" }] });
    let found = said(&json!({ "type": "object", "properties": { "a": own } }));
    let depth = std::iter::successors(Some(&found), |node| node["properties"].get("a")).count();
    assert!((3..8).contains(&depth), "{depth}: {found}");
    for more in [
        json!({ "type": "object", "properties": { "a": { "items": own } } }),
        json!({ "type": "object", "properties": { "a": { "anyOf": [own, own] } } }),
        json!({ "type": "object", "properties": { "a": { "properties": { "b": own, "c": own } } } }),
        json!({ "type": "object", "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } }),
        json!({ "type": "object", "allOf": [{ "$ref": "#" }] }),
    ] {
        assert!(said(&more).to_string().len() < 8 << 20);
    }
}

#[test]
fn a_schema_that_lists_types_at_every_depth_is_walked_once() {
    let mut schema = json!({ "type": "string" });
    for _ in 0..50 {
        schema = json!({ "type": ["object", "string", "object", "array", "odd"], "properties": { "a": schema } });
    }
    // Each list becomes a choice, so that what is made lies deeper than what was sent; the deepest is left open.
    let found = said(&json!({ "type": "object", "properties": { "a": schema } }));
    let text = found.to_string();
    assert!(text.len() < 8192, "{}: {text}", text.len());
    let kinds = |node: &Value| -> Vec<String> {
        node["anyOf"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect()
    };
    let first = &found["properties"]["a"];
    assert_eq!(kinds(first), ["object", "string", "array"]);
    assert_eq!(kinds(&first["anyOf"][0]["properties"]["a"]), ["object", "string", "array"]);
    assert_eq!(first["anyOf"][1], json!({ "type": "string" }));
    assert!(text.contains(r#"{"type":"object"}"#));
}

#[test]
fn schemas_of_many_fields_and_references_cost_no_more_than_their_length() {
    let own = |kind: &str| -> Value {
        named(MANY).map(|name| (name, json!({ "type": kind }))).collect::<serde_json::Map<_, _>>().into()
    };
    let names: Vec<String> = named(MANY).collect();
    let part = json!({ "type": "object", "properties": own("string"), "required": names });
    let other = json!({ "properties": own("integer"), "required": names, "description": "d" });
    let found = said(&json!({ "allOf": [part, other] }));
    assert_eq!(found["properties"].as_object().unwrap().len(), MANY);
    assert_eq!((&found["properties"]["f9"]["type"], &found["description"]), (&json!("string"), &json!("d")));
    assert_eq!(found["required"].as_array().unwrap().len(), MANY);

    let references: Value = named(MANY)
        .map(|name| (name.clone(), json!({ "$ref": format!("#/$defs/{name}") })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let schema = json!({ "type": "object", "properties": references, "$defs": own("string") });
    assert_eq!(said(&schema)["properties"]["f9999"], json!({ "type": "string" }));
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
    let sent = value(&done(CHAT, MESSAGES, "claude-opus-5", &json!({ "response_format": format })));
    assert_eq!(sent["output_config"]["format"]["schema"]["properties"]["f7"], json!({ "$ref": "#/$defs/f7" }));
}

#[test]
fn what_is_nested_as_deep_as_a_body_may_be_is_translated_or_refused() {
    for depth in [60, 110, 125, 130] {
        let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for (open, close) in [
            (r#"{"items":"#, "}"),
            (r#"{"properties":{"a":"#, "}}"),
            (r#"{"anyOf":["#, "]}"),
            (r#"{"allOf":["#, "]}"),
            (r#"{"type":["array","object"],"items":"#, "}"),
            ("[", "]"),
        ] {
            let schema = nested(open, close);
            let body = format!(
                r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"a"}},
                {{"role":"assistant","tool_calls":[{{"id":"c","type":"function","function":{{"name":"t","arguments":{arguments}}}}}]}},
                {{"role":"tool","tool_call_id":"c","content":{arguments}}}],
                "tools":[{{"type":"function","function":{{"name":"t","parameters":{schema}}}}}],
                "response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}}}"#,
                arguments = json!(format!("{{\"a\":{schema}}}")),
            );
            for (to, model) in [
                (MESSAGES, "claude-opus-5"),
                (BEDROCK, CLAUDE),
                (GEMINI, OLD_GEMINI),
                (GEMINI, "gemini-3.8-flash"),
                (CHAT, "gpt-4.1"),
                (ChatDialect::Ollama, "qwen3"),
            ] {
                drop(translate_request(CHAT, to, body.as_bytes(), &context_for(to, model)));
            }
        }
    }
}
