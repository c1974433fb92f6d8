//! What the control plane is told: where its database is, what it listens on, which secrets it was given, what the file
//! defines.
//!
//! Rule: plain structs, already read and interpolated. No YAML and no environment here; the binary maps its
//! configuration onto these. Defaults of the product live with the configuration, not here.

use helix_shared::budget::{Mode, Period, Share, WeekStart};
use helix_shared::money::{NanoUsd, PicoUsd};
use helix_shared::rbac::Role;
use helix_shared::secret::Secret;
use helix_shared::time::UnixMicros;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything the control plane needs to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `sqlite://PATH`, `postgres://…` or `mysql://…`; it may carry a password.
    pub database_url: Secret,
    /// Where the pages and, in one process, the proxy paths are served; `None`: nowhere.
    pub http_listen: Option<SocketAddr>,
    /// Where data planes connect; `None`: only in memory.
    pub plane_listen: Option<SocketAddr>,
    /// The address people and clients use, without a trailing slash.
    pub public_url: String,
    /// Folder of generated secrets; made when it is missing.
    pub data_dir: PathBuf,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// What data planes must present; `None`: generated once into `data_dir/join-token`.
    pub join_token: Option<Secret>,
    /// Starts on a public address although nobody has claimed the instance.
    pub allow_unclaimed: bool,
    /// What the configuration file defines.
    pub file: FileConfig,
    /// Version of the binary, for people.
    pub version: String,
}

/// Where the master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeySource {
    /// Given: 32 bytes as 64 hexadecimal digits or base64.
    Given(Secret),
    /// Kept in `data_dir/master.key`, made on the first start.
    DataDir,
}

/// The objects that the configuration file defines. Names are the references; ids are derived from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileConfig {
    /// Largest request body that is read, in bytes; `None`: the default.
    pub body_limit_bytes: Option<u64>,
    /// Provider accounts, in order.
    pub providers: Vec<FileProvider>,
    /// Routes, in order.
    pub models: Vec<FileModel>,
    /// Price overrides.
    pub prices: Vec<FilePrice>,
    /// Teams.
    pub teams: Vec<FileTeam>,
    /// Users.
    pub users: Vec<FileUser>,
    /// Keys whose secrets come from outside.
    pub keys: Vec<FileKey>,
    /// Budgets, in order.
    pub budgets: Vec<FileBudget>,
}

/// A provider account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProvider {
    /// Its name, which is its id.
    pub name: String,
    /// Provider kind's stable name.
    pub kind: String,
    /// Base URL; `None`: the kind's own.
    pub base_url: Option<String>,
    /// Version of the API, where the kind has one.
    pub api_version: Option<String>,
    /// Credential.
    pub api_key: Option<Secret>,
    /// The version of HTTP that it is spoken to: stable name.
    pub http_version: String,
    /// Limit of connecting, in ms; 0: the default.
    pub connect_timeout_ms: u32,
    /// Limit until the response head, in ms; 0: the default.
    pub first_byte_timeout_ms: u32,
    /// Limit between two chunks, in ms; 0: the default.
    pub idle_timeout_ms: u32,
    /// Limit of the whole exchange, in ms; 0: the default.
    pub total_timeout_ms: u32,
    /// Most requests at once; 0: no limit.
    pub max_in_flight: u32,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileModel {
    /// Exact name or pattern.
    pub pattern: String,
    /// Strategy's stable name.
    pub strategy: String,
    /// What happens to what a translation cannot say: stable name.
    pub params: String,
    /// Whether what URLs in requests point at is fetched, where a backend does not.
    pub fetches_urls: bool,
    /// Places, in order.
    pub backends: Vec<FileBackend>,
}

/// One place a model is served at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBackend {
    /// The provider's name.
    pub provider: String,
    /// Its name for the model; `None`: as asked.
    pub model: Option<String>,
    /// Share under the weighted strategy.
    pub weight: u32,
}

/// A price override, per token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePrice {
    /// The provider's name.
    pub provider: String,
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

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTeam {
    /// Its name, which is its id.
    pub name: String,
    /// Patterns of allowed models; empty: every model.
    pub allow_models: Vec<String>,
    /// Patterns of denied models.
    pub deny_models: Vec<String>,
    /// The cost centre that its spending is charged to.
    pub cost_center: Option<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUser {
    /// Address; compared in lower case.
    pub email: String,
    /// Name for people.
    pub name: String,
    /// Teams by name; the first is charged when a key names none.
    pub teams: Vec<String>,
    /// Roles. `team_manager` holds in the user's teams, the others in the whole instance. Empty: `member`.
    pub roles: Vec<Role>,
    /// Whether the person's keys are refused.
    pub disabled: bool,
    /// The cost centre that the person's spending is charged to; it wins over the team's.
    pub cost_center: Option<String>,
}

/// A key whose secret comes from outside of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    /// Its name, unique in the file.
    pub name: String,
    /// The owner's address, when a person.
    pub user: Option<String>,
    /// The team's name, when it is charged.
    pub team: Option<String>,
    /// What callers present; at least 16 characters.
    pub secret: Secret,
    /// End of its lifetime.
    pub expires_at: Option<UnixMicros>,
}

/// A budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBudget {
    /// Whom it limits.
    pub scope: FileScope,
    /// Amount per period.
    pub limit: NanoUsd,
    /// How long a period is.
    pub period: Period,
    /// Hard or soft.
    pub mode: Mode,
    /// IANA zone.
    pub timezone: String,
    /// The day that weeks begin on.
    pub week_start: WeekStart,
    /// Shares of the limit at which people are told.
    pub alert_at: Vec<Share>,
}

/// A budget's scope, by the names of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileScope {
    /// Everyone.
    Instance,
    /// A team by name.
    Team(String),
    /// A person by address.
    User(String),
    /// A key by name.
    Key(String),
    /// Every model whose name matches.
    Model(String),
}
