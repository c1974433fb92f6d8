//! Errors of providers in the other dialect.

use crate::dialect::Family::{self, Anthropic, OpenAi};

use super::*;

fn translate(provider: Family, client: Family, status: u16, body: &str) -> (u16, Value) {
    let error = translate_error(provider, client, status, body.as_bytes(), "req_7");
    (error.status, serde_json::from_slice(&error.body).unwrap())
}

#[test]
fn statuses_and_types_follow_the_clients_dialect() {
    let openai = r#"{"error":{"message":"m","type":"t","code":null}}"#;
    for (status, expected, kind) in [
        (400, 400, "invalid_request_error"),
        (401, 401, "authentication_error"),
        (402, 402, "billing_error"),
        (403, 403, "permission_error"),
        (404, 404, "not_found_error"),
        (409, 409, "conflict_error"),
        (413, 413, "request_too_large"),
        (422, 400, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (502, 529, "overloaded_error"),
        (503, 529, "overloaded_error"),
        (504, 504, "timeout_error"),
        (408, 504, "timeout_error"),
    ] {
        let (found, body) = translate(OpenAi, Anthropic, status, openai);
        assert_eq!((found, body["error"]["type"].as_str()), (expected, Some(kind)), "{status}");
        assert_eq!(
            (&body["type"], &body["error"]["message"], &body["request_id"]),
            (&json!("error"), &json!("m"), &json!("req_7"))
        );
    }
    let anthropic = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    let (status, body) = translate(Anthropic, OpenAi, 529, anthropic);
    assert_eq!(status, 503);
    assert_eq!(
        body["error"],
        json!({ "message": "busy", "type": "server_error", "param": null, "code": "overloaded" })
    );
}

#[test]
fn what_clients_act_on_survives() {
    let long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#;
    let (status, body) = translate(Anthropic, OpenAi, 400, long);
    assert_eq!((status, body["error"]["code"].as_str()), (400, Some("context_length_exceeded")));
    let quota = r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let (status, body) = translate(OpenAi, Anthropic, 429, quota);
    assert_eq!((status, body["error"]["details"]["error_code"].as_str()), (429, Some("insufficient_quota")));
    assert_eq!(translate(OpenAi, OpenAi, 429, r#"{"error":{"message":"m","code":1234}}"#).1["error"]["code"], "1234");
}

#[test]
fn bodies_that_are_no_json_say_what_they_can() {
    assert_eq!(translate(OpenAi, Anthropic, 500, "upstream gone").1["error"]["message"], "upstream gone");
    for body in ["<html><body>x</body></html>", "", "{}"] {
        assert_eq!(
            translate(OpenAi, Anthropic, 502, body).1["error"]["message"],
            "The provider answered with an error."
        );
    }
    assert_eq!(translate(OpenAi, Anthropic, 400, r#"{"detail":"d"}"#).1["error"]["message"], "d");
    assert_eq!(translate(OpenAi, Anthropic, 400, r#"{"error":"e"}"#).1["error"]["message"], "e");
}
