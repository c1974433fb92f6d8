//! Rows of the database to resources for nodes.
//!
//! Rule: one row, one resource, as written; whether it makes sense is judged by the compiler of snapshots on both planes.
//! A row that cannot be read back whole becomes a resource that is quarantined, never one that is left out.

use crate::secrets::{Place, Vault};
use helix_shared::secret::Secret;
use helix_shared::snapshot::resource::{
    ApiKey, Backend, Budget, Model, ModelBackend, Price, RoleGrant, Settings, Team, User,
};
use helix_shared::snapshot::{Resource, ResourceKey, ResourceKind, ResourceSet};
use helix_store::{Setting, Table, Tx};
use std::collections::BTreeMap;

/// Names of the settings that make up the settings resource.
pub mod setting {
    /// Identity of the installation.
    pub const INSTANCE_ID: &str = "instance_id";
    /// What the master key of this database derives.
    pub const MASTER_KEY_CHECK: &str = "master_key_check";
    /// Largest request body that is read.
    pub const BODY_LIMIT_BYTES: &str = "body_limit_bytes";
}

/// The id of the one settings resource.
pub const SETTINGS_ID: &str = "instance";

/// Largest request body unless configured: what the largest provider takes.
const DEFAULT_BODY_LIMIT_BYTES: u64 = 32 * 1024 * 1024;

/// A kind that no provider has: the backend is quarantined and its reason says why.
const UNREADABLE: &str = "(its stored credential cannot be opened)";

/// Where a provider's credential is sealed.
pub(crate) fn credential_place(provider_id: &str) -> Place<'_> {
    Place { table: helix_store::Provider::NAME, row: provider_id, column: "sealed_credential" }
}

/// Reads every resource.
///
/// # Errors
/// What the database says.
pub async fn load_all(tx: &mut Tx, vault: &Vault) -> Result<ResourceSet, helix_store::StoreError> {
    let mut set = ResourceSet::default();
    let mut add = |id: String, resource: Resource| set.upsert(id.clone(), content_hash(&id, &resource), resource);
    add(SETTINGS_ID.to_owned(), Resource::Settings(settings(tx, vault).await?));
    let mut teams_of: BTreeMap<String, Vec<helix_store::Membership>> = BTreeMap::new();
    for membership in tx.list::<helix_store::Membership>().await? {
        teams_of.entry(membership.user_id.clone()).or_default().push(membership);
    }
    for row in tx.list::<helix_store::User>().await? {
        let teams = teams_of.remove(&row.id).unwrap_or_default();
        add(row.id.clone(), user(row, teams));
    }
    for row in tx.list::<helix_store::Team>().await? {
        add(row.id.clone(), team(row));
    }
    for row in tx.list::<helix_store::ApiKey>().await? {
        add(row.id.clone(), api_key(row));
    }
    for row in tx.list::<helix_store::RoleGrant>().await? {
        add(row.id.clone(), role_grant(row));
    }
    let budgets = tx.list::<helix_store::Budget>().await?;
    let mut increases = tx.increases(&budgets).await?;
    for row in budgets {
        let on_top = increases.remove(&row.id).unwrap_or_default();
        add(row.id.clone(), Resource::Budget(row.resource(on_top)));
    }
    for row in tx.list::<helix_store::Price>().await? {
        add(row.id.clone(), price(row));
    }
    for row in tx.list::<helix_store::Model>().await? {
        add(row.id.clone(), model(row));
    }
    for row in tx.list::<helix_store::Provider>().await? {
        add(row.id.clone(), backend(row, vault));
    }
    Ok(set)
}

/// Reads one resource; `None` when its row is not there.
///
/// # Errors
/// What the database says.
pub async fn load(tx: &mut Tx, vault: &Vault, key: &ResourceKey) -> Result<Option<Resource>, helix_store::StoreError> {
    let id = key.id.as_str();
    Ok(match key.kind {
        ResourceKind::Settings => Some(Resource::Settings(settings(tx, vault).await?)),
        ResourceKind::User => match tx.get::<helix_store::User>(id).await? {
            Some(row) => Some(user(row, tx.memberships_of(id).await?)),
            None => None,
        },
        ResourceKind::Team => tx.get(id).await?.map(team),
        ResourceKind::ApiKey => tx.get(id).await?.map(api_key),
        ResourceKind::RoleGrant => tx.get(id).await?.map(role_grant),
        ResourceKind::Budget => budget(tx, id).await?.map(Resource::Budget),
        ResourceKind::Price => tx.get(id).await?.map(price),
        ResourceKind::Model => tx.get(id).await?.map(model),
        ResourceKind::Backend => tx.get(id).await?.map(|row| backend(row, vault)),
    })
}

/// The content hash that the resource has on the wire.
pub(crate) fn content_hash(id: &str, resource: &Resource) -> u64 {
    helix_proto::convert::resource::to_wire(id, resource).content_hash
}

async fn settings(tx: &mut Tx, vault: &Vault) -> Result<Settings, helix_store::StoreError> {
    let instance_id = tx.get::<Setting>(setting::INSTANCE_ID).await?.map(|row| row.value).unwrap_or_default();
    let limit = tx.get::<Setting>(setting::BODY_LIMIT_BYTES).await?;
    let body_limit_bytes = limit.and_then(|row| row.value.parse().ok()).unwrap_or(DEFAULT_BODY_LIMIT_BYTES);
    Ok(Settings { instance_id, key_pepper: vault.pepper().clone(), body_limit_bytes })
}

pub(crate) fn user(row: helix_store::User, mut teams: Vec<helix_store::Membership>) -> Resource {
    teams.sort_by(|a, b| (a.position, &a.team_id).cmp(&(b.position, &b.team_id)));
    Resource::User(User {
        email: row.email,
        name: row.name,
        disabled: row.disabled,
        team_ids: teams.into_iter().map(|membership| membership.team_id).collect(),
    })
}

pub(crate) fn team(row: helix_store::Team) -> Resource {
    Resource::Team(Team { name: row.name, allow_models: row.allow_models, deny_models: row.deny_models })
}

pub(crate) fn api_key(row: helix_store::ApiKey) -> Resource {
    Resource::ApiKey(ApiKey {
        name: row.name,
        // an unreadable hash stays unreadable: it is quarantined
        hash: helix_store::from_hex(&row.hash).unwrap_or_default(),
        user_id: row.user_id,
        team_id: row.team_id,
        expires_at: row.expires_at,
        revoked: row.revoked_at.is_some(),
    })
}

pub(crate) fn role_grant(row: helix_store::RoleGrant) -> Resource {
    Resource::RoleGrant(RoleGrant {
        user_id: row.user_id,
        role: row.role,
        team_id: row.team_id,
        expires_at: row.expires_at,
    })
}

/// A budget with what lies on top of it.
pub(crate) async fn budget(tx: &mut Tx, id: &str) -> Result<Option<Budget>, helix_store::StoreError> {
    let Some(row) = tx.get::<helix_store::Budget>(id).await? else { return Ok(None) };
    let on_top = tx.increases(std::slice::from_ref(&row)).await?.remove(id).unwrap_or_default();
    Ok(Some(row.resource(on_top)))
}

pub(crate) fn price(row: helix_store::Price) -> Resource {
    Resource::Price(Price {
        backend_id: row.backend_id,
        model: row.model,
        input: row.input_pico,
        output: row.output_pico,
        cache_read: row.cache_read_pico,
        cache_write: row.cache_write_pico,
        cache_write_long: row.cache_write_long_pico,
        per_image: row.per_image_pico,
        per_second: row.per_second_pico,
        per_character: row.per_character_pico,
        per_search: row.per_search_pico,
        max_output_tokens: row.max_output_tokens.and_then(|tokens| u64::try_from(tokens).ok()),
    })
}

pub(crate) fn model(row: helix_store::Model) -> Resource {
    let place = |place: helix_store::ModelBackend| ModelBackend {
        backend_id: place.backend_id,
        upstream_model: place.upstream_model,
        weight: place.weight,
        fetches_urls: place.fetches_urls,
    };
    Resource::Model(Model {
        pattern: row.pattern,
        strategy: row.strategy,
        params: row.params,
        position: row.position,
        backends: row.backends.into_iter().map(place).collect(),
    })
}

pub(crate) fn backend(row: helix_store::Provider, vault: &Vault) -> Resource {
    let mut kind = row.kind;
    let mut api_key: Option<Secret> = None;
    if let Some(sealed) = &row.sealed_credential {
        match vault.open(credential_place(&row.id), sealed) {
            Ok(secret) => api_key = Some(secret),
            Err(error) => {
                tracing::error!(backend.id = row.id, %error, "a provider's credential cannot be opened; set it again");
                kind = UNREADABLE.to_owned();
            }
        }
    }
    Resource::Backend(Backend {
        kind,
        base_url: row.base_url,
        api_version: row.api_version,
        api_key,
        http_version: row.spec.http_version,
        connect_timeout_ms: row.spec.connect_timeout_ms,
        first_byte_timeout_ms: row.spec.first_byte_timeout_ms,
        idle_timeout_ms: row.spec.idle_timeout_ms,
        total_timeout_ms: row.spec.total_timeout_ms,
        max_in_flight: row.spec.max_in_flight,
        position: row.position,
    })
}
