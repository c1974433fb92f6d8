//! What holds for every body and every stream.

use helix_shared::error_code::ErrorCode;
use proptest::prelude::*;

use super::reader::gather;
use super::*;
use crate::stream::StreamEnd;
use crate::{Dialect, scan_request};

const PAIRS: [(ChatDialect, ChatDialect); 7] = [
    (MESSAGES, CHAT),
    (CHAT, MESSAGES),
    (CHAT, RESPONSES),
    (MESSAGES, RESPONSES),
    (GEMINI, CHAT),
    (GEMINI, MESSAGES),
    (GEMINI, RESPONSES),
];

fn example(provider: ChatDialect) -> String {
    match provider {
        MESSAGES => super::streams_to_openai::example(),
        GEMINI => super::gemini_streams::example(),
        _ => super::streams_to_anthropic::example(),
    }
}

#[test]
fn a_cut_at_every_byte_leaves_exactly_one_last_word() {
    for pair in PAIRS {
        let stream = example(pair.0);
        let entire = whole(pair, &asking(), &stream);
        for cut in 0..stream.len() {
            let piece = stream.as_bytes().get(..cut).unwrap();
            for kind in [EndKind::Eof, EndKind::Cut(ErrorCode::UpstreamTimeout)] {
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
fn single_bytes_give_what_the_whole_gives() {
    for pair in PAIRS {
        let stream = example(pair.0);
        let expected = run(pair, &asking(), [stream.as_bytes()], EndKind::Eof);
        for size in [1, 2, 5, 13, 100] {
            let outcome = run(pair, &asking(), stream.as_bytes().chunks(size), EndKind::Eof);
            assert_eq!(outcome.sent, expected.sent);
            assert_eq!(outcome.facts, expected.facts);
        }
    }
}

/// A piece of an answer, in a form that both providers can say.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Call(String, Vec<(String, u32)>),
}

fn pieces() -> impl Strategy<Value = (Option<String>, Vec<Piece>)> {
    let text = "[a-zé😀\"\\\\\n ]{1,12}";
    let call = ("[a-z]{1,6}", prop::collection::vec(("[a-z\"]{1,4}", any::<u32>()), 0..3))
        .prop_map(|(name, fields)| Piece::Call(name, fields));
    let thinking = prop::option::of(text.prop_map(|text| text));
    let first = prop::option::of(text.prop_map(Piece::Text));
    (thinking, first, prop::collection::vec(call, 0..4))
        .prop_map(|(thinking, first, calls)| (thinking, first.into_iter().chain(calls).collect()))
}

fn input(fields: &[(String, u32)]) -> Value {
    Value::Object(fields.iter().map(|(name, number)| (name.clone(), json!(number))).collect())
}

/// Cuts a text in two at a character.
fn halves(text: &str) -> [String; 2] {
    let middle = text.chars().count() / 2;
    [text.chars().take(middle).collect(), text.chars().skip(middle).collect()]
}

/// The answer as OpenAI says it: whole, and as a stream.
fn as_openai(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let mut message = json!({ "role": "assistant", "content": null });
    let mut chunks = vec![delta(&json!({ "role": "assistant", "content": "" }))];
    if let Some(thinking) = thinking {
        message["reasoning_content"] = json!(thinking);
        chunks.extend(halves(thinking).map(|half| delta(&json!({ "reasoning_content": half }))));
    }
    let mut calls = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                message["content"] = json!(text);
                chunks.extend(halves(text).map(|half| delta(&json!({ "content": half }))));
            }
            Piece::Call(name, fields) => {
                let (index, arguments) = (calls.len(), input(fields).to_string());
                let id = format!("c{index}");
                let part = |function: Value| {
                    delta(&json!({ "tool_calls": [{ "index": index, "id": id, "function": function }] }))
                };
                chunks.push(part(json!({ "name": name, "arguments": "" })));
                chunks.extend(halves(&arguments).map(|half| part(json!({ "arguments": half }))));
                calls.push(call(&id, name, &arguments));
            }
        }
    }
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    chunks.extend([finish(reason), openai_usage(10, 5)]);
    let usage = openai_usage(10, 5)["usage"].clone();
    (
        json!({ "choices": [{ "index": 0, "message": message, "finish_reason": reason }], "usage": usage }),
        openai_stream(&chunks),
    )
}

/// The answer as Anthropic says it: whole, and as a stream.
fn as_anthropic(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let mut content = Vec::new();
    let mut events = vec![
        json!({ "type": "message_start", "message": { "model": "served", "usage": { "input_tokens": 10, "output_tokens": 1 } } }),
    ];
    let mut add = |block: Value, empty: Value, deltas: Vec<Value>| {
        let index = content.len();
        content.push(block);
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": empty }));
        events.extend(
            deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    };
    if let Some(text) = thinking {
        let mut deltas = halves(text).map(|half| json!({ "type": "thinking_delta", "thinking": half })).to_vec();
        deltas.push(json!({ "type": "signature_delta", "signature": "S" }));
        add(
            json!({ "type": "thinking", "thinking": text, "signature": "S" }),
            json!({ "type": "thinking", "thinking": "", "signature": "" }),
            deltas,
        );
    }
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let deltas = halves(text).map(|half| json!({ "type": "text_delta", "text": half })).to_vec();
                add(json!({ "type": "text", "text": text }), json!({ "type": "text", "text": "" }), deltas);
            }
            Piece::Call(name, fields) => {
                let (id, whole) = (format!("c{number}"), input(fields));
                let deltas = halves(&whole.to_string())
                    .map(|half| json!({ "type": "input_json_delta", "partial_json": half }))
                    .to_vec();
                let block = |input: Value| json!({ "type": "tool_use", "id": id, "name": name, "input": input });
                add(block(whole), block(json!({})), deltas);
            }
        }
    }
    let reason = if pieces.iter().any(|piece| matches!(piece, Piece::Call(..))) { "tool_use" } else { "end_turn" };
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": { "output_tokens": 5 } }));
    events.push(json!({ "type": "message_stop" }));
    let usage = json!({ "input_tokens": 10, "output_tokens": 5 });
    (json!({ "type": "message", "content": content, "stop_reason": reason, "usage": usage }), anthropic_stream(&events))
}

/// The answer as Gemini says it: whole, and as a stream.
fn as_gemini(thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    let mut parts = Vec::new();
    let mut events = Vec::new();
    let mut add = |whole: Value, pieces: Vec<Value>| {
        parts.push(whole);
        events.extend(pieces.into_iter().map(|piece| counted(candidate(&json!([piece]), None))));
    };
    if let Some(text) = thinking {
        let part = |text: &str| json!({ "text": text, "thought": true });
        add(part(text), halves(text).map(|half| part(&half)).to_vec());
    }
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let part = |text: &str| json!({ "text": text });
                add(part(text), halves(text).map(|half| part(&half)).to_vec());
            }
            Piece::Call(name, fields) => {
                let call = json!({ "id": format!("c{number}"), "name": name, "args": input(fields) });
                let part = json!({ "functionCall": call, "thoughtSignature": "U0lH" });
                add(part.clone(), vec![part]);
            }
        }
    }
    events.push(counted(candidate(&json!([]), Some("STOP"))));
    (counted(candidate(&json!(parts), Some("STOP"))), gemini_stream(&events))
}

/// The answer as a provider says it.
fn said_by(provider: ChatDialect, thinking: Option<&String>, pieces: &[Piece]) -> (Value, String) {
    match provider {
        MESSAGES => as_anthropic(thinking, pieces),
        GEMINI => as_gemini(thinking, pieces),
        _ => as_openai(thinking, pieces),
    }
}

/// Brings a whole answer into the form that the reader of streams gives.
fn comparable(client: ChatDialect, whole: &Value) -> Value {
    match client {
        CHAT => {
            let choice = &whole["choices"][0];
            let mut message = choice["message"].clone();
            message.as_object_mut().unwrap().retain(|name, value| name != "role" && !value.is_null());
            json!({ "message": message, "finish_reason": choice["finish_reason"], "usage": whole["usage"] })
        }
        MESSAGES => json!({
            "content": whole["content"], "stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"], "usage": whole["usage"],
        }),
        _ => whole.clone(),
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

proptest! {
    #[test]
    fn a_stream_equals_its_whole_twin((thinking, pieces) in pieces(), size in 1_usize..200) {
        for (provider, client) in PAIRS {
            let (body, stream) = said_by(provider, thinking.as_ref(), &pieces);
            let expected = comparable(client, &answer(provider, client, &asking(), &body));
            let outcome = run((provider, client), &asking(), stream.as_bytes().chunks(size), EndKind::Eof);
            prop_assert_eq!(gather(client, &outcome.sent), expected);
            prop_assert!(outcome.facts.is_usage_final);
        }
    }

    #[test]
    fn a_cut_anywhere_in_any_chunks_ends_once((thinking, pieces) in pieces(), size in 1_usize..60, cut in any::<prop::sample::Index>()) {
        for (provider, client) in PAIRS {
            let stream = said_by(provider, thinking.as_ref(), &pieces).1;
            let piece = stream.as_bytes().get(..cut.index(stream.len())).unwrap();
            let outcome = run((provider, client), &asking(), piece.chunks(size), EndKind::Eof);
            gather(client, &outcome.sent);
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
    fn a_request_goes_there_and_back_without_loss(request in requests()) {
        let context = RequestContext { max_output_tokens: None, ..context_for(MESSAGES, "claude-haiku-4-5") };
        let there = translate_request(CHAT, MESSAGES, &bytes(&request), &context).unwrap();
        prop_assert_eq!(&there.dropped, &Vec::<String>::new());
        let facts = scan_request(Dialect::AnthropicMessages, &there.body).unwrap();
        prop_assert_eq!(facts.is_stream, request["stream"] == true);
        prop_assert_eq!(facts.output_cap, request["max_tokens"].as_u64());
        let context = RequestContext { traits: ModelTraits::openai_compatible(), ..context };
        let back = translate_request(MESSAGES, CHAT, &there.body, &context).unwrap();
        prop_assert_eq!(&back.dropped, &Vec::<String>::new());
        prop_assert!(scan_request(Dialect::OpenAiChat, &back.body).is_ok());
        prop_assert_eq!(value(&back), request);
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
        for (from, to) in [(CHAT, MESSAGES), (MESSAGES, CHAT), (RESPONSES, CHAT), (RESPONSES, MESSAGES), (CHAT, GEMINI), (MESSAGES, GEMINI), (CHAT, ChatDialect::Ollama), (ChatDialect::OpenAiCompletions, MESSAGES)] {
            // It must not panic; whether it is a request is the generator's luck.
            drop(translate_request(from, to, request.as_bytes(), &context_for(to, "m")));
        }
        for provider in [CHAT, MESSAGES, GEMINI, ChatDialect::Ollama] {
            for client in ChatDialect::ALL {
                drop(translate_answer(provider, client, request.as_bytes(), &asking(), &answer_context()));
            }
        }
    }
}

/// Requests in the form that a translation gives them, of what both dialects can say.
fn requests() -> impl Strategy<Value = Value> {
    // A blank text is nothing that Anthropic takes.
    let word = "[a-z][a-zé😀\"\\\\\n]{0,10}";
    let image =
        json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==" } });
    let said = (word, any::<bool>()).prop_map(move |(text, has_image)| {
        if has_image { json!([{ "type": "text", "text": text }, image]) } else { json!(text) }
    });
    let calls = prop::collection::vec(("[a-z]{1,5}", word), 0..3);
    let round = (said, word, calls).prop_map(|(said, text, calls)| (said, text, calls));
    let options = (
        prop::option::of(1_u64..9999),
        prop::option::of(0_u32..=4),
        prop::option::of(prop::collection::vec("[a-z]{1,4}", 1..4)),
        any::<bool>(),
        prop::option::of(0_usize..3),
    );
    (prop::option::of(word), prop::collection::vec(round, 1..4), options).prop_map(
        |(system, rounds, (cap, heat, stop, is_stream, choice))| {
            let mut messages = Vec::new();
            if let Some(system) = system {
                messages.push(json!({ "role": "system", "content": system }));
            }
            let mut names: Vec<String> = vec!["f".to_owned()];
            for (round, (said, text, calls)) in rounds.into_iter().enumerate() {
                messages.push(json!({ "role": "user", "content": said }));
                if calls.is_empty() {
                    messages.push(json!({ "role": "assistant", "content": text }));
                    continue;
                }
                let ids: Vec<String> = (0..calls.len()).map(|number| format!("c{round}_{number}")).collect();
                let made =
                    calls.iter().zip(&ids).map(|((name, word), id)| call(id, name, &json!({ "w": word }).to_string()));
                messages.push(json!({ "role": "assistant", "content": text, "tool_calls": made.collect::<Vec<_>>() }));
                for ((name, word), id) in calls.iter().zip(&ids) {
                    messages.push(json!({ "role": "tool", "tool_call_id": id, "content": word }));
                    names.push(name.clone());
                }
            }
            messages.push(json!({ "role": "user", "content": "end" }));
            names.sort_unstable();
            names.dedup();
            let mut body =
                json!({ "model": "claude-haiku-4-5", "messages": messages, "max_tokens": cap.unwrap_or(4096) });
            body["tools"] = names.iter().map(|name| tool(name)).collect();
            if let Some(heat) = heat {
                body["temperature"] = json!(f64::from(heat) / 4.0);
            }
            if let Some(stop) = stop {
                body["stop"] = json!(stop);
            }
            if is_stream {
                body["stream"] = json!(true);
                body["stream_options"] = json!({ "include_usage": true });
            }
            if let Some(choice) = choice {
                body["tool_choice"] =
                    [json!("auto"), json!("required"), json!({ "type": "function", "function": { "name": "f" } })]
                        [choice]
                        .clone();
                body["parallel_tool_calls"] = json!(false);
            }
            body
        },
    )
}
