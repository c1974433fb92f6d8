//! Bad weather: many requests at once of both dialects, whole and streamed, at a provider that fails in every way it
//! knows, from clients some of which leave early.
//!
//! Rule: what is asked follows from a seed alone; which of the requests are answered is nobody's promise here.

use super::gateway::KEY;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests that are under way at the same time.
const AT_ONCE: usize = 12;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(u64::try_from(from.len()).unwrap())).unwrap()]
    }
}

/// When a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Never,
    /// Soon after it asked, answered or not.
    Soon,
    AfterTheFirstPiece,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) id: String,
    path: &'static str,
    body: String,
    leaves: Leaves,
    /// What one attempt costs at most, in 1e-9 USD.
    pub(crate) worst_nano_usd: i64,
}

/// A file whose models have prices as simple as the provider's own, with rich hard budgets at every level, and one model
/// with a second backend to fail over to.
pub(crate) fn yaml(provider: &str) -> String {
    let timeout = "timeout: { first_byte: 2s, between_chunks: 2s, total: 8s }";
    format!(
        r#"
providers:
  compat: {{ kind: openai_compatible, base_url: "{provider}/v1", api_key: sk-canary-openai, {timeout} }}
  second: {{ kind: openai_compatible, base_url: "{provider}/second/v1", api_key: sk-canary-second, {timeout} }}
  anthropic: {{ kind: anthropic, base_url: "{provider}", api_key: sk-canary-anthropic, {timeout} }}
models:
  - {{ match: gpt-5-mini, backends: [compat] }}
  - {{ match: claude-haiku-4-5, backends: [anthropic] }}
  - {{ match: gpt-4o-mini, strategy: priority, backends: [compat, second] }}
prices:
  - {{ provider: compat, model: gpt-5-mini, input: "0.25", output: "2", cache_read: "0.025" }}
  - {{ provider: compat, model: gpt-4o-mini, input: "0.15", output: "0.6", cache_read: "0.075" }}
  - {{ provider: second, model: gpt-4o-mini, input: "0.15", output: "0.6", cache_read: "0.075" }}
teams:
  engineering: {{ models: {{ allow: ["claude-*", "gpt-*"] }} }}
users:
  - {{ email: jane@corp.example, name: Jane, teams: [engineering], roles: [instance_admin] }}
keys:
  - {{ name: ci, user: jane@corp.example, secret: "{KEY}" }}
budgets:
  - {{ scope: instance, limit_usd: "5000", period: monthly, mode: hard }}
  - {{ scope: "team:engineering", limit_usd: "2000", period: monthly, mode: hard }}
  - {{ scope: "user:jane@corp.example", limit_usd: "250", period: monthly, mode: hard }}
  - {{ scope: "user:jane@corp.example", limit_usd: "0.01", period: weekly, mode: soft }}
"#
    )
}

/// Models with the dearest price of a unit of input and of output that the gateway must count with, in 1e-12 USD.
const MODELS: [(&str, &str, i64, i64); 3] = [
    ("gpt-5-mini", "/v1/chat/completions", 250_000, 2_000_000),
    ("gpt-4o-mini", "/v1/chat/completions", 150_000, 600_000),
    // Writing to the cache is the dearest input.
    ("claude-haiku-4-5", "/v1/messages", 1_250_000, 5_000_000),
];

/// What the provider does, for an answer in one piece.
fn whole_scripts() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "output_tokens": 48 }),
        json!({ "delay_ms": 30 }),
        json!({ "cache_read": 40, "input_tokens": 7 }),
        json!({ "cache_write": 40, "cache_read": 9, "input_tokens": 7 }),
        json!({ "no_usage": true }),
        json!({ "status": 500 }),
        json!({ "status": 429, "retry_after": 1 }),
        json!({ "status": 529 }),
        json!({ "status": 400 }),
        json!({ "reset": true }),
        json!({ "cut_at_byte": 90 }),
        json!({ "cut_at_byte": 120, "cut_rst": true }),
        json!({ "error_every_nth": 2 }),
    ]
}

/// What the provider does, for a stream.
fn stream_scripts() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "output_tokens": 48, "chunks": 12, "chunk_delay_ms": 4 }),
        json!({ "chunk_delay_ms": 15 }),
        json!({ "first_chunk_delay_ms": 25, "chunk_bytes": 7 }),
        json!({ "cache_read": 40, "input_tokens": 7 }),
        json!({ "no_usage": true }),
        json!({ "usage_in_every_chunk": true, "cut_after_chunks": 3 }),
        json!({ "cut_after_chunks": 2 }),
        json!({ "cut_after_chunks": 1, "cut_rst": true }),
        json!({ "cut_at_byte": 300 }),
        json!({ "error_midstream": 2 }),
        json!({ "status": 503 }),
        json!({ "error_every_nth": 2 }),
        json!({ "reset": true }),
    ]
}

/// Plans so many requests; ids begin with `name`.
pub(crate) fn plan(rng: &mut Rng, name: &str, count: usize) -> Vec<Planned> {
    let (whole, streams) = (whole_scripts(), stream_scripts());
    let one = |number: usize| {
        let (model, path, input_pico, output_pico) = *rng.pick(&MODELS);
        let is_stream = rng.below(2) == 0;
        let script = rng.pick(if is_stream { &streams } else { &whole }).clone();
        let leaves = match rng.below(8) {
            0 => Leaves::Soon,
            1 | 2 if is_stream => Leaves::AfterTheFirstPiece,
            _ => Leaves::Never,
        };
        let cap = 30 + rng.below(30);
        let content = format!("Weather report {number}. {} [[fake:{script}]]", "la ".repeat(40));
        let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": content }] });
        let cap_field = if path == "/v1/messages" { "max_tokens" } else { "max_completion_tokens" };
        body[cap_field] = cap.into();
        if is_stream {
            body["stream"] = true.into();
        }
        let body = body.to_string();
        let input = i64::try_from(body.len()).unwrap() + 512 + 8;
        let pico = input * input_pico + i64::try_from(cap).unwrap() * output_pico;
        let worst_nano_usd = pico / 1000 + i64::from(pico % 1000 != 0);
        Planned { id: format!("{name}-{number}"), path, body, leaves, worst_nano_usd }
    };
    (0..count).map(one).collect()
}

/// Requests on their way.
pub(crate) struct Storm {
    clients: JoinSet<()>,
    answered: Arc<Mutex<Vec<String>>>,
}

impl Storm {
    /// Sends everything, a dozen at a time: some are over while others run.
    pub(crate) fn start(gateway_url: &str, planned: &[Planned]) -> Self {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answered: Arc<Mutex<Vec<String>>> = Arc::default();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut clients = JoinSet::new();
        for planned in planned.iter().cloned() {
            let (client, answered, url) =
                (client.clone(), Arc::clone(&answered), format!("{gateway_url}{}", planned.path));
            let turns = Arc::clone(&turns);
            clients.spawn(async move {
                let _turn = turns.acquire().await.expect("nobody closes it");
                let id = planned.id.clone();
                let asking = ask(&client, &url, planned.clone());
                let is_answered = match planned.leaves {
                    Leaves::Soon => tokio::time::timeout(Duration::from_millis(15), asking).await.unwrap_or(false),
                    Leaves::Never | Leaves::AfterTheFirstPiece => asking.await,
                };
                if is_answered {
                    answered.lock().unwrap().push(id);
                }
            });
        }
        Self { clients, answered }
    }

    /// Waits until every client has its answer, or none to come. Returns the requests that somebody saw the head of an
    /// answer to.
    pub(crate) async fn over(&mut self) -> Vec<String> {
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client does not fail");
        }
        self.answered.lock().unwrap().clone()
    }
}

/// Returns whether the head of an answer came.
async fn ask(client: &Client<HttpConnector, Full<Bytes>>, url: &str, planned: Planned) -> bool {
    let request = Request::post(url)
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .header("x-request-id", &planned.id)
        .body(Full::from(planned.body))
        .unwrap();
    let Ok(answer) = client.request(request).await else { return false };
    let mut body = answer.into_body();
    while let Some(Ok(_)) = body.frame().await {
        if planned.leaves == Leaves::AfterTheFirstPiece {
            break;
        }
    }
    true
}
