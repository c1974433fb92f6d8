//! Rewritten bodies: what changes, and that nothing else does.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::request::scan_request;

const ALL: Rewrite<'static> = Rewrite {
    model: Some("served \"name\""),
    force_usage: true,
    withhold_stream_options: false,
    output_cap: Some(OutputCap { tokens: 64, field: CapField::MaxCompletionTokens }),
    cap_name: None,
    previous_response: None,
    hosted_version: None,
};

#[test]
fn g26_a_host_of_claude_gets_its_version_instead_of_the_model() {
    let hosted = Rewrite { model: Some("claude-x@1"), hosted_version: Some("vertex-2023-10-16"), ..Rewrite::default() };
    for (body, expected) in [
        (
            r#"{"model":"claude-x","max_tokens":5,"stream":true,"messages":[]}"#,
            r#"{"anthropic_version":"vertex-2023-10-16","max_tokens":5,"stream":true,"messages":[]}"#,
        ),
        (
            "{ \"max_tokens\":5, \"model\" :\n \"claude-x@1\" , \"messages\":[] }",
            "{ \"max_tokens\":5, \"anthropic_version\":\"vertex-2023-10-16\" , \"messages\":[] }",
        ),
        (
            r#"{"max_tokens":5,"messages":[],"\u006dodel":"x"}"#,
            r#"{"max_tokens":5,"messages":[],"anthropic_version":"vertex-2023-10-16"}"#,
        ),
    ] {
        assert_eq!(rewritten(Dialect::AnthropicMessages, body, &hosted), expected);
    }
    let count = r#"{"model":"claude-x","messages":[]}"#;
    let expected = r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-x@1","messages":[]}"#;
    assert_eq!(rewritten(Dialect::AnthropicCountTokens, count, &hosted), expected);
}

fn rewritten(dialect: Dialect, body: &str, changes: &Rewrite<'_>) -> String {
    let facts = scan_request(dialect, body.as_bytes()).unwrap();
    let parts = rewrite(Bytes::copy_from_slice(body.as_bytes()), &facts, changes);
    let bytes = parts.parts.concat();
    assert_eq!(u64::try_from(bytes.len()).unwrap(), parts.length);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_cap_that_goes_under_another_name_is_said_once() {
    let cap = Some(OutputCap { tokens: 50, field: CapField::MaxTokens });
    let changes = Rewrite { output_cap: cap, cap_name: Some(CapField::MaxTokens), ..Rewrite::default() };
    for (body, expected) in [
        (r#"{"model":"a","max_completion_tokens":50,"messages":[]}"#, r#"{"model":"a","max_tokens":50,"messages":[]}"#),
        (
            r#"{"model":"a","max_completion_tokens":50,"max_tokens":null,"messages":[]}"#,
            r#"{"model":"a","max_completion_tokens":50,"max_tokens":50,"messages":[]}"#,
        ),
    ] {
        assert_eq!(rewritten(Dialect::OpenAiChat, body, &changes), expected);
    }
}

#[test]
fn each_field_is_spliced_where_it_stands() {
    let model = Rewrite { model: Some("b"), ..Rewrite::default() };
    let usage = Rewrite { force_usage: true, ..Rewrite::default() };
    let none = Rewrite { force_usage: true, withhold_stream_options: true, ..Rewrite::default() };
    let cap = |tokens, field| Rewrite { output_cap: Some(OutputCap { tokens, field }), ..Rewrite::default() };
    let (short, long) = (cap(10, CapField::MaxTokens), cap(10, CapField::MaxCompletionTokens));
    for (changes, body, expected) in [
        (
            &none,
            r#"{"stream_options": {"x":[1],"include_usage":true} ,"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options": null ,"model":"a","messages":[],"stream":true}"#,
        ),
        (&none, r#"{"model":"a","messages":[],"stream":true}"#, r#"{"model":"a","messages":[],"stream":true}"#),
        (&model, r#"{ "model" : "a" ,"messages":[]}"#, r#"{ "model" : "b" ,"messages":[]}"#),
        (&model, r#"{"model":"b","messages":[]}"#, r#"{"model":"b","messages":[]}"#),
        (&model, r#"{"model":"\u0062","messages":[]}"#, r#"{"model":"\u0062","messages":[]}"#),
        (&usage, r#"{"model":"a","messages":[]}"#, r#"{"model":"a","messages":[]}"#),
        (
            &usage,
            r#"{"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"a","messages":[],"stream":true}"#,
        ),
        (
            &usage,
            r#"{"stream_options":null,"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"a","messages":[],"stream":true}"#,
        ),
        (
            &usage,
            r#"{"stream_options":{ },"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true },"model":"a","messages":[],"stream":true}"#,
        ),
        (
            &usage,
            r#"{"stream_options":{"x":1},"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"x":1},"model":"a","messages":[],"stream":true}"#,
        ),
        (
            &usage,
            r#"{"stream_options":{"x":1,"include_usage" : false},"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options":{"x":1,"include_usage" : true},"model":"a","messages":[],"stream":true}"#,
        ),
        (
            &usage,
            r#"{"stream_options":{"include_usage":true},"model":"a","messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"a","messages":[],"stream":true}"#,
        ),
        (&short, r#"{"model":"a","messages":[]}"#, r#"{"max_tokens":10,"model":"a","messages":[]}"#),
        (&long, r#"{"model":"a","messages":[]}"#, r#"{"max_completion_tokens":10,"model":"a","messages":[]}"#),
        (&short, r#"{"model":"a","messages":[],"max_tokens":9}"#, r#"{"model":"a","messages":[],"max_tokens":9}"#),
        (&short, r#"{"model":"a","messages":[],"max_tokens":11}"#, r#"{"model":"a","messages":[],"max_tokens":10}"#),
        (
            &long,
            r#"{"model":"a","messages":[],"max_tokens":9}"#,
            r#"{"max_completion_tokens":9,"model":"a","messages":[],"max_tokens":9}"#,
        ),
        (
            &short,
            r#"{"max_completion_tokens":9,"model":"a","max_tokens":null,"messages":[]}"#,
            r#"{"max_completion_tokens":9,"model":"a","max_tokens":9,"messages":[]}"#,
        ),
        (
            &short,
            r#"{"model":"a","max_completion_tokens":99,"messages":[],"max_tokens":11}"#,
            r#"{"model":"a","max_completion_tokens":10,"messages":[],"max_tokens":10}"#,
        ),
        (&short, r#"{"model":"a","messages":[],"max_tokens":null}"#, r#"{"model":"a","messages":[],"max_tokens":10}"#),
    ] {
        assert_eq!(rewritten(Dialect::OpenAiChat, body, changes), expected, "{body}");
    }
    let body = r#"{"model":"a","messages":[],"max_tokens":5,"stream":true}"#;
    assert_eq!(rewritten(Dialect::AnthropicMessages, body, &usage), body, "Anthropic streams have usage anyway");
    assert_eq!(
        rewritten(Dialect::AnthropicMessages, r#"{"model":"a","messages":[]}"#, &long),
        r#"{"max_tokens":10,"model":"a","messages":[]}"#
    );
    assert_eq!(
        rewritten(Dialect::OpenAiEmbeddings, r#"{"model":"a","input":"x"}"#, &ALL),
        r#"{"model":"served \"name\"","input":"x"}"#
    );
}

#[test]
fn a_model_that_a_request_left_to_the_provider_is_named_where_a_route_names_one() {
    let changes = Rewrite { model: Some("text-moderation"), ..Rewrite::default() };
    for (body, expected) in [
        (r#"{"input":"a"}"#, r#"{"model":"text-moderation","input":"a"}"#),
        (r#"{"model": null, "input":"a"}"#, r#"{"model": "text-moderation", "input":"a"}"#),
        (r#"{"input":"a","model":"m"}"#, r#"{"input":"a","model":"text-moderation"}"#),
        ("{ }", r#"{"model":"text-moderation" }"#),
    ] {
        assert_eq!(rewritten(Dialect::OpenAiModerations, body, &changes), expected, "{body}");
    }
}

#[test]
fn the_body_is_not_copied() {
    let body = Bytes::from(r#"{"messages":[{"role":"user","content":"hello"}],"model":"a","stream":true}"#);
    let facts = scan_request(Dialect::OpenAiChat, &body).unwrap();
    let untouched = rewrite(body.clone(), &facts, &Rewrite::default());
    assert_eq!(untouched.parts.len(), 1);
    assert_eq!(untouched.parts[0].as_ptr(), body.as_ptr());
    let all = rewrite(body.clone(), &facts, &ALL);
    let within = body.as_ptr().addr()..body.as_ptr().addr() + body.len();
    let of_body: usize = all.parts.iter().filter(|part| within.contains(&part.as_ptr().addr())).map(Bytes::len).sum();
    assert_eq!(of_body, body.len() - "\"a\"".len());
}

#[test]
fn facts_of_another_body_do_no_harm() {
    let facts = scan_request(Dialect::OpenAiChat, br#"{"messages":[],"model":"a","stream":true}"#).unwrap();
    assert!(rewrite(Bytes::from_static(b"{}"), &facts, &ALL).length > 0);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z\"\\\\é]{0,6}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Writes a document with odd whitespace, and every character of its strings escaped now and then.
fn write(value: &Value, odd: &mut impl FnMut() -> u8, out: &mut String) {
    out.push_str(["", " ", "\n", "\r\n\t"][usize::from(odd() % 4)]);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(item, odd, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                out.push_str(if index > 0 { " ," } else { "" });
                write_string(name, odd, out);
                out.push_str([":", " : "][usize::from(odd() % 2)]);
                write(field, odd, out);
            }
            out.push('}');
        }
        Value::String(text) => write_string(text, odd, out),
        scalar => out.push_str(&scalar.to_string()),
    }
    out.push_str(["", " "][usize::from(odd() % 2)]);
}

fn write_string(text: &str, odd: &mut impl FnMut() -> u8, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if odd().is_multiple_of(5) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            let quoted = serde_json::to_string(&c).unwrap();
            out.push_str(quoted.get(1..quoted.len() - 1).unwrap());
        }
    }
    out.push('"');
}

fn any_request() -> impl Strategy<Value = Value> {
    let options = prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!({}))),
        Just(Some(json!({"include_usage": true}))),
        Just(Some(json!({"include_usage": false, "x": 1}))),
        Just(Some(json!({"x": {"include_usage": true}}))),
    ];
    let cap = || prop_oneof![Just(None), Just(Some(Value::Null)), (0_u64..200).prop_map(|cap| Some(Value::from(cap)))];
    let others = prop::collection::vec(("x_[a-z\"\\\\é]{0,4}", any_value()), 0..4);
    (any::<bool>(), options, cap(), cap(), "[a-zé\"\\\\]{1,8}", others, prop::collection::vec(any::<String>(), 0..3))
        .prop_map(|(stream, options, max_tokens, max_completion_tokens, model, others, texts)| {
            let mut request: Map<String, Value> = others.into_iter().collect();
            let texts: Vec<Value> = texts.into_iter().map(|text| json!({"role": "user", "content": text})).collect();
            let fields = [
                ("stream", Some(Value::from(stream))),
                ("model", Some(Value::from(model))),
                ("messages", Some(Value::from(texts))),
                ("stream_options", options),
                ("max_tokens", max_tokens),
                ("max_completion_tokens", max_completion_tokens),
            ];
            request.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            Value::Object(request)
        })
}

proptest! {
    #[test]
    fn only_the_asked_fields_change(
        request in any_request(), noise in prop::collection::vec(any::<u8>(), 1..64), model: bool, usage: bool, cap in prop::option::of(0_u64..200),
    ) {
        let mut noise = noise.into_iter().cycle();
        let mut body = String::new();
        write(&request, &mut || noise.next().unwrap_or_default(), &mut body);
        let changes = Rewrite {
            model: model.then_some("served"),
            force_usage: usage,
            withhold_stream_options: false,
            output_cap: cap.map(|tokens| OutputCap { tokens, field: CapField::MaxTokens }),
            cap_name: None,
            previous_response: None,
            hosted_version: None,
        };
        let facts = scan_request(Dialect::OpenAiChat, body.as_bytes()).unwrap();
        prop_assert_eq!(Some(facts.model.as_str()), request["model"].as_str());
        let whole = Bytes::from(body.clone());
        let parts = rewrite(whole.clone(), &facts, &changes);
        let sent: Value = serde_json::from_slice(&parts.parts.concat()).unwrap();

        let mut expected = request.clone();
        if model { expected["model"] = json!("served"); }
        if usage && facts.is_stream {
            if !expected["stream_options"].is_object() { expected["stream_options"] = json!({}); }
            expected["stream_options"]["include_usage"] = json!(true);
        }
        if let Some(cap) = cap {
            let other = request["max_completion_tokens"].as_u64().map(|given| given.min(cap));
            if let Some(other) = other { expected["max_completion_tokens"] = json!(other); }
            // Also beside the other name: the backend may not read that one.
            let read = request["max_tokens"].as_u64().map(|given| given.min(cap));
            expected["max_tokens"] = json!(read.or(other).unwrap_or(cap));
        }
        prop_assert_eq!(sent, expected);

        // The slices of the body lie in order, and what was cut out between them are whole old values.
        let buffer = whole.as_ptr().addr();
        let mut at = 0;
        for part in &parts.parts {
            let Some(start) = part.as_ptr().addr().checked_sub(buffer).filter(|start| *start < whole.len()) else { continue };
            prop_assert!(start >= at);
            if start > at {
                prop_assert!(serde_json::from_slice::<Value>(&whole[at..start]).is_ok_and(|old| !old.is_object()));
            }
            at = start + part.len();
        }
        prop_assert_eq!(at, body.len());
        if changes.model.is_none() && !usage && cap.is_none() {
            prop_assert_eq!(parts.parts.concat(), body.as_bytes());
        }
    }
}

#[test]
fn a_cap_goes_under_the_name_that_the_backend_knows() {
    let to = |field| Rewrite { cap_name: Some(field), ..Rewrite::default() };
    for (field, body, expected) in [
        (
            CapField::MaxTokens,
            r#"{"model":"a","max_completion_tokens" : 5,"messages":[]}"#,
            r#"{"model":"a","max_tokens":5,"messages":[]}"#,
        ),
        (
            CapField::MaxTokens,
            r#"{"model":"a","max_completion_tokens":5,"max_tokens":900,"messages":[]}"#,
            r#"{"model":"a","max_completion_tokens":5,"max_tokens":5,"messages":[]}"#,
        ),
        (
            CapField::MaxCompletionTokens,
            r#"{"messages":[],"model":"a","max_tokens":7}"#,
            r#"{"messages":[],"model":"a","max_completion_tokens":7}"#,
        ),
        (
            CapField::MaxCompletionTokens,
            r#"{"messages":[],"model":"a","max_tokens":null}"#,
            r#"{"messages":[],"model":"a","max_tokens":null}"#,
        ),
    ] {
        assert_eq!(rewritten(Dialect::OpenAiChat, body, &to(field)), expected);
    }
}
