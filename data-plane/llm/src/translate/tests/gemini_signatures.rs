//! Signatures of thoughts: out to a client in the ids of its calls, and back to the model that made them (G5 to G8), in
//! Google's own API and in its servers of OpenAI's.

use super::*;

const MODEL: &str = "gemini-3.8-flash";
/// What stands for a signature that was lost.
const LOST: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

fn called(id: &str, name: &str, signature: Option<&str>) -> Value {
    let mut part = json!({ "functionCall": { "id": id, "name": name, "args": {} } });
    if let Some(signature) = signature {
        part["thoughtSignature"] = json!(signature);
    }
    part
}

fn plan_of(model: &str) -> AnswerPlan {
    try_request(CHAT, GEMINI, model, &with_defaults(&json!({}))).unwrap().plan
}

/// The assistant's message that an OpenAI client gets for these parts.
fn message(parts: &Value) -> Value {
    let answer = answer(GEMINI, CHAT, &plan_of(MODEL), &counted(candidate(parts, Some("STOP"))));
    answer["choices"][0]["message"].clone()
}

/// A conversation that goes on after these messages of the assistant.
fn history(messages: &[Value]) -> Value {
    let mut all = vec![json!({ "role": "user", "content": "go" })];
    for message in messages {
        all.push(message.clone());
        for call in message["tool_calls"].as_array().unwrap() {
            all.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "ok" }));
        }
    }
    json!({ "messages": all })
}

/// The signatures of the parts of each model content.
fn signatures(body: &Value) -> Vec<Vec<Value>> {
    let contents = body["contents"].as_array().unwrap().iter().filter(|content| content["role"] == "model");
    contents
        .map(|content| {
            content["parts"].as_array().unwrap().iter().map(|part| part["thoughtSignature"].clone()).collect()
        })
        .collect()
}

#[test]
fn g05_of_parallel_calls_the_first_one_is_signed() {
    let message = message(&json!([called("x", "f", Some("UyE/")), called("y", "g", None)]));
    let calls = &message["tool_calls"];
    assert_eq!(calls[0]["extra_content"]["google"]["thought_signature"], "UyE/");
    assert!(calls[0]["id"].as_str().unwrap().starts_with("x__thought_"));
    assert_eq!((&calls[1]["id"], calls[1].get("extra_content")), (&json!("y"), None));
    let (body, _) = to_gemini(MODEL, &history(&[message]));
    assert_eq!(signatures(&body), [[json!("UyE/"), Value::Null]]);
    let parts = &body["contents"][1]["parts"];
    assert_eq!(parts[0]["functionCall"], json!({ "id": "x", "name": "f", "args": {} }));
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["id"], "x");
}

#[test]
fn g06_each_step_keeps_its_own() {
    let steps = [message(&json!([called("x", "f", Some("QUFB"))])), message(&json!([called("y", "f", Some("QkJC"))]))];
    let (body, _) = to_gemini(MODEL, &history(&steps));
    assert_eq!(signatures(&body), [[json!("QUFB")], [json!("QkJC")]]);
}

#[test]
fn g07_a_lost_one_has_a_stand_in_on_the_first_call() {
    let lost = json!({ "role": "assistant", "tool_calls": [call("x", "f", "{}"), call("y", "g", "{}")] });
    let (body, _) = to_gemini(MODEL, &history(std::slice::from_ref(&lost)));
    assert_eq!(signatures(&body), [[json!(LOST), Value::Null]]);
    let (body, _) = to_gemini("gemini-2.5-flash", &history(&[lost]));
    assert_eq!(signatures(&body), [[Value::Null, Value::Null]]);
}

#[test]
fn g08_no_other_model_gets_it() {
    let message = message(&json!([called("x", "f", Some("QUFB"))]));
    let (body, _) = to_gemini("gemini-4-argon", &history(std::slice::from_ref(&message)));
    assert_eq!(signatures(&body), [[json!(LOST)]]);
    let (body, _) = to_claude("claude-haiku-4-5", &history(std::slice::from_ref(&message)));
    assert_eq!(body["messages"][1]["content"][0]["id"], "x");
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "x");
}

#[test]
fn an_anthropic_client_carries_it_in_the_id() {
    let body = counted(candidate(&json!([called("x", "f", Some("UyE/"))]), Some("STOP")));
    let answer = answer(GEMINI, MESSAGES, &plan_of(MODEL), &body);
    let block = &answer["content"][0];
    let id = block["id"].as_str().unwrap();
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
    let next = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "go" }, { "role": "assistant", "content": [block] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "ok" }] },
    ] });
    let body = value(&try_request(MESSAGES, GEMINI, MODEL, &next).unwrap());
    assert_eq!(signatures(&body), [[json!("UyE/")]]);
}

#[test]
fn one_that_stands_beside_the_call_only_goes_back_too() {
    let mut signed = call("x", "f", "{}");
    signed["extra_content"] = json!({ "google": { "thought_signature": "QUFB" } });
    let (body, _) = to_gemini(MODEL, &history(&[json!({ "role": "assistant", "tool_calls": [signed] })]));
    assert_eq!(signatures(&body), [[json!("QUFB")]]);
    assert_eq!(body["contents"].as_array().unwrap().len(), 3);
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["response"], json!({ "output": "ok" }));
}

#[test]
fn a_stream_signs_as_a_whole_answer_does() {
    let body = counted(candidate(&json!([called("x", "f", Some("UyE/")), called("", "g", None)]), Some("STOP")));
    let expected = answer(GEMINI, CHAT, &plan_of(MODEL), &body)["choices"][0]["message"]["tool_calls"].clone();
    let sent = whole((GEMINI, CHAT), &plan_of(MODEL), &gemini_stream(&[body]));
    assert_eq!(super::reader::gather(CHAT, &sent)["message"]["tool_calls"], expected);
    assert_eq!(expected[1]["id"], "call_7_1");
}

/// A call with a signature beside it, as Google's servers of OpenAI's dialect write it.
fn beside(id: &str, signature: &str) -> Value {
    let mut signed = call(id, "f", "{}");
    signed["index"] = json!(0);
    signed["extra_content"] = json!({ "google": { "thought_signature": signature } });
    signed
}

/// What the server gets for the step after an answer with this block of an Anthropic client's.
fn after(block: &Value, model: &str) -> Value {
    let next = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "go" }, { "role": "assistant", "content": [block] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": block["id"], "content": "ok" }] },
    ] });
    let body = value(&try_request(MESSAGES, CHAT, model, &next).unwrap());
    assert_eq!(body["messages"][1]["tool_calls"][0]["id"], body["messages"][2]["tool_call_id"]);
    body["messages"][1]["tool_calls"][0].clone()
}

#[test]
fn one_that_stands_beside_a_call_of_openais_dialect_goes_there_again_and_to_no_other_model() {
    let plan = try_request(CHAT, CHAT, MODEL, &with_defaults(&json!({}))).unwrap().plan;
    for (id, plain) in [("x", "x"), ("", "call_7_0")] {
        let message = json!({ "role": "assistant", "tool_calls": [beside(id, "UyE/")] });
        let body = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] });
        let whole_block = answer(CHAT, MESSAGES, &plan, &body)["content"][0].clone();
        let stream = openai_stream(&[delta(&message), finish("tool_calls")]);
        let sent = whole((CHAT, MESSAGES), &plan, &stream);
        let block = super::reader::gather(MESSAGES, &sent)["content"][0].clone();
        assert_eq!(block, whole_block);
        let id = block["id"].as_str().unwrap();
        assert!(id.starts_with(&format!("{plain}__thought_")) && !id.contains('/'), "{id}");
        let again = after(&block, MODEL);
        assert_eq!(again["id"], plain);
        assert_eq!(again["extra_content"], json!({ "google": { "thought_signature": "UyE/" } }));
        let other = after(&block, "gpt-5");
        assert_eq!((&other["id"], other.get("extra_content")), (&json!(plain), None));
    }
}

#[test]
fn an_id_that_comes_again_without_a_signature_has_none() {
    let unsigned = json!({ "role": "assistant", "tool_calls": [call("x", "f", "{}")] });
    let signed = json!({ "role": "assistant", "tool_calls": [beside("x", "QUFB")] });
    let (body, _) = to_gemini(MODEL, &history(&[signed, unsigned]));
    assert_eq!(signatures(&body), [[json!("QUFB")], [json!(LOST)]]);
    let answers = body["contents"].as_array().unwrap().iter().filter(|content| content["role"] == "user");
    assert_eq!(
        answers.filter(|content| content["parts"][0]["functionResponse"]["response"]["output"] == "ok").count(),
        2
    );
}
