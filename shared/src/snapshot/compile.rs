//! Resources to snapshot: total, pure, the same on both planes.
//!
//! Rule: a resource that does not compile is quarantined and what it governs is refused: a key is invalid, a team's or
//! budget's callers are refused, a backend is unavailable, a route has no target. Nothing is skipped silently.

use super::resource::{self, Resource, ResourceKey, ResourceKind};
use super::set::ResourceSet;
use super::view::{Backend, Caller, KeyHash, Snapshot, Standing};
use crate::access::{ModelAccess, Pattern};
use crate::budget::limit::{BudgetScope, Limit};
use crate::catalog::{ModelPattern, PriceOverride};
use crate::cloud::google::GoogleAccess;
use crate::ids::{ApiKeyId, BackendId, BudgetId, TeamId, UserId};
use crate::money::PicoUsd;
use crate::provider::{HttpVersion, PathForm, ProviderKind};
use crate::rbac::{Grant, Role, Scope};
use crate::routing::{Params, Route, RouteTable, Strategy, Target};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// A resource that did not compile, and why. The reason never quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Which one.
    pub key: ResourceKey,
    /// Why.
    pub reason: String,
}

/// Compiles a set. `now` only decides nothing: expiry is checked per request.
pub fn compile(set: &ResourceSet, revision: u64) -> Snapshot {
    let mut compiler = Compiler::default();
    compiler.read(set);
    let settings = compiler.settings(set);
    let callers = compiler.callers(set);
    let prices = compiler.prices(set);
    let routes = compiler.routes(set);
    Snapshot {
        revision,
        digest: set.digest(),
        settings,
        callers,
        backends: compiler.backends,
        budgets: compiler.budgets,
        routes,
        prices,
        quarantined: compiler.quarantined,
    }
}

/// Budget indexes by (user, team, key with budgets of its own): callers of one path share one list.
type BudgetPaths = HashMap<(Option<String>, Option<String>, Option<String>), Arc<[usize]>>;

#[derive(Default)]
struct Compiler {
    quarantined: Vec<Quarantined>,
    backends: Vec<Arc<Backend>>,
    backend_index: HashMap<String, usize>,
    budgets: Vec<Arc<Limit>>,
    keys_with_budgets: HashSet<ApiKeyId>,
    /// Budgets that did not compile, by the scope text they were written for; an unreadable scope governs everyone.
    broken_budgets: Vec<(Option<BudgetScope>, String)>,
    teams: BTreeMap<String, Result<Arc<ModelAccess>, String>>,
    grants: HashMap<String, Vec<Grant>>,
}

impl Compiler {
    fn refuse(&mut self, key: &ResourceKey, reason: impl std::fmt::Display) {
        self.quarantined.push(Quarantined { key: key.clone(), reason: format!("{reason}") });
    }

    /// Reads everything that others refer to.
    fn read(&mut self, set: &ResourceSet) {
        let mut backends: Vec<(&ResourceKey, &resource::Backend)> = Vec::new();
        for (key, _, resource) in set.iter() {
            match resource {
                Resource::Team(team) => self.team(key, team),
                Resource::RoleGrant(grant) => self.grant(key, grant),
                Resource::Budget(budget) => self.budget(key, budget),
                Resource::Backend(backend) => backends.push((key, backend)),
                Resource::Settings(_)
                | Resource::User(_)
                | Resource::ApiKey(_)
                | Resource::Price(_)
                | Resource::Model(_) => {}
            }
        }
        backends.sort_by_key(|(key, backend)| (backend.position, key.id.clone()));
        for (key, backend) in backends {
            match checked_backend(key, backend) {
                Ok(checked) => {
                    self.backend_index.insert(key.id.clone(), self.backends.len());
                    self.backends.push(Arc::new(checked));
                }
                Err(reason) => self.refuse(key, reason),
            }
        }
    }

    fn team(&mut self, key: &ResourceKey, team: &resource::Team) {
        let texts = |patterns: &[String]| patterns.to_vec();
        let (allow, deny) = (texts(&team.allow_models), texts(&team.deny_models));
        let access = ModelAccess::new(allow.iter().map(String::as_str), deny.iter().map(String::as_str));
        if let Err(error) = &access {
            self.refuse(key, error);
        }
        self.teams.insert(key.id.clone(), access.map(Arc::new).map_err(|error| error.to_string()));
    }

    fn grant(&mut self, key: &ResourceKey, grant: &resource::RoleGrant) {
        let Some(role) = Role::parse(&grant.role) else {
            return self.refuse(key, format!("role `{}` is not known", grant.role));
        };
        let scope = grant.team_id.as_deref().map_or(Scope::Instance, |team| Scope::Team(TeamId::from(team)));
        let held = Grant { role, scope, expires_at: grant.expires_at };
        self.grants.entry(grant.user_id.clone()).or_default().push(held);
    }

    fn budget(&mut self, key: &ResourceKey, budget: &resource::Budget) {
        match Limit::of(BudgetId::from(key.id.as_str()), budget) {
            Ok(limit) => {
                if let BudgetScope::Key(id) = &limit.scope {
                    self.keys_with_budgets.insert(id.clone());
                }
                self.budgets.push(Arc::new(limit));
            }
            Err(error) => {
                self.broken_budgets.push((BudgetScope::parse(&budget.scope), error.to_string()));
                self.refuse(key, error);
            }
        }
    }

    fn settings(&mut self, set: &ResourceSet) -> Option<resource::Settings> {
        let (key, settings) = set.iter().find_map(|(key, _, resource)| match resource {
            Resource::Settings(settings) => Some((key, settings)),
            _ => None,
        })?;
        if settings.key_pepper.expose().len() != 32 {
            self.refuse(key, "the key pepper must have 32 bytes");
            return None;
        }
        Some(settings.clone())
    }

    fn callers(&mut self, set: &ResourceSet) -> HashMap<KeyHash, Arc<Caller>> {
        let mut callers = HashMap::new();
        let mut paths = BudgetPaths::new();
        for (key, _, resource) in set.iter() {
            let Resource::ApiKey(api_key) = resource else { continue };
            let Ok(hash) = KeyHash::try_from(api_key.hash.as_slice()) else {
                self.refuse(key, "the key's hash must have 32 bytes");
                continue;
            };
            let caller = self.caller(set, key, api_key, &mut paths);
            if callers.insert(hash, Arc::new(caller)).is_some() {
                // Two rows of one secret: neither may act for the other.
                callers.remove(&hash);
                self.refuse(key, "another key has the same secret");
            }
        }
        callers
    }

    fn caller(
        &self,
        set: &ResourceSet,
        key: &ResourceKey,
        api_key: &resource::ApiKey,
        paths: &mut BudgetPaths,
    ) -> Caller {
        let user = api_key.user_id.as_ref().map(|id| {
            set.get(&ResourceKey { kind: ResourceKind::User, id: id.clone() }).and_then(|resource| match resource {
                Resource::User(user) => Some(user),
                _ => None,
            })
        });
        let team_id =
            api_key.team_id.clone().or_else(|| user.flatten().and_then(|user| user.team_ids.first().cloned()));
        let team = team_id.as_ref().map(|id| self.teams.get(id));
        let user_scope = api_key.user_id.as_deref().map(|id| BudgetScope::User(UserId::from(id)));
        let team_scope = team_id.as_deref().map(|id| BudgetScope::Team(TeamId::from(id)));
        let key_id = ApiKeyId::from(key.id.as_str());
        // Which of the budgets of models are charged is known when the model is.
        let charges = |scope: &BudgetScope| match scope {
            BudgetScope::Instance | BudgetScope::Model(_) => true,
            BudgetScope::Team(_) => Some(scope) == team_scope.as_ref(),
            BudgetScope::User(_) => Some(scope) == user_scope.as_ref(),
            BudgetScope::Key(id) => *id == key_id,
        };
        let broken_budget =
            self.broken_budgets.iter().find(|(scope, _)| scope.as_ref().is_none_or(&charges)).map(|(_, reason)| reason);
        let standing = if api_key.revoked {
            Standing::Revoked
        } else if (api_key.user_id.is_none() && team_id.is_none())
            || matches!(user, Some(None))
            || matches!(team, Some(None))
            || user.flatten().is_some_and(|u| u.disabled)
        {
            Standing::OwnerDisabled
        } else if let Some(reason) = broken_budget {
            Standing::Quarantined(format!("a budget cannot be read: {reason}"))
        } else if let Some(Some(Err(reason))) = team {
            Standing::Quarantined(format!("the team's model lists cannot be read: {reason}"))
        } else {
            Standing::Good
        };
        let access = match team {
            Some(Some(Ok(access))) => Arc::clone(access),
            _ => Arc::default(),
        };
        let grants = match (&api_key.user_id, &team_id) {
            (Some(user), _) => self.grants.get(user).cloned().unwrap_or_default(),
            // A team's own key acts as a member of that team.
            (None, Some(team)) => {
                vec![Grant { role: Role::Member, scope: Scope::Team(TeamId::from(team.as_str())), expires_at: None }]
            }
            (None, None) => Vec::new(),
        };
        let own = self.keys_with_budgets.contains(&key_id).then(|| key.id.clone());
        let budgets = paths.entry((api_key.user_id.clone(), team_id.clone(), own)).or_insert_with(|| {
            let of_path = self.budgets.iter().enumerate().filter(|(_, limit)| charges(&limit.scope));
            of_path.map(|(index, _)| index).collect()
        });
        Caller {
            key_id,
            user_id: api_key.user_id.as_deref().map(UserId::from),
            team_id: team_id.as_deref().map(TeamId::from),
            expires_at: api_key.expires_at,
            standing,
            grants,
            access,
            budgets: Arc::clone(budgets),
            sees_providers: true,
        }
    }

    fn prices(&mut self, set: &ResourceSet) -> Vec<PriceOverride> {
        let mut prices = Vec::new();
        for (key, _, resource) in set.iter() {
            let Resource::Price(price) = resource else { continue };
            match ModelPattern::parse(&price.model) {
                Ok(pattern) => prices.push(price_override(price, pattern)),
                Err(error) => self.refuse(key, error),
            }
        }
        prices
    }

    fn routes(&mut self, set: &ResourceSet) -> RouteTable {
        let mut routes = Vec::new();
        let mut written = 0;
        for (key, _, resource) in set.iter() {
            let Resource::Model(model) = resource else { continue };
            written += 1;
            match self.route(model) {
                Ok((route, dangling)) => {
                    routes.push(route);
                    if let Some(reason) = dangling {
                        self.refuse(key, reason);
                    }
                }
                Err(reason) => self.refuse(key, reason),
            }
        }
        let kinds = self.backends.iter().map(|backend| (backend.id.as_str().to_owned(), backend.kind)).collect();
        RouteTable::new(routes, kinds, written)
    }

    fn route(&self, model: &resource::Model) -> Result<(Route, Option<String>), String> {
        let pattern = Pattern::new(&model.pattern).map_err(|error| error.to_string())?;
        let known = Strategy::parse(&model.strategy);
        let mut trouble = known.is_none().then(|| format!("strategy `{}` is not known", model.strategy));
        let params = Params::parse(&model.params);
        if params.is_none() {
            trouble = Some(format!("params `{}` is not known", model.params));
        }
        let mut targets = Vec::new();
        for place in &model.backends {
            match self.backend_index.get(&place.backend_id) {
                Some(&backend) => targets.push(Target {
                    backend,
                    upstream_model: place.upstream_model.as_deref().map(Arc::from),
                    weight: place.weight,
                    fetches_urls: place.fetches_urls,
                }),
                None => trouble = Some(format!("backend `{}` is not available", place.backend_id)),
            }
        }
        if known.is_none() || params.is_none() {
            targets.clear();
        }
        let strategy = known.unwrap_or(Strategy::Priority);
        let params = params.unwrap_or_default();
        Ok((Route { pattern, strategy, params, targets, position: model.position }, trouble))
    }
}

fn checked_backend(key: &ResourceKey, backend: &resource::Backend) -> Result<Backend, String> {
    let kind = ProviderKind::parse(&backend.kind).ok_or_else(|| format!("kind `{}` cannot be served", backend.kind))?;
    let base_url = backend.base_url.trim_end_matches('/');
    let rest = base_url.strip_prefix("https://").or_else(|| base_url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '?', '#', ' ']) => {}
        _ => return Err("the base URL must be http:// or https:// with a host, and no user, query or fragment".into()),
    }
    if let Some(secret) = &backend.api_key {
        let printable = secret.expose().iter().all(|byte| (0x21..0x7f).contains(byte));
        if !printable {
            return Err("the credential has characters that no header can carry".into());
        }
    }
    let is_placed = || backend.api_key.as_ref().and_then(GoogleAccess::from_secret).is_some();
    if kind.facts().paths == PathForm::Vertex && !is_placed() {
        return Err("the backend has no project and location".into());
    }
    if let Some(version) = &backend.api_version {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if version.is_empty() || version.len() > 64 || !version.bytes().all(is_plain) {
            return Err("the API version must be at most 64 letters, digits, `-`, `.` and `_`".into());
        }
    }
    let http_version = HttpVersion::parse(&backend.http_version)
        .ok_or_else(|| format!("HTTP version `{}` is not known", backend.http_version))?;
    let limit = |ms: u32, default: u64| Duration::from_millis(if ms == 0 { default } else { u64::from(ms) });
    Ok(Backend {
        id: BackendId::from(key.id.as_str()),
        kind,
        base_url: base_url.to_owned(),
        api_version: backend.api_version.clone().filter(|_| kind.facts().has_api_version),
        api_key: backend.api_key.clone(),
        http_version,
        connect_timeout: limit(backend.connect_timeout_ms, 8_000),
        first_byte_timeout: limit(backend.first_byte_timeout_ms, 600_000),
        idle_timeout: limit(backend.idle_timeout_ms, 300_000),
        total_timeout: limit(backend.total_timeout_ms, 1_800_000),
        max_in_flight: (backend.max_in_flight > 0).then_some(backend.max_in_flight),
    })
}

fn price_override(price: &resource::Price, pattern: ModelPattern) -> PriceOverride {
    let mut stated = PriceOverride::new(price.backend_id.as_str(), pattern);
    // What is charged by another unit, and by tokens nothing, has no price for tokens: it does not give them away.
    let has_unit = price.per_image.or(price.per_second).or(price.per_character).is_some();
    let has_tokens = !has_unit || price.input > PicoUsd::ZERO || price.output > PicoUsd::ZERO;
    stated.input = Some(price.input).filter(|_| has_tokens);
    stated.output = Some(price.output).filter(|_| has_tokens);
    stated.per_image = price.per_image;
    stated.per_second = price.per_second;
    stated.per_character = price.per_character;
    stated.per_search = price.per_search;
    stated.cache_read = price.cache_read;
    stated.cache_write = price.cache_write;
    stated.cache_write_long = price.cache_write_long;
    stated.max_output_tokens = price.max_output_tokens;
    stated
}
