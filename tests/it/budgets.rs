//! Hard budgets: exactly as many requests are admitted as the worst case allows, whoever asks at the same time, and
//! nothing stays held back, however a request ends.

use crate::support::client::{Answer, Client};
use crate::support::databases::{Database, Engine};
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::{Gateway, KEY};
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::{until, within};
use crate::support::purse::{
    self, CAP, Dialect, INPUT_MAX, OUTPUT_NANO, WORST, assert_budget_refusal, budget, cost, send, usd,
};
use crate::support::raw::Live;
use helix_fake_provider::{FakeProvider, Running};
use helix_shared::record::{Decision, Record};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;

const ASKED: usize = 200;
const AFFORDED: i64 = 50;

fn provider(script: &Value) -> Running {
    let mut default = purse::at_the_worst_case();
    for (name, value) in script.as_object().unwrap() {
        default[name] = value.clone();
    }
    FakeProvider::new().with_script(default).run("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// The dialects in turns, or one of them.
fn dialects(count: usize, which: &'static [Dialect]) -> impl Iterator<Item = Dialect> {
    which.iter().copied().cycle().take(count)
}

/// Sends 200 requests at once while the provider holds back every answer, and returns who was refused and who was
/// answered once it did not.
async fn race(urls: &[String], provider: &Running, which: &'static [Dialect]) -> (Vec<(Dialect, Answer)>, Vec<Answer>) {
    let client = Client::new();
    let mut asking = JoinSet::new();
    for (number, dialect) in dialects(ASKED, which).enumerate() {
        let (client, url) = (client.clone(), urls[number % urls.len()].clone());
        asking.spawn(async move {
            let body = dialect.body("race", &json!({}));
            (dialect, send(&client, &url, dialect, &body).await)
        });
    }
    // Nobody is answered while the gate is closed but those who are refused.
    let mut refused = Vec::new();
    let all_at_once = async {
        while refused.len() + usize::try_from(provider.bill.stats().in_flight).unwrap() < ASKED {
            tokio::select! {
                answer = asking.join_next() => refused.push(answer.unwrap().unwrap()),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    within("every request is refused or at the provider", all_at_once).await;
    assert_eq!(provider.bill.stats().complete, 0);
    provider.open_gate("race");
    let answered = asking.join_all().await.into_iter().map(|(_, answer)| answer).collect();
    (refused, answered)
}

fn assert_named(message: &str, scope: &str, limit: i64) {
    for part in [scope, &format!("{} of {} USD", usd(limit), usd(limit)), "resets at 20", "administrator"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

/// The whole proof on one gateway: budgets with their limits in worst cases, the scope that binds.
async fn exactly_fifty(engine: Engine, budgets: &[(&str, i64)], scope: &str, which: &'static [Dialect]) {
    let provider = provider(&json!({ "gate": "race" }));
    let folder = tempfile::tempdir().unwrap();
    let database = Database::fresh(engine);
    let list: String = budgets.iter().map(|(scope, worst_cases)| budget(scope, worst_cases * WORST, "hard")).collect();
    let storage = format!("storage: {{ url: \"{}\" }}\n", database.url());
    let mut gateway = Gateway::serve(folder.path(), &(storage + &purse::yaml(&provider.url(), &list)));
    let (refused, answered) = race(&[gateway.url()], &provider, which).await;
    assert_eq!((answered.len(), refused.len()), (50, 150), "{engine:?}");
    for answer in &answered {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for (dialect, answer) in &refused {
        assert_named(&assert_budget_refusal(answer, *dialect), scope, AFFORDED * WORST);
    }
    // Everything ran to its worst case: there is nothing left for anybody.
    let late = send(&Client::new(), &gateway.url(), which[0], &which[0].body("late", &json!({}))).await;
    assert_budget_refusal(&late, which[0]);
    assert!(gateway.stop(), "an orderly end");
    let bill = provider.bill.settled().await;
    assert_eq!(bill.len(), 50);
    let ledger = Ledger::read(database.url()).await;
    ledger.assert_at_rest();
    ledger.assert_agrees_with(&bill, |_| WORST);
    // Who was told to come back, because a loaded database did not answer in time, came back.
    let told_to = ["budget_unavailable", "not_ready"];
    let is_back =
        |record: &Record| matches!(&record.decision, Decision::Denied { code, .. } if told_to.contains(&code.as_str()));
    let came_back = ledger.records.iter().filter(|record| is_back(record)).count();
    assert_eq!(ledger.records.len() - came_back, ASKED + 1);
    // One process with a database in a file has nobody to wait for: the first answer is the refusal.
    eprintln!("{engine:?}: {came_back} came back");
    assert!(engine != Engine::Sqlite || came_back == 0, "{came_back} were told to come back");
    assert_eq!(ledger.cost_nano_usd(), AFFORDED * WORST);
    assert_eq!(ledger.accounts.len(), budgets.len());
    for account in &ledger.accounts {
        assert!(account.limit.unwrap() >= account.settled && account.settled.get() == AFFORDED * WORST, "{account:?}");
    }
    let report = gateway.verify();
    assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
}

const BOTH: &[Dialect] = &[Dialect::OpenAi, Dialect::Anthropic];

#[tokio::test(flavor = "multi_thread")]
async fn of_200_at_once_exactly_the_50_are_admitted_that_an_instance_budget_affords() {
    for engine in Engine::here() {
        exactly_fifty(engine, &[("instance", AFFORDED)], "instance", BOTH).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_at_once_exactly_the_50_are_admitted_that_a_team_budget_affords() {
    let budgets = [("instance", 5_000), ("team:engineering", AFFORDED), ("user:jane@corp.example", 1_000)];
    exactly_fifty(Engine::Sqlite, &budgets, "engineering", &[Dialect::OpenAi]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_at_once_exactly_the_50_are_admitted_that_a_user_budget_affords() {
    let budgets = [("instance", 51), ("team:engineering", 1_000), ("user:jane@corp.example", AFFORDED)];
    exactly_fifty(Engine::Sqlite, &budgets, "jane@corp.example", &[Dialect::Anthropic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_at_once_exactly_the_50_are_admitted_that_a_key_budget_affords() {
    let budgets = [("instance", 5_000), ("team:engineering", 60), ("key:ci", AFFORDED)];
    exactly_fifty(Engine::Sqlite, &budgets, "key ci", &[Dialect::Anthropic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_at_once_exactly_the_50_are_admitted_that_a_model_budget_at_the_end_of_six_affords() {
    let budgets = [
        ("instance", 5_000),
        ("team:engineering", 1_000),
        ("user:jane@corp.example", 60),
        ("key:ci", 55),
        ("model:gpt-*", 900),
        ("model:gpt-5-mini", AFFORDED),
    ];
    for engine in Engine::here() {
        exactly_fifty(engine, &budgets, "model gpt-5-mini", &[Dialect::OpenAi]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_data_planes_share_a_budget_and_never_admit_more_than_it_affords() {
    for engine in Engine::here() {
        let provider = provider(&json!({ "gate": "race" }));
        let folder = tempfile::tempdir().unwrap();
        let database = Database::fresh(engine);
        let storage = format!("storage: {{ url: \"{}\" }}\n", database.url());
        let list = budget("instance", AFFORDED * WORST, "hard") + &budget("team:engineering", 60 * WORST, "hard");
        let yaml = storage + &purse::yaml(&provider.url(), &list);
        let mut control = control_plane(&folder.path().join("control"), &yaml);
        let mut planes =
            ["one", "two"].map(|name| data_plane(&folder.path().join(name), &control.plane_url(), JOIN_TOKEN));
        let urls: Vec<String> = planes.iter().map(Gateway::url).collect();
        let (refused, answered) = race(&urls, &provider, BOTH).await;
        // What lies idle at one is recalled for the other: nothing is lost between the two.
        assert_eq!((answered.len(), refused.len()), (50, ASKED - 50), "{engine:?}");
        for (dialect, answer) in &refused {
            assert_budget_refusal(answer, *dialect);
        }
        for plane in &mut planes {
            assert!(plane.stop(), "an orderly end");
        }
        assert!(control.stop(), "an orderly end");
        let bill = provider.bill.settled().await;
        let ledger = Ledger::read(database.url()).await;
        ledger.assert_at_rest();
        ledger.assert_agrees_with(&bill, |_| WORST);
        assert_eq!(ledger.cost_nano_usd(), i64::try_from(answered.len()).unwrap() * WORST);
        assert_eq!(ledger.cost_nano_usd(), AFFORDED * WORST);
        let report = control.verify();
        assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
    }
}

/// One gateway on SQLite with hard budgets, and its provider.
struct Shop {
    provider: Running,
    folder: TempDir,
    gateway: Gateway,
    client: Client,
}

impl Shop {
    fn open(script: &Value, budgets: &str) -> Self {
        let provider = provider(script);
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::serve(folder.path(), &purse::yaml(&provider.url(), budgets));
        Self { provider, folder, gateway, client: Client::new() }
    }

    async fn send(&self, dialect: Dialect, prompt: &str, further: &Value) -> Answer {
        send(&self.client, &self.gateway.url(), dialect, &dialect.body(prompt, further)).await
    }

    /// Stops, proves the books, and returns them.
    async fn close(mut self) -> Ledger {
        assert!(self.gateway.stop(), "an orderly end");
        let ledger = Ledger::read(&sqlite_in(self.folder.path())).await;
        ledger.assert_at_rest();
        ledger.assert_agrees_with(&self.provider.bill.settled().await, |_| i64::MAX);
        let report = self.gateway.verify();
        assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
        ledger
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_did_not_use_admits_later_ones_to_the_last_worst_case() {
    let (limit, each) = (10 * WORST, cost(100, 20));
    let shop = Shop::open(&json!({ "input_tokens": 100, "output_tokens": 20 }), &budget("instance", limit, "hard"));
    // The n-th is admitted while limit - (n - 1) * each still holds a worst case.
    let expected = (limit - WORST) / each + 1;
    let mut admitted = 0;
    loop {
        let dialect = BOTH[usize::from(admitted % 2 == 1)];
        let answer = shop.send(dialect, "again", &json!({})).await;
        if answer.status != 200 {
            assert_budget_refusal(&answer, dialect);
            break;
        }
        assert_eq!(answer.header("x-helix-cost-usd"), usd(each));
        admitted += 1;
        assert_eq!(answer.header("x-helix-budget-remaining-usd"), usd(limit - admitted * each));
    }
    assert_eq!(admitted, expected);
    // A smaller one still fits.
    let cap = (limit - admitted * each - purse::worst(0)) / OUTPUT_NANO;
    let answer = shop.send(Dialect::OpenAi, "small", &json!({ "max_completion_tokens": cap })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_cap_is_clamped_to_what_the_tightest_budget_affords() {
    let (limit, tight) = (500 * OUTPUT_NANO + purse::worst(0), 300 * OUTPUT_NANO + purse::worst(0));
    let budgets = budget("instance", limit, "hard") + &budget("team:engineering", tight, "hard");
    let shop = Shop::open(&json!({ "output_tokens": 1_000_000 }), &budgets);
    let answer = shop.send(Dialect::OpenAi, "talk", &json!({ "max_completion_tokens": null })).await;
    assert_eq!((answer.status, answer.header("x-helix-budget-clamped")), (200, "300"), "{}", answer.text());
    assert_eq!(answer.json()["usage"]["completion_tokens"], 300, "the provider was given the same cap");
    assert_eq!(answer.header("x-helix-cost-usd"), usd(tight));
    let ledger = shop.close().await;
    assert_eq!(ledger.cost_nano_usd(), tight);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_refused_rather_than_clamped_below_256_tokens_or_under_its_own_cap() {
    let limit = 255 * OUTPUT_NANO + purse::worst(0);
    let shop = Shop::open(&json!({}), &budget("instance", limit, "hard"));
    let uncapped = shop.send(Dialect::OpenAi, "talk", &json!({ "max_completion_tokens": null })).await;
    assert_budget_refusal(&uncapped, Dialect::OpenAi);
    let capped = shop.send(Dialect::Anthropic, "talk", &json!({ "max_tokens": 256 })).await;
    assert_budget_refusal(&capped, Dialect::Anthropic);
    assert_eq!(shop.provider.bill.stats().accepted, 0);
    let fitting = shop.send(Dialect::Anthropic, "talk", &json!({ "max_tokens": 255 })).await;
    assert_eq!((fitting.status, fitting.header("x-helix-budget-clamped")), (200, ""), "{}", fitting.text());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_refused_under_a_hard_budget_n18() {
    let shop = Shop::open(&json!({}), &budget("instance", 1_000 * WORST, "hard"));
    let answer = shop.send(Dialect::OpenAi, "hi", &json!({ "model": "mystery" })).await;
    assert_eq!((answer.status, answer.header("x-helix-error-code")), (403, "unpriced_model"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), "false");
    assert_eq!(shop.provider.bill.stats().accepted, 0);
    shop.close().await;
}

/// Every way a request can end: fields of the request, and what the provider does.
fn endings() -> Vec<(Dialect, Value, Value)> {
    let mut endings = Vec::new();
    for dialect in BOTH.iter().copied() {
        let scripts = [
            json!({ "status": 500 }),
            json!({ "status": 429 }),
            json!({ "status": 401 }),
            json!({ "status": 400 }),
            json!({ "reset": true }),
            json!({ "no_usage": true }),
            json!({ "usage_zero": true }),
            json!({ "cut_at_byte": 60 }),
            json!({ "raw_body": "not JSON" }),
        ];
        let streamed = [
            json!({ "cut_after_chunks": 2 }),
            json!({ "cut_after_chunks": 0, "cut_rst": true }),
            json!({ "error_midstream": 1 }),
            json!({ "no_usage": true }),
            json!({ "status": 503 }),
        ];
        endings.extend(scripts.map(|script| (dialect, json!({}), script)));
        endings.extend(streamed.map(|script| (dialect, json!({ "stream": true }), script)));
    }
    let hasty = json!({ "model": "hasty" });
    let hasty_stream = json!({ "model": "hasty", "stream": true });
    endings.push((Dialect::OpenAi, hasty, json!({ "hang": true })));
    endings.push((Dialect::OpenAi, hasty_stream.clone(), json!({ "hang": true })));
    endings.push((Dialect::OpenAi, hasty_stream, json!({ "hang_after_chunks": 2 })));
    endings
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_request_ends_nothing_stays_reserved_n26() {
    let limit = 1_000 * WORST;
    let shop = Shop::open(&json!({ "input_tokens": 80, "output_tokens": 20 }), &budget("instance", limit, "hard"));
    let endings = endings();
    let mut asked = endings.len();
    // Clients that leave: before the answer began, in the middle of a stream, while the provider hangs.
    let leaving = [
        (json!({ "model": "hasty" }), json!({ "gate": "never" }), None),
        (json!({ "model": "hasty", "stream": true }), json!({ "gate": "never" }), None),
        (json!({ "stream": true }), json!({ "gate": "later", "gate_at_chunk": 3 }), Some("data:")),
        (json!({ "stream": true }), json!({ "hang_after_chunks": 1 }), Some("data:")),
    ];
    for (further, script, seen) in leaving {
        asked += 1;
        let body = Dialect::OpenAi.body(&format!("[[fake:{script}]]"), &further);
        let url = format!("{}{}", shop.gateway.url(), Dialect::OpenAi.path());
        let before = shop.provider.bill.stats().accepted;
        let post = Live::post(&url, KEY, body);
        match seen {
            Some(text) => drop(post.await.until(text).await),
            None => tokio::select! {
                _ = post => panic!("an answer through a closed gate"),
                _ = shop.provider.bill.wait_for(|stats| stats.accepted > before) => {}
            },
        }
    }
    shop.provider.open_gate("later");
    let mut asking = JoinSet::new();
    for (dialect, further, script) in endings {
        let (client, url) = (shop.client.clone(), shop.gateway.url());
        let body = dialect.body(&format!("[[fake:{script}]]"), &further);
        asking.spawn(async move { send(&client, &url, dialect, &body).await });
    }
    within("every request ends", asking.join_all()).await;
    shop.provider.open_gate("never");
    // All are settled: what is left of the budget is what the records leave, and it can be spent to the last cent.
    let url = sqlite_in(shop.folder.path());
    let spent = until("every record arrives", async || {
        let ledger = Ledger::read(&url).await;
        (ledger.records.len() == asked).then(|| ledger.cost_nano_usd())
    })
    .await;
    let all = (limit - spent - purse::worst(0)) / OUTPUT_NANO;
    let greedy = shop.send(Dialect::OpenAi, "all", &json!({ "max_completion_tokens": all + 1 })).await;
    assert_budget_refusal(&greedy, Dialect::OpenAi);
    let answer = shop.send(Dialect::OpenAi, "all", &json!({ "max_completion_tokens": all })).await;
    assert_eq!(answer.status, 200, "something is still held: {}", answer.text());
    let ledger = shop.close().await;
    let bases: BTreeMap<String, usize> = ledger.records.iter().fold(BTreeMap::new(), |mut bases, record| {
        *bases.entry(format!("{:?}", record.basis)).or_default() += 1;
        bases
    });
    assert!(bases.len() == 3, "exact, estimated and unknown ones: {bases:?}");
    assert!(ledger.records.iter().all(|record| record.cost.get() <= WORST.max(cost(INPUT_MAX, CAP))));
}
