//! A request's pipeline trace, as people read it: eight lines, one a stage, then what came of it.
//!
//! Rule: every stage has its line, also one that was never asked, so that a refusal shows where the request stopped. What
//! is printed is what the record says; nothing is judged anew here.

use crate::output::{Paint, Tone};
use helix_shared::record::{Decision, Record, Stage};
use serde_json::{Value, json};

/// The stages in the order a request passes them.
const STAGES: [&str; 8] = ["auth", "rbac", "policy", "budget", "route", "model", "cost", "audit"];
/// A longer reason does not push the times of the other lines to the right.
const WIDEST_REASON: usize = 60;

/// A line of the trace.
struct Line<'a> {
    name: &'a str,
    /// `None`: the request did not come this far.
    said: Option<&'a Stage>,
}

impl Line<'_> {
    fn mark(&self) -> (&'static str, Tone) {
        match self.said {
            None => ("·", Tone::Quiet),
            Some(stage) if matches!(stage.verdict.as_str(), "refused" | "error") => ("✗", Tone::Bad),
            Some(_) => ("✓", Tone::Good),
        }
    }

    fn verdict(&self) -> &str {
        self.said.map_or("not asked", |stage| &stage.verdict)
    }

    fn reason(&self) -> &str {
        self.said.map_or("", |stage| &stage.reason)
    }

    fn time(&self) -> String {
        self.said.map_or_else(String::new, |stage| milliseconds(stage.duration_us))
    }
}

/// Renders the trace as lines.
pub(super) fn text(record: &Record, who: &str, paint: Paint) -> String {
    let lines = lines(&record.stages);
    let width = |of: &dyn Fn(&Line<'_>) -> usize| lines.iter().map(of).max().unwrap_or(0);
    let name_width = width(&|line| line.name.chars().count());
    let verdict_width = width(&|line| line.verdict().chars().count());
    let reason_width = width(&|line| line.reason().chars().count().min(WIDEST_REASON));
    let time_width = width(&|line| line.time().chars().count());
    let mut text = String::new();
    for line in &lines {
        let (mark, tone) = line.mark();
        let name = format!("{:<name_width$}", line.name);
        let verdict = format!("{:<verdict_width$}", line.verdict());
        let name_tone = if line.said.is_some() { Tone::Strong } else { Tone::Quiet };
        let rest = format!("{:<reason_width$}  {:>time_width$}", line.reason(), line.time());
        text.push_str(&format!(
            "  {} {}  {}  {}\n",
            paint.tone(tone, mark),
            paint.tone(name_tone, &name),
            paint.tone(tone, &verdict),
            rest.trim_end()
        ));
    }
    text.push('\n');
    text.push_str(&summary(record, who, paint));
    text
}

/// The recorded stages in their order, with a line for each that was not asked at the place where it would have been.
fn lines(stages: &[Stage]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = stages.iter().map(|stage| Line { name: &stage.name, said: Some(stage) }).collect();
    for (at, name) in STAGES.into_iter().enumerate() {
        if lines.iter().any(|line| line.name == name) {
            continue;
        }
        let is_later = |line: &Line<'_>| STAGES.iter().position(|stage| *stage == line.name) > Some(at);
        let place = lines.iter().position(is_later).unwrap_or(lines.len());
        lines.insert(place, Line { name, said: None });
    }
    lines
}

fn summary(record: &Record, who: &str, paint: Paint) -> String {
    let outcome = match &record.decision {
        Decision::Allowed => paint.tone(Tone::Good, "allowed"),
        Decision::Denied { stage, code } => paint.tone(Tone::Bad, &format!("denied by {stage}: {code}")),
        Decision::Failed { stage, code } => paint.tone(Tone::Bad, &format!("failed at {stage}: {code}")),
    };
    let mut facts = vec![outcome];
    if record.served_model.is_empty() {
        facts.push("no model answered".to_owned());
    } else {
        facts.push(format!("{} at {}", record.served_model, record.backend_id));
        facts.push(format!(
            "{} tokens in, {} out",
            record.usage.total_input_tokens(),
            record.usage.total_output_tokens()
        ));
    }
    facts.push(format!("{} USD ({})", record.cost, record.basis.as_str()));
    facts.push(milliseconds(record.total_us));
    let small = format!("request {} as {who}, configuration revision {}", record.request_id, record.config_revision);
    format!("  {}\n  {}\n", facts.join(" · "), paint.tone(Tone::Quiet, &small))
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
    format!("{}.{:03} ms", us / 1000, us % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(said: &[(&str, &str)]) -> Vec<Stage> {
        let stage = |(name, verdict): &(&str, &str)| Stage {
            name: (*name).to_owned(),
            verdict: (*verdict).to_owned(),
            reason: String::new(),
            duration_us: 1,
        };
        said.iter().map(stage).collect()
    }

    fn marked(said: &[(&str, &str)]) -> Vec<String> {
        lines(&stages(said)).iter().map(|line| format!("{}{}", line.mark().0, line.name)).collect()
    }

    #[test]
    fn a_refusal_shows_where_the_request_stopped() {
        let denied = marked(&[("auth", "ok"), ("rbac", "refused"), ("audit", "recorded")]);
        assert_eq!(denied, ["✓auth", "✗rbac", "·policy", "·budget", "·route", "·model", "·cost", "✓audit"]);
        let malformed = marked(&[("auth", "ok"), ("request", "refused"), ("audit", "recorded")]);
        assert_eq!(malformed[..3], ["✓auth", "✗request", "·rbac"]);
        assert_eq!(malformed.len(), 9);
    }

    #[test]
    fn a_second_try_has_lines_of_its_own() {
        let tried =
            [("auth", "ok"), ("route", "priority"), ("model", "error"), ("route", "priority"), ("model", "answered")];
        let names = marked(&tried);
        assert_eq!(names[1..4], ["·rbac", "·policy", "·budget"]);
        assert_eq!(names[4..8], ["✓route", "✗model", "✓route", "✓model"]);
        assert_eq!(names[8..], ["·cost", "·audit"]);
    }
}
