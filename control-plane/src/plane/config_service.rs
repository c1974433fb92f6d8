//! The configuration stream, server side: subscribe, push, heartbeat, applied or refused.
//!
//! Rule: one push in flight per node; a revision is sent as a delta when the node's state is one we can start from, whole
//! otherwise. What the digest says is decided by the node. No configuration rule lives here.

use super::identity::Identity;
use super::nodes::Nodes;
use crate::publish::fanout::{Fanout, Mode};
use crate::publish::follower::{Feed, Start};
use crate::publish::{Published, push};
use crate::tasks::Tasks;
use helix_proto::convert::resource::key_from_wire;
use helix_proto::v1;
use helix_proto::v1::config_discovery_server::ConfigDiscovery;
use helix_shared::snapshot::compile::Quarantined;
use helix_shared::snapshot::{Digest, ResourceKey};
use helix_shared::time::Clock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Quiet time after which the current revision is said again.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a node may take to read or to answer a push before its stream is closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct ConfigService {
    pub(crate) feed: Feed,
    pub(crate) nodes: Nodes,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Arc<dyn Clock>,
}

type PushSender = mpsc::Sender<Result<v1::ConfigPush, Status>>;

#[tonic::async_trait]
impl ConfigDiscovery for ConfigService {
    type WatchStream = ReceiverStream<Result<v1::ConfigPush, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        let service = self.clone();
        self.tasks.spawn("config stream", async move {
            if let Err(status) = service.serve(request.into_inner(), &sender).await {
                // the node may be gone already; then nobody needs the status
                drop(timeout(PATIENCE, sender.send(Err(status))).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// One subscribed node.
struct Subscription<'a> {
    service: &'a ConfigService,
    node: Identity,
    out: &'a PushSender,
    current: watch::Receiver<Arc<Published>>,
    fanout: Fanout,
    answer_due: Option<Instant>,
}

impl ConfigService {
    async fn serve(&self, mut requests: Streaming<v1::WatchRequest>, out: &PushSender) -> Result<(), Status> {
        let Some(v1::WatchRequest { kind: Some(v1::watch_request::Kind::Subscribe(first)) }) =
            requests.message().await?
        else {
            return Err(Status::invalid_argument("the first message must be Subscribe"));
        };
        let node = Identity::introduce(first.node)?;
        let held = Digest::from_bytes(&first.have_digest).unwrap_or_default();
        let mut fanout = Fanout::new(first.have_revision, held);
        // another control plane may have published what we have not read yet
        let is_fresh = self.feed.refresh().await;
        if is_fresh && first.have_revision > self.feed.current().revision() {
            fanout.distrust();
        }
        let _connection = self.nodes.connect(&node, first.have_revision).await;
        let mut subscription =
            Subscription { service: self, node, out, current: self.feed.watch(), fanout, answer_due: None };
        subscription.run(&mut requests).await
    }
}

impl Subscription<'_> {
    async fn run(&mut self, requests: &mut Streaming<v1::WatchRequest>) -> Result<(), Status> {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.push_or_greet().await?;
        loop {
            let answer_due = self.answer_due;
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.hear(request).await?,
                    None => return Ok(()),
                },
                changed = self.current.changed() => match changed {
                    Ok(()) => self.push().await?,
                    Err(_) => return Err(Status::unavailable("the control plane is stopping")),
                },
                _ = heartbeat.tick() => if !self.fanout.is_waiting() { self.beat().await?; },
                () = sleep_until(answer_due) => {
                    return Err(Status::deadline_exceeded("a push was neither applied nor refused in time"));
                }
            }
        }
    }

    async fn hear(&mut self, request: v1::WatchRequest) -> Result<(), Status> {
        match request.kind {
            Some(v1::watch_request::Kind::Applied(applied)) => {
                if let Some(revision) = self.fanout.applied(&applied.push_id) {
                    self.answer_due = None;
                    let quarantined = applied.quarantined.into_iter().filter_map(quarantined_from_wire).collect();
                    self.service.nodes.applied(&self.node, revision, quarantined).await;
                }
            }
            Some(v1::watch_request::Kind::Refused(refused)) => {
                if let Some(revision) = self.fanout.refused(&refused.push_id) {
                    self.answer_due = None;
                    self.service.nodes.refused(&self.node, revision, &refused.reason);
                } else if refused.push_id.is_empty() && !self.fanout.is_waiting() {
                    // a heartbeat: the node does not hold what we think it does
                    self.fanout.distrust();
                }
            }
            Some(v1::watch_request::Kind::Subscribe(_)) => {
                return Err(Status::invalid_argument("a stream is subscribed once"));
            }
            // a kind that a newer node knows: nothing that this version must answer
            None => {}
        }
        self.push().await
    }

    /// The first thing a node hears: a push, or that it is up to date.
    async fn push_or_greet(&mut self) -> Result<(), Status> {
        self.push().await?;
        if self.fanout.is_waiting() { Ok(()) } else { self.greet().await }
    }

    /// Says the current revision again. What a node holds beyond the database's last revision, now that the database answers,
    /// the database has lost.
    async fn beat(&mut self) -> Result<(), Status> {
        let (held, _) = self.fanout.held();
        let feed = &self.service.feed;
        if held > feed.current().revision() && feed.refresh().await && held > feed.current().revision() {
            self.fanout.distrust();
        }
        self.push_or_greet().await
    }

    async fn greet(&self) -> Result<(), Status> {
        let (revision, digest) = self.fanout.held();
        self.send(String::new(), v1::config_push::Step::Commit(self.commit(revision, digest))).await
    }

    /// Sends what the node lacks, unless a push is unanswered or there is nothing to send.
    async fn push(&mut self) -> Result<(), Status> {
        let published = Arc::clone(&self.current.borrow_and_update());
        self.fanout.see(&published);
        if !self.fanout.is_due(&published) {
            return Ok(());
        }
        let (base, digest) = self.fanout.held();
        let start = if self.fanout.must_replace() {
            Start::Nothing
        } else {
            self.service.feed.start(base, digest, published.revision()).await
        };
        match start {
            Start::Changes(changed) => self.push_difference(&published, base, &changed).await,
            Start::Nothing => self.push_whole(&published).await,
        }
    }

    async fn push_difference(
        &mut self,
        published: &Published,
        base: u64,
        changed: &BTreeSet<ResourceKey>,
    ) -> Result<(), Status> {
        let push_id = self.fanout.begin(published, Mode::Delta);
        let begin = v1::Begin { mode: v1::begin::Mode::Delta.into(), base_revision: base };
        self.push_chunks(published, push_id, begin, push::difference(published.set(), changed)).await
    }

    async fn push_whole(&mut self, published: &Published) -> Result<(), Status> {
        let push_id = self.fanout.begin(published, Mode::Replace);
        let begin = v1::Begin { mode: v1::begin::Mode::Replace.into(), base_revision: 0 };
        self.push_chunks(published, push_id, begin, published.whole().iter().cloned()).await
    }

    async fn push_chunks(
        &mut self,
        published: &Published,
        push_id: String,
        begin: v1::Begin,
        chunks: impl IntoIterator<Item = v1::Chunk>,
    ) -> Result<(), Status> {
        let (mode, base) = (begin.mode().as_str_name(), begin.base_revision);
        self.send(push_id.clone(), v1::config_push::Step::Begin(begin)).await?;
        for chunk in chunks {
            self.send(push_id.clone(), v1::config_push::Step::Chunk(chunk)).await?;
        }
        let commit = self.commit(published.revision(), published.digest());
        self.send(push_id, v1::config_push::Step::Commit(commit)).await?;
        tracing::debug!(
            node.id = %self.node.node_id,
            revision = published.revision(),
            mode,
            base,
            "revision {} pushed to node {}",
            published.revision(),
            self.node.node_id
        );
        self.answer_due = Some(Instant::now() + PATIENCE);
        Ok(())
    }

    fn commit(&self, revision: u64, digest: Digest) -> v1::Commit {
        v1::Commit { revision, digest: digest.to_bytes().to_vec(), created_at_us: self.service.clock.now().get() }
    }

    async fn send(&self, push_id: String, step: v1::config_push::Step) -> Result<(), Status> {
        match timeout(PATIENCE, self.out.send(Ok(v1::ConfigPush { push_id, step: Some(step) }))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the node is gone")),
            Err(_) => Err(Status::deadline_exceeded("the node does not read its pushes")),
        }
    }
}

fn quarantined_from_wire(item: v1::Quarantined) -> Option<Quarantined> {
    Some(Quarantined { key: key_from_wire(&item.key?)?, reason: item.reason })
}

/// Waits for ever when there is no deadline.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
