//! Keys by Amazon's sign-on, from the token that `aws sso login` left behind.
//!
//! Rule: nobody signs in here: a token that is over is an error that names the command.

use super::profile::Profiles;
use super::{AwsSource, Keys};
use crate::upstream::identity::desk::Question;
use crate::upstream::identity::google::read_secret;
use crate::upstream::identity::kept::Issued;
use crate::upstream::identity::trouble::Trouble;
use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use helix_shared::cloud::encode;
use helix_shared::time::UnixMicros;
use serde_json::Value;

impl AwsSource {
    /// The keys of the role that a profile names.
    pub(super) async fn of_sign_on(&self, profiles: &Profiles, name: &str) -> Result<Keys, Trouble> {
        let wrong = |wrong| Trouble::content(format!("profile `{name}`"), wrong);
        let profile = profiles.get(name).ok_or_else(|| wrong("is gone"))?;
        let session = profile.get("sso_session");
        let holder = session.and_then(|session| profiles.session(session)).unwrap_or(profile);
        let start = holder.get("sso_start_url").ok_or_else(|| wrong("has no sso_start_url"))?;
        let region = holder.get("sso_region").ok_or_else(|| wrong("has no sso_region"))?;
        let ids = profile.get("sso_account_id").zip(profile.get("sso_role_name"));
        let (account, role) = ids.ok_or_else(|| wrong("needs sso_account_id and sso_role_name"))?;
        let folder = profiles.folder.as_deref().ok_or_else(|| wrong("is one of the sign-on, and there is no HOME"))?;
        let named = digest(&SHA1_FOR_LEGACY_USE_ONLY, session.unwrap_or(start).as_bytes());
        let named: String = named.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join("sso/cache").join(format!("{named}.json"));
        let over = || wrong("is not signed in; run `aws sso login` for it");
        let held = read_secret(&path).await.map_err(|_| over())?;
        let held: Value = serde_json::from_slice(held.expose()).map_err(|_| over())?;
        let text = |name: &str| held.get(name).and_then(Value::as_str);
        let end = text("expiresAt").and_then(UnixMicros::parse);
        if end.is_none_or(|end| end <= self.clock.now()) {
            return Err(over());
        }
        let token = text("accessToken").ok_or_else(over)?;
        let usual = format!("https://portal.sso.{region}.amazonaws.com");
        let host = self.ambient.get("AWS_ENDPOINT_URL_SSO").unwrap_or(&usual).trim_end_matches('/');
        let mut url = format!("{host}/federation/credentials?account_id=");
        encode(account, &mut url);
        url.push_str("&role_name=");
        encode(role, &mut url);
        let reply = self.desk.ask(Question::get(url).with("x-amz-sso_bearer_token", token)).await?;
        let answer = reply.json()?;
        let keys = answer.get("roleCredentials").unwrap_or(&Value::Null);
        let text = |name: &str| keys.get(name).and_then(Value::as_str);
        let (Some(id), Some(secret)) = (text("accessKeyId"), text("secretAccessKey")) else {
            return Err(Trouble::content(format!("the answer of {}", reply.place), "has no keys"));
        };
        let end = keys.get("expiration").and_then(Value::as_i64);
        let end = end.map(|ms| UnixMicros::new(ms.saturating_mul(1000)));
        let value = Credentials::new(id, secret, text("sessionToken").map(str::to_owned), None, "sso");
        Ok(Issued { value, valid_for: self.until(end) })
    }
}
