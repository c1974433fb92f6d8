//! What the configuration file wants to exist, as resources with stable ids.
//!
//! Rule: pure, and the same file always gives the same ids: the name where there is one, a text made of what it is about
//! otherwise. So an edited limit stays the same budget and keeps its account. It compares nothing with the database.

use super::error::AppError;
use super::validate::{clean_email, clean_name};
use crate::publish::compiler::content_hash;
use crate::secrets::Vault;
use crate::settings::{
    FileBackend, FileBudget, FileConfig, FileKey, FileModel, FilePrice, FileProvider, FileScope, FileUser,
};
use aws_lc_rs::digest;
use helix_shared::budget::{Mode, WeekStart};
use helix_shared::provider::ProviderKind;
use helix_shared::rbac::Role;
use helix_shared::secret::Secret;
use helix_shared::snapshot::compile::compile;
use helix_shared::snapshot::resource::{ApiKey, Backend, Budget, Model, ModelBackend, Price, RoleGrant, Team, User};
use helix_shared::snapshot::{Resource, ResourceKey, ResourceSet};
use helix_shared::typed;
use helix_store::Subject;
use std::collections::BTreeMap;

/// Longest id that the database keeps.
const ID_BYTES: usize = 64;

/// What people see of a key whose secret they do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyFace {
    pub(super) prefix: String,
    pub(super) last_four: String,
    pub(super) kind: &'static str,
}

/// Everything the file defines.
#[derive(Debug, Default)]
pub(super) struct Desired {
    pub(super) resources: BTreeMap<ResourceKey, Resource>,
    pub(super) faces: BTreeMap<String, KeyFace>,
    /// Cost centres of those who have one.
    pub(super) cost_centers: BTreeMap<(Subject, String), String>,
}

/// Reads the file's objects.
pub(super) fn desired(file: &FileConfig, vault: &Vault) -> Result<Desired, AppError> {
    let mut desired = Desired::default();
    for (position, provider) in file.providers.iter().enumerate() {
        desired.provider(provider, position)?;
    }
    for (position, model) in file.models.iter().enumerate() {
        desired.model(model, position);
    }
    for price in &file.prices {
        desired.price(price);
    }
    for team in &file.teams {
        check_id("team", &team.name)?;
        let body = Team {
            name: team.name.clone(),
            allow_models: team.allow_models.clone(),
            deny_models: team.deny_models.clone(),
        };
        desired.add_unique(&team.name, Resource::Team(body))?;
        desired.cost_center(Subject::Team, &team.name, team.cost_center.as_ref());
    }
    for user in &file.users {
        desired.user(user, file)?;
    }
    for key in &file.keys {
        desired.key(key, file, vault)?;
    }
    // The hard one of a scope and period first, wherever it stands: its account stays its own.
    for mode in [Mode::Hard, Mode::Soft] {
        for budget in file.budgets.iter().filter(|budget| budget.mode == mode) {
            desired.budget(budget, file)?;
        }
    }
    Ok(desired)
}

/// Checks a file as taking it over does, as far as no database is needed for it.
///
/// # Errors
/// Those of [`super::App::sync_file`] that are the file's own.
pub fn check_file(file: &FileConfig) -> Result<(), AppError> {
    // hashes are compared with each other alone
    let desired = desired(file, &Vault::new(&Secret::new(vec![0; 32])))?;
    let mut set = ResourceSet::default();
    for (key, resource) in desired.resources {
        let hash = content_hash(&key.id, &resource);
        set.upsert(key.id, hash, resource);
    }
    let quarantined = compile(&set, 0).quarantined;
    if quarantined.is_empty() { Ok(()) } else { Err(AppError::DoesNotCompile(quarantined)) }
}

impl Desired {
    fn add_unique(&mut self, id: &str, resource: Resource) -> Result<(), AppError> {
        let key = ResourceKey { kind: resource.kind(), id: id.to_owned() };
        match self.resources.insert(key, resource) {
            None => Ok(()),
            Some(twice) => Err(AppError::invalid(
                format!("{} `{id}`", twice.kind().as_str().replace('_', " ")),
                "the configuration file defines it twice",
            )),
        }
    }

    fn cost_center(&mut self, subject: Subject, id: &str, name: Option<&String>) {
        if let Some(name) = name {
            self.cost_centers.insert((subject, id.to_owned()), name.clone());
        }
    }

    /// Adds what has no name of its own: the second of the same text gets `#2`.
    fn add_numbered(&mut self, text: &str, resource: Resource) {
        let mut key = ResourceKey { kind: resource.kind(), id: derived_id(text) };
        let mut number = 1;
        while self.resources.contains_key(&key) {
            number += 1;
            key.id = derived_id(&format!("{text}#{number}"));
        }
        self.resources.insert(key, resource);
    }

    fn provider(&mut self, provider: &FileProvider, position: usize) -> Result<(), AppError> {
        check_id("provider", &provider.name)?;
        let default_url = ProviderKind::parse(&provider.kind).and_then(ProviderKind::default_base_url);
        let base_url = provider.base_url.clone().or_else(|| default_url.map(str::to_owned)).ok_or_else(|| {
            let reason = format!("kind `{}` needs a base_url", provider.kind);
            AppError::invalid(format!("provider `{}`", provider.name), reason)
        })?;
        let body = Backend {
            kind: provider.kind.clone(),
            base_url,
            api_version: provider.api_version.clone(),
            api_key: provider.api_key.clone().filter(|key| !key.is_empty()),
            http_version: provider.http_version.clone(),
            connect_timeout_ms: provider.connect_timeout_ms,
            first_byte_timeout_ms: provider.first_byte_timeout_ms,
            idle_timeout_ms: provider.idle_timeout_ms,
            total_timeout_ms: provider.total_timeout_ms,
            max_in_flight: provider.max_in_flight,
            position: ordinal(position),
        };
        self.add_unique(&provider.name, Resource::Backend(body))
    }

    fn model(&mut self, model: &FileModel, position: usize) {
        let place = |place: &FileBackend| ModelBackend {
            backend_id: place.provider.clone(),
            upstream_model: place.model.clone(),
            weight: place.weight,
            fetches_urls: model.fetches_urls,
        };
        let body = Model {
            pattern: model.pattern.clone(),
            strategy: model.strategy.clone(),
            params: model.params.clone(),
            position: ordinal(position),
            backends: model.backends.iter().map(place).collect(),
        };
        self.add_numbered(&model.pattern, Resource::Model(body));
    }

    fn price(&mut self, price: &FilePrice) {
        let body = Price {
            backend_id: price.provider.clone(),
            model: price.model.clone(),
            input: price.input,
            output: price.output,
            cache_read: price.cache_read,
            cache_write: price.cache_write,
            cache_write_long: price.cache_write_long,
            per_image: price.per_image,
            per_second: price.per_second,
            per_character: price.per_character,
            per_search: price.per_search,
            max_output_tokens: price.max_output_tokens,
        };
        self.add_numbered(&format!("{}/{}", price.provider, price.model), Resource::Price(body));
    }

    fn user(&mut self, user: &FileUser, file: &FileConfig) -> Result<(), AppError> {
        let email = clean_email(&user.email)?;
        let id = derived_id(&email);
        for (at, team) in user.teams.iter().enumerate() {
            known_team(file, team, &format!("user `{email}`"))?;
            if user.teams.iter().take(at).any(|before| before == team) {
                return Err(AppError::invalid(format!("user `{email}`"), format!("team `{team}` is there twice")));
            }
        }
        let body = User {
            email: email.clone(),
            name: clean_name(&user.name)?,
            disabled: user.disabled,
            team_ids: user.teams.clone(),
        };
        self.add_unique(&id, Resource::User(body))?;
        self.cost_center(Subject::User, &id, user.cost_center.as_ref());
        let roles = if user.roles.is_empty() { [Role::Member].as_slice() } else { &user.roles };
        for role in roles {
            let teams: Vec<Option<&String>> = match role {
                Role::TeamManager => user.teams.iter().map(Some).collect(),
                Role::InstanceAdmin | Role::FinancialAdmin | Role::ModelAdmin | Role::Member => vec![None],
            };
            for team in teams {
                self.grant(&id, &email, *role, team)?;
            }
        }
        Ok(())
    }

    fn grant(&mut self, user_id: &str, email: &str, role: Role, team: Option<&String>) -> Result<(), AppError> {
        let place = team.map_or_else(|| "instance".to_owned(), |team| format!("team:{team}"));
        let body = RoleGrant {
            user_id: user_id.to_owned(),
            role: role.as_str().to_owned(),
            team_id: team.cloned(),
            expires_at: None,
        };
        self.add_unique(&derived_id(&format!("{email}/{}/{place}", role.as_str())), Resource::RoleGrant(body))
    }

    fn key(&mut self, key: &FileKey, file: &FileConfig, vault: &Vault) -> Result<(), AppError> {
        let what = format!("key `{}`", key.name);
        let name = clean_name(&key.name)?;
        if let Err(reason) = typed::key_secret(key.secret.expose()) {
            return Err(AppError::invalid(format!("the secret of {what}"), reason));
        }
        let text = key.secret.expose_str().unwrap_or_default();
        let user_id = key.user.as_deref().map(|email| known_user(file, email, &what)).transpose()?;
        if let Some(team) = &key.team {
            known_team(file, team, &what)?;
        }
        if user_id.is_none() && key.team.is_none() {
            return Err(AppError::invalid(what, "it must name a user, a team, or both"));
        }
        let id = key_id(&name);
        self.faces.insert(id.clone(), face(text, if user_id.is_some() { "p" } else { "t" }));
        let body = ApiKey {
            name,
            hash: vault.hash_api_key(&key.secret).to_vec(),
            user_id,
            team_id: key.team.clone(),
            expires_at: key.expires_at,
            revoked: false,
        };
        self.add_unique(&id, Resource::ApiKey(body))
    }

    fn budget(&mut self, budget: &FileBudget, file: &FileConfig) -> Result<(), AppError> {
        let what = "a budget";
        let (scope, label) = match &budget.scope {
            FileScope::Instance => ("instance".to_owned(), "instance".to_owned()),
            FileScope::Team(team) => {
                known_team(file, team, what)?;
                (format!("team:{team}"), format!("team {team}"))
            }
            FileScope::User(email) => (format!("user:{}", known_user(file, email, what)?), format!("user {email}")),
            FileScope::Key(name) => (format!("key:{}", known_key(file, name, what)?), format!("key {name}")),
            FileScope::Model(pattern) => (format!("model:{pattern}"), format!("model {pattern}")),
        };
        let period = budget.period.as_str();
        let text = format!("{scope}/{period}");
        let body = Budget {
            scope,
            label,
            limit: budget.limit,
            period: period.to_owned(),
            mode: budget.mode.as_str().to_owned(),
            timezone: budget.timezone.clone(),
            week_start: week_start(budget.week_start),
            prior: None,
            alert_at: budget.alert_at.iter().map(ToString::to_string).collect(),
            increases: Vec::new(),
        };
        self.add_numbered(&text, Resource::Budget(body));
        Ok(())
    }
}

/// Monday is said by saying nothing: data planes of the release before know no other.
fn week_start(day: WeekStart) -> String {
    if day == WeekStart::default() { String::new() } else { day.as_str().to_owned() }
}

/// The id of a key of the file.
fn key_id(name: &str) -> String {
    derived_id(&format!("file/{name}"))
}

/// The text itself when it fits, else a hash of it.
pub(super) fn derived_id(text: &str) -> String {
    if text.len() <= ID_BYTES {
        return text.to_owned();
    }
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let hex: String = hash.as_ref().iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    format!("h-{hex}")
}

/// What people see of a key: enough to tell two apart, too little to guess one.
pub(super) fn face(secret: &str, kind: &'static str) -> KeyFace {
    let chars: Vec<char> = secret.chars().collect();
    let last = chars.len().saturating_sub(4);
    KeyFace { prefix: chars.iter().take(8).collect(), last_four: chars.iter().skip(last).collect(), kind }
}

fn ordinal(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn check_id(noun: &str, name: &str) -> Result<(), AppError> {
    let fits = !name.is_empty() && name.len() <= ID_BYTES;
    if fits && name.chars().all(|c| c.is_alphanumeric() || "-_.@ ".contains(c)) && name.trim() == name {
        return Ok(());
    }
    let reason = "a name has 1 to 64 bytes of letters, digits, '-', '_', '.', '@' and inner spaces";
    Err(AppError::invalid(format!("{noun} `{name}`"), reason))
}

fn known_team(file: &FileConfig, name: &str, of: &str) -> Result<(), AppError> {
    if file.teams.iter().any(|team| team.name == name) {
        return Ok(());
    }
    Err(AppError::invalid(of, format!("team `{name}` is not defined in the configuration file")))
}

fn known_user(file: &FileConfig, email: &str, of: &str) -> Result<String, AppError> {
    let email = clean_email(email)?;
    if file.users.iter().any(|user| user.email.trim().to_lowercase() == email) {
        return Ok(derived_id(&email));
    }
    Err(AppError::invalid(of, format!("user `{email}` is not defined in the configuration file")))
}

fn known_key(file: &FileConfig, name: &str, of: &str) -> Result<String, AppError> {
    let name = clean_name(name)?;
    for key in &file.keys {
        if clean_name(&key.name)? == name {
            return Ok(key_id(&name));
        }
    }
    Err(AppError::invalid(of, format!("key `{name}` is not defined in the configuration file")))
}
