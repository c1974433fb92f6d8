//! An error of the Gemini API: `{"error": {code, message, status, details}}`, sometimes in an array.
//!
//! Rule: what the status hides is told: a bad key comes as 400, and when to come back stands in the body.

use crate::json::Node;
use crate::response::{ProviderError, cut_short};

/// Returns the document of a body or an event: some endpoints put it into an array.
pub(super) fn unwrapped(node: &Node) -> &Node {
    node.items().first().unwrap_or(node)
}

fn details(body: &Node) -> &[Node] {
    unwrapped(body).get("error").map_or(&[], |error| error.list("details"))
}

/// Whether the error is about the key.
pub(crate) fn is_key_invalid(body: &Node) -> bool {
    details(body).iter().any(|detail| detail.text("reason") == Some("API_KEY_INVALID"))
}

/// Returns after how many whole seconds to come back (`"retryDelay": "34.07s"`).
pub(crate) fn retry_after_s(body: &Node) -> Option<u64> {
    let delay = details(body).iter().find_map(|detail| detail.text("retryDelay"))?;
    Node::Number(delay.strip_suffix('s')?.to_owned()).as_u64()
}

/// Reads an error event.
pub(super) fn read_error(error: &Node) -> ProviderError {
    let short = |name: &str| match error.get(name) {
        Some(Node::String(text)) => Some(cut_short(text.clone())),
        Some(Node::Number(number)) => Some(cut_short(number.clone())),
        _ => None,
    };
    let message = error.as_str().map(str::to_owned).or_else(|| short("message")).unwrap_or_default();
    ProviderError { kind: short("status"), code: short("code"), message: cut_short(message) }
}
