//! Clients of either dialect at Google's Gemini API: answers, streams, calls and errors in their own words, and the cost
//! that the provider bills.
//!
//! Rule: the gateway runs as a process and the provider is scripted; what the dialects' words mean is proven in `helix-llm`.

use crate::first_request;
use crate::support::world::{World, chat, messages, reserved_nano_usd, streamed};
use helix_shared::record::Record;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const MODELS: [&str; 2] = ["gemini-2.5-flash", "gemini-3.1-flash-lite"];

/// A file with Gemini beside the others, and no route: the kind claims its models.
fn yaml(provider: &str) -> String {
    let own = format!("  gemini: {{ kind: gemini, base_url: \"{provider}\", api_key: sk-canary-gemini }}\nteams:");
    first_request::yaml(provider).replace("\"text-*\"", "\"text-*\", \"gemini-*\"").replacen("teams:", &own, 1)
}

fn asking(mut request: Value, model: &str) -> Value {
    request["model"] = json!(model);
    request
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn route(record: &Record) -> &str {
    &record.stages.iter().find(|stage| stage.name == "route").unwrap().reason
}

/// Compares each record with its line on the provider's bill.
async fn costs_agree(world: &World) {
    let entries = world.provider.bill.settled().await;
    let ids: Vec<String> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        assert!(entry.priced && entry.cost_nano_usd > 0, "{entry:?}");
        assert_eq!((record.cost.get(), record.basis.as_str()), (i64::try_from(entry.cost_nano_usd).unwrap(), "exact"));
        assert!(record.cost.get() <= reserved_nano_usd(record), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_come_in_the_clients_words_and_cost_what_google_bills() {
    let world = World::start(yaml);
    let script = json!({ "text": "Hello there.", "thinking": "Hm.", "input_tokens": 30, "output_tokens": 12,
        "reasoning": 5, "cache_read": 7 });
    for model in MODELS {
        let answer = world.ask(CHAT, &asking(chat(&script), model)).await;
        let body = answer.json();
        assert_eq!((answer.status, answer.header("x-helix-model")), (200, model), "{body}");
        let message = &body["choices"][0]["message"];
        assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("Hello there."), &json!("Hm.")));
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]), (&json!(37), &json!(12)));
        let answer = world.ask(MESSAGES, &asking(messages(&script), model)).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["stop_reason"]), (200, &json!("end_turn")), "{body}");
        assert_eq!(body["content"][1]["text"], "Hello there.");
        let usage = &body["usage"];
        assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(30), &json!(7)));
    }
    costs_agree(&world).await;
    let entries = world.provider.bill.entries();
    assert_eq!(entries[0].path, "/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!(entries[0].headers["x-goog-api-key"], "…mini");
    assert!(!entries[0].headers.contains_key("authorization") && !entries[0].headers.contains_key("anthropic-version"));
    let record = world.record(entries[0].request_id.as_deref().unwrap()).await;
    assert_eq!(route(&record), "backend gemini, translated to gemini");
    assert_eq!((record.dialect.as_str(), record.served_model.as_str()), ("openai_chat", "gemini-2.5-flash"));
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_as_the_client_knows_it_and_cost_what_google_bills() {
    let world = World::start(yaml);
    let script = json!({ "chunks": 5, "output_tokens": 20, "reasoning": 4, "chunk_bytes": 7, "newline": "crlf" });
    for model in MODELS {
        let answer = world.ask(CHAT, &streamed(asking(chat(&script), model))).await;
        let text = answer.text();
        assert_eq!(
            (answer.status, text.matches("[DONE]").count(), text.contains("\"error\"")),
            (200, 1, false),
            "{text}"
        );
        let said: String = events(&text)
            .iter()
            .filter_map(|it| it["choices"][0]["delta"]["content"].as_str())
            .map(str::to_owned)
            .collect();
        assert!(said.contains("東京"), "{said}");
        let answer = world.ask(MESSAGES, &streamed(asking(messages(&script), model))).await;
        let text = answer.text();
        assert_eq!((answer.status, text.matches("event: message_stop").count()), (200, 1), "{text}");
        let last = events(&text).into_iter().find(|event| event["type"] == "message_delta").unwrap();
        assert_eq!(last["usage"]["output_tokens"], 20);
    }
    costs_agree(&world).await;
    assert_eq!(world.provider.bill.entries()[0].path, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_out_and_their_results_come_back_with_the_signature() {
    let world = World::start(yaml);
    let calls = json!([{ "name": "look", "arguments": { "at": "sky" } }, { "name": "listen", "arguments": {} }]);
    let script = json!({ "tool_call": calls });
    let tool =
        |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } });
    let model = MODELS[1];
    let mut request = asking(chat(&script), model);
    request["tools"] = json!([tool("look"), tool("listen")]);
    for is_stream in [false, true] {
        let sent = if is_stream { streamed(request.clone()) } else { request.clone() };
        let answer = world.ask(CHAT, &sent).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let calls: Vec<Value> = if is_stream {
            let deltas = events(&answer.text());
            let calls = deltas.iter().filter_map(|it| it["choices"][0]["delta"]["tool_calls"].get(0).cloned());
            calls.filter(|call| call["id"].is_string()).collect()
        } else {
            assert_eq!(answer.json()["choices"][0]["finish_reason"], "tool_calls");
            answer.json()["choices"][0]["message"]["tool_calls"].as_array().unwrap().clone()
        };
        assert_eq!((calls.len(), &calls[0]["function"]["name"]), (2, &json!("look")), "{calls:?}");
        assert_eq!(calls[0]["extra_content"]["google"]["thought_signature"], "ZmFrZSs/");
        // The provider refuses a call without its answer, and so proves that both came.
        let mut next = asking(chat(&json!({})), model);
        let call = |call: &Value| json!({ "id": call["id"], "type": "function", "function": { "name": call["function"]["name"], "arguments": "{}" } });
        let messages = next["messages"].as_array_mut().unwrap();
        messages.push(
            json!({ "role": "assistant", "content": null, "tool_calls": calls.iter().map(call).collect::<Vec<_>>() }),
        );
        messages
            .extend(calls.iter().map(|call| json!({ "role": "tool", "tool_call_id": call["id"], "content": "ok" })));
        let answer = world.ask(CHAT, &next).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let mut request = asking(messages(&script), model);
    request["tools"] = json!([{ "name": "look", "input_schema": { "type": "object" } }]);
    let answer = world.ask(MESSAGES, &request).await.json();
    assert_eq!((&answer["stop_reason"], &answer["content"][0]["type"]), (&json!("tool_use"), &json!("tool_use")));
    assert_eq!(answer["content"][0]["input"], json!({ "at": "sky" }));
    costs_agree(&world).await;
    world.verify(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_errors_come_in_the_clients_words() {
    let world = World::start(yaml);
    let answer = world.ask(CHAT, &asking(chat(&json!({ "status": 429, "retry_after": 34 })), MODELS[0])).await;
    let error = answer.json();
    assert_eq!((answer.status, answer.header("retry-after")), (429, "34"), "{error}");
    assert_eq!(error["error"]["type"], "rate_limit_error");
    let answer = world.ask(MESSAGES, &asking(messages(&json!({ "status": 503 })), MODELS[0])).await;
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (529, &json!("overloaded_error")));
    let answer =
        world.ask(CHAT, &asking(chat(&json!({ "status": 400, "error_type": "API_KEY_INVALID" })), MODELS[0])).await;
    assert_eq!(answer.header("x-helix-error-code"), "upstream_credential", "{}", answer.text());
    assert_eq!(world.provider.bill.total_nano_usd(), 0);
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_in_one_error_and_an_estimate() {
    let world = World::start(yaml);
    let cut = json!({ "chunks": 6, "cut_after_chunks": 3, "output_tokens": 30 });
    let failing = json!({ "chunks": 6, "error_midstream": 3, "output_tokens": 30 });
    for script in [cut, failing] {
        let text = world.ask(CHAT, &streamed(asking(chat(&script), MODELS[0]))).await.text();
        assert!(events(&text).pop().unwrap()["error"]["message"].is_string(), "{text}");
        assert_eq!((text.matches("\"error\"").count(), text.contains("[DONE]")), (1, false), "{text}");
        let text = world.ask(MESSAGES, &streamed(asking(messages(&script), MODELS[0]))).await.text();
        assert_eq!(events(&text).pop().unwrap()["type"], "error", "{text}");
        assert_eq!((text.matches("event: error").count(), text.matches("message_stop").count()), (1, 0), "{text}");
    }
    let ids: Vec<String> =
        world.provider.bill.settled().await.iter().map(|it| it.request_id.clone().unwrap()).collect();
    for record in world.records(&ids).await {
        assert_eq!(record.basis.as_str(), "estimated");
        assert!(record.cost.get() > 0 && record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_cap_gets_one_that_the_budget_affords() {
    let tight = |provider: &str| yaml(provider).replace("limit_usd: \"25\"", "limit_usd: \"0.02\"");
    let world = World::start(tight);
    let mut request = asking(chat(&json!({ "output_tokens": 10 })), MODELS[0]);
    request.as_object_mut().unwrap().remove("max_completion_tokens");
    let answer = world.ask(CHAT, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let clamped: u64 = answer.header("x-helix-budget-clamped").parse().unwrap();
    assert!((256..65_536).contains(&clamped), "{clamped}");
    costs_agree(&world).await;
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responses_client_gets_its_own_words_whole_and_streamed() {
    let world = World::start(yaml);
    let asking = |script: &Value| {
        let input = format!("Say hello. [[fake:{script}]]");
        json!({ "model": MODELS[1], "input": input, "max_output_tokens": 64 })
    };
    let script = json!({ "text": "Hello there.", "input_tokens": 30, "output_tokens": 12 });
    let answer = world.ask(RESPONSES, &asking(&script)).await;
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["object"], &body["status"]),
        (200, &json!("response"), &json!("completed")),
        "{body}"
    );
    let message = body["output"].as_array().unwrap().iter().find(|item| item["type"] == "message").unwrap();
    assert_eq!(message["content"][0]["text"], "Hello there.");
    let text = world.ask(RESPONSES, &streamed(asking(&script))).await.text();
    let last = events(&text).pop().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["usage"]["output_tokens"]),
        (&json!("response.completed"), &json!(12)),
        "{text}"
    );
    costs_agree(&world).await;
    let paths: Vec<String> = world.provider.bill.entries().into_iter().map(|entry| entry.path).collect();
    assert!(paths[0].ends_with(":generateContent") && paths[1].contains(":streamGenerateContent"), "{paths:?}");
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responses_clients_calls_come_back_with_their_signature() {
    let world = World::start(yaml);
    let script = json!({ "tool_call": [{ "name": "look", "arguments": { "at": "sky" } }], "output_tokens": 9 });
    let asked = |text: String| json!({ "role": "user", "content": text });
    let tool = json!({ "type": "function", "name": "look", "parameters": { "type": "object" } });
    let request =
        |input: Value| json!({ "model": MODELS[1], "input": input, "tools": [tool], "max_output_tokens": 64 });
    let body = world.ask(RESPONSES, &request(json!([asked(format!("Look. [[fake:{script}]]"))]))).await.json();
    let items = body["output"].as_array().unwrap();
    let call = items.iter().find(|item| item["type"] == "function_call").unwrap_or_else(|| panic!("{body}"));
    assert!(call["name"] == "look" && call["call_id"].as_str().unwrap().contains("__thought_"), "{call}");
    let result = json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "a cat" });
    let answer = world.ask(RESPONSES, &request(json!([asked("Look.".to_owned()), call, result]))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn apis_that_are_no_conversations_are_refused() {
    let world = World::start(yaml);
    for (path, request) in [
        ("/v1/moderations", json!({ "model": MODELS[0], "input": "hi" })),
        ("/v1/images/generations", json!({ "model": MODELS[0], "prompt": "hi" })),
    ] {
        let answer = world.ask(path, &request).await;
        let code = answer.header("x-helix-error-code");
        assert_eq!((answer.status, code), (400, "unsupported_backend"), "{path}: {}", answer.text());
    }
    assert_eq!(world.provider.bill.entries().len(), 0);
    world.verify(2);
}
