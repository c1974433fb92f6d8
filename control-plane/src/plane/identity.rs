//! Who a stream speaks for: the node named by its first message, checked once.
//!
//! Rule: ids are short printable text, the incarnation is there, and the protocol is one we serve. What a node claims is
//! believed as far as the connection is trusted.

use helix_proto::v1;
use helix_shared::ids::{Incarnation, NodeId};
use tonic::Status;

/// The version of the plane protocol that this control plane serves, and the one before.
pub const PROTOCOL: u32 = 1;

/// A node that introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) version: String,
    pub(crate) protocol: u32,
    pub(crate) zone: String,
    pub(crate) boot_id: String,
}

impl Identity {
    /// Checks a stream's first message.
    pub(crate) fn introduce(node: Option<v1::Node>) -> Result<Self, Status> {
        let node = node.ok_or_else(|| Status::invalid_argument("the first message of a stream must name the node"))?;
        for (what, text, may_be_empty) in [
            ("node_id", &node.node_id, false),
            ("incarnation", &node.incarnation, false),
            ("version", &node.version, true),
            ("zone", &node.zone, true),
            ("boot_id", &node.boot_id, true),
        ] {
            if text.len() > 64 || (text.is_empty() && !may_be_empty) || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Status::invalid_argument(format!("{what} must have 1 to 64 printable characters")));
            }
        }
        if node.protocol > PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "the node speaks protocol {} and this control plane {PROTOCOL}: upgrade the control plane first",
                node.protocol
            )));
        }
        Ok(Self {
            node_id: NodeId::from(node.node_id),
            incarnation: Incarnation::from(node.incarnation),
            version: node.version,
            protocol: node.protocol,
            zone: node.zone,
            boot_id: node.boot_id,
        })
    }
}
