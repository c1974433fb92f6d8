//! Images that a request names by URL: left to the provider, or fetched where a route says so, and then only from where
//! anybody may.
//!
//! Rule: the backend is one that must be given bytes; a server on this machine stands for whatever a caller could point at.

use crate::first_request;
use crate::support::raw::{RawUpstream, whole};
use crate::support::world::World;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\ncanary";

/// A file with Bedrock behind two routes, of which one fetches.
fn yaml(networks: &'static str) -> impl Fn(&str) -> String {
    move |provider| {
        let bedrock = format!(
            "providers:\n  aws: {{ kind: bedrock, region: us-east-1, base_url: \"{provider}/aws\", api_key: ABSKbearer }}"
        );
        let model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
        first_request::yaml(provider).replacen("providers:", &bedrock, 1)
            + &format!(
                "egress: {{ allow_networks: [{networks}] }}\nmodels:\n\
                 - {{ match: gpt-fetching, fetch_urls: true, backends: [{{ provider: aws, model: \"{model}\" }}] }}\n\
                 - {{ match: gpt-plain, backends: [{{ provider: aws, model: \"{model}\" }}] }}\n\
                 - {{ match: gpt-5-mini, fetch_urls: true, backends: [openai] }}\n"
            )
    }
}

fn looking_at(model: &str, urls: &[&str]) -> Value {
    let images = urls.iter().map(|url| json!({ "type": "image_url", "image_url": { "url": url } }));
    let parts: Vec<Value> = std::iter::once(json!({ "type": "text", "text": "What is it?" })).chain(images).collect();
    json!({ "model": model, "max_completion_tokens": 64, "messages": [{ "role": "user", "content": parts }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_does_not_fetch_refuses_and_names_the_setting() {
    let server = RawUpstream::with_body("200 OK", "content-type: image/png\r\n", PNG).await;
    let world = World::start(yaml("127.0.0.0/8"));
    let answer = world.ask(CHAT, &looking_at("gpt-plain", &[&server.url])).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["param"]), (400, &json!("messages[0].content[1]")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("fetch_urls"), "{error}");
    assert!(server.received().is_empty() && world.provider.bill.entries().is_empty());
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_fetches_gives_the_backend_the_bytes_and_its_caller_nothing_away() {
    let server = RawUpstream::with_body("200 OK", "content-type: image/png\r\n", PNG).await;
    let world = World::start(yaml("127.0.0.0/8"));
    let url = format!("{}/secret-path.png?token=canary", server.url);
    let answer = world.ask(CHAT, &looking_at("gpt-fetching", &[&url, &url])).await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), world.gateway.log());
    let received = server.received();
    assert_eq!(received.len(), 1, "each file once");
    let head = received[0].head.to_ascii_lowercase();
    assert!(head.starts_with("get /secret-path.png?token=canary http/1.1\r\n"), "{head}");
    for private in ["authorization", "x-api-key", "cookie", "referer", "traceparent", "hx_p_", "absk"] {
        assert!(!head.contains(private), "{head}");
    }
    let entry = world.provider.bill.settled().await.pop().unwrap();
    assert!(entry.request_bytes > 2 * 16, "{entry:?}");
    let record = world.record(answer.header("x-request-id")).await;
    let stage = record.stages.iter().find(|stage| stage.verdict == "fetched").unwrap();
    assert_eq!(stage.reason, format!("1 files by URL, {} bytes", PNG.len()));
    assert!(!format!("{record:?}").contains("secret-path"), "a URL is a part of the prompt");
    assert!(!world.gateway.log().contains("secret-path"));
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_is_not_fetched_however_it_is_spelled_cve_2024_6587() {
    let server = RawUpstream::with_body("200 OK", "content-type: image/png\r\n", PNG).await;
    let redirecting =
        RawUpstream::answering(vec![whole("302 Found", &format!("location: {}/x\r\n", server.url), b"")]).await;
    let port = server.url.rsplit(':').next().unwrap();
    // Only the redirecting server's spelling is allowed; where it leads is not.
    let world = World::start(yaml("\"::1\""));
    let mut refused = 0;
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254", "10.0.0.1"]
    {
        let answer = world.ask(CHAT, &looking_at("gpt-fetching", &[&format!("http://{host}:{port}/")])).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!("messages[0].content[1]")), "{host}: {error}");
        assert!(error["message"].as_str().unwrap().contains("not public"), "{host}: {error}");
        refused += 1;
    }
    for url in ["file:///etc/passwd", "gopher://127.0.0.1/", "http://user:secret@1.1.1.1/", &redirecting.url] {
        let answer = world.ask(CHAT, &looking_at("gpt-fetching", &[url])).await;
        assert_eq!(answer.status, 400, "{url}: {}", answer.text());
        refused += 1;
    }
    assert!(server.received().is_empty() && redirecting.received().is_empty());
    assert!(world.provider.bill.entries().is_empty());
    world.verify(refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_takes_by_url_is_left_to_it() {
    let server = RawUpstream::with_body("200 OK", "content-type: image/png\r\n", PNG).await;
    let world = World::start(yaml("127.0.0.0/8"));
    let answer = world.ask(CHAT, &looking_at("gpt-5-mini", &[&server.url])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(server.received().is_empty());
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_bounded_in_number() {
    let world = World::start(yaml("127.0.0.0/8"));
    let urls: Vec<String> = (0..21).map(|number| format!("http://127.0.0.1:9/{number}")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let answer = world.ask(CHAT, &looking_at("gpt-fetching", &urls)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("more than 20 files"), "{}", answer.text());
}
