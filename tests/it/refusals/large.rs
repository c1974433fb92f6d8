//! Bodies over the limit: announced, sent, or sent without saying how long they are.
//!
//! Rule: a raw socket, because a client library may give up before it reads the answer.

use super::{Answer, BOTH, Dialect, KEY, TOO_LARGE, World, check, yaml};
use crate::support::patience::within;
use crate::support::raw::first_answer;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const MEGABYTE: usize = 1 << 20;

fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), is_whole: true }
}

fn head(dialect: Dialect, framing: &str) -> Bytes {
    let path = dialect.path();
    format!("POST {path} HTTP/1.1\r\nhost: h\r\nx-api-key: {KEY}\r\nconnection: close\r\n{framing}\r\n\r\n").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_100_megabytes_is_refused_before_it_was_read() {
    let world = World::start(yaml);
    let megabyte = Bytes::from(vec![b' '; MEGABYTE]);
    let chunk = Bytes::from([format!("{MEGABYTE:x}\r\n").as_bytes(), &megabyte, b"\r\n"].concat());
    for dialect in BOTH {
        let declared = head(dialect, &format!("content-length: {}", 100 * MEGABYTE));
        let undeclared = head(dialect, "transfer-encoding: chunked");
        let with = |head: &Bytes, piece: &Bytes| [vec![head.clone()], vec![piece.clone(); 100]].concat();
        // Announced and never sent: the answer cannot wait for it.
        let cases = [vec![declared.clone()], with(&declared, &megabyte), with(&undeclared, &chunk)];
        for parts in cases {
            let answer = within("the refusal", first_answer(&world.gateway.url(), parts)).await;
            let message = check(dialect, &read(&answer), &TOO_LARGE);
            assert!(message.contains("32 MiB") && message.contains("server.limits.body_mb"), "{message}");
        }
    }
    assert!(world.provider.bill.entries().is_empty(), "nothing went to the provider");
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_body_is_what_the_file_says() {
    let world = World::limited("body_mb: 1", yaml);
    for dialect in BOTH {
        let body = dialect.request(&serde_json::json!({})).to_string();
        let fits = " ".repeat(MEGABYTE - body.len()) + &body;
        let headers = [("x-api-key", KEY)];
        let answer = world.client.post(&world.url(dialect.path()), &headers, fits.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = world.client.post(&world.url(dialect.path()), &headers, format!(" {fits}")).await;
        assert!(check(dialect, &answer, &TOO_LARGE).contains("1 MiB"));
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let world = World::limited("body_mb: 1", yaml);
    let body = "x".repeat(4 * MEGABYTE);
    let (before, mut records) = (world.peak_kib(), 0);
    for _ in 0..10 {
        for (path, key, status) in [
            ("/v1/chat/completions", KEY, 413),
            ("/v1/messages", KEY, 413),
            ("/v1/chat/completions", "hx_p_unknown", 401),
            ("/v1/messages", "sk-unknown", 401),
            ("/v1/responses", KEY, 413),
            ("/v1/files", KEY, 404),
            ("/v1/models", KEY, 405),
        ] {
            let answer = world.client.post(&world.url(path), &[("x-api-key", key)], body.clone()).await;
            assert_eq!(answer.status, status, "{path}");
            records += usize::from(status == 413 || status == 401);
        }
    }
    let grown = world.peak_kib() - before;
    assert!(grown < 64 << 10, "280 MB of refused bodies took {grown} KiB of memory");
    world.verify(records);
}
