//! Streams that end, break, stall or swell: what the client sees, what is recorded, what memory it takes.
//!
//! Rule: whatever the provider does, the client gets exactly one last word, and the record a cost that the provider's own
//! bill confirms, or an estimate that was reserved.

use crate::first_request;
use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::patience::within;
use crate::support::raw::Live;
use crate::support::world::{World, chat, messages, reserved_nano_usd, streamed};
use helix_fake_provider::{Entry, State};
use helix_shared::record::{Decision, Record};
use serde_json::{Value, json};
use std::collections::HashMap;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// The events of a stream that ends between two of them: name and data.
fn events(stream: &str) -> Vec<(String, String)> {
    assert!(stream.is_empty() || stream.ends_with("\n\n"), "an unfinished event: {stream}");
    let field = |event: &str, name: &str| {
        let values = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>().join("\n")
    };
    let events = stream.replace("\r\n", "\n").replace('\r', "\n");
    let events = events.split("\n\n").filter(|event| !event.trim_matches('\n').is_empty());
    events.map(|event| (field(event, "event"), field(event, "data"))).collect()
}

/// One character a byte, `~` for those that are not ASCII: a cut falls inside of characters, too.
fn ascii(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '~' }).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastWord {
    Done,
    Error,
}

/// What an event says about the end of the stream.
fn last_word((name, data): &(String, String)) -> Option<LastWord> {
    let json: Value = serde_json::from_str(data).unwrap_or_default();
    if data == "[DONE]" || json["type"] == "message_stop" {
        return Some(LastWord::Done);
    }
    (name == "error" || json["error"].is_object()).then_some(LastWord::Error)
}

/// Checks that there is one last word, at the end, and returns it with the code or type of an error.
fn only_last_word(stream: &str) -> (LastWord, String) {
    let events = events(stream);
    let words: Vec<_> = events.iter().filter_map(last_word).collect();
    assert_eq!(words.len(), 1, "last words in {stream}");
    let last = events.last().unwrap();
    assert_eq!(last_word(last), Some(words[0]), "something follows the last word: {stream}");
    let error = serde_json::from_str::<Value>(&last.1).unwrap_or_default()["error"].take();
    let code = error["code"].as_str().or_else(|| error["type"].as_str()).unwrap_or_default();
    (words[0], code.to_owned())
}

/// A stream of the provider that is cut somewhere.
struct Cut {
    path: &'static str,
    request: Value,
    /// The provider's whole stream, and the number in its ids.
    whole: String,
    number: u64,
    is_usage_asked: bool,
}

impl Cut {
    async fn new(world: &World, path: &'static str, request: Value, is_usage_asked: bool) -> Self {
        let mut asked = request.clone();
        if path == CHAT {
            asked["stream_options"] = json!({ "include_usage": true });
        }
        let headers = [("x-api-key", "sk-direct"), ("anthropic-version", "2023-06-01")];
        let whole = world.client.post(&format!("{}{path}", world.provider.url()), &headers, asked.to_string()).await;
        assert_eq!(whole.status, 200, "{}", whole.text());
        let number = world.provider.bill.settled().await.pop().unwrap().seq;
        let request = if is_usage_asked { asked } else { request };
        Self { path, request, whole: ascii(&whole.body), number, is_usage_asked }
    }

    /// The request, cut after so many bytes.
    fn at(&self, offset: usize) -> Value {
        let text = self.request["messages"][0]["content"].as_str().unwrap();
        let mut request = self.request.clone();
        request["messages"][0]["content"] = json!(text.replace("}]]", &format!(",\"cut_at_byte\":{offset}}}]]")));
        request
    }

    /// What the provider would have sent in answer to this entry's request.
    fn whole_of(&self, entry: &Entry) -> String {
        self.whole
            .replace(&format!("_fake_{}", self.number), &format!("_fake_{}", entry.seq))
            .replace(&format!("-fake-{}\"", self.number), &format!("-fake-{}\"", entry.seq))
    }

    /// Where the event with the final usage begins, where its data is complete, and where it ends.
    fn usage_event(&self, whole: &str) -> (usize, usize, usize) {
        let mark = if self.path == CHAT { "\"choices\":[],\"usage\":{" } else { "event: message_delta" };
        let at = whole.find(mark).unwrap();
        let start = whole[..at].rfind("\n\n").unwrap() + 2;
        let end = at + whole[at..].find("\n\n").unwrap();
        (start, end, end + 2)
    }

    fn check_client(&self, offset: usize, answer: &Answer, entry: &Entry) {
        let whole = self.whole_of(entry);
        let sent = &whole[..offset.min(whole.len())];
        let got = ascii(&answer.body);
        assert!(answer.is_whole, "cut at {offset}: the answer breaks off");
        let is_done = if self.path == CHAT { sent.contains("[DONE]") } else { sent.contains("\"message_stop\"}") };
        let (word, code) = only_last_word(&got);
        assert_eq!(word, if is_done { LastWord::Done } else { LastWord::Error }, "cut at {offset}: {got}");
        if word == LastWord::Error {
            assert_eq!(code, if self.path == CHAT { "upstream_disconnected" } else { "api_error" }, "cut at {offset}");
        }
        let visible = |text: &str| {
            let (start, _, end) = self.usage_event(&whole);
            let is_hidden = self.path == CHAT && !self.is_usage_asked && text.len() > start;
            let rest = text.get(end..).unwrap_or_default();
            if is_hidden { format!("{}{rest}", &text[..start]) } else { text.to_owned() }
        };
        // Every event that came whole is passed on as it was; of one that did not, at most its beginning is.
        let events_end = sent.rfind("\n\n").map_or(0, |at| at + 2);
        assert!(got.starts_with(&visible(&sent[..events_end])), "cut at {offset}: {got}");
        let own = if word == LastWord::Error { got.trim_end().rfind("\n\n").map_or(0, |at| at + 2) } else { got.len() };
        assert!(visible(&whole).starts_with(got[..own].trim_end()), "cut at {offset}: {got}");
    }

    fn check_record(&self, offset: usize, record: &Record, entry: &Entry) {
        let (_, is_known_at, _) = self.usage_event(&self.whole_of(entry));
        let reserved = reserved_nano_usd(record);
        if offset >= is_known_at {
            let billed = i64::try_from(entry.cost_nano_usd).unwrap();
            assert_eq!((record.cost.get(), record.basis.as_str()), (billed, "exact"), "cut at {offset}");
        } else {
            assert_eq!(record.basis.as_str(), "estimated", "cut at {offset}: {record:?}");
        }
        assert!((1..=reserved).contains(&record.cost.get()), "cut at {offset}: {record:?}");
    }
}

/// Cuts a stream at every byte of it, through one gateway.
async fn cut_everywhere(path: &'static str, request: Value, is_usage_asked: bool) {
    let world = World::start(first_request::yaml);
    let cut = Cut::new(&world, path, request, is_usage_asked).await;
    // Numbers in ids may grow by a few digits while the offsets go up; one more byte is the whole stream for sure.
    let offsets = 1..=cut.whole.len() + 40;
    let mut answers = Vec::new();
    for offset in offsets.clone() {
        let answer = within("an answer", world.ask(path, &cut.at(offset))).await;
        assert_eq!(answer.status, 200, "cut at {offset}: {}", answer.text());
        answers.push(answer);
    }
    let entries: HashMap<_, _> =
        world.provider.bill.settled().await.into_iter().map(|entry| (entry.request_id.clone(), entry)).collect();
    let ids: Vec<_> = answers.iter().map(|answer| answer.header("x-request-id").to_owned()).collect();
    let records = world.records(&ids).await;
    for ((offset, answer), record) in offsets.zip(&answers).zip(&records) {
        let entry = &entries[&Some(record.request_id.clone())];
        cut.check_client(offset, answer, entry);
        cut.check_record(offset, record, entry);
    }
    let last = &entries[&Some(records.last().unwrap().request_id.clone())];
    assert_eq!(last.state, State::Complete, "the last one was not cut");
    world.verify(ids.len());
}

fn short() -> Value {
    json!({ "input_tokens": 30, "output_tokens": 6, "text": "Grüße 東京", "chunks": 1 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_stream_cut_at_every_byte_has_one_last_word_and_the_right_bill() {
    cut_everywhere(CHAT, streamed(chat(&short())), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_stream_with_usage_cut_at_every_byte_has_one_last_word_and_the_right_bill() {
    cut_everywhere(CHAT, streamed(chat(&short())), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stream_cut_at_every_byte_has_one_last_word_and_the_right_bill() {
    cut_everywhere(MESSAGES, streamed(messages(&short())), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_chunk_arrives_before_the_second_exists() {
    let world = World::start(first_request::yaml);
    for (path, request) in [(CHAT, chat as fn(&Value) -> Value), (MESSAGES, messages)] {
        let script = json!({ "text": "one-two", "chunks": 2, "gate": path, "gate_at_chunk": 2 });
        let mut live = Live::post(&world.url(path), KEY, streamed(request(&script)).to_string()).await;
        assert_eq!(live.status, 200);
        let first = within("the first chunk", live.until("one")).await;
        assert!(!String::from_utf8_lossy(&first).contains("two"), "the second chunk cannot exist yet");
        assert_eq!(world.provider.bill.stats().in_flight, 1);
        world.provider.open_gate(path);
        let rest = within("the rest", live.rest()).await;
        only_last_word(&String::from_utf8([first, rest].concat()).unwrap());
        let record = world.record(live.headers["x-request-id"].to_str().unwrap()).await;
        assert!(record.first_byte_us > 0 && record.first_byte_us < record.total_us);
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_64_megabytes_passes_in_bounded_memory() {
    const LINE: u64 = 64 << 20;
    let world = World::start(first_request::yaml);
    assert_eq!(world.ask(CHAT, &chat(&json!({}))).await.status, 200);
    let before = world.peak_kib();
    let script = json!({ "huge_line_bytes": LINE, "output_tokens": 20 });
    let mut with_usage = streamed(chat(&script));
    with_usage["stream_options"] = json!({ "include_usage": true });
    for (path, request) in
        [(CHAT, streamed(chat(&script))), (CHAT, with_usage), (MESSAGES, streamed(messages(&script)))]
    {
        let mut live = Live::post(&world.url(path), KEY, request.to_string()).await;
        let (mut bytes, mut tail) = (0_u64, Vec::new());
        while let Some(piece) = within("the next piece", live.next()).await {
            let piece = piece.unwrap();
            bytes += u64::try_from(piece.len()).unwrap();
            tail.extend_from_slice(&piece);
            tail.drain(..tail.len().saturating_sub(4096));
        }
        assert!(bytes > LINE, "{bytes} bytes came");
        let tail = String::from_utf8_lossy(&tail).into_owned();
        let tail = tail.trim_start_matches('x').trim_start();
        assert_eq!(only_last_word(tail).0, LastWord::Done, "{tail}");
        let record = world.record(live.headers["x-request-id"].to_str().unwrap()).await;
        let entry = world.provider.bill.settled().await.pop().unwrap();
        let billed = i64::try_from(entry.cost_nano_usd).unwrap();
        assert_eq!((record.cost.get(), record.basis.as_str()), (billed, "exact"));
    }
    let peak = world.peak_kib();
    eprintln!("{before} KiB before, {peak} KiB at most");
    assert!(peak - before < 32 << 10, "the gateway took {peak} KiB, {before} before");
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_error_inside_a_stream_is_the_last_word() {
    let world = World::start(first_request::yaml);
    let script = json!({ "error_midstream": 2, "chunks": 4 });
    for (path, request, code) in
        [(CHAT, chat(&script), "server_error"), (MESSAGES, messages(&script), "overloaded_error")]
    {
        let answer = world.ask(path, &streamed(request)).await;
        let (word, found) = only_last_word(&answer.text());
        assert_eq!((word, found.as_str(), answer.is_whole), (LastWord::Error, code, true), "{}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!(record.decision, Decision::Failed { stage: "model".into(), code: "upstream_error".into() });
        assert_eq!(record.basis.as_str(), "estimated");
        assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()));
    }
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reset_or_silent_in_the_middle_ends_with_one_error_and_an_estimate_n10() {
    let world = World::start(|provider| {
        let timeout = "timeout: { between_chunks: 500ms }, ";
        first_request::yaml(provider).replace("base_url:", &format!("{timeout}base_url:"))
    });
    for (script, code, kind) in [
        (json!({ "cut_after_chunks": 2, "cut_rst": true, "chunks": 4 }), "upstream_disconnected", "api_error"),
        (json!({ "hang_after_chunks": 2, "chunks": 4 }), "upstream_timeout", "timeout_error"),
    ] {
        for (path, request, expected) in [(CHAT, chat(&script), code), (MESSAGES, messages(&script), kind)] {
            let answer = within("the end", world.ask(path, &streamed(request))).await;
            let (word, found) = only_last_word(&answer.text());
            assert_eq!((word, found.as_str(), answer.is_whole), (LastWord::Error, expected, true), "{}", answer.text());
            // The limit that passed is named, in each dialect.
            assert_eq!(
                answer.text().contains("timeout.between_chunks"),
                code == "upstream_timeout",
                "{}",
                answer.text()
            );
            let record = world.record(answer.header("x-request-id")).await;
            assert_eq!(record.decision, Decision::Failed { stage: "model".into(), code: code.into() });
            assert_eq!(record.basis.as_str(), "estimated");
            assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()));
        }
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_not_count_is_estimated() {
    let world = World::start(first_request::yaml);
    let script = json!({ "no_usage": true, "output_tokens": 20 });
    for (path, request) in [
        (CHAT, streamed(chat(&script))),
        (MESSAGES, streamed(messages(&script))),
        (CHAT, chat(&script)),
        (MESSAGES, messages(&script)),
    ] {
        let answer = world.ask(path, &request).await;
        assert_eq!((answer.status, answer.is_whole), (200, true));
        if request["stream"] == true {
            assert_eq!(only_last_word(&answer.text()).0, LastWord::Done);
        }
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((&record.decision, record.basis.as_str()), (&Decision::Allowed, "estimated"), "{path}");
        assert!(record.usage.input_tokens > 0 && record.usage.output_tokens > 0, "{record:?}");
        assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()));
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_made_with_the_models_own_vocabulary_where_it_was_published() {
    let world = World::start(first_request::yaml);
    // Nine tokens of `o200k_base`; by its length it would be a tenth less, or with the call of a tool far more.
    let said = "Hello! How can I assist you today?";
    let uncounted = json!({ "no_usage": true, "text": said, "chunks": 4 });
    let cut = json!({ "text": said, "chunks": 4, "error_midstream": 4 });
    for (request, output) in [
        (streamed(chat(&uncounted)), 9),
        (chat(&uncounted), 9),
        (streamed(chat(&cut)), 9),
        (streamed(chat(&json!({ "no_usage": true, "text": " and".repeat(300), "chunks": 300 }))), 300),
    ] {
        let answer = world.ask(CHAT, &request).await;
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((record.basis.as_str(), record.usage.output_tokens), ("estimated", output), "{}", answer.text());
        assert!((10..400).contains(&record.usage.input_tokens), "{record:?}");
        assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()));
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_left_is_read_on_for_its_bill_n8() {
    let world = World::start(first_request::yaml);
    for (path, request) in [(CHAT, chat as fn(&Value) -> Value), (MESSAGES, messages)] {
        let script = json!({ "text": "one-two", "chunks": 2, "gate": path, "gate_at_chunk": 2 });
        let mut live = Live::post(&world.url(path), KEY, streamed(request(&script)).to_string()).await;
        within("the first chunk", live.until("one")).await;
        let id = live.headers["x-request-id"].to_str().unwrap().to_owned();
        drop(live);
        world.provider.open_gate(path);
        let record = world.record(&id).await;
        let entry = within("the bill", world.provider.bill.settled()).await.pop().unwrap();
        let billed = i64::try_from(entry.cost_nano_usd).unwrap();
        match entry.state {
            // The usual way: the provider could say its last word, and it was heard.
            State::Complete => assert_eq!((record.cost.get(), record.basis.as_str()), (billed, "exact")),
            // On a machine that is too slow for that, it was cut.
            _ => assert_eq!(record.basis.as_str(), "estimated"),
        }
        assert!((1..=reserved_nano_usd(&record)).contains(&record.cost.get()));
    }
    world.verify(2);
}
