//! The configuration, as each plane wants to hear it.
//!
//! Rule: values are only carried over; what they may be was checked when they were read.

use crate::config::Loaded;
use crate::config::settings as file;
use crate::config::special::Scope;
use crate::config::words::JournalMode;
use helix_control_plane::settings as control;
use helix_data_plane::settings::{FurtherMetrics, JournalSettings, Settings as DataSettings, Surroundings};
use helix_shared::aws::AwsAccess;
use helix_shared::budget::{Mode, Period, Share, WeekStart};
use helix_shared::cloud::entra::EntraAccess;
use helix_shared::cloud::google::GoogleAccess;
use helix_shared::ids::NodeId;
use helix_shared::provider::PathForm;
use helix_shared::rbac::Role;
use helix_shared::secret::Secret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Version of the binary.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the control plane is told.
pub(crate) fn control(loaded: &Loaded) -> control::Settings {
    let settings = &loaded.settings;
    control::Settings {
        database_url: Secret::new(settings.storage.url.expose()),
        http_listen: Some(settings.server.listen),
        plane_listen: Some(settings.server.plane_listen),
        public_url: public_url(loaded),
        data_dir: settings.data_dir.clone(),
        master_key: settings
            .secrets
            .master_key
            .clone()
            .map_or(control::MasterKeySource::DataDir, control::MasterKeySource::Given),
        join_token: settings.plane.join_token.clone(),
        allow_unclaimed: settings.server.allow_unclaimed,
        file: file_config(loaded),
        version: VERSION.to_owned(),
    }
}

/// The objects that the file defines.
pub(crate) fn file_config(loaded: &Loaded) -> control::FileConfig {
    let settings = &loaded.settings;
    control::FileConfig {
        body_limit_bytes: Some(u64::from(settings.server.limits.body_mb) << 20),
        providers: settings.providers.iter().map(|(name, it)| provider(name, it, &settings.server.limits)).collect(),
        models: settings.models.iter().map(model).collect(),
        prices: settings.prices.iter().map(price).collect(),
        teams: settings.teams.iter().map(|(name, it)| team(name, it)).collect(),
        users: settings.users.iter().map(user).collect(),
        keys: settings.keys.iter().map(key).collect(),
        budgets: settings.budgets.iter().filter_map(budget).collect(),
    }
}

fn provider(name: &str, it: &file::Provider, limits: &file::ServerLimits) -> control::FileProvider {
    control::FileProvider {
        name: name.to_owned(),
        kind: it.kind.as_str().to_owned(),
        base_url: Some(it.base_url.as_str().trim_end_matches('/').to_owned()),
        api_version: it.api_version.clone(),
        api_key: identity(it).or_else(|| it.api_key.clone()),
        http_version: it.http_version.as_str().to_owned(),
        connect_timeout_ms: milliseconds(it.timeout.connect),
        first_byte_timeout_ms: milliseconds(it.timeout.first_byte),
        idle_timeout_ms: milliseconds(it.timeout.between_chunks.min(limits.stream_idle_timeout)),
        total_timeout_ms: milliseconds(it.timeout.total.min(limits.request_timeout)),
        max_in_flight: it.max_in_flight.unwrap_or(0),
    }
}

/// Who a provider in a cloud is, as one credential; `None`: its kind has a plain key or none.
fn identity(it: &file::Provider) -> Option<Secret> {
    match it.kind.facts()?.paths {
        PathForm::Bedrock if it.api_key.is_none() => {
            let access = AwsAccess {
                region: it.region.clone()?,
                access_key_id: it.access_key_id.clone(),
                secret_access_key: it.secret_access_key.clone(),
                session_token: it.session_token.clone(),
                profile_file: it.profile_file.clone(),
                profile: it.profile.clone(),
                role_arn: it.role_arn.clone(),
                external_id: it.external_id.clone().map(Secret::new),
                web_identity_token_file: it.web_identity_token_file.clone(),
            };
            Some(access.to_secret())
        }
        PathForm::Vertex => {
            let access = GoogleAccess {
                project: it.project.clone()?,
                region: it.region.clone()?,
                credentials: it.credentials.clone(),
                credentials_file: it.credentials_file.clone(),
                access_token: it.api_key.clone(),
            };
            Some(access.to_secret())
        }
        PathForm::Azure if it.api_key.is_none() => {
            let access = EntraAccess {
                tenant_id: it.tenant_id.clone().filter(|_| !it.managed_identity),
                client_id: it.client_id.clone(),
                client_secret: it.client_secret.clone(),
                federated_token_file: it.federated_token_file.clone(),
            };
            Some(access.to_secret())
        }
        _ => None,
    }
}

fn model(it: &file::ModelRoute) -> control::FileModel {
    let backend = |place: &file::Backend| control::FileBackend {
        provider: place.provider.clone(),
        model: place.model.clone(),
        weight: place.weight,
    };
    control::FileModel {
        pattern: it.pattern.clone(),
        strategy: it.strategy.as_str().to_owned(),
        params: it.params.as_str().to_owned(),
        fetches_urls: it.fetch_urls,
        backends: it.backends.iter().map(backend).collect(),
    }
}

fn price(it: &file::Price) -> control::FilePrice {
    control::FilePrice {
        provider: it.provider.clone(),
        model: it.model.clone(),
        input: it.input.0,
        output: it.output.0,
        cache_read: it.cache_read.map(|price| price.0),
        cache_write: it.cache_write.map(|price| price.0),
        cache_write_long: None,
        per_image: it.per_image.map(|price| price.0),
        per_second: it.per_second.map(|price| price.0),
        per_character: it.per_character.map(|price| price.0),
        per_search: it.per_search.map(|price| price.0),
        max_output_tokens: None,
    }
}

fn team(name: &str, it: &file::Team) -> control::FileTeam {
    control::FileTeam {
        name: name.to_owned(),
        allow_models: it.models.allow.clone(),
        deny_models: it.models.deny.clone(),
        cost_center: it.tags.cost_center.clone(),
    }
}

fn user(it: &file::User) -> control::FileUser {
    control::FileUser {
        email: it.email.as_str().to_owned(),
        name: it.name.clone().unwrap_or_default(),
        teams: it.teams.clone(),
        roles: it.roles.iter().filter_map(|role| Role::parse(role.as_str())).collect(),
        disabled: false,
        cost_center: it.tags.cost_center.clone(),
    }
}

fn key(it: &file::Key) -> control::FileKey {
    control::FileKey {
        name: it.name.clone(),
        user: it.user.as_ref().map(|email| email.as_str().to_owned()),
        team: it.team.clone(),
        secret: it.secret.clone(),
        expires_at: it.expires_at,
    }
}

fn budget(it: &file::Budget) -> Option<control::FileBudget> {
    let scope = match &it.scope {
        Scope::Instance => control::FileScope::Instance,
        Scope::Team(name) => control::FileScope::Team(name.clone()),
        Scope::User(email) => control::FileScope::User(email.clone()),
        Scope::Key(name) => control::FileScope::Key(name.clone()),
        Scope::Model(pattern) => control::FileScope::Model(pattern.clone()),
    };
    Some(control::FileBudget {
        scope,
        limit: it.limit_usd,
        period: Period::parse(it.period.as_str())?,
        mode: Mode::parse(it.mode.as_str())?,
        timezone: it.timezone.clone(),
        week_start: WeekStart::parse(it.week_start.as_str())?,
        alert_at: it.alert_at.iter().filter_map(|share| Share::of_ten_thousandths(share.0)).collect(),
    })
}

/// What the data plane is told.
pub(crate) fn data(loaded: &Loaded, node_id: NodeId, join_token: Option<Secret>, state_key: Secret) -> DataSettings {
    let settings = &loaded.settings;
    let defaults = JournalSettings::default();
    DataSettings {
        listen: settings.server.listen,
        ops_listen: Some(settings.server.ops_listen),
        node_id,
        zone: String::new(),
        join_token,
        data_dir: settings.data_dir.clone(),
        state_key: Some(state_key),
        journal: JournalSettings {
            is_strict: settings.journal.mode == JournalMode::Strict,
            max_bytes: u64::from(settings.journal.max_mb) << 20,
            segment_bytes: defaults.segment_bytes.min(u64::from(settings.journal.max_mb) << 18),
            ..defaults
        },
        surroundings: Surroundings(crate::cli::context::environment()),
        max_in_flight: usize::try_from(settings.server.limits.max_in_flight).unwrap_or(usize::MAX),
        body_timeout: BODY_TIMEOUT.min(settings.server.limits.request_timeout),
        version: VERSION,
        drain: settings.server.limits.drain,
        fetch_networks: settings.egress.allow_networks.iter().map(|network| network.0).collect(),
        further_metrics: FurtherMetrics::default(),
    }
}

/// The URL that people use.
pub(crate) fn public_url(loaded: &Loaded) -> String {
    let given = loaded.settings.server.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    given.unwrap_or_else(|| local_url(loaded))
}

/// The URL that commands on this machine use.
pub(crate) fn local_url(loaded: &Loaded) -> String {
    format!("http://{}", reachable(loaded.settings.server.listen))
}

/// An address to connect to, for one that is listened on.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
