//! Keys that a container or a machine of Amazon's gives out itself.
//!
//! Rule: the second version of the metadata service only: the first can be reached by whoever makes us fetch an address.

use super::{AwsSource, Keys};
use crate::upstream::identity::desk::{Question, Reply, SHORT_PATIENCE};
use crate::upstream::identity::google::read_secret;
use crate::upstream::identity::kept::Issued;
use crate::upstream::identity::trouble::Trouble;
use aws_credential_types::Credentials;
use helix_shared::time::UnixMicros;
use serde_json::Value;
use std::path::Path;

const CONTAINER: &str = "http://169.254.170.2";
const MACHINE: &str = "http://169.254.169.254";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

impl AwsSource {
    /// The keys of the container; `None`: this is none that has keys.
    pub(super) async fn of_container(&self) -> Result<Option<Keys>, Trouble> {
        let relative = self.ambient.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.map(|path| format!("{CONTAINER}{path}"));
        let url = relative.or(self.ambient.get("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_owned));
        let Some(url) = url else { return Ok(None) };
        let mut question = Question::get(url);
        if let Some(path) = self.ambient.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(Path::new) {
            let token = read_secret(path).await.map_err(|source| Trouble::file(path, &source))?;
            question = question.with("authorization", token.expose_str().unwrap_or_default().trim());
        } else if let Some(token) = self.ambient.get("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
            question = question.with("authorization", token);
        }
        self.keys(&self.desk.ask(question).await?).map(Some)
    }

    /// The keys of the machine's role; `None`: this is no machine of Amazon's, or one without a role.
    pub(super) async fn of_machine(&self) -> Result<Option<Keys>, Trouble> {
        if self.ambient.get("AWS_EC2_METADATA_DISABLED").is_some_and(|is| is.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let host = self.ambient.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(MACHINE).trim_end_matches('/');
        let question = Question::put(format!("{host}/latest/api/token"));
        let question = question.with("x-aws-ec2-metadata-token-ttl-seconds", "300").within(SHORT_PATIENCE);
        let token = match self.desk.ask(question).await {
            Ok(reply) if reply.status == 200 => reply.body,
            Ok(reply) => return Err(reply.refused("no token of the metadata service")),
            Err(Trouble::Unreachable { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let ask = async |path: &str| {
            let question = Question::get(format!("{host}{ROLES}{path}")).with("x-aws-ec2-metadata-token", &token);
            self.desk.ask(question).await
        };
        let reply = ask("").await?;
        let roles = String::from_utf8_lossy(&reply.body).into_owned();
        let role = roles.lines().next().map(str::trim).filter(|role| reply.status == 200 && !role.is_empty());
        let Some(role) = role else { return Ok(None) };
        self.keys(&ask(role).await?).map(Some)
    }

    fn keys(&self, reply: &Reply) -> Result<Keys, Trouble> {
        let answer = reply.json()?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(id), Some(secret)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
            return Err(Trouble::content(format!("the answer of {}", reply.place), "has no keys"));
        };
        let token = text("Token").map(str::to_owned);
        let end = text("Expiration").and_then(UnixMicros::parse);
        let value = Credentials::new(id, secret, token, None, "machine");
        Ok(Issued { value, valid_for: self.until(end) })
    }
}
