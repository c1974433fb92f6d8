//! The decisions of the gateway, pure: no I/O, no async, no clock of its own. Both planes call the same code.
//!
//! **Glossary.** *Instance*: one Helix installation. *Team / User / Principal*: who; a Principal is whoever a request
//! acts as. *Grant*: a role given to a principal on a scope, maybe expiring. *Model*: a name clients ask for. *Backend*:
//! one provider account that can serve models. *Route*: rule from model name to backends and a strategy. *Dialect*: a
//! wire format. *Resource*: one unit of pushed config. *Revision*: number of a config state. *Snapshot*: compiled,
//! indexed, immutable config. *Quarantine*: refusing what a broken resource governs. *Window*: a budget in one period.
//! *Escrow*: the part of a window's limit that a node may spend without asking. *Reservation*: one attempt's claim on
//! escrow. *Incarnation*: one process start of a node. *Record*: the usage and audit fact of one request (an intent and
//! an outcome). *Journal*: a node's records, kept until acknowledged. *Suspense*: escrow of a node that vanished,
//! counted as spent until proven otherwise. *Node*: one data-plane process. *Refusal*: an answer we made instead of the
//! provider.

pub mod access;
pub mod aws;
pub mod budget;
pub mod catalog;
pub mod cloud;
pub mod egress;
pub mod error_code;
pub mod ids;
pub mod money;
pub mod provider;
pub mod rbac;
pub mod record;
pub mod routing;
pub mod secret;
pub mod snapshot;
pub mod time;
pub mod typed;
pub mod usage;
