//! What requests meet that share a connection: limits, peers that leave, refuse, or fall silent.

use super::tests::{pool_of, request};
use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

/// The frames of a server that are written by hand.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const SETTINGS_SEEN: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
const HEADERS: u8 = 1;
const PING: u8 = 6;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn text(response: Response<Answer>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Serves a connection; each request is answered with its path and the version it came in.
async fn serve(stream: TcpStream) {
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let said = format!("{:?} {} {}", request.version(), request.uri(), request.headers().contains_key("host"));
        drop(request.into_body().collect().await);
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(said))))
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(served.serve_connection(TokioIo::new(stream), service).await);
}

/// Begins to speak by hand and reads until the first request came.
async fn hear_a_request(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    stream.write_all(SETTINGS_SEEN).await.unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    until(&mut stream, HEADERS).await;
    stream
}

/// Reads frames until one of a kind.
async fn until(stream: &mut TcpStream, kind: u8) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == kind {
            return;
        }
    }
}

/// A frame with one number about the first stream (`RST_STREAM`).
fn reset(code: u8) -> [u8; 13] {
    [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, code]
}

/// `GOAWAY` for a reason; the last stream that counts is this one.
fn leave(last: u8, reason: u8) -> [u8; 17] {
    [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, reason]
}

#[tokio::test]
async fn requests_share_one_connection_that_is_made_once() {
    let (listener, address) = listen().await;
    let pool = pool_of(address, HttpVersion::Two);
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::select! {
            () = serve(stream) => panic!("the connection ended"),
            _ = listener.accept() => panic!("a second connection came"),
        }
    };
    let asking = async {
        let all = (0..50).map(|number| pool.send(request(address, &format!("/v1/{number}"))));
        for (number, answer) in futures_util::future::join_all(all).await.into_iter().enumerate() {
            let expected = format!("HTTP/2.0 http://{address}/v1/{number} false");
            assert_eq!(text(answer.unwrap()).await, expected);
        }
        assert_eq!(pool.main.lines().iter().map(Line::look).collect::<Vec<_>>(), [1], "every place was given back");
    };
    tokio::select! {
        () = serving => {}
        () = asking => {}
    }
}

#[tokio::test]
async fn no_more_requests_are_on_a_connection_than_its_peer_allows() {
    let (listener, address) = listen().await;
    let pool = pool_of(address, HttpVersion::Two);
    let gate = Arc::new(Semaphore::new(0));
    let (waiting, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let arrived = Arc::new(Notify::new());
    let serving = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let (gate, waiting, arrived) = (Arc::clone(&gate), Arc::clone(&waiting), Arc::clone(&arrived));
            let here = Arc::new(AtomicUsize::new(0));
            let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                let (gate, waiting, arrived) = (Arc::clone(&gate), Arc::clone(&waiting), Arc::clone(&arrived));
                let here = Arc::clone(&here);
                async move {
                    assert!(here.fetch_add(1, Ordering::SeqCst) < 2, "more than two at once");
                    waiting.fetch_add(1, Ordering::SeqCst);
                    arrived.notify_one();
                    gate.acquire().await.unwrap().forget();
                    here.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("ok"))))
                }
            });
            TokioExecutor::new().execute(async move {
                let mut served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let served = served.max_concurrent_streams(2);
                drop(served.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    };
    let asking = async {
        // One alone hears what the peer allows.
        gate.add_permits(1);
        assert_eq!(text(pool.send(request(address, "/")).await.unwrap()).await, "ok");
        let all = futures_util::future::join_all((0..6).map(|_| pool.send(request(address, "/"))));
        let opening = async {
            // All of them are let go when six wait, on however many connections.
            while waiting.load(Ordering::SeqCst) < 7 {
                arrived.notified().await;
            }
            gate.add_permits(6);
        };
        let (answers, ()) = tokio::join!(all, opening);
        for answer in answers {
            assert_eq!(text(answer.unwrap()).await, "ok");
        }
        assert!(connections.load(Ordering::SeqCst) >= 3, "two places a connection");
    };
    tokio::select! {
        () = serving => {}
        () = asking => {}
    }
}

#[tokio::test]
async fn what_a_leaving_peer_did_not_look_at_is_sent_on_a_fresh_connection() {
    let (listener, address) = listen().await;
    let pool = pool_of(address, HttpVersion::Two);
    for goodbye in [leave(0, 0).to_vec(), leave(0, 2).to_vec(), reset(7).to_vec()] {
        let serving = async {
            let mut leaving = hear_a_request(&listener).await;
            leaving.write_all(&goodbye).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            drop(leaving);
            serve(stream).await;
        };
        let asking = async {
            let answer = text(pool.send(request(address, "/again")).await.unwrap()).await;
            assert_eq!(answer, format!("HTTP/2.0 http://{address}/again false"));
            pool.main.lines().clear();
        };
        tokio::join!(serving, asking);
    }
}

#[tokio::test]
async fn what_a_peer_may_have_looked_at_is_never_sent_again() {
    let (listener, address) = listen().await;
    // It counts the stream, resets it for another reason, or is simply gone.
    for goodbye in [leave(1, 0).to_vec(), reset(2).to_vec(), reset(8).to_vec(), Vec::new()] {
        let pool = pool_of(address, HttpVersion::Two);
        let serving = async {
            let mut leaving = hear_a_request(&listener).await;
            leaving.write_all(&goodbye).await.unwrap();
            leaving.shutdown().await.unwrap();
            drop(leaving);
        };
        let asking = async { pool.send(request(address, "/")).await };
        let answer = tokio::select! {
            ((), answer) = async { tokio::join!(serving, asking) } => answer,
        };
        assert!(matches!(answer, Err(SendError::Broken(_))), "{goodbye:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_peer_that_refuses_everything_is_asked_a_few_times() {
    let (listener, address) = listen().await;
    let pool = pool_of(address, HttpVersion::Two);
    let refusing = async {
        for _ in 0..MOST_TRIES {
            let mut stream = hear_a_request(&listener).await;
            stream.write_all(&reset(7)).await.unwrap();
        }
        listener.accept().await.unwrap();
        panic!("asked once too often");
    };
    tokio::select! {
        () = refusing => {}
        // Nobody looked at it, so nobody is paid for it.
        answer = pool.send(request(address, "/")) => assert!(matches!(answer, Err(SendError::Unreachable(_)))),
    }
}

#[tokio::test]
async fn an_answer_that_is_left_ends_its_stream_and_no_other() {
    let (listener, address) = listen().await;
    let pool = pool_of(address, HttpVersion::Two);
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut left) = connection.accept().await.unwrap().unwrap();
        let mut endless = left.send_response(Response::new(()), false).unwrap();
        endless.send_data(Bytes::from_static(b"begun"), false).unwrap();
        let (_, mut next) = connection.accept().await.unwrap().unwrap();
        let mut body = next.send_response(Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"ok"), true).unwrap();
        let gone = std::future::poll_fn(|context| endless.poll_reset(context));
        tokio::select! {
            reason = gone => assert_eq!(reason.unwrap(), h2::Reason::CANCEL),
            more = connection.accept() => panic!("the connection ended: {}", more.is_none()),
        }
    };
    let asking = async {
        let mut left = pool.send(request(address, "/")).await.unwrap();
        assert_eq!(left.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "begun");
        let next = pool.send(request(address, "/")).await.unwrap();
        assert_eq!(text(next).await, "ok");
        drop(left);
        assert_eq!(pool.main.lines().len(), 1);
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_asked_whether_it_is_there() {
    let (listener, address) = listen().await;
    let mut pool = pool_of(address, HttpVersion::Two);
    Arc::get_mut(&mut pool).unwrap().pulse =
        Pulse { after: Duration::from_millis(50), within: Duration::from_millis(50) };
    let asking = async { pool.send(request(address, "/")).await };
    let silent = async {
        let mut stream = hear_a_request(&listener).await;
        until(&mut stream, PING).await;
        stream
    };
    let (answer, stream) = tokio::join!(asking, silent);
    assert!(matches!(answer, Err(SendError::Broken(_))), "{answer:?}");
    drop(stream);
}

#[tokio::test]
async fn a_shared_connection_that_nobody_uses_is_closed_at_the_third_look() {
    let (listener, address) = listen().await;
    let pool = pool_of(address, HttpVersion::Two);
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await;
    };
    let asking = async {
        drop(text(pool.send(request(address, "/")).await.unwrap()).await);
        assert_eq!([pool.main.look(), pool.main.look(), pool.main.look()], [false, false, true]);
    };
    // The server's side ends, too.
    tokio::join!(serving, asking);
}

/// Serves one connection over TLS that offers these protocols.
async fn serve_tls(listener: &TcpListener, key: &rcgen::CertifiedKey<rcgen::KeyPair>, offers: &[&[u8]]) {
    let secret = rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![key.cert.der().clone()], secret).unwrap();
    config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
    let (stream, _) = listener.accept().await.unwrap();
    let stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let said = format!("{:?}", request.version());
        drop(request.into_body().collect().await);
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(said))))
    });
    let served = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    drop(served.serve_connection(TokioIo::new(stream), service).await);
}

#[tokio::test]
async fn the_version_is_the_one_that_the_server_offers_and_the_setting_allows() {
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let (both, old): (&[&[u8]], &[&[u8]]) = (&[b"h2", b"http/1.1"], &[b"http/1.1"]);
    for (offers, version, expected) in [
        (both, HttpVersion::Auto, "HTTP/2.0"),
        (old, HttpVersion::Auto, "HTTP/1.1"),
        (&[], HttpVersion::Auto, "HTTP/1.1"),
        (both, HttpVersion::One, "HTTP/1.1"),
        (both, HttpVersion::Two, "HTTP/2.0"),
        (&[b"h2"], HttpVersion::Auto, "HTTP/2.0"),
        (&[], HttpVersion::Two, "the server does not offer HTTP/2"),
    ] {
        let (listener, address) = listen().await;
        let backend = super::super::client::connector(tls.clone(), version, Duration::from_secs(30));
        let pool =
            Pool::new(backend, version, Scheme::HTTPS, address.to_string().parse().unwrap(), Duration::from_secs(30));
        let pool = Arc::new(pool);
        let asking = async {
            let mut request = request(address, "/");
            *request.uri_mut() = format!("https://{address}/").parse().unwrap();
            match pool.send(request).await {
                Ok(answer) => text(answer).await,
                Err(SendError::Unreachable(error)) => error.to_string(),
                Err(error) => error.to_string(),
            }
        };
        tokio::select! {
            () = serve_tls(&listener, &key, offers) => panic!("the connection ended"),
            said = asking => assert_eq!(said, expected, "{version:?} of {offers:?}"),
        }
    }
}
