//! Every stream that translation makes, as the official SDKs of OpenAI and Anthropic read it: each API over each kind of backend.
//!
//! Rule: the clients are the real ones; where they cannot be installed the test says so loudly, and fails where
//! `HELIX_TEST_REQUIRE_CLIENTS=1` (as under `./test`).

use crate::coverage;
use crate::support::clients::{Part, set_up, tests_folder};
use crate::support::gateway::KEY;
use serde_json::Value;
use tokio::process::Command;

/// Three APIs, each with text, calls, thinking and an error.
const STREAMS_OF_A_BACKEND: usize = 12;

async fn read_all(part: Part) {
    let Some(_) = set_up(part) else { return };
    let world = coverage::world();
    let models: Vec<&str> = coverage::routes().collect();
    let output = Command::new(tests_folder().join("clients/run"))
        .env("LANGUAGES", part.name())
        .env("SCRIPT", "streams")
        .env("UNCOUNTED", coverage::uncounted().collect::<Vec<_>>().join(","))
        .args([world.gateway.url().as_str(), KEY])
        .args(&models)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let streams: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = streams.iter().filter(|stream| stream["ok"] != true).collect();
    assert!(failed.is_empty() && output.status.success(), "{failed:#?}\n{stderr}");
    assert_eq!(streams.len(), models.len() * STREAMS_OF_A_BACKEND, "{stdout}");
    coverage::costs_agree(&world).await;
    world.verify(streams.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdks_read_every_api_over_every_backend() {
    read_all(Part::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdks_read_every_api_over_every_backend() {
    read_all(Part::Node).await;
}
