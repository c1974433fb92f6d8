//! The fact of one request, as the control plane keeps it.
//!
//! Rule: one per request, refused or not; never edited. The journal's and the wire's form is `UsageRecord` of the plane
//! protocol; this is the same fact in typed form.

use crate::budget::AccountKey;
use crate::ids::{ApiKeyId, BackendId, BudgetId, Incarnation, NodeId, TeamId, UserId};
use crate::money::NanoUsd;
use crate::time::UnixMicros;
use crate::usage::{CostBasis, TokenUsage};

/// One request's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Process start that made it.
    pub incarnation: Incarnation,
    /// Number within the incarnation, from 1, with no hole.
    pub seq: u64,
    /// The process.
    pub node_id: NodeId,
    /// Id from edge to upstream.
    pub request_id: String,
    /// Configuration the request saw.
    pub config_revision: u64,
    /// Who asked.
    pub actor: Actor,
    /// What became of it.
    pub decision: Decision,
    /// Wire format of the caller.
    pub dialect: String,
    /// Model name as asked.
    pub requested_model: String,
    /// Model that answered; empty when none did.
    pub served_model: String,
    /// Backend that answered; empty when none did.
    pub backend_id: String,
    /// Strategy that ordered the backends.
    pub strategy: String,
    /// Whether a stream was asked for.
    pub is_streaming: bool,
    /// Status the caller got; 0: gone before there was one.
    pub http_status: u16,
    /// Tries at backends.
    pub attempts: Vec<Attempt>,
    /// Sum of the attempts' units.
    pub usage: TokenUsage,
    /// Sum of the attempts' costs.
    pub cost: NanoUsd,
    /// The least certain basis of the attempts.
    pub basis: CostBasis,
    /// Accounts the cost is charged to.
    pub charged: Vec<AccountKey>,
    /// Budgets of `charged` that nothing was reserved of: they were soft when the request was admitted.
    pub unreserved: Vec<BudgetId>,
    /// When the request came.
    pub started_at: UnixMicros,
    /// Until the first byte to the caller, in µs; 0: none was sent.
    pub first_byte_us: u64,
    /// Until the end, in µs.
    pub total_us: u64,
    /// The pipeline trace.
    pub stages: Vec<Stage>,
}

/// Who asked; empty before authentication succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The key.
    pub api_key_id: Option<ApiKeyId>,
    /// The person.
    pub user_id: Option<UserId>,
    /// The team that is charged.
    pub team_id: Option<TeamId>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Admitted and answered by a backend.
    Allowed,
    /// Refused by a stage, with our error code.
    Denied {
        /// The stage.
        stage: String,
        /// The stable error code.
        code: String,
    },
    /// Admitted, but not answered as asked.
    Failed {
        /// Where it failed.
        stage: String,
        /// The stable error code.
        code: String,
    },
}

impl Decision {
    /// The stable name of the kind.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "failed",
        }
    }
}

/// One try at a backend.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// Number of its durable intent within the incarnation; 0: nothing was sent.
    pub intent: u64,
    /// Where.
    pub backend_id: BackendId,
    /// Under which name.
    pub upstream_model: String,
    /// Answer's status; 0: none.
    pub status: u16,
    /// What went wrong; empty: nothing.
    pub error: String,
    /// How long, in µs.
    pub duration_us: u32,
    /// What it used, by kind.
    pub usage: TokenUsage,
    /// What it cost.
    pub cost: NanoUsd,
    /// How sure that is.
    pub basis: String,
    /// Which prices: the day of the catalogue, or `config` for a price of the configuration that the record names; empty:
    /// none applied.
    pub price_version: String,
    /// The provider's own id of the request.
    pub provider_request_id: String,
}

/// One step of the pipeline trace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stage {
    /// The stage: `auth`, `rbac`, `policy`, `budget`, `route`, `model`, `cost`, `audit`.
    pub name: String,
    /// What it said.
    pub verdict: String,
    /// Why, in a few words; never a secret or prompt.
    pub reason: String,
    /// How long, in µs.
    pub duration_us: u64,
}
