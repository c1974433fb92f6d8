//! Pictures and sound through the gateway: passed as they are, charged by the token, the picture, the character and the
//! second, and bounded before they are sent.
//!
//! Rule: the gateway runs as a process and the provider keeps its own bill, by a table of its own.

use crate::first_request;
use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::world::{World, reserved_nano_usd, streamed};
use helix_fake_provider::sha256_hex;
use helix_shared::record::{Decision, Record};
use serde_json::{Value, json};

const GENERATIONS: &str = "/v1/images/generations";
const EDITS: &str = "/v1/images/edits";
const SPEECH: &str = "/v1/audio/speech";
const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

fn yaml(provider: &str) -> String {
    first_request::yaml(provider).replace(r#""text-*""#, r#""text-*", "tts-*", "whisper-*""#)
}

/// A form; a file has a name after its field's.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parts {
        let (name, file) = name.split_once('@').map_or((*name, String::new()), |(name, file)| {
            (name, format!("; filename=\"{file}\"\r\nContent-Type: application/octet-stream"))
        });
        body.extend_from_slice(
            format!("--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0undary--\r\n");
    body
}

/// A file that says it is MP3, of so many bytes.
fn mp3(bytes: usize) -> Vec<u8> {
    let mut file = vec![7_u8; bytes];
    file[..4].copy_from_slice(&[0xff, 0xf3, 0x14, 0xc4]);
    file
}

/// The head of a FLAC that says it plays so long.
fn flac(ms: u64) -> Vec<u8> {
    let packed: u64 = (48_000 << 44) | (15 << 36) | (ms * 48);
    [b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0".as_slice(), &packed.to_be_bytes(), &[0; 16]].concat()
}

async fn post_form(world: &World, path: &str, body: Vec<u8>) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=\"b0undary\"")];
    world.client.post(&world.url(path), &headers, body).await
}

/// Compares each record with its line on the provider's bill, and returns the records.
async fn costs_agree(world: &World) -> Vec<Record> {
    let entries = world.provider.bill.settled().await;
    let ids: Vec<String> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    let records = world.records(&ids).await;
    for (record, entry) in records.iter().zip(&entries) {
        assert!(entry.priced && entry.cost_nano_usd > 0, "{entry:?}");
        let billed = i64::try_from(entry.cost_nano_usd).unwrap();
        assert_eq!((record.cost.get(), record.basis.as_str()), (billed, "exact"), "{entry:?}");
        assert!(record.cost.get() <= reserved_nano_usd(record), "{record:?}");
    }
    records
}

fn script(script: &Value) -> String {
    format!("A house. [[fake:{script}]]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_charged_by_its_tokens_streamed_or_not_and_passes_as_it_is() {
    let world = World::start(yaml);
    let large = json!({ "picture_bytes": 900_000, "output_tokens": 1056 });
    let request =
        json!({ "model": "gpt-image-2", "prompt": script(&large), "quality": "medium", "n": 2, "svg": { "x": 1 } });
    let mut stream = streamed(json!({ "model": "gpt-image-2", "prompt": script(&large), "partial_images": 2 }));
    stream["size"] = json!("1024x1024");
    for request in [request, stream] {
        let answer = world.ask(GENERATIONS, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_sha256, sha256_hex(request.to_string().as_bytes()), "the request changed");
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "the answer changed");
    }
    let records = costs_agree(&world).await;
    assert_eq!(records.iter().map(|record| record.usage.image_output_tokens).collect::<Vec<_>>(), [2112, 1256]);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_comes_as_a_form_with_pictures_and_a_mask_m6() {
    let world = World::start(|provider| {
        yaml(provider)
            + "models:\n  - { match: gpt-image-2, backends: [{ provider: openai, model: gpt-image-2 }] }\n  - { match: painter, backends: [{ provider: openai, model: gpt-image-2 }] }\n"
    });
    let prompt = script(&json!({ "output_tokens": 272 }));
    let edit = |model: &'static str| {
        form(&[
            ("image[]@a.png", b"\x89PNG\r\n--b0 one"),
            ("image[]@b.png", b"two"),
            ("mask@m.png", b"\xff\xfe"),
            ("model", model.as_bytes()),
            ("prompt", prompt.as_bytes()),
            ("quality", b"low"),
        ])
    };
    let answer = post_form(&world, EDITS, edit("gpt-image-2")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = world.provider.bill.settled().await.pop().unwrap();
    assert_eq!(entry.request_sha256, sha256_hex(&edit("gpt-image-2")), "the form changed");
    assert_eq!(costs_agree(&world).await[0].usage.image_input_tokens, 300);
    let none = post_form(&world, EDITS, form(&[("image@a.png", b"x"), ("prompt", b"y")])).await;
    assert_eq!((none.status, &none.json()["error"]["param"]), (400, &json!("model")), "{}", none.text());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_charged_one_by_one_are_charged_as_they_come_m20() {
    let world = World::start(|provider| {
        let own = format!("providers:\n  mine: {{ kind: localai, base_url: \"{provider}/v1\" }}\n");
        first_request::yaml(provider).replacen("providers:\n", &own, 1)
            + "models:\n  - { match: \"gpt-paint\", backends: [mine] }\n"
    });
    world.provider.set_script(json!({ "require_auth": false })).unwrap();
    let request = json!({ "model": "gpt-paint", "prompt": script(&json!({ "no_usage": true, "images": 3 })), "n": 4 });
    let answer = world.ask(GENERATIONS, &request).await;
    assert_eq!((answer.status, answer.json()["data"].as_array().unwrap().len()), (200, 3), "{}", answer.text());
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!((record.usage.images, record.cost.get(), record.basis.as_str()), (3, 0, "exact"));
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_the_budget_cannot_bear_is_refused_before_it_is_sent() {
    let world = World::start(|provider| yaml(provider).replace("limit_usd: \"25\"", "limit_usd: \"0.40\""));
    let ask = |quality: &str| json!({ "model": "gpt-image-2", "prompt": "A house.", "quality": quality });
    let refused = world.ask(GENERATIONS, &ask("high")).await;
    assert_eq!((refused.status, refused.header("x-helix-error-code")), (429, "budget_exceeded"), "{}", refused.text());
    let answer = world.ask(GENERATIONS, &ask("low")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.provider.bill.settled().await.len(), 1);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speech_is_charged_by_the_character_and_passes_chunked_m10() {
    let world = World::start(yaml);
    let request = json!({ "model": "tts-1", "input": "Grüße aus 東京", "voice": "alloy", "response_format": "mp3" });
    let answer = world.ask(SPEECH, &request).await;
    assert_eq!((answer.status, answer.header("content-type"), answer.body.len()), (200, "audio/mpeg", 2800));
    let entry = world.provider.bill.settled().await.pop().unwrap();
    assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "the sound changed");
    assert_eq!(costs_agree(&world).await[0].usage.characters, 12);
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speech_that_breaks_off_breaks_the_connection_and_is_charged_m10() {
    let world = World::start(yaml);
    let script = r#"Hi. [[fake:{"cut_after_chunks":2}]]"#;
    let request = json!({ "model": "tts-1", "input": script, "voice": "alloy" });
    let answer = world.ask(SPEECH, &request).await;
    // What the provider sent last may go down with its connection.
    let came = answer.body.len();
    assert!(!answer.is_whole && came <= 1400 && came % 700 == 0, "{came} bytes");
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!((record.decision.as_str(), record.basis.as_str()), ("failed", "exact"));
    assert_eq!(record.usage.characters, u64::try_from(script.chars().count()).unwrap());
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speech_of_tokens_is_metered_from_its_events_and_estimated_from_sound() {
    let world = World::start(yaml);
    let mut request = json!({ "model": "gpt-4o-mini-tts", "input": "Hello there, how are you?", "voice": "alloy" });
    let sound = world.ask(SPEECH, &request).await;
    let record = world.record(sound.header("x-request-id")).await;
    assert!(record.cost.get() > 0 && record.basis.as_str() == "estimated", "{record:?}");
    request["stream_format"] = json!("sse");
    world.provider.bill.clear();
    let events = world.ask(SPEECH, &request).await;
    assert!(events.status == 200 && events.text().contains("speech.audio.done"), "{}", events.text());
    assert_eq!(costs_agree(&world).await[0].usage.audio_output_tokens, 50);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_is_charged_by_the_second_or_by_the_token_in_every_format_m7_m8_m9_m18() {
    let world = World::start(yaml);
    let prompt = r#"[[fake:{"sound_ms":12300}]]"#;
    let sound = [flac(12_300).as_slice(), b"\r\n--b0undar\r\n\0\x01\xff", &[7; 8_000]].concat();
    let sound = sound.as_slice();
    let granular: (&str, &[u8]) = ("timestamp_granularities[]", b"word");
    for (model, format, stream) in [
        ("whisper-1", "json", false),
        ("whisper-1", "verbose_json", false),
        ("gpt-4o-transcribe", "json", false),
        ("gpt-4o-transcribe", "json", true),
    ] {
        let mut parts: Vec<(&str, &[u8])> = vec![
            ("model", model.as_bytes()),
            ("response_format", format.as_bytes()),
            ("prompt", prompt.as_bytes()),
            granular,
            ("file@a.wav", sound),
        ];
        if stream {
            parts.push(("stream", b"true"));
        }
        let body = form(&parts);
        let answer = post_form(&world, TRANSCRIPTIONS, body.clone()).await;
        assert_eq!(answer.status, 200, "{model} {format}: {}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        assert_eq!(entry.request_sha256, sha256_hex(&body), "the form changed");
        assert_eq!(entry.response_sha256, sha256_hex(&answer.body), "the answer changed");
        assert_eq!(answer.text().contains("data: "), stream);
    }
    let records = costs_agree(&world).await;
    assert_eq!((records[0].usage.audio_input_ms, records[0].cost.get()), (12_300, 1_230_000));
    assert_eq!(records[3].usage.audio_input_tokens, 50);
    for format in ["srt", "text"] {
        let fields: [(&str, &[u8]); 4] = [
            ("model", b"whisper-1"),
            ("response_format", format.as_bytes()),
            ("prompt", prompt.as_bytes()),
            ("file@a", sound),
        ];
        let answer = post_form(&world, TRANSCRIPTIONS, form(&fields)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"));
        let record = world.record(answer.header("x-request-id")).await;
        let ms = if format == "srt" { 12_300 } else { record.usage.audio_input_ms };
        assert_eq!((record.basis.as_str(), record.usage.audio_input_ms), ("estimated", ms), "{format}");
    }
    world.verify(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_megabytes_of_sound_stream_through_without_being_held_m17() {
    let world = World::start(yaml);
    let sound = mp3(20 << 20);
    let first = form(&[("model", b"whisper-1"), ("file@a.wav", &mp3(100))]);
    assert_eq!(post_form(&world, TRANSCRIPTIONS, first).await.status, 200);
    let before = world.peak_kib();
    let body = form(&[("model", b"whisper-1"), ("file@a.wav", &sound)]);
    let expected = sha256_hex(&body);
    let answer = post_form(&world, TRANSCRIPTIONS, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.provider.bill.settled().await.pop().unwrap().request_sha256, expected);
    let grown = world.peak_kib() - before;
    assert!(grown < 8 << 10, "{grown} KiB for a file of 20 MiB");
    // A client that says its model last has the file held, once.
    let body = form(&[("file@a.wav", &sound), ("model", b"whisper-1")]);
    let answer = post_form(&world, TRANSCRIPTIONS, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let grown = world.peak_kib() - before;
    assert!(grown < 72 << 10, "{grown} KiB for a file of 20 MiB");
    costs_agree(&world).await;
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_tried_elsewhere_only_while_it_has_not_begun() {
    let world = World::start(|provider| {
        let own =
            "providers:\n  away: { kind: openai, base_url: \"http://127.0.0.1:1/v1\", api_key: sk-canary-away }\n";
        yaml(provider).replacen("providers:\n", own, 1)
            + "models:\n  - { match: whisper-1, backends: [away, openai] }\n  - { match: \"gpt-4o-*\", backends: [openai, away] }\n"
    });
    let sound = mp3(2 << 20);
    let body = form(&[("model", b"whisper-1"), ("file@a.wav", &sound)]);
    let answer = post_form(&world, TRANSCRIPTIONS, body).await;
    assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{}", answer.text());
    world.provider.set_script(json!({ "reset": true })).unwrap();
    let body = form(&[("model", b"gpt-4o-transcribe"), ("file@a.wav", &sound)]);
    let answer = post_form(&world, TRANSCRIPTIONS, body).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("cannot be sent again"), "{}", answer.text());
    let record = world.record(answer.header("x-request-id")).await;
    assert_eq!(record.attempts.len(), 1, "{record:?}");
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_the_api_refuses_and_so_does_a_body_that_is_no_form() {
    let world = World::start(yaml);
    let request = json!({ "model": "claude-haiku-4-5", "prompt": "A house." });
    let answer = world.ask(GENERATIONS, &request).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unsupported_backend"));
    let answer = world.ask(TRANSCRIPTIONS, &json!({ "model": "whisper-1" })).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "invalid_request"), "{}", answer.text());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_model_behind_the_file_aborts_the_upload_and_costs_nothing() {
    let world = World::start(yaml);
    let sound = mp3(2 << 20);
    for (name, value) in [("model", "gpt-4o-transcribe"), ("response_format", "text")] {
        let parts: [(&str, &[u8]); 4] =
            [("model", b"whisper-1"), ("response_format", b"json"), ("file@a.wav", &sound), (name, value.as_bytes())];
        let answer = post_form(&world, TRANSCRIPTIONS, form(&parts)).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "invalid_request"), "{}", answer.text());
        assert!(answer.text().contains(&format!("`{name}` is given twice")), "{}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((record.requested_model.as_str(), record.cost.get()), ("whisper-1", 0), "{record:?}");
        assert_eq!(record.http_status, 400, "{record:?}");
        assert!(
            matches!(&record.decision, Decision::Denied { stage, code } if stage == "request" && code == "invalid_request"),
            "{record:?}"
        );
    }
    assert!(world.provider.bill.settled().await.is_empty());
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_a_provider_may_read_otherwise_is_refused_before_it_is_sent() {
    let world = World::start(yaml);
    let bearer = format!("Bearer {KEY}");
    let body = form(&[("model", b"whisper-1"), ("file@a.wav", &mp3(100))]);
    let plain = ("content-type", "multipart/form-data; boundary=b0undary");
    let refused: [&[(&str, &str)]; 4] = [
        &[plain, ("content-type", "multipart/form-data; boundary=other")],
        &[("content-type", "multipart/form-data; boundary=b0undary; boundary=other")],
        &[("content-type", "multipart/form-data; boundary=b0undary; charset=utf-7")],
        &[("content-type", "multipart/form-data; boundary*=utf-8''b0undary")],
    ];
    for headers in refused {
        let headers = [&[("authorization", bearer.as_str())][..], headers].concat();
        let answer = world.client.post(&world.url(TRANSCRIPTIONS), &headers, body.clone()).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "invalid_request"), "{headers:?}");
        assert!(answer.text().contains("Content-Type"), "{}", answer.text());
    }
    let flag = form(&[("model", b"whisper-1"), ("stream", b"1"), ("file@a.wav", &mp3(100))]);
    let answer = post_form(&world, TRANSCRIPTIONS, flag).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("stream"), "{}", answer.text());
    assert!(world.provider.bill.settled().await.is_empty());
    world.verify(5);
}

/// Under a hard budget of $5 the second costs $0.0001 at this model.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_reserves_as_long_as_it_says_it_plays_and_one_of_unknown_length_is_refused_under_a_hard_budget() {
    let world = World::start(yaml);
    // an hour of silence in 300 bytes
    let silence = [flac(3_600_000), vec![0; 300]].concat();
    let prompt = r#"[[fake:{"sound_ms":3600000}]]"#;
    let fields: [(&str, &[u8]); 3] =
        [("model", b"whisper-1"), ("prompt", prompt.as_bytes()), ("file@a.flac", silence.as_slice())];
    let answer = post_form(&world, TRANSCRIPTIONS, form(&fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let records = costs_agree(&world).await;
    assert_eq!(records[0].usage.audio_input_ms, 3_600_000);
    let page = |position: u64| [b"OggS\0\0".as_slice(), &position.to_le_bytes(), &[0; 14], b"OpusHead"].concat();
    let voice = [page(0), page(48_000 * 60), vec![0; 2_000]].concat();
    let prompt = r#"[[fake:{"sound_ms":60000}]]"#;
    for is_model_first in [true, false] {
        let mut fields: Vec<(&str, &[u8])> =
            vec![("model", b"whisper-1"), ("prompt", prompt.as_bytes()), ("file@a.ogg", voice.as_slice())];
        if !is_model_first {
            fields.reverse();
        }
        let answer = post_form(&world, TRANSCRIPTIONS, form(&fields)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    costs_agree(&world).await;
    let endless = [page(0), vec![0; 3 << 20]].concat();
    for (name, file) in [("file@a.ogg", endless.as_slice()), ("file@a.bin", b"#!AMR\n\0\0")] {
        let fields: [(&str, &[u8]); 2] = [("model", b"whisper-1"), (name, file)];
        let answer = post_form(&world, TRANSCRIPTIONS, form(&fields)).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, "unbounded_cost"), "{}", answer.text());
        assert!(answer.text().contains("how long this file plays is not known"), "{}", answer.text());
    }
    assert_eq!(world.provider.bill.settled().await.len(), 3);
    world.verify(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_the_provider_would_fetch_for_itself_is_refused_whatever_file_comes_along() {
    let world = World::start(yaml);
    let url = b"https://example.com/ten-hours.wav".as_slice();
    let small = mp3(2 << 20);
    let model = ("model", b"whisper-1".as_slice());
    type Part<'a> = (&'a str, &'a [u8]);
    let cases: [(Vec<Part<'_>>, &str, &str); 5] = [
        (vec![model, ("url", url)], "unbounded_cost", "`url`"),
        (vec![("file_url", url), model], "unbounded_cost", "`file_url`"),
        (vec![model, ("file", url)], "unbounded_cost", "`file`"),
        // Behind what was passed on already.
        (vec![model, ("file@a.wav", &small), ("file_id", b"file-1")], "unbounded_cost", "`file_id`"),
        (vec![model, ("language", b"de")], "invalid_request", "`file`"),
    ];
    for (parts, code, says) in &cases {
        let answer = post_form(&world, TRANSCRIPTIONS, form(parts)).await;
        assert_eq!((answer.status, answer.header("x-helix-error-code")), (400, *code), "{}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
        assert_eq!(world.record(answer.header("x-request-id")).await.cost.get(), 0);
    }
    assert!(world.provider.bill.settled().await.is_empty(), "nothing was heard");
    world.verify(cases.len());
}
