//! A control plane and two data planes as three processes: what each can do without the others.

use crate::support::books::Books;
use crate::support::client::{Answer, Client};
use crate::support::databases::{Database, Engine};
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::Gateway;
use crate::support::load::{Load, Outcome, chat};
use crate::support::patience::{logged, until};
use helix_fake_provider::{FakeProvider, Running};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FREE: &str = "hx_p_freefreefreefreefreefreefree0001";
const METERED: &str = "hx_t_meteredmeteredmeteredmetered0002";
/// How long the control plane stays away under load.
const OUTAGE: Duration = Duration::from_mins(1);

/// One caller without any hard budget, one under a hard budget that is rich.
fn yaml(provider: &str, database: &str) -> String {
    format!(
        r#"
storage: {{ url: "{database}" }}
logging: {{ level: debug }}
providers:
  openai: {{ kind: openai, base_url: "{provider}/v1", api_key: sk-canary-openai }}
teams:
  free: {{ models: {{ allow: ["gpt-*"] }} }}
  metered: {{ models: {{ allow: ["gpt-*"] }} }}
users:
  - {{ email: jane@corp.example, name: Jane, teams: [free], roles: [member] }}
keys:
  - {{ name: free, user: jane@corp.example, secret: "{FREE}" }}
  - {{ name: metered, team: metered, secret: "{METERED}" }}
budgets:
  - {{ scope: "team:metered", limit_usd: "500", period: monthly, mode: hard }}
"#
    )
}

struct Fleet {
    folder: TempDir,
    provider: Running,
    control: Gateway,
    database: Database,
    client: Client,
    /// How many requests were answered outside of a load: each one makes a record.
    asked: AtomicUsize,
}

impl Fleet {
    fn start() -> Self {
        Self::on(Engine::Sqlite)
    }

    fn on(engine: Engine) -> Self {
        let database = Database::fresh(engine);
        let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let control = control_plane(&folder.path().join("control"), &yaml(&provider.url(), database.url()));
        Self { folder, provider, control, database, client: Client::new(), asked: AtomicUsize::new(0) }
    }

    fn data_plane(&self, name: &str) -> Gateway {
        data_plane(&self.folder.path().join(name), &self.control.plane_url(), JOIN_TOKEN)
    }

    async fn ready(&self, plane: &Gateway) -> String {
        let url = format!("{}/healthz/ready", plane.ops_url());
        until("the data plane is ready", async || {
            let answer = self.client.get(&url, &[]).await;
            (answer.status == 200).then(|| answer.text())
        })
        .await
    }

    async fn ask(&self, plane: &Gateway, key: &str) -> Outcome {
        let url = format!("{}/v1/chat/completions", plane.url());
        self.asked.fetch_add(1, Ordering::Relaxed);
        Outcome::from(&self.client.ask(&url, key, &chat("gpt-5-mini", "hi")).await)
    }

    /// The key works at the plane, soon.
    async fn usable(&self, plane: &Gateway, key: &str) {
        until("the key works", async || (self.ask(plane, key).await.status == 200).then_some(())).await;
    }

    /// Makes a key beside the control plane, whether it runs or not.
    fn create_key(&self, name: &str) -> String {
        let arguments =
            ["keys", "create", "--config", "gateway.yaml", "--user", "jane@corp.example", "--name", name, "--json"];
        let output = self.control.command(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    /// How the control plane sent configuration since a place in its log: the modes, in order.
    fn pushes_since(&self, place: usize) -> Vec<String> {
        let log = self.control.log();
        let lines = log[place..].lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["mode"].as_str().map(str::to_owned)).collect()
    }

    /// Every record arrived, each agrees with the provider's bill, and the books are whole.
    async fn settle(&self, answers_under_load: usize) {
        let answers = answers_under_load + self.asked.load(Ordering::Relaxed);
        until("every record arrives", async || {
            let report = self.control.verify();
            let is_whole = report["ok"] == true && report["openIntents"] == 0;
            (is_whole && report["records"].as_u64() == u64::try_from(answers).ok()).then_some(())
        })
        .await;
        let bill = self.provider.bill.settled().await;
        let books = Books::on(self.database.url(), &self.control.folder).await;
        for entry in &bill {
            let record = books.record(entry.request_id.as_deref().unwrap()).await.unwrap();
            assert_eq!(u64::try_from(record.cost.get()).unwrap(), entry.cost_nano_usd, "{record:?}");
        }
        books.close().await;
    }
}

fn assert_all_served(outcomes: &[Outcome]) {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.status != 200).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), outcomes.len(), failed.first());
}

fn stale_metric(page: &str) -> bool {
    page.lines().any(|line| line == "helix_data_config_is_stale 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_data_planes_serve_and_a_key_made_beside_the_control_plane_works_at_both() {
    for engine in Engine::here() {
        serve_on(Fleet::on(engine)).await;
    }
}

async fn serve_on(mut fleet: Fleet) {
    let mut planes = [fleet.data_plane("one"), fleet.data_plane("two")];
    for plane in &planes {
        fleet.ready(plane).await;
        for key in [FREE, METERED] {
            assert_eq!(fleet.ask(plane, key).await.status, 200);
        }
    }
    let key = fleet.create_key("later");
    for plane in &planes {
        fleet.usable(plane, &key).await;
    }
    assert!(planes.iter_mut().all(Gateway::stop), "data planes end in order");
    fleet.settle(0).await;
    assert!(fleet.control.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_tells_its_health_and_its_fleet_and_ends_in_order_with_data_planes_connected() {
    let mut fleet = Fleet::start();
    let mut planes = [fleet.data_plane("one"), fleet.data_plane("two")];
    for plane in &planes {
        fleet.ready(plane).await;
    }
    for path in ["live", "ready", "startup"] {
        let answer = fleet.client.get(&format!("{}/healthz/{path}", fleet.control.ops_url()), &[]).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    until("both data planes are up to date", async || {
        let page = metrics(&fleet, &fleet.control).await;
        let is_so = |line: &str| page.lines().any(|it| it == line);
        (is_so("helix_control_nodes_connected 2") && is_so("helix_control_nodes_behind 0")).then_some(())
    })
    .await;
    assert!(fleet.control.stop(), "an orderly end with open streams");
    for plane in &mut planes {
        assert_eq!(fleet.ask(plane, FREE).await.status, 200);
        assert!(plane.stop(), "an orderly end without a control plane");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_join_token_is_named_in_the_log_and_never_leads_to_readiness() {
    let fleet = Fleet::start();
    let folder = fleet.folder.path().join("stranger");
    let mut stranger = data_plane(&folder, &fleet.control.plane_url(), "hxj_not_the_token_of_this_fleet");
    logged(&stranger, "the join token is not the one").await;
    assert!(!stranger.log().contains("hxj_"), "a token in the log");
    let ops = stranger.ops_url();
    assert_eq!(fleet.client.get(&format!("{ops}/healthz/live"), &[]).await.status, 200);
    let ready = fleet.client.get(&format!("{ops}/healthz/ready"), &[]).await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "no configuration yet\n"));
    let refused = fleet.ask(&stranger, FREE).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "not_ready"));
    assert!(stranger.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_killed_for_a_minute_under_load_is_not_missed_and_what_happened_arrives_afterwards() {
    let mut fleet = Fleet::start();
    let (one, two) = (fleet.data_plane("one"), fleet.data_plane("two"));
    for plane in [&one, &two] {
        fleet.ready(plane).await;
    }
    // A provider that takes its time: a minute's records are then as many as a small machine can check.
    let calm = r#"hi [[fake:{"delay_ms":40}]]"#;
    let free = [&one, &two].map(|plane| Load::saying(calm, &plane.url(), FREE, 2));
    let metered = Load::saying(calm, &one.url(), METERED, 1);
    let stream = tokio::spawn(gated_stream(one.url()));
    until("a stream begins", async || fleet.provider.bill.entries().iter().any(|entry| entry.stream).then_some(()))
        .await;
    // Two reports: by then the escrow in hand follows what is being spent.
    metered.further(60).await;

    fleet.control.kill();
    let (place, before) = (fleet.control.log().len(), metered.count());
    let known = revision(&fleet, &one).await;
    let killed_at = Instant::now();
    while killed_at.elapsed() < OUTAGE {
        for load in &free {
            load.further(50).await;
        }
    }
    metered.further(2).await;
    fleet.provider.open_gate("outage");
    let streamed = stream.await.unwrap();
    assert!(streamed.status == 200 && streamed.is_whole, "a stream goes on to its end");
    let late_key = fleet.create_key("made while away");
    let away = before + 1..metered.count();

    fleet.control.run();
    for plane in [&one, &two] {
        until("the configuration of the time away", async || (revision(&fleet, plane).await > known).then_some(()))
            .await;
        fleet.usable(plane, METERED).await;
    }
    let mut answers = 1;
    for load in free {
        load.further(20).await;
        let outcomes = load.stop().await;
        assert_all_served(&outcomes);
        answers += outcomes.len();
    }
    let outcomes = metered.stop().await;
    answers += outcomes.len();
    assert!(outcomes[away].iter().any(|it| it.status == 200), "escrow in hand is spent first");
    let is_expected = |it: &&Outcome| it.status == 200 || (it.status, it.code.as_str()) == (503, "budget_unavailable");
    assert!(outcomes.iter().all(|it| is_expected(&it)), "{:?}", outcomes.iter().find(|it| !is_expected(it)));

    for plane in [&one, &two] {
        assert_eq!(fleet.ask(plane, &late_key).await.status, 200, "the key made while away");
    }
    until("the pushes in the log", async || (fleet.pushes_since(place).len() >= 2).then_some(())).await;
    assert_eq!(fleet.pushes_since(place), ["DELTA", "DELTA"], "what changed while away comes as a delta");
    fleet.settle(answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_restarted_without_a_control_plane_serves_its_last_good_configuration() {
    let mut fleet = Fleet::start();
    let mut plane = fleet.data_plane("one");
    fleet.ready(&plane).await;
    assert_eq!(fleet.ask(&plane, FREE).await.status, 200);
    let last_good = plane.folder.join("helix-data/last-good.sealed");
    until("the configuration is kept", async || last_good.exists().then_some(())).await;
    fleet.control.kill();
    plane.kill();

    plane.run();
    assert!(fleet.ready(&plane).await.contains("last good"), "ready, and says of what");
    assert!(stale_metric(&metrics(&fleet, &plane).await));
    assert_eq!(fleet.ask(&plane, FREE).await.status, 200);
    let refused = fleet.ask(&plane, METERED).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "budget_unavailable"), "no escrow, no admission");

    fleet.control.run();
    until("the configuration is confirmed", async || (!stale_metric(&metrics(&fleet, &plane).await)).then_some(()))
        .await;
    fleet.settle(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_last_good_file_is_set_aside_and_the_plane_waits_alive() {
    let mut fleet = Fleet::start();
    let mut plane = fleet.data_plane("one");
    fleet.ready(&plane).await;
    let data = plane.folder.join("helix-data");
    let last_good = data.join("last-good.sealed");
    until("the configuration is kept", async || last_good.exists().then_some(())).await;
    fleet.control.kill();
    plane.kill();
    damage(&last_good);

    plane.run();
    assert!(data.join("last-good.bad").exists() && !last_good.exists(), "set aside");
    logged(&plane, "was set aside").await;
    let health = async |path: &str| fleet.client.get(&format!("{}{path}", plane.ops_url()), &[]).await.status;
    assert_eq!((health("/healthz/live").await, health("/healthz/ready").await), (200, 503));
    let refused = fleet.ask(&plane, FREE).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "not_ready"));

    fleet.control.run();
    fleet.ready(&plane).await;
    fleet.usable(&plane, FREE).await;
    assert!(last_good.exists(), "kept again");
}

/// A stream that stops in its middle until the gate is opened.
async fn gated_stream(plane_url: String) -> Answer {
    let mut body = chat("gpt-5-mini", r#"hi [[fake:{"chunks":4,"gate":"outage","gate_at_chunk":2}]]"#);
    body["stream"] = Value::Bool(true);
    Client::new().ask(&format!("{plane_url}/v1/chat/completions"), FREE, &body).await
}

async fn metrics(fleet: &Fleet, plane: &Gateway) -> String {
    fleet.client.get(&format!("{}/metrics", plane.ops_url()), &[]).await.text()
}

/// The revision in force at a data plane.
async fn revision(fleet: &Fleet, plane: &Gateway) -> u64 {
    let page = metrics(fleet, plane).await;
    let line = page.lines().find_map(|line| line.strip_prefix("helix_data_config_revision ")).unwrap();
    line.parse().unwrap()
}

/// One flipped bit in the middle.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
