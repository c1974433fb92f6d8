//! Who the gateway is in the clouds of Amazon and Microsoft: everything that their own tools would find is found, and what
//! is issued for a time is renewed.
//!
//! Rule: the issuers verify what is presented (signatures are worked out anew), the models are asked only by what was
//! issued; the gateway runs as a process, and the variables say what its machine is.

use crate::first_request;
use crate::support::world::{World, chat};
use helix_fake_provider::{ACCESS_KEY_ID, EXTERNAL_ID, PRESENTED, ROLE, SECRET_ACCESS_KEY};
use serde_json::json;
use std::path::Path;

const NOVA: &str = "us.amazon.nova-2-lite-v1:0";

/// A file with one Bedrock, known by `key`, behind `gpt-here`.
fn bedrock(key: &str) -> impl Fn(&str) -> String {
    move |provider| {
        let bedrock = format!("  aws: {{ kind: bedrock, region: us-east-1, base_url: \"{provider}/aws\"{key} }}\n");
        let models =
            format!("models:\n  - {{ match: gpt-here, backends: [{{ provider: aws, model: \"{NOVA}\" }}] }}\n");
        first_request::yaml(provider).replacen("providers:\n", &format!("{models}providers:\n{bedrock}"), 1)
    }
}

/// A file with one Azure, known by `key`, behind `gpt-here`.
fn azure(key: &str) -> impl Fn(&str) -> String {
    move |provider| {
        let azure = format!("  az: {{ kind: azure, base_url: \"{provider}/azure\"{key} }}\n");
        let models = "models:\n  - { match: gpt-here, backends: [{ provider: az, model: gpt-5-mini }] }\n\
                      prices:\n  - { provider: az, model: gpt-5-mini, input: \"0.25\", output: \"2\", cache_read: \"0.025\" }\n";
        first_request::yaml(provider).replacen("providers:\n", &format!("{models}providers:\n{azure}"), 1)
    }
}

/// Asks once and proves that an issuer was asked once, that the answer came, and that the books agree.
async fn serves(world: World, place: &str, files: &[(&str, String)]) {
    for (name, content) in files {
        let path = world.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    for _ in 0..2 {
        let answer = world.ask("/v1/chat/completions", &here()).await;
        assert_eq!(answer.status, 200, "{place}: {}\n{}", answer.text(), world.gateway.log());
    }
    assert_eq!(world.provider.issuer_asked(place), 1, "{place}");
    let log = world.gateway.log();
    assert!(!log.contains(PRESENTED) && !log.contains(SECRET_ACCESS_KEY), "{log}");
    let bill = world.provider.bill.settled().await;
    let ids: Vec<String> = bill.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    for (record, entry) in world.records(&ids).await.iter().zip(&bill) {
        assert_eq!(u64::try_from(record.cost.get()).unwrap(), entry.cost_nano_usd, "{record:?}");
    }
    world.verify(2);
}

fn here() -> serde_json::Value {
    let mut request = chat(&json!({}));
    request["model"] = json!("gpt-here");
    request
}

fn given_keys() -> String {
    format!("access_key_id: {ACCESS_KEY_ID}, secret_access_key: \"{SECRET_ACCESS_KEY}\"")
}

const STS: &str = "AWS_ENDPOINT_URL_STS={url}/sts";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_assumed_with_given_keys() {
    let key = format!(", {}, role_arn: \"{ROLE}\", external_id: {EXTERNAL_ID}", given_keys());
    serves(World::with_env(&[STS], bedrock(&key)), "sts", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_assumed_with_a_web_identity_of_the_file_or_of_the_surroundings() {
    let token = [("token", format!("{PRESENTED}\n"))];
    let key = format!(", role_arn: \"{ROLE}\", web_identity_token_file: token");
    serves(World::with_env(&[STS], bedrock(&key)), "sts", &token).await;
    let role = format!("AWS_ROLE_ARN={ROLE}");
    let env = [STS, &role, "AWS_WEB_IDENTITY_TOKEN_FILE={folder}/token"];
    serves(World::with_env(&env, bedrock("")), "sts", &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_may_lead_to_a_role_or_to_a_sign_on() {
    let keys = format!("[base]\naws_access_key_id={ACCESS_KEY_ID}\naws_secret_access_key={SECRET_ACCESS_KEY}\n");
    let config = format!("[profile work]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = {EXTERNAL_ID}\n");
    let files = [("aws/credentials", keys), ("aws/config", config)];
    let key = ", profile: work, profile_file: aws/credentials";
    serves(World::with_env(&[STS], bedrock(key)), "sts", &files).await;

    let config = "[default]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Gateway\n\
                  [sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = eu-west-1\n";
    let held = json!({ "accessToken": PRESENTED, "expiresAt": "2099-01-01T00:00:00Z" });
    // The name is the SHA-1 of `corp`.
    let cache = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    let files = [(".aws/config", config.to_owned()), (cache, held.to_string())];
    serves(World::with_env(&["HOME={folder}", "AWS_ENDPOINT_URL_SSO={url}"], bedrock("")), "sso", &files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_and_a_machine_have_keys_of_their_own() {
    let token = format!("AWS_CONTAINER_AUTHORIZATION_TOKEN={PRESENTED}");
    let env = ["HOME={folder}", "AWS_CONTAINER_CREDENTIALS_FULL_URI={url}/container/credentials", &token];
    serves(World::with_env(&env, bedrock("")), "container", &[]).await;
    let env = ["HOME={folder}", "AWS_EC2_METADATA_SERVICE_ENDPOINT={url}"];
    let world = World::with_env(&env, bedrock(""));
    let answer = world.ask("/v1/chat/completions", &here()).await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), world.gateway.log());
    assert_eq!((world.provider.issuer_asked("aws machine token"), world.provider.issuer_asked("aws machine")), (1, 2));
    world.verify(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_a_session_that_is_over_is_renewed_once_and_the_request_tried_again() {
    let key = format!(", {}, role_arn: \"{ROLE}\", external_id: {EXTERNAL_ID}", given_keys());
    let world = World::with_env(&[STS], bedrock(&key));
    assert_eq!(world.ask("/v1/chat/completions", &here()).await.status, 200);
    world.provider.revoke_issued();
    let answer = world.ask("/v1/chat/completions", &here()).await;
    assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{}", answer.text());
    assert_eq!(world.provider.issuer_asked("sts"), 2);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_file_that_were_replaced_are_read_again_and_the_request_tried_again() {
    let keys = |id: &str, token: &str| {
        format!("[default]\naws_access_key_id={id}\naws_secret_access_key={SECRET_ACCESS_KEY}\n{token}")
    };
    let world = World::with_env(&[], bedrock(", profile_file: keys"));
    let path = world.folder.path().join("keys");
    std::fs::write(&path, keys(ACCESS_KEY_ID, "")).unwrap();
    assert_eq!(world.ask("/v1/chat/completions", &here()).await.status, 200);
    world.provider.replace_key("AKIDSECOND");
    std::fs::write(&path, keys("AKIDSECOND", "aws_session_token=t\n")).unwrap();
    for attempts in ["2", "1"] {
        let answer = world.ask("/v1/chat/completions", &here()).await;
        assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, attempts), "{}", answer.text());
    }
    world.verify(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_refused_as_they_come_are_fetched_twice_and_not_once_a_request() {
    let key =
        format!(", tenant_id: tenant-1, client_id: client-1, client_secret: {PRESENTED}, api_version: 2024-10-21");
    let world = World::with_env(&["AZURE_AUTHORITY_HOST={url}"], azure(&key));
    world.provider.issue_stillborn(u32::MAX);
    for attempts in [2, 1, 1, 1] {
        let answer = world.ask("/v1/chat/completions", &here()).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        let record = world.record(answer.header("x-request-id")).await;
        assert_eq!(record.attempts.len(), attempts, "{record:?}");
    }
    assert_eq!(world.provider.issuer_asked("entra"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_role_is_told_to_the_operator_and_not_to_the_client() {
    let key = format!(", {}, role_arn: \"{ROLE}\", external_id: canary-wrong", given_keys());
    let world = World::with_env(&[STS], bedrock(&key));
    let answer = world.ask("/v1/chat/completions", &here()).await;
    let text = answer.text();
    assert_eq!(answer.header("x-helix-error-code"), "upstream_credential", "{text}");
    let log = world.gateway.log();
    assert!(
        log.contains("answered 403 (AccessDenied)") && !log.contains("canary") && !text.contains("403"),
        "{log}{text}"
    );
    let nobody = World::with_env(&["HOME={folder}", "AWS_EC2_METADATA_DISABLED=true"], bedrock(""));
    let answer = nobody.ask("/v1/chat/completions", &here()).await;
    assert_eq!(answer.header("x-helix-error-code"), "upstream_credential", "{}", answer.text());
    assert!(nobody.gateway.log().contains("no credential is configured for Amazon"), "{}", nobody.gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_takes_tokens_of_an_application_of_a_federation_and_of_a_machine() {
    let authority = "AZURE_AUTHORITY_HOST={url}";
    let secret = format!(", tenant_id: tenant-1, client_id: client-1, client_secret: {PRESENTED}");
    serves(World::with_env(&[authority], azure(&secret)), "entra", &[]).await;
    let federated = ", tenant_id: tenant-1, client_id: client-1, federated_token_file: token";
    serves(World::with_env(&[authority], azure(federated)), "entra", &[("token", PRESENTED.to_owned())]).await;
    let env = [authority, "AZURE_TENANT_ID=tenant-1", "AZURE_CLIENT_ID=client-1", "AZURE_FEDERATED_TOKEN_FILE=token"];
    serves(World::with_env(&env, azure("")), "entra", &[("token", PRESENTED.to_owned())]).await;
    let env = ["AZURE_POD_IDENTITY_AUTHORITY_HOST={url}"];
    let machine = ", managed_identity: true, client_id: client-1";
    serves(World::with_env(&env, azure(machine)), "azure machine", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z09_a_token_of_azures_that_is_over_is_renewed_and_the_request_tried_again() {
    let key =
        format!(", tenant_id: tenant-1, client_id: client-1, client_secret: {PRESENTED}, api_version: 2024-10-21");
    let world = World::with_env(&["AZURE_AUTHORITY_HOST={url}"], azure(&key));
    assert_eq!(world.ask("/v1/chat/completions", &here()).await.status, 200);
    world.provider.revoke_issued();
    let answer = world.ask("/v1/chat/completions", &here()).await;
    assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{}", answer.text());
    let entry = world.provider.bill.settled().await.pop().unwrap();
    assert!(entry.headers.contains_key("authorization") && !entry.headers.contains_key("api-key"));
    assert!(Path::new(&entry.path).starts_with("/azure/openai/deployments"), "{}", entry.path);
    world.verify(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_fetched_for_the_request_that_is_refused_is_not_presented_twice() {
    let key =
        format!(", tenant_id: tenant-1, client_id: client-1, client_secret: {PRESENTED}, api_version: 2024-10-21");
    let world = World::with_env(&["AZURE_AUTHORITY_HOST={url}"], azure(&key));
    world.provider.issue_stillborn(1);
    let answer = world.ask("/v1/chat/completions", &here()).await;
    assert_eq!((answer.status, answer.header("x-helix-attempts")), (200, "2"), "{}", answer.text());
    assert_eq!(world.provider.issuer_asked("entra"), 2);
    world.verify(1);
}
