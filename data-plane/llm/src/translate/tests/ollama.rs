//! Ollama's own dialect (O1 to O18), as its numbered cases say; O2 and O3 also in the framing of lines, O15 in embeddings.

use super::reader::gather;
use super::*;
use crate::request::scan_request;
use crate::response::scan_response;
use crate::usage::Quirks;

const NAME: Dialect = Dialect::Ollama;

fn sent(model: &str, fields: &Value) -> (Value, Vec<String>) {
    let traits = ModelTraits::ollama(model);
    let context = RequestContext { upstream_model: model, output_cap: None, max_output_tokens: None, traits };
    let translated = translate_request(CHAT, OLLAMA, &bytes(&with_defaults(fields)), &context).unwrap();
    (value(&translated), translated.dropped)
}

fn line(message: &Value) -> Value {
    json!({ "model": "served", "created_at": "2026-01-01T00:00:00.123456789Z", "message": message, "done": false })
}

fn text(content: &str) -> Value {
    line(&json!({ "role": "assistant", "content": content }))
}

fn done(reason: &str) -> Value {
    json!({ "model": "served", "created_at": "2026-01-01T00:00:00.123456789Z", "done": true, "done_reason": reason,
        "message": { "role": "assistant", "content": "" }, "total_duration": 174_560_334, "remote_model": "x",
        "prompt_eval_count": 10, "eval_count": 5 })
}

fn lines(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("{document}\n")).collect()
}

/// A stream with everything: thinking, text of several bytes a character, two calls.
pub(super) fn example() -> String {
    let thought = line(&json!({ "role": "assistant", "content": "", "thinking": "Höm" }));
    let call = |name: &str, arguments: Value| json!({ "function": { "name": name, "arguments": arguments } });
    let calls = |calls: Value| line(&json!({ "role": "assistant", "content": "", "tool_calls": calls }));
    let first = calls(json!([call("f", json!({ "x": "{\n" }))]));
    lines(&[thought, text("東京 "), text("🙂"), first, calls(json!([call("g", json!({}))])), done("stop")])
}

fn streamed(documents: &[Value]) -> Value {
    gather(CHAT, &whole((OLLAMA, CHAT), &asking(), &lines(documents)))
}

#[test]
fn o1_a_stream_that_was_not_asked_for_is_declined() {
    let (body, dropped) = sent("llama3", &json!({}));
    let expected = json!({ "model": "llama3", "messages": [{ "role": "user", "content": "Hi" }], "stream": false });
    assert_eq!((body, dropped.len()), (expected, 0));
    assert_eq!(sent("llama3", &json!({ "stream": true })).0["stream"], true);
    assert!(!scan_request(NAME, br#"{"model":"m","messages":[],"stream":false}"#).unwrap().is_stream);
    assert!(scan_request(NAME, br#"{"model":"m","messages":[]}"#).unwrap().is_stream, "it is the default");
}

#[test]
fn o2_o3_a_stream_is_the_same_wherever_it_is_cut_and_without_its_last_line_end() {
    let thought = line(&json!({ "role": "assistant", "content": "", "thinking": "Höm" }));
    let stream = lines(&[thought, text("東京 "), text("🙂"), done("stop")]);
    let entire = whole((OLLAMA, CHAT), &asking(), &stream);
    assert_eq!(gather(CHAT, &entire)["message"]["reasoning_content"], "Höm");
    for cut in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(cut);
        let outcome = run((OLLAMA, CHAT), &asking(), [first, second], EndKind::Eof);
        assert_eq!(outcome.sent, entire, "{cut}");
        assert!(outcome.facts.is_usage_final);
    }
    assert_eq!(whole((OLLAMA, CHAT), &asking(), stream.trim_end()), entire);
    let begun = run((OLLAMA, CHAT), &asking(), [lines(&[text("a")]).as_bytes()], EndKind::Eof);
    assert!(begun.sent.contains("\"error\""), "{}", begun.sent);
}

#[test]
fn o4_an_error_line_ends_the_stream_with_an_error_event() {
    let stream = lines(&[text("a"), json!({ "error": "model runner has unexpectedly stopped" })]);
    for client in [CHAT, MESSAGES, RESPONSES] {
        let outcome = run((OLLAMA, client), &asking(), [stream.as_bytes()], EndKind::Eof);
        assert!(outcome.sent.contains("unexpectedly stopped"), "{}", outcome.sent);
        assert!(!outcome.facts.is_usage_final && outcome.facts.end == crate::stream::StreamEnd::Error);
    }
}

#[test]
fn o5_arguments_are_an_object_there_and_text_here_and_keep_their_order() {
    let calls = json!([{ "function": { "name": "f", "arguments": { "z": 1, "a": 12345678901234567890_u64 } } }, { "function": { "name": "g" } }]);
    let message = json!({ "role": "assistant", "content": "", "tool_calls": calls });
    let raw = r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"z":1,"a":1e2}}},{"function":{"name":"g"}}]},"done":true,"done_reason":"stop"}"#;
    let whole = translate_answer(OLLAMA, CHAT, raw.as_bytes(), &asking(), &answer_context()).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    let made = &whole["choices"][0]["message"]["tool_calls"];
    assert_eq!(made[0]["function"]["arguments"], r#"{"z":1,"a":1e2}"#);
    assert_eq!((&made[1]["function"]["arguments"], &made[1]["id"]), (&json!("{}"), &json!("call_7_1")));
    let answer = streamed(&[line(&message), done("stop")]);
    assert_eq!(answer["message"]["tool_calls"][0]["function"]["name"], "f");
    let history = json!([
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "", "tool_calls": [call("c1", "f", r#"{"z":1,"a":1e2}"#), call("c2", "g", "")] },
        { "role": "tool", "tool_call_id": "c1", "content": "1" },
        { "role": "tool", "tool_call_id": "c2", "content": "2" },
    ]);
    let context = RequestContext {
        upstream_model: "m",
        output_cap: None,
        max_output_tokens: None,
        traits: ModelTraits::ollama("m"),
    };
    let body = with_defaults(&json!({ "messages": history, "tools": [tool("f"), tool("g")] }));
    let translated = translate_request(CHAT, OLLAMA, &bytes(&body), &context).unwrap();
    let written = String::from_utf8(translated.body.to_vec()).unwrap();
    assert!(written.contains(r#""arguments":{"z":1,"a":1e2}"#), "{written}");
    assert_eq!(
        value(&translated)["messages"][1]["tool_calls"][1],
        json!({ "id": "c2", "function": { "index": 1, "name": "g", "arguments": {} } })
    );
}

#[test]
fn o6_a_result_is_known_by_the_name_of_its_call() {
    let history = json!([
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "tool_calls": [call("c1", "weather", "{}")] },
        { "role": "tool", "tool_call_id": "c1", "content": "sunny" },
    ]);
    let (body, _) = sent("m", &json!({ "messages": history, "tools": [tool("weather")] }));
    let expected = json!({ "role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "c1" });
    assert_eq!(body["messages"][2], expected);
    assert_eq!(body["tools"][0]["function"]["name"], "weather");
}

#[test]
fn o7_a_length_and_o8_a_call_are_the_reason_to_end() {
    let stop = |answer: &Value| answer["finish_reason"].as_str().unwrap().to_owned();
    assert_eq!(stop(&streamed(&[text("a"), done("length")])), "length");
    assert_eq!(stop(&streamed(&[text("a"), done("stop")])), "stop");
    let calls =
        json!({ "role": "assistant", "content": "", "tool_calls": [{ "function": { "name": "f", "arguments": {} } }] });
    assert_eq!(stop(&streamed(&[line(&calls), done("stop")])), "tool_calls");
    assert_eq!(stop(&streamed(&[done("load")])), "stop", "an answer to no messages is empty");
}

#[test]
fn o9_a_prompt_that_was_not_counted_is_estimated() {
    let mut last = done("stop");
    last.as_object_mut().unwrap().remove("prompt_eval_count");
    let facts = scan_response(NAME, &bytes(&last), Quirks::default());
    assert!(facts.is_usage_partial);
    assert_eq!(facts.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((0, 5)));
    assert!(!scan_response(NAME, &bytes(&done("stop")), Quirks::default()).is_usage_partial);
    let outcome = run((OLLAMA, CHAT), &asking(), [lines(&[text("a"), last]).as_bytes()], EndKind::Eof);
    assert!(!outcome.facts.is_usage_final);
    let usage = &gather(CHAT, &outcome.sent)["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(9), &json!(5)));
}

#[test]
fn o10_an_image_goes_without_its_prefix_and_a_url_not_at_all() {
    let parts = |url: &str| json!([{ "type": "text", "text": "What" }, { "type": "text", "text": "is it?" }, { "type": "image_url", "image_url": { "url": url } }]);
    let body = |url: &str| json!({ "messages": [{ "role": "user", "content": parts(url) }] });
    let (sent_body, _) = sent("llava", &body("data:image/png;base64,QUFB"));
    let expected = json!({ "role": "user", "content": "What\nis it?", "images": ["QUFB"] });
    assert_eq!(sent_body["messages"][0], expected);
    let facts = scan_request(NAME, &bytes(&sent_body)).unwrap();
    assert_eq!((facts.media.images, facts.media.inline_image_bytes), (1, 4));
    let context = RequestContext {
        upstream_model: "m",
        output_cap: None,
        max_output_tokens: None,
        traits: ModelTraits::ollama("m"),
    };
    let refused =
        translate_request(CHAT, OLLAMA, &bytes(&with_defaults(&body("https://x/y.png"))), &context).unwrap_err();
    assert_eq!(refused.param(), Some("messages[0].content[2]"));
}

#[test]
fn o11_a_schema_is_the_format_and_options_are_sent_where_they_were_said() {
    let schema = json!({ "type": "object", "properties": { "b": { "type": "string" }, "a": {} } });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": schema } });
    let (body, dropped) = sent(
        "m",
        &json!({ "response_format": format, "max_tokens": 7, "temperature": 0.5, "top_p": 1, "top_k": 3, "seed": 4, "stop": "x",
            "frequency_penalty": 0.25, "num_ctx": 8192, "keep_alive": "10m", "options": { "mirostat": 1, "num_predict": 5 } }),
    );
    assert_eq!(body["format"], schema);
    assert_eq!(body["keep_alive"], "10m");
    let options = json!({ "mirostat": 1, "num_predict": 5, "temperature": 0.5, "top_p": 1.0, "top_k": 3, "stop": ["x"], "seed": 4,
        "frequency_penalty": 0.25, "num_ctx": 8192 });
    assert_eq!((&body["options"], dropped.len()), (&options, 0));
    let facts = scan_request(NAME, &bytes(&body)).unwrap();
    assert_eq!(facts.output_cap, Some(5));
    assert_eq!(sent("m", &json!({ "response_format": { "type": "json_object" } })).0["format"], "json");
    let (body, dropped) =
        sent("m", &json!({ "logit_bias": { "1": 2 }, "user": "u", "tools": [tool("f")], "tool_choice": "required" }));
    assert!(body["options"].is_null() && body["tools"].is_array(), "{body}");
    assert_eq!(dropped, ["tool_choice", "logit_bias", "user"]);
    assert!(sent("m", &json!({ "tools": [tool("f")], "tool_choice": "none" })).0["tools"].is_null());
}

#[test]
fn o12_only_models_that_think_hear_of_it() {
    for (model, effort, think, dropped) in [
        ("qwen3:8b", "none", json!(false), 0),
        ("qwen3:8b", "high", json!(true), 0),
        ("llama3", "none", Value::Null, 0),
        ("llama3", "high", Value::Null, 1),
        ("qwen3-coder:30b", "low", Value::Null, 1),
        ("gpt-oss:20b", "minimal", json!("low"), 0),
        ("gpt-oss:20b", "max", json!("high"), 0),
        ("gpt-oss:20b", "none", json!("low"), 1),
    ] {
        let (body, named) = sent(model, &json!({ "reasoning_effort": effort }));
        assert_eq!((&body["think"], named.len()), (&think, dropped), "{model} {effort}");
    }
    assert_eq!(sent("llama3", &json!({ "think": true })).0["think"], true, "who says it knows it");
    assert!(sent("qwen3", &json!({})).0["think"].is_null());
}

#[test]
fn o13_a_model_that_is_not_there_is_not_found() {
    let body = br#"{"error":"model \"x\" not found, try pulling it first"}"#;
    let error = translate_error(crate::dialect::Family::Gemini, crate::dialect::Family::OpenAi, 404, body, "r");
    let said: Value = serde_json::from_slice(&error.body).unwrap();
    assert_eq!((error.status, &said["error"]["code"]), (404, &json!("model_not_found")));
    assert!(said["error"]["message"].as_str().unwrap().contains("try pulling it first"));
}

#[test]
fn o14_o16_o17_times_durations_and_unknown_fields_are_passed_over() {
    let mut last = done("stop");
    last["logprobs"] = json!([{ "token": "a" }]);
    last["remote_host"] = json!("https://ollama.com");
    let answer = streamed(&[text("a"), last.clone()]);
    assert_eq!(answer["message"]["content"], "a");
    let facts = scan_response(NAME, &bytes(&last), Quirks::default());
    assert_eq!((facts.served_model.as_deref(), facts.finish.as_deref()), (Some("served"), Some("stop")));
    last["message"]["content"] = json!("whole");
    let whole = answer_of(&last);
    assert_eq!(
        (&whole["choices"][0]["message"]["content"], &whole["usage"]["total_tokens"]),
        (&json!("whole"), &json!(15))
    );
}

fn answer_of(body: &Value) -> Value {
    answer(OLLAMA, CHAT, &asking(), body)
}

#[test]
fn clients_of_anthropics_dialect_are_answered_too() {
    let body = json!({ "model": "asked", "max_tokens": 9, "system": "Be brief.", "thinking": { "type": "disabled" },
        "messages": [{ "role": "user", "content": "Hi" }] });
    let context = RequestContext {
        upstream_model: "qwen3",
        output_cap: None,
        max_output_tokens: None,
        traits: ModelTraits::ollama("qwen3"),
    };
    let made = value(&translate_request(MESSAGES, OLLAMA, &bytes(&body), &context).unwrap());
    let expected = json!({ "model": "qwen3", "stream": false, "think": false, "options": { "num_predict": 9 },
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }] });
    assert_eq!(made, expected);
    let stream = whole((OLLAMA, MESSAGES), &asking(), &lines(&[text("a"), done("length")]));
    assert_eq!(gather(MESSAGES, &stream)["stop_reason"], "max_tokens");
}
