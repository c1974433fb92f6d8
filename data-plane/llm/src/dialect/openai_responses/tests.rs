//! Tests of responses as they pass: what a scan bounds, and what each last event says of its cost.

use bytes::Bytes;
use helix_shared::error_code::ErrorCode;

use crate::dialect::Dialect;
use crate::request::{RequestFacts, scan_request};
use crate::rewrite::{CapField, OutputCap, Rewrite, rewrite};
use crate::stream::{EndKind, StreamEnd, StreamFacts, StreamFilter};
use crate::usage::Quirks;

fn scan(body: &str) -> RequestFacts {
    scan_request(Dialect::OpenAiResponses, body.as_bytes()).unwrap()
}

#[test]
fn the_input_is_bounded_unless_the_provider_keeps_some_of_it() {
    for (fields, is_bounded) in [
        (r#""input":"hi""#, true),
        (r#""input":[{"role":"user","content":"hi"}]"#, true),
        (r#""input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]"#, true),
        (
            r#""input":[{"type":"function_call_output","call_id":"c","output":"x"},{"type":"reasoning","summary":[]}]"#,
            true,
        ),
        (r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#, false),
        (r#""input":[{"type":"item_reference","id":"x"}]"#, false),
        (r#""input":[{"id":"msg_1"}]"#, false),
        (r#""input":[{"type":null,"id":"msg_1"}]"#, false),
        (r#""input":[{"type":"novel_item"}]"#, false),
        (r#""input":"hi","previous_response_id":"resp_1""#, false),
        (r#""input":"hi","previous_response_id":null"#, true),
        (r#""prompt":{"id":"p"}"#, false),
    ] {
        let facts = scan(&format!(r#"{{"model":"m",{fields}}}"#));
        assert_eq!(facts.input_token_bound().is_some(), is_bounded, "{fields}");
    }
    let image = r#"{"type":"input_image","image_url":"data:image/png;base64,AAAA"}"#;
    let facts = scan(&format!(r#"{{"model":"m","input":[{{"role":"user","content":[{image}]}}]}}"#));
    assert_eq!((facts.media.images, facts.media.remote_images, facts.media.inline_image_bytes), (1, 0, 26));
}

#[test]
fn tools_that_run_at_the_provider_are_capped_together_or_not_at_all() {
    let tools =
        |tools: &str, most: &str| scan(&format!(r#"{{"model":"m","input":"x","tools":[{tools}]{most}}}"#)).server_tools;
    let own =
        r#"{"type":"function","name":"f"},{"type":"custom","name":"g"},{"type":"namespace","name":"n","tools":[]}"#;
    assert_eq!((tools(own, "").count, tools(own, "").has_uncapped), (0, false));
    let search = r#"{"type":"web_search_preview"},{"type":"web_search"}"#;
    assert!(tools(search, "").has_uncapped);
    assert_eq!(
        (tools(search, r#","max_tool_calls":3"#).max_uses, tools(search, r#","max_tool_calls":3"#).has_uncapped),
        (3, false)
    );
    assert!(tools(r#"{"type":"mcp"}"#, r#","max_tool_calls":3"#).has_uncapped);
    assert!(tools(r#"{"type":"novel"}"#, "").has_uncapped);
}

#[test]
fn what_the_provider_keeps_is_noticed_however_it_is_named() {
    for (input, is_reference) in [
        (r#"{"type":"item_reference","id":"msg_1"}"#, true),
        (r#"{"id":"msg_1"}"#, true),
        (r#"{"type":null,"id":"msg_1"}"#, true),
        (r#"{"role":"user","content":"hi"}"#, false),
        (r#"{"type":"message","id":"msg_1","role":"assistant","content":[]}"#, false),
        (r#"{"type":"novel_item"}"#, false),
    ] {
        assert_eq!(scan(&format!(r#"{{"model":"m","input":[{input}]}}"#)).kept.has_reference, is_reference, "{input}");
    }
}

#[test]
fn tools_and_models_that_hide_in_other_fields_are_found() {
    let hidden = scan(r#"{"model":"m","input":[{"type":"additional_tools","tools":[{"type":"web_search"}]}]}"#);
    assert!(hidden.server_tools.has_uncapped);
    let tools = |tool: &str| scan(&format!(r#"{{"model":"m","input":"x","tools":[{tool}]}}"#));
    let nested = tools(r#"{"type":"namespace","name":"n","tools":[{"type":"mcp"}]}"#);
    assert!(nested.server_tools.has_uncapped);
    assert!(tools(r#"{"type":"image_generation","model":"dear"}"#).other_models.is_some());
    assert!(tools(r#"{"type":"image_generation"}"#).other_models.is_none());
    let picture = |svg: &str| {
        let body = format!(r#"{{"model":"m","prompt":"p"{svg}}}"#);
        scan_request(Dialect::OpenAiImages, body.as_bytes()).unwrap().other_models.is_some()
    };
    assert!(picture(r#","svg":{"model":"dear"}"#) && !picture("") && !picture(r#","svg":null"#));
}

#[test]
fn a_cap_and_the_providers_own_id_are_spliced_and_nothing_else() {
    let body = r#"{ "model" : "fast", "previous_response_id":"resp_client", "input":"resp_client" }"#;
    let cap = OutputCap { tokens: 300, field: CapField::MaxCompletionTokens };
    let changes = Rewrite {
        model: Some("gpt-5"),
        previous_response: Some("resp_own"),
        output_cap: Some(cap),
        ..Rewrite::default()
    };
    let parts = rewrite(Bytes::from_static(body.as_bytes()), &scan(body), &changes).parts.concat();
    let expected = body.replacen("\"fast\"", "\"gpt-5\"", 1).replacen("resp_client", "resp_own", 1);
    let expected = expected.replacen('{', "{\"max_output_tokens\":300,", 1);
    assert_eq!(String::from_utf8(parts).unwrap(), expected);
}

fn watch(events: &[String], kind: EndKind) -> (StreamFacts, Option<Bytes>) {
    let mut filter =
        StreamFilter::new(Dialect::OpenAiResponses, false, Quirks { has_reasoning_outside: true, has_cost: false });
    for event in events {
        filter.push(Bytes::from(event.clone()), &mut |_| {});
    }
    let last = filter.finish(kind, "req");
    (filter.facts(), last)
}

fn event(kind: &str, fields: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":0,{fields}}}\n\n")
}

#[test]
fn every_last_word_carries_usage_r29_also_one_of_megabytes() {
    let usage = r#""usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":40,"cache_write_tokens":20},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":10},"total_tokens":130},"tool_usage":{"web_search":{"num_requests":2}}"#;
    for (kind, end) in [("completed", StreamEnd::Done), ("incomplete", StreamEnd::Done), ("failed", StreamEnd::Error)] {
        let error = if kind == "failed" { r#"{"code":"server_error","message":"no"}"# } else { "null" };
        let long = "x".repeat(if kind == "completed" { 3 << 20 } else { 10 });
        let created =
            event("response.created", r#""response":{"id":"resp_1","model":"gpt-5","usage":null,"error":null}"#);
        let delta = event("response.output_text.delta", r#""delta":"hello""#);
        let output = format!(r#""output":[{{"content":[{{"text":"{long}"}}]}}]"#);
        let last = event(
            &format!("response.{kind}"),
            &format!(r#""response":{{"id":"resp_1","service_tier":"flex","error":{error},{output},{usage}}}"#),
        );
        let (facts, said) = watch(&[created, delta, last], EndKind::Eof);
        assert_eq!((said, facts.end, facts.is_usage_final), (None, end, true), "{kind}");
        let usage = facts.answer.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens), (40, 40, 20));
        // Reasoning lies inside here, also where chat completions count it beside.
        assert_eq!((usage.output_tokens, usage.reasoning_tokens, usage.searches), (30, 10, 2));
        assert_eq!((facts.answer.text.bytes, facts.answer.service_tier.as_deref()), (5, Some("flex")));
    }
}

#[test]
fn a_stream_that_is_cut_gets_one_error_event_of_its_dialect() {
    let created = event("response.created", r#""response":{"id":"resp_1","usage":null}"#);
    for kind in [EndKind::Eof, EndKind::cut(ErrorCode::UpstreamTimeout)] {
        let (facts, said) = watch(std::slice::from_ref(&created), kind);
        let said = String::from_utf8(said.unwrap().to_vec()).unwrap();
        assert!(said.starts_with("event: error\ndata: {\"type\":\"error\",\"sequence_number\":1,"), "{said}");
        assert!(!facts.is_usage_final);
    }
}
