//! Requests there and back, and by every way to the same place: nothing is lost that both dialects can say.

use proptest::prelude::*;

use super::*;
use crate::{Dialect, scan_request};

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

/// A conversation that all clients can say.
#[derive(Debug, Clone)]
struct Talk {
    system: Option<String>,
    rounds: Vec<Round>,
    /// 0: automatic, 1: required, 2: the tool `f`, 3: none.
    choice: Option<usize>,
    is_serial: bool,
    has_schema: bool,
    is_stream: bool,
    heat: Option<u32>,
    user: Option<String>,
    cap: u64,
}

/// What the user says, maybe with a picture; what the assistant says; its calls with their results.
#[derive(Debug, Clone)]
struct Round {
    said: String,
    has_image: bool,
    has_paper: bool,
    answered: String,
    calls: Vec<(String, String, String)>,
}

const WORD: &str = "[a-z][a-zé😀\"\\\\\n]{0,10}";
const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";
const PDF: &str = "JVBERi0xLjQK";

fn talks() -> impl Strategy<Value = Talk> {
    let calls = prop::collection::vec(("[a-z]{1,5}", WORD, WORD), 0..3);
    let round =
        (WORD, any::<bool>(), any::<bool>(), WORD, calls).prop_map(|(said, has_image, has_paper, answered, calls)| {
            Round { said, has_image, has_paper, answered, calls }
        });
    let options = (
        prop::option::of(0_usize..4),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(0_u32..=4),
        prop::option::of("u[a-z]{1,5}"),
        16_u64..9999,
    );
    (prop::option::of(WORD), prop::collection::vec(round, 1..4), options).prop_map(
        |(system, rounds, (choice, is_serial, has_schema, is_stream, heat, user, cap))| Talk {
            system,
            rounds,
            // One call at a time is said inside of a choice, and not of none.
            choice: choice.or(is_serial.then_some(0)),
            is_serial: is_serial && choice != Some(3),
            has_schema,
            is_stream,
            heat,
            user,
            cap,
        },
    )
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false })
}

impl Talk {
    fn names(&self) -> Vec<String> {
        let called = self.rounds.iter().flat_map(|round| &round.calls).map(|(name, ..)| name.clone());
        let mut names: Vec<String> = called.chain(["f".to_owned()]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn finish(&self, mut body: Value) -> Value {
        if let Some(heat) = self.heat {
            body["temperature"] = json!(f64::from(heat) / 4.0);
        }
        if self.is_stream {
            body["stream"] = json!(true);
        }
        body
    }

    fn in_chat(&self) -> Value {
        let mut messages: Vec<Value> =
            self.system.iter().map(|text| json!({ "role": "system", "content": text })).collect();
        for (at, round) in self.rounds.iter().enumerate() {
            let mut parts = vec![json!({ "type": "text", "text": round.said })];
            if round.has_image {
                let url = format!("data:image/png;base64,{PNG}");
                parts.push(json!({ "type": "image_url", "image_url": { "url": url } }));
            }
            if round.has_paper {
                let data = format!("data:application/pdf;base64,{PDF}");
                parts.push(json!({ "type": "file", "file": { "filename": "a", "file_data": data } }));
            }
            messages.push(json!({ "role": "user", "content": parts }));
            let mut answer = json!({ "role": "assistant", "content": round.answered });
            let calls: Vec<Value> = round
                .calls
                .iter()
                .enumerate()
                .map(|(number, (name, word, _))| {
                    call(&format!("c{at}_{number}"), name, &json!({ "w": word }).to_string())
                })
                .collect();
            if !calls.is_empty() {
                answer["tool_calls"] = json!(calls);
            }
            messages.push(answer);
            messages.extend(round.calls.iter().enumerate().map(|(number, (.., result))| {
                json!({ "role": "tool", "tool_call_id": format!("c{at}_{number}"), "content": result })
            }));
        }
        messages.push(json!({ "role": "user", "content": "end" }));
        let mut body = json!({ "model": "m", "messages": messages, "max_completion_tokens": self.cap });
        body["tools"] = self.names().iter().map(|name| tool(name)).collect();
        if let Some(choice) = self.choice {
            let named = json!({ "type": "function", "function": { "name": "f" } });
            body["tool_choice"] = [json!("auto"), json!("required"), named, json!("none")][choice].clone();
        }
        if self.is_serial {
            body["parallel_tool_calls"] = json!(false);
        }
        if self.has_schema {
            let inner = json!({ "name": "output", "schema": schema(), "strict": true });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": inner });
        }
        if let Some(user) = &self.user {
            body["user"] = json!(user);
        }
        self.finish(body)
    }

    fn in_messages(&self) -> Value {
        let mut messages = Vec::new();
        let mut results: Vec<Value> = Vec::new();
        for (at, round) in self.rounds.iter().enumerate() {
            let source = |kind: &str, data: &str| json!({ "type": "base64", "media_type": kind, "data": data });
            let mut blocks = std::mem::take(&mut results);
            blocks.push(json!({ "type": "text", "text": round.said }));
            if round.has_image {
                blocks.push(json!({ "type": "image", "source": source("image/png", PNG) }));
            }
            if round.has_paper {
                let source = source("application/pdf", PDF);
                blocks.push(json!({ "type": "document", "title": "a", "source": source }));
            }
            messages.push(json!({ "role": "user", "content": blocks }));
            let mut blocks = vec![json!({ "type": "text", "text": round.answered })];
            for (number, (name, word, result)) in round.calls.iter().enumerate() {
                let id = format!("c{at}_{number}");
                blocks.push(json!({ "type": "tool_use", "id": id, "name": name, "input": { "w": word } }));
                results.push(json!({ "type": "tool_result", "tool_use_id": id, "content": result }));
            }
            messages.push(json!({ "role": "assistant", "content": blocks }));
        }
        results.push(json!({ "type": "text", "text": "end" }));
        messages.push(json!({ "role": "user", "content": results }));
        let mut body = json!({ "model": "m", "messages": messages, "max_tokens": self.cap });
        if let Some(system) = &self.system {
            body["system"] = json!(system);
        }
        let parameters = json!({ "type": "object", "properties": {} });
        body["tools"] = self.names().iter().map(|name| json!({ "name": name, "input_schema": parameters })).collect();
        if let Some(choice) = self.choice {
            let mut choice = [
                json!({ "type": "auto" }),
                json!({ "type": "any" }),
                json!({ "type": "tool", "name": "f" }),
                json!({ "type": "none" }),
            ][choice]
                .clone();
            if self.is_serial {
                choice["disable_parallel_tool_use"] = json!(true);
            }
            body["tool_choice"] = choice;
        }
        if self.has_schema {
            body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema() } });
        }
        if let Some(user) = &self.user {
            body["metadata"] = json!({ "user_id": user });
        }
        self.finish(body)
    }

    fn in_responses(&self) -> Value {
        let mut input = Vec::new();
        for (at, round) in self.rounds.iter().enumerate() {
            let mut parts = vec![json!({ "type": "input_text", "text": round.said })];
            if round.has_image {
                parts.push(json!({ "type": "input_image", "image_url": format!("data:image/png;base64,{PNG}") }));
            }
            if round.has_paper {
                let data = format!("data:application/pdf;base64,{PDF}");
                parts.push(json!({ "type": "input_file", "filename": "a", "file_data": data }));
            }
            input.push(json!({ "role": "user", "content": parts }));
            let said = json!([{ "type": "output_text", "text": round.answered }]);
            input.push(json!({ "type": "message", "role": "assistant", "content": said }));
            for (number, (name, word, _)) in round.calls.iter().enumerate() {
                let arguments = json!({ "w": word }).to_string();
                let id = format!("c{at}_{number}");
                input.push(json!({ "type": "function_call", "call_id": id, "name": name, "arguments": arguments }));
            }
            input.extend(round.calls.iter().enumerate().map(|(number, (.., result))| {
                json!({ "type": "function_call_output", "call_id": format!("c{at}_{number}"), "output": result })
            }));
        }
        input.push(json!({ "role": "user", "content": "end" }));
        let mut body = json!({ "model": "m", "input": input, "max_output_tokens": self.cap });
        if let Some(system) = &self.system {
            body["instructions"] = json!(system);
        }
        let parameters = json!({ "type": "object", "properties": {} });
        let flat = |name: &String| json!({ "type": "function", "name": name, "parameters": parameters });
        body["tools"] = self.names().iter().map(flat).collect();
        if let Some(choice) = self.choice {
            let named = json!({ "type": "function", "name": "f" });
            body["tool_choice"] = [json!("auto"), json!("required"), named, json!("none")][choice].clone();
        }
        if self.is_serial {
            body["parallel_tool_calls"] = json!(false);
        }
        if self.has_schema {
            let format = json!({ "type": "json_schema", "name": "output", "schema": schema(), "strict": true });
            body["text"] = json!({ "format": format });
        }
        if let Some(user) = &self.user {
            body["user"] = json!(user);
        }
        self.finish(body)
    }
}

const TARGETS: [(ChatDialect, &str); 5] = [
    (CHAT, "gpt-4.1"),
    (MESSAGES, "claude-haiku-4-5"),
    (BEDROCK, "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    (BEDROCK, "us.amazon.nova-pro-v1:0"),
    (GEMINI, "gemini-3.5-flash"),
];

proptest! {
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
    fn a_conversation_is_the_same_request_whoever_says_it(talk in talks()) {
        for (target, model) in TARGETS {
            let (said_in_chat, said_in_messages) = (talk.in_chat(), talk.in_messages());
            let expected = try_request(CHAT, target, model, &said_in_chat).unwrap();
            for (from, body) in [(MESSAGES, said_in_messages), (RESPONSES, talk.in_responses())] {
                let found = try_request(from, target, model, &body).unwrap();
                prop_assert_eq!(value(&found), value(&expected), "{:?} to {}", from, model);
                prop_assert_eq!(found.dropped.len(), expected.dropped.len(), "{:?} to {}", from, model);
            }
        }
    }

    #[test]
    fn a_way_through_another_dialect_leads_to_the_same_request(talk in talks()) {
        let by = |from, target, model, body: &Value| value(&try_request(from, target, model, body).unwrap());
        let through_messages = by(CHAT, MESSAGES, "claude-haiku-4-5", &talk.in_chat());
        let through_chat = by(MESSAGES, CHAT, "gpt-4.1", &talk.in_messages());
        for (target, model) in TARGETS.into_iter().filter(|(target, _)| !matches!(target, ChatDialect::OpenAiChat)) {
            let expected = by(CHAT, target, model, &talk.in_chat());
            prop_assert_eq!(by(MESSAGES, target, model, &through_messages), expected.clone(), "by messages to {}", model);
            prop_assert_eq!(by(CHAT, target, model, &through_chat), expected, "by chat to {}", model);
        }
    }
}
