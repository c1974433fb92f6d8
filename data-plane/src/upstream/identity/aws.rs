//! Keys of Amazon: given ones, a profile's, a role's, those of a container or a machine.
//!
//! Rule: the order of Amazon's own tools. What is configured comes first and alone; where nothing is, the environment of
//! this process: keys, a web identity, a profile, the container, the machine. A program is never run for a key.

use super::ambient::Ambient;
use super::desk::Desk;
use super::google::read_secret;
use super::kept::{Issued, Source};
use super::trouble::Trouble;
use aws_credential_types::Credentials;
use helix_shared::aws::AwsAccess;
use helix_shared::secret::Secret;
use helix_shared::time::{Clock, UnixMicros};
use profile::Profiles;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod machine;
mod profile;
mod session;
mod sso;

/// How many profiles may lead to one another.
const MOST_STEPS: u32 = 5;

/// Where the keys of one backend come from.
#[derive(Debug)]
pub(super) struct AwsSource {
    access: AwsAccess,
    ambient: Ambient,
    desk: Desk,
    clock: Arc<dyn Clock>,
}

type Keys = Issued<Credentials>;

impl AwsSource {
    /// Takes what was configured and what the machine has.
    pub(super) fn new(access: AwsAccess, ambient: Ambient, desk: Desk, clock: Arc<dyn Clock>) -> Self {
        Self { access, ambient, desk, clock }
    }

    async fn configured(&self) -> Result<Keys, Trouble> {
        let access = &self.access;
        if let (Some(role), Some(file)) = (&access.role_arn, &access.web_identity_token_file) {
            return self.web_identity(role, file, None).await;
        }
        let base = if let (Some(id), Some(secret)) = (text(&access.access_key_id), text(&access.secret_access_key)) {
            let token = text(&access.session_token).map(str::to_owned);
            Issued { value: Credentials::new(id, secret, token, None, "given"), valid_for: None }
        } else if access.profile.is_some() || access.profile_file.is_some() {
            let name = access.profile.as_deref().unwrap_or("default");
            let profiles = self.profiles().await?;
            let found = Box::pin(self.of_profile(&profiles, name, MOST_STEPS)).await?;
            found.ok_or_else(|| no_profile(name))?
        } else {
            self.of_surroundings().await?
        };
        match &access.role_arn {
            Some(role) => self.assume(&base.value, role, text(&access.external_id), None).await,
            None => Ok(base),
        }
    }

    /// What Amazon's tools find where nothing is configured.
    async fn of_surroundings(&self) -> Result<Keys, Trouble> {
        if let Some(keys) = self.of_variables() {
            return Ok(keys);
        }
        if let (Some(role), Some(file)) =
            (self.ambient.get("AWS_ROLE_ARN"), self.ambient.get("AWS_WEB_IDENTITY_TOKEN_FILE"))
        {
            return self.web_identity(role, file, self.ambient.get("AWS_ROLE_SESSION_NAME")).await;
        }
        let named = self.ambient.get("AWS_PROFILE");
        let name = named.unwrap_or("default");
        let profiles = self.profiles().await?;
        if let Some(keys) = Box::pin(self.of_profile(&profiles, name, MOST_STEPS)).await? {
            return Ok(keys);
        }
        if named.is_some() {
            return Err(no_profile(name));
        }
        if let Some(keys) = self.of_container().await? {
            return Ok(keys);
        }
        self.of_machine().await?.ok_or(Trouble::Nothing {
            cloud: "Amazon",
            hint: "set access_key_id and secret_access_key, a profile or api_key, or run it on Amazon with a role",
        })
    }

    fn of_variables(&self) -> Option<Keys> {
        let (id, secret) = (self.ambient.get("AWS_ACCESS_KEY_ID")?, self.ambient.get("AWS_SECRET_ACCESS_KEY")?);
        let token = self.ambient.get("AWS_SESSION_TOKEN").map(str::to_owned);
        Some(Issued { value: Credentials::new(id, secret, token, None, "environment"), valid_for: None })
    }

    /// Both shared files, as one.
    async fn profiles(&self) -> Result<Profiles, Trouble> {
        let home = self.ambient.get("HOME").map(|home| Path::new(home).join(".aws"));
        let given = self.access.profile_file.as_deref();
        let keys = given.or(self.ambient.get("AWS_SHARED_CREDENTIALS_FILE")).map(PathBuf::from);
        let keys = keys.or_else(|| Some(home.as_ref()?.join("credentials")));
        let beside = || Some(keys.as_ref()?.parent()?.join("config"));
        let config = self.ambient.get("AWS_CONFIG_FILE").map(PathBuf::from).or_else(beside);
        let mut profiles = Profiles::default();
        for (path, is_needed) in [(config, false), (keys, given.is_some())] {
            let Some(path) = path else { continue };
            match read_secret(&path).await {
                Ok(content) => profiles.add(&String::from_utf8_lossy(content.expose())),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound && !is_needed => {}
                Err(source) => return Err(Trouble::file(&path, &source)),
            }
        }
        profiles.folder = home;
        Ok(profiles)
    }

    /// The keys of a profile; `None`: there is no such profile, or nothing about keys in it.
    async fn of_profile(&self, profiles: &Profiles, name: &str, steps: u32) -> Result<Option<Keys>, Trouble> {
        let Some(profile) = profiles.get(name) else { return Ok(None) };
        let wrong = |wrong| Trouble::content(format!("profile `{name}`"), wrong);
        if steps == 0 {
            return Err(wrong("leads in a circle by its source_profile"));
        }
        if let Some(role) = profile.get("role_arn") {
            let session_name = profile.get("role_session_name");
            if let Some(file) = profile.get("web_identity_token_file") {
                return self.web_identity(role, file, session_name).await.map(Some);
            }
            if profile.get("mfa_serial").is_some() {
                return Err(wrong("wants a code of a person's device, which a service has not"));
            }
            let base = match (profile.get("source_profile"), profile.get("credential_source")) {
                (Some(source), _) if source == name => profile.keys(),
                (Some(source), _) => Box::pin(self.of_profile(profiles, source, steps - 1)).await?,
                (None, Some("Environment")) => self.of_variables(),
                (None, Some("EcsContainer")) => self.of_container().await?,
                (None, Some("Ec2InstanceMetadata")) => self.of_machine().await?,
                (None, _) => return Err(wrong("has a role_arn and neither source_profile nor credential_source")),
            };
            let base = base.ok_or_else(|| wrong("finds no key where its role is assumed from"))?;
            let session = self.assume(&base.value, role, profile.get("external_id"), session_name).await?;
            return Ok(Some(session));
        }
        if let Some(keys) = profile.keys() {
            return Ok(Some(keys));
        }
        if profile.get("sso_account_id").is_some() {
            return self.of_sign_on(profiles, name).await.map(Some);
        }
        match profile.get("credential_process") {
            Some(_) => Err(wrong("names a credential_process; no program is run for a key")),
            None => Ok(None),
        }
    }

    /// How long keys are valid that end at this moment.
    fn until(&self, end: Option<UnixMicros>) -> Option<Duration> {
        let left_us = end?.get().saturating_sub(self.clock.now().get());
        Some(Duration::from_micros(u64::try_from(left_us).unwrap_or(0)))
    }
}

impl Source for AwsSource {
    type Value = Credentials;

    async fn fetch(&self) -> Result<Keys, Trouble> {
        self.configured().await
    }
}

fn no_profile(name: &str) -> Trouble {
    Trouble::content(format!("profile `{name}`"), "is not in the shared files, or has nothing about keys")
}

fn text(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().and_then(Secret::expose_str).filter(|text| !text.is_empty())
}
