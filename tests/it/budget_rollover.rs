//! Periods that roll over under a running gateway, and while it was off: the clock of its process is moved by libfaketime.
//! Without the library (`faketime` of the system's packages) these tests say so and do nothing; `./test` installs it.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, assert_budget_refusal, budget, send, usd};
use helix_fake_provider::FakeProvider;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Set by `./test`: what is missing fails the test.
const REQUIRE: &str = "HELIX_TEST_REQUIRE_DATABASES";

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var(REQUIRE).is_err(), "libfaketime is missing: run this through ./test");
        eprintln!("skipped: libfaketime is not installed");
    }
    found
}

/// Moves the clock of every process that reads the file.
fn shift(folder: &Path, by: &str) {
    let fresh = folder.join("clock.new");
    std::fs::write(&fresh, by).unwrap();
    std::fs::rename(fresh, folder.join("clock")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_starts_anew_under_a_running_gateway_and_after_days_of_being_off() {
    let Some(library) = library() else { return };
    let script = purse::at_the_worst_case();
    let provider = FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap();
    let (folder, client) = (tempfile::tempdir().unwrap(), Client::new());
    let daily = budget("instance", 2 * WORST, "hard").replace("monthly", "daily, timezone: Asia/Kolkata");
    let yaml = purse::yaml(&provider.url(), &(daily + &budget("team:engineering", 5 * WORST, "hard")));
    let head = "version: 1\nserver: { listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:0 }\n";
    std::fs::write(folder.path().join("gateway.yaml"), format!("{head}{yaml}")).unwrap();
    // noon in India, in the middle of a month
    shift(folder.path(), "@2027-03-14 06:30:00");
    let env = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", folder.path().join("clock").display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("TZ", "UTC".to_owned()),
    ];
    let env: Vec<(String, String)> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut gateway = Gateway::start_with(folder.path(), "serve", env);
    let body = Dialect::OpenAi.body("hi", &json!({}));
    let ask = async |gateway: &Gateway| send(&client, &gateway.url(), Dialect::OpenAi, &body).await;
    let spend = async |gateway: &Gateway| {
        for _ in 0..2 {
            assert_eq!(ask(gateway).await.status, 200);
        }
        assert_budget_refusal(&ask(gateway).await, Dialect::OpenAi)
    };
    let message = spend(&gateway).await;
    assert!(message.contains("instance, daily") && message.contains("resets at 2027-03-14T18:30:00"), "{message}");
    // a live jump to the next day
    shift(folder.path(), "@2027-03-15 06:30:00");
    until("the new day's money", async || (ask(&gateway).await.status == 200).then_some(())).await;
    assert_eq!(ask(&gateway).await.status, 200);
    let message = assert_budget_refusal(&ask(&gateway).await, Dialect::OpenAi);
    assert!(message.contains("resets at 2027-03-15T18:30:00"), "{message}");
    // off over the end of the day: the reset that was missed is applied at the start, the month goes on
    assert!(gateway.stop());
    shift(folder.path(), "@2027-03-20 06:30:00");
    gateway.run();
    assert_eq!(ask(&gateway).await.status, 200);
    let message = assert_budget_refusal(&ask(&gateway).await, Dialect::OpenAi);
    let month = format!("{0} of {0} USD", usd(5 * WORST));
    assert!(message.contains("team engineering, monthly") && message.contains(&month), "{message}");
    let listed: Value = serde_json::from_slice(&gateway.command(&["budgets", "list"]).stdout).unwrap();
    let day = &listed["budgets"][0];
    assert_eq!((&day["period"], &day["resetsAt"]), (&json!("daily"), &json!("2027-03-20T18:30:00Z")), "{listed}");
    assert!(gateway.stop());
    let report = gateway.verify();
    assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
    assert_eq!(provider.bill.settled().await.len(), 5);
}
