//! What holds for every body and every stream.

use helix_shared::error_code::ErrorCode;
use proptest::prelude::*;

use super::reader::gather;
use super::said::{comparable, input, pieces, said_by};
use super::*;
use crate::stream::StreamEnd;

const PAIRS: [(ChatDialect, ChatDialect); 10] = [
    (MESSAGES, CHAT),
    (CHAT, MESSAGES),
    (CHAT, RESPONSES),
    (MESSAGES, RESPONSES),
    (GEMINI, CHAT),
    (GEMINI, MESSAGES),
    (GEMINI, RESPONSES),
    (BEDROCK, CHAT),
    (BEDROCK, MESSAGES),
    (BEDROCK, RESPONSES),
];

fn example(provider: ChatDialect) -> Vec<u8> {
    match provider {
        MESSAGES => super::streams_to_openai::example().into_bytes(),
        GEMINI => super::gemini_streams::example().into_bytes(),
        BEDROCK => super::bedrock_streams::example(),
        _ => super::streams_to_anthropic::example().into_bytes(),
    }
}

#[test]
fn a_cut_at_every_byte_leaves_exactly_one_last_word() {
    for pair in PAIRS {
        let stream = example(pair.0);
        let entire = run(pair, &asking(), [stream.as_slice()], EndKind::Eof).sent;
        for cut in 0..stream.len() {
            let piece = stream.get(..cut).unwrap();
            for kind in [EndKind::Eof, EndKind::cut(ErrorCode::UpstreamTimeout)] {
                let outcome = run(pair, &asking(), [piece], kind);
                let answer = gather(pair.1, &outcome.sent);
                let is_failed = answer["error"].is_object();
                let is_done = outcome.facts.end == StreamEnd::Done;
                assert!(!is_done || !is_failed, "{pair:?} {cut}");
                assert!(is_failed || is_done || kind == EndKind::Eof, "{pair:?} {cut}");
                // The reason to end and the usage come before the end mark: without them the answer is not whole.
                assert!(is_failed || outcome.sent.len() >= entire.len() / 2, "{pair:?} {cut}");
            }
        }
    }
}

#[test]
fn the_last_word_of_a_cut_stream_says_what_cut_it_in_every_dialect() {
    let message = "The provider fell silent in its answer (its timeout.between_chunks).";
    for pair in PAIRS {
        let stream = example(pair.0);
        let begun = stream.get(..stream.len() / 3).unwrap();
        let kind = EndKind::Cut { code: ErrorCode::UpstreamTimeout, message };
        let sent = run(pair, &asking(), [begun], kind).sent;
        assert!(sent.contains(message), "{pair:?}: {sent}");
    }
}

#[test]
fn single_bytes_give_what_the_whole_gives() {
    for pair in PAIRS {
        let stream = example(pair.0);
        let expected = run(pair, &asking(), [stream.as_slice()], EndKind::Eof);
        for size in [1, 2, 5, 13, 100] {
            let outcome = run(pair, &asking(), stream.chunks(size), EndKind::Eof);
            assert_eq!(outcome.sent, expected.sent);
            assert_eq!(outcome.facts, expected.facts);
        }
    }
}

#[test]
fn a_hostile_body_costs_no_more_than_its_length() {
    // Each would take minutes if anything were looked for once for each of its like.
    let many = 20_000;
    let calls: Vec<Value> = (0..many).map(|at| call(&format!("c{at}"), &format!("ü{at}"), "{}")).collect();
    let results = (0..many).map(|at| json!({ "role": "tool", "tool_call_id": format!("c{at}"), "content": "r" }));
    let mut messages =
        vec![json!({ "role": "user", "content": "a" }), json!({ "role": "assistant", "tool_calls": calls })];
    messages.extend(results);
    let mut body = with_defaults(&json!({ "messages": messages }));
    for at in 0..many {
        body[format!("odd\n{at}")] = json!(1);
    }
    let started = std::time::Instant::now();
    let translated = try_request(CHAT, MESSAGES, "claude-opus-5", &body).unwrap();
    assert!(started.elapsed().as_secs() < 30);
    assert_eq!(translated.dropped.len(), 64);
    assert!(translated.dropped.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic())));
}

/// What an answer means, without the ids and signatures that each provider makes in its own way.
fn meaning(client: ChatDialect, whole: &Value) -> Value {
    let mut found = comparable(client, whole);
    if client == RESPONSES {
        found = json!({ "output": found["output"], "status": found["status"], "usage": found["usage"] });
    }
    strip(&mut found);
    found
}

fn strip(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            for own in ["id", "call_id", "signature", "thinking_blocks", "extra_content", "encrypted_content"] {
                fields.remove(own);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The bytes of prose that a client has got.
fn text_bytes(client: ChatDialect, answer: &Value) -> u64 {
    fn sum(node: &Value) -> usize {
        match node {
            Value::Object(fields) => {
                let own = ["text", "thinking", "content", "reasoning_content"];
                let texts = fields.iter().filter(|(name, _)| own.contains(&name.as_str()));
                let texts: usize = texts.filter_map(|(_, value)| value.as_str()).map(str::len).sum();
                texts + fields.values().map(sum).sum::<usize>()
            }
            Value::Array(items) => items.iter().map(sum).sum(),
            _ => 0,
        }
    }
    let part = match client {
        CHAT => "message",
        MESSAGES => "content",
        _ => "output",
    };
    // The blocks that carry a signature repeat what was said.
    let mut found = answer[part].clone();
    strip(&mut found);
    u64::try_from(sum(&found)).unwrap()
}

proptest! {
    #[test]
    fn a_stream_equals_its_whole_twin((thinking, pieces) in pieces(), size in 1_usize..200) {
        for (provider, client) in PAIRS {
            let (body, stream) = said_by(provider, thinking.as_ref(), &pieces);
            let expected = comparable(client, &answer(provider, client, &asking(), &body));
            let outcome = run((provider, client), &asking(), stream.chunks(size), EndKind::Eof);
            prop_assert_eq!(gather(client, &outcome.sent), expected);
            prop_assert!(outcome.facts.is_usage_final);
        }
    }

    #[test]
    fn a_cut_anywhere_in_any_chunks_ends_once_and_is_billed((thinking, pieces) in pieces(), size in 1_usize..60, cut in any::<prop::sample::Index>()) {
        for (provider, client) in PAIRS {
            let stream = said_by(provider, thinking.as_ref(), &pieces).1;
            let piece = stream.get(..cut.index(stream.len())).unwrap();
            for kind in [EndKind::Eof, EndKind::cut(ErrorCode::UpstreamTimeout)] {
                let outcome = run((provider, client), &asking(), piece.chunks(size), kind);
                // It panics unless there is one last word.
                let answer = gather(client, &outcome.sent);
                // Either the provider's own counters, or no less text to estimate by than the client has.
                let facts = &outcome.facts;
                let is_counted = facts.is_usage_final || facts.answer.text.bytes >= text_bytes(client, &answer);
                prop_assert!(is_counted, "{provider:?} {client:?} {answer}");
            }
        }
    }

    #[test]
    fn an_answer_reads_the_same_whoever_gives_it((thinking, pieces) in pieces()) {
        for client in [CHAT, MESSAGES, RESPONSES] {
            let read = |provider| {
                let whole = said_by(provider, thinking.as_ref(), &pieces).0;
                meaning(client, &answer(provider, client, &AnswerPlan::default(), &whole))
            };
            let expected = read(CHAT);
            for provider in [MESSAGES, GEMINI, BEDROCK] {
                prop_assert_eq!(read(provider), expected.clone(), "{:?} {:?}", provider, client);
            }
        }
    }

    #[test]
    fn garbage_never_breaks_the_clients_stream(stream in "(data: |event: error|event: message_stop|[{}\"\\[\\]:,a]|\n|\r|\\{\"choices\":\\[\\{\"delta\":\\{\"content\":\"x\"\\}\\}\\]\\}|\\{\"type\":\"message_stop\"\\}|\\{\"candidates\":\\[\\{\"finishReason\":\"STOP\"\\}\\]\\}|\\[DONE\\]){0,30}", size in 1_usize..20) {
        for pair in PAIRS {
            let outcome = run(pair, &asking(), stream.as_bytes().chunks(size), EndKind::Eof);
            gather(pair.1, &outcome.sent);
        }
    }

    #[test]
    fn calls_stay_whole_however_they_are_mixed(
        calls in prop::collection::vec(prop::collection::vec(("[a-z{}\"]{1,3}", any::<u32>()), 0..3), 1..5),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let part = |index: usize, function: Value| {
            delta(&json!({ "tool_calls": [{ "index": index, "id": format!("c{index}"), "function": function }] }))
        };
        // For each call: its name first, then its arguments in pieces.
        let mut queues: Vec<Vec<Value>> = calls.iter().enumerate().map(|(index, fields)| {
            let arguments = input(fields).to_string();
            let mut parts: Vec<Value> = arguments.chars().collect::<Vec<_>>().chunks(3).rev()
                .map(|piece| part(index, json!({ "arguments": piece.iter().collect::<String>() }))).collect();
            parts.push(part(index, json!({ "name": format!("f{index}"), "arguments": "" })));
            parts
        }).collect();
        let mut chunks = Vec::new();
        for index in order {
            let at = index.index(queues.len());
            chunks.extend(queues[at].pop());
        }
        chunks.extend(queues.into_iter().flat_map(|queue| queue.into_iter().rev()));
        chunks.push(finish("tool_calls"));
        let stream = openai_stream(&chunks);
        let answer = gather(MESSAGES, &whole((CHAT, MESSAGES), &AnswerPlan::default(), &stream));
        let mut found = answer["content"].as_array().unwrap().clone();
        found.sort_by_key(|block| block["id"].as_str().unwrap().to_owned());
        let expected: Vec<Value> = calls.iter().enumerate().map(|(index, fields)| {
            json!({ "type": "tool_use", "id": format!("c{index}"), "name": format!("f{index}"), "input": input(fields) })
        }).collect();
        prop_assert_eq!(found, expected);
        gather(RESPONSES, &whole((CHAT, RESPONSES), &AnswerPlan::default(), &stream));
    }

    #[test]
    fn any_json_is_taken_or_refused(request in "\\{(\"(model|messages|input|tools|role|content|type|text|tool_calls|system)\":|[\\[\\]{},]|\"user\"|\"tool\"|1|null|true){0,25}\\}") {
        for (from, to) in [CHAT, MESSAGES, RESPONSES, ChatDialect::OpenAiCompletions].into_iter().flat_map(|from| [CHAT, MESSAGES, GEMINI, BEDROCK, ChatDialect::Ollama].map(|to| (from, to))) {
            // It must not panic; whether it is a request is the generator's luck.
            drop(translate_request(from, to, request.as_bytes(), &context_for(to, "m")));
        }
        for provider in [CHAT, MESSAGES, GEMINI, BEDROCK, ChatDialect::Ollama] {
            for client in ChatDialect::ALL {
                drop(translate_answer(provider, client, request.as_bytes(), &asking(), &answer_context()));
            }
        }
    }
}
