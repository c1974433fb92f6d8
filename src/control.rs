//! `control-plane`: the stateful plane alone.

use crate::cli::Common;
use crate::cli::context::{clock, environment, load};
use crate::config::Loaded;
use crate::config::watch::Watcher;
use crate::shutdown::{Request, Signals};
use crate::{mapping, output, telemetry};
use anyhow::Context;
use helix_control_plane::ControlPlane;
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the setup link lives.
const LINK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until a signal.
pub(crate) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load(common)?;
    telemetry::start_logging(&loaded.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("control").build()?;
    runtime.block_on(serve(&loaded))
}

async fn serve(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let server = &loaded.settings.server;
    let pages = bind(server.listen, "server.listen").await?;
    let planes = bind(server.plane_listen, "server.plane_listen").await?;
    let bound = (pages.local_addr()?, planes.local_addr()?);
    let control = ControlPlane::start(mapping::control(loaded), clock()).await?;
    let stop = CancellationToken::new();
    let pages_router = {
        let (stop, router) = (stop.clone(), control.serve_http(pages, stop.clone().cancelled_owned()));
        async move { router.await.inspect_err(|_| stop.cancel()) }
    };
    let planes_server = control.plane_server().serve_tcp(planes, stop.clone().cancelled_owned());
    announce(loaded, &control, bound).await?;
    let follow = async {
        let mut watcher = Watcher::new(loaded, environment(), Vec::new());
        follow_signals(&mut signals, &mut watcher, &control).await;
        stop.cancel();
    };
    let (pages, planes, ()) = tokio::join!(pages_router, planes_server, follow);
    pages?;
    planes?;
    control.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

async fn announce(
    loaded: &Loaded,
    control: &ControlPlane,
    (pages, planes): (SocketAddr, SocketAddr),
) -> anyhow::Result<()> {
    let link = setup_link(loaded, control).await?;
    let text = format!(
        "Helix Gateway {} · control plane\n  pages       http://{}\n  data planes http://{} (join token: {})\n{}",
        mapping::VERSION,
        mapping::reachable(pages),
        planes,
        if loaded.settings.plane.join_token.is_some() {
            "configured".to_owned()
        } else {
            loaded.settings.data_dir.join("join-token").display().to_string()
        },
        link.as_ref()
            .map_or(String::new(), |link| format!("\n  Nobody administers this instance yet. Open once: {link}")),
    );
    let value = json!({ "event": "started", "role": "control-plane", "listen": pages.to_string(), "planeListen": planes.to_string(), "setupLink": link });
    output::answer(false, &text, &value);
    Ok(())
}

/// The one-time link of an instance that nobody administers.
pub(crate) async fn setup_link(loaded: &Loaded, control: &ControlPlane) -> anyhow::Result<Option<String>> {
    let link = control.app().create_setup_link(LINK_LIFETIME).await?;
    Ok(link.map(|link| link.url(&mapping::public_url(loaded))))
}

/// Reloads on SIGHUP and when the file changed, until a signal asks to stop. What is wrong keeps the last good one.
pub(crate) async fn follow_signals(signals: &mut Signals, watcher: &mut Watcher, control: &ControlPlane) {
    loop {
        let reloaded = tokio::select! {
            request = signals.next() => match request {
                Request::Stop => return,
                Request::Reload => Some(watcher.reload()),
            },
            () = tokio::time::sleep(LOOK_EVERY) => watcher.changed(),
        };
        match reloaded {
            None => {}
            Some(Err(findings)) => {
                let (errors, _) = findings.counts();
                tracing::error!(errors, "the changed configuration is not valid; the last good one stays in force");
                output::complain(&findings.to_string());
            }
            Some(Ok(loaded)) => match control.reload(&mapping::file_config(&loaded)).await {
                Ok(outcome) => tracing::info!(
                    revision = outcome.revision,
                    upserted = outcome.upserted,
                    removed = outcome.removed,
                    "configuration reloaded; addresses and folders change at the next start"
                ),
                Err(error) => {
                    tracing::error!(%error, "the changed configuration was refused; the last good one stays in force");
                }
            },
        }
    }
}

/// Binds an address, saying which setting to change when it is taken.
pub(crate) async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let hint = format!("cannot listen on {address}; is another process using it? Choose another with {key}");
    TcpListener::bind(address).await.context(hint)
}
