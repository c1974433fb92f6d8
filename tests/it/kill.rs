//! The kill loop: data planes die each second and the control plane each ten under load against budgets that run out, and
//! PostgreSQL is restarted twice. No budget is overspent, nothing is held for anybody at the end, no record is missing, and
//! the ledger says what the provider charged.
//!
//! Thirty seconds here; `tests/kill/kill` runs ten minutes and prints the figures.

use crate::support::client::Client;
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::Gateway;
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::{until, within};
use crate::support::purse::{self, Dialect, WORST};
use crate::support::server::Server;
use crate::support::storm::Rng;
use helix_fake_provider::{FakeProvider, Running};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// So many requests a person's budget affords.
const AFFORDED: i64 = 12;
/// After so long the next person asks: every budget runs out while somebody dies.
const TURN: Duration = Duration::from_secs(2);
const CLIENTS: usize = 16;

/// Everything that the clients share.
struct Load {
    planes: Mutex<Vec<String>>,
    begun: Instant,
    length: Duration,
    is_over: AtomicBool,
    asked: AtomicU64,
    answered: Mutex<Vec<String>>,
    refused: AtomicU64,
}

fn people(length: Duration) -> u64 {
    length.as_secs() / TURN.as_secs() + 1
}

fn key(person: u64) -> String {
    format!("hx_p_killkillkillkillkillkillkill{person:06}")
}

fn yaml(provider: &str, storage: &str, people: u64) -> String {
    let mut budgets = purse::budget("instance", 1_000_000 * WORST, "hard");
    budgets += &purse::budget("team:engineering", 500_000 * WORST, "hard");
    let (mut users, mut keys) = (String::new(), String::new());
    for person in 0..people {
        let email = format!("p{person}@corp.example");
        budgets += &purse::budget(&format!("user:{email}"), AFFORDED * WORST, "hard");
        writeln!(users, "  - {{ email: {email}, name: P{person}, teams: [engineering] }}").unwrap();
        writeln!(keys, "  - {{ name: k{person}, user: {email}, secret: \"{}\" }}", key(person)).unwrap();
    }
    let yaml = purse::yaml(provider, &budgets);
    let yaml = yaml.replace("users:\n", &format!("users:\n{users}")).replace("keys:\n", &format!("keys:\n{keys}"));
    format!("storage: {{ url: \"{storage}\" }}\n{yaml}")
}

/// One client: asks, and asks again, whoever answers.
async fn ask_on(load: Arc<Load>, client: Client, seed: u64) {
    let mut rng = Rng(seed);
    let mut number = 0;
    while !load.is_over.load(Ordering::Acquire) && load.begun.elapsed() < load.length {
        number += 1;
        let person = load.begun.elapsed().as_secs() / TURN.as_secs();
        let id = format!("kill-{seed}-{number}-p{person}");
        let dialect = if rng.below(2) == 0 { Dialect::OpenAi } else { Dialect::Anthropic };
        let body = dialect.body("kill", &json!({ "stream": (rng.below(2) == 0).then_some(true) }));
        let url = {
            let planes = load.planes.lock().unwrap();
            let at = rng.below(u64::try_from(planes.len()).unwrap());
            planes[usize::try_from(at).unwrap()].clone()
        };
        load.asked.fetch_add(1, Ordering::Relaxed);
        match post(&client, &format!("{url}{}", dialect.path()), &key(person), &id, body).await {
            Some(200) => load.answered.lock().unwrap().push(id),
            Some(_) => {
                load.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            None => tokio::time::sleep(Duration::from_millis(30)).await,
        }
    }
}

/// The status, when a head came.
async fn post(client: &Client, url: &str, key: &str, id: &str, body: String) -> Option<u16> {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json"), ("x-request-id", id)];
    let asking = client.try_post(url, &headers, body);
    tokio::time::timeout(Duration::from_secs(20), asking).await.ok()?.map(|answer| answer.status)
}

/// Blocking work of a test among tasks that go on.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// What died.
#[derive(Default)]
struct Kills {
    data: u64,
    control: u64,
    database: u64,
}

async fn kill_on(load: &Load, control: &mut Gateway, planes: &mut [Gateway], server: Option<&Server>) -> Kills {
    let mut kills = Kills::default();
    let length = load.length;
    let restarts = [(length / 3, "fast"), (length * 2 / 3, "immediate")];
    let (mut next_data, mut next_control) = (Duration::from_secs(1), Duration::from_secs(10));
    while load.begun.elapsed() < length {
        let now = load.begun.elapsed();
        if now >= next_data {
            next_data += Duration::from_secs(1);
            let at = usize::try_from(kills.data).unwrap() % planes.len();
            blocking(|| {
                planes[at].kill();
                planes[at].run();
            });
            load.planes.lock().unwrap()[at] = planes[at].url();
            kills.data += 1;
        } else if now >= next_control {
            next_control += Duration::from_secs(10);
            blocking(|| {
                control.kill();
                control.run();
            });
            kills.control += 1;
        } else if let Some(server) = server
            && let Some((_, mode)) = restarts.get(usize::try_from(kills.database).unwrap()).filter(|(at, _)| now >= *at)
        {
            blocking(|| server.restart(mode));
            kills.database += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    kills
}

async fn old_journals_are_home(folder: &Path) {
    let journals = folder.join("helix-data/journal");
    until("the journals of dead processes are shipped", async || {
        let folders = std::fs::read_dir(&journals).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
        (folders.count() <= 1).then_some(())
    })
    .await;
}

/// What the provider charged people beyond their budgets, in 1e-9 USD.
fn overspent(bill: &[helix_fake_provider::Entry]) -> i64 {
    let mut billed: HashMap<&str, i64> = HashMap::new();
    for entry in bill {
        let id = entry.request_id.as_deref().expect("the gateway names every request upstream");
        let person = id.rsplit('-').next().expect("a person");
        *billed.entry(person).or_default() += i64::try_from(entry.cost_nano_usd).expect("it fits");
    }
    billed.values().map(|billed| (billed - AFFORDED * WORST).max(0)).sum()
}

async fn prove(load: &Load, provider: &Running, storage: &str, control: &Gateway) -> Value {
    let bill = within("the provider has ended every answer", provider.bill.settled()).await;
    let ledger = Ledger::read(storage).await;
    ledger.assert_at_rest();
    let most = |record: &helix_shared::record::Record| WORST * i64::try_from(record.attempts.len()).unwrap();
    let agreement = ledger.assert_agrees_with(&bill, most);
    let records = ledger.by_request();
    let answered = load.answered.lock().unwrap();
    for id in answered.iter() {
        assert!(records.contains_key(id.as_str()), "{id} was answered and has no record");
    }
    for account in &ledger.accounts {
        assert!(account.settled <= account.peak_limit, "overspent: {account:?}");
    }
    let verified = control.verify();
    assert_eq!((verified["ok"].as_bool(), verified["openIntents"].as_u64()), (Some(true), Some(0)), "{verified}");
    let suspense = control.command(&["ledger", "suspense", "--config", "gateway.yaml"]);
    let suspense: Value = serde_json::from_slice(&suspense.stdout).expect("JSON");
    let overspent_nano_usd = overspent(&bill);
    assert_eq!(overspent_nano_usd, 0);
    assert_eq!(suspense["suspense"], json!([]), "whoever died left a whole journal: nothing is held");
    let billed: u64 = bill.iter().map(|entry| entry.cost_nano_usd).sum();
    json!({
        "asked": load.asked.load(Ordering::Relaxed), "answered": answered.len(),
        "refused": load.refused.load(Ordering::Relaxed), "accepted_by_provider": bill.len(),
        "billed_nano_usd": billed, "booked_nano_usd": ledger.cost_nano_usd(), "overspent_nano_usd": overspent_nano_usd,
        "held_nano_usd": ledger.leases.iter().map(|lease| lease.totals().hold().get()).sum::<i64>(), "suspense_items": 0,
        "sequence_holes": 0, "records": ledger.records.len(), "incarnations": ledger.incarnations.len(),
        "exact": agreement.exact, "estimated": agreement.estimated, "booked_at_the_worst_case": agreement.unknown,
    })
}

/// As long as `HELIX_KILL_SECONDS` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_dies_under_load_no_budget_is_overspent_and_nothing_is_held_at_the_end() {
    let seconds = std::env::var("HELIX_KILL_SECONDS").map_or(30, |text| text.parse().expect("a number of seconds"));
    let length = Duration::from_secs(seconds);
    let mut script = purse::at_the_worst_case();
    script["delay_ms"] = 40.into();
    let provider = FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = blocking(|| Server::postgres(folder.path()));
    let home = folder.path().join("control");
    let storage = server.as_ref().map_or_else(|| sqlite_in(&home), |server| server.url().to_owned());
    let mut control = control_plane(&home, &yaml(&provider.url(), &storage, people(length)));
    let names = ["one", "two"].map(|name| folder.path().join(name));
    let mut planes = names.each_ref().map(|home| data_plane(home, &control.plane_url(), JOIN_TOKEN));
    let client = Client::new();
    for plane in &planes {
        let url = format!("{}/healthz/ready", plane.ops_url());
        until("the data plane is ready", async || (client.get(&url, &[]).await.status == 200).then_some(())).await;
    }
    let load = Arc::new(Load {
        planes: Mutex::new(planes.iter().map(Gateway::url).collect()),
        begun: Instant::now(),
        length,
        is_over: AtomicBool::new(false),
        asked: AtomicU64::new(0),
        answered: Mutex::default(),
        refused: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        clients.spawn(ask_on(Arc::clone(&load), client.clone(), u64::try_from(seed).unwrap()));
    }
    let kills = kill_on(&load, &mut control, &mut planes, server.as_ref()).await;
    load.is_over.store(true, Ordering::Release);
    within("every client has its answer or none to come", async { while clients.join_next().await.is_some() {} }).await;
    for (plane, home) in planes.iter_mut().zip(&names) {
        old_journals_are_home(home).await;
        assert!(blocking(|| plane.stop()), "an orderly end");
    }
    let mut figures = prove(&load, &provider, &storage, &control).await;
    figures["seconds"] = seconds.into();
    figures["database"] = if server.is_some() { "postgres".into() } else { "sqlite".into() };
    figures["killed"] =
        json!({ "data_planes": kills.data, "control_plane": kills.control, "database": kills.database });
    assert!(blocking(|| control.stop()), "an orderly end");
    eprintln!("{figures}");
    assert!(figures["exact"].as_u64() > Some(0) && kills.data > seconds / 4, "{figures}");
}
