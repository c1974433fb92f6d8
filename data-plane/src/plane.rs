//! Starting and stopping a data plane.
//!
//! Rule: ready when a configuration is in force; stopped in order: refuse new connections, finish what runs, settle, ship
//! the records, give the escrow back.

use crate::budget::escrowing::Escrow;
use crate::config::Current;
use crate::config::last_good::LastGood;
use crate::config::watch::Watch;
use crate::egress::Guard;
use crate::gateway::Gateway;
use crate::link::{BadToken, Link, PROTOCOL};
use crate::metrics::Metrics;
use crate::pipeline::body_room::{BodyRoom, DEFAULT_ROOM_BYTES};
use crate::pipeline::counting::Desk;
use crate::records::journal::{Journal, JournalError};
use crate::records::recover::{new_identity, old_journals};
use crate::records::ship::{ship_old, ship_own};
use crate::server::Fallback;
use crate::settings::Settings;
use crate::span::Spans;
use crate::tasks::Tasks;
use crate::upstream::Upstreams;
use helix_proto::v1;
use helix_shared::time::Clock;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long records and escrow may take to get home at shutdown.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {path}; make it writable for this user, or set data_dir")]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The journal cannot be begun.
    #[error("cannot begin the journal")]
    Journal(#[from] JournalError),
    /// The token cannot travel.
    #[error(transparent)]
    JoinToken(#[from] BadToken),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another process using it? Choose another with {key}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting.
        key: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A running data plane.
#[derive(Debug)]
pub struct DataPlane {
    gateway: Arc<Gateway>,
    tasks: Tasks,
    link_tasks: Tasks,
    drained: CancellationToken,
    /// Where clients connect; the real port when 0 was asked for.
    pub address: SocketAddr,
    /// Where operators look.
    pub ops_address: Option<SocketAddr>,
    drain: Duration,
}

impl DataPlane {
    /// Starts everything. `channel` leads to the control plane, over TCP or an in-memory pipe.
    ///
    /// # Errors
    /// [`StartError`] says what to do.
    pub async fn start(
        settings: Settings,
        channel: Channel,
        clock: Arc<dyn Clock>,
        fallback: Option<Fallback>,
        spans: Spans,
    ) -> Result<Self, StartError> {
        let root = settings.data_dir.join("journal");
        let folder_error = |source| StartError::DataFolder { path: settings.data_dir.clone(), source };
        std::fs::create_dir_all(&root).map_err(folder_error)?;
        let identity = new_identity(settings.node_id.as_str(), settings.journal.is_strict);
        let old = old_journals(&root, &identity.incarnation, &identity.boot_id, settings.journal, &clock)
            .map_err(folder_error)?;
        let node = v1::Node {
            node_id: settings.node_id.as_str().to_owned(),
            incarnation: identity.incarnation.clone(),
            version: settings.version.to_owned(),
            protocol: PROTOCOL,
            zone: settings.zone.clone(),
            boot_id: identity.boot_id.clone(),
        };
        let journal = Arc::new(Journal::create(&root, identity, settings.journal, Arc::clone(&clock))?);
        let (tasks, link_tasks) = (Tasks::default(), Tasks::default());
        let link = Link::new(channel, node, settings.join_token.as_ref(), link_tasks.clone())?;
        let (escrow, escrow_task) = Escrow::new(Arc::clone(&clock), &settings.data_dir);
        let upstreams = Upstreams::new(&settings.surroundings, Arc::clone(&clock), tasks.clone());
        let egress = Guard::new(upstreams.tls(), &settings.fetch_networks);
        let current = Arc::new(Current::new(Arc::clone(&escrow.ledger), upstreams));
        let last_good = settings.state_key.as_ref().map(|key| LastGood::new(&settings.data_dir, key));
        let watch = Watch::start(Arc::clone(&current), last_good);
        let gateway = Arc::new(Gateway {
            current,
            escrow: escrow.clone(),
            journal: Arc::clone(&journal),
            clock,
            metrics: Metrics::new(),
            spans,
            drains: tasks.clone(),
            max_in_flight: settings.max_in_flight,
            body_timeout: settings.body_timeout,
            body_room: BodyRoom::new(DEFAULT_ROOM_BYTES),
            desk: Desk::default(),
            egress,
            in_flight: AtomicUsize::new(0),
        });
        let drained = CancellationToken::new();
        let address = listen(&gateway, &settings, fallback, &tasks).await?;
        let ops_address = listen_ops(&gateway, &settings, &tasks).await?;
        link_tasks.spawn("config watch", watch.run(link.clone()));
        link_tasks.spawn("escrow", escrow_task.run(link.clone()));
        link_tasks.spawn("telemetry", crate::report::run(Arc::clone(&gateway), link.clone()));
        link_tasks.spawn("record shipping", ship_own(Arc::clone(&journal), link.clone(), drained.clone()));
        if !old.is_empty() {
            link_tasks.spawn("old journals", ship_old(old, link.clone(), escrow));
        }
        spawn_sync(&link_tasks, &journal);
        Ok(Self { gateway, tasks, link_tasks, drained, address, ops_address, drain: settings.drain })
    }

    /// The state behind the pipeline.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Waits until a configuration is in force that the control plane sent or confirmed: what was changed before the start
    /// holds from here on, and what comes from disk is no longer all there is.
    pub async fn confirmed(&self) {
        let current = &self.gateway.current;
        let mut news = current.follow();
        while current.load().is_none() || current.is_stale() {
            if news.changed().await.is_err() {
                tracing::debug!("the data plane ended before it had a configuration");
                return;
            }
        }
    }

    /// Stops in order; returns when everything is settled, or the limits passed.
    pub async fn stop(self) {
        self.tasks.stop();
        let is_drained = tokio::time::timeout(self.drain + Duration::from_secs(3), self.tasks.wait()).await.is_ok();
        if !is_drained {
            tracing::warn!(
                "some requests were cut by the end of the drain limit; they are booked at the worst case at the next start"
            );
        }
        self.gateway.journal.sync();
        self.drained.cancel();
        let farewell = async {
            let journal = &self.gateway.journal;
            while journal.acknowledged() + 1 < journal.next_seq() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // what was cut is still in flight for all we know: the next start books it and closes the journal
            if is_drained {
                self.gateway.escrow.close(&journal.identity().incarnation, journal.next_seq().saturating_sub(1)).await;
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the control plane does not answer; records and escrow are settled at the next start");
        }
        self.link_tasks.stop();
        if tokio::time::timeout(FAREWELL, self.link_tasks.wait()).await.is_err() {
            tracing::debug!("a stream to the control plane did not end in time");
        }
    }
}

async fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, key, source })
}

async fn listen(
    gateway: &Arc<Gateway>,
    settings: &Settings,
    fallback: Option<Fallback>,
    tasks: &Tasks,
) -> Result<SocketAddr, StartError> {
    let listener = bind(settings.listen, "server.listen").await?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    tasks.spawn("server", crate::server::serve(listener, Arc::clone(gateway), fallback, tasks.clone(), settings.drain));
    Ok(address)
}

async fn listen_ops(
    gateway: &Arc<Gateway>,
    settings: &Settings,
    tasks: &Tasks,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = settings.ops_listen else { return Ok(None) };
    let listener = bind(address, "server.ops_listen").await?;
    let address = listener.local_addr().unwrap_or(address);
    tasks.spawn_until_stop(
        "ops server",
        crate::ops::serve(listener, Arc::clone(gateway), settings.further_metrics.clone(), tasks.clone()),
    );
    Ok(Some(address))
}

/// Forces the journal to disk in the background, a group at a time.
fn spawn_sync(tasks: &Tasks, journal: &Arc<Journal>) {
    let journal = Arc::clone(journal);
    tasks.spawn_until_stop("journal sync", async move {
        loop {
            journal.sync_due().await;
            if !journal.needs_sync() {
                continue;
            }
            let journal = Arc::clone(&journal);
            if tokio::task::spawn_blocking(move || journal.sync()).await.is_err() {
                return;
            }
        }
    });
}
