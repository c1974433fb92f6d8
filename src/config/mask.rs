//! Finds what must not be shown when lines of the file are quoted in a message.
//!
//! Rule: when in doubt, hide. A value is hidden by the name of its key, known or nearly known, by the shape of a known
//! credential, or because it is the user part of a URL. Plain references such as `${OPENAI_API_KEY}` are shown: they
//! are names, not values.

use super::node::{Node, Source, Value};
use super::suggest::distance;
use std::ops::Range;

/// Keys whose values are secret, wherever they stand.
const SECRET_KEYS: [&str; 9] = [
    "api_key",
    "secret",
    "master_key",
    "state_key",
    "join_token",
    "client_secret",
    "password",
    "bind_password",
    "access_key",
];

/// Keys that look like a secret's and are not.
const PLAIN_KEYS: [&str; 6] = ["keys", "secrets", "tokens", "server", "users", "key_id"];

/// How the credentials of well-known services begin.
const CREDENTIAL_PREFIXES: [&str; 12] =
    ["sk-", "sk_", "hx_p_", "hx_t_", "hx_s_", "gsk_", "xai-", "hf_", "pplx-", "AKIA", "fw_", "csk-"];

/// Reports whether the value of this key must never be shown.
pub(super) fn is_secret_key(parent: &str, key: &str) -> bool {
    if parent == "headers" || (parent == "storage" && key == "url") {
        return true;
    }
    let key = key.to_lowercase().replace('-', "_");
    if PLAIN_KEYS.contains(&key.as_str()) {
        return false;
    }
    SECRET_KEYS.iter().any(|secret| distance(&key, secret) <= 2)
        || ["key", "secret", "token", "password", "passwd", "credential", "credentials", "pepper"]
            .iter()
            .any(|ending| key.ends_with(ending))
}

/// Collects the byte ranges of the file that hold secret values.
pub(super) fn secret_ranges(root: &Node, text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    collect(root, "", false, text, &mut ranges);
    ranges
}

fn collect(node: &Node, name: &str, is_secret: bool, text: &str, ranges: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(_) => {
            if let (true, Source::File(span)) = (is_secret, &node.source) {
                let raw = text.get(span.start..span.end).unwrap_or("");
                if !is_only_references(raw) && !is_plain_address(name, raw) {
                    ranges.push(span.start..span.end);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| collect(item, name, is_secret, text, ranges)),
        Value::Map(entries) => {
            for entry in entries {
                collect(&entry.node, &entry.key, is_secret || is_secret_key(name, &entry.key), text, ranges);
            }
        }
    }
}

/// Reports whether the address of a database has no place for a password.
fn is_plain_address(key: &str, raw: &str) -> bool {
    key == "url" && raw.contains(':') && !raw.contains('@') && !raw.to_lowercase().contains("pass")
}

/// Reports whether a raw value is nothing but references without a default, such as `"${A}"` or `${file:/run/x}`.
fn is_only_references(raw: &str) -> bool {
    let mut rest = raw.trim().trim_matches(|c| c == '"' || c == '\'');
    if rest.is_empty() {
        return true;
    }
    while !rest.is_empty() {
        let Some((inside, after)) = rest.strip_prefix("${").and_then(|inside| inside.split_once('}')) else {
            return false;
        };
        let is_name = inside.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_known_scheme = ["file:", "vault:"].iter().any(|scheme| inside.starts_with(scheme));
        let is_empty_default = inside.strip_suffix(":-").is_some_and(|name| !name.contains([':', ' ', '-']));
        if !(is_name || is_known_scheme || is_empty_default) {
            return false;
        }
        rest = after;
    }
    true
}

/// Collects ranges from a file that is not valid YAML, line by line: after a secret key all of the value is hidden, and
/// so is every line that is indented deeper and may continue it.
pub(super) fn secret_ranges_of_broken(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut offset = 0;
    let mut secret_indent = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let length = line.trim_end().len();
        if secret_indent.is_some_and(|secret| indent > secret) && length > indent {
            ranges.push(offset + indent..offset + length);
        } else if length > 0 {
            let found = secret_value_starts(line);
            secret_indent = found.first().map(|_| indent);
            for start in found {
                let value = line.get(start..).unwrap_or("");
                let length = value_length(value);
                let raw = value.get(..length).unwrap_or("");
                if !is_only_references(raw) && !is_plain_address("url", raw) {
                    ranges.push(offset + start..offset + start + length);
                }
            }
        }
        offset += line.len();
    }
    ranges
}

fn secret_value_starts(line: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    for (colon, _) in line.match_indices(':') {
        let before = line.get(..colon).unwrap_or("");
        let key_start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '"' || c == '\''))
            .map_or(0, |at| at + 1);
        let key = before.get(key_start..).unwrap_or("").trim_matches(|c| c == '"' || c == '\'');
        let after = line.get(colon + 1..).unwrap_or("");
        let is_url_of_storage = key == "url" && !after.contains("http");
        if !key.is_empty() && (is_secret_key("", key) || is_url_of_storage) {
            let blanks = after.len() - after.trim_start().len();
            starts.push(colon + 1 + blanks);
        }
    }
    starts
}

/// The length of a value: to its closing quote, or to the end of the line.
fn value_length(value: &str) -> usize {
    let value = value.trim_end();
    let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'');
    match quote.and_then(|quote| value.get(1..).and_then(|rest| rest.find(quote))) {
        Some(end) => end + 2,
        None if value.starts_with("${") => value.find('}').map_or(value.len(), |end| end + 1),
        None => value.len(),
    }
}

/// Collects what looks like a credential or a URL's user part in any text.
pub(super) fn credential_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let is_body = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    for prefix in CREDENTIAL_PREFIXES {
        for (start, _) in text.match_indices(prefix) {
            let starts_word =
                text.get(..start).and_then(|before| before.chars().next_back()).is_none_or(|c| !is_body(c));
            let body = text.get(start..).unwrap_or("");
            let length = body.find(|c| !is_body(c)).unwrap_or(body.len());
            if starts_word && length >= prefix.len() + 8 {
                ranges.push(start..start + length);
            }
        }
    }
    for (scheme_end, _) in text.match_indices("://") {
        let rest = text.get(scheme_end + 3..).unwrap_or("");
        let word = rest.get(..rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'').unwrap_or(rest.len()));
        if let Some(at) = word.and_then(|word| word.rfind('@')) {
            ranges.push(scheme_end + 3..scheme_end + 3 + at);
        }
    }
    ranges
}

/// Hides in a message everything that looks like a credential.
pub(super) fn hide_credentials(message: &str) -> String {
    replace(message, &credential_ranges(message)).0
}

/// What stands in the place of a hidden value.
pub(super) const HIDDEN: &str = "[redacted]";

/// Replaces ranges of a line by [`HIDDEN`]; also returns where each byte of the line went.
pub(super) fn replace(line: &str, ranges: &[Range<usize>]) -> (String, Vec<usize>) {
    let mut shown = String::with_capacity(line.len());
    let mut moved = Vec::with_capacity(line.len() + 1);
    let mut hiding = false;
    for (at, c) in line.char_indices() {
        let is_hidden = ranges.iter().any(|range| range.contains(&at));
        if is_hidden && !hiding {
            shown.push_str(HIDDEN);
        }
        let position = if is_hidden { shown.chars().count() - HIDDEN.len() } else { shown.chars().count() };
        moved.resize(at + c.len_utf8(), position);
        if !is_hidden {
            shown.push(if c.is_control() { ' ' } else { c });
        }
        hiding = is_hidden;
    }
    moved.push(shown.chars().count());
    (shown, moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_secrets_are_known_also_when_misspelt() {
        for key in
            ["api_key", "api_keey", "apikey", "API-KEY", "secret", "secrte", "master_key", "bind_password", "token"]
        {
            assert!(is_secret_key("x", key), "{key}");
        }
        for key in ["keys", "secrets", "kind", "name", "server", "storage", "url", "roles", "models"] {
            assert!(!is_secret_key("x", key), "{key}");
        }
        assert!(is_secret_key("storage", "url") && is_secret_key("headers", "x-anything"));
    }

    #[test]
    fn credentials_and_url_users_are_hidden_in_messages() {
        assert_eq!(hide_credentials("`sk-ant-REDACTED` is no kind"), "`[redacted]` is no kind");
        assert_eq!(hide_credentials("http://jane:pw@host/x"), "http://[redacted]@host/x");
        assert_eq!(hide_credentials("task-list sk-1"), "task-list sk-1");
    }

    #[test]
    fn references_are_names_not_values() {
        for shown in ["\"${A}\"", "${file:/run/x}", "'${A}${B}'", "${A:-}"] {
            assert!(is_only_references(shown), "{shown}");
        }
        for hidden in ["\"${A:-x}\"", "abc", "x${A}", "${A", "${my pass-word}"] {
            assert!(!is_only_references(hidden), "{hidden}");
        }
    }
}
