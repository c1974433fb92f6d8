//! Signed thinking of another provider, carried through `encrypted_content`.
//!
//! Rule: only what we wrote is read back; real OpenAI blobs and broken ones are nobody's thinking. It is not sealed: the
//! provider that signed the thinking checks it, and the client has seen its text anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::chat::request::BlockKind;
use crate::json::{Node, object};

const PREFIX: &str = "gw1.";

/// Packs a thinking block; `None` for one that nobody signed, and for any other block.
pub(super) fn pack(kind: &BlockKind) -> Option<String> {
    let node = match kind {
        BlockKind::Thinking { text, signature: Some(signature) } => {
            object! { "thinking": text, "signature": signature }
        }
        BlockKind::Redacted(data) => object! { "redacted": data },
        _ => return None,
    };
    Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(node.to_bytes())))
}

/// Unpacks what [`pack`] made; `None` for anything else.
pub(super) fn unpack(carrier: &str) -> Option<BlockKind> {
    let bytes = URL_SAFE_NO_PAD.decode(carrier.strip_prefix(PREFIX)?).ok()?;
    let node = Node::parse(&bytes).ok()?;
    if let Some(data) = node.text("redacted") {
        return Some(BlockKind::Redacted(data.to_owned()));
    }
    let signature = Some(node.text("signature")?.to_owned());
    Some(BlockKind::Thinking { text: node.text("thinking")?.to_owned(), signature })
}
