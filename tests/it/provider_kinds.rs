//! Kinds of the OpenAI family that differ from it: what is kept from them, and that they are metered all the same.
//!
//! Rule: what is compared is the hash of the body that the provider got; which kind differs in what stands in
//! docs/providers.md.

use crate::first_request;
use crate::support::gateway::KEY;
use crate::support::world::{World, messages, streamed};
use helix_fake_provider::sha256_hex;
use serde_json::json;

fn yaml(provider: &str) -> String {
    let mut yaml = first_request::yaml(provider);
    let (mut providers, mut models, mut prices) = (String::new(), String::new(), String::new());
    for kind in ["mistral", "cohere", "vllm"] {
        providers.push_str(&format!("  {kind}: {{ kind: {kind}, base_url: \"{provider}/v1\", api_key: sk-canary }}\n"));
        models
            .push_str(&format!("  - {{ match: gpt-{kind}, backends: [{{ provider: {kind}, model: gpt-5-mini }}] }}\n"));
        prices.push_str(&format!(
            "  - {{ provider: {kind}, model: gpt-5-mini, input: \"0.25\", output: \"2\", cache_read: \"0.025\" }}\n"
        ));
    }
    models.push_str("  - { match: claude-haiku-4-5, backends: [{ provider: mistral, model: gpt-5-mini }] }\n");
    yaml = yaml.replacen("providers:\n", &format!("models:\n{models}prices:\n{prices}providers:\n{providers}"), 1);
    yaml
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_options_are_kept_from_those_that_refuse_them_and_usage_is_read_anyway() {
    let world = World::start(yaml);
    let script = r#"[[fake:{\"usage_in_every_chunk\":true,\"output_tokens\":9}]]"#;
    let rest = format!(r#""stream":true,"max_tokens":64,"messages":[{{"role":"user","content":"{script}"}}]}}"#);
    let mut ids = Vec::new();
    for (kind, options, expected) in [
        ("mistral", "", ""),
        ("mistral", r#""stream_options":{"include_usage":true},"#, r#""stream_options":null,"#),
        ("cohere", r#""stream_options": { "x" : 1 },"#, r#""stream_options": null,"#),
        ("vllm", "", r#""stream_options":{"include_usage":true},"#),
    ] {
        let sent = format!(r#"{{{options}"model":"gpt-{kind}",{rest}"#);
        let answer = world.client.post(&world.url("/v1/chat/completions"), &[("x-api-key", KEY)], sent).await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{}", answer.text());
        let entry = world.provider.bill.settled().await.pop().unwrap();
        let expected = format!(r#"{{{expected}"model":"gpt-5-mini",{rest}"#);
        assert_eq!(entry.request_sha256, sha256_hex(expected.as_bytes()), "{kind} {options}");
        ids.push(answer.header("x-request-id").to_owned());
    }
    let script = json!({ "usage_in_every_chunk": true, "output_tokens": 9 });
    let translated = world.ask("/v1/messages", &streamed(messages(&script))).await;
    assert_eq!(translated.status, 200, "{}", translated.text());
    ids.push(translated.header("x-request-id").to_owned());
    let entries = world.provider.bill.settled().await;
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        let cost = u64::try_from(record.cost.get()).unwrap();
        assert_eq!((cost, record.basis.as_str()), (entry.cost_nano_usd, "exact"), "{entry:?}");
    }
    world.verify(ids.len());
}
