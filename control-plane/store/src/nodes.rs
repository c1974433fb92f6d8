//! The data planes as last seen.
//!
//! Rule: one row a node, overwritten; what an incarnation spent and recorded is kept elsewhere and never overwritten.

use crate::table::{json_cells, table};
use helix_shared::time::UnixMicros;

table! {
    "nodes";
    /// A data plane.
    pub struct Node {
        /// Its id, across restarts.
        pub id: String,
        /// Its present process start.
        pub incarnation: String,
        /// Version of its binary.
        pub version: String,
        /// Where it runs, when told.
        pub zone: String,
        /// The revision it serves; 0: none yet.
        pub applied_revision: i64,
        /// What it refused of that revision.
        pub quarantined: Vec<QuarantinedRow>,
        /// When its present connection began.
        pub connected_at: UnixMicros,
        /// When it was last heard of.
        pub seen_at: UnixMicros,
    }
}

/// A resource that a node refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QuarantinedRow {
    /// Kind's stable name.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Why; never a secret.
    pub reason: String,
}

json_cells!(Vec<QuarantinedRow>);
