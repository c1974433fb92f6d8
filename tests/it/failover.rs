//! Two backends behind one model: when the second is asked, when it is not, and what the record says of both.
//!
//! Rule: another backend is tried only while the client has nothing; every try has its own line in the one record.

use crate::first_request;
use crate::support::client::Answer;
use crate::support::gateway::KEY;
use crate::support::patience::within;
use crate::support::world::{World, chat, messages, reserved_nano_usd, streamed};
use helix_fake_provider::{FakeProvider, Running, sha256_hex};
use helix_shared::record::{Decision, Record};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// A first backend that fails as scripted, and a second that does not: the provider of the world.
struct Pair {
    first: Running,
    world: World,
}

impl Pair {
    fn start() -> Self {
        let first = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = first.url();
        Self { world: World::start(|second| yaml(&url, second)), first }
    }

    fn script(&self, script: Value) {
        self.first.set_script(script).unwrap();
    }

    async fn ask(&self, path: &str, request: &Value) -> Answer {
        within("an answer", self.world.ask(path, request)).await
    }

    async fn record(&self, answer: &Answer) -> Record {
        self.world.record(answer.header("x-request-id")).await
    }

    /// What both providers bill so far.
    async fn bill(&self) -> (u64, u64) {
        self.first.bill.settled().await;
        self.world.provider.bill.settled().await;
        (self.first.bill.total_nano_usd(), self.world.provider.bill.total_nano_usd())
    }
}

/// Two accounts a dialect, the second under another model name.
fn yaml(first: &str, second: &str) -> String {
    let account = |name: &str, kind: &str, url: &str| {
        format!(
            "  {name}: {{ kind: {kind}, base_url: \"{url}\", api_key: sk-{name}, timeout: {{ first_byte: 1s }} }}\n"
        )
    };
    let providers = [
        account("openai-1", "openai", &format!("{first}/acct1/v1")),
        account("openai-2", "openai", &format!("{second}/acct2/v1")),
        account("anthropic-1", "anthropic", &format!("{first}/acct1")),
        account("anthropic-2", "anthropic", &format!("{second}/acct2")),
    ];
    let usual = first_request::yaml(second);
    let (_, rest) = usual.split_once("teams:").unwrap();
    format!(
        "providers:\n{}teams:{rest}models:
  - {{ match: gpt-5-mini, backends: [openai-1, {{ provider: openai-2, model: gpt-4o-mini }}] }}
  - {{ match: claude-haiku-4-5, backends: [anthropic-1, {{ provider: anthropic-2, model: claude-sonnet-4-6 }}] }}
",
        providers.concat()
    )
}

fn requests() -> [(&'static str, Value, &'static str); 4] {
    let plain = json!({});
    [
        (CHAT, chat(&plain), "gpt-4o-mini"),
        (CHAT, streamed(chat(&plain)), "gpt-4o-mini"),
        (MESSAGES, messages(&plain), "claude-sonnet-4-6"),
        (MESSAGES, streamed(messages(&plain)), "claude-sonnet-4-6"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_answers_with_its_own_trouble_is_passed_over_n19() {
    let pair = Pair::start();
    let (mut ids, mut statuses) = (Vec::new(), Vec::new());
    for status in [500, 503, 529, 429, 408, 401, 403] {
        pair.script(json!({ "status": status }));
        for (path, request, model) in requests() {
            let answer = pair.ask(path, &request).await;
            assert_eq!((answer.status, answer.is_whole), (200, true), "{status} {}", answer.text());
            assert_eq!((answer.header("x-helix-attempts"), answer.header("x-helix-model")), ("2", model));
            assert!(answer.header("x-helix-provider").ends_with("-2"));
            ids.push(answer.header("x-request-id").to_owned());
            statuses.push(status);
        }
    }
    let records = pair.world.records(&ids).await;
    let entries = pair.world.provider.bill.settled().await;
    for ((record, status), entry) in records.iter().zip(statuses).zip(entries) {
        let [first, second] = record.attempts.as_slice() else { panic!("two attempts: {record:?}") };
        assert_eq!((first.status, first.cost.get(), second.status), (status, 0, 200));
        assert!(first.backend_id.as_str().ends_with("-1") && second.backend_id.as_str().ends_with("-2"));
        assert!(first.intent != 0 && second.intent != 0 && first.intent != second.intent);
        assert_eq!((&record.decision, record.http_status, record.basis.as_str()), (&Decision::Allowed, 200, "exact"));
        assert_eq!(record.backend_id, second.backend_id.as_str());
        assert_eq!(u64::try_from(record.cost.get()).unwrap(), entry.cost_nano_usd);
        assert_eq!(entry.request_id.as_deref(), Some(record.request_id.as_str()));
        assert!(entry.path.starts_with("/acct2/v1/"), "{}", entry.path);
    }
    assert_eq!(pair.first.bill.stats().accepted, 28);
    pair.world.verify(28);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_answer_is_passed_over_and_booked_at_the_worst_case() {
    let mut pair = Pair::start();
    let mut requests_made = 0;
    let mut charged: BTreeMap<String, i64> = BTreeMap::new();
    for (script, error) in [
        (json!({ "reset": true }), "disconnected"),
        (json!({ "hang": true }), "timed_out_first_byte"),
        (json!({ "cut_at_byte": 20 }), "disconnected"),
    ] {
        pair.script(script.clone());
        for (path, request, _) in requests() {
            // A stream that has begun stays with its backend.
            if script.get("cut_at_byte").is_some() && request["stream"] == true {
                continue;
            }
            let before = pair.bill().await.1;
            let answer = pair.ask(path, &request).await;
            assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{script} {}", answer.text());
            let record = pair.record(&answer).await;
            let [first, second] = record.attempts.as_slice() else { panic!("two attempts: {record:?}") };
            assert_eq!((first.error.as_str(), first.basis.as_str()), (error, "unknown"), "{script}");
            assert_eq!((second.error.as_str(), second.basis.as_str()), ("", "exact"));
            assert_eq!(first.cost.get(), reserved_nano_usd(&record), "nobody can know what it was billed");
            assert_eq!(u64::try_from(second.cost.get()).unwrap(), pair.bill().await.1 - before);
            assert_eq!(record.cost.get(), first.cost.get() + second.cost.get());
            assert_eq!(record.basis.as_str(), "unknown", "the least certain basis of both");
            for attempt in [first, second] {
                *charged.entry(attempt.backend_id.as_str().to_owned()).or_default() += attempt.cost.get();
            }
            requests_made += 1;
        }
    }
    assert_eq!(charged.len(), 4);
    assert!(pair.world.gateway.stop(), "an orderly end");
    // each provider is named with what it charged, not with what the one that answered at last was asked for
    let report = pair.world.gateway.command(&["ledger", "report", "--group-by", "provider"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let reported = report["rows"].as_array().unwrap().iter();
    let reported =
        reported.map(|row| (row["provider"].as_str().unwrap().to_owned(), row["costNanoUsd"].as_i64().unwrap()));
    assert_eq!(reported.collect::<BTreeMap<_, _>>(), charged, "{report}");
    assert_eq!(report["total"]["requests"], json!(requests_made));
    let month = ["billing", "export", "--format", "focus", "--group-by", "provider", "--month"];
    let now = helix_shared::time::Clock::now(&helix_shared::time::SystemClock::new()).to_string();
    let export = pair.world.gateway.command(&[month.as_slice(), &[&now[..7]]].concat());
    let export = String::from_utf8(export.stdout).unwrap();
    for provider in charged.keys() {
        assert!(export.contains(provider), "no {provider} in {export}");
    }
    pair.world.verify(requests_made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_be_reached_is_passed_over_and_costs_nothing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::start(|second| yaml(&format!("http://{nobody}"), second));
    for (path, request, _) in requests() {
        let answer = world.ask(path, &request).await;
        assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!((record.attempts[0].error.as_str(), record.attempts[0].cost.get()), ("unreachable", 0));
        assert_eq!(record.basis.as_str(), "exact");
    }
    world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_did_wrong_is_not_tried_elsewhere() {
    let pair = Pair::start();
    for status in [400, 404, 413, 422] {
        pair.script(json!({ "status": status, "error_message": "prompt is too long" }));
        for (path, request, _) in requests() {
            let answer = pair.ask(path, &request).await;
            let entry = pair.first.bill.settled().await.pop().unwrap();
            assert_eq!((answer.status, sha256_hex(&answer.body)), (status, entry.response_sha256));
            assert_eq!(answer.header("x-helix-attempts"), "1");
        }
    }
    assert_eq!(pair.bill().await, (0, 0));
    assert!(pair.world.provider.bill.entries().is_empty(), "the second was not asked");
    pair.world.verify(16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_has_begun_stays_with_its_backend() {
    let pair = Pair::start();
    for script in [json!({ "cut_after_chunks": 1 }), json!({ "error_midstream": 1 })] {
        pair.script(script);
        for (path, request, _) in requests().into_iter().filter(|(_, request, _)| request["stream"] == true) {
            let answer = pair.ask(path, &request).await;
            assert_eq!((answer.status, answer.header("x-helix-attempts"), answer.is_whole), (200, "1", true));
            assert_eq!(answer.text().matches("\"error\":{").count(), 1, "{}", answer.text());
            let record = pair.record(&answer).await;
            assert_eq!((record.attempts.len(), record.decision.as_str()), (1, "failed"));
        }
    }
    assert!(pair.world.provider.bill.entries().is_empty(), "the second was not asked");
    pair.world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_the_last_word_is_the_last_backends() {
    let pair = Pair::start();
    pair.script(json!({ "status": 500 }));
    pair.world.provider.set_script(json!({ "status": 429, "retry_after": 3, "error_message": "slow down" })).unwrap();
    for (path, request, _) in requests() {
        let answer = pair.ask(path, &request).await;
        let entry = pair.world.provider.bill.settled().await.pop().unwrap();
        assert_eq!((answer.status, sha256_hex(&answer.body)), (429, entry.response_sha256));
        assert_eq!((answer.header("retry-after"), answer.header("x-helix-attempts")), ("3", "2"));
        let record = pair.record(&answer).await;
        let statuses: Vec<_> = record.attempts.iter().map(|attempt| attempt.status).collect();
        assert_eq!((statuses, record.cost.get(), record.http_status), (vec![500, 429], 0, 429));
    }
    assert_eq!(pair.bill().await, (0, 0));
    pair.world.verify(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_at_its_limit_is_passed_over() {
    let first = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let world = World::start(|second| {
        yaml(&first.url(), second).replace("api_key: sk-openai-1", "api_key: sk-openai-1, max_in_flight: 1")
    });
    let (client, url) = (world.client.clone(), world.url(CHAT));
    let held = tokio::spawn(async move { client.ask(&url, KEY, &chat(&json!({ "gate": "full" }))).await });
    first.bill.wait_for(|stats| stats.in_flight == 1).await;
    let answer = world.ask(CHAT, &chat(&json!({}))).await;
    assert_eq!((answer.status, answer.header("x-helix-provider")), (200, "openai-2"), "{}", answer.text());
    // Nothing was sent to the first, so there is one attempt only.
    assert_eq!(answer.header("x-helix-attempts"), "1");
    first.open_gate("full");
    assert_eq!(held.await.unwrap().header("x-helix-provider"), "openai-1");
    world.verify(2);
}
