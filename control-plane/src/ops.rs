//! The operators' listener of a control plane that runs alone: health and metrics.
//!
//! Rule: nothing here tells a secret. Ready means that the database answers; data planes serve on without it. In one
//! process with a data plane, that plane's listener stands for both.

use crate::app::App;
use crate::plane::PlaneServer;
use crate::publish::Feed;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use std::time::Duration;
use tokio::time::timeout;

/// How long the database may take before the control plane counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages here look at.
#[derive(Debug, Clone)]
pub(crate) struct Ops {
    pub(crate) app: App,
    pub(crate) feed: Feed,
    pub(crate) plane: PlaneServer,
}

/// Builds the routes.
pub(crate) fn router(ops: Ops) -> Router {
    Router::new()
        .route("/healthz/live", get(async || "live\n"))
        .route("/healthz/ready", get(ready))
        .route("/healthz/startup", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "/metrics, /healthz/live, /healthz/ready, /healthz/startup\n"))
        .with_state(ops)
}

async fn ready(State(ops): State<Ops>) -> Response {
    match timeout(PATIENCE, ops.app.has_admin()).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    let page = ops.metrics() + "# EOF\n";
    ([(header::CONTENT_TYPE, METRICS_TYPE)], page).into_response()
}

impl Ops {
    /// The control plane's metrics as OpenMetrics text, without its end.
    pub(crate) fn metrics(&self) -> String {
        let (nodes, revision) = (self.plane.connected_nodes(), self.feed.current().revision());
        let behind = nodes.iter().filter(|node| node.revision < revision).count();
        let refusing = nodes.iter().filter(|node| node.refused.is_some()).count();
        let quarantining = nodes.iter().filter(|node| node.quarantined > 0).count();
        let gauges = [
            ("config_revision", "Revision of the configuration in force", revision.to_string()),
            ("nodes_connected", "Data planes with an open configuration stream", nodes.len().to_string()),
            ("nodes_behind", "Connected data planes that serve an older revision", behind.to_string()),
            ("nodes_refusing", "Connected data planes that refused the last push", refusing.to_string()),
            ("nodes_quarantining", "Connected data planes that quarantined a resource", quarantining.to_string()),
        ];
        let lines = gauges.map(|(name, help, value)| {
            let name = format!("helix_control_{name}");
            format!("# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n")
        });
        lines.concat() + &self.plane.alert_metrics()
    }
}
