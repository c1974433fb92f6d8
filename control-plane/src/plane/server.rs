//! The plane's gRPC server: the same services over TCP with the join token, and over a pipe in memory without.
//!
//! Rule: keepalive on every connection, so a node that vanished is noticed in seconds. Transport security would be added
//! to the TCP side here and nowhere else.

use super::alerts::Alerts;
use super::auth::Trust;
use super::budget_service::BudgetService;
use super::config_service::ConfigService;
use super::escrow_jobs;
use super::holders::Holders;
use super::nodes::{ConnectedNode, Nodes};
use super::telemetry_service::TelemetryService;
use super::usage_service::UsageService;
use crate::app::App;
use crate::publish::Feed;
use crate::secrets::JoinToken;
use crate::tasks::Tasks;
use futures_util::Stream;
use helix_proto::v1::budget_escrow_server::BudgetEscrowServer;
use helix_proto::v1::config_discovery_server::ConfigDiscoveryServer;
use helix_proto::v1::node_telemetry_server::NodeTelemetryServer;
use helix_proto::v1::usage_ingest_server::UsageIngestServer;
use helix_store::Dialect;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// A silent connection is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long the answer may take.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
/// Largest message that is taken from a node.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The server stopped for another reason than being asked to.
#[derive(Debug, thiserror::Error)]
#[error("the plane server stopped")]
pub struct ServeError(#[from] tonic::transport::Error);

/// The services that data planes speak to. Cloning shares them.
#[derive(Debug, Clone)]
pub struct PlaneServer {
    config: ConfigService,
    budget: BudgetService,
    usage: UsageService,
    telemetry: TelemetryService,
    nodes: Nodes,
    join_token: JoinToken,
    tasks: Tasks,
}

impl PlaneServer {
    pub(crate) fn new(app: &App, feed: &Feed, join_token: JoinToken, tasks: &Tasks, counts_histories: bool) -> Self {
        let nodes = Nodes::new(app.db.clone(), Arc::clone(&app.clock));
        let writers = match app.db.dialect() {
            Dialect::Sqlite => 1,
            Dialect::Postgres | Dialect::MySql => 8,
        };
        let (clock, feed, tasks) = (Arc::clone(&app.clock), feed.clone(), tasks.clone());
        let budget = BudgetService {
            db: app.db.clone(),
            feed: feed.clone(),
            tasks: tasks.clone(),
            clock: Arc::clone(&clock),
            turns: Arc::new(Semaphore::new(writers)),
            holders: Holders::default(),
            counts_histories,
        };
        escrow_jobs::start(&budget);
        Self {
            config: ConfigService {
                feed: feed.clone(),
                nodes: nodes.clone(),
                tasks: tasks.clone(),
                clock: Arc::clone(&clock),
            },
            budget,
            usage: UsageService {
                db: app.db.clone(),
                feed,
                tasks: tasks.clone(),
                clock,
                turns: Arc::new(Semaphore::new(writers)),
                alerts: Alerts::default(),
            },
            telemetry: TelemetryService { nodes: nodes.clone(), tasks: tasks.clone() },
            nodes,
            join_token,
            tasks,
        }
    }

    /// What was told of budgets, as OpenMetrics text.
    pub(crate) fn alert_metrics(&self) -> String {
        self.usage.alerts.metrics()
    }

    /// Every connected node.
    pub fn connected_nodes(&self) -> Vec<ConnectedNode> {
        self.nodes.list()
    }

    /// Serves data planes that present the join token, until `shutdown` resolves.
    ///
    /// # Errors
    /// When the server stops for another reason.
    pub async fn serve_tcp(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let streams = self.tasks.child();
        let routes = self.routes(&Trust::JoinToken(self.join_token.clone()), &streams);
        Ok(server().add_routes(routes).serve_with_incoming_shutdown(incoming, end(shutdown, streams)).await?)
    }

    /// Serves data planes of this process over pipes, which need no token, until `shutdown` resolves.
    ///
    /// # Errors
    /// When the server stops for another reason.
    pub async fn serve_in_memory(
        &self,
        pipes: impl Stream<Item = io::Result<DuplexStream>>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let streams = self.tasks.child();
        let routes = self.routes(&Trust::InProcess, &streams);
        Ok(server().add_routes(routes).serve_with_incoming_shutdown(pipes, end(shutdown, streams)).await?)
    }

    fn routes(&self, trust: &Trust, streams: &Tasks) -> Routes {
        let tasks = || streams.clone();
        let config = ConfigDiscoveryServer::new(ConfigService { tasks: tasks(), ..self.config.clone() })
            .max_decoding_message_size(MESSAGE_BYTES);
        let budget = BudgetEscrowServer::new(BudgetService { tasks: tasks(), ..self.budget.clone() })
            .max_decoding_message_size(MESSAGE_BYTES);
        let usage = UsageIngestServer::new(UsageService { tasks: tasks(), ..self.usage.clone() })
            .max_decoding_message_size(MESSAGE_BYTES);
        let telemetry = NodeTelemetryServer::new(TelemetryService { tasks: tasks(), ..self.telemetry.clone() });
        Routes::new(InterceptedService::new(config, trust.clone()))
            .add_service(InterceptedService::new(budget, trust.clone()))
            .add_service(InterceptedService::new(usage, trust.clone()))
            .add_service(InterceptedService::new(telemetry, trust.clone()))
    }
}

fn server() -> Server {
    Server::builder().http2_keepalive_interval(Some(KEEPALIVE)).http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
}

/// Streams of nodes have no end of their own: they end when the server shall, so that it can drain.
async fn end(shutdown: impl Future<Output = ()> + Send, streams: Tasks) {
    let stopping = streams.stopping();
    tokio::select! {
        () = shutdown => stopping.cancel(),
        () = stopping.cancelled() => {}
    }
}
