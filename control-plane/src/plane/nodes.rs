//! Which nodes are connected, what they serve, and what they refused of it.
//!
//! Rule: information for people; nothing here decides anything, so a database that is away never ends a stream. The
//! database keeps the last word of each node across restarts.

use super::identity::Identity;
use crate::error::chain;
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::snapshot::Quarantined;
use helix_shared::time::{Clock, UnixMicros};
use helix_store::{Db, Node, QuarantinedRow, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A node with an open configuration stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedNode {
    /// Its id.
    pub node_id: NodeId,
    /// Its process start.
    pub incarnation: Incarnation,
    /// Version of its binary.
    pub version: String,
    /// The revision it serves.
    pub revision: u64,
    /// Why it refused the last push; `None`: it did not.
    pub refused: Option<String>,
    /// How many resources it quarantined.
    pub quarantined: usize,
    /// When its stream began.
    pub since: UnixMicros,
}

/// The registry. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    db: Db,
    clock: Arc<dyn Clock>,
    connected: Arc<Mutex<Registry>>,
}

#[derive(Debug, Default)]
struct Registry {
    streams: u64,
    nodes: HashMap<NodeId, (u64, ConnectedNode)>,
}

/// One stream's entry in the registry; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Connection {
    nodes: Nodes,
    node_id: NodeId,
    stream: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.nodes.disconnect(&self.node_id, self.stream);
    }
}

impl Nodes {
    pub(crate) fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock, connected: Arc::default() }
    }

    /// Every connected node, by id.
    pub(crate) fn list(&self) -> Vec<ConnectedNode> {
        let mut nodes: Vec<_> = self.with(|registry| registry.nodes.values().map(|(_, node)| node.clone()).collect());
        nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        nodes
    }

    pub(crate) fn count(&self) -> usize {
        self.with(|registry| registry.nodes.len())
    }

    pub(crate) async fn connect(&self, node: &Identity, revision: u64) -> Connection {
        let now = self.clock.now();
        let entry = ConnectedNode {
            node_id: node.node_id.clone(),
            incarnation: node.incarnation.clone(),
            version: node.version.clone(),
            revision,
            refused: None,
            quarantined: 0,
            since: now,
        };
        let stream = self.with(|registry| {
            registry.streams += 1;
            registry.nodes.insert(node.node_id.clone(), (registry.streams, entry));
            registry.streams
        });
        tracing::info!(node.id = %node.node_id, revision, "node {} connected", node.node_id);
        self.remember(node, revision, Vec::new(), true).await;
        Connection { nodes: self.clone(), node_id: node.node_id.clone(), stream }
    }

    /// Forgets a stream, unless the node has opened another one meanwhile.
    fn disconnect(&self, node_id: &NodeId, stream: u64) {
        let gone = self.with(|registry| {
            let is_last = registry.nodes.get(node_id).is_some_and(|(last, _)| *last == stream);
            is_last && registry.nodes.remove(node_id).is_some()
        });
        if gone {
            tracing::info!(node.id = %node_id, "node {node_id} disconnected");
        }
    }

    pub(crate) async fn applied(&self, node: &Identity, revision: u64, quarantined: Vec<Quarantined>) {
        for item in &quarantined {
            let (kind, id) = (item.key.kind.as_str(), &item.key.id);
            tracing::warn!(node.id = %node.node_id, revision, kind, id, reason = item.reason, "a node quarantined {kind} `{id}`");
        }
        self.update(node, |entry| {
            entry.revision = revision;
            entry.refused = None;
            entry.quarantined = quarantined.len();
        });
        let row = |item: Quarantined| QuarantinedRow {
            kind: item.key.kind.as_str().to_owned(),
            id: item.key.id,
            reason: item.reason,
        };
        self.remember(node, revision, quarantined.into_iter().map(row).collect(), false).await;
    }

    pub(crate) fn refused(&self, node: &Identity, revision: u64, reason: &str) {
        tracing::warn!(node.id = %node.node_id, revision, reason, "node {} refused revision {revision}", node.node_id);
        self.update(node, |entry| entry.refused = Some(reason.to_owned()));
    }

    fn update(&self, node: &Identity, change: impl FnOnce(&mut ConnectedNode)) {
        self.with(|registry| {
            if let Some((_, entry)) = registry.nodes.get_mut(&node.node_id) {
                change(entry);
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.connected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn remember(&self, node: &Identity, revision: u64, quarantined: Vec<QuarantinedRow>, is_new: bool) {
        if let Err(error) = self.write(node, revision, quarantined, is_new).await {
            tracing::warn!(node.id = %node.node_id, error = %chain(&error), "a node's state could not be stored");
        }
    }

    async fn write(
        &self,
        node: &Identity,
        revision: u64,
        quarantined: Vec<QuarantinedRow>,
        is_new: bool,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if is_new {
            tx.see_incarnation(&node.incarnation, &node.node_id, &node.boot_id, now).await?;
        }
        let before = tx.get::<Node>(node.node_id.as_str()).await?;
        let connected_at = before.filter(|_| !is_new).map_or(now, |row| row.connected_at);
        tx.put(&Node {
            id: node.node_id.as_str().to_owned(),
            incarnation: node.incarnation.as_str().to_owned(),
            version: node.version.clone(),
            zone: node.zone.clone(),
            applied_revision: i64::try_from(revision).unwrap_or(i64::MAX),
            quarantined,
            connected_at,
            seen_at: now,
        })
        .await?;
        tx.commit().await
    }
}
