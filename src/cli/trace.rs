//! A request's pipeline trace, as people read it.

use helix_shared::record::{Decision, Record};
use serde_json::{Value, json};
use std::time::Duration;

/// Renders the trace as lines.
pub(super) fn text(record: &Record) -> String {
    let mut text = String::new();
    let outcome = match &record.decision {
        Decision::Allowed => "allowed".to_owned(),
        Decision::Denied { stage, code } => format!("denied by {stage}: {code}"),
        Decision::Failed { stage, code } => format!("failed at {stage}: {code}"),
    };
    let mut line = |name: &str, verdict: &str, reason: &str, time: &str| {
        text.push_str(&format!("  {name:<8} {verdict:<11} {time:>10}  {reason}\n"));
    };
    for stage in &record.stages {
        line(&stage.name, &stage.verdict, &stage.reason, &milliseconds(stage.duration_us));
    }
    let model = if record.served_model.is_empty() { "none answered" } else { record.served_model.as_str() };
    text.push_str(&format!(
        "\n  {outcome} · {model} · {} in / {} out tokens · {} USD ({}) · {} · revision {}\n  request {}\n",
        record.usage.total_input_tokens(),
        record.usage.total_output_tokens(),
        record.cost,
        record.basis.as_str(),
        milliseconds(record.total_us),
        record.config_revision,
        record.request_id
    ));
    text
}

/// Renders the trace for programs.
pub(super) fn value(record: &Record) -> Value {
    let (stage, code) = match &record.decision {
        Decision::Allowed => ("", ""),
        Decision::Denied { stage, code } | Decision::Failed { stage, code } => (stage.as_str(), code.as_str()),
    };
    let stages: Vec<Value> = record
        .stages
        .iter()
        .map(|stage| json!({ "stage": stage.name, "verdict": stage.verdict, "reason": stage.reason, "durationUs": stage.duration_us }))
        .collect();
    json!({
        "requestId": record.request_id, "decision": record.decision.as_str(), "deniedBy": stage, "code": code,
        "requestedModel": record.requested_model, "servedModel": record.served_model, "backend": record.backend_id,
        "httpStatus": record.http_status, "costUsd": record.cost.to_string(), "costNanoUsd": record.cost.get(),
        "costBasis": record.basis.as_str(), "inputTokens": record.usage.total_input_tokens(),
        "outputTokens": record.usage.total_output_tokens(), "totalUs": record.total_us, "revision": record.config_revision,
        "stages": stages,
    })
}

fn milliseconds(us: u64) -> String {
    let duration = Duration::from_micros(us);
    format!("{}.{:03} ms", duration.as_millis(), us % 1000)
}
