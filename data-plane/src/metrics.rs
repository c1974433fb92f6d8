//! What is counted, for Prometheus.
//!
//! Rule: labels are bounded (dialect, outcome, code, backend): never a user, a key or free text.

use helix_llm::Dialect;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Mutex;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    dialect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BackendLabels {
    backend: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

const OUTCOMES: [&str; 3] = ["allowed", "denied", "failed"];
const TOKEN_KINDS: [&str; 3] = ["input", "cached_input", "output"];

/// The data plane's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    /// The handles of `requests`, so that a request hashes no label.
    requests_by: Vec<(RequestLabels, Counter)>,
    refusals: Family<CodeLabels, Counter>,
    attempts: Family<BackendLabels, Counter>,
    tokens: Family<KindLabels, Counter>,
    tokens_by: [Counter; 3],
    cost_nano_usd: Counter,
    overrun_nano_usd: Counter,
    unrecorded_refusals: Counter,
    duration_seconds: Histogram,
    /// Requests being handled.
    pub in_flight: Gauge,
    /// Revision in force.
    pub config_revision: Gauge,
    /// Seconds since the control plane last confirmed the configuration.
    pub config_is_stale: Gauge,
    /// Bytes of the journal.
    pub journal_bytes: Gauge,
}

/// What a finished request adds.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Caller's dialect.
    pub dialect: &'static str,
    /// `allowed`, `denied` or `failed`.
    pub outcome: &'static str,
    /// Error code of a denied or failed request.
    pub code: &'a str,
    /// Tokens by kind: input, cached input, output.
    pub tokens: [u64; 3],
    /// Cost.
    pub cost_nano_usd: u64,
    /// From the first byte in to the last byte out.
    pub seconds: f64,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let buckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
        let requests = Family::<RequestLabels, Counter>::default();
        let tokens = Family::<KindLabels, Counter>::default();
        let handle = |labels: RequestLabels| {
            let counter = requests.get_or_create(&labels).clone();
            (labels, counter)
        };
        let requests_by = Dialect::ALL
            .into_iter()
            .flat_map(|dialect| OUTCOMES.map(|outcome| RequestLabels { dialect: dialect.as_str(), outcome }))
            .map(handle)
            .collect();
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("helix_data")),
            requests_by,
            tokens_by: TOKEN_KINDS.map(|kind| tokens.get_or_create(&KindLabels { kind }).clone()),
            requests,
            refusals: Family::default(),
            attempts: Family::default(),
            tokens,
            cost_nano_usd: Counter::default(),
            overrun_nano_usd: Counter::default(),
            unrecorded_refusals: Counter::default(),
            duration_seconds: Histogram::new(buckets),
            in_flight: Gauge::default(),
            config_revision: Gauge::default(),
            config_is_stale: Gauge::default(),
            journal_bytes: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.lock();
        registry.register("requests", "Requests by caller's dialect and outcome", self.requests.clone());
        registry.register("refusals", "Requests that were refused or failed, by error code", self.refusals.clone());
        registry.register("attempts", "Tries at backends by outcome", self.attempts.clone());
        registry.register("tokens", "Tokens of answered requests by kind", self.tokens.clone());
        registry.register("cost_nano_usd", "Cost of requests in 1e-9 USD", self.cost_nano_usd.clone());
        registry.register(
            "overrun_nano_usd",
            "Cost above what was reserved in 1e-9 USD; must stay zero",
            self.overrun_nano_usd.clone(),
        );
        registry.register(
            "unrecorded_refusals",
            "Refusals while the journal had no room for their record",
            self.unrecorded_refusals.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From the first byte in to the last byte out",
            self.duration_seconds.clone(),
        );
        registry.register("requests_in_flight", "Requests being handled", self.in_flight.clone());
        registry.register("config_revision", "Revision of the configuration in force", self.config_revision.clone());
        registry.register(
            "config_is_stale",
            "1 while the configuration comes from disk and is not confirmed",
            self.config_is_stale.clone(),
        );
        registry.register("journal_bytes", "Bytes of the journal's segments", self.journal_bytes.clone());
    }

    /// Counts a finished request.
    pub fn finished(&self, request: &Finished<'_>) {
        let labels = RequestLabels { dialect: request.dialect, outcome: request.outcome };
        match self.requests_by.iter().find(|(known, _)| *known == labels) {
            Some((_, counter)) => counter.inc(),
            None => self.requests.get_or_create(&labels).inc(),
        };
        if !request.code.is_empty() {
            self.refusals.get_or_create(&CodeLabels { code: request.code.to_owned() }).inc();
        }
        for (counter, count) in self.tokens_by.iter().zip(request.tokens) {
            counter.inc_by(count);
        }
        self.cost_nano_usd.inc_by(request.cost_nano_usd);
        self.duration_seconds.observe(request.seconds);
    }

    /// Counts a try at a backend.
    pub fn attempted(&self, backend: &str, outcome: &'static str) {
        self.attempts.get_or_create(&BackendLabels { backend: backend.to_owned(), outcome }).inc();
    }

    /// Counts cost above the reservation.
    pub fn overrun(&self, nano_usd: u64) {
        self.overrun_nano_usd.inc_by(nano_usd);
    }

    /// Counts a refusal that could not be recorded.
    pub fn unrecorded(&self) {
        self.unrecorded_refusals.inc();
    }

    /// Renders the exposition text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.lock()) {
            tracing::error!(%error, "the metrics could not be rendered");
        }
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
