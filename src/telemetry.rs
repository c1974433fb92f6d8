//! Logs and traces of the process.
//!
//! Rule: a log line never holds a prompt, a completion, a secret or an address of a person. Traces leave the process only
//! when an OTLP endpoint is configured; a collector that is down never delays a request or the end of the process.

use crate::config::settings::Settings;
use crate::config::words::LogFormat;
use anyhow::Context;
use helix_data_plane::span::Spans;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. Lines go to standard error.
///
/// # Errors
/// When it was started before.
pub(crate) fn start_logging(settings: &Settings) -> anyhow::Result<()> {
    let level = settings.logging.level.as_str();
    // The libraries below speak of connections and statements: their warnings are enough.
    let filter = EnvFilter::new(format!(
        "warn,helixgateway={level},helix_data_plane={level},helix_control_plane={level},helix_store={level},opentelemetry=off"
    ));
    let is_text = match settings.logging.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if is_text {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false)).try_init()
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    };
    started.context("logging was started twice")
}

/// The exporter of traces; ends with the process.
#[derive(Debug)]
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts exporting to the configured endpoint; to be called inside of a runtime.
    ///
    /// # Errors
    /// When the endpoint cannot be used.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let Some(endpoint) = &settings.telemetry.otlp else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build();
        let exporter = exporter.with_context(|| format!("telemetry.otlp {endpoint} cannot be used"))?;
        let resource = Resource::builder().with_service_name("helixgateway").build();
        Ok(Self(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())))
    }

    /// Makes the spans of requests.
    pub(crate) fn spans(&self) -> Spans {
        let tracer = self
            .0
            .as_ref()
            .map(|provider| opentelemetry::global::BoxedTracer::new(Box::new(provider.tracer("helixgateway"))));
        Spans::new(tracer)
    }

    /// Sends what is left. Blocks; a collector that is down is given up on.
    pub(crate) fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(std::time::Duration::from_secs(2))
        {
            tracing::warn!(%error, "some traces could not be sent");
        }
    }
}
