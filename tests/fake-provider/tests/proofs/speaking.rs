//! The plain answers of both dialects, and the errors of a strict provider.
//!
//! Rule: shapes only; money is in `billing`, broken streams in `breaking`.

use http::Method;
use serde_json::{Value, json};

use crate::client::{chat, message, post, request, send, start};

#[tokio::test]
async fn a_chat_completion_has_the_shape_and_counts_of_the_script() {
    let fake = start();
    let script = json!({"input_tokens": 100, "cache_read": 30, "cache_write": 5, "output_tokens": 7, "reasoning": 2});
    let answer = send(&fake, chat(&script, &json!({}))).await.unwrap();
    let body = answer.json();
    assert_eq!((answer.status, &body["object"]), (200, &json!("chat.completion")));
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = &body["usage"];
    assert_eq!((usage["prompt_tokens"].as_u64(), usage["total_tokens"].as_u64()), (Some(135), Some(142)));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 30);
    assert_eq!(usage["prompt_tokens_details"]["cache_write_tokens"], 5);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 2);
    assert_eq!(answer.headers["content-length"], answer.bytes().len().to_string().as_str());
}

#[tokio::test]
async fn usage_is_streamed_exactly_when_asked_for() {
    let fake = start();
    let check = async |more: Value, script: Value, with_usage: usize, with_null: usize, chunks: usize| {
        let answer = send(&fake, chat(&script, &more)).await.unwrap();
        let mut events = answer.events();
        assert_eq!(events.pop(), Some(json!("[DONE]")));
        let usage = events.iter().filter(|event| event["usage"].is_object()).count();
        let null = events.iter().filter(|event| event.get("usage") == Some(&Value::Null)).count();
        assert_eq!((usage, null, events.len()), (with_usage, with_null, chunks), "{more} {script}");
        events
    };
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    check(json!({"stream": true}), json!({"chunks": 3}), 0, 0, 5).await;
    let events = check(asked.clone(), json!({"chunks": 3, "output_tokens": 9}), 1, 5, 6).await;
    assert_eq!(events[5]["choices"], json!([]));
    assert_eq!(events[5]["usage"]["completion_tokens"], 9);
    check(asked.clone(), json!({"chunks": 3, "no_usage": true}), 0, 5, 5).await;
    let every = json!({"chunks": 3, "usage_in_every_chunk": true, "output_tokens": 9});
    let events = check(json!({"stream": true}), every, 5, 0, 5).await;
    let totals: Vec<_> = events.iter().map(|event| event["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(totals, [0, 3, 6, 9, 9]);
    let events = check(asked, json!({"chunks": 1, "usage_zero": true}), 1, 3, 4).await;
    assert_eq!(events[3]["usage"]["total_tokens"], 0);
}

#[tokio::test]
async fn output_never_exceeds_the_cap() {
    let fake = start();
    let script = json!({"output_tokens": 50});
    for field in ["max_tokens", "max_completion_tokens"] {
        let body = send(&fake, chat(&script, &json!({field: 12}))).await.unwrap().json();
        assert_eq!(body["usage"]["completion_tokens"], 12);
        assert_eq!(body["choices"][0]["finish_reason"], "length");
    }
    let body = send(&fake, message(&script, &json!({"max_tokens": 12}))).await.unwrap().json();
    assert_eq!((&body["usage"]["output_tokens"], &body["stop_reason"]), (&json!(12), &json!("max_tokens")));
}

#[tokio::test]
async fn a_message_stream_has_the_event_order_of_the_provider() {
    let fake = start();
    let script = json!({"thinking": "hm", "text": "yes", "chunks": 1, "output_tokens": 8, "input_tokens": 11,
        "cache_read": 3, "cache_write": 2, "cache_write_1h": 1, "tool_call": {"name": "get", "arguments": {"a": 1}}});
    let answer = send(&fake, message(&script, &json!({"stream": true}))).await.unwrap();
    let events = answer.events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let block = |deltas: usize| {
        let deltas = std::iter::repeat_n("content_block_delta", deltas);
        std::iter::once("content_block_start").chain(deltas).chain(std::iter::once("content_block_stop"))
    };
    let mut expected: Vec<&str> =
        std::iter::once("message_start").chain(block(3)).chain(block(1)).chain(block(3)).collect();
    expected.extend(["message_delta", "message_stop"]);
    expected.insert(2, "ping");
    assert_eq!(kinds, expected);
    assert_eq!(events[0]["message"]["usage"]["cache_creation_input_tokens"], 3);
    assert_eq!(events[0]["message"]["usage"]["output_tokens"], 1);
    let end = &events[events.len() - 2];
    assert_eq!((&end["usage"]["output_tokens"], &end["delta"]["stop_reason"]), (&json!(8), &json!("tool_use")));
    let arguments: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(arguments, r#"{"a":1}"#);
    assert!(answer.text().lines().filter(|line| line.starts_with("event: ")).count() == events.len());
}

#[tokio::test]
async fn tool_calls_stream_by_index() {
    let fake = start();
    let script = json!({"tool_call": [{"name": "a", "arguments": {"x": [1, 2]}}, {"name": "b", "id": "mine"}]});
    let body = send(&fake, chat(&script, &json!({}))).await.unwrap().json();
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["content"], &message["tool_calls"][1]["id"]), (&Value::Null, &json!("mine")));
    let events = send(&fake, chat(&script, &json!({"stream": true}))).await.unwrap().events();
    let calls = events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0));
    let mut arguments = [String::new(), String::new()];
    for call in calls {
        let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
        arguments[index].push_str(call["function"]["arguments"].as_str().unwrap());
    }
    assert_eq!(arguments, [r#"{"x":[1,2]}"#, "{}"]);
}

#[tokio::test]
async fn every_base_path_reaches_the_same_endpoints() {
    let fake = start();
    for base in ["", "/v1", "/v1/v1", "/acct/v1"] {
        let none = json!({});
        let chat = post(&format!("{base}/chat/completions"), "gpt-5-mini", &none, &none);
        assert_eq!(send(&fake, chat).await.unwrap().status, 200, "{base}");
        let message = post(&format!("{base}/messages?beta=true"), "m", &none, &json!({"max_tokens": 5}));
        assert_eq!(send(&fake, message).await.unwrap().status, 200, "{base}");
        let count = post(&format!("{base}/messages/count_tokens"), "m", &json!({"input_tokens": 77}), &none);
        assert_eq!(send(&fake, count).await.unwrap().json(), json!({"input_tokens": 77}));
        let models = send(&fake, request(Method::GET, &format!("{base}/models"), b"")).await.unwrap().json();
        assert_eq!(models["has_more"], false, "the Anthropic shape, for a request with its version header");
    }
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64() {
    let fake = start();
    let ask = async |more: Value| {
        let mut body = json!({"model": "text-embedding-3-small", "input": ["a", "bc"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        send(&fake, request(Method::POST, "/v1/embeddings", body.to_string().as_bytes())).await.unwrap().json()
    };
    let numbers = ask(json!({"dimensions": 3})).await;
    assert_eq!(numbers["data"][1]["embedding"].as_array().unwrap().len(), 3);
    assert_eq!(numbers["usage"], json!({"prompt_tokens": 1, "total_tokens": 1}));
    let base64 = ask(json!({"encoding_format": "base64"})).await;
    assert_eq!(base64["data"][0]["embedding"].as_str().unwrap().len(), 44, "eight f32 values");
}

#[tokio::test]
async fn a_garbled_request_is_refused_in_the_dialect() {
    let fake = start();
    let check = async |path: &str, body: &str, status: u16, said: &str| {
        let answer = send(&fake, request(Method::POST, path, body.as_bytes())).await.unwrap();
        let error = &answer.json()["error"];
        assert_eq!(answer.status, status, "{path} {body}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
        assert_eq!(answer.json()["type"] == "error", path.contains("messages"));
    };
    let (chat, messages) = ("/v1/chat/completions", "/v1/messages");
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    check(chat, "{", 400, "could not parse").await;
    check(chat, "{}", 400, "model").await;
    check(chat, r#"{"model":"m","messages":[]}"#, 400, "messages").await;
    check(chat, &format!(r#"{{"model":"m","stream":"yes",{hi}}}"#), 400, "stream").await;
    check(chat, &format!(r#"{{"model":"m","stream_options":{{}},{hi}}}"#), 400, "stream_options").await;
    check(chat, &format!(r#"{{"model":"missing-1",{hi}}}"#), 404, "missing-1").await;
    check(chat, &format!(r#"{{"model":"denied-1",{hi}}}"#), 403, "denied-1").await;
    check(messages, &format!(r#"{{"model":"m",{hi}}}"#), 400, "max_tokens").await;
    check(messages, &format!(r#"{{"model":"m","max_tokens":1,"stream_options":{{}},{hi}}}"#), 400, "stream_options")
        .await;
    check(messages, &format!(r#"{{"model":"missing-1","max_tokens":1,{hi}}}"#), 404, "missing-1").await;
    check(chat, r#"{"model":"m","messages":[{"role":"user","content":"[[fake:{\"oops\":1}]]"}]}"#, 400, "oops").await;
}

#[tokio::test]
async fn credentials_decide_as_documented() {
    let fake = start();
    let check = async |path: &str, key: Option<&str>, status: u16| {
        let fields = json!({"max_tokens": 5});
        let mut request = post(path, "m", &json!({}), &fields);
        request.headers_mut().remove("authorization");
        if let Some(key) = key {
            request.headers_mut().insert("x-api-key", key.parse().unwrap());
        }
        let answer = send(&fake, request).await.unwrap();
        assert_eq!(answer.status, status, "{path} {key:?}");
        answer
    };
    for path in ["/v1/chat/completions", "/v1/messages"] {
        check(path, Some("sk-good"), 200).await;
        check(path, Some("bad-key"), 401).await;
        check(path, None, 401).await;
    }
    let refused = check("/v1/chat/completions", Some("sk-broke"), 429).await;
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert_eq!(refused.headers["x-should-retry"], "false");
    assert_eq!(check("/v1/messages", Some("sk-broke"), 402).await.json()["error"]["type"], "billing_error");
    fake.set_script(json!({"require_auth": false})).unwrap();
    check("/v1/chat/completions", None, 200).await;
}
