//! When to come back, where a provider says it only in the text of its error.
//!
//! Rule: only a throttled answer without the header gets one, and only from words that providers are known to write
//! (Azure: "Please retry after 7 seconds."). The body stays as it is; clients wait by the header.

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use http::response::Parts;

const WORDS: &str = "retry after ";
/// A longer wait is no throttling but a mistake.
const LONGEST_S: u32 = 24 * 60 * 60;

/// Adds `Retry-After` to a throttled answer that has none, when its text says one.
pub fn add(parts: &mut Parts, body: &[u8]) {
    let has_header = parts.headers.contains_key(RETRY_AFTER) || parts.headers.contains_key("retry-after-ms");
    if parts.status != StatusCode::TOO_MANY_REQUESTS || has_header {
        return;
    }
    if let Some(seconds) = seconds(body) {
        parts.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

fn seconds(body: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(body).ok()?;
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once(WORDS)?;
    let (number, unit) = rest.split_once(' ')?;
    let seconds: u32 = number.parse().ok()?;
    (unit.starts_with("second") && seconds <= LONGEST_S).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    #[test]
    fn the_text_counts_only_where_no_header_does() {
        let text = r#"{"error":{"code":"429","message":"Rate limit is exceeded. Please retry after 7 seconds."}}"#;
        for (status, header, body, expected) in [
            (429, None, text, Some("7")),
            (429, Some("9"), text, Some("9")),
            (500, None, text, None),
            (429, None, "Please retry after 1 second", Some("1")),
            (429, None, "retry after -1 seconds", None),
            (429, None, "retry after 99999999 seconds", None),
            (429, None, "retry after 7 days", None),
            (429, None, "retry after ", None),
            (429, None, "slow down", None),
        ] {
            let mut answer = Response::builder().status(status);
            if let Some(value) = header {
                answer = answer.header(RETRY_AFTER, value);
            }
            let (mut parts, ()) = answer.body(()).unwrap().into_parts();
            add(&mut parts, body.as_bytes());
            assert_eq!(parts.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap()), expected, "{body}");
        }
    }
}
