//! Spellings, names that change, redirects and bombs: what somebody who chooses the address may try.

use super::*;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

/// Names whose addresses a test decides: each answer once, the last one for good.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Vec<&'static str>>>,
    asked: AtomicUsize,
}

impl Names for Arc<Scripted> {
    fn resolve(&self, _: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let addresses = answer.unwrap_or_default().into_iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        Ok(addresses.collect())
    }
}

fn guard(allowed: &[&str], answers: &[&[&'static str]]) -> (Guard, Arc<Scripted>) {
    let roots = rustls::RootCertStore::empty();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let allowed: Vec<Network> = allowed.iter().map(|text| text.parse().unwrap()).collect();
    let names = Arc::new(Scripted::default());
    names.answers.lock().unwrap().extend(answers.iter().map(|answer| answer.to_vec()));
    let lookups = Lookups::new(Arc::new(Arc::clone(&names)));
    let guard = Guard { lookups, ..Guard::new(tls, &allowed) };
    (guard, names)
}

async fn get(guard: &Guard, url: &str) -> Result<File, Denied> {
    guard.fetch(url, &mut |_| true).await
}

/// A server that answers each connection with the next of these, and keeps what it was asked.
async fn server(answers: Vec<Vec<u8>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut text).await.unwrap() == 0 {
                    break;
                }
            }
            heard.lock().unwrap().push(String::from_utf8(text).unwrap());
            // A client that heard enough is gone already.
            drop(stream.write_all(&answer).await);
        }
    });
    (address, asked)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes(), body]
        .concat()
}

/// Two of each kind, and more of the kinds that filters were fooled by.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "１２７.0.0.1",
    "127.0.0.0x1",
    "0",
    "0.0.0.0",
    "0x0",
    "00.0.0.0",
    "0.1.2.3",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[fe80::5efe:7f00:1]",
    "10.0.0.1",
    "10.1",
    "012.0.0.1",
    "0xa.0.0.1",
    "167772161",
    "0xa000001",
    "10.255.255.255",
    "[::ffff:10.0.0.1]",
    "[::ffff:a00:1]",
    "[64:ff9b::a00:1]",
    "[2002:a00:1::]",
    "172.16.0.1",
    "172.31.255.255",
    "172.16.1",
    "0254.020.0.1",
    "2886729729",
    "0xac100001",
    "[::ffff:172.16.0.1]",
    "[::ffff:ac10:1]",
    "192.168.0.1",
    "192.168.1",
    "0300.0250.0.1",
    "0xc0a80001",
    "3232235521",
    "0xc0.0xa8.0.1",
    "[::ffff:192.168.0.1]",
    "[::ffff:c0a8:1]",
    "[64:ff9b::c0a8:1]",
    "[2002:c0a8:1::]",
    "169.254.169.254",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "025177524776",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1:2::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "0x64646464c8",
    "1684300900",
    "[::ffff:100.64.0.1]",
    "[::ffff:6440:1]",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "0xffffffff",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[fc00::1]",
    "[fdff::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff05::2]",
    "[100::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2001:10::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[::2]",
    "[1::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "%6cocalhost",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "localhost.localdomain",
    "metadata.google.internal",
    "metadata.google.internal.",
    "METADATA.google.Internal",
    "instance-data.ec2.internal",
    "printer.local",
    "router.home.arpa",
    "wiki.intranet",
];

#[tokio::test]
async fn no_spelling_of_an_address_that_is_not_public_is_connected_to_cve_2026_31943() {
    assert!(SPELLINGS.len() >= 120, "{}", SPELLINGS.len());
    let (address, asked) = server(vec![answer("200 OK", PNG)]).await;
    // Whatever a name that is not refused by itself resolves to is not public, either.
    let (guard, _) = guard(&[], &[&["127.0.0.1"]]);
    for spelling in SPELLINGS {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{spelling}:{}/latest/meta-data/", address.port());
            let fetched = get(&guard, &url).await;
            let is_refused = matches!(fetched, Err(Denied::NotPublic | Denied::NoUrl));
            assert!(is_refused, "{url}: {fetched:?}");
        }
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn other_schemes_and_credentials_are_refused() {
    let (guard, _) = guard(&["127.0.0.0/8"], &[]);
    for (url, expected) in [
        ("file:///etc/passwd", Denied::NoUrl),
        ("gopher://127.0.0.1/x", Denied::NoUrl),
        ("ftp://127.0.0.1/x", Denied::NoUrl),
        ("data:image/png;base64,AAAA", Denied::NoUrl),
        ("unix:/run/x", Denied::NoUrl),
        ("//127.0.0.1/x", Denied::NoUrl),
        ("127.0.0.1/x", Denied::NoUrl),
        ("http://", Denied::NoUrl),
        ("", Denied::NoUrl),
        ("http://user@127.0.0.1/x", Denied::Credentials),
        ("http://:secret@127.0.0.1/x", Denied::Credentials),
        // Two readers could disagree about the host; ours takes what stands behind the last `@`.
        ("http://1.1.1.1@127.0.0.1/", Denied::Credentials),
        ("http://127.0.0.1\\@1.1.1.1/", Denied::Unreachable),
    ] {
        assert_eq!(get(&guard, url).await, Err(expected), "{url}");
    }
    assert_eq!(get(&guard, &format!("http://127.0.0.1/{}", "a".repeat(9_000))).await, Err(Denied::NoUrl));
}

#[tokio::test]
async fn a_name_is_resolved_once_and_that_address_is_connected_to() {
    let (address, asked) = server(vec![answer("200 OK", PNG)]).await;
    // The second answer would lead elsewhere.
    let (guard, names) = guard(&["127.0.0.1"], &[&["127.0.0.1"], &["10.0.0.1"]]);
    let file = get(&guard, &format!("http://rebinding.example:{}/a?b=c", address.port())).await.unwrap();
    assert_eq!((file.media_type, &file.bytes[..]), ("image/png", PNG));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    let asked = asked.lock().unwrap()[0].clone();
    assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: rebinding.example:{}\r\n", address.port())), "{asked}");
    for private in ["authorization", "cookie", "referer", "x-", "traceparent"] {
        assert!(!asked.contains(private), "{asked}");
    }
}

#[tokio::test]
async fn one_address_that_is_not_public_denies_a_name_with_all_its_addresses() {
    for addresses in [&["127.0.0.1"][..], &["8.8.8.8", "127.0.0.1"], &["127.0.0.1", "8.8.8.8"], &["::ffff:a9fe:a9fe"]] {
        let (guard, _) = guard(&["10.0.0.0/8"], &[addresses]);
        assert_eq!(get(&guard, "http://mixed.example/").await, Err(Denied::NotPublic), "{addresses:?}");
    }
    let (guard, _) = guard(&[], &[&[]]);
    assert_eq!(get(&guard, "http://nothing.example/").await, Err(Denied::Unreachable));
}

#[tokio::test]
async fn every_hop_of_a_redirect_is_judged_cve_2026_45401() {
    let to = |place: &str| format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    for place in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:a9fe:a9fe]/",
        "//127.0.0.2/",
        "http://10.0.0.1/",
        "http://second.example/",
        "https://2852039166/",
    ] {
        let (address, asked) = server(vec![to(place)]).await;
        let (guard, _) = guard(&["127.0.0.1"], &[&["127.0.0.1"], &["127.0.0.2"]]);
        let fetched = get(&guard, &format!("http://first.example:{}/", address.port())).await;
        assert_eq!(fetched, Err(Denied::NotPublic), "{place}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
    for (place, expected) in [("file:///etc/passwd", Denied::NoUrl), ("http://a:b@127.0.0.1/", Denied::Credentials)] {
        let (address, _) = server(vec![to(place)]).await;
        let (guard, _) = guard(&["127.0.0.1"], &[]);
        assert_eq!(get(&guard, &format!("http://{address}/")).await, Err(expected), "{place}");
    }
    // One that leads on properly is followed, three times.
    let hops = vec![to("/b"), to("c"), to("/d"), answer("200 OK", PNG)];
    let (address, asked) = server(hops).await;
    let (guard, _) = guard(&["127.0.0.1"], &[]);
    assert!(get(&guard, &format!("http://{address}/a")).await.is_ok());
    assert!(asked.lock().unwrap()[3].starts_with("GET /d "));
    let (address, asked) = server(vec![to("/"); 6]).await;
    assert_eq!(get(&guard, &format!("http://{address}/a")).await, Err(Denied::Redirects));
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn what_is_too_large_encoded_or_no_file_is_not_kept() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MOST_FILE_BYTES + 1).into_bytes();
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n".to_vec();
    endless.resize(MOST_FILE_BYTES + 100_000, 0);
    for (said, expected) in [
        (large, Denied::TooLarge),
        (endless, Denied::TooLarge),
        (answer("200 OK\r\ncontent-encoding: gzip", b"\x1f\x8b"), Denied::Kind),
        (answer("200 OK\r\ncontent-type: image/png", b"<html>"), Denied::Kind),
        (answer("404 Not Found", PNG), Denied::Status(404)),
        (answer("206 Partial Content", PNG), Denied::Status(206)),
        (answer("304 Not Modified", b""), Denied::Status(304)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n\x89PNG".to_vec(), Denied::Unreachable),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), Denied::Unreachable),
    ] {
        let (address, _) = server(vec![said]).await;
        let (guard, _) = guard(&["127.0.0.1"], &[]);
        assert_eq!(get(&guard, &format!("http://{address}/")).await, Err(expected));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (guard, _) = guard(&["127.0.0.1"], &[]);
    let guard = Guard { patience: Duration::from_millis(300), ..guard };
    let url = format!("http://{address}/");
    let fetching = get(&guard, &url);
    let waiting = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = [0; 16];
        stream.read_exact(&mut text).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        fetched = fetching => assert_eq!(fetched, Err(Denied::TooSlow)),
        () = waiting => {}
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let secret = rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![key.cert.der().clone()], secret).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (guard, _) = guard(&["127.0.0.1"], &[]);
    let url = format!("https://{address}/");
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop)
    };
    let (served, fetched) = tokio::join!(serving, get(&guard, &url));
    assert!(served.is_err());
    assert_eq!(fetched, Err(Denied::Unreachable));
}

#[tokio::test]
async fn a_file_for_which_there_is_no_room_is_not_read_to_its_end() {
    let (address, _) = server(vec![answer("200 OK", &[PNG, &[0; 100_000]].concat())]).await;
    let (guard, _) = guard(&["127.0.0.1"], &[]);
    let mut most = 0;
    let url = format!("http://{address}/");
    let mut has_room = |bytes| {
        most = bytes;
        bytes < 1_000
    };
    assert_eq!(guard.fetch(&url, &mut has_room).await, Err(Denied::NoRoom));
    assert!(most < 100_000, "{most}");
}

/// Names whose servers answer when the test says so.
#[derive(Debug)]
struct Stuck {
    begun: std::sync::mpsc::Sender<()>,
    release: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Names for Stuck {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        self.begun.send(()).unwrap();
        self.release.lock().unwrap().recv().unwrap();
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_lookup_that_nobody_waits_for_keeps_its_place_until_it_is_over() {
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let (guard, _) = guard(&[], &[]);
    let stuck = Arc::new(Stuck { begun, release: Mutex::new(released) });
    let lookups = Lookups { names: stuck, places: Arc::new(Semaphore::new(1)) };
    let guard = Guard { lookups, patience: Duration::from_millis(50), ..guard };
    for _ in 0..3 {
        assert_eq!(get(&guard, "http://slow.example/a.png").await, Err(Denied::TooSlow));
    }
    assert_eq!(has_begun.try_iter().count(), 1, "one thread is taken, however many gave up");
    release.send(()).unwrap();
    let free = guard.lookups.places.acquire().await.unwrap();
    drop(free);
    drop(release);
}
