//! A control plane in a folder of its own, and a node that speaks to it.
//!
//! Rule: every wait has a limit, and the limit is a failure; nothing sleeps.

use helix_control_plane::settings::{
    FileBackend, FileBudget, FileConfig, FileKey, FileModel, FileProvider, FileScope, FileTeam, FileUser,
    MasterKeySource,
};
use helix_control_plane::{ControlPlane, Settings, StartError};
use helix_proto::convert::resource::{from_wire, key_from_wire};
use helix_proto::v1;
use helix_proto::v1::config_discovery_client::ConfigDiscoveryClient;
use helix_shared::budget::{Mode, Period, WeekStart};
use helix_shared::money::NanoUsd;
use helix_shared::rbac::Role;
use helix_shared::secret::Secret;
use helix_shared::snapshot::{Digest, ResourceSet};
use helix_shared::time::{Clock, SystemClock, UnixMicros};
use hyper_util::rt::TokioIo;
use prost::Message;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// Fails the test when something takes longer than anything here should.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it takes too long")
}

pub(crate) fn settings(folder: &Path) -> Settings {
    Settings {
        database_url: Secret::new(format!("sqlite://{}", folder.join("helix.db").display())),
        http_listen: None,
        plane_listen: None,
        public_url: "https://gateway.example/".to_owned(),
        data_dir: folder.to_owned(),
        master_key: MasterKeySource::DataDir,
        join_token: None,
        allow_unclaimed: false,
        file: FileConfig::default(),
        version: "test".to_owned(),
    }
}

pub(crate) fn file() -> FileConfig {
    FileConfig {
        body_limit_bytes: None,
        providers: vec![FileProvider {
            name: "openai".to_owned(),
            kind: "openai".to_owned(),
            base_url: None,
            api_version: None,
            api_key: Some(Secret::new("sk-canary-of-the-provider")),
            http_version: String::new(),
            connect_timeout_ms: 0,
            first_byte_timeout_ms: 0,
            idle_timeout_ms: 0,
            total_timeout_ms: 0,
            max_in_flight: 0,
        }],
        models: vec![FileModel {
            pattern: "gpt-*".to_owned(),
            strategy: "priority".to_owned(),
            params: "drop".to_owned(),
            fetches_urls: false,
            backends: vec![FileBackend { provider: "openai".to_owned(), model: None, weight: 1 }],
        }],
        prices: Vec::new(),
        teams: vec![FileTeam {
            name: "blue".to_owned(),
            allow_models: Vec::new(),
            deny_models: Vec::new(),
            cost_center: None,
        }],
        users: vec![FileUser {
            email: "Jane@corp.example".to_owned(),
            name: "Jane".to_owned(),
            teams: vec!["blue".to_owned()],
            roles: vec![Role::Member],
            disabled: false,
            cost_center: None,
        }],
        keys: vec![FileKey {
            name: "ci".to_owned(),
            user: Some("jane@corp.example".to_owned()),
            team: None,
            secret: Secret::new("hx_p_canary-of-the-key-of-ci"),
            expires_at: None,
        }],
        budgets: vec![
            budget(FileScope::Instance, 100, Mode::Hard),
            budget(FileScope::User("jane@corp.example".to_owned()), 10, Mode::Soft),
        ],
    }
}

pub(crate) fn budget(scope: FileScope, usd: i64, mode: Mode) -> FileBudget {
    FileBudget {
        scope,
        limit: NanoUsd::new(usd * NanoUsd::ONE_USD.get()),
        period: Period::Monthly,
        mode,
        timezone: "UTC".to_owned(),
        week_start: WeekStart::Monday,
        alert_at: Vec::new(),
    }
}

/// A control plane in a folder that ends with it.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) control: ControlPlane,
    pipes: mpsc::Sender<io::Result<DuplexStream>>,
}

pub(crate) async fn start(settings: Settings) -> Result<ControlPlane, StartError> {
    ControlPlane::start(settings, Arc::new(SystemClock::new())).await
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(pub(crate) AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> UnixMicros {
        UnixMicros::new(self.0.load(Ordering::SeqCst))
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.now().get()).unwrap()
    }
}

impl Fixture {
    pub(crate) async fn new(file: FileConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(folder, file).await
    }

    pub(crate) async fn in_folder(folder: TempDir, file: FileConfig) -> Self {
        let settings = Settings { file, ..settings(folder.path()) };
        Self::with(folder, settings).await
    }

    pub(crate) async fn with(folder: TempDir, settings: Settings) -> Self {
        let control = start(settings).await.unwrap();
        Self::around(folder, control)
    }

    pub(crate) fn around(folder: TempDir, control: ControlPlane) -> Self {
        let (pipes, incoming) = mpsc::channel(16);
        let server = control.plane_server().clone();
        detach(async move {
            server.serve_in_memory(ReceiverStream::new(incoming), std::future::pending()).await.unwrap();
        });
        Self { folder, control, pipes }
    }

    /// Stops the control plane; its folder stays.
    pub(crate) async fn stop(self) -> TempDir {
        soon(self.control.shutdown()).await;
        self.folder
    }

    /// A channel over a new pipe.
    pub(crate) async fn channel(&self) -> Channel {
        let pipes = self.pipes.clone();
        let connector = tower::service_fn(move |_| {
            let pipes = pipes.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(256 * 1024);
                pipes.send(Ok(theirs)).await.map_err(io::Error::other)?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        });
        soon(Endpoint::from_static("http://control-plane").connect_with_connector(connector)).await.unwrap()
    }

    pub(crate) async fn node(&self, id: &str) -> Node {
        Node::watch(self.channel().await, id, ResourceSet::default(), 0).await
    }
}

/// Runs something beside the test, until it ends.
pub(crate) fn detach(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio_util::task::TaskTracker::new().spawn(work));
}

pub(crate) fn introduction(id: &str) -> v1::Node {
    v1::Node {
        node_id: id.to_owned(),
        incarnation: format!("{id}-1"),
        version: "test".to_owned(),
        protocol: 1,
        zone: String::new(),
        boot_id: "boot".to_owned(),
    }
}

/// A node that holds what it was sent.
pub(crate) struct Node {
    pub(crate) set: ResourceSet,
    pub(crate) revision: u64,
    to: mpsc::Sender<v1::WatchRequest>,
    from: Streaming<v1::ConfigPush>,
}

/// One push as it came.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) id: String,
    pub(crate) mode: v1::begin::Mode,
    pub(crate) base: u64,
    pub(crate) revision: u64,
    pub(crate) digest: Digest,
    pub(crate) upserts: Vec<v1::Resource>,
    pub(crate) removals: Vec<v1::ResourceKey>,
    pub(crate) largest_chunk: usize,
    pub(crate) chunks: usize,
}

impl Node {
    /// Subscribes with what is held.
    pub(crate) async fn watch(channel: Channel, id: &str, set: ResourceSet, revision: u64) -> Self {
        let (to, requests) = mpsc::channel(16);
        to.send(v1::WatchRequest {
            kind: Some(v1::watch_request::Kind::Subscribe(v1::Subscribe {
                node: Some(introduction(id)),
                have_revision: revision,
                have_digest: set.digest().to_bytes().to_vec(),
            })),
        })
        .await
        .unwrap();
        let mut client = ConfigDiscoveryClient::new(channel);
        let from = soon(client.watch(ReceiverStream::new(requests))).await.unwrap().into_inner();
        Self { set, revision, to, from }
    }

    pub(crate) async fn message(&mut self) -> v1::ConfigPush {
        soon(self.from.message()).await.unwrap().expect("the stream has ended")
    }

    /// The next push, whole. Heartbeats before it are passed over.
    pub(crate) async fn push(&mut self) -> Push {
        let begin = loop {
            let message = self.message().await;
            match message.step.unwrap() {
                v1::config_push::Step::Begin(begin) => break (message.push_id, begin),
                v1::config_push::Step::Commit(commit) => assert_eq!(commit.revision, self.revision, "a heartbeat"),
                v1::config_push::Step::Chunk(_) => panic!("a chunk before Begin"),
            }
        };
        let (id, begin) = begin;
        let (mut upserts, mut removals, mut largest_chunk, mut chunks) = (Vec::new(), Vec::new(), 0, 0);
        loop {
            let message = self.message().await;
            assert_eq!(message.push_id, id);
            match message.step.unwrap() {
                v1::config_push::Step::Chunk(chunk) => {
                    largest_chunk = largest_chunk.max(chunk.encoded_len());
                    chunks += 1;
                    upserts.extend(chunk.upserts);
                    removals.extend(chunk.removals);
                }
                v1::config_push::Step::Commit(commit) => {
                    let digest = Digest::from_bytes(&commit.digest).unwrap();
                    let (mode, base, revision) = (begin.mode(), begin.base_revision, commit.revision);
                    return Push { id, mode, base, revision, digest, upserts, removals, largest_chunk, chunks };
                }
                v1::config_push::Step::Begin(_) => panic!("a push inside of a push"),
            }
        }
    }

    /// Takes a push as a data plane does, checks its digest, and says that it is in force.
    pub(crate) async fn apply(&mut self, push: &Push) {
        let mut set = match push.mode {
            v1::begin::Mode::Replace => ResourceSet::default(),
            v1::begin::Mode::Delta => {
                assert_eq!(push.base, self.revision);
                self.set.clone()
            }
            v1::begin::Mode::Unspecified => panic!("a push without a mode"),
        };
        for resource in &push.upserts {
            let (id, hash, resource) = from_wire(resource.clone()).unwrap();
            set.upsert(id, hash, resource);
        }
        for key in &push.removals {
            set.remove(&key_from_wire(key).unwrap());
        }
        assert_eq!(set.digest(), push.digest, "the digest is not the one of what was sent");
        (self.set, self.revision) = (set, push.revision);
        let applied = v1::Applied { push_id: push.id.clone(), revision: push.revision, quarantined: Vec::new() };
        self.say(v1::watch_request::Kind::Applied(applied)).await;
    }

    pub(crate) async fn refuse(&mut self, push_id: &str) {
        let (push_id, still_serving) = (push_id.to_owned(), self.revision);
        let reason = "for the test".to_owned();
        self.say(v1::watch_request::Kind::Refused(v1::Refused { push_id, still_serving, reason })).await;
    }

    async fn say(&self, kind: v1::watch_request::Kind) {
        self.to.send(v1::WatchRequest { kind: Some(kind) }).await.unwrap();
    }
}
