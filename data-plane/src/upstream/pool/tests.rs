//! What a request meets at a server that keeps, closes or refuses connections.

use super::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn pool(address: std::net::SocketAddr) -> Arc<Pool> {
    pool_of(address, HttpVersion::Auto)
}

pub(super) fn pool_of(address: std::net::SocketAddr, version: HttpVersion) -> Arc<Pool> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = super::super::client::connector(tls, version, Duration::from_secs(30));
    let authority = address.to_string().parse().unwrap();
    Arc::new(Pool::new(connector, version, Scheme::HTTP, authority, Duration::from_secs(30)))
}

pub(super) fn request(address: std::net::SocketAddr, path: &str) -> Request<Pieces> {
    let body = Bytes::from_static(b"hello");
    let length = u64::try_from(body.len()).unwrap();
    let uri: Uri = format!("http://{address}{path}").parse().unwrap();
    Request::post(uri).body(Pieces::new(vec![body], length)).unwrap()
}

/// Reads one request whose body is `hello`; `None` when the client has closed.
async fn heard(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"hello") {
        if stream.read_buf(&mut text).await.unwrap() == 0 {
            return None;
        }
    }
    Some(String::from_utf8(text).unwrap())
}

async fn say(stream: &mut TcpStream, answer: &str) {
    stream.write_all(answer.as_bytes()).await.unwrap();
}

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read_to_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = pool(address);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let first = heard(&mut stream).await.unwrap();
        assert!(first.starts_with("POST /v1/a?b=c HTTP/1.1\r\n"), "{first}");
        assert!(first.contains(&format!("host: {address}\r\n")), "{first}");
        say(&mut stream, WHOLE).await;
        heard(&mut stream).await.unwrap();
        say(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
        heard(&mut stream).await.unwrap();
        say(&mut stream, WHOLE).await;
        // No second connection came, and the third answer is read to the end before this one ends.
        stream
    };
    let asking = async {
        for path in ["/v1/a?b=c", "/v1/d", "/v1/e"] {
            let answer = pool.send(request(address, path)).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_connection_whose_answer_was_left_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = pool(address);
    let serving = async {
        let (mut left, _) = listener.accept().await.unwrap();
        heard(&mut left).await.unwrap();
        say(&mut left, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await;
        assert_eq!(heard(&mut left).await, None);
        let (mut fresh, _) = listener.accept().await.unwrap();
        heard(&mut fresh).await.unwrap();
        say(&mut fresh, WHOLE).await;
    };
    let asking = async {
        drop(pool.send(request(address, "/")).await.unwrap());
        let answer = pool.send(request(address, "/")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_request_that_meets_a_connection_closed_meanwhile_goes_out_on_a_fresh_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = pool(address);
    let serving = async {
        for _ in 0..5 {
            let (mut stream, _) = listener.accept().await.unwrap();
            heard(&mut stream).await.unwrap();
            say(&mut stream, WHOLE).await;
            // Closed without a word, as servers do when they think that it idled for too long.
        }
    };
    let asking = async {
        for _ in 0..5 {
            let answer = pool.send(request(address, "/")).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
            while pool.main.idle().senders.iter().any(|(_, sender)| !sender.is_closed()) {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_never_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = pool(address);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream).await.unwrap();
        say(&mut stream, WHOLE).await;
        heard(&mut stream).await.unwrap();
    };
    let asking = async {
        let answer = pool.send(request(address, "/")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        pool.send(request(address, "/")).await
    };
    let ((), second) = tokio::join!(serving, asking);
    assert!(matches!(second, Err(SendError::Broken(_))), "{second:?}");
}

#[tokio::test]
async fn a_server_that_refuses_connections_was_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = pool(address).send(request(address, "/")).await;
    assert!(matches!(refused, Err(SendError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_at_the_third_look() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = pool(address);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream).await.unwrap();
        say(&mut stream, WHOLE).await;
        stream
    };
    let asking = async {
        let answer = pool.send(request(address, "/")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    };
    let (mut stream, ()) = tokio::join!(serving, asking);
    assert_eq!([pool.main.look(), pool.main.look(), pool.main.look()], [false, false, true]);
    assert_eq!(heard(&mut stream).await, None);
}

#[tokio::test]
async fn each_host_of_a_backend_has_its_own_connections() {
    let (one, other) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
    let pool = pool(addresses[0]);
    let serving = async |listener: TcpListener| {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            heard(&mut stream).await.unwrap();
            say(&mut stream, WHOLE).await;
        }
    };
    let asking = async {
        for address in [addresses[0], addresses[1], addresses[0], addresses[1]] {
            let answer = pool.send(request(address, "/")).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
    };
    tokio::join!(serving(one), serving(other), asking);
}
