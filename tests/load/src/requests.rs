//! The requests that every contestant gets: the same bytes, made once.
//!
//! Rule: a request is about one kilobyte of ordinary chat and carries one of many keys, so that a gateway's key lookup
//! meets a real spread. It deliberately asks for no usage in streams, as most callers do not.

use crate::upstream::MODEL;
use std::net::SocketAddr;

/// The requests of one kind to one address, one per key.
pub(crate) struct Requests {
    bytes: Vec<Vec<u8>>,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One JSON answer.
    Plain,
    /// Server-sent events.
    Stream,
    /// The same asked for in Anthropic's dialect: the gateway translates it, and the answer back.
    Translated,
}

impl Requests {
    /// Builds the requests for an address, one for each key.
    pub(crate) fn new(address: SocketAddr, kind: Kind, keys: &[String]) -> Self {
        let body = body(kind);
        let length = body.len();
        let accept = if kind == Kind::Plain { "application/json" } else { "text/event-stream" };
        let (path, version) = match kind {
            Kind::Translated => ("messages", "anthropic-version: 2023-06-01\r\n"),
            Kind::Plain | Kind::Stream => ("chat/completions", ""),
        };
        let bytes = keys
            .iter()
            .map(|key| {
                format!(
                    "POST /v1/{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n{version}\
                     content-type: application/json\r\naccept: {accept}\r\nuser-agent: helix-load\r\n\
                     content-length: {length}\r\n\r\n{body}"
                )
                .into_bytes()
            })
            .collect();
        Self { bytes }
    }

    /// Returns the request with this number, counted round and round.
    pub(crate) fn get(&self, number: usize) -> &[u8] {
        let count = self.bytes.len().max(1);
        self.bytes.get(number % count).map_or(&[], Vec::as_slice)
    }
}

fn body(kind: Kind) -> String {
    let question = "Please sum up the following meeting notes in three short points for the steering group. ".repeat(8);
    if kind == Kind::Translated {
        return format!(
            r#"{{"model":"{MODEL}","system":"You are a careful assistant.","messages":[{{"role":"user","content":"{question}"}}],"max_tokens":256,"temperature":0.2,"stream":true}}"#
        );
    }
    let stream = if kind == Kind::Stream { r#","stream":true"# } else { "" };
    format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"system","content":"You are a careful assistant."}},{{"role":"user","content":"{question}"}}],"max_tokens":256,"temperature":0.2{stream}}}"#
    )
}

/// Returns `count` keys in the gateway's format, the same on every run.
pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            // spread the digits, so that keys differ early as random ones do
            let mixed = u64::try_from(number).unwrap_or_default().wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!("hx_p_{mixed:016x}{:016x}", mixed.rotate_left(29) ^ 0xa5a5_5a5a_c3c3_3c3c)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_stable() {
        let made = keys(10_000);
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), 10_000);
        assert_eq!(made[0].len(), "hx_p_".len() + 32);
        assert_eq!(made, keys(10_000));
    }

    #[test]
    fn bodies_are_json() {
        for kind in [Kind::Plain, Kind::Stream, Kind::Translated] {
            let body: serde_json::Value = serde_json::from_str(&body(kind)).unwrap();
            assert_eq!(body["stream"].as_bool().unwrap_or(false), kind != Kind::Plain);
        }
    }
}
