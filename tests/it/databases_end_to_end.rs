//! The whole product on each database: a request, its record, the proof of the books, a restart.

use crate::first_request;
use crate::support::client::Client;
use crate::support::databases::{Database, Engine};
use crate::support::gateway::{Gateway, KEY};
use crate::support::load::chat;
use helix_fake_provider::FakeProvider;
use serde_json::Value;

async fn ask(client: &Client, gateway: &Gateway, key: &str) -> u16 {
    client.ask(&format!("{}/v1/chat/completions", gateway.url()), key, &chat("gpt-5-mini", "hi")).await.status
}

async fn walk(engine: Engine) {
    let database = Database::fresh(engine);
    let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new();
    let yaml = format!("storage: {{ url: \"{}\" }}\n{}", database.url(), first_request::yaml(&provider.url()));
    let mut gateway = Gateway::serve(folder.path(), &yaml);
    assert_eq!(ask(&client, &gateway, KEY).await, 200);
    let made = gateway.command(&[
        "keys",
        "create",
        "--config",
        "gateway.yaml",
        "--user",
        "jane@corp.example",
        "--name",
        "kept",
        "--json",
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(gateway.stop());
    let report = gateway.verify();
    assert_eq!((report["ok"].as_bool(), report["records"].as_u64()), (Some(true), Some(1)), "{engine:?}: {report}");

    gateway.run();
    assert_eq!(ask(&client, &gateway, made["key"].as_str().unwrap()).await, 200, "a key outlives a restart");
    assert_eq!(ask(&client, &gateway, KEY).await, 200);
    gateway.kill();
    gateway.run();
    assert_eq!(ask(&client, &gateway, KEY).await, 200);
    assert!(gateway.stop());
    let report = gateway.verify();
    assert_eq!((report["ok"].as_bool(), report["records"].as_u64()), (Some(true), Some(4)), "{engine:?}: {report}");
    assert_eq!(report["openIntents"], 0);
    assert_eq!(provider.bill.settled().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_product_runs_on_every_database() {
    for engine in Engine::here() {
        walk(engine).await;
    }
}
