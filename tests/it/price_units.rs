//! Prices that the operator states by the picture, the second, the character and the search: booked and bounded by them.
//!
//! Rule: nothing of these models is in the catalogue; what is booked is what the provider bills by a table of its own.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::world::{World, reserved_nano_usd};
use serde_json::{Value, json};

fn yaml(provider: &str) -> String {
    let head = format!(
        "prices:
  - {{ provider: house, model: \"*-painter\", input: \"0\", output: \"0\", per_image: \"0.04\" }}
  - {{ provider: house, model: \"*-speaker\", input: \"0\", output: \"0\", per_character: \"0.000015\" }}
  - {{ provider: house, model: \"*-listener\", input: \"0\", output: \"0\", per_second: \"0.0001\" }}
models:
  - {{ match: \"gpt-house-*\", backends: [house] }}
providers:
  house: {{ kind: openai_compatible, base_url: \"{provider}/v1\", api_key: sk-canary-house }}
"
    );
    first_request::yaml(provider).replacen("providers:\n", &head, 1)
}

fn prices() -> Value {
    json!({
        "gpt-house-painter": { "input": 0, "image": 40_000_000_000_u64 },
        "gpt-house-speaker": { "input": 0, "character": 15_000_000 },
        "gpt-house-listener": { "input": 0, "sound_second": 100_000_000 },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_characters_and_seconds_cost_what_the_file_says() {
    let world = World::start(yaml);
    world.provider.set_script(json!({ "prices": prices(), "no_usage": true, "images": 2 })).unwrap();
    let pictures = json!({ "model": "gpt-house-painter", "prompt": "A house.", "n": 2 });
    let speech = json!({ "model": "gpt-house-speaker", "input": "Fourteen signs", "voice": "any" });
    let mut ids = Vec::new();
    for (path, request) in [("/v1/images/generations", pictures), ("/v1/audio/speech", speech)] {
        let answer = world.ask(path, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        ids.push(answer.header("x-request-id").to_owned());
    }
    let head = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-house-listener\r\n\
                --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n";
    let sixteen_bytes = b"\xff\xf3\x14\xc4456789012345";
    let form = [head.as_bytes(), sixteen_bytes, b"\r\n--b--\r\n"].concat();
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    let heard = world.client.post(&world.url("/v1/audio/transcriptions"), &headers, form).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    ids.push(heard.header("x-request-id").to_owned());
    let bill = world.provider.bill.settled().await;
    let records = world.records(&ids).await;
    assert_eq!(records.iter().map(|record| record.cost.get()).collect::<Vec<_>>(), [80_000_000, 210_000, 400]);
    for (record, entry) in records.iter().zip(&bill) {
        assert_eq!(record.cost.get(), i64::try_from(entry.cost_nano_usd).unwrap(), "{record:?}");
        assert_eq!(record.basis.as_str(), "exact");
        assert!(record.cost.get() <= reserved_nano_usd(record), "{record:?}");
    }
    world.verify(3);
}
