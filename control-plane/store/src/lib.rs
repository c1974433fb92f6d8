//! Persistence: the only SQL of the gateway, one expression for SQLite, PostgreSQL and MySQL or MariaDB.
//!
//! Rules. Ids are text of at most 64 characters made by the caller; times are µs since 1970 and always a parameter; money
//! is 1e-9 USD; JSON is text decoded here; comparison is by code point. Statements are built by sea-query, never by
//! formatting values. "Not found" is `None`. Configuration is read and written inside a [`Tx`] that the caller commits;
//! escrow and records have one method an operation on [`Db`], each of which is exactly one transaction and tries again
//! when it loses a race. Nothing here decides who may do what.

pub use accounts::{Account, Lease};
pub use adjustments::{AdjustmentKind, BudgetAdjustment, NewAdjustment};
pub use alerts::BudgetEvent;
pub use api_keys::{ApiKey, from_hex, to_hex};
pub use budgets::Budget;
pub use config_log::{Change, ChangeOp};
pub use corrections::{Corrected, Correction, NewCorrection};
pub use cost_centers::{CostCenters, Subject};
pub use db::{Db, Tx};
pub use dialect::Dialect;
pub use error::{Result, StoreError};
pub use escrow::EscrowSpeaker;
pub use escrow_fleet::{Awaited, Recalled};
pub use incarnations::IncarnationRow;
pub use migrate::SchemaStep;
pub use models::{Model, ModelBackend};
pub use nodes::{Node, QuarantinedRow};
pub use prices::Price;
pub use providers::{Provider, ProviderSpec};
pub use report::{Dimension, ReportQuery, ReportRow};
pub use role_grants::RoleGrant;
pub use rollup_keys::RollupKey;
pub use rollups::{Rollup, RollupSpan, Totals};
pub use settings::Setting;
pub use setup_tokens::SetupToken;
pub use table::{Managed, Table};
pub use teams::Team;
pub use usage::{IngestOutcome, Malformed};
pub use users::{Membership, User};
pub use verify_report::{BadRecord, LedgerReport};

mod accounts;
mod adjustments;
mod alerts;
mod api_keys;
mod budgets;
mod config_log;
mod connect;
mod corrections;
mod cost_centers;
mod db;
mod dialect;
mod error;
mod escrow;
mod escrow_charges;
mod escrow_fleet;
mod escrow_rows;
mod escrow_suspense;
mod incarnations;
mod limits;
mod migrate;
mod migrations;
mod models;
mod nodes;
mod prices;
mod providers;
mod report;
mod role_grants;
mod rollup_keys;
mod rollups;
mod rollups_derived;
mod row;
mod schema;
mod server_tx;
mod settings;
mod setup_tokens;
mod table;
mod teams;
mod trace_text;
mod usage;
mod usage_read;
mod usage_row;
mod users;
mod verify;
mod verify_report;
mod verify_rollups;
