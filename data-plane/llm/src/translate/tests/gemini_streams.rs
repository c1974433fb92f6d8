//! Streams of Gemini (G11, G19, G20), and what holds wherever they are cut.

use helix_shared::error_code::ErrorCode;
use proptest::prelude::*;

use super::reader::gather;
use super::*;
use crate::stream::StreamEnd;

/// A stream with everything: thoughts, text of several bytes a character, two calls, counters in each event.
pub(super) fn example() -> String {
    let thought = candidate(&json!([{ "text": "Höm", "thought": true }]), None);
    let text = candidate(&json!([{ "text": "東京 " }, { "text": "🙂" }]), None);
    let first = candidate(
        &json!([{ "functionCall": { "name": "f", "args": { "x": "{\n" } }, "thoughtSignature": "QUFB" }]),
        None,
    );
    let second = candidate(&json!([{ "functionCall": { "id": "own", "name": "g" } }]), None);
    let end = candidate(&json!([{ "text": "", "thoughtSignature": "QkJC" }]), Some("STOP"));
    gemini_stream(&[thought, text, first, second, end].map(counted))
}

fn answered(client: ChatDialect, stream: &str) -> Value {
    gather(client, &whole((GEMINI, client), &asking(), stream))
}

#[test]
fn g11_and_g20_calls_in_different_events_are_numbered_and_end_the_turn() {
    let answer = answered(CHAT, &example());
    assert_eq!(answer["finish_reason"], "tool_calls");
    let calls = answer["message"]["tool_calls"].as_array().unwrap();
    let names: Vec<&str> = calls.iter().map(|call| call["function"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["f", "g"]);
    assert_eq!(calls[0]["function"]["arguments"], "{\"x\":\"{\\n\"}");
    assert_eq!((&calls[1]["function"]["arguments"], &calls[1]["id"]), (&json!("{}"), &json!("own")));
    assert_eq!(answer["message"]["reasoning_content"], "Höm");
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    assert_eq!(answered(MESSAGES, &example())["stop_reason"], "tool_use");
}

#[test]
fn g19_characters_and_line_ends_may_be_cut() {
    let stream = example();
    let entire = whole((GEMINI, CHAT), &asking(), &stream);
    for cut in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(cut);
        assert_eq!(run((GEMINI, CHAT), &asking(), [first, second], EndKind::Eof).sent, entire, "{cut}");
    }
}

#[test]
fn the_last_counters_count() {
    let mut events = [candidate(&json!([{ "text": "a" }]), None), candidate(&json!([{ "text": "b" }]), Some("STOP"))];
    events[0]["usageMetadata"] = json!({ "promptTokenCount": 8, "candidatesTokenCount": 1, "totalTokenCount": 9 });
    events[1]["usageMetadata"] =
        json!({ "promptTokenCount": 8, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 13 });
    let outcome = run((GEMINI, CHAT), &asking(), [gemini_stream(&events).as_bytes()], EndKind::Eof);
    let usage = outcome.facts.answer.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.reasoning_tokens), (8, 5, 3));
    assert!(outcome.facts.is_usage_final);
    assert_eq!((outcome.facts.end, outcome.facts.answer.served_model.as_deref()), (StreamEnd::Done, Some("served")));
}

#[test]
fn a_refused_prompt_ends_a_stream() {
    let event = json!({ "promptFeedback": { "blockReason": "OTHER", "blockReasonMessage": "no" },
        "usageMetadata": { "promptTokenCount": 4 } });
    let outcome = run((GEMINI, CHAT), &asking(), [gemini_stream(&[event]).as_bytes()], EndKind::Eof);
    let answer = gather(CHAT, &outcome.sent);
    assert_eq!((&answer["finish_reason"], &answer["message"]["refusal"]), (&json!("content_filter"), &json!("no")));
    assert!(outcome.facts.is_usage_final);
}

#[test]
fn an_error_inside_a_stream_is_its_last_word() {
    let begun = counted(candidate(&json!([{ "text": "a" }]), None));
    let error = json!({ "error": { "code": 503, "message": "busy", "status": "UNAVAILABLE" } });
    for error in [error.clone(), json!([error])] {
        let stream = gemini_stream(&[begun.clone(), error, begun.clone()]);
        for (client, kind) in [(CHAT, "server_error"), (MESSAGES, "overloaded_error")] {
            let outcome = run((GEMINI, client), &asking(), [stream.as_bytes()], EndKind::Eof);
            let found = &gather(client, &outcome.sent)["error"];
            assert_eq!((&found["message"], &found["type"]), (&json!("busy"), &json!(kind)));
            assert_eq!(outcome.facts.end, StreamEnd::Error);
            assert_eq!(outcome.facts.answer.usage.unwrap().output_tokens, 5);
        }
    }
}

#[test]
fn an_end_without_a_reason_is_a_cut() {
    let stream = gemini_stream(&[counted(candidate(&json!([{ "text": "a" }]), None))]);
    let outcome = run((GEMINI, MESSAGES), &asking(), [stream.as_bytes()], EndKind::Eof);
    assert!(gather(MESSAGES, &outcome.sent)["error"].is_object());
    assert_eq!((outcome.facts.end, outcome.facts.is_usage_final), (StreamEnd::Open, false));
}

proptest! {
    #[test]
    fn a_cut_stream_ends_once_and_keeps_its_usage(cut in any::<prop::sample::Index>(), size in 1_usize..40, is_eof in any::<bool>()) {
        let stream = example();
        let piece = stream.as_bytes().get(..cut.index(stream.len())).unwrap();
        let first_event = stream.find("\r\n\r\n").unwrap() + 4;
        let kind = if is_eof { EndKind::Eof } else { EndKind::cut(ErrorCode::UpstreamTimeout) };
        for client in [CHAT, MESSAGES, RESPONSES] {
            let outcome = run((GEMINI, client), &asking(), piece.chunks(size), kind);
            // It panics unless there is one last word.
            gather(client, &outcome.sent);
            prop_assert_eq!(outcome.facts.answer.usage.is_some(), outcome.facts.answer.served_model.is_some());
            prop_assert!(piece.len() < first_event || outcome.facts.answer.usage.is_some());
        }
    }
}
