//! Who a backend is in a cloud: tokens and keys that are issued for a time, and kept fresh.
//!
//! Rule: what is configured says where they come from, and where it says nothing, what the process runs on does, as with
//! every tool of that cloud. A request waits for an issuer only when nothing valid is held. No error has a secret in it.

use crate::settings::Surroundings;
use crate::tasks::Tasks;
use ambient::Ambient;
use aws::AwsSource;
use aws_credential_types::Credentials;
use desk::Desk;
use entra::EntraSource;
use google::GoogleSource;
use helix_shared::aws::AwsAccess;
use helix_shared::cloud::entra::EntraAccess;
use helix_shared::cloud::google::GoogleAccess;
use helix_shared::provider::PathForm;
use helix_shared::snapshot::view::Backend;
use helix_shared::time::Clock;
use http::HeaderValue;
use kept::Kept;
use std::sync::Arc;

mod ambient;
mod aws;
mod desk;
mod entra;
mod google;
mod kept;
mod token;
mod trouble;

pub use trouble::Trouble;

/// Makes identities that share one client and know what this machine is.
#[derive(Debug, Clone)]
pub struct Identities {
    desk: Desk,
    ambient: Ambient,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

/// Who a backend is.
#[derive(Debug)]
pub struct Identity {
    holder: Holder,
    /// The region that requests are signed for, where they are.
    region: String,
    /// It was given as it is: there is no other to be had.
    is_fixed: bool,
}

#[derive(Debug)]
enum Holder {
    Amazon(Arc<Kept<AwsSource>>),
    Google(Arc<Kept<GoogleSource>>),
    Microsoft(Arc<Kept<EntraSource>>),
}

/// What proves it.
#[derive(Debug)]
pub enum Proof {
    /// The value of `Authorization`.
    Token(HeaderValue),
    /// Keys to sign with.
    Keys(Credentials),
}

impl Identities {
    /// Keeps what counts of the variables of the process.
    pub fn new(tls: rustls::ClientConfig, surroundings: &Surroundings, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self { desk: Desk::new(tls), ambient: Ambient::of(surroundings), clock, tasks }
    }

    /// Who a backend is; `None`: its key is a plain one, or it has none.
    pub fn of(&self, backend: &Backend) -> Option<Identity> {
        let (ambient, desk, clock) = (self.ambient.clone(), self.desk.clone(), Arc::clone(&self.clock));
        let key = backend.api_key.as_ref()?;
        let (mut region, mut is_fixed) = (String::new(), false);
        let holder = match backend.kind.facts().paths {
            PathForm::Bedrock => {
                let access = AwsAccess::from_secret(key)?;
                region.clone_from(&access.region);
                is_fixed = access.access_key_id.is_some() && access.role_arn.is_none();
                Holder::Amazon(self.keep(AwsSource::new(access, ambient, desk, clock)))
            }
            PathForm::Vertex => {
                let access = GoogleAccess::from_secret(key)?;
                is_fixed = access.access_token.is_some();
                Holder::Google(self.keep(GoogleSource::new(access, ambient, desk, clock)))
            }
            PathForm::Azure => {
                let access = EntraAccess::from_secret(key)?;
                Holder::Microsoft(self.keep(EntraSource::new(access, &backend.base_url, ambient, desk)))
            }
            PathForm::AsGiven | PathForm::UnderV1 | PathForm::OwnVersion | PathForm::Gemini | PathForm::Ollama => {
                return None;
            }
        };
        Some(Identity { holder, region, is_fixed })
    }

    fn keep<S: kept::Source>(&self, source: S) -> Arc<Kept<S>> {
        Arc::new(Kept::new(source, Arc::clone(&self.clock), self.tasks.clone()))
    }
}

impl Identity {
    /// Returns a valid proof; waits only when none is held.
    ///
    /// # Errors
    /// [`Trouble`] when none can be had.
    pub async fn proof(&self) -> Result<Proof, Trouble> {
        match &self.holder {
            Holder::Amazon(kept) => kept.get().await.map(Proof::Keys),
            Holder::Google(kept) => kept.get().await.map(Proof::Token),
            Holder::Microsoft(kept) => kept.get().await.map(Proof::Token),
        }
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Forgets a proof that was refused, unless it is newer than its use or another was just forgotten; `false`: there
    /// is no other.
    pub fn forget(&self, used_us: u64) -> bool {
        !self.is_fixed
            && match &self.holder {
                Holder::Amazon(kept) => kept.forget(used_us),
                Holder::Google(kept) => kept.forget(used_us),
                Holder::Microsoft(kept) => kept.forget(used_us),
            }
    }
}
