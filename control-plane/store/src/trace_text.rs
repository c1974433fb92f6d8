//! The trace of a request as short text: the words that nearly every record repeats are numbers.
//!
//! Rule: numbers are never given anew, only added at the end of a list; a word that has none is written out. What is
//! written is read back as it was.

use helix_shared::record::Stage;
use serde::{Deserialize, Serialize};

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
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Number(usize),
    Text(String),
}

/// Name, verdict, µs, and the reason where there is one.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Row {
    Reasoned(Word, Word, u64, String),
    Plain(Word, Word, u64),
}

impl Word {
    fn of(text: &str, known: &[&str]) -> Self {
        match known.iter().position(|word| *word == text) {
            Some(number) => Self::Number(number),
            None => Self::Text(text.to_owned()),
        }
    }

    fn read(self, known: &[&str]) -> String {
        match self {
            Self::Number(number) => known.get(number).copied().unwrap_or("unknown").to_owned(),
            Self::Text(text) => text,
        }
    }
}

/// Writes a trace.
pub(crate) fn write(stages: &[Stage]) -> String {
    let row = |stage: &Stage| {
        let (name, verdict) = (Word::of(&stage.name, &NAMES), Word::of(&stage.verdict, &VERDICTS));
        match stage.reason.is_empty() {
            true => Row::Plain(name, verdict, stage.duration_us),
            false => Row::Reasoned(name, verdict, stage.duration_us, stage.reason.clone()),
        }
    };
    // words and numbers always encode
    serde_json::to_string(&stages.iter().map(row).collect::<Vec<_>>()).unwrap_or_default()
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
    use proptest::prelude::*;

    #[test]
    fn usual_stages_are_a_few_bytes() {
        let stage = |name: &str, verdict: &str| Stage {
            name: name.to_owned(),
            verdict: verdict.to_owned(),
            reason: String::new(),
            duration_us: 7,
        };
        assert_eq!(write(&[stage("auth", "ok"), stage("audit", "recorded")]), "[[0,0,7],[7,9,7]]");
        assert_eq!(write(&[stage("auth", "new word")]), r#"[[0,"new word",7]]"#);
    }

    proptest! {
        #[test]
        fn a_trace_is_read_as_it_was_written(
            made in proptest::collection::vec(("auth|audit|cost|.{0,12}", "ok|error|.{0,12}", ".{0,20}", any::<u64>()), 0..12),
        ) {
            let stages: Vec<Stage> = made
                .into_iter()
                .map(|(name, verdict, reason, duration_us)| Stage { name, verdict, reason, duration_us })
                .collect();
            prop_assert_eq!(read(&write(&stages)).unwrap(), stages);
        }
    }
}
