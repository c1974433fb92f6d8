//! What commands print: text for people, JSON for programs.
//!
//! Rule: answers go to standard output, complaints to standard error; a closed pipe is not an error. Without a terminal,
//! or with `--json`, answers are JSON.

use serde_json::Value;
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
