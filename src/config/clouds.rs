//! Providers in a cloud: where they are, and who asks them.
//!
//! Rule: what leads nowhere, or names two identities at once, is refused with its place; what names none is what the
//! machine is, where the cloud has such a thing. A setting without effect on a kind is said to have none.

use super::decoder::Decoder;
use super::kinds::ProviderKind;
use super::node::Node;
use super::settings::Provider;
use helix_shared::aws::bedrock_host;
use helix_shared::cloud::google::vertex_host;

/// The address of a kind that is in a region; `None` for the others. A region that is missing or wrong has its own message.
pub(super) fn regional_url(kind: ProviderKind, region: Option<&str>) -> Option<String> {
    let host: fn(&str) -> String = match kind {
        ProviderKind::Bedrock => bedrock_host,
        ProviderKind::Vertex => vertex_host,
        _ => return None,
    };
    let host = region.filter(|region| is_region(region)).map(host);
    Some(format!("https://{}", host.as_deref().unwrap_or("unserved.invalid")))
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether something else than an `api_key` may say who asks.
pub(super) fn may_have_identity(provider: &Provider) -> bool {
    match provider.kind {
        ProviderKind::Bedrock | ProviderKind::Vertex => true,
        ProviderKind::Azure => provider.managed_identity || provider.tenant_id.is_some(),
        _ => false,
    }
}

/// Checks what the kind needs.
pub(super) fn check(provider: &Provider, node: &Node, decoder: &mut Decoder<'_>) {
    let name = decoder.path().trim_start_matches("providers.").to_owned();
    let mut say = |message: String, help: &str| {
        decoder.error("E0102", &node.source, message).help(help);
    };
    let has_region = provider.region.as_deref().is_some_and(is_region);
    match provider.kind {
        ProviderKind::Bedrock => {
            if !has_region {
                let message = format!("provider `{name}` needs a `region`, such as `eu-central-1`");
                say(message, "add region: …, or set AWS_REGION");
            }
            if provider.access_key_id.is_some() != provider.secret_access_key.is_some() {
                let message =
                    format!("provider `{name}` has one of `access_key_id` and `secret_access_key` without the other");
                say(message, "add the other one");
            }
            if provider.web_identity_token_file.is_some() && provider.role_arn.is_none() {
                let message = format!("provider `{name}` has a `web_identity_token_file` and no `role_arn`");
                say(message, "add role_arn: …, the role that the token is for");
            }
        }
        ProviderKind::Vertex => {
            if !provider.project.as_deref().is_some_and(is_project) {
                let message = format!("provider `{name}` needs a `project`, the id of a project of Google Cloud");
                say(message, "add project: …, or set GOOGLE_CLOUD_PROJECT");
            }
            if !has_region {
                let message = format!("provider `{name}` needs a `region`, such as `global` or `europe-west4`");
                say(message, "add region: …, or set GOOGLE_CLOUD_LOCATION");
            }
        }
        ProviderKind::Azure => {
            let proofs =
                usize::from(provider.client_secret.is_some()) + usize::from(provider.federated_token_file.is_some());
            if provider.tenant_id.is_some()
                && !provider.managed_identity
                && (provider.client_id.is_none() || proofs != 1)
            {
                let message =
                    format!("provider `{name}` has a `tenant_id`, and not all that an application is known by");
                say(message, "add client_id, and one of client_secret and federated_token_file");
            }
            let is_application = provider.tenant_id.is_some() || proofs > 0;
            if is_application && (provider.managed_identity || provider.api_key.is_some()) {
                let message = format!("provider `{name}` has more than one identity");
                say(message, "keep one: api_key, tenant_id with an application, or managed_identity");
            }
        }
        _ => {}
    }
}

fn is_project(text: &str) -> bool {
    // Old projects have a domain before a colon.
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    !text.is_empty() && text.len() <= 100 && text.bytes().all(is_plain)
}

/// Names the settings that are given and mean nothing to the kind.
pub(super) fn idle_keys(provider: &Provider) -> impl Iterator<Item = &'static str> {
    use ProviderKind::{Azure, Bedrock, Vertex};
    let kind = provider.kind;
    let row = |key, is_given, kinds: &[ProviderKind]| (key, is_given && !kinds.contains(&kind));
    let rows = [
        row("region", provider.region.is_some(), &[Bedrock, Vertex]),
        row("access_key_id", provider.access_key_id.is_some(), &[Bedrock]),
        row("secret_access_key", provider.secret_access_key.is_some(), &[Bedrock]),
        row("session_token", provider.session_token.is_some(), &[Bedrock]),
        row("profile", provider.profile.is_some(), &[Bedrock]),
        row("profile_file", provider.profile_file.is_some(), &[Bedrock]),
        row("role_arn", provider.role_arn.is_some(), &[Bedrock]),
        row("external_id", provider.external_id.is_some(), &[Bedrock]),
        row("web_identity_token_file", provider.web_identity_token_file.is_some(), &[Bedrock]),
        row("project", provider.project.is_some(), &[Vertex]),
        row("credentials", provider.credentials.is_some(), &[Vertex]),
        row("credentials_file", provider.credentials_file.is_some(), &[Vertex]),
        row("tenant_id", provider.tenant_id.is_some(), &[Azure]),
        row("client_id", provider.client_id.is_some(), &[Azure]),
        row("client_secret", provider.client_secret.is_some(), &[Azure]),
        row("federated_token_file", provider.federated_token_file.is_some(), &[Azure]),
        row("managed_identity", provider.managed_identity, &[Azure]),
    ];
    rows.into_iter().filter(|(_, is_idle)| *is_idle).map(|(key, _)| key)
}
