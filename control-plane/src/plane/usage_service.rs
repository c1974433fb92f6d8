//! The records stream, server side: a batch in, an acknowledgement after the commit out.
//!
//! Rule: nothing is acknowledged that is not durable; a record that cannot be read is parked with its reason and never
//! blocks the ones after it. When the database is away the stream ends and the node keeps its journal. A node writes what
//! its own processes did: an incarnation that another node opened is closed to it.

use super::alerts::Alerts;
use super::identity::Identity;
use crate::error::chain;
use crate::publish::{Feed, Published};
use crate::tasks::Tasks;
use helix_proto::convert::record::record_from_wire;
use helix_proto::v1;
use helix_proto::v1::usage_ingest_server::UsageIngest;
use helix_shared::budget::AccountKey;
use helix_shared::ids::Incarnation;
use helix_shared::record::Record;
use helix_shared::time::Clock;
use helix_store::{Db, Malformed, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// A batch that takes longer than this asks its node to pause.
const SLOW: Duration = Duration::from_millis(250);
/// The longest pause that is asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Most records of one batch.
const MOST_RECORDS: usize = 10_000;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct UsageService {
    pub(crate) db: Db,
    pub(crate) feed: Feed,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who may write records now.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) alerts: Alerts,
}

type AckSender = mpsc::Sender<Result<v1::UsageAck, Status>>;

#[tonic::async_trait]
impl UsageIngest for UsageService {
    type ReportStream = ReceiverStream<Result<v1::UsageAck, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::UsageBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let service = self.clone();
        self.tasks.spawn("records stream", async move {
            if let Err(status) = service.serve(request.into_inner(), &sender).await {
                // the node may be gone already; then nobody needs the status
                drop(sender.send(Err(status)).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl UsageService {
    async fn serve(&self, mut batches: Streaming<v1::UsageBatch>, out: &AckSender) -> Result<(), Status> {
        let mut node: Option<Identity> = None;
        // whose it is does not change once somebody's
        let mut owned: Option<Incarnation> = None;
        while let Some(mut batch) = batches.message().await? {
            if let Some(introduced) = batch.node.take() {
                node = Some(Identity::introduce(Some(introduced))?);
            }
            let Some(node) = &node else { return Err(Status::invalid_argument("the first batch must name the node")) };
            let incarnation = incarnation_of(node, &batch)?;
            if owned.as_ref() != Some(&incarnation) {
                owned = self.is_owner(node, &incarnation).await?.then(|| incarnation.clone());
            }
            let ack = self.take(node, incarnation, batch).await?;
            if out.send(Ok(ack)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a node opened an incarnation; `false`: nobody did yet. One that another node opened is refused.
    async fn is_owner(&self, node: &Identity, incarnation: &Incarnation) -> Result<bool, Status> {
        let owner = self.db.owner(incarnation).await.map_err(|error| unavailable(node, &error))?;
        if owner.as_ref().is_some_and(|owner| *owner != node.node_id) {
            tracing::warn!(
                node.id = %node.node_id, %incarnation,
                "data plane {} sends records of process {incarnation} of another data plane; they are refused", node.node_id
            );
            return Err(Status::permission_denied("the incarnation belongs to another node"));
        }
        Ok(owner.is_some())
    }

    async fn take(
        &self,
        node: &Identity,
        incarnation: Incarnation,
        batch: v1::UsageBatch,
    ) -> Result<v1::UsageAck, Status> {
        if batch.records.len() > MOST_RECORDS {
            return Err(Status::invalid_argument(format!("a batch has at most {MOST_RECORDS} records")));
        }
        let published = self.feed.current();
        let (mut records, mut malformed) = (Vec::with_capacity(batch.records.len()), Vec::new());
        for wire in batch.records {
            let seq = wire.seq;
            // what can be shown to people of a record that cannot be read
            let payload = format!("request {} of model {}", wire.request_id, wire.requested_model);
            match record_from_wire(&node.node_id, &incarnation, wire) {
                Ok(record) => records.push(resolved(&published, record)),
                Err(error) => malformed.push(Malformed { seq, reason: error.to_string(), payload }),
            }
        }
        let started = Instant::now();
        let turn = self.turns.acquire().await;
        let outcome = self.db.ingest(&incarnation, &node.node_id, &records, &malformed, self.clock.now()).await;
        drop(turn);
        let outcome = outcome.map_err(|error| unavailable(node, &error))?;
        self.alerts.tell(&outcome.alerts);
        for seq in &outcome.rejected {
            tracing::error!(node.id = %node.node_id, %incarnation, seq, "record {seq} of {incarnation} cannot be read and is parked");
        }
        Ok(v1::UsageAck {
            incarnation: incarnation.as_str().to_owned(),
            through_seq: outcome.through_seq,
            rejected_seqs: outcome.rejected,
            pause_ms: pause_ms(started.elapsed()),
        })
    }
}

/// The process that a batch is of: this one, or an earlier one of the node.
fn incarnation_of(node: &Identity, batch: &v1::UsageBatch) -> Result<Incarnation, Status> {
    match batch.incarnation.as_str() {
        "" => Ok(node.incarnation.clone()),
        named if named.len() <= 64 => Ok(Incarnation::from(named)),
        _ => Err(Status::invalid_argument("an incarnation has at most 64 characters")),
    }
}

fn unavailable(node: &Identity, error: &StoreError) -> Status {
    tracing::warn!(node.id = %node.node_id, error = %chain(error), "records cannot be stored; the node keeps them");
    Status::unavailable("the records' database is not available; try again")
}

fn pause_ms(took: Duration) -> u32 {
    if took <= SLOW {
        return 0;
    }
    u32::try_from(took.min(LONGEST_PAUSE).as_millis()).unwrap_or(u32::MAX)
}

/// Gives every charged account its period: a node that never held the account does not know it. A budget that is gone
/// has no periods; it is charged no more.
fn resolved(published: &Published, mut record: Record) -> Record {
    let started_at = record.started_at;
    let period_of = |account: AccountKey| {
        if account.period_start.get() != 0 {
            return Some(account);
        }
        let limit = published.limit(&account.budget_id)?;
        let window = limit.window(started_at).ok()?;
        Some(AccountKey { period_start: window.start, ..account })
    };
    record.charged = std::mem::take(&mut record.charged).into_iter().filter_map(period_of).collect();
    record
}
