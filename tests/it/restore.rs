//! The control plane's database is restored from an older backup: what was spent since is spent, whatever it has forgotten.

use crate::support::client::Client;
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::Gateway;
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, assert_budget_refusal, budget, send};
use helix_fake_provider::FakeProvider;
use serde_json::{Value, json};
use std::path::Path;

const AFFORDED: usize = 10;

/// Copies the database's files from one folder into another, which has none of them before.
fn copy_database(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let files = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("helix.db")).collect()
    };
    files(to).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let found = files(from);
    assert!(!found.is_empty(), "no database in {}", from.display());
    for file in found {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

async fn ask(plane: &Gateway) -> crate::support::client::Answer {
    send(&Client::new(), &plane.url(), Dialect::OpenAi, &Dialect::OpenAi.body("restore", &json!({}))).await
}

async fn spend(plane: &Gateway, times: usize) {
    for _ in 0..times {
        let answer = ask(plane).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Three are spent before the backup and four after it; `is_said`: an operator says that it was restored.
async fn spend_what_is_left_after_a_restore(is_said: bool) {
    let provider = FakeProvider::new().with_script(purse::at_the_worst_case()).run("127.0.0.1:0".parse().unwrap());
    let provider = provider.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let limit = i64::try_from(AFFORDED).unwrap() * WORST;
    let yaml = purse::yaml(&provider.url(), &budget("instance", limit, "hard"));
    let home = folder.path().join("control");
    let mut control = control_plane(&home, &yaml);
    let mut plane = data_plane(&folder.path().join("plane"), &control.plane_url(), JOIN_TOKEN);
    spend(&plane, 3).await;
    let database = sqlite_in(&home);
    let is_booked = async || (Ledger::read(&database).await.cost_nano_usd() == 3 * WORST).then_some(());
    until("the records arrive", is_booked).await;
    assert!(control.stop(), "an orderly end");
    let (data, backup) = (home.join("helix-data"), folder.path().join("backup"));
    copy_database(&data, &backup);
    control.run();
    spend(&plane, 4).await;
    if is_said {
        // the process that spent it has ended and is closed: only its small file tells
        assert!(plane.stop(), "an orderly end");
    }
    assert!(control.stop(), "an orderly end");
    copy_database(&backup, &data);
    if is_said {
        let output =
            control.command(&["ledger", "restored", "--config", "gateway.yaml", "--reason", "disk lost", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["ok"], true);
    }
    control.run();
    if is_said {
        plane.run();
    } else {
        crate::support::patience::logged(&control, "it has forgotten commits").await;
    }
    spend(&plane, 3).await;
    assert_budget_refusal(&ask(&plane).await, Dialect::OpenAi);
    let bill = provider.bill.settled().await;
    assert_eq!(bill.len(), AFFORDED);
    assert_eq!(bill.iter().map(|entry| entry.cost_nano_usd).sum::<u64>(), u64::try_from(limit).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_that_an_operator_tells_closed_processes_declare_what_they_spent() {
    spend_what_is_left_after_a_restore(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_that_nobody_tells_a_living_node_proves_it_and_nothing_is_granted_twice() {
    spend_what_is_left_after_a_restore(false).await;
}
