//! The endpoints under `/_fake/`: the bill, the default script, the counters and the gates.
//!
//! Rule: reading never changes anything; a bad script is refused and the old one stays.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bill::Stats;
use crate::provider::Provider;
use crate::script::{Script, parse_layer};

/// The longest that `/_fake/stats` waits when the caller names no limit.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// Answers a control request.
pub(crate) async fn answer(
    provider: &Provider,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> (StatusCode, Value) {
    match (method.as_str(), path) {
        ("GET", "bill") => {
            let entries = provider.bill.entries();
            (StatusCode::OK, json!({"total_nano_usd": provider.bill.total_nano_usd(), "entries": entries}))
        }
        ("DELETE", "bill") => {
            provider.bill.clear();
            (StatusCode::OK, json!({"ok": true}))
        }
        ("GET", "script") => (StatusCode::OK, provider.script()),
        ("PUT", "script") => put_script(provider, body),
        ("GET", "stats") => stats(provider, query).await,
        ("POST" | "DELETE", gate) if gate.starts_with("gate/") => {
            provider.gates.set(gate.trim_start_matches("gate/"), method == Method::POST);
            (StatusCode::OK, json!({"ok": true}))
        }
        _ => (StatusCode::NOT_FOUND, json!({"error": "no such control endpoint"})),
    }
}

fn put_script(provider: &Provider, body: &[u8]) -> (StatusCode, Value) {
    let text = String::from_utf8_lossy(body);
    let layer = parse_layer(&text).and_then(|layer| Script::layered(&[Some(layer.clone())]).map(|_| layer));
    match layer {
        Ok(layer) => {
            provider.set_script(layer.clone());
            (StatusCode::OK, layer)
        }
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": error.to_string()})),
    }
}

/// Returns the counters; waits first until those named in the query are reached: `accepted=3&in_flight=0`, at most
/// `timeout_ms`. `in_flight` and `open_connections` are waited for exactly, the others as a lower bound.
async fn stats(provider: &Provider, query: &str) -> (StatusCode, Value) {
    let mut limit = DEFAULT_WAIT;
    let mut wanted = Vec::new();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match value.parse::<u64>() {
            Ok(value) if name == "timeout_ms" => limit = Duration::from_millis(value),
            Ok(value) if counter(&Stats::default(), name).is_some() => wanted.push((name, value)),
            _ => return (StatusCode::BAD_REQUEST, json!({"error": format!("cannot wait for {name}={value}")})),
        }
    }
    let reached = |stats: &Stats| {
        wanted.iter().all(|(name, value)| match counter(stats, name) {
            Some(now) if matches!(*name, "in_flight" | "open_connections") => now == *value,
            now => now >= Some(*value),
        })
    };
    match tokio::time::timeout(limit, provider.bill.wait_for(reached)).await {
        Ok(stats) => (StatusCode::OK, json!(stats)),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, json!(provider.bill.stats())),
    }
}

fn counter(stats: &Stats, name: &str) -> Option<u64> {
    Some(match name {
        "accepted" => stats.accepted,
        "in_flight" => stats.in_flight,
        "complete" => stats.complete,
        "client_gone" => stats.client_gone,
        "cut" => stats.cut,
        "error" => stats.error,
        "connections" => stats.connections,
        "open_connections" => stats.open_connections,
        _ => return None,
    })
}
