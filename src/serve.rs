//! `serve`: both planes in one process, joined by a pipe in memory.
//!
//! Rule: each plane has a runtime of its own, so an admin query cannot stall proxying; the bytes between them take the same
//! gRPC path as in a fleet.

use crate::cli::Common;
use crate::cli::context::{clock, environment, load_with_warnings};
use crate::config::Loaded;
use crate::config::watch::Watcher;
use crate::shutdown::Signals;
use crate::{announce, control, data, mapping, pipe, telemetry};
use anyhow::Context;
use helix_control_plane::ControlPlane;
use helix_data_plane::DataPlane;
use helix_data_plane::body::{BodyError, OtherBody};
use helix_data_plane::server::Fallback;
use helix_data_plane::settings::FurtherMetrics;
use http_body_util::BodyExt;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::{Handle, Runtime};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Threads of the stateful plane.
const CONTROL_THREADS: usize = 2;

/// Runs until a signal.
pub(crate) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_with_warnings(common, &[])?;
    telemetry::start_logging(&loaded.settings)?;
    let control_runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .enable_all()
        .thread_name("control")
        .build()
        .context("the runtime cannot start")?;
    let data_runtime = data::runtime()?;
    control_runtime.block_on(both(&loaded, &data_runtime))
}

async fn both(loaded: &Loaded, data_runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let planes = control::bind(loaded.settings.server.plane_listen, "server.plane_listen").await?;
    let plane_address = planes.local_addr()?;
    let control = Arc::new(ControlPlane::start(mapping::control(loaded), clock()).await?);
    let (channel, pipes) = pipe::in_memory();
    let stop = CancellationToken::new();
    let in_memory = {
        let (control, stop) = (Arc::clone(&control), stop.clone());
        spawn(async move { control.plane_server().serve_in_memory(pipes.map(Ok), stop.cancelled_owned()).await })
    };
    let over_tcp = {
        let (control, stop) = (Arc::clone(&control), stop.clone());
        spawn(async move { control.plane_server().serve_tcp(planes, stop.cancelled_owned()).await })
    };
    let mut settings = mapping::data(loaded, data::node_id(loaded)?, None, data::state_key(loaded)?);
    settings.further_metrics = metrics(&control);
    let fallback = pages(&control, Handle::current());
    let telemetry_settings = loaded.settings.clone();
    let started = data_runtime.spawn(async move {
        let traces = telemetry::Traces::start(&telemetry_settings)?;
        let plane = DataPlane::start(settings, channel, clock(), Some(fallback), traces.spans()).await?;
        plane.confirmed().await;
        anyhow::Ok((plane, traces))
    });
    let (plane, traces) = started.await.context("the data plane did not start")??;
    announce::serve(loaded, &control, &plane, plane_address).await?;
    let mut watcher = Watcher::new(loaded, environment(), Vec::new());
    control::follow_signals(&mut signals, &mut watcher, &control).await;
    tracing::info!("stopping: requests in flight finish first; a second signal ends at once");
    let stopped = data_runtime.spawn(plane.stop());
    tokio::select! {
        joined = stopped => joined.context("the data plane did not stop in order")?,
        () = signals.stop() => {
            tracing::warn!("stopped at once; the journal closes what was in flight at the next start");
            return Ok(ExitCode::SUCCESS);
        }
    }
    tokio::task::spawn_blocking(move || traces.end()).await?;
    stop.cancel();
    in_memory.await.context("the plane server did not stop in order")??;
    over_tcp.await.context("the plane server did not stop in order")??;
    if let Ok(control) = Arc::try_unwrap(control) {
        control.shutdown().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The control plane's metrics beside the data plane's. A data plane that still ends keeps no control plane alive.
fn metrics(control: &Arc<ControlPlane>) -> FurtherMetrics {
    let control = Arc::downgrade(control);
    FurtherMetrics(Some(Arc::new(move || control.upgrade().map_or_else(String::new, |control| control.metrics()))))
}

/// The control plane's pages behind the proxy's listener, on the control plane's own runtime.
fn pages(control: &ControlPlane, runtime: Handle) -> Fallback {
    let router = control.http_router();
    Arc::new(move |request| {
        let answered = runtime.spawn(router.clone().oneshot(request));
        Box::pin(async move {
            let response = match answered.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(error) => {
                    tracing::error!(%error, "a page failed");
                    let mut response = http::Response::default();
                    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }
            };
            response.map(|body| -> OtherBody { Box::pin(body.map_err(|error| -> BodyError { Box::new(error) })) })
        })
    })
}

/// Starts a server of this process; awaited before it ends.
#[expect(clippy::disallowed_methods, reason = "both handles are awaited at shutdown")]
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(future)
}
