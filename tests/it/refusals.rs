//! Every refusal in both dialects: status, type, code, headers, and what the message says and never says.
//!
//! Rule: a refusal has the shape that the dialect's clients act on, tells what to do, quotes no secret and no prompt, and
//! leaves a record.

mod large;
mod provider;

use crate::first_request;
use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::patience::within;
use crate::support::raw::Live;
use crate::support::world::{World, chat, messages, streamed};
use helix_shared::record::Decision;
use serde_json::{Value, json};

const EXPIRED_KEY: &str = "hx_p_expired0123456789abcdefghijklmnopqrs";
const POOR_KEY: &str = "hx_p_poor0123456789abcdefghijklmnopqrstuv";

/// The usual file with a key that has expired and one of a user without money.
fn yaml(provider: &str) -> String {
    let keys = format!(
        "keys:
  - {{ name: old, user: jane@corp.example, secret: \"{EXPIRED_KEY}\", expires_at: 2026-01-01T00:00:00Z }}
  - {{ name: poor, user: joe@corp.example, secret: \"{POOR_KEY}\" }}
"
    );
    let user = "users:\n  - { email: joe@corp.example, name: Joe, teams: [engineering] }\n";
    let budget =
        "budgets:\n  - { scope: \"user:joe@corp.example\", limit_usd: \"0.00001\", period: daily, mode: hard }\n";
    let yaml = first_request::yaml(provider);
    yaml.replace("keys:\n", &keys).replace("users:\n", user).replace("budgets:\n", budget)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    OpenAi,
    Anthropic,
}

use Dialect::{Anthropic, OpenAi};

const BOTH: [Dialect; 2] = [OpenAi, Anthropic];

impl Dialect {
    fn path(self) -> &'static str {
        match self {
            OpenAi => "/v1/chat/completions",
            Anthropic => "/v1/messages",
        }
    }

    fn request(self, script: &Value) -> Value {
        match self {
            OpenAi => chat(script),
            Anthropic => messages(script),
        }
    }

    fn of_model(self, model: &str) -> String {
        let mut request = self.request(&json!({}));
        request["model"] = json!(model);
        request.to_string()
    }
}

/// What a refusal must look like: the code in `x-helix-error-code`, its source, status and type in each dialect.
#[derive(Clone, Copy, Debug)]
struct Expected {
    code: &'static str,
    source: &'static str,
    openai: (u16, &'static str),
    anthropic: (u16, &'static str),
    is_retryable: bool,
}

const INVALID: (u16, &str) = (400, "invalid_request_error");

const fn refusal(code: &'static str, openai: (u16, &'static str), anthropic: (u16, &'static str)) -> Expected {
    Expected { code, source: "gateway", openai, anthropic, is_retryable: false }
}

const INVALID_JSON: Expected = refusal("invalid_json", INVALID, INVALID);
const INVALID_REQUEST: Expected = refusal("invalid_request", INVALID, INVALID);
const BAD_KEY: Expected = refusal("invalid_api_key", (401, "invalid_request_error"), (401, "authentication_error"));
const NO_MODEL: Expected = refusal("model_not_found", (404, "invalid_request_error"), (404, "not_found_error"));
const TOO_LARGE: Expected = refusal("request_too_large", (413, "invalid_request_error"), (413, "request_too_large"));
const DENIED: Expected = Expected {
    source: "policy",
    ..refusal("model_access_denied", (403, "permission_error"), (403, "permission_error"))
};
const UNPRICED: Expected =
    Expected { source: "budget", ..refusal("unpriced_model", (403, "permission_error"), (403, "permission_error")) };
const BROKE: Expected =
    Expected { source: "budget", ..refusal("budget_exceeded", (429, "insufficient_quota"), (402, "billing_error")) };
const OVERLOADED: Expected =
    Expected { is_retryable: true, ..refusal("overloaded", (503, "server_error"), (529, "overloaded_error")) };

const fn upstream(code: &'static str, status: u16, anthropic: &'static str, is_retryable: bool) -> Expected {
    Expected { source: "provider", is_retryable, ..refusal(code, (status, "server_error"), (status, anthropic)) }
}

/// Checks everything that can be said about a refusal without knowing its case; returns its message.
fn check(dialect: Dialect, answer: &Answer, expected: &Expected) -> String {
    let body = answer.json();
    let (status, kind) = if dialect == OpenAi { expected.openai } else { expected.anthropic };
    assert_eq!((answer.status, &body["error"]["type"]), (status, &json!(kind)), "{expected:?} {}", answer.text());
    assert_eq!(answer.header("x-helix-error-code"), expected.code, "{}", answer.text());
    assert_eq!(answer.header("x-helix-error-source"), expected.source);
    assert_eq!(answer.header("x-should-retry"), expected.is_retryable.to_string());
    assert_eq!(answer.header("content-type"), "application/json");
    let id = answer.header("x-request-id");
    assert!(!id.is_empty());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    match dialect {
        OpenAi => {
            assert_eq!(keys(&body), ["error"]);
            assert_eq!(keys(&body["error"]), ["code", "message", "param", "type"]);
            let code = if expected.code == "budget_exceeded" { "insufficient_quota" } else { expected.code };
            assert_eq!(body["error"]["code"], code);
        }
        Anthropic => {
            assert_eq!(keys(&body), ["error", "request_id", "type"]);
            assert_eq!(keys(&body["error"]), ["message", "type"]);
            assert_eq!((&body["type"], &body["request_id"]), (&json!("error"), &json!(id)));
            assert_eq!(answer.header("request-id"), id);
        }
    }
    let message = body["error"]["message"].as_str().unwrap().to_owned();
    for secret in ["hx_p_", "sk-", "Say hello"] {
        assert!(!answer.text().contains(secret), "{message}");
    }
    message
}

/// Sends a body with a key and returns the checked message and the answer.
async fn refused(world: &World, dialect: Dialect, key: &str, body: String, expected: &Expected) -> (String, Answer) {
    let answer = world.client.post(&world.url(dialect.path()), &[("x-api-key", key)], body).await;
    (check(dialect, &answer, expected), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_says_where_it_is_wrong() {
    let world = World::start(yaml);
    let turn = r#""messages":[{"role":"user","content":"hi"}]"#;
    let deep = format!(r#"{{"model":"M","max_tokens":9,"messages":{}"#, "[".repeat(500));
    let cases = [
        (String::new(), INVALID_JSON, None, "line 1"),
        ("{\"model\":\n\"M\",".to_owned(), INVALID_JSON, None, "line 2"),
        ("not json".to_owned(), INVALID_JSON, None, "line 1"),
        (format!(r#"{{"model":"M",{turn}}} trailing"#), INVALID_JSON, None, "after the end"),
        (deep, INVALID_JSON, None, "nests deeper"),
        ("[]".to_owned(), INVALID_REQUEST, None, "an object"),
        (format!("{{{turn}}}"), INVALID_REQUEST, Some("model"), "`model` is required"),
        (r#"{"model":"M"}"#.to_owned(), INVALID_REQUEST, Some("messages"), "`messages` is required"),
        (format!(r#"{{"model":7,{turn}}}"#), INVALID_REQUEST, Some("model"), "a string"),
        (format!(r#"{{"model":"","max_tokens":9,{turn}}}"#), INVALID_REQUEST, Some("model"), "model"),
        (format!(r#"{{"model":"{}","max_tokens":9,{turn}}}"#, "m".repeat(300)), INVALID_REQUEST, Some("model"), "256"),
        (
            r#"{"model":"M","max_tokens":9,"messages":[{"role":"user","content":5}]}"#.to_owned(),
            INVALID_REQUEST,
            Some("messages[0].content"),
            "`messages[0].content` must be",
        ),
        (format!(r#"{{"model":"M","stream":"yes",{turn}}}"#), INVALID_REQUEST, Some("stream"), "a boolean"),
        (format!(r#"{{"model":"M","max_tokens":-1,{turn}}}"#), INVALID_REQUEST, Some("max_tokens"), "whole number"),
        (format!(r#"{{"model":"M",{turn},"model":"M"}}"#), INVALID_REQUEST, Some("model"), "given twice"),
        (format!(r#"{{"model":"M",{turn},"Model":"M"}}"#), INVALID_REQUEST, Some("model"), "exactly"),
    ];
    let (mut ids, mut codes) = (Vec::new(), Vec::new());
    for (body, expected, param, says) in &cases {
        for dialect in BOTH {
            let model = if dialect == OpenAi { "gpt-5-mini" } else { "claude-haiku-4-5" };
            let body = body.replace("\"M\"", &format!("\"{model}\""));
            let (message, answer) = refused(&world, dialect, KEY, body.clone(), expected).await;
            assert!(message.contains(says), "{body}: {message}");
            if dialect == OpenAi {
                assert_eq!(answer.json()["error"]["param"].as_str(), *param, "{body}");
            }
            ids.push(answer.header("x-request-id").to_owned());
            codes.push(expected.code);
        }
    }
    for (record, code) in world.records(&ids).await.iter().zip(codes) {
        let (stage, code) = ("request".to_owned(), code.to_owned());
        assert_eq!((&record.decision, record.attempts.len()), (&Decision::Denied { stage, code }, 0));
    }
    assert!(world.provider.bill.entries().is_empty(), "nothing went to the provider");
    world.verify(2 * cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_may_not_be_used_is_refused_with_names_that_may() {
    let world = World::start(yaml);
    for dialect in BOTH {
        let (close, unpriced) =
            if dialect == OpenAi { ("gpt-5-mini", "gpt-99-new") } else { ("claude-haiku-4-5", "claude-99-new") };
        let typo = close.replacen('-', "_", 1);
        let (message, answer) = refused(&world, dialect, KEY, dialect.of_model(&typo), &NO_MODEL).await;
        assert!(message.contains(&format!("`{close}`")) && !message.contains(&typo), "{message}");
        assert!(!message.contains("preview"), "only what is allowed is suggested: {message}");
        if dialect == OpenAi {
            assert_eq!(answer.json()["error"]["param"], "model");
        }
        let (message, _) = refused(&world, dialect, KEY, dialect.of_model("gpt-5-preview"), &DENIED).await;
        assert!(message.contains("`*-preview`") && message.contains("administrator"), "{message}");
        let (message, _) = refused(&world, dialect, KEY, dialect.of_model("o3"), &DENIED).await;
        assert!(message.contains("not on the list"), "{message}");
        let (message, _) = refused(&world, dialect, KEY, dialect.of_model(unpriced), &UNPRICED).await;
        assert!(message.contains("`prices`"), "{message}");
    }
    assert!(world.provider.bill.entries().is_empty(), "nothing went to the provider");
    world.verify(8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_is_refused_once_and_for_all_with_its_numbers() {
    let world = World::start(yaml);
    for dialect in BOTH {
        for request in [dialect.request(&json!({})), streamed(dialect.request(&json!({})))] {
            let (message, answer) = refused(&world, dialect, POOR_KEY, request.to_string(), &BROKE).await;
            for part in ["joe@corp.example", "of 0.000010000 USD", "resets at 20", "administrator"] {
                assert!(message.contains(part), "{part}: {message}");
            }
            assert_eq!(answer.header("retry-after"), "");
            let record = world.record(answer.header("x-request-id")).await;
            let (stage, code) = ("budget".to_owned(), "budget_exceeded".to_owned());
            assert_eq!((&record.decision, record.cost.get()), (&Decision::Denied { stage, code }, 0));
        }
    }
    let search = json!({ "model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }],
        "tools": [{ "type": "web_search_20250305", "name": "web_search" }] });
    let unbounded = Expected { source: "budget", ..refusal("unbounded_cost", INVALID, INVALID) };
    let (message, _) = refused(&world, Anthropic, KEY, search.to_string(), &unbounded).await;
    assert!(message.contains("`max_uses`"), "{message}");
    assert!(world.provider.bill.entries().is_empty(), "nothing went to the provider");
    world.verify(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_open_is_refused_without_being_repeated() {
    let world = World::start(yaml);
    let bearer = |key: &str| ("authorization", format!("Bearer {key}"));
    let plain = |key: &str| ("x-api-key", key.to_owned());
    let unknown = "hx_p_unknown000000000000000000000000000000";
    let expired = refusal("expired_api_key", (401, "invalid_request_error"), (401, "authentication_error"));
    let two = refusal("conflicting_credentials", (401, "invalid_request_error"), (401, "authentication_error"));
    let cases = [
        (vec![], BAD_KEY, "No API key"),
        (vec![plain("")], BAD_KEY, "No API key"),
        (vec![plain(unknown)], BAD_KEY, "unknown or revoked"),
        (vec![bearer(unknown)], BAD_KEY, "unknown or revoked"),
        (vec![bearer("sk-proj-0123456789abcdef")], BAD_KEY, "not a Helix API key"),
        (vec![plain("sk-ant-api03-0123456789")], BAD_KEY, "not a Helix API key"),
        (vec![("authorization", "Basic aGk6aGk=".to_owned())], BAD_KEY, "`Bearer KEY`"),
        (vec![plain(EXPIRED_KEY)], expired, "has expired"),
        (vec![bearer(KEY), plain(POOR_KEY)], two, "different keys"),
    ];
    for (headers, expected, says) in &cases {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for dialect in BOTH {
            let body = dialect.request(&json!({})).to_string();
            let answer = world.client.post(&world.url(dialect.path()), &headers, body).await;
            let message = check(dialect, &answer, expected);
            assert!(message.contains(says), "{message}");
        }
    }
    assert!(world.provider.bill.entries().is_empty(), "nothing went to the provider");
    assert!(!world.gateway.log().contains("hx_p_") && !world.gateway.log().contains("sk-"), "a key in the log");
    world.verify(2 * cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_refused() {
    let world = World::start(yaml);
    for dialect in BOTH {
        let headers = [("x-api-key", KEY), ("content-encoding", "gzip")];
        let answer = world.client.post(&world.url(dialect.path()), &headers, "\u{1f}\u{8b}").await;
        assert!(check(dialect, &answer, &INVALID_REQUEST).contains("Content-Encoding"));
        let headers = [("x-api-key", KEY), ("content-encoding", "identity")];
        let body = dialect.request(&json!({})).to_string();
        assert_eq!(world.client.post(&world.url(dialect.path()), &headers, body).await.status, 200);
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_limit_the_gateway_refuses_at_once_instead_of_queueing() {
    let world = World::limited("max_in_flight: 2", yaml);
    let held: Vec<_> = BOTH
        .into_iter()
        .map(|dialect| {
            let (client, url) = (world.client.clone(), world.url(dialect.path()));
            let body = dialect.request(&json!({ "gate": "full" }));
            tokio::spawn(async move { client.ask(&url, KEY, &body).await })
        })
        .collect();
    world.provider.bill.wait_for(|stats| stats.in_flight == 2).await;
    for dialect in BOTH {
        let body = dialect.request(&json!({})).to_string();
        let (_, answer) = refused(&world, dialect, KEY, body, &OVERLOADED).await;
        assert_eq!(answer.header("retry-after"), "1");
        let record = world.record(answer.header("x-request-id")).await;
        let (stage, code) = ("request".to_owned(), "overloaded".to_owned());
        assert_eq!(record.decision, Decision::Denied { stage, code });
    }
    world.provider.open_gate("full");
    for held in held {
        assert_eq!(held.await.unwrap().status, 200, "what was admitted is answered");
    }
    for dialect in BOTH {
        assert_eq!(world.ask(dialect.path(), &dialect.request(&json!({}))).await.status, 200, "there is room again");
    }
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_at_its_limit_is_not_given_more() {
    let world = World::start(|provider| yaml(provider).replace("base_url:", "max_in_flight: 1, base_url:"));
    for dialect in BOTH {
        let gate = dialect.path();
        let (client, url) = (world.client.clone(), world.url(dialect.path()));
        let body = dialect.request(&json!({ "gate": gate }));
        let held = tokio::spawn(async move { client.ask(&url, KEY, &body).await });
        world.provider.bill.wait_for(|stats| stats.in_flight == 1).await;
        let body = dialect.request(&json!({})).to_string();
        let (_, answer) = refused(&world, dialect, KEY, body, &OVERLOADED).await;
        assert_eq!(answer.header("retry-after"), "1");
        world.provider.open_gate(gate);
        assert_eq!(held.await.unwrap().status, 200);
    }
    assert_eq!(world.provider.bill.stats().accepted, 2);
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_counts_against_its_backends_limit_until_its_end() {
    let world = World::start(|provider| yaml(provider).replace("base_url:", "max_in_flight: 1, base_url:"));
    for dialect in BOTH {
        let gate = dialect.path();
        let mut body = dialect.request(&json!({ "text": "one-two", "chunks": 2, "gate": gate, "gate_at_chunk": 2 }));
        body["stream"] = json!(true);
        let mut live = Live::post(&world.url(dialect.path()), KEY, body.to_string()).await;
        within("the first chunk", live.until("one")).await;
        let body = dialect.request(&json!({})).to_string();
        refused(&world, dialect, KEY, body, &OVERLOADED).await;
        world.provider.open_gate(gate);
        within("the rest", live.rest()).await;
        assert_eq!(world.ask(dialect.path(), &dialect.request(&json!({}))).await.status, 200, "there is room again");
    }
    world.verify(6);
}
