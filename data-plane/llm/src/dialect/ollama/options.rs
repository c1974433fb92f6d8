//! The options that a client may send in Ollama's own form.
//!
//! Rule: what shapes the answer is the client's; what shapes the server (its processors, threads and memory maps) is the
//! operator's, and is left out by name. The cap on the output is never taken from here: it is the budget's too.

use crate::json::{Node, note};

/// What shapes the answer. Source: ollama, git of 2026-08-21, `api/types.go`.
const KNOWN: [&str; 19] = [
    "frequency_penalty",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_ctx",
    "num_keep",
    "penalize_newline",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "tfs_z",
    "top_k",
    "top_p",
    "typical_p",
    "shift",
];

/// Keeps the options that are the client's to say; returns the cap among them, and notes the others.
pub(crate) fn keep_own(options: &mut Node, dropped: &mut Vec<String>) -> Option<u64> {
    let Node::Object(fields) = options else { return None };
    let cap = fields.iter().filter(|(name, _)| name == "num_predict").filter_map(|(_, cap)| cap.as_u64()).min();
    fields.retain(|(name, _)| {
        let is_known = KNOWN.contains(&&**name);
        if !is_known && name != "num_predict" {
            note(dropped, format!("options.{name}"));
        }
        is_known
    });
    cap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_that_is_written_twice_is_the_smaller_one_and_the_servers_options_are_left_out() {
        let text = br#"{"num_predict":-1,"num_ctx":8,"num_predict":70,"num_gpu":0,"num_predict":9,"use_mmap":true}"#;
        let mut options = Node::parse(text).unwrap();
        let mut dropped = Vec::new();
        assert_eq!(keep_own(&mut options, &mut dropped), Some(9));
        assert_eq!(options.to_json(), r#"{"num_ctx":8}"#);
        assert_eq!(dropped, ["options.num_gpu", "options.use_mmap"]);
    }
}
