//! Tokens of Microsoft Entra ID for Azure OpenAI.
//!
//! Rule: an application with a secret, an application with a federated token, or the machine's own identity: which, the
//! configuration says. The federated token is read for each request to the issuer, because it is replaced.

use super::ambient::Ambient;
use super::desk::{Desk, Question, SHORT_PATIENCE};
use super::google::read_secret;
use super::kept::{Issued, Source};
use super::token::{Token, issued};
use super::trouble::Trouble;
use helix_shared::cloud::encode;
use helix_shared::cloud::entra::EntraAccess;
use helix_shared::secret::Secret;
use std::path::Path;

const AUTHORITY: &str = "https://login.microsoftonline.com";
const US_AUTHORITY: &str = "https://login.microsoftonline.us";
const MACHINE: &str = "http://169.254.169.254";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Where the tokens of one backend come from.
#[derive(Debug)]
pub(super) struct EntraSource {
    access: EntraAccess,
    /// What the tokens are for, without a slash at its end.
    resource: &'static str,
    is_us: bool,
    ambient: Ambient,
    desk: Desk,
}

impl EntraSource {
    /// Takes what was configured, the backend's address and what the machine has.
    pub(super) fn new(access: EntraAccess, base_url: &str, ambient: Ambient, desk: Desk) -> Self {
        let host = base_url.split('/').nth(2).unwrap_or_default();
        let is_us = host.ends_with(".azure.us");
        let resource = match () {
            () if is_us => "https://cognitiveservices.azure.us",
            // Projects of Foundry have an audience of their own.
            () if base_url.contains("/api/projects/") => "https://ai.azure.com",
            () => "https://cognitiveservices.azure.com",
        };
        Self { access, resource, is_us, ambient, desk }
    }

    async fn of_application(&self, tenant: &str, client: &str) -> Result<Issued<Token>, Trouble> {
        let usual = if self.is_us { US_AUTHORITY } else { AUTHORITY };
        let authority = self.ambient.get("AZURE_AUTHORITY_HOST").unwrap_or(usual).trim_end_matches('/');
        let mut url = format!("{authority}/");
        encode(tenant, &mut url);
        url.push_str("/oauth2/v2.0/token");
        let scope = format!("{}/.default", self.resource);
        let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", scope.as_str())];
        let assertion;
        if let Some(secret) = self.access.client_secret.as_ref().and_then(Secret::expose_str) {
            fields.push(("client_secret", secret));
        } else if let Some(path) = self.access.federated_token_file.as_deref().map(Path::new) {
            assertion = read_secret(path).await.map_err(|source| Trouble::file(path, &source))?;
            let what = || format!("the file `{}`", path.display());
            let token = assertion.expose_str().ok_or_else(|| Trouble::content(what(), "is no text"))?;
            fields.push(("client_assertion_type", ASSERTION_TYPE));
            fields.push(("client_assertion", token.trim()));
        } else {
            return Err(Trouble::content(
                "the identity of the application",
                "has no client_secret and no federated_token_file",
            ));
        }
        issued(&self.desk.ask(Question::form(url, &fields)).await?)
    }

    async fn of_machine(&self) -> Result<Issued<Token>, Trouble> {
        let mut resource = String::new();
        encode(&format!("{}/", self.resource), &mut resource);
        let endpoint = self.ambient.get("IDENTITY_ENDPOINT").zip(self.ambient.get("IDENTITY_HEADER"));
        let (mut url, header) = match endpoint {
            Some((endpoint, secret)) => {
                (format!("{endpoint}?api-version=2019-08-01&resource={resource}"), ("x-identity-header", secret))
            }
            None => {
                let machine = self.ambient.get("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or(MACHINE);
                let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=";
                (format!("{}{path}{resource}", machine.trim_end_matches('/')), ("metadata", "true"))
            }
        };
        if let Some(client) = &self.access.client_id {
            url.push_str("&client_id=");
            encode(client, &mut url);
        }
        let question = Question::get(url).with(header.0, header.1).within(SHORT_PATIENCE * 2);
        match self.desk.ask(question).await {
            Ok(reply) => issued(&reply),
            Err(Trouble::Unreachable { .. }) => {
                let hint = "set tenant_id, client_id and client_secret, or run it on Azure with a managed identity";
                Err(Trouble::Nothing { cloud: "Azure", hint })
            }
            Err(other) => Err(other),
        }
    }
}

impl Source for EntraSource {
    type Value = Token;

    async fn fetch(&self) -> Result<Issued<Token>, Trouble> {
        match (&self.access.tenant_id, &self.access.client_id) {
            (Some(tenant), Some(client)) => self.of_application(tenant, client).await,
            _ => self.of_machine().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_follows_the_address() {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let of = |url: &str| {
            EntraSource::new(EntraAccess::default(), url, Ambient::default(), Desk::new(tls.clone())).resource
        };
        assert_eq!(of("https://corp.openai.azure.com"), "https://cognitiveservices.azure.com");
        assert_eq!(of("https://corp.openai.azure.us"), "https://cognitiveservices.azure.us");
        assert_eq!(of("https://corp.services.ai.azure.com/api/projects/p/openai/v1"), "https://ai.azure.com");
    }
}
