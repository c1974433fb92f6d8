//! The Gemini dialect: whole answers, streams, calls, and what a strict provider refuses.
//!
//! Rule: shapes and the bill; how streams break is the same for all dialects and proven in `breaking`.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, request, send, start};

const MODEL: &str = "/v1beta/models/gemini-2.5-flash";

fn contents(script: &Value) -> Value {
    json!([{ "role": "user", "parts": [{ "text": format!("hello [[fake:{script}]]") }] }])
}

async fn generate(fake: &helix_fake_provider::Running, method: &str, body: &Value) -> Answer {
    let body = body.to_string();
    send(fake, request(Method::POST, &format!("{MODEL}:{method}"), body.as_bytes())).await.unwrap()
}

#[tokio::test]
async fn an_answer_has_the_shape_and_counts_of_the_script_and_is_billed() {
    let fake = start();
    let script = json!({ "input_tokens": 100, "cache_read": 30, "output_tokens": 50, "reasoning": 2 });
    let body = json!({ "contents": contents(&script), "generationConfig": { "maxOutputTokens": 7 } });
    let answer = generate(&fake, "generateContent", &body).await.json();
    assert_eq!(answer["candidates"][0]["finishReason"], "MAX_TOKENS");
    let expected = json!({ "promptTokenCount": 130, "cachedContentTokenCount": 30, "candidatesTokenCount": 5,
        "thoughtsTokenCount": 2, "totalTokenCount": 137 });
    assert_eq!((&answer["usageMetadata"], &answer["modelVersion"]), (&expected, &json!("gemini-2.5-flash")));
    let entry = &fake.bill.settled().await[0];
    assert_eq!((entry.cost_nano_usd, entry.billed_usage.output), (30_000 + 900 + 17_500, 7));
}

#[tokio::test]
async fn a_stream_counts_in_every_event_and_just_ends() {
    let fake = start();
    let script =
        json!({ "chunks": 2, "output_tokens": 8, "text": "ab", "tool_call": { "name": "f", "arguments": { "x": 1 } } });
    let events =
        generate(&fake, "streamGenerateContent?alt=sse", &json!({ "contents": contents(&script) })).await.events();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event["usageMetadata"]["promptTokenCount"].is_u64()));
    let part = &events[2]["candidates"][0]["content"]["parts"][0];
    assert_eq!(part["functionCall"], json!({ "id": "call_fake_0", "name": "f", "args": { "x": 1 } }));
    assert_eq!(events[3]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(events[3]["usageMetadata"]["candidatesTokenCount"], 8);
}

#[tokio::test]
async fn what_the_real_one_refuses_is_refused() {
    let fake = start();
    let call = json!({ "role": "model", "parts": [{ "functionCall": { "name": "f", "args": {} } }] });
    let user = json!({ "role": "user", "parts": [{ "text": "x" }] });
    for (method, body) in [
        ("generateContent", json!({ "contents": [] })),
        ("generateContent", json!({ "contents": [user], "model": "m" })),
        ("generateContent", json!({ "contents": [user, call, user] })),
        ("generateContent", json!({ "contents": [{ "role": "assistant", "parts": [{ "text": "x" }] }] })),
        ("streamGenerateContent", json!({ "contents": [user] })),
    ] {
        let answer = generate(&fake, method, &body).await;
        assert_eq!((answer.status, &answer.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}");
    }
    let script = json!({ "status": 429, "retry_after": 34 });
    let answer = generate(&fake, "generateContent", &json!({ "contents": contents(&script) })).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
    assert_eq!(error["details"][0]["retryDelay"], "34s");
    assert!(!answer.headers.contains_key("retry-after"));
}
