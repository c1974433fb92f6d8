//! Recorded streams through the filter: cut everywhere, in chunks of every size, with every line end.
//!
//! The client's side is read by a small parser of its own, which shares no code with the filter.

use bytes::Bytes;
use helix_shared::error_code::ErrorCode;
use helix_shared::usage::TokenUsage;
use proptest::prelude::*;

use super::*;
use crate::response::text_of;

const OPENAI: &str = include_str!("recorded/openai.sse");
const ANTHROPIC: &str = include_str!("recorded/anthropic.sse");
const BOTH: [(Dialect, &str); 2] = [(Dialect::OpenAiChat, OPENAI), (Dialect::AnthropicMessages, ANTHROPIC)];

/// What a stream became, with the filter at its end.
struct Outcome {
    sent: Vec<u8>,
    last: Option<Bytes>,
    facts: StreamFacts,
}

fn run<'a>(dialect: Dialect, hide_usage: bool, chunks: impl IntoIterator<Item = &'a [u8]>, kind: EndKind) -> Outcome {
    let mut filter = StreamFilter::new(dialect, hide_usage, Quirks::default());
    let mut sent = Vec::new();
    for chunk in chunks {
        filter.push(Bytes::copy_from_slice(chunk), &mut |bytes| sent.extend_from_slice(&bytes));
        assert!(filter.partial.capacity() <= 2 * MAX_READ_BYTES);
    }
    let last = filter.finish(kind, "req_1");
    assert_eq!(filter.finish(kind, "req_1"), None);
    Outcome { sent, last, facts: filter.facts() }
}

fn whole(outcome: &Outcome) -> Vec<u8> {
    [&outcome.sent[..], outcome.last.as_deref().unwrap_or_default()].concat()
}

/// Reads a stream as the standard says: name and data of each event that a client would see.
fn client_events(stream: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    for block in text.split_inclusive("\n\n").filter(|block| block.ends_with("\n\n")) {
        let mut name = String::new();
        let mut data = Vec::new();
        for line in block.lines() {
            if let Some(value) = line.strip_prefix("event:") {
                name = value.trim_start().to_owned();
            } else if let Some(value) = line.strip_prefix("data:") {
                data.push(value.strip_prefix(' ').unwrap_or(value));
            }
        }
        if !data.is_empty() {
            events.push((name, data.join("\n")));
        }
    }
    events
}

/// How many events end the stream: a proper end, or an error in the dialect.
fn last_words(dialect: Dialect, stream: &[u8]) -> usize {
    let is_last_word = |(name, data): &(String, String)| {
        let json = serde_json::from_str::<serde_json::Value>(data).unwrap_or_default();
        match dialect.family() {
            Family::OpenAi | Family::Gemini => data == "[DONE]" || json["error"]["message"].is_string(),
            Family::Anthropic => {
                (name == "message_stop" || name == "error") && json["type"].as_str() == Some(name.as_str())
            }
        }
    };
    client_events(stream).iter().filter(|event| is_last_word(event)).count()
}

fn expected_usage(dialect: Dialect) -> TokenUsage {
    match dialect.family() {
        Family::OpenAi | Family::Gemini => TokenUsage {
            input_tokens: 30,
            cache_read_tokens: 60,
            cache_write_tokens: 10,
            output_tokens: 42,
            reasoning_tokens: 12,
            ..TokenUsage::default()
        },
        Family::Anthropic => TokenUsage {
            input_tokens: 10,
            cache_read_tokens: 90,
            cache_write_tokens: 10,
            cache_write_long_tokens: 20,
            output_tokens: 42,
            reasoning_tokens: 5,
            searches: 2,
            ..TokenUsage::default()
        },
    }
}

/// The recorded OpenAI stream without its usage event.
fn without_usage_event(stream: &str) -> String {
    let start = stream.rfind("data: {").unwrap();
    let end = stream.rfind("data: [DONE]").unwrap();
    [stream.get(..start).unwrap(), stream.get(end..).unwrap()].concat()
}

fn with_line_end(stream: &str, line_end: &str) -> String {
    stream.replace('\n', line_end)
}

#[test]
fn a_stream_passes_byte_for_byte_in_every_chunking_and_its_usage_is_read() {
    for (dialect, recorded) in BOTH {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = with_line_end(recorded, line_end);
            for prefix in ["", "\u{feff}", ": hello\n\n"] {
                let stream = format!("{prefix}{stream}");
                for size in [1, 2, 3, 5, 7, 64, 1_000, stream.len()] {
                    let outcome = run(dialect, false, stream.as_bytes().chunks(size), EndKind::Eof);
                    assert!(outcome.sent == stream.as_bytes(), "{dialect:?} {line_end:?} {size}");
                    assert_eq!(outcome.last, None);
                    assert_eq!(outcome.facts.answer.usage, Some(expected_usage(dialect)));
                    assert!(outcome.facts.is_usage_final);
                    assert_eq!(outcome.facts.end, StreamEnd::Done);
                }
            }
        }
    }
}

#[test]
fn only_the_usage_event_is_left_out() {
    for line_end in ["\n", "\r\n", "\r"] {
        let stream = with_line_end(OPENAI, line_end);
        let expected = with_line_end(&without_usage_event(OPENAI), line_end);
        for size in (1..=7).chain([64, 1_000, stream.len()]) {
            let outcome = run(Dialect::OpenAiChat, true, stream.as_bytes().chunks(size), EndKind::Eof);
            assert!(whole(&outcome) == expected.as_bytes(), "{line_end:?} {size}");
            assert_eq!(outcome.facts.answer.usage, Some(expected_usage(Dialect::OpenAiChat)));
        }
    }
    let outcome = run(Dialect::AnthropicMessages, true, [ANTHROPIC.as_bytes()], EndKind::Eof);
    assert_eq!(outcome.sent, ANTHROPIC.as_bytes());
}

/// What the client gets, and what is known, when the stream is cut at each of its bytes and comes in chunks of `size`.
fn cuts(dialect: Dialect, hide_usage: bool, stream: &str, size: usize, kind: EndKind) -> Vec<(Vec<u8>, StreamFacts)> {
    let mut outcomes = Vec::new();
    let mut filter = StreamFilter::new(dialect, hide_usage, Quirks::default());
    let mut sent = Vec::new();
    for chunk in stream.as_bytes().chunks(size) {
        for cut in 0..chunk.len() {
            let (mut filter, mut sent) = (filter.clone(), sent.clone());
            filter.push(Bytes::copy_from_slice(&chunk[..cut]), &mut |bytes| sent.extend_from_slice(&bytes));
            sent.extend_from_slice(&filter.finish(kind, "req_1").unwrap_or_default());
            assert_eq!(filter.finish(kind, "req_1"), None);
            outcomes.push((sent, filter.facts()));
        }
        filter.push(Bytes::copy_from_slice(chunk), &mut |bytes| sent.extend_from_slice(&bytes));
    }
    outcomes
}

#[test]
fn a_cut_at_every_byte_leaves_exactly_one_last_word() {
    let kinds = [EndKind::Eof, EndKind::cut(ErrorCode::UpstreamTimeout)];
    for ((dialect, recorded), kind) in BOTH.into_iter().flat_map(|both| kinds.map(|kind| (both, kind))) {
        for hide_usage in [false, true] {
            let expected = cuts(dialect, hide_usage, recorded, 1, kind);
            assert_eq!(expected.len(), recorded.len());
            for (cut, (all, facts)) in expected.iter().enumerate() {
                assert_eq!(last_words(dialect, all), 1, "{dialect:?} {cut}: {}", String::from_utf8_lossy(all));
                if facts.is_usage_final {
                    assert_eq!(facts.answer.usage, Some(expected_usage(dialect)), "{dialect:?} {cut}");
                }
            }
            for size in [2, 3, 4, 5, 6, 7, 1_000, recorded.len()] {
                assert!(cuts(dialect, hide_usage, recorded, size, kind) == expected, "{dialect:?} in chunks of {size}");
            }
        }
    }
}

#[test]
fn every_event_that_a_client_sees_of_a_held_stream_can_be_read() {
    for cut in 0..OPENAI.len() {
        let outcome = run(Dialect::OpenAiChat, true, [&OPENAI.as_bytes()[..cut]], EndKind::Eof);
        for (_, data) in client_events(&whole(&outcome)) {
            assert!(data == "[DONE]" || serde_json::from_str::<serde_json::Value>(&data).is_ok(), "{cut}: {data}");
        }
    }
}

#[test]
fn a_cut_keeps_what_was_known() {
    let cut = ANTHROPIC.find("event: message_delta").unwrap();
    let stream = &ANTHROPIC.as_bytes()[..cut];
    let kind = EndKind::cut(ErrorCode::UpstreamTimeout);
    let outcome = run(Dialect::AnthropicMessages, false, [stream], kind);
    let usage = outcome.facts.answer.usage.unwrap();
    assert!(!outcome.facts.is_usage_final);
    assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.cache_write_long_tokens), (10, 90, 20));
    // "Need wéather", "get", and the arguments; the empty input object of the start as two more.
    assert_eq!(outcome.facts.answer.text, crate::TextSize { bytes: 13 + 3 + 15 + 2, wide_bytes: 2 });
    assert_eq!(outcome.facts.answer.served_model.as_deref(), Some("claude-sonnet-4-6"));
    assert_eq!(outcome.facts.answer.service_tier.as_deref(), Some("standard"));
    insta::assert_snapshot!("anthropic_cut", String::from_utf8(outcome.last.unwrap().to_vec()).unwrap());

    let cut = OPENAI.find("data: [DONE]").unwrap() - 600;
    let outcome = run(Dialect::OpenAiChat, false, [&OPENAI.as_bytes()[..cut]], EndKind::Eof);
    assert_eq!(outcome.facts.answer.id.as_deref(), Some("chatcmpl-B1"));
    assert!(!outcome.facts.is_usage_final);
    insta::assert_snapshot!("openai_cut", String::from_utf8(outcome.last.unwrap().to_vec()).unwrap());
}

#[test]
fn a_whole_answer_without_its_end_mark_gets_the_mark() {
    let stream = OPENAI.replace("data: [DONE]\n\n", "");
    let outcome = run(Dialect::OpenAiChat, true, [stream.as_bytes()], EndKind::Eof);
    assert_eq!(outcome.last.as_deref(), Some(&b"data: [DONE]\n\n"[..]));
    let outcome = run(Dialect::OpenAiChat, true, [OPENAI.trim_end().as_bytes()], EndKind::Eof);
    assert_eq!(outcome.last.as_deref(), Some(&b"data: [DONE]\n\n"[..]), "the mark came, without its line end");
    let stream = ANTHROPIC.replace("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "");
    let outcome = run(Dialect::AnthropicMessages, false, [stream.as_bytes()], EndKind::Eof);
    assert_eq!(whole(&outcome), ANTHROPIC.as_bytes());
}

#[test]
fn a_provider_error_in_the_stream_is_its_last_word() {
    let long = "x".repeat(5_000);
    let cases = [
        (
            Dialect::OpenAiChat,
            format!("data: {{\"error\":{{\"message\":\"{long}\",\"type\":\"server_error\",\"code\":502}}}}\n\n"),
        ),
        (Dialect::OpenAiChat, format!("event: error\ndata: {{\"error\":\"{long}\"}}\n\n")),
        (Dialect::OpenAiChat, format!("event: error\ndata: {long}\n\n")),
        (
            Dialect::AnthropicMessages,
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"{long}\"}}}}\n\n"
            ),
        ),
    ];
    for (dialect, stream) in cases {
        let outcome = run(dialect, true, stream.as_bytes().chunks(100), EndKind::cut(ErrorCode::UpstreamDisconnected));
        assert_eq!(whole(&outcome), stream.as_bytes());
        assert_eq!(outcome.facts.end, StreamEnd::Error);
        let error = outcome.facts.answer.error.unwrap();
        assert_eq!(error.message.len(), 1_024);
        match stream.contains("502") {
            true => assert_eq!((error.kind.as_deref(), error.code.as_deref()), (Some("server_error"), Some("502"))),
            false => assert_eq!(error.code, None),
        }
    }
}

#[test]
fn usage_in_other_places_is_read_and_never_added_n13_n14() {
    let finish = r#"{"index":0,"delta":{},"finish_reason":"stop"}"#;
    let usage = r#"{"prompt_tokens":7,"completion_tokens":9}"#;
    for stream in [
        format!("data: {{\"choices\":[{finish}],\"x_groq\":{{\"usage\":{usage}}}}}\n\n"),
        format!("data: {{\"choices\":[{finish}],\"usage\":{usage}}}\n\n"),
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}}}}],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":3}}}}\n\ndata: {{\"choices\":[{finish}],\"usage\":{usage}}}\n\n"
        ),
    ] {
        let stream = format!("{stream}data: [DONE]\n\n");
        let outcome = run(Dialect::OpenAiChat, true, [stream.as_bytes()], EndKind::Eof);
        assert_eq!(outcome.sent, stream.as_bytes(), "an event with a choice is the client's");
        let usage = outcome.facts.answer.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens, outcome.facts.is_usage_final), (7, 9, true));
    }
}

#[test]
fn sixty_four_megabytes_without_a_line_end_pass_in_bounded_memory() {
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    for (dialect, hide_usage) in
        [(Dialect::OpenAiChat, true), (Dialect::OpenAiChat, false), (Dialect::AnthropicMessages, false)]
    {
        let mut filter = StreamFilter::new(dialect, hide_usage, Quirks::default());
        let mut sent = 0;
        filter.push(Bytes::from_static(b"data: \""), &mut |bytes| sent += bytes.len());
        for round in 0..1_024 {
            filter.push(chunk.clone(), &mut |bytes| sent += bytes.len());
            assert_eq!(sent, 7 + (round + 1) * chunk.len(), "nothing is held back for long");
            assert!(filter.partial.capacity() <= 2 * MAX_READ_BYTES);
        }
        let recorded = if dialect == Dialect::OpenAiChat { OPENAI } else { ANTHROPIC };
        let mut rest = Vec::new();
        filter.push(Bytes::from(format!("\"\n\n{recorded}")), &mut |bytes| rest.extend_from_slice(&bytes));
        assert!(filter.partial.capacity() <= KEPT_BUFFER_BYTES);
        assert_eq!(filter.usage(), Some(expected_usage(dialect)), "what follows is read again");
        assert_eq!(rest.len() < recorded.len(), hide_usage);
        assert_eq!(filter.finish(EndKind::Eof, ""), None);
    }
}

#[test]
fn a_large_event_in_small_chunks_passes_whole() {
    for bytes in [MAX_HELD_BYTES - 40, MAX_HELD_BYTES, MAX_HELD_BYTES + 40, MAX_READ_BYTES - 40, MAX_READ_BYTES + 40] {
        let text = "y".repeat(bytes);
        let stream = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n{OPENAI}");
        let expected = without_usage_event(&stream);
        for size in [1_000, 60_000, 300_000, stream.len()] {
            let outcome = run(Dialect::OpenAiChat, true, stream.as_bytes().chunks(size), EndKind::Eof);
            assert!(whole(&outcome) == expected.as_bytes(), "{bytes} in chunks of {size}");
            assert_eq!(outcome.facts.answer.usage, Some(expected_usage(Dialect::OpenAiChat)));
            assert!(outcome.facts.answer.text.bytes >= u64::try_from(bytes).unwrap());
        }
    }
}

#[test]
fn whole_events_are_given_on_without_a_copy() {
    let chunk = Bytes::from_static(OPENAI.as_bytes());
    let mut given = Vec::new();
    let mut filter = StreamFilter::new(Dialect::OpenAiChat, true, Quirks::default());
    filter.push(chunk.clone(), &mut |bytes| given.push(bytes));
    let within = chunk.as_ptr().addr()..chunk.as_ptr().addr() + chunk.len();
    assert_eq!(given.len(), 2, "what is before the usage event, and what is after");
    assert!(given.iter().all(|bytes| within.contains(&bytes.as_ptr().addr())));
    assert_eq!(filter.partial.capacity(), 0);
}

#[test]
fn a_cheap_look_finds_what_a_full_reading_finds() {
    let mut cheap = 0;
    for (dialect, recorded) in BOTH {
        for (_, data) in client_events(recorded.as_bytes()) {
            let Some(text) = text_of(dialect, data.as_bytes(), None) else { continue };
            let seen = observe(dialect, data.as_bytes()).unwrap();
            assert_eq!(text, seen.text, "{data}");
            assert!(seen.finish.is_none() && seen.error.is_none() && !seen.counts.is_usage(), "{data}");
            cheap += 1;
        }
    }
    assert_eq!(cheap, 5 + 4);
    for in_full in [
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"a"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null,"x_groq":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"error":{"message":"m"}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"#,
        r#"{"choices":[]}"#,
    ] {
        assert_eq!(text_of(Dialect::OpenAiChat, in_full.as_bytes(), None), None, "{in_full}");
    }
}

fn odd_stream() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("data: ".to_owned()),
        Just("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}".to_owned()),
        Just("data: {\"choices\":[{\"delta\":{\"content\":\"é🌍\"}}]}".to_owned()),
        Just("event: error".to_owned()),
        Just(": c".to_owned()),
        Just("data: [DONE]".to_owned()),
        Just("\u{feff}".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_can_pass_for_usage_or_an_end(text: String, trap in "(\"(usage|error|finish_reason|delta|index)\":\\{?){0,3}") {
        let content = format!("{trap}{text}");
        let event = serde_json::json!({"model": "m", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]});
        let stream = format!("data: {event}\n\n").repeat(3);
        let outcome = run(Dialect::OpenAiChat, true, [stream.as_bytes()], EndKind::cut(ErrorCode::UpstreamTimeout));
        prop_assert_eq!(outcome.sent, stream.as_bytes());
        prop_assert_eq!(outcome.facts.end, StreamEnd::Open);
        prop_assert_eq!(outcome.facts.answer.usage, None);
        prop_assert_eq!(outcome.facts.answer.text.bytes, 3 * u64::try_from(content.len()).unwrap());
    }

    #[test]
    fn output_and_facts_do_not_depend_on_chunks(
        stream in odd_stream(), sizes in prop::collection::vec(1_usize..40, 1..40), hide_usage: bool, anthropic: bool,
    ) {
        let dialect = if anthropic { Dialect::AnthropicMessages } else { Dialect::OpenAiChat };
        let bytes = stream.as_bytes();
        let mut chunks = Vec::new();
        let mut at = 0;
        for size in sizes.iter().cycle() {
            if at == bytes.len() { break; }
            let end = (at + size).min(bytes.len());
            chunks.push(&bytes[at..end]);
            at = end;
        }
        let at_once = run(dialect, hide_usage, [bytes], EndKind::Eof);
        let in_chunks = run(dialect, hide_usage, chunks, EndKind::Eof);
        prop_assert_eq!(whole(&at_once), whole(&in_chunks));
        prop_assert_eq!(at_once.facts, in_chunks.facts);
        if !hide_usage {
            prop_assert_eq!(&in_chunks.sent[..], bytes);
        }
    }

    #[test]
    fn noise_never_panics(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..32), 0..8), hide_usage: bool) {
        for dialect in Dialect::ALL {
            let outcome = run(dialect, hide_usage, chunks.iter().map(Vec::as_slice), EndKind::Eof);
            prop_assert!(!hide_usage || outcome.sent.len() <= chunks.concat().len());
        }
    }
}

#[test]
fn the_first_of_what_a_stream_wrote_is_kept_whatever_events_carry_it_and_only_where_asked() {
    let head = "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"One\"}}]}\n\n";
    let text = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" t\\u00e9xt\"}}]}\n\n";
    let call = "data: {\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n";
    let odd = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\"},\"finish_reason\":\"stop\"}]}\n\n";
    let responses = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"said\"}\n\n";
    for (dialect, stream, expected) in [
        (Dialect::OpenAiChat, [head, text, call, odd].concat(), r"One t\u00e9xtf{}!"),
        (Dialect::OpenAiResponses, responses.repeat(2), "saidsaid"),
    ] {
        for size in [1, 7, 10_000] {
            let mut filter = StreamFilter::new(dialect, false, Quirks::default());
            filter.keep_text();
            stream.as_bytes().chunks(size).for_each(|chunk| filter.push(Bytes::copy_from_slice(chunk), &mut |_| {}));
            assert_eq!(String::from_utf8(filter.take_text()).unwrap(), expected);
        }
        let mut filter = StreamFilter::new(dialect, false, Quirks::default());
        filter.push(Bytes::from(stream), &mut |_| {});
        assert!(filter.take_text().is_empty());
    }
    let mut filter = StreamFilter::new(Dialect::OpenAiChat, true, Quirks::default());
    filter.keep_text();
    filter.push(Bytes::from(head.to_owned() + &text.repeat(5_000)), &mut |_| {});
    let kept = filter.take_text().len();
    assert!((8 * 1024..9 * 1024).contains(&kept), "{kept}");
}
