//! Makes the database mirror what the configuration file defines.
//!
//! Rule: all of it or nothing, in one transaction and one revision, and only what differs: syncing the same file twice
//! changes nothing. What the database made is never overwritten; a name that both define is an error.

use super::App;
use super::desired::{Desired, KeyFace, desired};
use super::error::AppError;
use crate::publish::compiler::{self, SETTINGS_ID, credential_place, setting};
use crate::settings::FileConfig;
use aws_lc_rs::digest;
use helix_shared::budget::Limit;
use helix_shared::ids::BudgetId;
use helix_shared::snapshot::compile::compile;
use helix_shared::snapshot::resource::{Budget, PriorCalendar};
use helix_shared::snapshot::{Resource, ResourceKey, ResourceKind};
use helix_shared::time::UnixMicros;
use helix_store::{self as store, ChangeOp, Managed, Setting, Subject, Tx};
use std::collections::BTreeMap;

/// What a sync did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncOutcome {
    /// The revision that holds now.
    pub revision: u64,
    /// Objects made or changed.
    pub upserted: usize,
    /// Objects removed.
    pub removed: usize,
}

/// Resources by key.
type Resources = BTreeMap<ResourceKey, Resource>;

impl App {
    /// Makes the file's objects, and no others of the file, exist.
    ///
    /// # Errors
    /// [`AppError::Invalid`], [`AppError::Clash`] and [`AppError::DoesNotCompile`] name the objects; nothing is changed.
    pub async fn sync_file(&self, file: &FileConfig) -> Result<SyncOutcome, AppError> {
        let desired = desired(file, &self.vault)?;
        let now = self.now();
        let mut tx = self.edit().await?;
        let current = self.of_file(&mut tx).await?;
        let mut changes: Vec<(ResourceKind, String, ChangeOp)> = Vec::new();
        for key in current.keys().filter(|key| !desired.resources.contains_key(key)) {
            delete(&mut tx, key).await?;
            changes.push((key.kind, key.id.clone(), ChangeOp::Remove));
        }
        set_secrets_aside(&mut tx, &current, &desired, now).await?;
        for (key, resource) in &desired.resources {
            let resource = &kept_calendar(current.get(key), resource, now);
            if current.get(key) == Some(resource) {
                continue;
            }
            if !current.contains_key(key) || key.kind == ResourceKind::ApiKey {
                refuse_clash(&mut tx, key, resource).await?;
            }
            self.put(&mut tx, key, resource, desired.faces.get(&key.id), now).await?;
            changes.push((key.kind, key.id.clone(), ChangeOp::Upsert));
        }
        let cost_centers = changed_cost_centers(&mut tx, &desired, &current).await?;
        for (subject, id, _) in &cost_centers {
            // a new revision, so that records tell from when on it holds
            let kind = kind_of(*subject);
            if !changes.iter().any(|(changed, of, _)| *changed == kind && of == id) {
                changes.push((kind, id.clone(), ChangeOp::Upsert));
            }
        }
        if sync_body_limit(&mut tx, file, now).await? {
            changes.push((ResourceKind::Settings, SETTINGS_ID.to_owned(), ChangeOp::Upsert));
        }
        let (upserted, removed) = count(&changes);
        if changes.is_empty() {
            let revision = tx.head_revision().await?;
            tx.rollback().await?;
            return Ok(SyncOutcome { revision, upserted, removed });
        }
        self.try_compile(&mut tx, &desired).await?;
        let changes: Vec<_> = changes.iter().map(|(kind, id, op)| (*kind, id.as_str(), *op)).collect();
        let revision = tx.bump(&changes, now).await?;
        for (subject, id, name) in &cost_centers {
            tx.set_cost_center(*subject, id, revision, name).await?;
        }
        self.commit(tx).await?;
        Ok(SyncOutcome { revision, upserted, removed })
    }

    /// Refuses the edit when something of the file would be quarantined by the nodes.
    async fn try_compile(&self, tx: &mut Tx, desired: &Desired) -> Result<(), AppError> {
        let set = compiler::load_all(tx, &self.vault).await?;
        let snapshot = compile(&set, 0);
        let of_file = snapshot.quarantined.into_iter().filter(|item| desired.resources.contains_key(&item.key));
        let of_file: Vec<_> = of_file.collect();
        if of_file.is_empty() { Ok(()) } else { Err(AppError::DoesNotCompile(of_file)) }
    }

    async fn of_file(&self, tx: &mut Tx) -> Result<Resources, AppError> {
        let mut held = Resources::new();
        let mut add = |id: &str, resource: Resource| {
            held.insert(ResourceKey { kind: resource.kind(), id: id.to_owned() }, resource);
        };
        for row in tx.list_managed::<store::Provider>(Managed::File).await? {
            add(&row.id.clone(), compiler::backend(row, &self.vault));
        }
        for row in tx.list_managed::<store::Model>(Managed::File).await? {
            add(&row.id.clone(), compiler::model(row));
        }
        for row in tx.list_managed::<store::Price>(Managed::File).await? {
            add(&row.id.clone(), compiler::price(row));
        }
        for row in tx.list_managed::<store::Team>(Managed::File).await? {
            add(&row.id.clone(), compiler::team(row));
        }
        for row in tx.list_managed::<store::User>(Managed::File).await? {
            let teams = tx.memberships_of(&row.id).await?;
            add(&row.id.clone(), compiler::user(row, teams));
        }
        for row in tx.list_managed::<store::RoleGrant>(Managed::File).await? {
            add(&row.id.clone(), compiler::role_grant(row));
        }
        for row in tx.list_managed::<store::ApiKey>(Managed::File).await? {
            add(&row.id.clone(), compiler::api_key(row));
        }
        for row in tx.list_managed::<store::Budget>(Managed::File).await? {
            // what lies on top of it is not the file's
            add(&row.id.clone(), Resource::Budget(row.resource(Vec::new())));
        }
        Ok(held)
    }

    async fn put(
        &self,
        tx: &mut Tx,
        key: &ResourceKey,
        resource: &Resource,
        face: Option<&KeyFace>,
        now: UnixMicros,
    ) -> Result<(), AppError> {
        let (id, managed, updated_at) = (key.id.clone(), Managed::File, now);
        match resource.clone() {
            Resource::Settings(_) => {}
            Resource::User(it) => {
                let (email, name, disabled) = (it.email, it.name, it.disabled);
                tx.put(&store::User { id, email, name, disabled, managed, updated_at }).await?;
                tx.set_memberships(&key.id, &it.team_ids, managed, now).await?;
            }
            Resource::Team(it) => {
                let (name, allow_models, deny_models) = (it.name, it.allow_models, it.deny_models);
                tx.put(&store::Team { id, name, allow_models, deny_models, managed, updated_at }).await?;
            }
            Resource::ApiKey(it) => {
                let before = tx.get::<store::ApiKey>(&id).await?;
                let face =
                    face.cloned().unwrap_or(KeyFace { prefix: String::new(), last_four: String::new(), kind: "p" });
                tx.put(&store::ApiKey {
                    id,
                    name: it.name,
                    hash: store::to_hex(&it.hash),
                    prefix: face.prefix,
                    last_four: face.last_four,
                    kind: super::keys::kind_name(face.kind).to_owned(),
                    user_id: it.user_id,
                    team_id: it.team_id,
                    expires_at: it.expires_at,
                    revoked_at: None,
                    created_at: before.map_or(now, |before| before.created_at),
                    managed,
                    updated_at,
                })
                .await?;
            }
            Resource::RoleGrant(it) => {
                let (user_id, role, team_id, expires_at) = (it.user_id, it.role, it.team_id, it.expires_at);
                tx.put(&store::RoleGrant { id, user_id, role, team_id, expires_at, managed, updated_at }).await?;
            }
            Resource::Budget(it) => tx.put(&budget_row(id, it, now)).await?,
            Resource::Price(it) => tx.put(&price_row(id, it, now)?).await?,
            Resource::Model(it) => tx.put(&model_row(id, it, now)).await?,
            Resource::Backend(it) => {
                let place = credential_place(&key.id);
                let sealed = it.api_key.as_ref().map(|secret| self.vault.seal(place, secret)).transpose()?;
                tx.put(&provider_row(id, it, sealed, now)).await?;
            }
        }
        Ok(())
    }
}

/// A budget of another calendar than before keeps the period that runs, to the first boundary of the new calendar: what is
/// spent in it is not forgotten by a change of the zone.
fn kept_calendar(current: Option<&Resource>, wanted: &Resource, now: UnixMicros) -> Resource {
    let (Some(Resource::Budget(current)), Resource::Budget(wanted)) = (current, wanted) else { return wanted.clone() };
    let is_same = current.timezone == wanted.timezone && current.week_start == wanted.week_start;
    let prior = if is_same { current.prior.clone() } else { prior_of(current, wanted, now) };
    Resource::Budget(Budget { prior, ..wanted.clone() })
}

fn prior_of(current: &Budget, wanted: &Budget, now: UnixMicros) -> Option<PriorCalendar> {
    // one that could not be used has no period that could be forgotten
    let of = |budget: &Budget| Limit::of(BudgetId::from(wanted.scope.as_str()), budget).ok()?.window(now).ok();
    let running = of(current)?;
    if of(&Budget { prior: None, ..wanted.clone() })?.start == running.start {
        return None;
    }
    // the change before may not hold yet
    let pending = current.prior.as_ref().filter(|prior| running.start < prior.until);
    let kept = match pending {
        Some(prior) if now < prior.until => prior.clone(),
        Some(prior) => PriorCalendar { until: running.end, ..prior.clone() },
        None => {
            let (timezone, week_start) = (current.timezone.clone(), current.week_start.clone());
            PriorCalendar { timezone, week_start, until: running.end }
        }
    };
    if let Some(stretched) = of(&Budget { prior: Some(kept.clone()), ..wanted.clone() }) {
        tracing::warn!(
            budget.scope = %wanted.scope, until = %stretched.end,
            "the calendar of the {} budget of {} changed: the period that runs goes on until {}, with what is spent of it",
            wanted.period, wanted.scope, stretched.end
        );
    }
    Some(kept)
}

fn budget_row(id: String, it: Budget, now: UnixMicros) -> store::Budget {
    store::Budget {
        id,
        scope: it.scope,
        label: it.label,
        limit_nano: it.limit,
        period: it.period,
        mode: it.mode,
        timezone: it.timezone,
        alert_at: it.alert_at,
        week_start: Some(it.week_start).filter(|day| !day.is_empty()),
        prior_timezone: it.prior.as_ref().map(|prior| prior.timezone.clone()),
        prior_week_start: it.prior.as_ref().map(|prior| prior.week_start.clone()),
        prior_until: it.prior.map(|prior| prior.until),
        managed: Managed::File,
        updated_at: now,
    }
}

fn price_row(
    id: String,
    it: helix_shared::snapshot::resource::Price,
    now: UnixMicros,
) -> Result<store::Price, AppError> {
    let too_many = |_| AppError::invalid(format!("the price of `{}`", it.model), "max_output_tokens is too large");
    Ok(store::Price {
        id,
        max_output_tokens: it.max_output_tokens.map(i64::try_from).transpose().map_err(too_many)?,
        backend_id: it.backend_id,
        model: it.model,
        input_pico: it.input,
        output_pico: it.output,
        cache_read_pico: it.cache_read,
        cache_write_pico: it.cache_write,
        cache_write_long_pico: it.cache_write_long,
        per_image_pico: it.per_image,
        per_second_pico: it.per_second,
        per_character_pico: it.per_character,
        per_search_pico: it.per_search,
        managed: Managed::File,
        updated_at: now,
    })
}

fn model_row(id: String, it: helix_shared::snapshot::resource::Model, now: UnixMicros) -> store::Model {
    let place = |place: helix_shared::snapshot::resource::ModelBackend| store::ModelBackend {
        backend_id: place.backend_id,
        upstream_model: place.upstream_model,
        weight: place.weight,
        fetches_urls: place.fetches_urls,
    };
    store::Model {
        id,
        pattern: it.pattern,
        strategy: it.strategy,
        params: it.params,
        position: it.position,
        backends: it.backends.into_iter().map(place).collect(),
        managed: Managed::File,
        updated_at: now,
    }
}

fn provider_row(
    id: String,
    it: helix_shared::snapshot::resource::Backend,
    sealed_credential: Option<Vec<u8>>,
    now: UnixMicros,
) -> store::Provider {
    store::Provider {
        id,
        kind: it.kind,
        base_url: it.base_url,
        api_version: it.api_version,
        sealed_credential,
        spec: store::ProviderSpec {
            http_version: it.http_version,
            connect_timeout_ms: it.connect_timeout_ms,
            first_byte_timeout_ms: it.first_byte_timeout_ms,
            idle_timeout_ms: it.idle_timeout_ms,
            total_timeout_ms: it.total_timeout_ms,
            max_in_flight: it.max_in_flight,
        },
        position: it.position,
        managed: Managed::File,
        updated_at: now,
    }
}

/// Gives keys whose secret changes one that nobody has, so that another key can have theirs: secrets roll forward from key
/// to key, or change places. Nobody sees it; the transaction goes on to give them their own.
async fn set_secrets_aside(
    tx: &mut Tx,
    current: &Resources,
    desired: &Desired,
    now: UnixMicros,
) -> Result<(), AppError> {
    for (key, resource) in &desired.resources {
        if let (Resource::ApiKey(wanted), Some(Resource::ApiKey(held))) = (resource, current.get(key))
            && wanted.hash != held.hash
            && let Some(row) = tx.get::<store::ApiKey>(&key.id).await?
        {
            let nobodys = digest::digest(&digest::SHA256, format!("aside/{}", key.id).as_bytes());
            tx.put(&store::ApiKey { hash: store::to_hex(nobodys.as_ref()), updated_at: now, ..row }).await?;
        }
    }
    Ok(())
}

/// Refuses to take over what the database made.
async fn refuse_clash(tx: &mut Tx, key: &ResourceKey, resource: &Resource) -> Result<(), AppError> {
    let (what, holder) = match resource {
        Resource::User(it) => (format!("user `{}`", it.email), tx.user_by_email(&it.email).await?.map(|row| row.id)),
        Resource::ApiKey(it) => {
            let holder = tx.api_key_by_hash(&store::to_hex(&it.hash)).await?;
            // its own secret is no clash; only the file's own rows have been set aside
            (format!("the secret of key `{}`", it.name), holder.map(|row| row.id).filter(|id| *id != key.id))
        }
        Resource::Settings(_) => return Ok(()),
        Resource::Team(_) => (format!("team `{}`", key.id), tx.get::<store::Team>(&key.id).await?.map(|row| row.id)),
        Resource::RoleGrant(_) => {
            (format!("role `{}`", key.id), tx.get::<store::RoleGrant>(&key.id).await?.map(|row| row.id))
        }
        Resource::Budget(_) => {
            (format!("budget `{}`", key.id), tx.get::<store::Budget>(&key.id).await?.map(|row| row.id))
        }
        Resource::Price(_) => (format!("price `{}`", key.id), tx.get::<store::Price>(&key.id).await?.map(|row| row.id)),
        Resource::Model(_) => (format!("model `{}`", key.id), tx.get::<store::Model>(&key.id).await?.map(|row| row.id)),
        Resource::Backend(_) => {
            (format!("provider `{}`", key.id), tx.get::<store::Provider>(&key.id).await?.map(|row| row.id))
        }
    };
    holder.map_or(Ok(()), |id| Err(AppError::Clash { what, id }))
}

async fn delete(tx: &mut Tx, key: &ResourceKey) -> Result<(), AppError> {
    let id = key.id.as_str();
    match key.kind {
        ResourceKind::Settings => false,
        ResourceKind::User => tx.delete::<store::User>(id).await?,
        ResourceKind::Team => tx.delete::<store::Team>(id).await?,
        ResourceKind::ApiKey => tx.delete::<store::ApiKey>(id).await?,
        ResourceKind::RoleGrant => tx.delete::<store::RoleGrant>(id).await?,
        ResourceKind::Budget => tx.delete::<store::Budget>(id).await?,
        ResourceKind::Price => tx.delete::<store::Price>(id).await?,
        ResourceKind::Model => tx.delete::<store::Model>(id).await?,
        ResourceKind::Backend => tx.delete::<store::Provider>(id).await?,
    };
    Ok(())
}

/// Keeps the body limit as the file says. Returns whether that changed anything.
async fn sync_body_limit(tx: &mut Tx, file: &FileConfig, now: UnixMicros) -> Result<bool, AppError> {
    let held = tx.get::<Setting>(setting::BODY_LIMIT_BYTES).await?;
    let wanted = file.body_limit_bytes.map(|bytes| bytes.to_string());
    match (held, wanted) {
        (Some(held), Some(wanted)) if held.value == wanted => Ok(false),
        (_, Some(value)) => {
            let id = setting::BODY_LIMIT_BYTES.to_owned();
            tx.put(&Setting { id, value, managed: Managed::File, updated_at: now }).await?;
            Ok(true)
        }
        (Some(held), None) if held.managed == Managed::File => {
            tx.delete::<Setting>(setting::BODY_LIMIT_BYTES).await?;
            Ok(true)
        }
        (_, None) => Ok(false),
    }
}

fn kind_of(subject: Subject) -> ResourceKind {
    match subject {
        Subject::Team => ResourceKind::Team,
        Subject::User => ResourceKind::User,
    }
}

/// Whose cost centre the file changes, and to what; an empty text takes it away.
async fn changed_cost_centers(
    tx: &mut Tx,
    desired: &Desired,
    current: &Resources,
) -> Result<Vec<(Subject, String, String)>, AppError> {
    let held = tx.cost_centers().await?.current();
    let of_file = |subject: Subject, id: &str| {
        let key = ResourceKey { kind: kind_of(subject), id: id.to_owned() };
        current.contains_key(&key) || desired.resources.contains_key(&key)
    };
    let mut changed = Vec::new();
    for ((subject, id), name) in &desired.cost_centers {
        if held.get(&(*subject, id.clone())) != Some(name) {
            changed.push((*subject, id.clone(), name.clone()));
        }
    }
    for (subject, id) in held.into_keys() {
        let is_kept = desired.cost_centers.contains_key(&(subject, id.clone()));
        if !is_kept && of_file(subject, &id) {
            changed.push((subject, id, String::new()));
        }
    }
    Ok(changed)
}

fn count(changes: &[(ResourceKind, String, ChangeOp)]) -> (usize, usize) {
    let removed = changes.iter().filter(|(_, _, op)| *op == ChangeOp::Remove).count();
    (changes.len() - removed, removed)
}
