//! The race that every gateway is judged by: a thousand requests at once, each of which may cost $0.10, against a hard
//! budget of $5.00. Exactly fifty may reach the provider, and its bill may never be higher.

use crate::support::client::{Answer, Client};
use crate::support::databases::{Database, Engine};
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::{Gateway, KEY};
use crate::support::ledger::Ledger;
use crate::support::patience::{until, within};
use crate::support::purse::{self, CAP, Dialect, INPUT_MAX, assert_budget_refusal, budget, send};
use helix_fake_provider::{FakeProvider, Running};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

const ASKED: usize = 1_000;
const AFFORDED: usize = 50;
const LIMIT_NANO: i64 = 5_000_000_000;
/// In 1e-9 USD a token.
const INPUT: i64 = 100_000;
const OUTPUT: i64 = 80_000;
const EACH_NANO: i64 = INPUT_MAX * INPUT + CAP * OUTPUT;

fn provider() -> Running {
    held_back(Some("race"))
}

/// A provider whose answers cost the worst case, and wait behind a gate if there is one.
fn held_back(gate: Option<&str>) -> Running {
    assert_eq!(EACH_NANO, 100_000_000, "a worst case of $0.10");
    let price = json!({ "input": INPUT * 1_000, "output": OUTPUT * 1_000 });
    let script = json!({
        "prices": { "gpt-5-mini": price }, "input_tokens": INPUT_MAX, "output_tokens": CAP, "gate": gate,
    });
    FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap()
}

fn yaml(provider: &Running, storage: &str) -> String {
    let yaml = purse::yaml(&provider.url(), &budget("instance", LIMIT_NANO, "hard"));
    let cheap = r#"input: "1", output: "10", cache_read: "1", cache_write: "1""#;
    assert!(yaml.contains(cheap));
    let dear = r#"input: "100", output: "80", cache_read: "100", cache_write: "100""#;
    format!("storage: {{ url: \"{storage}\" }}\n{}", yaml.replace(cheap, dear))
}

/// Sends a thousand requests at once, in turns to the gateways, while the provider holds back every answer.
async fn race(urls: &[String], provider: &Running) {
    let client = Client::new();
    let mut asking: JoinSet<Answer> = JoinSet::new();
    for number in 0..ASKED {
        let (client, url) = (client.clone(), urls[number % urls.len()].clone());
        let body = Dialect::OpenAi.body(&format!("race {number}"), &json!({}));
        asking.spawn(async move { send(&client, &url, Dialect::OpenAi, &body).await });
    }
    let mut refused = 0;
    let everybody = async {
        while refused + usize::try_from(provider.bill.stats().in_flight).unwrap() < ASKED {
            tokio::select! {
                answer = asking.join_next() => {
                    assert_budget_refusal(&answer.unwrap().unwrap(), Dialect::OpenAi);
                    refused += 1;
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    within("every request is refused or at the provider", everybody).await;
    assert_eq!(refused, ASKED - AFFORDED);
    provider.open_gate("race");
    let answered = asking.join_all().await;
    assert_eq!(answered.len(), AFFORDED);
    for answer in answered {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// The provider's own bill, and the books.
async fn settle(provider: &Running, database: &Database, gateway: &Gateway) {
    let bill = provider.bill.settled().await;
    assert_eq!(bill.len(), AFFORDED);
    let billed: u64 = bill.iter().map(|entry| entry.cost_nano_usd).sum();
    assert_eq!(i64::try_from(billed).unwrap(), LIMIT_NANO, "to the last cent, and not one more");
    let ledger = Ledger::read(database.url()).await;
    ledger.assert_at_rest();
    ledger.assert_agrees_with(&bill, |_| EACH_NANO);
    // who was told to come back, because this machine is slow, made more records than one
    assert!(ledger.records.len() >= ASKED);
    assert_eq!(ledger.cost_nano_usd(), LIMIT_NANO);
    let report = gateway.verify();
    assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
}

async fn ready(planes: &[Gateway]) {
    let client = Client::new();
    for plane in planes {
        let url = format!("{}/healthz/ready", plane.ops_url());
        until("the data plane is ready", async || (client.get(&url, &[]).await.status == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_once_on_one_node_spend_exactly_the_budget() {
    for engine in Engine::here() {
        let (provider, database) = (provider(), Database::fresh(engine));
        let folder = tempfile::tempdir().unwrap();
        let mut gateway = Gateway::serve(folder.path(), &yaml(&provider, database.url()));
        race(&[gateway.url()], &provider).await;
        assert!(gateway.stop(), "an orderly end");
        settle(&provider, &database, &gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_once_on_three_data_planes_spend_exactly_the_budget() {
    for engine in Engine::here() {
        let (provider, database) = (provider(), Database::fresh(engine));
        let folder = tempfile::tempdir().unwrap();
        let mut control = control_plane(&folder.path().join("control"), &yaml(&provider, database.url()));
        let mut planes =
            ["one", "two", "three"].map(|name| data_plane(&folder.path().join(name), &control.plane_url(), JOIN_TOKEN));
        ready(&planes).await;
        race(&planes.each_ref().map(Gateway::url), &provider).await;
        for plane in &mut planes {
            assert!(plane.stop(), "an orderly end");
        }
        assert!(control.stop(), "an orderly end");
        settle(&provider, &database, &control).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_once_under_two_control_planes_of_one_database_spend_exactly_the_budget() {
    for engine in Engine::here().into_iter().filter(|engine| *engine != Engine::Sqlite) {
        let (provider, database) = (provider(), Database::fresh(engine));
        let folder = tempfile::tempdir().unwrap();
        let master = "secrets: { master_key: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\" }\n";
        let yaml = format!("{master}{}", yaml(&provider, database.url()));
        let mut controls = ["first", "second"].map(|name| control_plane(&folder.path().join(name), &yaml));
        let mut planes = [("one", 0), ("two", 1), ("three", 1)].map(|(name, control)| {
            let url = controls[control].plane_url();
            data_plane(&folder.path().join(name), &url, JOIN_TOKEN)
        });
        ready(&planes).await;
        race(&planes.each_ref().map(Gateway::url), &provider).await;
        for plane in &mut planes {
            assert!(plane.stop(), "an orderly end");
        }
        for control in &mut controls {
            assert!(control.stop(), "an orderly end");
        }
        settle(&provider, &database, &controls[0]).await;
    }
}

/// Runs the script against these base URLs, prints what it says, and returns it. `HELIX_RACE_REQUESTS` says how many ask.
fn run_script(what: &str, urls: &[String], provider: &Running) -> serde_json::Value {
    let requests = std::env::var("HELIX_RACE_REQUESTS").unwrap_or_else(|_| "200".to_owned());
    let (model, cap) = ("gpt-5-mini", CAP.to_string());
    let body = |prompt: &str| {
        format!(
            "{{\"model\": \"{model}\", \"max_tokens\": {cap}, \"messages\": [{{\"role\": \"user\", \"content\": \"{prompt}\"}}]}}"
        )
    };
    // as long as the bodies that the worst case was computed for
    let prompt = "x".repeat(400 - body("").len());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/race/race");
    let mut command = std::process::Command::new("python3");
    command.arg(script).args(["--key", KEY, "--model", model, "--max-tokens", &cap, "--prompt", &prompt]);
    command.args(["--requests", &requests, "--afforded", &AFFORDED.to_string(), "--bill", &provider.url()]);
    for url in urls {
        command.args(["--url", &format!("{url}/v1")]);
    }
    let start = std::time::Instant::now();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{what}, {:.1} s: {}", start.elapsed().as_secs_f64(), said.trim());
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap()
}

fn assert_exact(report: &serde_json::Value) {
    assert_eq!(report["admitted"], json!(AFFORDED), "{report}");
    assert_eq!(report["accepted_by_provider"], json!(AFFORDED), "{report}");
    assert_eq!(report["billed_usd"], json!(5.0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_that_measures_any_gateway_finds_that_this_one_spends_exactly_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    {
        let (provider, database) = (held_back(None), Database::fresh(Engine::Sqlite));
        std::fs::create_dir(path("one")).unwrap();
        let mut gateway = Gateway::serve(&path("one"), &yaml(&provider, database.url()));
        let urls = [gateway.url()];
        assert_exact(&tokio::task::block_in_place(|| run_script("one node", &urls, &provider)));
        assert!(gateway.stop(), "an orderly end");
    }
    for engine in Engine::here().into_iter().filter(|engine| *engine != Engine::Mysql) {
        let (provider, database) = (held_back(None), Database::fresh(engine));
        let yaml = yaml(&provider, database.url());
        let master = "secrets: { master_key: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\" }\n";
        let count = if engine == Engine::Postgres { 2 } else { 1 };
        let place = |kind: &str, number: usize| path(&format!("{engine:?}-{kind}-{number}"));
        let mut controls: Vec<Gateway> =
            (0..count).map(|number| control_plane(&place("control", number), &format!("{master}{yaml}"))).collect();
        let mut planes: Vec<Gateway> = (0..3)
            .map(|number| data_plane(&place("data", number), &controls[number % count].plane_url(), JOIN_TOKEN))
            .collect();
        ready(&planes).await;
        let urls: Vec<String> = planes.iter().map(Gateway::url).collect();
        let what = format!("three data planes, control planes: {count} on {engine:?}");
        assert_exact(&tokio::task::block_in_place(|| run_script(&what, &urls, &provider)));
        for gateway in planes.iter_mut().chain(&mut controls) {
            assert!(gateway.stop(), "an orderly end");
        }
    }
}
