//! One unit of pushed configuration, mirroring one admin row.
//!
//! Rule: plain data as it was written; every check is the compiler's. So an odd row can travel, be named and be
//! quarantined instead of stopping a push.

use crate::budget::Increase;
use crate::money::{NanoUsd, PicoUsd};
use crate::secret::Secret;
use crate::time::UnixMicros;

/// The kinds of resources, in the order in which they are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// Instance-wide settings; exactly one.
    Settings,
    /// A person.
    User,
    /// A team.
    Team,
    /// An API key.
    ApiKey,
    /// A role on a scope.
    RoleGrant,
    /// A budget.
    Budget,
    /// A price override.
    Price,
    /// A route.
    Model,
    /// A provider account.
    Backend,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Settings,
        Self::User,
        Self::Team,
        Self::ApiKey,
        Self::RoleGrant,
        Self::Budget,
        Self::Price,
        Self::Model,
        Self::Backend,
    ];

    /// The stable name, used in the change log and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::User => "user",
            Self::Team => "team",
            Self::ApiKey => "api_key",
            Self::RoleGrant => "role_grant",
            Self::Budget => "budget",
            Self::Price => "price",
            Self::Model => "model",
            Self::Backend => "backend",
        }
    }

    /// Reads the stable name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What identifies a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its id within the kind.
    pub id: String,
}

/// The body of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Instance-wide settings.
    Settings(Settings),
    /// A person.
    User(User),
    /// A team.
    Team(Team),
    /// An API key.
    ApiKey(ApiKey),
    /// A role on a scope.
    RoleGrant(RoleGrant),
    /// A budget.
    Budget(Budget),
    /// A price override.
    Price(Price),
    /// A route.
    Model(Model),
    /// A provider account.
    Backend(Backend),
}

impl Resource {
    /// The kind of this body.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Settings(_) => ResourceKind::Settings,
            Self::User(_) => ResourceKind::User,
            Self::Team(_) => ResourceKind::Team,
            Self::ApiKey(_) => ResourceKind::ApiKey,
            Self::RoleGrant(_) => ResourceKind::RoleGrant,
            Self::Budget(_) => ResourceKind::Budget,
            Self::Price(_) => ResourceKind::Price,
            Self::Model(_) => ResourceKind::Model,
            Self::Backend(_) => ResourceKind::Backend,
        }
    }
}

/// Instance-wide settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Identity of the installation.
    pub instance_id: String,
    /// Key of the HMAC-SHA256 that API keys are looked up by; 32 bytes.
    pub key_pepper: Secret,
    /// Largest request body that is read.
    pub body_limit_bytes: u64,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Address, lower case.
    pub email: String,
    /// Name for people.
    pub name: String,
    /// A disabled person's keys are refused.
    pub disabled: bool,
    /// Teams; the first one is charged when a key names none.
    pub team_ids: Vec<String>,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Name for people.
    pub name: String,
    /// Patterns of allowed models; empty: every model.
    pub allow_models: Vec<String>,
    /// Patterns of denied models.
    pub deny_models: Vec<String>,
}

/// An API key. Owned by a user, a team, or a user in a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Name for people.
    pub name: String,
    /// HMAC-SHA256 of the secret under the instance's pepper; 32 bytes.
    pub hash: Vec<u8>,
    /// The owner, when a person.
    pub user_id: Option<String>,
    /// The team that is charged, when fixed.
    pub team_id: Option<String>,
    /// End of its lifetime.
    pub expires_at: Option<UnixMicros>,
    /// Taken back.
    pub revoked: bool,
}

/// A role given to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleGrant {
    /// The person.
    pub user_id: String,
    /// The role's stable name.
    pub role: String,
    /// The team it holds in; `None`: the whole instance.
    pub team_id: Option<String>,
    /// When it ends.
    pub expires_at: Option<UnixMicros>,
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// `instance`, `team:ID`, `user:ID`, `key:ID` or `model:PATTERN`.
    pub scope: String,
    /// How people call the scope.
    pub label: String,
    /// Amount per period, without what lies on top.
    pub limit: NanoUsd,
    /// `daily`, `weekly` or `monthly`.
    pub period: String,
    /// `hard` or `soft`.
    pub mode: String,
    /// IANA zone.
    pub timezone: String,
    /// The day that weeks begin on; empty: Monday.
    pub week_start: String,
    /// The calendar that held before, until the window ends that it had begun.
    pub prior: Option<PriorCalendar>,
    /// Shares of the limit at which people are told, as decimal text.
    pub alert_at: Vec<String>,
    /// What lies on top of the limit, and when.
    pub increases: Vec<Increase>,
}

/// A calendar that a budget no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorCalendar {
    /// IANA zone.
    pub timezone: String,
    /// The day that weeks begin on; empty: Monday.
    pub week_start: String,
    /// First instant at which the present calendar holds.
    pub until: UnixMicros,
}

/// A price override of one backend; prices per token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The backend it holds for.
    pub backend_id: String,
    /// Exact upstream model or pattern.
    pub model: String,
    /// Uncached input.
    pub input: PicoUsd,
    /// Output.
    pub output: PicoUsd,
    /// Cache read; `None`: as input.
    pub cache_read: Option<PicoUsd>,
    /// Cache write, short lifetime; `None`: as input.
    pub cache_write: Option<PicoUsd>,
    /// Cache write, long lifetime; `None`: as the short one.
    pub cache_write_long: Option<PicoUsd>,
    /// A picture that is made.
    pub per_image: Option<PicoUsd>,
    /// A second of sound, heard or made.
    pub per_second: Option<PicoUsd>,
    /// A character that is spoken.
    pub per_character: Option<PicoUsd>,
    /// One web search on the provider's side.
    pub per_search: Option<PicoUsd>,
    /// The most output tokens the model can give.
    pub max_output_tokens: Option<u64>,
}

/// A rule from a model name to backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Exact name or pattern that clients ask for.
    pub pattern: String,
    /// Strategy's stable name.
    pub strategy: String,
    /// What happens to what a translation cannot say: stable name; empty: left out and named.
    pub params: String,
    /// Order among rules of equal specificity.
    pub position: u32,
    /// Where it is served, in order.
    pub backends: Vec<ModelBackend>,
}

/// One place a model is served at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelBackend {
    /// The backend.
    pub backend_id: String,
    /// Its name for the model; `None`: the name the client asked for.
    pub upstream_model: Option<String>,
    /// Share under the weighted strategy.
    pub weight: u32,
    /// Whether the gateway fetches what URLs in requests point at, where the backend does not.
    pub fetches_urls: bool,
}

/// A provider account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Provider kind's stable name.
    pub kind: String,
    /// Base URL.
    pub base_url: String,
    /// Version of the API, where the kind has one.
    pub api_version: Option<String>,
    /// Credential.
    pub api_key: Option<Secret>,
    /// The version of HTTP that it is spoken to: stable name; empty: as agreed with it.
    pub http_version: String,
    /// Limit of connecting, TLS included, in ms.
    pub connect_timeout_ms: u32,
    /// Limit until the response head, in ms.
    pub first_byte_timeout_ms: u32,
    /// Limit between two chunks, in ms.
    pub idle_timeout_ms: u32,
    /// Limit of the whole exchange, in ms.
    pub total_timeout_ms: u32,
    /// Most requests at once; 0: no limit.
    pub max_in_flight: u32,
    /// Order among backends.
    pub position: u32,
}
