//! What a budget counts: keys, models under every name, several periods at once, teams that together exceed the instance,
//! and never the management of the gateway.

use crate::support::client::{Answer, Client};
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::{Gateway, KEY};
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, assert_budget_refusal, budget, send, send_as, usd};
use helix_fake_provider::{FakeProvider, Running};
use serde_json::json;

const OTHER_KEY: &str = "hx_p_otherotherotherotherotherother0002";

fn provider() -> Running {
    FakeProvider::new().with_script(purse::at_the_worst_case()).run("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// The usual file with a second team, whose own key is the second one.
fn two_teams(provider: &str, budgets: &str) -> String {
    let team = "teams:\n  research: { models: { allow: [\"*\"] } }\n";
    let key = format!("keys:\n  - {{ name: lab, team: research, secret: \"{OTHER_KEY}\" }}\n");
    purse::yaml(provider, budgets).replace("teams:\n", team).replace("keys:\n", &key)
}

async fn ask(client: &Client, url: &str, key: &str, dialect: Dialect) -> Answer {
    send_as(client, url, key, dialect, &dialect.body("hi", &json!({}))).await
}

/// Asks until it is refused; returns how often it was not, and the refusal's message.
async fn until_refused(client: &Client, urls: &[String], key: &str, dialect: Dialect) -> (i64, String) {
    for (admitted, url) in (0..).zip(urls.iter().cycle()) {
        let answer = ask(client, url, key, dialect).await;
        if answer.status != 200 {
            return (admitted, assert_budget_refusal(&answer, dialect));
        }
    }
    unreachable!("a cycle has no end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_one_key_leaves_the_owners_other_keys_alone() {
    let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
    let second = format!("keys:\n  - {{ name: second, user: jane@corp.example, secret: \"{OTHER_KEY}\" }}\n");
    let yaml = purse::yaml(&provider.url(), &budget("key:ci", 2 * WORST, "hard")).replace("keys:\n", &second);
    let mut gateway = Gateway::serve(folder.path(), &yaml);
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        assert_eq!(ask(&client, &gateway.url(), KEY, dialect).await.status, 200);
    }
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        let message = assert_budget_refusal(&ask(&client, &gateway.url(), KEY, dialect).await, dialect);
        for part in ["key ci, monthly", &format!("{0} of {0} USD", usd(2 * WORST)), "resets at 20", "administrator"] {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
        assert_eq!(ask(&client, &gateway.url(), OTHER_KEY, dialect).await.status, 200);
    }
    assert!(gateway.stop());
    let ledger = Ledger::read(&sqlite_in(folder.path())).await;
    ledger.assert_at_rest();
    assert_eq!((ledger.accounts.len(), ledger.accounts[0].settled.get()), (1, 2 * WORST));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_a_model_counts_it_under_every_name_that_it_is_served_by_and_no_other_model() {
    let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
    let budgets = budget("model:gpt-5*", 2 * WORST, "hard");
    let mut gateway = Gateway::serve(folder.path(), &purse::yaml(&provider.url(), &budgets));
    let url = gateway.url();
    // `hasty` is gpt-5-mini elsewhere
    let hasty = Dialect::OpenAi.body("hi", &json!({ "model": "hasty" }));
    assert_eq!(send(&client, &url, Dialect::OpenAi, &hasty).await.status, 200);
    assert_eq!(ask(&client, &url, KEY, Dialect::OpenAi).await.status, 200);
    for body in [hasty, Dialect::OpenAi.body("hi", &json!({}))] {
        let refused = send(&client, &url, Dialect::OpenAi, &body).await;
        let message = assert_budget_refusal(&refused, Dialect::OpenAi);
        assert!(message.contains("model gpt-5*, monthly"), "{message}");
    }
    let other = ask(&client, &url, KEY, Dialect::Anthropic).await;
    assert_eq!((other.status, other.header("x-helix-budget-remaining-usd")), (200, ""), "{}", other.text());
    assert!(gateway.stop());
    let ledger = Ledger::read(&sqlite_in(folder.path())).await;
    ledger.assert_at_rest();
    assert_eq!((ledger.accounts.len(), ledger.accounts[0].settled.get()), (1, 2 * WORST));
    assert_eq!(gateway.verify()["ok"].as_bool(), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_under_its_dated_name_is_charged_to_the_budget_of_its_plain_one() {
    let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
    let route =
        "models:\n  - { match: dated, backends: [{ provider: anthropic, model: claude-haiku-4-5-20251001 }] }\n";
    let budgets = budget("model:Claude-Haiku-4-5", WORST, "hard");
    let yaml = purse::yaml(&provider.url(), &budgets).replace("models:\n", route);
    let mut gateway = Gateway::serve(folder.path(), &yaml);
    let url = gateway.url();
    assert_eq!(ask(&client, &url, KEY, Dialect::Anthropic).await.status, 200);
    for name in ["dated", "claude-haiku-4-5"] {
        let body = Dialect::Anthropic.body("hi", &json!({ "model": name }));
        let refused = send(&client, &url, Dialect::Anthropic, &body).await;
        let message = assert_budget_refusal(&refused, Dialect::Anthropic);
        assert!(message.contains("model Claude-Haiku-4-5, monthly"), "{message}");
    }
    assert!(gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_of_several_periods_hold_at_once_and_the_refusal_names_the_one_that_binds() {
    let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
    let daily = budget("team:engineering", 2 * WORST, "hard").replace("monthly", "daily");
    let weekly = budget("team:engineering", 50 * WORST, "hard").replace("monthly", "weekly, week_start: sunday");
    let budgets = daily + &weekly + &budget("team:engineering", 90 * WORST, "hard");
    let mut gateway = Gateway::serve(folder.path(), &purse::yaml(&provider.url(), &budgets));
    let (admitted, message) = until_refused(&client, &[gateway.url()], KEY, Dialect::OpenAi).await;
    assert_eq!(admitted, 2);
    assert!(message.contains("team engineering, daily") && message.contains("a manager of the team"), "{message}");
    let listed = gateway.command(&["budgets", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let listed: Vec<_> =
        listed["budgets"].as_array().unwrap().iter().map(|it| (&it["period"], &it["weekStart"])).collect();
    assert_eq!(listed.len(), 3);
    assert!(listed.contains(&(&json!("weekly"), &json!("sunday"))), "{listed:?}");
    assert!(gateway.stop());
    let ledger = Ledger::read(&sqlite_in(folder.path())).await;
    ledger.assert_at_rest();
    assert_eq!(ledger.accounts.iter().map(|account| account.settled.get()).collect::<Vec<_>>(), [2 * WORST; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_that_together_exceed_the_instance_are_bound_by_it() {
    let budgets = budget("instance", 50 * WORST, "hard")
        + &budget("team:engineering", 40 * WORST, "hard")
        + &budget("team:research", 40 * WORST, "hard");
    for planes in [1, 2] {
        let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
        let yaml = two_teams(&provider.url(), &budgets);
        let mut control = control_plane(&folder.path().join("control"), &yaml);
        let mut running: Vec<Gateway> = (0..planes)
            .map(|number| data_plane(&folder.path().join(format!("data-{number}")), &control.plane_url(), JOIN_TOKEN))
            .collect();
        let urls: Vec<String> = running.iter().map(Gateway::url).collect();
        let (first, message) = until_refused(&client, &urls, KEY, Dialect::OpenAi).await;
        assert!(message.contains("team engineering, monthly"), "{message}");
        let (second, message) = until_refused(&client, &urls, OTHER_KEY, Dialect::Anthropic).await;
        assert!(message.contains("(instance, monthly)"), "{message}");
        assert!(message.contains(&format!("{0} of {0} USD", usd(50 * WORST))), "{message}");
        assert_eq!((first, second), (40, 10), "{planes} data planes");
        for plane in &mut running {
            assert!(plane.stop(), "an orderly end");
        }
        assert!(control.stop(), "an orderly end");
        assert_eq!(control.verify()["ok"].as_bool(), Some(true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn management_never_counts_against_a_budget_and_works_when_every_budget_is_spent() {
    let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
    let scopes = ["instance", "team:engineering", "user:jane@corp.example", "key:ci", "model:*"];
    let budgets: String = scopes.iter().map(|scope| budget(scope, WORST, "hard")).collect();
    let mut gateway = Gateway::serve(folder.path(), &purse::yaml(&provider.url(), &budgets));
    let url = gateway.url();
    assert_eq!(until_refused(&client, std::slice::from_ref(&url), KEY, Dialect::OpenAi).await.0, 1);
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for path in ["/v1/models", "/v1/models/gpt-5-mini", "/models"] {
        assert_eq!(client.get(&format!("{url}{path}"), &headers).await.status, 200, "{path}");
    }
    let count = Dialect::Anthropic.body("hi", &json!({ "max_tokens": null }));
    let counted = client.post(&format!("{url}/v1/messages/count_tokens"), &headers, count).await;
    assert_eq!(counted.status, 200, "{}", counted.text());
    for path in ["/", "/setup"] {
        let answer = client.get(&format!("{url}{path}"), &[]).await;
        assert!(answer.status < 500 && answer.header("x-helix-error-code").is_empty(), "{path}: {}", answer.status);
    }
    let commands: [&[&str]; 6] = [
        &["budgets", "list"],
        &["keys", "list"],
        &["keys", "create", "--user", "jane@corp.example", "--name", "laptop"],
        &["ledger", "alerts"],
        &["ledger", "verify"],
        &["db", "status"],
    ];
    for command in commands {
        let output = gateway.command(command);
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    until("every record is in the ledger", async || {
        let ledger = Ledger::read(&sqlite_in(folder.path())).await;
        (ledger.records.len() >= 2).then_some(())
    })
    .await;
    assert!(gateway.stop());
    let ledger = Ledger::read(&sqlite_in(folder.path())).await;
    ledger.assert_at_rest();
    assert_eq!(ledger.accounts.len(), scopes.len());
    for account in &ledger.accounts {
        assert_eq!(account.settled.get(), WORST, "{account:?}");
    }
}

/// Sends once, whatever comes.
async fn once(client: &Client, url: &str, dialect: Dialect, body: String) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    client.post(&format!("{url}{}", dialect.path()), &headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_hard_budget_refuses_names_the_budget_in_both_dialects() {
    let (provider, folder, client) = (provider(), tempfile::tempdir().unwrap(), Client::new());
    let budgets = budget("team:engineering", 3 * WORST, "hard");
    let mut control = control_plane(&folder.path().join("control"), &purse::yaml(&provider.url(), &budgets));
    let mut plane = data_plane(&folder.path().join("data"), &control.plane_url(), JOIN_TOKEN);
    let url = plane.url();
    let both = [Dialect::OpenAi, Dialect::Anthropic];
    let search = json!([{ "type": "web_search_20250305", "name": "web_search" }]);
    let unbounded = (Dialect::Anthropic, json!({ "tools": search, "max_tokens": 9 }), "unbounded_cost");
    let unpriced = both.map(|dialect| (dialect, json!({ "model": "mystery" }), "unpriced_model"));
    for (dialect, further, code) in unpriced.into_iter().chain([unbounded]) {
        let answer = send(&client, &url, dialect, &dialect.body("hi", &further)).await;
        assert_eq!((answer.header("x-helix-error-code"), answer.header("x-helix-error-source")), (code, "budget"));
        assert!(answer.text().contains("team engineering, monthly"), "{}", answer.text());
    }
    assert_eq!(ask(&client, &url, KEY, Dialect::OpenAi).await.status, 200);
    // What is in hand is spent; then nobody can say whether there is more.
    control.kill();
    for dialect in both {
        let refused = until("a refusal for want of a control plane", async || {
            let answer = once(&client, &url, dialect, dialect.body("hi", &json!({}))).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        assert_eq!(refused.header("x-helix-error-code"), "budget_unavailable", "{}", refused.text());
        assert!(refused.text().contains("team engineering, monthly"), "{}", refused.text());
    }
    control.run();
    let (_, message) = until_refused(&client, std::slice::from_ref(&url), KEY, Dialect::Anthropic).await;
    for part in [
        "team engineering, monthly",
        &format!("{0} of {0} USD", usd(3 * WORST)),
        "resets at 20",
        "a manager of the team",
    ] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert!(plane.stop() && control.stop(), "an orderly end");
    assert_eq!(control.verify()["ok"].as_bool(), Some(true));
}
