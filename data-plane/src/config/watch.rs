//! The `Watch` stream: subscribe with what is held, take pushes, answer each.
//!
//! Rule: a push is applied, or refused with a reason; either way traffic goes on. Three missed heartbeats are a dead
//! stream.

use super::assemble::{Assembler, Outcome};
use super::current::Current;
use super::last_good::LastGood;
use crate::link::Link;
use futures_util::StreamExt;
use helix_proto::convert::resource::key_to_wire;
use helix_proto::v1;
use helix_proto::v1::config_discovery_client::ConfigDiscoveryClient;
use helix_shared::snapshot::compile;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Three heartbeats of 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// A chunk holds 1 MiB; one resource may make it somewhat larger.
const MOST_MESSAGE_BYTES: usize = 16 << 20;

/// Follows the control plane's configuration.
#[derive(Debug)]
pub struct Watch {
    assembler: Assembler,
    current: Arc<Current>,
    last_good: Option<LastGood>,
}

impl Watch {
    /// Starts from the last good configuration, if there is a usable one, and puts it in force as stale.
    pub fn start(current: Arc<Current>, last_good: Option<LastGood>) -> Self {
        let mut watch = Self { assembler: Assembler::default(), current, last_good };
        match watch.last_good.as_ref().map(LastGood::load) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some((revision, set)))) => {
                tracing::info!(
                    revision,
                    resources = set.len(),
                    "serving the last good configuration until the control plane answers"
                );
                watch.current.swap(compile(&set, revision), true);
                watch.assembler = Assembler::new(revision, set);
            }
            Some(Err(error)) => {
                tracing::warn!(error = %crate::chain(&error), "the last good configuration was set aside; waiting for the control plane");
            }
        }
        watch
    }

    /// Runs until shutdown.
    pub async fn run(mut self, link: Link) {
        let mut backoff = link.backoff();
        loop {
            let connected_at = tokio::time::Instant::now();
            tokio::select! {
                ended = self.stream(&link) => match ended {
                    Ok(()) => tracing::debug!("the configuration stream ended; it will be opened again"),
                    Err(status) => tracing::warn!(code = ?status.code(), message = status.message(), "no configuration stream; serving what is held"),
                },
                () = link.stopped() => return,
            }
            backoff.note_connection(connected_at.elapsed());
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = link.stopped() => return,
            }
        }
    }

    async fn stream(&mut self, link: &Link) -> Result<(), tonic::Status> {
        let (requests, receiver) = mpsc::channel::<v1::WatchRequest>(16);
        let subscribe = v1::Subscribe {
            node: Some(link.node()),
            have_revision: self.assembler.revision(),
            have_digest: self.assembler.digest().to_bytes().to_vec(),
        };
        answer(&requests, v1::watch_request::Kind::Subscribe(subscribe)).await?;
        let mut client = ConfigDiscoveryClient::with_interceptor(link.channel(), link.credentials())
            .max_decoding_message_size(MOST_MESSAGE_BYTES);
        let outbound = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut pushes = client.watch(outbound).await?.into_inner();
        loop {
            let push = tokio::time::timeout(SILENCE, pushes.next())
                .await
                .map_err(|_| tonic::Status::deadline_exceeded("no heartbeat of the control plane"))?;
            let Some(push) = push else { return Ok(()) };
            if let Some(kind) = self.take(push?) {
                answer(&requests, kind).await?;
            }
        }
    }

    /// Takes one message; the answer to send, if any.
    fn take(&mut self, push: v1::ConfigPush) -> Option<v1::watch_request::Kind> {
        let v1::ConfigPush { push_id, step } = push;
        let taken = match step {
            Some(step) => self.assembler.take(step),
            // A step that this version does not know.
            None => Err(super::assemble::AssembleError::OutOfOrder("a step that this version does not know")),
        };
        match taken {
            Ok(Outcome::Pending) => None,
            Ok(Outcome::Heartbeat) => {
                self.confirm();
                None
            }
            Ok(Outcome::Committed) => Some(self.apply(push_id)),
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(reason, still_serving = self.assembler.revision(), "a configuration push was refused");
                let refused = v1::Refused { push_id, still_serving: self.assembler.revision(), reason };
                Some(v1::watch_request::Kind::Refused(refused))
            }
        }
    }

    fn apply(&self, push_id: String) -> v1::watch_request::Kind {
        let (revision, set) = (self.assembler.revision(), self.assembler.set());
        let snapshot = compile(set, revision);
        let quarantined: Vec<v1::Quarantined> = snapshot
            .quarantined
            .iter()
            .map(|it| v1::Quarantined { key: Some(key_to_wire(&it.key)), reason: it.reason.clone() })
            .collect();
        for it in &snapshot.quarantined {
            tracing::error!(
                kind = it.key.kind.as_str(),
                id = it.key.id,
                reason = it.reason,
                "a resource is quarantined; what it governs is refused"
            );
        }
        self.current.swap(snapshot, false);
        tracing::info!(revision, resources = set.len(), quarantined = quarantined.len(), "configuration applied");
        if let Some(last_good) = &self.last_good
            && let Err(error) = last_good.save(revision, set)
        {
            tracing::warn!(error = %crate::chain(&error), "the last good configuration could not be kept on disk");
        }
        v1::watch_request::Kind::Applied(v1::Applied { push_id, revision, quarantined })
    }

    /// The control plane confirmed the revision in force: what came from disk is no longer stale.
    fn confirm(&self) {
        if self.current.is_stale() {
            tracing::info!(
                revision = self.assembler.revision(),
                "the control plane confirmed the configuration in force"
            );
            self.current.confirm();
        }
    }
}

async fn answer(requests: &mpsc::Sender<v1::WatchRequest>, kind: v1::watch_request::Kind) -> Result<(), tonic::Status> {
    let request = v1::WatchRequest { kind: Some(kind) };
    requests.send(request).await.map_err(|_| tonic::Status::unavailable("the answer stream is closed"))
}
