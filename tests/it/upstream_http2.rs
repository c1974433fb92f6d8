//! Providers over TLS: HTTP/2 where they offer it, HTTP/1.1 where not, and nobody can tell from the answers or the books.
//!
//! Rule: a real TLS server agrees on the version with the gateway's process; the provider's bill decides.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::raw::Live;
use crate::support::world::{World, chat, messages, streamed};
use helix_fake_provider::sha256_hex;
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

fn versioned(version: &'static str) -> impl Fn(&str) -> String {
    move |provider| {
        first_request::yaml(provider).replace("api_key: sk-", &format!("http_version: {version}, api_key: sk-"))
    }
}

/// Asks whole and in streams, in both dialects, and compares the bytes and the books.
async fn serves(world: World, is_shared: bool) {
    let mut ids = Vec::new();
    for (path, request) in [(CHAT, chat(&json!({ "chunks": 5 }))), ("/v1/messages", messages(&json!({ "chunks": 5 })))]
    {
        for request in [request.clone(), streamed(request)] {
            for _ in 0..3 {
                let answer = world.ask(path, &request).await;
                let entry = world.provider.bill.settled().await.pop().unwrap();
                assert_eq!(answer.status, 200, "{}\n{}", answer.text(), world.gateway.log());
                if path != CHAT || request["stream"] != true {
                    // A chat stream lacks the usage event that nobody asked for.
                    assert_eq!(sha256_hex(&answer.body), entry.response_sha256);
                }
                // Over HTTP/2 the authority stands in its place.
                assert_eq!(entry.headers.contains_key("host"), !is_shared, "{:?}", entry.headers);
                ids.push((entry.request_id.unwrap(), entry.cost_nano_usd));
            }
        }
    }
    let names: Vec<String> = ids.iter().map(|(id, _)| id.clone()).collect();
    for (record, (_, cost)) in world.records(&names).await.iter().zip(&ids) {
        assert_eq!((u64::try_from(record.cost.get()).unwrap(), record.basis.as_str()), (*cost, "exact"));
        assert!(record.attempts[0].provider_request_id.starts_with("req_fake_"));
    }
    // One connection for each provider of the file.
    assert_eq!(world.provider.bill.stats().connections, 2);
    world.verify(ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_where_it_is_offered() {
    serves(World::over_tls(&["h2", "http/1.1"], first_request::yaml), true).await;
    serves(World::over_tls(&["h2"], versioned("http2")), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_1_is_spoken_where_nothing_else_is_offered_or_wanted() {
    serves(World::over_tls(&["http/1.1"], first_request::yaml), false).await;
    serves(World::over_tls(&["h2", "http/1.1"], versioned("http1")), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_share_a_connection_and_one_that_is_left_ends_alone() {
    let world = World::over_tls(&["h2"], first_request::yaml);
    let held = streamed(chat(&json!({ "chunks": 4, "gate": "go", "gate_at_chunk": 2 })));
    let mut streams = Vec::new();
    for _ in 0..90 {
        let mut live = Live::post(&world.url(CHAT), KEY, held.to_string()).await;
        assert_eq!(live.status, 200);
        live.until("chat.completion.chunk").await;
        streams.push(live);
    }
    // Some clients leave; the others are not disturbed.
    streams.truncate(60);
    world.provider.open_gate("go");
    for stream in &mut streams {
        assert!(String::from_utf8(stream.rest().await).unwrap().ends_with("data: [DONE]\n\n"));
    }
    assert_eq!(world.provider.bill.stats().connections, 1);
    assert_eq!(world.provider.bill.settled().await.len(), 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_ends_its_streams_with_one_error_and_the_next_request_makes_another() {
    let world = World::over_tls(&["h2"], first_request::yaml);
    let answer = world.ask(CHAT, &streamed(chat(&json!({ "chunks": 4, "cut_after_chunks": 2 })))).await;
    assert_eq!((answer.status, answer.text().matches("\"error\"").count()), (200, 1), "{}", answer.text());
    let answer = world.ask(CHAT, &chat(&json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.provider.bill.stats().connections, 2);
}
