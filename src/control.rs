//! `control-plane`: the stateful plane alone.

use crate::cli::Common;
use crate::cli::context::{clock, environment, load_with_warnings};
use crate::config::Loaded;
use crate::config::watch::Watcher;
use crate::shutdown::{Request, Signals};
use crate::{announce, mapping, output, telemetry};
use anyhow::Context;
use helix_control_plane::ControlPlane;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs until a signal.
pub(crate) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load_with_warnings(common, &[])?;
    telemetry::start_logging(&loaded.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("control").build()?;
    runtime.block_on(serve(&loaded))
}

async fn serve(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let server = &loaded.settings.server;
    let pages = bind(server.listen, "server.listen").await?;
    let planes = bind(server.plane_listen, "server.plane_listen").await?;
    let ops = bind(server.ops_listen, "server.ops_listen").await?;
    let bound = (pages.local_addr()?, planes.local_addr()?, ops.local_addr()?);
    let control = ControlPlane::start(mapping::control(loaded), clock()).await?;
    let stop = CancellationToken::new();
    let ended = || stop.clone().cancelled_owned();
    // Whichever listener fails takes the others with it.
    let pages_server = async { control.serve_http(pages, ended()).await.inspect_err(|_| stop.cancel()) };
    let ops_server = async { control.serve_ops(ops, ended()).await.inspect_err(|_| stop.cancel()) };
    let planes_server =
        async { control.plane_server().serve_tcp(planes, ended()).await.inspect_err(|_| stop.cancel()) };
    announce::control_plane(loaded, &control, bound).await?;
    let follow = async {
        let mut watcher = Watcher::new(loaded, environment(), Vec::new());
        tokio::select! {
            () = follow_signals(&mut signals, &mut watcher, &control) => stop.cancel(),
            () = stop.cancelled() => {}
        }
    };
    let (pages, ops, planes, ()) = tokio::join!(pages_server, ops_server, planes_server, follow);
    pages?;
    ops?;
    planes?;
    control.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Reloads on SIGHUP and when the file changed, until a signal asks to stop. What is wrong keeps the last good one; what only
/// the database's absence kept from being stored is tried again at every look, until it is stored or something newer is.
pub(crate) async fn follow_signals(signals: &mut Signals, watcher: &mut Watcher, control: &ControlPlane) {
    let mut waiting: Option<Loaded> = None;
    loop {
        let reloaded = tokio::select! {
            request = signals.next() => match request {
                Request::Stop => return,
                Request::Reload => Some(watcher.reload()),
            },
            () = tokio::time::sleep(LOOK_EVERY) => watcher.changed(),
        };
        match reloaded {
            None => {
                if let Some(loaded) = waiting.take() {
                    waiting = take_over(control, loaded, true).await;
                }
            }
            Some(Err(findings)) => {
                // what the file said before is not what it says now
                waiting = None;
                let (errors, _) = findings.counts();
                tracing::error!(errors, "the changed configuration is not valid; the last good one stays in force");
                output::complain(&findings.to_string());
            }
            Some(Ok(loaded)) => waiting = take_over(control, loaded, false).await,
        }
    }
}

/// Stores a configuration; returns it when that is to be tried again.
async fn take_over(control: &ControlPlane, loaded: Loaded, is_again: bool) -> Option<Loaded> {
    match control.reload(&mapping::file_config(&loaded)).await {
        Ok(outcome) => {
            tracing::info!(
                revision = outcome.revision,
                upserted = outcome.upserted,
                removed = outcome.removed,
                "configuration reloaded; addresses and folders change at the next start"
            );
            None
        }
        Err(error) if error.is_unavailable() => {
            if is_again {
                tracing::debug!(%error, "the changed configuration still cannot be stored");
            } else {
                tracing::error!(
                    %error,
                    "the changed configuration cannot be stored now; the last good one stays in force until it can, which is tried every {} seconds",
                    LOOK_EVERY.as_secs()
                );
            }
            Some(loaded)
        }
        Err(error) => {
            tracing::error!(%error, "the changed configuration was refused; the last good one stays in force");
            None
        }
    }
}

/// Binds an address, saying which setting to change when it is taken.
pub(crate) async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let hint = format!("cannot listen on {address}; is another process using it? Choose another with {key}");
    TcpListener::bind(address).await.context(hint)
}
