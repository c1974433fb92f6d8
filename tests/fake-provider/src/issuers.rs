//! The places where clouds issue credentials: token endpoints, Amazon's token service, and what machines and containers
//! find beside themselves.
//!
//! Rule: everything that is presented is verified as the real ones do, with no code of the gateway: signatures of claims by
//! the public key, signatures of requests worked out anew. What was issued is known, and can be revoked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::request::Parts;
use serde_json::{Value, json};

use crate::sigv4;

/// The e-mail address of the service account.
pub const SERVICE_ACCOUNT: &str = "gateway@fake-project.iam.gserviceaccount.com";
/// What an application of Microsoft's, a refresh token, a web identity, a container and a sign-on present here.
pub const PRESENTED: &str = "canary-presented";
/// What the owner of a role wants to hear.
pub const EXTERNAL_ID: &str = "external-7";
/// The one role that may be assumed.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/gateway";
/// Valid longer than any test runs.
const END: &str = "2099-01-01T00:00:00Z";

/// What was issued, and what it takes to be issued something.
#[derive(Default)]
pub(crate) struct Issuers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    key: Option<RsaKeyPair>,
    tokens: Vec<String>,
    /// Secrets of sessions by their key ids.
    sessions: BTreeMap<String, String>,
    /// How often each place was asked.
    asked: BTreeMap<&'static str, u32>,
    is_away: bool,
    /// Whether the fixed key was deleted, for another one.
    is_replaced: bool,
    /// How many of the next tokens are over when they are issued.
    stillborn: u32,
}

/// Whether a path is one of an issuer.
pub(crate) fn is_issuer(path: &str) -> bool {
    let begins = [
        "/google/token",
        "/computeMetadata/",
        "/metadata/identity/",
        "/sts/",
        "/latest/",
        "/container/",
        "/federation/",
    ];
    begins.iter().any(|begin| path.starts_with(begin)) || path.ends_with("/oauth2/v2.0/token")
}

/// One place that answers.
type Desk = fn(&Issuers, &Parts, &[u8]) -> Said;

/// An answer of an issuer: its status, its type and its body.
pub(crate) type Said = (u16, &'static str, String);

impl Issuers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a place was asked.
    pub(crate) fn asked(&self, place: &str) -> u32 {
        self.state().asked.get(place).copied().unwrap_or(0)
    }

    /// Takes back everything that was issued.
    pub(crate) fn revoke(&self) {
        let mut state = self.state();
        state.tokens.clear();
        state.sessions.clear();
    }

    /// Deletes the fixed key of Amazon's and makes another one, of the same secret.
    pub(crate) fn replace_key(&self, id: &str) {
        let mut state = self.state();
        state.sessions.insert(id.to_owned(), crate::bedrock::SECRET_ACCESS_KEY.to_owned());
        state.is_replaced = true;
    }

    /// Whether the fixed key was deleted.
    pub(crate) fn is_replaced(&self) -> bool {
        self.state().is_replaced
    }

    /// Lets the next tokens be over when they are issued.
    pub(crate) fn set_stillborn(&self, tokens: u32) {
        self.state().stillborn = tokens;
    }

    /// Answers nobody any more, or again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }

    /// Whether a token was issued here and is good.
    pub(crate) fn knows_token(&self, token: &str) -> bool {
        self.state().tokens.iter().any(|known| known == token)
    }

    /// The secret of a session; `None`: it was not issued, or is over.
    pub(crate) fn secret_of(&self, key_id: &str) -> Option<String> {
        self.state().sessions.get(key_id).cloned()
    }

    /// A credentials file for the service account; its key is made at the first call.
    pub(crate) fn service_account(&self, url: &str) -> String {
        let mut state = self.state();
        let make = || RsaKeyPair::generate(KeySize::Rsa2048).ok();
        if state.key.is_none() {
            state.key = make();
        }
        let der = state.key.as_ref().and_then(|key| key.as_der().ok());
        let text = der.map(|der| STANDARD.encode(der.as_ref())).unwrap_or_default();
        let lines: Vec<String> =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        json!({
            "type": "service_account", "project_id": "fake-project", "private_key_id": "k1", "private_key": pem,
            "client_email": SERVICE_ACCOUNT, "token_uri": format!("{url}/google/token"),
        })
        .to_string()
    }

    /// Answers a request to an issuer; `None`: this is no address of one.
    pub(crate) fn answer(&self, parts: &Parts, body: &[u8]) -> Option<Said> {
        let path = parts.uri.path();
        let (place, said): (&'static str, Desk) = match path {
            "/google/token" => ("google", Self::google),
            "/computeMetadata/v1/instance/service-accounts/default/token" => ("google metadata", Self::google_metadata),
            "/metadata/identity/oauth2/token" => ("azure machine", Self::azure_machine),
            "/sts/" => ("sts", Self::sts),
            "/latest/api/token" => ("aws machine token", Self::machine_token),
            "/container/credentials" => ("container", Self::container),
            "/federation/credentials" => ("sso", Self::sign_on),
            _ if path.starts_with("/latest/meta-data/iam/security-credentials/") => ("aws machine", Self::machine),
            _ if path.ends_with("/oauth2/v2.0/token") => ("entra", Self::entra),
            _ => return None,
        };
        {
            let mut state = self.state();
            *state.asked.entry(place).or_default() += 1;
            if state.is_away {
                return Some((503, "text/plain", "away".to_owned()));
            }
        }
        Some(said(self, parts, body))
    }

    fn token(&self, life: &Value) -> Said {
        let mut state = self.state();
        let number = state.asked.values().sum::<u32>();
        let token = format!("issued-{number}");
        if state.stillborn > 0 {
            state.stillborn -= 1;
        } else {
            state.tokens.push(token.clone());
        }
        json_said(200, &json!({ "access_token": token, "expires_in": life, "token_type": "Bearer" }))
    }

    fn google(&self, parts: &Parts, body: &[u8]) -> Said {
        let form = form(body);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let is_good = match field("grant_type") {
            "refresh_token" => {
                (field("client_id"), field("client_secret"), field("refresh_token")) == ("id", PRESENTED, PRESENTED)
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => self.is_claim_good(parts, field("assertion")),
            _ => false,
        };
        if is_good { self.token(&json!(3599)) } else { refused("invalid_grant") }
    }

    fn is_claim_good(&self, parts: &Parts, claim: &str) -> bool {
        let state = self.state();
        let Some(key) = &state.key else { return false };
        let Some((text, signature)) = claim.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        if public.verify(text.as_bytes(), &signature).is_err() {
            return false;
        }
        let part = |at: usize| -> Value {
            let bytes = text.split('.').nth(at).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
        };
        let (header, claims) = (part(0), part(1));
        let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let time = |name: &str| claims[name].as_u64().unwrap_or(0);
        header["alg"] == "RS256"
            && header["kid"] == "k1"
            && claims["iss"] == SERVICE_ACCOUNT
            && claims["aud"] == format!("http://{host}/google/token")
            && claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
            && time("iat") <= now
            && time("exp") > now
            && time("exp") - time("iat") <= 3600
    }

    fn google_metadata(&self, parts: &Parts, _: &[u8]) -> Said {
        if header(parts, "metadata-flavor") != "Google" {
            return refused("missing_flavor");
        }
        self.token(&json!(3599))
    }

    fn entra(&self, parts: &Parts, body: &[u8]) -> Said {
        let form = form(body);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let is_tenant = parts.uri.path() == "/tenant-1/oauth2/v2.0/token";
        let is_client = field("grant_type") == "client_credentials" && field("client_id") == "client-1";
        let is_scope = field("scope") == "https://cognitiveservices.azure.com/.default";
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let has_assertion = field("client_assertion_type") == kind && field("client_assertion") == PRESENTED;
        if !is_tenant || !is_client || !is_scope {
            return refused("unauthorized_client");
        }
        if has_assertion || field("client_secret") == PRESENTED {
            return self.token(&json!(3599));
        }
        refused("invalid_client")
    }

    fn azure_machine(&self, parts: &Parts, _: &[u8]) -> Said {
        let query = parts.uri.query().unwrap_or_default();
        let wants = "resource=https%3A%2F%2Fcognitiveservices.azure.com%2F";
        if header(parts, "metadata") != "true" || !query.contains(wants) || !query.contains("client_id=client-1") {
            return refused("invalid_request");
        }
        self.token(&json!("86399"))
    }

    fn session(&self) -> (String, String, String) {
        let mut state = self.state();
        let number = state.asked.values().sum::<u32>();
        let (id, secret) = (format!("ASIAFAKE{number}"), format!("secret/of+session{number}="));
        state.sessions.insert(id.clone(), secret.clone());
        (id, secret, format!("token/of+{number}=="))
    }

    fn sts(&self, parts: &Parts, body: &[u8]) -> Said {
        let form = form(body);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let deny = |status, code: &str| {
            let xml =
                format!("<ErrorResponse><Error><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>");
            (status, "text/xml", xml)
        };
        match field("Action") {
            "AssumeRole" if !sigv4::is_signed(parts, body, "sts", &|id| self.secret_of(id)) => {
                return deny(403, "SignatureDoesNotMatch");
            }
            "AssumeRole" if field("ExternalId") != EXTERNAL_ID => return deny(403, "AccessDenied"),
            "AssumeRoleWithWebIdentity" if field("WebIdentityToken") != PRESENTED => {
                return deny(400, "InvalidIdentityToken");
            }
            "AssumeRole" | "AssumeRoleWithWebIdentity" => {}
            _ => return deny(400, "InvalidAction"),
        }
        if field("Version") != "2011-06-15" || field("RoleArn") != ROLE || field("RoleSessionName").is_empty() {
            return deny(403, "AccessDenied");
        }
        let (id, secret, token) = self.session();
        let xml = format!(
            "<R><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{END}</Expiration></Credentials></R>"
        );
        (200, "text/xml", xml)
    }

    fn keys(&self) -> Said {
        let (id, secret, token) = self.session();
        let keys = json!({ "Code": "Success", "AccessKeyId": id, "SecretAccessKey": secret, "Token": token, "Expiration": END });
        json_said(200, &keys)
    }

    fn machine_token(&self, parts: &Parts, _: &[u8]) -> Said {
        if parts.method != http::Method::PUT || header(parts, "x-aws-ec2-metadata-token-ttl-seconds").is_empty() {
            return refused("bad_request");
        }
        (200, "text/plain", "metadata-token".to_owned())
    }

    fn machine(&self, parts: &Parts, _: &[u8]) -> Said {
        if header(parts, "x-aws-ec2-metadata-token") != "metadata-token" {
            return (401, "text/plain", String::new());
        }
        if parts.uri.path().ends_with('/') { (200, "text/plain", "gateway-role\n".to_owned()) } else { self.keys() }
    }

    fn container(&self, parts: &Parts, _: &[u8]) -> Said {
        if header(parts, "authorization") == PRESENTED { self.keys() } else { refused("unauthorized") }
    }

    fn sign_on(&self, parts: &Parts, _: &[u8]) -> Said {
        let is_role = parts.uri.query() == Some("account_id=123456789012&role_name=Gateway");
        if header(parts, "x-amz-sso_bearer_token") != PRESENTED || !is_role {
            return refused("unauthorized");
        }
        let (id, secret, token) = self.session();
        let keys = json!({ "accessKeyId": id, "secretAccessKey": secret, "sessionToken": token, "expiration": 4_070_908_800_000_u64 });
        json_said(200, &json!({ "roleCredentials": keys }))
    }
}

fn json_said(status: u16, body: &Value) -> Said {
    (status, "application/json", body.to_string())
}

/// A refusal whose text quotes a secret, as some do.
fn refused(code: &str) -> Said {
    json_said(400, &json!({ "error": code, "error_description": format!("not {PRESENTED}") }))
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), crate::bedrock::unescaped(value))).collect()
}
