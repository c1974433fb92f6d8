//! What nodes say of themselves, for people.
//!
//! Rule: nothing here decides anything; a report that is lost is lost.

use super::identity::Identity;
use super::nodes::Nodes;
use crate::tasks::Tasks;
use helix_proto::v1;
use helix_proto::v1::node_telemetry_server::NodeTelemetry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How often a node may report.
const REPORT_EVERY_MS: u32 = 10_000;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct TelemetryService {
    pub(crate) nodes: Nodes,
    pub(crate) tasks: Tasks,
}

type ReportSender = mpsc::Sender<Result<v1::FleetReport, Status>>;

#[tonic::async_trait]
impl NodeTelemetry for TelemetryService {
    type ExchangeStream = ReceiverStream<Result<v1::FleetReport, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::NodeReport>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        let service = self.clone();
        self.tasks.spawn("telemetry stream", async move {
            if let Err(status) = service.serve(request.into_inner(), &sender).await {
                // the node may be gone already; then nobody needs the status
                drop(sender.send(Err(status)).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl TelemetryService {
    async fn serve(&self, mut reports: Streaming<v1::NodeReport>, out: &ReportSender) -> Result<(), Status> {
        let mut node = None;
        while let Some(report) = reports.message().await? {
            if node.is_none() {
                node = Some(Identity::introduce(report.node)?);
            }
            if let Some(node) = &node {
                tracing::debug!(
                    node.id = %node.node_id,
                    revision = report.serving_revision,
                    journal_bytes = report.journal_bytes,
                    in_flight = report.requests_in_flight,
                    draining = report.draining,
                    stale = report.stale,
                    "node report"
                );
            }
            let nodes_connected = u32::try_from(self.nodes.count()).unwrap_or(u32::MAX);
            let answer = v1::FleetReport { next_report_in_ms: REPORT_EVERY_MS, nodes_connected };
            if out.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
