//! From nothing to a governed request, and the books agree.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, KEY};
use helix_fake_provider::FakeProvider;
use serde_json::json;

/// A file with both providers at the fake, one user, one key and rich hard budgets.
pub(crate) fn yaml(provider: &str) -> String {
    format!(
        r#"
providers:
  openai: {{ kind: openai, base_url: "{provider}/v1", api_key: sk-canary-openai }}
  anthropic: {{ kind: anthropic, base_url: "{provider}", api_key: sk-canary-anthropic }}
teams:
  engineering: {{ models: {{ allow: ["claude-*", "gpt-*", "text-*"], deny: ["*-preview"] }} }}
users:
  - {{ email: jane@corp.example, name: Jane, teams: [engineering], roles: [instance_admin] }}
keys:
  - {{ name: ci, user: jane@corp.example, secret: "{KEY}" }}
budgets:
  - {{ scope: instance, limit_usd: "5000", period: monthly, mode: hard }}
  - {{ scope: "team:engineering", limit_usd: "2000", period: monthly, mode: hard }}
  - {{ scope: "user:jane@corp.example", limit_usd: "25", period: daily, mode: hard }}
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_metered_recorded_and_the_books_agree() {
    let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::serve(folder.path(), &yaml(&provider.url()));
    let client = Client::new();
    let body = json!({ "model": "gpt-5-mini", "max_completion_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] });
    let answer = client.ask(&format!("{}/v1/chat/completions", gateway.url()), KEY, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(gateway.stop());
    let bill = provider.bill.settled().await;
    assert_eq!(bill.len(), 1);
    let report = gateway.verify();
    assert_eq!((report["ok"].as_bool(), report["records"].as_u64()), (Some(true), Some(1)), "{report}");
}
