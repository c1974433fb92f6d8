//! The records of a gateway, read as an operator's tool reads them: beside the running process, from its database.

use helix_control_plane::settings::{FileConfig, MasterKeySource, Settings};
use helix_control_plane::{Actor, App};
use helix_shared::record::Record;
use helix_shared::secret::Secret;
use helix_shared::time::SystemClock;
use std::path::Path;
use std::sync::Arc;

/// An open instance.
pub(crate) struct Books(App);

impl Books {
    /// Opens the instance with the default SQLite file and master key in a gateway's folder.
    pub(crate) async fn open(folder: &Path) -> Self {
        let url = format!("sqlite://{}", folder.join("helix-data/helix.db").display());
        Self::on(&url, folder).await
    }

    /// Opens the instance on a database, with the master key in a gateway's folder.
    pub(crate) async fn on(url: &str, folder: &Path) -> Self {
        let data_dir = folder.join("helix-data");
        let settings = Settings {
            database_url: Secret::new(url),
            http_listen: None,
            plane_listen: None,
            public_url: String::new(),
            data_dir,
            master_key: MasterKeySource::DataDir,
            join_token: None,
            allow_unclaimed: false,
            file: FileConfig::default(),
            version: String::new(),
        };
        Self(App::open(&settings, Arc::new(SystemClock::new())).await.expect("the instance opens"))
    }

    /// The record of a request; `None` while it has not arrived.
    pub(crate) async fn record(&self, request_id: &str) -> Option<Record> {
        self.0.request_trace(&Actor::Operator, request_id).await.expect("records can be read")
    }

    /// Ends.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}
