//! Every setting of `gateway.yaml`: its name, type, default and meaning.
//!
//! Rule: this is the only list of settings; reader, schema and `config show` come from it. What a value must be beyond
//! its type is in `checks`.

use super::checks;
use super::kinds::ProviderKind;
use super::network::Network;
use super::scalars::{BasisPoints, Email, PricePerMillion, PricePerUnit};
use super::setting::settings;
use super::special::{DatabaseUrl, Scope, Unserved};
use super::words::{
    BodyMode, BudgetMode, HttpVersion, JournalMode, LogFormat, LogLevel, Params, Period, Role, Strategy, WeekStart,
};
use helix_shared::money::NanoUsd;
use helix_shared::secret::Secret;
use helix_shared::time::UnixMicros;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

settings! {
    /// The configuration of a Helix gateway.
    pub(crate) struct Settings {
        /// The version of this format: 1.
        version: u32 = "1" => checks::version,
        /// Addresses and limits of the listeners.
        server: Server,
        /// The folder for the journal, the last good configuration and generated keys.
        data_dir: PathBuf = "./helix-data",
        /// The database of the control plane.
        storage: Storage,
        /// The keys that protect stored secrets.
        secrets: Secrets,
        /// How a data plane reaches its control plane.
        control_plane: ControlPlane,
        /// How the control plane lets data planes join.
        plane: Plane,
        /// The journal of records on a data plane.
        journal: Journal,
        /// Accounts at model providers, by name.
        providers: BTreeMap<String, Provider> => checks::provider_names,
        /// When a failing backend is left alone.
        breaker: Breaker,
        /// Routes from model names to backends; the most specific that matches is used.
        models: Vec<ModelRoute>,
        /// Prices that replace or extend the built-in catalogue.
        prices: Vec<Price>,
        /// Teams, by name.
        teams: BTreeMap<String, Team> => checks::team_names,
        /// People who may sign in and own keys.
        users: Vec<User>,
        /// API keys for automation and tests; the secret comes from outside the file.
        keys: Vec<Key>,
        /// Spending limits.
        budgets: Vec<Budget>,
        /// Content policies. Must be empty: this version enforces none.
        policies: Vec<Unserved> => checks::no_policies,
        /// Sign-in.
        auth: Auth,
        /// Where facts about models and prices come from.
        discovery: Discovery,
        /// Where the gateway may fetch from when a request names a URL.
        egress: Egress,
        /// What is logged.
        logging: Logging,
        /// Where traces go.
        telemetry: Telemetry,
    }

    /// Addresses and limits of the listeners.
    pub(crate) struct Server {
        /// The address clients use.
        listen: SocketAddr = "127.0.0.1:8080",
        /// The address of metrics and health checks.
        ops_listen: SocketAddr = "127.0.0.1:9090",
        /// The address data planes use to reach the control plane (gRPC).
        plane_listen: SocketAddr = "127.0.0.1:8444",
        /// The URL people use to reach the gateway, when it differs from the address.
        public_url: Option<Url>,
        /// Allows a public address before an admin exists.
        allow_unclaimed: bool = "false",
        /// Limits of every request.
        limits: ServerLimits,
    }

    /// Limits of every request.
    pub(crate) struct ServerLimits {
        /// The largest request body, in MiB.
        body_mb: u32 = "32" => checks::between::<1, 1024>,
        /// How many requests may be in flight before new ones are refused.
        max_in_flight: u32 = "10000" => checks::between::<1, 1_000_000>,
        /// The longest that a stream may be silent, whatever a provider's `timeout.between_chunks` says.
        stream_idle_timeout: Duration = "120s" => checks::some_time,
        /// The longest that a try at a provider may take, whatever its `timeout.total` says.
        request_timeout: Duration = "15m" => checks::some_time,
        /// How long a stopping gateway waits for requests to end.
        drain: Duration = "30s",
    }

    /// The database of the control plane.
    pub(crate) struct Storage {
        /// `sqlite://`, `postgres://` or `mysql://` (also `mariadb://`). Without it: SQLite in `data_dir`.
        url: DatabaseUrl = "sqlite://helix-data/helix.db",
        /// The most connections that are opened.
        max_connections: u32 = "16" => checks::between::<1, 1000>,
    }

    /// The keys that protect stored secrets.
    pub(crate) struct Secrets {
        /// The key that encrypts stored secrets. Without it: generated once beside the database.
        master_key: Option<Secret>,
        /// The key that seals the last good configuration on a data plane. Without it: generated once in `data_dir`.
        state_key: Option<Secret>,
    }

    /// How a data plane reaches its control plane.
    pub(crate) struct ControlPlane {
        /// The address of the control plane, such as `http://control:8444`.
        url: Option<Url>,
        /// The token that lets this data plane join.
        join_token: Option<Secret>,
    }

    /// How the control plane lets data planes join.
    pub(crate) struct Plane {
        /// The token data planes must show. Without it: generated once in `data_dir`.
        join_token: Option<Secret>,
    }

    /// The journal of records on a data plane.
    pub(crate) struct Journal {
        /// What a record survives: `standard` a crash of the process, `strict` also a loss of power.
        mode: JournalMode = "standard",
        /// How much disk unacknowledged records may take, in MiB; when it is full, requests are refused.
        max_mb: u32 = "1024" => checks::between::<8, 1_048_576>,
    }

    /// An account at a model provider.
    #[prepare(checks::with_base_url)]
    #[check(checks::provider)]
    pub(crate) struct Provider {
        /// Which service it is.
        kind: ProviderKind,
        /// Where it is reached; most kinds have a usual address.
        base_url: Url,
        /// The credential.
        api_key: Option<Secret>,
        /// The region, for kinds that have one.
        region: Option<String>,
        /// The id of the key that requests are signed with (Bedrock).
        access_key_id: Option<Secret>,
        /// Its secret.
        secret_access_key: Option<Secret>,
        /// The token of a temporary key.
        session_token: Option<Secret>,
        /// The profile that has the key instead, in `profile_file`.
        profile: Option<String>,
        /// The shared file of profiles, on each data plane; read when a key is needed.
        profile_file: Option<String>,
        /// The role that is assumed with those keys (Bedrock).
        role_arn: Option<String>,
        /// What the owner of the role wants to hear from whoever assumes it.
        external_id: Option<String>,
        /// The file, on each data plane, with the token that the role is assumed with instead of keys.
        web_identity_token_file: Option<String>,
        /// The project that is asked, and pays (Vertex AI).
        project: Option<String>,
        /// The content of a credentials file of Google's.
        credentials: Option<Secret>,
        /// The path of one, on each data plane; without either, the default credentials of the machine.
        credentials_file: Option<String>,
        /// The directory of Microsoft Entra ID that the application is in (Azure).
        tenant_id: Option<String>,
        /// The application, or the one among several identities of the machine.
        client_id: Option<String>,
        /// The application's secret.
        client_secret: Option<Secret>,
        /// The file, on each data plane, with the token of a federated identity, instead of a secret.
        federated_token_file: Option<String>,
        /// Whether the machine's own identity is used (Azure).
        managed_identity: bool = "false",
        /// The version of the API, for kinds that have one.
        api_version: Option<String>,
        /// Further headers for every request to it; never shown.
        headers: BTreeMap<String, Secret> => checks::header_names,
        /// The version of HTTP: `auto` is HTTP/2 where the server offers it in its TLS handshake, `http1`, or `http2`, also
        /// without TLS.
        http_version: HttpVersion = "auto",
        /// How long each step may take.
        timeout: ProviderTimeout,
        /// How many requests it may be given at once; without it, as many as come.
        max_in_flight: Option<u32>,
    }

    /// How long each step of a request to a provider may take.
    pub(crate) struct ProviderTimeout {
        /// Until the connection stands.
        connect: Duration = "5s" => checks::some_time,
        /// Until the first byte of the answer.
        first_byte: Duration = "120s" => checks::some_time,
        /// Between two pieces of a stream.
        between_chunks: Duration = "120s" => checks::some_time,
        /// Until the end.
        total: Duration = "15m" => checks::some_time,
    }

    /// When a failing backend is left alone.
    pub(crate) struct Breaker {
        /// The time in which failures are counted.
        window: Duration = "30s" => checks::some_time,
        /// How many failures open the breaker.
        failures: u32 = "5" => checks::between::<1, 100_000>,
        /// Which share of failures opens the breaker.
        error_rate: BasisPoints = "0.5",
        /// How long it stays open before it is tried again.
        open_for: Duration = "30s" => checks::some_time,
        /// How many trials must succeed to close it.
        half_open_probes: u32 = "3" => checks::between::<1, 100>,
    }

    /// A route from a model name to backends.
    #[check(checks::route)]
    pub(crate) struct ModelRoute {
        /// The model name clients ask for; `*` stands for any text.
        pattern ["match"]: String,
        /// How a backend is chosen.
        strategy: Strategy = "priority",
        /// What happens to parameters that a backend of another dialect has no word for: `drop` leaves them out and names
        /// them in the answer's headers, `strict` refuses the request.
        params: Params = "drop",
        /// Whether the gateway fetches images and documents that a request names by URL, where a backend needs them and
        /// fetches nothing itself. Only from public addresses, and from `egress.allow_networks`.
        fetch_urls: bool = "false",
        /// The backends, first choice first.
        backends: Vec<Backend>,
    }

    /// A provider that serves a route; its name alone is enough.
    #[prepare(checks::backend_from_name)]
    pub(crate) struct Backend {
        /// The name of the provider.
        provider: String => checks::uses_provider,
        /// The model to ask it for; without it, the name the client used.
        model: Option<String>,
        /// Its share under the strategy `weighted`.
        weight: u32 = "1" => checks::between::<0, 1_000_000>,
    }

    /// A price that replaces or extends the built-in catalogue, in USD per million tokens, or per piece of another unit. With
    /// an input and an output of zero, a model that has a price per image, second or character is charged by that alone.
    pub(crate) struct Price {
        /// The name of the provider.
        provider: String => checks::uses_provider,
        /// The model, as the provider calls it.
        model: String,
        /// Input tokens.
        input: PricePerMillion,
        /// Output tokens.
        output: PricePerMillion,
        /// Input tokens read from the provider's cache; without it, as input.
        cache_read: Option<PricePerMillion>,
        /// Input tokens written to the provider's cache; without it, as input.
        cache_write: Option<PricePerMillion>,
        /// One picture that is made, in USD.
        per_image: Option<PricePerUnit>,
        /// One second of sound that is heard or made, in USD.
        per_second: Option<PricePerUnit>,
        /// One character that is spoken, in USD.
        per_character: Option<PricePerUnit>,
        /// One web search at the provider, in USD.
        per_search: Option<PricePerUnit>,
    }

    /// A group of users.
    pub(crate) struct Team {
        /// Which models its members may use.
        models: ModelAccess,
        /// How fast its members may go.
        limits: RateLimits,
        /// What its spending is told apart by in bills.
        tags: Tags,
    }

    /// What spending is told apart by in bills.
    pub(crate) struct Tags {
        /// The cost centre that is charged; a user's own wins over the team's.
        cost_center: Option<String> => checks::cost_center,
    }

    /// Which models may be used; the most specific pattern decides.
    pub(crate) struct ModelAccess {
        /// Model names that are allowed; `*` stands for any text. Never empty: for no model at all, deny `*`.
        allow: Vec<String> = "*" => checks::allowed_models,
        /// Model names that are denied, in capitals or not, under whichever of its names a model is asked for: the client's,
        /// the provider's, or the catalogue's.
        deny: Vec<String> => checks::model_patterns,
    }

    /// How fast a team may go.
    pub(crate) struct RateLimits {
        /// Requests a minute.
        rpm: Option<u64>,
        /// Tokens a minute.
        tpm: Option<u64>,
        /// Requests at the same time.
        concurrent: Option<u32>,
    }

    /// A person who may sign in and own keys.
    pub(crate) struct User {
        /// The address that names the user.
        email: Email => checks::defines_user,
        /// The name people see.
        name: Option<String> => checks::person_name,
        /// The teams of the user.
        teams: Vec<String> => checks::uses_teams,
        /// The roles of the user.
        roles: Vec<Role> = "member" => checks::roles,
        /// What the user's spending is told apart by in bills.
        tags: Tags,
    }

    /// An API key for automation and tests.
    #[check(checks::key)]
    pub(crate) struct Key {
        /// The name people see, and that budgets refer to.
        name: String => checks::defines_key,
        /// The user it acts as.
        user: Option<Email> => checks::uses_user,
        /// The team it acts for.
        team: Option<String> => checks::uses_team,
        /// The key itself.
        secret: Secret,
        /// When it stops working; without it, never.
        expires_at: Option<UnixMicros>,
    }

    /// A spending limit.
    pub(crate) struct Budget {
        /// `instance`, `team:NAME`, `user:EMAIL`, `key:NAME` (one of `keys`) or `model:PATTERN`, which counts every request for a
        /// model of such a name, as clients or as providers call it.
        scope: Scope => checks::uses_scope,
        /// The limit in USD.
        limit_usd: NanoUsd,
        /// When it starts anew.
        period: Period,
        /// `hard` refuses what would exceed it, `soft` warns.
        mode: BudgetMode,
        /// The time zone in which the period begins.
        timezone: String = "UTC" => checks::timezone,
        /// The day that weeks begin on.
        week_start: WeekStart = "monday",
        /// The shares of the limit at which people are told, once in a period each.
        alert_at: Vec<BasisPoints>,
    }

    /// Sign-in.
    pub(crate) struct Auth {
        /// How long a sign-in lasts.
        sessions: Sessions,
        /// OpenID Connect providers.
        oidc: Vec<Unserved>,
        /// OAuth 2 providers.
        oauth2: Vec<Unserved>,
        /// LDAP directories.
        ldap: Vec<Unserved>,
    }

    /// How long a sign-in lasts.
    #[check(checks::sessions)]
    pub(crate) struct Sessions {
        /// Without activity.
        idle: Duration = "8h" => checks::some_time,
        /// At most.
        absolute: Duration = "7d" => checks::some_time,
    }

    /// Where facts about models and prices come from.
    pub(crate) struct Discovery {
        /// How often providers are asked for their models.
        interval: Duration = "1h" => checks::some_time,
        /// Where prices come from.
        prices: PriceSources,
    }

    /// Where prices come from.
    pub(crate) struct PriceSources {
        /// `bundled` is the built-in catalogue.
        sources: Vec<String> = "bundled",
    }

    /// Where the gateway may fetch from when a request names a URL; matters to routes with `fetch_urls` alone.
    pub(crate) struct Egress {
        /// Networks that may be fetched from though they are not public, such as `10.20.0.0/16`.
        allow_networks: Vec<Network>,
    }

    /// What is logged.
    pub(crate) struct Logging {
        /// Whether requests and answers are kept.
        bodies: Bodies,
        /// The least severe level that is logged.
        level: LogLevel = "info",
        /// How a line looks; `auto` is text on a terminal and JSON elsewhere.
        format: LogFormat = "auto",
    }

    /// Whether requests and answers are kept.
    pub(crate) struct Bodies {
        /// What is kept of them.
        mode: BodyMode = "off",
        /// How long.
        retention: Duration = "30d" => checks::some_time,
    }

    /// Where traces go.
    pub(crate) struct Telemetry {
        /// The OTLP endpoint, such as `http://otel:4317`; without it, nowhere.
        otlp: Option<Url>,
    }
}
