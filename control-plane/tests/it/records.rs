//! Records arrive at least once and count once; what cannot be read is parked and blocks nothing.

use crate::support::{Fixture, file, introduction, soon};
use helix_control_plane::Actor;
use helix_proto::v1;
use helix_proto::v1::usage_ingest_client::UsageIngestClient;
use helix_shared::budget::AccountKey;
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// 2026-11-23T12:00:00Z.
const STARTED: i64 = 1_795_435_200_000_000;
/// 2026-11-01T00:00:00Z.
const MONTH: i64 = 1_793_491_200_000_000;
const SOFT: &str = "user:jane@corp.example/monthly";

pub(crate) fn record(seq: u64) -> v1::UsageRecord {
    let account = |id: &str, period_start_us| v1::AccountKey { budget_id: id.to_owned(), period_start_us };
    v1::UsageRecord {
        seq,
        request_id: format!("request-{seq}"),
        config_revision: 1,
        actor: Some(v1::Actor { user_id: "jane@corp.example".to_owned(), ..v1::Actor::default() }),
        decision: Some(v1::Decision { kind: v1::decision::Kind::Allowed.into(), ..v1::Decision::default() }),
        dialect: "openai".to_owned(),
        requested_model: "gpt-5".to_owned(),
        http_status: 200,
        cost_nano_usd: 1_000,
        basis: v1::CostBasis::Exact.into(),
        // a node that holds no escrow does not know the period; a budget that is gone has none
        charged: vec![account(SOFT, 0), account("gone", 0)],
        attempts: vec![v1::Attempt {
            intent: seq,
            backend_id: "openai".to_owned(),
            upstream_model: "gpt-5".to_owned(),
            status: 200,
            cost_nano_usd: 1_000,
            basis: v1::CostBasis::Exact.into(),
            ..v1::Attempt::default()
        }],
        timing: Some(v1::Timing { started_at_us: STARTED, first_byte_us: 1, total_us: 2 }),
        ..v1::UsageRecord::default()
    }
}

pub(crate) struct Reporter {
    to: mpsc::Sender<v1::UsageBatch>,
    from: Streaming<v1::UsageAck>,
}

impl Reporter {
    pub(crate) async fn open(fixture: &Fixture) -> Self {
        Self::open_as(fixture, "n1").await
    }

    async fn open_as(fixture: &Fixture, node: &str) -> Self {
        let (to, batches) = mpsc::channel(16);
        let mut client = UsageIngestClient::new(fixture.channel().await);
        let first = v1::UsageBatch { node: Some(introduction(node)), ..v1::UsageBatch::default() };
        to.send(first).await.unwrap();
        let mut from = soon(client.report(ReceiverStream::new(batches))).await.unwrap().into_inner();
        soon(from.message()).await.unwrap().unwrap();
        Self { to, from }
    }

    pub(crate) async fn send(&self, records: Vec<v1::UsageRecord>) {
        let batch = v1::UsageBatch { node: None, incarnation: "n1-1".to_owned(), records };
        self.to.send(batch).await.unwrap();
    }

    pub(crate) async fn ack(&mut self) -> v1::UsageAck {
        soon(self.from.message()).await.unwrap().expect("the stream has ended")
    }
}

async fn settled(fixture: &Fixture) -> NanoUsd {
    let key = AccountKey { budget_id: BudgetId::from(SOFT), period_start: UnixMicros::new(MONTH) };
    let mut tx = fixture.control.app().db().read().await.unwrap();
    tx.account(&key).await.unwrap().map_or(NanoUsd::ZERO, |account| account.settled)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_whose_acknowledgement_was_lost_count_once() {
    let fixture = Fixture::new(file()).await;
    // the first stream breaks off before its acknowledgements are read
    let reporter = Reporter::open(&fixture).await;
    reporter.send((1..=5).map(record).collect()).await;
    drop(reporter);
    let mut reporter = Reporter::open(&fixture).await;
    for _ in 0..3 {
        reporter.send((1..=5).map(record).collect()).await;
        assert_eq!(reporter.ack().await.through_seq, 5);
    }
    reporter.send(vec![record(7)]).await;
    assert_eq!(reporter.ack().await.through_seq, 5, "there is a hole at 6");
    reporter.send(vec![record(6)]).await;
    assert_eq!(reporter.ack().await.through_seq, 7);
    assert_eq!(settled(&fixture).await, NanoUsd::new(7_000));
    let app = fixture.control.app();
    let trace = app.request_trace(&Actor::Operator, "request-3").await.unwrap().unwrap();
    assert_eq!((trace.seq, trace.charged.len()), (3, 1));
    assert_eq!(app.request_trace(&Actor::Operator, "no-such-request").await.unwrap(), None);
    let report = app.verify_ledger(&Actor::Operator).await.unwrap();
    assert!(report.is_clean() && report.records == 7, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_parked_and_blocks_nothing() {
    let fixture = Fixture::new(file()).await;
    let mut reporter = Reporter::open(&fixture).await;
    let broken = v1::UsageRecord { timing: None, ..record(2) };
    reporter.send(vec![record(1), broken, record(3)]).await;
    let ack = reporter.ack().await;
    assert_eq!((ack.through_seq, ack.rejected_seqs), (3, vec![2]));
    assert_eq!(settled(&fixture).await, NanoUsd::new(2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_database_is_away() {
    let fixture = Fixture::new(file()).await;
    let mut reporter = Reporter::open(&fixture).await;
    fixture.control.app().close().await;
    reporter.send(vec![record(1)]).await;
    let status = soon(reporter.from.message()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_writes_no_records_of_a_process_that_another_node_opened() {
    let fixture = Fixture::new(file()).await;
    let mut reporter = Reporter::open(&fixture).await;
    reporter.send(vec![record(1)]).await;
    assert_eq!(reporter.ack().await.through_seq, 1);
    let mut other = Reporter::open_as(&fixture, "n2").await;
    other.send(vec![record(2)]).await;
    let status = soon(other.from.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::PermissionDenied, "the incarnation belongs to another node")
    );
    // the owner goes on where it was, and so does the other with what is its own
    reporter.send(vec![record(2)]).await;
    assert_eq!(reporter.ack().await.through_seq, 2);
    let mut other = Reporter::open_as(&fixture, "n2").await;
    let own = v1::UsageBatch { node: None, incarnation: "n2-1".to_owned(), records: vec![record(1)] };
    other.to.send(own).await.unwrap();
    assert_eq!(other.ack().await.through_seq, 1);
    let report = fixture.control.app().verify_ledger(&Actor::Operator).await.unwrap();
    assert!(report.is_clean() && report.records == 3, "{report:?}");
}
