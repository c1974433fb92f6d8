//! Requests whose worst case is known to the nano-dollar, against budgets that afford so many of them.
//!
//! Rule: the worst case is computed here by the published rules (every byte of the body a token, plus the fixed
//! overheads, plus the cap, at the price of the file), never asked of the gateway.

use super::client::{Answer, Client};
use super::gateway::KEY;
use serde_json::{Value, json};

/// Tokens that the gateway adds for a request and for its one message.
const OVERHEAD_TOKENS: i64 = 512 + 8;
/// The caller's own cap on output.
pub(crate) const CAP: i64 = 100;
/// Every body is as long as this.
const BODY_BYTES: usize = 400;
const INPUT_NANO: i64 = 1_000;
pub(crate) const OUTPUT_NANO: i64 = 10_000;
/// Most input tokens of such a body.
pub(crate) const INPUT_MAX: i64 = 400 + OVERHEAD_TOKENS;
/// What one such request costs at most, in 1e-9 USD.
pub(crate) const WORST: i64 = worst(CAP);

/// What a request of the usual length costs at most with another cap.
pub(crate) const fn worst(cap: i64) -> i64 {
    INPUT_MAX * INPUT_NANO + cap * OUTPUT_NANO
}

/// What such a request costs with these counts.
pub(crate) fn cost(input: i64, output: i64) -> i64 {
    input * INPUT_NANO + output * OUTPUT_NANO
}

/// 1e-9 USD as the file and the messages write them.
pub(crate) fn usd(nano: i64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// A file with one user in one team, two providers of one price, and the given budgets.
pub(crate) fn yaml(provider: &str, budgets: &str) -> String {
    let price = r#"input: "1", output: "10", cache_read: "1", cache_write: "1""#;
    let timeout = "timeout: { first_byte: 1s, between_chunks: 1s, total: 5s }";
    format!(
        r#"
providers:
  compat: {{ kind: openai_compatible, base_url: "{provider}/v1", api_key: sk-canary-openai }}
  hasty: {{ kind: openai_compatible, base_url: "{provider}/v1", api_key: sk-canary-hasty, {timeout} }}
  anthropic: {{ kind: anthropic, base_url: "{provider}", api_key: sk-canary-anthropic }}
models:
  - {{ match: gpt-5-mini, backends: [compat] }}
  - {{ match: claude-haiku-4-5, backends: [anthropic] }}
  - {{ match: hasty, backends: [{{ provider: hasty, model: gpt-5-mini }}] }}
  - {{ match: mystery, backends: [compat] }}
prices:
  - {{ provider: compat, model: gpt-5-mini, {price} }}
  - {{ provider: hasty, model: gpt-5-mini, {price} }}
  - {{ provider: anthropic, model: claude-haiku-4-5, {price} }}
teams:
  engineering: {{ models: {{ allow: ["*"] }} }}
users:
  - {{ email: jane@corp.example, name: Jane, teams: [engineering], roles: [instance_admin] }}
keys:
  - {{ name: ci, user: jane@corp.example, secret: "{KEY}" }}
budgets:
{budgets}
"#
    )
}

/// One entry of `budgets`.
pub(crate) fn budget(scope: &str, limit_nano: i64, mode: &str) -> String {
    format!("  - {{ scope: \"{scope}\", limit_usd: \"{}\", period: monthly, mode: {mode} }}\n", usd(limit_nano))
}

/// What the provider does when nothing else is said: counts at the worst case, at the price of the file.
pub(crate) fn at_the_worst_case() -> Value {
    let price = json!({ "input": 1_000_000, "output": 10_000_000 });
    json!({ "prices": { "gpt-5-mini": price, "claude-haiku-4-5": price }, "input_tokens": INPUT_MAX, "output_tokens": CAP })
}

/// The two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1/chat/completions",
            Self::Anthropic => "/v1/messages",
        }
    }

    /// A body of the usual length. `further` fields are part of it.
    pub(crate) fn body(self, prompt: &str, further: &Value) -> String {
        let (model, cap) = match self {
            Self::OpenAi => ("gpt-5-mini", "max_completion_tokens"),
            Self::Anthropic => ("claude-haiku-4-5", "max_tokens"),
        };
        let mut body = json!({ "model": model });
        body[cap] = CAP.into();
        for (name, value) in further.as_object().expect("fields") {
            body[name] = value.clone();
        }
        body.as_object_mut().expect("fields").retain(|_, value| !value.is_null());
        padded(body, prompt)
    }
}

/// Fills the one message until the body has the usual length.
fn padded(mut body: Value, prompt: &str) -> String {
    let mut with = |content: String| {
        body["messages"] = json!([{ "role": "user", "content": content }]);
        body.to_string()
    };
    let short = with(format!("{prompt} ")).len();
    let text = with(format!("{prompt} {}", "x".repeat(BODY_BYTES.checked_sub(short).expect("a short prompt"))));
    assert_eq!(text.len(), BODY_BYTES);
    text
}

/// Sends a body with the usual key. Trouble of the control plane on a loaded machine is no answer to the question: a
/// request that is told to come back comes back.
pub(crate) async fn send(client: &Client, gateway_url: &str, dialect: Dialect, body: &str) -> Answer {
    send_as(client, gateway_url, KEY, dialect, body).await
}

/// The same with another key.
pub(crate) async fn send_as(client: &Client, gateway_url: &str, key: &str, dialect: Dialect, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    loop {
        let answer = client.post(&format!("{gateway_url}{}", dialect.path()), &headers, body.to_owned()).await;
        if !["budget_unavailable", "not_ready"].contains(&answer.header("x-helix-error-code")) {
            return answer;
        }
    }
}

/// Asserts that an answer is the contract's refusal of a spent budget; returns its message.
pub(crate) fn assert_budget_refusal(answer: &Answer, dialect: Dialect) -> String {
    let body = answer.json();
    let error = &body["error"];
    match dialect {
        Dialect::OpenAi => {
            assert_eq!(answer.status, 429, "{body}");
            assert_eq!((&error["type"], &error["code"]), (&json!("insufficient_quota"), &json!("insufficient_quota")));
        }
        Dialect::Anthropic => {
            assert_eq!(answer.status, 402, "{body}");
            assert_eq!((&body["type"], &error["type"]), (&json!("error"), &json!("billing_error")));
        }
    }
    assert_eq!(answer.header("x-should-retry"), "false");
    assert_eq!(answer.header("x-helix-error-code"), "budget_exceeded");
    assert_eq!(answer.header("x-helix-error-source"), "budget");
    assert!(!answer.headers.contains_key("retry-after"), "a client would wait for it");
    error["message"].as_str().expect("a message").to_owned()
}
