//! Budgets of keys that the command line makes: stored, enforced, listed, topped up, proven; a rotated key keeps what it spent.

use crate::support::client::{Answer, Client};
use crate::support::databases::{Database, Engine};
use crate::support::gateway::{Gateway, KEY};
use crate::support::ledger::Ledger;
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, assert_budget_refusal, send_as, usd};
use helix_fake_provider::FakeProvider;
use serde_json::{Value, json};

async fn ask(client: &Client, gateway: &Gateway, key: &str) -> Answer {
    send_as(client, &gateway.url(), key, Dialect::OpenAi, &Dialect::OpenAi.body("hi", &json!({}))).await
}

/// Waits until a key that was just made is known.
async fn known(client: &Client, gateway: &Gateway, key: &str) {
    let (url, bearer) = (format!("{}/v1/models", gateway.url()), format!("Bearer {key}"));
    until("the key is known", async || {
        (client.get(&url, &[("authorization", &bearer)]).await.status == 200).then_some(())
    })
    .await;
}

fn said(gateway: &Gateway, arguments: &[&str]) -> Value {
    let output = gateway.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_with_a_budget_spends_exactly_that_and_neither_a_new_secret_nor_its_owner_changes_it() {
    for engine in Engine::here() {
        let database = Database::fresh(engine);
        let provider =
            FakeProvider::new().with_script(purse::at_the_worst_case()).run("127.0.0.1:0".parse().unwrap()).unwrap();
        let (folder, client) = (tempfile::tempdir().unwrap(), Client::new());
        let yaml = format!("storage: {{ url: \"{}\" }}\n{}", database.url(), purse::yaml(&provider.url(), ""));
        let yaml = yaml.replace("budgets:\n", "");
        let mut gateway = Gateway::serve(folder.path(), &yaml);
        let limit = usd(2 * WORST);
        let words = ["--user", "jane@corp.example", "--name", "agent", "--budget", &limit, "--period", "weekly"];
        let made = said(&gateway, &[["keys", "create"].as_slice(), words.as_slice()].concat());
        let (id, secret) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        known(&client, &gateway, secret).await;
        for _ in 0..2 {
            assert_eq!(ask(&client, &gateway, secret).await.status, 200, "{engine:?}");
        }
        let message = assert_budget_refusal(&ask(&client, &gateway, secret).await, Dialect::OpenAi);
        for part in ["key agent, weekly", &format!("{limit} of {limit} USD")] {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
        assert_eq!(ask(&client, &gateway, KEY).await.status, 200, "the owner's other key");
        // a new secret is no new money
        let rotated = said(&gateway, &["keys", "rotate", id]);
        let secret = rotated["key"].as_str().unwrap();
        known(&client, &gateway, secret).await;
        let message = assert_budget_refusal(&ask(&client, &gateway, secret).await, Dialect::OpenAi);
        assert!(message.contains(&format!("{limit} of {limit} USD")), "{message}");
        let listed = said(&gateway, &["keys", "list"]);
        let agent = listed.as_array().unwrap().iter().find(|key| key["name"] == json!("agent")).unwrap();
        assert_eq!(agent["id"], rotated["id"]);
        let budget = &agent["budgets"][0];
        assert_eq!((&budget["limitNanoUsd"], &budget["managed"]), (&json!(2 * WORST), &json!("db")));
        let budget_id = budget["id"].as_str().unwrap();
        let amount = usd(WORST);
        let top_up = ["budgets", "top-up", budget_id, "--amount-usd", &amount, "--reason", "a demo", "--by", "carol"];
        assert_eq!(said(&gateway, &top_up)["budget"]["limitNanoUsd"], json!(3 * WORST));
        until("the top-up is known", async || (ask(&client, &gateway, secret).await.status == 200).then_some(())).await;
        assert_budget_refusal(&ask(&client, &gateway, secret).await, Dialect::OpenAi);
        // raised for good, and taken away
        let raised = usd(4 * WORST);
        said(&gateway, &["budgets", "set-limit", budget_id, "--limit-usd", &raised]);
        until("the limit is known", async || (ask(&client, &gateway, secret).await.status == 200).then_some(())).await;
        assert!(gateway.stop(), "an orderly end");
        let ledger = Ledger::read(database.url()).await;
        ledger.assert_at_rest();
        let accounts: Vec<_> = ledger.accounts.iter().map(|it| (it.key.budget_id.as_str(), it.settled.get())).collect();
        assert_eq!(accounts, [(budget_id, 4 * WORST)]);
        let report = gateway.verify();
        assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
        said(&gateway, &["budgets", "remove", budget_id]);
        assert_eq!(said(&gateway, &["budgets", "list"])["budgets"], json!([]));
        let report = gateway.verify();
        assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_without_a_budget_and_scopes_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway =
        Gateway::serve(folder.path(), &purse::yaml("http://127.0.0.1:9", &purse::budget("instance", 1, "hard")));
    let refused = |arguments: &[&str]| {
        let output = gateway.command(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let key = ["keys", "create", "--user", "jane@corp.example", "--name", "x"];
    let error = refused(&[key.as_slice(), &["--period", "daily"]].concat());
    assert!(error.contains("--budget"), "{error}");
    let error = refused(&[key.as_slice(), &["--budget", "ten"]].concat());
    assert!(error.contains("--budget"), "{error}");
    let error = refused(&["budgets", "create", "everyone", "--limit-usd", "1"]);
    assert!(error.contains("key:NAME"), "{error}");
    let error = refused(&["budgets", "remove", "instance/monthly"]);
    assert!(error.contains("defined in the configuration file"), "{error}");
    assert!(gateway.stop());
}
