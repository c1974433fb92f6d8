//! What an operator sees and says of data planes that are gone: `ledger suspense`, `release` and `restored`, against real
//! processes.

use crate::support::client::Client;
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::Gateway;
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, assert_budget_refusal, budget, send, usd};
use helix_fake_provider::{FakeProvider, Running};
use serde_json::Value;
use std::path::Path;

fn provider() -> Running {
    FakeProvider::new().with_script(purse::at_the_worst_case()).run("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// Runs `ledger …` beside the control plane; the exit code and what it said.
fn ledger(control: &Gateway, words: &[&str]) -> (i32, String) {
    let mut line = vec!["ledger"];
    line.extend_from_slice(words);
    line.extend_from_slice(&["--config", "gateway.yaml"]);
    let output = control.command(&line);
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn suspense(control: &Gateway) -> Value {
    let (code, said) = ledger(control, &["suspense"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap()
}

async fn ask(plane: &Gateway) -> crate::support::client::Answer {
    send(
        &Client::new(),
        &plane.url(),
        Dialect::OpenAi,
        &Dialect::OpenAi.body("suspense", &Value::Object(Default::default())),
    )
    .await
}

/// Asks until the budget says no; returns how many were admitted.
async fn ask_until_refused(plane: &Gateway) -> i64 {
    let mut admitted = 0;
    loop {
        let answer = ask(plane).await;
        if answer.status != 200 {
            assert_budget_refusal(&answer, Dialect::OpenAi);
            return admitted;
        }
        admitted += 1;
    }
}

async fn records_of(home: &Path, count: i64) {
    let is_booked = async || (Ledger::read(&sqlite_in(home)).await.cost_nano_usd() == count * WORST).then_some(());
    until("the records arrive", is_booked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_without_its_journal_held_is_listed_and_released_by_an_operator() {
    let (provider, folder) = (provider(), tempfile::tempdir().unwrap());
    let (home, away) = (folder.path().join("control"), folder.path().join("plane"));
    let control = control_plane(&home, &purse::yaml(&provider.url(), &budget("instance", 40 * WORST, "hard")));
    let mut plane = data_plane(&away, &control.plane_url(), JOIN_TOKEN);
    assert_eq!(ask(&plane).await.status, 200);
    records_of(&home, 1).await;
    let empty = suspense(&control);
    assert_eq!((&empty["suspense"], &empty["isLearning"]), (&Value::Array(Vec::new()), &Value::Bool(false)));
    plane.kill();
    // the disk that its journal was on is lost; what it is called is not
    std::fs::remove_dir_all(away.join("helix-data/journal")).unwrap();
    plane.run();
    let listed =
        until("the process is listed", async || suspense(&control)["suspense"].as_array().unwrap().first().cloned())
            .await;
    let held = listed["amountNanoUsd"].as_i64().unwrap();
    assert!(held > 0 && held < 40 * WORST, "{listed}");
    assert_eq!(listed["why"], "started anew without its journal");
    assert_eq!(listed["budgetId"], "instance/monthly", "{listed}");
    let before = ask_until_refused(&plane).await;
    assert!(before * WORST <= 40 * WORST - WORST - held, "what is in suspense counts as spent");
    let incarnation = listed["incarnation"].as_str().unwrap();
    let spent = usd(WORST);
    let release = ["release", incarnation, "--spent-usd", &spent, "--reason", "the provider billed one request"];
    let (code, said) = ledger(&control, &release);
    assert_eq!(code, 0, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["releasedNanoUsd"].as_i64(), said["incarnation"].as_str()), (Some(held), Some(incarnation)));
    assert_eq!(suspense(&control)["suspense"], Value::Array(Vec::new()));
    let after = ask_until_refused(&plane).await;
    assert_eq!(1 + before + after, 40, "exactly the budget, {before} before and {after} after");
    let (code, said) = ledger(&control, &release);
    assert_eq!(code, 1);
    assert!(said.contains("released already"), "{said}");
    records_of(&home, 40).await;
    assert_eq!(provider.bill.settled().await.len(), 40);
    assert_eq!(control.verify()["ok"].as_bool(), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_the_operator_sees_whom_the_fleet_waits_for() {
    let (provider, folder) = (provider(), tempfile::tempdir().unwrap());
    let home = folder.path().join("control");
    let control = control_plane(&home, &purse::yaml(&provider.url(), &budget("instance", 1_000 * WORST, "hard")));
    let here = data_plane(&folder.path().join("here"), &control.plane_url(), JOIN_TOKEN);
    let mut gone = data_plane(&folder.path().join("gone"), &control.plane_url(), JOIN_TOKEN);
    assert_eq!((ask(&here).await.status, ask(&gone).await.status), (200, 200));
    gone.kill();
    let (code, said) = ledger(&control, &["restored", "--reason", "the backup of noon"]);
    assert_eq!(code, 0, "{said}");
    let awaited = until("the living one has declared", async || {
        let said = suspense(&control);
        let awaited = said["awaited"].as_array().unwrap().clone();
        (said["isLearning"] == true && awaited.len() == 1).then_some(awaited)
    })
    .await;
    let incarnation = awaited[0]["incarnation"].as_str().unwrap();
    let (code, said) = ledger(&control, &["release", incarnation, "--spent-usd", "0", "--reason", "gone"]);
    assert_eq!(code, 1);
    assert!(said.contains("heard within the last minute"), "{said}");
    // it was not gone after all
    gone.run();
    until("learning ends", async || (suspense(&control)["isLearning"] == false).then_some(())).await;
    assert_eq!((ask(&here).await.status, ask(&gone).await.status), (200, 200));
}
