//! Sessions of Amazon's token service: a role assumed with keys, or with the token of a web identity.
//!
//! Rule: the first is signed, the second is proven by its token alone; that is read for each session, because it is
//! replaced.

use super::{AwsSource, Keys};
use crate::upstream::identity::desk::{Question, Reply};
use crate::upstream::identity::google::read_secret;
use crate::upstream::identity::kept::Issued;
use crate::upstream::identity::trouble::Trouble;
use crate::upstream::sigv4::Signer;
use aws_credential_types::Credentials;
use helix_shared::aws::domain;
use helix_shared::time::UnixMicros;
use std::path::Path;

const VERSION: &str = "2011-06-15";
const SERVICE: &str = "sts";
const SESSION_NAME: &str = "helixgateway";

impl AwsSource {
    /// Assumes a role with keys.
    pub(super) async fn assume(
        &self,
        keys: &Credentials,
        role: &str,
        external_id: Option<&str>,
        name: Option<&str>,
    ) -> Result<Keys, Trouble> {
        let mut fields = vec![
            ("Action", "AssumeRole"),
            ("Version", VERSION),
            ("RoleArn", role),
            ("RoleSessionName", name.unwrap_or(SESSION_NAME)),
        ];
        fields.extend(external_id.map(|id| ("ExternalId", id)));
        let mut question = Question::form(self.token_service(), &fields);
        let unusable = Trouble::Unusable { cloud: "Amazon", wrong: "no request can be signed with it" };
        let uri = question.uri().ok_or_else(|| Trouble::content("the address of the token service", "is no URL"))?;
        let signer = Signer { credentials: keys.clone(), region: &self.access.region, service: SERVICE };
        let body = question.body().to_vec();
        signer.sign(&uri, question.headers_mut(), &body, self.clock.now()).map_err(|_| unusable)?;
        let reply = self.desk.ask(question).await?;
        self.session(&reply)
    }

    /// Assumes a role with the token of a web identity.
    pub(super) async fn web_identity(&self, role: &str, file: &str, name: Option<&str>) -> Result<Keys, Trouble> {
        let path = Path::new(file);
        let token = read_secret(path).await.map_err(|source| Trouble::file(path, &source))?;
        let token = token.expose_str().map(str::trim).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Trouble::content(format!("the file `{file}`"), "has no token"))?;
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", VERSION),
            ("RoleArn", role),
            ("RoleSessionName", name.unwrap_or(SESSION_NAME)),
            ("WebIdentityToken", token),
        ];
        let reply = self.desk.ask(Question::form(self.token_service(), &fields)).await?;
        self.session(&reply)
    }

    fn token_service(&self) -> String {
        if let Some(url) = self.ambient.get("AWS_ENDPOINT_URL_STS") {
            return format!("{}/", url.trim_end_matches('/'));
        }
        let region = &self.access.region;
        format!("https://sts.{region}.{}/", domain(region))
    }

    fn session(&self, reply: &Reply) -> Result<Keys, Trouble> {
        let xml = String::from_utf8_lossy(&reply.body);
        if reply.status != 200 {
            return Err(reply.refused(element(&xml, "Code").unwrap_or("no code")));
        }
        let found = element(&xml, "AccessKeyId").zip(element(&xml, "SecretAccessKey"));
        let (Some((id, secret)), Some(token)) = (found, element(&xml, "SessionToken")) else {
            return Err(Trouble::content(format!("the answer of {}", reply.place), "has no keys"));
        };
        let end = element(&xml, "Expiration").and_then(UnixMicros::parse);
        let value = Credentials::new(id, secret, Some(token.to_owned()), None, SERVICE);
        Ok(Issued { value, valid_for: self.until(end) })
    }
}

/// Finds the text of an element. Keys and tokens are base64 and need no unescaping.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}
