//! Starting and stopping the control plane.
//!
//! Rule: started means usable: the database is migrated, the file's objects are in it, and the first revision is in
//! memory. Stopping ends every stream and task and then closes the database.

use crate::app::{App, AppError, OpenError, SyncOutcome};
use crate::ops::{self, Ops};
use crate::plane::PlaneServer;
use crate::publish::Feed;
use crate::publish::follower::follow;
use crate::secrets::{JoinToken, JoinTokenError, load_or_make_join_token};
use crate::settings::{FileConfig, Settings};
use crate::tasks::Tasks;
use crate::web::{Web, router};
use axum::Router;
use helix_shared::time::Clock;
use helix_store::StoreError;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The instance cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no join token.
    #[error("there is no join token for data planes")]
    JoinToken(#[from] JoinTokenError),
    /// The file's objects cannot be taken over.
    #[error("the objects of the configuration file cannot be taken over")]
    Sync(#[from] AppError),
    /// Anyone who finds the address could claim the instance.
    #[error(
        "server.listen is the public address {address} and nobody administers this instance yet; listen on 127.0.0.1 until the setup link was used, create an administrator with `helixgateway admin create --email YOU`, or set server.allow_unclaimed: true"
    )]
    Unclaimed {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be served.
    #[error("the pages or the operators' listener cannot be served")]
    Http(#[source] std::io::Error),
    /// The configuration cannot be read back.
    #[error("the configuration cannot be read from the database")]
    Follow(#[from] StoreError),
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    app: App,
    feed: Feed,
    plane: PlaneServer,
    join_token: JoinToken,
    tasks: Tasks,
    public_url: Arc<str>,
}

impl ControlPlane {
    /// Opens the instance, takes the file's objects over and starts to follow the configuration. Listens on nothing: the
    /// caller mounts [`ControlPlane::http_router`] and serves [`ControlPlane::plane_server`].
    ///
    /// # Errors
    /// [`StartError`] says what to do.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let app = App::open(&settings, clock).await?;
        let join_token = load_or_make_join_token(settings.join_token.as_ref(), &settings.data_dir)?;
        let synced = app.sync_file(&settings.file).await?;
        tracing::info!(
            version = settings.version,
            revision = synced.revision,
            upserted = synced.upserted,
            removed = synced.removed,
            "the control plane starts; what the configuration defines is in the database"
        );
        if let Some(address) = settings.http_listen
            && !address.ip().is_loopback()
            && !settings.allow_unclaimed
            && !app.has_admin().await?
        {
            return Err(StartError::Unclaimed { address });
        }
        let tasks = Tasks::default();
        let feed = follow(app.db.clone(), app.vault.clone(), Arc::clone(&app.wake), &tasks).await?;
        let counts_histories = app.db.counts_histories().await?;
        let plane = PlaneServer::new(&app, &feed, join_token.clone(), &tasks, counts_histories);
        let public_url = settings.public_url.trim_end_matches('/').into();
        Ok(Self { app, feed, plane, join_token, tasks, public_url })
    }

    /// The business rules.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The configuration that is in force.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The server for data planes.
    pub fn plane_server(&self) -> &PlaneServer {
        &self.plane
    }

    /// What data planes of other processes must present.
    pub fn join_token(&self) -> &JoinToken {
        &self.join_token
    }

    /// The routes of the pages.
    pub fn http_router(&self) -> Router {
        router(Web { app: self.app.clone(), public_url: Arc::clone(&self.public_url) })
    }

    /// Serves the pages alone, until `shutdown` resolves: for a control plane without a data plane beside it.
    ///
    /// # Errors
    /// [`StartError::Http`] when the listener fails.
    pub async fn serve_http(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), StartError> {
        let serve = axum::serve(listener, self.http_router()).with_graceful_shutdown(shutdown);
        serve.await.map_err(StartError::Http)
    }

    /// Serves health and metrics alone, until `shutdown` resolves.
    ///
    /// # Errors
    /// [`StartError::Http`] when the listener fails.
    pub async fn serve_ops(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), StartError> {
        axum::serve(listener, ops::router(self.ops())).with_graceful_shutdown(shutdown).await.map_err(StartError::Http)
    }

    /// The metrics as OpenMetrics text, without its end: in one process, the data plane's listener shows them too.
    pub fn metrics(&self) -> String {
        self.ops().metrics()
    }

    fn ops(&self) -> Ops {
        Ops { app: self.app.clone(), feed: self.feed.clone(), plane: self.plane.clone() }
    }

    /// Takes a changed configuration file over, while running. On an error the last good one stays.
    ///
    /// # Errors
    /// What [`App::sync_file`] says.
    pub async fn reload(&self, file: &FileConfig) -> Result<SyncOutcome, AppError> {
        self.app.sync_file(file).await
    }

    /// Ends every stream and task, then closes the database.
    pub async fn shutdown(self) {
        self.tasks.stop().await;
        self.app.close().await;
    }
}
