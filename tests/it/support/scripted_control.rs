//! A control plane that says what a test tells it to, over the real protocol, to a real data plane.
//!
//! Rule: it decides nothing by itself but grants every escrow that is asked for, and takes every record.

use futures_util::Stream;
use helix_proto::v1;
use helix_proto::v1::budget_escrow_server::{BudgetEscrow, BudgetEscrowServer};
use helix_proto::v1::config_discovery_server::{ConfigDiscovery, ConfigDiscoveryServer};
use helix_proto::v1::node_telemetry_server::{NodeTelemetry, NodeTelemetryServer};
use helix_proto::v1::usage_ingest_server::{UsageIngest, UsageIngestServer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<Out<T>>, Status>;

/// Ends of periods lie far away.
const PERIOD_MS: i64 = 86_400_000;

/// The scripted control plane.
pub(crate) struct ScriptedControl {
    address: SocketAddr,
    arriving: mpsc::Receiver<Subscription>,
    records: Arc<Mutex<BTreeMap<u64, v1::UsageRecord>>>,
    _stop: DropGuard,
}

/// A data plane's configuration stream, as this end sees it.
pub(crate) struct Subscription {
    /// What it said that it holds.
    pub(crate) subscribe: v1::Subscribe,
    pushes: mpsc::Sender<Result<v1::ConfigPush, Status>>,
    answers: Streaming<v1::WatchRequest>,
}

impl ScriptedControl {
    /// Starts on a free port.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (subscribed, arriving) = mpsc::channel(16);
        let records = Arc::<Mutex<BTreeMap<u64, v1::UsageRecord>>>::default();
        let stop = CancellationToken::new();
        let services = Services { subscribed, records: Arc::clone(&records) };
        let server = tonic::transport::Server::builder()
            .add_service(ConfigDiscoveryServer::new(services.clone()))
            .add_service(BudgetEscrowServer::new(services.clone()))
            .add_service(UsageIngestServer::new(services.clone()))
            .add_service(NodeTelemetryServer::new(services))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        tokio::spawn(server);
        Self { address, arriving, records, _stop: stop.drop_guard() }
    }

    /// Where data planes connect.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next configuration stream that a data plane opens.
    pub(crate) async fn subscribed(&mut self) -> Subscription {
        super::patience::within("a subscription", self.arriving.recv()).await.expect("the server runs")
    }

    /// Every record that arrived, by sequence number.
    pub(crate) fn records(&self) -> Vec<v1::UsageRecord> {
        self.records.lock().unwrap().values().cloned().collect()
    }
}

impl Subscription {
    /// Sends one step of a push.
    pub(crate) async fn send(&self, push_id: &str, step: v1::config_push::Step) {
        let push = v1::ConfigPush { push_id: push_id.to_owned(), step: Some(step) };
        self.pushes.send(Ok(push)).await.expect("the data plane listens");
    }

    /// The next answer; `None`: the data plane left.
    pub(crate) async fn answer(&mut self) -> Option<v1::watch_request::Kind> {
        let message = super::patience::within("an answer to a push", self.answers.message()).await;
        message.ok().flatten().map(|request| request.kind.expect("an answer has a kind"))
    }

    /// The next answer, which takes the push.
    pub(crate) async fn applied(&mut self) -> v1::Applied {
        match self.answer().await {
            Some(v1::watch_request::Kind::Applied(applied)) => applied,
            other => panic!("not applied: {other:?}"),
        }
    }

    /// The next answer, which refuses the push.
    pub(crate) async fn refused(&mut self) -> v1::Refused {
        match self.answer().await {
            Some(v1::watch_request::Kind::Refused(refused)) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }
}

#[derive(Clone)]
struct Services {
    subscribed: mpsc::Sender<Subscription>,
    records: Arc<Mutex<BTreeMap<u64, v1::UsageRecord>>>,
}

/// Answers each message of a stream with what `answer` makes of it.
fn exchange<I: Send + 'static, O: Send + 'static>(
    mut incoming: Streaming<I>,
    mut answer: impl FnMut(I) -> Option<O> + Send + 'static,
) -> Answer<O> {
    let (out, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(message)) = incoming.message().await {
            if let Some(reply) = answer(message)
                && out.send(Ok(reply)).await.is_err()
            {
                return;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}

#[tonic::async_trait]
impl ConfigDiscovery for Services {
    type WatchStream = Out<v1::ConfigPush>;

    async fn watch(&self, request: Request<Streaming<v1::WatchRequest>>) -> Answer<v1::ConfigPush> {
        let mut answers = request.into_inner();
        let first = answers.message().await?.and_then(|request| request.kind);
        let Some(v1::watch_request::Kind::Subscribe(subscribe)) = first else {
            return Err(Status::invalid_argument("the first message must be Subscribe"));
        };
        let (pushes, receiver) = mpsc::channel(64);
        let subscription = Subscription { subscribe, pushes, answers };
        self.subscribed.send(subscription).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[tonic::async_trait]
impl BudgetEscrow for Services {
    type ExchangeStream = Out<v1::EscrowUpdate>;

    async fn exchange(&self, request: Request<Streaming<v1::EscrowReport>>) -> Answer<v1::EscrowUpdate> {
        exchange(request.into_inner(), |report: v1::EscrowReport| {
            let step = match report.step? {
                v1::escrow_report::Step::Acquire(acquire) => v1::escrow_update::Step::Granted(v1::Granted {
                    ask: acquire.ask,
                    totals: acquire.wants.into_iter().map(granted).collect(),
                    epoch: 1,
                    is_learning: false,
                }),
                v1::escrow_report::Step::Balances(said) => {
                    let totals = Vec::new();
                    let told = v1::Acknowledged { totals, epoch: 1, pasts: said.pasts, is_learning: false };
                    v1::escrow_update::Step::Acknowledged(told)
                }
            };
            Some(v1::EscrowUpdate { step: Some(step) })
        })
    }
}

fn granted(want: v1::Want) -> v1::Grant {
    let total = want.need_total_nano_usd.max(want.want_total_nano_usd);
    v1::Grant {
        account: want.account.map(|key| v1::AccountKey { period_start_us: 1, ..key }),
        granted_total_nano_usd: total,
        period_ends_in_ms: PERIOD_MS,
        limit_nano_usd: i64::MAX / 4,
        fleet_spent_nano_usd: 0,
        available_nano_usd: i64::MAX / 4,
        period_end_us: 0,
        ..v1::Grant::default()
    }
}

#[tonic::async_trait]
impl UsageIngest for Services {
    type ReportStream = Out<v1::UsageAck>;

    async fn report(&self, request: Request<Streaming<v1::UsageBatch>>) -> Answer<v1::UsageAck> {
        let kept = Arc::clone(&self.records);
        exchange(request.into_inner(), move |batch: v1::UsageBatch| {
            let mut kept = kept.lock().unwrap();
            kept.extend(batch.records.into_iter().map(|record| (record.seq, record)));
            let whole = kept.keys().zip(1..).take_while(|(seq, expected)| *seq == expected).count();
            let through_seq = u64::try_from(whole).unwrap();
            Some(v1::UsageAck { incarnation: batch.incarnation, through_seq, rejected_seqs: Vec::new(), pause_ms: 0 })
        })
    }
}

#[tonic::async_trait]
impl NodeTelemetry for Services {
    type ExchangeStream = Out<v1::FleetReport>;

    async fn exchange(&self, request: Request<Streaming<v1::NodeReport>>) -> Answer<v1::FleetReport> {
        exchange(request.into_inner(), |_: v1::NodeReport| {
            Some(v1::FleetReport { next_report_in_ms: 1_000, nodes_connected: 1 })
        })
    }
}
