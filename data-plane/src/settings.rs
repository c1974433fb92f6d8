//! What a data plane needs to know to start. Plain values: reading files and environment is the binary's business.

use helix_shared::egress::Network;
use helix_shared::ids::NodeId;
use helix_shared::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of one data-plane process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where metrics and health are read; `None`: nowhere.
    pub ops_listen: Option<SocketAddr>,
    /// Who we are, across restarts.
    pub node_id: NodeId,
    /// Zone, for people.
    pub zone: String,
    /// Proves to the control plane that we belong; `None` inside one process.
    pub join_token: Option<Secret>,
    /// Folder of the journal and the last good configuration.
    pub data_dir: PathBuf,
    /// Key that seals the last good configuration on disk; `None`: it is not written.
    pub state_key: Option<Secret>,
    /// The journal.
    pub journal: JournalSettings,
    /// Most requests at once; more are refused at once with 503.
    pub max_in_flight: usize,
    /// Limit of reading a request's body.
    pub body_timeout: Duration,
    /// Version of the binary.
    pub version: &'static str,
    /// Variables by which clouds say what a process runs on; others in it are not looked at. May hold secrets.
    pub surroundings: Surroundings,
    /// How long requests in flight may go on after shutdown began.
    pub drain: Duration,
    /// Networks beside the public ones that may be fetched from where a route fetches URLs.
    pub fetch_networks: Vec<Network>,
    /// Metrics of what else runs in this process.
    pub further_metrics: FurtherMetrics,
}

/// Says metrics of another part of the process as OpenMetrics text without its end; by default, nothing.
#[derive(Clone, Default)]
pub struct FurtherMetrics(pub Option<Arc<dyn Fn() -> String + Send + Sync>>);

impl FurtherMetrics {
    /// The text.
    pub fn render(&self) -> String {
        self.0.as_ref().map_or_else(String::new, |render| render())
    }
}

impl std::fmt::Debug for FurtherMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FurtherMetrics")
    }
}

/// Variables of the process. Prints no value.
#[derive(Clone, Default)]
pub struct Surroundings(pub BTreeMap<String, String>);

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Settings of the journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalSettings {
    /// Wait for the disk before the first upstream byte.
    pub is_strict: bool,
    /// Most bytes kept; more refuses requests.
    pub max_bytes: u64,
    /// Bytes per segment file.
    pub segment_bytes: u64,
    /// How often written bytes are forced to disk when nobody waits for it: what a loss of power can take with it.
    pub sync_interval: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            is_strict: false,
            max_bytes: 8 << 30,
            segment_bytes: 32 << 20,
            sync_interval: Duration::from_millis(100),
        }
    }
}
