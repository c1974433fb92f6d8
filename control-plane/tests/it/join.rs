//! Data planes of other processes join over TCP with the join token, and not without it.

use crate::support::{Fixture, Node, detach, file, introduction, soon};
use helix_proto::v1;
use helix_proto::v1::begin::Mode;
use helix_proto::v1::budget_escrow_client::BudgetEscrowClient;
use helix_proto::v1::config_discovery_client::ConfigDiscoveryClient;
use helix_proto::v1::node_telemetry_client::NodeTelemetryClient;
use helix_proto::v1::usage_ingest_client::UsageIngestClient;
use helix_shared::snapshot::ResourceSet;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

async fn listen(fixture: &Fixture) -> (Channel, oneshot::Sender<()>, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = fixture.control.plane_server().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ended, end) = oneshot::channel();
    detach(async move {
        let until = async { drop(stopped.await) };
        server.serve_tcp(listener, until).await.unwrap();
        ended.send(()).ok();
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    (soon(endpoint.connect()).await.unwrap(), stop, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_refuses_a_wrong_or_missing_join_token() {
    let fixture = Fixture::new(file()).await;
    let (channel, _stop, _end) = listen(&fixture).await;
    for token in [None, Some("Bearer hxj_wrong")] {
        let codes = [
            ConfigDiscoveryClient::new(channel.clone())
                .watch(with_token(token, tokio_stream::empty::<v1::WatchRequest>()))
                .await
                .map(|_| ())
                .unwrap_err()
                .code(),
            BudgetEscrowClient::new(channel.clone())
                .exchange(with_token(token, tokio_stream::empty::<v1::EscrowReport>()))
                .await
                .map(|_| ())
                .unwrap_err()
                .code(),
            NodeTelemetryClient::new(channel.clone())
                .exchange(with_token(token, tokio_stream::empty::<v1::NodeReport>()))
                .await
                .map(|_| ())
                .unwrap_err()
                .code(),
            UsageIngestClient::new(channel.clone())
                .report(with_token(token, tokio_stream::empty::<v1::UsageBatch>()))
                .await
                .map(|_| ())
                .unwrap_err()
                .code(),
        ];
        assert_eq!(codes, [Code::Unauthenticated; 4], "{token:?}");
    }
}

fn with_token<T>(token: Option<&'static str>, body: T) -> Request<T> {
    let mut request = Request::new(body);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", AsciiMetadataValue::from_static(token));
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_the_token_is_served_over_tcp_and_let_go_at_shutdown() {
    let fixture = Fixture::new(file()).await;
    let (channel, stop, end) = listen(&fixture).await;
    let token = std::fs::read_to_string(fixture.folder.path().join("join-token")).unwrap();
    let header: AsciiMetadataValue = format!("Bearer {}", token.trim()).parse().unwrap();
    let mut client = ConfigDiscoveryClient::with_interceptor(channel, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", header.clone());
        Ok(request)
    });
    let subscribe = v1::Subscribe {
        node: Some(introduction("remote")),
        have_revision: 0,
        have_digest: ResourceSet::default().digest().to_bytes().to_vec(),
    };
    let first = v1::WatchRequest { kind: Some(v1::watch_request::Kind::Subscribe(subscribe)) };
    let (to, requests) = tokio::sync::mpsc::channel(4);
    to.send(first).await.unwrap();
    let mut pushes =
        soon(client.watch(tokio_stream::wrappers::ReceiverStream::new(requests))).await.unwrap().into_inner();
    let begin = soon(pushes.message()).await.unwrap().unwrap();
    assert!(matches!(begin.step, Some(v1::config_push::Step::Begin(begin)) if begin.mode() == Mode::Replace));
    assert_eq!(fixture.control.plane_server().connected_nodes()[0].node_id.as_str(), "remote");
    stop.send(()).unwrap();
    while let Ok(Some(_)) = soon(pushes.message()).await {}
    drop((to, pushes, client));
    soon(end).await.unwrap();
    // the pipe of the same process is not concerned
    let mut node = Node::watch(fixture.channel().await, "local", ResourceSet::default(), 0).await;
    let push = node.push().await;
    node.apply(&push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_newer_protocol_is_told_so() {
    let fixture = Fixture::new(file()).await;
    let node = v1::Node { protocol: 2, ..introduction("n1") };
    let subscribe = v1::Subscribe { node: Some(node), have_revision: 0, have_digest: Vec::new() };
    let first = v1::WatchRequest { kind: Some(v1::watch_request::Kind::Subscribe(subscribe)) };
    let mut client = ConfigDiscoveryClient::new(fixture.channel().await);
    let mut pushes = soon(client.watch(tokio_stream::iter([first]))).await.unwrap().into_inner();
    assert_eq!(soon(pushes.message()).await.unwrap_err().code(), Code::FailedPrecondition);
}
