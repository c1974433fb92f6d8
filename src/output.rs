//! What commands print: text for people, JSON for programs.
//!
//! Rule: answers go to standard output, complaints to standard error; a closed pipe is not an error. Without a terminal,
//! or with `--json`, answers are JSON. Colour is for terminals, and never the only sign of anything.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

/// Prints a text for people, or a value for programs.
pub(crate) fn answer(as_json: bool, text: &str, value: &Value) {
    if as_json || !std::io::stdout().is_terminal() {
        line(&value.to_string());
    } else {
        line(text.trim_end());
    }
}

/// Prints a text as it is.
pub(crate) fn line(text: &str) {
    // A reader that closed the pipe has had enough.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Prints a complaint.
pub(crate) fn complain(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Prints an error with its causes, each once.
pub(crate) fn complain_of(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    complain(&text);
}

/// Says how many there are: `1 record`, `2 records`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// What a coloured word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It went well.
    Good,
    /// Somebody should look at it.
    Warning,
    /// It did not go well.
    Bad,
    /// A name to find the line by.
    Strong,
    /// Detail.
    Quiet,
}

/// Whether words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// Colours on a terminal that knows them, unless `NO_COLOR` is set.
    pub(crate) fn of_terminal(environment: &BTreeMap<String, String>) -> Self {
        let is_unwanted = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = environment.get("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { is_on: std::io::stdout().is_terminal() && !is_unwanted && !is_dumb }
    }

    /// Colours a word.
    pub(crate) fn tone(self, tone: Tone, word: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Quiet => "2",
        };
        if self.is_on { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}
