//! Soft budgets warn and never refuse, and what is spent under them is on the books all the same.

use crate::support::client::Client;
use crate::support::gateway::{ANY_PORT, Gateway};
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, budget, send, usd};
use helix_fake_provider::FakeProvider;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_soft_budget_warns_and_never_refuses() {
    let script = purse::at_the_worst_case();
    let provider = FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let limit = 2 * WORST;
    let budgets = budget("team:engineering", limit, "soft") + &budget("instance", 1_000 * WORST, "soft");
    let mut gateway = Gateway::serve(folder.path(), &purse::yaml(&provider.url(), &budgets));
    let client = Client::new();
    let mut asked = 0_i64;
    let warning = until("a warning", async || {
        let answer = send(&client, &gateway.url(), Dialect::OpenAi, &Dialect::OpenAi.body("hi", &json!({}))).await;
        asked += 1;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let warning = answer.header("x-helix-budget-warning").to_owned();
        assert!(asked > 2 || warning.is_empty(), "warned before the limit: {warning}");
        (!warning.is_empty()).then_some(warning)
    })
    .await;
    assert!(warning.contains("engineering") && warning.contains(&format!("of {} USD", usd(limit))), "{warning}");
    for further in [json!({}), json!({ "stream": true }), json!({ "max_tokens": 20_000 })] {
        let answer = send(&client, &gateway.url(), Dialect::Anthropic, &Dialect::Anthropic.body("hi", &further)).await;
        asked += 1;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.header("x-helix-budget-warning").is_empty(), "{further}");
        assert_eq!((answer.header("x-helix-budget-clamped"), answer.header("x-helix-budget-remaining-usd")), ("", ""));
    }
    // Without a price nothing can be counted; a soft budget lets it pass.
    let body = Dialect::OpenAi.body("hi", &json!({ "model": "mystery" }));
    assert_eq!(send(&client, &gateway.url(), Dialect::OpenAi, &body).await.status, 200);
    assert!(gateway.stop(), "an orderly end");
    let ledger = Ledger::read(&sqlite_in(folder.path())).await;
    ledger.assert_at_rest();
    let bill = provider.bill.settled().await;
    assert_eq!(ledger.cost_nano_usd(), asked * WORST);
    assert_eq!(i64::try_from(bill.iter().map(|entry| entry.cost_nano_usd).sum::<u64>()).unwrap(), asked * WORST);
    assert_eq!(ledger.accounts.len(), 2);
    for account in &ledger.accounts {
        let settled = account.settled.get();
        assert_eq!((account.escrow.get(), account.unleased.get(), settled), (0, settled, asked * WORST));
    }
    let report = gateway.verify();
    assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_under_a_soft_budget_books_what_it_had_sent() {
    let script = json!({ "gate": "never", "prices": purse::at_the_worst_case()["prices"] });
    let provider = FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let budgets = budget("instance", WORST, "soft");
    let mut gateway = Gateway::serve(folder.path(), &purse::yaml(&provider.url(), &budgets));
    let client = Client::new();
    let url = gateway.url();
    let body = Dialect::OpenAi.body("hi", &json!({}));
    let asking = async {
        let headers = [("authorization", format!("Bearer {}", crate::support::gateway::KEY))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.post(&format!("{url}{}", Dialect::OpenAi.path()), &headers, body).await
    };
    tokio::select! {
        _ = asking => panic!("an answer through a closed gate"),
        _ = provider.bill.wait_for(|stats| stats.accepted == 1) => {}
    }
    gateway.kill();
    gateway.run();
    let url = sqlite_in(folder.path());
    let record = until("the record arrives", async || Ledger::read(&url).await.records.pop()).await;
    assert!(record.cost.get() > 0, "sent, and booked as free: {record:?}");
    assert!(gateway.stop(), "an orderly end");
    Ledger::read(&url).await.assert_at_rest();
    assert_eq!(gateway.verify()["ok"].as_bool(), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spent_while_a_hard_budget_was_soft_counts_when_it_is_hard_again() {
    let script = purse::at_the_worst_case();
    let provider = FakeProvider::new().with_script(script).run("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let yaml = |mode: &str| purse::yaml(&provider.url(), &budget("instance", 200 * WORST, mode));
    let mut gateway = Gateway::serve(folder.path(), &yaml("hard"));
    let (client, url) = (Client::new(), gateway.url());
    let ask = async || send(&client, &url, Dialect::OpenAi, &Dialect::OpenAi.body("hi", &json!({}))).await;
    // only a hard budget says what remains of it
    let is_hard = async || !ask().await.header("x-helix-budget-remaining-usd").is_empty();
    let switch = async |mode: &str| {
        gateway.write(&format!("version: 1\n{ANY_PORT}{}", yaml(mode)));
        gateway.reload();
        until(mode, async || (is_hard().await == (mode == "hard")).then_some(())).await;
    };
    assert!(is_hard().await);
    switch("soft").await;
    for _ in 0..10 {
        assert_eq!(ask().await.status, 200);
    }
    let url_of_books = sqlite_in(folder.path());
    let asked = provider.bill.settled().await.len();
    assert!(asked < 150, "{asked}");
    until("every record is here", async || (Ledger::read(&url_of_books).await.records.len() == asked).then_some(()))
        .await;
    switch("hard").await;
    let mut admitted = 0;
    while ask().await.status == 200 {
        admitted += 1;
        assert!(admitted <= 200, "the budget never ends");
    }
    let bill = provider.bill.settled().await;
    assert_eq!(bill.len(), 200, "to the last request, and not one more");
    assert!(gateway.stop(), "an orderly end");
    let report = gateway.verify();
    assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
}
