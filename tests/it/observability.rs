//! What operators see: metrics, health, traces, logs.

use crate::first_request;
use crate::support::client::Client;
use crate::support::collector::{Collector, attribute, hex};
use crate::support::gateway::{Gateway, KEY};
use crate::support::load::chat;
use helix_fake_provider::{FakeProvider, Running};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";

struct Stage {
    provider: Running,
    gateway: Gateway,
    client: Client,
    _folder: TempDir,
}

impl Stage {
    fn set(further: &str) -> Self {
        let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let gateway =
            Gateway::serve(folder.path(), &format!("{further}{}", without_literals(&folder, &provider.url())));
        Self { provider, gateway, client: Client::new(), _folder: folder }
    }

    async fn ask(&self, key: &str, body: &Value, headers: &[(&str, &str)]) -> u16 {
        let (url, bearer) = (format!("{}/v1/chat/completions", self.gateway.url()), format!("Bearer {key}"));
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        self.client.post(&url, &headers, body.to_string()).await.status
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(&format!("{}{path}", self.gateway.ops_url()), &[]).await;
        (answer.status, answer.text())
    }
}

/// The usual file with its secrets in files of their own, so that nothing is warned of.
fn without_literals(folder: &TempDir, provider: &str) -> String {
    let mut yaml = first_request::yaml(provider);
    for (name, secret) in [("openai", "sk-canary-openai"), ("anthropic", "sk-canary-anthropic"), ("ci", KEY)] {
        std::fs::write(folder.path().join(name), secret).unwrap();
        yaml = yaml.replace(&format!("\"{secret}\""), secret).replace(secret, &format!("\"${{file:{name}}}\""));
    }
    yaml
}

/// The samples of a page: name with labels, value. Checks the page's grammar on the way.
fn samples(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with("# EOF\n"), "the page has an end");
    let (mut described, mut typed) = (BTreeSet::new(), BTreeSet::new());
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            let [what, name, text] = words[..] else { panic!("{line}") };
            let is_first = match what {
                "HELP" => described.insert(name.to_owned()),
                "TYPE" => typed.insert(name.to_owned()) && ["counter", "gauge", "histogram"].contains(&text),
                _ => what == "UNIT",
            };
            assert!(is_first && !text.is_empty(), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = series.split('{').next().unwrap();
        let family = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_known = |name: &str| described.contains(name) && typed.contains(name);
        assert!(is_known(name) || family.is_some_and(is_known), "no HELP or TYPE for {line}");
        // in one process, the control plane stands beside the data plane
        assert!(name.starts_with("helix_data_") || name.starts_with("helix_control_"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(found.insert(series.to_owned(), value).is_none(), "twice: {series}");
    }
    found
}

fn label_names(series: &str) -> impl Iterator<Item = &str> {
    let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
    labels.split(',').filter(|label| !label.is_empty()).map(|label| label.split('=').next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_under_bounded_labels() {
    let stage = Stage::set("");
    assert_eq!(stage.ask(KEY, &chat("gpt-5-mini", "hi"), &[]).await, 200);
    for strange in 0..2 {
        assert_eq!(stage.ask(KEY, &chat(&format!("unknown-{strange}"), "hi"), &[]).await, 404);
        assert_eq!(stage.ask(&format!("hx_p_unknown_{strange}"), &chat("gpt-5-mini", "hi"), &[]).await, 401);
    }
    let (status, page) = stage.page("/metrics").await;
    let first = samples(&page);
    assert_eq!(status, 200);
    let value = |name: &str, label: &str| {
        let matching = first.iter().filter(|(series, _)| series.starts_with(name) && series.contains(label));
        matching.map(|(_, value)| *value).sum::<f64>().to_string()
    };
    assert_eq!(value("helix_data_requests_total", "outcome=\"allowed\""), "1", "{page}");
    assert_eq!(value("helix_data_requests_total", "outcome=\"denied\""), "4", "{page}");
    assert_eq!(value("helix_data_refusals_total", "code=\"invalid_api_key\""), "2", "{page}");
    assert_eq!(value("helix_data_tokens_total", "kind=\"output\""), "20", "{page}");
    assert_eq!(value("helix_data_overrun_nano_usd_total", ""), "0", "{page}");
    let bill = stage.provider.bill.settled().await;
    assert_eq!(value("helix_data_cost_nano_usd_total", ""), bill[0].cost_nano_usd.to_string(), "{page}");

    for strange in 2..40 {
        stage.ask(KEY, &chat(&format!("unknown-{strange}"), "hi"), &[]).await;
        stage.ask(&format!("hx_p_unknown_{strange}"), &chat("gpt-5-mini", "hi"), &[]).await;
    }
    let (_, page) = stage.page("/metrics").await;
    let later = samples(&page);
    assert!(first.keys().eq(later.keys()), "further callers and models make no further series");
    let names: BTreeSet<&str> = later.keys().flat_map(|series| label_names(series)).collect();
    let bounded = ["backend", "code", "dialect", "kind", "le", "outcome"];
    assert!(names.iter().all(|name| bounded.contains(name)), "{names:?}");
    for private in ["jane", "engineering", "hx_p", "unknown-", "sk-canary"] {
        assert!(!page.contains(private), "{private} on the page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_on_the_operators_listener_alone() {
    let stage = Stage::set("");
    for (path, text) in [("live", "live\n"), ("ready", "ready\n"), ("startup", "ready\n")] {
        assert_eq!(stage.page(&format!("/healthz/{path}")).await, (200, text.to_owned()));
        let outside = stage.client.get(&format!("{}/healthz/{path}", stage.gateway.url()), &[]).await;
        assert_ne!(outside.status, 200, "{path}");
    }
    assert_eq!(stage.page("/elsewhere").await.0, 404);
    let outside = stage.client.get(&format!("{}/metrics", stage.gateway.url()), &[]).await;
    assert!(outside.status != 200 && !outside.text().contains("helix_data_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_span_between_the_callers_and_the_providers() {
    let collector = Collector::start().await;
    let mut stage = Stage::set(&format!("telemetry: {{ otlp: \"{}\" }}\n", collector.url()));
    let parent = format!("00-{TRACE_ID}-{CALLER_SPAN}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "vendor=1"), ("x-request-id", "req-traced")];
    assert_eq!(stage.ask(KEY, &chat("gpt-5-mini", "canary prompt"), &headers).await, 200);
    assert_eq!(stage.ask(KEY, &chat("gpt-9-preview", "hi"), &[]).await, 403);
    let mut stream = chat("gpt-5-mini", "hi");
    stream["stream"] = json!(true);
    assert_eq!(stage.ask(KEY, &stream, &[("x-request-id", "req-stream")]).await, 200);
    assert!(stage.gateway.stop(), "the end sends what is left");

    let spans = collector.spans();
    let span = spans.iter().find(|span| hex(&span.trace_id) == TRACE_ID).expect("the caller's trace goes on");
    assert_eq!(hex(&span.parent_span_id), CALLER_SPAN);
    assert_eq!(span.name, "chat gpt-5-mini");
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-5-mini"),
        ("gen_ai.response.model", "gpt-5-mini"),
        ("gen_ai.usage.output_tokens", "20"),
        ("http.response.status_code", "200"),
        ("helix.request.id", "req-traced"),
    ] {
        assert_eq!(attribute(span, key), value, "{key}");
    }
    let bill = stage.provider.bill.settled().await;
    assert_eq!(attribute(span, "helix.cost.nano_usd"), bill[0].cost_nano_usd.to_string());
    let upstream = &bill[0].headers["traceparent"];
    assert_eq!(*upstream, format!("00-{TRACE_ID}-{}-01", hex(&span.span_id)), "our span is the provider's parent");
    assert_eq!(bill[0].headers["tracestate"], "vendor=1");

    let find = |key: &str, value: &str| spans.iter().find(|span| attribute(span, key) == value);
    let refused = find("error.type", "model_access_denied").expect("a refusal is a span too");
    assert_eq!(attribute(refused, "http.response.status_code"), "403");
    let streamed = find("helix.request.id", "req-stream").expect("a stream is a span too");
    assert_eq!(attribute(streamed, "gen_ai.usage.output_tokens"), "20");
    assert!(bill[1].headers["traceparent"].contains(&hex(&streamed.trace_id)), "a trace begins here when none came");
    assert_eq!(spans.len(), 3);
    let all = format!("{spans:?}");
    assert!(!all.contains("canary") && !all.contains("hx_p"), "a prompt or a secret in a span");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_changes_nothing_for_requests_nor_for_the_end() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let otlp = format!("telemetry: {{ otlp: \"http://{}\" }}\n", nobody.local_addr().unwrap());
    // It accepts connections and never answers: worse than refusing them.
    let mut stage = Stage::set(&otlp);
    for _ in 0..5 {
        assert_eq!(stage.ask(KEY, &chat("gpt-5-mini", "hi"), &[]).await, 200);
    }
    assert!(stage.gateway.stop(), "an orderly end");
    let report = stage.gateway.verify();
    assert_eq!((report["ok"].as_bool(), report["records"].as_u64()), (Some(true), Some(5)));
    drop(nobody);
    stage.gateway.run();
    assert_eq!(stage.ask(KEY, &chat("gpt-5-mini", "hi"), &[]).await, 200);
    assert!(stage.gateway.stop(), "an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_is_json_and_none_holds_a_prompt_or_a_key() {
    let mut stage = Stage::set("logging: { level: debug, format: json }\n");
    stage.ask(KEY, &chat("gpt-5-mini", "canary-prompt"), &[]).await;
    stage.ask(KEY, &json!({ "model": "gpt-5-mini", "messages": "canary-prompt" }), &[]).await;
    stage.ask("hx_p_canary_key", &chat("gpt-5-mini", "canary-prompt"), &[]).await;
    stage.ask(KEY, &chat("gpt-5-mini", "canary-prompt [[fake:{\"status\":500}]]"), &[]).await;
    assert!(stage.gateway.stop());
    let log = stage.gateway.finish_and_read();
    assert!(log.lines().count() > 3, "{log}");
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        for field in ["timestamp", "level", "message", "target"] {
            assert!(parsed[field].is_string(), "no {field}: {line}");
        }
    }
    for private in ["canary", KEY, "jane@corp.example"] {
        assert!(!log.contains(private), "{private} in the log");
    }
}
