//! The snapshot: every index a request needs, built once, read without a lock.
//!
//! Rule: immutable. A request pins one snapshot and sees one revision from start to end.

use super::compile::Quarantined;
use super::resource::Settings;
use super::set::Digest;
use crate::access::ModelAccess;
use crate::budget::Limit;
use crate::catalog::PriceOverride;
use crate::ids::{ApiKeyId, BackendId, TeamId, UserId};
use crate::provider::azure::Generation;
use crate::provider::{Api, CapField, HttpVersion, PathForm, ProviderKind, WireFamily};
use crate::rbac::Grant;
use crate::routing::RouteTable;
use crate::secret::Secret;
use crate::time::UnixMicros;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Keyed hash of an API key's secret.
pub type KeyHash = [u8; 32];

/// Compiled configuration of one revision.
#[derive(Debug)]
pub struct Snapshot {
    /// The revision it was compiled from.
    pub revision: u64,
    /// Digest of the resource set.
    pub digest: Digest,
    /// Instance-wide settings; `None` while they are missing or quarantined: then nothing can be authenticated.
    pub settings: Option<Settings>,
    /// Callers by the hash of their key.
    pub callers: HashMap<KeyHash, Arc<Caller>>,
    /// Backends, in their configured order.
    pub backends: Vec<Arc<Backend>>,
    /// Budgets, hard and soft; callers point into it.
    pub budgets: Vec<Arc<Limit>>,
    /// Rules from model names to backends.
    pub routes: RouteTable,
    /// Price overrides.
    pub prices: Vec<PriceOverride>,
    /// What did not compile.
    pub quarantined: Vec<Quarantined>,
}

/// Everything the pipeline needs to know of the owner of a key.
#[derive(Debug)]
pub struct Caller {
    /// The key.
    pub key_id: ApiKeyId,
    /// The person, unless it is a team's key.
    pub user_id: Option<UserId>,
    /// The team that is charged.
    pub team_id: Option<TeamId>,
    /// End of the key's lifetime.
    pub expires_at: Option<UnixMicros>,
    /// Whether the key may be used at all.
    pub standing: Standing,
    /// Roles that hold for this caller.
    pub grants: Vec<Grant>,
    /// The acting team's model lists.
    pub access: Arc<ModelAccess>,
    /// Indexes into [`Snapshot::budgets`] of every budget that the caller's requests may be charged to, sorted. Those of
    /// models are charged where the model is theirs.
    pub budgets: Arc<[usize]>,
    /// Whether response headers may name providers.
    pub sees_providers: bool,
}

/// Whether a key may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Good,
    /// Taken back.
    Revoked,
    /// Its owner is disabled or gone.
    OwnerDisabled,
    /// Something that governs it did not compile.
    Quarantined(String),
}

/// A provider account, checked.
#[derive(Debug)]
pub struct Backend {
    /// Its configured name.
    pub id: BackendId,
    /// What it speaks and how.
    pub kind: ProviderKind,
    /// Base URL without a trailing slash.
    pub base_url: String,
    /// Version of the API, where the kind has one and it was given.
    pub api_version: Option<String>,
    /// Credential.
    pub api_key: Option<Secret>,
    /// The version of HTTP that it is spoken to.
    pub http_version: HttpVersion,
    /// Limit of connecting, TLS included.
    pub connect_timeout: Duration,
    /// Limit until the response head.
    pub first_byte_timeout: Duration,
    /// Limit between two chunks.
    pub idle_timeout: Duration,
    /// Limit of the whole exchange.
    pub total_timeout: Duration,
    /// Most requests at once; `None`: no limit.
    pub max_in_flight: Option<u32>,
}

impl Backend {
    /// The name of the output cap here.
    pub fn cap_field(&self) -> CapField {
        if self.takes_newer_options() { self.kind.facts().cap_field } else { CapField::MaxTokens }
    }

    /// The wire format that a model is asked in here.
    pub fn family_of(&self, model: &str) -> WireFamily {
        let has_openai_path = self.base_url.trim_end_matches('/').ends_with("/v1");
        match self.kind.facts().paths {
            PathForm::Ollama if has_openai_path => WireFamily::OpenAi,
            _ => self.kind.family_of(model),
        }
    }

    /// Whether a request may have `stream_options` here.
    pub fn takes_stream_options(&self) -> bool {
        self.kind.facts().takes_stream_options && self.takes_newer_options()
    }

    /// Whether a further API can be asked here; Azure's older addresses know no responses.
    pub fn serves(&self, api: Api) -> bool {
        let is_newer = !matches!(api, Api::Responses | Api::StoredResponses)
            || self.kind.facts().paths != PathForm::Azure
            || matches!(Generation::of(&self.base_url, self.api_version.as_deref()), Generation::V1 { .. });
        is_newer && self.kind.serves(api)
    }

    fn takes_newer_options(&self) -> bool {
        match self.kind.facts().paths {
            PathForm::Azure => Generation::of(&self.base_url, self.api_version.as_deref()).takes_options(),
            PathForm::AsGiven
            | PathForm::UnderV1
            | PathForm::OwnVersion
            | PathForm::Gemini
            | PathForm::Vertex
            | PathForm::Bedrock
            | PathForm::Ollama => true,
        }
    }
}

impl Snapshot {
    /// Looks a caller up by the hash of the presented key.
    pub fn caller(&self, hash: &KeyHash) -> Option<&Arc<Caller>> {
        self.callers.get(hash)
    }
}
