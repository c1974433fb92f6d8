//! What a data plane makes of pushes, good and bad: a control plane scripted over the real protocol, a real process.

use crate::support::client::Client;
use crate::support::fleet::{JOIN_TOKEN, data_plane};
use crate::support::gateway::Gateway;
use crate::support::load::{Load, Outcome, chat};
use crate::support::patience::{logged, until};
use crate::support::resources::{self as make, Estate, Named, Steps};
use crate::support::scripted_control::{ScriptedControl, Subscription};
use helix_fake_provider::{FakeProvider, Running};
use helix_proto::convert::resource::to_wire;
use helix_proto::v1;
use helix_shared::snapshot::ResourceKind;
use std::collections::BTreeSet;
use tempfile::TempDir;

const GOOD: &str = "hx_t_goodgoodgoodgoodgoodgoodgood0001";

struct Stage {
    control: ScriptedControl,
    stream: Subscription,
    plane: Gateway,
    provider: Running,
    client: Client,
    estate: Estate,
    _folder: TempDir,
}

impl Stage {
    /// A data plane that serves revision 1: one team, one key, one model.
    async fn set() -> Self {
        let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut control = ScriptedControl::start().await;
        let plane = data_plane(folder.path(), &control.url(), JOIN_TOKEN);
        let stream = control.subscribed().await;
        assert_eq!((stream.subscribe.have_revision, stream.subscribe.node.is_some()), (0, true));
        let (estate, client) = (Estate::default(), Client::new());
        let mut stage = Self { control, stream, plane, provider, client, estate, _folder: folder };
        let first = vec![
            make::settings(),
            make::backend("openai", &format!("{}/v1", stage.provider.url())),
            make::model("gpt-5-mini", "openai"),
            make::team("good", &["gpt-*"]),
            make::team_key("good-key", "good", GOOD),
        ];
        let steps = stage.estate.replace(first);
        let applied = stage.push("first", steps).await;
        assert_eq!((applied.revision, applied.quarantined.len()), (1, 0));
        stage
    }

    async fn send(&self, push_id: &str, steps: Steps) {
        for step in steps {
            self.stream.send(push_id, step).await;
        }
    }

    async fn push(&mut self, push_id: &str, steps: Steps) -> v1::Applied {
        self.send(push_id, steps).await;
        let applied = self.stream.applied().await;
        assert_eq!((applied.push_id.as_str(), applied.revision), (push_id, self.estate.revision));
        applied
    }

    async fn ask(&self, key: &str, model: &str) -> (u16, String) {
        let url = format!("{}/v1/chat/completions", self.plane.url());
        let Outcome { status, code, .. } = Outcome::from(&self.client.ask(&url, key, &chat(model, "hi")).await);
        (status, code)
    }
}

/// Pushes that must be thrown away, with what the reason says.
fn broken_pushes(estate: &Estate) -> Vec<(&'static str, Steps)> {
    use v1::begin::Mode;
    let base = estate.revision;
    let (id, resource) = make::team("late", &["*"]);
    let whole = to_wire(&id, &resource);
    let mut changed = whole.clone();
    changed.content_hash ^= 1;
    let unknown = v1::Resource { id: "from the future".into(), content_hash: 1, body: None };
    let digest = estate.set.digest().to_bytes().to_vec();
    let delta = || make::begin(Mode::Delta, base);
    vec![
        ("digest", vec![delta(), make::chunk(vec![whole.clone()]), make::commit(base + 1, digest.clone())]),
        ("digest", vec![delta(), make::chunk(vec![whole.clone()]), make::commit(base + 1, b"short".to_vec())]),
        ("does not know", vec![delta(), make::chunk(vec![unknown])]),
        ("content hash", vec![delta(), make::chunk(vec![changed])]),
        ("chunk without begin", vec![make::chunk(vec![whole])]),
        ("starts from revision 77", vec![make::begin(Mode::Delta, 77)]),
        ("begin without a mode", vec![make::begin(Mode::Unspecified, base)]),
        ("digest", vec![make::commit(base + 5, digest)]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_push_is_refused_with_a_reason_and_traffic_goes_on() {
    let mut stage = Stage::set().await;
    let load = Load::start(&stage.plane.url(), GOOD, 2);
    for (number, (expected, steps)) in broken_pushes(&stage.estate).into_iter().enumerate() {
        let push_id = format!("broken-{number}");
        stage.send(&push_id, steps).await;
        let refused = stage.stream.refused().await;
        assert_eq!((refused.push_id, refused.still_serving), (push_id, 1));
        assert!(refused.reason.contains(expected), "{} does not say `{expected}`", refused.reason);
        load.further(5).await;
    }
    let steps = stage.estate.change(vec![make::team("late", &["*"])], &[]);
    stage.push("good again", steps).await;
    let outcomes = load.stop().await;
    assert!(outcomes.iter().all(|outcome| outcome.status == 200), "{outcomes:?}");
    logged(&stage.plane, "a configuration push was refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_too_large_to_be_read_ends_the_stream_and_the_plane_subscribes_again_with_what_it_holds() {
    let mut stage = Stage::set().await;
    stage.stream.send(&"x".repeat(17 << 20), stage.estate.commit()).await;
    stage.stream = stage.control.subscribed().await;
    assert_eq!(stage.stream.subscribe.have_revision, 1);
    assert_eq!(stage.stream.subscribe.have_digest, stage.estate.set.digest().to_bytes());
    assert_eq!(stage.ask(GOOD, "gpt-5-mini").await.0, 200);
    let steps = stage.estate.change(vec![make::team("late", &["*"])], &[]);
    stage.push("resumed", steps).await;
}

/// Resources that can be read and do not compile, and the callers they govern.
fn odd_resources() -> Vec<Named> {
    let long_pattern = "x".repeat(201);
    let mut odd = vec![
        make::team("unreadable", &[&long_pattern]),
        make::team_key("unreadable-key", "unreadable", "hx_t_unreadable"),
        make::team("zoned", &["gpt-*"]),
        make::team_key("zoned-key", "zoned", "hx_t_zoned"),
        make::budget("zoned-budget", "zoned", "Mars/Olympus"),
        make::backend("odd", "ftp://nowhere"),
        make::model("gpt-odd", "odd"),
        make::api_key("short-key", "good", vec![1, 2, 3]),
    ];
    odd.extend(make::person("sam", "good", "emperor"));
    odd
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_compile_is_quarantined_and_only_what_it_governs_is_refused() {
    let mut stage = Stage::set().await;
    let steps = stage.estate.change(odd_resources(), &[]);
    let applied = stage.push("odd", steps).await;
    let quarantined: BTreeSet<String> =
        applied.quarantined.iter().map(|it| it.key.as_ref().map_or_else(String::new, |key| key.id.clone())).collect();
    let expected = ["gpt-odd", "odd", "sam-grant", "short-key", "unreadable", "zoned-budget"];
    assert_eq!(quarantined, expected.map(str::to_owned).into(), "{:?}", applied.quarantined);
    assert!(applied.quarantined.iter().all(|it| !it.reason.is_empty()));

    let quarantine = (503, "quarantined".to_owned());
    assert_eq!(stage.ask(GOOD, "gpt-5-mini").await.0, 200, "others pass");
    assert_eq!(stage.ask("hx_t_unreadable", "gpt-5-mini").await, quarantine);
    assert_eq!(stage.ask("hx_t_zoned", "gpt-5-mini").await, quarantine);
    assert_eq!(stage.ask(GOOD, "gpt-odd").await, (503, "no_healthy_backend".to_owned()));

    let mended = vec![
        make::team("unreadable", &["gpt-*"]),
        make::budget("zoned-budget", "zoned", "Europe/Berlin"),
        make::backend("odd", &format!("{}/v1", stage.provider.url())),
    ];
    let gone = [make::key(ResourceKind::ApiKey, "short-key"), make::key(ResourceKind::RoleGrant, "sam-grant")];
    let steps = stage.estate.change(mended, &gone);
    assert_eq!(stage.push("mended", steps).await.quarantined, []);
    for (key, model) in
        [(GOOD, "gpt-5-mini"), ("hx_t_unreadable", "gpt-5-mini"), ("hx_t_zoned", "gpt-5-mini"), (GOOD, "gpt-odd")]
    {
        assert_eq!(stage.ask(key, model).await.0, 200, "{key} {model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_compile_admit_nobody() {
    let mut stage = Stage::set().await;
    let (id, resource) = make::settings();
    let helix_shared::snapshot::Resource::Settings(mut settings) = resource else { unreachable!() };
    settings.key_pepper = helix_shared::secret::Secret::new("short");
    let steps = stage.estate.change(vec![(id, helix_shared::snapshot::Resource::Settings(settings))], &[]);
    assert_eq!(stage.push("odd", steps).await.quarantined.len(), 1);
    assert_eq!(stage.ask(GOOD, "gpt-5-mini").await, (503, "not_ready".to_owned()));
    let steps = stage.estate.change(vec![make::settings()], &[]);
    stage.push("mended", steps).await;
    assert_eq!(stage.ask(GOOD, "gpt-5-mini").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_without_a_heartbeat_is_left_and_called_again() {
    let mut stage = Stage::set().await;
    stage.stream.send("", stage.estate.commit()).await;
    // Silence: the data plane gives up after three heartbeats, by itself, and comes back with what it holds.
    stage.stream = stage.control.subscribed().await;
    assert_eq!(stage.stream.subscribe.have_revision, 1);
    logged(&stage.plane, "no heartbeat of the control plane").await;
    assert_eq!(stage.ask(GOOD, "gpt-5-mini").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_swaps_under_load_fail_no_request_and_each_saw_one_revision_that_existed() {
    let mut stage = Stage::set().await;
    let load = Load::start(&stage.plane.url(), GOOD, 4);
    let mut last = load.count();
    for number in 0..200 {
        let team = make::team(&format!("team-{}", number % 7), &[&format!("gpt-{number}*")]);
        let moved = make::backend("openai", &format!("{}/account-{}/v1", stage.provider.url(), number % 2));
        let steps = stage.estate.change(vec![team, moved], &[]);
        let push_id = format!("swap-{number}");
        stage.push(&push_id, steps).await;
        if number % 20 == 0 {
            load.further(1).await;
            last = load.count();
        }
    }
    assert!(last > 0 && stage.estate.revision == 201);
    let outcomes = load.stop().await;
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.status != 200).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), outcomes.len(), failed.first());
    let records = until("every record arrives", async || {
        let records = stage.control.records();
        (records.len() >= outcomes.len()).then_some(records)
    })
    .await;
    assert_eq!(records.len(), outcomes.len());
    let seen: BTreeSet<u64> = records.iter().map(|record| record.config_revision).collect();
    assert!(seen.iter().all(|revision| (1..=201).contains(revision)), "{seen:?}");
    assert!(seen.len() >= 5, "requests ran between the swaps: {seen:?}");
}
