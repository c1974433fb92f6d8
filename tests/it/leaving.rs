//! Clients that leave in the middle of a stream: cut at once, read on briefly, or read to the end, as the provider's row
//! says; and what is booked for it.
//!
//! Rule: the gateway runs as a process. What was counted to the end is exact; what was cut is an estimate and says so. The
//! provider tells its counters in every chunk, so that an estimate can be compared with its bill.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::patience::within;
use crate::support::raw::Live;
use crate::support::world::{World, reserved_nano_usd, streamed};
use helix_fake_provider::{Entry, State};
use helix_shared::record::Record;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// The same provider as three kinds, with one price.
fn yaml(provider: &str) -> String {
    let (mut providers, mut models, mut prices) = (String::new(), String::new(), String::new());
    for kind in ["vllm", "fireworks", "groq"] {
        providers.push_str(&format!("  {kind}: {{ kind: {kind}, base_url: \"{provider}/v1\", api_key: sk-canary }}\n"));
        models
            .push_str(&format!("  - {{ match: gpt-{kind}, backends: [{{ provider: {kind}, model: gpt-5-mini }}] }}\n"));
        prices.push_str(&format!("  - {{ provider: {kind}, model: gpt-5-mini, input: \"0.25\", output: \"2\" }}\n"));
    }
    let head = format!("models:\n{models}prices:\n{prices}providers:\n{providers}");
    first_request::yaml(provider).replacen("providers:\n", &head, 1)
}

/// Asks for a stream of two pieces and leaves after the first; returns the record and the line on the bill.
async fn leave(world: &World, model: &str, script: &Value) -> (Record, Entry) {
    let mut script = script.clone();
    script["text"] = json!("one-two");
    script["chunks"] = json!(2);
    script["output_tokens"] = json!(10);
    script["usage_in_every_chunk"] = json!(true);
    let content = format!("Say hello. [[fake:{script}]]");
    let request = json!({ "model": model, "max_tokens": 64, "messages": [{ "role": "user", "content": content }] });
    let mut live = Live::post(&world.url(CHAT), KEY, streamed(request).to_string()).await;
    within("the first chunk", live.until("one")).await;
    let id = live.headers["x-request-id"].to_str().unwrap().to_owned();
    drop(live);
    let entry = within("the bill", world.provider.bill.settled()).await.pop().unwrap();
    let record = world.record(&id).await;
    assert_eq!(record.http_status, 499, "{record:?}");
    assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()), "{record:?}");
    (record, entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ones_own_is_cut_at_once_and_what_came_is_an_estimate() {
    let world = World::start(yaml);
    let (record, entry) = leave(&world, "gpt-vllm", &json!({ "gate": "never", "gate_at_chunk": 2 })).await;
    assert_eq!(entry.state, State::ClientGone, "{entry:?}");
    assert_eq!((record.basis.as_str(), record.cost.get()), ("estimated", i64::try_from(entry.cost_nano_usd).unwrap()));
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stops_where_it_is_cut_is_read_on_briefly_and_then_estimated() {
    let world = World::start(yaml);
    let (record, entry) = leave(&world, "gpt-fireworks", &json!({ "gate": "never", "gate_at_chunk": 2 })).await;
    assert_eq!(entry.state, State::ClientGone, "{entry:?}");
    assert_eq!((record.basis.as_str(), record.cost.get()), ("estimated", i64::try_from(entry.cost_nano_usd).unwrap()));
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_bills_on_is_read_to_its_end_and_the_bill_is_exact() {
    let world = World::start(yaml);
    // Longer than the others are read on.
    let (record, entry) = leave(&world, "gpt-groq", &json!({ "chunk_delay_ms": 4000 })).await;
    assert_eq!(entry.state, State::Complete, "{entry:?}");
    assert_eq!((record.basis.as_str(), record.cost.get()), ("exact", i64::try_from(entry.cost_nano_usd).unwrap()));
    world.verify(1);
}
