//! The trace of a request as releases before step 14 wrote it: short text in which usual words are numbers.
//!
//! Rule: only read, when records of then are moved. What was written is read back as it was.

use helix_shared::record::Stage;
use serde::Deserialize;

const NAMES: [&str; 8] = ["auth", "rbac", "policy", "budget", "route", "model", "cost", "audit"];
const VERDICTS: [&str; 14] = [
    "ok",
    "allowed",
    "passed",
    "reserved",
    "chosen",
    "answered",
    "streaming",
    "estimated",
    "exact",
    "recorded",
    "error",
    "denied",
    "none",
    "skipped",
];

/// A word, by its number where it has one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(usize),
    Text(String),
}

/// Name, verdict, µs, and the reason where there is one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Reasoned(Word, Word, u64, String),
    Plain(Word, Word, u64),
}

impl Word {
    fn read(self, known: &[&str]) -> String {
        match self {
            Self::Number(number) => known.get(number).copied().unwrap_or("unknown").to_owned(),
            Self::Text(text) => text,
        }
    }
}

/// Reads a trace.
pub(crate) fn read(text: &str) -> serde_json::Result<Vec<Stage>> {
    let rows: Vec<Row> = serde_json::from_str(text)?;
    let stage = |row: Row| {
        let (name, verdict, duration_us, reason) = match row {
            Row::Plain(name, verdict, duration_us) => (name, verdict, duration_us, String::new()),
            Row::Reasoned(name, verdict, duration_us, reason) => (name, verdict, duration_us, reason),
        };
        Stage { name: name.read(&NAMES), verdict: verdict.read(&VERDICTS), reason, duration_us }
    };
    Ok(rows.into_iter().map(stage).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_of_before_is_read_as_it_was_written() {
        let stage = |name: &str, verdict: &str, reason: &str| Stage {
            name: name.to_owned(),
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            duration_us: 7,
        };
        let text = r#"[[0,0,7],[7,9,7],[0,"new word",7],["new name",13,7,"why"]]"#;
        let expected = [
            stage("auth", "ok", ""),
            stage("audit", "recorded", ""),
            stage("auth", "new word", ""),
            stage("new name", "skipped", "why"),
        ];
        assert_eq!(read(text).unwrap(), expected);
    }
}
