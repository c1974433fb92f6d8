//! Tokens of Google: from a credentials file, or from the metadata server of the machine.
//!
//! Rule: what is configured, then what the machine's user has (the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the
//! one that `gcloud` writes), then the metadata server. A file is read again for each token: it may have been replaced.

use super::ambient::Ambient;
use super::desk::{Desk, Question, SHORT_PATIENCE};
use super::kept::{Issued, Source};
use super::token::{Token, bearer, issued};
use super::trouble::Trouble;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use helix_shared::cloud::google::GoogleAccess;
use helix_shared::secret::Secret;
use helix_shared::time::Clock;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const METADATA_HOST: &str = "metadata.google.internal";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest life of a signed claim.
const CLAIM_SECONDS: i64 = 3600;
/// How far the issuer's clock may be behind.
const SKEW_SECONDS: i64 = 10;
/// The largest credentials file that is read.
const MOST_FILE_BYTES: usize = 256 << 10;

/// Where the tokens of one backend come from.
#[derive(Debug)]
pub(super) struct GoogleSource {
    access: GoogleAccess,
    ambient: Ambient,
    desk: Desk,
    clock: Arc<dyn Clock>,
}

impl GoogleSource {
    /// Takes what was configured and what the machine has.
    pub(super) fn new(access: GoogleAccess, ambient: Ambient, desk: Desk, clock: Arc<dyn Clock>) -> Self {
        Self { access, ambient, desk, clock }
    }

    /// The credentials file's content, with how it is called in an error; `None`: there is none.
    async fn file(&self) -> Result<Option<(String, Secret)>, Trouble> {
        if let Some(content) = &self.access.credentials {
            return Ok(Some(("the setting `credentials`".to_owned(), content.clone())));
        }
        let named = self.access.credentials_file.as_deref();
        if let Some(path) = named.or(self.ambient.get("GOOGLE_APPLICATION_CREDENTIALS")).map(Path::new) {
            let content = read_secret(path).await.map_err(|source| Trouble::file(path, &source))?;
            return Ok(Some((format!("the file `{}`", path.display()), content)));
        }
        let of_user = match (self.ambient.get("CLOUDSDK_CONFIG"), self.ambient.get("HOME")) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(home)) => Path::new(home).join(".config/gcloud"),
            (None, None) => return Ok(None),
        };
        let path = of_user.join("application_default_credentials.json");
        match read_secret(&path).await {
            Ok(content) => Ok(Some((format!("the file `{}`", path.display()), content))),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Trouble::file(&path, &source)),
        }
    }

    async fn by_file(&self, what: &str, content: &Secret) -> Result<Issued<Token>, Trouble> {
        let file: Value = serde_json::from_slice(content.expose())
            .map_err(|_| Trouble::content(what, "is no JSON; it must be a credentials file of Google's"))?;
        let text = |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let url = text("token_uri").unwrap_or(TOKEN_URL);
        let question = match text("type") {
            Some("service_account") => {
                let (Some(email), Some(key)) = (text("client_email"), text("private_key")) else {
                    return Err(Trouble::content(what, "has no client_email or no private_key"));
                };
                let now = self.clock.now().get() / 1_000_000;
                let claim = signed_claim(email, text("private_key_id"), key, url, now);
                let claim = claim.ok_or_else(|| Trouble::content(what, "has a private_key that cannot be used"))?;
                Question::form(url, &[("grant_type", JWT_GRANT), ("assertion", &claim)])
            }
            Some("authorized_user") => {
                let fields = ["client_id", "client_secret", "refresh_token"].map(|name| (name, text(name)));
                let [(_, Some(id)), (_, Some(secret)), (_, Some(token))] = fields else {
                    return Err(Trouble::content(what, "lacks client_id, client_secret or refresh_token"));
                };
                let form = [("client_id", id), ("client_secret", secret), ("refresh_token", token)];
                Question::form(url, &[&[("grant_type", "refresh_token")], &form[..]].concat())
            }
            _ => {
                return Err(Trouble::content(what, "must be of type service_account or authorized_user"));
            }
        };
        issued(&self.desk.ask(question).await?)
    }

    async fn by_metadata(&self) -> Result<Issued<Token>, Trouble> {
        let host = self.ambient.get("GCE_METADATA_HOST").unwrap_or(METADATA_HOST);
        let question = Question::get(format!("http://{host}{METADATA_PATH}")).with("metadata-flavor", "Google");
        match self.desk.ask(question.within(SHORT_PATIENCE)).await {
            Ok(reply) => issued(&reply),
            Err(Trouble::Unreachable { .. }) => {
                let hint = "set credentials_file, or run it on Google Cloud with a service account";
                Err(Trouble::Nothing { cloud: "Google", hint })
            }
            Err(other) => Err(other),
        }
    }
}

impl Source for GoogleSource {
    type Value = Token;

    async fn fetch(&self) -> Result<Issued<Token>, Trouble> {
        if let Some(token) = self.access.access_token.as_ref().and_then(Secret::expose_str) {
            return Ok(Issued { value: bearer(token, "Google")?, valid_for: None });
        }
        match self.file().await? {
            Some((what, content)) => self.by_file(&what, &content).await,
            None => self.by_metadata().await,
        }
    }
}

/// Reads a small file.
pub(super) async fn read_secret(path: &Path) -> std::io::Result<Secret> {
    let bytes = tokio::fs::read(path).await?;
    if bytes.len() > MOST_FILE_BYTES {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(Secret::new(bytes))
}

/// Signs who asks, as RFC 7523 wants it; `None`: the key is no RSA key in PEM.
fn signed_claim(email: &str, key_id: Option<&str>, key: &str, audience: &str, now_s: i64) -> Option<String> {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
    let begins = now_s - SKEW_SECONDS;
    let claims = json!({ "iss": email, "scope": SCOPE, "aud": audience, "iat": begins, "exp": begins + CLAIM_SECONDS });
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(&claims));
    // Somewhere on the way the line breaks may have been escaped once more.
    let pem = key.replace("\\n", "\n");
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    fn pem(pair: &RsaKeyPair) -> String {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    }

    #[test]
    fn g23_a_claim_is_signed_also_with_a_key_whose_breaks_are_escaped() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let plain = pem(&pair);
        for key in [plain.clone(), plain.replace('\n', "\\n")] {
            let claim = signed_claim("a@p.example", Some("k1"), &key, TOKEN_URL, 1_000_000).unwrap();
            let (text, signature) = claim.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
            public.verify(text.as_bytes(), &signature).unwrap();
            let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!((&claims["iat"], &claims["exp"]), (&json!(999_990), &json!(1_003_590)));
        }
        assert_eq!(signed_claim("a", None, "no key", TOKEN_URL, 0), None);
    }
}
