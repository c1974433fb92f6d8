//! A real model behind the gateway: the llama.cpp server as a backend with a price.
//!
//! Rule: the server, its tokens and its usage are real; nothing is scripted. Where it cannot be installed the test says so
//! loudly, and fails where `HELIX_TEST_REQUIRE_CLIENTS=1`.

use crate::support::client::Client;
use crate::support::clients::{Part, set_up, tests_folder};
use crate::support::gateway::KEY;
use crate::support::patience::within;
use crate::support::world::{World, reserved_nano_usd};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running llama.cpp server; ends with this value.
struct Llama {
    url: String,
    _process: Child,
}

impl Llama {
    /// `None` after having said why there is none.
    async fn start() -> Option<Self> {
        let folder = set_up(Part::Llama)?;
        let mut process = Command::new(folder.join("bin/python"))
            .arg(tests_folder().join("clients/llama/serve.py"))
            .arg(folder.join("tiny.gguf"))
            .arg("0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = within("the model server", async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(url) = line.strip_prefix("listening ") {
                    return url.to_owned();
                }
            }
            panic!("the model server ended");
        });
        let url = url.await;
        Some(Self { url, _process: process })
    }
}

fn yaml(llama: &str) -> String {
    format!(
        r#"
providers:
  local: {{ kind: openai_compatible, base_url: "{llama}/v1" }}
  claude: {{ kind: anthropic, base_url: "{llama}", api_key: none }}
models:
  - {{ match: tiny, backends: [{{ provider: local, model: tiny-random }}] }}
  - {{ match: tiny-claude, backends: [{{ provider: claude, model: tiny-random }}] }}
prices:
  - {{ provider: local, model: tiny-random, input: "1.00", output: "10.00", cache_read: "0.50" }}
  - {{ provider: claude, model: tiny-random, input: "1.00", output: "10.00", cache_read: "0.50" }}
users:
  - {{ email: jane@corp.example }}
keys:
  - {{ name: ci, user: jane@corp.example, secret: "{KEY}" }}
budgets:
  - {{ scope: "user:jane@corp.example", limit_usd: "5", period: daily, mode: hard }}
"#
    )
}

/// What the server counted: uncached input, cached input, output.
fn counted(dialect: &str, usage: &Value) -> [u64; 3] {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    if dialect == "openai" {
        let cached = number(&usage["prompt_tokens_details"]["cached_tokens"]);
        return [number(&usage["prompt_tokens"]) - cached, cached, number(&usage["completion_tokens"])];
    }
    [number(&usage["input_tokens"]), number(&usage["cache_read_input_tokens"]), number(&usage["output_tokens"])]
}

/// The data of a stream's events.
fn data(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_models_answers_pass_and_its_own_counts_are_recorded() {
    let Some(llama) = Llama::start().await else { return };
    let world = World::start(|_| yaml(&llama.url));
    let messages = json!([{ "role": "user", "content": "hello the gateway counts every token" }]);
    let cases = [
        ("openai", "/v1/chat/completions", json!({ "model": "tiny", "max_tokens": 24, "messages": messages })),
        ("anthropic", "/v1/messages", json!({ "model": "tiny-claude", "max_tokens": 24, "messages": messages })),
    ];
    let mut requests = 0;
    for (dialect, path, request) in cases {
        let whole = within("an answer", world.ask(path, &request)).await;
        assert_eq!(whole.status, 200, "{}", whole.text());
        let mut request = request;
        request["stream"] = json!(true);
        let hidden = within("a stream", world.ask(path, &request)).await;
        if dialect == "openai" {
            request["stream_options"] = json!({ "include_usage": true });
        }
        let asked = within("a stream", world.ask(path, &request)).await;

        let usage_of_stream = |stream: &str| -> Vec<Value> {
            let usages = data(stream).into_iter().map(|event| event["usage"].clone());
            usages.filter(Value::is_object).collect()
        };
        let last_usage = usage_of_stream(&asked.text()).pop().unwrap();
        if dialect == "openai" {
            assert!(usage_of_stream(&hidden.text()).is_empty(), "nobody asked: {}", hidden.text());
        }
        // An Anthropic stream tells its input at the start and its output at the end: no event has all counts.
        let last_usage = (dialect == "openai").then_some(&last_usage);
        for (answer, usage) in [(&whole, Some(&whole.json()["usage"])), (&hidden, None), (&asked, last_usage)] {
            assert!(answer.is_whole);
            let record = world.record(answer.header("x-request-id")).await;
            assert_eq!(record.basis.as_str(), "exact", "{record:?}");
            assert_eq!(record.usage.output_tokens, 24, "the cap: {record:?}");
            let [input, cached, output] =
                [record.usage.input_tokens, record.usage.cache_read_tokens, record.usage.output_tokens];
            if let Some(usage) = usage {
                assert_eq!(counted(dialect, usage), [input, cached, output], "{usage}");
            }
            // 1, 0.5 and 10 USD per million tokens.
            let cost = (input * 1000 + cached * 500 + output * 10_000).to_string();
            assert_eq!(record.cost.get().to_string(), cost);
            assert!(record.cost.get() <= reserved_nano_usd(&record), "{record:?}");
            assert!(record.usage.input_tokens + record.usage.cache_read_tokens > 20);
            requests += 1;
        }
        assert_eq!(text_of(dialect, &hidden.text()), text_of(dialect, &asked.text()), "the same prompt, the same text");
        assert!(!text_of(dialect, &hidden.text()).is_empty());
    }
    world.verify(requests);
}

/// The text of a stream.
fn text_of(dialect: &str, stream: &str) -> String {
    let piece = |event: &Value| {
        let text = if dialect == "openai" { &event["choices"][0]["delta"]["content"] } else { &event["delta"]["text"] };
        text.as_str().unwrap_or_default().to_owned()
    };
    data(stream).iter().map(piece).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_through_the_gateway_is_the_servers_own() {
    let Some(llama) = Llama::start().await else { return };
    let world = World::start(|_| yaml(&llama.url));
    let request = |model: &str| {
        json!({ "model": model, "max_tokens": 16, "stream": true, "stream_options": { "include_usage": true },
            "messages": [{ "role": "user", "content": "hello" }] })
    };
    let direct =
        Client::new().ask(&format!("{}/v1/chat/completions", llama.url), "none", &request("tiny-random")).await;
    let governed = world.ask("/v1/chat/completions", &request("tiny")).await;
    assert_eq!((direct.status, governed.status), (200, 200), "{} {}", direct.text(), governed.text());
    assert_eq!(text_of("openai", &direct.text()), text_of("openai", &governed.text()));
    assert_eq!(data(&direct.text()).len(), data(&governed.text()).len(), "as many events");
    assert_eq!(governed.header("content-type"), direct.header("content-type"));
    world.verify(1);
}
